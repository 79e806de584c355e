"""`nca graft`: is a cell's state a code? A disc of cells is moved elsewhere, and the host's rule runs what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.grafting import GRAFT, SHAM, GraftRuns, follow_grafts
from analysis.assays.grafts.matching import Point
from analysis.assays.grafts.organizer_map import isolation_map, organizer_map
from analysis.geometry import body_ends
from analysis.report.notebook import ReportHtml
from analysis.rollouts import CHUNK, Batch, advance_chunk, grow_runs, run_keys, with_adult_step
from nca.damage import disc
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature
from nca.progress import Log, Progress, silent
from nca.rollout import trajectory


@dataclass(frozen=True)
class GraftResult(ReportHtml):
    """What became of moved cells.

    Attributes:
        organism: the host, whose rule ran the cells.
        donor: whose cells were moved, on the host's canvas.
        config: how, with `full` applied, and source and target set.
        grafts: what `follow_grafts` returns; empty where there was no body.
        isolation: what `isolation_map` returns; empty without maps.
        organizers: what `organizer_map` returns; empty without maps.
        films: states of the first run after the sham and after the graft; none without a body.
        no_body: why nothing was grafted; empty where it was.
        warnings: what limits the interpretation, in sentences.
    """

    organism: Organism
    donor: Organism
    config: GraftConfig
    grafts: xr.Dataset = field(default_factory=xr.Dataset)
    isolation: xr.Dataset = field(default_factory=xr.Dataset)
    organizers: xr.Dataset = field(default_factory=xr.Dataset)
    films: tuple[Float[np.ndarray, "step y x channel"], ...] = ()
    no_body: str = ""
    warnings: Sequence[str] = ()

    @property
    def portrait(self) -> Float[np.ndarray, "y x 4"] | None:
        """The host's grown body, premultiplied RGBA."""
        return self.grafts.picture_control.values[0, 0] if self.grafts else None


def run(
    host: Organism, donor: Organism | None = None, config: GraftConfig | None = None, *, log: Log = silent
) -> GraftResult:
    """Grow host and donor, move the disc, follow what grows, and make the maps.

    Args:
        host: whose rule runs the cells.
        donor: whose cells are moved; it is grown on the host's canvas. The host itself if none: then the disc comes
            from a run with the next key.
        config: what is moved where; the default configuration if none.
        log: receives the progress.

    Raises:
        UserError: host and donor differ in their number of channels, or the disc holds no mature cell of the donor.
    """
    donor = donor or host
    config = with_adult_step((config or GraftConfig()).filled(), host, donor)
    if donor.rule.spec.channels != host.rule.spec.channels:
        raise UserError(
            f"A graft needs equal channels in donor and host; {donor.name} has {donor.rule.spec.channels}, "
            f"{host.name} {host.rule.spec.channels}."
        )
    if donor.canvas != host.canvas:
        donor = replace(donor, canvas=host.canvas)
    same, warnings = donor.hash == host.hash, []
    if not same:
        warnings.append(
            f"{host.name} runs cells of {donor.name}, another rule: its hidden channels mean something else, so that "
            "what grows says nothing about a code that both share."
        )
    progress = Progress(log)
    keys = run_keys(config.seed, config.runs + 1)  # run i takes cells from run i + 1
    progress.start("growing", len(keys) * config.adult_step * (1 if same else 2))
    host_states = np.asarray(grow_runs(host, config.adult_step, keys, tick=progress.tick))
    donor_states = host_states if same else np.asarray(grow_runs(donor, config.adult_step, keys, tick=progress.tick))
    for organism, states in ((host, host_states), (donor, donor_states)):
        if no_body := metrics.missing_body(organism.rule, states, config.adult_step):
            return GraftResult(host, donor, config, no_body=no_body, warnings=warnings)
    source, target = _set_points(config, host, host_states[0], donor, donor_states[0])
    config = replace(config, source=source, target=target)
    _check_disc(donor, donor_states, config, source, target)
    grafting = GraftRuns(host, donor, config, source, target, keys, host_states, donor_states, progress.tick)
    progress.start("grafting", config.runs * config.eval_steps * 7)
    grafts, controls = follow_grafts(grafting)
    isolation = organizers = xr.Dataset()
    if config.map_runs:
        map_steps = config.map_points * config.map_runs * config.eval_steps
        progress.start("isolating fragments", len(config.fragments) * map_steps)
        isolation = isolation_map(grafting, controls)
        progress.start("searching for organizers", map_steps)
        organizers = organizer_map(grafting, controls)
    films = tuple(_record_first_run(grafting, intervention) for intervention in (SHAM, GRAFT))
    return GraftResult(host, donor, config, grafts, isolation, organizers, films, warnings=warnings)


graft = run  # its name in `analysis`


def _set_points(
    config: GraftConfig, host: Organism, host_state: np.ndarray, donor: Organism, donor_state: np.ndarray
) -> tuple[Point, Point]:
    """Source and target; where none is set, the middle of the donor's body and the far end of the host's."""
    bodies = [np.asarray(mature(o.rule, jnp.asarray(s))) for o, s in ((host, host_state), (donor, donor_state))]
    cells = [np.argwhere(body) for body in bodies]
    middles = [c[np.square(c - c.mean(0)).sum(1).argmin()] for c in cells]
    far = max(body_ends(bodies[0]), key=lambda end: float(np.square(end - middles[0]).sum()))
    return config.source or tuple(middles[1].tolist()), config.target or tuple(far.tolist())


def _check_disc(donor: Organism, states: np.ndarray, config: GraftConfig, source: Point, target: Point) -> None:
    """Raise where the disc holds no mature cell of the donor, or lies off the canvas."""
    height, width = states.shape[1:3]
    for name, (y, x) in (("source", source), ("target", target)):
        if not (0 <= y < height and 0 <= x < width):
            raise UserError(f"The {name} {y:g},{x:g} lies off the canvas of {height}x{width} cells (y,x from 0).")
    body = np.asarray(mature(donor.rule, jnp.asarray(states)))
    if not (body & disc((height, width), source, config.radius)).any():
        rows, columns = np.argwhere(body.any(0)).T
        raise UserError(
            f"The disc at {source[0]:g},{source[1]:g} holds no cell of {donor.name}'s body, which lies "
            f"in rows {rows.min()} to {rows.max()} and columns {columns.min()} to {columns.max()} at step "
            f"{config.adult_step}."
        )


def _record_first_run(grafting: GraftRuns, intervention: str) -> Float[np.ndarray, "step y x channel"]:
    """Every state of the first run from the intervention on."""
    config = grafting.config
    batch = Batch(grafting.host, grafting.keys[:1], start=config.adult_step)
    states = [grafting.apply(0, grafting.edits(0)[intervention])[None]]
    for here in range(0, config.eval_steps, CHUNK):
        steps = min(CHUNK, config.eval_steps - here)
        following = advance_chunk(batch, jnp.asarray(states[-1][-1:]), here, steps, trajectory)
        states.append(np.asarray(following[0, 1:]))
    return np.concatenate(states)

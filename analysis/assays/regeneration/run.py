"""From which wounds does the body regenerate? What `nca regenerate` computes of one organism."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np
import xarray as xr

from analysis import metrics
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.regeneration.cuts import follow_up, measure_cuts
from analysis.assays.regeneration.wound_map import half_planes, map_wounds
from analysis.geometry import hole_grid
from analysis.paired import Controls, measured_steps, run_controls
from analysis.report.notebook import ReportHtml
from analysis.rollouts import grow_runs, run_keys, with_adult_step
from nca.damage import CUTS
from nca.organism import Organism
from nca.perception import mature
from nca.progress import Log, Progress, silent


@dataclass(frozen=True)
class RegenerationResult(ReportHtml):
    """Which wounds one organism regenerates from.

    Attributes:
        organism: what was wounded.
        config: with which options.
        cuts: outcome of the five cuts (`measure_cuts`).
        half_planes: of half planes (`map_wounds`), with angle (degrees), offset (cells) and removed (share of the
            first run's mature cells) by wound; empty where none were made, and where the controls lose their bodies,
            so that nothing would be defined.
        holes: the same of discs, with radius, centre_y, centre_x and removed.
        follow_up: of the five cuts long after (`cuts.follow_up`); empty where the runs were not followed.
        no_body: why nothing was wounded; then all of the above are empty.
    """

    organism: Organism
    config: RegenerationConfig
    cuts: xr.Dataset = field(default_factory=xr.Dataset)
    half_planes: xr.Dataset = field(default_factory=xr.Dataset)
    holes: xr.Dataset = field(default_factory=xr.Dataset)
    follow_up: xr.Dataset = field(default_factory=xr.Dataset)
    no_body: str = ""

    @property
    def portrait(self) -> np.ndarray | None:
        """The first run's adult body, premultiplied RGBA (y, x, 4), if it has one."""
        return self.cuts.picture_before.values if self.cuts else None


def run(organism: Organism, config: RegenerationConfig | None = None, *, log: Log = silent) -> RegenerationResult:
    """Grow, wound, and measure what comes back.

    Args:
        organism: what is wounded.
        config: which wounds, when; by default those of `nca regenerate`.
        log: receives the progress and the time left.

    Returns:
        The results; of an organism without a body, the reason in `no_body`.
    """
    config = with_adult_step((config or RegenerationConfig()).filled(), organism)
    progress, name, span = Progress(log), organism.name, config.eval_steps
    keys = run_keys(config.seed, config.runs)
    progress.start(f"growing {name}", config.runs * config.adult_step)
    states = grow_runs(organism, config.adult_step, keys, tick=progress.tick)
    if no_body := metrics.missing_body(organism.rule, states, config.adult_step):
        return RegenerationResult(organism, config, no_body=no_body)
    progress.start(f"cutting {name}", config.runs * (len(CUTS) + 2) * span)
    steps = measured_steps(config.adult_step, (span,))
    controls = run_controls(organism, states, keys, steps, tick=progress.tick)
    cuts = measure_cuts(organism, controls, progress.tick)
    of_map = _first_runs(controls, config.map_runs)
    if not np.asarray(metrics.has_body(of_map.mse[:, -1], of_map.mse_empty[:, -1])).any():
        return RegenerationResult(organism, config, cuts)  # nothing would be defined
    body = np.asarray(mature(organism.rule, jnp.asarray(states[0])))
    wounds = half_planes(body, config.angles)
    progress.start(f"half planes through {name}", config.map_runs * len(wounds) * span)
    planes = map_wounds(organism, of_map, wounds, body, progress.tick)
    wounds = hole_grid(body, config.radii, config.map_points)
    progress.start(f"holes in {name}", config.map_runs * len(wounds) * span)
    holes = map_wounds(organism, of_map, wounds, body, progress.tick)
    late = xr.Dataset()
    if config.follow_up_step:
        span = config.follow_up_step - config.adult_step
        progress.start(f"follow-up of {name}", config.follow_up_runs * (len(CUTS) + 2) * span)
        late = follow_up(organism, _first_runs(controls, config.follow_up_runs), config.follow_up_step, progress.tick)
    return RegenerationResult(organism, config, cuts, planes, holes, late)


regeneration = run  # its name in `analysis`


def _first_runs(controls: Controls, runs: int) -> Controls:
    """The first runs of some controls."""
    names = ("states", "keys", "reference", "mse", "mse_empty", "mature_cells", "final_states")
    return replace(controls, **{name: getattr(controls, name)[:runs] for name in names})

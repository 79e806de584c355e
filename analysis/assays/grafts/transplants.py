"""Is a cell's state a code? A disc of it is moved elsewhere, and the host's rule runs what it finds.

Beside the graft stand, at the same place of the same run: a sham (the same place of a twin run), its
hidden channels alone, its colours alone, and a random change as large in every cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.controls import compared
from analysis.assays.grafts.maps import isolated, organizing
from analysis.assays.grafts.operations import GRAFT, SHAM, States, kinds, set_once
from analysis.assays.regeneration.wounds import no_body
from analysis.progress import Log, Progress, silent
from analysis.rollouts import CHUNK, Batch, advance_chunk, grow_runs, run_keys
from nca.damage import disc
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature
from nca.rollout import trajectory


@dataclass(frozen=True)
class Grafted:
    """What came of grafts.

    Attributes:
        donor, host: whose cells, and whose rule.
        config: how.
        grafts: what `compared` says; empty where there is trouble.
        isolation: what `isolated` says; empty where no map was made.
        organizers: what `organizing` says; empty where no map was made.
        film: states of the first run after the sham and after the graft, (step, y, x, channel).
        trouble: why nothing was grafted.
        warnings: what to bear in mind, in sentences.
    """

    donor: Organism
    host: Organism
    config: GraftConfig
    grafts: xr.Dataset = field(default_factory=xr.Dataset)
    isolation: xr.Dataset = field(default_factory=xr.Dataset)
    organizers: xr.Dataset = field(default_factory=xr.Dataset)
    film: tuple[np.ndarray, np.ndarray] | None = None
    trouble: str = ""
    warnings: Sequence[str] = ()


def graft(donor: Organism, host: Organism, config: GraftConfig, say: Log = silent, twin: bool | None = None) -> Grafted:
    """Grow both, move the disc, follow, and map.

    Args:
        donor: whose cells are moved; grown on the host's canvas.
        host: whose rule runs them.
        config: how.
        say: is told the progress.
        twin: whether the donor is a twin run of the host, with the next key; if none, where both are
            the same organism.

    Raises:
        UserError: another number of channels, or a disc without a living cell.
    """
    config, donor = config.filled(), _fitted(donor, host)
    same = donor.hash == host.hash if twin is None else twin
    progress = Progress(say, planned(config, same))
    progress.stage = "growing"
    # Run i takes from run i + 1: one run more than is grafted.
    keys = run_keys(config.seed, config.runs + 1)
    hosts = np.asarray(grow_runs(host, config.at, keys, tick=progress.tick))
    donors = hosts if same else np.asarray(grow_runs(donor, config.at, keys, tick=progress.tick))
    warnings = () if same or _alike(donor, host) else (foreign(donor, host),)
    if trouble := no_body(host, hosts, config.at) or no_body(donor, donors, config.at):
        return Grafted(donor, host, config, trouble=trouble, warnings=warnings)
    check_disc(donor, donors, config)
    progress.stage = "grafting"
    found, ends = compared(donor, host, hosts, donors, keys, config, progress.tick)
    isolation = organizers = xr.Dataset()
    if config.map_runs:
        progress.stage = "isolating fragments"
        isolation = isolated(host, hosts, keys, config, ends, progress.tick)
        progress.stage = "looking for organizers"
        organizers = organizing(donor, host, hosts, donors, keys, config, ends, progress.tick)
    progress.stage = "filming"
    film = filmed(host, hosts, donors, keys, config)
    return Grafted(donor, host, config, found, isolation, organizers, film, warnings=warnings)


def planned(config: GraftConfig, same: bool) -> int:
    """Steps that `graft` takes at most, all runs together."""
    span = config.until - config.at
    maps = (len(config.fragments) + 1) * config.places * config.map_runs
    grafts = config.runs * (7 if same else 8) + 1
    return (config.runs + 1) * config.at * (1 if same else 2) + (grafts + maps) * span


def _fitted(donor: Organism, host: Organism) -> Organism:
    """The donor on the host's canvas."""
    theirs, ours = donor.rule.spec.channels, host.rule.spec.channels
    if theirs != ours:
        raise UserError(
            f"A graft needs equal channels in donor and host; {donor.name} has {theirs}, {host.name} {ours}."
        )
    return donor if donor.canvas == host.canvas else replace(donor, canvas=host.canvas)


def _alike(donor: Organism, host: Organism) -> bool:
    """Whether two organisms go by one rule, whatever their canvas."""
    return replace(donor, canvas=host.canvas).hash == host.hash


def foreign(donor: Organism, host: Organism) -> str:
    """The warning where two rules meet."""
    return (
        f"{host.name} runs cells of {donor.name}, another rule: its hidden channels mean something else, so "
        "whatever grows says nothing of a code that both share."
    )


def check_disc(donor: Organism, donors: States, config: GraftConfig) -> None:
    """Raise where a disc takes no living cell of the donor, or lies off the canvas."""
    high, wide = donors.shape[1:3]
    for name, (y, x) in (("from", config.source), ("to", config.place)):
        if not (0 <= y < high and 0 <= x < wide):
            raise UserError(f"--{name} {y:g},{x:g} lies off the canvas of {high}x{wide} cells (y,x from 0).")
    body = np.asarray(mature(donor.rule, jnp.asarray(donors)))
    if not (body & disc((high, wide), config.source, config.radius)).any():
        rows, columns = np.argwhere(body.any(0)).T
        raise UserError(
            f"The disc at {config.source[0]:g},{config.source[1]:g} takes no cell of {donor.name}'s body, "
            f"which lies in rows {rows.min()} to {rows.max()} and columns {columns.min()} to {columns.max()} "
            f"at step {config.at}."
        )


def filmed(
    host: Organism, hosts: States, donors: States, keys: Any, config: GraftConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The first run after the sham and after the graft, every state from the operation on."""
    made = kinds(host, hosts[0], donors[1], hosts[1], config, 0)
    course = Batch(host, keys[:1], start=config.at)
    films = []
    for kind in (SHAM, GRAFT):
        states = [set_once(host, hosts[0], made[kind], config.at, keys[0])[None]]
        for here in range(0, config.until - config.at, CHUNK):
            steps = min(CHUNK, config.until - config.at - here)
            more = advance_chunk(course, jnp.asarray(states[-1][-1:]), here, steps, trajectory)
            states.append(np.asarray(more[0, 1:]))
        films.append(np.concatenate(states))
    return films[0], films[1]

"""Everything that a dissection computes, before a word is written or a line drawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from analysis import metrics
from analysis.assays.axes.config import QUICK, AxesConfig
from analysis.assays.axes.examination import Axes, examine_axes
from analysis.assays.lesions import first as lesions
from analysis.assays.regeneration import regeneration
from analysis.dissection.config import DissectConfig
from analysis.paired import Controls, run_controls
from analysis.progress import Progress
from analysis.recording import record
from analysis.rollouts import CHUNK, grow_runs, run_keys, seed_states
from nca.errors import UserError
from nca.organism import Organism

PUBLISHED = 96
Say = Callable[[str], None]


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        organism: what was examined.
        config: how.
        recording: every state of the first run up to the grown body.
        growth: Dataset over (run, time): e, dead, mature, from the seed to `config.until`; exploded
            (run,), by the grown step; and e_late, mature_late, exploded_late (late_run,).
        axes: A0 to A3 of the axes protocol.
        sweep: what `lesions.first_sweep` says.
        wounds: what `regeneration.five_cuts` says.
        skipped: why an assay was not made, by its name; its Dataset is then empty, hence False.
        seconds: how long it all took.
    """

    organism: Organism
    config: DissectConfig
    recording: xr.Dataset
    growth: xr.Dataset
    axes: Axes
    sweep: xr.Dataset = field(default_factory=xr.Dataset)
    wounds: xr.Dataset = field(default_factory=xr.Dataset)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def examine(organism: Organism, config: DissectConfig, say: Say) -> Examination:
    """Grow, look at the axes, make lesions, cut; assays that make no sense are said to be so."""
    progress = Progress(say, planned(organism, config))
    recording, growth, adult, later = _grown(organism, config, progress)
    found: dict[str, Any] = {"skipped": {}}
    trouble = _no_body(adult, config)
    everywhere = trouble[0] if all(trouble) else ""
    tested = examine_axes(organism, axes_config(config), recording=recording, states=np.asarray(adult.final_states), say=say)
    if not config.full:  # which has assays of its own for these
        progress.stage = "lesions"
        _attempt(found, "lesions", everywhere, lambda: _lesions(organism, config, adult, progress))
        progress.stage = "cuts"
        _attempt(
            found,
            "cuts",
            everywhere,
            lambda: {"wounds": regeneration.cuts_of(organism, later, progress.tick)},
        )
    seconds = time.monotonic() - progress.begun
    return Examination(organism, config, recording, growth, tested, seconds=seconds, **found)


def axes_config(config: DissectConfig) -> AxesConfig:
    """How the axes are examined: A0 to A3, or the whole protocol."""
    usual = AxesConfig() if config.full else QUICK
    angles = usual.angles if config.runs > 1 else ()
    same = {name: getattr(config, name) for name in ("runs", "seed", "steps", "surrogates")}
    return replace(usual, angles=angles, **same)


def planned(organism: Organism, config: DissectConfig) -> int:
    """Steps that an examination takes, all runs together."""
    kinds = len(lesions.KINDS) * organism.rule.spec.channels + 1
    return (
        (config.runs + 1) * config.steps
        + 7 * config.runs * (config.until - config.steps)
        + config.late_runs * max(0, config.late - config.until)
        + config.lesion_runs * kinds * max(config.horizons)
    )


def _attempt(found: dict[str, Any], name: str, trouble: str, work: Callable[[], dict[str, Any]]) -> None:
    """Add what `work` finds, or the reason why there is nothing."""
    try:
        if trouble:
            raise UserError(trouble)
        found |= work()
    except UserError as error:
        found["skipped"][name] = str(error)


def _no_body(adult: Controls, config: DissectConfig) -> list[str]:
    """What is wrong with each run's grown body; empty where nothing is."""
    counts, burst = adult.mature_cells[:, -1], np.asarray(metrics.exploded(adult.final_states))
    told = []
    for run, (count, exploded) in enumerate(zip(counts, burst, strict=True)):
        where = f"at step {config.steps}, run {run}"
        if count == 0:
            told.append(f"There is no body to examine: {where} has no mature cell.")
        elif exploded:
            told.append(f"There is no body to examine: {where} has exploded (a value beyond 1,000).")
        else:
            told.append("")
    return told


def _grown(
    organism: Organism, config: DissectConfig, progress: Progress
) -> tuple[xr.Dataset, xr.Dataset, Controls, Controls]:
    progress.stage = "growing"
    recording = record(organism, config.steps, seed=config.seed, tick=progress.tick)
    keys, until = run_keys(config.seed, config.runs), config.until
    first = sorted({*range(0, config.steps, CHUNK), config.steps} | {PUBLISHED} & set(range(config.steps)))
    adult = run_controls(organism, seed_states(organism, config.runs), keys, first, tick=progress.tick)
    later = run_controls(
        organism,
        adult.final_states,
        keys,
        regeneration.marks(config.steps, until),
        tick=progress.tick,
    )
    joined = {
        name: (("run", "time"), np.concatenate([getattr(adult, field), getattr(later, field)[:, 1:]], 1))
        for name, field in {"e": "mse", "dead": "mse_empty", "mature": "mature_cells"}.items()
    }
    growth = xr.Dataset(joined, {"time": np.concatenate([adult.steps, later.steps[1:]])})
    growth["exploded"] = ("run", np.asarray(metrics.exploded(adult.final_states)))
    if config.late:
        few = config.late_runs
        old = grow_runs(
            organism, config.late - until, keys[:few], states=later.final_states[:few], start=until, tick=progress.tick
        )
        growth = growth.assign(_late(organism, old))
    return recording, growth, adult, later


def _late(organism: Organism, old: Any) -> dict[str, Any]:
    target = organism.picture((old.shape[1], old.shape[2]))
    found = {
        "mature_late": ("late_run", np.asarray(metrics.mature_count(organism.rule, old))),
        "exploded_late": ("late_run", np.asarray(metrics.exploded(old))),
    }
    if target is not None:
        found["e_late"] = ("late_run", np.asarray(metrics.mse(organism.rule.spec, old, target)))
    return found


def _lesions(organism: Organism, config: DissectConfig, adult: Controls, progress: Progress) -> dict[str, Any]:
    few, marks = config.lesion_runs, lesions.marks(config.steps, config.horizons)
    controls = run_controls(organism, adult.final_states[:few], adult.keys[:few], marks, tick=progress.tick)
    sweep = lesions.first_sweep(
        organism,
        seed=config.seed,
        at=config.steps,
        horizons=config.horizons,
        controls=controls,
        tick=progress.tick,
    )
    return {"sweep": sweep}

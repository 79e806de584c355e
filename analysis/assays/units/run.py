"""`nca units`: a card for every hidden unit, how many a body needs, backup, copy suppression, families."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.units.activity import PhaseStates, activity_maps, grow_phases, phase_runs, unit_activity
from analysis.assays.units.backup import LEAST_LEFT, judge_backup, screen_backup
from analysis.assays.units.cards import ablate_alone, unit_table
from analysis.assays.units.config import UnitConfig
from analysis.assays.units.faithfulness import faithfulness_curve, keep_orders, kept_counts
from analysis.assays.units.families import (
    activity_features,
    co_activation,
    family_table,
    find_families,
    unit_profiles,
)
from analysis.assays.units.suppression import copy_suppression
from analysis.assays.units.wiring import own_read_weights, read_profile, write_profile, write_weights
from analysis.report.notebook import ReportHtml
from analysis.rollouts import run_keys, with_adult_step
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, Progress, silent


@dataclass(frozen=True)
class UnitResult(ReportHtml):
    """What the hidden units of one organism do; of a deeper rule, those of its first hidden layer.

    Attributes:
        organism: what was examined.
        config: how, with `full` already applied.
        units: a row for each unit (`cards.unit_table`).
        ablations: Dataset over (phase, ablation, unit, run): fitness, log_mse_increase, overgrown, exploded.
        activity: where and when units are active (`activity.activity_maps`).
        read: what they read (`wiring.read_profile`).
        write: what they write (`wiring.write_profile`).
        co_activation: correlations of activity (unit, other).
        curves: Dataset over (phase, order, kept, run): fitness when only some units are kept.
        screening: Dataset over (phase, unit, run): backup, as the screening measured it; primary (phase,).
        backup: a row for each phase and candidate (`backup.judge_backup`), with phase and primary.
        suppression: copy suppression by unit (`suppression.copy_suppression`).
        profiles: z scores that units are clustered by (`families.unit_profiles`).
        families: a row for each family (`families.family_table`).
        clusters: silhouette of the families with its null (`families.find_families`).
        no_body: why nothing was examined; empty where it was.
        skipped: what was left out, and why.
        portrait: the first run's grown body, premultiplied RGBA.
    """

    organism: Organism
    config: UnitConfig
    units: pd.DataFrame = field(default_factory=pd.DataFrame)
    ablations: xr.Dataset = field(default_factory=xr.Dataset)
    activity: xr.Dataset = field(default_factory=xr.Dataset)
    read: xr.Dataset = field(default_factory=xr.Dataset)
    write: xr.Dataset = field(default_factory=xr.Dataset)
    co_activation: Float[np.ndarray, "unit other"] = field(default_factory=lambda: np.zeros((0, 0)))
    curves: xr.Dataset = field(default_factory=xr.Dataset)
    screening: xr.Dataset = field(default_factory=xr.Dataset)
    backup: pd.DataFrame = field(default_factory=pd.DataFrame)
    suppression: xr.Dataset = field(default_factory=xr.Dataset)
    profiles: pd.DataFrame = field(default_factory=pd.DataFrame)
    families: pd.DataFrame = field(default_factory=pd.DataFrame)
    clusters: dict[str, Any] = field(default_factory=dict)
    no_body: str = ""
    skipped: tuple[str, ...] = ()
    portrait: Float[np.ndarray, "y x 4"] | None = None


def run(organism: Organism, config: UnitConfig | None = None, *, log: Log = silent) -> UnitResult:
    """Look at every hidden unit, and ablate it alone and with others.

    Args:
        organism: what is examined.
        config: phases, ablations and numbers of runs; the default configuration if none.
        log: receives the progress.
    """
    config = with_adult_step((config or UnitConfig()).filled(), organism)
    progress = Progress(log)
    searches = config.backup_screen_runs > 0
    keys = run_keys(config.seed, config.runs + max(config.kept_runs, config.backup_runs if searches else 0))
    progress.start(f"growing {organism.name}", len(keys) * config.adult_step)
    phases, no_body = grow_phases(organism, config, keys, progress.tick)
    if no_body:
        return UnitResult(organism, config, no_body=no_body)
    results = _describe(organism, config, phases)
    ablations, skipped = _ablate_phases(organism, config, phases, keys, progress)
    results |= ablations
    table = unit_table(results)
    grown = next(iter(phases.values()))
    state = (phases.get("adult") or grown).states[0 if "adult" in phases else -1, 0]
    portrait = np.asarray(metrics.picture(organism.rule.spec, state))
    results.pop("family")
    return UnitResult(organism, config, table, **results, skipped=tuple(skipped), portrait=portrait)


units = run  # its name in `analysis`


def _describe(organism: Organism, config: UnitConfig, phases: dict[str, PhaseStates]) -> dict[str, Any]:
    """What needs no intervention: activity, reading, writing, suppression, families."""
    rule = organism.rule
    shown = {name: _first_runs(phase, config.runs) for name, phase in phases.items()}
    body = shown.get("adult") or next(iter(shown.values()))
    when = 0 if body.name == "adult" else -1
    states, bodies = body.states[when], body.bodies[when]
    activity = np.asarray(unit_activity(rule, jnp.asarray(states)))[bodies].astype(np.float64)
    read, write = read_profile(rule, states, bodies), write_profile(rule, states, bodies, activity)
    profiles = unit_profiles(activity_features(organism, shown), read, write)
    family, clusters = find_families(profiles, config.surrogates, config.seed)
    return {
        "activity": activity_maps(rule, shown),
        "read": read,
        "write": write,
        "co_activation": co_activation(rule, shown),
        "suppression": copy_suppression(own_read_weights(organism), write_weights(rule), states[bodies], activity),
        "profiles": profiles,
        "families": family_table(profiles, family),
        "clusters": clusters,
        "family": family,
    }


def _first_runs(phase: PhaseStates, runs: int) -> PhaseStates:
    return PhaseStates(phase.name, phase.steps, phase.states[:, :runs], phase.bodies[:, :runs])


def _ablate_phases(
    organism: Organism, config: UnitConfig, phases: dict[str, PhaseStates], keys: Any, progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """Every intervention in every phase that ends in a body."""
    alone, curves, screens, judged, skipped = [], [], [], [], []
    for name, phase in phases.items():
        try:
            first = phase_runs(organism, phase, keys, slice(0, config.runs))
            further = phase_runs(organism, phase, keys, slice(config.runs, config.runs + config.kept_runs))
        except UserError as error:
            skipped.append(f"{name}: {error}")
            continue
        size, tick = len(first.means), progress.tick
        progress.start(f"{name}: units one by one", len(config.ablations) * size * config.runs * first.steps)
        single = ablate_alone(first, config.ablations, tick)
        alone.append(single)
        fitness = single.fitness.sel(phase=name, ablation=_main_ablation(config)).transpose("unit", "run").values
        loss = 1 - np.median(np.nan_to_num(fitness, nan=1.0, neginf=-1e9), 1)
        orders = keep_orders(loss, _written(organism, phase, config.runs), config.random_orders, config.seed)
        counts = kept_counts(size, config.shares_kept)
        progress.start(f"{name}: units kept", len(orders) * (len(counts) - 1) * config.kept_runs * first.steps)
        curves.append(faithfulness_curve(further, orders, counts, tick).expand_dims(phase=[name]))
        if config.backup_screen_runs:
            screen, table = _search_backup(organism, config, phase, keys, fitness, progress)
            screens.append(screen)
            judged.append(table)
    results = {
        "ablations": xr.concat(alone, "phase") if alone else xr.Dataset(),
        "curves": xr.concat(curves, "phase") if curves else xr.Dataset(),
        "screening": xr.concat(screens, "phase") if screens else xr.Dataset(),
        "backup": pd.concat(judged, ignore_index=True) if judged else pd.DataFrame(),
    }
    return results, skipped


def _main_ablation(config: UnitConfig) -> str:
    """The ablation that ranks units."""
    return "mean" if "mean" in config.ablations else config.ablations[0]


def _written(organism: Organism, phase: PhaseStates, runs: int) -> Float[np.ndarray, " unit"]:
    """Variance that each unit writes over the body at the end of a phase's first runs, whitened."""
    states, bodies = phase.states[-1, :runs], phase.bodies[-1, :runs]
    activity = np.asarray(unit_activity(organism.rule, jnp.asarray(states)))[bodies].astype(np.float64)
    return write_profile(organism.rule, states, bodies, activity).variance.values


def _search_backup(
    organism: Organism,
    config: UnitConfig,
    phase: PhaseStates,
    keys: Any,
    fitness: Float[np.ndarray, "unit run"],
    progress: Progress,
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Screen all units for backup of the one needed most, and judge the best candidates in further runs."""
    runs = min(config.backup_screen_runs, config.runs)
    screening = phase_runs(organism, phase, keys, slice(0, runs))
    judging = phase_runs(organism, phase, keys, slice(config.runs, config.runs + config.backup_runs))
    how: dict[str, Any] = {"ablation": _main_ablation(config), "tick": progress.tick}
    median = np.median(fitness, 1)
    primary = int(np.where(median > LEAST_LEFT, median, np.inf).argmin())
    progress.start(f"{phase.name}: backup of unit {primary}", len(fitness) * runs * screening.steps)
    screen = screen_backup(screening, primary, fitness[:, :runs], **how)
    order = np.argsort(-np.nan_to_num(np.median(screen, 1), nan=-np.inf), kind="stable")
    candidates = order[: min(config.backup_candidates, len(order) - 1)]
    progress.start(
        f"{phase.name}: {len(candidates)} candidates", 4 * len(candidates) * config.backup_runs * judging.steps
    )
    table = judge_backup(judging, primary, candidates, **how)
    table.insert(0, "primary", primary)
    table.insert(0, "phase", phase.name)
    data: dict[str, Any] = {"backup": (("unit", "run"), screen), "primary": primary}
    return xr.Dataset(data).expand_dims(phase=[phase.name]), table

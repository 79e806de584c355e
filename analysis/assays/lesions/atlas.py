"""The lesion atlas: every part x kind x dose, one row for each run and horizon, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float

from analysis import metrics
from analysis.assays.lesions.kinds import RANDOM, Lesion, Scene, edit_of, role, touched
from analysis.paired import EditedRun, run_edited
from analysis.rollouts import Tick
from nca.errors import UserError
from nca.organism import Organism

BATCH = 256  # rows whose final states are held at once
LOST = 0.5
GROUP = ["part", "target", "role", "kind", "dose", "horizon"]
Untouched = Literal["error", "keep"]


def channels(
    organism: Organism,
    kinds: Sequence[str],
    doses: Sequence[float] = (),
    noises: Sequence[float] = (),
    marker: int | None = None,
) -> list[Lesion]:
    """Lesions of every channel; graded ones at every dose, noise at every size, others once each."""
    made = []
    for kind in kinds:
        for dose in doses if kind == "graded" else noises if kind == "noise" else (float("nan"),):
            for number, name in enumerate(organism.rule.channel_names):
                is_marker = number == marker
                if is_marker and kind == "random direction":  # pushes other channels, so is no control
                    continue
                target = f"marker ({number})" if is_marker else f"{name} ({number})"
                what = "marker" if is_marker else role(name)
                made.append(Lesion("channel", target, (number,), kind, dose, what))
    return made


def filters(organism: Organism, kinds: Sequence[str], doses: Sequence[float] = ()) -> list[Lesion]:
    """Lesions of every filter of the perception, over all channels."""
    parts = [(name, (number,)) for number, name in enumerate(organism.rule.filters)]
    return _inner("filter", parts, kinds, doses)


def units(organism: Organism, kinds: Sequence[str], doses: Sequence[float] = (), single: bool = False) -> list[Lesion]:
    """Lesions of hidden units of the first layer, by the channel that they write to most, or singly."""
    ways = np.abs(np.asarray(organism.rule.weights[1][...]))
    for weight in organism.rule.weights[2:]:
        ways = ways @ np.abs(np.asarray(weight[...]))
    names, most = organism.rule.channel_names, ways.argmax(1)
    writing = ways.max(1) > 0
    parts: list[tuple[str, tuple[int, ...]]]
    if single:
        parts = [(f"unit {n} to {names[most[n]]}", (n,)) for n in range(len(most))]
    else:
        groups = [(c, tuple(np.flatnonzero((most == c) & writing).tolist())) for c in range(len(names))]
        parts = [(f"{len(g)} to {names[c]} ({c})", g) for c, g in groups if g]
    return _inner("unit", parts, kinds, doses)


def _inner(
    part: str, parts: Sequence[tuple[str, tuple[int, ...]]], kinds: Sequence[str], doses: Sequence[float]
) -> list[Lesion]:
    return [
        Lesion(part, name, entries, kind, dose)
        for kind in kinds
        for dose in (doses if kind == "graded" else (float("nan"),))
        for name, entries in parts
    ]


def directions(hidden: int, kinds: Sequence[str], doses: Sequence[float] = ()) -> list[Lesion]:
    """Lesions along every principal component of the hidden states, and along random directions."""
    made = []
    for kind in kinds:
        for dose in doses if kind == "graded" else (float("nan"),):
            for k in range(hidden):
                made.append(Lesion("direction", f"PC{k + 1}", (k,), kind, dose, "component"))
            for k in range(RANDOM if hidden and kind != "random direction" else 0):
                made.append(Lesion("direction", f"random {k + 1}", (hidden + k,), kind, dose, "random"))
    return made


def sweep(
    scene: Scene,
    lesions: Sequence[Lesion],
    horizons: Sequence[int],
    *,
    phase: str = "adult",
    untouched: Untouched = "error",
    tick: Tick | None = None,
) -> pd.DataFrame:
    """Make each lesion in each run of a scene.

    Args:
        scene: the runs; their marks hold the first step plus every horizon.
        lesions: what is done.
        horizons: steps after the first at which the outcome is measured.
        phase: a word for the table.
        untouched: what to do about a lesion that changes no cell of any run: an error, or keep the row,
            whose `touched` is then 0.
        tick: is told the steps done.

    Returns:
        One row for each lesion, run and horizon: phase, part, target, role, kind, dose, run, horizon;
        spread, the share of the hidden variance along a direction (NaN of other parts);
        fitness (NaN: not defined), log_error, worse (rise of L over the control of the same key), e,
        mature, e_control, mature_control; overgrown, exploded: the step at which first seen (the run
        stops there) or -1; touched: cells that the first step's edit changed; changed: largest difference
        from the control at the last mark, in channels that are not lesioned themselves.

    Raises:
        UserError: a lesion that touched nothing, unless such rows are kept.
    """
    runs, controls = len(scene.states), scene.controls
    jobs = [(lesion, run) for lesion in lesions for run in range(runs)]
    picked = np.searchsorted(controls.steps, controls.steps[0] + np.asarray(horizons))
    parts = []
    for first in range(0, len(jobs), BATCH):
        batch = jobs[first : first + BATCH]
        made = [edit_of(scene, lesion, run) for lesion, run in batch]
        rows = [EditedRun(run, (edit,)) for (_, run), edit in zip(batch, made, strict=True)]
        found = run_edited(scene.organism, controls, rows, tick)
        for n, edit in enumerate(made):
            if edit.site != "state":
                found["cells_changed"][n] = touched(scene, edit, batch[n][1])
        parts.append(_long(scene, batch, found, picked, horizons))
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "phase", phase)
    if untouched == "error":
        _refuse_idle(table)
    return table


def _refuse_idle(table: pd.DataFrame) -> None:
    idle = table.groupby(["part", "target", "kind"], sort=False).touched.max()
    if (idle == 0).any():
        part, target, kind = idle.index[idle == 0][0]
        raise UserError(
            f"The lesion {kind!r} of {part} {target} changed no cell of any run: it holds nothing there. "
            "Leave it out, or keep such rows (untouched='keep')."
        )


def _long(
    scene: Scene,
    jobs: Sequence[tuple[Lesion, int]],
    found: dict[str, np.ndarray],
    picked: np.ndarray,
    horizons: Sequence[int],
) -> pd.DataFrame:
    controls, many = scene.controls, len(horizons)
    runs = np.asarray([run for _, run in jobs])
    e, before, dead = (v[:, picked] for v in (found["mse"], controls.mse[runs], controls.mse_empty[runs]))
    logs, usual = np.asarray(metrics.log_mse(e)), np.asarray(metrics.log_mse(before))
    columns: dict[str, Any] = {
        name: np.repeat([getattr(lesion, name) for lesion, _ in jobs], many)
        for name in ("part", "target", "role", "kind", "dose")
    }
    columns |= {
        "spread": np.repeat([_spread(scene, lesion) for lesion, _ in jobs], many),
        "run": np.repeat(runs, many),
        "horizon": np.tile(horizons, len(jobs)),
        "fitness": np.asarray(metrics.fitness(e, before, dead), np.float64).ravel(),
        "log_error": logs.ravel(),
        "worse": (logs - usual).ravel(),
        "e": e.ravel(),
        "mature": found["mature_cells"][:, picked].ravel(),
        "e_control": before.ravel(),
        "mature_control": controls.mature_cells[runs][:, picked].ravel(),
    }
    found["changed"] = _changed(scene, jobs, found["final_states"])
    flags = {"overgrown": "overgrown", "exploded": "exploded", "touched": "cells_changed", "changed": "changed"}
    columns |= {name: np.repeat(found[key], many) for name, key in flags.items()}
    return pd.DataFrame(columns)


def _spread(scene: Scene, lesion: Lesion) -> float:
    return float(scene.spreads[lesion.entries[0]]) if lesion.part == "direction" else float("nan")


def _changed(
    scene: Scene, jobs: Sequence[tuple[Lesion, int]], ends: Float[np.ndarray, "row y x channel"]
) -> Float[np.ndarray, " row"]:
    """Largest difference from the control in channels that are not lesioned themselves."""
    found = []
    for (lesion, run), end in zip(jobs, ends, strict=True):
        apart = np.abs(end - scene.controls.final_states[run]).max((0, 1))
        if lesion.part == "channel":
            apart[list(lesion.entries)] = 0
        found.append(apart.max())
    return np.asarray(found)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each lesion and horizon: medians over keys with 95 % bootstrap intervals.

    fitness, worse and spread as in the sweep, NaN where not defined; runs; cells_touched; overgrown_runs and
    exploded_runs with the first step, -1 for never; outcome in words where numbers would mislead.
    """
    rows = []
    for names, group in table.groupby(["phase", *GROUP], sort=False, dropna=False):
        row: dict[str, Any] = dict(zip(["phase", *GROUP], names, strict=True))
        for value in ("fitness", "worse"):
            middle, low, high = metrics.median_interval(group[value], resamples=400)
            row |= {value: middle, f"{value}_low": low, f"{value}_high": high}
        row |= {"runs": len(group), "cells_touched": float(group.touched.median())}
        row["spread"] = float(group.spread.iloc[0])
        for what in ("overgrown", "exploded"):
            steps = group[what][(group[what] >= 0)]
            row |= {f"{what}_runs": len(steps), f"{what}_step": int(steps.min()) if len(steps) else -1}
        rows.append(row | {"outcome": _outcome(row, group)})
    return pd.DataFrame(rows)


def _outcome(row: dict[str, Any], group: pd.DataFrame) -> str:
    if not (group.touched > 0).any():
        return "touched nothing: it holds nothing there"
    if not group.fitness.notna().any():
        return "not defined: no body to lose"
    return ", ".join(what for what in ("exploded", "overgrown") if row[f"{what}_runs"])


def tolerance(rows: pd.DataFrame, kind: str = "graded") -> pd.DataFrame:
    """The dose of each target at which half the fitness is gone, between the doses on either side of it.

    Args:
        rows: what `summary` returns.
        kind: a kind that has doses.

    Returns:
        phase, part, target, role, horizon, half_dose (NaN if beyond the doses) and reached: "between
        doses", "below the least dose" or "beyond the largest dose". Doses are interpolated by their
        logarithms, on medians.
    """
    found = []
    dosed = rows[(rows.kind == kind) & rows.dose.notna() & rows.fitness.notna()]
    keys = ["phase", "part", "target", "role", "horizon"]
    for names, group in dosed.groupby(keys, sort=False):
        ordered = group.sort_values("dose")
        half, reached = _half(ordered.dose.to_numpy(), ordered.fitness.to_numpy())
        found.append(dict(zip(keys, names, strict=True)) | {"half_dose": half, "reached": reached})
    return pd.DataFrame(found, columns=[*keys, "half_dose", "reached"])


def _half(doses: np.ndarray, values: np.ndarray) -> tuple[float, str]:
    low = np.flatnonzero(values <= LOST)
    if not len(low):
        return float("nan"), "beyond the largest dose"
    n = int(low[0])
    if n == 0:
        return float("nan"), "below the least dose"
    share = (values[n - 1] - LOST) / (values[n - 1] - values[n])
    between = np.log(doses[n - 1]) + share * (np.log(doses[n]) - np.log(doses[n - 1]))
    return float(np.exp(between)), "between doses"


def repeated(table: pd.DataFrame, kind: str, dose: float, horizon: int, targets: Sequence[str]) -> float:
    """Rank correlation of W over channels between halves of the keys, mean over the ways to halve them by
    every other, every second other, ... key; NaN of one key."""
    rows = table[(table.phase == "adult") & (table.part == "channel")]
    rows = rows[(rows.kind == kind) & (rows.horizon == horizon) & rows.target.isin(targets)]
    rows = rows[rows.dose == dose] if kind == "graded" else rows[rows.dose.isin(rows.dose[:1])]
    w = rows.pivot(index="target", columns="run", values="fitness").to_numpy()
    keys = np.arange(w.shape[1])
    halves = [keys // size % 2 == 0 for size in (1, 2) if size < len(keys)]
    ranks = [scipy.stats.spearmanr(np.median(w[:, half], 1), np.median(w[:, ~half], 1)).statistic for half in halves]
    return float(np.mean(ranks)) if ranks else float("nan")

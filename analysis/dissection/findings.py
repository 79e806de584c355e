"""The verdict in words: each sentence with its value, its null, p, and the number of what it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.assays.lesions import first as lesions
from analysis.assays.regeneration.regeneration import MARGIN
from analysis.dissection.examination import Examination
from analysis.report.format import number, plural, probability, value_range
from analysis.report.model import Claim

CLEAR = 0.05
HEALED = 0.95


TOPICS = ("growth", "lesions", "regeneration")


def findings(found: Examination) -> list[Claim]:
    """What can be said, in the order of the report; assays not made say why."""
    said = growth(found) + late(found) + not_made(found)
    if found.sweep:
        said += graded(found) + erased(found)
    if found.wounds:
        said += regeneration(found)
    return sorted(said, key=lambda finding: TOPICS.index(finding.assay))


def not_made(found: Examination) -> list[Claim]:
    """What was not examined, and why."""
    names = {
        "lesions": ("lesions", "Lesions"),
        "cuts": ("regeneration", "Cuts"),
    }
    return [Claim(names[k][0], f"{names[k][1]}: not examined.", reason) for k, reason in found.skipped.items()]


def growth(found: Examination) -> list[Claim]:
    """The body at the step where it counts as grown."""
    grown = found.growth.sel(time=found.config.steps)
    cells, runs = grown.mature.values, found.config.runs
    alive = bool(np.median(cells) > 0)
    claim = f"It has no body at step {found.config.steps}"
    if cells.any() and not alive:
        claim += f" in {int((cells == 0).sum())} of {plural(runs, 'run')}"
    if alive:
        middle = int(np.median(cells))
        claim = f"By step {found.config.steps} it has grown a body of {plural(middle, 'cell')}"
    evidence = f"median of {plural(runs, 'run')}, {value_range(cells, 0)} cells"
    numbers = {"mature_cells": cells, "runs": runs, "exploded": grown.exploded.values}
    if found.organism.target is not None:
        error = np.asarray(metrics.log_mse(grown.e.values))
        empty = float(metrics.log_mse(grown.dead.values[0]))
        claim += f", with an error L = log10 E of {number(float(np.median(error)))}" if alive else ""
        evidence += f"; L from {value_range(error)}, an empty canvas has {number(empty)}"
        numbers |= {"log10_error": error, "log10_error_of_empty_canvas": empty}
    if grown.exploded.values.any():
        evidence += f"; {int(grown.exploded.sum())} exploded (a value beyond {metrics.EXPLODED:,.0f})"
    return [Claim("growth", claim + ".", evidence, numbers)]


def late(found: Examination) -> list[Claim]:
    """Whether the body stays."""
    if "mature_late" not in found.growth:
        return []
    cells = found.growth.mature_late.values
    before = found.growth.mature.sel(time=found.config.steps).values[: len(cells)]
    burst = found.growth.exploded_late.values
    fates = [fate(int(n), int(b), bool(x)) for n, b, x in zip(cells, before, burst, strict=True)]
    counted = ", ".join(f"{fates.count(f)} of {plural(len(fates), 'body')} {f}" for f in dict.fromkeys(fates))
    evidence = f"{plural(len(cells), 'run')}; {value_range(cells, 0)} cells"
    numbers: dict[str, Any] = {"mature_cells": cells, "fates": fates, "step": found.config.late}
    if "e_late" in found.growth:
        error = np.asarray(metrics.log_mse(found.growth.e_late.values))
        evidence += f", L {value_range(error)}"
        numbers["log10_error"] = error
    claim = f"Left alone until step {found.config.late}, {counted.replace('bodys', 'bodies')}."
    return [Claim("growth", claim, evidence, numbers)]


def fate(now: int, before: int, exploded: bool) -> str:
    """What became of a body, by its number of cells."""
    if exploded:
        return "exploded"
    if now == 0:
        return "died"
    if now > metrics.OVERGROWN * before:
        return "overgrew"
    return "shrank below half" if now < before / metrics.OVERGROWN else "kept size"


def _hidden(found: Examination, kind: str, horizon: int) -> pd.DataFrame:
    rows = lesions.table(found.sweep)
    picked = rows[(rows.kind == kind) & (rows.horizon == horizon) & rows.fitness.notna()]
    return picked[(picked.role == "hidden") & (picked.cells_touched > 0)].sort_values("fitness")


def _interval(row: pd.Series) -> str:
    return f"W {number(row.fitness)} ({number(row.fitness_low)} to {number(row.fitness_high)})"


def graded(found: Examination) -> list[Claim]:
    """Which hidden channel is missed most."""
    horizon, keys = found.config.horizons[-1], found.sweep.sizes["run"]
    rows = _hidden(found, "graded", horizon)
    if rows.empty:
        reason = "W is not defined: no run has a body to lose, or no hidden channel holds anything."
        return [Claim("lesions", "No hidden channel could be judged.", reason)]
    worst, best = rows.iloc[0], rows.iloc[-1]
    over = int((rows.overgrown_runs > 0).sum())
    claim = f"Of hidden channels lost slowly, {worst.channel} is missed most and {best.channel} least."
    if worst.fitness >= HEALED:
        claim = f"No hidden channel is missed when it is slowly lost (W ≥ {HEALED})."
    elif len(rows) == 1:
        claim = f"Lost slowly, its one hidden channel, {worst.channel}, is missed."
    evidence = (
        f"5 % a step for {horizon} steps: {worst.channel} {_interval(worst)}, {best.channel} "
        f"{_interval(best)}; the undisturbed twin of each of {plural(keys, 'key')} is 1; overgrowth under "
        f"{over} of {plural(len(rows), 'channel')}"
    )
    picked = rows[["channel", "fitness", "fitness_low", "fitness_high", "overgrown_runs"]]
    return [Claim("lesions", claim, evidence, {"horizon": horizon, "channels": picked.to_dict("records")})]


def erased(found: Examination) -> list[Claim]:
    """Whether a channel erased once comes back, beside as large a push elsewhere."""
    horizon, sweep = found.config.horizons[-1], found.sweep
    rows = _hidden(found, "erase", horizon)
    if rows.empty:
        return []
    worst, healed = rows.iloc[0], int((rows.fitness >= HEALED).sum())
    null = sweep.fitness.sel(kind="random direction", horizon=horizon)
    null = null.values[sweep.role.values == "hidden"].ravel()
    null = null[np.isfinite(null)]
    p = float((1 + (null <= worst.fitness).sum()) / (len(null) + 1))
    claim = (
        f"{healed} of {plural(len(rows), 'hidden channel')} can be erased once without harm after {horizon} "
        f"steps (W ≥ {HEALED})" + (f"; {worst.channel} does worst." if healed < len(rows) else ".")
    )
    evidence = (
        f"{worst.channel} {_interval(worst)}; {len(null)} pushes as far along random hidden directions: "
        f"median W {number(float(np.median(null)))}, least {number(float(null.min()))}; p {probability(p)} "
        f"before the choice of the worst of {len(rows)}; {plural(sweep.sizes['run'], 'key')}"
    )
    numbers: dict[str, Any] = {"healed": healed, "of": len(rows), "worst": worst.channel, "p": p}
    if "twin" in sweep.kind.values:
        twin = sweep.fitness.sel(kind="twin", horizon=horizon).values[sweep.role.values == "hidden"]
        evidence += f"; set to a twin’s values: W {value_range(twin[np.isfinite(twin)])}"
    return [Claim("lesions", claim, evidence, numbers)]


def regeneration(found: Examination) -> list[Claim]:
    """What comes back after each cut."""
    wounds, config = found.wounds, found.config
    names = [str(n) for n in wounds.wound.values if n != MARGIN]
    medians = {n: metrics.median_interval(wounds.recovered.sel(wound=n).values)[0] for n in names}
    claim = f"Cut at step {config.steps}, by step {config.until} it has recovered: " + ", ".join(
        f"{n} {number(m)}" for n, m in medians.items()
    )
    evidence = f"median of {wounds.sizes['run']} keys; 0 is as cut, 1 as good as the uncut twin of the same key"
    numbers: dict[str, Any] = {"recovered": medians, "keys": wounds.sizes["run"]}
    if MARGIN in wounds.wound.values:
        changed = float(wounds.changed.sel(wound=MARGIN).max())
        evidence += "; the control cut in the empty margin changed " + ("nothing" if changed == 0 else f"{changed:g}")
        numbers["changed_by_control_cut"] = changed
    said = [Claim("regeneration", claim + ".", evidence, numbers)]
    ends, dead = wounds.e_twin.values[:, -1], wounds.dead.values[:, -1]
    lost = int((~np.asarray(metrics.has_body(ends, dead))).sum())
    if lost:
        claim = "These fractions say little: uncut, the body itself is lost by then."
        numbers = {"lost": lost, "runs": len(ends)}
        said.append(Claim("regeneration", claim, f"{lost} of {len(ends)} uncut twins", numbers))
    return said

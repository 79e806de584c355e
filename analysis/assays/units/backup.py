"""Backup: which units matter more when the unit that is needed most is out?

The primary is the unit whose ablation costs most. Every other unit is ablated alone and together with it; its backup is
how much more its ablation costs when the primary is out (conditional co-ablation; the same second difference as
epistasis and synthetic lethality). A few runs propose candidates, other runs judge them. A backup may be a response of
the unit to the loss, or there all along: so the candidate is also held, cell by cell and step by step, to what it does
in the control. If it responds, the repair vanishes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from analysis import metrics
from analysis.assays.units.ablation import PhaseRuns, ablate
from analysis.rollouts import Tick
from analysis.stats.nulls import fdr
from analysis.stats.trends import difference_test

MAX_Q = 0.05
MIN_BACKUP = 0.05  # of fitness: less gets no name
LEAST_LEFT = 0.2  # fitness without the primary below which there is nothing left to lose
_WORST = -1.0  # lower fitness counts as this, so that one overgrown run does not decide


def _fitness(phase: PhaseRuns, runs: Any, units: Any, tick: Tick | None, **options: Any) -> Float[np.ndarray, " row"]:
    return np.maximum(ablate(phase, runs, units, tick=tick, **options).fitness, _WORST)


def screen_backup(
    phase: PhaseRuns,
    primary: int,
    alone: Float[np.ndarray, "unit run"],
    *,
    ablation: str = "mean",
    tick: Tick | None = None,
) -> Float[np.ndarray, "unit run"]:
    """How much more each unit's ablation costs when the primary is out: (W_i - W_ij) - (1 - W_j); NaN of the primary.

    Args:
        phase: the unperturbed runs.
        primary: i, the unit that is out.
        alone: W_j, fitness of the same runs when only unit j is ablated, in the same way.
        ablation: "zero" or "mean".
        tick: receives the steps done.
    """
    size, runs = alone.shape
    others = np.delete(np.arange(size), primary)
    units = np.zeros((len(others), size), bool)
    units[np.arange(len(others)), others] = units[:, primary] = True
    both = np.full((size, runs), np.nan)
    of_row = np.tile(np.arange(runs), len(others))
    fitness = _fitness(phase, of_row, np.repeat(units, runs, 0), tick, ablation=ablation)
    both[others] = fitness.reshape(len(others), runs)
    alone = np.maximum(alone, _WORST)
    return (alone[primary] - both) - (1 - alone)


def judge_backup(
    phase: PhaseRuns,
    primary: int,
    candidates: Int[np.ndarray, " candidate"],
    *,
    ablation: str = "mean",
    tick: Tick | None = None,
) -> pd.DataFrame:
    """Candidates for backup in runs that did not propose them.

    Args:
        phase: the unperturbed runs.
        primary: the unit that is out.
        candidates: units that may back it up.
        ablation: "zero" or "mean".
        tick: receives the steps done.

    Returns:
        A row for each candidate: unit; fitness_primary, fitness_unit, fitness_both, medians over runs; backup with
        backup_low and backup_high, p of a signed rank test over runs and q over the candidates; additive, the fitness
        that two changes of one colour which merely add would leave at the worst; response, the fitness lost when the
        primary is out and the unit is held to what it does in the control, over only the primary out, with
        response_low, response_high, p_response and q_response; runs; backs_up: backup of 0.05 or more with q <= 0.05,
        more than additive; responds: the same of the response.
    """
    runs, size = len(phase.states), len(phase.means)
    every = np.arange(runs)
    out = np.zeros((1 + 2 * len(candidates), size), bool)
    out[0, primary] = True
    for n, unit in enumerate(candidates):
        out[1 + 2 * n : 3 + 2 * n, unit] = True
        out[2 + 2 * n, primary] = True
    how: dict[str, Any] = {"ablation": ablation}
    fitness = _fitness(phase, np.tile(every, len(out)), np.repeat(out, runs, 0), tick, **how).reshape(len(out), runs)
    without, alone, both = fitness[0], fitness[1::2], fitness[2::2]
    held = np.zeros((len(candidates), size), bool)
    held[np.arange(len(candidates)), candidates] = True
    units = np.repeat(np.repeat(out[:1], len(candidates), 0), runs, 0)
    paired = how | {"as_in_control": np.repeat(held, runs, 0)}
    clean = _fitness(phase, np.tile(every, len(candidates)), units, tick, **paired).reshape(len(candidates), runs)
    rows = []
    for n, unit in enumerate(candidates):
        row: dict[str, Any] = {"unit": int(unit), "runs": runs}
        singles = {"fitness_primary": without, "fitness_unit": alone[n], "fitness_both": both[n]}
        row |= {name: float(np.median(values)) for name, values in singles.items()}
        losses = 1 - np.asarray([row["fitness_primary"], row["fitness_unit"]])
        row["additive"] = 1 - float(np.sqrt(losses.clip(0)).sum() ** 2)
        backup, response = (without - both[n]) - (1 - alone[n]), without - clean[n]
        for name, values in (("backup", backup), ("response", response)):
            median, low, high = metrics.median_interval(values)
            row |= {name: median, f"{name}_low": low, f"{name}_high": high}
            row["p" if name == "backup" else "p_response"] = difference_test(values)["p"]
        rows.append(row)
    table = pd.DataFrame(rows)
    table["q"], table["q_response"] = fdr(table.p.to_numpy()), fdr(table.p_response.to_numpy())
    table["backs_up"] = (table.backup >= MIN_BACKUP) & (table.q <= MAX_Q) & (table.fitness_both < table.additive)
    table["responds"] = table.backs_up & (table.response >= MIN_BACKUP) & (table.q_response <= MAX_Q)
    return table.sort_values("backup", ascending=False, ignore_index=True)

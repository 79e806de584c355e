"""A card for each hidden unit: the effect of its ablation, and all else that is known of it, as one row of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.units.ablation import PhaseRuns, ablate
from analysis.rollouts import Tick

HARMLESS = 0.95  # fitness from which on a unit counts as not needed
NEIGHBOURS = 3


def ablate_alone(phase: PhaseRuns, ablations: Sequence[str], tick: Tick | None = None) -> xr.Dataset:
    """Every unit ablated alone in every run, during a whole phase.

    Returns:
        Dataset over (phase, ablation, unit, run): fitness, log_mse_increase, overgrown, exploded.
    """
    runs, size = len(phase.states), len(phase.means)
    of_row, units = np.tile(np.arange(runs), size), np.repeat(np.eye(size, dtype=bool), runs, axis=0)
    by_ablation = []
    for ablation in ablations:
        outcomes = ablate(phase, of_row, units, ablation=ablation, tick=tick)
        names = ("fitness", "log_mse_increase", "overgrown", "exploded")
        data = {name: (("unit", "run"), getattr(outcomes, name).reshape(size, runs)) for name in names}
        by_ablation.append(xr.Dataset(data, {"unit": np.arange(size), "run": np.arange(runs)}))
    together = xr.concat(by_ablation, "ablation").assign_coords(ablation=list(ablations))
    return together.expand_dims(phase=[phase.name])


def unit_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each unit.

    Args:
        results: fields of `UnitResult`, and `family`, the family of each unit.

    Returns:
        unit; family; of each phase and ablation the fitness with ..._low and ..._high over runs; loss, 1 minus the
        least of these fitnesses, and loss_phase, where it is lost; mean activity of each phase; peak_phase and
        peak_step of its mean activity; reads, the filter and group of channels through which most enters, and its
        share; writes, the group to which it writes most; writes_alpha, its weight on alpha; variance, that it writes;
        neighbours by co-activation with their correlations; opposition, q_opposition, leak, suppression.
    """
    read, write, activity, suppression = (results[name] for name in ("read", "write", "activity", "suppression"))
    size = write.sizes["unit"]
    table = pd.DataFrame({"unit": np.arange(size), "family": results["family"]})
    medians = {}
    ablations = results["ablations"]
    for phase in ablations.phase.values if ablations else ():
        for ablation in ablations.ablation.values:
            values = ablations.fitness.sel(phase=phase, ablation=ablation).transpose("unit", "run").values
            name = f"fitness_{phase}_{ablation}"
            intervals = np.asarray([metrics.median_interval(v, resamples=200) for v in values])
            medians[phase, ablation] = intervals[:, 0]
            table[[name, f"{name}_low", f"{name}_high"]] = intervals
    if medians:
        worst = np.stack([1 - np.nan_to_num(m, nan=1.0) for m in medians.values()])
        table["loss"], table["loss_phase"] = worst.max(0), [list(medians)[n][0] for n in worst.argmax(0)]
    course = activity.course.values
    for phase in dict.fromkeys(activity.course_phase.values.tolist()):
        table[f"activity_{phase}"] = course[activity.course_phase.values == phase].mean(0)
    peak = course.argmax(0)
    table["peak_phase"], table["peak_step"] = activity.course_phase.values[peak], activity.course_step.values[peak]
    through = read.read.stack(part=("filter", "group")).transpose("unit", "part")
    names = [f"{group} through {name}" for name, group in through.part.values]
    total = through.values.sum(1)
    table["reads"] = [names[n] for n in through.values.argmax(1)]
    table["reads_share"] = through.values.max(1) / np.where(total > 0, total, np.nan)
    table["writes"] = write.group.values[write.written.values.argmax(1)]
    table["writes_alpha"] = write.write.sel(channel="alpha").values
    table["variance"] = write.variance.values
    nearest, correlation = _nearest(results["co_activation"])
    table["neighbours"] = [" ".join(map(str, row)) for row in nearest]
    table["neighbour_correlations"] = [" ".join(f"{r:.2f}" for r in row) for row in correlation]
    for name in ("opposition", "leak", "beyond_leak", "suppression"):
        table[name] = suppression[name].values
    table["q_opposition"] = suppression.q.values
    return table


def _nearest(correlation: np.ndarray) -> tuple[list[list[int]], list[list[float]]]:
    """Of each unit those most correlated with it, and how much."""
    others = np.where(np.isfinite(correlation), correlation, -np.inf)
    np.fill_diagonal(others, -np.inf)
    order = np.argsort(-others, axis=1, kind="stable")[:, :NEIGHBOURS]
    rows = [[int(m) for m in row if np.isfinite(others[n, m])] for n, row in enumerate(order)]
    return rows, [[float(others[n, m]) for m in row] for n, row in enumerate(rows)]

"""Double lesions: which channels back each other up, and which act in series.

epsilon_ij = W_ij - W_i - W_j + W_0 on the fitness W of the same key, and the same on -log10 MSE. Backup of i by j is
-epsilon_ij, the second difference that is called synthetic lethality in genetics (Mani et al. 2008). Two independent
lesions add in MSE, so that its logarithm alone shows an interaction where there is none: both measures have to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.lesions.interventions import Specimen
from analysis.paired import EditedRun
from analysis.rollouts import Tick
from analysis.stats.nulls import fdr
from nca import edits
from nca.errors import UserError

MAX_Q = 0.05  # false discovery rate
MIN_EPSILON = 0.05  # of fitness: a smaller interaction gets no name
_MASKING_FITNESS = 0.2  # fitness of a single lesion that leaves nothing for the second to take
INTERACTIONS = ("backup", "series", "suppression")
_ALL_SIGNS = 16  # runs up to which every choice of signs is tried
_RANDOM_SIGNS = 9999


def double_lesions(
    specimen: Specimen,
    channels: Sequence[int],
    eval_step: int,
    *,
    share_kept: float = 0.0,
    names: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Each channel alone and each pair, multiplied by `share_kept` at every step from the first on.

    Args:
        specimen: the control runs; their steps hold the first plus the evaluation step.
        channels: indices of two or more.
        eval_step: steps after the first at which the outcome is measured.
        share_kept: 0 ablates the channels.
        names: of the channels, if not the rule's.

    Returns:
        Dataset over (a, b, run), symmetric, single lesions on the diagonal: fitness, log_mse, overgrown, exploded
        (step or -1); of the controls log_mse_control (run,).

    Raises:
        UserError: fewer than two channels.
    """
    if len(set(channels)) < 2:
        raise UserError(f"Double lesions need two channels or more, got {list(channels)}.")
    runs, size = range(len(specimen.states)), len(channels)
    pairs = [*((i, i) for i in range(size)), *combinations(range(size), 2)]
    rows = []
    for (i, j), run in product(pairs, runs):
        edit = edits.scale(specimen.organism, share_kept, channels=sorted({channels[i], channels[j]}))
        rows.append(EditedRun(run, (edit.at(slice(specimen.first_step, None)),)))
    edited = specimen.run_edited(rows, [eval_step], tick)
    edited["log_mse"] = edited["log_mse"].astype(np.float64)
    first, second = np.asarray(pairs).T
    data: dict[str, Any] = {}
    for name in ("fitness", "log_mse", "overgrown", "exploded"):
        square = np.empty((size, size, len(runs)), edited[name].dtype)
        square[first, second] = square[second, first] = edited[name].reshape(len(pairs), len(runs))
        data[name] = (("a", "b", "run"), square)
    mse_control = edited["mse_control"][: len(runs), 0]
    data["log_mse_control"] = (("run",), np.asarray(metrics.log_mse(mse_control), np.float64))
    labels = [specimen.organism.rule.channel_names[c] for c in channels] if names is None else list(names)
    attrs: dict[str, Any] = {"eval_step": eval_step, "share_kept": share_kept, "first_step": specimen.first_step}
    attrs |= {"reference": "control" if specimen.organism.target is None else "target"}
    return xr.Dataset(data, {"a": labels, "b": labels, "run": np.arange(len(runs))}, attrs)


def pair_table(doubles: xr.Dataset, seed: int = 0) -> pd.DataFrame:
    """Every pair, the largest backup first.

    Without a target the MSE is measured to the control itself, whose -log10 MSE is only the floor of the logarithm:
    then epsilon on -log10 MSE is NaN.

    Returns:
        a, b; fitness_a, fitness_b, fitness_ab (medians over runs); epsilon, the median over runs, with epsilon_low and
        epsilon_high of its 95 % bootstrap interval, p of its mean against signs drawn at random for each run (the
        null: epsilon is as often above 0 as below) and q over all pairs; the same of -log10 MSE as epsilon_log,
        epsilon_log_low, epsilon_log_high, p_log, q_log; overgrown_runs, exploded_runs of the double lesion; runs;
        interaction, one of: backup, losing both costs more than the two alone, and more than two changes of one colour
        that merely add may cost, (sqrt(1 - W_i) + sqrt(1 - W_j))^2 + 0.05, the error being a square; series, losing
        both costs no more than the costlier one; suppression, losing one undoes harm of the other. Each needs
        |epsilon| >= 0.05 on fitness with q <= 0.05, and -log10 MSE to agree where it is defined, else it ends in "on
        fitness". masked: one lesion alone leaves nothing to lose. none: anything else.
    """
    fitness, minus_log = doubles.fitness.values, -doubles.log_mse.values
    if doubles.attrs["reference"] == "control":
        minus_log = np.full_like(minus_log, np.nan)
    measures = {"": (fitness, np.ones(fitness.shape[-1])), "_log": (minus_log, -doubles.log_mse_control.values)}
    rows = []
    for i, j in combinations(range(doubles.sizes["a"]), 2):
        row: dict[str, Any] = {"a": str(doubles.a.values[i]), "b": str(doubles.b.values[j])}
        row["runs"] = doubles.sizes["run"]
        singles = {"fitness_a": (i, i), "fitness_b": (j, j), "fitness_ab": (i, j)}
        row |= {name: metrics.median_interval(fitness[at], resamples=1)[0] for name, at in singles.items()}
        for suffix, (values, intact) in measures.items():
            epsilon = values[i, j] - values[i, i] - values[j, j] + intact
            names = (f"epsilon{suffix}", f"epsilon{suffix}_low", f"epsilon{suffix}_high")
            row |= dict(zip(names, metrics.median_interval(epsilon), strict=True))
            row[f"p{suffix}"] = _sign_flip_p(epsilon, seed)
        for event in ("overgrown", "exploded"):
            row[f"{event}_runs"] = int((doubles[event].values[i, j] >= 0).sum())
        rows.append(row)
    table = pd.DataFrame(rows)
    for suffix in measures:
        table[f"q{suffix}"] = fdr(table[f"p{suffix}"].to_numpy())
    table["interaction"] = [_classify_pair(row) for _, row in table.iterrows()]
    return table.sort_values("epsilon", ignore_index=True)


def _classify_pair(row: pd.Series) -> str:
    """What a pair of a table is called (`pair_table`)."""
    if min(row.fitness_a, row.fitness_b) <= _MASKING_FITNESS:
        return "masked" if abs(row.epsilon) >= MIN_EPSILON else "none"
    if abs(row.epsilon) < MIN_EPSILON or row.q > MAX_Q:
        return "none"
    losses = 1 - np.array([row.fitness_a, row.fitness_b])
    additive = np.sqrt(losses.clip(0)).sum() ** 2
    if row.epsilon < 0 and 1 - row.fitness_ab < additive + MIN_EPSILON:
        return "none"
    undone = row.fitness_ab > min(row.fitness_a, row.fitness_b) + MIN_EPSILON
    name = "backup" if row.epsilon < 0 else "suppression" if undone else "series"
    agree = np.sign(row.epsilon) == np.sign(row.epsilon_log) and row.q_log <= MAX_Q
    return name if agree or not np.isfinite(row.epsilon_log) else f"{name} on fitness"


def _sign_flip_p(values: Float[np.ndarray, " run"], seed: int = 0) -> float:
    """p of a mean as far from 0, were each run's sign as likely the other one; 1 where all values are 0.

    All signs are tried for up to 16 runs, so that p is at least 2 / 2^runs; beyond, 9,999 random draws.
    """
    defined = values[np.isfinite(values)]
    if not defined.any():
        return 1.0
    if defined.size <= _ALL_SIGNS:
        signs = 1 - 2 * ((np.arange(2**defined.size)[:, None] >> np.arange(defined.size)) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], (_RANDOM_SIGNS, defined.size))
        signs = np.concatenate([np.ones((1, defined.size)), signs])
    return float((np.abs(signs @ defined) >= abs(defined.sum()) * (1 - 1e-9)).mean())


def sign_flip_floor(runs: int) -> float:
    """The least p that so many runs can give."""
    return 2 / 2**runs if runs <= _ALL_SIGNS else 1 / (_RANDOM_SIGNS + 1)

"""Tests in which a network's line is the unit: a trend over ordered regimes, a change, a level.

Values are tables (lineage, regime); a lineage that lacks a regime is left out of what compares it.
Every p is exact and two-sided, and stands beside the least that so few lineages can give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

RESAMPLES = 1999
BOUNDED = 6  # lineages from which an interval can hold a median 95 % of the time (1 - 2/2^6)
EXACT = 12  # lineages up to which all signs are tried where there are ties
CLEAR = 0.05
NAN = float("nan")
Values = Float[np.ndarray, "lineage regime"]


def trend(values: Values, seed: int = 0) -> dict[str, Any]:
    """Whether values rise or fall along the order of the columns.

    Args:
        values: three columns or more; rows with a gap are left out.
        seed: what the bootstrap draws from.

    Returns:
        n; p of Page's trend test (exact, two-sided) and floor, the least it can be; effect, the mean
        over lineages of the rank correlation with the order (1 all rise, -1 all fall, 0 none), with
        low and high; change, the median of last minus first, with change_low and change_high: 95 %
        bootstraps over lineages, NaN below six lineages.
    """
    rows = complete(values)
    n, k = rows.shape
    if not n:
        return _empty()
    rises, falls = (_page(v) for v in (rows, rows[:, ::-1]))
    return {
        "n": n,
        "p": min(1.0, 2 * min(rises, falls)),
        "floor": min(1.0, 2.0 * math.factorial(k) ** -n),
        **interval(rank_correlations(rows), np.mean, seed),
        **interval(rows[:, -1] - rows[:, 0], np.median, seed, "change"),
    }


def _page(rows: Values) -> float:
    """P of a rise: the ranks in every lineage are as likely in any order."""
    if len(rows) > 1:
        return float(scipy.stats.page_trend_test(rows, method="exact").pvalue)
    # The library asks for two rows; with one, all orders of its ranks are soon counted.
    from itertools import permutations

    ranks = scipy.stats.rankdata(rows[0])
    order = np.arange(1, len(ranks) + 1)
    sums = [np.dot(order, p) for p in permutations(ranks)]
    return float(np.mean(np.asarray(sums) >= np.dot(order, ranks) - 1e-9))


def rank_correlations(rows: Values) -> Float[np.ndarray, " lineage"]:
    """Spearman's correlation of each lineage's values with the order; 0 where they are all alike."""
    ranks = scipy.stats.rankdata(rows, axis=1)
    order = np.arange(rows.shape[1]) - (rows.shape[1] - 1) / 2
    centred = ranks - ranks.mean(1, keepdims=True)
    size = np.sqrt(np.square(centred).sum(1) * np.square(order).sum())
    return np.divide(centred @ order, size, out=np.zeros(len(rows)), where=size > 0)


def change(values: Values, seed: int = 0) -> dict[str, Any]:
    """Whether the second column differs from the first, lineage by lineage.

    Returns:
        n; p of Wilcoxon's signed rank test (exact, two-sided) and floor; effect, the matched-pairs
        rank-biserial correlation (1 all rise, -1 all fall), with low and high; change, the median
        difference, with change_low and change_high, as of `trend`.
    """
    rows = complete(values)
    if not len(rows):
        return _empty()
    return _signed(rows[:, 1] - rows[:, 0], seed)


def level(values: Float[np.ndarray, " lineage"], null: float, seed: int = 0) -> dict[str, Any]:
    """Whether values lie off the value that the null gives; as `change`, of their differences from it."""
    known = np.asarray(values, float)[np.isfinite(values)]
    return _signed(known - null, seed) if len(known) else _empty()


def _signed(differences: np.ndarray, seed: int) -> dict[str, Any]:
    moved = np.count_nonzero(differences)  # the others have no sign
    return {
        "n": len(differences),
        "p": signed_rank(differences),
        "floor": min(1.0, 2.0 * 2.0**-moved),
        **interval(differences, rank_biserial, seed),
        **interval(differences, np.median, seed, "change"),
    }


def signed_rank(differences: Float[np.ndarray, " lineage"]) -> float:
    """Wilcoxon's signed rank test, exact and two-sided; differences of 0 are left out."""
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    tied = len(np.unique(np.abs(moved))) < len(moved)
    if not tied or len(moved) > EXACT:
        method: Any = "exact" if not tied else "asymptotic"
    else:
        method = scipy.stats.PermutationMethod(n_resamples=2 ** len(moved) + 1)  # every sign once
    return float(scipy.stats.wilcoxon(moved, method=method).pvalue)


def rank_biserial(differences: Float[np.ndarray, "*draw lineage"], axis: int = -1) -> np.ndarray:
    """Ranks of what rises less ranks of what falls, over all ranks (Kerby 2014); 0 if nothing moves."""
    ranks = scipy.stats.rankdata(np.abs(differences), axis=axis)
    still = (differences == 0).sum(axis, keepdims=True)
    ranks = np.where(differences == 0, 0.0, ranks - still)
    whole = ranks.sum(axis)
    return np.asarray((ranks * np.sign(differences)).sum(axis) / np.where(whole > 0, whole, 1.0))


def interval(
    scores: Float[np.ndarray, " lineage"], statistic: Callable[..., Any], seed: int, name: str = "effect"
) -> dict[str, float]:
    """A statistic of lineages with its 95 % percentile bootstrap over them, which needs six.

    Percentiles of so few are too narrow: their tails are taken where Student's t says (Hesterberg 2015,
    "expanded" percentiles). Of fewer than six no two values hold a median 95 % of the time.
    """
    found = {name: float(statistic(scores, axis=-1))}
    low, high = ("low", "high") if name == "effect" else (f"{name}_low", f"{name}_high")
    n = len(scores)
    if n < BOUNDED:
        return found | {low: NAN, high: NAN}
    picks = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    tail = scipy.stats.norm.cdf(math.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.025, n - 1))
    ends = np.quantile(statistic(scores[picks], axis=-1), (tail, 1 - tail))
    return found | {low: float(ends[0]), high: float(ends[1])}


def complete(values: Values) -> Values:
    """The rows without a gap."""
    rows = np.asarray(values, float)
    return rows[np.isfinite(rows).all(1)]


def _empty() -> dict[str, Any]:
    names = ("p", "floor", "effect", "low", "high", "change", "change_low", "change_high")
    return {"n": 0} | dict.fromkeys(names, NAN)


def holm(p: Sequence[float]) -> np.ndarray:
    """P corrected over a family, so that one false finding in it is as rare as p says (Holm 1979).

    Those that are NaN stay so and do not count.
    """
    given = np.asarray(p, float)
    found = np.full(len(given), np.nan)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return found

"""Tests in which a lineage of networks is the unit: a trend over ordered regimes, a change, a level.

Values are tables (lineage, regime); a lineage that lacks a regime is left out of the tests that need it. Every p
is exact and two-sided, and comes with its floor, the least p that so few lineages can give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

MIN_LINEAGES = 6  # from which an interval can hold a median 95 % of the time: 1 - 2 / 2^6
ALPHA = 0.05
_RESAMPLES = 1999
_MAX_EXACT = 12  # lineages up to which all signs are enumerated where there are ties
_NAN = float("nan")


def trend_test(values: Float[np.ndarray, "lineage regime"], seed: int = 0) -> dict[str, Any]:
    """Whether values rise or fall along the order of the columns.

    Args:
        values: of three or more regimes; rows with a gap are left out.

    Returns:
        n; p of Page's trend test and floor; effect, the mean over lineages of Spearman's correlation with
        the order (1 all rise, -1 all fall), with low and high; change, the median of last minus first,
        with change_low and change_high. The intervals are 95 % bootstraps over lineages (see
        `_bootstrap_interval`).
    """
    rows = np.asarray(values, float)
    rows = rows[np.isfinite(rows).all(1)]
    n, k = rows.shape
    if not n:
        return _no_result()
    rises, falls = (_page_p(v) for v in (rows, rows[:, ::-1]))
    ranks = scipy.stats.rankdata(rows, axis=1)
    order = np.arange(k) - (k - 1) / 2
    centred = ranks - ranks.mean(1, keepdims=True)
    size = np.sqrt(np.square(centred).sum(1) * np.square(order).sum())
    correlations = np.divide(centred @ order, size, out=np.zeros(n), where=size > 0)
    return {
        "n": n,
        "p": min(1.0, 2 * min(rises, falls)),
        "floor": min(1.0, 2.0 * math.factorial(k) ** -n),
        **_bootstrap_interval(correlations, np.mean, seed),
        **_bootstrap_interval(rows[:, -1] - rows[:, 0], np.median, seed, "change"),
    }


def _page_p(rows: Float[np.ndarray, "lineage regime"]) -> float:
    """One-sided p of a rise: under the null the ranks of a lineage are in any order."""
    if len(rows) > 1:
        return float(scipy.stats.page_trend_test(rows, method="exact").pvalue)
    # scipy needs two rows; the orders of one row's ranks are few enough to enumerate.
    ranks = scipy.stats.rankdata(rows[0])
    order = np.arange(1, len(ranks) + 1)
    sums = [np.dot(order, p) for p in permutations(ranks)]
    return float(np.mean(np.asarray(sums) >= np.dot(order, ranks) - 1e-9))


def difference_test(differences: Float[np.ndarray, " lineage"], seed: int = 0) -> dict[str, Any]:
    """Whether differences, of two regimes or from the value under the null, are on one side of 0; NaN is left out.

    Returns:
        n; p of Wilcoxon's signed rank test and floor; effect, the matched-pairs rank-biserial correlation
        (1 all rise, -1 all fall), with low and high; change, the median difference, with change_low and
        change_high, as in `trend_test`.
    """
    defined = np.asarray(differences, float)[np.isfinite(differences)]
    if not len(defined):
        return _no_result()
    return {
        "n": len(defined),
        "p": _signed_rank_p(defined),
        "floor": min(1.0, 2.0 * 2.0 ** -np.count_nonzero(defined)),  # differences of 0 have no sign
        **_bootstrap_interval(defined, _rank_biserial, seed),
        **_bootstrap_interval(defined, np.median, seed, "change"),
    }


def _signed_rank_p(differences: Float[np.ndarray, " lineage"]) -> float:
    """p of Wilcoxon's signed rank test, two-sided; differences of 0 are left out."""
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    method: Any = "exact"
    if len(np.unique(np.abs(nonzero))) < len(nonzero):
        every_sign = scipy.stats.PermutationMethod(n_resamples=2 ** len(nonzero) + 1)
        method = every_sign if len(nonzero) <= _MAX_EXACT else "asymptotic"
    return float(scipy.stats.wilcoxon(nonzero, method=method).pvalue)


def _rank_biserial(differences: Float[np.ndarray, "*draw lineage"], axis: int = -1) -> np.ndarray:
    """Ranks of what rises minus ranks of what falls, over all ranks (Kerby 2014); 0 if nothing changes."""
    ranks = scipy.stats.rankdata(np.abs(differences), axis=axis)
    zeros = (differences == 0).sum(axis, keepdims=True)
    ranks = np.where(differences == 0, 0.0, ranks - zeros)
    total = ranks.sum(axis)
    return np.asarray((ranks * np.sign(differences)).sum(axis) / np.where(total > 0, total, 1.0))


def _bootstrap_interval(
    values: Float[np.ndarray, " lineage"], statistic: Callable[..., Any], seed: int, name: str = "effect"
) -> dict[str, float]:
    """A statistic over lineages with its 95 % percentile bootstrap, which needs six lineages (else NaN).

    Percentile intervals of so few values are too narrow: the tails are widened by Student's t (Hesterberg
    2015, "expanded" percentiles; `scipy.stats.bootstrap` has none). Of fewer than six values no two hold the
    median 95 % of the time.

    The ends are low and high, or NAME_low and NAME_high.
    """
    low, high = ("low", "high") if name == "effect" else (f"{name}_low", f"{name}_high")
    n, ends = len(values), (_NAN, _NAN)
    if n >= MIN_LINEAGES:
        samples = np.random.default_rng(seed).integers(n, size=(_RESAMPLES, n))
        tail = scipy.stats.norm.cdf(math.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.025, n - 1))
        ends = tuple(np.quantile(statistic(values[samples], axis=-1), (tail, 1 - tail)).tolist())
    return {name: float(statistic(values, axis=-1)), low: ends[0], high: ends[1]}


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """p corrected for the family-wise error rate (Holm 1979); NaN stays NaN and does not count."""
    values = np.asarray(p, float)
    corrected = np.full(len(values), np.nan)
    defined = np.flatnonzero(np.isfinite(values))
    order = defined[np.argsort(values[defined], kind="stable")]
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return corrected


def _no_result() -> dict[str, Any]:
    names = ("p", "floor", "effect", "low", "high", "change", "change_low", "change_high")
    return {"n": 0} | dict.fromkeys(names, _NAN)

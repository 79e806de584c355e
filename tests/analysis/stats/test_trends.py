"""Tests over lineages: against scipy, at their floor, with ties and gaps, and how often they reject without effect."""

import numpy as np
import pytest
import scipy.stats

from analysis.stats import trends


def test_a_trend_equals_pages_test_and_its_effect_is_the_mean_rank_correlation():
    values = np.random.default_rng(0).normal(size=(8, 3)) + np.arange(3) / 2
    result = trends.trend_test(values)
    expected = scipy.stats.page_trend_test(values, method="exact").pvalue
    assert result["p"] == pytest.approx(min(1, 2 * expected))
    correlations = [scipy.stats.spearmanr(row, [0, 1, 2]).statistic for row in values]
    assert result["effect"] == pytest.approx(np.mean(correlations))
    assert result["low"] <= result["effect"] <= result["high"]
    falls = trends.trend_test(values[:, ::-1])
    assert falls["effect"] == pytest.approx(-result["effect"])
    assert falls["p"] == pytest.approx(result["p"])


def test_a_perfect_trend_reaches_the_floor_of_p():
    rising = np.cumsum(np.ones((5, 3)), 1) + np.arange(5)[:, None] / 10
    for n in (1, 2, 5):
        result = trends.trend_test(rising[:n])
        assert result["p"] == pytest.approx(result["floor"])
        assert result["floor"] == pytest.approx(2 * 6.0**-n)
        steps = trends.difference_test(np.diff(rising[:n, :2] * [1, 1.1])[:, 0])
        assert steps["p"] == pytest.approx(steps["floor"]) == pytest.approx(2 * 2.0**-n)


def test_a_change_counts_ranks_and_gaps_leave_lineages_out():
    values = np.array([[0, 1.0], [0, 2], [0, -0.5], [0, 4], [np.nan, 9]])
    result = trends.difference_test(values[:, 1] - values[:, 0])
    assert result["n"] == 4
    assert result["effect"] == pytest.approx((2 + 3 + 4 - 1) / 10)
    assert result["change"] == 1.5
    assert trends.difference_test(np.full(3, np.nan))["n"] == 0
    assert np.isnan(trends.trend_test(np.full((3, 3), np.nan))["p"])


def test_lineages_that_do_not_change_raise_the_floor_of_p():
    assert trends.difference_test(np.array([1.0, 2, 3, 0]))["floor"] == 2 * 2.0**-3


def test_all_signs_are_enumerated_where_ranks_are_tied():
    assert trends._signed_rank_p(np.array([1.0, 1, 2, 2, -1])) == pytest.approx(0.25)
    assert trends._signed_rank_p(np.array([1.0, 1, 1, 1, 0])) == pytest.approx(2 / 16)
    assert trends._signed_rank_p(np.zeros(4)) == 1.0
    assert trends._rank_biserial(np.array([1.0, 1, 2, 2, -1, 0])) == pytest.approx((2 + 2 + 4.5 + 4.5 - 2) / 15)


def test_holm_leaves_out_nan():
    result = trends.holm([0.01, 0.04, np.nan, 0.03])
    assert result[[0, 1, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(result[2])
    assert np.isnan(trends.holm([np.nan])).all()


def test_without_an_effect_p_keeps_its_level():
    """Lineages differ much, regimes not at all: a test that ignores lineages would reject too often."""
    rng = np.random.default_rng(3)
    lines = 5 * rng.normal(size=(200, 8, 1))
    values = lines + rng.normal(size=(200, 8, 3))
    p = {
        "trend": np.array([trends.trend_test(v)["p"] for v in values]),
        "difference": np.array([trends.difference_test(v[:, 1] - v[:, 0])["p"] for v in values]),
    }
    for name, values in p.items():
        for level in (0.05, 0.2, 0.5):
            allowed = level + 2.6 * np.sqrt(level * (1 - level) / len(values))
            assert (values <= level).mean() <= allowed, (name, level)
        assert (values <= 0.5).mean() > 0.3, name  # nor does it never reject
        assert (values <= 0.05).mean() > 0.005, name


def test_intervals_cover_a_known_median_and_need_six_lineages():
    rng = np.random.default_rng(5)
    assert np.isnan(trends._bootstrap_interval(np.arange(5.0), np.median, 0)["low"])
    for n in (6, 8, 12):
        ends = [trends._bootstrap_interval(rng.normal(size=n) + 1, np.median, k) for k in range(200)]
        assert np.mean([e["low"] <= 1 <= e["high"] for e in ends]) >= 0.94, n

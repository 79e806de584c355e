"""p and q of statistics compared with their null."""

import numpy as np
import pytest

from analysis.stats.nulls import fdr, null_tests


def test_p_and_q_of_what_is_not_defined_are_not_defined_and_correct_nothing():
    tests = null_tests({("a", "r2"): np.array([9.0, 1, 2, 3]), ("b", "r2"): np.array([np.nan, 1, 2, 3])})
    assert float(tests.p.sel(quantity="a")) == float(tests.q.sel(quantity="a")) == 0.25
    assert np.isnan(tests.p.sel(quantity="b"))
    np.testing.assert_allclose(fdr(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])


def test_a_test_may_ask_for_small_values_and_shows_the_null_as_it_is():
    values = {("loss", "restricted"): np.array([1.0, 2, 3, 4])}
    assert float(null_tests(values, "less").p[0]) == 0.25
    assert float(null_tests(values).p[0]) == 1
    for alternative in ("less", "greater"):
        tests = null_tests(values, alternative)
        assert float(tests.null_median[0]) == 3
        assert float(tests.null_low[0]) == pytest.approx(2.1)

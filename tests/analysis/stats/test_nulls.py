"""Null tests: p against the null in either direction, q over the defined tests, and the least size of a body."""

import numpy as np
import pytest
from helpers import bodies

from analysis.stats.nulls import fdr, null_tests, with_surrogates
from nca.errors import UserError

MEASURES = {
    ("x", "r2"): np.array([9.0, 1, 2, 3]),
    ("y", "r2"): np.array([np.nan, 1, 2, 3]),
    ("s", "r2"): np.array([1.0, 1, 2, 3]),
}


def test_statistics_are_indexed_by_quantity_and_measure():
    tests = null_tests(MEASURES)
    x = tests.sel(statistic=("x", "r2"))
    assert float(x.observed) == 9
    assert x.null.values.tolist() == [1, 2, 3]
    assert tests.quantity.values.tolist() == ["x", "y", "s"]


@pytest.mark.parametrize(("alternative", "p"), [("greater", [1 / 4, 1.0]), ("less", [1.0, 2 / 4])])
def test_p_asks_for_values_above_or_below_the_null_and_the_null_stays_the_same(alternative, p):
    tests = null_tests(MEASURES, alternative)
    assert tests.p.values[[0, 2]].tolist() == p
    quantiles = [float(tests[name].values[0]) for name in ("null_low", "null_median", "null_high")]
    assert quantiles == pytest.approx([1.1, 2, 2.9])


def test_p_and_q_of_a_value_that_is_not_defined_are_nan_and_do_not_count_in_the_correction():
    tests = null_tests(MEASURES)
    assert np.isnan(tests.p.values[1])
    assert np.isnan(tests.q.values[1])
    assert tests.q.values[[0, 2]].tolist() == [0.5, 1.0]
    np.testing.assert_allclose(fdr(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])
    assert np.isnan(fdr(np.array([np.nan]))).all()


def test_the_states_come_before_their_surrogates():
    mask = bodies.ellipse()
    values = bodies.smooth_fields(0, mask, 3)
    fields = with_surrogates(values, mask, 4, seed=1)
    assert fields.shape == (5, len(values), 3)
    np.testing.assert_array_equal(fields[0], values)


def test_a_body_of_few_cells_is_refused():
    """On such a body the null does not hold: most smooth fields would have a significant gradient."""
    mask = np.zeros((24, 24), bool)
    mask[6:8, 5:10] = mask[8, 7] = True
    with pytest.raises(UserError, match="40 or more cells, got 11"):
        with_surrogates(bodies.smooth_fields(0, mask, 6), mask, 4, seed=1)

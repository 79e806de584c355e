"""Critical periods of a channel that is read at known steps, and of curves made by hand."""

import numpy as np
import pytest
from helpers import planted
from helpers.specimens import hidden_of, periods_of

from analysis.assays.lesions.critical_periods import critical_periods, period_bounds


@pytest.fixture(scope="module")
def gated():
    organism = planted.gated()
    return critical_periods(organism, hidden_of(organism)[2:4], runs=2, eval_step=60, spacing=2)


def test_a_channel_read_at_steps_20_to_39_is_needed_then_and_only_then(gated):
    row = period_bounds(gated).set_index("channel").loc["h2"]
    assert row.period == "critical"
    assert row.effect == pytest.approx(1, abs=1e-5)
    for name, step in (("start", 20), ("end", 40)):
        assert row[name] == pytest.approx(step, abs=2)
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_a_channel_that_no_cell_reads_has_no_period(gated):
    row = period_bounds(gated).set_index("channel").loc["h3"]
    assert (gated.fitness.sel(channel="h3") == 1).all()
    assert row.period == "none"
    assert np.isnan(row.start)


def test_a_lesion_of_no_steps_costs_nothing_and_the_full_one_the_same_from_both_sides(gated):
    fitness = gated.fitness
    assert (fitness.sel(side="before", step=0) == 1).all()
    assert (fitness.sel(side="after", step=60) == 1).all()
    np.testing.assert_array_equal(fitness.sel(side="after", step=0), fitness.sel(side="before", step=60))


def test_crossings_lie_half_way_between_the_steps():
    row = period_bounds(periods_of([0, 0, 0, 1, 1], [1, 1, 0, 0, 0])).iloc[0]
    assert (row.start, row.end, row.period, row.effect) == (15, 25, "critical", 1)


def test_a_channel_that_only_long_ablations_harm_has_no_critical_period():
    row = period_bounds(periods_of([0, 1, 1, 1, 1], [1, 1, 1, 1, 0])).iloc[0]
    assert (row.start, row.end, row.period) == (35, 5, "long ablations")


def test_runs_without_a_fitness_are_left_out():
    periods = periods_of([0, 0, 0, 1, 1], [1, 1, 0, 0, 0])
    assert period_bounds(periods.where(periods.run > 0)).start[0] == 15
    assert period_bounds(periods * np.nan).period[0] == "not defined"

"""Recovery times and overshoot of planted time courses."""

import numpy as np
import pytest
import xarray as xr
from helpers import bodies

from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.regeneration.plots import _plot_recovery_times
from analysis.assays.regeneration.recovery_time import kaplan_meier, recovery_times, wound_table
from analysis.assays.regeneration.run import RegenerationResult
from nca.damage import CUTS


def wounds_of(courses, steps, names=("planted",)):
    """Wounds whose recovered shares at every step are given: the MSE after the wound is 1, of the control 0."""
    mse = np.repeat(1 - np.asarray(courses, float)[None], len(names), 0)
    runs = mse.shape[1]
    data = {
        "mse": (("wound", "run", "step"), mse),
        "mse_cut": (("wound", "run"), mse[:, :, 0]),
        "mse_control": (("run", "step"), np.zeros(mse.shape[1:])),
        "recovered": (("wound", "run"), 1 - mse[:, :, -1]),
        "mature_cells": (("wound", "run", "step"), 100 * (1 - mse)),
        "mature_cells_control": (("run", "step"), np.full(mse.shape[1:], 80)),
        **{name: (("wound", "run"), np.full(mse.shape[:2], -1)) for name in ("overgrown", "exploded")},
        "cells_changed": (("wound", "run"), np.full(mse.shape[:2], 40)),
    }
    return xr.Dataset(data, {"wound": list(names), "run": np.arange(runs), "step": steps})


def test_the_recovery_time_is_the_first_step_past_nine_tenths():
    wounds = wounds_of([[0, 0.5, 0.95, 1], [0, 0.2, 0.5, 0.8], [0, 0.91, 0.2, 0.3]], [200, 220, 240, 260])
    times, censored = recovery_times(wounds)
    np.testing.assert_array_equal(times, [[40, 60, 20]])
    np.testing.assert_array_equal(censored, [[False, True, False]])


def test_what_is_not_defined_has_no_recovery_time():
    assert np.isnan(recovery_times(wounds_of([[0, 0.5, np.nan]], [200, 220, 240]))[0]).all()


def test_the_overshoot_is_the_largest_excess_over_the_controls_cells():
    wounds = wounds_of([[0, 1.2, 1.0], [0, 0.5, 0.6]], [200, 220, 240])
    row = wound_table(wounds).iloc[0]
    assert (row.overshoot, row.max_overshoot) == (pytest.approx(0.25), pytest.approx(0.5))


def test_kaplan_meier_is_worked_out_by_hand():
    times = np.array([20.0, 20.0, 60.0, 100.0])
    steps, share, low, high = kaplan_meier(times, np.array([False, False, False, True]))
    np.testing.assert_allclose(steps, [0, 20, 60, 100])
    np.testing.assert_allclose(share, [1, 0.5, 0.25, 0.25])
    assert (low[1:3] < share[1:3]).all()
    assert (share[1:3] < high[1:3]).all()


def test_kaplan_meier_of_nobody_is_empty():
    assert kaplan_meier(np.full(3, np.nan), np.ones(3, bool))[0].size == 0


def test_bands_reach_the_step_at_which_the_share_falls_to_0():
    # One run recovers after 20, 40, 60 and 80 steps each: the share is 0 from 80 on.
    courses = np.array([[0, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1.0]])
    cuts = wounds_of(courses, [200, 220, 240, 260, 280], names=CUTS)
    config = RegenerationConfig(runs=4, eval_steps=80, map_runs=1, follow_up_runs=1)
    figure, _ = _plot_recovery_times([RegenerationResult(bodies.static_organism(), config, cuts=cuts)])
    (band,) = figure.axes[0].collections
    steps = np.concatenate([path.vertices[:, 0] for path in band.get_paths()])
    assert steps.max() == 80
    (line,) = figure.axes[0].lines
    assert line.get_xdata()[-1] == 80
    assert line.get_ydata()[-1] == pytest.approx(0)


def test_runs_that_disagree_are_bistable():
    for recovered, disagree in (([0.98, -2.09, 0.92], True), ([0.7, 0.95, 0.92], False), ([-3.0, 0.1, np.nan], False)):
        courses = np.stack([np.zeros(3), recovered], 1)
        assert wound_table(wounds_of(courses, [200, 220])).bistable[0] == disagree

"""A clock of cell age is distinguished from a code of position."""

import numpy as np
import pytest
from helpers import bodies
from helpers.fields import record_fields

from analysis.assays.axes.pca import pca
from analysis.assays.axes.time_course import time_course
from analysis.geometry import cell_ages
from analysis.recording import label_states
from nca.errors import UserError


def test_ages_count_from_the_step_a_cell_last_became_mature():
    mature = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], bool)[:, None]
    expected = [[0, np.nan], [2, 0], [np.nan, 3], [0, 5]]
    np.testing.assert_array_equal(cell_ages(mature, np.array([0, 2, 5, 7]))[:, 0], expected)


def growing(states_of):
    """A disc that grows by one cell a step; its hidden states are a function of position and age."""
    canvas, steps = (40, 40), np.arange(1, 15)
    organism = bodies.static_organism(channels=7, canvas=canvas)
    y, x = np.mgrid[:40, :40] - 20.0
    radius = np.hypot(x, y)
    states = np.zeros((1, len(steps), *canvas, 7), np.float32)
    for k, step in enumerate(steps):
        mask = radius <= step
        states[0, k, mask, 3] = 1.0
        age = step - np.ceil(np.maximum(radius, 1))
        noise = 0.2 * bodies.smooth_fields(int(step), mask, 3)
        noise[:, 0] += states_of(x, age)[mask]
        states[0, k, mask, 4:] = noise
    return label_states(organism, states, steps=steps)


def test_a_clock_decodes_the_radius_and_adds_nothing_to_age():
    recording = growing(lambda x, age: age)
    course = time_course(recording, pca(recording), steps=[8, 14], surrogates=39, cv_repeats=3)
    last = course.sel(step=14, quantity="radius")
    assert float(last.r2_age) > 0.9
    assert float(last.r2) > 0.6
    assert float(last.gain) < 0.02
    assert float(course.age_r2.sel(step=14)) > 0.6


def test_a_code_of_x_is_no_clock():
    recording = growing(lambda x, age: x / 3)
    course = time_course(recording, pca(recording), steps=[14], surrogates=39, cv_repeats=3)
    last = course.sel(step=14, quantity="x")
    assert float(last.r2_age) < 0.1
    assert float(last.r2) > 0.9
    assert float(last.p) == float(last.p_gain) == pytest.approx(1 / 40)


def test_bodies_too_small_for_a_decoder_are_not_defined_and_none_at_all_is_an_error():
    recording = growing(lambda x, age: age)
    course = time_course(recording, pca(recording), steps=[1, 14], surrogates=19, cv_repeats=1)
    assert np.isnan(course.r2.sel(step=1)).all()
    assert int(course.cells.sel(step=1)) == 5
    small = record_fields(bodies.smooth_fields(0, bodies.disc(radius=3.0), 3), bodies.disc(radius=3.0))
    with pytest.raises(UserError, match="40 or more cells"):
        time_course(small, pca(small), surrogates=19)

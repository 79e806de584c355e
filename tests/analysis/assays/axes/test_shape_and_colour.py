"""What hidden states add to shape and colour, where the answer is planted."""

import numpy as np
import pytest
from helpers import bodies
from helpers.fields import record_fields

from analysis.assays.axes.pca import pca
from analysis.assays.axes.shape_and_colour import shape_and_colour_tests
from analysis.geometry import positions
from analysis.recording import label_states
from nca.errors import UserError


def compare_with_shape_and_colour(values, mask, colours):
    recording = record_fields(values, mask, colours)
    return shape_and_colour_tests(recording, pca(recording), surrogates=39, cv_repeats=3)


def test_states_that_only_repeat_colour_or_shape_add_nothing_to_them():
    mask = bodies.disc((40, 40), 14)
    position, noise = positions(mask), bodies.smooth_fields(1, mask, 4)
    colours = np.stack([position["x"], position["y"], position["radius"]], 1) / 20
    copied = np.column_stack([colours + 0.01 * noise[:, :3], np.exp(-position["edge"] / 3)])
    tests = compare_with_shape_and_colour(copied, mask, colours)
    x = tests.sel(quantity="x", measure="over_colour")
    assert float(x.r2_covariate) > 0.95
    assert float(x.observed) < 0.02
    assert float(x.observed) == pytest.approx(float(x.r2_both - x.r2_covariate))
    assert np.isnan(tests.p.sel(quantity="edge", measure="over_shape"))


def test_a_code_of_x_that_neither_shape_nor_colour_hold_is_added_to_both():
    mask = bodies.disc((40, 40), 14)
    values = 0.1 * bodies.smooth_fields(2, mask, 4)
    values[:, 2] += positions(mask)["x"] / 6
    tests = compare_with_shape_and_colour(values, mask, bodies.smooth_fields(3, mask, 3)).sel(quantity="x")
    for measure in ("over_shape", "over_colour"):
        assert float(tests.p.sel(measure=measure)) == pytest.approx(1 / 40)
        assert float(tests.observed.sel(measure=measure)) > 0.1


def test_a_rule_without_hidden_channels_cannot_be_compared_with_colour():
    organism = bodies.static_organism(channels=4)
    recording = label_states(organism, np.asarray(organism.initial_state())[None, None])
    with pytest.raises(UserError, match="has none"):
        shape_and_colour_tests(recording, pca(recording, channels="all"))

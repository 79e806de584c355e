"""Shuffled weights tell what training did; a clock of cell age is told from a code of place."""

import numpy as np
import pytest
from helpers import bodies, codes
from helpers.fields import recorded

from analysis.assays.axes import protocol as axes
from analysis.assays.axes.weight_shuffle import _led, _lived, shuffled
from analysis.firing import fire_masks
from analysis.geometry import cell_ages
from analysis.recording import label_states, record
from analysis.rollouts import run_keys
from nca.errors import UserError
from nca.rollout import trajectory

# Weights in another order (A4)


def test_a_shuffled_rule_has_the_same_weights_in_another_order():
    rule = codes.creeper("sobel-laplacian").rule
    other = shuffled(rule, 1)
    for one, two in ((rule.weights, other.weights), (rule.biases, other.biases)):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(np.sort(np.ravel(a[...])), np.sort(np.ravel(b[...])))
    assert not np.array_equal(rule.weights[0][...], other.weights[0][...])


def test_a_rule_led_by_itself_lives_its_own_life():
    for perception, says in (
        ("sobel-laplacian", {"fire_rate": 0.5}),
        ("isotropic", {}),
        ("sobel-laplacian", {"alive": "gate", "fire_rate": 0.5}),
    ):
        grown = codes.creeper(perception, **says)
        fire = fire_masks(grown, run_keys(0, 1)[0], 12)
        last, lead = _lived(grown.rule, grown.start(), fire)
        np.testing.assert_allclose(_led(grown.rule, grown.start(), lead), last, atol=1e-4)
        free = trajectory(grown, 12, key=run_keys(0, 1)[0])[-1]
        np.testing.assert_allclose(last, free, atol=1e-4)


@pytest.mark.parametrize(("boundary", "canvas"), [("zero", (27, 41)), ("circular", (15, 41))])
def test_only_the_part_of_the_canvas_that_ever_lives_is_computed_and_that_changes_nothing(boundary, canvas):
    # The body reaches both ends of the shorter canvas's height.
    grown = codes.creeper("sobel-laplacian", canvas=canvas, fire_rate=0.5, boundary=boundary)
    key = run_keys(0, 1)[0]
    _, lead = _lived(grown.rule, grown.start(), fire_masks(grown, key, 9))
    whole = _led(shuffled(grown.rule, 0), grown.start(), lead)
    led = axes.shuffled_states(grown, 9, key, permutations=1)[1][0]
    np.testing.assert_allclose(led, whole, atol=1e-4)


def test_shuffled_rules_live_where_the_trained_one_does_and_within_its_range():
    grown = codes.creeper("sobel-laplacian", fire_rate=0.5)
    path = np.asarray(trajectory(grown, 12, key=run_keys(0, 1)[0]))
    last, led = axes.shuffled_states(grown, 12, run_keys(0, 1)[0], permutations=3)
    assert led.shape == (3, *last.shape)
    assert not led[:, ~last.any(-1)].any()
    assert (led.max((0, 1, 2)) <= path.max((0, 1, 2)) + 1e-5).all()
    assert (led.min((0, 1, 2)) >= path.min((0, 1, 2)) - 1e-5).all()


def test_training_is_found_to_have_made_a_positional_counter():
    grown = codes.counter()
    recording = record(grown, 50, every=50)
    found = axes.pca(recording)
    tests = axes.against_shuffled(grown, recording, found, run_keys(0, 1)[0], permutations=39, surrogates=9, deals=2)
    assert float(tests.observed.sel(statistic="R2 of x")) == pytest.approx(1, abs=0.01)
    assert float(tests.p.sel(statistic="R2 of x")) <= 0.05
    assert float(tests.p.sel(statistic="excess of x")) <= 0.05
    assert float(tests.p.sel(statistic="R2 of y")) > 0.05


def test_a_rule_that_does_nothing_is_as_good_as_its_shuffled_ones():
    grown = bodies.standing(canvas=(32, 32), radius=10.0)
    recording = record(grown, 4, every=4)
    tests = axes.against_shuffled(
        grown, recording, axes.pca(recording), run_keys(0, 1)[0], permutations=19, surrogates=9, deals=2
    )
    assert (tests.p.sel(statistic=[f"R2 of {q}" for q in axes.QUANTITIES]) == 1).all()


def test_shuffled_rules_need_a_step_after_the_seed():
    grown = bodies.standing()
    recording = label_states(grown, np.asarray(grown.start())[None, None])
    with pytest.raises(UserError, match="after the seed"):
        axes.against_shuffled(grown, recording, axes.pca(recording), run_keys(0, 1)[0])


# Time and age


def test_ages_count_from_the_step_a_cell_last_became_mature():
    mature = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], bool)[:, None]
    expected = [[0, np.nan], [2, 0], [np.nan, 3], [0, 5]]
    np.testing.assert_array_equal(cell_ages(mature, np.array([0, 2, 5, 7]))[:, 0], expected)


def growing(states_of):
    """A disc that grows by one cell a step; its hidden states are a function of place and age."""
    canvas, steps = (40, 40), np.arange(1, 15)
    grown = bodies.standing(channels=7, canvas=canvas)
    y, x = np.mgrid[:40, :40] - 20.0
    radius = np.hypot(x, y)
    states = np.zeros((1, len(steps), *canvas, 7), np.float32)
    for k, step in enumerate(steps):
        mask = radius <= step
        states[0, k, mask, 3] = 1.0
        age = step - np.ceil(np.maximum(radius, 1))
        noise = 0.2 * bodies.smooth(int(step), mask, 3)
        noise[:, 0] += states_of(x, age)[mask]
        states[0, k, mask, 4:] = noise
    return label_states(grown, states, steps=steps)


def test_a_clock_decodes_the_radius_and_adds_nothing_to_age():
    recording = growing(lambda x, age: age)
    found = axes.course(recording, axes.pca(recording), steps=[8, 14], surrogates=39, deals=3)
    last = found.sel(step=14, quantity="radius")
    assert float(last.by_age) > 0.9
    assert float(last.r2) > 0.6
    assert float(last.over_age) < 0.02
    assert float(found.age_r2.sel(step=14)) > 0.6


def test_a_code_of_x_is_no_clock():
    recording = growing(lambda x, age: x / 3)
    found = axes.course(recording, axes.pca(recording), steps=[14], surrogates=39, deals=3)
    last = found.sel(step=14, quantity="x")
    assert float(last.by_age) < 0.1
    assert float(last.r2) > 0.9
    assert float(last.p) == float(last.p_age) == pytest.approx(1 / 40)


def test_bodies_too_small_for_a_decoder_are_not_defined_and_none_at_all_is_said():
    recording = growing(lambda x, age: age)
    found = axes.course(recording, axes.pca(recording), steps=[1, 14], surrogates=19, deals=1)
    assert np.isnan(found.r2.sel(step=1)).all()
    assert int(found.cells.sel(step=1)) == 5
    small = recorded(bodies.smooth(0, bodies.disc(radius=3.0), 3), bodies.disc(radius=3.0))
    with pytest.raises(UserError, match="40 or more cells"):
        axes.course(small, axes.pca(small), surrogates=19)

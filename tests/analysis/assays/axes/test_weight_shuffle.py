"""Shuffled weights show what training did."""

import numpy as np
import pytest
from helpers import bodies, codes

from analysis.assays.axes.decoding import QUANTITIES
from analysis.assays.axes.pca import pca
from analysis.assays.axes.weight_shuffle import (
    _guided_run,
    _shuffle_weights,
    _shuffled_states,
    _trained_run,
    weight_shuffle_tests,
)
from analysis.recording import label_states, record
from analysis.rollouts import fire_masks, run_keys
from nca.errors import UserError
from nca.rollout import trajectory


def test_a_shuffled_rule_has_the_same_weights_in_another_order():
    rule = codes.creeper("sobel-laplacian").rule
    shuffled = _shuffle_weights(rule, 1)
    for before, after in ((rule.weights, shuffled.weights), (rule.biases, shuffled.biases)):
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(np.sort(np.ravel(a[...])), np.sort(np.ravel(b[...])))
    assert not np.array_equal(rule.weights[0][...], shuffled.weights[0][...])


def test_a_rule_guided_by_itself_runs_as_if_free():
    for perception, conventions in (
        ("sobel-laplacian", {"fire_rate": 0.5}),
        ("isotropic", {}),
        ("sobel-laplacian", {"alive": "gate", "fire_rate": 0.5}),
    ):
        organism = codes.creeper(perception, **conventions)
        fire = fire_masks(organism, run_keys(0, 1)[0], 12)
        final, guide = _trained_run(organism.rule, organism.initial_state(), fire)
        guided = _guided_run(organism.rule, organism.initial_state(), guide)
        np.testing.assert_allclose(guided, final, atol=1e-4)
        free = trajectory(organism, 12, key=run_keys(0, 1)[0])[-1]
        np.testing.assert_allclose(final, free, atol=1e-4)


@pytest.mark.parametrize(("boundary", "canvas"), [("zero", (27, 41)), ("circular", (15, 41))])
def test_only_the_part_of_the_canvas_that_is_ever_alive_is_computed_and_that_changes_nothing(boundary, canvas):
    # The body reaches both ends of the shorter canvas's height.
    organism = codes.creeper("sobel-laplacian", canvas=canvas, fire_rate=0.5, boundary=boundary)
    key = run_keys(0, 1)[0]
    _, guide = _trained_run(organism.rule, organism.initial_state(), fire_masks(organism, key, 9))
    on_canvas = _guided_run(_shuffle_weights(organism.rule, 0), organism.initial_state(), guide)
    cropped = _shuffled_states(organism, 9, key, 1, 0)[0]
    np.testing.assert_allclose(cropped, on_canvas, atol=1e-4)


def test_shuffled_rules_stay_on_the_alive_sites_of_the_trained_one_and_within_its_range():
    organism = codes.creeper("sobel-laplacian", fire_rate=0.5)
    path = np.asarray(trajectory(organism, 12, key=run_keys(0, 1)[0]))
    states = _shuffled_states(organism, 12, run_keys(0, 1)[0], 3, 0)
    assert states.shape == (3, *path[-1].shape)
    assert not states[:, ~path[-1].any(-1)].any()
    assert (states.max((0, 1, 2)) <= path.max((0, 1, 2)) + 1e-5).all()
    assert (states.min((0, 1, 2)) >= path.min((0, 1, 2)) - 1e-5).all()


def test_training_is_found_to_have_made_a_positional_counter():
    organism = codes.counter()
    recording = record(organism, 50, every=50)
    options = {"weight_shuffles": 39, "surrogates": 9, "cv_repeats": 2}
    components = pca(recording)
    tests = weight_shuffle_tests(organism, recording, components, run_keys(0, 1)[0], **options)
    radial = tests.sel(quantity="PC1", measure="rank_correlation")
    assert float(radial.observed) == pytest.approx(float(components.radius_correlation[0, 0]), abs=1e-6)
    assert float(tests.observed.sel(quantity="x", measure="r2")) == pytest.approx(1, abs=0.01)
    assert float(tests.p.sel(quantity="x", measure="r2")) <= 0.05
    assert float(tests.p.sel(quantity="x", measure="excess")) <= 0.05
    assert float(tests.p.sel(quantity="y", measure="r2")) > 0.05


def test_a_rule_that_does_nothing_is_as_good_as_its_shuffled_ones():
    organism = bodies.static_organism(canvas=(32, 32), radius=10.0)
    recording = record(organism, 4, every=4)
    options = {"weight_shuffles": 19, "surrogates": 9, "cv_repeats": 2}
    tests = weight_shuffle_tests(organism, recording, pca(recording), run_keys(0, 1)[0], **options)
    assert (tests.p.sel(measure="r2").sel(quantity=list(QUANTITIES)) == 1).all()


def test_shuffled_rules_need_a_step_after_the_seed():
    organism = bodies.static_organism()
    recording = label_states(organism, np.asarray(organism.initial_state())[None, None])
    with pytest.raises(UserError, match="after the seed"):
        weight_shuffle_tests(organism, recording, pca(recording), run_keys(0, 1)[0])

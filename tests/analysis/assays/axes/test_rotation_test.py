"""Compass or map: known rotations are measured, and rules without a compass do not rotate."""

import numpy as np
import pytest
import scipy.ndimage
from helpers import bodies, codes

from analysis import metrics
from analysis.assays.axes.rotation_test import _fit_rotation, _rotation_between, rotate_perception, rotate_states
from analysis.rollouts import grow_runs, run_keys
from nca.errors import UserError
from nca.targets import target

ANGLES = (90.0, 180.0, 270.0)


def lizard_picture(canvas=41):
    """A picture in the middle of an odd canvas, whose middle cell a quarter turn leaves in place."""
    picture = np.zeros((canvas, canvas, 4))
    picture[8:32, 9:33] = target("lizard", 24)
    return picture


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_anticlockwise_on_the_page_are_measured_exactly(quarters):
    rotation, match = _fit_rotation(np.rot90(lizard_picture(), quarters), lizard_picture())
    assert (rotation - 90 * quarters) % 360 == 0
    assert match == pytest.approx(1, abs=1e-6)


def test_any_rotation_is_measured_to_a_degree():
    rotated = scipy.ndimage.rotate(lizard_picture(), 33, axes=(1, 0), reshape=False, order=1)
    rotation, match = _fit_rotation(rotated, lizard_picture())
    assert abs(rotation) == pytest.approx(33, abs=1)
    assert match > 0.9
    assert rotation > 0 or _fit_rotation(np.rot90(lizard_picture()), lizard_picture())[0] == 90


def test_an_empty_picture_has_no_rotation():
    assert np.isnan(_fit_rotation(lizard_picture(), np.zeros((41, 41, 4)))).all()


def test_rotations_between_gradients_run_from_down_towards_right():
    down, right = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    assert _rotation_between(down, right) == pytest.approx(90)
    assert _rotation_between(right, down) == pytest.approx(-90)
    assert _rotation_between(np.eye(2), np.eye(2)) == pytest.approx(0)


@pytest.fixture(scope="module")
def sobel():
    return codes.creeper("sobel-laplacian")


def test_a_body_that_grows_by_a_sobel_compass_rotates_with_it(sobel):
    results = rotate_perception(sobel, 9, run_keys(0, 2), angles=ANGLES)
    assert results.angle.values.tolist() == [0, *ANGLES]
    for angle in ANGLES:
        at_angle = results.sel(angle=angle)
        np.testing.assert_allclose((at_angle.body_rotation - angle) % 360, 0)
        np.testing.assert_allclose(at_angle.match, 1, atol=1e-4)
        np.testing.assert_allclose(np.cos(np.radians(at_angle.gradient_rotation - angle)), 1, atol=1e-4)
        assert (at_angle.max_change > 0.01).all()
    assert results.attrs["isotropic"] == 0


@pytest.mark.parametrize("perception", ["isotropic", "laplacian"])
def test_rotating_the_perception_of_an_isotropic_rule_changes_nothing(perception):
    results = rotate_perception(codes.creeper(perception, fire_rate=0.5), 9, run_keys(0, 2), angles=(45, 90))
    assert (results.max_change.sel(angle=[45, 90]) == 0).all()
    assert results.attrs["isotropic"] == 1


def test_a_rotated_state_under_an_isotropic_perception_continues_rotated():
    isotropic = codes.creeper("isotropic", fire_rate=0.5)
    states = np.asarray(grow_runs(isotropic, 7, run_keys(0, 2)))
    results = rotate_states(isotropic, states, run_keys(0, 2), adult_step=7, eval_steps=4)
    assert float(results.max_change.sel(angle=[90, 180]).max()) < 1e-4
    np.testing.assert_allclose(results.fitness_rotated.sel(angle=[90, 180]), 1, atol=1e-6)
    assert (results.fitness_rotated.sel(angle=0) < 1).all()


def test_a_rotated_state_under_a_sobel_compass_continues_differently(sobel):
    states = np.asarray(grow_runs(sobel, 7, run_keys(0, 2)))
    results = rotate_states(sobel, states, run_keys(0, 2), adult_step=7, eval_steps=4)
    assert float(results.max_change.sel(angle=[90, 180]).min()) > 1e-3


def test_a_long_canvas_may_be_rotated_by_a_quarter_though_nothing_upright_fits_it():
    organism = bodies.static_organism(canvas=(24, 30))
    states = np.asarray(grow_runs(organism, 1, run_keys(0, 2)))
    results = rotate_states(organism, states, run_keys(0, 2), adult_step=1, eval_steps=2)
    np.testing.assert_allclose(results.fitness_rotated, 1)
    assert np.isnan(results.fitness_upright.sel(angle=90)).all()
    assert np.isfinite(results.fitness_upright.sel(angle=180)).all()


def test_a_learned_perception_has_no_compass_and_one_run_no_chance_level():
    with pytest.raises(UserError, match="has no compass"):
        rotate_perception(codes.counter(), 5, run_keys(0, 2))
    with pytest.raises(UserError, match="two or more runs"):
        rotate_perception(codes.creeper("sobel-laplacian"), 5, run_keys(0, 1))


def test_an_organism_without_a_body_is_not_rotated():
    with pytest.raises(UserError, match="needs a body"):
        rotate_perception(bodies.fading_organism(), 25, run_keys(0, 2))
    dead = bodies.fading_organism()
    states = np.asarray(grow_runs(dead, 25, run_keys(0, 2)))
    assert not np.asarray(metrics.mature_count(dead.rule, states)).any()
    assert np.isnan(rotate_states(dead, states, run_keys(0, 2), adult_step=25, eval_steps=2).fitness_rotated).all()

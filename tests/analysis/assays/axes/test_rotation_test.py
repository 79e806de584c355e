"""Compass or map: turns that are known are found, and rules without a compass do not turn."""

import numpy as np
import pytest
import scipy.ndimage
from helpers import bodies, codes

from analysis import metrics
from analysis.assays.axes import protocol as axes
from analysis.assays.axes.rotation_test import NO_COMPASS, fitted_turn, turn_between
from analysis.rollouts import grow_runs, run_keys
from nca.errors import UserError
from nca.targets import target

TURNS = (90.0, 180.0, 270.0)


def lizard(canvas=41):
    """A picture in the middle of an odd canvas, whose middle cell a quarter turn leaves in place."""
    picture = np.zeros((canvas, canvas, 4))
    picture[8:32, 9:33] = target("lizard", 24)
    return picture


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_anticlockwise_on_the_page_are_found_exactly(quarters):
    turn, match = fitted_turn(np.rot90(lizard(), quarters), lizard())
    assert (turn - 90 * quarters) % 360 == 0
    assert match == pytest.approx(1, abs=1e-6)


def test_any_turn_is_found_to_a_degree():
    turned = scipy.ndimage.rotate(lizard(), 33, axes=(1, 0), reshape=False, order=1)
    turn, match = fitted_turn(turned, lizard())
    assert abs(turn) == pytest.approx(33, abs=1)
    assert match > 0.9
    assert turn > 0 or fitted_turn(np.rot90(lizard()), lizard())[0] == 90


def test_nothing_has_no_turn():
    assert np.isnan(fitted_turn(lizard(), np.zeros((41, 41, 4)))).all()


def test_turns_between_gradients_run_from_down_towards_right():
    down, right = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    assert turn_between(down, right) == pytest.approx(90)
    assert turn_between(right, down) == pytest.approx(-90)
    assert turn_between(np.eye(2), np.eye(2)) == pytest.approx(0)


@pytest.fixture(scope="module")
def sobel():
    return codes.creeper("sobel-laplacian")


def test_a_body_that_grows_by_a_sobel_compass_turns_with_it(sobel):
    found = axes.turned_growth(sobel, 9, run_keys(0, 2), angles=TURNS)
    assert found.angle.values.tolist() == [0, *TURNS]
    for angle in TURNS:
        one = found.sel(angle=angle)
        np.testing.assert_allclose((one.body_turn - angle) % 360, 0)
        np.testing.assert_allclose(one.match, 1, atol=1e-4)
        np.testing.assert_allclose(np.cos(np.radians(one.gradient_turn - angle)), 1, atol=1e-4)
        assert (one.changed > 0.01).all()
    assert found.attrs["blind"] == 0


@pytest.mark.parametrize("perception", ["isotropic", "laplacian"])
def test_turning_the_compass_of_a_rule_without_one_changes_nothing(perception):
    found = axes.turned_growth(codes.creeper(perception, fire_rate=0.5), 9, run_keys(0, 2), angles=(45, 90))
    assert (found.changed.sel(angle=[45, 90]) == 0).all()
    assert found.attrs["blind"] == 1


def test_a_state_turned_under_an_isotropic_perception_only_grows_on_turned():
    isotropic = codes.creeper("isotropic", fire_rate=0.5)
    states = np.asarray(grow_runs(isotropic, 7, run_keys(0, 2)))
    found = axes.turned_state(isotropic, states, run_keys(0, 2), start=7, steps=4)
    assert float(found.changed.sel(angle=[90, 180]).max()) < 1e-4
    np.testing.assert_allclose(found.kept.sel(angle=[90, 180]), 1, atol=1e-6)
    assert (found.kept.sel(angle=0) < 1).all()


def test_a_state_turned_under_a_sobel_compass_grows_on_otherwise(sobel):
    states = np.asarray(grow_runs(sobel, 7, run_keys(0, 2)))
    found = axes.turned_state(sobel, states, run_keys(0, 2), start=7, steps=4)
    assert float(found.changed.sel(angle=[90, 180]).min()) > 1e-3


def test_a_long_canvas_may_be_turned_by_a_quarter_though_nothing_upright_fits_it():
    standing = bodies.standing(canvas=(24, 30))
    states = np.asarray(grow_runs(standing, 1, run_keys(0, 2)))
    found = axes.turned_state(standing, states, run_keys(0, 2), start=1, steps=2)
    np.testing.assert_allclose(found.kept, 1)
    assert np.isnan(found.upright.sel(angle=90)).all()
    assert np.isfinite(found.upright.sel(angle=180)).all()


def test_perception_that_is_learned_has_no_compass_and_one_run_no_chance_level():
    with pytest.raises(UserError, match=NO_COMPASS):
        axes.turned_growth(codes.counter(), 5, run_keys(0, 2))
    with pytest.raises(UserError, match="two or more runs"):
        axes.turned_growth(codes.creeper("sobel-laplacian"), 5, run_keys(0, 1))


def test_an_organism_without_a_body_is_not_turned():
    with pytest.raises(UserError, match="no body to turn"):
        axes.turned_growth(bodies.fading(), 25, run_keys(0, 2))
    dead = bodies.fading()
    states = np.asarray(grow_runs(dead, 25, run_keys(0, 2)))
    assert not np.asarray(metrics.mature_count(dead.rule, states)).any()
    assert np.isnan(axes.turned_state(dead, states, run_keys(0, 2), start=25, steps=2).kept).all()

"""A code that is read is distinguished from one that is only present."""

import numpy as np
import pytest
from helpers import bodies, codes

from analysis.assays.axes.interventions import _decoder_directions, control_runs, projection_tests, push_tests
from analysis.rollouts import run_keys, seed_states
from nca.errors import UserError


def runs_of(organism, runs=2):
    states = np.asarray(seed_states(organism, runs))
    return control_runs(organism, states, run_keys(0, runs), adult_step=3, eval_steps=20)


@pytest.fixture(scope="module")
def used():
    return runs_of(codes.read_code())


@pytest.fixture(scope="module")
def idle():
    return runs_of(codes.read_code(used=False))


def test_the_direction_of_a_planted_code_is_its_channel(used):
    directions = _decoder_directions(used)
    assert set(directions) == {"x", "y", "s", "radius", "edge"}
    assert all(np.linalg.norm(v) == pytest.approx(1) for v in directions.values())
    assert abs(directions["x"][0]) > 0.9


def test_a_push_along_a_code_that_is_read_changes_the_body_more_than_random_pushes(used):
    mse = push_tests(used, random_directions=39).sel(measure="mse")
    assert float(mse.p.sel(quantity="x")) <= 0.05
    assert float(mse.observed.sel(quantity="x")) > 2 * float(mse.null_median.sel(quantity="x"))
    assert float(mse.p.sel(quantity="y")) > 0.05


def test_a_push_along_a_code_that_nothing_reads_stays_and_changes_nothing(idle):
    tests = push_tests(idle, random_directions=19)
    mse, left = tests.sel(measure="mse"), tests.sel(measure="share_left")
    assert (mse.observed == 0).all()
    assert (mse.p == 1).all()
    np.testing.assert_allclose(left.observed, 1, atol=1e-4)
    np.testing.assert_allclose(left.null, 1, atol=1e-4)
    assert tests.attrs["adult_step"] == 3
    assert tests.attrs["eval_steps"] == 20


def test_only_decoders_that_decode_are_pushed_along():
    organism = codes.read_code()
    states, keys = np.asarray(seed_states(organism, 1)), run_keys(0, 1)
    few = control_runs(organism, states, keys, adult_step=3, eval_steps=5, quantities=["x"])
    assert set(push_tests(few, random_directions=19).quantity.values) == {"x"}
    with pytest.raises(UserError, match="neither x and y nor radius and edge"):
        projection_tests(few, null_planes=19)
    with pytest.raises(UserError, match="no code to intervene on"):
        control_runs(organism, states, keys, adult_step=3, quantities=[])


def test_pushes_have_the_length_of_the_dose(idle):
    tests = push_tests(idle, dose=0.25, random_directions=19)
    deviation = idle.states - idle.states.mean(0)
    assert tests.attrs["length"] == pytest.approx(0.25 * np.sqrt(np.square(deviation).sum(1).mean()))


def test_removing_the_plane_that_is_read_harms_and_keeping_it_alone_does_not(used):
    tests = projection_tests(used, null_planes=39)
    excluded, restricted = (tests.sel(measure=m) for m in ("excluded_loss", "restricted_loss"))
    assert float(excluded.p.sel(quantity="x and y")) <= 0.05
    assert float(restricted.observed.sel(quantity="x and y")) < 0.2 * float(excluded.observed.sel(quantity="x and y"))
    assert float(restricted.p.sel(quantity="x and y")) <= 0.05
    assert float(excluded.p.sel(quantity="radius and edge")) > 0.05
    assert (tests.null_low <= tests.null_high).all()


def test_removing_a_plane_that_nothing_reads_harms_nothing(idle):
    tests = projection_tests(idle, null_planes=19)
    np.testing.assert_allclose(tests.observed, 0, atol=1e-9)
    np.testing.assert_allclose(tests.null, 0, atol=1e-9)


@pytest.mark.parametrize(
    ("organism", "reason"),
    [
        (bodies.static_organism(channels=5), "two or more hidden channels"),
        (bodies.static_organism(channels=2), "two or more hidden channels"),
        (bodies.static_organism(radius=1.0), "10 or more mature cells"),
    ],
    ids=["five channels", "two channels", "five cells"],
)
def test_bodies_that_cannot_be_pushed_are_refused_in_one_sentence(organism, reason):
    with pytest.raises(UserError, match=reason):
        runs_of(organism)


def test_two_hidden_channels_have_no_plane_to_remove():
    two = runs_of(bodies.static_organism(channels=6))
    with pytest.raises(UserError, match="three or more hidden"):
        projection_tests(two)

"""A code that is read is told from one that is only there."""

import numpy as np
import pytest
from helpers import bodies, codes

from analysis.assays.axes import protocol as axes
from analysis.assays.axes.interventions import directions
from analysis.rollouts import run_keys, seed_states
from nca.errors import UserError

START = 3


def subject(organism, runs=2, horizon=20):
    states = np.asarray(seed_states(organism, runs))
    return axes.subject(organism, states, run_keys(0, runs), start=START, horizon=horizon)


@pytest.fixture(scope="module")
def used():
    return subject(codes.read_code())


@pytest.fixture(scope="module")
def idle():
    return subject(codes.read_code(used=False))


def test_the_direction_of_a_planted_code_is_its_channel(used):
    found = directions(used)
    assert set(found) == {"x", "y", "s", "radius", "edge"}
    assert all(np.linalg.norm(v) == pytest.approx(1) for v in found.values())
    assert abs(found["x"][0]) > 0.9


def test_a_push_along_a_code_that_is_read_changes_the_body_more_than_random_pushes(used):
    found = axes.steering(used, randoms=39)
    assert float(found.p.sel(statistic="change by x")) <= 0.05
    assert float(found.observed.sel(statistic="change by x")) > 2 * float(
        found.null_median.sel(statistic="change by x")
    )
    assert float(found.p.sel(statistic="change by y")) > 0.05


def test_a_push_along_a_code_that_nothing_reads_stays_and_changes_nothing(idle):
    found = axes.steering(idle, randoms=19)
    change = found.sel(statistic=[s for s in found.statistic.values if s.startswith("change")])
    left = found.sel(statistic=[s for s in found.statistic.values if s.startswith("left")])
    assert (change.observed == 0).all()
    assert (change.p == 1).all()
    np.testing.assert_allclose(left.observed, 1, atol=1e-4)
    np.testing.assert_allclose(left.null, 1, atol=1e-4)


def test_pushes_are_as_long_as_asked(idle):
    found = axes.steering(idle, dose=0.25, randoms=19)
    spread = idle.rows - idle.rows.mean(0)
    assert found.attrs["amount"] == pytest.approx(0.25 * np.sqrt(np.square(spread).sum(1).mean()))


def test_taking_out_the_plane_that_is_read_harms_and_keeping_it_alone_does_not(used):
    found = axes.subspaces(used, randoms=39)
    harm = found.observed.to_series()
    assert float(found.p.sel(statistic="harm without x and y")) <= 0.05
    assert harm["harm with x and y alone"] < 0.2 * harm["harm without x and y"]
    assert float(found.p.sel(statistic="harm with x and y alone")) <= 0.05
    assert float(found.p.sel(statistic="harm without radius and edge")) > 0.05
    assert (found.null_low <= found.null_high).all()


def test_taking_out_a_plane_that_nothing_reads_harms_nothing(idle):
    found = axes.subspaces(idle, randoms=19)
    np.testing.assert_allclose(found.observed, 0, atol=1e-9)
    np.testing.assert_allclose(found.null, 0, atol=1e-9)


@pytest.mark.parametrize(
    ("organism", "says"),
    [
        (bodies.standing(channels=5), "two or more hidden channels"),
        (bodies.standing(channels=2), "two or more hidden channels"),
        (bodies.standing(radius=1.0), "10 or more mature cells"),
    ],
    ids=["five channels", "two channels", "five cells"],
)
def test_bodies_that_cannot_be_pushed_are_refused_in_words(organism, says):
    with pytest.raises(UserError, match=says):
        subject(organism)


def test_two_hidden_channels_have_no_plane_to_take_out():
    two = subject(bodies.standing(channels=6))
    with pytest.raises(UserError, match="three or more hidden"):
        axes.subspaces(two)

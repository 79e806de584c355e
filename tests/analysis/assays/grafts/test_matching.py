"""Second bodies and complete ones, planted by shifting and turning a known picture."""

import numpy as np
import pytest

from analysis.assays.grafts.matching import BodyTemplate, _rotate, best_fit
from nca.damage import disc

CANVAS = (48, 48)


def tadpole():
    """A body with a head and a tail, in two colours, about (24, 16)."""
    picture = np.zeros((*CANVAS, 4))
    picture[22:27, 12:26] = 0.2, 0.8, 0.2, 1.0
    picture[disc(CANVAS, (24, 12), 4)] = 0.9, 0.2, 0.1, 1.0
    return picture


def shifted(picture, y, x):
    return np.roll(picture, (y, x), (0, 1))


def template(source=(24, 16), target=(24, 36)):
    return BodyTemplate(tadpole(), source, target, ~disc(CANVAS, target, 3))


def test_turning_by_a_right_angle_is_exact_and_clockwise():
    picture = tadpole()
    middle = (23.5, 23.5)
    np.testing.assert_allclose(_rotate(picture, middle, 90), np.rot90(picture, -1), atol=1e-9)
    np.testing.assert_allclose(_rotate(picture, middle, 180), picture[::-1, ::-1], atol=1e-9)


def test_a_shifted_body_is_found_complete():
    both = np.maximum(tadpole(), shifted(tadpole(), 0, 20))
    match = template().match(both)
    assert match.second == pytest.approx(1)
    assert match.first == pytest.approx(1)
    assert (match.turn, match.shift) == (0, (0, 0))


def test_a_turned_body_a_little_aside_is_found_with_its_turn():
    second = shifted(_rotate(tadpole(), (24, 16), 90), 3, 18)
    both = np.where(second[..., 3:] > 0, second, tadpole())
    match = template().match(both)
    assert match.second > 0.95
    assert match.turn == 90
    assert match.shift == (3, -2)


def test_half_a_second_body_counts_half():
    second = shifted(tadpole(), 0, 20)
    half = second.copy()
    half[:24] = 0
    match = template().match(np.maximum(tadpole(), half))
    complete = template().match(np.maximum(tadpole(), second))
    assert 0.4 < match.second < 0.75 < complete.second


def test_the_undisturbed_body_alone_shows_no_second_one():
    assert template().match(tadpole()).second == 0


def test_a_body_that_left_shows_in_the_share_of_the_first():
    match = template().match(shifted(tadpole(), 0, 20))
    assert match.second == pytest.approx(1)
    assert match.first < 0.1


def test_a_second_body_where_the_first_stands_is_not_defined():
    match = template(target=(24, 16)).match(tadpole())
    assert np.isnan(match.second)


def test_a_complete_body_is_found_wherever_it_stands():
    moved = shifted(_rotate(tadpole(), (23.5, 23.5), 90), -3, 5)
    fit, turn, shift = best_fit(moved, tadpole())
    assert fit == pytest.approx(1, abs=1e-6)
    assert (turn, shift) == (90, (-3, 5))


def test_a_fragment_is_worth_its_share_of_the_body():
    picture = tadpole()
    picture[:, 20:] = 0
    left = np.square(picture).sum() / np.square(tadpole()).sum()
    assert best_fit(picture, tadpole())[0] == pytest.approx(left, abs=0.1)


def test_a_body_of_nothing_has_no_fit():
    assert np.isnan(best_fit(tadpole(), np.zeros((*CANVAS, 4)))[0])

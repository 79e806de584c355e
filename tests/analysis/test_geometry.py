"""Positions on a body: by hand, on bent bodies and on islands."""

import numpy as np
import pytest
from helpers import bodies

from analysis.geometry import _main_island, body_ends, geodesic, positions


def mask_from(text):
    """A mask from rows of # and blanks, by lines."""
    rows = [line for line in text.split("\n") if line.strip("|")]
    return np.array([[c == "#" for c in row.strip("|")] for row in rows])


def test_a_body_that_fills_its_canvas_has_its_edge_at_the_border():
    assert positions(np.ones((3, 4), bool))["edge"].tolist() == [1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1]


def test_a_straight_body_is_measured_from_its_left_end():
    mask = np.zeros((3, 7), bool)
    mask[1, 1:6] = True
    np.testing.assert_array_equal(geodesic(mask), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(body_ends(mask), [[1, 1], [1, 5]])


def test_paths_stay_inside_a_bent_body_and_take_diagonal_steps():
    mask = mask_from("|####|\n|   #|\n|####|")
    bend = 2 + np.sqrt(2)
    lower = 2 * np.sqrt(2) + np.array([4, 3, 2])
    np.testing.assert_allclose(geodesic(mask), [0, 1, 2, 3, bend, *lower, bend + 1])


def test_quarter_turns_keep_the_length_of_a_body():
    mask = bodies.ellipse()
    lengths = [np.nanmax(geodesic(np.rot90(mask, k))) for k in range(4)]
    np.testing.assert_allclose(lengths, lengths[0])
    assert lengths[0] == pytest.approx(18)
    np.testing.assert_array_equal(body_ends(mask), [[12, 3], [12, 21]])


def test_s_is_not_defined_on_smaller_islands():
    mask = bodies.two_islands()
    s, inside = geodesic(mask), _main_island(mask)
    assert inside.sum() == 69
    np.testing.assert_array_equal(np.isfinite(s), inside[mask])
    assert np.nanmin(s) == 0


def test_cells_that_touch_only_at_a_corner_are_islands():
    mask = np.eye(3, dtype=bool)
    np.testing.assert_array_equal(np.isfinite(geodesic(mask)), [True, False, False])


def test_bodies_of_no_cell_and_of_one_cell():
    assert geodesic(np.zeros((4, 5), bool)).shape == (0,)
    one = np.zeros((4, 5), bool)
    one[2, 2] = True
    np.testing.assert_array_equal(geodesic(one), [0])
    assert {k: v.tolist() for k, v in positions(one).items()} == {
        "x": [0],
        "y": [0],
        "radius": [0],
        "edge": [1],
    }


def test_s_differs_by_at_most_one_between_neighbours():
    mask = bodies.disc()
    field = np.full(mask.shape, np.nan)
    field[mask] = geodesic(mask)
    for axis in (0, 1):
        assert np.nanmax(np.abs(np.diff(field, axis=axis))) <= 1 + 1e-9

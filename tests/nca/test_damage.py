"""Wounds: which cells they take."""

import jax
import numpy as np
import pytest

from nca import damage
from nca.errors import UserError


def drawing(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


def test_a_disc_takes_the_cells_within_its_radius():
    np.testing.assert_array_equal(
        damage.disc((5, 6), (2, 3), 1.5),
        drawing("......", "..###.", "..###.", "..###.", "......"),
    )
    np.testing.assert_array_equal(
        damage.disc((5, 6), (0, 0), 2), drawing("###...", "##....", "#.....", "......", "......")
    )
    assert not damage.disc((5, 6), (20, 20), 3).any()


def test_a_box_takes_height_by_width_cells_from_its_corner_and_is_cut_at_the_canvas():
    np.testing.assert_array_equal(damage.box((4, 5), (1, 2), (2, 3)), drawing(".....", "..###", "..###", "....."))
    np.testing.assert_array_equal(damage.box((4, 5), (-1, -2), (2, 3)), drawing("#....", ".....", ".....", "....."))
    assert damage.box((4, 5), (3, 4), (9, 9)).sum() == 1
    assert not damage.box((4, 5), (-3, -3), (2, 2)).any()


@pytest.mark.parametrize(
    ("angle", "rows"),
    [
        (0, ["..##"] * 4),
        (90, ["....", "....", "####", "####"]),
        (180, ["##.."] * 4),
        (-90, ["####", "####", "....", "...."]),
        (45, ["....", "...#", "..##", ".###"]),
    ],
)
def test_a_half_plane_takes_the_side_that_its_angle_points_to(angle, rows):
    np.testing.assert_array_equal(damage.half_plane((4, 4), angle), drawing(*rows))


def test_the_offset_of_a_half_plane_moves_its_edge_that_way():
    np.testing.assert_array_equal(damage.half_plane((2, 6), 0, 1.0), drawing("....##", "....##"))
    np.testing.assert_array_equal(damage.half_plane((2, 6), 0, -1.0), drawing("..####", "..####"))


@pytest.mark.parametrize("canvas", [(72, 72), (56, 64), (41, 33)])
def test_the_cuts_take_halves_and_the_central_box(canvas):
    height, width = canvas
    top, bottom, left, right = (damage.cut(canvas, name) for name in ("top", "bottom", "left", "right"))
    assert (top ^ bottom).all()
    assert (left ^ right).all()
    assert top[0].all()
    assert bottom[-1].all()
    assert left[:, 0].all()
    assert right[:, -1].all()
    centre = damage.cut(canvas, "centre")
    assert centre.sum() == 256
    rows, columns = np.nonzero(centre)
    assert (rows.min(), columns.min()) == (height // 2 - 8, width // 2 - 8)


@pytest.mark.parametrize("canvas", [(12, 12), (10, 40), (16, 16), (3, 3)])
def test_on_a_canvas_smaller_than_the_central_box_the_box_is_cut_at_the_canvas(canvas):
    centre = damage.cut(canvas, "centre")
    assert centre.sum() == min(canvas[0], 16) * min(canvas[1], 16)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: damage.disc((5, 5), (2, 2), 0), "radius above 0"),
        (lambda: damage.disc((5, 5), (2, 2), float("nan")), "radius above 0"),
        (lambda: damage.box((5, 5), (2, 2), (0, 3)), "height and a width of at least 1"),
        (lambda: damage.cut((5, 5), "middle"), "bottom, top, right, left, centre; got 'middle'"),
    ],
)
def test_a_wound_that_is_none_is_refused(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()


# Wounds for training.


def wounds(kinds, canvas=(40, 40), count=300):
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.vmap(lambda key: damage.random_wound(key, canvas, kinds))(keys))


def test_published_wounds_are_discs_of_a_tenth_to_two_fifths_of_half_the_canvas():
    masks = wounds(("disc",))
    area = masks.sum((1, 2)) / (np.pi * 20**2)
    assert 0.1**2 * 0.8 < area.min() < 0.15**2
    assert 0.35**2 < area.max() < 0.4**2 * 1.1
    rows, columns = (np.array([np.nonzero(w)[axis].mean() for w in masks]) for axis in (0, 1))
    for middle in (rows, columns):
        assert 9 < middle.min() < 11
        assert 28 < middle.max() < 31
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.2


def test_half_plane_wounds_take_a_quarter_to_three_quarters_in_any_direction():
    masks = wounds(("half",))
    share = masks.mean((1, 2))
    assert 0.25 <= share.min() < 0.4
    assert 0.6 < share.max() <= 0.75
    quarters = [masks[:, y, x].mean() for y in (0, -1) for x in (0, -1)]
    assert min(quarters) > 0.35


def test_both_kinds_are_drawn_when_both_are_asked_for():
    discs = wounds(("disc", "half")).mean((1, 2)) < 0.15
    assert 0.35 < discs.mean() < 0.65

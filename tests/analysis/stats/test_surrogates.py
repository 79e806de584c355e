"""Band-rotated surrogates: what they keep, what they scramble, and how often they wrongly reject."""

import numpy as np
import pytest
import scipy.ndimage
from helpers import bodies

from analysis.assays.axes.decoding import ridge_r2
from analysis.assays.axes.pca import layout
from analysis.geometry import count_islands, positions
from analysis.stats.nulls import p_value
from analysis.stats.surrogates import (
    _bands,
    _bridges,
    _laplacian,
    draw_surrogates,
    haar_frames,
    laplacian_modes,
    rotate_bands,
)
from nca.errors import UserError
from nca.targets import target

MASKS = {"disc": bodies.disc(), "ellipse": bodies.ellipse(), "two islands": bodies.two_islands()}
masked = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


@masked
def test_surrogates_keep_means_products_and_covariances(mask):
    values = bodies.smooth_fields(0, mask, 5) + np.arange(5.0)
    for surrogate in draw_surrogates(values, mask, 7, seed=1):
        np.testing.assert_allclose(surrogate.mean(0), values.mean(0), atol=1e-6)
        np.testing.assert_allclose(surrogate.T @ surrogate, values.T @ values, atol=1e-6)
        np.testing.assert_allclose(np.cov(surrogate.T), np.cov(values.T), atol=1e-6)


@masked
def test_surrogates_keep_the_power_in_every_band(mask):
    values = bodies.smooth_fields(1, mask, 3)
    body_modes = laplacian_modes(mask)
    for surrogate in draw_surrogates(values, mask, 5, seed=2):
        for band in _bands(len(body_modes)):
            power = [np.square(body_modes[:, band].T @ field).sum(0) for field in (values, surrogate)]
            np.testing.assert_allclose(*power, atol=1e-6)


@masked
def test_surrogates_differ_from_the_field_even_in_the_longest_modes(mask):
    values = bodies.smooth_fields(2, mask, 4, sigma=4.0)
    for surrogate in draw_surrogates(values, mask, 5, seed=3):
        assert np.abs(np.diag(np.corrcoef(values.T, surrogate.T)[:4, 4:])).mean() < 0.9


def test_surrogates_do_not_depend_on_the_basis_of_a_band():
    mask = MASKS["ellipse"]
    values, body_modes = bodies.smooth_fields(2, mask, 4), laplacian_modes(mask)
    other = body_modes.copy()
    for band in _bands(len(body_modes)):
        size = band.stop - band.start
        other[:, band] = body_modes[:, band] @ haar_frames(np.random.default_rng(size), size, size, 1)[0]
    assert np.abs(other - body_modes).max() > 0.1
    np.testing.assert_allclose(rotate_bands(values, other, 3, 5), rotate_bands(values, body_modes, 3, 5), atol=1e-9)


@masked
def test_the_first_mode_is_constant_and_all_are_orthonormal(mask):
    body_modes = laplacian_modes(mask)
    np.testing.assert_allclose(body_modes[:, 0], 1 / np.sqrt(mask.sum()))
    np.testing.assert_allclose(body_modes.T @ body_modes, np.eye(len(body_modes)), atol=1e-10)
    diagonal = body_modes.T @ _laplacian(mask) @ body_modes
    np.testing.assert_allclose(diagonal, np.diag(np.diag(diagonal)), atol=1e-9)
    assert (np.diff(np.diag(diagonal)[1:]) > -1e-9).all()


def test_the_laplacian_of_a_corner():
    mask = np.array([[True, True], [True, False]])
    np.testing.assert_array_equal(_laplacian(mask), [[2, -1, -1], [-1, 1, 0], [-1, 0, 1]])


def test_nothing_wraps_around_the_canvas():
    mask = np.ones((1, 4), bool)
    assert _laplacian(mask)[0, 3] == 0


def test_islands_are_joined_to_their_nearest_cells():
    mask = np.zeros((5, 9), bool)
    mask[1:4, 0:3] = True  # a block
    mask[2, 5] = True  # three columns from its side's middle
    mask[0, 8] = True  # and one that the first one is nearest to
    number = np.cumsum(mask).reshape(mask.shape) - 1
    pairs = {frozenset(pair) for pair in _bridges(mask).T.tolist()}
    assert pairs == {frozenset({number[2, 2], number[2, 5]}), frozenset({number[2, 5], number[0, 8]})}


def test_equally_near_pairs_all_join():
    mask = np.array([[True, True], [False, False], [True, True]])
    assert sorted(_bridges(mask).T.tolist()) == [[0, 2], [1, 3]]
    assert _bridges(np.ones((3, 3), bool)).shape == (2, 0)


@pytest.mark.parametrize("number", range(5))
def test_with_any_islands_only_the_constant_has_eigenvalue_zero(number):
    mask = np.random.default_rng(number).random((12, 12)) < 0.25
    assert count_islands(mask) > 5
    assert np.linalg.eigvalsh(_laplacian(mask))[1] > 1e-6


def test_bands_have_the_sizes_of_the_method_and_leave_the_constant_alone():
    sizes = [band.stop - band.start for band in _bands(300)]
    assert sizes == [3, 5, 8, 13, 21, 34, 55, 60, 60, 40]
    assert _bands(300)[0].start == 1


def test_haar_frames_are_orthonormal_and_isotropic():
    for columns in (2, 3):
        frames = haar_frames(np.random.default_rng(0), 3, columns, 4000)
        ones = np.tile(np.eye(columns), (4000, 1, 1))
        np.testing.assert_allclose(frames.transpose(0, 2, 1) @ frames, ones, atol=1e-12)
        assert np.abs(frames.mean(0)).max() < 0.05
        np.testing.assert_allclose(np.square(frames).mean(0), 1 / 3, atol=0.03)


def test_p_counts_surrogates_at_least_as_large_and_is_never_zero():
    assert p_value(2.0, np.array([1.0, 2.0, 3.0])) == 3 / 4
    assert p_value(9.0, np.arange(9.0)) == 1 / 10


def test_p_is_nan_where_a_value_is_nan():
    assert np.isnan(p_value(np.nan, np.arange(9.0)))
    assert np.isnan(p_value(1.0, np.array([0.0, np.nan])))


def test_a_body_that_is_too_large_is_refused():
    with pytest.raises(UserError, match="4000 cells"):
        laplacian_modes(np.ones((80, 80), bool))


# How often it rejects


def rejection_rate(fields, mask, seed):
    """How often decoding x and y from a field beats 39 surrogates at 0.05."""
    cells = np.argwhere(mask)
    rejections = []
    for number, field in enumerate(fields):
        stack = np.concatenate([field[None], draw_surrogates(field, mask, 39, seed=seed + number)])
        r2 = ridge_r2(stack, cells.astype(float), cells, repeats=1)[:, 0]
        rejections.append([p_value(r2[0, k], r2[1:, k]) <= 0.05 for k in range(2)])
    return np.mean(rejections, axis=0)


def test_fields_drawn_by_the_rotation_itself_are_rejected_at_the_nominal_rate():
    mask = bodies.ellipse()
    fields = draw_surrogates(bodies.smooth_fields(0, mask, 4), mask, 200, seed=9)
    rate = rejection_rate(fields, mask, seed=1000)
    assert ((rate >= 0.01) & (rate <= 0.10)).all(), rate


def lizard():
    return target("lizard", 24)[..., 3] > 0.1


def fringed_ellipse():
    """An ellipse with nine cells around it that do not touch it."""
    mask = bodies.ellipse()
    for y, x in np.argwhere((scipy.ndimage.distance_transform_edt(~mask) // 1) == 2):
        if not mask[y - 1 : y + 2, x - 1 : x + 2].any() and count_islands(mask) < 10:
            mask[y, x] = True
    return mask


SMALL = {
    "disc": bodies.disc(radius=5.5),
    "ellipse": bodies.ellipse(),
    "lizard": lizard(),
    "fringed ellipse": fringed_ellipse(),
}


@pytest.mark.parametrize("mask", SMALL.values(), ids=SMALL.keys())
def test_stationary_smooth_fields_are_rejected_only_somewhat_too_often(mask, record_property):
    rate = rejection_rate([bodies.smooth_fields(k, mask, 4) for k in range(60)], mask, seed=2000)
    record_property("known size of the test for x and y", rate.tolist())
    assert (rate <= 0.15).all(), rate


def test_permuting_cells_would_find_a_gradient_in_nearly_every_smooth_field():
    """Why it is not offered: it asks whether a field is smooth, and every field is."""
    mask = bodies.ellipse()
    position, rng = positions(mask), np.random.default_rng(0)
    significant = {"permuted": [], "rotated": []}
    for number in range(60):
        field = bodies.smooth_fields(number, mask, 1, sigma=3.0)
        null = {
            "permuted": np.stack([rng.permutation(field) for _ in range(39)]),
            "rotated": draw_surrogates(field, mask, 39, seed=number),
        }
        for name, surrogates in null.items():
            r2 = layout(np.concatenate([field[None], surrogates]), position)["plane_r2"][:, 0]
            significant[name].append(p_value(r2[0], r2[1:]) <= 0.05)
    assert np.mean(significant["permuted"]) >= 0.9
    assert np.mean(significant["rotated"]) <= 0.15

"""Band-rotated surrogates: what they keep, what they scramble, and how often they wrongly reject."""

import numpy as np
import pytest
import scipy.ndimage
from helpers import bodies

from analysis.assays.axes.decoding import decoded
from analysis.assays.axes.pca import plane
from analysis.geometry import positions
from analysis.stats.surrogates import (
    band_rotated,
    bands,
    bridges,
    haar,
    islands,
    laplacian,
    modes,
    p_value,
    rotated,
)
from nca.errors import UserError
from nca.targets import target

MASKS = {"disc": bodies.disc(), "ellipse": bodies.ellipse(), "two islands": bodies.two_islands()}
masked = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


@masked
def test_surrogates_keep_means_products_and_covariances(mask):
    values = bodies.smooth(0, mask, 5) + np.arange(5.0)
    for drawn in band_rotated(values, mask, 7, seed=1):
        np.testing.assert_allclose(drawn.mean(0), values.mean(0), atol=1e-6)
        np.testing.assert_allclose(drawn.T @ drawn, values.T @ values, atol=1e-6)
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(values.T), atol=1e-6)


@masked
def test_surrogates_keep_the_power_in_every_band(mask):
    values = bodies.smooth(1, mask, 3)
    waves = modes(mask)
    for drawn in band_rotated(values, mask, 5, seed=2):
        for band in bands(len(waves)):
            power = [np.square(waves[:, band].T @ field).sum(0) for field in (values, drawn)]
            np.testing.assert_allclose(*power, atol=1e-6)


@masked
def test_surrogates_are_elsewhere_even_in_the_longest_waves(mask):
    values = bodies.smooth(2, mask, 4, sigma=4.0)
    for drawn in band_rotated(values, mask, 5, seed=3):
        assert np.abs(np.diag(np.corrcoef(values.T, drawn.T)[:4, 4:])).mean() < 0.9


def test_surrogates_do_not_depend_on_how_the_waves_of_a_band_are_chosen():
    mask = MASKS["ellipse"]
    values, waves = bodies.smooth(2, mask, 4), modes(mask)
    other = waves.copy()
    for band in bands(len(waves)):
        size = band.stop - band.start
        other[:, band] = waves[:, band] @ haar(np.random.default_rng(size), size, size, 1)[0]
    assert np.abs(other - waves).max() > 0.1
    np.testing.assert_allclose(rotated(values, other, 3, 5), rotated(values, waves, 3, 5), atol=1e-9)


@masked
def test_the_first_wave_is_the_constant_and_all_are_orthonormal(mask):
    waves = modes(mask)
    np.testing.assert_allclose(waves[:, 0], 1 / np.sqrt(mask.sum()))
    np.testing.assert_allclose(waves.T @ waves, np.eye(len(waves)), atol=1e-10)
    carried = waves.T @ laplacian(mask) @ waves
    np.testing.assert_allclose(carried, np.diag(np.diag(carried)), atol=1e-9)
    assert (np.diff(np.diag(carried)[1:]) > -1e-9).all()


def test_the_laplacian_of_a_corner_is_worked_out_by_hand():
    mask = np.array([[True, True], [True, False]])
    np.testing.assert_array_equal(laplacian(mask), [[2, -1, -1], [-1, 1, 0], [-1, 0, 1]])


def test_nothing_wraps_around_the_canvas():
    mask = np.ones((1, 4), bool)
    assert laplacian(mask)[0, 3] == 0


def test_islands_are_joined_to_what_is_nearest():
    mask = np.zeros((5, 9), bool)
    mask[1:4, 0:3] = True  # a block
    mask[2, 5] = True  # three columns from its side's middle
    mask[0, 8] = True  # and one that the first one is nearest to
    number = np.cumsum(mask).reshape(mask.shape) - 1
    found = {frozenset(pair) for pair in bridges(mask).T.tolist()}
    assert found == {frozenset({number[2, 2], number[2, 5]}), frozenset({number[2, 5], number[0, 8]})}


def test_equally_near_pairs_all_join():
    mask = np.array([[True, True], [False, False], [True, True]])
    assert sorted(bridges(mask).T.tolist()) == [[0, 2], [1, 3]]
    assert bridges(np.ones((3, 3), bool)).shape == (2, 0)


@pytest.mark.parametrize("number", range(5))
def test_whatever_the_islands_only_the_constant_has_no_wavelength(number):
    mask = np.random.default_rng(number).random((12, 12)) < 0.25
    assert islands(mask) > 5
    assert np.linalg.eigvalsh(laplacian(mask))[1] > 1e-6


def test_bands_have_the_sizes_of_the_method_and_leave_the_constant_alone():
    sizes = [band.stop - band.start for band in bands(300)]
    assert sizes == [3, 5, 8, 13, 21, 34, 55, 60, 60, 40]
    assert bands(300)[0].start == 1


def test_rotations_are_orthogonal_and_favour_no_direction():
    for columns in (2, 3):
        drawn = haar(np.random.default_rng(0), 3, columns, 4000)
        ones = np.tile(np.eye(columns), (4000, 1, 1))
        np.testing.assert_allclose(drawn.transpose(0, 2, 1) @ drawn, ones, atol=1e-12)
        assert np.abs(drawn.mean(0)).max() < 0.05
        np.testing.assert_allclose(np.square(drawn).mean(0), 1 / 3, atol=0.03)


def test_p_counts_surrogates_at_least_as_large_and_never_is_zero():
    assert p_value(2.0, np.array([1.0, 2.0, 3.0])) == 3 / 4
    assert p_value(9.0, np.arange(9.0)) == 1 / 10


def test_what_is_not_defined_has_no_p_instead_of_the_smallest():
    assert np.isnan(p_value(np.nan, np.arange(9.0)))
    assert np.isnan(p_value(1.0, np.array([0.0, np.nan])))


def test_a_body_that_is_too_large_is_refused():
    with pytest.raises(UserError, match="4000 cells"):
        modes(np.ones((80, 80), bool))


# How often it rejects


def rejected(fields, mask, seed):
    """Whether decoding x and y from each field beats 39 surrogates at 0.05."""
    cells = np.argwhere(mask)
    found = []
    for number, field in enumerate(fields):
        stack = np.concatenate([field[None], band_rotated(field, mask, 39, seed=seed + number)])
        scores = decoded(stack, cells.astype(float), cells, deals=1)[:, 0]
        found.append([p_value(scores[0, k], scores[1:, k]) <= 0.05 for k in range(2)])
    return np.mean(found, axis=0)


def test_fields_drawn_by_the_rotation_itself_are_rejected_at_the_nominal_rate():
    mask = bodies.ellipse()
    fields = band_rotated(bodies.smooth(0, mask, 4), mask, 200, seed=9)
    rate = rejected(fields, mask, seed=1000)
    assert ((rate >= 0.01) & (rate <= 0.10)).all(), rate


def lizard():
    return target("lizard", 24)[..., 3] > 0.1


def fringed():
    """An ellipse with nine cells around it that do not touch it."""
    mask = bodies.ellipse()
    for y, x in np.argwhere((scipy.ndimage.distance_transform_edt(~mask) // 1) == 2):
        if not mask[y - 1 : y + 2, x - 1 : x + 2].any() and islands(mask) < 10:
            mask[y, x] = True
    return mask


SMALL = {
    "disc": bodies.disc(radius=5.5),
    "ellipse": bodies.ellipse(),
    "lizard": lizard(),
    "fringed ellipse": fringed(),
}


@pytest.mark.parametrize("mask", SMALL.values(), ids=SMALL.keys())
def test_stationary_smooth_fields_are_rejected_only_somewhat_too_often(mask, record_property):
    rate = rejected([bodies.smooth(k, mask, 4) for k in range(60)], mask, seed=2000)
    record_property("known size of the test for x and y", rate.tolist())
    assert (rate <= 0.15).all(), rate


def test_permuting_cells_would_find_a_gradient_in_nearly_every_smooth_field():
    """Why it is not offered: it asks whether a field is smooth, and every field is."""
    mask = bodies.ellipse()
    where, draw = positions(mask), np.random.default_rng(0)
    found = {"permuted": [], "rotated": []}
    for number in range(60):
        field = bodies.smooth(number, mask, 1, sigma=3.0)
        null = {
            "permuted": np.stack([draw.permutation(field) for _ in range(39)]),
            "rotated": band_rotated(field, mask, 39, seed=number),
        }
        for name, drawn in null.items():
            r2 = plane(np.concatenate([field[None], drawn]), where)[0][:, 0]
            found[name].append(p_value(r2[0], r2[1:]) <= 0.05)
    assert np.mean(found["permuted"]) >= 0.9
    assert np.mean(found["rotated"]) <= 0.15

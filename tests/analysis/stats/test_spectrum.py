"""Surrogates whose long waves have the power that shorter ones predict."""

import numpy as np
import pytest
from helpers import bodies

from analysis.assays.axes.decoding import ridge_r2
from analysis.geometry import positions
from analysis.stats.nulls import p_value, with_surrogates
from analysis.stats.spectrum import _fit_spectrum, extrapolate_surrogates
from analysis.stats.surrogates import laplacian_eigenvalues, laplacian_modes

DISC = bodies.disc((32, 32), 10.0)


def planted(number, share):
    """Stationary smooth fields with a gradient of x that holds a share of the variance, in a random direction."""
    values, x = bodies.smooth_fields(number, DISC, 8), positions(DISC)["x"]
    direction = np.random.default_rng(number).normal(size=8)
    slope = np.outer((x - x.mean()) / x.std(), direction / np.linalg.norm(direction))
    return values + np.sqrt(share / (1 - share) * values.var(0).sum()) * slope


def test_a_known_spectrum_is_found_again_where_it_was_not_fitted():
    eigenvalues = np.linspace(0, 4, 200)
    true = 5.0 * (1 + eigenvalues / 0.2) ** -2.5
    np.testing.assert_allclose(_fit_spectrum(eigenvalues, true), true, rtol=0.02)
    power = true * np.random.default_rng(0).gamma(12, 1 / 12, 200)
    power[1:9] *= 50  # outside of what is fitted
    assert np.median(_fit_spectrum(eigenvalues, power)[1:9] / true[1:9]) == pytest.approx(1, abs=0.4)


def test_only_the_power_of_the_longest_waves_changes():
    values, modes = planted(0, 0.3), laplacian_modes(DISC)
    surrogates, excess = extrapolate_surrogates(values, DISC, 3, seed=1)
    before = np.square(modes.T @ values).sum(1)
    for surrogate in surrogates:
        after = np.square(modes.T @ surrogate).sum(1)
        assert before[1:9].sum() / after[1:9].sum() == pytest.approx(excess)
        assert after[0] == pytest.approx(before[0])
        assert after[9:17].sum() == pytest.approx(before[9:17].sum())
        assert after[17:].sum() == pytest.approx(before[17:].sum())


def test_the_power_of_stationary_fields_is_as_predicted_and_a_gradient_exceeds_it():
    none, some = ([extrapolate_surrogates(planted(k, share), DISC, 1)[1] for k in range(12)] for share in (0, 0.3))
    assert 0.6 < np.median(none) < 1.4
    assert np.median(some) > 1.4 * np.median(none)


def test_smooth_fields_are_rarely_rejected_and_planted_gradients_more_often_than_by_rotation():
    def rejected(share, spectrum):
        p = []
        for k in range(30):
            fields = with_surrogates(planted(k, share), DISC, 39, k, spectrum)
            r2 = ridge_r2(fields, positions(DISC)["x"][:, None], np.argwhere(DISC), 2)[..., 0].mean(1)
            p.append(p_value(float(r2[0]), r2[1:]))
        return np.mean(np.asarray(p) <= 0.05)

    assert rejected(0, "extrapolated") <= 0.15
    assert rejected(0.1, "extrapolated") >= rejected(0.1, "own") + 0.1


def test_eigenvalues_are_those_of_the_modes():
    modes = laplacian_modes(DISC)
    eigenvalues = laplacian_eigenvalues(modes, DISC)
    assert eigenvalues[0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(eigenvalues) > -1e-9).all()
    assert eigenvalues.max() < 8

"""Networks as units: a planted axis is shared, others are not."""

import numpy as np
import pytest
from helpers import bodies
from helpers.fields import record_fields

from analysis.assays.axes.across_networks import (
    _best_direction,
    _canonical,
    _long_axis,
    _rayleigh_test,
    decoder_direction,
    direction_agreement,
)
from analysis.assays.axes.pca import pca
from analysis.geometry import positions
from nca.errors import UserError


def direction_of(number, mask, angle=None, strength=0.45):
    """The direction of one network: smooth noise, and perhaps an axis planted at an angle."""
    values = bodies.smooth_fields(number, mask, 5)
    if angle is not None:
        position = positions(mask)
        slope = np.cos(np.radians(angle)) * position["x"] + np.sin(np.radians(angle)) * position["y"]
        channels = np.random.default_rng(number).normal(size=5)
        values = values + strength * np.outer(slope / slope.std(), channels / np.linalg.norm(channels))
    recording = record_fields(values, mask)
    return decoder_direction(recording, pca(recording), surrogates=59, cv_repeats=3, seed=number)


def test_twelve_networks_with_a_planted_axis_agree_and_twelve_without_do_not():
    mask = bodies.disc((40, 40), 14)
    planted = direction_agreement([direction_of(k, mask, angle=35) for k in range(12)])
    assert float(planted.p_uniform) <= 0.02
    assert float(planted.p_surrogates) <= 0.02
    assert float(planted.direction) == pytest.approx(35, abs=12)
    none = direction_agreement([direction_of(k, mask) for k in range(12)])
    assert float(none.p_uniform) > 0.1
    assert float(none.p_surrogates) > 0.1


def test_surrogates_of_long_bodies_agree_more_than_uniform_angles_do():
    mask = np.kron(bodies.ellipse(), np.ones((1, 2), bool))
    none = direction_agreement([direction_of(100 + k, mask) for k in range(12)])
    uniform = _rayleigh_test(np.random.default_rng(0).uniform(0, 180, (4000, 12)))[0]
    assert np.median(none.null_length) > np.median(uniform) + 0.1
    assert float(none.p_surrogates) > 0.05
    assert float(none.elongation.mean()) == pytest.approx(9 / 2, abs=0.4)


def test_angles_may_be_counted_from_the_long_axis_of_each_body():
    mask = np.kron(bodies.ellipse(), np.ones((2, 2), bool))
    upright = [direction_of(k, mask, angle=30, strength=8) for k in range(3)]
    rotated = [direction_of(k, mask.T, angle=120, strength=8) for k in range(3, 6)]
    assert float(direction_agreement([*upright, *rotated], "canvas").length) < 0.2
    agreement = direction_agreement([*upright, *rotated], "body")
    assert float(agreement.length) > 0.95
    assert float(agreement.direction) == pytest.approx(30, abs=5)


def test_the_long_axis_and_the_best_direction_of_known_fields_are_worked_out():
    angle, elongation = _long_axis(bodies.ellipse((40, 40)))
    assert angle in (pytest.approx(0, abs=1e-6), pytest.approx(180, abs=1e-6))
    assert elongation == pytest.approx(9 / 4, abs=0.15)
    best, r2, worst = _best_direction(np.array([[4.0, 0.0], [0.0, 1.0]]), np.diag([8.0, 8.0]))
    assert best == pytest.approx(90)
    assert (r2, worst) == (pytest.approx(7 / 8), pytest.approx(4 / 8))


def test_the_axial_rayleigh_test_has_its_known_values_and_size():
    assert _rayleigh_test(np.array([10.0, 10.0, 10.0]))[0] == pytest.approx(1)
    assert _rayleigh_test(np.array([0.0, 90.0]))[0] == pytest.approx(0, abs=1e-12)
    assert _rayleigh_test(np.array([5.0, 185.0 % 180, 5.0]))[0] == pytest.approx(1)
    p = _rayleigh_test(np.random.default_rng(0).uniform(0, 180, (4000, 12)))[1]
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.01)


def network(number, mask, mixing, code=0.0):
    """A network whose states are one and the same field, and one of its own, in a basis of its own."""
    common = code * bodies.smooth_fields(1000, mask, 5)
    recording = record_fields((common + bodies.smooth_fields(number, mask, 5)) @ mixing, mask)
    return decoder_direction(recording, pca(recording), surrogates=19, cv_repeats=1)


def test_states_that_networks_share_are_found_in_any_basis_and_independent_ones_are_not():
    mask, rng = bodies.disc((40, 40), 12), np.random.default_rng(0)
    mixings = [rng.normal(size=(5, 5)) for _ in range(4)]
    mixed = direction_agreement([network(k, mask, mixing, 1) for k, mixing in enumerate(mixings)], draws=19)
    assert float(mixed.p_shared) == pytest.approx(1 / 100)
    plain = direction_agreement([network(k, mask, np.eye(5), 1) for k in range(4)], draws=19)
    assert float(mixed.shared) == pytest.approx(float(plain.shared), rel=1e-6)
    none = direction_agreement([network(k, mask, mixing) for k, mixing in enumerate(mixings)], draws=19)
    assert float(none.p_shared) > 0.05
    assert float(none.shared) < 0.6 * float(mixed.shared)


def test_the_canonical_correlation_of_known_fields_is_worked_out():
    rng = np.random.default_rng(0)
    a = np.linalg.qr(rng.normal(size=(60, 6)))[0]
    a -= a.mean(0)
    b = np.concatenate([a[:, :2] @ rng.normal(size=(2, 2)), np.zeros((60, 1))], 1)
    assert _canonical(a[None], b[None]) == pytest.approx(1)
    basis = np.linalg.qr(np.c_[np.ones(60), rng.normal(size=(60, 3))])[0][:, 1:]
    c = np.cos(np.radians(60)) * basis[:, :1] + np.sin(np.radians(60)) * basis[:, 1:2]
    assert _canonical(basis[None, :, :1], c[None]) == pytest.approx(0.25)
    assert _canonical(basis[None, :, :1], basis[None, :, 2:]) == pytest.approx(0, abs=1e-12)


def test_states_are_not_compared_between_targets_or_canvases():
    agreement = direction_agreement([direction_of(k, bodies.disc()) for k in range(3)], "body")
    assert np.isnan(float(agreement.shared))
    canvases = [direction_of(k, bodies.disc((40 + k, 40), 12)) for k in range(3)]
    assert np.isnan(float(direction_agreement(canvases).p_shared))


def test_fewer_than_three_networks_make_no_claim():
    mask = bodies.disc()
    with pytest.raises(UserError, match="3 or more"):
        direction_agreement([direction_of(0, mask), direction_of(1, mask)])

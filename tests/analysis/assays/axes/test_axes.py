"""Codes of place that were planted are found, at their place and for what they are; others are not."""

import numpy as np
import pytest
from helpers import bodies
from helpers.fields import recorded

from analysis.assays.axes import protocol as axes
from analysis.assays.axes.across_networks import angle_of_code, long_axis
from analysis.assays.axes.config import AxesConfig
from analysis.dissection.config import DissectConfig
from analysis.geometry import geodesic, positions
from analysis.recording import label_states
from analysis.stats.nulls import fdr, null_tests
from nca.errors import UserError


def test_a_planted_gradient_in_smooth_noise_is_found_at_its_angle():
    mask = bodies.disc((40, 40), 14)
    where = axes.places(mask)
    slope = np.cos(np.radians(35)) * where["x"] + np.sin(np.radians(35)) * where["y"]
    direction = np.array([0.8, 0.1, -0.5, 0.3, 0.0])
    values = np.outer(slope / slope.std(), direction) + 0.35 * bodies.smooth(1, mask, 5)
    recording = recorded(values, mask)
    found = axes.pca(recording)
    assert float(found.plane_r2[0, 0]) > 0.8
    assert float(found.angle[0, 0]) == pytest.approx(35, abs=5)
    tests = axes.position_tests(recording, found, surrogates=39, deals=3)
    assert float(tests.p.sel(statistic="plane R2 of PC1")) <= 0.05


def test_the_usual_number_of_surrogates_can_call_a_lone_effect():
    """Of so many tests one alone has a q of their number times its p."""
    mask = bodies.disc((40, 40), 14)
    recording = recorded(bodies.smooth(1, mask, 5), mask)
    tests = axes.position_tests(recording, axes.pca(recording), surrogates=19, deals=1).sizes["statistic"]
    for config in (AxesConfig(), DissectConfig()):
        assert tests / (config.surrogates + 1) <= 0.05


def test_planted_boundaries_across_the_body_are_found_in_x_and_not_in_y():
    mask = bodies.disc((40, 40), 14)
    values = 0.5 * bodies.smooth(3, mask, 5)
    for channel, boundary in enumerate((-8, -4, 0, 4, 8)):
        values[:, channel] += np.tanh((axes.places(mask)["x"] - boundary) / 2)
    recording = recorded(values, mask)
    tests = axes.position_tests(recording, axes.pca(recording), surrogates=39, deals=3)
    assert float(tests.p.sel(statistic="R2 of x")) <= 0.05
    assert float(tests.observed.sel(statistic="R2 of x")) > 0.8
    assert float(tests.p.sel(statistic="R2 of y")) > 0.05


def test_a_planted_code_of_the_edge_is_found_and_no_direction_with_it():
    mask = bodies.disc((40, 40), 14)
    values = 0.5 * bodies.smooth(2, mask, 5)
    values[:, 0] += 1.5 * np.exp(-axes.places(mask)["edge"] / 4) * 4
    recording = recorded(values, mask)
    found = axes.pca(recording)
    tests = axes.position_tests(recording, found, surrogates=39, deals=3)
    assert float(tests.p.sel(statistic="R2 of edge")) <= 0.05
    assert float(tests.p.sel(statistic="radius rank of PC1")) <= 0.05
    assert float(tests.p.sel(statistic="R2 of x")) > 0.05


def test_a_planted_head_tail_code_is_found_along_a_bent_body():
    canvas = (40, 40)
    y, x = np.ogrid[:40, :40]
    from_middle = np.hypot(y - 20, x - 20)
    mask = (from_middle > 9) & (from_middle < 15) & ~((x > 20) & (abs(y - 20) < 6))  # a C
    assert canvas == mask.shape
    along = geodesic(mask)
    values = 0.5 * bodies.smooth(0, mask, 4)
    values[:, 1] += (along - along.mean()) / along.std()
    recording = recorded(values, mask)
    tests = axes.position_tests(recording, axes.pca(recording), surrogates=39, deals=3)
    assert float(tests.observed.sel(statistic="R2 of s")) > 0.6
    assert float(tests.p.sel(statistic="R2 of s")) == pytest.approx(1 / 40)


def test_on_islands_the_body_coordinate_is_decoded_on_the_largest_alone():
    mask = bodies.two_islands((24, 24))
    recording = recorded(bodies.smooth(0, mask, 3), mask)
    tests = axes.position_tests(recording, axes.pca(recording), surrogates=19, deals=2)
    assert tests.attrs["islands"] == 2
    assert np.isfinite(tests.observed.sel(statistic="R2 of s"))


def test_p_and_q_of_what_is_not_defined_are_not_defined_and_correct_nothing():
    tests = null_tests({"a": np.array([9.0, 1, 2, 3]), "b": np.array([np.nan, 1, 2, 3])})
    assert float(tests.p[0]) == float(tests.q[0]) == 0.25
    assert np.isnan(tests.p[1])
    np.testing.assert_allclose(fdr(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04])


def test_bodies_of_few_cells_are_not_tested():
    """On them the null does not hold: of smooth fields on this one most would have a gradient."""
    mask = np.zeros((24, 24), bool)
    mask[6:8, 5:10] = mask[8, 7] = True
    recording = recorded(bodies.smooth(0, mask, 6), mask)
    with pytest.raises(UserError, match="40 or more cells, got 11"):
        axes.position_tests(recording, axes.pca(recording), surrogates=19, deals=2)


# Controls (A3)


def controlled(values, mask, seen):
    recording = recorded(values, mask, seen)
    return axes.controls(recording, axes.pca(recording), surrogates=39, deals=3)


def test_states_that_only_repeat_colour_or_shape_add_nothing_to_them():
    mask = bodies.disc((40, 40), 14)
    where, noise = positions(mask), bodies.smooth(1, mask, 4)
    seen = np.stack([where["x"], where["y"], where["radius"]], 1) / 20
    copied = np.column_stack([seen + 0.01 * noise[:, :3], np.exp(-where["edge"] / 3)])
    found = controlled(copied, mask, seen)
    assert float(found.r2.sel(source="colour", quantity="x")) > 0.95
    assert float(found.observed.sel(statistic="x over colour")) < 0.02
    assert np.isnan(found.p.sel(statistic="edge over shape"))


def test_a_code_of_x_that_neither_shape_nor_colour_hold_is_added_to_both():
    mask = bodies.disc((40, 40), 14)
    values = 0.1 * bodies.smooth(2, mask, 4)
    values[:, 2] += positions(mask)["x"] / 6
    found = controlled(values, mask, bodies.smooth(3, mask, 3))
    for source in ("shape", "colour"):
        assert float(found.p.sel(statistic=f"x over {source}")) == pytest.approx(1 / 40)
        assert float(found.observed.sel(statistic=f"x over {source}")) > 0.1


def test_a_rule_without_hidden_channels_has_no_controls():
    organism = bodies.standing(channels=4)
    recording = label_states(organism, np.asarray(organism.start())[None, None])
    with pytest.raises(UserError, match="has none"):
        axes.controls(recording, axes.pca(recording, channels="all"))


# Several networks (A5)


def coded(number, mask, angle=None, strength=0.45):
    """What one network says: smooth noise, and perhaps an axis planted at an angle."""
    values = bodies.smooth(number, mask, 5)
    if angle is not None:
        where = positions(mask)
        slope = np.cos(np.radians(angle)) * where["x"] + np.sin(np.radians(angle)) * where["y"]
        draw = np.random.default_rng(number).normal(size=5)
        values = values + strength * np.outer(slope / slope.std(), draw / np.linalg.norm(draw))
    recording = recorded(values, mask)
    return axes.code_direction(recording, axes.pca(recording), surrogates=59, deals=3, seed=number)


def test_twelve_networks_with_a_planted_axis_agree_and_twelve_without_do_not():
    mask = bodies.disc((40, 40), 14)
    planted = axes.networks([coded(k, mask, angle=35) for k in range(12)])
    assert float(planted.p_uniform) <= 0.02
    assert float(planted.p_surrogates) <= 0.02
    assert float(planted.direction) == pytest.approx(35, abs=12)
    none = axes.networks([coded(k, mask) for k in range(12)])
    assert float(none.p_uniform) > 0.1
    assert float(none.p_surrogates) > 0.1


def test_surrogates_of_long_bodies_agree_more_than_uniform_angles_do():
    mask = np.kron(bodies.ellipse(), np.ones((1, 2), bool))
    none = axes.networks([coded(100 + k, mask) for k in range(12)])
    uniform = axes.rayleigh(np.random.default_rng(0).uniform(0, 180, (4000, 12)))[0]
    assert np.median(none.null_length) > np.median(uniform) + 0.1
    assert float(none.p_surrogates) > 0.05
    assert float(none.elongation.mean()) == pytest.approx(9 / 2, abs=0.4)


def test_angles_may_be_counted_from_each_bodys_long_axis():
    mask = np.kron(bodies.ellipse(), np.ones((2, 2), bool))
    upright = [coded(k, mask, angle=30, strength=8) for k in range(3)]
    turned = [coded(k, mask.T, angle=120, strength=8) for k in range(3, 6)]
    assert float(axes.networks([*upright, *turned], "canvas").length) < 0.2
    found = axes.networks([*upright, *turned], "body")
    assert float(found.length) > 0.95
    assert float(found.direction) == pytest.approx(30, abs=5)


def test_the_long_axis_and_the_best_direction_of_known_fields_are_worked_out():
    angle, elongation = long_axis(bodies.ellipse((40, 40)))
    assert angle in (pytest.approx(0, abs=1e-6), pytest.approx(180, abs=1e-6))
    assert elongation == pytest.approx(9 / 4, abs=0.15)
    best, r2, worst = angle_of_code(np.array([[4.0, 0.0], [0.0, 1.0]]), np.diag([8.0, 8.0]))
    assert best == pytest.approx(90)
    assert (r2, worst) == (pytest.approx(7 / 8), pytest.approx(4 / 8))


def test_the_axial_rayleigh_test_has_its_known_values_and_size():
    assert axes.rayleigh(np.array([10.0, 10.0, 10.0]))[0] == pytest.approx(1)
    assert axes.rayleigh(np.array([0.0, 90.0]))[0] == pytest.approx(0, abs=1e-12)
    assert axes.rayleigh(np.array([5.0, 185.0 % 180, 5.0]))[0] == pytest.approx(1)
    p = axes.rayleigh(np.random.default_rng(0).uniform(0, 180, (4000, 12)))[1]
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.01)


def test_decoders_in_the_same_channels_are_alike_and_turned_ones_are_not():
    mask = bodies.disc((40, 40), 12)
    where = positions(mask)
    place = np.stack([where[q] / where[q].std() for q in ("x", "y", "radius", "edge")], 1)

    def network(number, mixing):
        values = place @ mixing + 0.1 * bodies.smooth(number, mask, 8)
        recording = recorded(values, mask)
        return axes.code_direction(recording, axes.pca(recording), surrogates=19, deals=1)

    draw = np.random.default_rng(0)
    mixing = np.linalg.qr(draw.normal(size=(8, 4)))[0].T
    same = axes.networks([network(k, mixing) for k in range(4)], draws=199)
    assert (same.alike > 0.9).all()
    assert (same.p_alike <= 1 / 200 + 1e-9).all()
    other = axes.networks([network(k, np.linalg.qr(draw.normal(size=(8, 4)))[0].T) for k in range(4)], draws=199)
    assert (other.p_alike > 0.05).all()


def test_fewer_than_three_networks_make_no_claim():
    mask = bodies.disc()
    with pytest.raises(UserError, match="3 or more"):
        axes.networks([coded(0, mask), coded(1, mask)])

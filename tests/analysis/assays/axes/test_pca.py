"""Principal components: an oracle, signs, maps, and states that have none."""

import numpy as np
import pytest
from helpers import bodies
from helpers.fields import record_fields

import analysis
from analysis.assays.axes.pca import layout, pca
from analysis.geometry import positions
from analysis.recording import label_states
from nca.errors import UserError


def test_components_are_those_of_the_eigenvectors_with_a_sign_that_is_fixed():
    mask = bodies.disc()
    values = bodies.smooth_fields(0, mask, 5) * [3, 2, 1, 0.5, 0.2] + 5
    components = pca(record_fields(values, mask))
    spread, vectors = np.linalg.eigh(np.cov(values.T))
    np.testing.assert_allclose(components.explained, spread[::-1] / spread.sum(), rtol=1e-4)
    for k, loading in enumerate(components.loadings.values):
        assert abs(loading @ vectors[:, 4 - k]) == pytest.approx(1, abs=1e-4)
        assert loading[np.abs(loading).argmax()] > 0


def test_scores_lie_on_the_body_and_nowhere_else():
    mask = bodies.disc()
    values = bodies.smooth_fields(0, mask, 4)
    components = pca(record_fields(values, mask))
    scores = components.scores.values[0, 0]
    np.testing.assert_array_equal(np.isfinite(scores).all(-1), mask)
    np.testing.assert_allclose(scores[mask], (values - values.mean(0)) @ components.loadings.values.T, atol=1e-4)


def test_other_steps_are_shown_in_the_components_of_one():
    organism, mask = bodies.static_organism(), bodies.disc()
    states = np.stack([np.asarray(organism.initial_state()) * f for f in (0.5, 1.0)])[None]
    components = pca(label_states(organism, states, steps=[3, 4]), step=4)
    alone = pca(label_states(organism, states[:, 1:], steps=[4]))
    np.testing.assert_allclose(components.loadings, alone.loadings, atol=1e-6)
    inside = states[0, 0][mask][:, 4:] - components["mean"].values
    np.testing.assert_allclose(components.scores.values[0, 0][mask], inside @ components.loadings.values.T, atol=1e-5)


def test_z_scores_weigh_channels_alike():
    mask = bodies.disc()
    values = bodies.smooth_fields(0, mask, 3)
    plain = pca(record_fields(values, mask), scaling="zscore")
    scaled = pca(record_fields(values * [1, 100, 0.01], mask), scaling="zscore")
    np.testing.assert_allclose(plain.explained, scaled.explained, atol=1e-4)


def test_colour_is_left_out_unless_asked_for():
    recording = record_fields(bodies.smooth_fields(0, bodies.disc(), 2), bodies.disc())
    assert pca(recording).channel.values.tolist() == ["h0", "h1"]
    assert pca(recording, channels="all").sizes["channel"] == 6


def test_the_plane_and_the_radius_of_known_maps_are_worked_out_by_hand():
    position = positions(bodies.disc((31, 31), 12))
    values = np.stack([position["x"], -position["y"], position["radius"], position["x"] + position["y"]], -1)
    on_body = layout(values, position)
    r2, angle = on_body["plane_r2"], on_body["plane_angle"]
    np.testing.assert_allclose(r2[[0, 1, 3]], 1, atol=1e-9)
    np.testing.assert_allclose(angle[[0, 1, 3]], [0, 90, 45], atol=1e-6)
    assert r2[2] < 1e-9
    assert on_body["radius_correlation"][2] == pytest.approx(1)


def test_a_fold_of_the_first_component_shows_as_a_horseshoe():
    t = np.linspace(-1, 1, 50)
    position = {"x": t, "y": t**2, "radius": np.abs(t)}
    assert layout(np.stack([t, t**2], -1), position)["horseshoe"] == pytest.approx(1)
    assert abs(layout(np.stack([t, t**3], -1), position)["horseshoe"]) < 1e-9
    assert np.isnan(layout(t[:, None], position)["horseshoe"])


@pytest.mark.parametrize(
    ("radius", "factor", "says"),
    [(1.0, 1.0, "10 or more mature cells"), (7.0, 0.0, "vary"), (7.0, np.inf, "exploded")],
)
def test_states_without_components_are_refused_in_words(radius, factor, says):
    mask = bodies.disc(radius=radius)
    with np.errstate(invalid="ignore"):
        values = bodies.smooth_fields(0, mask, 3) * factor
    with pytest.raises(UserError, match=says):
        pca(record_fields(np.nan_to_num(values) if factor == 0 else values, mask))


def test_a_step_that_was_not_recorded_is_refused():
    with pytest.raises(UserError, match="no step 7"):
        pca(record_fields(bodies.smooth_fields(0, bodies.disc(), 2), bodies.disc()), step=7)


def test_more_components_than_channels_or_cells_do_not_exist():
    mask = bodies.disc(radius=2.0)  # 13 cells
    assert pca(record_fields(bodies.smooth_fields(0, mask, 20), mask)).sizes["pc"] == 13
    assert pca(record_fields(bodies.smooth_fields(0, bodies.disc(), 2), bodies.disc())).sizes["pc"] == 2


def test_a_constant_channel_has_no_loading_on_what_varies():
    mask = bodies.disc()
    values = np.column_stack([bodies.smooth_fields(0, mask, 2), np.full(mask.sum(), 3.0)])
    for scaling in ("raw", "zscore"):
        components = pca(record_fields(values, mask), scaling=scaling)
        assert np.isfinite(components.loadings).all()
        assert float(np.abs(components.loadings.sel(channel="h2", pc=[1, 2])).max()) < 1e-9
        assert float(components.explained[2]) < 1e-9


def test_pca_is_a_name_of_the_package():
    assert analysis.pca is pca

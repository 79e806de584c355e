"""Components, decoders and surrogates: laws, oracles, planted truths, and nulls that find nothing."""

import json

import bodies
import numpy as np
import published as others
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from analysis import axes
from analysis.decoding import deal, decoded
from analysis.recording import label
from analysis.rollouts import grown, keys_of
from analysis.surrogates import band_rotated, bands, haar, laplacian, modes, p_value
from nca.errors import UserError
from nca.targets import target

MASKS = {"disc": bodies.disc(), "ellipse": bodies.ellipse(), "two islands": bodies.two_islands()}
masked = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


def recorded(values, mask, channels=None):
    """A recording of one state whose body's hidden channels hold these values."""
    organism = bodies.standing(channels=values.shape[1] + 4, canvas=mask.shape)
    states = np.zeros((1, 1, *mask.shape, values.shape[1] + 4), np.float32)
    states[0, 0, mask, 3] = 1.0
    states[0, 0, mask, 4:] = values
    return label(organism, states)


# Surrogates


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


def test_a_body_that_is_too_large_is_refused():
    with pytest.raises(UserError, match="4000 cells"):
        modes(np.ones((80, 80), bool))


# Decoders


def test_blocks_are_dealt_round_robin_and_kept_together():
    cells = np.argwhere(bodies.disc((40, 40), 18))
    fold = deal(cells, 3)
    blocks = {tuple(b) for b in cells // 8}
    for block in blocks:
        assert len(set(fold[(cells // 8 == block).all(1)])) == 1
    in_order = sorted(blocks)
    order = np.arange(len(in_order))
    np.random.default_rng(3).shuffle(order)
    for place, number in enumerate(order):
        assert fold[(cells // 8 == in_order[number]).all(1)][0] == place % 8


def test_decoders_equal_those_of_scikit_learn_fold_by_fold():
    mask = bodies.disc((40, 40), 15)
    cells, values = np.argwhere(mask), bodies.smooth(0, mask, 6) * [1, 10, 0.1, 1, 1, 1]
    known = cells.astype(float)
    fold, guess = deal(cells, 0), np.zeros_like(known)
    for held in range(8):
        test = fold == held
        scale = StandardScaler().fit(values[~test])
        model = Ridge(1.0).fit(scale.transform(values[~test]), known[~test])
        guess[test] = model.predict(scale.transform(values[test]))
    expected = 1 - np.square(guess - known).sum(0) / np.square(known - known.mean(0)).sum(0)
    np.testing.assert_allclose(decoded(values, known, cells, deals=1)[0], expected, atol=1e-10)


def test_decoding_many_fields_at_once_equals_one_by_one():
    mask = bodies.ellipse()
    cells = np.argwhere(mask)
    fields = np.stack([bodies.smooth(k, mask, 3) for k in range(4)])
    together = decoded(fields, cells.astype(float), cells, deals=2)
    assert together.shape == (4, 2, 2)
    for field, scores in zip(fields, together, strict=True):
        np.testing.assert_allclose(decoded(field, cells.astype(float), cells, deals=2), scores, atol=1e-12)


def test_a_constant_channel_changes_nothing_even_in_surrogates():
    mask = bodies.disc()
    cells, values = np.argwhere(mask), bodies.smooth(0, mask, 3)
    with_constant = np.column_stack([values, np.full(len(values), 0.7)])
    drawn = band_rotated(values, mask, 5, seed=1)
    more = np.concatenate([drawn, band_rotated(with_constant, mask, 5, seed=1)[..., 3:]], -1)
    assert 0 < more[..., 3].std(1).max() < 1e-9
    plain, same = (decoded(fields, cells.astype(float), cells, deals=2) for fields in (drawn, more))
    np.testing.assert_allclose(plain, same, atol=1e-6)


def test_a_body_within_one_block_cannot_be_decoded():
    with pytest.raises(UserError, match="two or more"):
        deal(np.argwhere(np.ones((4, 4), bool)), 0)


# Planted truths


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


SMALL = {"disc": bodies.disc(radius=5.5), "ellipse": bodies.ellipse(), "lizard": lizard()}


@pytest.mark.parametrize("mask", SMALL.values(), ids=SMALL.keys())
def test_stationary_smooth_fields_are_rejected_only_somewhat_too_often(mask, record_property):
    rate = rejected([bodies.smooth(k, mask, 4) for k in range(60)], mask, seed=2000)
    record_property("known size of the test for x and y", rate.tolist())
    assert (rate <= 0.15).all(), rate


# Components


def test_components_are_those_of_the_eigenvectors_with_a_sign_that_is_fixed():
    mask = bodies.disc()
    values = bodies.smooth(0, mask, 5) * [3, 2, 1, 0.5, 0.2] + 5
    found = axes.pca(recorded(values, mask))
    spread, vectors = np.linalg.eigh(np.cov(values.T))
    np.testing.assert_allclose(found.explained, spread[::-1] / spread.sum(), rtol=1e-4)
    for k, loading in enumerate(found.loadings.values):
        assert abs(loading @ vectors[:, 4 - k]) == pytest.approx(1, abs=1e-4)
        assert loading[np.abs(loading).argmax()] > 0


def test_scores_lie_on_the_body_and_nowhere_else():
    mask = bodies.disc()
    values = bodies.smooth(0, mask, 4)
    found = axes.pca(recorded(values, mask))
    scores = found.scores.values[0, 0]
    np.testing.assert_array_equal(np.isfinite(scores).all(-1), mask)
    np.testing.assert_allclose(scores[mask], (values - values.mean(0)) @ found.loadings.values.T, atol=1e-4)


def test_other_steps_are_shown_in_the_components_of_one():
    organism, mask = bodies.standing(), bodies.disc()
    states = np.stack([np.asarray(organism.start()) * f for f in (0.5, 1.0)])[None]
    found = axes.pca(label(organism, states, steps=[3, 4]), at=4)
    alone = axes.pca(label(organism, states[:, 1:], steps=[4]))
    np.testing.assert_allclose(found.loadings, alone.loadings, atol=1e-6)
    inside = states[0, 0][mask][:, 4:] - found["mean"].values
    np.testing.assert_allclose(found.scores.values[0, 0][mask], inside @ found.loadings.values.T, atol=1e-5)


def test_z_scores_weigh_channels_alike():
    mask = bodies.disc()
    values = bodies.smooth(0, mask, 3)
    plain = axes.pca(recorded(values, mask), scaling="zscore")
    scaled = axes.pca(recorded(values * [1, 100, 0.01], mask), scaling="zscore")
    np.testing.assert_allclose(plain.explained, scaled.explained, atol=1e-4)


def test_colour_is_left_out_unless_asked_for():
    recording = recorded(bodies.smooth(0, bodies.disc(), 2), bodies.disc())
    assert axes.pca(recording).channel.values.tolist() == ["h0", "h1"]
    assert axes.pca(recording, channels="all").sizes["channel"] == 6


def test_the_plane_and_the_radius_of_known_maps_are_worked_out_by_hand():
    where = axes.places(bodies.disc((31, 31), 12))
    values = np.stack([where["x"], -where["y"], where["radius"], where["x"] + where["y"]], -1)
    r2, angle = axes.plane(values, where)
    np.testing.assert_allclose(r2[[0, 1, 3]], 1, atol=1e-9)
    np.testing.assert_allclose(angle[[0, 1, 3]], [0, 90, 45], atol=1e-6)
    assert r2[2] < 1e-9
    assert axes.rank_correlation(values, where["radius"])[2] == pytest.approx(1)


def test_a_fold_of_the_first_component_shows_as_a_horseshoe():
    t = np.linspace(-1, 1, 50)
    assert axes.horseshoe(np.stack([t, t**2], -1)) == pytest.approx(1)
    assert abs(axes.horseshoe(np.stack([t, t**3], -1))) < 1e-9
    assert np.isnan(axes.horseshoe(t[:, None]))


@pytest.mark.parametrize(
    ("radius", "factor", "says"),
    [(1.0, 1.0, "10 or more mature cells"), (7.0, 0.0, "vary"), (7.0, np.inf, "exploded")],
)
def test_states_without_components_are_refused_in_words(radius, factor, says):
    mask = bodies.disc(radius=radius)
    with np.errstate(invalid="ignore"):
        values = bodies.smooth(0, mask, 3) * factor
    with pytest.raises(UserError, match=says):
        axes.pca(recorded(np.nan_to_num(values) if factor == 0 else values, mask))


def test_a_step_that_was_not_recorded_is_refused():
    with pytest.raises(UserError, match="no step 7"):
        axes.pca(recorded(bodies.smooth(0, bodies.disc(), 2), bodies.disc()), at=7)


# Published organisms, against an independent implementation


@pytest.fixture(scope="module", params=["distill-gecko-persistent", "distill-gecko-regenerating"])
def gecko(request, published):
    """A published organism at step 200, grown with the masks of the expected statistics, and those."""
    organism = others.read(published, request.param).organism
    fire = np.random.Generator(np.random.PCG64(0)).random((200, 72, 72)) <= 0.5
    states = grown(organism, 200, keys_of(0, 1), fire=fire[None])
    expected = json.loads((published / "expected.json").read_text())[request.param]["axes"]["seed0"]
    return label(organism, np.asarray(states)[:, None], steps=[200]), expected


def test_components_of_published_organisms_are_as_expected(gecko):
    recording, expected = gecko
    found = axes.pca(recording)
    np.testing.assert_allclose(found.explained, expected["explained_hidden12"], atol=1e-3)
    assert found.needed.values.tolist() == list(expected["pcs_for"]["hidden12"].values())
    for k, pc in enumerate(expected["pc"]):
        assert float(found.plane_r2[0, k]) == pytest.approx(pc["plane_r2"], abs=1e-3)
        assert float(found.angle[0, k]) == pytest.approx(pc["angle_deg"], abs=0.1)
        assert float(found.radius[0, k]) == pytest.approx(pc["abs_spearman_radius"], abs=1e-3)
    assert float(found.horseshoe[0]) == pytest.approx(expected["horseshoe"], abs=1e-3)
    everything = axes.pca(recording, channels="all")
    np.testing.assert_allclose(everything.explained, expected["explained_all16"], atol=1e-3)
    assert everything.needed.values.tolist() == list(expected["pcs_for"]["all16"].values())


@pytest.mark.parametrize("deals", [1, 10])
def test_decoders_of_published_organisms_are_as_expected(gecko, deals):
    recording, expected = gecko
    tests = axes.position_tests(recording, axes.pca(recording), deals=deals)
    for name, known in expected["decode"].items():
        one = tests.sel(statistic=f"R2 of {name}")
        r2 = known["r2"] if deals == 1 else known["r2_deals_mean"]
        assert float(one.observed) == pytest.approx(r2, abs=1e-3), name
        if deals == 1:
            # Both p are means of 99 draws: four standard errors of their difference, and the floor.
            error = 4 * np.sqrt(2 * known["p"] * (1 - known["p"]) / 99) + 0.02
            assert float(one.p) == pytest.approx(known["p"], abs=error), name
            assert float(one.null_median) == pytest.approx(known["null_median"], abs=0.12), name
        else:
            assert float(one.deal_sd) == pytest.approx(known["r2_deals_sd"], abs=0.02), name

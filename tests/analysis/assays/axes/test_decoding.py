"""Decoders against scikit-learn, and planted codes of position: they are found where they are, others are not."""

import numpy as np
import pytest
import xarray as xr
from helpers import bodies
from helpers.fields import record_fields
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from analysis.assays.axes.config import AxesConfig
from analysis.assays.axes.decoding import (
    _assign_folds,
    _leave_one_run_out,
    decode_position,
    decode_runs,
    position_tests,
    residual_products,
    ridge_r2,
    ridge_weights,
    sensitivity,
)
from analysis.assays.axes.pca import pca
from analysis.geometry import geodesic, positions
from analysis.stats.surrogates import draw_surrogates
from nca.errors import UserError

# Ridge decoders


def test_blocks_are_assigned_to_folds_in_turn_and_stay_together():
    cells = np.argwhere(bodies.disc((40, 40), 18))
    fold = _assign_folds(cells, 3)
    blocks = {tuple(b) for b in cells // 8}
    for block in blocks:
        assert len(set(fold[(cells // 8 == block).all(1)])) == 1
    in_order = sorted(blocks)
    order = np.arange(len(in_order))
    np.random.default_rng(3).shuffle(order)
    for position, number in enumerate(order):
        assert fold[(cells // 8 == in_order[number]).all(1)][0] == position % 8


def test_decoders_equal_those_of_scikit_learn_fold_by_fold():
    mask = bodies.disc((40, 40), 15)
    cells, values = np.argwhere(mask), bodies.smooth_fields(0, mask, 6) * [1, 10, 0.1, 1, 1, 1]
    true = cells.astype(float)
    fold, predicted = _assign_folds(cells, 0), np.zeros_like(true)
    for held_out in range(8):
        test = fold == held_out
        scale = StandardScaler().fit(values[~test])
        model = Ridge(1.0).fit(scale.transform(values[~test]), true[~test])
        predicted[test] = model.predict(scale.transform(values[test]))
    expected = 1 - np.square(predicted - true).sum(0) / np.square(true - true.mean(0)).sum(0)
    np.testing.assert_allclose(ridge_r2(values, true, cells, repeats=1)[0], expected, atol=1e-10)


def test_decoding_many_fields_at_once_equals_one_by_one():
    mask = bodies.ellipse()
    cells = np.argwhere(mask)
    fields = np.stack([bodies.smooth_fields(k, mask, 3) for k in range(4)])
    together = ridge_r2(fields, cells.astype(float), cells, repeats=2)
    assert together.shape == (4, 2, 2)
    for field, r2 in zip(fields, together, strict=True):
        np.testing.assert_allclose(ridge_r2(field, cells.astype(float), cells, repeats=2), r2, atol=1e-12)


def test_a_constant_channel_changes_nothing_even_in_surrogates():
    mask = bodies.disc()
    cells, values = np.argwhere(mask), bodies.smooth_fields(0, mask, 3)
    with_constant = np.column_stack([values, np.full(len(values), 0.7)])
    surrogates = draw_surrogates(values, mask, 5, seed=1)
    more = np.concatenate([surrogates, draw_surrogates(with_constant, mask, 5, seed=1)[..., 3:]], -1)
    assert 0 < more[..., 3].std(1).max() < 1e-9
    plain, same = (ridge_r2(fields, cells.astype(float), cells, repeats=2) for fields in (surrogates, more))
    np.testing.assert_allclose(plain, same, atol=1e-6)


def test_a_quantity_that_is_not_defined_in_one_cell_leaves_the_others_as_they_are():
    mask = bodies.disc()
    cells, values = np.argwhere(mask), bodies.smooth_fields(0, mask, 3)
    whole = cells.astype(float)
    torn = whole.copy()
    torn[5, 0] = np.nan
    r2 = ridge_r2(values, torn, cells, repeats=2)
    assert np.isnan(r2[:, 0]).all()
    np.testing.assert_allclose(r2[:, 1], ridge_r2(values, whole, cells, repeats=2)[:, 1], rtol=1e-12)
    weights = ridge_weights(values, torn)
    np.testing.assert_allclose(weights[:, 1], ridge_weights(values, whole)[:, 1], rtol=1e-12)
    left_out = _leave_one_run_out([values, values], [torn, whole])
    np.testing.assert_allclose(left_out[:, 1], _leave_one_run_out([values, values], [whole, whole])[:, 1], rtol=1e-9)


def test_a_body_within_one_block_cannot_be_decoded():
    with pytest.raises(UserError, match="two or more"):
        _assign_folds(np.argwhere(np.ones((4, 4), bool)), 0)


def test_errors_of_a_direction_follow_from_those_of_x_and_y():
    mask = bodies.ellipse()
    cells, values = np.argwhere(mask), bodies.smooth_fields(1, mask, 3)
    y, x = cells.T.astype(float)
    along = 0.6 * x + 0.8 * y
    errors = residual_products(values, np.stack([x, y], 1), cells, repeats=3)
    direct = residual_products(values, along[:, None], cells, repeats=3)[:, 0, 0]
    np.testing.assert_allclose(np.einsum("i,dij,j->d", [0.6, 0.8], errors, [0.6, 0.8]), direct, rtol=1e-9)


def test_one_frozen_random_field_scores_high_in_left_out_runs_though_it_encodes_nothing():
    mask = bodies.disc((40, 40), 14)
    field, position = bodies.smooth_fields(0, mask, 12), np.argwhere(mask).astype(float)
    runs = [field + 0.05 * np.random.default_rng(k).normal(size=field.shape) for k in range(3)]
    left_out = _leave_one_run_out(runs, [position] * 3)
    assert left_out.shape == (3, 2)
    assert (left_out > ridge_r2(field, position, np.argwhere(mask), repeats=5).mean(0) + 0.2).all()


def test_leaving_one_run_out_equals_scikit_learn_and_needs_two_runs():
    rng = np.random.default_rng(0)
    runs = [rng.normal(size=(n, 4)) * [1, 5, 0.1, 1] for n in (30, 20, 25)]
    true = [r[:, :1] - 2 * r[:, 2:3] + rng.normal(size=(len(r), 1)) for r in runs]
    scale = StandardScaler().fit(np.concatenate(runs[1:]))
    model = Ridge(1.0).fit(scale.transform(np.concatenate(runs[1:])), np.concatenate(true[1:]))
    predicted = model.predict(scale.transform(runs[0])).reshape(-1, 1)
    r2 = 1 - np.square(predicted - true[0]).sum() / np.square(true[0] - true[0].mean()).sum()
    assert _leave_one_run_out(runs, true)[0, 0] == pytest.approx(r2, abs=1e-9)
    with pytest.raises(UserError, match="two or more runs"):
        _leave_one_run_out(runs[:1], true[:1])


def test_the_weights_of_decoders_are_those_of_scikit_learn_and_0_for_constant_channels():
    mask = bodies.disc()
    values = np.column_stack([bodies.smooth_fields(0, mask, 3) * [1, 10, 0.1], np.full(mask.sum(), 0.7)])
    position = np.argwhere(mask).astype(float)
    scale = StandardScaler().fit(values)
    model = Ridge(1.0).fit(scale.transform(values), position)
    weights = ridge_weights(values, position)
    np.testing.assert_allclose(weights[:3], (model.coef_ / scale.scale_).T[:3], rtol=1e-9)
    np.testing.assert_array_equal(weights[3], 0)


def test_a_quantity_that_is_constant_is_not_decoded():
    mask = bodies.disc()
    r2 = ridge_r2(bodies.smooth_fields(0, mask, 3), np.ones((mask.sum(), 1)), np.argwhere(mask), repeats=2)
    assert np.isnan(r2).all()


# Position


def test_a_planted_gradient_in_smooth_noise_is_found_at_its_angle():
    mask = bodies.disc((40, 40), 14)
    position = positions(mask)
    slope = np.cos(np.radians(35)) * position["x"] + np.sin(np.radians(35)) * position["y"]
    direction = np.array([0.8, 0.1, -0.5, 0.3, 0.0])
    values = np.outer(slope / slope.std(), direction) + 0.35 * bodies.smooth_fields(1, mask, 5)
    recording = record_fields(values, mask)
    components = pca(recording)
    assert float(components.plane_r2[0, 0]) > 0.8
    assert float(components.plane_angle[0, 0]) == pytest.approx(35, abs=5)
    tests = position_tests(recording, components, surrogates=39, cv_repeats=3)
    assert float(tests.p.sel(quantity="PC1", measure="plane_r2")) <= 0.05


def test_the_default_number_of_surrogates_can_find_a_single_effect():
    """Of n tests, a single effect has a q of n times its p."""
    mask = bodies.disc((40, 40), 14)
    recording = record_fields(bodies.smooth_fields(1, mask, 5), mask)
    tests = position_tests(recording, pca(recording), surrogates=19, cv_repeats=1).sizes["statistic"]
    for config in (AxesConfig(), AxesConfig.quick()):
        assert tests / (config.surrogates + 1) <= 0.05


def test_statistics_are_indexed_by_quantity_and_measure():
    mask = bodies.disc((40, 40), 14)
    recording = record_fields(bodies.smooth_fields(1, mask, 5), mask)
    tests = position_tests(recording, pca(recording), surrogates=19, cv_repeats=2)
    assert tests.sel(measure="r2").quantity.values.tolist() == ["x", "y", "s", "radius", "edge"]
    for measure in ("plane_r2", "rank_correlation"):
        assert tests.sel(measure=measure).quantity.values.tolist() == ["PC1", "PC2", "PC3"]
    assert tests.sel(measure="horseshoe").quantity.values.tolist() == ["PC2"]
    assert (tests.repeat_sd.sel(measure="r2") > 0).all()
    assert tests.repeat_sd.sel(measure="plane_r2").isnull().all()


def test_planted_boundaries_across_the_body_are_found_in_x_and_not_in_y():
    mask = bodies.disc((40, 40), 14)
    values = 0.5 * bodies.smooth_fields(3, mask, 5)
    for channel, boundary in enumerate((-8, -4, 0, 4, 8)):
        values[:, channel] += np.tanh((positions(mask)["x"] - boundary) / 2)
    recording = record_fields(values, mask)
    tests = position_tests(recording, pca(recording), surrogates=39, cv_repeats=3).sel(measure="r2")
    assert float(tests.p.sel(quantity="x")) <= 0.05
    assert float(tests.observed.sel(quantity="x")) > 0.8
    assert float(tests.p.sel(quantity="y")) > 0.05


def test_a_planted_code_of_the_edge_is_found_and_no_direction_with_it():
    mask = bodies.disc((40, 40), 14)
    values = 0.5 * bodies.smooth_fields(2, mask, 5)
    values[:, 0] += 1.5 * np.exp(-positions(mask)["edge"] / 4) * 4
    recording = record_fields(values, mask)
    tests = position_tests(recording, pca(recording), surrogates=39, cv_repeats=3)
    assert float(tests.p.sel(quantity="edge", measure="r2")) <= 0.05
    assert float(tests.p.sel(quantity="PC1", measure="rank_correlation")) <= 0.05
    assert float(tests.p.sel(quantity="x", measure="r2")) > 0.05


def test_a_planted_head_tail_code_is_found_along_a_bent_body():
    y, x = np.ogrid[:40, :40]
    radius = np.hypot(y - 20, x - 20)
    mask = (radius > 9) & (radius < 15) & ~((x > 20) & (abs(y - 20) < 6))  # a C
    s = geodesic(mask)
    values = 0.5 * bodies.smooth_fields(0, mask, 4)
    values[:, 1] += (s - s.mean()) / s.std()
    recording = record_fields(values, mask)
    tests = position_tests(recording, pca(recording), surrogates=39, cv_repeats=3)
    assert float(tests.observed.sel(quantity="s", measure="r2")) > 0.6
    assert float(tests.p.sel(quantity="s", measure="r2")) == pytest.approx(1 / 40)


def test_on_islands_the_body_coordinate_is_decoded_on_the_largest_alone():
    mask = bodies.two_islands((24, 24))
    recording = record_fields(bodies.smooth_fields(0, mask, 3), mask)
    tests = position_tests(recording, pca(recording), surrogates=19, cv_repeats=2)
    assert tests.attrs["islands"] == 2
    assert np.isfinite(tests.observed.sel(quantity="s", measure="r2"))
    assert list(decode_position(bodies.smooth_fields(0, mask, 3)[None], mask, 1)) == ["x", "y", "s", "radius", "edge"]


def test_bodies_of_few_cells_are_not_tested():
    """On them the null does not hold: of smooth fields on this one most would have a gradient."""
    mask = np.zeros((24, 24), bool)
    mask[6:8, 5:10] = mask[8, 7] = True
    recording = record_fields(bodies.smooth_fields(0, mask, 6), mask)
    with pytest.raises(UserError, match="40 or more cells, got 11"):
        position_tests(recording, pca(recording), surrogates=19, cv_repeats=2)


def test_the_sensitivity_rises_with_what_is_planted_and_is_none_with_too_few_surrogates():
    mask = bodies.disc((40, 40), 15)
    recording = record_fields(bodies.smooth_fields(0, mask, 6), mask)
    components = pca(recording)
    tests = position_tests(recording, components, surrogates=299, cv_repeats=2)
    found = sensitivity(recording, components, tests, draws=10, cv_repeats=2)
    easy = found.found.sel(direction="a random direction").values
    assert (np.diff(easy) >= -0.2).all()
    assert easy[-1] >= max(0.5, easy[0])
    least = found.least.sel(direction="a random direction")
    assert np.isnan(least) if easy.max() < 0.8 else easy[found.share.values == float(least)] >= 0.8
    few = position_tests(recording, components, surrogates=19, cv_repeats=2)
    assert float(sensitivity(recording, components, few, draws=4, cv_repeats=2).found.max()) == 0


def test_decoders_pool_several_steps():
    mask = bodies.disc((40, 40), 15)
    one = record_fields(bodies.smooth_fields(0, mask, 6), mask)
    twice = xr.concat([one, one.assign_coords(step=[1])], "step")
    single, pooled = (decode_runs(twice, pca(twice, step=s), cv_repeats=2) for s in (1, [0, 1]))
    np.testing.assert_allclose(pooled.r2, single.r2, atol=0.02)  # the same cells twice: only the penalty weighs less


def test_a_step_that_is_not_recorded_is_refused_alone_and_among_others():
    mask = bodies.disc((24, 24), 7)
    recording = record_fields(bodies.smooth_fields(0, mask, 6), mask)
    for steps in (3, [0, 3], []):
        with pytest.raises(UserError, match=r"no step (3|at all)"):
            pca(recording, step=steps)

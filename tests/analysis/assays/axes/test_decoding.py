"""Decoders: folds, an oracle, and what one run says of another."""

import numpy as np
import pytest
from helpers import bodies
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from analysis.assays.axes.decoding import deal, decoded, left_out, residuals, weights
from analysis.stats.surrogates import band_rotated
from nca.errors import UserError


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


def test_errors_of_a_direction_follow_from_those_of_x_and_y():
    mask = bodies.ellipse()
    cells, values = np.argwhere(mask), bodies.smooth(1, mask, 3)
    y, x = cells.T.astype(float)
    along = 0.6 * x + 0.8 * y
    lost = residuals(values, np.stack([x, y], 1), cells, deals=3)
    direct = residuals(values, along[:, None], cells, deals=3)[:, 0, 0]
    np.testing.assert_allclose(np.einsum("i,dij,j->d", [0.6, 0.8], lost, [0.6, 0.8]), direct, rtol=1e-9)


def test_one_frozen_random_field_scores_high_in_left_out_runs_though_it_codes_nothing():
    mask = bodies.disc((40, 40), 14)
    field, place = bodies.smooth(0, mask, 12), np.argwhere(mask).astype(float)
    runs = [field + 0.05 * np.random.default_rng(k).normal(size=field.shape) for k in range(3)]
    again = left_out(runs, [place] * 3)
    assert again.shape == (3, 2)
    assert (again > decoded(field, place, np.argwhere(mask), deals=5).mean(0) + 0.2).all()


def test_leaving_one_run_out_equals_scikit_learn_and_needs_two_runs():
    draw = np.random.default_rng(0)
    runs = [draw.normal(size=(n, 4)) * [1, 5, 0.1, 1] for n in (30, 20, 25)]
    known = [r[:, :1] - 2 * r[:, 2:3] + draw.normal(size=(len(r), 1)) for r in runs]
    scale = StandardScaler().fit(np.concatenate(runs[1:]))
    model = Ridge(1.0).fit(scale.transform(np.concatenate(runs[1:])), np.concatenate(known[1:]))
    guess = model.predict(scale.transform(runs[0])).reshape(-1, 1)
    r2 = 1 - np.square(guess - known[0]).sum() / np.square(known[0] - known[0].mean()).sum()
    assert left_out(runs, known)[0, 0] == pytest.approx(r2, abs=1e-9)
    with pytest.raises(UserError, match="two or more runs"):
        left_out(runs[:1], known[:1])


def test_the_decoder_itself_is_that_of_scikit_learn_and_ignores_constant_channels():
    mask = bodies.disc()
    values = np.column_stack([bodies.smooth(0, mask, 3) * [1, 10, 0.1], np.full(mask.sum(), 0.7)])
    place = np.argwhere(mask).astype(float)
    scale = StandardScaler().fit(values)
    model = Ridge(1.0).fit(scale.transform(values), place)
    found = weights(values, place)
    np.testing.assert_allclose(found[:3], (model.coef_ / scale.scale_).T[:3], rtol=1e-9)
    np.testing.assert_array_equal(found[3], 0)


def test_a_quantity_that_is_constant_is_not_decoded():
    mask = bodies.disc()
    scores = decoded(bodies.smooth(0, mask, 3), np.ones((mask.sum(), 1)), np.argwhere(mask), deals=2)
    assert np.isnan(scores).all()

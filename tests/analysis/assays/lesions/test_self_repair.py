"""Self-repair of hand-made rules whose channels answer a loss in a known way."""

import numpy as np
import pytest
from helpers import planted
from helpers.specimens import EVAL_STEP, STEP, colour_share, hidden_of, repairs_of, specimen_of

import nca
from analysis.assays.lesions.self_repair import _control_paths, _displacements, repair_effects, self_repair


@pytest.fixture(scope="module")
def repaired():
    organism = planted.repairing()
    repairs = self_repair(specimen_of(organism), hidden_of(organism)[:4], EVAL_STEP)
    return organism, repair_effects(repairs).set_index(["intervention", "arm", "channel"])


def test_what_a_channel_makes_up_for_is_its_direct_less_its_total_effect(repaired):
    organism, rows = repaired
    lost, kept = rows.loc["zero", "lesion", "h0"], rows.loc["zero", "lesion", "h2"]
    assert lost.total == pytest.approx(0, abs=1e-4)
    assert lost.direct == pytest.approx(colour_share(organism, "r") / 4, rel=1e-3)  # half of red, squared
    assert lost.share == pytest.approx(1, abs=1e-3)
    assert kept.total == pytest.approx(colour_share(organism, "g"), rel=1e-3)
    assert kept.direct == pytest.approx(kept.total, rel=1e-4)
    assert kept.share == pytest.approx(0, abs=1e-3)


def test_a_channel_remade_from_another_is_lost_only_where_its_own_recovery_is_held(repaired):
    organism, rows = repaired
    free, held = rows.loc["erase", "lesion", "h3"], rows.loc["erase-held", "lesion", "h3"]
    assert free.total == pytest.approx(0, abs=1e-4)
    assert free.direct == pytest.approx(0, abs=1e-4)
    assert held.direct == pytest.approx(colour_share(organism, "b"), rel=1e-3)
    assert np.isnan(free.share)  # there is no direct effect to repair


def test_a_null_changes_as_much_as_the_loss_elsewhere(repaired):
    organism, rows = repaired
    specimen, channels = specimen_of(organism), hidden_of(organism)[:4]
    moved = _displacements(specimen, channels)
    for run, state in enumerate(specimen.states):
        for n, channel in enumerate(channels):
            lost = state[..., channel]
            assert np.linalg.norm(moved[run, n]) == pytest.approx(np.linalg.norm(lost), rel=1e-5)
            assert not moved[run, n][lost == 0].any()
    # A channel that answers every change of another, as here up to 2, makes up for a null as well.
    null = rows.loc["zero", "null", "h0"]
    assert 0.8 < 1 - null.total / null.direct < 1
    assert rows.loc["zero", "lesion", "h0"].beyond_null == pytest.approx(0, abs=0.05)
    erased = rows.loc["erase", "null", "h2"]
    assert erased.direct == pytest.approx(erased.total)
    assert np.isnan(null.beyond_null)


def test_what_answers_a_loss_and_not_any_change_is_beyond_its_null():
    organism = planted.backing()
    rows = repair_effects(self_repair(specimen_of(organism), hidden_of(organism)[:2], EVAL_STEP))
    lost = rows.set_index(["intervention", "arm", "channel"]).loc["zero", "lesion", "h0"]
    assert lost.share == pytest.approx(1, abs=1e-3)
    assert lost.beyond_null_low > 0.5 * colour_share(organism, "r")


def test_updates_held_to_the_control_change_nothing_of_it():
    organism = planted.repairing()
    specimen = specimen_of(organism)
    _, updates = _control_paths(specimen, EVAL_STEP)
    for run in range(2):
        hold = nca.edits.follow(organism, updates[run], site="update").at(slice(STEP, STEP + EVAL_STEP))
        start = {"state": specimen.states[run], "start": STEP, "key": specimen.controls.keys[run]}
        np.testing.assert_allclose(
            nca.grow(organism, EVAL_STEP, edits=[hold], **start), nca.grow(organism, EVAL_STEP, **start), atol=1e-6
        )


@pytest.mark.parametrize(("overgrown", "defined"), [(-1, True), (220, False)])
def test_a_null_that_overgrows_is_no_measure_of_repair(overgrown, defined):
    row = repair_effects(repairs_of(0.1, 0.4, overgrown=overgrown)).iloc[0]
    assert row.share == pytest.approx(0.75)
    assert np.isfinite(row.beyond_null) == defined


@pytest.mark.parametrize(("direct", "clear"), [(0.4, True), (0.06, True), (0.03, False), (0.0, False), (-0.2, True)])
def test_a_share_is_given_only_of_a_clear_direct_effect(direct, clear):
    row = repair_effects(repairs_of(-0.03, direct)).iloc[0]
    assert np.isfinite(row.share) == clear
    assert np.isfinite(row.share_low) == clear

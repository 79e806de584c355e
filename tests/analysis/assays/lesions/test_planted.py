"""Lesions of hand-made rules: every relation that was put there is found, and no other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import planted
from sklearn.metrics import roc_auc_score

import nca
from analysis.assays.lesions import atlas, epistasis
from analysis.assays.lesions import critical_periods as periods
from analysis.assays.lesions import self_repair as repair
from analysis.assays.lesions.kinds import scene
from analysis.assays.lesions.neutral import with_marker
from analysis.paired import run_controls
from analysis.rollouts import grow_runs, run_keys

AT, HORIZON = 20, 20


def scene_of(body, runs=2, at=AT, horizon=HORIZON, **says):
    keys = run_keys(0, runs)
    return scene(body, run_controls(body, grow_runs(body, at, keys), keys, [at, at + horizon]), **says)


def hidden(body):
    return [n for n, name in enumerate(body.rule.channel_names) if name.startswith("h")]


def share_of(body, colour):
    """What a body's colour is worth of its fitness."""
    picture = np.square(body.padded_target()).sum((0, 1))
    return float(picture["rgb".index(colour)] / picture.sum())


@pytest.fixture(scope="module")
def relations():
    body = planted.relations()
    return body, epistasis.double_lesions(scene_of(body, runs=12), hidden(body), HORIZON)


def test_beside_a_twin_fitness_alone_decides():
    body = replace(planted.backups(), target=None)
    doubles = epistasis.double_lesions(scene_of(body, runs=12), hidden(body)[:3], HORIZON)
    table = epistasis.pairs(doubles).set_index(["a", "b"])
    assert table.eps_l.isna().all()
    assert table.verdict.to_dict() == {("h0", "h1"): "backup", ("h0", "h2"): "none", ("h1", "h2"): "none"}


def verdicts(table):
    return {(row.a, row.b): row.verdict for row in table.itertuples()}


def test_every_relation_between_two_channels_is_told_apart(relations):
    body, doubles = relations
    table = epistasis.pairs(doubles)
    eps = {(r.a, r.b): r.eps_w for r in table.itertuples()}
    assert eps["h0", "h1"] == pytest.approx(-1, abs=1e-5)
    assert eps["h2", "h3"] == pytest.approx(share_of(body, "r"), abs=1e-4)
    assert eps["h4", "h5"] == pytest.approx(0, abs=1e-5)
    assert eps["h6", "h7"] == pytest.approx(1, abs=1e-5)
    lethal = {"h6", "h7"}
    for pair, value in eps.items():
        if pair not in {("h0", "h1"), ("h2", "h3")} and not lethal & set(pair):
            assert value == pytest.approx(0, abs=1e-5), pair
    said = verdicts(table)
    assert said["h0", "h1"] == "backup"
    assert said["h2", "h3"] == "series"
    assert said["h6", "h7"] == said["h2", "h6"] == "masked"
    assert {pair for pair, v in said.items() if v in ("backup", "series", "suppression")} == {
        ("h0", "h1"),
        ("h2", "h3"),
    }


def test_error_alone_would_show_an_interaction_of_two_independent_channels(relations):
    table = epistasis.pairs(relations[1]).set_index(["a", "b"])
    pair = table.loc["h4", "h5"]
    assert pair.eps_l > 1
    assert pair.q_l <= 0.05
    assert pair.verdict == "none"


def test_single_lesions_find_no_backup_and_double_ones_all():
    body = planted.backups()
    doubles = epistasis.double_lesions(scene_of(body, runs=2), hidden(body), HORIZON)
    table = epistasis.pairs(doubles)
    truth = [(r.a, r.b) in {("h0", "h1"), ("h2", "h3"), ("h4", "h5")} for r in table.itertuples()]
    assert sum(truth) == 3
    assert roc_auc_score(truth, table.backup) == 1.0
    assert roc_auc_score(truth, 2 - table.w_a - table.w_b) == pytest.approx(0.5, abs=0.01)


def additive():
    """Half of red hangs on h0, half on h1, which know nothing of each other."""
    return planted.Wiring().follow("r", {"h0": 0.3, "h1": 0.3}).organism("additive")


@pytest.mark.parametrize("off", [0.0, 0.15, 0.3])
def test_two_changes_of_one_colour_that_merely_add_are_no_backup(off):
    body = additive()
    target = np.array(body.padded_target())
    target[..., 1] += off * (target[..., 3] > 0)  # the further the body is from it, the less L knows
    body = replace(body, target=target)
    table = epistasis.pairs(epistasis.double_lesions(scene_of(body, runs=12), hidden(body)[:3], HORIZON))
    row = table.set_index(["a", "b"]).loc["h0", "h1"]
    assert row.eps_w < 0
    assert row.verdict == "none"


def test_two_changes_of_one_colour_that_cancel_are_not_in_series():
    body = planted.Wiring().follow("r", {"h0": 0.4, "h1": -0.2, "h2": 0.4}).organism("opposed")
    body = replace(body, target=np.array(body.padded_target()))
    table = epistasis.pairs(epistasis.double_lesions(scene_of(body, runs=12), hidden(body)[:3], HORIZON))
    row = table.set_index(["a", "b"]).loc["h0", "h1"]
    assert row.w_ab > min(row.w_a, row.w_b)
    assert row.verdict == "suppression"


def test_overgrowth_alone_and_more_of_it_together_is_no_backup():
    sure = {"q_w": 0.001, "q_l": 0.001, "eps_l": -0.1}
    for a, b, both, says in (
        (-1.0, -1.2, -3.9, "masked"),
        (0.9, 0.95, 0.1, "backup"),
        (0.1, 0.9, 0.4, "masked"),
    ):
        row = pd.Series({"w_a": a, "w_b": b, "w_ab": both, "eps_w": both - a - b + 1, **sure})
        assert epistasis.verdict(row) == says


@pytest.fixture(scope="module")
def gated():
    body = planted.gated()
    return periods.critical_periods(body, hidden(body)[2:4], runs=2, end=60, every=2)


def test_a_channel_read_at_steps_20_to_39_is_needed_then_and_only_then(gated):
    found = periods.crossings(gated).set_index("channel")
    assert found.loc["h2"].kind == "any lapse"
    assert found.loc["h2"].effect == pytest.approx(1, abs=1e-5)
    for name, step in (("first", 20), ("last", 40)):
        row = found.loc["h2"]
        assert row[name] == pytest.approx(step, abs=2)
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_a_channel_that_nothing_reads_has_no_period(gated):
    found = periods.crossings(gated).set_index("channel")
    assert (gated.fitness.sel(channel="h3") == 1).all()
    assert found.loc["h3"].kind == "none"
    assert np.isnan(found.loc["h3", "first"])


def test_a_lesion_of_no_steps_costs_nothing_and_the_whole_one_the_same_from_both_sides(gated):
    w = gated.fitness
    assert (w.sel(side="off", time=0) == 1).all()
    assert (w.sel(side="on", time=60) == 1).all()
    np.testing.assert_array_equal(w.sel(side="on", time=0), w.sel(side="off", time=60))


@pytest.mark.parametrize("make", [planted.relations, planted.gated])
def test_the_marker_changes_nothing_and_nothing_depends_on_it(make):
    body = make()
    marked = with_marker(body)
    key = nca.run_key(3)
    plain, beside = (nca.grow(o, 25, key=key) for o in (body, marked))
    np.testing.assert_allclose(beside[..., :-1], plain, atol=1e-5)
    assert float(beside[12, 12, -1]) > 0
    lesion = nca.edits.clamp(marked, 7.0, channels=marked.rule.spec.channels - 1)
    hurt = nca.grow(marked, 25, key=key, edits=[lesion])
    np.testing.assert_array_equal(hurt[..., :-1], beside[..., :-1])


def test_an_unread_channel_costs_exactly_nothing_whatever_is_done_to_it():
    body = planted.relations()
    place = scene_of(body)
    kinds = ("graded", "noise", "erase", "zero", "mean", "clamp", "freeze", "resample", "random direction")
    lesions = [one for one in atlas.channels(body, kinds, (0.1,), (1.0,)) if one.target == "h8 (12)"]
    assert len(lesions) == len(kinds)
    table = atlas.sweep(place, lesions, [HORIZON], untouched="keep")
    unread = table[table.kind != "random direction"]
    assert (unread.fitness == 1).all()
    assert (unread.worse == 0).all()
    assert (unread.touched[unread.kind == "zero"] == 149).all()


@pytest.fixture(scope="module")
def repaired():
    body = planted.repairing()
    found = repair.self_repair(scene_of(body), hidden(body)[:4], HORIZON)
    return body, repair.effects(found).set_index(["kind", "channel"])


def test_what_a_channel_makes_up_for_is_its_direct_less_its_total_effect(repaired):
    body, rows = repaired
    lost, kept = rows.loc["zero", "h0"], rows.loc["zero", "h2"]
    assert lost.total == pytest.approx(0, abs=1e-4)
    assert lost.direct == pytest.approx(share_of(body, "r") / 4, rel=1e-3)  # half of red, squared
    assert lost.share == pytest.approx(1, abs=1e-3)
    assert kept.total == pytest.approx(share_of(body, "g"), rel=1e-3)
    assert kept.direct == pytest.approx(kept.total, rel=1e-4)
    assert kept.share == pytest.approx(0, abs=1e-3)


def test_a_channel_remade_from_its_twin_is_lost_only_where_its_own_recovery_is_held(repaired):
    body, rows = repaired
    free, held = rows.loc["erase", "h3"], rows.loc["erase, held", "h3"]
    assert free.total == pytest.approx(0, abs=1e-4)
    assert free.direct == pytest.approx(0, abs=1e-4)
    assert held.direct == pytest.approx(share_of(body, "b"), rel=1e-3)
    assert np.isnan(free.share)  # there is no direct effect to repair


def test_a_null_changes_as_much_as_the_loss_elsewhere(repaired):
    body, rows = repaired
    place = scene_of(body)
    moved = repair.displacements(place, hidden(body)[:4])
    for run, state in enumerate(place.states):
        for n, channel in enumerate(hidden(body)[:4]):
            lost = state[..., channel]
            assert np.linalg.norm(moved[run, n]) == pytest.approx(np.linalg.norm(lost), rel=1e-5)
            assert not moved[run, n][lost == 0].any()
    # A channel that answers every change of another, as here up to 2, makes up for a null as well.
    assert 0.8 < rows.loc["null of zero", "h0"].share < 1
    assert rows.loc["zero", "h0"].beyond == pytest.approx(0, abs=0.05)
    assert rows.loc["null of erase", "h2"].direct == pytest.approx(rows.loc["null of erase", "h2"].total)
    assert np.isnan(rows.loc["null of zero", "h0"].beyond)


def test_what_answers_a_loss_and_not_a_change_is_beyond_its_null():
    body = planted.backing()
    rows = repair.effects(repair.self_repair(scene_of(body), hidden(body)[:2], HORIZON))
    lost = rows.set_index(["kind", "channel"]).loc["zero", "h0"]
    assert lost.share == pytest.approx(1, abs=1e-3)
    assert lost.beyond_low > 0.5 * share_of(body, "r")


def test_updates_held_to_the_clean_run_change_nothing_of_it():
    body = planted.repairing()
    place = scene_of(body)
    _, path = repair.clean_paths(place, HORIZON)
    for run in range(2):
        hold = nca.edits.follow(body, path[run], site="update").at(slice(AT, AT + HORIZON))
        start = {"state": place.states[run], "start": AT, "key": place.controls.keys[run]}
        np.testing.assert_allclose(
            nca.grow(body, HORIZON, edits=[hold], **start), nca.grow(body, HORIZON, **start), atol=1e-6
        )

"""Rules whose units are known: redundant, standing in, of one region, needed; pure leaks; nulls; bad bodies."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from helpers import bodies, makers, planted_units, viewing
from helpers.browsing import Browser
from helpers.planted import CANVAS

import nca
from analysis import metrics
from analysis.assays.units.ablation import ablate
from analysis.assays.units.activity import grow_phases, phase_runs, unit_activity
from analysis.assays.units.backup import judge_backup, screen_backup
from analysis.assays.units.cards import ablate_alone
from analysis.assays.units.config import UnitConfig
from analysis.assays.units.faithfulness import faithfulness_curve, keep_orders, kept_counts, units_needed
from analysis.assays.units.families import find_families, unit_profiles
from analysis.assays.units.page import cards_html
from analysis.assays.units.report import sections
from analysis.assays.units.run import run
from analysis.assays.units.suppression import copy_suppression
from analysis.assays.units.wiring import own_read_weights, read_profile, smooth_directions, write_weights
from analysis.rollouts import run_keys
from nca.basis import change_basis
from nca.edits import Edit
from nca.edits.edit import FOREVER
from nca.errors import UserError
from nca.perception import mature

SHORT = UnitConfig(
    runs=2,
    kept_runs=2,
    adult_step=20,
    growing_steps=20,
    adult_steps=20,
    regenerating_steps=20,
    shares_kept=(0.25, 0.5, 0.75),
    random_orders=2,
    backup_screen_runs=1,
    backup_candidates=2,
    backup_runs=2,
    surrogates=9,
)


def adult_runs(organism, runs=2, **options):
    """The unperturbed runs of the adult phase."""
    config = replace(SHORT, phases=("adult",), **options)
    keys = run_keys(0, runs)
    phases, _ = grow_phases(organism, config, keys)
    return phase_runs(organism, phases["adult"], keys, slice(0, runs))


def only(size, *units):
    """Rows in which single units, or tuples of units, are ablated."""
    rows = np.zeros((len(units), size), bool)
    for row, among in zip(rows, units, strict=True):
        row[list(np.atleast_1d(among))] = True
    return rows


# Ablations.


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_ablation_is_the_plain_step_with_the_unit_set_in_the_cells_mature_then(ablation):
    rule = makers.creeping_rule(1, channels=6, perception="laplacian")
    organism = makers.organism(rule, (24, 24), seed=makers.blobs(0, (8, 8), 6))
    phase = adult_runs(organism, runs=1, adult_step=10, growing_steps=10)
    units = only(12, (0, 3, 7))
    fitness = ablate(phase, np.zeros(1, int), units, ablation=ablation).fitness[0]
    state = jnp.asarray(phase.states[0])
    for t in range(10, 30):
        where = mature(rule, state) if ablation == "mean" else None
        value = jnp.asarray(phase.means if ablation == "mean" else np.zeros(12), jnp.float32)
        edit = Edit("post", "set", jnp.asarray(units[0]), where, value, jnp.int32(0), jnp.int32(FOREVER))
        state = nca.replay(organism, state, t, key=phase.keys[0], edits=[edit])["next"]
    mse = metrics.mse(rule.spec, state, phase.reference[0])
    expected = metrics.fitness(mse, phase.mse[0], phase.mse_empty[0])
    np.testing.assert_allclose(fitness, expected, atol=1e-4)


def test_no_unit_ablated_or_all_held_to_the_control_is_the_control():
    phase = adult_runs(planted_units.coloured())
    none = np.zeros((2, 12), bool)
    np.testing.assert_allclose(ablate(phase, np.arange(2), none).fitness, 1, atol=1e-6)
    held = ablate(phase, np.arange(2), ~none, as_in_control=~none)
    np.testing.assert_allclose(held.fitness, 1, atol=1e-6)


def test_a_unit_of_one_region_is_active_there_and_its_loss_shows_there_alone():
    organism = planted_units.coloured()
    config = replace(SHORT, backup_screen_runs=0)
    result = run(organism, config)
    adult = result.activity.sel(frame=result.activity.phase == "adult").maps.values[0]
    left = np.zeros(CANVAS, bool)
    left[planted_units.DISC] = planted_units.LEFT > 0
    assert (adult[left][:, 0] > 0).all()
    assert (adult[~left][:, 0] == 0).all()
    card = result.units.set_index("unit").loc[0]
    red = float((np.asarray(organism.target)[..., 0] ** 2).sum() / (np.asarray(organism.target) ** 2).sum())
    assert card.fitness_adult_zero == pytest.approx(1 - red, abs=0.02)
    assert (card["reads"], card["writes"]) == ("hidden through identity", "colour")
    assert result.profiles["right"][0] < -0.5
    silent = result.units.set_index("unit").loc[6:]
    assert (silent.family == 0).all()
    np.testing.assert_allclose(silent.fitness_adult_mean, 1, atol=1e-6)


# How many are needed.


def test_the_units_that_a_body_needs_are_found():
    organism = planted_units.coloured()
    keys = run_keys(0, 2)
    phases, _ = grow_phases(organism, SHORT, keys)
    first, further = (phase_runs(organism, phases["growing"], keys, slice(n, n + 1)) for n in range(2))
    loss = 1 - ablate_alone(first, ["mean"]).fitness.values[0, 0, :, 0]
    orders = keep_orders(loss, np.zeros(12), 3, 0)
    assert set(orders["effect"][:3].tolist()) == {0, 2, 4}
    curve = faithfulness_curve(further, orders, kept_counts(12, tuple(n / 12 for n in range(12))))
    needed = {kind: np.median(values, 0) for kind, values in units_needed(curve).items()}
    assert 2 < needed["effect"][0] <= 3
    assert needed["random"][0] > 4
    np.testing.assert_allclose(curve.fitness.sel(order="effect", kept=6), 1, atol=0.02)


# Backup.


def test_redundant_units_are_found_together_and_not_alone():
    phase = adult_runs(planted_units.redundant(), runs=1)
    alone = ablate_alone(phase, ["zero"]).fitness.values[0, 0]
    conditional, single, truth = [], [], []
    for a, b in planted_units.REDUNDANT:
        scores = screen_backup(phase, a, alone, ablation="zero")[:, 0]
        others = [n for n in range(12) if n != a]
        conditional += scores[others].tolist()
        single += (1 - alone[others, 0]).tolist()
        truth += [n == b for n in others]
    assert roc_auc(conditional, truth) == 1
    assert roc_auc(single, truth) < 0.7


def roc_auc(scores, truth):
    scores, truth = np.asarray(scores), np.asarray(truth)
    return scipy.stats.mannwhitneyu(scores[truth], scores[~truth]).statistic / (truth.sum() * (~truth).sum())


def test_a_unit_that_stands_in_responds_and_a_redundant_one_does_not():
    standing = judge_backup(adult_runs(planted_units.standing_in(), runs=8), 0, np.array([2, 5]), ablation="zero")
    assert standing.set_index("unit").backs_up.to_dict() == {2: True, 5: False}
    assert standing.set_index("unit").responds.to_dict() == {2: True, 5: False}
    row = standing.set_index("unit").loc[2]
    assert row.response == pytest.approx(row.fitness_primary - row.fitness_both, abs=0.02)  # the repair vanishes
    redundant = judge_backup(adult_runs(planted_units.redundant(), runs=8), 0, np.array([1, 4]), ablation="zero")
    assert redundant.set_index("unit").backs_up.to_dict() == {1: True, 4: False}
    assert not redundant.responds.any()


# Copy suppression.


def leak_and_more(seed=0):
    """Reading, writing and states of 8 units that leak, and of one that takes more than a leak away."""
    draw = np.random.default_rng(seed)
    cells = draw.normal(size=(400, 8)) @ (np.eye(8) + 0.2 * draw.normal(size=(8, 8)))
    read = np.concatenate([np.eye(8), np.eye(8)[:1] + np.eye(8)[1:2]])
    write = np.concatenate([-0.1 * np.eye(8), -0.1 * np.eye(8)[:1]])
    activity = np.maximum(cells @ read.T, 0)
    activity[:, 8] *= cells[:, 2] > 0  # only where another channel says so
    return read, write, cells, activity


def test_a_pure_leak_scores_nothing_and_a_gated_one_does():
    found = copy_suppression(*leak_and_more())
    np.testing.assert_allclose(found.suppression[:8], 0, atol=1e-9)
    np.testing.assert_allclose(found.leak[:8], 1, atol=1e-9)
    assert (found.opposition[:8] > 0).all()
    assert found.suppression[8] > 0.1


def test_suppression_does_not_depend_on_the_basis():
    read, write, cells, activity = leak_and_more()
    mix = np.random.default_rng(1).normal(size=(8, 8)) + 2 * np.eye(8)
    turned = copy_suppression(np.linalg.solve(mix.T, read.T).T, write @ mix.T, cells @ mix.T, activity)
    original = copy_suppression(read, write, cells, activity)
    for name in ("opposition", "leak", "suppression", "null"):
        np.testing.assert_allclose(turned[name], original[name], atol=1e-8)


def test_own_reading_is_the_middle_of_every_filter():
    rule = makers.random_rule(3, perception="laplacian", channels=5, hidden=(7,))
    weight = np.asarray(rule.weights[0][...]).reshape(2, 5, 7)
    expected = (weight[0] - 0.75 * weight[1]).T
    np.testing.assert_allclose(own_read_weights(makers.organism(rule)), expected, atol=1e-6)


# Reading and writing.


def test_reading_through_groups_and_directions_does_not_depend_on_the_basis():
    rule = makers.random_rule(2, channels=8, hidden=(9,))
    state = makers.blobs(1, (24, 24), 8, radius=6.0)[None]
    body = np.asarray(mature(rule, jnp.asarray(state)))
    organism = makers.organism(rule, (24, 24))
    mix = np.random.default_rng(0).normal(size=(4, 4)) + 2 * np.eye(4)
    mixed = change_basis(organism, mix)
    turned = state.copy()
    turned[..., 4:] = state[..., 4:] @ mix.T
    first, second = read_profile(rule, state, body), read_profile(mixed.rule, turned.astype(np.float32), body)
    for name in ("read", "read_direction"):
        np.testing.assert_allclose(first[name], second[name], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(
        unit_activity(rule, jnp.asarray(state)), unit_activity(mixed.rule, jnp.asarray(turned)), atol=1e-3
    )


def test_the_smoothest_direction_is_a_planted_gradient():
    draw = np.random.default_rng(0)
    state = draw.normal(size=(1, 20, 20, 5)).astype(np.float32)
    state[0, ..., 2] = 0.2 * np.arange(20)
    body = np.ones((1, 20, 20), bool)
    read, pattern = smooth_directions(state, body)
    np.testing.assert_allclose(np.abs(np.corrcoef(state[body] @ read[0], state[body][:, 2])[0, 1]), 1, atol=1e-3)
    np.testing.assert_allclose(read @ pattern.T, np.eye(5), atol=1e-4)


def test_writing_goes_through_later_layers():
    rule = makers.random_rule(1, channels=5, hidden=(7, 6))
    expected = np.asarray(rule.weights[1][...]) @ np.asarray(rule.weights[2][...])
    np.testing.assert_allclose(write_weights(rule), expected, atol=1e-6)


# Families.


def test_planted_families_are_found_and_independent_columns_are_not():
    draw = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 15)
    planted = pd.DataFrame(3 * draw.normal(size=(4, 8))[truth] + draw.normal(size=(60, 8)))
    family, clusters = find_families(planted, 39)
    assert clusters["p"] == pytest.approx(1 / 40)
    assert clusters["families"] == 4
    assert len(set(zip(family, truth, strict=True))) == 4
    _, none = find_families(pd.DataFrame(draw.normal(size=(60, 8))), 39)
    assert none["p"] > 0.05


def test_units_that_are_never_active_have_no_family():
    result = run(planted_units.redundant(), replace(SHORT, phases=("adult",), backup_screen_runs=0))
    profiles = unit_profiles(pd.DataFrame(index=range(12)), result.read, result.write)
    assert profiles.shape[0] == 12
    hurts = [3, 7, 11]  # silent as long as nothing is missing
    assert (result.units.family[hurts] == 0).all()


# Whole runs, and bodies that cannot be examined.


@pytest.fixture(scope="module")
def result():
    """Everything, on a small rule."""
    return run(planted_units.coloured(), replace(SHORT, surrogates=9))


def test_a_run_has_a_card_for_every_unit_and_every_phase(result):
    assert list(result.units.unit) == list(range(12))
    for phase in ("growing", "adult", "regenerating"):
        for ablation in ("zero", "mean"):
            assert f"fitness_{phase}_{ablation}" in result.units
    assert result.curves.sizes == {"phase": 3, "order": 4, "kept": 4, "run": 2}
    assert set(result.backup.phase) == {"growing", "adult", "regenerating"}


def test_the_report_has_claims_with_evidence_and_figures(result):
    section = sections([result])[0]
    assert len(section.claims) >= 5
    assert all(len(claim.evidence) for claim in section.claims)
    names = [figure.name for figure in section.figures]
    assert names[:3] == ["units-maps", "units-ablations", "units-kept"]
    assert {"units-cards", "units-kept"} <= set(section.tables)
    assert [s.name for s in sections([result, result])] == ["units-1", "units-2"]


def test_the_page_of_cards_holds_every_unit_and_fetches_nothing(result):
    page = cards_html(result)
    text = page.split('id="data">')[1].split("</script>")[0]
    data = json.loads(text)
    assert len(data["units"]) == 12
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_cards_are_sorted_filtered_and_pinned(result, tmp_path):
    path = tmp_path / "cards.html"
    path.write_text(cards_html(result))
    tab = Browser(viewing.find_program("chromium", "chromium-browser", "google-chrome"), tmp_path)
    try:
        tab.open(path)
        order = "[...document.querySelectorAll('.card .head')].map((e) => parseInt(e.textContent.slice(5)))"
        pick = (
            "(([id, v]) => {{ const e = document.getElementById(id); e.value = v;"
            "e.dispatchEvent(new Event('input')); }})({})"
        )
        needed = tab.js(order)
        assert set(needed[:3]) == {0, 2, 4}  # the most needed first
        tab.js(pick.format(json.dumps(["order", "0"])))
        assert tab.js(order) == list(range(12))
        tab.js(pick.format(json.dumps(["numbers", "3, 4"])))
        assert tab.js(order) == [3, 4]
        tab.js("document.querySelectorAll('.card')[1].click()")
        tab.js(pick.format(json.dumps(["numbers", "3 7"])))
        assert tab.js(order) == [4, 3, 7]  # what is pinned stays, in front
        assert not tab.errors
    finally:
        tab.close()


@pytest.mark.parametrize("make", [bodies.fading_organism, bodies.exploding_organism])
def test_a_body_that_is_lost_is_a_sentence(make):
    result = run(make(), replace(SHORT, adult_step=60, phases=("adult",)))
    assert "no body" in result.no_body
    assert sections([result])[0].skipped == [result.no_body]


def test_a_body_that_is_lost_during_a_phase_is_described_and_not_ablated():
    result = run(bodies.fading_organism(), replace(SHORT, adult_step=2, phases=("adult",), adult_steps=60))
    section = sections([result])[0]
    assert "adult: There is no body" in section.skipped[0]
    assert section.figures[0].name == "units-maps"


def test_no_target_and_two_islands():
    organism = replace(planted_units.coloured(), target=None)
    result = run(organism, replace(SHORT, phases=("adult",), backup_screen_runs=0))
    assert sections([result])[0].claims
    mask = bodies.two_islands()
    patch = np.where(mask[..., None], np.asarray(planted_units.coloured().seed).max((0, 1)), 0).astype(np.float32)
    islands = replace(planted_units.coloured(), seed=patch, target=None)
    assert sections([run(islands, replace(SHORT, phases=("adult",), backup_screen_runs=0, runs=1, kept_runs=1))])


@pytest.mark.parametrize(
    "options",
    [{"phases": ()}, {"ablations": ("noise",)}, {"shares_kept": (0.5, 0.2)}, {"shares_kept": (1.0,)}, {"runs": 0}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(UserError):
        UnitConfig(**options)


def test_full_and_quick_are_two_sizes():
    assert UnitConfig(full=True).filled().runs == 8
    assert UnitConfig.quick().backup_screen_runs == 0

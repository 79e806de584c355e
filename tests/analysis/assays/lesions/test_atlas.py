"""The lesion atlas and its pages: what each edit does, worked out by hand, and what a user is told."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import bodies, planted

import nca
from analysis.assays.lesions import atlas, epistasis
from analysis.assays.lesions import critical_periods as periods
from analysis.assays.lesions import figures as lesion_figures
from analysis.assays.lesions import section as lesion_section
from analysis.assays.lesions import self_repair as repair
from analysis.assays.lesions import verdicts as lesion_verdicts
from analysis.assays.lesions import words as lesion_words
from analysis.assays.lesions.battery import Lesions, lesion
from analysis.assays.lesions.config import Cut, LesionConfig
from analysis.assays.lesions.kinds import Lesion, edit_of, scene
from analysis.cli.main import main
from analysis.paired import run_controls
from analysis.rollouts import grow_runs, run_keys
from nca.damage import CUTS

AT, HORIZON = 20, 20
SMALL = LesionConfig(
    runs=2,
    at=20,
    young=20,
    young_for=20,
    horizons=(20,),
    doses=(0.05, 0.2),
    pair_runs=2,
    pair_for=20,
    period_runs=2,
    period_end=40,
    period_every=20,
    repair_runs=2,
    repair_for=20,
)


def scene_of(body, runs=2, **says):
    keys = run_keys(0, runs)
    return scene(body, run_controls(body, grow_runs(body, AT, keys), keys, [AT, AT + HORIZON]), **says)


@pytest.fixture(scope="module")
def place():
    return scene_of(bodies.static_organism())


def after(place, kind, channel, dose=float("nan"), run=0):
    """A state and what it is after a lesion's edit at its first step."""
    edit = edit_of(place, Lesion("channel", "", (channel,), kind, dose), run)
    state = place.states[run]
    return state, np.asarray(nca.edits.apply([edit], "state", state, AT, place.controls.keys[run])), edit


def test_the_mean_is_set_on_the_cells_mature_at_the_first_step_and_nowhere_else(place):
    state, made, edit = after(place, "mean", 4)
    body = place.bodies[0]
    np.testing.assert_allclose(made[body][:, 4], state[body][:, 4].mean(), rtol=1e-5)
    np.testing.assert_array_equal(made[~body], state[~body])
    np.testing.assert_array_equal(np.delete(made, 4, -1), np.delete(state, 4, -1))
    assert int(edit.last) > AT + HORIZON


def test_noise_has_the_dose_times_the_channels_spread_over_the_body(place):
    state, made, _ = after(place, "noise", 5, dose=2.0)
    body = place.bodies[0]
    moved = (made - state)[body][:, 5]
    assert moved.std() == pytest.approx(2 * state[body][:, 5].std(), rel=0.25)
    np.testing.assert_array_equal(made[~body], state[~body])


def test_a_push_is_as_long_as_the_erasure_and_leaves_colour_alone(place):
    state, made, _ = after(place, "random direction", 4)
    np.testing.assert_allclose(np.linalg.norm(made - state, axis=-1), np.abs(state[..., 4]), atol=1e-5)
    assert (made == state)[..., :4].all()


def test_clamp_and_resample_take_another_runs_values(place):
    for kind in ("clamp", "resample"):
        _, made, edit = after(place, kind, 4)
        np.testing.assert_array_equal(made[place.bodies[0]][:, 4], place.states[1][place.bodies[0]][:, 4])
        assert int(edit.last) == AT + 1 or kind == "clamp"


def test_kinds_that_need_another_run_say_so():
    alone = scene_of(bodies.static_organism(), runs=1)
    with pytest.raises(nca.UserError, match="two runs"):
        edit_of(alone, Lesion("channel", "", (4,), "clamp"), 0)


def test_a_part_knows_its_kinds(place):
    with pytest.raises(nca.UserError, match="A filter can be graded, zero, mean; got 'noise'"):
        edit_of(place, Lesion("filter", "dx", (1,), "noise", 0.1), 0)


def test_components_are_unit_vectors_of_the_hidden_channels_by_falling_variance(place):
    own = place.directions[: len(place.hidden)]
    np.testing.assert_allclose(own[:, list(place.hidden)] @ own[:, list(place.hidden)].T, np.eye(2), atol=1e-6)
    assert (place.directions[:, :4] == 0).all()
    cells = place.states[place.bodies] @ own.T
    assert cells.var(0)[0] >= cells.var(0)[1]


def test_losing_a_component_leaves_the_others(place):
    edit = edit_of(place, Lesion("direction", "PC1", (0,), "graded", 0.25), 0)
    state = place.states[0]
    made = np.asarray(nca.edits.apply([edit], "state", state, AT, None))
    body, own = place.bodies[0], place.directions
    before, now = ((s[body] - state[body].mean(0)) @ own[:2].T for s in (state, made))
    np.testing.assert_allclose(now[:, 0], 0.75 * before[:, 0], atol=1e-5)
    np.testing.assert_allclose(now[:, 1], before[:, 1], atol=1e-5)


def test_a_graded_loss_of_colour_costs_what_is_worked_out_by_hand(place):
    lesions = [one for one in atlas.channels(place.organism, ("graded",), (0.05,)) if one.target == "r (0)"]
    row = atlas.summary(atlas.sweep(place, lesions, [HORIZON])).iloc[0]
    picture = np.square(place.organism.padded_target())
    lost = picture[..., 0].sum() * (1 - 0.95**HORIZON) ** 2
    assert row.fitness == pytest.approx(1 - lost / picture.sum(), rel=1e-4)
    assert row.outcome == ""
    assert row.runs == 2


def test_a_lesion_that_touches_nothing_is_an_error_unless_asked_for(place):
    empty = replace(place.organism, seed=place.organism.seed.at[..., 5].set(0.0))
    bare = scene_of(empty)
    lesions = [Lesion("channel", "h1 (5)", (5,), "zero")]
    with pytest.raises(nca.UserError, match="changed no cell"):
        atlas.sweep(bare, lesions, [HORIZON])
    row = atlas.summary(atlas.sweep(bare, lesions, [HORIZON], untouched="keep")).iloc[0]
    assert row.outcome == "touched nothing: it holds nothing there"
    assert row.fitness == 1


def test_an_explosion_is_an_outcome_with_its_step():
    # h1 doubles at every update; its noise is amplified beyond every bound.
    body = bodies.static_organism(slope=np.eye(6)[5] * 0.25)
    lesions = [Lesion("channel", "h1 (5)", (5,), "noise", 1000.0)]
    row = atlas.summary(atlas.sweep(scene_of(body), lesions, [HORIZON])).iloc[0]
    assert row.outcome == "exploded"
    assert row.exploded_runs == 2
    assert AT <= row.exploded_step <= AT + HORIZON
    assert np.isfinite(row.fitness)


def test_half_doses_lie_between_the_doses_on_either_side():
    rows = pd.DataFrame({"dose": [0.1, 0.4, 0.1, 0.4, 0.1, 0.4], "fitness": [1, 0, 0.9, 0.8, 0.4, 0.2]})
    rows = rows.assign(phase="adult", part="channel", role="hidden", kind="graded", horizon=60)
    rows["target"] = ["a", "a", "b", "b", "c", "c"]
    found = atlas.tolerance(rows).set_index("target")
    assert found.half_dose["a"] == pytest.approx(0.2)
    assert found.reached.tolist() == ["between doses", "beyond the largest dose", "below the least dose"]
    assert found.half_dose[["b", "c"]].isna().all()


def test_hidden_units_are_grouped_by_the_channel_that_they_write_to_most():
    body = planted.relations()
    groups = {one.target: one.entries for one in atlas.units(body, ("zero",))}
    assert groups["3 to alpha (3)"] == (0, 9, 10)
    assert groups["2 to h3 (7)"] == (1, 2)
    assert sum(map(len, groups.values())) == 11  # the twelfth unit writes nothing
    assert len(atlas.units(body, ("zero",), single=True)) == 12


def test_signs_drawn_for_each_key_have_their_floor_and_find_nothing_in_nothing():
    assert epistasis.sign_flips(np.full(8, 0.3)) == epistasis.p_floor(8) == 2 / 256
    assert epistasis.sign_flips(np.zeros(8)) == 1
    assert epistasis.sign_flips(np.array([1.0, -1.0])) == 1
    assert epistasis.sign_flips(np.full(20, 0.3)) == pytest.approx(1e-4)
    draw = np.random.default_rng(0).standard_normal((300, 8))
    share = np.mean([epistasis.sign_flips(keys) <= 0.05 for keys in draw])
    assert 0.01 <= share <= 0.1


def test_crossings_of_made_up_curves():
    times = np.array([0, 10, 20, 30, 40])
    on, off = np.array([0, 0, 0, 1, 1.0]), np.array([1, 1, 0, 0, 0.0])
    both = np.stack([np.stack([on, off]), np.stack([off[::-1], on[::-1]])])  # needed at 15 to 25, twice
    data = (("channel", "side", "time", "run"), np.repeat(both[..., None], 3, -1))
    made = xr.Dataset({"fitness": data}, {"channel": ["a", "b"], "side": ["on", "off"], "time": times})
    found = periods.crossings(made).set_index("channel")
    assert (found.loc["a", "first"], found.loc["a", "last"], found.loc["a", "kind"]) == (15, 25, "any lapse")
    assert found.loc["a", "effect"] == 1


def test_a_channel_needed_at_both_ends_is_not_said_to_be_needed_between():
    times = np.array([0, 10, 20, 30, 40])  # needed at 0 to 10 and at 30 to 40, but not at 10 to 30
    curves = np.stack([[0, 0, 0, 0, 1.0], [1.0, 0, 0, 0, 0]])
    data = (("channel", "side", "time", "run"), np.repeat(curves[None, ..., None], 8, -1))
    made = xr.Dataset({"fitness": data}, {"channel": ["h0"], "side": ["on", "off"], "time": times})
    config = LesionConfig(period_end=40)
    (told,) = lesion_verdicts.critical(Lesions(bodies.static_organism(), config, crossings=periods.crossings(made)))
    assert "any lapse" not in told.text
    assert "to be without until it begins harms" in told.text
    assert "Lapses within a period were not tried" in told.evidence


def directions_of(draw, share):
    """Rows of PC1, which holds a share of the variance, and of 19 random directions, where a body's fitness
    hangs on a direction that has nothing to do with it."""
    spreads = np.r_[share, np.full(11, (1 - share) / 11)]
    needed = draw.standard_normal(12)
    ways = np.concatenate([np.eye(12)[:1], draw.standard_normal((19, 12))])
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    along = np.square(ways) @ spreads
    w = 1 - 0.01 * np.square(ways @ needed) * along
    return pd.DataFrame(
        {"part": "direction", "kind": "graded", "dose": 0.2, "horizon": 60, "runs": 4, "spread": along}
        | {"target": ["PC1", *map(str, range(19))], "role": ["component", *["random"] * 19]}
        | {"fitness": w, "fitness_low": w, "fitness_high": w}
    )


def test_the_first_component_is_not_missed_most_for_being_the_largest():
    draw, called, least = np.random.default_rng(0), 0, 0
    for _ in range(200):
        rows = directions_of(draw, 0.6)
        (told,) = lesion_words.directions(Lesions(bodies.static_organism(), LesionConfig(), rows=rows))
        called += "more than any" in told.text
        least += rows.fitness.idxmin() == 0
    assert least > 0.3 * 200  # so often its bare W is the least of 20
    assert 0.01 * 200 < called < 0.1 * 200


def test_components_hold_the_variance_and_the_first_most():
    body = bodies.static_organism(channels=8)
    keys = run_keys(0, 2)
    place = scene(body, run_controls(body, grow_runs(body, 5, keys), keys, [5, 10]))
    shares = place.spreads[: len(place.hidden)]
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == shares.max() == place.spreads.max()


def test_kinds_whose_ranking_is_chance_are_not_said_to_disagree():
    draw, said = np.random.default_rng(1), 0
    where = {"phase": "adult", "part": "channel", "role": "hidden", "horizon": 60, "cells_touched": 9}
    for _ in range(50):
        parts = []
        for kind, order in (("zero", 1), ("mean", 1), ("clamp", 0), ("freeze", 0)):
            for n in range(12):
                w = 1 - 0.02 * n * order + 0.001 * draw.standard_normal(4)
                parts.append(where | {"target": f"h{n}", "kind": kind, "run": range(4), "fitness": w})
        table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True).assign(dose=np.nan)
        rows = table.groupby([*where, "target", "kind"], sort=False, as_index=False).fitness.median()
        found = Lesions(bodies.static_organism(), LesionConfig(), table=table, rows=rows.assign(dose=np.nan))
        said += "Every kind of lasting lesion hits h11 hardest" in lesion_words.kinds(found)[0].text
    assert said > 40  # clamp and freeze do nothing that repeats itself


def test_a_null_that_overgrows_is_no_measure_of_repair():
    effect = np.array([[[0.1]], [[0.4]]] * 2).reshape(2, 2, 1, 1).repeat(6, -1)
    effect[1] = [[[0.9]], [[0.5]]]
    stops = np.full((2, 2, 1, 6), -1)
    dims = ("kind", "way", "channel", "run")
    coords = {"kind": ["zero", "null of zero"], "way": ["total", "direct"], "channel": ["h0"]}
    for overgrown, known in ((-1, True), (220, False)):
        stops[1, 0, 0, 3] = overgrown
        data = {"effect": (dims, effect), "overgrown": (dims, stops), "exploded": (dims, 0 * stops - 1)}
        rows = repair.effects(xr.Dataset(data, coords))
        assert rows.share[0] == pytest.approx(0.75)
        assert np.isfinite(rows.beyond[0]) == known
        found = Lesions(bodies.static_organism(), LesionConfig(), effects=rows)
        (told,) = lesion_verdicts.repaired(found)
        assert ("for 1 of 1 it is more" in told.text) == known
        assert ("no null can say" in told.text) != known


@pytest.fixture(scope="module")
def told():
    lines = []
    found = lesion(planted.relations(), SMALL, lines.append)
    return found, lesion_section.section(found), lines


def test_the_battery_finds_what_was_planted_and_the_marker_shows_nothing(told):
    found, section, _ = told
    assert not found.skipped
    marker = found.table[found.table.role == "marker"]
    assert (marker.changed == 0).all()
    np.testing.assert_allclose(marker.fitness, 1, atol=1e-6)
    assert set(found.rows.phase) == {"growing", "adult", "regenerating"}
    assert set(found.rows.part) == {"channel", "filter", "unit", "direction"}
    top = found.pairs.iloc[0]
    assert {top.a, top.b} == {"h0 (4)", "h1 (5)"}
    assert top.eps_w == pytest.approx(-1, abs=1e-5)
    assert any("changes nothing" in f.text for f in section.claims)
    assert found.portrait.shape == (24, 24, 4)


def test_a_section_holds_sentences_figures_and_every_number(told):
    _, section, _ = told
    assert {d.name for d in section.figures} == {
        f"lesion-{n}" for n in ("atlas", "doses", "parts", "pairs", "periods", "repair")
    }
    assert all(d.svg.startswith("<?xml") and d.caption for d in section.figures)
    assert {"lesion-atlas", "lesion-runs", "lesion-pairs"} <= set(section.tables)
    words = " ".join(f.text + f.evidence for f in section.claims) + section.method
    assert "nan" not in words.lower().replace("finance", "")
    for finding in section.claims:
        assert finding.text.endswith(".")
        assert finding.assay == "lesions"
        assert "key" in finding.evidence or "marker" in finding.evidence or "twin" in finding.evidence


def test_no_interaction_lies_beyond_the_colours_of_its_own_half(told):
    found = replace(told[0], pairs=told[0].pairs.assign(eps_l=-3.0))
    made, _ = lesion_figures.pairs(found)
    halves = made.axes[0].collections
    values = [np.abs(np.ma.filled(half.get_array(), 0)).max() for half in halves]
    ends = [half.get_clim()[1] for half in halves]
    assert values == pytest.approx(ends)
    assert ends == pytest.approx([1, 3], abs=1e-5)


def test_a_body_that_dies_is_a_stated_outcome():
    config = replace(SMALL, at=40, young=2, assays=("atlas", "pairs"))
    found = lesion(bodies.fading_organism(), config, lambda _: None)
    assert "no mature cell" in found.skipped["pairs"]
    assert "no mature cell" in found.skipped["adult"]
    assert lesion_section.section(found).skipped


def test_two_channels_carry_no_marker_and_have_no_hidden_channel():
    body = bodies.static_organism(channels=2)
    found = lesion(body, replace(SMALL, assays=("pairs", "repair")), lambda _: None)
    assert "two channels" in found.skipped["pairs"]
    assert "two hidden channels" in found.skipped["repair"]
    assert any("no neutral marker" in f.text for f in lesion_section.section(found).claims)


def test_the_command_writes_a_folder_and_says_where(tmp_path, capsys):
    file = tmp_path / "body.safetensors"
    nca.save(planted.relations(), file)
    words = [
        "--assays",
        "pairs",
        "--at",
        "20",
        "--pair-runs",
        "2",
        "--pair-for",
        "20",
        "--runs",
        "2",
        "--repair-runs",
        "2",
    ]
    assert main(["lesion", str(file), "--out", str(tmp_path / "out"), *words]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["made_by"] == "nca lesion"
    assert summary["config"]["assays"] == ["pairs"]
    assert (tmp_path / "out" / "tables" / "lesion-pairs.csv").is_file()
    assert "NaN" not in (tmp_path / "out" / "summary.json").read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        {"doses": (0.5, 0.1)},
        {"doses": (1.0,)},
        {"noises": (0.0,)},
        {"horizons": (300, 60)},
        {"cut": "middle"},
        {"assays": ()},
        {"runs": 0},
        {"period_every": 100},
    ],
)
def test_a_config_that_makes_no_sense_is_refused_in_a_sentence(wrong):
    with pytest.raises(nca.UserError, match=next(iter(wrong))):
        LesionConfig(**wrong)


def test_full_fills_only_what_was_left_as_it_is():
    filled = LesionConfig(full=True, runs=3).filled()
    assert filled.runs == 3
    assert filled.pair_runs == 16
    assert len(filled.doses) == 6


def test_the_cuts_on_offer_are_those_that_can_be_made():
    assert set(get_args(Cut)) == set(CUTS)


def test_a_ranking_that_keys_share_repeats_and_one_that_each_has_for_itself_does_not():
    draw = np.random.default_rng(0)
    targets, order = [f"h{n}" for n in range(12)], np.linspace(0, 1, 12)
    place = {"phase": "adult", "part": "channel", "kind": "zero", "dose": np.nan, "horizon": 20}
    found = {}
    for name, w in {"shared": [order] * 4, "own": [draw.permutation(order) for _ in range(4)]}.items():
        rows = [
            place | {"target": t, "run": run, "fitness": value}
            for run, values in enumerate(w)
            for t, value in zip(targets, values, strict=True)
        ]
        found[name] = atlas.repeated(pd.DataFrame(rows), "zero", 0.05, 20, targets)
    assert found["shared"] == pytest.approx(1)
    assert found["own"] < lesion_words.REPEATED

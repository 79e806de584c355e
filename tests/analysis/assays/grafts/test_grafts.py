"""Grafts on the hand-built flag, on published worms, on bodies that stay, die and explode."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import bodies
from helpers import planted_flag as planted
from helpers import published as others

import nca
from analysis import metrics
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.grafting import COLOUR, GRAFT, HIDDEN, RANDOM, SHAM, GraftRuns
from analysis.assays.grafts.report import _claims, _component, _organizers, _permutation_p, sections
from analysis.assays.grafts.run import run
from analysis.report.model import EVIDENCE
from analysis.rollouts import grow_runs, run_keys
from nca import edits

FLAG = {"radius": 3, "adult_step": 100, "eval_steps": 140, "runs": 2, "map_runs": 0}


@pytest.fixture(scope="module")
def flag():
    return planted.flag()


@pytest.fixture(scope="module")
def moved_source(flag):
    options = {**FLAG, "map_runs": 1, "map_points": 6, "fragments": (5.0,)}
    return run(flag, config=GraftConfig(planted.SOURCE, planted.FAR, **options))


def final(result, intervention, measure="second_body"):
    return result.grafts[measure].sel(intervention=intervention).values[:, -1]


def claims_of(result):
    return _claims(result)


def test_the_flag_has_the_boundaries_of_the_linear_solve(flag):
    state = grow_runs(flag, 400, run_keys(0, 1))[0]
    seen = planted.colours_of(metrics.picture(flag.rule.spec, state))
    known = planted.known_colours(planted.source())
    assert (seen == known)[planted.body()].mean() > 0.96
    assert (seen[~planted.body()] == -1).all()
    assert all((known == colour).sum() > 40 for colour in (0, 1, 2))


def test_a_grafted_source_makes_a_second_flag(moved_source):
    assert (final(moved_source, GRAFT) > 0.6).all()
    assert (final(moved_source, GRAFT, "first_body") > 0.98).all()
    assert (final(moved_source, GRAFT, "retained") > 0.9).all()
    assert (final(moved_source, GRAFT, "turn") == 180).all()  # mirrored: its body lies the other way
    claim = claims_of(moved_source)[0]
    assert claim.numbers["present"]
    assert claim.evidence.value[0] == pytest.approx(np.median(final(moved_source, GRAFT)))
    assert claim.evidence.null_median[0] == 0


def test_the_second_flag_has_the_boundaries_of_two_sources(flag, moved_source):
    both = planted.source() | np.roll(planted.source(), 32, 1)
    seen = planted.colours_of(moved_source.grafts.picture.sel(intervention=GRAFT).values[0, -1])
    one, two = (planted.known_colours(p) for p in (planted.source(), both))
    differ = one != two
    assert differ.sum() > 60
    assert (seen == two)[differ].mean() > 0.6  # the morphogen still spreads
    assert (seen == two)[~differ].mean() > 0.95


def test_its_hidden_channels_make_one_and_its_colours_do_not(moved_source):
    np.testing.assert_allclose(final(moved_source, HIDDEN), final(moved_source, GRAFT), atol=0.02)
    assert (final(moved_source, COLOUR) == 0).all()
    assert (moved_source.grafts.mse.sel(intervention=COLOUR)[:, 1] == 0).all()  # gone after 20 steps


def test_what_is_claimed_of_the_flag(moved_source):
    (section,) = sections([moved_source])
    assert [figure.name for figure in section.figures] == ["grafts", "second-body", "organizer-map", "isolation-map"]
    claims = section.claims
    assert [c.text for c in claims] == [
        "Moved from row 11, column 8 to row 11, column 40, the disc makes a second body by step 240 (share 0.73, "
        "sham 0.00), and the first stays.",
        "The hidden channels alone make a second body in 2 of 2 runs (share of a second body 0.73; sham 0.00, "
        "p = 0.17).",
        "The colours alone make no second body (share of a second body 0.00; sham 0.00, p = 1.00).",
        "A random change as large in every cell makes a second body as well, in 2 of 2 runs (share of a second body "
        "0.61; graft 0.73, p = 0.17), so that this graft alone proves no code in the moved cells.",
        "The graft stays as in the donor.",
        "Discs from 0 of 5 points of the body make a second body at row 11, column 40.",
        "0 of 5 discs, left alone, rebuild the body by step 240.",
    ]
    assert all(set(c.evidence.columns) <= set(EVIDENCE) and len(c.evidence) for c in claims)
    assert claims[0].note == "Null: the sham; p by permutation of runs, one-sided, at least 0.167."


def test_a_random_change_that_makes_one_in_some_runs_is_not_reported_as_none(moved_source):
    second = moved_source.grafts.second_body.copy()
    second.loc[{"intervention": RANDOM}] = np.array([0.6, 0.3])[:, None]
    some = replace(moved_source, grafts=moved_source.grafts.assign(second_body=second))
    claim = _component(some, RANDOM)
    assert claim.text == (
        "A random change as large in every cell makes a second body in 1 of 2 runs (share of a second body 0.45; graft "
        "0.73, p = 0.17)."
    )
    row = claim.evidence[claim.evidence.measure == "share, graft against random"].iloc[0]
    assert row.p == pytest.approx(1 / 6)  # one of six ways to permute the runs


def test_points_below_the_random_change_are_no_organizers(moved_source):
    def organizers(random):
        second = moved_source.grafts.second_body.copy()
        second.loc[{"intervention": RANDOM}] = random
        data = moved_source.organizers.copy(deep=True)
        data.second_body[:3] = [[0.55], [0.7], [0.8]]
        data.second_body[3:] = 0.1
        result = replace(moved_source, grafts=moved_source.grafts.assign(second_body=second), organizers=data)
        return _organizers(result).numbers["organizers"]

    assert [organizers(share) for share in (0.0, 0.66, 0.8)] == [3, 2, 0]


def test_a_second_body_cut_short_by_the_canvas_is_reported(moved_source):
    picture = moved_source.grafts.picture.copy()
    for alpha, cut in ((0.0, False), (1.0, True)):
        picture.loc[{"intervention": GRAFT}] = 0.0
        picture.loc[{"intervention": GRAFT}][..., 0, 5, 3] = alpha
        result = replace(moved_source, grafts=moved_source.grafts.assign(picture=picture))
        assert ("reaches the edge of the canvas" in claims_of(result)[0].text) == cut


def test_the_sham_stays_on_the_floor(moved_source):
    assert (final(moved_source, SHAM) == 0).all()
    assert (final(moved_source, SHAM, "mse") < 1e-5).all()


def test_only_discs_about_the_source_are_organizers(moved_source):
    organizers = moved_source.organizers
    shares = organizers.second_body.values[:, 0]
    far = np.hypot(organizers.centre_y - 11, organizers.centre_x - 8).values > 6
    assert (shares[far & np.isfinite(shares)] == 0).all()


def test_discs_of_a_flag_alone_do_not_rebuild_it(moved_source):
    assert (moved_source.isolation.fit < 0.9).all()
    assert (moved_source.isolation.mature_cells < moved_source.isolation.mature_cells_control).all()


def test_a_disc_that_is_the_body_has_nothing_to_rebuild():
    options = {"adult_step": 5, "eval_steps": 20, "runs": 1, "map_points": 4}
    config = GraftConfig((12, 12), (12, 8), fragments=(3.0, 20.0), **options)
    claim = claims_of(run(bodies.static_organism(), config=config))[-1]
    assert claim.numbers["rebuilt"] == 0
    assert claim.numbers["complete"] > 0
    assert "discs that hold the body from the start" in set(claim.evidence.quantity)
    claim = claims_of(run(bodies.static_organism(), config=replace(config, fragments=(20.0,))))[-1]
    assert claim.numbers["discs"] == 0
    assert "none has anything to rebuild" in claim.text


def test_a_grafted_non_source_makes_none(flag):
    result = run(flag, config=GraftConfig(planted.MIDDLE, planted.FAR, **FLAG))
    assert (final(result, GRAFT) == 0).all()
    assert not claims_of(result)[0].numbers["present"]
    assert "makes no second body" in claims_of(result)[0].text


def test_a_graft_of_a_run_onto_itself_at_its_place_changes_nothing_to_the_bit():
    organism, key = bodies.static_organism(bias=np.linspace(-0.01, 0.01, 6)), nca.run_key(3)
    state = nca.grow(organism, 8, key=key)
    graft = edits.graft(organism, state, (12, 12), (12, 12), 4).at(8)
    alone, grafted = (nca.grow(organism, 16, key=key, state=state, start=8, edits=e) for e in ((), (graft,)))
    np.testing.assert_array_equal(alone, grafted)


def test_a_graft_back_to_its_own_place_has_no_second_body_to_look_for(flag):
    config = GraftConfig(planted.MIDDLE, planted.MIDDLE, **{**FLAG, "eval_steps": 20, "runs": 1})
    result = run(flag, config=config)
    assert np.isnan(result.grafts.second_body.values).all()
    assert "too near to its origin" in claims_of(result)[0].text


def test_random_changes_are_as_large_as_the_graft_in_every_cell(flag):
    keys = run_keys(0, 2)
    states = np.asarray(grow_runs(flag, 20, keys))
    config = GraftConfig(planted.SOURCE, planted.FAR, radius=3, runs=1)
    interventions = GraftRuns(flag, flag, config, planted.SOURCE, planted.FAR, keys, states, states).edits(0)
    region = np.asarray(interventions[GRAFT].region)
    changes = [np.asarray(interventions[name].value) - states[0] for name in (GRAFT, RANDOM)]
    sizes = [np.linalg.norm(change[region], axis=-1) for change in changes]
    np.testing.assert_allclose(*sizes, atol=1e-5)
    assert sizes[0].max() > 1


def test_without_points_the_middle_of_the_body_goes_to_its_far_end():
    organism = bodies.static_organism()
    result = run(organism, config=GraftConfig(adult_step=5, eval_steps=5, runs=1, map_runs=0, radius=2))
    assert result.config.source == (12, 12)
    body = bodies.disc()
    far = np.hypot(*(np.array(result.config.target) - 12))
    assert body[tuple(int(v) for v in result.config.target)]
    assert far > 6
    assert result.portrait.shape == (24, 24, 4)
    assert result.organism is organism


def test_a_donor_of_other_channels_is_refused():
    with pytest.raises(nca.UserError, match="5, standing 6"):
        run(bodies.static_organism(), bodies.static_organism(channels=5))


def test_another_rule_is_allowed_with_a_warning():
    config = GraftConfig((12, 12), (12, 8), adult_step=5, eval_steps=5, runs=1, map_runs=0)
    donor = bodies.static_organism(bias=np.full(6, 1e-4)).rename("stranger")
    result = run(bodies.static_organism(), donor, config)
    assert "stranger, another rule" in result.warnings[0]
    assert result.warnings[0] in sections([result])[0].skipped
    assert not run(bodies.static_organism(), bodies.static_organism(), config).warnings
    first, second = sections([result, result])
    assert (first.name, second.name) == ("grafts-1", "grafts-2")
    assert not {f.name for f in first.figures} & {f.name for f in second.figures}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [((1, 1), (12, 12), "holds no cell"), ((12, 12), (40, 2), "off the canvas"), ((-3, 2), (1, 1), "The source")],
)
def test_a_disc_of_nothing_or_off_the_canvas_is_refused(source, target, message):
    config = GraftConfig(source, target, radius=2, adult_step=5, eval_steps=5, runs=1)
    with pytest.raises(nca.UserError, match=message):
        run(bodies.static_organism(), config=config)


def test_a_dead_or_exploded_host_is_an_outcome():
    config = GraftConfig((12, 12), (12, 8), adult_step=60, eval_steps=20, runs=1)
    for organism, why in ((bodies.fading_organism(), "no mature cell"), (bodies.exploding_organism(), "exploded")):
        result = run(organism, config=config)
        assert why in result.no_body
        assert result.no_body in sections([result])[0].skipped
        assert result.portrait is None


def test_a_rule_without_hidden_channels_has_fewer_interventions():
    options = {"adult_step": 5, "eval_steps": 25, "runs": 1, "map_points": 4, "fragments": (3,)}
    result = run(bodies.static_organism(channels=4), config=GraftConfig((12, 12), (12, 8), **options))
    assert result.grafts.intervention.values.tolist() == [GRAFT, RANDOM, SHAM]
    assert len(sections([result])[0].claims)


def test_p_is_exact_over_permutations_of_runs():
    assert _permutation_p([3, 4], [1, 2]) == (pytest.approx(1 / 6), pytest.approx(1 / 6))
    assert _permutation_p([1, 2, 3, 4], [5, 6, 7, 8])[0] == pytest.approx(1)
    assert np.isnan(_permutation_p([np.nan], [1.0])[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"radius": 0.0}, "above 0 cells"),
        ({"source": (float("nan"), 1)}, "finite"),
        ({"runs": 2, "map_runs": 3}, "map_runs must be 0 to 2"),
        ({"eval_steps": 0}, "at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(nca.UserError, match=message):
        GraftConfig(**wrong)


def test_the_larger_preset_fills_what_was_left_at_its_default():
    config = GraftConfig(full=True, map_runs=2).filled()
    assert (config.runs, config.map_runs, config.map_points) == (16, 2, 100)
    assert GraftConfig.quick().map_runs == 0


def test_mid_body_to_tail_gives_a_published_planarian_a_second_axis(published):
    worm = others.load_published(published, "google-planarian").organism
    result = run(worm, config=GraftConfig((36, 36), (42, 18), radius=4, runs=1, map_runs=0))
    assert result.grafts.attrs["cells"] == 49
    course = result.grafts.second_body.sel(run=0)
    assert course.sel(intervention=GRAFT, step=400) > 0.7
    assert abs(course.sel(intervention=GRAFT, step=400) - course.sel(intervention=GRAFT, step=300)) < 0.1
    assert abs(course.sel(intervention=GRAFT, step=400) - course.sel(intervention=HIDDEN, step=400)) < 0.1
    assert course.sel(intervention=[COLOUR, SHAM]).max() < 0.05
    fading = result.grafts.mse.sel(run=0, intervention=COLOUR)
    assert fading.sel(step=220) < 0.2 * fading.sel(step=200)
    assert jnp.isfinite(result.films[1]).all()

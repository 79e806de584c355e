"""Grafts on the hand-built flag, on published worms, on bodies that keep, die and explode."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import bodies
from helpers import planted_flag as planted
from helpers import published as others

import nca
from analysis import metrics
from analysis.assays.grafts import section as graft_section
from analysis.assays.grafts import transplants as grafts
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.controls import above
from analysis.assays.grafts.operations import COLOUR, GRAFT, HIDDEN, RANDOM, SHAM, kinds
from analysis.cli import graft as graft_command
from analysis.rollouts import grow_runs, run_keys
from nca import edits

FLAG = {"radius": 3, "at": 100, "until": 240, "runs": 2, "map_runs": 0}


def quiet(line):
    """Nobody listens."""


@pytest.fixture(scope="module")
def flag():
    return planted.flag()


@pytest.fixture(scope="module")
def moved_source(flag):
    config = GraftConfig(planted.SOURCE, planted.FAR, **{**FLAG, "map_runs": 1, "places": 6})
    return grafts.graft(flag, flag, replace(config, fragments=(5.0,)), quiet)


def at_end(found, kind, name="second"):
    return found.grafts[name].sel(kind=kind).values[:, -1]


def test_the_flag_has_the_boundaries_of_the_linear_solve(flag):
    state = grow_runs(flag, 400, run_keys(0, 1))[0]
    seen = planted.colours_of(metrics.picture(flag.rule.spec, state))
    known = planted.known_colours(planted.source())
    assert (seen == known)[planted.body()].mean() > 0.96
    assert (seen[~planted.body()] == -1).all()
    assert all((known == colour).sum() > 40 for colour in (0, 1, 2))


def test_a_grafted_source_makes_a_second_flag(moved_source):
    assert (at_end(moved_source, GRAFT) > 0.6).all()
    assert (at_end(moved_source, GRAFT, "first") > 0.98).all()
    assert (at_end(moved_source, GRAFT, "kept") > 0.9).all()
    assert (at_end(moved_source, GRAFT, "turn") == 180).all()  # mirrored: its body lies the other way
    assert "makes a second body" in graft_section.section(moved_source).claims[0].text


def test_the_second_flag_has_the_boundaries_of_two_sources(flag, moved_source):
    both = planted.source() | np.roll(planted.source(), 32, 1)
    seen = planted.colours_of(moved_source.grafts.picture.sel(kind=GRAFT).values[0, -1])
    one, two = (planted.known_colours(p) for p in (planted.source(), both))
    parted = one != two
    assert parted.sum() > 60
    assert (seen == two)[parted].mean() > 0.6  # the morphogen still spreads
    assert (seen == two)[~parted].mean() > 0.95


def test_its_hidden_channels_make_one_and_its_colours_do_not(moved_source):
    np.testing.assert_allclose(at_end(moved_source, HIDDEN), at_end(moved_source, GRAFT), atol=0.02)
    assert (at_end(moved_source, COLOUR) == 0).all()
    assert (moved_source.grafts.distance.sel(kind=COLOUR)[:, 1] == 0).all()  # gone after 20 steps


def test_a_random_change_that_makes_one_in_some_keys_is_not_told_as_none(moved_source):
    second = moved_source.grafts.second.copy()
    second.loc[{"kind": RANDOM}] = np.array([0.6, 0.3])[:, None]
    some = replace(moved_source, grafts=moved_source.grafts.assign(second=second))
    told = next(f for f in graft_section.parts(some) if f.numbers["kind"] == RANDOM)
    assert told.text == "A random change as large in every cell makes a second body in 1 of 2 keys."
    assert "the graft’s is larger, p 0.17" in told.evidence  # one of six ways to deal the keys


def test_places_below_the_random_change_are_no_organizers(moved_source):
    def made(random):
        second = moved_source.grafts.second.copy()
        second.loc[{"kind": RANDOM}] = random
        organizers = moved_source.organizers.copy(deep=True)
        organizers.second[:3] = [[0.55], [0.7], [0.8]]
        organizers.second[3:] = 0.1
        found = replace(moved_source, grafts=moved_source.grafts.assign(second=second), organizers=organizers)
        return graft_section.organizer(found)[0].numbers["made"]

    assert [made(share) for share in (0.0, 0.66, 0.8)] == [3, 2, 0]


def test_a_second_body_cut_short_by_the_canvas_is_told(moved_source):
    picture = moved_source.grafts.picture.copy()
    for alpha, says in ((0.0, ""), (1.0, "it reaches the edge of the canvas")):
        picture.loc[{"kind": GRAFT}] = 0.0
        picture.loc[{"kind": GRAFT}][..., 0, 5, 3] = alpha
        at = replace(moved_source, grafts=moved_source.grafts.assign(picture=picture))
        assert graft_section.edge(at) == says


def test_the_sham_stays_on_the_floor(moved_source):
    assert (at_end(moved_source, SHAM) == 0).all()
    assert (at_end(moved_source, SHAM, "distance") < 1e-5).all()


def test_only_discs_about_the_source_are_organizers(moved_source):
    shares = moved_source.organizers.second.values[:, 0]
    far = np.hypot(moved_source.organizers.at_y - 11, moved_source.organizers.at_x - 8).values > 6
    assert (shares[far & np.isfinite(shares)] == 0).all()


def test_discs_of_a_flag_alone_do_not_rebuild_it(moved_source):
    assert (moved_source.isolation.fit < 0.9).all()
    assert (moved_source.isolation.mature < moved_source.isolation.mature_twin).all()


def test_a_disc_that_is_the_body_has_nothing_to_rebuild():
    config = GraftConfig((12, 12), (12, 8), at=5, until=25, runs=1, places=4, fragments=(3.0, 20.0))
    told = graft_section.isolation(grafts.graft(bodies.standing(), bodies.standing(), config, quiet))[0]
    assert told.text.startswith("0 of ")
    assert "more hold the whole body from the start" in told.evidence
    config = replace(config, fragments=(20.0,))
    told = graft_section.isolation(grafts.graft(bodies.standing(), bodies.standing(), config, quiet))[0]
    assert told.text == "No disc was small enough to have anything to rebuild."


def test_a_grafted_non_source_makes_none(flag):
    found = grafts.graft(flag, flag, GraftConfig(planted.MIDDLE, planted.FAR, **FLAG), quiet)
    assert (at_end(found, GRAFT) == 0).all()
    assert "makes no second body" in graft_section.section(found).claims[0].text


def test_a_graft_of_a_run_onto_itself_at_its_place_changes_nothing_to_the_bit():
    organism, key = bodies.standing(bias=np.linspace(-0.01, 0.01, 6)), nca.run_key(3)
    state = nca.grow(organism, 8, key=key)
    graft = edits.graft(organism, state, (12, 12), (12, 12), 4).at(8)
    alone, grafted = (nca.grow(organism, 16, key=key, state=state, start=8, edits=e) for e in ((), (graft,)))
    np.testing.assert_array_equal(alone, grafted)


def test_a_graft_back_to_its_own_place_has_no_second_body_to_look_for(flag):
    config = GraftConfig(planted.MIDDLE, planted.MIDDLE, **{**FLAG, "until": 120, "runs": 1})
    found = grafts.graft(flag, flag, config, quiet)
    told = graft_section.section(found)
    assert "not defined" in told.claims[0].text
    assert np.isnan(found.grafts.second.values).all()


def test_random_grafts_are_as_large_as_the_graft_in_every_cell(flag):
    states = np.asarray(grow_runs(flag, 20, run_keys(0, 2)))
    config = GraftConfig(planted.SOURCE, planted.FAR, radius=3)
    made = kinds(flag, states[0], states[1], states[1], config, 0)
    region = np.asarray(made[GRAFT].region)
    sizes = [np.linalg.norm((np.asarray(made[k].value) - states[0])[region], axis=-1) for k in (GRAFT, "random")]
    np.testing.assert_allclose(*sizes, atol=1e-5)
    assert sizes[0].max() > 1


def test_a_donor_of_other_channels_is_refused():
    config = GraftConfig((12, 12), (12, 8), at=5, until=10, runs=1)
    with pytest.raises(nca.UserError, match="5, standing 6"):
        grafts.graft(bodies.standing(channels=5), bodies.standing(), config, quiet)


def test_another_rule_is_allowed_and_warned_of():
    config = GraftConfig((12, 12), (12, 8), at=5, until=10, runs=1, map_runs=0)
    donor = bodies.standing(bias=np.full(6, 1e-4)).renamed("stranger")
    found = grafts.graft(donor, bodies.standing(), config, quiet)
    assert "stranger, another rule" in found.warnings[0]
    assert found.warnings[0] in graft_section.section(found).skipped
    alone = grafts.graft(bodies.standing(), bodies.standing(), config, quiet)
    assert not alone.warnings


@pytest.mark.parametrize(
    ("source", "place", "says"),
    [((1, 1), (12, 12), "takes no cell"), ((12, 12), (40, 2), "off the canvas"), ((-3, 2), (1, 1), "--from")],
)
def test_a_disc_of_nothing_or_off_the_canvas_is_refused(source, place, says):
    config = GraftConfig(source, place, radius=2, at=5, until=10, runs=1)
    with pytest.raises(nca.UserError, match=says):
        grafts.graft(bodies.standing(), bodies.standing(), config, quiet)


def test_a_dead_or_exploded_host_is_an_outcome():
    config = GraftConfig((12, 12), (12, 8), at=60, until=80, runs=1)
    for organism, why in ((bodies.fading(), "no mature cell"), (bodies.bursting(), "exploded")):
        found = grafts.graft(organism, organism, config, quiet)
        assert why in found.trouble
        assert found.trouble in graft_section.section(found).skipped


def test_a_rule_without_hidden_channels_has_fewer_kinds():
    config = GraftConfig((12, 12), (12, 8), at=5, until=30, runs=1, places=4, fragments=(3,))
    organism = bodies.standing(channels=4)
    found = grafts.graft(organism, organism, config, quiet)
    assert found.grafts.kind.values.tolist() == [GRAFT, "random", SHAM]
    graft_section.section(found)


def test_p_is_exact_over_deals_of_keys():
    assert above([3, 4], [1, 2]) == (pytest.approx(1 / 6), pytest.approx(1 / 6))
    assert above([1, 2, 3, 4], [5, 6, 7, 8])[0] == pytest.approx(1)
    assert np.isnan(above([np.nan], [1.0])[0])


def test_places_are_read_as_row_and_column():
    assert graft_command.place_of("from", "36,12.5") == (36, 12.5)
    for wrong in ("36", "36;2", "a,b", "1,2,3"):
        with pytest.raises(nca.UserError, match="row,column"):
            graft_command.place_of("from", wrong)


def test_mid_body_to_tail_gives_a_published_planarian_a_second_axis(published):
    worm = others.read(published, "google-planarian").organism
    config = GraftConfig((36, 36), (42, 18), radius=4, runs=1, map_runs=0)
    found = grafts.graft(worm, worm, config, quiet)
    assert found.grafts.attrs["cells"] == 49
    course = found.grafts.second.sel(run=0)
    assert course.sel(kind=GRAFT, time=400) > 0.7
    assert abs(course.sel(kind=GRAFT, time=400) - course.sel(kind=GRAFT, time=300)) < 0.1
    assert abs(course.sel(kind=GRAFT, time=400) - course.sel(kind=HIDDEN, time=400)) < 0.1
    assert course.sel(kind=[COLOUR, SHAM]).max() < 0.05
    faded = found.grafts.distance.sel(run=0, kind=COLOUR)
    assert faded.sel(time=220) < 0.2 * faded.sel(time=200)
    assert jnp.isfinite(found.film[1]).all()

"""Planted truths: cells that read where they are, cells that keep what they were, and bodies that cannot be decoded."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import bodies, codes
from scipy.stats import ortho_group

import nca
from analysis.assays.fate import plots
from analysis.assays.fate.config import FateConfig
from analysis.assays.fate.dictionary import build_dictionary, calibrate, decode, vacuity_control
from analysis.assays.fate.lineages import trace_ancestors
from analysis.assays.fate.mutants import read_mutants
from analysis.assays.fate.regrowth import CUT, FILLED, steps_to_learn
from analysis.assays.fate.report import sections
from analysis.assays.fate.run import run
from analysis.assays.fate.transplants import SHUFFLED, find_targets
from analysis.assays.grafts.grafting import GRAFT, RANDOM, SHAM
from analysis.report.model import EVIDENCE
from analysis.rollouts import grow_through, run_keys

SMALL = {"runs": 2, "dictionary_runs": 2, "adult_step": 40, "surrogates": 2, "radius": 2.0, "map_points": 8}
SHORT = {**SMALL, "control_points": 2, "eval_steps": 40, "mutants": 0}


@pytest.fixture(scope="module")
def reading():
    return run(codes.map_reader(), FateConfig(**SHORT))


@pytest.fixture(scope="module")
def keeping():
    """A disc of smooth random states, of which every channel is inert."""
    return run(bodies.static_organism(channels=10), FateConfig(**SHORT))


def shares(result, intervention, fate, since):
    grafts = result.grafts
    return grafts[(grafts.intervention == intervention) & (grafts.since == since) & (grafts.cells > 0)][fate].to_numpy()


def test_cells_that_count_read_the_place_where_they_are_moved_to(reading):
    assert (shares(reading, GRAFT, "donor", 0) == 1).all()
    assert (shares(reading, GRAFT, "host", 20) == 1).all()  # it is 5 cells wide
    assert (shares(reading, SHUFFLED, "host", 20) == 1).all()
    assert set(reading.tissue.tissue) == {"specified"}


def test_cells_whose_channels_are_inert_keep_the_identity_of_where_they_came_from(keeping):
    for since in keeping.grafts.since.unique():
        assert (shares(keeping, GRAFT, "donor", since) == 1).all()
        assert (shares(keeping, RANDOM, "host", since) < 0.5).all()
    assert set(keeping.tissue.tissue) == {"determined"}
    assert shares(keeping, SHUFFLED, "donor", 40).mean() < 0.9  # some land near where they would be


def test_a_sham_is_host_throughout(reading, keeping):
    for result in (reading, keeping):
        for since in result.grafts.since.unique():
            assert (shares(result, SHAM, "host", since) == 1).all()


def test_a_smooth_field_frozen_over_runs_is_decoded_as_well_as_the_states(keeping):
    assert keeping.vacuity.error_mean[0] == 0
    assert keeping.vacuity.error_mean.max() < 0.5


def test_what_varies_from_run_to_run_is_not_decoded():
    organism = bodies.static_organism(channels=10)
    states = np.broadcast_to(np.asarray(organism.initial_state()), (6, 1, 24, 24, 10)).copy()
    body = states[0, 0, ..., 3] > 0
    for n, field in enumerate(states):
        field[:, body, 4:] = bodies.smooth_fields(n, body, 6)
    assert vacuity_control(organism, states, 4, 2, 0).error_mean.min() > 2


def test_wounds_that_do_not_heal_have_no_new_cells_and_filled_ones_stay_wrong(keeping):
    regrowth = keeping.regrowth
    assert (regrowth.new_cells.sel(start=CUT) == 0).all()
    assert np.isnan(regrowth.new_error.sel(start=CUT)).all()
    assert (regrowth.new_error.sel(start=FILLED) > 2.5).all()
    assert (regrowth.old_error.sel(wound=["left", "top"]) == 0).all()
    assert np.isnan(steps_to_learn(regrowth)).all()
    claim = sections([keeping])[0].claims[0]
    assert claim.numbers["steps_to_learn"] == {}
    assert "After none of five cuts" in claim.text


def test_cells_that_count_learn_their_place_in_as_many_steps_as_they_lie_from_the_wounds_edge(reading):
    regrowth = reading.regrowth.sel(start=FILLED)
    assert (regrowth.new_error.sel(since=0) > 2.5).all()
    assert (regrowth.new_error.sel(since=40) == 0).all()
    assert (steps_to_learn(reading.regrowth, FILLED) <= 20).all()


def test_steps_to_learn_are_the_first_from_which_on_the_error_stays_small(reading):
    error = reading.regrowth.new_error.copy()
    error.loc[{"start": CUT}] = np.array([9.0, 2.0, 1.0])
    error.loc[{"start": CUT, "run": 1}] = np.array([1.0, 9.0, 2.5])
    error.loc[{"start": CUT, "wound": "left"}] = np.array([1.0, 2.0, 3.0])
    steps = steps_to_learn(reading.regrowth.assign(new_error=error))
    assert steps.sel(wound="top").values.tolist() == [20, 40]
    assert np.isnan(steps.sel(wound="left")).all()


def test_another_basis_of_hidden_channels_decodes_the_same_places():
    organism = codes.creeper("sobel-laplacian", fire_rate=0.5)
    rotation = ortho_group.rvs(4, random_state=0) @ np.diag([0.5, 1.0, 2.0, 3.0])
    decoded = []
    for each in (organism, nca.change_basis(organism, rotation)):
        states = grow_through(each, run_keys(0, 3), [0, 12, 24])[1:]
        dictionary = calibrate(build_dictionary(each, states[:, :2]), each, states[:, 2:])
        values = states[1, 2][states[1, 2, ..., 3] > 0.1]
        decoded.append((*decode(dictionary, values), dictionary.radius))
    (places, distance, radius), (others, other_distance, other_radius) = decoded
    assert (np.linalg.norm(places - others, axis=1) < 1e-6).mean() > 0.9  # but for ties
    np.testing.assert_allclose(distance, other_distance, rtol=1e-2, atol=1e-2)
    assert radius == pytest.approx(other_radius, rel=0.5)


def test_a_known_state_is_nearer_than_random_ones(keeping):
    organism = keeping.organism
    states = np.asarray(organism.initial_state())[None]
    dictionary = calibrate(build_dictionary(organism, states), organism, states)
    assert 0 < dictionary.radius < np.inf
    assert dictionary.unit == 0
    places, distance = decode(dictionary, np.full((2, 10), np.nan))
    assert np.isnan(places).all()
    assert np.isinf(distance).all()


def test_targets_lie_deep_in_the_body_and_far_apart():
    body = np.zeros((20, 40), bool)
    body[5:16, 4:36] = True
    targets = find_targets(body, 3.0, 2)
    assert sorted(targets[:, 1].tolist()) == [7, 32]
    assert find_targets(body, 3.0, 3).shape == (3, 2)
    assert len(find_targets(bodies.two_islands(), 2.0, 2)) == 2
    assert len(find_targets(np.eye(3, dtype=bool)[:1], 4.0, 2)) == 1


@pytest.mark.parametrize(
    ("organism", "why"), [(bodies.fading_organism, "no mature cell"), (bodies.exploding_organism, "exploded")]
)
def test_a_body_that_dies_or_explodes_is_an_outcome(organism, why):
    result = run(organism(), FateConfig(**{**SHORT, "adult_step": 60}))
    assert why in result.no_body
    (section,) = sections([result])
    assert why in section.skipped[0]
    assert not section.claims


def test_organisms_that_nothing_can_be_read_of_are_refused():
    with pytest.raises(nca.UserError, match="reads hidden channels, and standing has none"):
        run(bodies.static_organism(channels=4), FateConfig(**SHORT))
    uniform = bodies.static_organism(channels=5)
    seed = np.where(np.asarray(uniform.seed)[..., 3:4] > 0, 1.0, 0.0) * np.ones(5)
    with pytest.raises(nca.UserError, match="the same hidden states"):
        run(replace(uniform, seed=seed), FateConfig(**SHORT))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"runs": 1}, "at least 2"), ({"radius": 0.0}, "above 0 cells"), ({"targets": 0}, "at least 1")],
)
def test_a_config_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(nca.UserError, match=message):
        FateConfig(**wrong)


def test_the_larger_preset_fills_what_was_left_at_its_default():
    config = FateConfig(full=True, dictionary_runs=3).filled()
    assert (config.runs, config.dictionary_runs, config.surrogates) == (8, 3, 39)
    assert FateConfig.quick().map_points < FateConfig().map_points


def test_the_section_reports_every_question_with_its_controls(reading, keeping):
    (section,) = sections([reading])
    assert [f.name for f in section.figures] == [
        "fate-growth", "fate-lineages", "fate-cuts", "fate-learning", "fate-graft", "fate-tissue", "fate-shares",
    ]  # fmt: skip
    assert all(set(c.evidence.columns) <= set(EVIDENCE) and len(c.evidence) for c in section.claims)
    assert set(section.tables) == {"fate-regrowth", "fate-grafts", "fate-tissue", "fate-error"}
    (both,) = sections([reading, keeping])
    assert len({f.name for f in both.figures}) == len(both.figures) == 13
    assert len(both.claims) == 8


def test_what_is_claimed_of_a_small_result(reading, keeping):
    for result, name, cells, determined in ((reading, "map reader", 320, False), (keeping, "standing", 149, True)):
        places, chance = result.tissue.point.nunique(), float(result.lineages.chance[0])
        kept, taken = (places, 0) if determined else (0, places)
        assert [claim.text for claim in sections([result])[0].claims] == [
            f"After none of five cuts do the states of regrown cells of {name} mean their own place within 40 steps.",
            f"Of {places} places of the body of {name}, {kept} are determined (at one of 2 targets or more, their "
            f"cells keep their identity 40 steps after they were moved) and {taken} specified (at every one, their "
            f"cells take that of the new place); in the other half of the runs {kept} and {taken} of them are so "
            "again.",
            f"Places of {name} are read from held-out runs with a mean error of 0.0 cells, no less than from smooth "
            "random fields that are the same in all runs (0.0 against 0.0 in the same cells): on one history a small "
            "error is no finding.",
            f"The grown cells of {name} descend from {cells} of {cells} cells of step 20; runs agree on the ancestor "
            f"of a cell within 0.0 cells (median; cells drawn at random: {chance:.1f}).",
        ]


def test_daughters_descend_from_the_strongest_neighbour():
    alpha = np.zeros((3, 4, 6))
    alpha[:, 1, 1], alpha[:, 1, 3] = 0.5, 1.0
    alpha[1:, 1, 2] = 0.9  # between both
    alpha[2, 2, 2], alpha[2, 0, 0] = 0.7, 0.7  # of the daughter; of the weaker
    alpha[2, 3, 5] = 0.4  # of nobody
    ancestor = trace_ancestors(alpha > 0.1, alpha)
    places = {cell: ancestor[cell].tolist() for cell in ((1, 1), (1, 2), (2, 2), (0, 0))}
    assert places == {(1, 1): [1, 1], (1, 2): [1, 3], (2, 2): [1, 3], (0, 0): [1, 1]}
    assert np.isnan(ancestor[3, 5]).all()
    assert np.isfinite(ancestor[..., 0]).sum() == 5


@pytest.mark.parametrize("homeotic", [True, False])
def test_a_lesion_that_moves_identities_predicts_the_colours_of_the_mutant(homeotic):
    organism = codes.drifting_code(homeotic)
    states = grow_through(organism, run_keys(0, 4), [0, 20])[1]
    dictionary = build_dictionary(organism, states[:2])
    mutants = read_mutants(organism, dictionary, states[2:], run_keys(0, 2), 20, 4).set_index("unit")
    lost = mutants.loc[0]  # the unit that holds the code in place
    assert lost.unmoved > 0.01 > mutants.between_runs.max()
    assert (lost.predicted < 0.5 * lost.unmoved) == homeotic


def test_a_body_that_does_not_grow_is_its_own_ancestor(keeping):
    assert (keeping.lineages.agreement == 0).all()
    assert keeping.lineages.chance > 3


def test_films_show_the_cut_and_the_graft_next_to_their_controls(keeping):
    assert {name: film.side.values.tolist() for name, film in keeping.films.items()} == {
        "cut": ["uncut", "bottom cut"],
        "graft": ["sham", "graft"],
    }
    uncut, cut = keeping.films["cut"].distance.sel(step=slice(0, 38)).values
    np.testing.assert_array_equal(uncut, cut)
    (section,) = sections([keeping])
    assert [film.webp[:4] for film in section.films] == [b"RIFF", b"RIFF"]


def test_places_have_the_colours_of_the_wheel():
    body = bodies.disc()
    places = np.array([[12.0, 12.0], [12.0, 19.0], [19.0, 12.0]])
    middle, right, below = plots.place_colours(places, body)
    assert middle.min() > 0.85
    assert right.argmax() == 0
    assert below[1] > below[2]

"""Cuts: against an independent implementation, and on bodies that cannot regenerate, die or have no margin."""

import json

import numpy as np
import pytest
from helpers import bodies
from helpers.published import load_published
from PIL import Image

import nca
from analysis.assays.regeneration.cuts import MARGIN, five_cuts, report_card
from nca.damage import CUTS
from nca.organism import Organism


@pytest.fixture(scope="module")
def static():
    return five_cuts(bodies.static_organism(), runs=2, adult_step=10, eval_steps=40)


def test_a_body_that_keeps_what_it_has_recovers_nothing(static):
    np.testing.assert_allclose(static.recovered.sel(wound=list(CUTS)), 0.0, atol=1e-5)


def test_the_cut_in_the_empty_margin_changes_nothing_at_all(static):
    margin = static.sel(wound=MARGIN)
    assert (margin.final_difference == 0).all()
    assert (margin.cells_changed == 0).all()
    assert np.isnan(margin.recovered).all()
    assert int(margin.region.sum()) > 100


def test_cells_changed_by_a_cut_are_those_of_the_body_within_it(static):
    body = bodies.disc()
    for name in CUTS:
        region = static.region.sel(wound=name).values
        assert (static.cells_changed.sel(wound=name) == (region & body).sum()).all()


def test_the_error_after_a_cut_is_what_the_target_lost(static):
    target = np.asarray(bodies.static_organism().padded_target())
    for name in CUTS:
        lost = np.square(target[static.region.sel(wound=name).values]).sum() / (72 * 72 * 4)
        np.testing.assert_allclose(static.mse_cut.sel(wound=name), lost, rtol=1e-4)


def test_pictures_show_the_first_run_before_after_and_at_the_end(static):
    assert (static.picture_cut.sel(wound="left")[:, :12] == 0).all()
    np.testing.assert_array_equal(static.picture_cut, static.picture_end)
    np.testing.assert_array_equal(static.picture_before, static.picture_control)


def test_a_cut_is_measured_at_the_step_asked_for_and_on_the_way(static):
    assert static.step.values.tolist() == [10, 30, 50]
    assert static.mse.dims == ("wound", "run", "step")


def test_without_a_target_the_uncut_control_is_the_reference():
    cuts = five_cuts(bodies.static_organism(target=False), runs=2, adult_step=10, eval_steps=20)
    assert cuts.attrs["reference"] == "control"
    assert (cuts.mse_control == 0).all()
    np.testing.assert_allclose(cuts.recovered.sel(wound=list(CUTS)), 0.0, atol=1e-6)


def test_a_body_that_fills_its_canvas_has_no_margin_to_cut():
    cuts = five_cuts(bodies.static_organism(radius=40.0), runs=1, adult_step=4, eval_steps=20)
    assert cuts.wound.values.tolist() == list(CUTS)


def test_a_cut_through_nothing_is_not_defined():
    organism = bodies.static_organism()
    corner = np.zeros((24, 24, 6), np.float32)
    corner[1:4, 1:4] = np.asarray(organism.seed)[10:13, 10:13]
    aside = Organism(organism.rule, seed=corner, canvas=(24, 24), target=corner[..., :4].clip(0, 1))
    cuts = five_cuts(aside, runs=1, adult_step=4, eval_steps=20)
    assert np.isnan(cuts.recovered.sel(wound=["right", "bottom", "centre"])).all()
    np.testing.assert_allclose(cuts.recovered.sel(wound=["left", "top"]), 0, atol=1e-6)


def test_an_explosion_has_no_recovered_fraction():
    cuts = five_cuts(bodies.exploding_organism(), runs=1, adult_step=4, eval_steps=60)
    halves = cuts.sel(wound=["left", "right", "top", "bottom"])  # the central box takes it all
    assert (halves.exploded > 0).all()
    assert np.isnan(halves.recovered).all()


def test_the_outcome_is_measured_after_the_cut():
    with pytest.raises(nca.UserError, match="after the cut"):
        five_cuts(bodies.static_organism(), runs=1, adult_step=20, eval_steps=0)


def test_every_run_needs_its_masks():
    with pytest.raises(nca.UserError, match="fire masks"):
        five_cuts(bodies.static_organism(), runs=2, fire=np.ones((1, 700, 24, 24), bool))


def test_a_published_gecko_regenerates_as_an_independent_implementation_says(published):
    name = "distill-gecko-regenerating"
    organism = load_published(published, name).organism
    picture = np.asarray(Image.open(published / name / "target.png"), np.float32) / 255
    gecko = Organism(organism.rule, canvas=organism.canvas, target=picture, name=name)
    fire = np.random.Generator(np.random.PCG64(1)).random((700, 72, 72)) <= 0.5
    cuts = five_cuts(gecko, runs=1, fire=fire[None])
    expected = json.loads((published / "expected.json").read_text())[name]["regeneration"]
    for name, values in expected.items():
        cut = cuts.sel(wound=name, run=0)
        assert float(cut.mse_cut) == pytest.approx(values["E_cut"][1], rel=1e-3)
        assert float(cut.mse_end) == pytest.approx(values["E_end"][1], rel=2e-2)
        assert float(cut.mse_control[-1]) == pytest.approx(values["E_twin_end"][1], rel=2e-2)
        assert float(cut.recovered) == pytest.approx(values["recovered"][1], abs=1e-3)
    assert (cuts.final_difference.sel(wound=MARGIN) == 0).all()


def test_a_report_card_holds_plain_numbers_that_a_file_can_hold():
    card = report_card(bodies.static_organism(), runs=2)
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["log10_mse"] == {"96": -6.0, "200": -6.0, "700": -6.0, "2000": -6.0}
    assert set(card["mature_cells"].values()) == {149.0}
    assert set(card["recovered"]) == set(CUTS)
    for cut in card["recovered"].values():
        assert cut["median"] == pytest.approx(0, abs=1e-5)
        assert len(cut["runs"]) == 2


def test_a_report_card_says_none_where_nothing_is_defined():
    card = report_card(bodies.fading_organism(target=False), runs=1)
    assert json.dumps(card, allow_nan=False)
    assert card["log10_mse"]["200"] is None
    assert card["mature_cells"]["200"] == 0
    assert card["recovered"]["left"] == {"median": None, "runs": [None], "displaced": [None]}

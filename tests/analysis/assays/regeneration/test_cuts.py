"""Cuts: against an independent implementation, and on bodies that cannot heal, die or have no margin."""

import json

import numpy as np
import pytest
from helpers import bodies
from helpers import published as others
from PIL import Image

import nca
from analysis.assays.regeneration import regeneration
from nca.damage import CUTS
from nca.organism import Organism


@pytest.fixture(scope="module")
def standing():
    return regeneration.five_cuts(bodies.static_organism(), runs=2, cut_at=10, until=50)


def test_a_body_that_keeps_what_it_has_recovers_nothing(standing):
    np.testing.assert_allclose(standing.recovered.sel(wound=list(CUTS)), 0.0, atol=1e-5)


def test_the_cut_in_the_empty_margin_changes_nothing_at_all(standing):
    control = standing.sel(wound=regeneration.MARGIN)
    assert (control.changed == 0).all()
    assert (control.touched == 0).all()
    assert np.isnan(control.recovered).all()
    assert int(standing.region.sel(wound=regeneration.MARGIN).sum()) > 100


def test_cells_touched_by_a_cut_are_those_of_the_body_within_it(standing):
    body = bodies.disc()
    for name in CUTS:
        region = standing.region.sel(wound=name).values
        assert (standing.touched.sel(wound=name) == (region & body).sum()).all()


def test_the_error_of_a_cut_is_what_the_target_lost(standing):
    target = np.asarray(bodies.static_organism().padded_target())
    for name in CUTS:
        lost = np.square(target[standing.region.sel(wound=name).values]).sum() / (72 * 72 * 4)
        np.testing.assert_allclose(standing.e_cut.sel(wound=name), lost, rtol=1e-4)


def test_pictures_show_the_first_run_before_after_and_at_the_end(standing):
    assert (standing.picture_cut.sel(wound="left")[:, :12] == 0).all()
    np.testing.assert_array_equal(standing.picture_cut, standing.picture_end)
    np.testing.assert_array_equal(standing.picture_before, standing.picture_twin)


def test_a_cut_is_judged_at_the_step_asked_for_and_watched_on_the_way(standing):
    assert standing.time.values.tolist() == [10, 30, 50]
    assert standing.e.dims == ("wound", "run", "time")


def test_without_a_target_the_uncut_twin_is_the_measure():
    found = regeneration.five_cuts(bodies.static_organism(target=False), runs=2, cut_at=10, until=30)
    assert found.attrs["reference"] == "twin"
    assert (found.e_twin == 0).all()
    np.testing.assert_allclose(found.recovered.sel(wound=list(CUTS)), 0.0, atol=1e-6)


def test_a_body_that_fills_its_canvas_has_no_margin_to_cut():
    found = regeneration.five_cuts(bodies.static_organism(radius=40.0), runs=1, cut_at=4, until=24)
    assert found.wound.values.tolist() == list(CUTS)


def test_a_cut_through_nothing_is_not_defined():
    body = bodies.static_organism()
    corner = np.zeros((24, 24, 6), np.float32)
    corner[1:4, 1:4] = np.asarray(body.seed)[10:13, 10:13]
    aside = Organism(body.rule, seed=corner, canvas=(24, 24), target=corner[..., :4].clip(0, 1))
    found = regeneration.five_cuts(aside, runs=1, cut_at=4, until=24)
    assert np.isnan(found.recovered.sel(wound=["right", "bottom", "centre"])).all()
    np.testing.assert_allclose(found.recovered.sel(wound=["left", "top"]), 0, atol=1e-6)


def test_an_explosion_has_no_recovered_fraction():
    found = regeneration.five_cuts(bodies.exploding_organism(), runs=1, cut_at=4, until=64)
    halves = found.sel(wound=["left", "right", "top", "bottom"])  # the central box takes it all
    assert (halves.exploded > 0).all()
    assert np.isnan(halves.recovered).all()


def test_the_end_must_follow_the_cut():
    with pytest.raises(nca.UserError, match="after the cut"):
        regeneration.five_cuts(bodies.static_organism(), runs=1, cut_at=20, until=20)


def test_every_run_needs_its_masks():
    with pytest.raises(nca.UserError, match="fire masks"):
        regeneration.five_cuts(bodies.static_organism(), runs=2, fire=np.ones((1, 700, 24, 24), bool))


def test_a_published_gecko_heals_as_an_independent_implementation_says(published):
    name = "distill-gecko-regenerating"
    found = others.load_published(published, name).organism
    picture = np.asarray(Image.open(published / name / "target.png"), np.float32) / 255
    gecko = Organism(found.rule, canvas=found.canvas, target=picture, name=name)
    fire = np.random.Generator(np.random.PCG64(1)).random((700, 72, 72)) <= 0.5
    wounds = regeneration.five_cuts(gecko, runs=1, fire=fire[None])
    expected = json.loads((published / "expected.json").read_text())[name]["regeneration"]
    for cut, known in expected.items():
        one = wounds.sel(wound=cut, run=0)
        assert float(one.e_cut) == pytest.approx(known["E_cut"][1], rel=1e-3)
        assert float(one.e_end) == pytest.approx(known["E_end"][1], rel=2e-2)
        assert float(one.e_twin[-1]) == pytest.approx(known["E_twin_end"][1], rel=2e-2)
        assert float(one.recovered) == pytest.approx(known["recovered"][1], abs=1e-3)
    assert (wounds.changed.sel(wound=regeneration.MARGIN) == 0).all()


def test_a_report_card_holds_plain_numbers_that_a_file_can_hold():
    card = regeneration.report_card(bodies.static_organism(), runs=2)
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["log10_error"] == {"96": -6.0, "200": -6.0, "700": -6.0, "2000": -6.0}
    assert set(card["mature_cells"].values()) == {149.0}
    assert set(card["recovered"]) == set(CUTS)
    for cut in card["recovered"].values():
        assert cut["median"] == pytest.approx(0, abs=1e-5)
        assert len(cut["keys"]) == 2


def test_a_report_card_says_none_where_nothing_is_defined():
    card = regeneration.report_card(bodies.fading_organism(target=False), runs=1)
    assert json.dumps(card, allow_nan=False)
    assert card["log10_error"]["200"] is None
    assert card["mature_cells"]["200"] == 0
    assert card["recovered"]["left"] == {"median": None, "keys": [None]}

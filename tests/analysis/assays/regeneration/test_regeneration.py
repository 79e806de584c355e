"""Regeneration as a whole: planted times, bodies that keep, lose, fill or miss what a wound takes."""

import numpy as np
import pytest
import xarray as xr
from helpers import bodies

import nca
from analysis.assays.regeneration import regeneration
from analysis.assays.regeneration import section as healing_section
from analysis.assays.regeneration import wounds as healing
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.regeneration.regeneration import MARGIN
from analysis.paired import run_edited
from nca.damage import CUTS
from nca.organism import Organism

SMALL = {
    "runs": 2,
    "cut_at": 10,
    "until": 50,
    "angles": 4,
    "radii": (3.0,),
    "places": 6,
    "late": 110,
    "late_runs": 1,
}


def quiet(line):
    """Nobody listens."""


@pytest.fixture(scope="module")
def standing():
    return healing.heal(bodies.static_organism(), RegenerationConfig(**SMALL), quiet)


def planted(courses, marks):
    """Wounds whose recovered fractions at every mark are known; E after the cut is 1, of the twin 0."""
    e = 1 - np.asarray(courses, float)[None]
    runs = range(e.shape[1])
    return xr.Dataset(
        {
            "e": (("wound", "run", "time"), e),
            "e_cut": (("wound", "run"), e[:, :, 0]),
            "e_twin": (("run", "time"), np.zeros(e.shape[1:])),
            "recovered": (("wound", "run"), np.asarray(courses, float)[None, :, -1]),
        },
        {"wound": ["planted"], "run": list(runs), "time": marks},
    )


def test_the_time_to_heal_is_the_first_mark_past_nine_tenths():
    found = planted([[0, 0.5, 0.95, 1], [0, 0.2, 0.5, 0.8], [0, 0.91, 0.2, 0.3]], [200, 220, 240, 260])
    steps, censored = healing.time_to_heal(found)
    np.testing.assert_array_equal(steps, [[40, 60, 20]])
    np.testing.assert_array_equal(censored, [[False, True, False]])


def test_what_is_not_defined_has_no_time_to_heal():
    found = planted([[0, 0.5, np.nan]], [200, 220, 240])
    assert np.isnan(healing.time_to_heal(found)[0]).all()


def test_survival_is_the_kaplan_meier_estimate_worked_out_by_hand():
    steps = np.array([20.0, 20.0, 60.0, 100.0])
    times, share, low, high = healing.survival(steps, np.array([False, False, False, True]))
    np.testing.assert_allclose(times, [0, 20, 60, 100])
    np.testing.assert_allclose(share, [1, 0.5, 0.25, 0.25])
    assert (low[1:3] < share[1:3]).all()
    assert (share[1:3] < high[1:3]).all()


def test_survival_of_nobody_is_empty():
    assert healing.survival(np.full(3, np.nan), np.ones(3, bool))[0].size == 0


def test_keys_that_part_are_named():
    assert healing.bistable(np.array([0.98, -2.09, 0.92]))
    assert not healing.bistable(np.array([0.7, 0.95, 0.92]))
    assert not healing.bistable(np.array([-3.0, 0.1, np.nan]))


def test_a_body_that_keeps_what_it_has_heals_nothing(standing):
    rows = healing.table(standing.cuts).set_index("wound").loc[list(CUTS)]
    np.testing.assert_allclose(rows.recovered, 0, atol=1e-5)
    assert (rows.healed_runs == 0).all()
    assert rows.steps_to_90.isna().all()
    assert (rows.overshoot == 0).all()
    assert (standing.fates.fate.sel(wound=["bottom", "top", "right", "left"]) == "scarred").all()
    assert (standing.fates.fate.sel(wound="centre") == "died").all()  # the box takes all of it
    assert (standing.fates.fate_twin == "keeps its body").all()


def test_the_control_cut_changes_nothing_and_is_said_to(standing):
    assert healing.margin_changed(standing.cuts) == 0
    assert any("exactly nothing" in f.text for f in healing_section.section([standing]).claims)
    assert (standing.fates.fate.sel(wound=MARGIN) == "not defined").all()


def test_half_planes_take_the_share_of_the_body_that_they_say(standing):
    body = bodies.disc()
    for wound in range(standing.planes.sizes["wound"]):
        one = standing.planes.isel(wound=wound)
        taken = (one.region.values & body).sum()
        assert float(one.removed) == pytest.approx(taken / body.sum())
        assert int(one.touched[0]) == taken
    opposite = standing.planes.removed.sel(wound=["0 degrees, +0 cells", "180 degrees, +0 cells"])
    assert opposite.sum() <= 1


def test_holes_lie_on_the_body_some_so_many_of_them():
    body = bodies.ellipse()
    found = healing.holes_in(body, (2.0, 5.0), 12)
    assert 2 * 8 <= len(found) <= 2 * 18
    assert all(body[int(n["at_y"]), int(n["at_x"])] for _, n in found.values())


def test_a_hole_that_is_larger_than_the_body_takes_it_all():
    found = healing.heal(bodies.static_organism(radius=3.0), RegenerationConfig(**{**SMALL, "radii": (9.0,)}), quiet)
    assert found.holes.removed.max() == 1
    assert (found.holes.recovered <= 1e-5).all()


def test_runs_that_explode_are_not_left_out_of_the_median(monkeypatch):
    def followed(*args):
        found = run_edited(*args)
        found["exploded"][:] = np.tile([-1, 30, 30], len(found["exploded"]) // 3)
        found["final_states"][found["exploded"] < 0] = args[1].final_states[0]  # the others heal
        found["mse"][found["exploded"] < 0, -1] = 0
        return found

    monkeypatch.setattr(regeneration, "follow", followed)
    config = RegenerationConfig(**{**SMALL, "runs": 3, "angles": 0, "radii": (), "late": 0})
    found = healing.heal(bodies.static_organism(), config, quiet)
    told = healing_section.section([found]).claims[0]
    assert told.text == "standing heals 0 of 5 cuts by 90 % or more."
    assert "bottom exploded, two fates: keys 1, 2 below 0.5" in told.evidence
    steps, censored = healing.time_to_heal(found.cuts)
    assert np.isfinite(steps[:5]).all()
    assert censored[:5, 1:].all()


def test_sections_hold_every_key_and_every_figure_of_several_organisms(standing):
    late = RegenerationConfig(**{**SMALL, "cut_at": 40, "until": 60})
    other = healing.heal(bodies.fading_organism(), late, quiet)
    told = healing_section.section([standing, other])
    assert len(told.tables["five-cuts"]) == len(CUTS) + 1
    assert {"key 0", "key 1", "bistable", "steps_to_90"} <= set(told.tables["five-cuts"])
    assert set(told.tables["late-fates"].fate) == {"scarred", "died"}
    assert [d.name for d in told.figures] == [
        "five-cuts",
        "cut-portraits",
        "time-to-heal",
        "half-planes",
        "wound-map",
    ]
    assert any(line.startswith("fading: It has no mature cell at step 40") for line in told.skipped)


def test_a_body_lost_uncut_is_not_defined_and_costs_no_sweep():
    slow = np.zeros(6)
    slow[3] = -0.045
    fading = bodies.static_organism(bias=slow).rename("slowly fading")
    found = healing.heal(fading, RegenerationConfig(**SMALL), quiet)
    assert not found.planes
    told = healing_section.section([found])
    assert "not defined after any cut" in told.claims[0].text
    assert "uncut twin itself has lost the body" in told.skipped[0]
    assert told.figures


def test_an_exploding_organism_is_said_to():
    found = healing.heal(bodies.exploding_organism(), RegenerationConfig(**{**SMALL, "cut_at": 40, "until": 60}), quiet)
    assert "exploded" in found.trouble
    assert not healing_section.section([found]).claims


def test_a_body_that_fills_its_canvas_has_no_control():
    config = RegenerationConfig(**{**SMALL, "angles": 0, "radii": (), "late": 0})
    found = healing.heal(bodies.static_organism(radius=40.0, channels=2), config, quiet)
    told = healing_section.section([found])
    assert any("no empty margin" in f.text for f in told.claims)
    assert [d.name for d in told.figures] == ["five-cuts", "cut-portraits", "time-to-heal"]


def test_one_living_cell_is_cut_or_spared():
    config = RegenerationConfig(**{**SMALL, "late": 0})
    one = np.full((1, 1, 6), 0.9, np.float32)
    cell = Organism(bodies.static_organism().rule, seed=one, canvas=(24, 24), target=one[..., :4], name="cell")
    found = healing.heal(cell, config, quiet)
    keys = found.cuts.recovered.sel(wound=["right", "bottom", "left", "top"])
    assert np.isnan(keys.sel(wound=["left", "top"])).all()  # it lies right of and below the middle
    np.testing.assert_allclose(keys.sel(wound=["right", "bottom"]), 0, atol=1e-6)
    assert not found.planes
    assert found.holes.sizes["wound"] == 1
    healing_section.section([found])


def test_full_raises_what_was_left_alone_and_nothing_else():
    config = RegenerationConfig(full=True, angles=4).filled()
    assert (config.runs, config.sweep_runs, config.angles) == (16, 8, 4)
    assert RegenerationConfig(runs=4).filled().runs == 4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"until": 100}, "after cut_at"),
        ({"late": 500}, "or be 0"),
        ({"runs": 1}, "ask for fewer"),
        ({"radii": (0.0,)}, "above 0"),
        ({"places": 0}, "at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(nca.UserError, match=says):
        RegenerationConfig(**wrong)

"""Regeneration of bodies that keep, lose, fill or miss what a wound takes: runs, report, options and the command."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import bodies, figures

import nca
from analysis.assays.regeneration import cuts, plots
from analysis.assays.regeneration.config import RENAMED_OPTIONS, RegenerationConfig
from analysis.assays.regeneration.cuts import MARGIN
from analysis.assays.regeneration.recovery_time import recovery_times, wound_table
from analysis.assays.regeneration.report import sections
from analysis.assays.regeneration.run import run
from analysis.cli.main import main
from analysis.geometry import hole_grid
from analysis.paired import run_edited
from analysis.report.model import svg_figure
from analysis.report.plots import style
from nca.damage import CUTS
from nca.organism import Organism

SMALL = {
    "runs": 2,
    "adult_step": 10,
    "eval_steps": 40,
    "angles": 4,
    "radii": (3.0,),
    "map_points": 6,
    "follow_up_step": 110,
    "follow_up_runs": 1,
}
CUTS_ONLY = SMALL | {"angles": 0, "radii": (), "follow_up_step": 0}


@pytest.fixture(scope="module")
def static():
    return run(bodies.static_organism(), RegenerationConfig(**SMALL))


def section_of(*results):
    (section,) = sections(results)
    return section


def test_what_is_claimed_of_a_body_that_keeps_what_it_has(static):
    assert [claim.text for claim in section_of(static).claims] == [
        "standing recovers 90 % or more of the damage within 40 steps after 0 of 5 cuts (median of 2 runs).",
        "standing: by step 110, 0 of 5 cut runs have regenerated (1 died, 4 scarred).",
        "standing recovers 90 % or more of the damage after 0 of 20 half planes (median of 2 runs); the worst recovers "
        "0.00.",
        "standing recovers 90 % or more of the damage after 0 of 5 holes (median of 2 runs); the worst recovers 0.00.",
        "standing: a cut in the empty margin changes nothing.",
    ]


def test_it_is_reported_in_how_many_runs_every_cut_regenerates(static):
    recovered = static.cuts.recovered.copy()
    recovered.loc[{"wound": ["top", "left"]}] = 0.95
    every = replace(static, cuts=static.cuts.assign(recovered=recovered))
    assert section_of(every).claims[0].text.endswith("after 2 of 5 cuts (median of 2 runs; so does every run).")
    recovered = recovered.copy()
    recovered.loc[{"wound": "left"}] = [0.86, 0.96]
    one = replace(static, cuts=static.cuts.assign(recovered=recovered))
    assert (
        section_of(one)
        .claims[0]
        .text.endswith("after 2 of 5 cuts (median of 2 runs; 1 of the 2 do so after all of these).")
    )


def test_a_whole_body_that_stands_elsewhere_is_called_displaced(static):
    moved = static.cuts.recovered_displaced.copy()
    moved.loc[{"wound": ["top", "left"]}] = [[1.0, 0.4], [0.95, 0.2]]
    cells = static.cuts.displacement.copy()
    cells.loc[{"wound": "top"}], cells.loc[{"wound": "left"}] = [1, -1], [0, 3]
    claim = section_of(replace(static, cuts=static.cuts.assign(recovered_displaced=moved, displacement=cells))).claims[
        0
    ]
    assert claim.text.endswith(" Of the 10 cut bodies with less, 2 grow back whole, displaced by 1 to 3 cells.")
    assert claim.numbers["displaced"] == 2
    assert "displaced" not in section_of(static).claims[0].text


def test_a_body_that_keeps_what_it_has_regenerates_nothing(static):
    rows = wound_table(static.cuts).set_index("wound").loc[list(CUTS)]
    np.testing.assert_allclose(rows.recovered, 0, atol=1e-5)
    assert (rows.regenerated_runs == 0).all()
    assert rows.steps_to_90.isna().all()
    assert (rows.overshoot == 0).all()
    fate = static.follow_up.fate
    assert (fate.sel(wound=["bottom", "top", "right", "left"]) == "scarred").all()
    assert (fate.sel(wound="centre") == "died").all()  # the box takes all of it
    assert static.follow_up.control_has_body.all()


def test_the_cut_in_the_empty_margin_changes_nothing(static):
    assert (static.cuts.final_difference.sel(wound=MARGIN) == 0).all()
    assert section_of(static).claims[-1].numbers["final_difference"] == 0
    assert (static.follow_up.fate.sel(wound=MARGIN) == "not defined").all()


def test_half_planes_remove_the_share_of_the_body_that_they_say(static):
    body, planes = bodies.disc(), static.half_planes
    for wound in range(planes.sizes["wound"]):
        plane = planes.isel(wound=wound)
        taken = (plane.region.values & body).sum()
        assert float(plane.removed) == pytest.approx(taken / body.sum())
        assert int(plane.cells_changed[0]) == taken
    opposite = planes.removed.sel(wound=["0 degrees, +0 cells", "180 degrees, +0 cells"])
    assert opposite.sum() <= 1


def test_holes_lie_on_the_body_about_as_many_as_asked_for():
    body = bodies.ellipse()
    holes = hole_grid(body, (2.0, 5.0), 12)
    assert 2 * 8 <= len(holes) <= 2 * 18
    assert all(body[int(n["centre_y"]), int(n["centre_x"])] for _, n in holes.values())


def test_a_hole_that_is_larger_than_the_body_removes_it_all():
    config = RegenerationConfig(**SMALL | {"radii": (9.0,)})
    holes = run(bodies.static_organism(radius=3.0), config).holes
    assert holes.removed.max() == 1
    assert (holes.recovered <= 1e-5).all()


def test_runs_that_explode_are_not_left_out_of_the_median(monkeypatch):
    def explode_two_of_three(*args):
        edited = run_edited(*args)
        edited["exploded"][:] = np.tile([-1, 30, 30], len(edited["exploded"]) // 3)
        edited["final_states"][edited["exploded"] < 0] = args[1].final_states[0]  # the others regenerate
        edited["mse"][edited["exploded"] < 0, -1] = 0
        return edited

    monkeypatch.setattr(cuts, "run_edited", explode_two_of_three)
    result = run(bodies.static_organism(), RegenerationConfig(**CUTS_ONLY | {"runs": 3}))
    claim = section_of(result).claims[0]
    assert claim.numbers["regenerated"] == []
    assert "bottom (runs 1, 2)" in claim.note
    assert wound_table(result.cuts).recovered[0] == -np.inf
    times, censored = recovery_times(result.cuts)
    assert np.isfinite(times[:5]).all()
    assert censored[:5, 1:].all()


def test_a_section_holds_every_run_and_every_figure_of_several_organisms(static):
    late = RegenerationConfig(**SMALL | {"adult_step": 40, "eval_steps": 20})
    section = section_of(static, run(bodies.fading_organism(), late))
    assert len(section.tables["five-cuts"]) == len(CUTS) + 1
    assert {"run 0", "run 1", "bistable", "steps_to_90"} <= set(section.tables["five-cuts"])
    assert len(section.tables["cut-runs"]) == 2 * (len(CUTS) + 1)
    assert set(section.tables["follow-up"].fate) == {"scarred", "died"}
    names = ["five-cuts", "cut-portraits", "time-to-regenerate", "half-planes", "wound-map"]
    assert [figure.name for figure in section.figures] == names
    assert any("fading" in reason and "no mature cell" in reason for reason in section.skipped)


def test_two_organisms_share_tables_and_figures(static):
    section = section_of(static, static)
    assert len(section.tables["five-cuts"]) == 2 * (len(CUTS) + 1)
    assert len(section.figures) == 5
    assert len(section.data) == 2


def test_where_the_control_loses_its_body_nothing_is_defined_and_nothing_mapped():
    slow = np.zeros(6)
    slow[3] = -0.045
    result = run(bodies.static_organism(bias=slow), RegenerationConfig(**SMALL))
    assert not result.half_planes
    section = section_of(result)
    assert "not defined after any cut" in section.claims[0].text
    assert "control itself has lost the body" in section.skipped[0]
    assert section.figures


def test_an_organism_that_has_exploded_is_not_cut():
    result = run(bodies.exploding_organism(), RegenerationConfig(**SMALL | {"adult_step": 40, "eval_steps": 20}))
    assert "exploded" in result.no_body
    assert result.portrait is None
    assert not section_of(result).claims


def test_a_body_that_fills_its_canvas_has_no_control_cut():
    section = section_of(run(bodies.static_organism(radius=40.0, channels=2), RegenerationConfig(**CUTS_ONLY)))
    assert any("no empty margin" in claim.text for claim in section.claims)
    assert [figure.name for figure in section.figures] == ["five-cuts", "cut-portraits", "time-to-regenerate"]


def test_one_living_cell_is_cut_or_spared():
    one = np.full((1, 1, 6), 0.9, np.float32)
    rule = bodies.static_organism().rule
    cell = Organism(rule, seed=one, canvas=(24, 24), target=one[..., :4], name="cell")
    result = run(cell, RegenerationConfig(**SMALL | {"follow_up_step": 0}))
    recovered = result.cuts.recovered
    assert np.isnan(recovered.sel(wound=["left", "top"])).all()  # it lies right of and below the middle
    np.testing.assert_allclose(recovered.sel(wound=["right", "bottom"]), 0, atol=1e-6)
    assert not result.half_planes
    assert result.holes.sizes["wound"] == 1
    section_of(result)


def test_full_raises_what_was_left_at_its_default_and_nothing_else():
    config = RegenerationConfig(full=True, angles=4).filled()
    assert (config.runs, config.map_runs, config.angles) == (16, 8, 4)
    assert RegenerationConfig(runs=4).filled().runs == 4


def test_the_quick_configuration_is_the_five_cuts_only():
    result = run(bodies.static_organism(), RegenerationConfig(**CUTS_ONLY))
    assert not result.half_planes
    assert not result.holes
    assert not result.follow_up
    quick = RegenerationConfig.quick()
    assert (quick.angles, quick.radii, quick.follow_up_step) == (0, (), 0)
    assert (quick.runs, quick.adult_step, quick.eval_steps) == (8, 0, 500)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eval_steps": 0}, "at least 1"),
        ({"follow_up_step": 500}, "or be 0"),
        ({"runs": 1}, "ask for fewer"),
        ({"radii": (0.0,)}, "above 0"),
        ({"map_points": 0}, "at least 1"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(nca.UserError, match=message):
        RegenerationConfig(**wrong)


def test_options_of_before_name_their_successors(capsys):
    for old, new in RENAMED_OPTIONS.items():
        assert main(["regenerate", "lizard", old, "1"]) == 2
        assert new in capsys.readouterr().err


@pytest.mark.filterwarnings("error:Glyph")
def test_labels_of_many_organisms_do_not_overprint(static):
    many = figures.renamed(static, figures.NAMES[:9])
    few = [(plots._plot_portraits, many[:3])]
    rest = (plots._plot_cuts, plots._plot_recovery_times, plots._plot_half_planes, plots._plot_wound_map)
    for plot, results in few + [(plot, many) for plot in rest]:
        with style():
            figure = svg_figure("labels", *plot(results)).figure
        assert not figures.overprinted(figure)

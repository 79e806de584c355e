"""All lesion experiments on a hand-made organism, their options, and the command."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from helpers import bodies, planted
from helpers.specimens import SMALL

import nca
from analysis.assays.lesions.config import RENAMED_OPTIONS, CutName, Intervention, LesionConfig
from analysis.assays.lesions.gallery import plot_gallery
from analysis.assays.lesions.interventions import INTERVENTIONS
from analysis.assays.lesions.report import claims, sections
from analysis.assays.lesions.run import run
from analysis.cli.main import main
from nca.damage import CUTS


@pytest.fixture(scope="module")
def result():
    return run(planted.relations(), SMALL)


def test_everything_finds_what_was_planted_and_the_control_channel_shows_nothing(result):
    assert not result.skipped
    control = result.atlas_runs[result.atlas_runs.role == "control"]
    assert (control.side_effect == 0).all()
    np.testing.assert_allclose(control.fitness, 1, atol=1e-6)
    assert set(result.atlas.phase) == {"growing", "adult", "regenerating"}
    assert set(result.atlas.target_type) == {"channel", "filter", "units", "unit", "direction"}
    top = result.pairs.iloc[0]
    assert {top.a, top.b} == {"h0", "h1"}
    assert top.epsilon == pytest.approx(-1, abs=1e-5)
    assert result.portrait.shape == (24, 24, 4)


def test_what_is_claimed_of_a_hand_made_organism(result):
    assert [claim.text for claim in claims(result)] == [
        "0 of 8 hidden units can be held at zero for 20 steps without harm (fitness at least 0.95); unit 1 is needed "
        "most: fitness 0.80 without it.",
        "2 of 2 groups of hidden units can be held at their mean for 20 steps without harm (fitness at least 0.95); "
        "2 to r is needed most: fitness 1.00 without it.",
        "3 of 3 filters of the perception can be held at their mean for 20 steps without harm (fitness at least 0.95); "
        "identity is needed most: fitness 1.00 without it.",
        "When one hidden channel decays by 20 % per step, losing h6 hurts most: fitness 0.00 after 20 steps "
        "(1: as the control, 0: an empty canvas), in the trained basis.",
        "1 of 2 lasting interventions find h6 to be needed most; between two of them the rank correlation of fitness "
        "is 0.93 (median; 0 = no agreement).",
        "Losing 20 % of a hidden channel per step costs half of the fitness or more for 2 of 9 (growing), 2 of 9 "
        "(adult), 2 of 9 (regenerating).",
        "4 of 9 hidden channels can be set to zero once without harm 20 steps later (fitness at least 0.95); h6 does "
        "worst, with 0.00.",
        "0 of 314 lesions make the body overgrow in some run, and 0 make it explode.",
        "0 of 36 pairs of hidden channels back each other up, in the trained basis.",
        "5 of 9 hidden channels have a critical period: ablating the channel before or after it reduces fitness.",
        "The other hidden channels repair a part of the loss of 0 of 5 channels and make it worse for 0; for 0 of 5 "
        "they repair more than after as large a change elsewhere in the channel.",
        "Lesions of a control channel, which every cell writes and none reads, change nothing.",
    ]


def test_the_section_holds_claims_figures_and_every_number(result):
    (section,) = sections([result])
    names = ("channels", "gallery", "atlas", "doses", "targets", "pairs", "periods", "repair")
    assert [figure.name for figure in section.figures] == [f"lesion-{name}" for name in names]
    assert all(figure.svg.startswith("<?xml") and figure.caption for figure in section.figures)
    assert {"lesion-atlas", "lesion-runs", "lesion-pairs", "lesion-periods", "lesion-repair"} <= set(section.tables)
    text = " ".join(claim.text + claim.note for claim in section.claims) + section.method
    assert "nan" not in text.lower()
    for claim in section.claims:
        assert claim.text.endswith(".")
        assert claim.assay == "lesions"
        assert len(claim.evidence)
    one, two = sections([result, result])
    assert not {f.name for f in one.figures} & {f.name for f in two.figures}
    assert not set(one.tables) & set(two.tables)


def test_the_gallery_shows_the_bodies_that_the_worst_lesions_leave(result):
    adult = result.atlas[result.atlas.phase == "adult"]
    assert len(result.pictures) == len(adult.drop_duplicates(["target_type", "target", "intervention", "dose"]))
    for lesion, body in result.pictures:
        if lesion.role == "control":
            np.testing.assert_allclose(body, result.portrait, atol=1e-6)  # this body stands still
    figure, caption = plot_gallery(result)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    worst = [float(title.split("\n")[1].replace("−", "-")) for title in titles[1:]]
    assert worst == sorted(worst)
    assert worst[0] == pytest.approx(adult[adult.role == "alpha"].fitness.min(), abs=0.01)
    assert f"the {len(worst)} lesions" in caption


def test_the_quick_configuration_is_the_same_atlas_with_fewer_lesions(result):
    config = replace(SMALL, **{n: getattr(LesionConfig.quick(), n) for n in ("methods", "phases", "targets")})
    quick = run(planted.relations(), replace(config, interventions=LesionConfig.quick().interventions))
    rows = result.atlas.merge(quick.atlas, on=["phase", "target", "intervention", "dose", "eval_step"])
    assert len(rows) == len(quick.atlas)
    np.testing.assert_allclose(rows.fitness_x, rows.fitness_y, atol=1e-6)
    figures = [figure.name for figure in sections([quick])[0].figures]
    assert figures == ["lesion-channels", "lesion-gallery", "lesion-atlas", "lesion-doses", "lesion-targets"]


def test_full_makes_every_intervention_in_every_phase():
    config = replace(SMALL, methods=("atlas",), full=True, targets=("channel", "unit"), doses=(0.05,), noise_sd=(0.3,))
    atlas = run(bodies.static_organism(), config).atlas
    for phase in ("growing", "adult", "regenerating"):
        assert set(atlas[atlas.phase == phase].intervention) == set(INTERVENTIONS)
    assert "unit 0" in set(atlas.target)


def test_a_body_that_dies_is_a_stated_outcome():
    config = replace(SMALL, adult_step=40, growing_step=2, methods=("atlas", "epistasis"))
    result = run(bodies.fading_organism(), config)
    assert "no mature cell" in result.skipped["epistasis"]
    assert "no mature cell" in result.skipped["adult"]
    assert set(result.atlas.phase) == {"growing"}
    assert any("no mature cell" in reason for reason in sections([result])[0].skipped)


def test_two_channels_have_no_control_channel_and_no_hidden_channel():
    result = run(bodies.static_organism(channels=2), replace(SMALL, methods=("epistasis", "self-repair")))
    assert "two channels" in result.skipped["epistasis"]
    assert "two hidden channels" in result.skipped["self-repair"]
    assert any("no control channel" in claim.text for claim in sections([result])[0].claims)


def test_options_of_before_name_their_successors(capsys):
    for old, new in RENAMED_OPTIONS.items():
        assert main(["lesion", "lizard", old, "1"]) == 2
        assert new in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        {"doses": (0.5, 0.1)},
        {"doses": (1.0,)},
        {"doses": ()},
        {"noise_sd": (0.0,)},
        {"eval_steps": (300, 60)},
        {"eval_steps": ()},
        {"cut": "middle"},
        {"methods": ()},
        {"interventions": ("unknown",)},
        {"runs": 0},
        {"period_spacing": 100},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_in_a_sentence(wrong):
    with pytest.raises(nca.UserError, match=next(iter(wrong))):
        LesionConfig(**wrong)


def test_full_fills_only_what_was_left_at_its_default():
    config = LesionConfig(full=True, runs=3).filled()
    assert config.runs == 3
    assert config.epistasis_runs == 16
    assert len(config.doses) == 6
    assert "unit" in config.targets


def test_the_choices_of_the_command_line_are_those_that_exist():
    assert set(get_args(CutName)) == set(CUTS)
    assert set(get_args(Intervention)) == set(INTERVENTIONS)

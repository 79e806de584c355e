"""Growth of bodies that stand, die, burst or hold next to nothing, as a dissection reports it."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from helpers import bodies

import nca
from analysis import metrics
from analysis.assays import ASSAYS
from analysis.dissection.config import ASSAY_NAMES, DissectConfig
from analysis.dissection.growth import _fate, growth_section, measure_growth
from nca.organism import Organism
from nca.rule import init_rule
from nca.spec import Spec

CONFIG = DissectConfig(runs=3, adult_step=40, follow_up_step=100, follow_up_runs=1)


def uniform():
    """A body whose hidden channels hold one value, or none."""
    body = bodies.static_organism()
    seed = np.array(body.seed)
    seed[..., 4], seed[..., 5] = 0.0, seed[..., 3] > 0
    return Organism(body.rule, seed=seed, canvas=body.canvas, target=body.target, name="uniform")


def single_cell():
    """A rule that changes nothing, from one cell."""
    return Organism(init_rule(jax.random.key(0), Spec(channels=6)), canvas=(24, 24), name="single")


@pytest.fixture(scope="module")
def standing():
    return measure_growth(bodies.static_organism(), CONFIG)


def test_runs_are_measured_from_the_seed_to_the_adult_step_and_some_beyond(standing):
    course, later = standing.time_course, standing.follow_up
    assert dict(course.sizes) == {"run": 3, "step": 3}
    assert course.step.values.tolist() == [0, 20, 40]
    assert later.step.values.tolist() == [40, 100]
    assert standing.recording.sizes["step"] == 41
    organism = bodies.static_organism()
    end = nca.trajectory(organism, 100, key=nca.run_key(0))[-1]
    expected = metrics.mse(organism.rule.spec, end, organism.padded_target())
    np.testing.assert_allclose(later.mse.values[0, -1], expected, atol=1e-9)


def test_without_a_follow_up_step_no_run_is_followed():
    growth = measure_growth(bodies.static_organism(), replace(CONFIG, follow_up_step=0))
    assert not growth.follow_up
    section = growth_section(growth)
    assert len(section.claims) == 1
    assert set(section.data) == {"growth"}


def test_the_claims_of_a_standing_disc_are_these(standing):
    body, later = growth_section(standing).claims
    assert body.text == "At step 40 the body has 149 cells and a log10 MSE of −6.00 (empty canvas: −2.02)."
    assert later.text == "Of the bodies left alone until step 100, 1 of 1 kept their size."
    assert later.numbers["fates"] == ["kept"]
    assert body.numbers["mature_cells"].tolist() == [149, 149, 149]
    rows = body.evidence.set_index("quantity").loc["mature cells"]
    assert (rows["value"], rows["low"], rows["high"], rows["n"], rows["unit"]) == (149, 149, 149, 3, "runs")


def test_the_section_holds_the_film_the_figures_and_every_number(standing):
    section = growth_section(standing)
    assert [figure.name for figure in section.figures] == ["growth", "time-course"]
    assert [film.name for film in section.films] == ["growth"]
    table = section.tables["growth"]
    assert list(table.columns) == ["run", "step", "mse_empty", "mature_cells", "mse", "log_mse"]
    assert len(table) == 9


def test_the_film_shows_every_step(standing, tmp_path):
    from PIL import Image

    (tmp_path / "growth.webp").write_bytes(growth_section(standing).films[0].webp)
    with Image.open(tmp_path / "growth.webp") as film:
        assert film.n_frames == 41


def test_runs_that_mostly_have_no_body_are_no_body_of_no_cells(standing):
    for cells, text in (
        ([90, 0, 0], "At step 40 there is no body in 2 of 3 runs."),
        ([90, 80, 0], "At step 40 the body has 80 cells and a log10 MSE of −6.00 (empty canvas: −2.02)."),
    ):
        course = standing.time_course.copy(deep=True)
        course.mature_cells.loc[{"step": 40}] = cells
        assert growth_section(replace(standing, time_course=course)).claims[0].text == text


ODD = {
    "fading": (bodies.fading_organism, "there is no body in 3 of 3 runs", "1 of 1 died"),
    "bursting": (bodies.exploding_organism, "149 cells", "1 of 1 exploded"),
    "uniform": (uniform, "149 cells", "1 of 1 kept their size"),
    "single cell": (single_cell, "the body has 1 cell.", "1 of 1 kept their size"),
    "two channels": (lambda: bodies.static_organism(channels=2), "149 cells", "1 of 1 kept their size"),
    "no hidden channel": (lambda: bodies.static_organism(channels=4), "149 cells", "1 of 1 kept their size"),
    "no target": (lambda: bodies.static_organism(target=False), "the body has 149 cells.", "1 of 1 kept their size"),
    "no margin": (lambda: bodies.static_organism(radius=40), "576 cells", "1 of 1 kept their size"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_organisms_have_claims_figures_and_a_film(name):
    make, body, later = ODD[name]
    section = growth_section(measure_growth(make(), CONFIG))
    assert body in section.claims[0].text
    assert later in section.claims[1].text
    assert len(section.figures) == 2
    assert section.films[0].webp[:4] == b"RIFF"
    note = "3 of 3 runs exploded (a value beyond 1,000)." if name == "bursting" else ""
    assert section.claims[0].note == note


@pytest.mark.parametrize(
    ("cells", "adult_cells", "exploded", "expected"),
    [
        (0, 100, False, "died"),
        (49, 100, False, "shrank"),
        (50, 100, False, "kept"),
        (200, 100, False, "kept"),
        (201, 100, False, "overgrew"),
        (100, 100, True, "exploded"),
    ],
)
def test_the_fate_of_a_body_follows_from_its_size(cells, adult_cells, exploded, expected):
    assert _fate(cells, adult_cells, exploded) == expected


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"runs": 0}, "at least 1"),
        ({"adult_step": 200, "follow_up_step": 200}, "must come after"),
        ({"follow_up_runs": 9}, "ask for fewer"),
        ({"assays": ("axes", "soul")}, "got soul"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(wrong, says):
    with pytest.raises(nca.UserError, match=says):
        DissectConfig(**wrong)


def test_short_and_full_dissections_make_the_same_assays_at_their_step_and_seed():
    short, full = (DissectConfig(seed=3, adult_step=60, full=full).assay_configs() for full in (False, True))
    assert tuple(full) == ASSAY_NAMES
    assert tuple(short) == tuple(assay.name for assay in ASSAYS if assay.first_look)
    for name in short:
        assert type(short[name]) is type(full[name])
        assert {short[name].seed, full[name].seed} == {3}
        assert {short[name].adult_step, full[name].adult_step} == {60}

"""Axes told in words and figures, by the command line too; organisms that have none are told of as well."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from helpers import bodies, codes

import analysis
from analysis.assays.axes import cause_words, component_figures
from analysis.assays.axes.comparison import comparison_section, one_run
from analysis.assays.axes.config import QUICK, AxesConfig
from analysis.assays.axes.examination import examine_axes
from analysis.assays.axes.sections import axes_sections, components_section, place_section
from analysis.cli import main as cli
from analysis.lineage import related
from analysis.recording import record
from analysis.report import plots
from analysis.report.model import Claim
from nca.errors import UserError
from nca.io import save
from nca.organism import Organism
from nca.rule import Rule

SMALL = {
    "runs": 2,
    "steps": 40,
    "surrogates": 19,
    "deals": 2,
    "permutations": 19,
    "course": 19,
    "randoms": 19,
}
BRIEF = replace(QUICK, runs=2, steps=3, surrogates=19, deals=2)


@pytest.fixture(scope="module")
def whole():
    """Everything of a small body whose code of x is read."""
    return examine_axes(codes.read_code(), AxesConfig(**SMALL, horizon=20, angles=(90,)))


def text_of(sections):
    return " ".join(f.text + " " + f.evidence for s in sections for f in s.claims)


def test_every_part_is_told_with_its_null_p_and_floor(whole):
    sections = axes_sections(whole)
    assert whole.skipped == {}
    assert [s.name for s in sections] == ["axes", "origin", "use", "compass"]
    for section in sections:
        assert section.claims
        assert section.figures
        assert section.method
        assert section.tables
        assert {f.assay for f in section.claims} == {section.name}
    told = text_of(sections)
    assert "19 surrogates (least possible p 0.050)" in told
    assert "left-right position (x)" in told
    assert "nan" not in told.lower().replace("nance", "")
    assert "grafts are the test of that" in told


def test_numbers_and_names_of_files_are_unique_and_finite_where_they_must_be(whole):
    sections = axes_sections(whole)
    drawn = [d.name for s in sections for d in s.figures]
    tables = [name for s in sections for name in s.tables]
    assert len(set(drawn)) == len(drawn)
    assert len(set(tables)) == len(tables)
    tests = sections[0].tables["tests"]
    assert np.isfinite(tests[["observed", "p", "q"]].to_numpy()).all()
    assert all(d.svg.startswith("<?xml") and d.caption for s in sections for d in s.figures)


def test_titles_of_the_component_maps_lie_within_the_figure_at_one_height(whole):
    for tests in (None, whole.tests):
        with plots.style():
            made, _ = component_figures.maps(whole.components, tests)
        made.draw_without_rendering()
        boxes = [ax.title.get_window_extent() for ax in made.axes if ax.get_title()]
        assert len(boxes) == 4
        assert max(box.y1 for box in boxes) <= made.bbox.y1
        assert np.ptp([box.y0 for box in boxes]) < 1


def test_a_radius_that_is_more_than_a_clock_is_told_with_its_numbers(whole):
    planted = whole.course.assign(r2=whole.course.r2 * 0 + 0.4, by_age=whole.course.r2 * 0 - 0.5)
    planted = planted.assign(over_age=planted.r2, p_age=planted.r2 * 0 + 0.05)
    said = cause_words.clock(planted, whole.tests)[0].text
    assert said.startswith("The radius is more than a clock: a cell’s age alone decodes it at R² −0.50")


def test_states_that_tell_less_than_a_guess_are_not_more_than_a_clock(whole):
    worse = whole.course.assign(r2=whole.course.r2 * 0 - 0.3, by_age=whole.course.r2 * 0 - 0.1)
    said = cause_words.clock(worse, whole.tests)[0].text
    assert said.startswith("It stays open whether the radius is a clock")


def test_a_code_stays_only_where_the_corrected_test_of_the_grown_body_finds_it(whole):
    course = whole.course.assign(r2=whole.course.r2 * 0 + 0.4, p=whole.course.p * 0 + 0.05)
    for q, begins in ((0.05, {str(n): 2 for n in course.quantity.values}), (0.06, {})):
        tests = whole.tests.assign(q=whole.tests.q * 0 + q)
        assert cause_words.clock(course.isel(step=slice(-3, None)).assign_coords(step=[2, 3, 4]), tests)[
            -1
        ].numbers == {"begins": begins}
    assert cause_words.clock(course, xr.Dataset())[-1].numbers == {"begins": {}}


def test_what_grafts_say_stands_first_among_the_findings_on_use(whole):
    said = axes_sections(whole, grafts=[Claim("grafts", "Fate follows.", "n = 8")])[2].claims
    assert (said[0].text, said[0].assay) == ("Fate follows.", "use")


def test_the_quick_section_is_the_first_of_all(whole):
    section = analysis.axes_section(codes.read_code(), BRIEF)
    assert section.name == "axes"
    assert {"components", "tests", "controls", "across"} <= set(section.tables)


def test_recordings_that_exist_are_used(whole):
    again = examine_axes(
        whole.organism,
        replace(QUICK, runs=2, steps=40, surrogates=19, deals=2),
        recording=whole.recording,
        states=whole.recording.state.values[[0, 0], -1],
    )
    np.testing.assert_allclose(again.tests.observed, whole.tests.observed)


@pytest.mark.parametrize(
    ("organism", "says"),
    [
        (bodies.bursting(), "exploded"),
        (bodies.standing(radius=1.0), "10 or more mature cells"),
        (Organism(bodies.standing().rule, canvas=(24, 24)), "10 or more mature cells"),
        (bodies.standing(channels=2), None),
        (bodies.standing(channels=4), "has none"),
    ],
    ids=["explodes", "five cells", "one cell", "two channels", "no hidden"],
)
def test_bodies_without_axes_are_told_of_in_sentences(organism, says):
    told_of(organism, says, replace(BRIEF, steps=30))


@pytest.mark.parametrize(
    ("organism", "says"),
    [(bodies.fading(), "no mature cell"), (bodies.standing(channels=5), "two or more hidden")],
    ids=["dies", "five channels"],
)
def test_so_are_they_where_everything_is_asked_for(organism, says):
    told_of(organism, says, AxesConfig(**{**SMALL, "steps": 30}, horizon=20, angles=(90,)))


def told_of(organism, says, config):
    sections = axes_sections(examine_axes(organism, config))
    reasons = " ".join(r for s in sections for r in s.skipped)
    assert says is None or says in reasons
    assert "nan" not in text_of(sections).lower().replace("nance", "")
    for section in sections:
        assert section.claims or section.skipped


def test_states_that_do_not_vary_have_no_axes():
    flat = bodies.standing()
    patch = np.array(flat.seed)
    patch[patch[..., 3] > 0, 4:] = 0.5
    found = examine_axes(replace(flat, seed=patch), BRIEF)
    assert "vary between cells" in found.skipped["components"]
    assert place_section(found).skipped


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"surrogates": 9}, "19 or more"),
        ({"permutations": 5}, "0 for none"),
        ({"runs": 0}, "at least 1"),
        ({"runs": 1}, "two or more runs"),
    ],
)
def test_impossible_settings_are_refused(fields, says):
    with pytest.raises(UserError, match=says):
        AxesConfig(**fields)


# Several organisms


def brief(organism):
    return examine_axes(organism, BRIEF)


def test_several_organisms_are_compared_and_kinship_is_said():
    one = codes.read_code()
    many = [
        replace(bodies.standing(number=k, channels=10, canvas=(32, 32), radius=11.0), name=f"n{k}") for k in range(2)
    ]
    child = replace(many[0], name="child", provenance={"started_from": {"name": "n1", "hash": many[1].hash}})
    section = comparison_section([brief(o) for o in (one, child, many[1])])
    assert section.title == "Organisms compared"
    assert [d.name for d in section.figures] == ["bodies", "organisms", "directions"]
    assert "1 pair share an ancestor" in text_of([section])
    assert related([one, child, many[1]]) == [("child", "n1")]
    assert len(section.tables["compared"]) == 15


def test_two_organisms_or_dead_ones_are_compared_without_a_claim():
    section = comparison_section(
        [brief(bodies.standing()), brief(bodies.bursting(number=1)), brief(bodies.standing(radius=1.0))]
    )
    assert any("3 or more" in reason for reason in section.skipped)
    assert any("10 or more" in reason for reason in section.skipped)
    assert "not defined" in section.lookup["Decoders beside their null, organism by organism"].to_string()


def kept(tmp_path, steps=(0, 20, 5)):
    folder = tmp_path / "keep"
    folder.mkdir()
    for step in steps:
        grown = bodies.standing(number=step, canvas=(32, 32), radius=11.0)
        told = {"config": {"target": "disc"}, "steps": step}
        save(replace(grown, name=f"disc-{step}", provenance=told), folder / f"step-{step:06d}.safetensors")
    return folder


def test_organisms_kept_along_a_training_run_become_curves(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--steps", "3", "--surrogates", "19", "--deals", "2", "--runs", "2"]
    quick = ["--permutations", "0", "--course", "0", "--randoms", "0", "--angles"]
    assert cli.main(["axes", str(kept(tmp_path)), "--out", "found", *options, *quick]) == 0
    summary = json.loads((tmp_path / "found" / "summary.json").read_text())
    assert [o["name"] for o in summary["organisms"]] == ["disc-0", "disc-5", "disc-20"]
    assert (tmp_path / "found" / "figures" / "training.svg").is_file()
    assert "training step" in capsys.readouterr().out or summary["claims"]


def test_only_ascending_steps_of_one_recipe_are_one_run():
    found = brief(bodies.standing())

    def at(step, recipe):
        told = {"config": {"target": recipe}, "steps": step}
        return replace(found, organism=replace(found.organism, provenance=told))

    assert one_run([at(1, "a"), at(2, "a")])
    assert not one_run([at(1, "a"), at(2, "b")])
    assert not one_run([at(2, "a"), at(2, "a")])
    assert not one_run([found, found])


# The command line


def test_nca_pca_writes_maps_scree_and_loadings(tmp_path, capsys):
    path = save(bodies.standing(canvas=(32, 32), radius=11.0), tmp_path / "disc.safetensors")
    words = [
        "pca",
        str(path),
        "--at",
        "3",
        "--channels",
        "all",
        "--scaling",
        "zscore",
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main(words) == 0
    assert "PC1" in capsys.readouterr().out
    made = {f.name for f in (tmp_path / "out" / "figures").iterdir()}
    assert made == {"maps.svg", "development.svg", "spectrum.svg"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["config"] == {"at": 3, "channels": "all", "scaling": "zscore", "seed": 0}
    assert "alpha" in json.dumps(summary["tables"]["components"])


def test_nca_axes_of_two_organisms_tells_each_apart(tmp_path, capsys):
    paths = [
        str(save(o, tmp_path / f"{o.name}.safetensors"))
        for o in (bodies.standing().renamed("a"), codes.read_code().renamed("b"))
    ]
    words = [
        "axes",
        *paths,
        "--out",
        str(tmp_path / "out"),
        "--steps",
        "3",
        "--surrogates",
        "19",
        "--deals",
        "2",
    ]
    quick = ["--permutations", "0", "--course", "0", "--randoms", "0", "--angles"]
    assert cli.main([*words, *quick]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Organisms compared" in page
    assert "Body axes: b" in page
    assert page.count("<h3>Body axes</h3><p>PCA of the states") == 1  # both were examined alike
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert {"1-maps.svg", "2-maps.svg"} <= {f.name for f in (tmp_path / "out" / "figures").iterdir()}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["axes"], "At least one organism"),
        (["axes", "{empty}"], "holds no organism"),
        (["axes", "lizzard"], "did you mean"),
        (["pca", "lizard", "--at", "0"], "after the seed"),
        (["axes", "lizard", "--surrogates", "3"], "19 or more"),
    ],
)
def test_mistakes_are_told_in_one_sentence(tmp_path, capsys, words, says):
    (tmp_path / "empty").mkdir()
    assert cli.main([w.format(empty=tmp_path / "empty") for w in words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


def test_a_body_that_a_command_cannot_use_is_no_mistake_of_ours(tmp_path, capsys):
    path = save(bodies.fading(), tmp_path / "fading.safetensors")
    assert cli.main(["pca", str(path), "--at", "30", "--out", str(tmp_path / "out")]) == 2
    assert "10 or more mature cells" in capsys.readouterr().err
    assert cli.main(["axes", str(path), "--steps", "30", "--out", str(tmp_path / "out")]) == 0
    assert "no mature cell" in (tmp_path / "out" / "report.html").read_text()


def test_components_are_told_plainly_and_claim_nothing():
    organism = bodies.standing()
    section = components_section(analysis.pca(record(organism, 2), at=2))
    assert "say nothing about axes" in section.method
    assert [f.text.split(":")[0] for f in section.claims[1:]] == ["PC1", "PC2"]


def test_an_organism_of_a_learned_perception_says_that_it_has_no_compass():
    found = examine_axes(
        codes.counter(), AxesConfig(**{**SMALL, "permutations": 0, "course": 0, "randoms": 0}, angles=(90,))
    )
    assert "no compass" in found.skipped["turned"]
    assert found.turned_state
    assert isinstance(found.organism, Organism)
    assert isinstance(found.organism.rule, Rule)

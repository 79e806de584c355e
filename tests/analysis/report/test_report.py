"""Dissections: whole folders of bodies that stand, die, burst or hold next to nothing."""

import html
import html.parser
import json
import re
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import bodies
from PIL import Image

import nca
from analysis.dissection import findings
from analysis.dissection.config import DissectConfig
from analysis.dissection.dissect import dissect
from analysis.dissection.examination import examine
from analysis.dissection.findings import fate
from analysis.dissection.report import report
from analysis.report import folder as pages
from analysis.report.format import number
from analysis.report.markup import together
from analysis.report.model import Section
from nca.organism import Organism
from nca.rule import untrained
from nca.spec import Spec

QUICK = DissectConfig(
    runs=2, steps=40, surrogates=19, lesion_runs=2, horizons=(20, 40), until=80, late=100, late_runs=1
)
NAME = "<script>alert('a name from a strange file')</script>"


def constant():
    """A body whose hidden channels hold one value, or none."""
    body = bodies.standing()
    seed = np.array(body.seed)
    seed[..., 4], seed[..., 5] = 0.0, seed[..., 3] > 0
    return Organism(body.rule, seed=seed, canvas=body.canvas, target=body.target, name="constant")


def single():
    """A rule that changes nothing, from one cell."""
    return Organism(untrained(jax.random.key(0), Spec(channels=6)), canvas=(24, 24), name="single")


def told(folder):
    """The summary; a number that JSON does not know is an error."""

    def refuse(name):
        raise ValueError(name)

    return json.loads((folder / "summary.json").read_text(), parse_constant=refuse)


def claims(summary, topic):
    return " ".join(f["text"] for f in summary["claims"] if f["assay"] == topic)


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dissections") / "standing"
    lines = []
    dissect(bodies.standing().renamed(NAME), folder, QUICK, lines.append)
    return folder, lines


def test_a_dissection_writes_the_report_and_all_that_is_beside_it(standing):
    folder, lines = standing
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    tables = (
        "growth",
        "lesions",
        "regeneration",
        "components",
        "repeats",
        "tests",
        "across",
        "controls",
        "code",
    )
    figures = ("growth", "course", "lesions", "cuts", "recovery")
    figures += ("maps", "development", "null", "sources", "runs", "spectrum")
    assert names == {
        "report.html",
        "summary.json",
        "growth.webp",
        *(f"tables/{t}.csv" for t in tables),
        *(f"figures/{f}.svg" for f in figures),
    }
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    assert "report.html" in lines[-1]


class Page(html.parser.HTMLParser):
    """What a page holds: its tags opened and closed, and all that it would fetch."""

    EMPTY = ("meta", "img", "br", "link", "path", "use", "rect", "image", "line", "circle")

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.fetched, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        fields = dict(attrs)
        self.ids += [fields["id"]] if "id" in fields else []
        self.fetched += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset") and v]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in self.EMPTY:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_whole_and_fetches_nothing(standing):
    text = (standing[0] / "report.html").read_text()
    page = Page(text)
    assert (page.open, page.wrong) == ([], [])
    assert all(target.startswith(("data:", "#")) for target in page.fetched)
    assert not re.search(r"url\((?!#)|@import|<script", re.sub(r'srcdoc="[^"]*"', "", text))
    assert "default-src 'none'" in html.unescape(text)


def test_no_two_things_on_the_page_share_a_name(standing):
    ids = Page((standing[0] / "report.html").read_text()).ids
    assert {"verdict", "growth", "axes", "lesions", "regeneration", "method"} <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_name_from_a_strange_file_is_shown_and_not_run(standing):
    text = (standing[0] / "report.html").read_text()
    assert "&lt;script&gt;alert(" in text
    assert "<script" not in text


def test_the_page_has_both_themes_and_can_be_printed(standing):
    text = (standing[0] / "report.html").read_text()
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "currentColor" in text
    assert "$" not in re.sub(r"data:[^\"]*|srcdoc=\"[^\"]*\"", "", text)


def test_every_figure_of_the_page_is_numbered_in_turn(standing):
    text = (standing[0] / "report.html").read_text()
    assert re.findall(r"<b>Figure (\d+)\.</b>", text) == [str(n) for n in range(1, 13)]


def test_the_summary_explains_its_keys_and_knows_how_to_repeat_it(standing):
    summary = told(standing[0])
    plain = {"about", "versions", "seconds"}
    assert set(summary) - plain <= set(summary["about"])
    assert summary["organisms"][0]["hash"] == bodies.standing().hash
    assert DissectConfig(**summary["config"]) == QUICK
    assert summary["skipped"] == {}


def test_the_verdict_says_the_truth_that_was_planted(standing):
    summary = told(standing[0])
    assert "149 cells" in claims(summary, "growth")
    assert "1 of 1 body kept size" in claims(summary, "growth")
    assert "No hidden channel is missed" in claims(summary, "lesions")
    assert "left 0.00" in claims(summary, "regeneration")
    for finding in summary["claims"]:
        assert finding["evidence"]
        if finding["assay"] == "axes" and "beyond" in finding["text"]:
            assert re.search(r"null .* p .* q .*surrogates", finding["evidence"])


def test_tables_hold_the_numbers_of_the_summary(standing):
    tests = pd.read_csv(standing[0] / "tables" / "tests.csv")
    for row, kept in zip(tests.itertuples(), told(standing[0])["tables"]["tests"], strict=True):
        assert row.observed == pytest.approx(kept["observed"], abs=1e-5)
        assert row.p == pytest.approx(kept["p"])


def test_the_film_shows_every_step(standing):
    with Image.open(standing[0] / "growth.webp") as film:
        assert film.n_frames == 41


def test_a_dissection_repeats_itself(standing):
    again = examine(bodies.standing().renamed(NAME), QUICK, lambda line: None)
    said = [f for section in report(again, lambda line: None).sections for f in section.claims]
    kept = told(standing[0])["claims"]
    assert [(f.text, f.evidence) for f in said] == [(f["text"], f["evidence"]) for f in kept]


def test_the_same_dissection_is_not_made_twice_unless_asked_for(standing):
    folder, lines = standing[0], []
    before = (folder / "report.html").stat().st_mtime_ns
    dissect(bodies.standing().renamed(NAME), folder, QUICK, lines.append)
    assert "holds this dissection already" in lines[-1]
    assert (folder / "report.html").stat().st_mtime_ns == before
    other = bodies.standing(radius=5)
    assert not pages.holds(folder, [other], QUICK.to_json())
    assert not pages.holds(folder, [bodies.standing()], DissectConfig().to_json())
    assert not pages.holds(folder / "absent", [bodies.standing()], QUICK.to_json())


def test_an_earlier_dissection_is_replaced_and_anything_else_is_left_alone(standing, tmp_path):
    folder = standing[0]
    pages.check_place(folder, "nca dissect")
    pages.check_place(tmp_path / "new", "nca dissect")
    (tmp_path / "empty").mkdir()
    pages.check_place(tmp_path / "empty", "nca dissect")
    with pytest.raises(nca.UserError, match="holds no report of 'nca axes'"):
        pages.check_place(folder, "nca axes")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "summary.json").write_text('{"made_by": "another"}')
    (tmp_path / "file").write_text("")
    for taken in ("theirs", "file"):
        with pytest.raises(nca.UserError, match="holds no report"):
            dissect(bodies.standing(), tmp_path / taken, QUICK)
    with pytest.raises(nca.UserError, match="no folder"):
        dissect(bodies.standing(), tmp_path / "absent" / "report", QUICK)
    assert (tmp_path / "theirs" / "summary.json").read_text() == '{"made_by": "another"}'


def test_a_dissection_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    found = examine(bodies.fading(), QUICK, lambda line: None)
    monkeypatch.setattr("analysis.report.folder.page", full)
    monkeypatch.setattr("analysis.dissection.examination.examine", lambda *_: found)
    with pytest.raises(nca.UserError, match="No space left"):
        dissect(bodies.fading(), tmp_path / "report", QUICK, lambda line: None)
    assert list(tmp_path.iterdir()) == []


ODD = {
    "fading": (bodies.fading, {"axes", "lesions", "regeneration"}, "1 of 1 body died"),
    "bursting": (bodies.bursting, {"axes", "lesions", "regeneration"}, "1 of 1 body exploded"),
    "constant": (constant, {"axes"}, "149 cells"),
    "single": (single, {"axes"}, "a body of 1 cell"),
    "tiny": (lambda: bodies.standing(radius=2.1), {"axes"}, "13 cells"),
    "two channels": (lambda: bodies.standing(channels=2), set(), "149 cells"),
    "no hidden channel": (lambda: bodies.standing(channels=4), {"axes"}, "149 cells"),
    "no target": (lambda: bodies.standing(target=False), set(), "149 cells"),
    "no margin": (lambda: bodies.standing(radius=40), set(), "576 cells"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_organisms_have_outcomes_in_words(name, tmp_path):
    make, missing, says = ODD[name]
    dissect(make(), tmp_path / "report", QUICK, lambda line: None)
    summary = told(tmp_path / "report")
    assert set(summary["skipped"]) == missing
    assert says in claims(summary, "growth")
    page = (tmp_path / "report" / "report.html").read_text()
    for reasons in summary["skipped"].values():
        for reason in reasons:
            assert together(reason) in page
    assert not re.search(r"\bnan\b", re.sub(r"data:[^\"]*", "", page), re.IGNORECASE)


@pytest.mark.parametrize(
    ("now", "before", "exploded", "became"),
    [
        (0, 100, False, "died"),
        (49, 100, False, "shrank below half"),
        (50, 100, False, "kept size"),
        (200, 100, False, "kept size"),
        (201, 100, False, "overgrew"),
        (100, 100, True, "exploded"),
    ],
)
def test_the_fate_of_a_body_goes_by_its_size(now, before, exploded, became):
    assert fate(now, before, exploded) == became


def test_every_method_is_told_once_under_a_heading_of_its_own_or_of_all_that_share_it():
    named = {"Axes: a": "fits", "Axes: b": "fits", "Film": ""}
    named |= {"Cuts": "units\n\ncuts", "Lesions": "units\n\nharm"}
    sections = [Section(title.lower(), title, method=text) for title, text in named.items()]
    assert pages.methods(sections) == {"Axes": ["fits"], "Cuts": ["units", "cuts"], "Lesions": ["harm"]}


def test_numbers_in_sentences_have_a_true_minus_and_words_for_none():
    assert number(-0.5) == "−0.50"
    assert number(float("nan")) == "not defined"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"runs": 0}, "at least 1"),
        ({"surrogates": 9}, "19 surrogates"),
        ({"until": 200}, "must come after"),
        ({"late": 600}, "must come after"),
        ({"lesion_runs": 9}, "ask for fewer"),
        ({"horizons": (60, 30)}, "ascending"),
        ({"horizons": ()}, "ascending"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(wrong, says):
    with pytest.raises(nca.UserError, match=says):
        DissectConfig(**wrong)


def test_runs_that_mostly_have_no_body_have_not_grown_one_of_no_cells():
    body = bodies.standing(target=False)
    for cells, claim in (
        ([90, 0, 0, 0], "It has no body at step 20 in 3 of 4 runs."),
        ([90, 80, 70, 0], "By step 20 it has grown a body of 75 cells."),
        ([0, 0, 0, 0], "It has no body at step 20."),
    ):
        values = {"mature": np.array([cells]), "exploded": np.zeros((1, 4), bool)}
        growth = xr.Dataset({k: (("time", "run"), v) for k, v in values.items()}, {"time": [20]})
        found = SimpleNamespace(organism=body, config=DissectConfig(steps=20, runs=4), growth=growth)
        assert findings.growth(found)[0].text == claim

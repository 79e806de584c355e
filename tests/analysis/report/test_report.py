"""Reports: the page, the summary and the files next to it, of sections made by hand."""

import html
import html.parser
import json
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import bodies

import nca
from analysis.animation.encode import webp_bytes
from analysis.report import plots
from analysis.report.folder import check_folder, is_current, write_report
from analysis.report.format import number
from analysis.report.html import cell_html, page_html
from analysis.report.model import Answer, Claim, Film, Report, Section, evidence, surprise, svg_figure
from analysis.report.notebook import DPI, ReportHtml, compare, show_figure
from nca.errors import UserError

NAME = "<script>alert('a name from a foreign file')</script>"
CONFIG = {"runs": 2, "share": 0.5, "undefined": float("nan")}


def drawing(name):
    with plots.style():
        figure, axes = plots.new_figure(1, 1, 1.0)
        axes[0, 0].plot([0, 1], color=plots.INK)
        return svg_figure(name, figure, f"What {name} shows.")


def growth():
    film = Film("growth", webp_bytes(np.zeros((2, 4, 4, 3), np.uint8)), "One frame per step.")
    return Section("growth", "Growth", films=[film], figures=[drawing("stills")], live="<p>alive</p>", method="Grown.")


def cuts():
    rows = (
        {
            "quantity": "left",
            "measure": "recovered",
            "value": 0.512,
            "low": 0.4,
            "high": 0.61,
            "null_median": 0.1,
            "null_low": 0.01,
            "null_high": 0.3,
            "p": 0.004,
            "q": 0.02,
            "n": 8,
            "unit": "runs",
        },
        {"quantity": "right <half>", "measure": "recovered", "value": -12.25},
    )
    claims = [
        Claim(
            "cuts", "The left half regenerates (q = 0.02).", evidence(*rows), {"runs": np.array([1, 2])}, "As uncut."
        ),
        Claim("cuts", "Nothing else was measured."),
    ]
    table = pd.DataFrame({"cut": ["left", "right"], "recovered": [0.5, np.nan], "cells": [1200, 3]})
    data = {"cuts": xr.Dataset({"recovered": ("cut", [0.5, 0.25])})}
    return Section(
        "cuts",
        "Cuts",
        claims=claims,
        figures=[drawing("left"), drawing("right")],
        lookup={"All cuts": table},
        tables={"cuts": table},
        data=data,
        method="Cut.\n\nShared.",
    )


def report(**changes):
    organism = bodies.static_organism().rename(NAME)
    skipped = Section("lesions", "Lesions", skipped=["There is no body to lesion."], method="Shared.")
    portrait = np.ones((4, 4, 4))
    fields = {"config": CONFIG, "portrait": portrait, "seconds": 1.26, "caveat": "One network."}
    fields["sections"] = [growth(), cuts(), skipped]
    return Report("nca dissect", [organism], **(fields | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_report(report(), tmp_path_factory.mktemp("reports") / "standing", data=True)


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text()


def read_summary(folder):
    """The summary; a number that JSON does not know is an error."""

    def refuse(name):
        raise ValueError(name)

    return json.loads((folder / "summary.json").read_text(), parse_constant=refuse)


def test_a_report_is_a_page_a_summary_tables_figures_films_and_arrays(folder):
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names == {
        "report.html",
        "summary.json",
        "growth.webp",
        "tables/cuts.csv",
        *(f"figures/{name}.svg" for name in ("stills", "left", "right")),
        "data/cuts.nc",
    }
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_arrays_are_written_only_where_asked_for(tmp_path):
    assert not (report().save(tmp_path / "report") / "data").exists()


class Parser(html.parser.HTMLParser):
    """The tags of a page, opened and closed, its ids, and all that it would fetch."""

    EMPTY = ("meta", "img", "br", "link", "path", "use", "rect", "image", "line", "circle")

    def __init__(self, text):
        super().__init__()
        self.open, self.unmatched, self.fetched, self.ids = [], [], [], []
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
            self.unmatched.append(tag)


def test_the_page_is_well_formed_and_fetches_nothing(page):
    parser = Parser(page)
    assert (parser.open, parser.unmatched) == ([], [])
    assert all(target.startswith(("data:", "#")) for target in parser.fetched)
    assert not re.search(r"url\((?!#)|@import|<script", page)


def test_no_two_elements_of_the_page_share_an_id(page):
    ids = Parser(page).ids
    assert {"findings", "growth", "cuts", "lesions", "methods"} <= set(ids)
    assert len(ids) == len(set(ids))


def test_text_from_a_foreign_file_is_shown_and_not_run(page):
    assert "&lt;script&gt;alert(" in page
    assert "right &lt;half&gt;" in page
    assert "<script" not in page


def test_html_of_this_package_stays_html(page):
    assert '<figure class="live"><p>alive</p></figure>' in page


def test_the_page_has_both_themes_and_can_be_printed(page):
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "currentColor" in page
    assert not re.search(r"\{\{|\{%", page)


def test_figures_are_numbered_through_the_page(page):
    assert re.findall(r"<b>Figure (\d+)\.</b>", page) == ["1", "2", "3", "4"]


def test_a_claim_stands_over_its_note_and_its_folded_evidence(page):
    topic = page[page.index('id="findings"') : page.index('id="growth"')]
    assert "The left half regenerates (q\u00a0=\u00a00.02)." in topic
    assert '<span class="note">As uncut.</span>' in topic
    assert topic.count('<details class="evidence">') == 1
    cells = re.findall(r"<t[dh](?: class=.number.)?>(.*?)</t[dh]>", topic)
    head = ["quantity", "measure", "value (interval)", "null median (range)", "p", "q", "n"]
    assert cells[:7] == head
    assert cells[7:14] == [
        *("left", "recovered", "0.512 (0.400 to 0.610)", "0.100 (0.010 to 0.300)"),
        *("0.004", "0.020", "8 runs"),
    ]
    assert cells[14:] == ["right &lt;half&gt;", "recovered", "−12.2", "", "", "", ""]


def answering(name, *answers, figures=()):
    """A section whose claims answer its question."""
    claims = [Claim(name, f"{answer.text} At length.", answer=answer) for answer in answers]
    drawn = [drawing(figure) for figure in figures]
    return Section(name, name.capitalize(), claims, figures=drawn, question=f"What of {name}?")


def test_a_page_opens_with_its_three_most_surprising_clear_answers_one_of_a_section():
    sections = [
        answering(
            "cuts", Answer("Four heal."), Answer("One does not.", surprise=0.5, figure="left"), figures=["2-left"]
        ),
        answering("axes", Answer("It is radial.", surprise=1.6), Answer("It is long.", surprise=1.5)),
        answering("grafts", Answer("Two runs differ.", "unclear", surprise=9.0)),
        answering("noise", Answer("It withstands noise.")),
        answering("last", Answer("It lasts.")),
    ]
    text = page_html(report(sections=sections))
    opening = [block.split("</p>")[0] for block in text.split('<div class="opening')[1:]]
    assert [re.sub("<.*?>|.*?>", "", block) for block in opening] == [
        "It is radial.",
        "One does not.",
        "It withstands noise.",
    ]
    assert text.count('href="#cuts" aria-label') == 1  # its figure; the others have none
    ids = Parser(text).ids
    assert len(ids) == len(set(ids))


def test_every_question_has_one_line_with_its_verdict():
    sections = [
        answering("cuts", Answer("Four heal."), Answer("One does not.")),
        answering("grafts", Answer("Runs differ.", "unclear")),
        Section("axes", "Axes", skipped=["There is no body."], question="What of axes?"),
        Section("growth", "Growth", [Claim("growth", "It grows.")]),
    ]
    table = page_html(report(sections=sections)).split('class="questions">')[1].split("</table>")[0]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in table.split("</tr>")[:-1]]
    assert [[re.sub("<.*?>", "", cell) for cell in row] for row in rows] == [
        ["What of cuts?", "clear", "Four heal."],
        ["What of grafts?", "unclear", "Runs differ."],
        ["What of axes?", "cannot tell", "There is no body."],
    ]


def test_surprise_counts_half_widths_of_the_null():
    row = {"value": 0.9, "null_median": 0.3, "null_low": 0.1, "null_high": 0.5}
    assert surprise(row) == pytest.approx(3)
    assert surprise(row | {"value": -0.3}) == pytest.approx(3)
    assert surprise(row | {"null_low": 0.3, "null_high": 0.3}) == 10
    assert surprise({"value": 0.9}) == 0


def test_numbers_stand_at_the_right_of_a_table_and_words_at_the_left(page):
    table = page[page.index("All cuts") :]
    assert re.findall(r"<th( class=\"number\")?>(\w+)</th>", table)[:3] == [
        ("", "cut"),
        (' class="number"', "recovered"),
        (' class="number"', "cells"),
    ]
    assert re.findall(r"<td[^>]*>(.*?)</td>", table)[:6] == ["left", "0.500", "1200", "right", "not defined", "3"]


def test_a_section_that_was_skipped_says_why(page):
    assert '<p class="skipped">There is no body to lesion.</p>' in page


def test_every_method_stands_once_under_its_heading_or_that_of_all_who_share_it(page):
    methods = page[page.index('id="methods"') :]
    assert re.findall(r"<h3>(.*?)</h3>\n<p>(.*?)</p>\n(?:<p>(.*?)</p>)?", methods) == [
        ("Growth", "Grown.", ""),
        ("Cuts", "Cut.", "Shared."),
    ]
    sections = [Section(name, f"Axes: {name}", method="Fits.") for name in "ab"]
    text = page_html(Report("nca axes", [], sections, title="both"))
    assert text.count("<p>Fits.</p>") == 1
    assert "<h3>Axes</h3>" in text


def test_facts_of_the_organisms_are_listed_but_not_of_a_whole_population(page):
    assert "parameters; " in page
    assert f"hash {bodies.static_organism().hash}" in page
    text = page_html(report(title="The population flock"))
    assert "<h1>The population flock</h1>" in text
    assert "parameters; " not in text


def test_the_summary_explains_its_keys_and_holds_every_number(folder):
    summary = read_summary(folder)
    assert set(summary) - {"about", "versions", "seconds"} == set(summary["about"])
    assert summary["command"] == "nca dissect"
    assert summary["organisms"][0]["hash"] == bodies.static_organism().hash
    assert summary["config"] == CONFIG | {"undefined": None}
    assert summary["skipped"] == {"lesions": ["There is no body to lesion."]}
    assert summary["seconds"] == 1.3
    claim = summary["claims"][0]
    assert claim["numbers"] == {"runs": [1, 2]}
    assert claim["note"] == "As uncut."
    assert [row["value"] for row in claim["evidence"]] == [0.512, -12.25]
    assert claim["evidence"][1]["p"] is None
    assert claim["answer"] is None
    assert summary["tables"]["cuts"][1] == {"cut": "right", "recovered": None, "cells": 3}


def test_tables_say_what_is_not_defined(folder):
    assert (folder / "tables" / "cuts.csv").read_text().splitlines()[2] == "right,not defined,3"


def test_a_report_is_current_for_the_same_organisms_options_and_versions(folder, monkeypatch):
    organism = bodies.static_organism().rename(NAME)
    config = {"runs": 2, "share": 0.5, "undefined": None}
    assert is_current(folder, [organism], config)
    assert not is_current(folder, [bodies.static_organism(radius=5)], config)
    assert not is_current(folder, [organism], config | {"runs": 3})
    assert not is_current(folder / "absent", [organism], config)
    monkeypatch.setattr("analysis.report.folder.versions", lambda: {"python": "2"})
    assert not is_current(folder, [organism], config)


def test_an_earlier_report_of_the_command_is_replaced_and_anything_else_is_left_alone(folder, tmp_path):
    check_folder(folder, "nca dissect")
    check_folder(tmp_path / "new", "nca dissect")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", "nca dissect")
    with pytest.raises(nca.UserError, match="holds no report of 'nca axes'"):
        check_folder(folder, "nca axes")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "summary.json").write_text('{"command": "another"}')
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "summary.json").write_text("[]")
    (tmp_path / "file").write_text("")
    for taken in ("foreign", "list", "file"):
        with pytest.raises(nca.UserError, match="holds no report"):
            write_report(report(), tmp_path / taken)
    with pytest.raises(nca.UserError, match="no folder"):
        write_report(report(), tmp_path / "absent" / "report")
    assert (tmp_path / "foreign" / "summary.json").read_text() == '{"command": "another"}'
    first = write_report(report(), tmp_path / "empty")
    for mine in ("note.txt", "figures/own.svg", "mine/note.txt"):
        (first / mine).parent.mkdir(exist_ok=True)
        (first / mine).write_text("mine")
    (first / "tables" / "old.csv").touch()
    summary = json.loads((first / "summary.json").read_text())
    (first / "summary.json").write_text(json.dumps(summary | {"files": [*summary["files"], "tables/old.csv"]}))
    write_report(report(), first)
    assert all((first / mine).read_text() == "mine" for mine in ("note.txt", "figures/own.svg", "mine/note.txt"))
    assert not (first / "tables" / "old.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "foreign", "list"]


def test_a_report_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.report.folder.page_html", fail)
    with pytest.raises(nca.UserError, match="No space left"):
        write_report(report(), tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_evidence_has_the_columns_that_are_used_and_no_others():
    assert list(evidence({"quantity": "a", "value": 1.0}, {"quantity": "b", "p": 0.5})) == ["quantity", "value", "p"]
    with pytest.raises(ValueError, match="got r2"):
        evidence({"quantity": "a", "r2": 1.0})


def test_numbers_in_sentences_have_a_true_minus_and_words_for_none():
    assert number(-0.5) == "−0.50"
    assert number(float("nan")) == "not defined"


# In a notebook


def test_a_cell_shows_claims_evidence_figures_and_tables_on_white():
    text = cell_html([growth(), cuts()])
    parser = Parser(text)
    assert (parser.open, parser.unmatched, parser.ids) == ([], [], [])
    assert "background: #fff" in text
    assert "The left half regenerates" in text
    assert text.count("data:image/svg+xml;base64,") == 3
    assert text.count("data:image/webp;base64,") == 1
    assert "All cuts" in text
    assert "alive" not in text
    assert growth()._repr_html_() == cell_html([growth()])
    assert report()._repr_html_() == cell_html(report().sections)


def test_a_result_shows_itself_by_the_report_of_its_assay(monkeypatch):
    class Result(ReportHtml):
        __module__ = "analysis.assays.axes.run"

    class AxesReport:
        @staticmethod
        def sections(results):
            return [Section("axes", f"{len(results)} result")]

    imported = []
    monkeypatch.setattr("analysis.report.notebook.import_module", lambda name: imported.append(name) or AxesReport)
    assert "1 result" in Result()._repr_html_()
    assert imported == ["analysis.assays.axes.report"]


def assay_report(monkeypatch, sections):
    """Results of an assay whose report is this function of the results."""
    report = type("Report", (), {"sections": staticmethod(sections)})
    monkeypatch.setattr(ReportHtml, "_report", lambda self: report)
    return ReportHtml


def test_a_result_shows_its_claims_without_figures(monkeypatch):
    claims = assay_report(monkeypatch, lambda results: [growth(), cuts()])().claims
    assert str(claims) == "\n".join(claim.text for claim in cuts().claims)
    text = claims._repr_html_()
    assert "The left half regenerates" in text
    assert "<details" in text
    assert "data:image" not in text
    assert "<h4" not in text


def test_a_result_shows_its_figures_one_by_one(monkeypatch):
    from IPython import display

    shown = []
    monkeypatch.setattr(display, "display", shown.append)
    figures = assay_report(monkeypatch, lambda results: [growth(), cuts()])().figures
    assert list(figures) == [figure.name for section in (growth(), cuts()) for figure in section.figures]
    figures["stills"]._ipython_display_()
    assert shown[0].data.startswith(b"\x89PNG")
    assert shown[0].alt == "stills"
    assert shown[1].data == "What stills shows."


def test_a_comparison_leaves_out_the_sections_of_single_organisms(monkeypatch):
    def sections(results):
        names = ["networks", "axes-1", "rotation-test-2"]
        return [Section(name, f"{name} of {len(results)}", [Claim(name, name)]) for name in names]

    result = assay_report(monkeypatch, sections)
    comparison = compare([result(), result()])
    assert [section.title for section in comparison.sections] == ["networks of 2"]
    assert str(comparison.claims) == "networks"
    assert "networks of 2" in comparison._repr_html_()


def test_a_comparison_of_single_sections_keeps_them_all(monkeypatch):
    def sections(results):
        return [Section(f"lesions-{n}", f"Lesions {n}") for n in range(1, len(results) + 1)]

    result = assay_report(monkeypatch, sections)
    assert [section.name for section in compare([result()] * 3).sections] == ["lesions-1", "lesions-2", "lesions-3"]


def test_a_comparison_needs_results_of_one_assay():
    other = type("OtherResult", (ReportHtml,), {})
    for results in ([], [ReportHtml()], [ReportHtml(), other()]):
        with pytest.raises(UserError, match="A comparison needs two or more results of one assay"):
            compare(results)


def test_a_figure_is_shown_on_white_with_its_caption(monkeypatch):
    import io

    from IPython import display
    from PIL import Image

    shown = []
    monkeypatch.setattr(display, "display", shown.append)
    picture = np.zeros((9, 9, 4))
    picture[3:6, 3:6] = 1
    show_figure(plots.plot_bodies, [picture, picture], ["one", "two"])
    image = Image.open(io.BytesIO(shown[0].data)).convert("RGBA")
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    assert shown[0].width == image.width * 100 // DPI
    with plots.style():
        figure = plots.new_figure(1, 1, 1.0)[0]
    show_figure(lambda: (figure, "What to see."))
    assert shown[-1].data == "What to see."

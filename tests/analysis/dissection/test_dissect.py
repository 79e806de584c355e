"""Whole dissections: which assays they make, what they write, and what they do where an assay cannot be made."""

import html
import json
import re
from dataclasses import replace

import pytest
from helpers import bodies

import nca
from analysis.assays import ASSAYS
from analysis.cli.main import main
from analysis.dissection.config import DissectConfig
from analysis.dissection.dissect import dissect
from analysis.report.model import Section

CONFIG = DissectConfig(runs=2, adult_step=40, follow_up_step=60, follow_up_runs=1)


class Result:
    def __init__(self, organism):
        self.organism = organism


@pytest.fixture
def assays(monkeypatch):
    """Assays that only say what they were given; lesions cannot be made."""
    calls = []

    class Module:
        def __init__(self, name):
            self.name = name

        def run(self, organism, *rest, log):
            calls.append((self.name, organism.name, *rest))
            if self.name == "lesions":
                raise nca.UserError("There is no body to lesion.")
            return Result(organism)

        def sections(self, results):
            return [Section(self.name, self.name.capitalize(), method=f"{len(results)} organisms")]

    monkeypatch.setattr(type(ASSAYS[0]), "module", lambda self, _: Module(self.name))
    return calls


def test_one_organism_goes_through_growth_every_assay_and_the_viewer(assays):
    organism, lines = bodies.static_organism(), []
    configs = CONFIG.assay_configs()
    report = dissect(organism, CONFIG, log=lines.append)
    names = [assay.name for assay in ASSAYS if assay.first_look]
    assert [s.name for s in report.sections] == ["growth", *names, "not-examined", "viewer"]
    donor = {"grafts": (organism,)}
    assert assays == [(name, "standing", *donor.get(name, ()), configs[name]) for name in names]
    assert report.sections[2].skipped == ["There is no body to lesion."]
    asked = [assay.question for assay in ASSAYS if assay.first_look]
    assert [section.question for section in report.sections if section.question] == asked
    assert any("lesions" in line for line in lines)
    assert report.config == CONFIG.to_json()
    assert report.portrait.shape == (24, 24, 4)


def test_a_short_dissection_says_what_the_full_one_adds(assays):
    report = dissect(bodies.static_organism(), CONFIG)
    assert report.sections[-2].skipped[1:] == [
        "Axes: long wave surrogates; time course surrogates; random directions; angles.",
        "Lesions: methods epistasis, critical-periods and self-repair; phases growing and regenerating; targets "
        "units and direction; interventions noise, mean, clamp and freeze; doses 0.02 and 0.05.",
        "Regeneration: angles; radii; follow up step.",
        "Grafts: map runs.",
        "Robustness: state noise 0.1, 0.5 and 2.0; state noise per step 0.01 and 0.2; weight noise 0.01 and 0.2; fire "
        "rates 0.2, 0.4 and 0.6; canvas margins.",
        "Fate: mutants; lineage runs; fill; film.",
        "Units: the whole assay.",
    ]
    full = dissect(bodies.static_organism(), replace(CONFIG, full=True))
    assert "not-examined" not in [section.name for section in full.sections]
    assert [call[0] for call in assays][-1] == "units"
    assert replace(CONFIG, full=True).assay_configs()["units"].runs == 2  # its quick preset


def test_assays_can_be_left_out_and_given_options(assays):
    report = dissect(bodies.static_organism(), CONFIG, assay_configs={"axes": CONFIG.assay_configs()["axes"]})
    assert [call[0] for call in assays] == ["axes"]
    assert list(report.config["assay_configs"]) == ["axes"]


def test_several_organisms_are_compared_by_the_assays_that_compare(assays):
    organisms = [bodies.static_organism(), bodies.static_organism(radius=5).rename("small")]
    report = dissect(organisms, CONFIG)
    names = [assay.name for assay in ASSAYS if assay.several and assay.first_look]
    assert [s.name for s in report.sections] == [*names, "not-examined"]
    assert [s.method for s in report.sections[:-1]] == ["2 organisms"] * len(names)
    assert "Networks are the units" in report.caveat


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return nca.save(bodies.static_organism(), "standing.safetensors")


OPTIONS = ["--runs", "2", "--adult-step", "40", "--follow-up-step", "60", "--follow-up-runs", "1"]


def test_the_command_writes_a_report_and_does_not_repeat_it_unless_forced(assays, file, tmp_path, capsys):
    assert main(["dissect", str(file), *OPTIONS]) == 0
    streams = capsys.readouterr()
    assert streams.out.splitlines()[-1] == "standing-dissection/report.html"
    assert "At step 40 the body has 149 cells" in streams.out
    page = tmp_path / "standing-dissection" / "report.html"
    text = page.read_text()
    assert "default-src 'none'" in html.unescape(text)
    assert not re.search(r"url\((?!#)|@import|<script", re.sub(r'srcdoc="[^"]*"', "", text))
    summary = json.loads((page.parent / "summary.json").read_text())
    assert summary["command"] == "nca dissect"
    assert summary["skipped"]["lesions"] == ["There is no body to lesion."]
    before = page.stat().st_mtime_ns
    assert main(["dissect", str(file), *OPTIONS]) == 0
    assert "holds this dissection already; --force repeats it" in capsys.readouterr().err
    assert page.stat().st_mtime_ns == before
    assert main(["dissect", str(file), *OPTIONS, "--force"]) == 0
    assert page.stat().st_mtime_ns != before
    assert main(["dissect", str(file), *OPTIONS, "--seed", "1"]) == 2  # another report, which is not overwritten
    assert "--force" in capsys.readouterr().err
    assert main(["dissect", str(file), *OPTIONS, "--seed", "1", "--force"]) == 0
    assert json.loads((page.parent / "summary.json").read_text())["config"]["seed"] == 1


def test_full_dissections_write_the_labelled_arrays(assays, file, tmp_path):
    assert main(["dissect", str(file), str(file), *OPTIONS, "--full", "--out", "two"]) == 0
    assert (tmp_path / "two" / "data").is_dir()
    assert main(["dissect"]) == 2

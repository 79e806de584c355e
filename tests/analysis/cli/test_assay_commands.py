"""The commands made from the list of assays, and `nca pca`, as typed: what they write, and where."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import bodies

import nca
from analysis.assays import ASSAYS
from analysis.cli import output
from analysis.cli.assay import _report_folder, assay_commands
from analysis.cli.main import main
from analysis.populations.population import MAX_LOG_MSE
from analysis.report.model import Claim, Section

OPTIONS = {
    "axes": "--runs 1 --adult-step 10 --surrogates 19 --cv-repeats 1 --long-wave-surrogates 0 --weight-shuffles 0 "
    "--time-course-surrogates 0 "
    "--random-directions 0 --angles",
    "lesion": "--runs 2 --adult-step 10 --eval-steps 20 --methods atlas --phases adult --doses 0.1",
    "regenerate": "--runs 2 --adult-step 10 --eval-steps 20 --angles 2 --radii 4 --map-points 3 --follow-up-step 50 "
    "--follow-up-runs 1",
    "graft": "--source 12 10 --target 12 14 --radius 2 --adult-step 10 --eval-steps 20 --runs 2 --map-points 3 "
    "--fragments 3 --map-runs 1",
    "robust": "--runs 2 --adult-step 20 --eval-steps 20 --state-noise .5 --state-noise-per-step .1 --weight-noise .1 "
    "--fire-rates 1 --canvas-margins 2",
    "fate": "--runs 2 --adult-step 10 --eval-steps 20 --dictionary-runs 1 --surrogates 1 --radius 2 --map-points 4 "
    "--targets 1 --control-points 1 --no-fill",
    "units": "--runs 1 --kept-runs 1 --adult-step 10 --phases adult --adult-steps 20 --ablations mean --shares-kept .5 "
    "--random-orders 1 --backup-screen-runs 0 --surrogates 1",
    "pca": "--adult-step 10",
}
FIGURES = {"axes": "maps", "regenerate": "wound-map", "pca": "maps"}
FOLDERS = {
    "axes": "disc-axes",
    "dissect": "disc-dissection",
    "fate": "disc-fate",
    "graft": "disc-grafts",
    "lesion": "disc-lesions",
    "pca": "disc-pca",
    "regenerate": "disc-regeneration",
    "robust": "disc-robustness",
    "units": "disc-units",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("organisms") / "disc.safetensors"
    nca.save(bodies.static_organism(), path)
    return str(path)


def read_summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_writes_its_report_and_prints_claims_and_the_page(command, file, tmp_path, capsys):
    out = tmp_path / "report"
    sources = [file, file] if command == "graft" else [file]
    assert main([command, *sources, "--out", str(out), *OPTIONS[command].split()]) == 0
    *claims, last = capsys.readouterr().out.splitlines()
    assert last == str(out / "report.html")
    summary = read_summary(out)
    assert claims
    assert set(claims) <= {claim["text"] for claim in summary["claims"]}
    assert summary["command"] == f"nca {command}"
    assert summary["config"]["adult_step"] == (20 if command == "robust" else 10)
    assert [organism["name"] for organism in summary["organisms"]] == ["standing"]
    if command in FIGURES:
        assert (out / "figures" / f"{FIGURES[command]}.svg").stat().st_size > 1000
    if command == "graft":
        assert (out / "graft.webp").read_bytes()[:4] == b"RIFF"


def test_several_organisms_are_compared_on_one_page(file, tmp_path):
    out = tmp_path / "report"
    assert main(["regenerate", file, file, "--out", str(out), *OPTIONS["regenerate"].split()]) == 0
    summary = read_summary(out)
    assert [organism["name"] for organism in summary["organisms"]] == ["standing", "standing (2)"]
    names = {row.get("organism") for table in summary["tables"].values() for row in table} - {None}
    assert names == {"standing", "standing (2)"}


# What the command does with any assay, shown with one that only records


@pytest.fixture
def calls(monkeypatch):
    """What assays are given; each result has a warning and no portrait."""
    made = []

    def run(*organisms, config=None, log):
        *organisms, config = organisms
        made.append((organisms, config))
        return SimpleNamespace(organism=organisms[0], config=config, portrait=None, warnings=("Too small.",))

    def sections(results):
        claims = [Claim("x", f"{number} of {len(results)}") for number in range(5)]
        return [Section("x", "X", claims=claims)]

    monkeypatch.setattr(type(ASSAYS[0]), "module", lambda *_: SimpleNamespace(run=run, sections=sections))
    return made


def test_of_each_section_three_claims_are_printed_and_warnings_go_to_standard_error(calls, file, tmp_path, capsys):
    assert main(["robust", file, file, "--out", str(tmp_path / "r")]) == 0
    streams = capsys.readouterr()
    assert streams.out.splitlines() == ["0 of 2", "1 of 2", "2 of 2", str(tmp_path / "r" / "report.html")]
    assert streams.err.splitlines() == ["warning: Too small."] * 2


def test_more_than_four_organisms_take_the_quick_values_of_the_options_left_at_their_defaults(calls, file, tmp_path):
    words = ["--out", str(tmp_path / "r"), "--surrogates", "99"]
    assert main(["axes", *[file] * 4, *words]) == 0
    assert main(["axes", *[file] * 5, *words]) == 2
    assert main(["axes", *[file] * 5, *words, "--force"]) == 0
    axes = ASSAYS[0].config
    assert replace(calls[0][1], adult_step=0) == axes(surrogates=99)
    assert asdict(calls[4][1]) == asdict(axes.quick()) | {"surrogates": 99, "adult_step": calls[4][1].adult_step}


def test_a_graft_goes_from_the_donor_into_the_host_on_the_canvas_that_is_asked_for(calls, file, tmp_path):
    small = str(nca.save(bodies.static_organism(radius=5).rename("small"), tmp_path / "small.safetensors"))
    assert main(["graft", file, small, "--canvas", "30", "32", "--out", str(tmp_path / "r")]) == 0
    host, donor = calls[0][0]
    assert (host.name, host.canvas) == ("standing", (30, 32))
    assert (donor.name, donor.canvas) == ("small", (24, 24))
    assert [organism["name"] for organism in read_summary(tmp_path / "r")["organisms"]] == ["standing", "small"]


def test_an_assay_needs_only_its_line_to_become_a_command(calls, file, tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class SizeConfig:
        """Options.

        Attributes:
            runs: number of runs.
        """

        runs: int = 3
        full: bool = False

    assay = type(ASSAYS[0])("size", "size", "How large is it?", SizeConfig, population=False)
    monkeypatch.setattr("analysis.cli.assay.ASSAYS", (assay,))
    assay_commands()["size"]((file,), tmp_path / "r", config=SizeConfig(runs=2)).execute()
    assert calls[0][1] == SizeConfig(runs=2)
    assert read_summary(tmp_path / "r")["config"] == {"runs": 2, "full": False}


def test_the_limit_of_the_command_line_is_that_of_the_populations():
    assert output.MAX_LOG_MSE == MAX_LOG_MSE


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("graft {0} {0} --source 12 --target 3 3", "--source"),
        ("graft {0} {0} --source 1 1 --target 3 3 --radius 1 --adult-step 5 --eval-steps 4", "holds no cell"),
        ("graft {0} lizard --source 12 12 --target 3 3 --adult-step 5 --eval-steps 4", "equal channels"),
        ("regenerate", "At least one organism"),
        ("regenerate {0} --eval-steps 0", "eval_steps must be at least 1"),
        ("robust {0} --fire-rates 2", "0.01 to 1"),
        ("pca {0} --adult-step -1", "adult_step must be at least 0"),
        ("lesion {0} {0}", "disc.safetensors"),
    ],
)
def test_mistakes_end_in_one_message(file, words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.format(file).split()) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


# Folders


@pytest.mark.parametrize("command", FOLDERS)
def test_a_command_refuses_the_folder_of_its_name_where_others_keep_files(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    for folder in ("kept", *FOLDERS.values()):
        Path(folder).mkdir()
        (Path(folder) / "note.txt").touch()
    nca.save(bodies.static_organism(), "kept/disc.safetensors")
    donor = ["kept/disc.safetensors"] if command == "graft" else []
    assert main([command, "kept/disc.safetensors", *donor]) == 2
    assert f"nca: {FOLDERS[command]} exists and holds no report of 'nca {command}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "source", "folder"),
    [
        ("nca dissect", "lizard", "lizard-dissection"),
        ("nca graft", "planarian", "planarian-grafts"),
        ("nca axes", "lizards", "lizards-axes"),
        ("nca lesion", "lizards/lizard-growing-0", "lizard-growing-0-lesions"),
        ("nca lesion", "runs/flag-growing-0/organism.safetensors", "flag-growing-0-lesions"),
        ("nca axes", "runs/flag-growing-0/snapshots/", "flag-growing-0-snapshots-axes"),
        ("nca robust", "a.b.safetensors", "a.b-robustness"),
    ],
)
def test_the_name_is_what_was_typed_or_that_of_its_run(command, source, folder):
    assert _report_folder(command, source) == Path(folder)


def test_a_folder_keeps_its_dots_and_the_working_folder_its_name(tmp_path, monkeypatch):
    (tmp_path / "flock.2").mkdir()
    monkeypatch.chdir(tmp_path / "flock.2")
    assert _report_folder("nca axes", ".") == Path("flock.2-axes")
    assert _report_folder("nca axes", str(tmp_path / "flock.2")) == Path("flock.2-axes")


def test_a_folder_that_is_asked_for_is_taken():
    assert _report_folder("nca axes", "lizard", Path("there/mine")) == Path("there/mine")

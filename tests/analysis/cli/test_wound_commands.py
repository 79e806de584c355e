"""The commands regenerate, graft and robust, as typed."""

import json

import pytest
from helpers import bodies

import nca
from analysis.cli.main import main

REGENERATE = "--runs 2 --cut-at 10 --until 30 --angles 2 --radii 4 --places 3 --late 50 --late-runs 1"
GRAFT = "--from 12,10 --to 12,14 --radius 2 --at 10 --until 30 --runs 2 --places 3 --fragments 3"
ROBUST = "--runs 2 --at 20 --horizon 20 --once .5 --lasting .1 --weights .1 --rates 1 --edges 2"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("organisms") / "standing.safetensors"
    nca.save(bodies.static_organism(), path)
    return str(path)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_regenerate_writes_a_page_of_several_organisms(file, tmp_path, capsys):
    out = tmp_path / "page"
    assert main(["regenerate", file, file, "--out", str(out), *REGENERATE.split()]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    told = summary(out)
    assert told["made_by"] == "nca regenerate"
    assert {row["organism"] for row in told["tables"]["five-cuts"]} == {"standing", "standing (2)"}
    assert (out / "figures" / "wound-map.svg").stat().st_size > 1000
    assert "exactly nothing" in (out / "report.html").read_text()


def test_graft_writes_a_page_and_a_film(file, tmp_path):
    out = tmp_path / "page"
    assert main(["graft", file, file, "--out", str(out), *GRAFT.split(), "--map-runs", "1"]) == 0
    assert (out / "graft.webp").read_bytes()[:4] == b"RIFF"
    assert {row["kind"] for row in summary(out)["tables"]["grafts"]} >= {"graft", "sham", "colour only"}


def test_robust_writes_a_page(file, tmp_path):
    out = tmp_path / "page"
    assert main(["robust", file, "--out", str(out), *ROBUST.split()]) == 0
    assert len(summary(out)["tables"]["robustness"]) == 7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("graft {0} {0} --from 12 --to 3,3", "row,column"),
        ("graft {0} {0} --from 1,1 --to 3,3 --radius 1 --at 5 --until 9", "takes no cell"),
        ("graft {0} {0} --to 3,3", "--from"),
        ("graft {0} lizard --from 12,12 --to 3,3 --at 5 --until 9", "equal channels"),
        ("regenerate", "At least one organism"),
        ("regenerate {0} --until 100", "after cut_at"),
        ("robust {0} --rates 2", "0.01 to 1"),
    ],
)
def test_mistakes_are_told_in_one_sentence(file, words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.format(file).split()) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1

"""Where the commands of assays write if no folder is asked for."""

from pathlib import Path

import pytest
from helpers import bodies

import nca
from analysis.cli.assay import folder_for
from analysis.cli.main import main

WRITES = {
    "axes": "disc-axes",
    "dissect": "disc-dissection",
    "graft": "disc-graft",
    "lesion": "disc-lesion",
    "pca": "disc-pca",
    "regenerate": "disc-regeneration",
    "robust": "disc-robustness",
}


@pytest.mark.parametrize("command", WRITES)
def test_a_command_refuses_the_folder_of_its_name_where_others_keep_files(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    for folder in ("kept", *WRITES.values()):
        Path(folder).mkdir()
        (Path(folder) / "note.txt").touch()
    nca.save(bodies.static_organism(), "kept/disc.safetensors")
    more = ["kept/disc.safetensors", "--from", "1,1", "--to", "2,2"] if command == "graft" else []
    assert main([command, "kept/disc.safetensors", *more]) == 2
    assert f"nca: {WRITES[command]} exists and holds no report of 'nca {command}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "source", "folder"),
    [
        ("nca dissect", "lizard", "lizard-dissection"),
        ("nca graft", "planarian", "planarian-graft"),
        ("nca axes", "lizards", "lizards-axes"),
        ("nca lesion", "lizards/lizard-growing-0", "lizard-growing-0-lesion"),
        ("nca lesion", "runs/flag-growing-0/organism.safetensors", "flag-growing-0-lesion"),
        ("nca axes", "runs/flag-growing-0/keep/", "flag-growing-0-keep-axes"),
        ("nca robust", "a.b.safetensors", "a.b-robustness"),
    ],
)
def test_the_name_is_what_was_typed_or_that_of_its_run(command, source, folder):
    assert folder_for(command, source) == Path(folder)


def test_a_folder_keeps_its_dots_and_the_working_folder_its_name(tmp_path, monkeypatch):
    (tmp_path / "flock.2").mkdir()
    monkeypatch.chdir(tmp_path / "flock.2")
    assert folder_for("nca axes", ".") == Path("flock.2-axes")
    assert folder_for("nca axes", str(tmp_path / "flock.2")) == Path("flock.2-axes")


def test_a_folder_that_is_asked_for_is_taken():
    assert folder_for("nca axes", "lizard", Path("there/mine")) == Path("there/mine")

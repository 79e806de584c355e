"""`nca sweep` and `nca merge`: the same table whole or in shards, mistakes, and continuing after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from helpers import bodies

import analysis
import nca
from analysis.cli import main as cli
from analysis.cli.sweep import Sweep, _experiments, _sweep_folder
from analysis.sweeps.config import SweepConfig
from nca import edits
from nca.errors import UserError

AT_200 = SweepConfig(adult_step=200)
BODY = bodies.static_organism(bias=np.asarray([0.01, 0, 0, 0, 0, 0]))  # no two runs drift alike
SWEEP = ["sweep", "body.safetensors", "--channels", "r", "g", "--doses", "0", "0.5", "--runs", 2]
SWEEP += ["--adult-step", 0, "--eval-steps", "10", "20"]


def nca_(*words):
    """The exit code of a command."""
    return cli.main([str(word) for word in words])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with an organism and a file of edits."""
    monkeypatch.chdir(tmp_path)
    nca.save(BODY, "body.safetensors")
    edits.save([edits.erase(BODY, channels="r").at(3)], "edits.json")


def assert_same(table, expected):
    """Two tables are equal: to the bit on a CPU, nearly on an accelerator, which computes runs in batches."""
    tolerance = {"check_exact": True} if jax.default_backend() == "cpu" else {"rtol": 1e-3, "atol": 1e-5}
    pd.testing.assert_frame_equal(table, expected, **tolerance)


def test_the_command_sweeps_whole_or_in_shards_to_the_same_table(here, capsys):
    assert nca_(*SWEEP, "--edits", "edits.json", "--out", "whole") == 0
    said, folder = capsys.readouterr().out.splitlines()
    assert folder == "whole"
    assert "experiments on 2 runs, to step 20" in said
    table = pd.read_csv("whole/table.csv")
    assert table.experiment.unique().tolist() == [
        *(f"state.{c} scale {dose}" for c in "rg" for dose in ("0", "0.5")),
        "edit 0",
    ]
    assert len(table) == 5 * 2 * 2
    summary = json.loads(Path("whole/sweep.json").read_text())
    assert summary["made_by"] == "nca sweep"
    assert summary["organism"]["hash"] == BODY.hash
    assert summary["config"]["eval_steps"] == [10, 20]
    assert summary["versions"]["jax"] == jax.__version__
    for k in (2, 1):
        assert nca_(*SWEEP, "--edits", "edits.json", "--out", "shared", "--shard", f"{k}/2") == 0
    assert capsys.readouterr().out == "shared/rows.2-of-2.jsonl\nshared/rows.1-of-2.jsonl\n"
    assert nca_("merge", "shared", "--out", "merged") == 0
    assert_same(pd.read_csv("merged/table.csv"), table)
    assert [s["shard"] for s in json.loads(Path("merged/sweep.json").read_text())["shards"]] == ["1/2", "2/2"]
    assert_same(analysis.merge("merged"), analysis.merge("whole"))
    assert nca_("merge", "shared", "--out", "shared") == 0
    assert_same(pd.read_csv("shared/table.csv"), table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "3/2"], "such as 2/8; got 3/2"),
        (["--shard", "1/99"], "cannot be split into 99 shards"),
        (["--doses", "nan"], "--doses must be finite numbers"),
        (["--doses", "1"], "change nothing"),
        (["--eval-steps", "20", "10"], "ascending"),
        (["--channels", "soul"], "no channel 'soul'"),
        (["--site", "pre", "--channels", "99"], "no unit '99'"),
        (["--site", "fire"], "has no channels"),
        (["--window", "3", "3"], "last after the first"),
        (["--runs", "0"], "runs must be at least 1"),
        (["--adult-step", "-2"], "adult_step must be at least -1"),
        (["--edits", "none.json"], "none.json"),
        (["--out", "nowhere/there"], "no folder nowhere"),
        (["--out", "edits.json"], "not a folder"),
        (["--out", "."], "holds no sweep"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(here, capsys, words, message):
    before = sorted(Path().rglob("*"))
    assert nca_(*SWEEP, "--out", "s", *words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert any(option in last for option in message.split("|"))
    assert last.startswith("nca: ")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("words", [["--doses", "much"], ["--eval-steps", "1.5"], ["--window", "3"]])
def test_a_value_of_the_wrong_type_names_the_option_and_leaves_nothing(here, capsys, words):
    before = sorted(Path().rglob("*"))
    assert nca_(*SWEEP, "--out", "s", *words) == 2
    assert words[0] in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--part", "--shard"),
        ("--start", "--adult-step"),
        ("--horizons", "--eval-steps"),
        ("--untouched", "--allow-no-op"),
    ],
)
def test_an_option_that_was_renamed_is_answered_with_its_new_name(here, capsys, old, new):
    assert nca_("sweep", "body.safetensors", "--out", "s", old, "1") == 2
    assert f"{old} is now {new}" in capsys.readouterr().err


@pytest.mark.parametrize(("site", "channels"), [("update", 1), ("pre", 1), ("perception", 1), ("fire", 0)])
def test_every_site_and_mode_can_be_swept(site, channels):
    command = Sweep("body", Path("s"), site=site, channels=("0",) * channels, mode="add", doses=(1.0,), config=AT_200)
    ((name, edit),) = _experiments(command, BODY).items()
    assert name.startswith(site)
    assert (edit.site, edit.mode, int(edit.first)) == (site, "add", 200)
    assert int(edit.entries.sum()) == (3 if site == "perception" else 1)


def test_a_window_limits_the_edits():
    command = Sweep("body", Path("s"), channels=("r",), window=(120, 160))
    (edit,) = _experiments(command, BODY).values()
    assert (int(edit.first), int(edit.stop)) == (120, 160)
    with pytest.raises(UserError, match="last after the first"):
        _experiments(Sweep("body", Path("s"), window=(3, 3)), BODY)


def test_merging_nothing_or_other_files_ends_in_one_sentence(here, capsys):
    Path("empty").mkdir()
    for words, message in (
        ([], "no shards to merge"),
        (["nowhere"], "There is no nowhere"),
        (["empty"], "holds no rows of a sweep"),
        (["body.safetensors"], "choose another file"),
        (["edits.json"], "holds no rows"),
    ):
        assert nca_("merge", *words, "--out", "m") == 2
        assert message in capsys.readouterr().err
    assert not Path("m").exists()


def test_what_a_killed_merge_left_is_no_foreign_file(tmp_path):
    left = tmp_path / "m" / ".unfinished-abcdefgh-rows.jsonl"
    left.mkdir(parents=True)
    with _sweep_folder(tmp_path / "m", exclusive=True):
        assert not left.exists()
    (tmp_path / "m" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no sweep"), _sweep_folder(tmp_path / "m", exclusive=True):
        pass


def test_a_killed_shard_continues_with_the_rows_that_it_left(here, capsys):
    if jax.default_backend() != "cpu":
        pytest.skip("an accelerator finishes all these rows at once, so none is left to continue")
    words = ["sweep", "body.safetensors", "--channels", "r", "g", "b", "h0", "--mode", "add", "--doses", "0.1", "0.2"]
    words += ["--runs", "2", "--adult-step", "0", "--eval-steps", "300", "--out", "s"]
    rows = Path("s/rows.1-of-2.jsonl")
    environment = os.environ | {"PYTHONPATH": str(Path(nca.__file__).parents[1])}
    command = [sys.executable, "-m", "analysis.cli.main", *words, "--shard", "1/2"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 900
        while process.poll() is None and time.monotonic() < deadline:
            if rows.exists() and rows.read_text().count("\n") >= 3:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    text = rows.read_text()
    text = text[: text.rfind("\n") + 1]
    assert process.returncode == -signal.SIGKILL
    assert 3 <= text.count("\n") < 9
    assert nca_(*words, "--shard", "2/2") == 0
    assert nca_("merge", "s", "--out", "m") == 2
    assert "Unfinished: shard 1/2 has" in capsys.readouterr().err
    assert nca_(*words, "--shard", "1/2") == 0
    assert rows.read_text().startswith(text)
    assert nca_("merge", "s", "--out", "m") == 0
    assert nca_(*words[:-1], "whole") == 0
    assert Path("m/table.csv").read_bytes() == Path("whole/table.csv").read_bytes()

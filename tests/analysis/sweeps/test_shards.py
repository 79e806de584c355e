"""Sweeps in parts: what a part holds, that parts make the whole, and what is refused."""

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
from hypothesis import given
from hypothesis import strategies as st

import analysis
import nca
from analysis.cli import main as cli
from analysis.sweeps import sweep as sweeping
from nca import edits
from nca.errors import UserError
from nca.shards import Shard, all_shards

ROOT = Path(nca.__file__).parents[1]
BODY = bodies.standing(bias=np.asarray([0.01, 0, 0, 0, 0, 0]))  # no two runs drift alike
ALL = ("fitness", "log_error", "worse", "e", "mature")
HERE = {"runs": 3, "start": 10, "horizons": (10, 20)}


def same(one, other):
    """Whether two tables are equal: to the bit, but for an accelerator, which takes runs side by side."""
    near = {"check_exact": True} if jax.default_backend() == "cpu" else {"rtol": 1e-3, "atol": 1e-5}
    pd.testing.assert_frame_equal(one, other, **near)


@pytest.fixture(scope="module")
def experiments():
    return {
        "half": edits.scale(BODY, 0.5, channels="r"),
        "wound": edits.erase(BODY).where(bodies.disc(radius=3)).at(10),
        "less": [edits.scale(BODY, 0.9, channels="g")],
        "noise": edits.noise(BODY, 0.05, channels="b"),
    }


@pytest.fixture(scope="module")
def whole(experiments):
    return analysis.sweep(BODY, experiments, ALL, **HERE)


@pytest.fixture(scope="module")
def finished(experiments, tmp_path_factory):
    """The text of each of three parts' files, made from the last to the first."""
    folder, texts = tmp_path_factory.mktemp("finished"), {}
    for k in (3, 1, 2):
        store = folder / f"{k}.jsonl"
        analysis.sweep(BODY, experiments, ALL, part=f"{k}/3", store=store, **HERE)
        texts[f"{k}.jsonl"] = store.read_text()
    return texts


@pytest.fixture
def parts(finished, tmp_path):
    """Their files, which no test of a refusal may change."""
    for name, text in finished.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def rewritten(file, **changes):
    """Change what the first line of a part's file says."""
    first, *rest = file.read_text().splitlines()
    header = json.loads(first)["sweep"]
    for name, value in changes.items():
        header[name] = {**header[name], **value} if isinstance(value, dict) else value
    file.write_text("\n".join([json.dumps({"sweep": header}), *rest]) + "\n")


def refused(says, folder, **how):
    """Merging the files of a folder ends in a sentence and leaves them as they are."""
    before = {path: path.read_bytes() for path in folder.glob("*.jsonl")}
    with pytest.raises(UserError, match=says):
        analysis.merge(sorted(before), **how)
    assert {path: path.read_bytes() for path in folder.glob("*.jsonl")} == before


@given(st.integers(1, 40), st.integers(0, 200))
def test_parts_hold_every_member_once_and_none_more_than_one_more_than_another(n, more):
    held = [part.of(n + more) for part in all_shards(n)]
    assert [i for part in held for i in part] == list(range(n + more))
    assert max(map(len, held)) - min(map(len, held)) <= 1


def test_a_part_is_read_and_told_as_k_of_n():
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"
    assert Shard(2, 8).label == "2-of-8"


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1.5/2", "1/" + "9" * 40])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UserError, match="such as 2/8"):
        Shard.parse(text)


def test_more_parts_than_rows_are_refused(experiments):
    with pytest.raises(UserError, match=r"12 cannot be split into 13 shards; use at most 12"):
        analysis.sweep(BODY, experiments, part="1/13", **HERE)


def test_parts_made_in_any_order_merge_to_the_undivided_table_to_the_bit(parts, whole):
    files = sorted(parts.glob("*.jsonl"), reverse=True)
    assert len(files) == 3
    same(analysis.merge(files), whole)


def test_a_part_alone_is_its_rows_of_the_whole_and_grows_only_their_controls(experiments, whole, monkeypatch):
    grown = []
    twins = sweeping.twins

    def counted(organism, states, keys, *given, **more):
        grown.append(len(keys))
        return twins(organism, states, keys, *given, **more)

    monkeypatch.setattr(sweeping, "twins", counted)
    third = analysis.sweep(BODY, experiments, ALL, part="3/3", **HERE)
    assert grown == [1]
    assert set(third.run) == {2}
    alone = np.asarray(nca.grow(BODY, 30, key=nca.run_key(0, 2)))[..., :4].clip(0, 1)
    e = np.square(alone - BODY.padded_target()).sum() / (72 * 72 * 4)
    last = third[third.step == 30]
    np.testing.assert_allclose(last.log_error - last.worse, np.log10(e), atol=1e-4)
    same(third, whole[whole.run == 2].reset_index(drop=True))


def test_an_interrupted_part_goes_on_and_a_finished_one_is_only_read(parts, experiments, whole, monkeypatch):
    made, file = [], parts / "2.jsonl"
    follow = sweeping.follow

    def counted(organism, controls, rows, *given, **more):
        made.extend(rows)
        return follow(organism, controls, rows, *given, **more)

    monkeypatch.setattr(sweeping, "follow", counted)
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    file.write_text("".join(lines[:3]) + lines[3][:40])
    refused(r"Unfinished: part 2/3 has 2 of 4 rows; run the same command again", parts)
    analysis.sweep(BODY, experiments, ALL, part="2/3", store=file, **HERE)
    assert len(made) == 2
    same(analysis.merge(sorted(parts.glob("*.jsonl"))), whole)
    monkeypatch.setattr(sweeping, "twins", lambda *_, **__: pytest.fail("nothing has to be grown"))
    again = analysis.sweep(BODY, experiments, ALL, part="2/3", store=file, **HERE)
    same(again.reset_index(drop=True), again)
    assert len(made) == 2


def test_an_experiment_that_touches_another_part_s_run_is_no_mistake():
    body = bodies.fading()
    fires = [np.asarray(nca.replay(body, body.initial_state(), 0, key=nca.run_key(0, i))["fire"]) for i in range(2)]
    cells = np.argwhere(
        bodies.disc(radius=5) & ~fires[0].astype(bool).reshape(24, 24) & fires[1].astype(bool).reshape(24, 24)
    )
    spot = np.zeros((24, 24), bool)
    spot[tuple(cells[0])] = True
    held = {"held": edits.freeze(body, channels="alpha").where(spot).at(0)}
    here = {"runs": 2, "horizons": (10,), "part": "1/2"}
    found = analysis.sweep(body, held, **here)
    assert found.run.tolist() == [0]
    assert found.fired_cells.tolist() == [0]
    idle = {"idle": edits.scale(body, 1.0, channels="alpha")}
    with pytest.raises(UserError, match=r"1 of 1 experiments touch nothing \(first: idle\)"):
        analysis.sweep(body, idle, **here)
    assert len(analysis.sweep(body, idle, untouched=True, **here)) == 1


def test_a_missing_part_is_named(parts):
    (parts / "2.jsonl").unlink()
    refused(r"Shard 2/3 is missing; compute what is missing with --shard", parts)
    (parts / "1.jsonl").unlink()
    refused(r"Shards 1/3 and 2/3 are missing", parts)
    with pytest.raises(UserError, match="no shards to merge"):
        analysis.merge([])


def test_a_part_given_twice_is_refused(parts):
    (parts / "4.jsonl").write_bytes((parts / "2.jsonl").read_bytes())
    refused(r"Shard 2/3 was given twice, as .*2.jsonl and .*4.jsonl", parts)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": {"seed": 7}}, "differs from .* in seed"),
        ({"settings": {"start": 11}}, "in start"),
        ({"settings": {"horizons": [10, 20, 40]}}, "damaged"),
        ({"settings": {"metrics": ["e"]}}, "in metrics"),
        ({"settings": {"untouched": True}}, "in untouched"),
        ({"organism": {"digest": "0" * 40}}, "in organism"),
        ({"experiments": {"half": "0" * 40}}, "in experiments"),
        ({"experiments": {"fifth": "0" * 40}}, "holds a row of another|in experiments"),
        ({"settings": {"runs": 4}}, "holds a row of another"),
        ({"part": "2/4"}, "holds a row of another|different splits"),
        ({"part": "1/3"}, "holds a row of another"),
        (
            {"versions": {"nca-dissection": "9.9"}},
            r"computed by nca-dissection .* by 9.9; recompute one of them\.",
        ),
        ({"versions": {"jax": "9.9"}}, r"computed by jax .* by 9.9; .* or allow it with --allow-version-mismatch"),
        ({"format": 2}, "newer version"),
        ({"part": "soul"}, "not a part"),
        ({"settings": {"soul": 1}}, "not a part"),
        ({"settings": {"runs": "many"}}, "not a part"),
        ({"experiments": 3}, "not a part"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(parts, changes, says):
    rewritten(parts / "2.jsonl", **changes)
    refused(says, parts)


def test_other_versions_of_jax_are_merged_where_that_is_asked_for(parts, whole):
    rewritten(parts / "2.jsonl", versions={"jax": "9.9", "jaxlib": "9.9"})
    same(analysis.merge(sorted(parts.glob("*.jsonl")), mixed=True), whole)
    rewritten(parts / "2.jsonl", versions={"nca-dissection": "9.9"})
    refused("computed by nca-dissection", parts, mixed=True)


def test_doubled_and_damaged_rows_are_refused_and_equal_ones_counted_once(parts, whole):
    file = parts / "2.jsonl"
    text = file.read_text()
    last = json.loads(text.splitlines()[-1])
    file.write_text(text + json.dumps(last) + "\n")
    same(analysis.merge(sorted(parts.glob("*.jsonl"))), whole)
    last["found"]["mse"][-1] += 1
    file.write_text(text + json.dumps(last) + "\n")
    refused("twice, with different numbers", parts)
    for broken in ({"mse": [1.0]}, {"most": "much"}, {"alone": None}):
        last["found"] |= broken
        file.write_text("".join(text.splitlines(keepends=True)[:-1]) + json.dumps(last) + "\n")
        refused("damaged", parts)


@pytest.mark.parametrize(
    "text", ["a letter to a friend", "a letter\n", "[1]\n", '{"sweep": 3}\n', '{"key": 1}\n', "[" * 10**5]
)
def test_a_file_of_something_else_is_refused_and_left(parts, experiments, text):
    file = parts / "2.jsonl"
    file.write_text(text)
    refused("holds no rows of a sweep|not a part of a sweep", parts)
    with pytest.raises(UserError, match="holds no rows of a sweep"):
        analysis.sweep(BODY, experiments, ALL, part="2/3", store=file, **HERE)
    assert file.read_text() == text


def test_a_file_begun_otherwise_is_not_gone_on_with(parts, experiments):
    file = parts / "2.jsonl"
    text = file.read_text()
    for how, says in (
        ({"part": "1/3"}, "another part"),
        ({"part": "2/3", "seed": 1}, "another seed"),
        ({"part": "2/3", "runs": 4}, "another runs"),
        ({"part": None}, "holds a part of a sweep"),
    ):
        with pytest.raises(UserError, match=says):
            analysis.sweep(BODY, experiments, ALL, store=file, **HERE | how)
    rewritten(file, versions={"jax": "9.9"})
    with pytest.raises(UserError, match=r"begun by jax 9.9 and this is .*; finish it with that version"):
        analysis.sweep(BODY, experiments, ALL, part="2/3", store=file, **HERE)
    assert file.read_text().count("\n") == text.count("\n")


def test_rows_of_another_target_are_not_taken_for_these(tmp_path, experiments):
    store, here = tmp_path / "rows.jsonl", {"runs": 1, "horizons": (10,), "metrics": ("e",)}
    some = {"half": experiments["half"]}
    before = analysis.sweep(BODY, some, store=store, **here)
    other = nca.Organism(BODY.rule, BODY.seed, BODY.canvas, BODY.target * 0.5)
    assert other.hash == BODY.hash
    after = analysis.sweep(other, some, store=store, **here)
    assert (after.e - before.e).abs().min() > 1e-4


def test_parts_made_one_after_another_here_are_the_whole(tmp_path, experiments, whole):
    said = []
    found = analysis.sweep_parts(BODY, experiments, ALL, n=2, folder=tmp_path / "new", say=said.append, **HERE)
    same(found, whole)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["rows.1-of-2.jsonl", "rows.2-of-2.jsonl"]
    with pytest.raises(UserError, match="number of shards must be at least 1, got 0"):
        analysis.sweep_parts(BODY, experiments, n=0, folder=tmp_path, **HERE)


def test_parts_made_by_dask_workers_are_the_whole(tmp_path, experiments, whole):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[fleet]'")
    how = {"processes": False, "n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.Client(**how) as client:
        said = []
        found = analysis.sweep_parts(
            BODY, experiments, ALL, n=3, client=client, folder=tmp_path / "rows", say=said.append, **HERE
        )
        same(found, whole)
        assert said[-1] == "part 3/3 is made, 3 of 3"
        idle = {"idle": edits.scale(BODY, 1.0, channels="r")}
        with pytest.raises(UserError, match="touch nothing"):
            analysis.sweep_parts(BODY, idle, n=2, client=client, folder=tmp_path / "idle", **HERE)


class KilledWorker(Exception):  # noqa: N818 (Dask's name)
    """What Dask says of a task whose workers died."""


class Losing:
    """A client of Dask's kind that loses a part's worker after two rows, once."""

    def __init__(self, part):
        self.part, self.begun = part, []

    def submit(self, work, *given, pure):
        return work, given

    def gather(self, future):
        work, given = future
        part = given[4]
        self.begun.append(part)
        text = work(*given)
        if part == self.part:
            file, self.part = Path(given[5]), None
            file.write_text("".join(text.splitlines(keepends=True)[:3]))
            raise KilledWorker(part)
        return text


def test_a_lost_worker_is_named_the_others_finish_and_the_same_call_goes_on(tmp_path, experiments, whole):
    client = Losing("2/3")
    how = {"n": 3, "client": client, "folder": tmp_path, **HERE}
    with pytest.raises(UserError, match=r"Workers were lost with part 2/3 of 3 \(KilledWorker\)"):
        analysis.sweep_parts(BODY, experiments, ALL, **how)
    assert client.begun == ["1/3", "2/3", "3/3"]
    kept = (tmp_path / "rows.2-of-3.jsonl").read_text()
    assert kept.count("\n") == 3
    same(analysis.sweep_parts(BODY, experiments, ALL, **how), whole)
    assert (tmp_path / "rows.2-of-3.jsonl").read_text().startswith(kept)


def nca_(*words):
    """The exit code of a command."""
    return cli.main([str(word) for word in words])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with an organism in it."""
    monkeypatch.chdir(tmp_path)
    nca.save(BODY, "body.safetensors")
    edits.save([edits.erase(BODY, channels="r").at(3)], "edits.json")


SWEEP = ["sweep", "body.safetensors", "--channels", "r,g", "--doses", "0,0.5", "--runs", 2]
SWEEP += ["--start", 0, "--horizons", "10,20"]


def test_the_command_sweeps_whole_or_in_parts_to_the_same_table(here, capsys):
    assert nca_(*SWEEP, "--edits", "edits.json", "--out", "whole") == 0
    assert capsys.readouterr().out == "whole\n"
    found = pd.read_csv("whole/table.csv")
    assert found.experiment.unique().tolist() == [
        *(f"state.{c} scale {dose}" for c in "rg" for dose in ("0", "0.5")),
        "edit 0",
    ]
    assert len(found) == 5 * 2 * 2
    about = json.loads(Path("whole/sweep.json").read_text())
    assert about["made_by"] == "nca sweep"
    assert about["organism"]["hash"] == BODY.hash
    assert about["versions"]["jax"] == jax.__version__
    for k in (2, 1):
        assert nca_(*SWEEP, "--edits", "edits.json", "--out", "shared", "--part", f"{k}/2") == 0
    assert capsys.readouterr().out == "shared/rows.2-of-2.jsonl\nshared/rows.1-of-2.jsonl\n"
    assert nca_("merge", "shared", "--out", "merged") == 0
    same(pd.read_csv("merged/table.csv"), found)
    assert [one["part"] for one in json.loads(Path("merged/sweep.json").read_text())["parts"]] == [
        "1/2",
        "2/2",
    ]
    same(analysis.merge("merged"), analysis.merge("whole"))
    assert nca_("merge", "shared", "--out", "shared") == 0
    same(pd.read_csv("shared/table.csv"), found)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--part", "3/2"], "such as 2/8; got 3/2"),
        (["--part", "1/99"], "cannot be split into 99 parts"),
        (["--doses", "much"], "--doses takes numbers"),
        (["--doses", "nan"], "--doses takes numbers"),
        (["--doses", "1"], "touch nothing"),
        (["--horizons", "1.5"], "--horizons takes whole numbers"),
        (["--horizons", "20,10"], "ascending"),
        (["--channels", "soul"], "no channel 'soul'"),
        (["--site", "pre", "--channels", "99"], "no unit '99'"),
        (["--site", "fire"], "has no channels"),
        (["--window", "3"], "two steps"),
        (["--window", "3,3"], "last after the first"),
        (["--runs", "0"], "At least one run"),
        (["--start", "-1"], "steps from 0 up"),
        (["--edits", "none.json"], "none.json"),
        (["--out", "nowhere/there"], "no folder nowhere"),
        (["--out", "edits.json"], "not a folder"),
        (["--out", "."], "holds no sweep"),
    ],
)
def test_a_mistake_in_a_sweep_is_told_in_a_sentence_and_leaves_nothing(here, capsys, words, says):
    before = sorted(Path().rglob("*"))
    assert nca_(*SWEEP, "--out", "s", *words) == 2
    told = capsys.readouterr()
    assert says in told.err.splitlines()[-1]
    assert told.err.splitlines()[-1].startswith("nca: ")
    assert sorted(Path().rglob("*")) == before


def test_every_site_and_mode_can_be_swept(here):
    body = BODY
    for site, names in (("update", 1), ("pre", 1), ("perception", 1), ("fire", 0)):
        words = ["--channels", "0"] if names else []
        command = cli.parsed(
            [
                "sweep",
                "body.safetensors",
                "--out",
                "s",
                "--site",
                site,
                "--mode",
                "add",
                "--doses",
                "1",
                *words,
            ],
            {name: kind for name, (kind, _) in cli.COMMANDS.items()},
            "",
        )
        from analysis.cli.sweep import experiments_of

        ((name, edit),) = experiments_of(command, body).items()
        assert name.startswith(site)
        assert (edit.site, edit.mode, int(edit.first)) == (site, "add", 100)
        assert int(edit.channels.sum()) == (3 if site == "perception" else 1)


def test_merging_nothing_or_nonsense_is_told_in_a_sentence(here, capsys):
    Path("empty").mkdir()
    for words, says in (
        ([], "no parts to merge"),
        (["nowhere"], "There is no nowhere"),
        (["empty"], "holds no rows of a sweep"),
        (["body.safetensors"], "choose another file"),
        (["edits.json"], "holds no rows"),
    ):
        assert nca_("merge", *words, "--out", "m") == 2
        assert says in capsys.readouterr().err
    assert not Path("m").exists()


def test_a_killed_part_goes_on_with_the_rows_that_it_left(here, capsys):
    if jax.default_backend() != "cpu":
        pytest.skip("an accelerator finishes all these rows at once, so none is left to go on with")
    words = ["sweep", "body.safetensors", "--channels", "r,g,b,h0", "--mode", "add", "--doses", "0.1,0.2"]
    words += ["--runs", "2", "--start", "0", "--horizons", "300", "--out", "s"]
    rows = Path("s/rows.1-of-2.jsonl")
    how = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "analysis.cli.main", *words, "--part", "1/2"]
    with subprocess.Popen(command, env=how, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 900
        while process.poll() is None and time.monotonic() < until:
            if rows.exists() and rows.read_text().count("\n") >= 3:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    kept = rows.read_text()
    kept = kept[: kept.rfind("\n") + 1]
    assert process.returncode == -signal.SIGKILL
    assert 3 <= kept.count("\n") < 9
    assert nca_(*words, "--part", "2/2") == 0
    assert nca_("merge", "s", "--out", "m") == 2
    assert "Unfinished: part 1/2 has" in capsys.readouterr().err
    assert nca_(*words, "--part", "1/2") == 0
    assert rows.read_text().startswith(kept)
    assert nca_("merge", "s", "--out", "m") == 0
    undivided = [*words[:-1], "whole"]
    assert nca_(*undivided) == 0
    assert Path("m/table.csv").read_bytes() == Path("whole/table.csv").read_bytes()

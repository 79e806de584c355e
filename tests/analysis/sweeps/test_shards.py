"""Sweeps in shards: what a shard holds, that shards merge to the undivided sweep, and what is refused."""

import json
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
from analysis.sweeps import sweep as sweeping
from nca import edits
from nca.errors import UserError
from nca.shards import Shard, all_shards

BODY = bodies.static_organism(bias=np.asarray([0.01, 0, 0, 0, 0, 0]))  # no two runs drift alike
METRICS = ("fitness", "log_mse", "log_mse_increase", "mse", "mature_cells")
HERE = {"runs": 3, "adult_step": 10, "eval_steps": (10, 20)}


def assert_same(table, expected):
    """Two tables are equal: to the bit on a CPU, nearly on an accelerator, which computes runs in batches."""
    tolerance = {"check_exact": True} if jax.default_backend() == "cpu" else {"rtol": 1e-3, "atol": 1e-5}
    pd.testing.assert_frame_equal(table, expected, **tolerance)


@pytest.fixture(scope="module")
def experiments():
    return {
        "half": edits.scale(BODY, 0.5, channels="r"),
        "wound": edits.erase(BODY).where(bodies.disc(radius=3)).at(10),
        "less": [edits.scale(BODY, 0.9, channels="g")],
        "noise": edits.noise(BODY, 0.05, channels="b"),
    }


@pytest.fixture(scope="module")
def undivided(experiments):
    return analysis.sweep(BODY, experiments, METRICS, **HERE)


@pytest.fixture(scope="module")
def texts(experiments, tmp_path_factory):
    """The text of each of three shards' files, computed from the last to the first."""
    folder, texts = tmp_path_factory.mktemp("texts"), {}
    for k in (3, 1, 2):
        store = folder / f"{k}.jsonl"
        analysis.sweep(BODY, experiments, METRICS, shard=f"{k}/3", store=store, **HERE)
        texts[f"{k}.jsonl"] = store.read_text()
    return texts


@pytest.fixture
def shards(texts, tmp_path):
    """The folder of the three files."""
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def change_header(file, **changes):
    """Change the first line of a shard's file."""
    first, *rest = file.read_text().splitlines()
    header = json.loads(first)["sweep"]
    for name, value in changes.items():
        header[name] = {**header[name], **value} if isinstance(value, dict) else value
    file.write_text("\n".join([json.dumps({"sweep": header}), *rest]) + "\n")


def assert_merge_refused(message, folder, **options):
    """Merging the files of a folder raises a message and leaves them as they are."""
    before = {path: path.read_bytes() for path in folder.glob("*.jsonl")}
    with pytest.raises(UserError, match=message):
        analysis.merge(sorted(before), **options)
    assert {path: path.read_bytes() for path in folder.glob("*.jsonl")} == before


@given(st.integers(1, 40), st.integers(0, 200))
def test_shards_hold_every_item_once_and_differ_in_size_by_at_most_one(n, more):
    held = [shard.of(n + more) for shard in all_shards(n)]
    assert [i for shard in held for i in shard] == list(range(n + more))
    assert max(map(len, held)) - min(map(len, held)) <= 1


def test_a_shard_is_written_and_read_as_k_of_n():
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"
    assert Shard(2, 8).label == "2-of-8"


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1.5/2", "1/" + "9" * 40])
def test_a_malformed_shard_is_refused(text):
    with pytest.raises(UserError, match="such as 2/8"):
        Shard.parse(text)


def test_more_shards_than_rows_are_refused(experiments):
    with pytest.raises(UserError, match=r"12 cannot be split into 13 shards; use at most 12"):
        analysis.sweep(BODY, experiments, shard="1/13", **HERE)


def test_shards_computed_in_any_order_merge_to_the_undivided_table_to_the_bit(shards, undivided):
    files = sorted(shards.glob("*.jsonl"), reverse=True)
    assert len(files) == 3
    assert_same(analysis.merge(files), undivided)


def test_a_shard_holds_its_rows_of_the_undivided_sweep_and_grows_only_their_controls(
    experiments, undivided, monkeypatch
):
    grown = []
    run_controls = sweeping.run_controls

    def count_controls(organism, states, keys, *args, **kwargs):
        grown.append(len(keys))
        return run_controls(organism, states, keys, *args, **kwargs)

    monkeypatch.setattr(sweeping, "run_controls", count_controls)
    third = analysis.sweep(BODY, experiments, METRICS, shard="3/3", **HERE)
    assert grown == [1]
    assert set(third.run) == {2}
    control = np.asarray(nca.grow(BODY, 30, key=nca.run_key(0, 2)))[..., :4].clip(0, 1)
    mse = np.square(control - BODY.padded_target()).sum() / (72 * 72 * 4)
    last = third[third.step == 30]
    np.testing.assert_allclose(last.log_mse - last.log_mse_increase, np.log10(mse), atol=1e-4)
    assert_same(third, undivided[undivided.run == 2].reset_index(drop=True))


def test_an_interrupted_shard_continues_and_a_finished_one_is_only_read(shards, experiments, undivided, monkeypatch):
    computed, file = [], shards / "2.jsonl"
    run_edited = sweeping.run_edited

    def count_rows(organism, controls, rows, *args, **kwargs):
        computed.extend(rows)
        return run_edited(organism, controls, rows, *args, **kwargs)

    monkeypatch.setattr(sweeping, "run_edited", count_rows)
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    file.write_text("".join(lines[:3]) + lines[3][:40])
    assert_merge_refused(r"Unfinished: shard 2/3 has 2 of 4 rows; run the same command again", shards)
    analysis.sweep(BODY, experiments, METRICS, shard="2/3", store=file, **HERE)
    assert len(computed) == 2
    assert_same(analysis.merge(sorted(shards.glob("*.jsonl"))), undivided)
    monkeypatch.setattr(sweeping, "run_controls", lambda *_, **__: pytest.fail("nothing has to be grown"))
    table = analysis.sweep(BODY, experiments, METRICS, shard="2/3", store=file, **HERE)
    assert_same(table, undivided[undivided.run == 1].reset_index(drop=True))
    assert len(computed) == 2


def test_an_experiment_that_acts_only_on_the_runs_of_another_shard_is_allowed():
    body = bodies.fading_organism()
    fires = [np.asarray(nca.replay(body, body.initial_state(), 0, key=nca.run_key(0, i))["fire"]) for i in range(2)]
    cells = np.argwhere(
        bodies.disc(radius=5) & ~fires[0].astype(bool).reshape(24, 24) & fires[1].astype(bool).reshape(24, 24)
    )
    spot = np.zeros((24, 24), bool)
    spot[tuple(cells[0])] = True
    frozen = {"frozen": edits.freeze(body, channels="alpha").where(spot).at(0)}
    here = {"runs": 2, "adult_step": 0, "eval_steps": (10,), "shard": "1/2"}
    table = analysis.sweep(body, frozen, **here)
    assert table.run.tolist() == [0]
    assert table.cells_changed.tolist() == [0]
    idle = {"idle": edits.scale(body, 1.0, channels="alpha")}
    with pytest.raises(UserError, match=r"1 of 1 experiments change nothing \(first: idle\)"):
        analysis.sweep(body, idle, **here)
    assert len(analysis.sweep(body, idle, allow_no_op=True, **here)) == 1


def test_a_missing_shard_is_named(shards):
    (shards / "2.jsonl").unlink()
    assert_merge_refused(r"Shard 2/3 is missing; compute what is missing with --shard", shards)
    (shards / "1.jsonl").unlink()
    assert_merge_refused(r"Shards 1/3 and 2/3 are missing", shards)
    with pytest.raises(UserError, match="no shards to merge"):
        analysis.merge([])


def test_a_shard_given_twice_is_refused(shards):
    (shards / "4.jsonl").write_bytes((shards / "2.jsonl").read_bytes())
    assert_merge_refused(r"Shard 2/3 was given twice, as .*2.jsonl and .*4.jsonl", shards)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"seed": 7}}, "differs from .* in seed"),
        ({"config": {"adult_step": 11}}, "in adult_step"),
        ({"config": {"eval_steps": [10, 20, 40]}}, "damaged"),
        ({"config": {"metrics": ["mse"]}}, "in metrics"),
        ({"config": {"allow_no_op": True}}, "in allow_no_op"),
        ({"organism": {"digest": "0" * 40}}, "in organism"),
        ({"experiments": {"half": "0" * 40}}, "in experiments"),
        ({"experiments": {"fifth": "0" * 40}}, "holds a row of another|in experiments"),
        ({"config": {"runs": 4}}, "holds a row of another"),
        ({"shard": "2/4"}, "holds a row of another|different splits"),
        ({"shard": "1/3"}, "holds a row of another"),
        (
            {"versions": {"nca-dissection": "9.9"}},
            r"computed by nca-dissection .* by 9.9; recompute one of them\.",
        ),
        ({"versions": {"jax": "9.9"}}, r"computed by jax .* by 9.9; .* or allow it with --allow-version-mismatch"),
        ({"format": 3}, "a newer version"),
        ({"format": 1}, "an older version"),
        ({"shard": "soul"}, "not a shard"),
        ({"config": {"soul": 1}}, "not a shard"),
        ({"config": {"runs": "many"}}, "not a shard"),
        ({"experiments": 3}, "not a shard"),
        ({"config": {"adult_step": 1.5}}, "not whole"),
    ],
)
def test_shards_that_do_not_belong_together_are_refused(shards, changes, message):
    change_header(shards / "2.jsonl", **changes)
    assert_merge_refused(message, shards)


def test_other_versions_of_jax_are_merged_only_where_allowed(shards, undivided):
    change_header(shards / "2.jsonl", versions={"jax": "9.9", "jaxlib": "9.9"})
    table = analysis.merge(sorted(shards.glob("*.jsonl")), allow_version_mismatch=True)
    assert_same(table, undivided)
    assert [shard["versions"]["jax"] for shard in table.attrs["shards"]] == [jax.__version__, "9.9", jax.__version__]
    change_header(shards / "2.jsonl", versions={"nca-dissection": "9.9"})
    assert_merge_refused("computed by nca-dissection", shards, allow_version_mismatch=True)


def test_contradicting_and_damaged_rows_are_refused_and_equal_ones_count_once(shards, undivided):
    file = shards / "2.jsonl"
    text = file.read_text()
    last = json.loads(text.splitlines()[-1])
    file.write_text(text + json.dumps(last) + "\n")
    assert_same(analysis.merge(sorted(shards.glob("*.jsonl"))), undivided)
    last["mse"][-1] += 1
    file.write_text(text + json.dumps(last) + "\n")
    assert_merge_refused("twice, with different numbers", shards)
    for broken in ({"mse": [1.0]}, {"largest_change": "much"}, {"mse_control": None}):
        file.write_text("".join(text.splitlines(keepends=True)[:-1]) + json.dumps(last | broken) + "\n")
        assert_merge_refused("damaged", shards)


@pytest.mark.parametrize(
    "text", ["a letter to a friend", "a letter\n", "[1]\n", '{"sweep": 3}\n', '{"key": 1}\n', "[" * 10**5]
)
def test_another_kind_of_file_is_refused_and_left_as_it_is(shards, experiments, text):
    file = shards / "2.jsonl"
    file.write_text(text)
    assert_merge_refused("holds no rows of a sweep|not a shard of a sweep", shards)
    with pytest.raises(UserError, match="holds no rows of a sweep"):
        analysis.sweep(BODY, experiments, METRICS, shard="2/3", store=file, **HERE)
    assert file.read_text() == text


def test_a_file_begun_with_other_options_is_not_continued(shards, experiments):
    file = shards / "2.jsonl"
    text = file.read_text()
    for options, message in (
        ({"shard": "1/3"}, "another shard"),
        ({"shard": "2/3", "seed": 1}, "another seed"),
        ({"shard": "2/3", "runs": 4}, "another runs"),
        ({"shard": None}, "holds the rows of a shard"),
    ):
        with pytest.raises(UserError, match=message):
            analysis.sweep(BODY, experiments, METRICS, store=file, **HERE | options)
    change_header(file, versions={"jax": "9.9"})
    with pytest.raises(UserError, match=r"begun with another version of jax \(9.9, now .*\); continue as it was begun"):
        analysis.sweep(BODY, experiments, METRICS, shard="2/3", store=file, **HERE)
    assert file.read_text().count("\n") == text.count("\n")


def test_rows_of_another_target_are_computed_anew(tmp_path, experiments):
    store, here = tmp_path / "rows.jsonl", {"runs": 1, "adult_step": 0, "eval_steps": (10,), "metrics": ("mse",)}
    half = {"half": experiments["half"]}
    before = analysis.sweep(BODY, half, store=store, **here)
    other = nca.Organism(BODY.rule, BODY.seed, BODY.canvas, BODY.target * 0.5)
    assert other.hash == BODY.hash
    after = analysis.sweep(other, half, store=store, **here)
    assert (after.mse - before.mse).abs().min() > 1e-4


def test_shards_computed_one_after_another_equal_the_undivided_sweep(tmp_path, experiments, undivided):
    folder = tmp_path / "new"
    assert_same(analysis.sweep_shards(BODY, experiments, METRICS, shards=2, folder=folder, **HERE), undivided)
    assert sorted(p.name for p in folder.iterdir()) == ["rows.1-of-2.jsonl", "rows.2-of-2.jsonl"]
    with pytest.raises(UserError, match="number of shards must be at least 1, got 0"):
        analysis.sweep_shards(BODY, experiments, shards=0, folder=tmp_path, **HERE)


def test_shards_computed_by_dask_workers_equal_the_undivided_sweep(tmp_path, experiments, undivided):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[fleet]'")
    cluster = {"processes": False, "n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.Client(**cluster) as client:
        lines = []
        table = analysis.sweep_shards(
            BODY, experiments, METRICS, shards=3, client=client, folder=tmp_path / "rows", log=lines.append, **HERE
        )
        assert_same(table, undivided)
        assert lines[-1] == "shard 3/3 is finished, 3 of 3"
        idle = {"idle": edits.scale(BODY, 1.0, channels="r")}
        with pytest.raises(UserError, match="change nothing"):
            analysis.sweep_shards(BODY, idle, shards=2, client=client, folder=tmp_path / "idle", **HERE)


class KilledWorker(Exception):  # noqa: N818 (Dask's name)
    """What Dask raises for a task whose workers died."""


class FailingClient:
    """A client like Dask's that loses the worker of one shard after two rows, once."""

    def __init__(self, shard):
        self.shard, self.submitted = shard, []

    def submit(self, work, *args, pure):
        return FailingFuture(self, work, args)


class FailingFuture:
    """The future of a task of such a client."""

    def __init__(self, client, work, args):
        self.client, self.work, self.args = client, work, args

    def result(self):
        shard, path = self.args[-2:]
        self.client.submitted.append(shard)
        text = self.work(*self.args)
        if shard == self.client.shard:
            self.client.shard = None
            Path(path).write_text("".join(text.splitlines(keepends=True)[:3]))
            raise KilledWorker(shard)
        return text


def test_after_a_lost_worker_the_others_finish_and_the_same_call_continues(tmp_path, experiments, undivided):
    client = FailingClient("2/3")
    options = {"shards": 3, "client": client, "folder": tmp_path, **HERE}
    with pytest.raises(UserError, match=r"Shards 2/3 of 3 failed \(KilledWorker: 2/3\); finished rows are kept"):
        analysis.sweep_shards(BODY, experiments, METRICS, **options)
    assert client.submitted == ["1/3", "2/3", "3/3"]
    rows = (tmp_path / "rows.2-of-3.jsonl").read_text()
    assert rows.count("\n") == 3
    assert_same(analysis.sweep_shards(BODY, experiments, METRICS, **options), undivided)
    assert (tmp_path / "rows.2-of-3.jsonl").read_text().startswith(rows)

"""The run folder: what is written when, rolling back, resuming to the bit, refusing what is damaged."""

import json
import signal

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers.training import corrupting_step, failing_step, mock_step, no_log, run_files, tiny
from PIL import Image

from nca.errors import UserError
from nca.io import load
from nca.training import loop
from nca.training.checkpoint import (
    Checkpoint,
    append_metrics,
    read_metrics,
    restore_checkpoint,
    save_checkpoint,
)
from nca.training.config import read_config
from nca.training.loop import train
from nca.training.step import init_training


@pytest.fixture
def quick(monkeypatch):
    """Training steps that cost nothing."""
    monkeypatch.setattr(loop, "compile_step", mock_step)


# The folder.


def test_a_run_writes_its_configuration_metrics_checkpoint_and_organisms(quick, tmp_path):
    organism = train(tiny(snapshots="10,20", plot_every=20), tmp_path / "run", log=no_log)
    folder = tmp_path / "run"
    assert read_config(folder) == tiny(snapshots="10,20", plot_every=20)
    assert [row["step"] for row in read_metrics(folder)] == list(range(5, 45, 5))
    assert load(folder / "organism.safetensors").hash == organism.hash
    snapshots = {p.name: load(p) for p in (folder / "snapshots").iterdir()}
    assert set(snapshots) == {"step-000010.safetensors", "step-000020.safetensors"}
    assert {o.provenance["steps"] for o in snapshots.values()} == {10, 20}
    assert {p.name for p in (folder / "pool").iterdir()} == {"000020.png", "000040.png"}
    assert (folder / "loss.png").is_file()
    assert not [p for p in folder.rglob(".*") if p.is_file()]


def test_the_pool_is_seen_early_and_enlarged(quick, tmp_path):
    train(tiny(steps=60, plot_every=40), tmp_path / "run", log=no_log)
    pictures = {p.name: p for p in (tmp_path / "run" / "pool").iterdir()}
    assert set(pictures) == {"000040.png", "000050.png", "000060.png"}
    with Image.open(pictures["000050.png"]) as picture:
        assert picture.size == (8 * 20 * 3, 4 * 20 * 3)


def test_a_snapshot_before_the_first_step_is_the_untrained_organism(quick, tmp_path):
    train(tiny(snapshots="log", steps=5), tmp_path / "run", log=no_log)
    first = load(tmp_path / "run" / "snapshots" / "step-000000.safetensors")
    np.testing.assert_array_equal(first.rule.weights[1][...], 0.0)
    assert len(list((tmp_path / "run" / "snapshots").iterdir())) == 4


def test_a_row_is_the_mean_since_the_row_before(quick, tmp_path, monkeypatch):
    losses = iter(np.arange(1, 100, dtype=np.float32))

    def counting(task):
        step = mock_step(task)
        return lambda state, key, phase: (
            step(state, key, phase)[0],
            step(state, key, phase)[1] | {"loss": next(losses)},
        )

    monkeypatch.setattr(loop, "compile_step", counting)
    train(tiny(steps=13), tmp_path / "run", log=no_log)
    rows = read_metrics(tmp_path / "run")
    assert [(row["step"], row["loss"]) for row in rows] == [(5, 3.0), (10, 8.0), (13, 12.0)]
    assert rows[0]["log10_loss"] == pytest.approx(np.log10(3))


# Rolling back.


@pytest.mark.parametrize(
    ("metric", "reason"), [("finite", "not finite"), ("max_abs", "exceeds 1000"), ("dead", "every sample is dead")]
)
def test_a_failure_rolls_back_to_the_checkpoint_under_another_key(monkeypatch, tmp_path, metric, reason):
    keys, lines = [], []
    # Calls 10..14 are steps 11..15, seen at step 15; the checkpoint is at step 10.
    calls = range(10, 15) if metric == "dead" else [12]
    monkeypatch.setattr(loop, "compile_step", failing_step(calls=calls, metric=metric, keys=keys))
    organism = train(tiny(steps=20), tmp_path / "run", log=lines.append)
    rows = read_metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == [5, 10, 10, 15, 20]
    event = rows[2]
    assert event["event"] == "rollback"
    assert reason in event["reason"]
    assert (event["failed_at"], event["reseeded"], event["rollbacks"]) == (15, 0, 1)
    assert len(keys) == len(set(keys)) == 25
    assert any(reason in line and "back to step 10" in line for line in lines)
    assert organism.provenance["rollbacks"] == 1
    assert organism.provenance["steps"] == 20


def test_one_step_with_a_dead_batch_is_no_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "compile_step", failing_step(calls=[3, 11], metric="dead"))
    assert train(tiny(steps=20), tmp_path / "run", log=no_log).provenance["rollbacks"] == 0


def test_training_gives_up_after_max_rollbacks(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "compile_step", failing_step(calls=range(12, 10**6)))
    with pytest.raises(UserError, match=r"failed 4 times, last at step 15 .* at step 10 .* lower --learning-rate"):
        train(tiny(max_rollbacks=3), tmp_path / "run", log=no_log)
    assert [r["rollbacks"] for r in read_metrics(tmp_path / "run") if "event" in r] == [1, 2, 3]
    with pytest.raises(UserError, match="lower --learning-rate"):
        train(tiny(max_rollbacks=0), tmp_path / "other", log=no_log)


@pytest.mark.parametrize("save_every", [3, 7, 10])
def test_no_checkpoint_is_saved_of_a_state_that_was_not_checked(monkeypatch, tmp_path, save_every):
    # From step 12 on all parameters are NaN, until a rollback, which must find a good state.
    monkeypatch.setattr(loop, "compile_step", corrupting_step(11))
    organism = train(tiny(steps=20, log_every=10, save_every=save_every), tmp_path / "run", log=no_log)
    assert all(np.isfinite(w).all() for w in organism.arrays().values())
    assert organism.provenance["rollbacks"] == 1


def test_a_learning_rate_that_explodes_ends_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="try a lower --learning-rate"):
        train(tiny(learning_rate=1e4, max_rollbacks=1, steps=60), tmp_path / "run", log=no_log)


# Refusals.


def test_a_second_run_into_the_same_folder_is_refused(quick, tmp_path):
    train(tiny(steps=5), tmp_path / "run", log=no_log)
    before = run_files(tmp_path / "run")
    with pytest.raises(UserError, match="already holds a training run: continue it with --resume"):
        train(tiny(steps=5, seed=2), tmp_path / "run", log=no_log)
    assert run_files(tmp_path / "run") == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="Cannot make the folder"):
        train(tiny(), tmp_path / "file" / "run", log=no_log)


@pytest.mark.parametrize("is_old", [False, True])
def test_a_checkpoint_holds_the_train_state_to_the_bit(tmp_path, is_old):
    _, state = init_training(tiny())
    save_checkpoint(tmp_path, state, Checkpoint(7, 2, 99))
    if is_old:  # as earlier versions wrote it
        path = tmp_path / "state.safetensors"
        mark = {"mark": '{"step": 7, "rollbacks": 2, "written": 99}'}
        path.write_bytes(safetensors.numpy.save(safetensors.numpy.load_file(path), metadata=mark))
    restored, checkpoint = restore_checkpoint(tmp_path, state)
    assert checkpoint == Checkpoint(7, 2, 99)
    for saved, read in zip(*map(jax.tree.leaves, (state, restored)), strict=True):
        assert saved.dtype == read.dtype
        np.testing.assert_array_equal(saved, read)


def test_rows_after_the_checkpoint_are_dropped_when_it_is_restored(tmp_path):
    _, state = init_training(tiny())
    rows = [{"step": n, "loss": n / 3, "log10_loss": -1.0} for n in range(4)]
    sizes = [append_metrics(tmp_path, row) for row in rows]
    save_checkpoint(tmp_path, state, Checkpoint(1, 0, sizes[1]))
    restore_checkpoint(tmp_path, state)
    assert read_metrics(tmp_path) == rows[:2]
    assert append_metrics(tmp_path, {"step": 9}) == sizes[1] + len(json.dumps({"step": 9})) + 1


@pytest.mark.parametrize(
    "row",
    [
        *('{"event": "rollback"}', '{"step": 1e400}', '{"loss": 1.0}', "[" * 5000, '"step"', "\xff"),
        '{"step": "x", "loss": 1.0, "log10_loss": 0.0}',
        '{"step": 1, "loss": 1.0, "log10_loss": "y"}',
        f'{{"step": {"9" * 5000}}}',
    ],
)
def test_damaged_rows_of_metrics_are_skipped(tmp_path, row):
    good = {"step": 1, "loss": 0.5, "log10_loss": -0.3}
    (tmp_path / "metrics.jsonl").write_bytes(f"{row}\n{json.dumps(good)}\n".encode("latin-1"))
    assert read_metrics(tmp_path) == [good]


# What is there already, and Ctrl-C.


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "organism.safetensors", "loss.png", "pool/a.png"])
def test_files_that_are_not_of_a_run_are_not_overwritten(quick, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match="which a training run would overwrite"):
        train(tiny(), tmp_path, log=no_log)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["{}"]


def test_files_of_the_users_own_stay_in_a_run_folder(quick, tmp_path):
    for name in (".unfinished-thesis", "notes.txt"):
        (tmp_path / name).write_text("mine")
    train(tiny(steps=2), tmp_path, log=no_log)
    train(tiny(steps=4), tmp_path, resume=True, log=no_log)
    assert (tmp_path / ".unfinished-thesis").read_text() == (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("step", [1, 7, 10, 39])
def test_an_interrupt_saves_a_checkpoint_and_the_run_continues_to_the_bit(monkeypatch, tmp_path, step):
    def interrupted_step(task):
        plain, numbers = mock_step(task), iter(range(1, 100))

        def advance(*arguments):
            if next(numbers) == step:
                signal.raise_signal(signal.SIGINT)
            return plain(*arguments)

        return advance

    monkeypatch.setattr(loop, "compile_step", mock_step)
    train(tiny(), tmp_path / "whole", log=no_log)
    monkeypatch.setattr(loop, "compile_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), tmp_path / "run", log=no_log)
    monkeypatch.setattr(loop, "compile_step", mock_step)
    if step > 1:  # before the first step has ended nothing is held back, and there is nothing to save
        _, checkpoint = restore_checkpoint(tmp_path / "run", init_training(tiny())[1])
        assert checkpoint.step == step
    train(tiny(), tmp_path / "run", resume=True, log=no_log)
    assert run_files(tmp_path / "run") == run_files(tmp_path / "whole")

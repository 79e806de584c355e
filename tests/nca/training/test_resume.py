"""Resuming: to the bit after any stop, and never from damaged files or with another configuration."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import training as script_module
from helpers.training import failing_step, mock_step, no_log, run_files, tiny

from nca.errors import UserError
from nca.training import loop
from nca.training.checkpoint import read_metrics
from nca.training.loop import train

SCRIPT = Path(script_module.__file__)


@pytest.fixture
def quick(monkeypatch):
    """Training steps that cost nothing."""
    monkeypatch.setattr(loop, "compile_step", mock_step)


# Stopped and resumed.


class Stopped(BaseException):
    """A stop that no code of ours may catch."""


def stopping(number):
    """`mock_step`, stopped in the call of that number."""
    calls = iter(range(10**9))

    def compile_step(task):
        step = mock_step(task)

        def stop_or_step(state, key, phase):
            if next(calls) == number:
                raise Stopped
            return step(state, key, phase)

        return stop_or_step

    return compile_step


@pytest.mark.parametrize(("log_every", "save_every"), [(5, 10), (5, 7), (10, 3), (1, 1)])
def test_a_stopped_run_resumes_to_the_bit(monkeypatch, tmp_path, log_every, save_every):
    config = tiny(steps=30, log_every=log_every, save_every=save_every, snapshots="8,16")
    monkeypatch.setattr(loop, "compile_step", mock_step)
    train(config, tmp_path / "uninterrupted", log=no_log)
    expected = run_files(tmp_path / "uninterrupted")
    for number in (0, 5, 9, 17, 29):
        folder = tmp_path / f"stopped-{number}"
        monkeypatch.setattr(loop, "compile_step", stopping(number))
        with pytest.raises(Stopped):
            train(config, folder, log=no_log)
        monkeypatch.setattr(loop, "compile_step", mock_step)
        train(config, folder, resume=True, log=no_log)
        assert run_files(folder) == expected


def test_a_run_resumed_after_a_rollback_repeats_it_to_the_bit(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "compile_step", failing_step(calls=[12]))
    train(tiny(steps=30), tmp_path / "uninterrupted", log=no_log)
    monkeypatch.setattr(loop, "compile_step", failing_step(calls=[12, 24], metric="finite"))
    with pytest.raises(UserError, match="lower --learning-rate"):
        train(tiny(steps=30, max_rollbacks=1), tmp_path / "stopped", log=no_log)
    # The checkpoint remembers the rollback; what follows uses the keys after it.
    monkeypatch.setattr(loop, "compile_step", mock_step)
    (tmp_path / "stopped" / "config.json").write_text((tmp_path / "uninterrupted" / "config.json").read_text())
    train(tiny(steps=30), tmp_path / "stopped", resume=True, log=no_log)
    assert run_files(tmp_path / "stopped") == run_files(tmp_path / "uninterrupted")


def test_a_finished_run_may_be_made_longer(quick, tmp_path):
    train(tiny(steps=20), tmp_path / "run", log=no_log)
    train(tiny(steps=40), tmp_path / "run", resume=True, log=no_log)
    train(tiny(steps=40), tmp_path / "uninterrupted", log=no_log)
    assert run_files(tmp_path / "run") == run_files(tmp_path / "uninterrupted")


def script(folder, number, kind, environment):
    command = [sys.executable, str(SCRIPT), str(folder), str(number), kind]
    home = os.pathsep.join((str(Path(loop.__file__).parents[2]), str(SCRIPT.parents[1])))
    return subprocess.Popen(
        command,
        env=os.environ | environment | {"PYTHONPATH": home},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_killed_at_any_write_to_the_disk_a_run_resumes_to_the_bit(tmp_path):
    assert script(tmp_path / "uninterrupted", 0, "mock", {}).wait() == 0
    number, killed = 5, 0
    while True:
        # Every time it gets further, and dies now before, now after a write to the disk.
        process = script(tmp_path / "killed", number, "mock", {})
        error = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode == -9, error.decode()
        killed, number = killed + 1, number + 9
    assert killed >= 3
    assert run_files(tmp_path / "killed") == run_files(tmp_path / "uninterrupted")


def test_real_training_killed_at_random_moments_resumes_to_the_bit(tmp_path):
    import random
    import time

    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    assert script(tmp_path / "uninterrupted", 0, "real", cache).wait() == 0
    draw, log, killed = random.Random(0), tmp_path / "killed" / "metrics.jsonl", 0
    for _ in range(20):
        size = log.stat().st_size if log.exists() else 0
        process = script(tmp_path / "killed", 0, "real", cache)
        while process.poll() is None and not (log.exists() and log.stat().st_size > size):
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.15))
        if killed < 2:
            process.kill()
        error = process.communicate()[1]
        killed += process.returncode == -9
        if process.returncode == 0:
            break
        assert process.returncode == -9, error.decode()
    assert killed >= 2
    assert run_files(tmp_path / "killed") == run_files(tmp_path / "uninterrupted")


# What cannot be resumed.


def test_a_run_is_resumed_with_the_same_configuration_or_not_at_all(quick, tmp_path):
    train(tiny(steps=5), tmp_path / "run", log=no_log)
    before = run_files(tmp_path / "run")
    with pytest.raises(UserError, match="started with another learning_rate, fire_rate;"):
        train(tiny(steps=5, learning_rate=1e-3, fire_rate=0.4), tmp_path / "run", resume=True, log=no_log)
    assert run_files(tmp_path / "run") == before


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(UserError, match="no checkpoint to resume from"):
        train(tiny(), tmp_path / "nowhere", resume=True, log=no_log)
    assert not (tmp_path / "nowhere").exists()


def damages():
    """Functions that damage the bytes of a checkpoint."""
    other = {"0000": np.zeros(3, np.float32)}
    from safetensors.numpy import save

    return {
        "emptied": lambda data: b"",
        "cut short": lambda data: data[: len(data) // 2],
        "garbage": lambda data: b"garbage" * 100,
        "no metadata": lambda data: save(other),
        "other arrays": lambda data: save(other, metadata={"checkpoint": '{"step": 1}'}),
        "strange metadata": lambda data: save(other, metadata={"checkpoint": "[]"}),
        "an enormous header": lambda data: b"\xff" * 8 + data[8:],
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_checkpoint_is_refused_in_one_sentence(quick, tmp_path, damage):
    train(tiny(steps=5), tmp_path / "run", log=no_log)
    path = tmp_path / "run" / "state.safetensors"
    path.write_bytes(damages()[damage](path.read_bytes()))
    with pytest.raises(UserError, match="is not a checkpoint of this run") as caught:
        train(tiny(steps=5), tmp_path / "run", resume=True, log=no_log)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"speed": 3}', '{"steps": "many"}', "\x00"])
def test_a_damaged_configuration_is_refused_in_one_sentence(quick, tmp_path, text):
    train(tiny(steps=5), tmp_path / "run", log=no_log)
    (tmp_path / "run" / "config.json").write_text(text)
    with pytest.raises(UserError, match="config"):
        train(tiny(steps=5), tmp_path / "run", resume=True, log=no_log)


@pytest.mark.parametrize("damage", ["deleted", "cut short", "scribbled on"])
def test_damaged_metrics_do_not_lose_a_run_that_can_be_resumed(quick, tmp_path, damage):
    train(tiny(steps=20), tmp_path / "run", log=no_log)
    path = tmp_path / "run" / "metrics.jsonl"
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if damage == "cut short" else b"\x00 not json\n" + path.read_bytes())
    organism = train(tiny(steps=40), tmp_path / "run", resume=True, log=no_log)
    assert organism.provenance["steps"] == 40
    assert [row["step"] for row in read_metrics(tmp_path / "run")][-4:] == [25, 30, 35, 40]

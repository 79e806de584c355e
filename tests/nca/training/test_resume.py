"""Resuming: to the bit after any stop, and never from what is damaged or was begun otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import recipes
from helpers.recipes import contents, pretend, quiet, recording, tiny

from nca.errors import UserError
from nca.training import checkpoint as runs
from nca.training import loop as training
from nca.training.loop import train

SCRIPT = Path(recipes.__file__)


@pytest.fixture
def quick(monkeypatch):
    """Training steps that cost nothing."""
    monkeypatch.setattr(training, "compiled", pretend)


# Stopped and resumed.


class Stopped(BaseException):
    """What stands for a stop that no code of ours may catch."""


def stopping(number):
    """`pretend`, stopped in the call of that number."""
    calls = iter(range(10**9))

    def compiled(task):
        step = pretend(task)

        def stop_or_step(trainer, key):
            if next(calls) == number:
                raise Stopped
            return step(trainer, key)

        return stop_or_step

    return compiled


@pytest.mark.parametrize(("log_every", "save_every"), [(5, 10), (5, 7), (10, 3), (1, 1)])
def test_a_stopped_run_resumes_to_the_bit(monkeypatch, tmp_path, log_every, save_every):
    recipe = tiny(steps=30, log_every=log_every, save_every=save_every, keep="8,16")
    monkeypatch.setattr(training, "compiled", pretend)
    train(recipe, tmp_path / "whole", say=quiet)
    expected = contents(tmp_path / "whole")
    for number in (0, 5, 9, 17, 29):
        folder = tmp_path / f"stopped-{number}"
        monkeypatch.setattr(training, "compiled", stopping(number))
        with pytest.raises(Stopped):
            train(recipe, folder, say=quiet)
        monkeypatch.setattr(training, "compiled", pretend)
        train(recipe, folder, resume=True, say=quiet)
        assert contents(folder) == expected


def test_a_run_resumed_after_a_rollback_repeats_it_to_the_bit(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "compiled", recording(poisoned=[12]))
    train(tiny(steps=30), tmp_path / "whole", say=quiet)
    monkeypatch.setattr(training, "compiled", recording(poisoned=[12, 24], how="finite"))
    with pytest.raises(UserError, match="lower --rate"):
        train(tiny(steps=30, rollbacks=1), tmp_path / "stopped", say=quiet)
    # The checkpoint remembers the rollback; what follows uses the keys after it.
    monkeypatch.setattr(training, "compiled", pretend)
    (tmp_path / "stopped" / "config.json").write_text((tmp_path / "whole" / "config.json").read_text())
    train(tiny(steps=30), tmp_path / "stopped", resume=True, say=quiet)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_a_finished_run_may_be_made_longer(quick, tmp_path):
    train(tiny(steps=20), tmp_path / "run", say=quiet)
    train(tiny(steps=40), tmp_path / "run", resume=True, say=quiet)
    train(tiny(steps=40), tmp_path / "whole", say=quiet)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def script(folder, number, kind, environment):
    command = [sys.executable, str(SCRIPT), str(folder), str(number), kind]
    home = os.pathsep.join((str(Path(training.__file__).parents[2]), str(SCRIPT.parents[1])))
    return subprocess.Popen(
        command,
        env=os.environ | environment | {"PYTHONPATH": home},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_killed_at_any_write_to_the_disk_a_run_resumes_to_the_bit(tmp_path):
    assert script(tmp_path / "whole", 0, "pretended", {}).wait() == 0
    number, killed = 5, 0
    while True:
        # Every time it gets further, and dies now before, now after a write to the disk.
        process = script(tmp_path / "killed", number, "pretended", {})
        error = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode == -9, error.decode()
        killed, number = killed + 1, number + 9
    assert killed >= 3
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_real_training_killed_at_random_moments_resumes_to_the_bit(tmp_path):
    import random
    import time

    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    assert script(tmp_path / "whole", 0, "real", cache).wait() == 0
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
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


# What cannot be resumed.


def test_a_run_is_resumed_as_it_was_begun_or_not_at_all(quick, tmp_path):
    train(tiny(steps=5), tmp_path / "run", say=quiet)
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match="begun with another rate, fire_rate;"):
        train(tiny(steps=5, rate=1e-3, fire_rate=0.4), tmp_path / "run", resume=True, say=quiet)
    assert contents(tmp_path / "run") == before


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(UserError, match="no checkpoint to resume from"):
        train(tiny(), tmp_path / "nowhere", resume=True, say=quiet)
    assert not (tmp_path / "nowhere").exists()


def damages():
    """Ways in which a checkpoint comes to harm."""
    other = {"0000": np.zeros(3, np.float32)}
    from safetensors.numpy import save

    return {
        "emptied": lambda data: b"",
        "cut short": lambda data: data[: len(data) // 2],
        "garbage": lambda data: b"garbage" * 100,
        "no note": lambda data: save(other),
        "other arrays": lambda data: save(other, metadata={"mark": '{"step": 1, "rollbacks": 0, "written": 0}'}),
        "a strange note": lambda data: save(other, metadata={"mark": "[]"}),
        "an enormous header": lambda data: b"\xff" * 8 + data[8:],
    }


@pytest.mark.parametrize("harm", damages())
def test_a_damaged_checkpoint_is_refused_in_one_sentence(quick, tmp_path, harm):
    train(tiny(steps=5), tmp_path / "run", say=quiet)
    path = tmp_path / "run" / "state.safetensors"
    path.write_bytes(damages()[harm](path.read_bytes()))
    with pytest.raises(UserError, match="is not a checkpoint of this run") as caught:
        train(tiny(steps=5), tmp_path / "run", resume=True, say=quiet)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"speed": 3}', '{"steps": "many"}', "\x00"])
def test_a_damaged_recipe_is_refused_in_one_sentence(quick, tmp_path, text):
    train(tiny(steps=5), tmp_path / "run", say=quiet)
    (tmp_path / "run" / "config.json").write_text(text)
    with pytest.raises(UserError, match="config"):
        train(tiny(steps=5), tmp_path / "run", resume=True, say=quiet)


@pytest.mark.parametrize("harm", ["deleted", "cut short", "scribbled on"])
def test_damaged_metrics_do_not_lose_a_run_that_can_be_resumed(quick, tmp_path, harm):
    train(tiny(steps=20), tmp_path / "run", say=quiet)
    path = tmp_path / "run" / "metrics.jsonl"
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if harm == "cut short" else b"\x00 not json\n" + path.read_bytes())
    organism = train(tiny(steps=40), tmp_path / "run", resume=True, say=quiet)
    assert organism.provenance["steps"] == 40
    assert [row["step"] for row in runs.metrics(tmp_path / "run")][-4:] == [25, 30, 35, 40]

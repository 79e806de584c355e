"""Populations: what members share, what they do not, how they fail, stop, go on and are put together."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.recipes import quiet, tiny

from nca.errors import UserError
from nca.io import load, save
from nca.shards import Part
from nca.training import checkpoint as runs
from nca.training import crew, devices, memory
from nca.training.loop import train
from nca.training.merge import merge_population
from nca.training.population import check_alike, members_of, parts_of, read_recipes, read_table, recipes_of
from nca.training.population_loop import train_population

ROOT = Path(__file__).parents[3]
SHORT = {"size": 10, "margin": 3, "batch": 4, "pool": 8, "shortest": 6, "longest": 9, "steps": 4}
OFTEN = {"log_every": 2, "save_every": 2}


def distance(one, other):
    """The largest difference between the arrays of two organisms."""
    pairs = zip(one.arrays().values(), other.arrays().values(), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def pretending(spoilt=lambda member, number, rollbacks: False):
    """In place of the compiled step: members walk by their keys; some of them fail."""

    def compiled(task, targets, mesh):
        def step(trainers, seeds, rollbacks, numbers, active):
            told = {"loss": [], "dead": [], "largest": [], "finite": []}
            walks = []
            for i in range(len(seeds)):
                key = [int(seeds[i]), int(rollbacks[i]), int(numbers[i])]
                draw = np.random.default_rng(key)
                walks.append(draw.normal() * bool(active[i]))
                told["loss"].append(np.float32(draw.uniform(0.01, 1)))
                told["dead"].append(0)
                told["largest"].append(1.0)
                told["finite"].append(not spoilt(i, int(numbers[i]), int(rollbacks[i])))
            walk = np.asarray(walks, np.float32)
            parameters = jax.tree.map(lambda p: p + walk.reshape(-1, *[1] * (p.ndim - 1)), trainers.parameters)
            return replace(trainers, parameters=parameters), told | {k: np.asarray(v) for k, v in told.items()}

        return step

    return compiled


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(crew, "compiled", pretending())


def test_members_trained_at_once_are_those_trained_alone(tmp_path):
    recipe = tiny(**SHORT, **OFTEN, regime="regenerating")
    recipes = recipes_of(recipe, 2, tmp_path / "all", targets=("lizard", "flag"))
    members = train_population(recipes, tmp_path / "all", say=quiet)
    assert [m.status for m in members] == ["trained"] * 4
    assert len({load(m.file).hash for m in members}) == 4
    alone = train(recipes[3], tmp_path / "alone", say=quiet)
    assert alone.name == members[3].name == "flag-regenerating-2"
    assert distance(alone, load(members[3].file)) < 1e-6
    one, other = (runs.metrics(f) for f in (tmp_path / "alone", members[3].folder))
    assert [r["step"] for r in one] == [r["step"] for r in other] == [2, 4]
    np.testing.assert_allclose([r["loss"] for r in one], [r["loss"] for r in other], rtol=1e-5)


@pytest.mark.usefixtures("pretended")
def test_a_member_that_dies_stops_no_other(tmp_path, monkeypatch):
    recipes = recipes_of(tiny(rollbacks=2), 3, tmp_path)
    lines = []
    monkeypatch.setattr(crew, "compiled", pretending(lambda member, number, _: member == 1 and number > 14))
    members = train_population(recipes, tmp_path, say=lines.append)
    assert [m.status for m in members] == ["trained", "failed", "trained"]
    assert "Training failed 3 times" in members[1].why
    assert any(line.startswith("lizard-persistent-2: ") and "back to step 10" in line for line in lines)
    rows = json.loads((tmp_path / "population.json").read_text())["members"]
    assert [r["status"] for r in rows] == ["trained", "failed", "trained"]
    assert rows[1]["why"] == members[1].why
    assert len([r for r in runs.metrics(members[1].folder) if "event" in r]) == 2
    alone = recipes_of(tiny(rollbacks=2), 3, tmp_path / "again")
    monkeypatch.setattr(crew, "compiled", pretending())
    unharmed = train_population(alone, tmp_path / "again", say=quiet)
    for number in (0, 2):
        assert load(unharmed[number].file).hash == load(members[number].file).hash


def test_a_member_taken_back_once_goes_on_with_another_key(tmp_path, monkeypatch):
    recipes = recipes_of(tiny(), 2, tmp_path)
    seen = set()

    def spoilt(member, number, rollbacks):
        seen.add((member, number, rollbacks))
        return member == 0 and number == 17 and rollbacks == 0

    monkeypatch.setattr(crew, "compiled", pretending(spoilt))
    members = train_population(recipes, tmp_path, say=quiet)
    assert [m.status for m in members] == ["trained", "trained"]
    assert (0, 12, 1) in seen
    assert (1, 12, 1) not in seen
    rows = [r for r in runs.metrics(members[0].folder) if "loss" in r]
    assert [r["step"] for r in rows] == list(range(5, 41, 5))


@pytest.mark.usefixtures("pretended")
def test_an_interrupted_population_goes_on_to_the_same_organisms(tmp_path):
    def whole(folder):
        return recipes_of(tiny(keep="15"), 3, folder, regimes=("growing:20", "persistent"))

    def stop(line):
        if line.startswith("step 15/40"):
            raise KeyboardInterrupt

    expected = train_population(whole(tmp_path / "one"), tmp_path / "one", say=quiet)
    recipes = whole(tmp_path / "two")
    with pytest.raises(KeyboardInterrupt):
        train_population(recipes, tmp_path / "two", say=stop)
    assert [m.status for m in read_table(tmp_path / "two")] == ["trained"] * 3 + ["waiting"] * 3
    assert read_recipes(tmp_path / "two") == recipes
    found = train_population(recipes, tmp_path / "two", resume=True, say=quiet)
    for one, other in zip(expected, found, strict=True):
        assert load(one.file).hash == load(other.file).hash
        assert runs.metrics(one.folder) == runs.metrics(other.folder)
    assert (found[3].folder / "keep/step-000015.safetensors").is_file()


@pytest.mark.usefixtures("pretended")
def test_each_regime_begins_from_its_own_ancestor(tmp_path, monkeypatch):
    regimes = ("growing:10", "persistent:10", "regenerating:10")
    recipes = recipes_of(tiny(rollbacks=0), 2, tmp_path, targets=("lizard", "flag"), regimes=regimes)
    members = train_population(recipes, tmp_path, say=quiet)
    assert len(members) == 12
    assert all(m.status == "trained" for m in members)
    for member in members[4:]:
        before = load(member.file).provenance["started_from"]
        ancestor = {"persistent": "growing", "regenerating": "persistent"}[member.config.regime]
        assert before["name"] == member.name.replace(member.config.regime, ancestor)
        assert before["hash"] == load(tmp_path / f"{before['name']}.safetensors").hash
    later = recipes_of(tiny(start=str(tmp_path), seed=2), 1, tmp_path / "later")
    assert Path(later[0].start).name == "lizard-regenerating-2.safetensors"

    monkeypatch.setattr(crew, "compiled", pretending(lambda member, *_: member == 0))
    lines = []
    home = tmp_path / "half"
    recipes = recipes_of(tiny(rollbacks=0), 2, home, regimes=("growing:10", "persistent:10"))
    members = train_population(recipes, home, say=lines.append)
    assert [m.status for m in members] == ["failed", "trained", "waiting", "failed"]
    assert any("lizard-persistent-1 is left out" in line for line in lines)


@pytest.mark.usefixtures("pretended")
def test_parts_trained_apart_are_the_whole(tmp_path):
    def whole(folder):
        return recipes_of(tiny(steps=10), 3, folder, regimes=("growing", "persistent"))

    expected = train_population(whole(tmp_path / "whole"), tmp_path / "whole", say=quiet)
    assert [str(p) for p in parts_of(whole(tmp_path), 2)] == ["1/2", "2/2", "2/2"] * 2
    for k in (1, 2):
        train_population(whole(tmp_path / str(k)), tmp_path / str(k), part=Part(k, 2), say=quiet)
    assert [m.status for m in read_table(tmp_path / "1")] == ["trained", "waiting", "waiting"] * 2
    with pytest.raises(UserError, match=r"part 2/2"):
        merge_population([tmp_path / "1"], tmp_path / "short")
    merge_population([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
    for one, other in zip(expected, read_table(tmp_path / "merged"), strict=True):
        assert (other.name, other.status) == (one.name, "trained")
        assert load(one.file).hash == load(other.file).hash


@pytest.mark.usefixtures("pretended")
def test_what_cannot_be_one_population_is_refused(tmp_path):
    with pytest.raises(UserError, match="share size"):
        check_alike([tiny(), tiny(seed=2, size=13)])
    with pytest.raises(UserError, match="same name"):
        check_alike([tiny(), tiny()])
    with pytest.raises(UserError, match="at least 1 seed"):
        recipes_of(tiny(), 0, tmp_path)
    for words in ("healing", "growing:many", "growing:"):
        if words == "growing:":
            assert recipes_of(tiny(), 1, tmp_path, regimes=(words,))[0].steps == tiny().steps
            continue
        with pytest.raises(UserError, match="Regimes are"):
            recipes_of(tiny(), 1, tmp_path, regimes=(words,))
    with pytest.raises(UserError, match="once"):
        recipes_of(tiny(), 1, tmp_path, regimes=("growing", "growing:5"))
    with pytest.raises(UserError, match="at most 2"):
        members_of(recipes_of(tiny(), 2, tmp_path), tmp_path, 3)
    train_population(recipes_of(tiny(steps=5), 2, tmp_path), tmp_path, say=quiet)
    before = (tmp_path / "population.json").read_bytes()
    with pytest.raises(UserError, match="--resume"):
        train_population(recipes_of(tiny(steps=5), 2, tmp_path), tmp_path, say=quiet)
    with pytest.raises(UserError, match="another population"):
        train_population(recipes_of(tiny(steps=6), 2, tmp_path), tmp_path, resume=True, say=quiet)
    assert (tmp_path / "population.json").read_bytes() == before
    with pytest.raises(UserError, match="seed 9"):
        recipes_of(tiny(start=str(tmp_path), seed=9), 1, tmp_path / "later")
    (tmp_path / "population.json").write_text("{")
    with pytest.raises(UserError, match="not the table"):
        read_table(tmp_path)


def test_rules_of_other_conventions_are_not_trained_by_one_program(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "compiled", pretending())
    first = train(tiny(**SHORT), tmp_path / "a", say=quiet)
    turned = replace(first, rule=first.rule.turned(1.0))
    save(turned, tmp_path / "turned.safetensors")
    recipes = [tiny(**SHORT, start=str(tmp_path / "a/organism.safetensors")), tiny(**SHORT, seed=2)]
    recipes[1] = replace(recipes[1], start=str(tmp_path / "turned.safetensors"))
    with pytest.raises(UserError, match="other conventions"):
        train_population(recipes, tmp_path / "both", say=quiet)


# Memory.


def test_what_does_not_fit_is_told_with_what_to_lower():
    config = tiny(size=56, margin=8, channels=16, pool=1024, batch=8, longest=95)
    pool, record = 1024 * 72 * 72 * 16 * 4, 95 * 8 * 72 * 72 * 16 * 4
    assert memory.pool_bytes(config) == pool
    assert memory.record_bytes(config) == record
    told = memory.advice(config, 32, 8 * 2**30)
    assert f"train at most {int(8 * 2**30 / (2 * memory.states_bytes(config, 32) / 32))} members" in told
    assert "not 32" in told
    told = memory.advice(config, 1, None)
    assert "--batch from 8 to 4" in told
    with pytest.raises(UserError, match="lower --batch"), memory.told_what_fits(config):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
    with pytest.raises(RuntimeError, match="else"), memory.told_what_fits(config):
        raise RuntimeError("something else")


# Several devices, several processes.

WORDS = ["lizard", "--measure", "0", "--dense"]
for name, value in (SHORT | OFTEN | {"hidden": 16, "channels": 8, "sheet_every": 0, "regime": "persistent"}).items():
    WORDS += [f"--{name.replace('_', '-')}", str(value)]


def nca(words, devices=1):
    """`nca train` in a process of its own."""
    flags = f"--xla_force_host_platform_device_count={devices}" if devices > 1 else ""
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "analysis.cli.main", "train", *words], env=env, **pipes)


def finished(process):
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def test_eight_devices_train_what_one_does(tmp_path):
    alone = train(tiny(**SHORT | {"batch": 8}, **OFTEN, seed=0, dense=True), tmp_path / "alone", say=quiet)
    code, _, err = finished(nca([*WORDS, "--batch", "8", "--out", str(tmp_path / "batch")], devices=8))
    assert code == 0, err
    assert "cpu x 8" in err
    assert distance(alone, load(tmp_path / "batch/organism.safetensors")) < 1e-5
    words = [*WORDS, "--batch", "8", "--population", "3", "--out", str(tmp_path / "members")]
    code, out, err = finished(nca(words, devices=8))
    assert code == 0, err
    assert out.count("trained") == 3
    assert distance(alone, load(tmp_path / "members/lizard-persistent-0.safetensors")) < 1e-6


def test_two_processes_train_what_one_does_and_the_loss_of_one_loses_nothing(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*WORDS, "--out", str(tmp_path / "run"), "--coordinator"]

    def two(port, more):
        several = [[*words, f"127.0.0.1:{port}", "--processes", "2", "--process", str(i), *more] for i in (0, 1)]
        return [nca(each) for each in several]

    first, second = two(port, ["--steps", "4000"])
    for line in first.stderr:
        if line.startswith("step 4/"):
            second.send_signal(signal.SIGKILL)
            break
    code, _, err = finished(first)
    second.communicate()
    assert code == 2, err
    assert "of the 2 processes was lost" in err
    assert "Traceback" not in err
    step = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])["step"]
    last = int(step) + 4
    both = two(port + 1, ["--resume", "--steps", str(last)])
    for code, _, err in map(finished, both):
        assert code == 0, err
    alone = train(tiny(**SHORT | {"steps": last}, **OFTEN, seed=0, dense=True), tmp_path / "alone", say=quiet)
    assert distance(alone, load(tmp_path / "run/organism.safetensors")) < 1e-4


def test_a_process_that_cannot_join_is_told_why():
    with pytest.raises(UserError, match="--processes and --process"):
        devices.join("127.0.0.1:1", None, None)
    with pytest.raises(UserError, match="got 2 and 2"):
        devices.join("127.0.0.1:1", 2, 2)


def test_a_batch_is_spread_only_where_it_divides():
    from nca.training.loop import begin

    task, trainer = begin(tiny())
    assert devices.spread(task, trainer) == (task, trainer)
    assert devices.everywhere(task, trainer) is trainer
    assert isinstance(trainer.pool, jnp.ndarray)

"""Populations: what members share, how they fail and resume, shards, devices and processes."""

import json
import os
import re
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
from helpers.training import disc_picture, no_log, tiny

from nca.errors import UserError
from nca.io import load, save
from nca.shards import Shard
from nca.training import devices, loop
from nca.training.checkpoint import read_metrics
from nca.training.loop import train, train_population
from nca.training.population import (
    merge_population,
    population_configs,
    population_members,
    read_members,
    write_population,
)
from nca.training.step import init_training, sample_mse

ROOT = Path(__file__).parents[3]
SHORT = {"size": 10, "margin": 3, "batch_size": 4, "pool_size": 8, "min_steps": 6, "max_steps": 9, "steps": 4}
OFTEN = {"log_every": 2, "save_every": 2}


def distance(one, other):
    """The largest difference between the arrays of two organisms."""
    pairs = zip(one.arrays().values(), other.arrays().values(), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def mock_population_step(fails=lambda member, step, rollbacks: False):
    """In place of `compile_population_step`: the parameters of each member walk by its key; some steps fail."""

    def compile_population_step(task, targets, mesh):
        def step(state, seeds, rollbacks, steps, phase, active):
            metrics = {"loss": [], "dead": [], "max_abs": [], "finite": []}
            walks = []
            for i in range(len(seeds)):
                rng = np.random.default_rng([int(seeds[i]), int(rollbacks[i]), int(steps[i])])
                walks.append(rng.normal() * bool(active[i]))
                metrics["loss"].append(np.float32(rng.uniform(0.01, 1)))
                metrics["dead"].append(0)
                metrics["max_abs"].append(1.0)
                metrics["finite"].append(not fails(i, int(steps[i]), int(rollbacks[i])))
            walk = np.asarray(walks, np.float32)
            parameters = jax.tree.map(lambda p: p + walk.reshape(-1, *[1] * (p.ndim - 1)), state.parameters)
            return replace(state, parameters=parameters), {k: np.asarray(v) for k, v in metrics.items()}

        return step

    return compile_population_step


@pytest.fixture
def mocked(monkeypatch):
    monkeypatch.setattr(loop, "compile_population_step", mock_population_step())


def test_members_trained_together_equal_those_trained_alone(tmp_path):
    config = tiny(**SHORT, **OFTEN, regime="regenerating")
    configs = population_configs(config, 2, tmp_path / "all", targets=("lizard", "flag"))
    members = train_population(configs, tmp_path / "all", log=no_log)
    assert [m.status for m in members] == ["trained"] * 4
    assert len({load(m.file).hash for m in members}) == 4
    alone = train(configs[3], tmp_path / "alone", log=no_log)
    assert alone.name == members[3].name == "flag-regenerating-2"
    assert distance(alone, load(members[3].file)) < 1e-6
    one, other = (read_metrics(f) for f in (tmp_path / "alone", members[3].folder))
    assert [r["step"] for r in one] == [r["step"] for r in other] == [2, 4]
    np.testing.assert_allclose([r["loss"] for r in one], [r["loss"] for r in other], rtol=1e-5)


@pytest.mark.usefixtures("mocked")
def test_a_member_that_fails_stops_no_other(tmp_path, monkeypatch):
    configs = population_configs(tiny(max_rollbacks=2), 3, tmp_path)
    lines = []
    monkeypatch.setattr(
        loop, "compile_population_step", mock_population_step(lambda member, step, _: member == 1 and step > 14)
    )
    members = train_population(configs, tmp_path, log=lines.append)
    assert [m.status for m in members] == ["trained", "failed", "trained"]
    assert "Training failed 3 times" in members[1].reason
    assert any(line.startswith("lizard-persistent-2: ") and "back to step 10" in line for line in lines)
    rows = json.loads((tmp_path / "population.json").read_text())["members"]
    assert [r["status"] for r in rows] == ["trained", "failed", "trained"]
    assert rows[1]["reason"] == members[1].reason
    assert len([r for r in read_metrics(members[1].folder) if "event" in r]) == 2
    alone = population_configs(tiny(max_rollbacks=2), 3, tmp_path / "again")
    monkeypatch.setattr(loop, "compile_population_step", mock_population_step())
    unharmed = train_population(alone, tmp_path / "again", log=no_log)
    for number in (0, 2):
        assert load(unharmed[number].file).hash == load(members[number].file).hash


def test_a_member_that_rolled_back_continues_with_another_key(tmp_path, monkeypatch):
    configs = population_configs(tiny(), 2, tmp_path)
    seen = set()

    def fails(member, step, rollbacks):
        seen.add((member, step, rollbacks))
        return member == 0 and step == 17 and rollbacks == 0

    monkeypatch.setattr(loop, "compile_population_step", mock_population_step(fails))
    members = train_population(configs, tmp_path, log=no_log)
    assert [m.status for m in members] == ["trained", "trained"]
    assert (0, 12, 1) in seen
    assert (1, 12, 1) not in seen
    rows = [r for r in read_metrics(members[0].folder) if "loss" in r]
    assert [r["step"] for r in rows] == list(range(5, 41, 5))


@pytest.mark.usefixtures("mocked")
def test_an_interrupted_population_resumes_to_the_same_organisms(tmp_path):
    def configs_in(folder):
        return population_configs(tiny(snapshots="15"), 3, folder, regimes=("growing:20", "persistent"))

    def stop(line):
        if "step 15/40" in line:
            raise KeyboardInterrupt

    expected = train_population(configs_in(tmp_path / "one"), tmp_path / "one", log=no_log)
    configs = configs_in(tmp_path / "two")
    with pytest.raises(KeyboardInterrupt):
        train_population(configs, tmp_path / "two", log=stop)
    assert [m.status for m in read_members(tmp_path / "two")] == ["trained"] * 3 + ["waiting"] * 3
    assert [m.config for m in read_members(tmp_path / "two")] == configs
    resumed = train_population(configs, tmp_path / "two", resume=True, log=no_log)
    for one, other in zip(expected, resumed, strict=True):
        assert load(one.file).hash == load(other.file).hash
        assert read_metrics(one.folder) == read_metrics(other.folder)
    assert (resumed[3].folder / "snapshots/step-000015.safetensors").is_file()


@pytest.mark.usefixtures("mocked")
def test_each_regime_starts_from_its_own_ancestor(tmp_path, monkeypatch):
    regimes = ("growing:10", "persistent:10", "regenerating:10")
    configs = population_configs(tiny(max_rollbacks=0), 2, tmp_path, targets=("lizard", "flag"), regimes=regimes)
    members = train_population(configs, tmp_path, log=no_log)
    assert len(members) == 12
    assert all(m.status == "trained" for m in members)
    for member in members[4:]:
        before = load(member.file).provenance["started_from"]
        ancestor = {"persistent": "growing", "regenerating": "persistent"}[member.config.regime]
        assert before["name"] == member.name.replace(member.config.regime, ancestor)
        assert before["hash"] == load(tmp_path / f"{before['name']}.safetensors").hash
    later = population_configs(tiny(init_from=str(tmp_path), seed=2), 1, tmp_path / "later")
    assert Path(later[0].init_from).name == "lizard-regenerating-2.safetensors"

    monkeypatch.setattr(loop, "compile_population_step", mock_population_step(lambda member, *_: member == 0))
    lines = []
    home = tmp_path / "half"
    configs = population_configs(tiny(max_rollbacks=0), 2, home, regimes=("growing:10", "persistent:10"))
    members = train_population(configs, home, log=lines.append)
    assert [m.status for m in members] == ["failed", "trained", "waiting", "failed"]
    assert any("lizard-persistent-1 is left out" in line for line in lines)


@pytest.mark.usefixtures("mocked")
def test_shards_trained_apart_equal_the_undivided_population(tmp_path):
    def configs_in(folder):
        return population_configs(tiny(steps=10), 3, folder, regimes=("growing", "persistent"))

    expected = train_population(configs_in(tmp_path / "undivided"), tmp_path / "undivided", log=no_log)
    assert [m.shard for m in population_members(configs_in(tmp_path), tmp_path, 2)] == ["1/2", "2/2", "2/2"] * 2
    for k in (1, 2):
        train_population(configs_in(tmp_path / str(k)), tmp_path / str(k), shard=Shard(k, 2), log=no_log)
    assert [m.status for m in read_members(tmp_path / "1")] == ["trained", "waiting", "waiting"] * 2
    with pytest.raises(UserError, match=r"shard 2/2"):
        merge_population([tmp_path / "1"], tmp_path / "short")
    merge_population([tmp_path / "1", tmp_path / "2"], tmp_path / "merged")
    for one, other in zip(expected, read_members(tmp_path / "merged"), strict=True):
        assert (other.name, other.status) == (one.name, "trained")
        assert load(one.file).hash == load(other.file).hash


@pytest.mark.usefixtures("mocked")
def test_configurations_that_cannot_be_one_population_are_refused(tmp_path):
    with pytest.raises(UserError, match="share size"):
        train_population([tiny(), tiny(seed=2, size=13)], tmp_path)
    with pytest.raises(UserError, match="same name"):
        train_population([tiny(), tiny()], tmp_path)
    with pytest.raises(UserError, match="1 to 10000 networks"):
        population_configs(tiny(), 0, tmp_path)
    for words in ("healing", "growing:many", "growing:"):
        if words == "growing:":
            assert population_configs(tiny(), 1, tmp_path, regimes=(words,))[0].steps == tiny().steps
            continue
        with pytest.raises(UserError, match="Regimes are"):
            population_configs(tiny(), 1, tmp_path, regimes=(words,))
    with pytest.raises(UserError, match="once"):
        population_configs(tiny(), 1, tmp_path, regimes=("growing", "growing:5"))
    with pytest.raises(UserError, match="at most 2"):
        population_members(population_configs(tiny(), 2, tmp_path), tmp_path, 3)
    train_population(population_configs(tiny(steps=5), 2, tmp_path), tmp_path, log=no_log)
    before = (tmp_path / "population.json").read_bytes()
    with pytest.raises(UserError, match="--resume"):
        train_population(population_configs(tiny(steps=5), 2, tmp_path), tmp_path, log=no_log)
    with pytest.raises(UserError, match="another population"):
        train_population(population_configs(tiny(steps=6), 2, tmp_path), tmp_path, resume=True, log=no_log)
    assert (tmp_path / "population.json").read_bytes() == before
    with pytest.raises(UserError, match="seed 9"):
        population_configs(tiny(init_from=str(tmp_path), seed=9), 1, tmp_path / "later")
    (tmp_path / "population.json").write_text("{")
    with pytest.raises(UserError, match="does not describe a population"):
        read_members(tmp_path)


def test_members_that_start_from_different_conventions_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "compile_population_step", mock_population_step())
    first = train(tiny(**SHORT), tmp_path / "a", log=no_log)
    turned = replace(first, rule=first.rule.rotate(1.0))
    save(turned, tmp_path / "turned.safetensors")
    configs = [tiny(**SHORT, init_from=str(tmp_path / "a/organism.safetensors")), tiny(**SHORT, seed=2)]
    configs[1] = replace(configs[1], init_from=str(tmp_path / "turned.safetensors"))
    with pytest.raises(UserError, match="different conventions"):
        train_population(configs, tmp_path / "both", log=no_log)


# Memory.


def test_running_out_of_memory_is_explained_with_what_to_lower(monkeypatch):
    config = tiny(size=56, margin=8, channels=16, pool_size=1024, batch_size=8, max_steps=95)
    pool, record = 1024 * 72 * 72 * 16 * 4, 95 * 8 * 72 * 72 * 16 * 4
    states = 32 * pool + record  # on a CPU the members take turns
    needs = f"the states alone take {states / 2**30:.1f} GiB (pool {32 * pool / 2**30:.1f} GiB)"
    fit = f"train at most {int(8 * 2**30 / (2 * states / 32))} members at once (--population, or --shard), not 32"
    monkeypatch.setattr(devices, "_memory_limit", lambda: 8 * 2**30)
    with pytest.raises(UserError, match=re.escape(f"memory of 8.0 GiB does not hold this training: {needs}; {fit}")):
        run_out_of_memory(config, 32)
    monkeypatch.setattr(devices, "_memory_limit", lambda: None)
    needs = f"take {(pool + record) / 2**20:.0f} MiB (pool {pool / 2**20:.0f} MiB)"
    with pytest.raises(
        UserError, match=re.escape(f"{needs}; lower --batch-size from 8 to 4, or --pool-size from 1024")
    ):
        run_out_of_memory(config, 1)
    monkeypatch.setattr(devices, "_memory_limit", lambda: int(2 * (pool + record / 8)) + 1)
    with pytest.raises(UserError, match="from 8 to 1"):
        run_out_of_memory(config, 1)
    with pytest.raises(RuntimeError, match="else"), devices.explain_out_of_memory(config):
        raise RuntimeError("something else")


def run_out_of_memory(config, members):
    with devices.explain_out_of_memory(config, members):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")


# Several devices, several processes.

WORDS = ["lizard", "--recipe", "published", "--eval-runs", "0", "--dense"]
for name, value in (
    SHORT | OFTEN | {"hidden_size": 16, "channels": 8, "plot_every": 0, "regime": "persistent"}
).items():
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
    alone = train(tiny(**SHORT | {"batch_size": 8}, **OFTEN, seed=0, dense=True), tmp_path / "alone", log=no_log)
    code, _, err = finished(nca([*WORDS, "--batch-size", "8", "--out", str(tmp_path / "batch")], devices=8))
    assert code == 0, err
    assert "cpu x 8" in err
    assert distance(alone, load(tmp_path / "batch/organism.safetensors")) < 1e-5
    words = [*WORDS, "--batch-size", "8", "--population", "3", "--out", str(tmp_path / "members")]
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
        if "step 4/" in line:
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
    alone = train(tiny(**SHORT | {"steps": last}, **OFTEN, seed=0, dense=True), tmp_path / "alone", log=no_log)
    assert distance(alone, load(tmp_path / "run/organism.safetensors")) < 1e-4


def test_numbers_of_processes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="--processes and --process"), devices.join_processes("127.0.0.1:1"):
        pass
    with pytest.raises(UserError, match="got 2 and 2"), devices.join_processes("127.0.0.1:1", 2, 2):
        pass


def test_a_batch_is_spread_only_where_it_divides():
    task, state = init_training(tiny())
    assert devices.spread_batch(task, state) == (task, state)
    assert isinstance(state.pool, jnp.ndarray)


# Damaged folders.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": "1/2147483647"}, "cannot be split into 2147483647 shards"),
        ({"shard": "1/x"}, "does not describe a population"),
        ({"shard": 3}, "does not describe a population"),
        ({"name": 5}, "a member has no name"),
        ({"target": 5}, "target of a training configuration cannot be '5'"),
        ({"steps": "many"}, "steps of a training configuration cannot be 'many'"),
        ({"pool_size": 1e9}, "pool_size of a training configuration"),
        ({"snapshots": "1", "steps": 2**31 - 1}, "take fewer"),
    ],
)
def test_a_hostile_index_is_refused_before_anything_is_looped_over(tmp_path, change, message):
    write_population(population_members([tiny()], tmp_path))
    path = tmp_path / "population.json"
    index = json.loads(path.read_text())
    place = index["members"][0] if change.keys() & {"shard", "name"} else index["configs"][0]
    place.update(change)
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=message):
        read_members(tmp_path)


def test_the_reason_of_a_failure_may_be_any_bytes(tmp_path):
    (member,) = population_members([tiny()], tmp_path)
    member.folder.mkdir(parents=True)
    (member.folder / "failed.txt").write_bytes(b"\xff\xfe\xff")
    (member,) = population_members([tiny()], tmp_path)
    assert member.status == "failed"


def test_a_population_is_bounded_before_it_is_built(tmp_path):
    with pytest.raises(UserError, match="1 to 10000 networks, seeds x targets x regimes; got 999999999"):
        population_configs(tiny(), 999_999_999, tmp_path)


def test_members_may_have_arrays_as_targets_and_share_one_loss_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "compile_population_step", mock_population_step())
    pictures = [disc_picture(10, radius) for radius in (3, 4)]
    config = tiny(**SHORT, **OFTEN, loss=lambda states, target: sample_mse(target, states))
    config = replace(config, size=40)
    configs = population_configs(config, 1, tmp_path, targets=pictures)
    members = train_population(configs, tmp_path, log=no_log)
    for member, picture in zip(members, pictures, strict=True):
        assert member.status == "trained"
        np.testing.assert_array_equal(load(member.file).target, picture)
        assert str(member.config.target) in member.name
    assert [m.status for m in read_members(tmp_path)] == ["trained", "trained"]
    with pytest.raises(UserError, match="Members of a population share loss"):
        population_members([configs[0], replace(configs[1], loss=lambda states, target: 0)], tmp_path)

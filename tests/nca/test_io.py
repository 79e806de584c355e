"""Organism files: what is saved is what is loaded, and nothing is lost when writing fails."""

import json
import os
import resource
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.makers import organism, random_rule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import nca
from nca import io as files
from nca.errors import UserError
from nca.files import write_file
from nca.io import bundled, bundled_populations, load, save
from nca.organism import Organism
from nca.rollout import grow, run_key
from nca.training.config import TrainConfig
from nca.versions import modern_keys, versions

RULES = {
    "published": {},
    "learned": {"perception": "learned", "filters": 2, "kernel_channels": 1},
    "two hidden layers": {"hidden": (9, 7), "activation_slope": 0.1},
    "turned, steered, clipped": {"perception": "steered", "steer": 4, "angle": 0.7, "clip": (-2.0, 2.0)},
    "straight colour, circular": {"premultiplied": False, "boundary": "circular", "inclusive": True},
}


def full(name, **conventions):
    """An organism with every field set."""
    draw = np.random.default_rng(0)
    return Organism(
        random_rule(1, **conventions),
        seed=draw.normal(size=(2, 1, 8)),
        canvas=(12, 10),
        target=draw.uniform(size=(6, 5, 4)),
        name=name,
        provenance={"steps": 12, "versions": {"jax": "0"}, "notes": ["ä", None]},
        metrics={"loss": 0.25},
    )


@pytest.mark.parametrize("name", RULES)
def test_what_is_saved_is_what_is_loaded(tmp_path, name):
    before = full(name, **RULES[name])
    after = load(save(before, tmp_path / "it.safetensors"))
    assert after.hash == before.hash
    assert after.rule.spec == before.rule.spec
    assert (after.name, after.canvas) == (name, (12, 10))
    assert (after.provenance, after.metrics) == (before.provenance, before.metrics)
    np.testing.assert_array_equal(after.target, before.target)
    for key, values in before.arrays().items():
        assert after.arrays()[key].shape == values.shape, key
        np.testing.assert_array_equal(after.arrays()[key], values, err_msg=key)
    assert jax.tree.structure(after.rule) == jax.tree.structure(before.rule)


def test_what_is_loaded_grows_bit_for_bit_like_what_was_saved(tmp_path):
    before = organism(random_rule(1), (9, 11))
    after = load(save(before, tmp_path / "it.safetensors"))
    np.testing.assert_array_equal(*(grow(o, 6, key=run_key(0)) for o in (before, after)))


def test_an_organism_without_target_or_history_stays_so(tmp_path):
    after = load(save(organism(random_rule(0)), tmp_path / "bare.safetensors"))
    assert after.target is None
    assert after.provenance == {}
    assert after.metrics == {}


def test_saving_twice_writes_the_same_bytes(tmp_path):
    first, second = (save(full("same"), tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=texts, provenance=st.dictionaries(texts, values, max_size=4))
def test_names_and_histories_of_any_kind_survive(tmp_path, name, provenance):
    before = Organism(random_rule(0), name=name, provenance=provenance)
    after = load(save(before, tmp_path / "it.safetensors"))
    assert (after.name, after.provenance) == (name, provenance)


@pytest.mark.parametrize("metrics", [{"loss": float("nan")}, {"loss": np.float32(1)}, {"when": object()}])
def test_what_json_cannot_hold_is_refused_in_a_sentence_and_nothing_is_written(tmp_path, metrics):
    with pytest.raises(UserError, match="JSON"):
        save(Organism(random_rule(0), metrics=metrics), tmp_path / "it.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_organism_that_could_not_be_read_again_is_not_written(tmp_path):
    broken = random_rule(0)
    broken.weights[0][...] = broken.weights[0][...].at[0, 0].set(np.nan)
    with pytest.raises(UserError, match=r"finite numbers, but weights\.0"):
        save(organism(broken), tmp_path / "it.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_holds_arrays_and_one_json_entry_and_no_pickle(tmp_path):
    path = save(full("it", **RULES["learned"]), tmp_path / "it.safetensors")
    with safe_open(path, framework="numpy") as file:
        assert set(file.metadata()) == {"organism"}
        assert json.loads(file.metadata()["organism"])["format"] == files.FORMAT
        names = {"weights.0", "weights.1", "biases.0", "biases.1", "angle", "kernels", "seed", "target"}
        assert set(file.keys()) == names
        assert all(file.get_tensor(name).dtype == np.float32 for name in names)
        assert file.get_tensor("angle").shape == ()


def test_an_angle_written_as_a_list_of_one_is_still_read(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = save(full("old"), tmp_path / "it.safetensors")
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(load_file(path) | {"angle": np.zeros(1, np.float32)}, path, metadata=metadata)
    assert load(path).hash == full("old").hash


# Names.


def test_every_bundled_organism_loads_by_its_name():
    for name in bundled():
        assert load(name).target is not None


def test_an_alias_leads_to_a_bundled_organism(monkeypatch):
    name = bundled()[0]
    monkeypatch.setattr(files, "ALIASES", {"short": name})
    assert load("short").hash == load(name).hash


def test_a_name_beats_a_file_of_that_name_in_the_folder(tmp_path, monkeypatch):
    name = bundled()[0]
    expected = load(name).hash
    monkeypatch.chdir(tmp_path)
    save(full("mine"), name)
    assert load(name).hash == expected
    assert load(f"./{name}").name == "mine"


@pytest.mark.parametrize("source", ["no such thing", "", ".", "/", "x\x00y", "a" * 5000, Path("nowhere.safetensors")])
def test_what_is_not_there_is_refused_in_a_sentence(source):
    with pytest.raises(UserError, match="No organism"):
        load(source)


# Writing.


def left_in(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_write_replaces_the_file_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "it.txt"
    assert write_file(path, "one") == path
    write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert left_in(tmp_path) == ["it.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


class Stopped(BaseException):
    """What stands for a stop that no code of ours may catch."""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("odd"), Stopped()])
@pytest.mark.parametrize("when", ["fill", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_beside(tmp_path, monkeypatch, error, when):
    path = tmp_path / "it.txt"
    write_file(path, "old")

    def fail(*arguments):
        raise error

    if when != "fill":
        monkeypatch.setattr(os, when, fail)
    with pytest.raises(UserError if isinstance(error, OSError) else type(error)):
        write_file(path, fail if when == "fill" else lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "old"
    assert left_in(tmp_path) == ["it.txt"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "it.txt"
    write_file(path, "old" * 1000)

    def look(temporary):
        temporary.write_text("new")
        assert path.read_text() == "old" * 1000
        assert temporary.parent.parent == path.parent
        assert temporary.suffix == path.suffix

    write_file(path, look)
    assert path.read_text() == "new"


def test_a_folder_that_is_missing_or_no_folder_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "missing" / "it", tmp_path / "file" / "it", tmp_path):
        with pytest.raises(UserError, match="choose another place"):
            save(full("it"), folder)
    assert left_in(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are set by POSIX means")
def test_on_a_full_disk_saving_is_refused_and_the_old_file_stays(tmp_path):
    path = save(full("old"), tmp_path / "it.safetensors")
    code = (
        "import resource, sys; from nca import Rule, Organism, save, UserError; import numpy as np\n"
        "big = Organism(Rule.from_arrays([np.ones((48, 900)), np.ones((900, 16))]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try: save(big, sys.argv[1])\n"
        "except UserError as error: print('refused:', error)"
    )
    home = str(Path(nca.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": home},
    )
    assert process.stdout.startswith("refused: Cannot write")
    assert load(path).name == "old"
    assert left_in(tmp_path) == ["it.safetensors"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20000


# Files of earlier versions.


def test_keys_that_were_renamed_are_read_under_their_new_names(tmp_path):
    config = {"target": "flag", "rate": 0.001, "batch": 4, "hidden": 64}
    before = replace(organism(random_rule(0)), provenance={"config": config, "steps": 5})
    after = load(save(before, tmp_path / "old.safetensors"))
    modern = {"target": "flag", "learning_rate": 0.001, "batch_size": 4, "hidden_size": 64}
    assert after.provenance == {"config": modern, "steps": 5}


@pytest.mark.parametrize("name", bundled())
def test_the_training_configuration_of_a_bundled_organism_is_read(name):
    config = load(name).provenance["config"]
    assert TrainConfig.from_json(config).target == config["target"]


# Bundled populations.


@pytest.mark.parametrize("name", bundled_populations())
def test_a_bundled_population_is_whole_and_small(name):
    folder = Path(files.__file__).parent / "organisms" / name
    table = json.loads((folder / "population.json").read_text())
    assert {row["name"] for row in table["members"]} == set(bundled(name))
    assert all(row["status"] == "trained" for row in table["members"])
    assert sum(f.stat().st_size for f in folder.iterdir()) < 2e6
    for row in table["members"]:
        organism = load(f"{name}/{row['name']}")
        assert organism.name == row["name"]
        assert organism.provenance["config"]["seed"] == row["seed"]
        assert organism.metrics["log10_mse"] == modern_keys(row["metrics"], "metrics")["log10_mse"]
        before = organism.provenance["started_from"]
        assert (before is None) == (row["regime"] == "growing")
        if before:
            assert before["hash"] == load(f"{name}/{before['name']}").hash


def test_eight_lineages_of_lizards_are_bundled():
    assert "lizards" in bundled_populations()
    assert len(bundled("lizards")) == 24
    with pytest.raises(UserError, match="No organism"):
        load("lizards/lizard-growing-99")
    with pytest.raises(UserError, match="No organism"):
        load("../organisms/lizard-growing")


def test_versions_say_how_jax_draws_random_numbers():
    assert versions()["prng"] == "threefry2x32"
    with jax.threefry_partitionable(False), jax.enable_x64(True):
        assert versions()["prng"] == "threefry2x32, not partitionable, 64 bits"

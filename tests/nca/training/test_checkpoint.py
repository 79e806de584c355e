"""A run's folder: what is written when, rolling back, resuming to the bit, refusing what is damaged."""

import json

import jax
import numpy as np
import pytest
from helpers.recipes import contents, pretend, quiet, recording, spoiling, tiny

from nca.errors import UserError
from nca.io import load
from nca.training import checkpoint as runs
from nca.training import loop as training
from nca.training.loop import begin, train


@pytest.fixture
def quick(monkeypatch):
    """Training steps that cost nothing."""
    monkeypatch.setattr(training, "compiled", pretend)


# The folder.


def test_a_run_leaves_its_recipe_its_metrics_its_state_and_its_organisms(quick, tmp_path):
    organism = train(tiny(keep="10,20", sheet_every=20), tmp_path / "run", say=quiet)
    folder = tmp_path / "run"
    assert runs.read_config(folder) == tiny(keep="10,20", sheet_every=20)
    assert [row["step"] for row in runs.metrics(folder)] == list(range(5, 45, 5))
    assert load(folder / "organism.safetensors").hash == organism.hash
    kept = {p.name: load(p) for p in (folder / "keep").iterdir()}
    assert set(kept) == {"step-000010.safetensors", "step-000020.safetensors"}
    assert {k.provenance["steps"] for k in kept.values()} == {10, 20}
    assert {p.name for p in (folder / "sheets").iterdir()} == {"000020.png", "000040.png"}
    assert (folder / "loss.png").is_file()
    assert not [p for p in folder.rglob(".*") if p.is_file()]


def test_the_organism_before_training_can_be_kept(quick, tmp_path):
    train(tiny(keep="log", steps=5), tmp_path / "run", say=quiet)
    first = load(tmp_path / "run" / "keep" / "step-000000.safetensors")
    np.testing.assert_array_equal(first.rule.weights[1][...], 0.0)
    assert len(list((tmp_path / "run" / "keep").iterdir())) == 4


def test_a_row_is_the_mean_since_the_row_before(quick, tmp_path, monkeypatch):
    losses = iter(np.arange(1, 100, dtype=np.float32))

    def counting(task):
        step = pretend(task)
        return lambda trainer, key: (step(trainer, key)[0], step(trainer, key)[1] | {"loss": next(losses)})

    monkeypatch.setattr(training, "compiled", counting)
    train(tiny(steps=13), tmp_path / "run", say=quiet)
    rows = runs.metrics(tmp_path / "run")
    assert [(row["step"], row["loss"]) for row in rows] == [(5, 3.0), (10, 8.0), (13, 12.0)]
    assert rows[0]["log10_loss"] == pytest.approx(np.log10(3))


# Rolling back.


@pytest.mark.parametrize(
    ("how", "why"), [("finite", "not finite"), ("largest", "exceeds 1000"), ("dead", "every sample is dead")]
)
def test_trouble_rolls_back_to_the_checkpoint_under_another_key(monkeypatch, tmp_path, how, why):
    keys, lines = [], []
    # Calls 10..14 are steps 11..15, seen at step 15; the checkpoint is at step 10.
    poisoned = range(10, 15) if how == "dead" else [12]
    monkeypatch.setattr(training, "compiled", recording(poisoned=poisoned, how=how, keys=keys))
    organism = train(tiny(steps=20), tmp_path / "run", say=lines.append)
    rows = runs.metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == [5, 10, 10, 15, 20]
    event = rows[2]
    assert event["event"] == "rollback"
    assert why in event["why"]
    assert (event["failed_at"], event["reseeded"], event["rollbacks"]) == (15, 0, 1)
    assert len(keys) == len(set(keys)) == 25
    assert any(why in line and "back to step 10" in line for line in lines)
    assert organism.provenance["rollbacks"] == 1
    assert organism.provenance["steps"] == 20


def test_a_single_dead_step_among_living_ones_is_no_trouble(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "compiled", recording(poisoned=[3, 11], how="dead"))
    assert train(tiny(steps=20), tmp_path / "run", say=quiet).provenance["rollbacks"] == 0


def test_training_gives_up_after_so_many_rollbacks_and_says_where_it_stands(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "compiled", recording(poisoned=range(12, 10**6)))
    with pytest.raises(UserError, match=r"failed 4 times, at last at step 15 .* at step 10 .* lower --rate"):
        train(tiny(rollbacks=3), tmp_path / "run", say=quiet)
    assert [r["rollbacks"] for r in runs.metrics(tmp_path / "run") if "event" in r] == [1, 2, 3]
    with pytest.raises(UserError, match="lower --rate"):
        train(tiny(rollbacks=0), tmp_path / "other", say=quiet)


@pytest.mark.parametrize("save_every", [3, 7, 10])
def test_a_checkpoint_is_never_taken_of_a_state_that_was_not_looked_at(monkeypatch, tmp_path, save_every):
    # From step 12 on all parameters are NaN, until a rollback, which must find a good state.
    monkeypatch.setattr(training, "compiled", spoiling(11))
    organism = train(tiny(steps=20, log_every=10, save_every=save_every), tmp_path / "run", say=quiet)
    assert all(np.isfinite(w).all() for w in organism.arrays().values())
    assert organism.provenance["rollbacks"] == 1


def test_a_rate_that_explodes_ends_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="try a lower --rate"):
        train(tiny(rate=1e4, rollbacks=1, steps=60), tmp_path / "run", say=quiet)


# Refusals.


def test_a_second_run_into_the_same_folder_is_refused(quick, tmp_path):
    train(tiny(steps=5), tmp_path / "run", say=quiet)
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match="already holds a training run: go on with --resume"):
        train(tiny(steps=5, seed=2), tmp_path / "run", say=quiet)
    assert contents(tmp_path / "run") == before


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="Cannot make the folder"):
        train(tiny(), tmp_path / "file" / "run", say=quiet)


def test_a_checkpoint_holds_the_trainer_to_the_bit(tmp_path):
    _, trainer = begin(tiny())
    runs.save_state(tmp_path, trainer, runs.Mark(7, 2, 99))
    again, mark = runs.load_state(tmp_path, trainer)
    assert mark == runs.Mark(7, 2, 99)
    for ours, theirs in zip(*map(jax.tree.leaves, (trainer, again)), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_rows_are_lines_of_json_that_can_be_taken_back(tmp_path):
    sizes = [runs.append(tmp_path, {"step": n, "loss": n / 3}) for n in range(4)]
    runs.truncate(tmp_path, sizes[1])
    assert runs.metrics(tmp_path) == [{"step": n, "loss": n / 3} for n in range(2)]
    assert runs.append(tmp_path, {"step": 9}) == sizes[1] + len(json.dumps({"step": 9})) + 1

"""Training from the first step to the last: the loss falls, and the organism records how."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.training import disc_picture, mock_step, no_log, tiny
from safetensors.numpy import save as safetensors

from nca.errors import UserError
from nca.io import load
from nca.rollout import grow, run_key
from nca.training import loop
from nca.training.checkpoint import read_metrics
from nca.training.config import REGIMES, TrainConfig, read_config
from nca.training.loop import _reseed_pool, train
from nca.training.step import (
    _draw_batch,
    compile_step,
    init_training,
    sample_mse,
    step_key,
    train_step,
    training_phase,
)


@pytest.fixture(scope="module", params=REGIMES)
def trained(request, tmp_path_factory):
    """An organism trained for 150 steps in each regime, its config and its folder."""
    config = tiny(regime=request.param, steps=150, learning_rate=4e-3)
    folder = tmp_path_factory.mktemp("run") / request.param
    return train(config, folder, log=no_log), config, folder


def test_the_loss_falls(trained):
    losses = [row["loss"] for row in read_metrics(trained[2])]
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:2])


def test_a_trained_organism_is_nearer_to_its_target_than_an_empty_canvas(trained):
    organism = trained[0]
    state = np.asarray(grow(organism, 10, key=run_key(9)))
    picture = organism.padded_target()
    assert ((state[..., :4] - picture) ** 2).mean() < 0.85 * (picture**2).mean()


def test_the_organism_records_its_provenance(trained):
    organism, config, folder = trained
    provenance = organism.provenance
    assert TrainConfig.from_json(provenance["config"]) == config
    assert provenance["steps"] == 150
    assert provenance["rollbacks"] == 0
    assert provenance["started_from"] is None
    assert {"jax", "numpy", "python"} <= set(provenance["versions"])
    losses = [row["loss"] for row in read_metrics(folder)]
    assert organism.metrics["training_log10_loss"] == pytest.approx(np.log10(np.mean(losses[-20:])))
    assert load(folder / "organism.safetensors").hash == organism.hash


def test_reseeding_replaces_dead_exploded_and_nan_samples():
    task, state = init_training(tiny(regime="regenerating"))
    pool = jnp.tile(task.seed[None], (16, 1, 1, 1)) + jnp.arange(16)[:, None, None, None] / 100
    pool = pool.at[2].set(0.0).at[5].set(jnp.nan).at[7, 3, 3, 5].set(1e9).at[8, 0, 0, 0].set(jnp.inf)
    state, count = _reseed_pool(task, replace(state, pool=pool))
    assert count == 4
    for number in range(16):
        expected = task.seed if number in (2, 5, 7, 8) else pool[number]
        np.testing.assert_array_equal(state.pool[number], expected)


def own_loss(states, target):
    """The largest squared error of a sample, of alpha alone."""
    return ((states[..., 3] - target[..., 3]) ** 2).max(axis=(1, 2))


def test_a_loss_of_the_users_own_ranks_the_batch_and_is_what_training_lowers():
    config = tiny(target=disc_picture(), size=40, loss=own_loss)
    task, state = init_training(config)
    state = replace(state, parameters=jax.tree.map(lambda p: p + 0.02, state.parameters))
    after, metrics = compile_step(task)(jax.tree.map(jnp.copy, state), step_key(1, 0, 0), training_phase(config, 0))
    ends = after.pool[(after.pool != state.pool).any(axis=(1, 2, 3))]  # of the batch's roll-outs
    assert len(ends) == config.batch_size
    assert float(metrics["loss"]) == pytest.approx(float(own_loss(ends, task.target).mean()), rel=1e-5)
    assert float(metrics["loss"]) != pytest.approx(float(sample_mse(task.target, ends).mean()), rel=0.05)
    pool = jax.random.uniform(jax.random.key(0), state.pool.shape)
    indices, _ = _draw_batch(task, task.target, pool, jax.random.key(1), training_phase(config, 0))
    assert (jnp.diff(own_loss(pool[indices], task.target)) <= 0).all()
    assert not (jnp.diff(sample_mse(task.target, pool[indices])) <= 0).all()


def test_the_default_loss_given_as_a_function_is_the_same_program():
    config, programs = tiny(), set()
    for loss in (None, lambda states, target: sample_mse(target, states)):
        task, state = init_training(replace(config, loss=loss))
        programs.add(
            str(jax.make_jaxpr(partial(train_step, task))(state, step_key(1, 0, 0), training_phase(config, 0)))
        )
    assert len(programs) == 1


@pytest.mark.parametrize(
    "loss", [lambda states, target: jnp.float32(0), lambda states, target: (states > 0).all((1, 2, 3))]
)
def test_a_loss_gives_a_number_for_each_sample(loss, tmp_path):
    with pytest.raises(UserError, match=r"one number for each sample, so an array of \(4,\)"):
        train(tiny(loss=loss), tmp_path / "run", log=no_log)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_with_an_array_and_a_loss_is_resumed_to_the_bit_and_asks_for_the_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "compile_step", mock_step)
    config = tiny(target=disc_picture(), size=40, loss=own_loss, steps=20)
    organism = train(config, tmp_path / "run", log=no_log)
    np.testing.assert_array_equal(organism.target, disc_picture())
    assert organism.provenance["config"]["target"] == config.target
    assert organism.provenance["config"]["loss"].endswith("own_loss")
    longer = train(replace(config, steps=30), tmp_path / "run", resume=True, log=no_log)
    assert longer.hash == train(replace(config, steps=30), tmp_path / "once", log=no_log).hash
    read = read_config(tmp_path / "run")
    np.testing.assert_array_equal(read.target.pixels, disc_picture())  # kept beside the configuration
    with pytest.raises(UserError, match=r"with the loss .*own_loss, a function of which only the name is kept; resume"):
        train(read, tmp_path / "run", resume=True, log=no_log)
    (tmp_path / "run" / "target.safetensors").unlink()
    with pytest.raises(UserError, match="was an array, which is not kept here; pass it again, in Python"):
        train(replace(read_config(tmp_path / "run"), loss=own_loss), tmp_path / "run", resume=True, log=no_log)
    (tmp_path / "run" / "target.safetensors").write_bytes(safetensors({"target": disc_picture(radius=3)}))
    with pytest.raises(UserError, match="is not the target of this run: it is not array-"):
        read_config(tmp_path / "run")

"""Training from the first step to the last: the loss falls, and the organism records how."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.training import no_log, tiny

from nca.io import load
from nca.rollout import grow, run_key
from nca.training.checkpoint import read_metrics
from nca.training.config import REGIMES, TrainConfig
from nca.training.loop import _reseed_pool, train
from nca.training.step import init_training


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

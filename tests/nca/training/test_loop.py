"""The published recipe on a tiny task: what one training step does, and that it learns."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.recipes import tiny

from nca.errors import UserError
from nca.io import load, save
from nca.rollout import grow, run_key
from nca.sparse import compact_steps
from nca.step import dense_step
from nca.training import checkpoint as runs
from nca.training.config import TrainConfig
from nca.training.loop import begin, reseed, train
from nca.training.step import adam, advance, compiled, draw_batch, sample_errors, training_step

REGIMES = ("growing", "persistent", "regenerating")


@pytest.fixture(scope="module")
def task():
    return begin(tiny(regime="regenerating"))[0]


def old_states(task, count=16):
    """A pool whose sample n is the target with all channels shifted by n / 100, so the last is worst."""
    channels = task.seed.shape[-1]
    picture = jnp.pad(task.target, [(0, 0), (0, 0), (0, channels - 4)])
    return picture[None] + jnp.arange(count)[:, None, None, None] / 100


# Learning.


@pytest.fixture(scope="module", params=REGIMES)
def trained(request, tmp_path_factory):
    """An organism trained for 150 steps in each regime, its recipe and its folder."""
    recipe = tiny(regime=request.param, steps=150, rate=4e-3)
    folder = tmp_path_factory.mktemp("run") / request.param
    return train(recipe, folder, say=lambda line: None), recipe, folder


def test_the_loss_falls(trained):
    losses = [row["loss"] for row in runs.metrics(trained[2])]
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:2])


def test_what_was_trained_grows_nearer_to_its_target_than_nothing_does(trained):
    organism = trained[0]
    state = np.asarray(grow(organism, 10, key=run_key(9)))
    picture = organism.picture()
    assert ((state[..., :4] - picture) ** 2).mean() < 0.85 * (picture**2).mean()


def test_the_organism_says_how_it_came_about(trained):
    organism, recipe, folder = trained
    told = organism.provenance
    assert TrainConfig.from_json(told["config"]) == recipe
    assert told["steps"] == 150
    assert told["rollbacks"] == 0
    assert told["started_from"] is None
    assert {"jax", "numpy", "python"} <= set(told["versions"])
    losses = [row["loss"] for row in runs.metrics(folder)]
    assert organism.metrics["training_log10_loss"] == pytest.approx(np.log10(np.mean(losses[-20:])))
    assert load(folder / "organism.safetensors").hash == organism.hash


def test_one_compiled_program_serves_every_length_of_a_roll_out():
    task, trainer = begin(tiny())
    step, lengths = compiled(task), set()
    for number in range(24):
        key = jax.random.key(number)
        lengths.add(int(jax.random.randint(jax.random.split(key, 3)[1], (), 8, 13)))
        trainer, _ = step(trainer, key)
    assert lengths == set(range(8, 13))
    assert step._cache_size() == 1


@pytest.mark.parametrize("kind", ["learned", "isotropic", "steered"])
def test_every_perception_can_be_trained(kind):
    task, trainer = begin(tiny(perception=kind, steer=7 if kind == "steered" else None))
    step, before = compiled(task), [np.array(p) for p in jax.tree.leaves(trainer.parameters)]
    for number in range(3):
        trainer, watch = step(trainer, jax.random.key(number))
        assert bool(watch["finite"])
    after = jax.tree.leaves(trainer.parameters)
    assert len(after) == (5 if kind == "learned" else 4)
    assert all((a != b).any() for a, b in zip(after, before, strict=True))


def test_compact_training_follows_dense_training():
    losses = {}
    for dense in (False, True):
        task, trainer = begin(tiny(dense=dense))
        assert bool(task.capacities) != dense
        step = compiled(task)
        losses[dense] = []
        for number in range(6):
            trainer, watch = step(trainer, jax.random.key(number))
            losses[dense].append(float(watch["loss"]))
    np.testing.assert_allclose(losses[False], losses[True], rtol=1e-3)


def test_a_step_of_training_roll_outs_equals_the_dense_step(task):
    trainer = begin(task.config)[1]
    draw = np.random.default_rng(0)
    parameters = jax.tree.map(lambda p: p + 0.05 * draw.normal(size=p.shape), trainer.parameters)
    states, key = old_states(task, 4), jax.random.key(5)
    fires = jax.random.uniform(jax.random.fold_in(key, 7), states.shape[:3]) <= 0.5
    expected = jax.vmap(partial(dense_step, task.rule(parameters)))(states, fires)
    found = advance(task, parameters, states, key, 7)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert compact_steps(task.rule(parameters), states, fires, task.capacities).shape == states.shape


# The optimiser.


def test_every_variables_gradient_is_divided_by_its_own_norm():
    optimiser = adam(tiny())
    gradients = {"small": jnp.array([3e-3, 4e-3]), "large": jnp.array([[6e3, 8e3]])}
    _, state = optimiser.update(gradients, optimiser.init(gradients))
    first_moments = next(s.mu for s in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(s))
    np.testing.assert_allclose(first_moments["small"], [0.06, 0.08], rtol=1e-4)
    np.testing.assert_allclose(first_moments["large"], [[0.06, 0.08]], rtol=1e-4)


def is_adam(state):
    return isinstance(state, optax.ScaleByAdamState)


def test_the_rate_drops_once():
    optimiser = adam(tiny(rate=0.1, drop_at=3, drop=0.01))
    weights = jnp.ones(1)
    state, moves = optimiser.init(weights), []
    for _ in range(6):
        update, state = optimiser.update(jnp.ones(1), state)
        moves.append(-float(update[0]))
    np.testing.assert_allclose(moves, [0.1] * 3 + [0.001] * 3, rtol=1e-3)


# Batches.


def test_the_error_of_a_sample_is_the_mean_square_over_colour_and_alpha(task):
    np.testing.assert_allclose(sample_errors(task.target, old_states(task, 5)), (np.arange(5) / 100) ** 2, atol=1e-7)


def test_the_worst_of_a_batch_becomes_a_seed_and_the_best_are_wounded(task):
    pool = old_states(task)
    for number in range(8):
        drawn, states = draw_batch(task, task.target, pool, jax.random.key(number))
        drawn = np.asarray(drawn).tolist()
        assert sorted(drawn, reverse=True) == drawn
        assert len(set(drawn)) == 4
        np.testing.assert_array_equal(states[0], task.seed)
        np.testing.assert_array_equal(states[1:3], pool[jnp.array(drawn[1:3])])
        before, after = np.asarray(pool[drawn[3]]), np.asarray(states[3])
        wound = (after != before).any(-1)
        assert 0 < wound.sum() < wound.size / 2
        assert not after[wound].any()


def test_without_wounds_the_others_are_left_as_they_are():
    task = begin(tiny(regime="persistent", seeds=2))[0]
    pool = old_states(task)
    drawn, states = draw_batch(task, task.target, pool, jax.random.key(0))
    np.testing.assert_array_equal(states[:2], jnp.stack([task.seed] * 2))
    np.testing.assert_array_equal(states[2:], pool[drawn[2:]])


def test_growing_always_begins_from_the_seed():
    task, trainer = begin(tiny(regime="growing"))
    _, states = draw_batch(task, task.target, trainer.pool, jax.random.key(0))
    np.testing.assert_array_equal(states, jnp.stack([task.seed] * 4))


@pytest.fixture(scope="module")
def stepped(task):
    """The trainer before and after a step, the key, and what was watched."""
    trainer = replace(begin(task.config)[1], pool=old_states(task))
    key = jax.random.key(3)
    return trainer, *jax.jit(partial(training_step, task))(trainer, key), key


def test_end_states_are_written_back_to_where_they_were_drawn(task, stepped):
    before, after, _, key = stepped
    drawn = set(np.asarray(draw_batch(task, task.target, before.pool, jax.random.split(key, 3)[0])[0]).tolist())
    changed = set(np.flatnonzero((np.asarray(before.pool) != np.asarray(after.pool)).any((1, 2, 3))).tolist())
    assert changed == drawn


def test_the_loss_is_that_of_the_end_states_under_the_rule_before_the_step(task, stepped):
    before, after, watch, key = stepped
    pick, length, fire = jax.random.split(key, 3)
    drawn, states = draw_batch(task, task.target, before.pool, pick)
    for t in range(int(jax.random.randint(length, (), 8, 13))):
        states = advance(task, before.parameters, states, fire, jnp.int32(t))
    np.testing.assert_allclose(after.pool[drawn], states, atol=1e-6)
    assert float(watch["loss"]) == pytest.approx(float(sample_errors(task.target, states).mean()), rel=1e-5)
    assert bool(watch["finite"])
    assert float(watch["largest"]) == pytest.approx(float(jnp.abs(states).max()), rel=1e-5)


def test_dead_samples_are_counted_and_what_is_not_finite_is_seen(task):
    trainer = begin(task.config)[1]
    step = jax.jit(partial(training_step, task))
    empty = replace(trainer, pool=jnp.zeros_like(trainer.pool))
    assert int(step(empty, jax.random.key(0))[1]["dead"]) == 3  # one of four became a seed
    broken = jax.tree.map(lambda p: p.at[(0,) * p.ndim].set(jnp.nan), trainer.parameters)
    assert not bool(step(replace(trainer, parameters=broken), jax.random.key(0))[1]["finite"])


def test_reseeding_replaces_the_dead_the_exploded_and_what_is_not_a_number(task):
    pool = old_states(task).at[2].set(0.0).at[5].set(jnp.nan).at[7, 3, 3, 5].set(1e9).at[8, 0, 0, 0].set(jnp.inf)
    trainer, count = reseed(task, replace(begin(task.config)[1], pool=pool))
    assert count == 4
    for number in range(16):
        expected = task.seed if number in (2, 5, 7, 8) else pool[number]
        np.testing.assert_array_equal(trainer.pool[number], expected)


# Beginning from another organism.


def test_a_warm_start_takes_the_weights_of_its_ancestor_and_says_so(tmp_path):
    ancestor = load_or_train(tmp_path)
    recipe = tiny(start=str(tmp_path / "ancestor.safetensors"), seed=2)
    task, trainer = begin(recipe)
    found = task.rule(trainer.parameters)
    for ours, theirs in zip(found.weights, ancestor.rule.weights, strict=True):
        np.testing.assert_array_equal(ours[...], theirs[...])
    assert not np.asarray(trainer.optimiser[1][0].mu.biases[0][...]).any()


def load_or_train(folder):
    from helpers.makers import random_rule

    from nca.organism import Organism

    rule = random_rule(4, hidden=(16,), fire_rate=0.5)
    organism = Organism(rule, canvas=(20, 20), name="ancestor", provenance={"steps": 12})
    save(organism, folder / "ancestor.safetensors")
    return organism


@pytest.mark.parametrize("changes", [{"hidden": 20}, {"boundary": "circular"}, {"channels": 10}])
def test_a_warm_start_of_another_make_is_refused(tmp_path, changes):
    load_or_train(tmp_path)
    with pytest.raises(UserError, match="set them to match"):
        begin(tiny(start=str(tmp_path / "ancestor.safetensors"), **changes))

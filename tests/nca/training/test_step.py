"""One training step on a tiny task: course of training, batch, roll-out, loss, optimizer, metrics."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.makers import random_rule
from helpers.training import tiny
from PIL import Image

from nca.errors import UserError
from nca.io import save
from nca.organism import Organism, pad_to_canvas
from nca.sparse import sparse_step
from nca.step import dense_step
from nca.targets import target
from nca.training.config import TrainConfig
from nca.training.step import (
    _draw_batch,
    advance_batch,
    compile_step,
    growth_warnings,
    init_training,
    optimizer,
    sample_mse,
    train_step,
    training_phase,
)


@pytest.fixture(scope="module")
def task():
    return init_training(tiny(regime="regenerating"))[0]


def old_states(task, count=16):
    """A pool whose sample n is the target with all channels shifted by n / 100, so the last is worst."""
    channels = task.seed.shape[-1]
    picture = jnp.pad(task.target, [(0, 0), (0, 0), (0, channels - 4)])
    return picture[None] + jnp.arange(count)[:, None, None, None] / 100


def test_one_compiled_program_serves_every_length_of_a_roll_out():
    task, state = init_training(tiny())
    step, lengths = compile_step(task), set()
    for number in range(24):
        key = jax.random.key(number)
        lengths.add(int(jax.random.randint(jax.random.split(key, 3)[1], (), 8, 13)))
        state, _ = step(state, key)
    assert lengths == set(range(8, 13))
    assert step._cache_size() == 1


@pytest.mark.parametrize("kind", ["learned", "isotropic", "steered"])
def test_every_perception_can_be_trained(kind):
    task, state = init_training(tiny(perception=kind, steer=7 if kind == "steered" else None))
    step, before = compile_step(task), [np.array(p) for p in jax.tree.leaves(state.parameters)]
    for number in range(3):
        state, metrics = step(state, jax.random.key(number))
        assert bool(metrics["finite"])
    after = jax.tree.leaves(state.parameters)
    assert len(after) == (5 if kind == "learned" else 4)
    assert all((a != b).any() for a, b in zip(after, before, strict=True))


def test_training_with_the_sparse_step_follows_training_with_the_dense_step():
    losses = {}
    for dense in (False, True):
        task, state = init_training(tiny(dense=dense))
        assert bool(task.capacities) != dense
        step = compile_step(task)
        losses[dense] = []
        for number in range(6):
            state, metrics = step(state, jax.random.key(number))
            losses[dense].append(float(metrics["loss"]))
    np.testing.assert_allclose(losses[False], losses[True], rtol=1e-3)


def test_a_step_of_a_batch_equals_the_dense_step_of_each_sample(task):
    state = init_training(task.config)[1]
    rng = np.random.default_rng(0)
    parameters = jax.tree.map(lambda p: p + 0.05 * rng.normal(size=p.shape), state.parameters)
    states, key = old_states(task, 4), jax.random.key(5)
    fires = jax.random.uniform(jax.random.fold_in(key, 7), states.shape[:3]) <= 0.5
    expected = jax.vmap(partial(dense_step, task.rule(parameters)))(states, fires)
    actual = advance_batch(task, parameters, states, key, 7)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert sparse_step(task.rule(parameters), states, fires, task.capacities).shape == states.shape


# The optimiser.


def test_every_variables_gradient_is_divided_by_its_own_norm():
    optimiser = optimizer(tiny())
    gradients = {"small": jnp.array([3e-3, 4e-3]), "large": jnp.array([[6e3, 8e3]])}
    _, state = optimiser.update(gradients, optimiser.init(gradients))
    first_moments = next(s.mu for s in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(s))
    np.testing.assert_allclose(first_moments["small"], [0.06, 0.08], rtol=1e-4)
    np.testing.assert_allclose(first_moments["large"], [[0.06, 0.08]], rtol=1e-4)


def is_adam(state):
    return isinstance(state, optax.ScaleByAdamState)


def test_the_learning_rate_scales_the_update():
    optimiser = optimizer(tiny(learning_rate=0.1))
    weights = jnp.ones(1)
    update, _ = optimiser.update(jnp.ones(1), optimiser.init(weights), weights, lr_factor=0.5)
    np.testing.assert_allclose(update, -0.05, rtol=1e-3)


def test_muon_moves_matrices_in_all_directions_alike_and_other_variables_by_adam():
    optimiser = optimizer(tiny(optimizer="muon", learning_rate=0.1))
    weights = {"matrix": jnp.zeros((4, 4)), "bias": jnp.zeros(4)}
    gradients = {"matrix": jnp.diag(jnp.array([1.0, 0.5, 0.3, 0.2])), "bias": jnp.array([3.0, -1.0, 0.1, 2.0])}
    update, _ = optimiser.update(gradients, optimiser.init(weights), weights)
    singular = np.linalg.svd(np.asarray(update["matrix"]), compute_uv=False)
    assert singular.min() > 0.06
    assert singular.max() < 0.13
    np.testing.assert_array_equal(np.sign(update["bias"]), [-1, 1, -1, -1])
    np.testing.assert_allclose(np.abs(update["bias"]), abs(float(update["bias"][0])), rtol=1e-3)


def test_the_organism_has_the_moving_average_of_the_weights():
    task, state = init_training(tiny(ema_decay=0.75))
    step, expected = compile_step(task), [np.asarray(p) for p in jax.tree.leaves(state.parameters)]
    for number in range(3):
        state, _ = step(state, jax.random.key(number))
        expected = [
            0.75 * e + 0.25 * np.asarray(p) for e, p in zip(expected, jax.tree.leaves(state.parameters), strict=True)
        ]
    for ours, wanted in zip(jax.tree.leaves(state.final_parameters), expected, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-7)
    plain = init_training(tiny())[1]
    assert plain.final_parameters is plain.parameters


# The course of training.


def phases(config, steps):
    """Seeds, wounds and learning rate factors of these steps."""
    return [tuple(float(value) for value in training_phase(config, step)) for step in steps]


def test_the_learning_rate_drops_once():
    config = tiny(lr_drop_step=3, lr_drop_factor=0.01, steps=6)
    np.testing.assert_allclose([p[2] for p in phases(config, range(6))], [1, 1, 1, 0.01, 0.01, 0.01], rtol=1e-6)


def test_the_learning_rate_falls_linearly_from_half_of_the_steps():
    config = tiny(lr_schedule="linear", lr_drop_step=0, lr_drop_factor=0.2, steps=8)
    factors = [p[2] for p in phases(config, range(9))]
    np.testing.assert_allclose(factors, [1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)


def test_the_stages_follow_each_other():
    stages = {"growing_share": 0.2, "persistent_share": 0.3, "damage_ramp_share": 0.4}
    config = tiny(regime="regenerating", damage_per_batch=2, steps=10, **stages)
    assert [p[:2] for p in phases(config, range(10))] == [
        *[(4, 0)] * 2,
        *[(1, 0)] * 3,
        *[(1, 1)] * 2,
        *[(1, 2)] * 3,
    ]
    assert [p[:2] for p in phases(replace(config, regime="persistent"), (0, 1, 2, 9))] == [
        (4, 0),
        (4, 0),
        (1, 0),
        (1, 0),
    ]
    assert [p[:2] for p in phases(replace(config, regime="growing"), (0, 9))] == [(4, 0), (4, 0)]
    assert [p[:2] for p in phases(replace(config, init_from="lizard"), (0, 2, 3))] == [(1, 0), (1, 0), (1, 1)]


def test_one_compiled_program_serves_all_stages(task):
    stages = {"growing_share": 0.2, "persistent_share": 0.2, "damage_ramp_share": 0.6, "steps": 6}
    config = replace(task.config, **stages, damage_per_batch=2)
    task, state = init_training(config)
    step = compile_step(task)
    for number in range(6):
        state, _ = step(state, jax.random.key(number), training_phase(config, number))
    assert step._cache_size() == 1


# Batches.


def test_the_mse_of_a_sample_is_over_colour_and_alpha(task):
    np.testing.assert_allclose(sample_mse(task.target, old_states(task, 5)), (np.arange(5) / 100) ** 2, atol=1e-7)


def test_the_worst_sample_becomes_a_seed_and_the_best_is_wounded(task):
    pool = old_states(task)
    for number in range(8):
        indices, states = _draw_batch(task, task.target, pool, jax.random.key(number), training_phase(task.config, 0))
        indices = np.asarray(indices).tolist()
        assert sorted(indices, reverse=True) == indices
        assert len(set(indices)) == 4
        np.testing.assert_array_equal(states[0], task.seed)
        np.testing.assert_array_equal(states[1:3], pool[jnp.array(indices[1:3])])
        before, after = np.asarray(pool[indices[3]]), np.asarray(states[3])
        wound = (after != before).any(-1)
        assert 0 < wound.sum() < wound.size / 2
        assert not after[wound].any()


def test_persistent_training_wounds_nothing():
    task = init_training(tiny(regime="persistent", reseed_per_batch=2))[0]
    pool = old_states(task)
    indices, states = _draw_batch(task, task.target, pool, jax.random.key(0), training_phase(task.config, 0))
    np.testing.assert_array_equal(states[:2], jnp.stack([task.seed] * 2))
    np.testing.assert_array_equal(states[2:], pool[indices[2:]])


def test_growing_always_starts_from_the_seed():
    task, state = init_training(tiny(regime="growing"))
    _, states = _draw_batch(task, task.target, state.pool, jax.random.key(0), training_phase(task.config, 0))
    np.testing.assert_array_equal(states, jnp.stack([task.seed] * 4))


@pytest.fixture(scope="module")
def stepped(task):
    """The state before and after a step, the metrics, and the key."""
    state = replace(init_training(task.config)[1], pool=old_states(task))
    key = jax.random.key(3)
    return state, *jax.jit(partial(train_step, task))(state, key), key


def test_end_states_are_written_back_to_where_they_were_drawn(task, stepped):
    before, after, _, key = stepped
    phase = training_phase(task.config, 0)
    indices = _draw_batch(task, task.target, before.pool, jax.random.split(key, 3)[0], phase)[0]
    indices = set(np.asarray(indices).tolist())
    changed = set(np.flatnonzero((np.asarray(before.pool) != np.asarray(after.pool)).any((1, 2, 3))).tolist())
    assert changed == indices


def test_the_loss_is_that_of_the_end_states_before_the_update(task, stepped):
    before, after, metrics, key = stepped
    pick, length, fire = jax.random.split(key, 3)
    indices, states = _draw_batch(task, task.target, before.pool, pick, training_phase(task.config, 0))
    for t in range(int(jax.random.randint(length, (), 8, 13))):
        states = advance_batch(task, before.parameters, states, fire, jnp.int32(t))
    np.testing.assert_allclose(after.pool[indices], states, atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(float(sample_mse(task.target, states).mean()), rel=1e-5)
    assert bool(metrics["finite"])
    assert float(metrics["max_abs"]) == pytest.approx(float(jnp.abs(states).max()), rel=1e-5)


def test_dead_samples_are_counted_and_nan_is_noticed(task):
    state = init_training(task.config)[1]
    step = jax.jit(partial(train_step, task))
    empty = replace(state, pool=jnp.zeros_like(state.pool))
    assert int(step(empty, jax.random.key(0))[1]["dead"]) == 3  # one of four became a seed
    broken = jax.tree.map(lambda p: p.at[(0,) * p.ndim].set(jnp.nan), state.parameters)
    assert not bool(step(replace(state, parameters=broken), jax.random.key(0))[1]["finite"])


# Starting from another organism.


def test_training_starts_with_the_weights_of_another_organism(tmp_path):
    ancestor = save_ancestor(tmp_path)
    config = tiny(init_from=str(tmp_path / "ancestor.safetensors"), seed=2)
    task, state = init_training(config)
    rule = task.rule(state.parameters)
    for ours, theirs in zip(rule.weights, ancestor.rule.weights, strict=True):
        np.testing.assert_array_equal(ours[...], theirs[...])
    assert not np.asarray(state.optimiser[1][0].mu.biases[0][...]).any()


def save_ancestor(folder):
    rule = random_rule(4, hidden=(16,), fire_rate=0.5)
    organism = Organism(rule, canvas=(20, 20), name="ancestor", provenance={"steps": 12})
    save(organism, folder / "ancestor.safetensors")
    return organism


@pytest.mark.parametrize("changes", [{"hidden_size": 20}, {"boundary": "circular"}, {"channels": 10}])
def test_starting_from_an_organism_of_other_conventions_is_refused(tmp_path, changes):
    save_ancestor(tmp_path)
    with pytest.raises(UserError, match="set them to match"):
        init_training(tiny(init_from=str(tmp_path / "ancestor.safetensors"), **changes))


# What can be reached.


def warnings_of(**changes):
    return growth_warnings(init_training(tiny(**changes))[0])


def test_a_target_within_reach_of_every_rollout_needs_no_warning():
    assert warnings_of(target="flag", size=16, min_steps=8, max_steps=8) == []  # 8 cells from the seed


def test_a_target_beyond_the_light_cone_is_refused_where_every_rollout_starts_from_the_seed():
    far = {"target": "flag", "size": 16, "min_steps": 5, "max_steps": 7}
    with pytest.raises(UserError, match=r"reaches 8 cells from the seed, .* a roll-out has 5 to 7 steps; raise"):
        warnings_of(regime="growing", **far)
    assert len(warnings_of(regime="persistent", **far)) == 1
    (warning,) = warnings_of(regime="growing", **far | {"max_steps": 8})
    assert "some roll-outs are shorter" in warning


@pytest.mark.parametrize(("gap", "count"), [(2, 0), (3, 1), (6, 1)])
def test_pieces_that_no_perception_bridges_are_said(tmp_path, gap, count):
    pixels = np.full((20, 20, 4), 255, np.uint8)
    pixels[:, 2 : 2 + gap] = 0
    Image.fromarray(pixels).save(tmp_path / "pieces.png")
    warnings = warnings_of(target=str(tmp_path / "pieces.png"), size=20, min_steps=20, max_steps=20)
    assert len(warnings) == count
    assert all("pieces, 3 or more empty cells apart" in warning for warning in warnings)


def test_training_may_start_from_a_picture():
    task, state = init_training(tiny(target="lizard", start="flag", min_steps=8, max_steps=12))
    flag = pad_to_canvas(target("flag", 12), (20, 20), "picture")
    np.testing.assert_allclose(task.seed[..., :4], flag)
    np.testing.assert_allclose(task.seed[..., 4:], np.repeat(flag[..., 3:], 4, -1))
    np.testing.assert_array_equal(state.pool[0], task.seed)
    assert growth_warnings(task) == []
    assert TrainConfig.from_json(task.config.to_json()).start == "flag"
    assert TrainConfig.from_json({"start": "mother.safetensors"}).init_from == "mother.safetensors"  # of version 0.1

"""The fused kernel equals the dense step, and its gradient that step's; it lowers for a GPU."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.lowering import for_gpu
from helpers.makers import blobs, masks, random_rule
from helpers.training import tiny

from nca import kernels
from nca.errors import UserError
from nca.kernels import fused_step
from nca.rule import Rule
from nca.spec import ACTIVATIONS
from nca.step import dense_step
from nca.training import step as training_step
from nca.training.step import init_training, train_step

CASES = {
    "published size": ((72, 72), 1, {"channels": 16, "hidden": (128,), "radius": 20.0}),
    "20 channels, a circular canvas": (
        (9, 13),
        2,
        {"channels": 20, "boundary": "circular", "alive_boundary": "circular"},
    ),
    "4 channels, 20 units, odd sides, no biases": (
        (7, 5), 3, {"channels": 4, "hidden": (20,), "biases": False}
    ),
    "everything else that a rule may say": (
        (8, 11), 2,
        {"perception": "sobel-laplacian", "angle": 0.7, "squash": "tanh", "activation_slope": 0.2,
         "clip": (-1.0, 1.0), "reads": "masked", "alive": "gate"},
    ),
    "isotropic, dead cells updated too": ((8, 11), 2, {"perception": "isotropic", "alive": "after"}),
    "laplacian, nothing ever dies": ((6, 10), 1, {"perception": "laplacian", "alive": "none"}),
    "swish, alive before": ((7, 5), 2, {"channels": 4, "activation": "swish", "alive": "before"}),
}  # fmt: skip


def scene(number, canvas, batch, radius=3.0, biases=True, **conventions):
    """A random rule, states with living and dead cells, fire masks."""
    rule = random_rule(number, strength=0.4, **conventions)
    if not biases:
        rule = Rule.from_arrays([np.array(w[...]) for w in rule.weights])
    states = [blobs(number + i, canvas, rule.spec.channels, radius=radius) for i in range(batch)]
    return rule, jnp.asarray(np.stack(states)), jnp.asarray(masks(number, batch, canvas))


def quickly(function):
    """Compiled with little care: these programs are long, and run once."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def densely(rule, states, fires):
    return jax.vmap(partial(dense_step, rule))(states, fires)


def pulled(step, rule, states, fires):
    """The next states, and what a random slope of them pulls back to weights and states."""
    structure, parameters, fixed = nnx.split(rule, nnx.Param, ...)
    slope = jax.random.normal(jax.random.key(1), states.shape)

    def both(parameters, states):
        ends, pull = jax.vjp(lambda p, s: step(nnx.merge(structure, p, fixed), s, fires), parameters, states)
        return ends, pull(slope)

    ends, slopes = quickly(both)(parameters, states)
    return ends, jax.tree.leaves(slopes)


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_and_its_gradient_equal_the_dense_step(name):
    canvas, batch, conventions = CASES[name]
    rule, states, fires = scene(len(name), canvas, batch, **conventions)
    ours, slopes = pulled(partial(fused_step, interpret=True), rule, states, fires)
    plain, expected = pulled(densely, rule, states, fires)
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    assert float(jnp.abs(plain - states).max()) > 0.01
    for mine, theirs in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4 * float(jnp.abs(theirs).max()))
        assert float(jnp.abs(theirs).max()) > 0


def _pulled(function, *arguments):
    values, pull = jax.vjp(function, *arguments)
    return values, pull(jnp.ones_like(values))


def test_tiles_without_an_updating_cell_are_not_computed():
    options = kernels._Options(tiles=(16, 16), interpret=True)
    layers = jax.tree.map(lambda a: a * jnp.nan, kernels._pack_layers(random_rule(0, channels=16)))
    active = jnp.zeros((1, 8, 8)).at[0, 0, 0].set(1)
    states = jnp.ones((1, 8, 8, 16))
    update, (by_states, *_) = quickly(lambda *arguments: _pulled(partial(kernels._fused_update, options), *arguments))(
        states, active, layers
    )
    assert np.isnan(update[0, 0, 0]).all()
    assert not np.asarray(update[0, 2:]).any()
    assert np.isnan(by_states[0, :2, :2]).all()
    assert not np.asarray(by_states[0, 3:]).any()


def test_products_of_bfloat16_are_near_and_not_the_same():
    rule, states, fires = scene(5, (9, 9), 2)
    full, half = (quickly(partial(fused_step, interpret=True, bfloat16=b))(rule, states, fires) for b in (False, True))
    assert 1e-5 < float(jnp.abs(full - half).max()) < 3e-2


def test_several_rules_at_once_equal_each_by_itself():
    scenes = [scene(number, (6, 7), 2) for number in (1, 2)]
    rules, states, fires = jax.tree.map(lambda *a: jnp.stack(a), *scenes)
    together = quickly(jax.vmap(partial(fused_step, interpret=True)))(rules, states, fires)
    for states_after, each in zip(together, scenes, strict=True):
        np.testing.assert_allclose(states_after, densely(*each), atol=1e-5)


def test_a_training_step_by_the_kernel_equals_one_by_xla(monkeypatch):
    task, state = init_training(tiny(dense=True, size=8, margin=2, batch_size=2, pool_size=4, min_steps=3, max_steps=3))
    key = jax.random.key(0)
    plain, metrics = quickly(partial(train_step, task))(state, key)
    by_kernel = replace(task, config=replace(task.config, kernel="pallas"))
    monkeypatch.setattr(
        training_step,
        "fused_step",
        lambda *arguments, bfloat16: fused_step(*arguments, bfloat16=bfloat16, interpret=True),
    )
    ours, kernel_metrics = quickly(partial(train_step, by_kernel))(state, key)
    np.testing.assert_allclose(kernel_metrics["loss"], metrics["loss"], rtol=1e-5)
    np.testing.assert_allclose(ours.pool, plain.pool, atol=1e-4)


# For a GPU, without one.


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_step_by_the_kernel_lowers_for_a_gpu(precision):
    task, state = init_training(tiny(channels=16, hidden_size=128))
    config = replace(task.config, kernel="pallas", precision=precision)
    text = for_gpu(partial(train_step, replace(task, config=config)), state, jax.random.key(0))
    calls = [line for line in text.splitlines() if "triton" in line]
    # Twice forward: in the roll-out, and in its gradient to know who survives.
    # A kernel's debug information may name functions of another one: only its own name counts.
    counts = [sum(f'name = "nca_{name}_kernel"' in line for line in calls) for name in ("forward", "backward")]
    assert counts == [2, 1]
    assert ("bf16" in text) == (precision == "bfloat16")


def test_the_kernel_of_every_activation_lowers_for_a_gpu_or_is_not_offered():
    states, fires = jnp.ones((1, 4, 4, 8)), jnp.ones((1, 4, 4), bool)
    rules = {name: random_rule(0, activation=name) for name in ACTIVATIONS}
    assert [name for name, rule in rules.items() if not kernels.has_kernel(rule)] == ["gelu"]
    for rule in filter(kernels.has_kernel, rules.values()):
        text = for_gpu(lambda s, rule=rule: jax.vjp(lambda s: fused_step(rule, s, fires), s)[1](s), states)
        assert sum("triton" in line for line in text.splitlines()) >= 2


def test_products_of_bfloat16_by_xla_hold_for_the_gradient_too():
    task, state = init_training(tiny(dense=True))
    half = replace(task, config=replace(task.config, precision="bfloat16"))
    products = [
        [line for line in for_gpu(partial(train_step, t), state, jax.random.key(0)).splitlines()
         if "stablehlo.dot_general" in line]
        for t in (task, half)
    ]  # fmt: skip
    assert len(products[0]) == len(products[1]) >= 6
    assert not any("bf16" in line for line in products[0])
    assert all("lhs_precision_type = bf16" in line for line in products[1])


# What cannot be had.


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kernel": "pallas"}, "needs a GPU, and jax finds cpu only"),
        ({"kernel": "pallas", "perception": "learned"}, "has learned, 2 layers and relu"),
        ({"kernel": "pallas", "perception": "steered", "steer": 7}, "has steered, 2 layers and relu"),
        ({"precision": "bfloat16"}, "silently compute in float32"),
    ],
)
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="here there is a GPU")
def test_a_kernel_or_precision_that_cannot_be_had_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        init_training(tiny(**changes))


@pytest.mark.parametrize("changes", [{"kernel": "cuda"}, {"precision": "float16"}])
def test_a_kernel_or_precision_that_is_none_is_refused(changes):
    with pytest.raises(UserError, match="; got '"):
        tiny(**changes)

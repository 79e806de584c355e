"""One training step by the published recipe, as a pure function of (trainer, step number, key).

A batch is drawn from the pool, its worst sample replaced by a seed and, when regenerating, its best
ones wounded; it grows for a random number of steps; the squared error to the target is descended
with every variable's gradient divided by its own norm (Mordvintsev et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array, Float

from nca.damage import random_wound
from nca.fused import fused_steps, products
from nca.perception import mature
from nca.rule import Rule
from nca.sparse import compact_steps, compactable
from nca.step import dense_step
from nca.unroll import unroll

if TYPE_CHECKING:
    from nca.training.config import TrainConfig


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["parameters", "optimiser", "pool"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Trainer:
    """What training changes.

    Attributes:
        parameters: the rule's trained arrays.
        optimiser: the state of Adam.
        pool: end states of earlier roll-outs, (sample, y, x, channel).

    Of a population all of these have a first axis, the member.
    """

    parameters: Any
    optimiser: Any
    pool: Float[Array, "*member sample y x channel"]


@dataclass(frozen=True)
class Task:
    """What training holds fixed.

    Attributes:
        config: the recipe.
        split: the rule's structure and its untrained arrays, as `nnx.split` gives them.
        seed: s_0, (y, x, channel).
        target: the picture padded to the canvas, (y, x, 4).
        capacities: rows that the compact step may compute over the batch, ascending; none is dense.
        place: how a batch is spread over devices; none where there is one.
    """

    config: TrainConfig
    split: tuple[Any, Any]
    seed: Array
    target: Array
    capacities: tuple[int, ...]
    place: NamedSharding | None = None

    def rule(self, parameters: Any) -> Rule:
        """The rule with these parameters."""
        return nnx.merge(self.split[0], parameters, self.split[1])


def adam(config: TrainConfig) -> optax.GradientTransformation:
    """Adam on gradients divided by their own norm, its rate dropped once."""
    rate = optax.piecewise_constant_schedule(config.rate, {config.drop_at: config.drop})

    def normalise(gradients: Any, _: Any) -> Any:
        return jax.tree.map(lambda g: g / (jnp.linalg.norm(g) + 1e-8), gradients)

    return optax.chain(optax.stateless(normalise), optax.adam(rate))


def advance(task: Task, parameters: Any, states: Array, key: Array, t: Array) -> Array:
    """One step of a batch of roll-outs."""
    rule = task.rule(parameters)
    fires = jax.random.uniform(jax.random.fold_in(key, t), states.shape[:3]) <= rule.spec.fire_rate
    if task.config.kernel == "pallas":
        return fused_steps(rule, states, fires, halves=task.config.precision == "bfloat16")
    with products(task.config.precision):
        if task.capacities and compactable(rule):
            return compact_steps(rule, states, fires, task.capacities)
        return jax.vmap(partial(dense_step, rule))(states, fires)


def sample_errors(target: Float[Array, "y x 4"], states: Float[Array, "b y x channel"]) -> Float[Array, " b"]:
    """Mean squared error of each sample's RGBA to the target; not clipped, as training sees it."""
    return jnp.mean((states[..., :4] - target) ** 2, axis=(1, 2, 3))


def draw_batch(task: Task, target: Array, pool: Array, key: Array) -> tuple[Array, Array]:
    """Pool indices and start states of a batch, worst first: seeds, old states, wounded ones."""
    config = task.config
    if config.regime == "growing":
        seeds = jnp.broadcast_to(task.seed, (config.batch, *task.seed.shape))
        return jnp.arange(config.batch), seeds
    pick, harm = jax.random.split(key)
    drawn = jax.random.choice(pick, pool.shape[0], (config.batch,), replace=False)
    worst_first = jnp.argsort(-sample_errors(target, pool[drawn]))
    drawn = drawn[worst_first]
    states = pool[drawn].at[: config.seeds].set(task.seed)
    if config.wounded:
        keys = jax.random.split(harm, config.wounded)
        wound = jax.vmap(lambda k: random_wound(k, config.canvas, config.wounds))(keys)
        states = states.at[-config.wounded :].multiply(~wound[..., None])
    return drawn, states


def descend(
    task: Task, target: Array, parameters: Any, optimiser: Any, states: Array, keys: tuple[Array, Array]
) -> tuple[Any, Any, Array, dict[str, Array]]:
    """Parameters and optimiser after one step on a batch, its end states, and what to watch.

    Args:
        task: what is fixed.
        target: the picture.
        parameters: of the rule.
        optimiser: its state.
        states: where the batch starts.
        keys: of the number of steps, and of the fire masks.
    """
    if task.place is not None:
        states = jax.lax.with_sharding_constraint(states, task.place)
    length, fire = keys
    steps = jax.random.randint(length, (), task.config.shortest, task.config.longest + 1)

    def loss(parameters: Any) -> tuple[Array, Array]:
        ends = unroll(partial(advance, task), task.config.longest, parameters, states, fire, steps)
        return jnp.mean(sample_errors(target, ends)), ends

    (error, ends), gradients = jax.value_and_grad(loss, has_aux=True)(parameters)
    updates, optimiser = adam(task.config).update(gradients, optimiser, parameters)
    body = mature(task.rule(parameters), ends)
    parameters = optax.apply_updates(parameters, updates)
    watch = {
        "loss": error,
        "dead": jnp.sum(~body.any(axis=(1, 2))),
        "largest": jnp.max(jnp.abs(ends)),
        "finite": jnp.isfinite(error) & _finite(parameters) & jnp.isfinite(ends).all(),
    }
    return parameters, optimiser, ends, watch


def training_step(task: Task, trainer: Trainer, key: Array) -> tuple[Trainer, dict[str, Array]]:
    """The trainer after one step, and what to watch.

    Returns:
        watch: loss (mean squared error), dead (samples without a mature cell), largest (absolute
        value of any state), finite (loss, gradients and states).
    """
    pick, *keys = jax.random.split(key, 3)
    drawn, states = draw_batch(task, task.target, trainer.pool, pick)
    parameters, optimiser, ends, watch = descend(
        task, task.target, trainer.parameters, trainer.optimiser, states, (keys[0], keys[1])
    )
    return Trainer(parameters, optimiser, trainer.pool.at[drawn].set(ends)), watch


def _finite(tree: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def step_key(seed: Array | int, rollbacks: Array | int, number: Array | int) -> Array:
    """What a training step draws from: each rollback changes all keys after it."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), rollbacks + 1), number)


def compiled(task: Task) -> Callable[[Trainer, Array], tuple[Trainer, dict[str, Array]]]:
    """`training_step` for one task, compiled once; the old trainer's buffers are reused."""
    return jax.jit(partial(training_step, task), donate_argnums=0)

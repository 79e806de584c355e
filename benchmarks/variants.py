"""The same 64 steps and the same training step, computed in several ways from the same states."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float

from benchmarks.measure import Clock, clock, peak_memory
from benchmarks.scene import QUICK, ROOT, Scene, Sizes, scene
from nca.rollout import grow
from nca.rule import Rule
from nca.step import dense_step
from nca.training.config import TrainConfig
from nca.training.loop import train
from nca.training.step import advance_batch, compile_step, optimizer, sample_mse
from nca.unroll import unroll


@dataclass(frozen=True)
class Variant:
    """One way to compute it: clocks of the forward pass and of the training step, if it has one."""

    forward: Clock
    train: Clock | None = None


@cache
def sparse(scene: Scene) -> Variant:
    """This project's way: the whole training step, from the pool and back to it."""
    task, state, steps = scene.task, scene.state, scene.sizes.steps
    forward = jax.jit(lambda p, s, k: unroll(partial(advance_batch, task), steps, p, s, k, steps))
    step = compile_step(task)
    return Variant(
        clock(forward, lambda: (state.parameters, state.pool, scene.key)),
        # The step takes over the buffers of its argument.
        clock(step, lambda: (jax.tree.map(jnp.copy, state), scene.key)),
    )


def windows(scene: Scene) -> Variant:
    """This project's `grow`, one run after the other, each on a window around its body."""
    keys = jax.vmap(lambda i: jax.random.fold_in(scene.key, i))(jnp.arange(scene.sizes.batch))
    runs = jax.jit(jax.vmap(lambda key: grow(scene.organism, scene.sizes.steps, key=key, state=scene.body)))
    return Variant(clock(runs, lambda: (keys,)))


def slices(scene: Scene) -> Variant:
    """This project's plain step: every cell, perception and pooling by shifted slices."""
    return plain(scene, lambda rule, states, fires: jax.vmap(partial(dense_step, rule))(states, fires))


def convolution(scene: Scene) -> Variant:
    """The usual way: every cell, perception by a depthwise convolution, pooling by `reduce_window`."""
    return plain(scene, convolution_step)


def plain(scene: Scene, step: Callable[[Rule, Array, Array], Array], unroll: int = 1) -> Variant:
    """A given step, scanned over, several to a turn of the loop; each is recomputed in the gradient."""
    task, state = scene.task, scene.state

    def forward(parameters: Any, states: Array, key: Array) -> Array:
        @jax.checkpoint
        def body(states: Array, t: Array) -> tuple[Array, None]:
            rule = task.rule(parameters)
            fires = jax.random.uniform(jax.random.fold_in(key, t), states.shape[:3]) <= rule.spec.fire_rate
            return step(rule, states, fires), None

        return lax.scan(body, states, jnp.arange(scene.sizes.steps), unroll=unroll)[0]

    def training(parameters: Any, optimiser: Any, states: Array, key: Array) -> tuple[Any, Any, Array]:
        def loss(parameters: Any) -> Array:
            return jnp.mean(sample_mse(task.target, forward(parameters, states, key)))

        error, gradients = jax.value_and_grad(loss)(parameters)
        updates, optimiser = optimizer(task.config).update(gradients, optimiser, parameters)
        return optax.apply_updates(parameters, updates), optimiser, error

    start = state.parameters, state.pool, scene.key
    begun = state.parameters, state.optimiser, state.pool, scene.key
    return Variant(clock(jax.jit(forward), lambda: start), clock(jax.jit(training), lambda: begun))


def convolution_step(
    rule: Rule, states: Float[Array, "b y x channel"], fires: Bool[Array, "b y x"]
) -> Float[Array, "b y x channel"]:
    """One step of the published rule."""
    channels, (first, second) = rule.spec.channels, (w[...] for w in rule.weights)
    dx = jnp.outer(jnp.array([1.0, 2.0, 1.0]), jnp.array([-1.0, 0.0, 1.0])) / 8
    kernels = jnp.stack([jnp.zeros((3, 3)).at[1, 1].set(1.0), dx, dx.T], axis=-1)
    features = lax.conv_general_dilated(
        states,
        jnp.tile(kernels[:, :, None], (1, 1, 1, channels)),
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )
    # A grouped convolution lists the filters of one channel after those of another.
    first = first.reshape(3, channels, -1).swapaxes(0, 1).reshape(3 * channels, -1)
    hidden = jax.nn.relu(features @ first + rule.biases[0][...])
    grown = states + (hidden @ second + rule.biases[1][...]) * fires[..., None]

    def alive(states: Array) -> Array:
        alpha = states[..., rule.spec.alpha]
        return lax.reduce_window(alpha, -jnp.inf, lax.max, (1, 3, 3), (1, 1, 1), "SAME") > rule.spec.threshold

    return grown * (alive(states) & alive(grown))[..., None]


VARIANTS: dict[str, Callable[[Scene], Variant]] = {
    "sparse": sparse,
    "slices": slices,
    "convolution": convolution,
}


def memory(name: str, quick: bool) -> float:
    """Peak memory in GB of a fresh process that trains in this way."""
    command = [sys.executable, "-m", "benchmarks.variants", name, *(["quick"] if quick else [])]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(said.splitlines()[-1])


def _train_once(name: str, sizes: Sizes) -> None:
    """One training step of a variant; of the "training run", two by the published recipe, with its files."""
    if name == "training run":
        with tempfile.TemporaryDirectory() as folder:
            train(TrainConfig.published(regime="regenerating", steps=2), Path(folder) / "run", log=lambda line: None)
        return
    step = VARIANTS[name](scene(sizes, None)).train
    if step is not None:
        step()


if __name__ == "__main__":
    _train_once(sys.argv[1], QUICK if "quick" in sys.argv else Sizes())
    print(peak_memory())

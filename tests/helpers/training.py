"""Training small enough for tests, and a mock training step that costs nothing.

Run as a script, it trains with the mock step and dies, as by `kill -9`, at a given write to the disk.
"""

import os
import signal
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from nca.training.config import TrainConfig


def tiny(**changes):
    """A configuration that compiles and runs in seconds."""
    fields = {
        "target": "lizard",
        "regime": "persistent",
        "steps": 40,
        "size": 12,
        "margin": 4,
        "pool_size": 16,
        "batch_size": 4,
        "min_steps": 8,
        "max_steps": 12,
        "hidden_size": 16,
        "channels": 8,
        "damage_per_batch": 1,
        "log_every": 5,
        "save_every": 10,
        "plot_every": 0,
        "seed": 1,
    }
    return TrainConfig.published(**(fields | changes))


def disc_picture(side=12, radius=4):
    """A red disc, premultiplied, (side, side, 4)."""
    y, x = np.mgrid[:side, :side] - side // 2
    inside = (y**2 + x**2 <= radius**2).astype(np.float32)
    return inside[..., None] * np.array([0.9, 0.1, 0.1, 1.0], np.float32)


def no_log(line):
    """Drop a line of progress."""


def run_files(folder):
    """The bytes of what a run writes, by file name, without pictures."""
    names = ["organism.safetensors", "metrics.jsonl", "state.safetensors", "config.json"]
    snapshots = sorted(p.relative_to(folder).as_posix() for p in folder.glob("snapshots/*"))
    return {name: (folder / name).read_bytes() for name in names + snapshots}


def mock_step(task):
    """In place of `compile_step`: the parameters walk at random, by the key, and the loss is drawn from that key."""

    def step(state, key, phase):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        parameters = jax.tree.map(lambda p: jnp.asarray(p + rng.normal(size=p.shape), jnp.float32), state.parameters)
        metrics = {"loss": np.float32(rng.uniform(0.01, 1)), "dead": 0, "max_abs": 1.0, "finite": True}
        return replace(state, parameters=parameters), metrics

    return step


def failing_step(*, calls=(), metric="finite", keys=None):
    """`mock_step` that fails at the calls of these numbers, as one of its metrics shows; `keys` collects its keys."""
    numbers = iter(range(10**9))
    bad = {"finite": False, "max_abs": 1e9}

    def compile_step(task):
        plain = mock_step(task)

        def step(state, key, phase):
            state, metrics = plain(state, key, phase)
            if keys is not None:
                keys.append(tuple(np.asarray(jax.random.key_data(key)).tolist()))
            if next(numbers) in calls:
                metrics = metrics | {metric: task.config.batch_size if metric == "dead" else bad[metric]}
            return state, metrics

        return step

    return compile_step


def corrupting_step(number):
    """`mock_step`, but in the call of this number all parameters become NaN, and stay so."""
    numbers = iter(range(10**9))

    def compile_step(task):
        plain = mock_step(task)

        def step(state, key, phase):
            state, metrics = plain(state, key, phase)
            if next(numbers) == number:
                state = replace(state, parameters=jax.tree.map(lambda p: p * jnp.nan, state.parameters))
            finite = all(bool(jnp.isfinite(p).all()) for p in jax.tree.leaves(state.parameters))
            return state, metrics | {"finite": finite}

        return step

    return compile_step


def die_at(number):
    """Kill this process before or after a write to the disk: at the `number`-th such moment from here.

    Returns:
        A list of one number: how many moments are left.
    """
    left = [number]

    def count_down():
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(function):
        def wrapper(*args, **options):
            count_down()
            result = function(*args, **options)
            count_down()
            return result

        return wrapper

    for name in ("fsync", "replace", "truncate"):
        setattr(os, name, deadly(getattr(os, name)))
    return left


if __name__ == "__main__":
    from nca.training import loop

    folder, number, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if kind == "mock":
        loop.compile_step = mock_step
    if number:
        die_at(number)
    config = tiny(snapshots="7", save_every=6, log_every=3)
    loop.train(config, folder, resume=os.path.exists(os.path.join(folder, "state.safetensors")), log=print)

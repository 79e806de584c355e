"""Training small enough for tests, and a pretended training step that costs nothing.

Run as a script, it trains by the pretended step and dies, as by `kill -9`, at a given write to the disk.
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
    """A recipe that compiles and runs in seconds."""
    recipe = {
        "target": "lizard",
        "regime": "persistent",
        "steps": 40,
        "size": 12,
        "margin": 4,
        "pool": 16,
        "batch": 4,
        "shortest": 8,
        "longest": 12,
        "hidden": 16,
        "channels": 8,
        "damaged": 1,
        "log_every": 5,
        "save_every": 10,
        "sheet_every": 0,
        "seed": 1,
    }
    return TrainConfig(**(recipe | changes))


def quiet(line):
    """Nothing is told."""


def contents(folder):
    """The bytes of what a run leaves, by name, without pictures."""
    names = ["organism.safetensors", "metrics.jsonl", "state.safetensors", "config.json"]
    kept = sorted(p.relative_to(folder).as_posix() for p in folder.glob("keep/*"))
    return {name: (folder / name).read_bytes() for name in names + kept}


def pretend(task):
    """A training step that walks at random, by its key, and reports a loss of that key."""

    def step(trainer, key):
        draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        parameters = jax.tree.map(lambda p: jnp.asarray(p + draw.normal(size=p.shape), jnp.float32), trainer.parameters)
        watch = {"loss": np.float32(draw.uniform(0.01, 1)), "dead": 0, "largest": 1.0, "finite": True}
        return replace(trainer, parameters=parameters), watch

    return step


def recording(*, poisoned=(), how="finite", keys=None):
    """`pretend`, telling its keys, with trouble at the calls of the given numbers."""
    calls = iter(range(10**9))
    trouble = {"finite": False, "largest": 1e9, "dead": 10**9}

    def compiled(task):
        plain = pretend(task)

        def step(trainer, key):
            trainer, watch = plain(trainer, key)
            if keys is not None:
                keys.append(tuple(np.asarray(jax.random.key_data(key)).tolist()))
            if next(calls) in poisoned:
                value = task.config.batch if how == "dead" else trouble[how]
                watch = watch | {how: value}
            return trainer, watch

        return step

    return compiled


def spoiling(number):
    """`pretend`, but at the call of that number all parameters become NaN and stay so, as in earnest."""
    calls = iter(range(10**9))

    def compiled(task):
        plain = pretend(task)

        def step(trainer, key):
            trainer, watch = plain(trainer, key)
            if next(calls) == number:
                trainer = replace(trainer, parameters=jax.tree.map(lambda p: p * jnp.nan, trainer.parameters))
            finite = all(bool(jnp.isfinite(p).all()) for p in jax.tree.leaves(trainer.parameters))
            return trainer, watch | {"finite": finite}

        return step

    return compiled


def die_at(number):
    """From here on, the `number`-th write to the disk is the last thing that this process does."""
    left = [number]

    def deadly(function):
        def instead(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return instead

    for name in ("fsync", "replace", "truncate"):
        setattr(os, name, deadly(getattr(os, name)))


if __name__ == "__main__":
    from nca.training import loop as training

    folder, number, real = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "real"
    if not real:
        training.compiled = pretend
    if number:
        die_at(number)
    recipe = tiny(keep="7", save_every=6, log_every=3)
    training.train(recipe, folder, resume=os.path.exists(os.path.join(folder, "state.safetensors")), say=print)

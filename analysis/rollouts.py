"""Many runs of an organism, by stretches of one compiled program.

A stretch has 20 steps, whatever the horizon, so growing, cutting and following share a program.
On a CPU runs go one by one on as many threads as there are cores; elsewhere side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from analysis.metrics import Arrays
from nca.edits import draws_noise
from nca.errors import UserError
from nca.organism import Organism
from nca.rollout import grow, run_key

CHUNK = 20
BATCH_SIZE = 128
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Batch:
    """What runs side by side go by: everything but their states.

    Attributes:
        organism: what grows.
        keys: one per run.
        fire: masks (run, step, y, x) from `start` on, in place of the keys' own.
        edits: edits that act together, each with one entry per run along its first axis.
        start: the number of the first step.
        tick: is told the steps done, as they are.
    """

    organism: Organism
    keys: Any
    fire: Any = None
    edits: Any = ()
    start: int = 0
    tick: Tick | None = None


def run_keys(seed: int, runs: int) -> Any:
    """The keys of the first runs of a seed."""
    if runs < 1:
        raise UserError(f"At least one run is needed, got {runs}.")
    return jnp.stack([run_key(seed, i) for i in range(runs)])


def seed_states(organism: Organism, runs: int) -> Float[Array, "run y x channel"]:
    """The seed on its canvas, for every run."""
    return jnp.broadcast_to(organism.start(), (runs, *organism.canvas, organism.rule.spec.channels))


def map_runs(count: int, work: Callable[[np.ndarray], Any]) -> list[Any]:
    """`work` on the numbers 0 .. count - 1, part by part: threads of one, or batches."""
    if jax.default_backend() != "cpu":
        return [work(part) for part in np.split(np.arange(count), range(BATCH_SIZE, count, BATCH_SIZE))]
    first, *rest = np.arange(count)[:, None]
    done = [work(first)]  # compiles; the others reuse it
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return done + list(pool.map(work, rest))


def select_runs(values: Any, i: np.ndarray) -> Any:
    """The runs numbered i, where there are values at all."""
    return None if values is None else jnp.asarray(values[i])


def advance_chunk(course: Batch, states: Any, here: int, steps: int, roll: Callable[..., Any] = grow) -> Any:
    """What `roll` (`nca.grow` or `nca.trajectory`) gives for `steps` steps from offset `here`."""
    fire = None if course.fire is None else course.fire[:, here : here + steps]
    keyed = course.fire is None or draws_noise(course.edits)

    def one(state: Any, key: Any, masks: Any, edits: Any) -> Any:
        return roll(
            course.organism,
            steps,
            key=key if keyed else None,
            fire=masks,
            state=state,
            start=course.start + here,
            edits=edits,
        )

    if len(states) == 1:  # not a batch: the program that every other single run uses
        out = one(*jax.tree.map(lambda v: v[0], (states, course.keys, fire, course.edits)))[None]
    else:
        axes = (0, 0, None if fire is None else 0, 0)
        out = jax.vmap(one, axes)(states, course.keys, fire, course.edits)
    if course.tick is not None:
        course.tick(steps * len(states))
    return out


def advance(course: Batch, states: Any, here: int, there: int) -> Float[Array, "run y x channel"]:
    """The states from one offset (in steps after the start) to a later one."""
    for offset in range(int(here), int(there), CHUNK):
        states = advance_chunk(course, states, offset, min(CHUNK, int(there) - offset))
    return states


def grow_runs(
    organism: Organism,
    steps: int,
    keys: Any,
    *,
    states: Float[Arrays, "run y x channel"] | None = None,
    start: int = 0,
    fire: Bool[np.ndarray, "run step y x"] | None = None,
    tick: Tick | None = None,
) -> Float[Array, "run y x channel"]:
    """The states of many runs after `steps` steps.

    Args:
        organism: what grows.
        steps: steps to take.
        keys: one per run.
        states: what to go on from instead of the seed, at step `start`.
        start: the number of the first step.
        fire: masks in place of the keys' own.
        tick: is told the steps done.
    """
    begun = seed_states(organism, len(keys)) if states is None else jnp.asarray(states)

    def part(i: np.ndarray) -> Any:
        course = Batch(organism, keys[i], select_runs(fire, i), (), start, tick)
        return advance(course, begun[i], 0, steps)

    return jnp.concatenate(map_runs(len(keys), part))

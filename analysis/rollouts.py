"""Many runs of an organism, in chunks of one compiled program.

A chunk has 20 steps, whatever the horizon, so growing, cutting and following share a program. On a CPU
runs are computed one by one on as many threads as there are cores, elsewhere in batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from analysis.metrics import Arrays
from nca.errors import UserError
from nca.organism import Organism
from nca.rollout import grow, run_key
from nca.step import fire_mask

CHUNK = 20
BATCH_SIZE = 128
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Batch:
    """Runs that are computed together: everything but their states.

    Attributes:
        organism: what grows.
        keys: one per run.
        fire: fire masks (run, step, y, x) from `start` on, instead of those that follow from the keys.
        edits: edits that act together, each with one entry per run along its first axis.
        start: the number of the first step.
        tick: called with the number of steps done.
    """

    organism: Organism
    keys: Any
    fire: Any = None
    edits: Any = ()
    start: int = 0
    tick: Tick | None = None


def run_keys(seed: int, runs: int) -> Any:
    """The PRNG keys of runs 0 .. runs - 1 of a seed."""
    if runs < 1:
        raise UserError(f"At least one run is needed, got {runs}.")
    return jnp.stack([run_key(seed, i) for i in range(runs)])


def fire_masks(
    organism: Organism, key: Any, steps: int, start: int = 0, canvas: tuple[int, int] | None = None
) -> Bool[Array, "step y x"]:
    """The fire masks of a run, to drive another run by the same noise.

    Args:
        organism: what grows.
        key: of the run.
        steps: number of masks.
        start: the number of the first step.
        canvas: (height, width); the organism's own by default.
    """
    size = organism.canvas if canvas is None else (int(canvas[0]), int(canvas[1]))
    return jax.vmap(lambda t: fire_mask(organism.rule, key, t, size))(start + jnp.arange(steps))


def seed_states(organism: Organism, runs: int) -> Float[Array, "run y x channel"]:
    """The seed on its canvas, once per run."""
    return jnp.broadcast_to(organism.initial_state(), (runs, *organism.canvas, organism.rule.spec.channels))


def map_runs(count: int, work: Callable[[np.ndarray], Any]) -> list[Any]:
    """`work` applied to the run numbers 0 .. count - 1, as arrays: one run per thread on a CPU, batches elsewhere."""
    if jax.default_backend() != "cpu":
        return [work(batch) for batch in np.split(np.arange(count), range(BATCH_SIZE, count, BATCH_SIZE))]
    first, *rest = np.arange(count)[:, None]
    results = [work(first)]  # compiles; the others reuse it
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return results + list(pool.map(work, rest))


def advance_chunk(batch: Batch, states: Any, offset: int, steps: int, rollout: Callable[..., Any] = grow) -> Any:
    """`rollout` (`nca.grow` or `nca.trajectory`) of every run for `steps` steps, `offset` steps after the start."""
    fire = None if batch.fire is None else jnp.asarray(batch.fire[:, offset : offset + steps])
    needs_key = batch.fire is None or any(edit.mode == "noise" for edit in batch.edits)

    def _one_run(state: Any, key: Any, masks: Any, edits: Any) -> Any:
        begin = {"key": key if needs_key else None, "state": state, "start": batch.start + offset}
        return rollout(batch.organism, steps, fire=masks, edits=edits, **begin)

    if len(states) == 1:  # not vmapped: the program that every other single run uses
        out = _one_run(*jax.tree.map(lambda v: v[0], (states, batch.keys, fire, batch.edits)))[None]
    else:
        axes = (0, 0, None if fire is None else 0, 0)
        out = jax.vmap(_one_run, axes)(states, batch.keys, fire, batch.edits)
    if batch.tick is not None:
        batch.tick(steps * len(states))
    return out


def advance(batch: Batch, states: Any, begin: int, end: int) -> Float[Array, "run y x channel"]:
    """The states at offset `end` from those at offset `begin` (steps after the batch's start)."""
    for offset in range(int(begin), int(end), CHUNK):
        states = advance_chunk(batch, states, offset, min(CHUNK, int(end) - offset))
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
        steps: number of steps.
        keys: one per run.
        states: at step `start`; the seed by default.
        start: the number of the first step.
        fire: fire masks instead of those that follow from the keys.
        tick: called with the number of steps done.
    """
    initial = seed_states(organism, len(keys)) if states is None else jnp.asarray(states)

    def _grow_batch(i: np.ndarray) -> Any:
        return advance(
            Batch(organism, keys[i], None if fire is None else fire[i], (), start, tick), initial[i], 0, steps
        )

    return jnp.concatenate(map_runs(len(keys), _grow_batch))


def grow_through(
    organism: Organism,
    keys: Any,
    steps: Sequence[int],
    *,
    states: Float[Arrays, "run y x channel"] | None = None,
    tick: Tick | None = None,
) -> Float[np.ndarray, "step run y x channel"]:
    """The states of many runs at several steps.

    Args:
        organism: what grows.
        keys: one per run.
        steps: ascending; the first is that of `states`.
        states: at the first step; the seed if none.
        tick: called with the number of steps done.
    """
    course = [np.asarray(seed_states(organism, len(keys)) if states is None else states)]
    for begin, end in pairwise(steps):
        following = grow_runs(organism, end - begin, keys, states=course[-1], start=begin, tick=tick)
        course.append(np.asarray(following))
    return np.stack(course)

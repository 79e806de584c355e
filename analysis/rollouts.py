"""Many runs of an organism, in chunks of one compiled program.

A chunk has 20 steps, whatever the horizon, so growing, cutting and following share a program. On a CPU
runs are computed one by one on as many threads as there are cores, elsewhere in batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from analysis import metrics
from analysis.metrics import Arrays
from nca.errors import UserError
from nca.organism import Organism
from nca.rollout import grow, run_key
from nca.step import fire_mask

CHUNK = 20
_ADULT_STEP, _TRAINED_STEP = 200, 96  # the second is the end of the longest roll-outs of the published training
_COMPARED_STEP = 5 * CHUNK  # near the second, and needs no program of its own
_LOST = 0.5  # rise of log10 MSE by which a body is lost
_NEAR = 0.95  # fitness, relative to its best
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


def own_adult_step(*organisms: Organism) -> int:
    """The step at which organisms are grown and still have their bodies: 200, or 96 where one has lost its body by 200.

    That is known from its own metrics, an error at step 200 more than three times that at step 96; without them, from
    its regime.
    """

    def _keeps_body(organism: Organism) -> bool:
        errors, config = _known_errors(organism), organism.provenance.get("config")
        if {_ADULT_STEP, _TRAINED_STEP} <= errors.keys():
            return errors[_ADULT_STEP] - errors[_TRAINED_STEP] <= _LOST
        return not (isinstance(config, Mapping) and config.get("regime") == "growing")

    return _ADULT_STEP if all(map(_keeps_body, organisms)) else _TRAINED_STEP


def with_adult_step(config: Any, *organisms: Organism) -> Any:
    """Options with the adult step of these organisms, where their own is 0; options without that field as they are."""
    return config if getattr(config, "adult_step", 1) else replace(config, adult_step=own_adult_step(*organisms))


def body_warnings(organisms: Sequence[Organism], step: int, log: Callable[[str], None]) -> list[str]:
    """What is wrong with the bodies of organisms at a step, in sentences; each is logged as well."""
    warnings = [text for text in (_body_warning(organism, step) for organism in organisms) if text]
    for text in warnings:
        log(f"warning: {text}")
    return warnings


def _body_warning(organism: Organism, step: int) -> str:
    """Why the body at a step is not the organism's own, as a sentence: gone, overgrown, or far from its best.

    It is compared with the same two runs at step 100, and with the least error among the organism's metrics; empty
    where nothing is wrong.
    """
    rule, known = organism.rule, _known_errors(organism)
    steps = sorted({step} if known and step <= _COMPARED_STEP else {step, _COMPARED_STEP})
    states = dict(zip(steps, grow_through(organism, run_keys(0, 2), [0, *steps])[1:], strict=True))
    if reason := metrics.missing_body(rule, states[step], step):
        return f"{organism.name}: {reason}"
    cells = {n: int(np.median(metrics.mature_count(rule, s))) for n, s in states.items()}
    advice = f"All results are about that body; try --adult-step {own_adult_step(organism)}."
    target = organism.padded_target()
    if target is not None:
        errors = {n: float(np.median(metrics.log_mse(metrics.mse(rule.spec, s, target)))) for n, s in states.items()}
        now, errors = errors[step], known | errors
        best = min(errors, key=lambda n: errors[n])
        mse, best_mse = 10.0 ** np.asarray([[now], [errors[best]]])
        if metrics.fitness(mse, best_mse, metrics.empty_mse(target)) < _NEAR:
            return (
                f"{organism.name} is far from its best at step {step}: log10 MSE {now:.2f} with {cells[step]} mature "
                f"cells, {errors[best]:.2f} at step {best}. {advice}"
            )
    before = cells.get(_COMPARED_STEP, cells[step])
    if step > _COMPARED_STEP and cells[step] > metrics.OVERGROWN * before:
        return (
            f"{organism.name} has overgrown by step {step}: {cells[step]} mature cells, {before} at step "
            f"{_COMPARED_STEP}. {advice}"
        )
    return ""


def _known_errors(organism: Organism) -> dict[int, float]:
    """log10 MSE by step, of the organism's metrics."""
    try:
        return {int(n): float(e) for n, e in organism.metrics["log10_mse"].items() if e is not None}
    except (KeyError, AttributeError, TypeError, ValueError):
        return {}

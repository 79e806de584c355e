"""The roll-out behind growth: windows around the body, compact rows, runs one after the other.

On a CPU a run is computed in stretches of a few steps, each on the smallest window that holds the
body, each step with the rows that matter. On other devices every cell is computed, runs side by
side. Either way the result is that of the plain dense step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap
from jaxtyping import Array

from nca import crop as window
from nca.edits.edit import apply, lasting
from nca.perception import alive
from nca.pytrees import Layout, join, separate
from nca.rule import Rule
from nca.sparse import sparse_is_exact, sparse_step
from nca.step import dense_step, fire_mask

STRETCHES = (8, 10, 9, 7, 6, 5)


@dataclass(frozen=True)
class Plan:
    """What a compiled roll-out holds fixed.

    Attributes:
        steps: number of steps.
        record: return every state, not the last alone.
        compact: compute only the rows that matter, run by run; else densely, runs side by side.
    """

    steps: int
    record: bool
    compact: bool


@dataclass(frozen=True)
class Run:
    """What stays the same through a roll-out.

    Attributes:
        plan: its static part.
        rule: the rule.
        key: the run's key, or None.
        fire: fire masks (steps, y, x) instead, or None.
        edits: changes made at sites.
        start: the number of the first step.
        canvas: (y, x).
    """

    plan: Plan
    rule: Rule
    key: Any
    fire: Any
    edits: Any
    start: Array
    canvas: tuple[int, int]

    @property
    def compact(self) -> bool:
        """Whether the compact step is wanted and exact."""
        return self.plan.compact and sparse_is_exact(self.rule, self.edits)

    def mask(self, i: Array) -> Array:
        """The fire mask of the i-th step from the start, on the canvas."""
        if self.fire is None:
            return fire_mask(self.rule, self.key, self.start + i, self.canvas)
        return lax.dynamic_index_in_dim(self.fire, i, keepdims=False)


@partial(jax.jit, static_argnums=0)
def roll(plan: Plan, rule: Rule, state: Array, key: Any, fire: Any, edits: Any, start: Array) -> Array:
    """The last state, or all of them (steps + 1, y, x, channel)."""
    return _apart(plan, *separate((rule, state, key, fire, edits, start)))


# Compact steps branch, and a branch on a batched predicate would run both sides: so runs mapped by
# `vmap` follow one another. That has no reverse mode of its own, hence the rule below.
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _apart(plan: Plan, layout: Layout, real: list[Array], rest: list[Array]) -> Array:
    one = partial(_one_run, plan, layout)
    return (sequential_vmap(one) if plan.compact else one)(real, rest)


def _forward(plan: Plan, layout: Layout, real: list[Array], rest: list[Array]) -> tuple[Array, Any]:
    return _apart(plan, layout, real, rest), (real, rest)


def _backward(plan: Plan, layout: Layout, kept: Any, slope: Array) -> tuple[list[Array], None]:
    def pull(real: list[Array], rest: list[Array], slope: Array) -> list[Array]:
        return jax.vjp(lambda r: _one_run(plan, layout, r, rest), real)[1](slope)[0]

    real, rest = kept
    return (sequential_vmap(pull) if plan.compact else pull)(real, rest, slope), None


_apart.defvjp(_forward, _backward)


def _one_run(plan: Plan, layout: Layout, real: list[Array], rest: list[Array]) -> Array:
    rule, state, key, fire, edits, start = join(layout, real, rest)
    canvas = (state.shape[0], state.shape[1])
    run = Run(plan, rule, key, fire, edits, start, canvas)
    sizes = window.sizes(rule, canvas) if run.compact else (canvas,)
    length = _stretch_length(plan.steps) if len(sizes) > 1 else plan.steps
    # Dead cells of a given state may hold values; a window would not show them.
    shown = apply(edits, "state", state, start, key)
    whole, over = divmod(plan.steps, length)
    parts = []
    if whole:
        firsts = jnp.arange(whole) * length
        state, states = lax.scan(lambda s, i: _stretch(run, s, i, length, sizes), state, firsts)
        parts.append(states.reshape(whole * length, *states.shape[2:]))
    if over:
        state, states = _stretch(run, state, jnp.int32(whole * length), over, (canvas,))
        parts.append(states)
    state = apply(lasting(edits), "state", state, start + plan.steps, key)
    return jnp.concatenate([*parts, state[None]]).at[0].set(shown) if plan.record else state


def _stretch_length(steps: int) -> int:
    """Steps between choices of a window: some eight, without a remainder where that can be."""
    return next((n for n in STRETCHES if steps % n == 0), STRETCHES[0])


def _stretch(
    run: Run, state: Array, first: Array, steps: int, sizes: tuple[tuple[int, int], ...]
) -> tuple[Array, Array]:
    """The state after some steps from the `first` on, and the states read (none, if not recorded)."""

    def inside(size: tuple[int, int]) -> tuple[Array, Array]:
        if size == run.canvas:
            return _steps(run, run.edits, state, first, steps, lambda mask: mask)
        edits = window.crop_edits(run.edits, corner, size, run.canvas)
        part = window.crop(state, corner, size)
        part, parts = _steps(run, edits, part, first, steps, lambda mask: window.crop(mask, corner, size))
        parts = window.paste(parts, corner, run.canvas, axis=1) if run.plan.record else parts
        return window.paste(part, corner, run.canvas), parts

    if len(sizes) == 1:
        return inside(sizes[0])
    number, corner = window.fitting(run.rule, alive(run.rule, state), steps, sizes)
    confined = window.confined(run.rule, run.edits, run.start + first, steps, run.plan.record)
    number = jnp.where(confined, number, len(sizes) - 1)
    return lax.switch(number, [partial(inside, size) for size in sizes])


def _steps(
    run: Run, edits: Any, state: Array, first: Array, steps: int, seen: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Steps on a canvas or on a window, which sees its part of edits and fire masks."""
    capacities = _capacities(run.rule, state.shape[0] * state.shape[1])
    later = [e for e in edits if e.site != "state"]

    @jax.checkpoint
    def body(state: Array, i: Array) -> tuple[Array, Array]:
        t, fire = run.start + i, seen(run.mask(i))
        shown = apply(edits, "state", state, t, run.key)
        if run.compact:
            after = sparse_step(run.rule, shown[None], fire[None], capacities, edits=later, t=t)[0]
        else:
            after = _dense(run, shown, fire, t)
        return after, shown if run.plan.record else shown[:0, :0]

    return lax.scan(body, state, first + jnp.arange(steps))


def _dense(run: Run, shown: Array, fire: Array, t: Array) -> Array:
    # Noise streams are numbered by an edit's place among all edits: those of the state, applied
    # already, stay in the list with a window that never comes.
    rest = [replace(e, last=jnp.int32(0)) if e.site == "state" else e for e in run.edits]
    return dense_step(run.rule, shown, fire, edits=rest, t=t, key=run.key)


def _capacities(rule: Rule, cells: int) -> tuple[int, ...]:
    """Rows for bodies that, with their rings, cover a fifth or half of the window."""
    return tuple(max(int(share * rule.spec.fire_rate * cells), 16) for share in (0.2, 0.5))

"""Growth: roll-outs of an organism, exact, edited, keyed by (run, step).

A run is determined by start state, start step, key (or fire masks) and edits, on its canvas. `states[t]` is
s_t as step t read it; an edit of the state at step t shows in `states[t]`. The state after the last step shows
edits that *set* values and still hold; those that scale or add act when the state is next read, so that a run
may be continued without acting twice.

On a CPU a run is computed in segments of a few steps, each on the smallest window that suffices, each step on
the active cells only (`nca.sparse`). On other devices every cell is computed, runs in parallel. The result is
the same: that of the plain dense step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Bool, Float

from nca.edits.edit import Edit, apply, entries
from nca.errors import UserError
from nca.organism import Organism, check_canvas
from nca.rule import Rule
from nca.sparse import scan_in_windows, sparse_is_exact, sparse_step
from nca.step import dense_step, fire_mask, step_sites
from nca.unroll import Layout, join_floats, split_floats


def run_key(seed: int, run: int = 0) -> Array:
    """The PRNG key of run number `run` of a seed."""
    return jax.random.fold_in(jax.random.key(seed), run)


def grow(
    organism: Organism,
    steps: int,
    *,
    key: Array | None = None,
    fire: Bool[Array, "step y x"] | None = None,
    state: Float[Array, "y x channel"] | None = None,
    start: int = 0,
    canvas: tuple[int, int] | None = None,
    edits: Sequence[Edit] = (),
) -> Float[Array, "y x channel"]:
    """The state after `steps` steps.

    Args:
        organism: what grows.
        steps: at least 1.
        key: the run's key; step t draws its fire mask from `fold_in(key, t)`.
        fire: fire masks instead of a key, True where a cell updates; `fire[i]` is the mask of step `start + i`.
        state: start from this state instead of the seed, on its canvas.
        start: number of the first step.
        canvas: (height, width) to grow the seed on, instead of the organism's own.
        edits: changes made at sites of steps.

    `jax.vmap` over keys, states and stacked edits equals the loop, and so do gradients.

    Raises:
        UserError: both or neither of key and fire are given, or shapes do not fit.
    """
    return _checked_roll(organism, steps, key, fire, state, start, canvas, edits, record=False)


def trajectory(
    organism: Organism,
    steps: int,
    *,
    key: Array | None = None,
    fire: Bool[Array, "step y x"] | None = None,
    state: Float[Array, "y x channel"] | None = None,
    start: int = 0,
    canvas: tuple[int, int] | None = None,
    edits: Sequence[Edit] = (),
) -> Float[Array, "time y x channel"]:
    """All states from s_start on, steps + 1 of them; arguments as for `grow`."""
    return _checked_roll(organism, steps, key, fire, state, start, canvas, edits, record=True)


def replay(
    organism: Organism,
    state: Float[Array, "y x channel"],
    t: int,
    *,
    key: Array | None = None,
    fire: Bool[Array, "y x"] | None = None,
    edits: Sequence[Edit] = (),
) -> dict[str, Array]:
    """Every named site of step t, from the state that it read.

    Args:
        organism: what grows.
        state: s_t before edits; a recorded state already shows the edits of its step, so replay it
            without those that scale or add to the state.
        t: number of the step.
        key: the run's key.
        fire: the fire mask of the step instead of a key.
        edits: changes made at sites.

    Returns:
        state, before, fire, alive (y, x), perception (y, x, filter, channel), pre, post
        (y, x, unit), delta, update, next (y, x, channel).
    """
    state = _check_state(organism, state)
    canvas = (state.shape[0], state.shape[1])
    _check_noise(key, fire, edits)
    _check_edits(organism.rule, edits, canvas)
    if fire is not None and fire.shape != canvas:
        raise UserError(f"The fire mask of one step must be {canvas}, got {fire.shape}.")
    mask = fire_mask(organism.rule, key, t, canvas) if fire is None else jnp.asarray(fire, bool)
    with jax.default_matmul_precision("highest"):
        return _compiled_sites(organism.rule, state, mask, edits=tuple(edits), t=jnp.int32(t), key=key)


_compiled_sites = jax.jit(step_sites)


# The compiled program.


@dataclass(frozen=True)
class _Plan:
    """What a compiled roll-out holds fixed.

    Attributes:
        steps: number of steps.
        record: return every state, not only the last.
        sparse: compute only active cells, one run after another; else every cell, runs in parallel.
    """

    steps: int
    record: bool
    sparse: bool


@partial(jax.jit, static_argnums=0)
def _roll(plan: _Plan, rule: Rule, state: Array, key: Any, fire: Any, edits: Any, start: Array) -> Array:
    """The last state, or all of them (steps + 1, y, x, channel)."""
    return _roll_split(plan, *split_floats((rule, state, key, fire, edits, start)))


# Sparse steps branch, and a branch on a batched predicate would run both sides: so runs mapped by
# `vmap` follow one another. That has no reverse mode of its own, hence the rule below.
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _roll_split(plan: _Plan, layout: Layout, floats: list[Array], others: list[Array]) -> Array:
    roll = partial(_roll_once, plan, layout)
    return (sequential_vmap(roll) if plan.sparse else roll)(floats, others)


def _forward(plan: _Plan, layout: Layout, floats: list[Array], others: list[Array]) -> tuple[Array, Any]:
    return _roll_split(plan, layout, floats, others), (floats, others)


def _backward(plan: _Plan, layout: Layout, residuals: Any, cotangent: Array) -> tuple[list[Array], None]:
    def pullback(floats: list[Array], others: list[Array], cotangent: Array) -> list[Array]:
        return jax.vjp(lambda f: _roll_once(plan, layout, f, others), floats)[1](cotangent)[0]

    floats, others = residuals
    return (sequential_vmap(pullback) if plan.sparse else pullback)(floats, others, cotangent), None


_roll_split.defvjp(_forward, _backward)


def _roll_once(plan: _Plan, layout: Layout, floats: list[Array], others: list[Array]) -> Array:
    rule, state, key, fire, edits, start = join_floats(layout, floats, others)
    canvas = (state.shape[0], state.shape[1])
    sparse = plan.sparse and sparse_is_exact(rule, edits)

    def advance(
        edits: Sequence[Edit], state: Array, first: Array, steps: int, crop: Callable[[Array], Array]
    ) -> tuple[Array, Array]:
        """The steps from `start + first` on, on a window that `crop` cuts from the canvas."""
        cells = state.shape[0] * state.shape[1]
        # Rows for bodies that, with their rings, cover a fifth or half of the window.
        capacities = tuple(max(int(share * rule.spec.fire_rate * cells), 16) for share in (0.2, 0.5))

        @jax.checkpoint
        def body(state: Array, i: Array) -> tuple[Array, Array]:
            t = start + i
            mask = (
                fire_mask(rule, key, t, canvas) if fire is None else lax.dynamic_index_in_dim(fire, i, keepdims=False)
            )
            read = apply(edits, "state", state, t, key)
            if sparse:
                later = [e for e in edits if e.site != "state"]
                after = sparse_step(rule, read[None], crop(mask)[None], capacities, edits=later, t=t)[0]
            else:
                # Noise streams are numbered by an edit's position among all edits: those of the state, applied
                # already, stay in the list with a window that never comes.
                later = [replace(e, stop=jnp.int32(0)) if e.site == "state" else e for e in edits]
                after = dense_step(rule, read, mask, edits=later, t=t, key=key)
            return after, read if plan.record else read[:0, :0]

        return lax.scan(body, state, first + jnp.arange(steps))

    # Dead cells of a given state may hold values, which a window would not show.
    first_state = apply(edits, "state", state, start, key)
    if sparse:
        state, states = scan_in_windows(advance, rule, state, edits, start, plan.steps, plan.record)
    else:
        state, states = advance(edits, state, jnp.int32(0), plan.steps, lambda field: field)
    # Edits that hold values show in the state after the last step too.
    state = apply([e for e in edits if e.mode in ("set", "follow")], "state", state, start + plan.steps, key)
    return jnp.concatenate([states, state[None]]).at[0].set(first_state) if plan.record else state


# Checks of what users give.


def _checked_roll(
    organism: Organism, steps: int, key: Any, fire: Any, state: Any, start: int, canvas: Any, edits: Any, record: bool
) -> Array:
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise UserError(f"steps must be a whole number of at least 1, got {steps!r}.")
    if isinstance(start, int) and start < 0:
        raise UserError(f"start must be a step from 0 up, got {start}.")
    _check_noise(key, fire, edits)
    state = organism.initial_state(canvas) if state is None else _check_state(organism, state, canvas)
    size = (state.shape[0], state.shape[1])
    _check_edits(organism.rule, edits, size)
    if fire is not None:
        fire = jnp.asarray(fire, bool)
        if fire.shape != (steps, *size):
            raise UserError(f"Fire masks must be {(steps, *size)}, got {fire.shape}.")
    plan = _Plan(int(steps), record, sparse=jax.default_backend() == "cpu")
    with jax.default_matmul_precision("highest"):
        return _roll(plan, organism.rule, state, key, fire, tuple(edits), jnp.int32(start))


def _check_noise(key: Any, fire: Any, edits: Sequence[Edit]) -> None:
    draws_noise = any(edit.mode == "noise" for edit in edits)
    if draws_noise and key is None:
        raise UserError("Edits that draw noise need a key, also where fire masks are given.")
    if (key is None) == (fire is None) and not draws_noise:
        given = "neither" if key is None else "both"
        raise UserError(f"Give exactly one of key and fire; got {given}.")


def _check_state(organism: Organism, state: Any, canvas: Any = None) -> Array:
    state = jnp.asarray(state, jnp.float32)
    channels = organism.rule.spec.channels
    if state.ndim != 3 or state.shape[2] != channels:
        raise UserError(f"A state must be (y, x, {channels}), got {tuple(state.shape)}.")
    check_canvas(state.shape[:2])
    if canvas is not None and tuple(canvas) != tuple(state.shape[:2]):
        raise UserError(f"The given state sets the canvas {state.shape[:2]}; leave out canvas={canvas}.")
    return state


def _check_edits(rule: Rule, edits: Sequence[Edit], canvas: tuple[int, int]) -> None:
    for edit in edits:
        expected = entries(rule, edit.site).shape
        if edit.entries.shape != expected:
            raise UserError(
                f"An edit of {edit.site} was made for {edit.entries.shape} entries, but this rule has "
                f"{expected}; make it for this organism, and pass stacked edits through jax.vmap."
            )
        if edit.region is not None and tuple(edit.region.shape) != canvas:
            raise UserError(f"An edit's region is {edit.region.shape}, but the canvas is {canvas}.")
        _check_value(edit, (*canvas, *expected))


def _check_value(edit: Edit, site_shape: tuple[int, ...]) -> None:
    """Raise `UserError` where an edit's value does not fit the site, (y, x, entry)."""
    shape = tuple(edit.value.shape)
    if edit.mode == "project":
        if len(shape) != 2 or shape[1] != site_shape[-1] or shape[0] % 2 == 0:
            raise UserError(f"A projection's value is (2 k + 1, {site_shape[-1]}), got {shape}.")
        return
    if edit.mode == "follow":
        if len(shape) != 4:
            raise UserError(f"A path to follow is (time, y, x, entry), got {shape}.")
        shape = shape[1:]
    pairs = zip(shape[::-1], site_shape[::-1], strict=False)
    if len(shape) > 3 or any(size not in (1, expected) for size, expected in pairs):
        raise UserError(f"An edit's value must broadcast to {site_shape}, got {shape}.")

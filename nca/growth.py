"""Growing: roll-outs of an organism, exact, edited, keyed by (run, step).

A run is determined by start state, start step, key (or fire masks) and edits, on its canvas.
`states[t]` is s_t as step t read it; an edit of the state at step t shows in `states[t]`. The state
after the last step shows edits that *set* values and still hold; those that scale or add act when
the state is next read, so that a run may be continued without acting twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Bool, Float

from nca import window
from nca.compact import compact_steps, compactable
from nca.edits import Edit, apply, draws_noise
from nca.errors import UserError
from nca.leaves import Layout, join, separate
from nca.organism import Organism, check_canvas
from nca.perception import alive
from nca.rule import Rule
from nca.step import dense_step, fire_mask, step_sites

CHUNK = 8


def run_key(seed: int, run: int = 0) -> Array:
    """The key of run `run` of a seed."""
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
        fire: fire masks instead of a key, True where a cell updates; `fire[i]` drives step
            `start + i`.
        state: start from this instead of the seed; it sets the canvas.
        start: the number of the first step.
        canvas: grid to grow the seed on, instead of the organism's own.
        edits: changes made at sites of steps.

    `jax.vmap` over keys, states and (stacked) edits works and equals the loop; gradients too.

    Raises:
        UserError: key and fire both or neither given, or shapes that do not fit.
    """
    return _roll(organism, steps, key, fire, state, start, canvas, edits, record=False)


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
    return _roll(organism, steps, key, fire, state, start, canvas, edits, record=True)


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
        t: the step.
        key: the run's key.
        fire: the step's fire mask instead.
        edits: changes made at sites.

    Returns:
        state, before, fire, alive (y, x), perception (y, x, filter, channel), pre, post
        (y, x, unit), delta, update, next (y, x, channel).
    """
    state = _checked_state(organism, state)
    canvas = (state.shape[0], state.shape[1])
    _check_noise(key, fire, edits)
    _check_edits(edits, canvas)
    if fire is not None and fire.shape != canvas:
        raise UserError(f"The fire mask of one step must be {canvas}, got {fire.shape}.")
    mask = fire_mask(organism.rule, key, t, canvas) if fire is None else jnp.asarray(fire, bool)
    with jax.default_matmul_precision("highest"):
        return _sites(organism.rule, state, mask, tuple(edits), jnp.int32(t), key)


@jax.jit
def _sites(rule: Rule, state: Array, fire: Array, edits: Any, t: Array, key: Any) -> dict[str, Array]:
    return step_sites(rule, state, fire, edits=edits, t=t, key=key)


def _roll(
    organism: Organism,
    steps: int,
    key: Any,
    fire: Any,
    state: Any,
    start: int,
    canvas: Any,
    edits: Sequence[Edit],
    record: bool,
) -> Array:
    if isinstance(steps, bool) or steps != int(steps) or steps < 1:
        raise UserError(f"steps must be a whole number of at least 1, got {steps}.")
    _check_noise(key, fire, edits)
    state = organism.start(canvas) if state is None else _checked_state(organism, state, canvas)
    size = (state.shape[0], state.shape[1])
    _check_edits(edits, size)
    if fire is not None:
        fire = jnp.asarray(fire, bool)
        if fire.shape != (steps, *size):
            raise UserError(f"Fire masks must be {(steps, *size)}, got {fire.shape}.")
    plan = Plan(int(steps), record, compact=jax.default_backend() == "cpu")
    with jax.default_matmul_precision("highest"):
        return _run(plan, organism.rule, state, key, fire, tuple(edits), jnp.int32(start))


def _check_noise(key: Any, fire: Any, edits: Sequence[Edit]) -> None:
    if draws_noise(edits) and key is None:
        raise UserError("Edits that draw noise need a key beside the fire masks.")
    if (key is None) == (fire is None) and not draws_noise(edits):
        given = "neither" if key is None else "both"
        raise UserError(f"Give exactly one of key and fire; got {given}.")


def _checked_state(organism: Organism, state: Any, canvas: Any = None) -> Array:
    state = jnp.asarray(state, jnp.float32)
    channels = organism.rule.spec.channels
    if state.ndim != 3 or state.shape[2] != channels:
        raise UserError(f"A state must be (y, x, {channels}), got {tuple(state.shape)}.")
    check_canvas(state.shape[:2])
    if canvas is not None and tuple(canvas) != tuple(state.shape[:2]):
        raise UserError(f"The given state sets the canvas {state.shape[:2]}; leave out canvas={canvas}.")
    return state


def _check_edits(edits: Sequence[Edit], canvas: tuple[int, int]) -> None:
    for edit in edits:
        if edit.region is not None and tuple(edit.region.shape) != canvas:
            raise UserError(f"An edit's region is {edit.region.shape}, but the canvas is {canvas}.")


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


@partial(jax.jit, static_argnums=0)
def _run(plan: Plan, rule: Rule, state: Array, key: Any, fire: Any, edits: Any, start: Array) -> Array:
    return _apart(plan, *separate((rule, state, key, fire, edits, start)))


# Compact steps branch, and a branch on a batched predicate would run both sides: so runs mapped by
# `vmap` follow one another. That has no reverse mode of its own, hence the rule below.
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _apart(plan: Plan, layout: Layout, real: list[Array], rest: list[Array]) -> Array:
    run = partial(_one_run, plan, layout)
    return (sequential_vmap(run) if plan.compact else run)(real, rest)


def _apart_forward(plan: Plan, layout: Layout, real: list[Array], rest: list[Array]) -> tuple[Array, Any]:
    return _apart(plan, layout, real, rest), (real, rest)


def _apart_backward(plan: Plan, layout: Layout, kept: Any, slope: Array) -> tuple[list[Array], None]:
    def pull(real: list[Array], rest: list[Array], slope: Array) -> list[Array]:
        return jax.vjp(lambda r: _one_run(plan, layout, r, rest), real)[1](slope)[0]

    real, rest = kept
    return (sequential_vmap(pull) if plan.compact else pull)(real, rest, slope), None


_apart.defvjp(_apart_forward, _apart_backward)


def _one_run(plan: Plan, layout: Layout, real: list[Array], rest: list[Array]) -> Array:
    rule, state, key, fire, edits, start = join(layout, real, rest)
    canvas = (state.shape[0], state.shape[1])
    windowed = plan.compact and compactable(rule, edits)
    sizes = window.sizes(rule, canvas) if windowed else (canvas,)
    length = CHUNK if len(sizes) > 1 else plan.steps

    def chunk(state: Array, first: Array, steps: int, sizes: Any) -> tuple[Array, Array]:
        t = start + first
        masks = (
            jax.vmap(lambda i: fire_mask(rule, key, t + i, canvas))(jnp.arange(steps))
            if fire is None
            else lax.dynamic_slice_in_dim(fire, first, steps)
        )
        return _chunk(plan, rule, state, masks, edits, t, key, sizes)

    # Dead cells of a given state may hold values; a window would not show them.
    shown = apply(edits, "state", state, start, key)
    whole, over = divmod(plan.steps, length)
    state, states = lax.scan(lambda s, i: chunk(s, i * length, length, sizes), state, jnp.arange(whole))
    parts = [states.reshape(-1, *state.shape)] if plan.record else []
    if over:
        state, states = chunk(state, jnp.int32(whole * length), over, (canvas,))
        parts.append(states)
    state = apply([e for e in edits if e.mode == "set"], "state", state, start + plan.steps, key)
    return jnp.concatenate([*parts, state[None]]).at[0].set(shown) if plan.record else state


def _chunk(
    plan: Plan, rule: Rule, state: Array, masks: Array, edits: Any, t: Array, key: Any, sizes: Any
) -> tuple[Array, Array]:
    """The state after `len(masks)` steps and the states that they read (none, if not recorded)."""
    steps, canvas = masks.shape[0], (masks.shape[1], masks.shape[2])
    number, corner = window.fitting(rule, alive(rule, state), steps, sizes)
    number = jnp.where(window.confined(edits, t, steps), number, len(sizes) - 1)

    def inside(size: tuple[int, int]) -> tuple[Array, Array]:
        if size == canvas:
            return _steps(plan, rule, state, masks, edits, t, key)
        part, parts = _steps(
            plan,
            rule,
            window.crop(state, corner, size),
            window.crop(masks, corner, size, axis=1),
            window.crop_edits(edits, corner, size),
            t,
            key,
        )
        parts = window.paste(parts, corner, canvas, axis=1) if plan.record else parts
        return window.paste(part, corner, canvas), parts

    return window.choose(number, [partial(inside, size) for size in sizes])


def _steps(
    plan: Plan, rule: Rule, state: Array, masks: Array, edits: Any, t: Array, key: Any
) -> tuple[Array, Array]:
    compact = plan.compact and compactable(rule, edits)
    capacities = _capacities(rule, masks.shape[1] * masks.shape[2])

    @jax.checkpoint
    def body(state: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        fire, i = now
        shown = apply(edits, "state", state, t + i, key)
        rest = [e for e in edits if e.site != "state"]
        if compact:
            after = compact_steps(rule, shown[None], fire[None], capacities, edits=rest, t=t + i)[0]
        else:
            after = _dense(rule, shown, fire, edits, t + i, key)
        return after, shown if plan.record else shown[:0, :0]

    return lax.scan(body, state, (masks, jnp.arange(masks.shape[0])))


def _dense(rule: Rule, shown: Array, fire: Array, edits: Any, t: Array, key: Any) -> Array:
    # Noise streams are numbered by an edit's place among all edits: those of the state, applied
    # already, stay in the list with a window that never comes.
    rest = [replace(e, last=jnp.int32(0)) if e.site == "state" else e for e in edits]
    return dense_step(rule, shown, fire, edits=rest, t=t, key=key)


def _capacities(rule: Rule, cells: int) -> tuple[int, ...]:
    """Rows for bodies that, with their rings, cover a fifth or half of the window."""
    return tuple(max(int(share * rule.spec.fire_rate * cells), 16) for share in (0.2, 0.5))

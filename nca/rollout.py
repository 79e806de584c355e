"""Growing: roll-outs of an organism, exact, edited, keyed by (run, step).

A run is determined by start state, start step, key (or fire masks) and edits, on its canvas.
`states[t]` is s_t as step t read it; an edit of the state at step t shows in `states[t]`. The state
after the last step shows edits that *set* values and still hold; those that scale or add act when
the state is next read, so that a run may be continued without acting twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from nca.edits.edit import Edit, draws_noise
from nca.edits.entries import entries
from nca.errors import UserError
from nca.organism import Organism, check_canvas
from nca.rule import Rule
from nca.scan import Plan, roll
from nca.step import fire_mask, step_sites


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
    _check_edits(organism.rule, edits, canvas)
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
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise UserError(f"steps must be a whole number of at least 1, got {steps!r}.")
    if isinstance(start, int) and start < 0:
        raise UserError(f"start must be a step from 0 up, got {start}.")
    _check_noise(key, fire, edits)
    state = organism.initial_state(canvas) if state is None else _checked_state(organism, state, canvas)
    size = (state.shape[0], state.shape[1])
    _check_edits(organism.rule, edits, size)
    if fire is not None:
        fire = jnp.asarray(fire, bool)
        if fire.shape != (steps, *size):
            raise UserError(f"Fire masks must be {(steps, *size)}, got {fire.shape}.")
    plan = Plan(int(steps), record, compact=jax.default_backend() == "cpu")
    with jax.default_matmul_precision("highest"):
        return roll(plan, organism.rule, state, key, fire, tuple(edits), jnp.int32(start))


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


def _check_edits(rule: Rule, edits: Sequence[Edit], canvas: tuple[int, int]) -> None:
    for edit in edits:
        every = entries(rule, edit.site)
        if edit.channels.shape != every.shape:
            raise UserError(
                f"An edit of {edit.site} was made for {edit.channels.shape} entries, but this rule has "
                f"{every.shape}; make it for this organism, and stacked edits go through jax.vmap."
            )
        if edit.region is not None and tuple(edit.region.shape) != canvas:
            raise UserError(f"An edit's region is {edit.region.shape}, but the canvas is {canvas}.")
        _check_value(edit, (*canvas, *every.shape))


def _check_value(edit: Edit, whole: tuple[int, ...]) -> None:
    """Raise `UserError` where an edit's value does not fit the site, (y, x, entry)."""
    shape = tuple(edit.value.shape)
    if edit.mode == "project":
        if len(shape) != 2 or shape[1] != whole[-1] or shape[0] % 2 == 0:
            raise UserError(f"A projection's value is (2 k + 1, {whole[-1]}), got {shape}.")
        return
    if edit.mode == "follow":
        if len(shape) != 4:
            raise UserError(f"A path to follow is (time, y, x, entry), got {shape}.")
        shape = shape[1:]
    sizes = zip(shape[::-1], whole[::-1], strict=False)
    if len(shape) > 3 or any(have not in (1, want) for have, want in sizes):
        raise UserError(f"An edit's value must broadcast to {whole}, got {shape}.")

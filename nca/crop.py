"""Steps on a window around the body, so that cost follows the living cells, not the canvas.

In n steps a body grows by n cells at most. Every cell further than that from a living site stays
dead, and a dead cell's next state is zero. So n steps on a window that holds the living sites and
n + 2 cells around them equal n steps on the canvas. Windows come in a few sizes, since a compiled
program needs fixed ones; the smallest that holds is chosen as the body grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from nca.edits.edit import Edit, varies
from nca.rule import Rule

SIDES = (24, 40, 56, 80, 112, 160, 224, 320)


def sizes(rule: Rule, canvas: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Window sizes worth having on a canvas, ascending; the last is the canvas itself.

    A rule that does not erase what was dead before the step has the whole canvas only.
    """
    if rule.spec.alive != "both":
        return (canvas,)
    height, width = canvas
    windows = [(min(s, height), min(s, width)) for s in SIDES]
    return (*(w for w in windows if w[0] * w[1] <= 0.75 * height * width), canvas)


def confined(rule: Rule, edits: Sequence[Edit], start: Array | int, steps: int, shown: bool = True) -> Bool[Array, ""]:
    """Whether a window shows all that the edits of the state do during these steps.

    Shrinking puts no life where there is none, and what is done to other channels than alpha dies
    where it does not touch the living; but where every state is `shown`, it shows. Noise is drawn on
    the whole canvas.
    """
    risky = [
        (e.first < start + steps) & (e.last > start) & ~_harmless(rule, e, shown) for e in edits if e.site == "state"
    ]
    return ~jnp.stack(risky).any() if risky else jnp.bool_(True)


def _harmless(rule: Rule, edit: Edit, shown: bool) -> Bool[Array, ""]:
    if edit.mode == "noise":
        return jnp.bool_(False)
    if edit.mode == "project":  # leaves the void alone
        return jnp.bool_(True)
    shrinks = jnp.bool_(False)
    if edit.mode in ("scale", "set"):
        most = 1 if edit.mode == "scale" else 0
        shrinks = ((edit.value >= 0) & (edit.value <= most)).all()
    return shrinks | (~edit.channels[rule.spec.alpha] & (not shown))


def fitting(
    rule: Rule, before: Bool[Array, "y x"], steps: int, windows: Sequence[tuple[int, int]]
) -> tuple[Int[Array, ""], Int[Array, " 2"]]:
    """The number of the smallest window that holds, and its corner (y, x)."""
    canvas = before.shape
    spans = [_span(before.any(axis=1 - axis)) for axis in (0, 1)]
    first = jnp.stack([low for low, _ in spans]) - (steps + 2)
    last = jnp.stack([high for _, high in spans]) + (steps + 2)
    extent = jnp.array(canvas)
    wraps = "circular" in (rule.spec.boundary, rule.spec.alive_boundary)
    inside = ((first >= 0) & (last < extent)).all() | (not wraps)
    first, last = jnp.maximum(first, 0), jnp.minimum(last, extent - 1)
    holds = [(last - first < jnp.array(w)).all() & inside for w in windows[:-1]]
    number = jnp.argmax(jnp.stack([*holds, jnp.bool_(True)]))
    corner = jnp.clip(first, 0, extent - jnp.array(windows)[number])
    return number, corner


def _span(occupied: Bool[Array, " n"]) -> tuple[Array, Array]:
    """First and last occupied place; of none, an empty span in the middle."""
    count = occupied.shape[0]
    low = jnp.argmax(occupied)
    high = count - 1 - jnp.argmax(occupied[::-1])
    some = occupied.any()
    return jnp.where(some, low, count // 2), jnp.where(some, high, count // 2)


def crop(field: Array, corner: Int[Array, " 2"], size: tuple[int, int], axis: int = 0) -> Array:
    """The part of a field under a window; (y, x) are its axes `axis` and `axis + 1`."""
    for shift in (0, 1):
        field = lax.dynamic_slice_in_dim(field, corner[shift], size[shift], axis + shift)
    return field


def paste(part: Array, corner: Int[Array, " 2"], canvas: tuple[int, int], axis: int = 0) -> Array:
    """A window's part on an empty canvas."""
    shape = (*part.shape[:axis], *canvas, *part.shape[axis + 2 :])
    start = [jnp.int32(0)] * part.ndim
    start[axis], start[axis + 1] = corner[0], corner[1]
    return lax.dynamic_update_slice(jnp.zeros(shape, part.dtype), part, start)


def crop_edits(
    edits: Sequence[Edit], corner: Int[Array, " 2"], size: tuple[int, int], canvas: tuple[int, int]
) -> list[Edit]:
    """The edits with their regions, and values that differ from cell to cell, as the window sees them."""

    def seen(edit: Edit) -> Edit:
        if varies(edit):
            lead = edit.value.shape[:-3]
            whole = jnp.broadcast_to(edit.value, (*lead, *canvas, edit.value.shape[-1]))
            edit = replace(edit, value=crop(whole, corner, size, axis=len(lead)))
        return edit if edit.region is None else replace(edit, region=crop(edit.region, corner, size))

    return [seen(edit) for edit in edits]

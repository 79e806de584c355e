"""The exact fast path on a CPU: only active cells are computed, in a window that follows the body.

Active cells. The next state can be changed only by firing cells among the living sites *grown by one ring*: a
dead neighbour's alpha after the step still counts in the maximum that keeps its neighbours alive. Their
features are gathered into a fixed number of rows, over a whole batch at once, and the update is scattered
back. Where they do not fit, the step is dense: cells are never dropped.

Window. In n steps a body grows by n cells at most, every cell further than that from a living site stays
dead, and a dead cell's next state is zero. So n steps on a window that holds the living sites and n + 2 cells
around them equal n steps on the canvas. Windows have a few sizes, since a compiled program needs fixed ones;
the smallest that suffices is chosen as the body grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from nca.edits.edit import Edit, apply
from nca.perception import alive, max_pool, perceive
from nca.rule import Rule
from nca.step import dense_layers, next_state, perception_input, squash, step_sites
from nca.unroll import Layout, join_floats, split_floats

_SIDES = (24, 40, 56, 80, 112, 160, 224, 320)  # of windows, in cells
_SEGMENT_LENGTHS = (8, 10, 9, 7, 6, 5)
_ROW_SITES = ("perception", "pre", "post")
_SCALED_SITES = ("delta", "update")


# Active cells.


def sparse_is_exact(rule: Rule, edits: Sequence[Edit] = ()) -> bool:
    """Whether the sparse step equals the dense one under these edits.

    It does where living sites are tested before the update, and every edit acts on the state, or acts alike in
    all cells and without noise on perception, pre or post, or scales delta or update, which are zero where no
    row is computed.
    """
    exact = rule.spec.alive in ("both", "before", "gate")
    for edit in edits:
        by_row = edit.site.rstrip("0123456789") in _ROW_SITES and edit.mode != "noise"
        scales = edit.site in _SCALED_SITES and edit.mode == "scale"
        exact &= edit.site == "state" or ((by_row or scales) and not _varies(edit))
    return exact


def active_cells(rule: Rule, before: Bool[Array, "b y x"], fire: Bool[Array, "b y x"]) -> Bool[Array, "b y x"]:
    """The cells whose update can change the next state."""
    if rule.spec.alive in ("before", "gate"):
        return before & fire
    return (max_pool(before.astype(jnp.float32), rule.spec.alive_boundary) > 0) & fire


def sparse_step(
    rule: Rule,
    states: Float[Array, "b y x channel"],
    fires: Bool[Array, "b y x"],
    capacities: tuple[int, ...],
    *,
    edits: Sequence[Edit] = (),
    t: Array | int = 0,
) -> Float[Array, "b y x channel"]:
    """One step of a batch of runs, equal to the dense step of each.

    Args:
        rule: one for which `sparse_is_exact(rule, edits)` holds.
        states: with edits of the state already made.
        fires: the runs' fire masks.
        capacities: numbers of rows, ascending. The first that holds the active cells of the whole batch is
            computed; where none does, every cell is.
        edits: changes made at sites after the state, the same in every run.
        t: number of the step.
    """
    layout, floats, others = split_floats((rule, states, fires, list(edits), jnp.asarray(t, jnp.int32)))
    return _step(capacities, layout, floats, others)


# The gradient branches as the step does, once, around the whole of it: a branch differentiated from
# within would store what either branch needs, which costs more than the step.
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _step(capacities: tuple[int, ...], layout: Layout, floats: list[Array], others: list[Array]) -> Array:
    number, branches = _branches(capacities, layout, floats, others)
    return lax.switch(number, branches, floats)


def _forward(
    capacities: tuple[int, ...], layout: Layout, floats: list[Array], others: list[Array]
) -> tuple[Array, Any]:
    return _step(capacities, layout, floats, others), (floats, others)


def _backward(
    capacities: tuple[int, ...], layout: Layout, residuals: Any, cotangent: Array
) -> tuple[list[Array], None]:
    floats, others = residuals
    number, branches = _branches(capacities, layout, floats, others)
    pullbacks = [lambda floats, branch=branch: jax.vjp(branch, floats)[1](cotangent)[0] for branch in branches]
    return lax.switch(number, pullbacks, floats), None


_step.defvjp(_forward, _backward)


def _branches(
    capacities: tuple[int, ...], layout: Layout, floats: list[Array], others: list[Array]
) -> tuple[Array, list[Callable[[list[Array]], Array]]]:
    """The number of the branch to take, and the branches: functions of the floating leaves."""
    rule, states, fires, _, _ = join_floats(layout, floats, others)
    before = alive(rule, states)
    active = active_cells(rule, before, fires)
    number = (active.sum() > jnp.asarray(capacities, jnp.int32)).sum()

    def sparse(capacity: int, floats: list[Array]) -> Array:
        rule, states, _, edits, t = join_floats(layout, floats, others)
        update = _sparse_update(rule, states, before, _active_rows(active, capacity), edits, t)
        return next_state(rule, states, before, update)

    def dense(floats: list[Array]) -> Array:
        rule, states, fires, edits, t = join_floats(layout, floats, others)
        update = jax.vmap(lambda state, fire: step_sites(rule, state, fire, edits=edits, t=t)["update"])
        return next_state(rule, states, before, update(states, fires))

    return number, [*(partial(sparse, c) for c in capacities), dense]


def _active_rows(active: Bool[Array, "b y x"], capacity: int) -> Int[Array, " row"]:
    """Flat numbers of the active cells, ascending.

    Rows left over point beyond the last cell, each at another place, so that a scatter drops them.
    The running count is a matrix product by row and a short sum over rows, which is faster on a CPU
    than a scan over all cells; counts are exact in float32 below 2**24.
    """
    flags = active.reshape(-1, active.shape[-1]).astype(jnp.float32)
    within = jnp.dot(flags, jnp.triu(jnp.ones((flags.shape[1],) * 2)), precision="highest")
    totals = within[:, -1].astype(jnp.int32)
    above = jnp.cumsum(totals) - totals
    position = (above[:, None] + within.astype(jnp.int32) - 1).ravel()
    cells = active.size
    rows = cells + jnp.arange(capacity, dtype=jnp.int32)
    target = jnp.where(active.ravel(), position, capacity)
    return rows.at[target].set(jnp.arange(cells, dtype=jnp.int32), mode="drop")


def _sparse_update(
    rule: Rule,
    states: Float[Array, "b y x channel"],
    before: Bool[Array, "b y x"],
    rows: Int[Array, " row"],
    edits: Sequence[Edit] = (),
    t: Array | int = 0,
) -> Float[Array, "b y x channel"]:
    """The update of the numbered cells, zero elsewhere."""
    channels = rule.spec.channels
    # Rows come in ascending order and never twice; those left over lie outside and are dropped.
    ordered: dict[str, Any] = {"unique_indices": True, "indices_are_sorted": True}
    features = [
        field.reshape(-1, channels).at[rows].get(mode="fill", fill_value=0.0, **ordered)
        for field in perceive(rule, perception_input(rule, states, before))
    ]

    def tap(site: str, values: Array) -> Array:
        return apply(edits, site, values, t, None, rows)

    delta = tap("delta", dense_layers(rule, tap("perception", jnp.concatenate(features, axis=-1)), tap))
    update = tap("update", squash(rule.spec, delta))
    flat = jnp.zeros((before.size, channels), states.dtype)
    return flat.at[rows].set(update, mode="drop", **ordered).reshape(states.shape)


# The window.


def scan_in_windows(
    advance: Callable[[Sequence[Edit], Array, Array, int, Callable[[Array], Array]], tuple[Array, Array]],
    rule: Rule,
    state: Float[Array, "y x channel"],
    edits: Sequence[Edit],
    start: Array,
    steps: int,
    record: bool,
) -> tuple[Array, Array]:
    """A roll-out in segments of a few steps, each on the smallest window that gives the same result as the canvas.

    Args:
        advance: `advance(edits, state, first, steps, crop)` computes the steps from `start + first` on a window and
            returns the last state and the states recorded on the way, (step, y, x, channel); `crop` cuts a (y, x)
            array of the canvas to the window.
        rule, state, edits, start, steps: of the roll-out on the canvas.
        record: whether `advance` records states.

    Returns:
        The last state and the recorded states, on the canvas.
    """
    canvas = (state.shape[0], state.shape[1])
    sizes = _window_sizes(rule, canvas)

    def on_canvas(state: Array, first: Array, steps: int) -> tuple[Array, Array]:
        return advance(edits, state, first, steps, lambda field: field)

    if len(sizes) == 1:
        return on_canvas(state, jnp.int32(0), steps)

    def segment(state: Array, first: Array) -> tuple[Array, Array]:
        def window(size: tuple[int, int]) -> tuple[Array, Array]:
            crop = partial(_crop, corner=corner, size=size)
            cropped = _crop_edits(edits, corner, size, canvas)
            small, states = advance(cropped, crop(state), first, length, crop)
            states = _paste(states, corner, canvas, axis=1) if record else states
            return _paste(small, corner, canvas), states

        number, corner = _smallest_window(rule, alive(rule, state), length, sizes)
        number = jnp.where(_is_confined(rule, edits, start + first, length, record), number, len(sizes) - 1)
        branches = [*(partial(window, size) for size in sizes[:-1]), partial(on_canvas, state, first, length)]
        return lax.switch(number, branches)

    # Some eight steps between choices of a window, without a remainder where that can be.
    length = next((n for n in _SEGMENT_LENGTHS if steps % n == 0), _SEGMENT_LENGTHS[0])
    segments, remainder = divmod(steps, length)
    recorded = []
    if segments:
        state, states = lax.scan(segment, state, jnp.arange(segments) * length)
        recorded.append(states.reshape(segments * length, *states.shape[2:]))
    if remainder:
        state, states = on_canvas(state, jnp.int32(segments * length), remainder)
        recorded.append(states)
    return state, jnp.concatenate(recorded)


def _window_sizes(rule: Rule, canvas: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Window sizes worth having on a canvas, ascending; the last is the canvas itself.

    A rule that does not erase what was dead before the step has the whole canvas only.
    """
    if rule.spec.alive not in ("both", "before"):
        return (canvas,)
    height, width = canvas
    windows = [(min(s, height), min(s, width)) for s in _SIDES]
    return (*(w for w in windows if w[0] * w[1] <= 0.75 * height * width), canvas)


def _is_confined(rule: Rule, edits: Sequence[Edit], start: Array, steps: int, record: bool) -> Bool[Array, ""]:
    """Whether a window shows all that the edits of the state do during these steps.

    Shrinking puts no life where there is none, and a change of other channels than alpha vanishes where
    nothing lives nearby; but it shows where states are recorded. Noise is drawn on the whole canvas.
    """
    confined = jnp.bool_(True)
    for edit in edits:
        if edit.site != "state" or edit.mode == "project":  # which leaves empty cells alone
            continue
        harmless = ~edit.entries[rule.spec.alpha] & (not record) & (edit.mode != "noise")
        if edit.mode in ("scale", "set"):
            largest = 1 if edit.mode == "scale" else 0
            harmless |= ((edit.value >= 0) & (edit.value <= largest)).all()
        confined &= harmless | (edit.first >= start + steps) | (edit.stop <= start)
    return confined


def _smallest_window(
    rule: Rule, before: Bool[Array, "y x"], steps: int, sizes: Sequence[tuple[int, int]]
) -> tuple[Int[Array, ""], Int[Array, " 2"]]:
    """The number of the smallest window that suffices, and its corner (y, x)."""
    canvas = before.shape
    spans = [_span(before.any(axis=1 - axis)) for axis in (0, 1)]
    first = jnp.stack([low for low, _ in spans]) - (steps + 2)
    last = jnp.stack([high for _, high in spans]) + (steps + 2)
    extent = jnp.array(canvas)
    wraps = "circular" in (rule.spec.boundary, rule.spec.alive_boundary)
    inside = ((first >= 0) & (last < extent)).all() | (not wraps)
    first, last = jnp.maximum(first, 0), jnp.minimum(last, extent - 1)
    suffices = [(last - first < jnp.array(size)).all() & inside for size in sizes[:-1]]
    number = jnp.argmax(jnp.stack([*suffices, jnp.bool_(True)]))
    corner = jnp.clip(first, 0, extent - jnp.array(sizes)[number])
    return number, corner


def _span(occupied: Bool[Array, " n"]) -> tuple[Array, Array]:
    """First and last occupied position; of none, an empty span in the middle."""
    count = occupied.shape[0]
    first, last = jnp.argmax(occupied), count - 1 - jnp.argmax(occupied[::-1])
    anywhere = occupied.any()
    return jnp.where(anywhere, first, count // 2), jnp.where(anywhere, last, count // 2)


def _crop(field: Array, corner: Int[Array, " 2"], size: tuple[int, int], axis: int = 0) -> Array:
    """The part of a field under a window; (y, x) are its axes `axis` and `axis + 1`."""
    for shift in (0, 1):
        field = lax.dynamic_slice_in_dim(field, corner[shift], size[shift], axis + shift)
    return field


def _paste(field: Array, corner: Int[Array, " 2"], canvas: tuple[int, int], axis: int = 0) -> Array:
    """A window's field on an empty canvas."""
    shape = (*field.shape[:axis], *canvas, *field.shape[axis + 2 :])
    start = [jnp.int32(0)] * field.ndim
    start[axis], start[axis + 1] = corner.astype(jnp.int32)
    return lax.dynamic_update_slice(jnp.zeros(shape, field.dtype), field, start)


def _crop_edits(
    edits: Sequence[Edit], corner: Int[Array, " 2"], size: tuple[int, int], canvas: tuple[int, int]
) -> list[Edit]:
    """The edits with their regions, and values that differ from cell to cell, cut to the window."""
    cropped = []
    for edit in edits:
        value, region = edit.value, edit.region
        if _varies(edit):
            leading = value.shape[:-3]
            on_canvas = jnp.broadcast_to(value, (*leading, *canvas, value.shape[-1]))
            value = _crop(on_canvas, corner, size, axis=len(leading))
        cropped.append(replace(edit, value=value, region=None if region is None else _crop(region, corner, size)))
    return cropped


def _varies(edit: Edit) -> bool:
    """Whether the value differs from cell to cell, as far as its shape tells."""
    return edit.mode != "project" and edit.value.ndim - (edit.mode == "follow") > 1

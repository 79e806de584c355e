"""The same step, with the dense layers on the rows that can matter only.

The rows needed are the firing cells among the living sites *grown by one ring*: a dead neighbour's
alpha after the step still counts in the maximum that keeps its neighbours alive. They are gathered
into a fixed number of rows, over a whole batch at once, and scattered back. Where they do not fit,
the step is dense: cells are never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nca.edits.edit import Edit, apply, varies
from nca.perception import alive, max_pool, perceive
from nca.pytrees import Layout, join, separate
from nca.rule import Rule
from nca.step import _clip, _survivors, dense_layers, perception_input, squash, step_sites

ROW_SITES = ("perception", "pre", "post")
SCALED_SITES = ("delta", "update")


def sparse_is_exact(rule: Rule, edits: Sequence[Edit] = ()) -> bool:
    """Whether the compact step is exact: the living are tested before the update, and every edit
    acts on the state, or alike in all cells and without noise on what is computed row by row; of
    delta and update, zero where no row is computed, it scales."""
    return rule.spec.alive in ("both", "gate") and all(e.site == "state" or _by_row(e) for e in edits)


def _by_row(edit: Edit) -> bool:
    by_row = edit.site.rstrip("0123456789") in ROW_SITES and edit.mode != "noise"
    return (by_row or (edit.site in SCALED_SITES and edit.mode == "scale")) and not varies(edit)


def active_cells(rule: Rule, before: Bool[Array, "b y x"], fire: Bool[Array, "b y x"]) -> Bool[Array, "b y x"]:
    """The cells whose update can change the next state."""
    if rule.spec.alive == "gate":
        return before & fire
    return (max_pool(before.astype(jnp.float32), rule.spec.alive_boundary) > 0) & fire


def _active_rows(need: Bool[Array, "b y x"], capacity: int) -> tuple[Int[Array, " row"], Int[Array, ""]]:
    """Flat numbers of the needed cells, ascending, and how many there are.

    Rows left over point beyond the last cell, each at another place, so that a scatter drops them.
    The running count is a matrix product by row and a short sum over rows, which is faster on a CPU
    than a scan over all cells; counts are exact in float32 below 2**24.
    """
    flags = need.reshape(-1, need.shape[-1]).astype(jnp.float32)
    within = jnp.dot(flags, jnp.triu(jnp.ones((flags.shape[1],) * 2)), precision="highest")
    totals = within[:, -1].astype(jnp.int32)
    above = jnp.cumsum(totals) - totals
    position = (above[:, None] + within.astype(jnp.int32) - 1).ravel()
    cells = need.size
    rows = cells + jnp.arange(capacity, dtype=jnp.int32)
    target = jnp.where(need.ravel(), position, capacity)
    rows = rows.at[target].set(jnp.arange(cells, dtype=jnp.int32), mode="drop")
    return rows, totals.sum()


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
    fields = perceive(rule, perception_input(rule, states, before))
    picked = [
        f.reshape(-1, channels).at[rows].get(mode="fill", fill_value=0.0, unique_indices=True, indices_are_sorted=True)
        for f in fields
    ]

    def tap(site: str, values: Array) -> Array:
        return apply(edits, site, values, t, None, rows)

    delta = tap("delta", dense_layers(rule, tap("perception", jnp.concatenate(picked, axis=-1)), tap))
    computed = tap("update", squash(rule.spec, delta))
    flat = jnp.zeros((before.size, channels), states.dtype)
    # Rows come in ascending order and never twice; those left over lie outside and are dropped.
    update = flat.at[rows].set(computed, mode="drop", unique_indices=True, indices_are_sorted=True)
    return update.reshape(states.shape)


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
        rule: the rule; `sparse_is_exact(rule, edits)` must hold.
        states: the runs' states, with edits of the state already made.
        fires: the runs' fire masks.
        capacities: numbers of rows, ascending; the first that holds the needed rows of the whole
            batch is computed, and where none does, every cell.
        edits: changes made at perception, pre and post, the same in every run.
        t: the step's number.
    """
    layout, real, rest = separate((rule, states, fires, list(edits), jnp.asarray(t, jnp.int32)))
    return _step(capacities, layout, real, rest)


# The gradient branches as the step does, once, around the whole of it: a branch differentiated from
# within would store what either side needs, which costs more than the step.
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _step(capacities: tuple[int, ...], layout: Layout, real: list[Array], rest: list[Array]) -> Array:
    number, sides = _sides(capacities, layout, real, rest)
    return jax.lax.switch(number, sides, real)


def _forward(capacities: tuple[int, ...], layout: Layout, real: list[Array], rest: list[Array]) -> tuple[Array, Any]:
    return _step(capacities, layout, real, rest), (real, rest)


def _backward(capacities: tuple[int, ...], layout: Layout, kept: Any, slope: Array) -> tuple[list[Array], None]:
    real, rest = kept
    number, sides = _sides(capacities, layout, real, rest)
    pulls = [lambda real, side=side: jax.vjp(side, real)[1](slope)[0] for side in sides]
    return jax.lax.switch(number, pulls, real), None


_step.defvjp(_forward, _backward)


def _sides(
    capacities: tuple[int, ...], layout: Layout, real: list[Array], rest: list[Array]
) -> tuple[Array, list[Callable[[list[Array]], Array]]]:
    """The number of the side to take, and the sides: functions of the floating leaves."""
    rule, states, fires, _, _ = join(layout, real, rest)
    before = alive(rule, states)
    need = active_cells(rule, before, fires)
    number = (need.sum() > jnp.asarray(capacities, jnp.int32)).sum()

    def few(capacity: int, real: list[Array]) -> Array:
        rule, states, _, edits, t = join(layout, real, rest)
        rows, _ = _active_rows(need, capacity)
        return next_state(rule, states, before, _sparse_update(rule, states, before, rows, edits, t))

    def every(real: list[Array]) -> Array:
        rule, states, fires, edits, t = join(layout, real, rest)

        def one(state: Array, fire: Array) -> Array:
            return step_sites(rule, state, fire, edits=edits, t=t)["update"]

        return next_state(rule, states, before, jax.vmap(one)(states, fires))

    return number, [*(partial(few, c) for c in capacities), every]


def next_state(rule: Rule, states: Array, before: Array, update: Array) -> Array:
    """The next states: updated, clipped, the dead erased."""
    grown = _clip(rule.spec, states + update)
    return jnp.where(_survivors(rule, before, grown)[..., None], grown, 0.0)

"""The same step, with the dense layers on the rows that can matter only.

The rows needed are the firing cells among the living sites *grown by one ring*: a dead neighbour's
alpha after the step still counts in the maximum that keeps its neighbours alive. They are gathered
into a fixed number of rows, over a whole batch at once, and scattered back. Where they do not fit,
the step is dense: cells are never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nca.edits import Edit, apply
from nca.perception import alive, filter_bank, pooled
from nca.rule import Rule
from nca.step import clipped, read, respond, squashed, step_sites, survivors

ROW_SITES = ("perception", "pre", "post")


def compactable(rule: Rule, edits: Sequence[Edit] = ()) -> bool:
    """Whether the compact step is exact: the living are tested before the update, and every edit
    acts on the state, or without noise on what is computed row by row."""
    return rule.spec.alive in ("both", "gate") and all(
        e.site == "state" or (e.site.rstrip("0123456789") in ROW_SITES and e.mode != "noise") for e in edits
    )


def needed(rule: Rule, before: Bool[Array, "b y x"], fire: Bool[Array, "b y x"]) -> Bool[Array, "b y x"]:
    """The cells whose update can change the next state."""
    if rule.spec.alive == "gate":
        return before & fire
    return (pooled(before.astype(jnp.float32), rule.spec.alive_boundary) > 0) & fire


def row_numbers(need: Bool[Array, "b y x"], capacity: int) -> tuple[Int[Array, " row"], Int[Array, ""]]:
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


def compact_update(
    rule: Rule,
    states: Float[Array, "b y x channel"],
    before: Bool[Array, "b y x"],
    rows: Int[Array, " row"],
    edits: Sequence[Edit] = (),
    t: Array | int = 0,
) -> Float[Array, "b y x channel"]:
    """The update of the numbered cells, zero elsewhere."""
    channels = rule.spec.channels
    fields = filter_bank(rule, read(rule, states, before))
    picked = [
        f.reshape(-1, channels)
        .at[rows]
        .get(mode="fill", fill_value=0.0, unique_indices=True, indices_are_sorted=True)
        for f in fields
    ]

    def tap(site: str, values: Array) -> Array:
        return apply(edits, site, values, t, None, rows)

    delta = respond(rule, tap("perception", jnp.concatenate(picked, axis=-1)), tap)
    flat = jnp.zeros((before.size, channels), states.dtype)
    # Rows come in ascending order and never twice; those left over lie outside and are dropped.
    update = flat.at[rows].set(
        squashed(rule.spec, delta), mode="drop", unique_indices=True, indices_are_sorted=True
    )
    return update.reshape(states.shape)


def compact_steps(
    rule: Rule,
    states: Float[Array, "b y x channel"],
    fires: Bool[Array, "b y x"],
    capacity: int,
    *,
    edits: Sequence[Edit] = (),
    t: Array | int = 0,
    keys: Array | None = None,
) -> Float[Array, "b y x channel"]:
    """One step of a batch of runs, equal to the dense step of each.

    Args:
        rule: the rule; `compactable(rule, edits)` must hold.
        states: the runs' states.
        fires: the runs' fire masks.
        capacity: rows computed, over the whole batch; a step that needs more is dense.
        edits: changes made at sites, the same in every run.
        t: the step's number.
        keys: one key per run, where an edit draws noise.
    """
    state_edits = [e for e in edits if e.site == "state"]
    if state_edits:
        states = jax.vmap(lambda s, k: apply(edits, "state", s, t, k), (0, None if keys is None else 0))(
            states, keys
        )
    before = alive(rule, states)
    rows, count = row_numbers(needed(rule, before, fires), capacity)

    def few() -> Array:
        return compact_update(rule, states, before, rows, edits, t)

    @jax.checkpoint
    def every(states: Array) -> Array:
        plain = [e for e in edits if e.site != "state"]
        return jax.vmap(lambda s, f: step_sites(rule, s, f, edits=plain, t=t)["update"])(states, fires)

    update = jax.lax.cond(count <= capacity, few, lambda: every(states))
    grown = clipped(rule.spec, states + update)
    return jnp.where(survivors(rule, before, grown)[..., None], grown, 0.0)

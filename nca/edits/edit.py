"""The record of an edit, and how it acts on the values of a site. `nca.edits.constructors` makes them.

An `Edit` is a pytree: `site` and `mode` are static, everything else is an array, so one compiled
program serves every channel, region, value and window, and `vmap` runs over stacked edits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nca.errors import UserError

SITES = ("state", "perception", "pre", "post", "delta", "fire", "update", "alive")
MODES = ("set", "scale", "add", "noise", "project", "follow")
FOREVER = 2**31 - 1
_NOISE = 2**31  # noise streams are numbered from here, steps of a run below


class Origin(Protocol):
    """Where a value was taken from, so that it can be had again (`nca.edits.donors.DonorValue`)."""

    def value(self) -> np.ndarray:
        """The value, computed now."""
        ...


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["channels", "region", "value", "first", "last"],
    meta_fields=["site", "mode"],
    drop_fields=["donor"],
)
@dataclass(frozen=True)
class Edit:
    """A change at one site.

    Attributes:
        site: where in the step, one of `SITES` (pre2, post2, ... in deeper rules).
        mode: "set" to value; "scale" by it; "add" it; add "noise" of that standard deviation;
            "project" as `projection` packs it; "follow" value[t - first] step by step.
        channels: True for the entries of the site's last axis that change: channels; hidden units
            of pre and post; features `filter * channels + channel` of perception.
        region: True for the cells that change; None is everywhere, on any canvas.
        value: a number, or an array that broadcasts to (y, x, entry); of "follow" to
            (time, y, x, entry); of "project" (2 k + 1, entry).
        first: first step at which the edit acts.
        last: the step before which it ends.
        donor: the run that the value was taken from, where it was: what JSON names in its place.
            A note, not part of the pytree.
    """

    site: str
    mode: str
    channels: Bool[Array, " entry"]
    region: Bool[Array, "y x"] | None
    value: Float[Array, "..."]
    first: Int[Array, ""]
    last: Int[Array, ""]
    donor: Origin | None = None

    def at(self, steps: int | slice) -> Edit:
        """The same edit at one step, or at steps a..b-1 of `slice(a, b)`."""
        window = steps if isinstance(steps, slice) else slice(steps, steps + 1)
        try:
            first = 0 if window.start is None else index(window.start)
            last = FOREVER if window.stop is None else index(window.stop)
        except TypeError:
            first, last = -1, -1
        if window.step not in (None, 1) or not 0 <= first < last <= FOREVER:
            raise UserError(f"An edit needs steps from 0 up, the last after the first; got {steps}.")
        return replace(self, first=jnp.int32(first), last=jnp.int32(last))

    def where(self, region: Any) -> Edit:
        """The same edit on the cells where `region`, boolean (y, x), is True."""
        mask = np.asarray(region)
        if mask.ndim != 2 or mask.dtype != bool:
            raise UserError(f"A region is a boolean (y, x) mask; got {mask.dtype} of shape {mask.shape}.")
        return replace(self, region=jnp.asarray(mask))


def apply(
    edits: Sequence[Edit],
    site: str,
    values: Array,
    t: Array | int,
    key: Array | None,
    rows: Array | None = None,
) -> Array:
    """The values of a site after the edits made there.

    Args:
        edits: all edits of the run; those of other sites are passed over.
        site: the site's name.
        values: (y, x, entry), or (row, entry) when `rows` is given.
        t: the step.
        key: the run's key; needed by noise.
        rows: flat cell numbers, over one grid or a batch of them, where only some were computed.
    """
    for number, edit in enumerate(edits):
        if edit.site == site:
            values = _applied(edit, number, values, t, key, rows)
    return values


def _applied(edit: Edit, number: int, values: Array, t: Any, key: Any, rows: Any) -> Array:
    where = edit.channels & (edit.first <= t) & (t < edit.last)
    if edit.region is not None:
        cells = edit.region if rows is None else jnp.take(edit.region.ravel(), rows % edit.region.size)
        where = where & cells[..., None]
    if edit.mode == "project":  # about a centre that the void, where every entry is 0, does not have
        where = where & (values != 0).any(-1, keepdims=True)
    changed = _changed(edit, number, values, t, key)
    return jnp.where(where, changed.astype(values.dtype), values)


def _changed(edit: Edit, number: int, values: Array, t: Any, key: Any) -> Array:
    """What the values would be everywhere."""
    if edit.mode == "noise":
        stream = jax.random.fold_in(jax.random.fold_in(key, np.uint32(_NOISE + number)), t)
        return values + edit.value * jax.random.normal(stream, values.shape)
    if edit.mode == "project":
        directions, weighted, offset = jnp.split(edit.value, [len(edit.value) // 2, len(edit.value) - 1])
        along = jnp.matmul(values, directions.T, precision="highest")
        return values - jnp.matmul(along, weighted, precision="highest") + offset[0]
    if edit.mode == "follow":
        moment = jnp.clip(t - edit.first, 0, edit.value.shape[0] - 1)
        return jnp.broadcast_to(edit.value[moment], values.shape)
    if edit.mode == "set":
        return jnp.broadcast_to(edit.value, values.shape)
    return values * edit.value if edit.mode == "scale" else values + edit.value


def projection(
    directions: Float[np.ndarray, "k entry"], centre: Float[np.ndarray, " entry"], keep: float
) -> Float[np.ndarray, "rows entry"]:
    """The value of a "project" edit: directions D, (1 - keep) D, and what keeps the centre in place.

    The edit takes v to v - D'(1 - keep) D (v - centre); cells whose entries are all 0 stay as they are.
    """
    weighted = (1 - keep) * directions
    return np.concatenate([directions, weighted, ((directions @ centre) @ weighted)[None]])


def varies(edit: Edit) -> bool:
    """Whether the value differs from cell to cell, as far as its shape tells."""
    return edit.mode != "project" and edit.value.ndim - (edit.mode == "follow") > 1


def lasting(edits: Sequence[Edit]) -> list[Edit]:
    """The edits that hold what they set: they show in the state after the last step too."""
    return [e for e in edits if e.mode in ("set", "follow")]


def draws_noise(edits: Sequence[Edit]) -> bool:
    """Whether any edit needs the run's key."""
    return any(edit.mode == "noise" for edit in edits)


def stack(edits: Sequence[Edit]) -> Edit:
    """Edits of one site and mode, stacked along a new first axis for `vmap`."""
    if len({(e.site, e.mode) for e in edits}) != 1:
        raise UserError("Stacked edits need one site and one mode; stack each kind by itself.")
    regions = [e.region for e in edits if e.region is not None]
    if regions:
        whole = jnp.ones_like(regions[0])
        edits = [replace(e, region=whole if e.region is None else e.region) for e in edits]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *edits)

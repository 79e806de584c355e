"""An edit as data, how it acts on the values of a site, and which entries of a site names mean.

An `Edit` is a pytree: `site` and `mode` are static, everything else is an array. So one compiled program serves
every channel, region, value and window, and `vmap` runs over stacked edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nca.errors import UserError

if TYPE_CHECKING:
    from nca.edits.constructors import DonorValue
    from nca.rule import Rule

SITES = ("state", "perception", "pre", "post", "delta", "fire", "update", "alive")
MODES = ("set", "scale", "add", "noise", "project", "follow")
FOREVER = 2**31 - 1
_NOISE = 2**31  # noise streams are numbered from here, steps of a run below

Selection = str | int | Iterable[str | int] | None


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["entries", "region", "value", "first", "stop"],
    meta_fields=["site", "mode"],
    drop_fields=["donor"],
)
@dataclass(frozen=True)
class Edit:
    """A change at one site.

    Attributes:
        site: where in the step, one of `SITES` (pre2, post2, ... in deeper rules).
        mode: "set" to value; "scale" by it; "add" it; add "noise" of that standard deviation;
            "project" on directions; "follow" value[t - first] step by step.
        entries: True for those of the site's last axis that change: channels; hidden units of pre and post;
            features `filter * channels + channel` of perception.
        region: True for the cells that change; None is everywhere, on any canvas.
        value: a number, or an array that broadcasts to (y, x, entry); of "follow" (time, y, x, entry);
            of "project" (2 k + 1, entry): k directions, the same times what is taken off, and an offset.
        first: first step at which the edit acts.
        stop: the step before which it ends.
        donor: where the value was taken from, if from a run: JSON names the run instead of the value.
            Not part of the pytree.
    """

    site: str
    mode: str
    entries: Bool[Array, " entry"]
    region: Bool[Array, "y x"] | None
    value: Float[Array, "..."]
    first: Int[Array, ""]
    stop: Int[Array, ""]
    donor: DonorValue | None = None

    def at(self, steps: int | slice) -> Edit:
        """The same edit at one step, or at steps a..b-1 of `slice(a, b)`."""
        window = steps if isinstance(steps, slice) else slice(steps, steps + 1)
        try:
            first = 0 if window.start is None else index(window.start)
            stop = FOREVER if window.stop is None else index(window.stop)
        except TypeError:
            first, stop = -1, -1
        if window.step not in (None, 1) or not 0 <= first < stop <= FOREVER:
            raise UserError(f"An edit needs steps from 0 up, the last after the first; got {steps}.")
        return replace(self, first=jnp.int32(first), stop=jnp.int32(stop))

    def where(self, region: Any) -> Edit:
        """The same edit on the cells where `region`, boolean (y, x), is True."""
        mask = np.asarray(region)
        if mask.ndim != 2 or mask.dtype != bool:
            raise UserError(f"A region is a boolean (y, x) mask; got {mask.dtype} of shape {mask.shape}.")
        return replace(self, region=jnp.asarray(mask))


def apply(
    edits: Sequence[Edit], site: str, values: Array, t: Array | int, key: Array | None, rows: Array | None = None
) -> Array:
    """The values of a site after the edits of that site.

    Args:
        edits: all edits of the run, also those of other sites.
        site: the site's name.
        values: (y, x, entry), or (row, entry) when `rows` is given.
        t: number of the step.
        key: the run's key; needed by noise.
        rows: flat cell numbers, over one grid or a batch of them, where only some were computed.
    """
    for number, edit in enumerate(edits):
        if edit.site != site:
            continue
        where = edit.entries & (edit.first <= t) & (t < edit.stop)
        if edit.region is not None:
            cells = edit.region if rows is None else jnp.take(edit.region.ravel(), rows % edit.region.size)
            where = where & cells[..., None]
        if edit.mode == "project":  # about a centre, which empty cells do not have
            where = where & (values != 0).any(-1, keepdims=True)
        edited = _edited_everywhere(edit, number, values, t, key)
        values = jnp.where(where, edited.astype(values.dtype), values)
    return values


def _edited_everywhere(edit: Edit, number: int, values: Array, t: Any, key: Any) -> Array:
    """What the values would be if the edit acted on every entry of every cell."""
    if edit.mode == "noise":
        stream = jax.random.fold_in(jax.random.fold_in(key, np.uint32(_NOISE + number)), t)
        return values + edit.value * jax.random.normal(stream, values.shape, jnp.float32)
    if edit.mode == "project":
        directions, weighted, offset = jnp.split(edit.value, [len(edit.value) // 2, len(edit.value) - 1])
        coordinates = jnp.matmul(values, directions.T, precision="highest")
        return values - jnp.matmul(coordinates, weighted, precision="highest") + offset[0]
    if edit.mode == "follow":
        i = jnp.clip(t - edit.first, 0, edit.value.shape[0] - 1)
        return jnp.broadcast_to(edit.value[i], values.shape)
    if edit.mode == "set":
        return jnp.broadcast_to(edit.value, values.shape)
    return values * edit.value if edit.mode == "scale" else values + edit.value


def stack(edits: Sequence[Edit]) -> Edit:
    """Edits of one site and mode, stacked along a new first axis for `vmap`."""
    if len({(e.site, e.mode) for e in edits}) != 1:
        raise UserError("Stacked edits need one site and one mode; stack each kind by itself.")
    regions = [e.region for e in edits if e.region is not None]
    if regions:
        everywhere = jnp.ones_like(regions[0])
        edits = [replace(e, region=everywhere if e.region is None else e.region) for e in edits]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *edits)


# Entries of a site by name.


def entries(
    rule: Rule, site: str, channels: Selection = None, filters: Selection = None, units: Selection = None
) -> Bool[np.ndarray, " entry"]:
    """True for the selected entries of a site's last axis; a selection is by name or number, and None is all.

    Args:
        rule: the rule that has the channels, filters and hidden units.
        site: state, perception, pre, post (pre2, ... in deeper rules), delta, fire, update or alive.
        channels: of state, delta, update and perception.
        filters: of perception.
        units: hidden units, of pre and post.

    Raises:
        UserError: there is no such site or entry, or the site has none of this kind.
    """
    base = site.rstrip("0123456789")
    sites = {*SITES} | {f"{s}{n}" for s in ("pre", "post") for n in range(2, len(rule.weights))}
    if site not in sites:
        raise UserError(f"An edit needs a site of {', '.join(sorted(sites))}; got {site!r}.")
    if base in ("pre", "post"):
        _refuse(site, channels=channels, filters=filters)
        layer = int(site[len(base) :] or 1) - 1
        return _mask("unit", units, [str(n) for n in range(rule.weights[layer].shape[1])])
    _refuse(site, units=units)
    if base == "perception":
        by_filter, by_channel = _mask("filter", filters, rule.filters), _mask("channel", channels, rule.channel_names)
        return np.outer(by_filter, by_channel).ravel()
    _refuse(site, filters=filters)
    if base in ("fire", "alive"):
        _refuse(site, channels=channels)
        return np.ones(1, bool)
    return _mask("channel", channels, rule.channel_names)


def _refuse(site: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UserError(f"The site {site!r} has no {name}; leave them out.")


def _mask(kind: str, selection: Any, names: Sequence[str]) -> np.ndarray:
    mask = np.zeros(len(names), bool)
    if selection is None:
        return ~mask
    for item in [selection] if np.isscalar(selection) else list(selection):
        mask[index_of(kind, item, names)] = True
    if not mask.any():
        raise UserError(f"An edit needs at least one {kind}, got an empty list.")
    return mask


def index_of(kind: str, item: Any, names: Sequence[str]) -> int:
    """The position of a channel (or filter, or unit) given by name or number."""
    if isinstance(item, str) and item in names:
        return list(names).index(item)
    is_digits = isinstance(item, str) and item.isdecimal()
    is_integer = isinstance(item, (int, np.integer)) and not isinstance(item, bool)
    number = int(item) if is_digits or is_integer else -1
    if not 0 <= number < len(names):
        raise UserError(f"There is no {kind} {item!r}: there are {len(names)}, {names[0]} .. {names[-1]}.")
    return number

"""Edits: changes made at a site of a step, over cells, channels and steps. Edits are data.

An `Edit` is a pytree: `site` and `mode` are static, everything else is an array, so one compiled
program serves every channel, region, value and window, and `vmap` runs over stacked edits.

    edits.scale(organism, 0.9, channels="h8")                      a lesion of 10 % a step
    edits.erase(organism).where(damage.disc(...)).at(100)          a wound at step 100
    edits.freeze(organism, channels=[4, 5]).at(slice(200, 260))    steps 200..259

An edit of `state` at step t changes what step t reads, hence everything after it.
"""

from __future__ import annotations

import base64
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
    from nca.organism import Organism
    from nca.rule import Rule

SITES = ("state", "perception", "pre", "post", "delta", "fire", "update", "alive")
MODES = ("set", "scale", "add", "noise")
FOREVER = 2**31 - 1
_NOISE = 2**31  # noise streams are numbered from here, steps of a run below


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["channels", "region", "value", "first", "last"],
    meta_fields=["site", "mode"],
)
@dataclass(frozen=True)
class Edit:
    """A change at one site.

    Attributes:
        site: where in the step, one of `SITES` (pre2, post2, ... in deeper rules).
        mode: "set" to value, "scale" by it, "add" it, or add "noise" of that standard deviation.
        channels: True for the entries of the site's last axis that change: channels; hidden units
            of pre and post; features `filter * channels + channel` of perception.
        region: True for the cells that change; None is everywhere, on any canvas.
        value: a number, or an array that broadcasts to (y, x, entry).
        first: first step at which the edit acts.
        last: the step before which it ends.
    """

    site: str
    mode: str
    channels: Bool[Array, " entry"]
    region: Bool[Array, "y x"] | None
    value: Float[Array, "..."]
    first: Int[Array, ""]
    last: Int[Array, ""]

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


def scale(organism: Organism | Rule, factor: float, **place: Any) -> Edit:
    """Multiply by `factor` at every step of the window: 1 is intact, 0 removed."""
    return _edit(organism, "scale", factor, **place)


def clamp(organism: Organism | Rule, value: float, **place: Any) -> Edit:
    """Set to `value` at every step of the window."""
    return _edit(organism, "set", value, **place)


def erase(organism: Organism | Rule, **place: Any) -> Edit:
    """Set to zero: a lesion; over a region at one step, a wound."""
    return _edit(organism, "set", 0.0, **place)


def add(organism: Organism | Rule, amount: float, **place: Any) -> Edit:
    """Add `amount`."""
    return _edit(organism, "add", amount, **place)


def noise(organism: Organism | Rule, sd: float, **place: Any) -> Edit:
    """Add Gaussian noise of standard deviation `sd`, drawn from the run's key."""
    return _edit(organism, "noise", sd, **place)


def freeze(organism: Organism | Rule, **place: Any) -> Edit:
    """Let channels keep their values: their update is scaled by 0."""
    return _edit(organism, "scale", 0.0, site="update", **place)


def _edit(
    organism: Organism | Rule,
    mode: str,
    value: Any,
    *,
    site: str = "state",
    channels: str | int | Iterable[str | int] | None = None,
    filters: str | int | Iterable[str | int] | None = None,
    units: int | Iterable[int] | None = None,
) -> Edit:
    rule: Any = getattr(organism, "rule", organism)
    picked = _entries(rule, site, channels, filters, units)
    numbers = jnp.asarray(value, jnp.float32)
    if not bool(jnp.isfinite(numbers).all()):
        raise UserError(f"An edit needs a finite value, got {value}.")
    return Edit(site, mode, jnp.asarray(picked), None, numbers, jnp.int32(0), jnp.int32(FOREVER))


def _entries(rule: Rule, site: str, channels: Any, filters: Any, units: Any) -> np.ndarray:
    base = site.rstrip("0123456789")
    known = {*SITES} | {f"{s}{n}" for s in ("pre", "post") for n in range(2, len(rule.weights))}
    if site not in known:
        raise UserError(f"An edit needs a site of {', '.join(sorted(known))}; got {site!r}.")
    if base in ("pre", "post"):
        _refuse(site, channels=channels, filters=filters)
        layer = int(site[len(base) :] or 1) - 1
        return _mask("unit", units, [str(n) for n in range(rule.weights[layer].shape[1])])
    _refuse(site, units=units)
    if base == "perception":
        rows = _mask("filter", filters, rule.filters)
        return np.outer(rows, _mask("channel", channels, rule.channel_names)).ravel()
    _refuse(site, filters=filters)
    if base in ("fire", "alive"):
        _refuse(site, channels=channels)
        return np.ones(1, bool)
    return _mask("channel", channels, rule.channel_names)


def all_entries(rule: Rule, site: str) -> np.ndarray:
    """True for every entry of a site's last axis; raises where the rule has no such site."""
    return _entries(rule, site, None, None, None)


def _refuse(site: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UserError(f"The site {site!r} has no {name}; leave them out.")


def _mask(kind: str, picked: Any, names: Sequence[str]) -> np.ndarray:
    """True for each picked entry, by name or by number; all of them for None."""
    mask = np.zeros(len(names), bool)
    if picked is None:
        return ~mask
    for item in [picked] if np.isscalar(picked) else list(picked):
        mask[index_of(kind, item, names)] = True
    if not mask.any():
        raise UserError(f"An edit needs at least one {kind}, got an empty list.")
    return mask


def index_of(kind: str, item: Any, names: Sequence[str]) -> int:
    """The position of a channel (or filter, or unit) given by name or number."""
    if isinstance(item, str) and item in names:
        return list(names).index(item)
    digits = isinstance(item, str) and item.isdecimal()
    whole = isinstance(item, (int, np.integer)) and not isinstance(item, bool)
    number = int(item) if digits or whole else -1
    if not 0 <= number < len(names):
        raise UserError(f"There is no {kind} {item!r}: there are {len(names)}, {names[0]} .. {names[-1]}.")
    return number


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
    if edit.mode == "noise":
        stream = jax.random.fold_in(jax.random.fold_in(key, np.uint32(_NOISE + number)), t)
        changed = values + edit.value * jax.random.normal(stream, values.shape)
    elif edit.mode == "set":
        changed = jnp.broadcast_to(edit.value, values.shape)
    else:
        changed = values * edit.value if edit.mode == "scale" else values + edit.value
    return jnp.where(where, changed.astype(values.dtype), values)


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


def to_json(edit: Edit) -> dict[str, Any]:
    """An edit as plain JSON values; the region as packed bits in base64."""
    if edit.value.ndim:
        raise UserError("Only an edit with a single number as value can be written as JSON.")
    region = None
    if edit.region is not None:
        bits = np.packbits(np.asarray(edit.region)).tobytes()
        region = {"shape": list(edit.region.shape), "bits": base64.b64encode(bits).decode()}
    window = [int(edit.first), None if int(edit.last) == FOREVER else int(edit.last)]
    entries = np.asarray(edit.channels)
    return {
        "site": edit.site,
        "mode": edit.mode,
        "entries": np.flatnonzero(entries).tolist(),
        "of": len(entries),
        "value": float(edit.value),
        "steps": window,
        "region": region,
    }


def from_json(fields: dict[str, Any]) -> Edit:
    """The edit that `to_json` described."""
    try:
        entries = np.zeros(int(fields["of"]), bool)
        entries[np.asarray(fields["entries"], int)] = True
        value, mode, site = float(fields["value"]), str(fields["mode"]), str(fields["site"])
        first, last = (None if step is None else int(step) for step in fields["steps"])
        region = None if fields["region"] is None else _unpacked(fields["region"])
        if not np.isfinite(value):
            raise ValueError(f"its value is {value}")
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(
            f"An edit in JSON needs site, mode, entries, of, value, steps, region: {error}"
        ) from error
    if mode not in MODES or site.rstrip("0123456789") not in SITES:
        raise UserError(f"An edit needs a known site and mode, got {site!r} and {mode!r}.")
    edit = Edit(site, mode, jnp.asarray(entries), None, jnp.float32(value), jnp.int32(0), jnp.int32(0))
    edit = edit.at(slice(first, last))
    return edit if region is None else edit.where(region)


def _unpacked(packed: dict[str, Any]) -> np.ndarray:
    height, width = (int(n) for n in packed["shape"])
    bits = np.frombuffer(base64.b64decode(packed["bits"], validate=True), np.uint8)
    if not 0 < height * width <= 8 * bits.size < height * width + 8:
        raise ValueError("the region's bits do not fit its shape")
    return np.unpackbits(bits)[: height * width].reshape(height, width).astype(bool)

"""Which entries of a site are meant: channels, filters and hidden units by name or by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from nca.edits.edit import SITES
from nca.errors import UserError

if TYPE_CHECKING:
    from nca.rule import Rule

Picked = str | int | Iterable[str | int] | None


def entries(
    rule: Rule, site: str, channels: Picked = None, filters: Picked = None, units: Picked = None
) -> Bool[np.ndarray, " entry"]:
    """True for the entries of a site's last axis that are meant, by name or number; None is all.

    Args:
        rule: whose channels, filters and hidden units they are.
        site: state, perception, pre, post (pre2, ... in deeper rules), delta, fire, update or alive.
        channels: of states, updates and perception.
        filters: of perception.
        units: of pre and post.

    Raises:
        UserError: no such site or entry, or a kind that the site does not have.
    """
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

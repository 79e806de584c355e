"""The constructors of edits: one function for each kind of change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nca.damage import disc
from nca.edits.donors import Donor, DonorValue, mature_mean, move_state
from nca.edits.edit import FOREVER, Edit, projection
from nca.edits.entries import Picked, entries
from nca.errors import UserError

if TYPE_CHECKING:
    from nca.organism import Organism
    from nca.rule import Rule


def scale(organism: Organism | Rule, factor: float, **place: Any) -> Edit:
    """Multiply by `factor` at every step of the window: 1 is intact, 0 removed."""
    return _edit(organism, "scale", factor, **place)


def clamp(organism: Organism | Rule, value: float | Array | np.ndarray, **place: Any) -> Edit:
    """Set to `value` at every step of the window: a number, or an array that broadcasts to
    (y, x, entry)."""
    return _edit(organism, "set", value, **place)


def erase(organism: Organism | Rule, **place: Any) -> Edit:
    """Set to zero: a lesion; over a region at one step, a wound."""
    return _edit(organism, "set", 0.0, **place)


def add(organism: Organism | Rule, amount: float | Array | np.ndarray, **place: Any) -> Edit:
    """Add `amount`: a number, or an array that broadcasts to (y, x, entry)."""
    return _edit(organism, "add", amount, **place)


def noise(organism: Organism | Rule, sd: float, **place: Any) -> Edit:
    """Add Gaussian noise of standard deviation `sd`, drawn from the run's key."""
    return _edit(organism, "noise", sd, **place)


def freeze(organism: Organism | Rule, **place: Any) -> Edit:
    """Let channels keep their values: their update is scaled by 0."""
    return _edit(organism, "scale", 0.0, site="update", **place)


def resample(organism: Organism | Rule, donor: Donor | Array | np.ndarray, **place: Any) -> Edit:
    """Set to another run's values at the same place: a `Donor`, or its state (y, x, channel)."""
    taken = DonorValue(donor, "state") if isinstance(donor, Donor) else None
    edit = _edit(organism, "set", donor if taken is None else taken.value(), **place)
    return replace(edit, donor=taken)


def mean(organism: Organism, donor: Donor | Array | np.ndarray, **place: Any) -> Edit:
    """Set to the mean over mature cells of a state, on the cells mature there and nowhere else.

    On the whole canvas a mean would seed the void with half-living cells.

    Args:
        organism: what grows.
        donor: a `Donor`, or a state (y, x, channel): as a rule the run's own at the first step.
        **place: channels.
    """
    from nca.perception import mature

    state = donor.state() if isinstance(donor, Donor) else np.asarray(donor)
    edit = _edit(organism, "set", mature_mean(state, organism), **place)
    taken = DonorValue(donor, "mean") if isinstance(donor, Donor) else None
    return replace(edit, donor=taken).where(np.asarray(mature(organism.rule, jnp.asarray(state))))


def follow(organism: Organism | Rule, path: Float[Any, "time y x entry"], **place: Any) -> Edit:
    """Hold to given values, step by step: at the window's i-th step to `path[i]`, then to the last.

    Args:
        organism: what grows.
        path: values (time, y, x, entry), say another run's states from the first step on.
        **place: site, channels.
    """
    if np.ndim(path) != 4:
        raise UserError(f"A path to follow is (time, y, x, entry), got {np.ndim(path)} dimensions.")
    return _edit(organism, "follow", path, **place)


def steer(organism: Organism | Rule, direction: Float[np.ndarray, " entry"], amount: float, **place: Any) -> Edit:
    """Add `amount` times a direction at every step of the window; `.where` keeps it to a body."""
    return _edit(organism, "add", amount * _over_entries(organism, direction, place), **place)


def project(
    organism: Organism | Rule,
    directions: Float[np.ndarray, "k entry"],
    centre: Float[np.ndarray, " entry"] | None = None,
    keep: float = 0.0,
    **place: Any,
) -> Edit:
    """Scale what lies along some directions, about a centre, by `keep`: 0 takes them out.

    Cells whose entries are all 0, the void, stay as they are.

    Args:
        organism: what grows.
        directions: orthonormal rows over all entries of the site, or over the channels picked.
        centre: what is kept in place, over the same entries; 0 if none. For a body, its mean.
        keep: factor at every step of the window.
        **place: site, channels, filters, units.

    Raises:
        UserError: the directions are not orthonormal.
    """
    rows = np.stack([_over_entries(organism, row, place) for row in np.atleast_2d(directions)])
    if not np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-4):
        raise UserError("Directions to project on must be orthonormal, and zero outside the entries picked.")
    middle = np.zeros(rows.shape[1]) if centre is None else _over_entries(organism, centre, place)
    return _edit(organism, "project", projection(rows, middle, keep), **place)


def graft(
    organism: Organism | Rule,
    donor: Donor | Array | np.ndarray,
    source: Sequence[float],
    place: Sequence[float],
    radius: float,
    turn: float = 0.0,
    **picked: Any,
) -> Edit:
    """A disc of another state, set at another place: `.at` the step of the operation.

    Args:
        organism: the host, whose rule runs the graft.
        donor: a `Donor`, or a state (y, x, channel) of the host's canvas and channels.
        source: the disc's centre (y, x) in the donor.
        place: its centre in the host.
        radius: of the disc, in cells.
        turn: degrees by which the piece is turned, clockwise as seen.
        **picked: channels.
    """
    details: dict[str, Any] = {"source": [float(n) for n in source], "place": [float(n) for n in place]}
    details["turn"] = float(turn)
    state = donor.state() if isinstance(donor, Donor) else np.asarray(donor)
    edit = _edit(organism, "set", move_state(state, **details), **picked)
    taken = DonorValue(donor, "moved", details) if isinstance(donor, Donor) else None
    return replace(edit, donor=taken).where(disc(state.shape[:2], (place[0], place[1]), radius))


def _over_entries(organism: Organism | Rule, values: Any, place: Any) -> np.ndarray:
    """Values given over the entries picked, or over all, as values over all."""
    picked = np.asarray(_edit(organism, "add", 0.0, **place).channels)
    row = np.asarray(values, np.float64)
    if row.shape == (picked.sum(),):
        whole = np.zeros(len(picked))
        whole[picked] = row
        return whole
    if row.shape != picked.shape or row[~picked].any():
        raise UserError(
            f"A direction needs a number for each of {len(picked)} entries (0 outside those picked) or of "
            f"the {int(picked.sum())} picked; got {row.shape}."
        )
    return row


def _edit(
    organism: Organism | Rule,
    mode: str,
    value: Any,
    *,
    site: str = "state",
    channels: Picked = None,
    filters: Picked = None,
    units: Picked = None,
) -> Edit:
    rule: Any = getattr(organism, "rule", organism)
    picked = entries(rule, site, channels, filters, units)
    numbers = jnp.asarray(value, jnp.float32)
    if not bool(jnp.isfinite(numbers).all()):
        raise UserError(f"An edit needs a finite value, got {value}.")
    return Edit(site, mode, jnp.asarray(picked), None, numbers, jnp.int32(0), jnp.int32(FOREVER))

"""Constructors of edits, one function for each kind of change; keywords select site, channels, filters and units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nca.damage import disc
from nca.edits.donors import Donor, DonorValue, mature_mean, move_state
from nca.edits.edit import FOREVER, Edit, Selection, entries
from nca.errors import UserError

if TYPE_CHECKING:
    from nca.organism import Organism
    from nca.rule import Rule


def scale(organism: Organism | Rule, factor: float, **selection: Any) -> Edit:
    """Multiply by `factor` at every step of the window: 1 is intact, 0 removed."""
    return _edit(organism, "scale", factor, **selection)


def clamp(organism: Organism | Rule, value: float | Array | np.ndarray, **selection: Any) -> Edit:
    """Set to `value` at every step of the window: a number, or an array that broadcasts to (y, x, entry)."""
    return _edit(organism, "set", value, **selection)


def erase(organism: Organism | Rule, **selection: Any) -> Edit:
    """Set to zero at every step of the window: an ablation; over a region `.at` one step, a wound."""
    return _edit(organism, "set", 0.0, **selection)


def add(organism: Organism | Rule, amount: float | Array | np.ndarray, **selection: Any) -> Edit:
    """Add `amount`: a number, or an array that broadcasts to (y, x, entry)."""
    return _edit(organism, "add", amount, **selection)


def noise(organism: Organism | Rule, sd: float, **selection: Any) -> Edit:
    """Add Gaussian noise of standard deviation `sd`, drawn from the run's key."""
    return _edit(organism, "noise", sd, **selection)


def freeze(organism: Organism | Rule, **selection: Any) -> Edit:
    """Keep channels at their values, by scaling their update by 0."""
    return _edit(organism, "scale", 0.0, site="update", **selection)


def resample(organism: Organism | Rule, donor: Donor | Array | np.ndarray, **selection: Any) -> Edit:
    """Set to another run's values in the same cells: a `Donor`, or its state (y, x, channel)."""
    source = DonorValue(donor, "state") if isinstance(donor, Donor) else None
    edit = _edit(organism, "set", donor if source is None else source.compute(), **selection)
    return replace(edit, donor=source)


def mean(organism: Organism, donor: Donor | Array | np.ndarray, **selection: Any) -> Edit:
    """Set to the mean over mature cells of a state, in the cells mature there and nowhere else.

    On the whole canvas a mean would fill empty space with half-living cells.

    Args:
        organism: what grows.
        donor: a `Donor`, or a state (y, x, channel), usually the run's own at the first step.
        **selection: channels.
    """
    from nca.perception import mature

    state = donor.state() if isinstance(donor, Donor) else np.asarray(donor)
    edit = _edit(organism, "set", mature_mean(state, organism), **selection)
    source = DonorValue(donor, "mean") if isinstance(donor, Donor) else None
    return replace(edit, donor=source).where(np.asarray(mature(organism.rule, jnp.asarray(state))))


def follow(organism: Organism | Rule, path: Float[Any, "time y x entry"], **selection: Any) -> Edit:
    """Set to given values step by step: `path[i]` at the i-th step of the window, then the last.

    Args:
        organism: what grows.
        path: values (time, y, x, entry), for example another run's states.
        **selection: site, channels.
    """
    if np.ndim(path) != 4:
        raise UserError(f"A path to follow is (time, y, x, entry), got {np.ndim(path)} dimensions.")
    return _edit(organism, "follow", path, **selection)


def steer(organism: Organism | Rule, direction: Float[np.ndarray, " entry"], amount: float, **selection: Any) -> Edit:
    """Add `amount` times a direction at every step of the window; `.where` restricts it to a body."""
    return _edit(organism, "add", amount * _over_all_entries(organism, direction, selection), **selection)


def project(
    organism: Organism | Rule,
    directions: Float[np.ndarray, "k entry"],
    centre: Float[np.ndarray, " entry"] | None = None,
    keep: float = 0.0,
    **selection: Any,
) -> Edit:
    """Scale the components along some directions, about a centre, by `keep`: 0 removes them.

    Empty cells, whose entries are all 0, stay as they are.

    Args:
        organism: what grows.
        directions: orthonormal rows, over all entries of the site or over the selected ones.
        centre: the point that stays in place, over the same entries; 0 if none. For a body, its mean.
        keep: factor at every step of the window.
        **selection: site, channels, filters, units.

    Raises:
        UserError: the directions are not orthonormal.
    """
    rows = np.stack([_over_all_entries(organism, row, selection) for row in np.atleast_2d(directions)])
    if not np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-4):
        raise UserError("Directions to project on must be orthonormal, and zero outside the selected entries.")
    origin = np.zeros(rows.shape[1]) if centre is None else _over_all_entries(organism, centre, selection)
    # v goes to v - D' (1 - keep) D (v - origin); the last row keeps the origin in place.
    weighted = (1 - keep) * rows
    value = np.concatenate([rows, weighted, ((rows @ origin) @ weighted)[None]])
    return _edit(organism, "project", value, **selection)


def graft(
    organism: Organism | Rule,
    donor: Donor | Array | np.ndarray,
    source: Sequence[float],
    target: Sequence[float],
    radius: float,
    turn: float = 0.0,
    **selection: Any,
) -> Edit:
    """A disc of another state, set into this one: `.at` the step of the operation.

    Args:
        organism: the host, whose rule runs the graft.
        donor: a `Donor`, or a state (y, x, channel) of the host's canvas and channels.
        source: centre of the disc (y, x) in the donor.
        target: its centre in the host.
        radius: radius of the disc, in cells.
        turn: degrees by which the piece is turned, clockwise as seen.
        **selection: channels.
    """
    details: dict[str, Any] = {"source": [float(n) for n in source], "target": [float(n) for n in target]}
    details["turn"] = float(turn)
    state = donor.state() if isinstance(donor, Donor) else np.asarray(donor)
    edit = _edit(organism, "set", move_state(state, **details), **selection)
    value = DonorValue(donor, "moved", details) if isinstance(donor, Donor) else None
    return replace(edit, donor=value).where(disc(state.shape[:2], (target[0], target[1]), radius))


def _over_all_entries(organism: Organism | Rule, values: Any, selection: Any) -> np.ndarray:
    """Values given over the selected entries, or over all, as values over all."""
    selected = np.asarray(_edit(organism, "add", 0.0, **selection).entries)
    given = np.asarray(values, np.float64)
    if given.shape == (selected.sum(),):
        over_all = np.zeros(len(selected))
        over_all[selected] = given
        return over_all
    if given.shape != selected.shape or given[~selected].any():
        raise UserError(
            f"A direction needs a number for each of {len(selected)} entries (0 outside those selected) or of "
            f"the {int(selected.sum())} selected; got {given.shape}."
        )
    return given


def _edit(
    organism: Organism | Rule,
    mode: str,
    value: Any,
    *,
    site: str = "state",
    channels: Selection = None,
    filters: Selection = None,
    units: Selection = None,
) -> Edit:
    rule: Any = getattr(organism, "rule", organism)
    selected = entries(rule, site, channels, filters, units)
    array = jnp.asarray(value, jnp.float32)
    if not bool(jnp.isfinite(array).all()):
        raise UserError(f"An edit needs a finite value, got {value}.")
    return Edit(site, mode, jnp.asarray(selected), None, array, jnp.int32(0), jnp.int32(FOREVER))

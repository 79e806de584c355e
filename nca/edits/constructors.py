"""Constructors of edits, one function for each kind of change; keywords select site, channels, filters and units.

A value taken from a run, the `Donor`, is recorded as the run that it comes from, and computed anew when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nca.damage import disc
from nca.edits.edit import FOREVER, Edit, Selection, entries
from nca.errors import UserError
from nca.perception import mature
from nca.rollout import grow, run_key

if TYPE_CHECKING:
    from nca.organism import Organism
    from nca.rule import Rule

States = Float[np.ndarray, "y x channel"]


@dataclass(frozen=True, eq=False)
class Donor:
    """The state of a run at a step, to clamp to, resample from or graft.

    Attributes:
        organism: what grows.
        step: the step whose state is taken.
        seed: seed of the run's key.
        run: number of the run.
        edits: edits made during the run.
        canvas: (y, x), if not the organism's own.
    """

    organism: Organism
    step: int
    seed: int = 0
    run: int = 0
    edits: Sequence[Edit] = ()
    canvas: tuple[int, int] | None = None

    def state(self) -> States:
        """The state, grown when this is called."""
        if self.step < 1:
            return np.asarray(self.organism.initial_state(self.canvas))
        key = run_key(self.seed, self.run)
        return np.asarray(grow(self.organism, self.step, key=key, canvas=self.canvas, edits=self.edits))


@dataclass(frozen=True, eq=False)
class DonorValue:
    """A value taken from a donor.

    Attributes:
        donor: the run and step.
        how: how the value follows from the donor, a key of `DERIVATIONS`.
        details: arguments of that derivation, plain JSON values.
    """

    donor: Donor
    how: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def compute(self) -> np.ndarray:
        """The value, computed when this is called."""
        return DERIVATIONS[self.how](self.donor.state(), self.donor.organism, **self.details)


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
    return _set_from_donor(organism, donor, "state", selection)[0]


def mean(organism: Organism, donor: Donor | Array | np.ndarray, **selection: Any) -> Edit:
    """Set to the mean over mature cells of a state, in the cells mature there and nowhere else.

    On the whole canvas a mean would fill empty space with half-living cells.

    Args:
        organism: what grows.
        donor: a `Donor`, or a state (y, x, channel), usually the run's own at the first step.
        **selection: channels.
    """
    edit, state = _set_from_donor(organism, donor, "mean", selection)
    return edit.where(np.asarray(mature(organism.rule, jnp.asarray(state))))


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
    piece = {"source": [float(n) for n in source], "target": [float(n) for n in target], "turn": float(turn)}
    edit, state = _set_from_donor(organism, donor, "moved", selection, **piece)
    return edit.where(disc(state.shape[:2], (target[0], target[1]), radius))


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


def _set_from_donor(
    organism: Any, donor: Donor | Array | np.ndarray, how: str, selection: Mapping[str, Any], **details: Any
) -> tuple[Edit, States]:
    """The edit that sets what follows from a donor's state, which it records, or from a given state; and the state."""
    state = donor.state() if isinstance(donor, Donor) else np.asarray(donor)
    edit = _edit(organism, "set", DERIVATIONS[how](state, organism, **details), **selection)
    return replace(edit, donor=DonorValue(donor, how, details) if isinstance(donor, Donor) else None), state


def _move_state(state: States, source: Sequence[float], target: Sequence[float], turn: float = 0.0) -> States:
    """A state moved so that the cell at `source` (y, x) comes to lie at `target`, and turned about it.

    Args:
        state: what moves; beyond its canvas there is nothing.
        source: the cell that is moved to `target`.
        target: its new position.
        turn: degrees from x towards y (clockwise as seen). Multiples of 90 move cells as they are; other angles
            interpolate between cells.
    """
    import scipy.ndimage

    angle = np.radians(turn)
    cos, sin = (float(np.round(f(angle), 12)) for f in (np.cos, np.sin))
    matrix = np.array([[cos, -sin], [sin, cos]])  # of (y, x), from the new position to the old
    offset = np.asarray(source, float) - matrix @ np.asarray(target, float)
    order = 0 if turn % 90 == 0 else 1
    moved = [scipy.ndimage.affine_transform(state[..., c], matrix, offset, order=order) for c in range(state.shape[2])]
    return np.stack(moved, -1)


def _mature_mean(state: States, organism: Organism) -> Float[np.ndarray, " channel"]:
    """The mean state of mature cells, or `UserError` where there is none."""
    cells = state[np.asarray(mature(organism.rule, jnp.asarray(state)))]
    if not len(cells):
        raise UserError("A mean over mature cells needs a body; this state has no mature cell.")
    return cells.mean(0, dtype=np.float64)


# What is taken from a state of an organism.
DERIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "state": lambda state, organism: state,
    "mean": _mature_mean,
    "moved": lambda state, organism, **details: _move_state(state, **details),
}

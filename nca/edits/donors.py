"""Donors: values taken from a run, recorded as the run they come from and computed anew when needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nca.errors import UserError
from nca.perception import mature
from nca.rollout import grow, run_key

if TYPE_CHECKING:
    from nca.edits.edit import Edit
    from nca.organism import Organism

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
        return DERIVATIONS[self.how](self.donor, **self.details)


def move_state(state: States, source: Sequence[float], target: Sequence[float], turn: float = 0.0) -> States:
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


def mature_mean(state: States, organism: Organism) -> Float[np.ndarray, " channel"]:
    """The mean state of mature cells.

    Raises:
        UserError: there is no mature cell.
    """
    cells = state[np.asarray(mature(organism.rule, jnp.asarray(state)))]
    if not len(cells):
        raise UserError("A mean over mature cells needs a body; this state has no mature cell.")
    return cells.mean(0, dtype=np.float64)


DERIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "state": lambda donor: donor.state(),
    "mean": lambda donor: mature_mean(donor.state(), donor.organism),
    "moved": lambda donor, **details: move_state(donor.state(), **details),
}

"""Donors: values taken from a run, named by how they came about and computed anew when needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from nca.errors import UserError
from nca.perception import mature
from nca.rollout import grow, run_key, trajectory

if TYPE_CHECKING:
    from nca.edits.edit import Edit
    from nca.organism import Organism

States = Float[np.ndarray, "y x channel"]


@dataclass(frozen=True, eq=False)
class Donor:
    """The state of a run at a step, to clamp to, resample from or graft.

    Attributes:
        organism: what grew.
        step: the step whose state is meant.
        seed: what the run's key follows from.
        run: which run of the seed.
        edits: what was done to it.
        canvas: (y, x), if not the organism's own.
    """

    organism: Organism
    step: int
    seed: int = 0
    run: int = 0
    edits: Sequence[Edit] = ()
    canvas: tuple[int, int] | None = None

    def state(self) -> States:
        """The state, grown now."""
        if self.step < 1:
            return np.asarray(self.organism.initial_state(self.canvas))
        key = run_key(self.seed, self.run)
        return np.asarray(grow(self.organism, self.step, key=key, canvas=self.canvas, edits=self.edits))

    def path(self, steps: int) -> Float[np.ndarray, "time y x channel"]:
        """The states from that step on, `steps` + 1 of them."""
        key = run_key(self.seed, self.run)
        found = trajectory(
            self.organism, steps, key=key, state=jnp.asarray(self.state()), start=self.step, edits=self.edits
        )
        return np.asarray(found)


@dataclass(frozen=True, eq=False)
class DonorValue:
    """A value taken from a donor.

    Attributes:
        donor: the run and step.
        how: one of `DERIVATIONS`.
        details: what that way needs besides, plain JSON values.
    """

    donor: Donor
    how: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def value(self) -> np.ndarray:
        """The value, computed now."""
        return DERIVATIONS[self.how](self.donor, **self.details)


def move_state(state: States, source: Sequence[float], place: Sequence[float], turn: float = 0.0) -> States:
    """A state moved so that the cell at `source` (y, x) comes to lie at `place`, turned about it.

    Args:
        state: what moves; beyond its canvas there is nothing.
        source: where the piece comes from.
        place: where it goes.
        turn: degrees from x towards y (clockwise as seen). Multiples of 90 move cells as they are,
            others interpolate between them.
    """
    import scipy.ndimage

    angle = np.radians(turn)
    cos, sin = (float(np.round(f(angle), 12)) for f in (np.cos, np.sin))
    back = np.array([[cos, -sin], [sin, cos]])  # of (y, x), from the new place to the old
    offset = np.asarray(source, float) - back @ np.asarray(place, float)
    order = 0 if turn % 90 == 0 else 1
    layers = [scipy.ndimage.affine_transform(state[..., c], back, offset, order=order) for c in range(state.shape[2])]
    return np.stack(layers, -1)


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
    "path": lambda donor, steps: donor.path(steps),
}

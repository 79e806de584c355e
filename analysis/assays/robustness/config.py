"""How an organism is disturbed: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import as_tuples, where_left

FULL: dict[str, Any] = {"runs": 16, "horizon": 500, "edges": (8, 6, 4, 3, 2, 1, 0, -1, -2, -4, -8)}


@dataclass(frozen=True)
class RobustnessConfig:
    """Kinds of disturbance and their doses; an empty list leaves a kind out.

    Attributes:
        runs: runs that are disturbed.
        seed: number that all randomness follows from.
        at: step at which the body counts as grown.
        horizon: steps that a grown body is followed after its state was disturbed.
        once: state noise added once at `at`: standard deviations, as shares of each channel's over the
            mature cells.
        lasting: the same, added at every step from `at` on.
        weights: noise on the weights, from the seed on: shares of each array's norm.
        rates: fire rates, from the seed on.
        edges: cells left between the grown body and the canvas's edge, from the seed on: below 0 the
            body does not fit.
        full: 16 runs, horizon 500, more edges, wherever a value was left as it is.
    """

    runs: int = 4
    seed: int = 0
    at: int = 200
    horizon: int = 200
    once: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    lasting: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2)
    weights: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2)
    rates: tuple[float, ...] = (0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
    edges: tuple[int, ...] = (4, 1, 0, -2)
    full: bool = False

    def __post_init__(self) -> None:
        as_tuples(self, "once", "lasting", "weights", "rates", "edges")
        if min(self.runs, self.at, self.horizon) < 1:
            raise UserError("runs, at and horizon must be at least 1.")
        doses = (*self.once, *self.lasting, *self.weights)
        if not all(0 < dose < math.inf for dose in doses):
            raise UserError(f"Doses of noise must be above 0, got {doses}.")
        if not all(0.01 <= rate <= 1 for rate in self.rates):
            raise UserError(f"Fire rates must be from 0.01 to 1, got {self.rates}.")

    def filled(self) -> RobustnessConfig:
        """With `full`, every value left at its default is the larger one."""
        return where_left(self, FULL) if self.full else self

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

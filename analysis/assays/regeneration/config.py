"""Which wounds `nca regenerate` makes: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import as_tuples, at_least, where_left

FULL: dict[str, Any] = {"runs": 16, "sweep_runs": 8, "angles": 24, "places": 120, "late_runs": 8}


@dataclass(frozen=True)
class RegenerationConfig:
    """Which wounds are made, and when they are judged.

    Attributes:
        runs: runs that the five cuts are made on.
        seed: number that all randomness follows from.
        cut_at: step of every wound.
        until: step at which it is judged.
        sweep_runs: how many of the runs half planes and holes are made on.
        angles: directions of half planes, evenly around the circle; 0 for none.
        radii: of holes, in cells; none for no map.
        places: about so many places of a hole, spread over the body.
        late: step to which the cut bodies are followed; 0 for none.
        late_runs: how many of the runs.
        full: 16 runs, 8 of them for sweeps and late fates, 24 angles, some 120 places, wherever a
            number was left as it is by default.
    """

    runs: int = 8
    seed: int = 0
    cut_at: int = 200
    until: int = 700
    sweep_runs: int = 2
    angles: int = 8
    radii: tuple[float, ...] = (4.0, 8.0)
    places: int = 30
    late: int = 2000
    late_runs: int = 2
    full: bool = False

    def __post_init__(self) -> None:
        as_tuples(self, "radii")
        at_least(1, self, "runs", "sweep_runs", "late_runs", "cut_at", "places")
        if self.angles < 0 or not all(0 < r < math.inf for r in self.radii):
            raise UserError("angles must not be negative, and radii are above 0 cells.")
        if self.until <= self.cut_at:
            raise UserError(f"until ({self.until}) must come after cut_at ({self.cut_at}).")
        if self.late and self.late <= self.until:
            raise UserError(f"late ({self.late}) must come after until ({self.until}), or be 0.")
        if max(self.sweep_runs, self.late_runs) > self.runs:
            raise UserError(f"sweep_runs and late_runs are some of the {self.runs} runs; ask for fewer.")

    def filled(self) -> RegenerationConfig:
        """With `full`, every number left at its default is the larger one."""
        return where_left(self, FULL) if self.full else self

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

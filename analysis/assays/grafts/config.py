"""What is moved and where to: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import check_at_least, replace_defaults

_FULL: dict[str, Any] = {"runs": 16, "map_runs": 4, "map_points": 100}
RENAMED_OPTIONS = {
    "--from": "--source",
    "--to": "--target",
    "--at": "--adult-step",
    "--until": "--eval-steps",
    "--places": "--map-points",
}


@dataclass(frozen=True)
class GraftConfig:
    """What is moved, where to, and what it is compared with.

    Attributes:
        source: centre of the disc in the donor, row and column in cells; the middle of its body if none.
        target: row and column in the host that the disc's centre is moved to; the far end of its body if none.
        radius: radius of the disc, in cells.
        adult_step: step at which the graft is made; 0 for 200, or for 96 if the organism has lost its body by 200.
        eval_steps: steps after the graft at which the outcome is measured.
        turn: degrees by which the disc is turned, clockwise as seen.
        runs: number of runs that are grafted.
        seed: seed of all random numbers.
        map_runs: number of runs for the isolation map and the organizer map; 0 for no maps.
        map_points: approximate number of points of the body on a map.
        fragments: radii of the discs that are left alone for the isolation map, in cells.
        full: use the larger preset for every option you did not set: 16 runs, 4 of them for maps of some 100 points.
    """

    source: tuple[float, float] | None = None
    target: tuple[float, float] | None = None
    radius: float = 4.0
    adult_step: int = 0
    eval_steps: int = 200
    turn: float = 0.0
    runs: int = 4
    seed: int = 0
    map_runs: int = 1
    map_points: int = 30
    fragments: tuple[float, ...] = (4.0, 8.0)
    full: bool = False

    def __post_init__(self) -> None:
        for name in ("source", "target", "fragments"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        numbers = (*(self.source or ()), *(self.target or ()), self.turn)
        if not all(map(math.isfinite, numbers)):
            raise UserError(f"Source, target and turn of a graft must be finite numbers, got {numbers}.")
        if not all(0 < radius < math.inf for radius in (self.radius, *self.fragments)):
            raise UserError("The radius of a graft and those of fragments must be above 0 cells.")
        check_at_least(1, self, "eval_steps", "runs", "map_points")
        check_at_least(0, self, "adult_step")
        if not 0 <= self.map_runs <= self.runs:
            raise UserError(f"map_runs must be 0 to {self.runs}, some of the runs; got {self.map_runs}.")

    @classmethod
    def quick(cls) -> GraftConfig:
        """Four runs without maps, as in the short dissection; fewer could not reach p = 0.05."""
        return cls(map_runs=0)

    def filled(self) -> GraftConfig:
        """With `full`, the larger preset in every field that was left at its default."""
        return replace_defaults(self, _FULL) if self.full else self

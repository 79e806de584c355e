"""Options of `nca regenerate`: one frozen record that is the command line, the API's configuration and the JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import check_at_least, convert_to_tuples, replace_defaults

RENAMED_OPTIONS = {
    "--cut-at": "--adult-step",
    "--until": "--eval-steps",
    "--sweep-runs": "--map-runs",
    "--places": "--map-points",
    "--late": "--follow-up-step",
    "--late-runs": "--follow-up-runs",
}
_FULL: dict[str, Any] = {"runs": 16, "map_runs": 8, "angles": 24, "map_points": 120, "follow_up_runs": 8}


@dataclass(frozen=True)
class RegenerationConfig:
    """Which wounds are made, and when their outcome is measured.

    Attributes:
        runs: number of runs of the five cuts.
        seed: seed of all random numbers.
        adult_step: step at which the body counts as grown, and is wounded; 0 for 200, or for 96 if the organism has
            lost its body by 200.
        eval_steps: steps after the wound at which its outcome is measured.
        map_runs: number of runs in which half planes and holes are cut.
        angles: number of directions of half planes, evenly spaced; 0 for none.
        radii: radii of the holes, in cells; none for no map.
        map_points: approximate number of holes of each radius, spread over the body.
        follow_up_step: step to which the cut bodies are followed; 0 for no follow-up.
        follow_up_runs: number of runs that are followed.
        full: use the larger preset for every option you did not set.
    """

    runs: int = 8
    seed: int = 0
    adult_step: int = 0
    eval_steps: int = 500
    map_runs: int = 2
    angles: int = 8
    radii: tuple[float, ...] = (4.0, 8.0)
    map_points: int = 30
    follow_up_step: int = 2000
    follow_up_runs: int = 2
    full: bool = False

    def __post_init__(self) -> None:
        convert_to_tuples(self, "radii")
        check_at_least(0, self, "adult_step")
        check_at_least(1, self, "runs", "eval_steps", "map_runs", "map_points", "follow_up_runs")
        if self.angles < 0 or not all(0 < r < math.inf for r in self.radii):
            raise UserError("angles must not be negative, and radii must be above 0 cells.")
        if self.follow_up_step and self.follow_up_step <= self.end_step:
            raise UserError(f"follow_up_step ({self.follow_up_step}) must come after step {self.end_step}, or be 0.")
        if max(self.map_runs, self.follow_up_runs) > self.runs:
            raise UserError(f"map_runs and follow_up_runs are some of the {self.runs} runs; ask for fewer.")

    @property
    def end_step(self) -> int:
        """The step at which the outcome of wounds is measured."""
        return self.adult_step + self.eval_steps

    @classmethod
    def quick(cls) -> RegenerationConfig:
        """The five cuts only."""
        return cls(angles=0, radii=(), follow_up_step=0)

    def filled(self) -> RegenerationConfig:
        """With `full`, the larger preset in every option left at its default."""
        return replace_defaults(self, _FULL) if self.full else self

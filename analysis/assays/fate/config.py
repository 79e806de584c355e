"""Options of `nca fate`: one frozen record that is the command line, the API's configuration and the JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import check_at_least, replace_defaults

_FULL: dict[str, Any] = {"runs": 8, "dictionary_runs": 16, "surrogates": 39, "control_points": 16}


@dataclass(frozen=True)
class FateConfig:
    """How places are decoded, and what is wounded and moved.

    Attributes:
        runs: number of runs that are wounded and grafted; the first half of them sets what counts as a known state;
            the map of determined tissue is made in each half, and the two are compared.
        seed: number that all randomness follows from.
        adult_step: step at which the body counts as grown, and is wounded and grafted; 0 for 200, or for 96 if the
            organism has lost its body by 200.
        eval_steps: steps for which wounded and grafted bodies are followed.
        dictionary_runs: number of other, undisturbed runs that the dictionary is made of.
        surrogates: number of smooth random fields that the positional error is compared with; 0 for none.
        radius: radius of a graft, in cells.
        map_points: approximate number of places of the body that grafts are taken from; 0 for no grafts.
        targets: number of places of the body that they are moved to.
        control_points: number of those grafts that are compared with shuffled, random and colour-only ones.
        mutants: number of hidden units that are held at zero, one at a time; 0 for none.
        lineage_runs: number of runs whose cells are traced to their ancestors in the young body; 0 for none.
        fill: whether wounds are also filled with cells from random places, as a control.
        film: whether films of decoded places are made.
        full: use the larger preset for every option you did not set: 8 runs, a dictionary of 16, 39 surrogates.
    """

    runs: int = 4
    seed: int = 0
    adult_step: int = 0
    eval_steps: int = 300
    dictionary_runs: int = 8
    surrogates: int = 9
    radius: float = 4.0
    map_points: int = 40
    targets: int = 2
    control_points: int = 8
    mutants: int = 24
    lineage_runs: int = 2
    fill: bool = True
    film: bool = True
    full: bool = False

    def __post_init__(self) -> None:
        check_at_least(2, self, "runs")
        check_at_least(1, self, "eval_steps", "dictionary_runs", "targets", "control_points")
        check_at_least(0, self, "adult_step", "surrogates", "map_points", "mutants", "lineage_runs")
        if not 0 < self.radius < math.inf:
            raise UserError(f"The radius of a graft must be above 0 cells, got {self.radius}.")

    @classmethod
    def quick(cls) -> FateConfig:
        """Few runs and places, followed for 100 steps, as in the short dissection."""
        return cls(
            runs=2,
            eval_steps=100,
            dictionary_runs=3,
            surrogates=2,
            map_points=8,
            targets=1,
            control_points=1,
            mutants=0,
            lineage_runs=0,
            fill=False,
            film=False,
        )

    def filled(self) -> FateConfig:
        """With `full`, the larger preset in every option left at its default."""
        return replace_defaults(self, _FULL) if self.full else self

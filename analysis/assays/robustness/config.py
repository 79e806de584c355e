"""How an organism is perturbed: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import check_at_least, convert_to_tuples, replace_defaults

_FULL: dict[str, Any] = {"runs": 16, "eval_steps": 500, "canvas_margins": (8, 6, 4, 3, 2, 1, 0, -1, -2, -4, -8)}
RENAMED_OPTIONS = {
    "--at": "--adult-step",
    "--horizon": "--eval-steps",
    "--once": "--state-noise",
    "--lasting": "--state-noise-per-step",
    "--weights": "--weight-noise",
    "--rates": "--fire-rates",
    "--edges": "--canvas-margins",
}


@dataclass(frozen=True)
class RobustnessConfig:
    """Perturbations and their doses; an empty list leaves a perturbation out.

    Attributes:
        runs: number of runs that are perturbed.
        seed: seed of all random numbers.
        adult_step: step at which the body counts as grown; 0 means 200, or 96 if the organism has lost its body by 200.
        eval_steps: steps after state noise at which the outcome is measured.
        state_noise: state noise added once at the adult step, in standard deviations of each channel over the
            mature cells.
        state_noise_per_step: state noise added at every step from the adult step on, in the same units.
        weight_noise: noise on the weights, from the seed on, as shares of each array's norm.
        fire_rates: fire rates, from the seed on.
        canvas_margins: cells between the grown body and the edge of the canvas, from the seed on; below 0 the body
            does not fit.
        full: use the larger preset for every option you did not set: 16 runs, 500 steps, 11 canvas margins.
    """

    runs: int = 4
    seed: int = 0
    adult_step: int = 0
    eval_steps: int = 200
    state_noise: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0)
    state_noise_per_step: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2)
    weight_noise: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2)
    fire_rates: tuple[float, ...] = (0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
    canvas_margins: tuple[int, ...] = (4, 1, 0, -2)
    full: bool = False

    def __post_init__(self) -> None:
        convert_to_tuples(self, "state_noise", "state_noise_per_step", "weight_noise", "fire_rates", "canvas_margins")
        check_at_least(1, self, "runs", "eval_steps")
        check_at_least(0, self, "adult_step")
        doses = (*self.state_noise, *self.state_noise_per_step, *self.weight_noise)
        if not all(0 < dose < math.inf for dose in doses):
            raise UserError(f"Doses of noise must be above 0, got {doses}.")
        if not all(0.01 <= rate <= 1 for rate in self.fire_rates):
            raise UserError(f"Fire rates must be from 0.01 to 1, got {self.fire_rates}.")

    @classmethod
    def quick(cls) -> RobustnessConfig:
        """Two runs and two or three doses of each perturbation, as in the short dissection."""
        return cls(
            runs=2,
            state_noise=(0.25, 1.0),
            state_noise_per_step=(0.03, 0.1),
            weight_noise=(0.03, 0.1),
            fire_rates=(0.3, 0.8, 1.0),
            canvas_margins=(),
        )

    def filled(self) -> RobustnessConfig:
        """With `full`, the larger preset in every field that was left at its default."""
        return replace_defaults(self, _FULL) if self.full else self

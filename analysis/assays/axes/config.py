"""Options of the axes assay: one frozen record is the command line, the call and what is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from nca.errors import UserError
from nca.validation import check_at_least, convert_to_tuples, replace_defaults

RENAMED_OPTIONS = {
    "--deals": "--cv-repeats",
    "--permutations": "--weight-shuffles",
    "--course": "--time-course-surrogates",
    "--randoms": "--random-directions",
    "--horizon": "--eval-steps",
    "--steps": "--adult-step",
}
FULL: dict[str, Any] = {"runs": 8}


@dataclass(frozen=True)
class AxesConfig:
    """How body axes are tested.

    Attributes:
        runs: number of runs; the first is tested, the others show how far results repeat.
        seed: seed of all random numbers.
        adult_step: step at which the body counts as grown; 0 means 200, or 96 if the organism has lost its body by 200.
        surrogates: number of smooth random fields that every statistic of position is compared with.
        long_wave_surrogates: number of smooth random fields whose long waves are only as strong as their shorter waves
            predict; 0 for none.
        cv_repeats: number of assignments of cells to cross-validation folds; R² is the mean over them.
        channels: channels that are analysed: the hidden ones, or all.
        scaling: raw states, or zscore, which gives every channel unit variance first.
        weight_shuffles: number of rules with shuffled weights that the trained rule is compared with; 0 for none.
        time_course_surrogates: number of surrogates at each step of the time course; 0 for no time course.
        random_directions: number of random directions that pushes along the code are compared with; projections are
            compared with half as many null planes. 0 for no interventions.
        eval_steps: steps after an intervention at which the outcome is measured.
        angles: rotations of the perception during growth, in degrees; none for no rotation test.
        full: use 8 runs, unless the number of runs is set, and write the labelled arrays as .nc files.
    """

    runs: int = 4
    seed: int = 0
    adult_step: int = 0
    surrogates: int = 249
    long_wave_surrogates: int = 249
    cv_repeats: int = 10
    channels: Literal["hidden", "all"] = "hidden"
    scaling: Literal["raw", "zscore"] = "raw"
    weight_shuffles: int = 99
    time_course_surrogates: int = 39
    random_directions: int = 99
    eval_steps: int = 60
    angles: tuple[float, ...] = (45.0, 90.0, 180.0)
    full: bool = False

    def __post_init__(self) -> None:
        check_at_least(1, self, "runs", "cv_repeats", "eval_steps")
        check_at_least(0, self, "adult_step")
        convert_to_tuples(self, "angles")
        if self.surrogates < 19:
            raise UserError(f"surrogates must be 19 or more for p to reach 0.05; got {self.surrogates}.")
        for name in ("long_wave_surrogates", "weight_shuffles", "time_course_surrogates", "random_directions"):
            if getattr(self, name) < 19 and getattr(self, name) != 0:
                raise UserError(f"{name} must be 19 or more for p to reach 0.05, or 0; got {getattr(self, name)}.")
        if self.angles and self.runs < 2:
            raise UserError("The rotation test needs two or more runs; set runs to 2 or give no angles.")

    @classmethod
    def quick(cls) -> AxesConfig:
        """Components, decoders, what shape and colour explain, and few weight shuffles, which decide on PC1 alone."""
        return cls(long_wave_surrogates=0, weight_shuffles=19, time_course_surrogates=0, random_directions=0, angles=())

    def filled(self) -> AxesConfig:
        """With `full`, the larger preset in every option that has its default value."""
        return replace_defaults(self, FULL) if self.full else self

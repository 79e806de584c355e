"""Options of `nca lesion`: one frozen record that is the command line, the API's configuration and the JSON written."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from nca.errors import UserError
from nca.validation import check_at_least, check_eval_steps, convert_to_tuples, is_ascending, replace_defaults

Method = Literal["atlas", "epistasis", "critical-periods", "self-repair"]
Phase = Literal["growing", "adult", "regenerating"]
Target = Literal["channel", "filter", "units", "unit", "direction"]
Intervention = Literal["partial", "erase", "resample", "random-direction", "zero", "noise", "mean", "clamp", "freeze"]
CutName = Literal["bottom", "top", "right", "left", "centre"]  # those of nca.damage, which needs jax
METHODS: tuple[Method, ...] = get_args(Method)
PHASES: tuple[Phase, ...] = get_args(Phase)
RENAMED_OPTIONS = {
    "--assays": "--methods",
    "--at": "--adult-step",
    "--horizons": "--eval-steps",
    "--young": "--growing-step",
    "--young-for": "--growing-eval-steps",
    "--noises": "--noise-sd",
    "--pair-runs": "--epistasis-runs",
    "--pair-for": "--epistasis-eval-steps",
    "--period-end": "--period-eval-step",
    "--period-every": "--period-spacing",
    "--repair-for": "--repair-eval-steps",
}
_FULL: dict[str, Any] = {
    "runs": 8,
    "doses": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    "noise_sd": (0.1, 0.3, 1.0, 3.0),
    "epistasis_runs": 16,
    "period_runs": 8,
    "period_spacing": 5,
    "repair_runs": 12,
}


@dataclass(frozen=True)
class LesionConfig:
    """Which lesions are made, when, and when their outcome is measured.

    Attributes:
        methods: atlas: single lesions by target, intervention, dose and phase; epistasis: double lesions;
            critical-periods: when a channel is needed; self-repair: what the other channels make up for.
        runs: number of runs of the atlas.
        seed: seed of all random numbers.
        adult_step: step at which the body counts as grown; 0 means 200, or 96 if the organism has lost its body by 200.
        eval_steps: steps after a lesion of the adult body at which its outcome is measured.
        phases: phases of life in which the atlas makes lesions.
        targets: parts that the atlas ablates: single hidden units (unit), hidden units together that write most to one
            channel (units), filters of the perception, principal and random directions of the hidden channels, and
            channels.
        interventions: what the atlas does to a target. partial: multiply by 1 - dose at every step; erase: set to
            zero once; resample and random-direction: the nulls of erase; zero, mean, clamp: hold at zero, at the
            body's mean, at another run's values; noise: add noise at every step; freeze: leave out the updates.
            Here erase and resample act once, at the first step of the lesion, while `nca.edits.erase` and `resample`
            act at every step unless `.at(step)` limits them.
        growing_step: step at which lesions of the growing body begin.
        growing_eval_steps: steps after a lesion of the growing body at which its outcome is measured.
        cut: half of the body, or its centre, that is cut off before lesions of the regenerating body.
        doses: shares that partial ablation takes away at every step.
        noise_sd: sizes of noise, in standard deviations of the channel over the body.
        epistasis_runs: number of runs of double lesions; at least 12 are needed to detect a single pair among 66.
        epistasis_eval_steps: steps after a double lesion at which its outcome is measured.
        period_runs: number of runs of critical periods.
        period_eval_step: step of growth at which the outcome of critical periods is measured.
        period_spacing: steps between two beginnings, or two ends, of a lesion.
        repair_runs: number of runs of self-repair.
        repair_eval_steps: steps after a lesion at which self-repair is measured.
        basis_controls: number of other bases of the hidden channels, which show whether the trained basis is special;
            partial ablation at the middle dose (on two runs) and double lesions are repeated in each. 0 for none.
        full: use the larger preset for every option you did not set, and every intervention on channels in every
            phase.
    """

    methods: tuple[Method, ...] = METHODS
    runs: int = 4
    seed: int = 0
    adult_step: int = 0
    eval_steps: tuple[int, ...] = (60, 300)
    phases: tuple[Phase, ...] = PHASES
    targets: tuple[Target, ...] = ("unit", "filter", "units", "direction", "channel")
    interventions: tuple[Intervention, ...] = get_args(Intervention)
    growing_step: int = 20
    growing_eval_steps: int = 80
    cut: CutName = "left"
    doses: tuple[float, ...] = (0.02, 0.05, 0.2)
    noise_sd: tuple[float, ...] = (0.3,)
    epistasis_runs: int = 12
    epistasis_eval_steps: int = 60
    period_runs: int = 4
    period_eval_step: int = 100
    period_spacing: int = 10
    repair_runs: int = 6
    repair_eval_steps: int = 60
    basis_controls: int = 8
    full: bool = False

    def __post_init__(self) -> None:
        convert_to_tuples(self, "methods", "phases", "targets", "interventions", "eval_steps", "doses", "noise_sd")
        may_be_0 = ("seed", "adult_step", "basis_controls")
        check_at_least(0, self, *may_be_0)
        check_at_least(1, self, *(f.name for f in fields(self) if f.type == "int" and f.name not in may_be_0))
        known = {"methods": Method, "phases": Phase, "targets": Target, "interventions": Intervention}
        for name, choices in known.items():
            values = getattr(self, name)
            if not values or not set(values) <= set(get_args(choices)):
                raise UserError(f"{name} are one or more of {', '.join(get_args(choices))}; got {values}.")
        check_eval_steps(self.eval_steps)
        if not all(0 < d < 1 for d in self.doses) or not is_ascending(self.doses) or not self.doses:
            raise UserError(f"doses are ascending shares between 0 and 1, got {self.doses}.")
        if not all(0 < sd < math.inf for sd in self.noise_sd) or not is_ascending(self.noise_sd):
            raise UserError(f"noise_sd are ascending sizes above 0, got {self.noise_sd}.")
        if self.cut not in get_args(CutName):
            raise UserError(f"cut is one of {', '.join(get_args(CutName))}; got {self.cut!r}.")
        if self.period_spacing >= self.period_eval_step:
            raise UserError(f"period_spacing must be below period_eval_step ({self.period_eval_step}).")

    @classmethod
    def quick(cls) -> LesionConfig:
        """The same atlas, of the adult body alone: units and filters held at zero, channels decaying and erased."""
        return cls(
            methods=("atlas",),
            phases=("adult",),
            targets=("unit", "filter", "channel"),
            interventions=("partial", "erase", "resample", "random-direction", "zero"),
            doses=(0.2,),
            basis_controls=4,
        )

    @property
    def middle_dose(self) -> float:
        """The dose of partial ablation that claims and the regenerating phase use."""
        return self.doses[len(self.doses) // 2]

    def filled(self) -> LesionConfig:
        """With `full`, the larger preset in every option left at its default."""
        return replace_defaults(self, _FULL) if self.full else self

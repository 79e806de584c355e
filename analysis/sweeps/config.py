"""What a sweep measures: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Suppress

from nca.errors import UserError
from nca.validation import check_at_least, check_eval_steps, convert_to_tuples

MOST = 10**6  # runs, steps
METRICS = ("fitness", "log_mse", "log_mse_increase", "mse", "mature_cells")


@dataclass(frozen=True)
class SweepConfig:
    """What is measured of every experiment, on which runs, and when.

    Attributes:
        metrics: some of fitness, log_mse, log_mse_increase (over the control), mse, mature_cells.
        runs: runs per experiment.
        seed: random seed from which the runs' PRNG keys are derived.
        adult_step: the step that runs continue from; what comes before is grown once for all experiments. -1 for 200,
            or for 96 if the organism has lost its body by 200.
        eval_steps: steps after the adult step, ascending, at which rows are measured.
        allow_no_op: allow experiments that change nothing.
        own_metrics: names of the metrics of a user's own (`analysis.sweep` takes the functions).
    """

    metrics: tuple[str, ...] = METRICS
    runs: int = 8
    seed: int = 0
    adult_step: int = -1
    eval_steps: tuple[int, ...] = (60, 300)
    allow_no_op: bool = False
    own_metrics: Annotated[tuple[str, ...], Suppress] = ()

    def __post_init__(self) -> None:
        convert_to_tuples(self, "metrics", "eval_steps", "own_metrics")
        unknown = sorted(set(self.metrics) - set(METRICS))
        if unknown or not self.metrics:
            raise UserError(f"metrics are some of {', '.join(METRICS)}; got {', '.join(unknown) or 'none'}.")
        check_eval_steps(self.eval_steps)
        check_at_least(1, self, "runs")
        check_at_least(0, self, "seed")
        check_at_least(-1, self, "adult_step")
        if max(self.runs, self.adult_step, *self.eval_steps) > MOST:
            raise UserError(f"runs, adult_step and eval_steps must be at most {MOST}.")

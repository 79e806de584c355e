"""Which lesions `nca lesion` makes: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from nca.errors import UserError
from nca.validation import as_tuples, ascending, at_least, check_horizons, where_left

Assay = Literal["atlas", "pairs", "periods", "repair"]
ASSAYS: tuple[Assay, ...] = get_args(Assay)
Cut = Literal["bottom", "top", "right", "left", "centre"]  # those of nca.damage, which needs jax
FULL: dict[str, Any] = {
    "runs": 8,
    "doses": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    "noises": (0.1, 0.3, 1.0, 3.0),
    "pair_runs": 16,
    "period_runs": 8,
    "period_every": 5,
    "repair_runs": 12,
}


@dataclass(frozen=True)
class LesionConfig:
    """Which lesions are made, when, and when they are judged.

    Attributes:
        assays: atlas: every part, kind, dose and phase; pairs: double lesions; periods: when a channel
            is needed; repair: what makes up for a lost channel.
        runs: runs that the atlas is made on.
        seed: number that all randomness follows from.
        at: step at which the body counts as grown.
        young: step at which lesions of the growing body begin.
        young_for: steps after which those are judged.
        horizons: steps after a lesion of the grown body at which it is judged.
        cut: half of the body, or its centre, that is cut off for lesions of the regenerating body.
        doses: shares that a graded lesion takes at every step.
        noises: sizes of noise, in standard deviations of the channel over the body.
        pair_runs: runs that double lesions are made on; 12 or more can find one pair among 66.
        pair_for: steps after which those are judged.
        period_runs: runs that critical periods are measured on.
        period_end: step at which those are judged.
        period_every: steps between two beginnings, or two ends, of a lesion.
        repair_runs: runs that self-repair is measured on.
        repair_for: steps after which it is judged.
        full: everything: more doses and runs, every kind at every horizon and phase, every hidden unit
            by itself, wherever a number was left as it is by default.
    """

    assays: tuple[Assay, ...] = ASSAYS
    runs: int = 4
    seed: int = 0
    at: int = 200
    young: int = 20
    young_for: int = 80
    horizons: tuple[int, ...] = (60, 300)
    cut: Cut = "left"
    doses: tuple[float, ...] = (0.02, 0.05, 0.2)
    noises: tuple[float, ...] = (0.3,)
    pair_runs: int = 12
    pair_for: int = 60
    period_runs: int = 4
    period_end: int = 100
    period_every: int = 10
    repair_runs: int = 6
    repair_for: int = 60
    full: bool = False

    def __post_init__(self) -> None:
        as_tuples(self, "assays", "horizons", "doses", "noises")
        at_least(1, self, "runs", "at", "young", "young_for", "pair_runs", "pair_for", "period_runs")
        at_least(1, self, "period_end", "period_every", "repair_runs", "repair_for")
        if not self.assays:
            raise UserError(f"assays are some of {', '.join(ASSAYS)}; got none.")
        check_horizons(self.horizons)
        if not all(0 < d < 1 for d in self.doses) or not ascending(self.doses):
            raise UserError(f"doses are ascending shares between 0 and 1, got {self.doses}.")
        if not all(0 < n < math.inf for n in self.noises) or not ascending(self.noises):
            raise UserError(f"noises are ascending sizes above 0, got {self.noises}.")
        if self.cut not in get_args(Cut):
            raise UserError(f"cut is one of {', '.join(get_args(Cut))}; got {self.cut!r}.")
        if self.period_every >= self.period_end:
            raise UserError(f"period_every must be below period_end ({self.period_end}).")

    def filled(self) -> LesionConfig:
        """With `full`, every number left at its default is the larger one."""
        return where_left(self, FULL) if self.full else self

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

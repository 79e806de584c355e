"""Options of `nca units`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from nca.errors import UserError
from nca.validation import check_at_least, convert_to_tuples, is_ascending, replace_defaults

Phase = Literal["growing", "adult", "regenerating"]
Ablation = Literal["zero", "mean"]
CutName = Literal["bottom", "top", "right", "left", "centre"]  # those of nca.damage, which needs jax
PHASES: tuple[Phase, ...] = get_args(Phase)
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)
_FULL: dict[str, Any] = {"runs": 8, "kept_runs": 8, "random_orders": 10, "backup_screen_runs": 8, "backup_runs": 16}


@dataclass(frozen=True)
class UnitConfig:
    """How hidden units are examined.

    Attributes:
        runs: runs in which each unit is ablated alone; they also rank the units.
        kept_runs: further runs, in which sets of units are kept.
        seed: number that all randomness follows from.
        adult_step: step at which the body counts as grown; 0 for 200, or for 96 if the organism has lost its body by
            200.
        phases: phases of life in which units are ablated: from the seed on, in the adult, after a cut.
        ablations: what is done to a unit at every step of a phase. zero: it is silent everywhere; mean: it has its
            mean over the body's mature cells in all of them, and acts as usual elsewhere.
        growing_steps: steps of growth, from the seed.
        adult_steps: steps from the adult step on.
        regenerating_steps: steps after a cut at the adult step.
        cut: half of the body, or its centre, that is cut off.
        shares_kept: shares of the units that are kept, the others held at their mean.
        random_orders: random orders in which units are kept, the null of an order by effect.
        backup_screen_runs: runs in which every unit is ablated together with the one needed most; 0 for no search for
            backup.
        backup_candidates: units that this screening proposes in each phase.
        backup_runs: further runs, in which the proposed units are judged.
        surrogates: shuffled tables that families of units are compared with.
        full: use the larger preset for every option you did not set: twice the runs, 10 random orders.
    """

    runs: int = 4
    kept_runs: int = 4
    seed: int = 0
    adult_step: int = 0
    phases: tuple[Phase, ...] = PHASES
    ablations: tuple[Ablation, ...] = ABLATIONS
    growing_steps: int = 100
    adult_steps: int = 60
    regenerating_steps: int = 100
    cut: CutName = "left"
    shares_kept: tuple[float, ...] = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875, 0.9375, 0.97)
    random_orders: int = 4
    backup_screen_runs: int = 3
    backup_candidates: int = 6
    backup_runs: int = 12
    surrogates: int = 99
    full: bool = False

    def __post_init__(self) -> None:
        convert_to_tuples(self, "phases", "ablations", "shares_kept")
        may_be_0 = ("seed", "adult_step", "backup_screen_runs")
        check_at_least(0, self, *may_be_0)
        check_at_least(1, self, *(f.name for f in fields(self) if f.type == "int" and f.name not in may_be_0))
        for name, choices in {"phases": PHASES, "ablations": ABLATIONS}.items():
            values = getattr(self, name)
            if not values or not set(values) <= set(choices):
                raise UserError(f"{name} are one or more of {', '.join(choices)}; got {values}.")
        if self.cut not in get_args(CutName):
            raise UserError(f"cut is one of {', '.join(get_args(CutName))}; got {self.cut!r}.")
        shares = self.shares_kept
        if not shares or not is_ascending(shares) or not all(0 <= share < 1 for share in shares):
            raise UserError(f"shares_kept are ascending shares from 0 to below 1, got {shares}.")

    @classmethod
    def quick(cls) -> UnitConfig:
        """Two runs, the mean ablation alone, a short curve and no search for backup."""
        return cls(
            runs=2,
            kept_runs=2,
            phases=("growing", "adult"),
            ablations=("mean",),
            adult_steps=40,
            shares_kept=(0.25, 0.5, 0.75, 0.875, 0.9375),
            random_orders=2,
            backup_screen_runs=0,
        )

    def filled(self) -> UnitConfig:
        """With `full`, the larger preset in every option left at its default."""
        return replace_defaults(self, _FULL) if self.full else self

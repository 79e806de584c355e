"""How axes are examined: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from nca.errors import UserError
from nca.validation import at_least


@dataclass(frozen=True)
class AxesConfig:
    """How axes are examined.

    Attributes:
        runs: runs that are grown; the first is tested, the others show that it repeats.
        seed: number that all randomness follows from.
        steps: step at which the body counts as grown.
        surrogates: fields as smooth as the states that every statistic of place is compared with.
        deals: ways to deal blocks of cells to folds; R2 is their mean.
        channels: the hidden channels, or all.
        scaling: raw states, or z-scored.
        permutations: rules with shuffled weights that the trained one is compared with; 0 for none.
        course: surrogates at each step of the time course; 0 for no time course.
        randoms: random directions, and half as many planes for each code, that pushes along the code are
            compared with; 0 for no pushes.
        horizon: steps after which the outcome of a push is measured.
        angles: turns of the perception while growing, in degrees; none for no compass tests.
    """

    runs: int = 4
    seed: int = 0
    steps: int = 200
    surrogates: int = 249
    deals: int = 10
    channels: Literal["hidden", "all"] = "hidden"
    scaling: Literal["raw", "zscore"] = "raw"
    permutations: int = 99
    course: int = 39
    randoms: int = 99
    horizon: int = 60
    angles: tuple[float, ...] = (45, 90, 180)

    def __post_init__(self) -> None:
        at_least(1, self, "runs", "steps", "deals", "horizon")
        for name in ("surrogates", "permutations", "course", "randoms"):
            value = getattr(self, name)
            if value < 19 and not (value == 0 and name != "surrogates"):
                none = "" if name == "surrogates" else ", or 0 for none"
                raise UserError(f"{name} must be 19 or more, or p cannot reach .05{none}; got {value}.")
        if self.angles and self.runs < 2:
            raise UserError("Compass tests take two or more runs: ask for more, or for no angles.")
        object.__setattr__(self, "angles", tuple(float(a) for a in self.angles))

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


QUICK = AxesConfig(permutations=0, course=0, randoms=0, angles=())

"""What `nca graft` moves, where to and what it is compared with: one frozen record."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import where_left

FULL: dict[str, Any] = {"runs": 16, "map_runs": 4, "places": 100}


@dataclass(frozen=True)
class GraftConfig:
    """What is moved, where to, and what is compared.

    Attributes:
        source: middle of the disc in the donor, (y, x) in cells.
        place: where it goes in the host.
        radius: of the disc, in cells.
        at: step of the graft.
        until: step at which it is judged.
        turn: degrees by which the piece is turned, clockwise as seen.
        runs: runs that are grafted.
        seed: number that all randomness follows from.
        map_runs: runs that isolation and organizer maps are made on; 0 for no maps.
        places: about so many places of the host's body on a map.
        fragments: radii of the discs left alone for the isolation map, in cells.
        full: 16 runs, 4 of them for maps of some 100 places, wherever a number was left as it is.
    """

    source: tuple[float, float]
    place: tuple[float, float]
    radius: float = 4.0
    at: int = 200
    until: int = 400
    turn: float = 0.0
    runs: int = 4
    seed: int = 0
    map_runs: int = 1
    places: int = 30
    fragments: tuple[float, ...] = (4.0, 8.0)
    full: bool = False

    def __post_init__(self) -> None:
        for name in ("source", "place", "fragments"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        numbers = (*self.source, *self.place, self.turn)
        if not all(map(math.isfinite, numbers)):
            raise UserError(f"Places and turns of a graft must be finite numbers, got {numbers}.")
        if not all(0 < r < math.inf for r in (self.radius, *self.fragments)):
            raise UserError("The radius of a graft and those of fragments must be above 0 cells.")
        if self.at < 1 or self.until <= self.at:
            raise UserError(f"A graft needs 0 < at < until, got at {self.at} and until {self.until}.")
        if self.runs < 1 or self.places < 1 or not 0 <= self.map_runs <= self.runs:
            raise UserError(f"runs and places are at least 1, map_runs 0 to {self.runs}.")

    def filled(self) -> GraftConfig:
        """With `full`, every number left at its default is the larger one."""
        return where_left(self, FULL) if self.full else self

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

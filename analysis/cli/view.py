"""`nca view`: an organism alive in one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analysis.cli.basic import Source, tell
from nca.errors import UserError


@dataclass(frozen=True)
class View:
    """Write a page in which an organism lives and can be dissected by hand.

    Attributes:
        out: the page, an .html file; it needs no network and no other file.
        canvas: height and width in cells, instead of the organism's own.
        seed: number that the randomness follows from, at first.
        run: which run of that seed, at first.
    """

    organism: Positional[Source]
    out: Path = Path("viewer.html")
    canvas: tuple[int, int] | None = None
    seed: int = 0
    run: int = 0

    def __post_init__(self) -> None:
        for name in ("seed", "run"):
            if not 0 <= getattr(self, name) <= 2**31 - 1:
                raise UserError(f"{name} must be from 0 to {2**31 - 1}, got {getattr(self, name)}.")


def view(command: View) -> None:
    """Write it, say where it is."""
    from analysis import viewer
    from analysis.populations.sources import one_of

    organism = one_of(command.organism, "nca view")
    says = {"canvas": command.canvas, "seed": command.seed, "run": command.run}
    tell(str(viewer.save(organism, command.out, source=command.organism, **says)))

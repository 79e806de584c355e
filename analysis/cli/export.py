"""`nca export` and `nca view`: an organism as a file for other programs, or alive in one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from analysis.cli.output import Source, check_outputs, print_result
from nca.errors import UserError


@dataclass(frozen=True)
class Export:
    """Write an organism for other programs.

    Attributes:
        to: format of the file: npz, arrays by name; torch, a state_dict of convolutions with its config; web-json, as
            the demo of Mordvintsev et al. 2020 reads it; onnx, one step as a graph.
        out: the file; NAME with the format's suffix if not given.
        force: overwrite a file that exists.
    """

    organism: Positional[Source]
    to: Literal["npz", "torch", "web-json", "onnx"]
    out: Path | None = None
    force: bool = False

    def execute(self) -> None:
        """Write the files and print their paths."""
        from analysis.populations.population import find_organism
        from nca.interop.export import SUFFIXES, export_organism

        organism = find_organism(self.organism, "nca export")
        path = self.out or Path(Path(self.organism).stem + SUFFIXES[self.to])
        sidecars = [path.with_name(path.name + ".conventions.json")] if self.to == "web-json" else []
        check_outputs(self.force, path, *sidecars)
        for written in export_organism(organism, self.to, path):
            print_result(str(written))


@dataclass(frozen=True)
class View:
    """Write a page in which an organism lives and can be edited by hand.

    Attributes:
        out: the page, an .html file; it needs no network and no other file.
        canvas: height and width in cells, instead of the organism's own.
        seed: seed of all random numbers; it can be changed on the page.
        run: number of the run with this seed, from 0; it can be changed on the page.
        force: overwrite a file that exists.
    """

    organism: Positional[Source]
    out: Path = Path("viewer.html")
    canvas: tuple[int, int] | None = None
    seed: int = 0
    run: int = 0
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("seed", "run"):
            if not 0 <= getattr(self, name) <= 2**31 - 1:
                raise UserError(f"{name} must be from 0 to {2**31 - 1}, got {getattr(self, name)}.")

    def execute(self) -> None:
        """Write it, print where it is."""
        from analysis import viewer
        from analysis.populations.population import find_organism

        check_outputs(self.force, self.out)
        organism = find_organism(self.organism, "nca view")
        options = {"canvas": self.canvas, "seed": self.seed, "run": self.run}
        print_result(str(viewer.save_page(organism, self.out, source=self.organism, **options)))

"""`nca export`: an organism in a format that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from analysis.cli.output import Source, print_result


@dataclass(frozen=True)
class Export:
    """Write an organism for other programs.

    Attributes:
        to: npz, arrays by name; torch, a state_dict of convolutions with its config; web-json, bytes as
            the demo of Mordvintsev et al. 2020 reads them; onnx, one step as a graph.
        out: the file; NAME with the format's suffix if not given.
    """

    organism: Positional[Source]
    to: Literal["npz", "torch", "web-json", "onnx"]
    out: Path | None = None

    def execute(self) -> None:
        """Write the files and print their paths."""
        from analysis.populations.population import find_organism
        from nca.interop.export import SUFFIXES, export_organism

        organism = find_organism(self.organism, "nca export")
        path = self.out or Path(Path(self.organism).stem + SUFFIXES[self.to])
        for written in export_organism(organism, self.to, path):
            print_result(str(written))

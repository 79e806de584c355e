"""`nca export`: an organism in a format that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from analysis.cli.basic import Source, tell


@dataclass(frozen=True)
class Export:
    """Write an organism for other programs.

    Attributes:
        to: npz, arrays by name; torch, a state_dict of convolutions with its config; web-json, bytes as
            the demo of Mordvintsev et al. 2020 reads them; onnx, one step as a graph.
        out: the file; NAME with the format's suffix if none.
    """

    organism: Positional[Source]
    to: Literal["npz", "torch", "web-json", "onnx"]
    out: Path | None = None


def export(command: Export) -> None:
    """Write it, and say where."""
    from analysis.populations.sources import one_of
    from nca.interop.export import SUFFIXES
    from nca.interop.export import export as written

    organism = one_of(command.organism, "nca export")
    path = command.out or Path(Path(command.organism).stem + SUFFIXES[command.to])
    for place in written(organism, command.to, path):
        tell(str(place))

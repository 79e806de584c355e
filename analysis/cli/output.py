"""What all commands share: how they name organisms, and how they write.

Each command is one frozen record and the function that does it. Results go to standard output, progress
to standard error. jax and all that needs it are imported inside, so that `nca --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from nca.errors import UserError
from nca.files import check_writable
from nca.progress import log_line as log_line
from nca.progress import printable

Source = Annotated[
    str, arg(metavar="ORGANISM", help="A bundled organism, a file, or a member of a population, such as lizards/NAME.")
]
Sources = Annotated[
    tuple[str, ...],
    arg(metavar="ORGANISM...", help="Bundled organisms, files, or a population or folder of such files."),
]
MAX_LOG_MSE = -2.7  # that of analysis.populations.population, which needs jax


def check_outputs(force: bool, *paths: Path) -> None:
    """Raise `UserError`, before anything is computed, unless these files can be written and none exists already."""
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file.")
        if path.exists() and not force:
            raise UserError(f"{path} exists already; --force overwrites it, or choose another name.")
        check_writable(path.parent)


def print_result(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(printable(text) + "\n")


def format_pairs(pairs: Sequence[tuple[str, str]], indent: int = 0) -> str:
    """Two columns of text."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{'':{indent}}{name:{width}}  {value}".rstrip() for name, value in pairs)


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)

"""What all commands share: how they name organisms, and how they speak.

Each command is one frozen record and the function that does it. Results go to standard output, progress
to standard error. jax and all that needs it are imported inside, so that `nca --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

from tyro.conf import arg

ORGANISM = "name of a bundled organism, a file, or a population and a member of it, as lizards/NAME."
SEVERAL = "names of bundled organisms, files, or a population or folder of such files."
Source = Annotated[str, arg(metavar="ORGANISM", help=ORGANISM)]
Sources = Annotated[tuple[str, ...], arg(metavar="ORGANISM...", help=SEVERAL)]
ADMIT = -2.7  # that of analysis.populations.members, which needs jax


def say(line: str) -> None:
    """A line of progress, to standard error."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def tell(text: str) -> None:
    """A result, to standard output."""
    sys.stdout.write(printable(text) + "\n")


def printable(text: str) -> str:
    """The text without what a name in a strange file could do to a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)

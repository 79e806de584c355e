"""The commands of `nca`: one frozen record each, and the function that does it.

Results go to standard output, progress to standard error. jax and all that needs it are imported
inside, so that `nca --help` answers at once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from analysis.dissection.config import DissectConfig
from nca.errors import UserError

ORGANISM = "name of a bundled organism, or a file."
Source = Annotated[str, arg(metavar="ORGANISM", help=ORGANISM)]


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


@dataclass(frozen=True)
class Info:
    """Tell what is known of an organism: conventions, size, provenance, metrics.

    Attributes:
        json: as JSON.
    """

    organism: Positional[Source]
    json: bool = False


def info(command: Info) -> None:
    """Tell it."""
    from analysis.commands import tables
    from nca.files import load

    organism = load(command.organism)
    tell(json.dumps(tables.about(organism), indent=1) if command.json else tables.described(organism))


@dataclass(frozen=True)
class Organisms:
    """List the bundled organisms, what they were trained for and what they reach."""


def organisms(command: Organisms) -> None:
    """List them."""
    from analysis.commands import tables
    from nca.files import bundled, load

    tell(tables.aligned([(name, tables.one_line(load(name))) for name in bundled()]) or "none is bundled")


@dataclass(frozen=True)
class Targets:
    """List the drawings that come with the package.

    Attributes:
        out: also draw them all into this PNG.
        size: cells of a drawing's longer side, on that sheet.
    """

    out: Path | None = None
    size: int = 40


def targets(command: Targets) -> None:
    """List them, and draw them if asked to."""
    from nca import targets as drawings

    if command.out is not None:
        from analysis.films.captions import gallery
        from nca.files import write_with

        if command.out.suffix.lower() != ".png":
            raise UserError(f"The sheet of drawings is a .png, got {command.out}.")
        sheet = gallery({name: drawings.target(name, command.size) for name in drawings.names()})
        write_with(command.out, lambda beside: sheet.save(beside))
    # Imported here, as it would import jax.
    width = max(map(len, drawings.names()))
    tell("\n".join(f"{name:{width}}  {drawings.describe(name)}" for name in drawings.names()))


@dataclass(frozen=True)
class Dissect:
    """Take an organism apart: axes, lesions, regeneration, and a report of it all.

    Several organisms are compared: their axes, how they heal, and with --full what they bear.

    Attributes:
        out: folder for the report; NAME-dissection if none.
        again: dissect even if the folder holds this very dissection already.
    """

    organism: Positional[tuple[Source, ...]]
    out: Path | None = None
    again: bool = False
    config: OmitArgPrefixes[DissectConfig] = field(default_factory=DissectConfig)


def dissect(command: Dissect) -> None:
    """Dissect, and say where the report is."""
    from analysis.dissection.dissect import dissect as dissected
    from nca.files import load

    if not command.organism:
        raise UserError("At least one organism is needed; nca organisms lists the bundled ones.")
    folder = command.out or Path(f"{Path(command.organism[0]).stem}-dissection")
    organisms = [load(name) for name in command.organism]
    tell(str(dissected(organisms, folder, command.config, say, again=command.again)))

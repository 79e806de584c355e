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


@dataclass(frozen=True)
class Info:
    """Tell what is known of an organism: conventions, size, provenance, metrics; or of a population.

    Attributes:
        json: as JSON.
    """

    organism: Positional[Source]
    json: bool = False


def info(command: Info) -> None:
    """Tell it."""
    from analysis.commands import population, tables
    from analysis.populations.sources import one_of, population_of

    many = population_of([command.organism])
    if many:
        rows = population.overview(many)
        told = {"name": many.name, "members": rows, "versions": dict(many.versions)}
        tell(json.dumps(told, indent=1) if command.json else population.in_columns(rows))
        return
    organism = one_of(command.organism, "nca info")
    tell(json.dumps(tables.about(organism), indent=1) if command.json else tables.described(organism))


@dataclass(frozen=True)
class Organisms:
    """List the bundled organisms and populations, what they were trained for and what they reach."""


def organisms(command: Organisms) -> None:
    """List them."""
    from analysis.commands import tables
    from nca.files import bundled, bundled_populations, load, members

    alone = [(name, tables.one_line(load(name))) for name in bundled()]
    several = [
        (name, f"a population of {len(members(name))}, such as {name}/{members(name)[0]}")
        for name in bundled_populations()
    ]
    tell(tables.aligned([*alone, *several]) or "none is bundled")


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

    Several organisms are compared: their axes, how they heal, and with --full what they bear. So are the
    regimes of a population, with its networks as units.

    Attributes:
        out: folder for the report; NAME-dissection if none.
        again: dissect even if the folder holds this very dissection already.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Sources]
    out: Path | None = None
    again: bool = False
    admit: float = ADMIT
    config: OmitArgPrefixes[DissectConfig] = field(default_factory=DissectConfig)


def dissect(command: Dissect) -> None:
    """Dissect, and say where the report is."""
    from analysis.commands.population import dissected as dissected_together
    from analysis.dissection.dissect import dissect as dissected
    from analysis.populations.sources import organisms_of, population_of

    many = population_of(command.organism)
    if many:
        folder = command.out or Path(f"{many.name}-dissection")
        dissected_together(many, folder, command.config, command.admit, again=command.again)
        return
    organisms = organisms_of(command.organism)
    folder = command.out or Path(f"{Path(command.organism[0]).stem}-dissection")
    tell(str(dissected(organisms, folder, command.config, say, again=command.again)))

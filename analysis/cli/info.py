"""`nca info`, `nca organisms`, `nca targets`: what is known of an organism, and what is bundled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analysis.cli.basic import Source, tell
from nca.errors import UserError


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
    from analysis.cli import tables
    from analysis.populations.sources import one_of, population_of

    many = population_of([command.organism])
    if many:
        rows = tables.overview(many)
        told = {"name": many.name, "members": rows, "versions": dict(many.versions)}
        tell(json.dumps(told, indent=1) if command.json else tables.in_columns(rows))
        return
    organism = one_of(command.organism, "nca info")
    tell(json.dumps(tables.about(organism), indent=1) if command.json else tables.described(organism))


@dataclass(frozen=True)
class Organisms:
    """List the bundled organisms and populations, what they were trained for and what they reach."""


def organisms(command: Organisms) -> None:
    """List them."""
    from analysis.cli import tables
    from nca.io import bundled, bundled_populations, load, members

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
        from analysis.animation.captions import gallery
        from nca.io import write_with

        if command.out.suffix.lower() != ".png":
            raise UserError(f"The sheet of drawings is a .png, got {command.out}.")
        sheet = gallery({name: drawings.target(name, command.size) for name in drawings.names()})
        write_with(command.out, lambda beside: sheet.save(beside))
    # Imported here, as it would import jax.
    width = max(map(len, drawings.names()))
    tell("\n".join(f"{name:{width}}  {drawings.describe(name)}" for name in drawings.names()))

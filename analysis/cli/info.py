"""`nca info`, `nca organisms`, `nca targets`: what is known of an organism, and what is bundled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from analysis.cli.output import Source, print_result
from nca.errors import UserError


@dataclass(frozen=True)
class Info:
    """Print what is known of an organism (conventions, size, provenance, metrics) or of a population.

    Attributes:
        json: as JSON.
    """

    organism: Positional[Source]
    json: bool = False

    def execute(self) -> None:
        """Print it."""
        from analysis.cli import tables
        from analysis.populations.population import find_organism, find_population

        population = find_population([self.organism])
        if population:
            rows = tables.population_records(population)
            fields = {"name": population.name, "members": rows, "versions": dict(population.versions)}
            print_result(json.dumps(fields, indent=1) if self.json else tables.format_records(rows))
            return
        organism = find_organism(self.organism, "nca info")
        if self.json:
            print_result(json.dumps(tables.organism_fields(organism), indent=1))
        else:
            print_result(tables.describe_organism(organism))


@dataclass(frozen=True)
class Organisms:
    """List the bundled organisms and populations, what they were trained for and how well they do."""

    def execute(self) -> None:
        """List them."""
        from analysis.cli import tables
        from nca.io import bundled, bundled_populations, load

        rows = [(name, tables.summarise_organism(load(name))) for name in bundled()]
        for name in bundled_populations():
            members = bundled(name)
            rows.append((name, f"a population of {len(members)}, such as {name}/{members[0]}"))
        print_result(tables.format_pairs(rows) or "none is bundled")


@dataclass(frozen=True)
class Targets:
    """List the drawings that come with the package.

    Attributes:
        out: also draw them all into this PNG.
        size: cells of a drawing's longer side, on that sheet.
    """

    out: Path | None = None
    size: int = 40

    def execute(self) -> None:
        """List them, and draw them if asked to."""
        from nca import targets as drawings

        names = drawings.names()
        if self.out is not None:
            from analysis.animation.render import picture_sheet
            from nca.io import write_file

            if self.out.suffix.lower() != ".png":
                raise UserError(f"The sheet of drawings is a .png, got {self.out}.")
            sheet = picture_sheet({name: drawings.target(name, self.size) for name in names})
            write_file(self.out, lambda temporary: sheet.save(temporary))
        width = max(map(len, names))
        print_result("\n".join(f"{name:{width}}  {drawings.describe(name)}" for name in names))

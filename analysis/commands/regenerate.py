"""`nca regenerate`: from which wounds organisms heal, as a folder with a page, figures and tables."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes, Positional

from analysis.commands.basic import Source, say, tell
from analysis.healing.config import HealingConfig
from nca.errors import UserError

if TYPE_CHECKING:
    from nca.organism import Organism

COMMAND = "nca regenerate"


@dataclass(frozen=True)
class Regenerate:
    """Wound organisms and watch them heal: five cuts, half planes, holes everywhere, late fates.

    Attributes:
        organism: one or more; they are told in one table and one set of figures.
        out: folder for the page; NAME-regeneration if none.
    """

    organism: Positional[tuple[Source, ...]]
    out: Path | None = None
    config: OmitArgPrefixes[HealingConfig] = field(default_factory=HealingConfig)


def regenerate(command: Regenerate) -> None:
    """Wound, write, say where."""
    from analysis.healing.section import section
    from analysis.healing.wounds import heal
    from analysis.pages import folder as pages

    organisms, begun = loaded(command.organism), time.monotonic()
    folder = command.out or Path(f"{organisms[0].name}-regeneration")
    pages.check_place(folder, COMMAND)
    found = [heal(organism, command.config, say) for organism in organisms]
    config = command.config.filled()
    portrait = next((one.cuts.picture_before.values for one in found if one.cuts), None)
    tell(
        str(
            pages.write_sections(
                folder,
                organisms,
                [section(found)],
                COMMAND,
                config.to_json(),
                portrait=portrait,
                seconds=time.monotonic() - begun,
                data=config.full,
            )
        )
    )


def loaded(names: tuple[str, ...]) -> list[Organism]:
    """The organisms of these names, each under a name of its own."""
    from nca.files import load

    if not names:
        raise UserError("At least one organism is needed; nca organisms lists the bundled ones.")
    found = [load(name) for name in names]
    seen: dict[str, int] = {}
    for n, one in enumerate(found):
        seen[one.name] = seen.get(one.name, 0) + 1
        if seen[one.name] > 1:
            found[n] = one.renamed(f"{one.name} ({seen[one.name]})")
    return found

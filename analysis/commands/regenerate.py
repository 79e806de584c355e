"""`nca regenerate`: from which wounds organisms heal, as a folder with a page, figures and tables."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from analysis.commands.basic import ADMIT, Sources, say, tell
from analysis.commands.population import told
from analysis.healing.config import HealingConfig

COMMAND = "nca regenerate"


@dataclass(frozen=True)
class Regenerate:
    """Wound organisms and watch them heal: five cuts, half planes, holes everywhere, late fates.

    Attributes:
        organism: one or more, told in one table and one set of figures; or a
            population, whose regimes are compared.
        out: folder for the page; NAME-regeneration if none.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Sources]
    out: Path | None = None
    admit: float = ADMIT
    config: OmitArgPrefixes[HealingConfig] = field(default_factory=HealingConfig)


def regenerate(command: Regenerate) -> None:
    """Wound, write, say where."""
    from analysis.healing.section import section
    from analysis.healing.wounds import heal
    from analysis.pages import folder as pages
    from analysis.populations import battery
    from analysis.populations.sources import organisms_of, population_of

    many = population_of(command.organism)
    if many:
        config, folder = battery.fewer(command.config), command.out or Path(f"{many.name}-regeneration")
        part = partial(battery.healing, config=config)
        told(many, [part], COMMAND, folder, config.to_json(), command.admit)
        return
    organisms, begun = organisms_of(command.organism), time.monotonic()
    folder = command.out or Path(f"{organisms[0].name}-regeneration")
    pages.check_place(folder, COMMAND)
    found = [heal(organism, command.config, say) for organism in organisms]
    asked = command.config.filled()
    portrait = next((one.cuts.picture_before.values for one in found if one.cuts), None)
    tell(
        str(
            pages.write_sections(
                folder,
                organisms,
                [section(found)],
                COMMAND,
                asked.to_json(),
                portrait=portrait,
                seconds=time.monotonic() - begun,
                data=asked.full,
            )
        )
    )

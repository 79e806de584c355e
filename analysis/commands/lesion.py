"""`nca lesion`: which parts an organism needs, and when, as a folder with a page, figures and tables."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from analysis.commands.basic import ADMIT, Source, say, tell
from analysis.commands.population import told
from analysis.lesions.config import LesionConfig

NAME = "nca lesion"


@dataclass(frozen=True)
class Lesion:
    """Harm an organism's parts and see what it cannot do without: atlas, pairs, periods, repair.

    Of a population it asks how many hidden channels the networks of each regime need.

    Attributes:
        out: folder for the page; NAME-lesions if none.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Source]
    out: Path | None = None
    admit: float = ADMIT
    config: OmitArgPrefixes[LesionConfig] = field(default_factory=LesionConfig)


def lesion(command: Lesion) -> None:
    """Harm, write, say where."""
    from analysis.lesions.battery import lesion as harmed
    from analysis.lesions.section import section
    from analysis.pages.folder import check_place, write_sections
    from analysis.populations import battery
    from analysis.populations.sources import one_of, population_of

    many = population_of([command.organism])
    if many:
        config, folder = battery.fewer(command.config), command.out or Path(f"{many.name}-lesions")
        told(many, [partial(battery.lesions, config=config)], NAME, folder, config.to_json(), command.admit)
        return
    organism = one_of(command.organism, NAME)
    folder, begun = command.out or Path(f"{organism.name}-lesions"), time.monotonic()
    check_place(folder, NAME)
    found = harmed(organism, command.config, say)
    more = {"seconds": time.monotonic() - begun, "portrait": found.portrait, "data": found.config.full}
    asked = found.config.to_json()
    tell(str(write_sections(folder, [organism], [section(found)], NAME, asked, **more)))

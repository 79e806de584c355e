"""`nca lesion`: which parts an organism needs, and when, as a folder with a page, figures and tables."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from analysis.commands.basic import Source, say, tell
from analysis.lesions.config import LesionConfig

NAME = "nca lesion"


@dataclass(frozen=True)
class Lesion:
    """Harm an organism's parts and see what it cannot do without: atlas, pairs, periods, repair.

    Attributes:
        out: folder for the page; NAME-lesions if none.
    """

    organism: Positional[Source]
    out: Path | None = None
    config: OmitArgPrefixes[LesionConfig] = field(default_factory=LesionConfig)


def lesion(command: Lesion) -> None:
    """Harm, write, say where."""
    from analysis.lesions.battery import lesion as harmed
    from analysis.lesions.section import section
    from analysis.pages.folder import check_place, write_sections
    from nca.files import load

    organism = load(command.organism)
    folder, begun = command.out or Path(f"{organism.name}-lesions"), time.monotonic()
    check_place(folder, NAME)
    found = harmed(organism, command.config, say)
    more = {"seconds": time.monotonic() - begun, "portrait": found.portrait, "data": found.config.full}
    config = found.config.to_json()
    tell(str(write_sections(folder, [organism], [section(found)], NAME, config, **more)))

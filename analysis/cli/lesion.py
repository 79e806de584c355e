"""`nca lesion`: which parts an organism needs, and when, as a folder with a page, figures and tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes, Positional

from analysis.assays.lesions.config import LesionConfig
from analysis.cli.assay import of_organisms
from analysis.cli.basic import ADMIT, Source, say

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.model import Section
    from nca.organism import Organism


@dataclass(frozen=True)
class Lesion:
    """Harm an organism's parts and see what it cannot do without: atlas, pairs, periods, repair.

    Of a population it asks how many hidden channels the networks of each regime need.

    Attributes:
        out: folder for the page; NAME-lesion if none.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Source]
    out: Path | None = None
    admit: float = ADMIT
    config: OmitArgPrefixes[LesionConfig] = field(default_factory=LesionConfig)


def lesion(command: Lesion) -> None:
    """Harm, write, say where."""
    from analysis.assays.lesions import battery
    from analysis.assays.lesions.section import section
    from analysis.populations.battery import lesions

    def harmed(organisms: list[Organism]) -> tuple[Section, np.ndarray | None]:
        found = battery.lesion(organisms[0], command.config, say)
        return section(found), found.portrait

    of_organisms("nca lesion", command, harmed, lesions)

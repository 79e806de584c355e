"""`nca regenerate`: from which wounds organisms heal, as a folder with a page, figures and tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes, Positional

from analysis.assays.regeneration.config import RegenerationConfig
from analysis.cli.assay import of_organisms
from analysis.cli.basic import ADMIT, Sources, say

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.model import Section
    from nca.organism import Organism


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
    config: OmitArgPrefixes[RegenerationConfig] = field(default_factory=RegenerationConfig)


def regenerate(command: Regenerate) -> None:
    """Wound, write, say where."""
    from analysis.assays.regeneration.section import section
    from analysis.assays.regeneration.wounds import heal
    from analysis.populations.battery import healing

    def wounded(organisms: list[Organism]) -> tuple[Section, np.ndarray | None]:
        found = [heal(organism, command.config, say) for organism in organisms]
        return section(found), next((one.cuts.picture_before.values for one in found if one.cuts), None)

    of_organisms("nca regenerate", command, wounded, healing)

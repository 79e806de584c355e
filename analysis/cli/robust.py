"""`nca robust`: how much disturbance organisms bear, as a folder with a page, figures and tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes, Positional

from analysis.assays.robustness.config import RobustnessConfig
from analysis.cli.assay import of_organisms
from analysis.cli.basic import ADMIT, Sources, say

if TYPE_CHECKING:
    import numpy as np

    from analysis.report.model import Section
    from nca.organism import Organism


@dataclass(frozen=True)
class RobustCommand:
    """Disturb organisms: noise on states and weights, other fire rates, nearer edges.

    Attributes:
        organism: one or more, told in one set of figures; or a population, whose regimes are compared.
        out: folder for the page; NAME-robustness if none.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Sources]
    out: Path | None = None
    admit: float = ADMIT
    config: OmitArgPrefixes[RobustnessConfig] = field(default_factory=RobustnessConfig)


def robust(command: RobustCommand) -> None:
    """Disturb, write, say where."""
    from analysis.assays.robustness import battery
    from analysis.assays.robustness.section import section
    from analysis.populations.battery import robustness

    def disturbed(organisms: list[Organism]) -> tuple[Section, np.ndarray | None]:
        found = [battery.robust(organism, command.config, say) for organism in organisms]
        return section(found), next((one.portrait for one in found if one.portrait is not None), None)

    of_organisms("nca robust", command, disturbed, robustness)

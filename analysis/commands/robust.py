"""`nca robust`: how much disturbance organisms bear, as a folder with a page, figures and tables."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from analysis.commands.basic import ADMIT, Sources, say, tell
from analysis.commands.population import told
from analysis.robustness.config import RobustConfig

COMMAND = "nca robust"


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
    config: OmitArgPrefixes[RobustConfig] = field(default_factory=RobustConfig)


def robust(command: RobustCommand) -> None:
    """Disturb, write, say where."""
    from analysis.pages import folder as pages
    from analysis.populations import battery
    from analysis.populations.sources import organisms_of, population_of
    from analysis.robustness.battery import robust as disturbed
    from analysis.robustness.section import section

    many = population_of(command.organism)
    if many:
        config, folder = battery.fewer(command.config), command.out or Path(f"{many.name}-robustness")
        part = partial(battery.robustness, config=config)
        told(many, [part], COMMAND, folder, config.to_json(), command.admit)
        return
    organisms, begun = organisms_of(command.organism), time.monotonic()
    folder = command.out or Path(f"{organisms[0].name}-robustness")
    pages.check_place(folder, COMMAND)
    found = [disturbed(organism, command.config, say) for organism in organisms]
    asked = command.config.filled()
    written = pages.write_sections(
        folder,
        organisms,
        [section(found)],
        COMMAND,
        asked.to_json(),
        portrait=next((one.portrait for one in found if one.portrait is not None), None),
        seconds=time.monotonic() - begun,
        data=asked.full,
    )
    tell(str(written))

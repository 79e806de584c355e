"""`nca robust`: how much disturbance organisms bear, as a folder with a page, figures and tables."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from analysis.commands.basic import Source, say, tell
from analysis.commands.regenerate import loaded
from analysis.robustness.config import RobustConfig

COMMAND = "nca robust"


@dataclass(frozen=True)
class RobustCommand:
    """Disturb organisms: noise on states and weights, other fire rates, nearer edges.

    Attributes:
        organism: one or more; they are told in one set of figures.
        out: folder for the page; NAME-robustness if none.
    """

    organism: Positional[tuple[Source, ...]]
    out: Path | None = None
    config: OmitArgPrefixes[RobustConfig] = field(default_factory=RobustConfig)


def robust(command: RobustCommand) -> None:
    """Disturb, write, say where."""
    from analysis.pages import folder as pages
    from analysis.robustness.battery import robust as disturbed
    from analysis.robustness.section import section

    organisms, begun = loaded(command.organism), time.monotonic()
    folder = command.out or Path(f"{organisms[0].name}-robustness")
    pages.check_place(folder, COMMAND)
    found = [disturbed(organism, command.config, say) for organism in organisms]
    config = command.config.filled()
    written = pages.write_sections(
        folder,
        organisms,
        [section(found)],
        COMMAND,
        config.to_json(),
        portrait=next((one.portrait for one in found if one.portrait is not None), None),
        seconds=time.monotonic() - begun,
        data=config.full,
    )
    tell(str(written))

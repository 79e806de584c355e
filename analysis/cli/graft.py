"""`nca graft`: a disc of one organism set into another, beside its sham, as a page, maps and a film."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from analysis.assays.grafts.config import GraftConfig
from analysis.cli.assay import folder_for
from analysis.cli.basic import say, tell
from nca.errors import UserError

COMMAND = "nca graft"
Place = Annotated[str, arg(metavar="Y,X")]


@dataclass(frozen=True)
class Graft:
    """Move a disc of cells from one organism into another, and see what grows.

    Attributes:
        donor: organism whose cells are moved: a bundled one's name, or a file.
        host: organism whose rule runs them; the same one means a twin run with the next key.
        source: middle of the disc in the donor, row and column in cells, such as 36,36.
        to: where its middle goes in the host.
        radius: of the disc, in cells.
        at: step of the graft.
        turn: degrees by which the piece is turned, clockwise as seen.
        until: step at which it is judged.
        runs: runs that are grafted.
        seed: number that all randomness follows from.
        map_runs: runs that isolation and organizer maps are made on; 0 for no maps.
        places: about so many places of the body on a map.
        fragments: radii of the discs left alone for the isolation map, in cells.
        full: 16 runs, 4 of them for maps of some 100 places, wherever a number was left as it is.
        canvas: height and width in cells, instead of the host's own.
        out: folder for the page; HOST-graft if none.
    """

    donor: Positional[Annotated[str, arg(metavar="DONOR")]]
    host: Positional[Annotated[str, arg(metavar="HOST")]]
    source: Annotated[str, arg(name="from", metavar="Y,X")]
    to: Place
    radius: float = GraftConfig.radius
    at: int = GraftConfig.at
    turn: float = GraftConfig.turn
    until: int = GraftConfig.until
    runs: int = GraftConfig.runs
    seed: int = GraftConfig.seed
    map_runs: int = GraftConfig.map_runs
    places: int = GraftConfig.places
    fragments: tuple[float, ...] = GraftConfig.fragments
    full: bool = False
    canvas: tuple[int, int] | None = None
    out: Path | None = None


def graft(command: Graft) -> None:
    """Graft, write, say where."""
    from analysis.assays.grafts.section import section
    from analysis.assays.grafts.transplants import graft as grafted
    from analysis.populations.sources import one_of
    from analysis.report import folder as pages

    config, begun = config_of(command), time.monotonic()
    donor, host = one_of(command.donor, COMMAND), one_of(command.host, COMMAND)
    if command.canvas:
        host = replace(host, canvas=command.canvas)
    folder = folder_for(COMMAND, command.host, command.out)
    pages.check_place(folder, COMMAND)
    found = grafted(donor, host, config, say)
    for warning in found.warnings:
        say(f"warning: {warning}")
    organisms = [host] if donor.hash == host.hash else [donor, host]
    portrait = found.grafts.picture_twin.values[0, 0] if found.grafts else None
    written = pages.write_sections(
        folder,
        organisms,
        [section(found)],
        COMMAND,
        config.filled().to_json(),
        portrait=portrait,
        seconds=time.monotonic() - begun,
        data=config.full,
    )
    tell(str(written))


def config_of(command: Graft) -> GraftConfig:
    """The config that a command asks for."""
    names = set(GraftConfig.__dataclass_fields__) - {"source", "place"}
    same: dict[str, Any] = {name: getattr(command, name) for name in names}
    return GraftConfig(place_of("from", command.source), place_of("to", command.to), **same)


def place_of(name: str, text: str) -> tuple[float, float]:
    """A place such as 36,36."""
    try:
        y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--{name} is a place as row,column, such as 36,36; got {text!r}.") from None
    return y, x

"""`nca grow` of a population: every member side by side, a row for each regime, as one film."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from analysis.cli.basic import say, tell
from analysis.cli.growing import Grow, edits_of, states_of
from nca.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from analysis.populations.members import Member, Population

MOST = 12  # tiles in a row
WIDE, HIGH = 1200, 800  # pixels that the film takes, about
NAMED = 20  # height of a name
GAP = 6


def film(command: Grow, population: Population) -> None:
    """Grow every member under the same key, edits and view; write them as one film."""
    from analysis.animation import animation, captions

    if command.beside or command.edits or command.channels or command.view == "channels" or command.crop:
        raise UserError(
            "A population's film shows every member whole, without --beside, --edits, --channels and --crop; "
            f"name one of its members for these, such as {population.name}/{population.members[0].name}."
        )
    rows = rows_of(population.members)
    columns = max(map(len, rows))
    canvas = max(max(command.canvas or m.organism.canvas) for m in population.members)
    scale = command.scale or max(1, min(WIDE // columns, HIGH // len(rows)) // canvas)
    check_memory(command, population.members, columns * len(rows), canvas * scale)
    tiles = []
    for row in rows:
        made = []
        for member in row:
            say(f"growing {member.name}")
            size = command.canvas or member.organism.canvas
            edits = edits_of(command, member.organism, size)
            states = states_of(replace(command, scale=scale), member.organism, size, edits)
            spec = member.organism.rule.spec
            frames = animation.render(
                states, spec, command.view, scale=scale, counter=False, background=command.background
            )
            made.append(tile(frames, member.name, canvas * scale, command.background))
        tiles.append(made)
    frames = sheet(tiles, columns, command.background)
    frames = frames if command.plain else captions.counted(frames, 0, command.every, command.background)
    say(f"writing {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]} pixels")
    tell(str(animation.film(frames, command.out, command.fps)))


def rows_of(members: Sequence[Member]) -> list[list[Member]]:
    """Members by regime, in rows of at most twelve."""
    regimes = list(dict.fromkeys(m.regime for m in members))
    found = [[m for m in members if m.regime == r] for r in regimes]
    return [row[i : i + MOST] for row in found for i in range(0, len(row), MOST)]


def tile(frames: np.ndarray, name: str, side: int, background: str) -> np.ndarray:
    """Frames in the middle of a square under a name."""
    import numpy as np

    from analysis.animation import captions

    ground = captions.colour(background)
    whole = np.full((len(frames), side + NAMED, side + GAP, 3), ground, np.uint8)
    high, wide = frames.shape[1:3]
    top, left = NAMED + (side - high) // 2, (side - wide) // 2
    whole[:, top : top + high, left : left + wide] = frames
    whole[:, :NAMED] = captions.strip(side + GAP, NAMED, [(side / 2, name)], 12, ground, anchor="mm")
    return whole


def sheet(tiles: Sequence[Sequence[np.ndarray]], columns: int, background: str) -> np.ndarray:
    """Tiles in rows, the last places of short rows left empty."""
    import numpy as np

    from analysis.animation import captions

    empty = np.broadcast_to(np.array(captions.colour(background), np.uint8), tiles[0][0].shape)
    lines = [np.concatenate([*row, *([empty] * (columns - len(row)))], axis=2) for row in tiles]
    return np.concatenate(lines, axis=1)


def check_memory(command: Any, members: Sequence[Member], tiles: int, side: int) -> None:
    """Refuse what would not fit into half of the machine's memory."""
    frames = command.steps // command.every + 1
    states = max(4 * m.organism.rule.spec.channels * m.organism.canvas[0] ** 2 for m in members)
    need = frames * (2 * states + 6 * tiles * (side + NAMED) * (side + GAP))
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > whole / 2:
        raise UserError(
            f"This film would take some {need / 2**30:.0f} GiB of memory; "
            "take fewer steps, a larger --every, or a smaller --scale."
        )

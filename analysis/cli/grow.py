"""`nca grow`: a film of an organism growing, wounded or lesioned, beside its intact twin if asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from analysis.cli import grow_many
from analysis.cli.basic import say, tell
from analysis.cli.growing import Grow, edits_of, parsed, states_of, with_session
from nca.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def grow(command: Grow) -> None:
    """Grow, film, say where the film is."""
    from analysis.animation import animation, captions
    from analysis.animation import files as films
    from analysis.populations.sources import one_of, population_of

    films.checked_place(command.out)
    captions.colour(command.background)
    many = population_of([command.organism])
    if many:
        grow_many.film(command, many)
        return
    organism = one_of(command.organism, "nca grow")
    command, session = with_session(command, organism)
    canvas = command.canvas or organism.canvas
    shown = animation.picked(organism.rule.spec, command.channels) if command.channels else None
    check_memory(command, organism.start(canvas).shape, shown)
    edits = edits_of(command, organism, canvas)
    edits += session.edits
    runs = [states_of(command, organism, canvas, edits, session)]
    if command.beside:
        runs.insert(0, states_of(command, organism, canvas, []))
    frames = frames_of(command, organism.rule.spec, runs, shown)
    say(f"writing {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]} pixels")
    tell(str(animation.film(frames, command.out, command.fps)))


def frames_of(command: Grow, spec: Any, runs: list[np.ndarray], shown: list[int] | None) -> np.ndarray:
    """The frames of one run, or of two side by side with the same colours."""
    from analysis.animation import animation, captions

    if command.crop:
        runs = animation.cropped(runs)
    view = "channels" if shown else command.view
    look: dict[str, Any] = {
        "channels": shown,
        "scale": command.scale,
        "background": command.background,
        "directions": animation.colour_axes(runs[0], spec) if view == "pca" else None,
        "limit": max(animation.largest(s, animation.picked(spec, shown)) for s in runs),
    }
    films = [animation.render(s, spec, view, counter=False, **look) for s in runs]
    if len(films) == 2:
        films = [animation.side_by_side(films[0], films[1], ("intact", name_of(command)), command.background)]
    return films[0] if command.plain else captions.counted(films[0], 0, command.every, command.background)


def name_of(command: Grow) -> str:
    """What was done to the organism, in few words."""
    parts = []
    if command.wound:
        whole = command.wound in ("disc", "box", "centre")
        half = "half" if command.wound == "half" else f"{command.wound} half"
        what = f"{command.wound} cut out" if whole else f"{half} cut off"
        parts.append(f"{what} at step {command.at}")
    for channel, factor in map(parsed, command.lesion):
        parts.append(f"{channel} \N{MULTIPLICATION SIGN} {factor:g}")
    if command.lesion_steps:
        parts[-1] += " in steps {}-{}".format(*command.lesion_steps)
    return ", ".join(parts) or "edited"


def check_memory(command: Grow, shape: tuple[int, ...], shown: list[int] | None) -> None:
    """Refuse what would not fit into half of the machine's memory."""
    high, wide, channels = shape
    frames = command.steps // command.every + 1
    tiles = len(shown) if shown else channels if command.view == "channels" else 1
    scale = command.scale or 1 + 600 // max(high, wide)
    pixels = 3 * max(high * wide * tiles * scale**2, 300_000)
    need = frames * high * wide * channels * 4 * 2 + frames * pixels * 3
    need *= 2 if command.beside else 1
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > whole / 2:
        raise UserError(
            f"This film would take some {need / 2**30:.0f} GiB of memory; "
            "take fewer steps, a larger --every, or a smaller --canvas or --scale."
        )

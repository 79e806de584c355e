"""What `nca grow` is asked for, and the states that this makes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from analysis.cli.basic import Source, say
from nca.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from analysis.viewer.sessions import Session

Wound = Literal["disc", "box", "half", "top", "bottom", "left", "right", "centre"]
CHUNK = 2**28


@dataclass(frozen=True)
class Grow:
    """Grow an organism and film it, or all members of a population side by side.

    Attributes:
        out: the film: .gif, .png (animated), .webp or .mp4.
        steps: steps to grow.
        seed: number that the randomness follows from.
        run: which run of that seed.
        view: body; alive, cells of the body dark and living sites around them light; channels; or
            pca, the first three principal components of the cells' states as red, green and blue.
        channels: channels to show (then the view is channels), by name or number, such as h0 12.
        canvas: height and width in cells, instead of the organism's own.
        crop: show only the part of the canvas where anything ever lives.
        scale: pixels to a cell's side; if none, what makes some 450 pixels.
        every: show every so many-th step.
        fps: frames a second.
        background: colour behind the body.
        plain: leave out the strip that says the step.
        wound: what to cut away once: a disc, a box, a half plane, or one of five cuts: top, bottom,
            left or right half, or the centre (16x16 cells).
        at: step of the wound.
        centre: middle of a disc or box, as y and x in cells; the canvas's middle if none.
        radius: of a disc, in cells.
        size: height and width of a box, in cells.
        angle: direction of a half plane from the middle, in degrees: 0 is right, 90 is down.
        offset: of a half plane from the middle in that direction, in cells.
        lesion: channels to multiply in every step, such as h3=0.9; 0 removes a channel.
        lesion_steps: first step of the lesions, and the step before which they end; always if none.
        edits: JSON file with a list of further edits, or a session saved by `nca view`, whose seed, run
            and canvas are taken too.
        beside: show the intact twin, of the same key, at the left.
    """

    organism: Positional[Source]
    out: Path
    steps: int = 200
    seed: int = 0
    run: int = 0
    view: Literal["body", "alive", "channels", "pca"] = "body"
    channels: tuple[str, ...] = ()
    canvas: tuple[int, int] | None = None
    crop: bool = False
    scale: int | None = None
    every: int = 1
    fps: float = 20
    background: str = "white"
    plain: bool = False
    wound: Wound | None = None
    at: int = 100
    centre: tuple[float, float] | None = None
    radius: float = 10
    size: tuple[int, int] = (16, 16)
    angle: float = 0
    offset: float = 0
    lesion: tuple[str, ...] = ()
    lesion_steps: tuple[int, int] | None = None
    edits: Path | None = None
    beside: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, 10**7),
            ("every", 1, self.steps),
            ("run", 0, 2**31 - 1),
            ("seed", 0, 2**31 - 1),
            ("at", 0, self.steps if self.wound else 10**7),
            ("fps", 1, 60),
            ("scale", 1, 64),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"{name} must be from {low} to {high}, got {value}.")
        numbers = (*(self.centre or ()), self.radius, self.angle, self.offset)
        if not all(map(math.isfinite, numbers)):
            raise UserError("centre, radius, angle and offset must be finite numbers.")
        if self.lesion_steps and not self.lesion:
            raise UserError("lesion_steps need a lesion, such as --lesion h3=0.9.")
        if self.beside and not (self.wound or self.lesion or self.edits):
            raise UserError("A twin is shown beside a wound, a lesion or edits; give one of them.")


def with_session(command: Grow, organism: Any) -> tuple[Grow, Session]:
    """The session that the command names, or an empty one, and the command with that session's run."""
    from analysis.viewer import sessions

    canvas = command.canvas or organism.canvas
    found = sessions.read(command.edits, organism) if command.edits else []
    if isinstance(found, list):
        return command, sessions.Session(command.seed, command.run, canvas, 0, (), tuple(found))
    for name, usual in (("seed", 0), ("run", 0), ("canvas", None)):
        asked, its = getattr(command, name), getattr(found, name)
        if asked not in (usual, its):
            raise UserError(f"The session has {name} {its}; leave out --{name}.")
    return replace(command, seed=found.seed, run=found.run, canvas=found.canvas), found


def states_of(
    command: Grow,
    organism: Any,
    canvas: tuple[int, int],
    edits: Sequence[Any],
    session: Session | None = None,
) -> np.ndarray:
    """Every so many-th state of the run, (time, y, x, channel); tells its progress."""
    import numpy as np

    import nca

    size = 4 * organism.rule.spec.channels * canvas[0] * canvas[1]
    pieces = math.ceil(command.steps * size / CHUNK)
    length = math.ceil(command.steps / pieces / 8) * 8
    key, state, parts = nca.run_key(command.seed, command.run), None, []
    begun = told = time.monotonic()
    turns = [step for step, _ in session.compass] if session else []
    firsts = sorted({*range(0, command.steps, length), *(t for t in turns if t < command.steps)})
    for t, following in pairwise([*firsts, command.steps]):
        n = following - t
        place: dict[str, Any] = {"canvas": canvas} if state is None else {"state": state}
        grown = session.turned(organism, t) if session else organism
        states = np.asarray(nca.trajectory(grown, n, key=key, start=t, edits=edits, **place))
        end = t + n == command.steps
        parts.append(states[-t % command.every : n + end : command.every].copy())
        state, now = states[-1], time.monotonic()
        if now - told > 2 and not end:
            told, left = now, (now - begun) / (t + n) * (command.steps - t - n)
            say(f"step {t + n}/{command.steps}  {time.strftime('%H:%M:%S', time.gmtime(left))} left")
    return np.concatenate(parts)


def edits_of(command: Grow, organism: Any, canvas: tuple[int, int]) -> list[Any]:
    """The edits that a command asks for."""
    from nca import edits

    found = []
    if command.wound:
        mask = wound_of(command, canvas)
        if not mask.any():
            high, wide = canvas
            raise UserError(f"The wound takes no cell of the {high}x{wide} canvas; move or enlarge it.")
        found.append(edits.erase(organism).where(mask).at(command.at))
    for lesion in command.lesion:
        channel, factor = parsed(lesion)
        edit = edits.scale(organism, factor, channels=channel)
        found.append(edit.at(slice(*command.lesion_steps)) if command.lesion_steps else edit)
    return found


def parsed(lesion: str) -> tuple[str, float]:
    """Channel and factor of a lesion such as h3=0.9."""
    channel, _, factor = lesion.partition("=")
    try:
        return channel, float(factor)
    except ValueError:
        raise UserError(f"A lesion is CHANNEL=FACTOR, such as h3=0.9; got {lesion!r}.") from None


def wound_of(command: Grow, canvas: tuple[int, int]) -> np.ndarray:
    """The cells that a wound takes, (y, x)."""
    from nca import damage

    y, x = command.centre or (canvas[0] // 2, canvas[1] // 2)
    if command.wound == "disc":
        return damage.disc(canvas, (y, x), command.radius)
    if command.wound == "box":
        high, wide = command.size
        return damage.box(canvas, (round(y - high / 2), round(x - wide / 2)), command.size)
    if command.wound == "half":
        return damage.half_plane(canvas, math.radians(command.angle), command.offset)
    return damage.cut(canvas, str(command.wound))

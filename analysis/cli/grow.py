"""`nca grow`: a film of an organism growing, wounded or lesioned, next to its control if asked; or of a population."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from analysis.cli.output import Source, check_outputs, log_line, print_result
from nca.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from analysis.populations.population import Member, Population
    from analysis.viewer.sessions import Session
    from nca.edits.edit import Edit
    from nca.organism import Organism
    from nca.spec import Spec

Wound = Literal["disc", "box", "half", "top", "bottom", "left", "right", "centre"]
CHUNK_BYTES = 2**28  # of states computed at once
MAX_COLUMNS = 12  # members in a row of a population's film
FILM_WIDTH, FILM_HEIGHT = 1200, 800  # pixels of a population's film, about
RENAMED_OPTIONS = {"--at": "--wound-step", "--beside": "--with-control", "--plain": "--no-caption"}


@dataclass(frozen=True)
class Grow:
    """Grow an organism and film it, or all members of a population side by side.

    Attributes:
        out: the film: .gif, .png (animated), .webp or .mp4.
        steps: number of steps to grow.
        start: picture that growth starts from, instead of the organism's seed: a drawing's name, a picture file with a
            transparent background, or an emoji; scaled to the size of the organism's target.
        seed: seed of all random numbers.
        run: number of the run with this seed, from 0; each run has its own random numbers.
        view: what the film shows: the body; alive, cells of the body dark and living sites around them light; channels;
            or pca, the first three principal components of the cells' states as red, green and blue.
        channels: channels to show, by name or number, such as h0 12; sets the view to channels.
        canvas: height and width in cells, instead of the organism's own.
        crop: show only the part of the canvas where something lives at some step.
        scale: pixels on a cell's side; by default as many as make the film about 450 pixels wide.
        every: steps between two frames.
        fps: frames per second.
        background: colour behind the body.
        no_caption: leave out the strip below the film that says which step it shows.
        wound: what to cut away once: a disc, a box, a half plane, or one of five cuts: top, bottom,
            left or right half, or the centre (16x16 cells).
        wound_step: step at which the wound is made.
        centre: middle of a disc or box, as y and x in cells; the canvas's middle if none.
        radius: radius of a disc, in cells.
        size: height and width of a box, in cells.
        angle: direction in which a half plane is cut away, in degrees: 0 is right, 90 is down.
        offset: distance of the cut from the canvas's middle in that direction, in cells.
        lesion: channels to multiply in every step, such as h3=0.9; 0 removes a channel.
        lesion_steps: first step of the lesions, and the step before which they end; all steps by default.
        edits: JSON file with a list of further edits; or a session saved by `nca view`, which also sets the seed, the
            run and the canvas.
        with_control: show the control at the left: the same run without the intervention.
        force: overwrite a file that exists.
    """

    organism: Positional[Source]
    out: Path
    steps: int = 200
    start: str | None = None
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
    no_caption: bool = False
    wound: Wound | None = None
    wound_step: int = 100
    centre: tuple[float, float] | None = None
    radius: float = 10
    size: tuple[int, int] = (16, 16)
    angle: float = 0
    offset: float = 0
    lesion: tuple[str, ...] = ()
    lesion_steps: tuple[int, int] | None = None
    edits: Path | None = None
    with_control: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, 10**7),
            ("every", 1, self.steps),
            ("run", 0, 2**31 - 1),
            ("seed", 0, 2**31 - 1),
            ("wound_step", 0, self.steps if self.wound else 10**7),
            ("fps", 1, 60),
            ("scale", 1, 64),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"{name} must be from {low} to {high}, got {value}.")
        if not all(map(math.isfinite, (*(self.centre or ()), self.radius, self.angle, self.offset))):
            raise UserError("centre, radius, angle and offset must be finite numbers.")
        if self.lesion_steps and not self.lesion:
            raise UserError("lesion_steps need a lesion, such as --lesion h3=0.9.")
        if self.with_control and not (self.wound or self.lesion or self.edits):
            raise UserError("A control is shown next to a wound, a lesion or edits; give one of them.")

    def execute(self) -> None:
        """Grow, write the film, print where it is."""
        from analysis.animation.encode import check_film_path, save_film
        from analysis.animation.render import parse_colour
        from analysis.populations.population import find_organism, find_population
        from nca.edits import index_of

        check_film_path(self.out)
        check_outputs(self.force, self.out)
        parse_colour(self.background)
        population = find_population([self.organism])
        if population:
            frames = _population_frames(self, population)
        else:
            organism = find_organism(self.organism, "nca grow")
            for channel in self.channels:
                index_of("channel", channel, organism.rule.channel_names)
            command, session = _with_session(self, organism)
            canvas = command.canvas or organism.canvas
            _check_memory(command, organism, canvas)
            edits = [*_edits(command, organism, canvas), *session.edits]
            runs = [_grow_states(command, organism, canvas, edits, session)]
            if self.with_control:
                runs.insert(0, _grow_states(command, organism, canvas, []))
            frames = _frames(command, organism.rule.spec, runs)
        size, seconds = f"{frames.shape[2]}x{frames.shape[1]}", len(frames) / self.fps
        log_line(f"writing {len(frames)} pictures of {size} pixels, {seconds:.1f} s; equal ones are stored once")
        print_result(str(save_film(frames, self.out, self.fps)))


# What is grown


def _with_session(command: Grow, organism: Organism) -> tuple[Grow, Session]:
    """The session that the command names, or an empty one, and the command with that session's run."""
    from analysis.viewer.sessions import Session, read_session

    canvas = command.canvas or organism.canvas
    session = read_session(command.edits, organism) if command.edits else []
    if isinstance(session, list):
        return command, Session(command.seed, command.run, canvas, 0, (), tuple(session))
    for name, default in (("seed", 0), ("run", 0), ("canvas", None)):
        if getattr(command, name) not in (default, getattr(session, name)):
            raise UserError(f"The session has {name} {getattr(session, name)}; leave out --{name}.")
    return replace(command, seed=session.seed, run=session.run, canvas=session.canvas), session


def _with_start(command: Grow, organism: Organism) -> Organism:
    """The organism with the picture that the command names as its seed."""
    from nca.organism import picture_seed
    from nca.targets import target

    if command.start is None:
        return organism
    size = min(40, *organism.canvas) if organism.target is None else max(organism.target.shape[:2])
    return replace(organism, seed=picture_seed(organism.rule.spec, target(command.start, size)))


def _grow_states(
    command: Grow, organism: Organism, canvas: tuple[int, int], edits: Sequence[Edit], session: Session | None = None
) -> np.ndarray:
    """Every so many-th state of the run, (time, y, x, channel); logs its progress."""
    import numpy as np

    import nca
    from nca.progress import Progress

    organism = _with_start(command, organism)
    bytes_per_state = 4 * organism.rule.spec.channels * canvas[0] * canvas[1]
    chunks = math.ceil(command.steps * bytes_per_state / CHUNK_BYTES)
    length = math.ceil(command.steps / chunks / 8) * 8
    rotations = [step for step, _ in session.compass if step < command.steps] if session else []
    key, state, states = nca.run_key(command.seed, command.run), None, []
    progress = Progress(log_line, pause=2.0)
    progress.start(f"growing {organism.name}", command.steps)
    for start, end in pairwise([*sorted({*range(0, command.steps, length), *rotations}), command.steps]):
        begin: dict[str, Any] = {"canvas": canvas} if state is None else {"state": state}
        rotated = session.rotate(organism, start) if session else organism
        chunk = np.asarray(nca.trajectory(rotated, end - start, key=key, start=start, edits=edits, **begin))
        with_last = end == command.steps
        states.append(chunk[-start % command.every : end - start + with_last : command.every].copy())
        state = chunk[-1]
        progress.tick(end - start)
    return np.concatenate(states)


def _edits(command: Grow, organism: Organism, canvas: tuple[int, int]) -> list[Edit]:
    """The wound and the lesions that a command asks for."""
    from nca import edits

    requested = []
    if command.wound:
        mask = _wound_mask(command, canvas)
        if not mask.any():
            raise UserError(f"The wound takes no cell of the {canvas[0]}x{canvas[1]} canvas; move or enlarge it.")
        requested.append(edits.erase(organism).where(mask).at(command.wound_step))
    for lesion in command.lesion:
        channel, factor = _channel_factor(lesion)
        edit = edits.scale(organism, factor, channels=channel)
        requested.append(edit.at(slice(*command.lesion_steps)) if command.lesion_steps else edit)
    return requested


def _channel_factor(lesion: str) -> tuple[str, float]:
    """Channel and factor of a lesion such as h3=0.9."""
    channel, _, factor = lesion.partition("=")
    try:
        return channel, float(factor)
    except ValueError:
        raise UserError(f"A lesion is CHANNEL=FACTOR, such as h3=0.9; got {lesion!r}.") from None


def _wound_mask(command: Grow, canvas: tuple[int, int]) -> np.ndarray:
    """The cells that a wound takes, (y, x)."""
    from nca import damage

    y, x = command.centre or (canvas[0] // 2, canvas[1] // 2)
    if command.wound == "disc":
        return damage.disc(canvas, (y, x), command.radius)
    if command.wound == "box":
        height, width = command.size
        return damage.box(canvas, (round(y - height / 2), round(x - width / 2)), command.size)
    if command.wound == "half":
        return damage.half_plane(canvas, command.angle, command.offset)
    return damage.cut(canvas, str(command.wound))


# What is shown


def _frames(command: Grow, spec: Spec, runs: list[np.ndarray]) -> np.ndarray:
    """The frames of one run, or of two side by side with the same colours."""
    from analysis.animation import render

    if command.crop:
        runs = render.crop_runs(runs)
    channels = command.channels or None
    view = "channels" if channels else command.view
    axes = render.colour_axes(runs[0], spec) if view == "pca" else None
    limit = max(render.channel_limit(states, spec, channels) for states in runs)
    options: dict[str, Any] = {"channels": channels, "scale": command.scale, "axes": axes, "limit": limit}
    options |= {"background": command.background, "counter": False}
    frames, *edited = [render.render(states, spec, view, **options) for states in runs]
    if edited:
        frames = render.side_by_side(frames, edited[0], ("control", _intervention_label(command)), command.background)
    return frames if command.no_caption else render.add_step_counter(frames, 0, command.every, command.background)


def _intervention_label(command: Grow) -> str:
    """What was done to the organism, in a few words."""
    labels = []
    if command.wound:
        is_hole = command.wound in ("disc", "box", "centre")
        half = "half" if command.wound == "half" else f"{command.wound} half"
        wound = f"{command.wound} cut out" if is_hole else f"{half} cut off"
        labels.append(f"{wound} at step {command.wound_step}")
    labels += [
        f"{channel} \N{MULTIPLICATION SIGN} {factor:g}" for channel, factor in map(_channel_factor, command.lesion)
    ]
    if command.lesion_steps:
        labels[-1] += " in steps {}-{}".format(*command.lesion_steps)
    return ", ".join(labels) or "edited"


def _population_frames(command: Grow, population: Population) -> np.ndarray:
    """Every member under the same key, edits and view, a row of tiles for each regime."""
    from analysis.animation import render

    members = population.members
    if command.with_control or command.edits or command.channels or command.view == "channels" or command.crop:
        raise UserError(
            "A population's film shows every member whole, without --with-control, --edits, --channels and --crop; "
            f"name one of its members for these, such as {population.name}/{members[0].name}."
        )
    rows = _rows(members)
    columns = max(map(len, rows))
    canvas = max(max(command.canvas or m.organism.canvas) for m in members)
    scale = command.scale or max(1, min(FILM_WIDTH // columns, FILM_HEIGHT // len(rows)) // canvas)
    _check_population_memory(command, members, columns * len(rows), canvas * scale)
    options: dict[str, Any] = {"scale": scale, "counter": False, "background": command.background}

    def _film(member: Member) -> tuple[str, np.ndarray]:
        organism, size = member.organism, command.canvas or member.organism.canvas
        states = _grow_states(command, organism, size, _edits(command, organism, size))
        return member.name, render.render(states, organism.rule.spec, command.view, **options)

    sheet = render.film_sheet([[_film(member) for member in row] for row in rows], canvas * scale, command.background)
    return sheet if command.no_caption else render.add_step_counter(sheet, 0, command.every, command.background)


def _rows(members: Sequence[Member]) -> list[list[Member]]:
    """Members by regime, in rows of at most twelve."""
    regimes = dict.fromkeys(m.regime for m in members)
    groups = [[m for m in members if m.regime == regime] for regime in regimes]
    return [group[i : i + MAX_COLUMNS] for group in groups for i in range(0, len(group), MAX_COLUMNS)]


# Memory


def _check_memory(command: Grow, organism: Organism, canvas: tuple[int, int]) -> None:
    (height, width), channels = canvas, organism.rule.spec.channels
    frames = command.steps // command.every + 1
    tiles = len(command.channels) or (channels if command.view == "channels" else 1)
    scale = command.scale or 1 + 600 // max(height, width)
    pixels = 3 * max(height * width * tiles * scale**2, 300_000)
    needed = frames * height * width * channels * 4 * 2 + frames * pixels * 3
    _refuse_beyond_memory(needed * (2 if command.with_control else 1))


def _check_population_memory(command: Grow, members: Sequence[Member], tiles: int, side: int) -> None:
    frames = command.steps // command.every + 1
    state_bytes = max(4 * m.organism.rule.spec.channels * m.organism.canvas[0] ** 2 for m in members)
    _refuse_beyond_memory(frames * (2 * state_bytes + 6 * tiles * (side + 20) * (side + 6)))


def _refuse_beyond_memory(needed: float) -> None:
    """Raise `UserError` where a film would not fit into half of the machine's memory."""
    if needed > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2:
        raise UserError(
            f"This film would take some {needed / 2**30:.0f} GiB of memory; "
            "take fewer steps, a larger --every, or a smaller --canvas or --scale."
        )

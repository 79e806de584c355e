"""Films of growth: states become frames of coloured cells, with captions.

    states = nca.trajectory(organism, 200, key=nca.run_key(0))
    frames = render(states, organism.rule.spec)
    save_film(frames, "growth.gif")          # of analysis.animation.encode

A cell is a square of one colour: nothing is smoothed. Frames are bytes (frame, y, x, 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from nca.edits import index_of
from nca.errors import UserError
from nca.rule import to_rgba
from nca.spec import Spec, channel_names

VIEWS = ("body", "alive", "channels", "pca")
MATURE, LIVING = (0x2F, 0x5D, 0x8A), (0xC4, 0xD8, 0xEA)
FILM_SIDE, SHEET_SIDE = 450, 600  # pixels of the longer side, where no scale is given
MIN_WIDTH = 112  # pixels that a caption needs
GAP = 12
TILE_GAP, LABEL_WIDTH = 8, 64

States = Float[np.ndarray, "time y x channel"]
Frames = UInt8[np.ndarray, "frame y x 3"]
Strip = UInt8[np.ndarray, "y x 3"]
Colour = tuple[int, int, int]


ColourAxes = tuple[Float[np.ndarray, " channel"], Float[np.ndarray, "3 channel"]]  # middle, and directions from it


# States to frames


def render(
    states: States,
    spec: Spec,
    view: str = "body",
    *,
    channels: Iterable[str | int] | None = None,
    scale: int | None = None,
    counter: bool = True,
    first_step: int = 0,
    every: int = 1,
    axes: ColourAxes | None = None,
    limit: float | None = None,
    background: str = "white",
) -> Frames:
    """The frames of a film.

    Args:
        states: one state per step, (time, y, x, channel).
        spec: the rule's conventions.
        view: "body", the picture; "alive", cells of the body dark and living sites around it light;
            "channels", a sheet of channels on one diverging scale, white at zero; "pca", the first
            three principal components of the body's cells as red, green and blue.
        channels: names or numbers for the "channels" view; all of them if none.
        scale: pixels to a cell's side; if none, the longer side becomes some 450 pixels.
        counter: write the step under the picture.
        first_step: the number of the first state.
        every: show every so many-th state.
        axes: of the "pca" view: the middle of the colour space, and three directions, which map the usual range of
            scores to -1..1; if none, those of the last tenth of `states` (`colour_axes`).
        limit: the value at the ends of the "channels" scale; if none, what `channel_limit` gives.
        background: colour behind the body.

    Raises:
        UserError: an unknown view, channel or colour, or numbers out of range.
    """
    states = np.asarray(states)
    if states.ndim != 4 or 0 in states.shape:
        raise UserError(f"A film needs states (time, y, x, channel), got {states.shape}.")
    if view not in VIEWS:
        raise UserError(f"A view is one of {', '.join(VIEWS)}; got {view!r}.")
    if scale is not None and not 1 <= scale <= 64:
        raise UserError(f"scale must be from 1 to 64 pixels a cell, got {scale}.")
    if every < 1:
        raise UserError(f"every must be at least 1, got {every}.")
    states, ground = _bounded(states[::every]), parse_colour(background)
    if view == "channels":
        numbers = _channel_numbers(spec, channels)
        limit = channel_limit(states, spec, numbers) if limit is None else limit
        frames = _channel_sheet(states, spec, numbers, scale, limit, ground)
    else:
        cells = _cell_colours(states, spec, view, axes, ground)
        frames = _enlarge(cells, scale or max(1, round(FILM_SIDE / max(states.shape[1:3]))))
    return add_step_counter(frames, first_step, every, background) if counter else frames


def channel_limit(states: States, spec: Spec, channels: Iterable[str | int] | None = None) -> float:
    """An end for the scale of channels: 99 % of the magnitudes above 0.01 are below it."""
    sizes = np.abs(_bounded(states[..., _channel_numbers(spec, channels)]))
    sizes = sizes[sizes > 0.01]
    return float(np.quantile(sizes, 0.99)) if sizes.size else 1.0


def colour_axes(states: States, spec: Spec) -> ColourAxes:
    """Colours of the "pca" view: principal components of the cells mature in the last tenth of `states`.

    Signs make each direction's largest entry positive. A body without two cells has no directions,
    and shows in grey.
    """
    late = _bounded(np.asarray(states)[-max(1, len(states) // 10) :])
    cells = late[_mature(late, spec)].astype(np.float64)
    mean = cells.mean(axis=0) if len(cells) else np.zeros(spec.channels)
    directions = np.zeros((3, spec.channels))
    if len(cells) > 1:
        vectors = np.linalg.eigh(np.cov(cells.T))[1].T[::-1][:3]
        vectors = vectors * np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(1, keepdims=True), 1))
        spread = np.quantile(np.abs((cells - mean) @ vectors.T), 0.98, axis=0)
        directions[: len(vectors)] = vectors / np.maximum(spread, 1e-9)[:, None]
    return mean, directions


def crop_runs(runs: Sequence[States]) -> list[States]:
    """Runs of one canvas, each without the rows and columns where none of them is ever alive."""
    alive = np.logical_or.reduce([(np.abs(states) > 0).any(axis=(0, 3)) for states in runs])
    spans = []
    for axis in (0, 1):
        where = np.flatnonzero(alive.any(axis=1 - axis))
        spans.append(slice(max(0, where[0] - 2), where[-1] + 3) if where.size else slice(None))
    return [states[:, spans[0], spans[1]] for states in runs]


def _channel_numbers(spec: Spec, channels: Iterable[str | int] | None) -> list[int]:
    """Numbers of the channels given by name or number; all of them for None."""
    names = channel_names(spec)
    return list(range(len(names))) if channels is None else [index_of("channel", c, names) for c in channels]


def _bounded(states: States) -> States:
    """The states with exploded values held within bounds that arithmetic can bear."""
    return np.nan_to_num(states).clip(-1e6, 1e6)


def _mature(states: States, spec: Spec) -> Bool[np.ndarray, "time y x"]:
    alpha = states[..., spec.alpha]
    return alpha >= spec.threshold if spec.inclusive else alpha > spec.threshold


def _enlarge(cells: Frames, scale: int) -> Frames:
    return cells.repeat(scale, axis=1).repeat(scale, axis=2)


def _cell_colours(states: States, spec: Spec, view: str, axes: ColourAxes | None, ground: Colour) -> Frames:
    """One colour per cell."""
    back = np.array(ground) / 255
    if view == "body":
        rgba = np.asarray(to_rgba(spec, jnp.asarray(states)))
        return _to_bytes(rgba[..., :3] + (1 - rgba[..., 3:]) * back)
    body = _mature(states, spec)
    if view == "alive":
        height, width = body.shape[1:]
        mode = "wrap" if spec.alive_boundary == "circular" else "constant"
        padded = np.pad(body, ((0, 0), (1, 1), (1, 1)), mode=mode)  # type: ignore[call-overload]
        living = np.logical_or.reduce([padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)])
        colours = np.where(living[..., None], np.array(LIVING, np.uint8), np.array(ground, np.uint8))
        return np.where(body[..., None], np.array(MATURE, np.uint8), colours)
    mean, directions = axes or colour_axes(states, spec)
    scores = np.einsum("tyxc,pc->tyxp", states - mean, directions)
    return _to_bytes(np.where(body[..., None], 0.5 + 0.42 * np.clip(scores, -1, 1), back))


def _to_bytes(colours: Float[np.ndarray, "*any 3"]) -> UInt8[np.ndarray, "*any 3"]:
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)


def _channel_sheet(
    states: States, spec: Spec, numbers: Sequence[int], scale: int | None, limit: float, ground: Colour
) -> Frames:
    """Channels as labelled tiles under a legend of their scale."""
    from matplotlib import colormaps

    table = _to_bytes(colormaps["RdBu_r"](np.linspace(0, 1, 255))[:, :3])
    columns = len(numbers) if len(numbers) <= 3 else int(np.ceil(np.sqrt(len(numbers))))
    scale = scale or max(1, round(SHEET_SIDE / columns / max(states.shape[1:3])))
    levels = states[..., list(numbers)] / max(limit, 1e-9)
    shades = table[(127 + 127 * levels.clip(-1, 1)).round().astype(np.uint8)]
    names = channel_names(spec)
    tiles = []
    for i, number in enumerate(numbers):
        frames = _enlarge(shades[..., i, :], scale)
        height, width = frames.shape[1:3]
        tile_width = max(width, LABEL_WIDTH)
        tile = np.full((len(frames), height + 20 + TILE_GAP, tile_width + 2 * TILE_GAP, 3), ground, np.uint8)
        label = f"{names[number]} ({number})"
        tile[:, :20, TILE_GAP:-TILE_GAP] = _text_strip(tile_width, 20, [(0, label)], 13, ground)
        tile[:, 20:-TILE_GAP, TILE_GAP : TILE_GAP + width] = frames
        tiles.append(tile)
    sheet = _widen(_tile_grid(tiles, columns, ground), MIN_WIDTH, ground)
    return _stack(_legend(sheet.shape[2], table, limit, ground), sheet)


# Captions and layout


def parse_colour(name: str) -> Colour:
    """Red, green and blue of a colour such as "white" or "#101418".

    Raises:
        UserError: there is no such colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise UserError(f"A background is a colour such as 'white' or '#101418', got {name!r}.") from error
    return red, green, blue


def _text_strip(
    width: int, height: int, texts: Sequence[tuple[float, str]], size: int, ground: Colour, anchor: str = "lm"
) -> Strip:
    """A strip with texts, each beginning (or as `anchor` says) at its x; grey that reads well on the ground."""
    image = Image.new("RGB", (width, height), ground)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    ink = (70, 70, 70) if sum(ground) > 384 else (210, 210, 210)
    for x, text in texts:
        draw.text((x, height / 2), text, fill=ink, font=font, anchor=anchor)
    return np.asarray(image)


def add_step_counter(frames: Frames, first_step: int = 0, every: int = 1, background: str = "white") -> Frames:
    """The frames with a strip below that gives the step, which rises by `every` from one frame to the next."""
    ground = parse_colour(background)
    frames = _widen(frames, MIN_WIDTH, ground)
    steps = [first_step + i * every for i in range(len(frames))]
    strips = [_text_strip(frames.shape[2], 28, [(8, f"step {n}")], 15, ground) for n in steps]
    return np.concatenate([frames, np.stack(strips)], axis=1)


def side_by_side(left: Frames, right: Frames, labels: tuple[str, str], background: str = "white") -> Frames:
    """Two films of one length and size as one, each under its label.

    Raises:
        UserError: their lengths or sizes differ.
    """
    if left.shape != right.shape:
        raise UserError(f"Films side by side need one shape, got {left.shape} and {right.shape}.")
    ground = parse_colour(background)
    left, right = (_widen(frames, MIN_WIDTH, ground) for frames in (left, right))
    gap = np.full((*left.shape[:2], GAP, 3), ground, np.uint8)
    width = left.shape[2]
    texts = [(width / 2, labels[0]), (width * 1.5 + GAP, labels[1])]
    title = _text_strip(2 * width + GAP, 32, texts, 17, ground, anchor="mm")
    return _stack(title, np.concatenate([left, gap, right], axis=2))


def film_sheet(rows: Sequence[Sequence[tuple[str, Frames]]], side: int, background: str = "white") -> Frames:
    """Named films in rows, each in the middle of a square of `side` pixels under its name."""
    ground, columns, gap = parse_colour(background), max(map(len, rows)), GAP // 2
    tiles: list[Frames] = []
    for row in rows:
        for name, frames in row:
            tile = np.full((len(frames), side + 20, side + gap, 3), ground, np.uint8)
            height, width = frames.shape[1:3]
            top, left = 20 + (side - height) // 2, (side - width) // 2
            tile[:, top : top + height, left : left + width] = frames
            tile[:, :20] = _text_strip(side + gap, 20, [(side / 2, name)], 12, ground, anchor="mm")
            tiles.append(tile)
        tiles += [np.full_like(tiles[-1], ground)] * (columns - len(row))
    return _tile_grid(tiles, columns, ground)


def _tile_grid(tiles: Sequence[Frames], columns: int, ground: Colour) -> Frames:
    """Films of one shape in rows of `columns`, the last row filled up with the ground."""
    tiles = [*tiles, *([np.full_like(tiles[0], ground)] * (-len(tiles) % columns))]
    rows = [np.concatenate(tiles[i : i + columns], axis=2) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=1)


def picture_sheet(pictures: Mapping[str, np.ndarray], side: int = 160) -> Image.Image:
    """Pictures, premultiplied RGBA (y, x, 4) of one size, on white, each over its name."""
    white, tiles = (255, 255, 255), []
    for name, picture in pictures.items():
        cells = ((1 - picture[..., 3:] + picture[..., :3]).clip(0, 1) * 255).round().astype(np.uint8)
        large = _enlarge(cells[None], max(1, side // max(cells.shape[:2])))[0]
        width = large.shape[1]
        label = _text_strip(width, 28, [(width / 2, name)], 15, white, anchor="mm")
        tile = np.pad(np.concatenate([large, label]), ((GAP, 0), (GAP, GAP), (0, 0)), constant_values=255)
        tiles.append(tile[None])
    columns = -(-len(tiles) // -(-len(tiles) // 5))
    return Image.fromarray(_tile_grid(tiles, columns, white)[0])


def _stack(strip: Strip, frames: Frames) -> Frames:
    """One strip above every frame."""
    return np.concatenate([np.broadcast_to(strip, (len(frames), *strip.shape)), frames], axis=1)


def _widen(frames: Frames, width: int, ground: Colour) -> Frames:
    """The frames in the middle of at least `width` pixels."""
    left = max(0, width - frames.shape[2]) // 2
    wide = np.full((*frames.shape[:2], max(width, frames.shape[2]), 3), ground, np.uint8)
    wide[:, :, left : left + frames.shape[2]] = frames
    return wide


def _legend(width: int, colours: UInt8[np.ndarray, "n 3"], limit: float, ground: Colour) -> Strip:
    """A strip with a bar of colours from -limit to limit, on the right."""
    height, length = 10, min(120, width - 96)
    positions = np.linspace(0, len(colours) - 1, length).round().astype(int)
    bar = np.broadcast_to(colours[positions], (height, length, 3))
    left = width - length - 44
    strip: Any = _text_strip(width, 26, [(width - 38, f"{limit:.2g}")], 13, ground)
    combine = np.minimum if sum(ground) > 384 else np.maximum
    strip = combine(strip, _text_strip(width, 26, [(left - 6, f"-{limit:.2g}")], 13, ground, anchor="rm")).copy()
    strip[8 : 8 + height, left : left + length] = bar
    return strip

"""Films of growth: states become pictures, pictures become a file that loops.

    states = nca.trajectory(organism, 200, key=nca.run_key(0))
    frames = render(states, organism.rule.spec)
    film(frames, "growth.gif")

A cell is a square of one colour: nothing is smoothed. A film is an array of bytes (frame, y, x, 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

from analysis.animation.captions import (
    NARROWEST,
    Colour,
    Frames,
    colour,
    counted,
    legend,
    over,
    side_by_side,
    strip,
    widened,
)
from analysis.animation.files import film
from nca.edits import index_of
from nca.errors import UserError
from nca.rule import visible
from nca.spec import Spec, channel_names

__all__ = [
    "VIEWS",
    "ColourAxes",
    "colour_axes",
    "counted",
    "cropped",
    "film",
    "largest",
    "picked",
    "render",
    "side_by_side",
]

VIEWS = ("body", "alive", "channels", "pca")
LONGER = 450
SHEET = 600
GAP, LABEL = 8, 64
MATURE, ALIVE = (0x2F, 0x5D, 0x8A), (0xC4, 0xD8, 0xEA)
States = Float[np.ndarray, "time y x channel"]


@dataclass(frozen=True, eq=False)
class ColourAxes:
    """What the "pca" view shows as red, green and blue.

    Attributes:
        mean: the middle of the colour space, (channel,).
        directions: (3, channel), of a length that maps the usual range of scores to -1..1.
    """

    mean: Float[np.ndarray, " channel"]
    directions: Float[np.ndarray, "3 channel"]


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
    directions: ColourAxes | None = None,
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
        directions: colours of the "pca" view; if none, those of the last tenth of `states`.
        limit: the value at the ends of the "channels" scale; if none, what `largest` says.
        background: colour behind the body.

    Raises:
        UserError: an unknown view, channel or colour, or numbers out of range.
    """
    states = finite(_checked(states, view, scale, every)[::every])
    ground = colour(background)
    if view == "channels":
        numbers = picked(spec, channels)
        end = largest(states, numbers) if limit is None else limit
        frames = _sheet(states, spec, numbers, scale, end, ground)
    else:
        cells = _cells(states, spec, view, directions, ground)
        frames = enlarged(cells, scale or max(1, round(LONGER / max(states.shape[1:3]))))
    return counted(frames, first_step, every, background) if counter else frames


def picked(spec: Spec, channels: Iterable[str | int] | None) -> list[int]:
    """Numbers of the channels given by name or number; all of them for None."""
    names = channel_names(spec)
    return list(range(len(names))) if channels is None else [index_of("channel", c, names) for c in channels]


def largest(states: States, numbers: Sequence[int]) -> float:
    """An end for the scale of channels: of the sizes above 0.01, all but one in a hundred are below."""
    sizes = np.abs(finite(states[..., list(numbers)]))
    living = sizes[sizes > 0.01]
    return float(np.quantile(living, 0.99)) if living.size else 1.0


def colour_axes(states: States, spec: Spec) -> ColourAxes:
    """Directions of the "pca" view: components of the cells mature in the last tenth of `states`.

    Signs make each direction's largest entry positive. A body without two cells has no directions,
    and shows in grey.
    """
    late = finite(np.asarray(states)[-max(1, len(states) // 10) :])
    cells = late[mature(late, spec)].astype(np.float64)
    mean = cells.mean(axis=0) if len(cells) else np.zeros(spec.channels)
    directions = np.zeros((3, spec.channels))
    if len(cells) > 1:
        found = np.linalg.eigh(np.cov(cells.T))[1].T[::-1][:3]
        found = found * np.sign(np.take_along_axis(found, np.abs(found).argmax(1, keepdims=True), 1))
        spread = np.quantile(np.abs((cells - mean) @ found.T), 0.98, axis=0)
        directions[: len(found)] = found / np.maximum(spread, 1e-9)[:, None]
    return ColourAxes(mean, directions)


def cropped(runs: Sequence[States]) -> list[States]:
    """Runs of one canvas, each without the rows and columns where none of them is ever alive."""
    lives = np.logical_or.reduce([(np.abs(states) > 0).any(axis=(0, 3)) for states in runs])
    spans = []
    for axis in (0, 1):
        where = np.flatnonzero(lives.any(axis=1 - axis))
        spans.append(slice(max(0, where[0] - 2), where[-1] + 3) if where.size else slice(None))
    return [states[:, spans[0], spans[1]] for states in runs]


def finite(states: States) -> States:
    """The states with what has exploded held within bounds that arithmetic bears."""
    return np.nan_to_num(states).clip(-1e6, 1e6)


def mature(states: States, spec: Spec) -> Bool[np.ndarray, "time y x"]:
    """Cells of the body."""
    alpha = states[..., spec.alpha]
    return alpha >= spec.threshold if spec.inclusive else alpha > spec.threshold


def enlarged(cells: Frames, scale: int) -> Frames:
    """Every cell as a square of `scale` pixels."""
    return cells.repeat(scale, axis=1).repeat(scale, axis=2)


def _checked(states: Any, view: str, scale: int | None, every: int) -> States:
    states = np.asarray(states)
    if states.ndim != 4 or 0 in states.shape:
        raise UserError(f"A film needs states (time, y, x, channel), got {states.shape}.")
    if view not in VIEWS:
        raise UserError(f"A view is one of {', '.join(VIEWS)}; got {view!r}.")
    if scale is not None and not 1 <= scale <= 64:
        raise UserError(f"scale must be from 1 to 64 pixels a cell, got {scale}.")
    if every < 1:
        raise UserError(f"every must be at least 1, got {every}.")
    return states


def _cells(
    states: States, spec: Spec, view: str, directions: ColourAxes | None, ground: Colour
) -> UInt8[np.ndarray, "frame y x 3"]:
    """One colour per cell."""
    back = np.array(ground) / 255
    if view == "body":
        rgba = np.asarray(visible(spec, jnp.asarray(states)))
        return _bytes(rgba[..., :3] + (1 - rgba[..., 3:]) * back)
    body = mature(states, spec)
    if view == "alive":
        sites = _touching(body, spec.alive_boundary == "circular")
        colours = np.where(sites[..., None], np.array(ALIVE, np.uint8), np.array(ground, np.uint8))
        return np.where(body[..., None], np.array(MATURE, np.uint8), colours)
    axes = directions or colour_axes(states, spec)
    scores = np.einsum("tyxc,pc->tyxp", states - axes.mean, axes.directions)
    return _bytes(np.where(body[..., None], 0.5 + 0.42 * np.clip(scores, -1, 1), back))


def _touching(body: Bool[np.ndarray, "time y x"], wraps: bool) -> Bool[np.ndarray, "time y x"]:
    """The cells of a body and their neighbours."""
    high, wide = body.shape[1:]
    around = np.pad(body, ((0, 0), (1, 1), (1, 1)), mode="wrap" if wraps else "constant")
    shifts = [around[:, y : y + high, x : x + wide] for y in range(3) for x in range(3)]
    return np.logical_or.reduce(shifts)


def _bytes(colours: Float[np.ndarray, "*any 3"]) -> UInt8[np.ndarray, "*any 3"]:
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)


def _sheet(
    states: States, spec: Spec, numbers: Sequence[int], scale: int | None, limit: float, ground: Colour
) -> Frames:
    """Channels as labelled tiles over a legend of their scale."""
    from matplotlib import colormaps

    table = _bytes(colormaps["RdBu_r"](np.linspace(0, 1, 255))[:, :3])
    columns = len(numbers) if len(numbers) <= 3 else int(np.ceil(np.sqrt(len(numbers))))
    scale = scale or max(1, round(SHEET / columns / max(states.shape[1:3])))
    levels = states[..., list(numbers)] / max(limit, 1e-9)
    shades = table[(127 + 127 * levels.clip(-1, 1)).round().astype(np.uint8)]
    names = channel_names(spec)
    tiles = [_tile(enlarged(shades[..., i, :], scale), f"{names[c]} ({c})", ground) for i, c in enumerate(numbers)]
    blank = np.broadcast_to(np.array(ground, np.uint8), tiles[0].shape)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=2) for i in range(0, len(tiles), columns)]
    sheet = widened(np.concatenate(rows, axis=1), NARROWEST, ground)
    return over(legend(sheet.shape[2], table, limit, ground), sheet)


def _tile(frames: Frames, name: str, ground: Colour) -> Frames:
    """Frames under their channel's name, with a gap on either side."""
    height, wide = frames.shape[1:3]
    width = max(wide, LABEL)
    tile = np.full((len(frames), height + 20 + GAP, width + 2 * GAP, 3), ground, np.uint8)
    tile[:, :20, GAP:-GAP] = strip(width, 20, [(0, name)], 13, ground)
    tile[:, 20:-GAP, GAP : GAP + wide] = frames
    return tile

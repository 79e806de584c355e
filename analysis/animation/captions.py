"""Words on films: strips of text around frames (frame, y, x, 3), bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from nca.errors import UserError

Frames = UInt8[np.ndarray, "frame y x 3"]
Colour = tuple[int, int, int]
NARROWEST = 112
GAP = 12
MARGIN = 8


def colour(name: str) -> Colour:
    """Red, green and blue of a colour such as "white" or "#101418"."""
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise UserError(f"A background is a colour such as 'white' or '#101418', got {name!r}.") from error
    return red, green, blue


def ink(ground: Colour) -> Colour:
    """A grey that reads well on a background."""
    return (70, 70, 70) if sum(ground) > 384 else (210, 210, 210)


def strip(
    width: int, height: int, texts: Sequence[tuple[float, str]], size: int, ground: Colour, anchor: str = "lm"
) -> UInt8[np.ndarray, "y x 3"]:
    """A strip with texts, each beginning (or as `anchor` says) at its x."""
    image = Image.new("RGB", (width, height), ground)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for x, text in texts:
        draw.text((x, height / 2), text, fill=ink(ground), font=font, anchor=anchor)
    return np.asarray(image)


def over(strip: UInt8[np.ndarray, "y x 3"], frames: Frames) -> Frames:
    """One strip above every frame."""
    return np.concatenate([np.broadcast_to(strip, (len(frames), *strip.shape)), frames], axis=1)


def counted(frames: Frames, first_step: int = 0, every: int = 1, background: str = "white") -> Frames:
    """The frames with a strip below that says the step.

    Args:
        frames: the film.
        first_step: step of the first frame.
        every: steps from one frame to the next.
        background: the strip's colour.
    """
    ground = colour(background)
    frames = widened(frames, NARROWEST, ground)
    steps = [first_step + i * every for i in range(len(frames))]
    strips = [strip(frames.shape[2], 28, [(MARGIN, f"step {n}")], 15, ground) for n in steps]
    return np.concatenate([frames, np.stack(strips)], axis=1)


def widened(frames: Frames, width: int, ground: Colour) -> Frames:
    """The frames in the middle of at least `width` pixels."""
    missing = max(0, width - frames.shape[2])
    sides = [np.full((*frames.shape[:2], n, 3), ground, np.uint8) for n in (missing // 2, -(-missing // 2))]
    return np.concatenate([sides[0], frames, sides[1]], axis=2)


def side_by_side(left: Frames, right: Frames, labels: tuple[str, str], background: str = "white") -> Frames:
    """Two films of one length and size as one, each under its label.

    Raises:
        UserError: their lengths or sizes differ.
    """
    if left.shape != right.shape:
        raise UserError(f"Films side by side need one shape, got {left.shape} and {right.shape}.")
    ground = colour(background)
    left, right = (widened(frames, NARROWEST, ground) for frames in (left, right))
    gap = np.full((*left.shape[:2], GAP, 3), ground, np.uint8)
    width = left.shape[2]
    texts = [(width / 2, labels[0]), (width * 1.5 + GAP, labels[1])]
    title = strip(2 * width + GAP, 32, texts, 17, ground, anchor="mm")
    return over(title, np.concatenate([left, gap, right], axis=2))


def legend(width: int, colours: UInt8[np.ndarray, "n 3"], limit: float, ground: Colour) -> UInt8[np.ndarray, "y x 3"]:
    """A strip with a bar of colours from -limit to limit, on the right."""
    high, long = 10, min(120, width - 96)
    spread = np.linspace(0, len(colours) - 1, long).round().astype(int)
    bar = np.broadcast_to(colours[spread], (high, long, 3))
    left = width - long - 44
    texts = [(left - 6, f"-{limit:.2g}")]
    right = strip(width, 26, [(width - 38, f"{limit:.2g}")], 13, ground)
    whole = np.minimum if sum(ground) > 384 else np.maximum
    both = whole(right, strip(width, 26, texts, 13, ground, anchor="rm")).copy()
    both[8 : 8 + high, left : left + long] = bar
    return both


def gallery(pictures: dict[str, np.ndarray], side: int = 160) -> Image.Image:
    """Pictures, premultiplied RGBA (y, x, 4) of one size, on white, each over its name."""
    white, tiles = (255, 255, 255), []
    for name, picture in pictures.items():
        cells = ((1 - picture[..., 3:] + picture[..., :3]).clip(0, 1) * 255).round().astype(np.uint8)
        scale = max(1, side // max(cells.shape[:2]))
        large = cells.repeat(scale, axis=0).repeat(scale, axis=1)
        width = large.shape[1]
        tile = np.concatenate([large, strip(width, 28, [(width / 2, name)], 15, white, anchor="mm")])
        tiles.append(np.pad(tile, ((GAP, 0), (GAP, GAP), (0, 0)), constant_values=255))
    columns = -(-len(tiles) // -(-len(tiles) // 5))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return Image.fromarray(np.concatenate(rows))

"""The pictures an automaton learns to grow: bundled drawings, picture files and emoji.

A target is a (size, size, 4) float32 array of red, green, blue and alpha in 0..1, the colours
multiplied by alpha, so that averaging pixels never mixes in the colour of what is invisible.
"""

import difflib
import os
import unicodedata
import warnings
from io import BytesIO
from numbers import Integral
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from nca.errors import UserError
from nca.targets.drawings import DRAWINGS, UNITS, Pen

SIZES = 4, 512
LARGEST = 4096
FORMATS = "PNG", "GIF", "WEBP", "JPEG", "BMP"
LIVING = 0.1
EMOJI_FONT = "NotoColorEmoji.ttf"
EMOJI_SIZE = 109
FONT_FOLDERS = "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"
_NEAR = 32


def names() -> tuple[str, ...]:
    """The names of the bundled drawings."""
    return tuple(DRAWINGS)


def describe(name: str) -> str:
    """One line on what the bundled drawing `name` shows.

    Raises:
        UserError: there is no drawing of that name.
    """
    if name not in DRAWINGS:
        raise _unknown(name)
    return DRAWINGS[name].__doc__ or name


def target(source: str | os.PathLike[str], size: int = 40, *, background: str | None = None) -> np.ndarray:
    """The picture `source`, cropped to what is visible and fitted into a square.

    The longer side of what is visible spans the square and the shorter one is centred, both
    shrunk by averaging areas; a picture smaller than the square becomes blocks.

    Args:
        source: the name of a bundled drawing, one emoji, or the path of a picture file (a
            `Path` always means a file).
        size: cells on a side, 4 to 512.
        background: for a picture file that is opaque all over, the colour to take away wherever
            it reaches in from the border: "#ffffff", "white", or "auto" for the corners' colour.

    Returns:
        (size, size, 4) float32, red, green, blue and alpha in 0..1, colours at most alpha.

    Raises:
        UserError: a wrong size, an unknown name or colour, a missing, broken, too large or too
            small file, nothing visible, or no colour-emoji font.
    """
    if not (isinstance(size, Integral) and SIZES[0] <= size <= SIZES[1]):
        raise UserError(f"a target's size is a whole number from 4 to 512, not {size!r}")
    pixels = _pixels(source, int(size), background)
    fitted = _fit(pixels, int(size))
    if fitted[..., 3].max() <= LIVING:
        raise UserError(f"{source} is too faint or thin at size {size}: use a bolder picture")
    return fitted


def pad(picture: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """`picture`, (y, x, channels), amid zeros on a canvas of (y, x) cells, middle on middle.

    The middle of n cells is cell n // 2.

    Raises:
        UserError: the picture does not fit.
    """
    high, wide, _ = picture.shape
    if high > canvas[0] or wide > canvas[1]:
        raise UserError(
            f"a picture of {high} x {wide} cells does not fit a canvas of "
            f"{canvas[0]} x {canvas[1]}: use a larger canvas or a smaller size"
        )
    top, left = canvas[0] // 2 - high // 2, canvas[1] // 2 - wide // 2
    sheet = np.zeros((*canvas, picture.shape[2]), picture.dtype)
    sheet[top : top + high, left : left + wide] = picture
    return sheet


def _pixels(source: str | os.PathLike[str], size: int, background: str | None) -> np.ndarray:
    """The (h, w, 4) bytes of the drawing, emoji or file that `source` names."""
    if isinstance(source, str) and source in DRAWINGS:
        if background is not None:
            raise UserError(f"{source} is a drawing and has no background: leave {background!r} out")
        return _draw(source, size)
    if os.path.isfile(source):
        return _clear(_read(source), background, source)
    if isinstance(source, str) and _is_emoji(source):
        return _emoji(source)
    raise _missing(source)


def _draw(name: str, size: int) -> np.ndarray:
    pen = Pen(scale=min(16, LARGEST // size) * size / UNITS)
    DRAWINGS[name](pen)
    return np.asarray(pen.sheet)


def _missing(source: str | os.PathLike[str]) -> UserError:
    if os.path.exists(source):
        return UserError(f"a picture file is needed, but {source} is not a file: name one")
    if isinstance(source, str) and Path(source).name == source and "." not in source:
        return _unknown(source)
    return UserError(f"a picture file is needed, but {source} does not exist: check the path")


def _unknown(name: str) -> UserError:
    close = difflib.get_close_matches(str(name), DRAWINGS, n=1)
    guess = f": did you mean {close[0]}?" if close else ", nor is it a picture file or an emoji"
    return UserError(f"there is no drawing {name!r} among {', '.join(DRAWINGS)}{guess}")


def _read(path: str | os.PathLike[str]) -> np.ndarray:
    """The (h, w, 4) bytes of a picture file."""
    # Pillow's readers raise almost anything on a broken file, and warn of large ones.
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            _check_header(image, path)
            return np.asarray(image.convert("RGBA"))
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"{path} may not be read: change its permissions") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far more") from error
    except Exception as error:
        raise UserError(f"{path} is not a readable picture or is cut short: save it again as a PNG file") from error


def _check_header(image: Image.Image, path: object) -> None:
    """Refuse, before its pixels are decoded, a picture that would be too large or misread."""
    if max(image.size) > LARGEST:
        raise _too_large(path, f"{image.width} x {image.height}")
    if image.mode.startswith(("I", "F")):
        raise UserError(f"{path} has 16-bit greys: save it as an 8-bit RGBA picture")


def _too_large(path: object, came: str) -> UserError:
    return UserError(f"a picture has at most {LARGEST:,} pixels on a side, but {path} has {came}: shrink it")


def _clear(pixels: np.ndarray, background: str | None, path: object) -> np.ndarray:
    """`pixels` with what is not part of the picture made transparent."""
    if background is not None:
        pixels = _without(pixels, _colour(pixels, background, path))
    elif pixels[..., 3].min() == 255:
        raise UserError(
            f"{path} has no transparent part: name its background colour, such as "
            "background='white', or 'auto' for the colour of its corners"
        )
    _check_visible(pixels, background, path)
    return pixels


def _check_visible(pixels: np.ndarray, background: str | None, path: object) -> None:
    if not pixels[..., 3].any():
        left = "is fully transparent" if background is None else "is all background"
        raise UserError(f"{path} {left} and leaves nothing to grow: use another picture")
    side = max(_crop(pixels).shape[:2])
    if side < SIZES[0]:
        raise UserError(
            f"a picture needs at least 4 visible pixels on its longer side, but {path} has {side}: use a larger picture"
        )


def _colour(pixels: np.ndarray, background: str, path: object) -> np.ndarray:
    """The (3,) bytes of the colour that `background` names."""
    if background == "auto":
        return _corner_colour(pixels, path)
    try:
        return np.asarray(ImageColor.getrgb(background)[:3])
    except ValueError as error:
        raise UserError(
            f"background is a colour such as 'white' or '#ffffff', or 'auto', not {background!r}"
        ) from error


def _corner_colour(pixels: np.ndarray, path: object) -> np.ndarray:
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1], :3].astype(int)
    if np.ptp(corners, axis=0).max() > _NEAR:
        raise UserError(f"the corners of {path} differ in colour: name the background colour")
    return np.median(corners, axis=0)


def _without(pixels: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Make transparent whatever is near `colour` and joined to the border."""
    apart = np.abs(pixels[..., :3].astype(np.int16) - np.asarray(colour, np.int16))
    open_ = (apart <= _NEAR).all(axis=-1) | (pixels[..., 3] == 0)
    return np.where(_outside(open_)[..., None], np.uint8(0), pixels)


def _outside(mask: np.ndarray) -> np.ndarray:
    """The cells of `mask`, (h, w) booleans, joined to its border by steps along rows or columns."""
    # A ring of open cells leads around the picture, and a ring of walls keeps rows apart.
    mask = np.pad(np.pad(mask, 1, constant_values=True), 1)
    reached = np.zeros_like(mask)
    reached[1, 1] = True
    before = 0
    while (count := int(np.count_nonzero(reached))) > before:
        before = count
        reached = _along_rows(mask.T, _along_rows(mask, reached).T).T
    return reached[2:-2, 2:-2]


def _along_rows(mask: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Spread `reached` to all of every unbroken run of `mask` in a row that it touches."""
    run = np.cumsum(~mask.ravel())
    hit = np.zeros(run[-1] + 1, bool)
    hit[run[reached.ravel()]] = True
    return hit[run].reshape(mask.shape) & mask


def _is_emoji(text: str) -> bool:
    # Emoji newer than Python's tables have no category yet, which reads "Cn".
    return not any(map(str.isascii, text)) and unicodedata.category(text[:1] or "a") in ("So", "Cn")


def _emoji(text: str) -> np.ndarray:
    """The (h, w, 4) bytes of one emoji in the installed font, whose bitmaps have one size only."""
    try:
        # By its bytes: of an unreadable file, Pillow would look for another of that name.
        font = ImageFont.truetype(BytesIO(Path(_font()).read_bytes()), EMOJI_SIZE)
    except OSError as error:
        raise UserError(f"{EMOJI_FONT} is damaged: install fonts-noto-color-emoji again") from error
    sheet = Image.new("RGBA", (4 * EMOJI_SIZE, 2 * EMOJI_SIZE))
    ImageDraw.Draw(sheet).text((0, 0), text, font=font, embedded_color=True)
    pixels = np.asarray(sheet)
    if not pixels[..., 3].any():
        raise UserError(f"{EMOJI_FONT} has no picture of {text!r}: use another emoji")
    if _crop(pixels).shape[1] > 1.5 * EMOJI_SIZE:
        raise UserError(f"one emoji is needed, but {text!r} is drawn as several: use only one")
    return pixels


def _font() -> str:
    for folder in FONT_FOLDERS:
        for path in sorted(Path(folder).expanduser().rglob(EMOJI_FONT)):
            return str(path)
    raise UserError(
        f"an emoji needs the font {EMOJI_FONT}, which is not installed: install the package "
        "fonts-noto-color-emoji, or use a picture file"
    )


def _fit(pixels: np.ndarray, size: int) -> np.ndarray:
    """Crop (h, w, 4) bytes to what is visible and average them into (size, size, 4) floats."""
    seen = _crop(pixels)
    high, wide = (_shares(length, max(seen.shape[:2]), size) for length in seen.shape[:2])
    alpha = seen[..., 3].astype(np.float32) / 255
    planes = [seen[..., channel] * (alpha / 255) for channel in range(3)] + [alpha]
    small = np.stack([high @ plane @ wide.T for plane in planes], axis=-1).clip(0, 1)
    return np.minimum(small, small[..., 3:])


def _crop(pixels: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(pixels[..., 3].any(axis=axis)) for axis in (1, 0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _shares(length: int, longest: int, size: int) -> np.ndarray:
    """How much of each cell each of `length` pixels covers, (size, length), rows summing to 1.

    The cells span `longest` pixels and share their middle.
    """
    cell = longest / size
    edges = (np.arange(size + 1) - size / 2) * cell + length / 2
    pixel = np.arange(length)
    shared = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.clip(shared, 0, None) / cell).astype(np.float32)

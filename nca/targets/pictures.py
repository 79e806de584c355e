"""The pictures that an organism learns to grow: bundled drawings, picture files and emoji.

A target is a (size, size, 4) float32 array of red, green, blue and alpha in 0..1, the colours multiplied by
alpha, so that averaging pixels never mixes in the colour of what is invisible.
"""

import difflib
import hashlib
import os
import re
import warnings
from contextlib import suppress
from io import BytesIO
from numbers import Integral
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageDraw, ImageFont, ImageOps

from nca.errors import UserError
from nca.targets.drawings import DRAWINGS, UNITS, draw

SIZES = 4, 512  # of a target, in cells on a side
MAX_PIXELS = 4096  # on a side of a picture file
FORMATS = "PNG", "GIF", "WEBP", "JPEG", "BMP"
VISIBLE = 0.1  # alpha of a living cell
# Colour-emoji fonts, which Pillow finds where systems keep them, and a size that each has.
_EMOJI_FONTS = {"NotoColorEmoji.ttf": 109, "Apple Color Emoji.ttc": 160, "seguiemj.ttf": 128}
# x and y of white, red, green and blue; and what the codes of a PNG's cICP mean, with the curve of sRGB (ITU-T H.273).
_SRGB = np.array([[0.3127, 0.3290], [0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
_DISPLAY_P3 = np.array([[0.3127, 0.3290], [0.680, 0.320], [0.265, 0.690], [0.15, 0.06]])
_CODINGS = {b"\x01\x0d": _SRGB, b"\x0c\x0d": _DISPLAY_P3}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_NEAR = 32  # largest difference of a colour, in bytes, that still counts as the background


class ArrayTarget(str):
    """The name of a target that is given as an array: `array-` and eight digits of its hash; it carries the array.

    Attributes:
        pixels: the array, (y, x, 4) float32, centred in a square.
    """

    pixels: np.ndarray

    def __new__(cls, array: object) -> "ArrayTarget":
        """Check an array (y, x, 4) of premultiplied RGBA in 0..1, and centre it in a square; raises `UserError`."""
        needs = "A target is the name of a picture or an array (y, x, 4) of RGBA in 0..1, 4 to 512 cells a side"
        try:
            pixels = np.asarray(array, np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(f"{needs}; got {type(array).__name__}.") from error
        if pixels.ndim != 3 or pixels.shape[2] != 4 or not SIZES[0] <= max(pixels.shape[:2]) <= SIZES[1]:
            raise UserError(f"{needs}; got an array of the shape {pixels.shape}.")
        if not (pixels.min(initial=0) >= 0 and pixels.max(initial=0) <= 1):
            raise UserError(f"{needs}; got values from {pixels.min():g} to {pixels.max():g}.")
        if (pixels[..., :3] > pixels[..., 3:] + 1e-3).any():
            raise UserError("The colours of a target array are multiplied by alpha, so at most alpha; multiply them.")
        if pixels[..., 3].max(initial=0) <= VISIBLE:
            raise UserError(f"Nothing in the target array is visible: its largest alpha is {pixels[..., 3].max():g}.")
        side = max(pixels.shape[:2])
        before = [(side - length) // 2 for length in pixels.shape[:2]]
        margins = [(b, side - length - b) for b, length in zip(before, pixels.shape[:2], strict=True)]
        pixels = np.pad(pixels, [*margins, (0, 0)])
        name = super().__new__(cls, f"array-{hashlib.sha256(pixels.tobytes()).hexdigest()[:8]}")
        name.pixels = pixels
        return name

    def __getnewargs__(self) -> tuple[np.ndarray]:  # type: ignore[override]
        return (self.pixels,)


def names() -> tuple[str, ...]:
    """The names of the bundled drawings."""
    return tuple(DRAWINGS)


def describe(name: str) -> str:
    """What the bundled drawing `name` shows, in one line.

    Raises:
        UserError: there is no drawing of that name.
    """
    if name not in DRAWINGS:
        raise _unknown_drawing(name)
    return DRAWINGS[name].__doc__ or name


def target(source: str | os.PathLike[str], size: int = 40, *, background: str | None = None) -> np.ndarray:
    """The picture `source`, cropped to what is visible and fitted into a square.

    The longer side of what is visible spans the square, and the shorter one is centred. Pixels are averaged by
    area; a picture smaller than the square is enlarged without smoothing.

    Args:
        source: the name of a bundled drawing, one emoji, or the path of a picture file (a
            `Path` always means a file).
        size: cells on a side, 4 to 512.
        background: for an opaque picture file, the colour to remove where it is connected to the border:
            "#ffffff", "white", or "auto" for the colour of the corners.

    Returns:
        (size, size, 4) float32, red, green, blue and alpha in 0..1, colours at most alpha.

    Raises:
        UserError: a wrong size, an unknown name or colour, a missing, broken, too large or too
            small file, nothing visible, or no colour-emoji font.
    """
    if not (isinstance(size, Integral) and SIZES[0] <= size <= SIZES[1]):
        raise UserError(f"A target's size is a whole number from 4 to 512, not {size!r}.")
    if isinstance(source, ArrayTarget):
        return source.pixels
    pixels = _pixels(source, int(size), background)
    fitted = _fit(pixels, int(size))
    if fitted[..., 3].max() <= VISIBLE:
        raise UserError(f"{source} is too faint or thin at size {size}; use a bolder picture.")
    return fitted


def _pixels(source: str | os.PathLike[str], size: int, background: str | None) -> np.ndarray:
    """The (h, w, 4) bytes of the drawing, emoji or file that `source` names."""
    if isinstance(source, str) and source in DRAWINGS:
        if background is not None:
            raise UserError(f"{source} is a drawing and has no background; leave {background!r} out.")
        return draw(source, scale=min(16, MAX_PIXELS // size) * size / UNITS)
    if os.path.isfile(source):
        return _remove_background(_read_picture(source), background, source)
    if isinstance(source, str) and _is_emoji(source):
        return _draw_emoji(source)
    raise _missing_file(source)


def _missing_file(source: str | os.PathLike[str]) -> UserError:
    if os.path.exists(source):
        return UserError(f"A picture file is needed, but {source} is not a file; name one.")
    if re.fullmatch("array-[0-9a-f]{8}", str(source)):
        return UserError(f"The target {source} was an array, which is not kept here; pass it again, in Python.")
    if isinstance(source, str) and Path(source).name == source and "." not in source:
        return _unknown_drawing(source)
    return UserError(f"A picture file is needed, but {source} does not exist; check the path.")


def _unknown_drawing(name: str) -> UserError:
    close = difflib.get_close_matches(str(name), DRAWINGS, n=1)
    guess = f"; did you mean {close[0]}?" if close else ", nor is it a picture file or an emoji."
    return UserError(f"There is no drawing {name!r} among {', '.join(DRAWINGS)}{guess}")


def _is_emoji(text: str) -> bool:
    """Whether a text is one or several emoji of Unicode's lists rather than a name or path."""
    import emoji

    return bool(text) and emoji.purely_emoji(text)


def _draw_emoji(text: str) -> np.ndarray:
    """The (h, w, 4) bytes of one emoji in the first installed font."""
    font, size = _emoji_font()
    sheet = Image.new("RGBA", (4 * size, 2 * size))
    # What has no picture in colour is drawn in this one.
    ImageDraw.Draw(sheet).text((0, 0), text, fill=(255, 0, 255), font=font, embedded_color=True)
    pixels = np.asarray(sheet)
    alpha = pixels[..., 3]
    if (pixels[alpha == max(alpha.max(), 1)][:, :3] == (255, 0, 255)).all():
        raise UserError(f"{font.getname()[0]} has no picture of {text!r}; use another emoji or a picture file.")
    columns = np.flatnonzero(alpha.any(axis=0))
    if columns[-1] - columns[0] + 1 > 1.5 * size:
        raise UserError(f"One emoji is needed, but {text!r} is drawn as several; use only one.")
    return pixels


def _emoji_font() -> tuple[ImageFont.FreeTypeFont, int]:
    """The first colour-emoji font that is installed and can be read, and its size."""
    for name, size in _EMOJI_FONTS.items():
        with suppress(OSError):
            return ImageFont.truetype(name, size), size
    raise UserError(
        f"An emoji needs a font such as {next(iter(_EMOJI_FONTS))}, and none can be read; install the package "
        "fonts-noto-color-emoji, or use a picture file."
    )


def _read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """The (h, w, 4) bytes of a picture file as a viewer shows it: upright, in sRGB, an animation's first frame."""
    # Pillow's readers raise almost anything on a broken file, and warn of large ones.
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            # Refused before its pixels are decoded.
            if max(image.size) > MAX_PIXELS:
                raise _too_large(path, f"{image.width} x {image.height}")
            if getattr(image, "default_image", False):  # a still beside the frames of an animated PNG
                image.seek(1)
            image.load()
            with suppress(SyntaxError):  # damaged metadata is ignored
                ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(_convert_to_srgb(image, _coded_primaries(path) if image.format == "PNG" else None))
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"{path} may not be read; change its permissions.") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far more") from error
    except Exception as error:  # Pillow's decoders raise almost anything
        raise UserError(f"{path} is not a readable picture or is cut short; save it again as a PNG file.") from error


def _coded_primaries(path: str | os.PathLike[str]) -> np.ndarray | None:
    """The primaries that a PNG's cICP chunk names, which Pillow does not read; raises `UserError` for other codings."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            if head[4:] == b"cICP":
                code = file.read(2)
                if code not in _CODINGS:
                    numbers = " and ".join(map(str, code))
                    raise UserError(
                        f"{path} has colours that are not read, such as those of HDR (cICP {numbers}); save it as sRGB."
                    )
                return _CODINGS[code]
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return None


def _convert_to_srgb(image: Image.Image, coded: np.ndarray | None) -> Image.Image:
    """An RGBA picture in sRGB, by coded primaries, else by the colour profile or gamma of the file; else as it is."""
    info = image.info
    if image.mode.startswith("I"):  # 16-bit greys, one of which may mean transparent
        greys = np.asarray(image).astype(np.float32)
        planes = greys / 257, 255 * (greys != info.get("transparency", -1))
        image = Image.merge("LA", [Image.fromarray(plane.round().astype(np.uint8)) for plane in planes])
    rgba = image.convert("RGBA")
    if coded is not None:
        return _from_primaries(rgba, coded, 0)
    if profile := info.get("icc_profile"):
        mode = {"L": "L", "LA": "L", "1": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
        with suppress(ImageCms.PyCMSError, OSError):  # a damaged profile, or one for other colours, is ignored
            source, srgb = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            colours = (rgba if mode == "RGB" else image).convert(mode)
            if shown := ImageCms.profileToProfile(colours, source, srgb, outputMode="RGB"):
                shown.putalpha(rgba.getchannel("A"))
                return shown
    elif (gamma := info.get("gamma", 0)) > 0 and "srgb" not in info:
        return _from_primaries(rgba, np.reshape(info.get("chromaticity", _SRGB), (4, 2)), gamma)
    return rgba


def _from_primaries(rgba: Image.Image, primaries: np.ndarray, gamma: float) -> Image.Image:
    """An RGBA picture in sRGB; what sRGB cannot show is clipped, as by a viewer.

    Args:
        rgba: the picture.
        primaries: x and y of its white, red, green and blue, (4, 2); impossible ones are taken as those of sRGB.
        gamma: of the file, for a display of gamma 2.2; 0 for the curve of sRGB.
    """
    codes = np.arange(256) / 255
    curve = (
        codes ** (1 / gamma) if gamma else np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    )
    triangle = np.linalg.det(np.column_stack([primaries[1:], np.ones(3)]))
    possible = (primaries > 0).all() and (primaries.sum(1) <= 1).all() and abs(triangle) > 1e-3
    matrix = np.linalg.inv(_to_xyz(_SRGB)) @ _to_xyz(primaries) if possible else np.eye(3)
    shown = np.array(rgba)
    for row in shown:  # row by row, since a picture of many pixels would take much memory
        linear = (curve[row[:, :3]] @ matrix.T).clip(0, 1)
        bent = (
            linear ** (1 / 2.2)
            if gamma
            else np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        )
        row[:, :3] = (255 * bent).round()
    return Image.fromarray(shown)


def _to_xyz(primaries: np.ndarray) -> np.ndarray:
    """The (3, 3) XYZ of red, green and blue, in columns, adapted to a white of D65 by Bradford's method."""
    xyz = np.stack([primaries[:, 0], primaries[:, 1], 1 - primaries.sum(1)]) / primaries[:, 1]
    white, colours = xyz[:, 0], xyz[:, 1:]
    d65 = np.array([0.3127, 0.3290, 0.3583]) / 0.3290
    cones = _BRADFORD @ np.stack([white, d65], 1)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones[:, 1] / cones[:, 0]) @ _BRADFORD
    return adapted @ (colours * np.linalg.solve(colours, white))


def _too_large(path: object, size: str) -> UserError:
    return UserError(f"A picture has at most {MAX_PIXELS:,} pixels on a side, but {path} has {size}; shrink it.")


def _remove_background(pixels: np.ndarray, background: str | None, path: object) -> np.ndarray:
    """`pixels` with the background made transparent."""
    if background is not None:
        colour = _background_colour(pixels, background, path)
        difference = np.abs(pixels[..., :3].astype(np.int16) - np.asarray(colour, np.int16))
        similar = (difference <= _NEAR).all(axis=-1) | (pixels[..., 3] == 0)
        pixels = np.where(_connected_to_border(similar)[..., None], np.uint8(0), pixels)
    elif pixels[..., 3].min() == 255:
        raise UserError(
            f"{path} has no transparent part; make its background transparent, or name its colour, such as "
            "background='white', or 'auto' for the colour of its corners."
        )
    if not pixels[..., 3].any():
        empty = "is fully transparent" if background is None else "is all background"
        raise UserError(f"{path} {empty} and leaves nothing to grow; use another picture.")
    side = max(_crop(pixels).shape[:2])
    if side < SIZES[0]:
        raise UserError(
            f"A picture needs at least 4 visible pixels on its longer side, but {path} has {side}; use a larger one."
        )
    return pixels


def _background_colour(pixels: np.ndarray, background: str, path: object) -> np.ndarray:
    """The (3,) bytes of the colour that `background` names."""
    if background == "auto":
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1], :3].astype(int)
        if np.ptp(corners, axis=0).max() > _NEAR:
            raise UserError(f"The corners of {path} differ in colour; name the background colour.")
        return np.median(corners, axis=0)
    try:
        return np.asarray(ImageColor.getrgb(background)[:3])
    except ValueError as error:
        raise UserError(
            f"The background is a colour such as 'white' or '#ffffff', or 'auto', not {background!r}."
        ) from error


def _connected_to_border(mask: np.ndarray) -> np.ndarray:
    """The True cells of `mask`, (h, w), that steps along rows and columns connect to its border."""
    from scipy.ndimage import binary_propagation

    border = np.ones_like(mask)
    border[1:-1, 1:-1] = False
    return binary_propagation(border & mask, mask=mask)


def _fit(pixels: np.ndarray, size: int) -> np.ndarray:
    """Crop (h, w, 4) bytes to what is visible and average them into (size, size, 4) floats."""
    visible = _crop(pixels)
    rows, columns = (_shares(length, max(visible.shape[:2]), size) for length in visible.shape[:2])
    alpha = visible[..., 3].astype(np.float32) / 255
    planes = [visible[..., channel] * (alpha / 255) for channel in range(3)] + [alpha]
    averaged = np.stack([rows @ plane @ columns.T for plane in planes], axis=-1).clip(0, 1)
    return np.minimum(averaged, averaged[..., 3:])


def _crop(pixels: np.ndarray) -> np.ndarray:
    """The part of (h, w, 4) bytes with what is visible and one pixel of its soft edge, but no faint shadow."""
    alpha = pixels[..., 3]
    visible = alpha > min(255 * VISIBLE, alpha.max() - 1)
    box = []
    for axis in (1, 0):
        bold, faint = np.flatnonzero(visible.any(axis=axis)), np.flatnonzero(alpha.any(axis=axis))
        box.append(slice(max(bold[0] - 1, faint[0]), min(bold[-1] + 1, faint[-1]) + 1))
    return pixels[tuple(box)]


def _shares(length: int, longest: int, size: int) -> np.ndarray:
    """The share of each cell that each of `length` pixels covers, (size, length).

    The cells span `longest` pixels, and the pixels are centred on them.
    """
    cell = longest / size
    edges = (np.arange(size + 1) - size / 2) * cell + length / 2
    pixel = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.clip(overlap, 0, None) / cell).astype(np.float32)

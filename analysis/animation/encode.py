"""Film files: GIF, animated PNG, WebP and MP4 of frames (frame, y, x, 3), bytes.

GIF, PNG and WebP loop for ever; the last frame is held for a second. PNG and WebP keep every colour.
Pillow writes them, with equal frames in a row as one that lasts as long; ffmpeg writes MP4.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nca.errors import UserError
from nca.files import write_file

HOLD = 1000  # milliseconds that the last frame stays
COMMON = 16  # most common colours that a GIF keeps as they are
Frames = UInt8[np.ndarray, "frame y x 3"]


def save_film(frames: Frames, path: str | Path, fps: float = 20) -> Path:
    """Write frames as a film; the file appears whole or not at all.

    Args:
        frames: bytes, (frame, y, x, 3).
        path: its suffix gives the format: .gif, .png (animated), .webp or .mp4.
        fps: frames a second, 1 to 60. A GIF stores hundredths of a second between frames, so that
            50, 33, 25 and 20 are exact and more than 50 is impossible.

    Raises:
        UserError: an unknown suffix, a rate out of range, frames of another kind, or a place that
            cannot be written.
    """
    writer = _writer(path)
    if not 1 <= fps <= 60:
        raise UserError(f"fps must be from 1 to 60, got {fps}.")
    frames = np.ascontiguousarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise UserError(f"A film needs bytes (frame, y, x, 3), got {frames.dtype} {frames.shape}.")
    return write_file(path, lambda temporary: writer(frames, temporary, fps))


def webp_bytes(frames: Frames, fps: float = 20) -> bytes:
    """A film as the bytes of an animated WebP."""
    with tempfile.TemporaryDirectory() as folder:
        return save_film(frames, Path(folder) / "film.webp", fps).read_bytes()


def check_film_path(path: Path) -> None:
    """Raise `UserError` where no film could be written, before it is made."""
    _writer(path)
    if path.is_dir():
        raise UserError(f"A film is a file, but {path} is a folder; name a file.")
    if not path.parent.is_dir():
        raise UserError(f"There is no folder {path.parent}; make it, or choose another place.")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"The folder {path.parent} is not writable; choose another place.")


def _writer(path: str | Path) -> Callable[[Frames, Path, float], None]:
    """The function that writes films of this suffix, or `UserError`: an unknown suffix, or an extra is missing."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise UserError(f"A film is one of {', '.join(WRITERS)}; got {str(path)!r}.")
    if suffix == ".mp4":
        _ffmpeg()
    return WRITERS[suffix]


def _gif(frames: Frames, path: Path, fps: float) -> None:
    palette = _shared_palette(frames)
    indices = _nearest(frames, palette)
    images = [Image.fromarray(indices[_packed(frame)]) for frame in frames]
    for image in images:
        image.putpalette(palette.tobytes())
    _save_images(images, path, max(2, round(100 / fps)) * 10, format="GIF", disposal=1, optimize=False)


def _png_or_webp(frames: Frames, path: Path, fps: float, **options: Any) -> None:
    if len(frames) > 1 and (frames == frames[0]).all():
        frames = frames.copy()
        frames[-1, -1, -1] ^= 1  # equal frames become one of their whole duration, but a single one has no duration
    _save_images([Image.fromarray(f) for f in frames], path, round(1000 / fps), **options)


def _save_images(images: list[Image.Image], path: Path, duration: int, **options: Any) -> None:
    durations = [duration] * (len(images) - 1) + [max(duration, HOLD)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, **options)


def _mp4(frames: Frames, path: Path, fps: float) -> None:
    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    # Colours are stored at half the resolution, which needs even sides.
    even = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"
    filters = ["-vf", f"{even},tpad=stop_mode=clone:stop_duration={HOLD}ms"]
    codec = ["-an", "-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [_ffmpeg(), "-y", "-loglevel", "error", *source, *filters, *codec, str(path)]
    process = subprocess.run(command, input=frames.data, capture_output=True, check=False)
    if process.returncode:
        lines = process.stderr.decode(errors="replace").splitlines()
        raise OSError(lines[0].rpartition("] ")[2] if lines else "ffmpeg failed")


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError(
            "An .mp4 needs the extra 'video': pip install 'nca-dissection[video]', or write a .webp, .gif or .png."
        ) from None
    return imageio_ffmpeg.get_ffmpeg_exe()


WRITERS: dict[str, Callable[[Frames, Path, float], None]] = {
    ".gif": _gif,
    ".png": partial(_png_or_webp, format="PNG"),
    ".webp": partial(_png_or_webp, format="WEBP", lossless=True, method=1, quality=20),
    ".mp4": _mp4,
}


def _shared_palette(frames: Frames, colours: int = 255) -> UInt8[np.ndarray, "colour 3"]:
    """One palette for all frames, so that what stays the same does not flicker.

    All colours of the film where they suffice; else its most common ones as they are (background,
    ink) and median cuts of the others. One entry of 256 is left for what does not change.
    """
    stride = max(1, int(np.sqrt(frames.shape[0] * frames.shape[1] * frames.shape[2] / 2e6)))
    present, counts = np.unique(_packed(frames[:, ::stride, ::stride]).ravel(), return_counts=True)
    if len(present) <= colours:
        return _unpacked(present)
    order = counts.argsort()[::-1]
    common, others = present[order[:COMMON]], present[order[COMMON:]]
    row = Image.fromarray(_unpacked(others)[None])
    cuts = row.quantize(colours - COMMON, method=Image.Quantize.MEDIANCUT, kmeans=2).getpalette()
    return np.concatenate([_unpacked(common), np.array(cuts, np.uint8).reshape(-1, 3)])


def _nearest(frames: Frames, palette: UInt8[np.ndarray, "colour 3"]) -> UInt8[np.ndarray, " packed"]:
    """For every colour of the film, by packed number, the index of the palette's entry nearest to it."""
    indices, entries = np.zeros(2**24, np.uint8), palette.astype(np.float32)
    for frame in frames:
        indices[_packed(frame)] = 1
    present = np.flatnonzero(indices)
    for chunk in np.array_split(present, len(present) // 8192 + 1):
        colours = _unpacked(chunk).astype(np.float32)
        indices[chunk] = ((entries**2).sum(1) - 2 * colours @ entries.T).argmin(axis=1)
    return indices


def _packed(colours: UInt8[np.ndarray, "*any 3"]) -> np.ndarray:
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _unpacked(numbers: np.ndarray) -> UInt8[np.ndarray, "any 3"]:
    return np.stack([numbers >> 16 & 255, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)

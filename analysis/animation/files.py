"""Film files: GIF, animated PNG, WebP and MP4 of frames (frame, y, x, 3), bytes.

GIF, PNG and WebP loop for ever; the last frame is held for a second. PNG and WebP keep every colour.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any, cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from nca.errors import UserError
from nca.io import write_with

HELD = 1000
COMMON = 16
Frames = UInt8[np.ndarray, "frame y x 3"]


def film(frames: Frames, path: str | Path, fps: float = 20) -> Path:
    """Write frames as a film; the file appears whole or not at all.

    Args:
        frames: bytes, (frame, y, x, 3).
        path: its suffix says the format: .gif, .png (animated), .webp or .mp4.
        fps: frames a second, 1 to 60; a GIF has hundredths of a second between frames, so that
            50, 33, 25 and 20 are exact and more than 50 is not to be had.

    Raises:
        UserError: an unknown suffix, a rate out of range, frames of another kind, or a place that
            cannot be written.
    """
    writer = checked_suffix(path)
    if not 1 <= fps <= 60:
        raise UserError(f"fps must be from 1 to 60, got {fps}.")
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise UserError(f"A film needs bytes (frame, y, x, 3), got {frames.dtype} {frames.shape}.")
    return write_with(path, lambda beside: writer(frames, beside, fps))


def webp(frames: Frames, fps: float = 20) -> bytes:
    """A film as the bytes of an animated WebP."""
    with tempfile.TemporaryDirectory() as folder:
        return film(frames, Path(folder) / "film.webp", fps).read_bytes()


def checked_place(path: Path) -> None:
    """Raise `UserError` where no film could be written, before it is made."""
    checked_suffix(path)
    if path.is_dir():
        raise UserError(f"A film is a file, but {path} is a folder; name a file.")
    if not path.parent.is_dir():
        raise UserError(f"There is no folder {path.parent}; make it, or choose another place.")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"The folder {path.parent} is not writable; choose another place.")


def checked_suffix(path: str | Path) -> Callable[[Frames, Path, float], None]:
    """What writes films of this suffix, or `UserError`: an unknown one, or an extra is missing."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise UserError(f"A film is one of {', '.join(WRITERS)}; got {str(path)!r}.")
    if suffix == ".mp4":
        _ffmpeg()
    return WRITERS[suffix]


def _gif(frames: Frames, path: Path, fps: float) -> None:
    palette = shared_palette(frames)
    table = _nearest(frames, palette)
    pages = []
    for frame in frames:
        page = Image.fromarray(table[_packed(frame)])
        page.putpalette(palette.tobytes())
        pages.append(page)
    beat = max(2, round(100 / fps)) * 10
    _save(pages, path, beat, format="GIF", disposal=1, optimize=False)


def _apng(frames: Frames, path: Path, fps: float) -> None:
    _save([Image.fromarray(f) for f in frames], path, round(1000 / fps), format="PNG")


def _webp(frames: Frames, path: Path, fps: float) -> None:
    pages = [Image.fromarray(f) for f in frames]
    _save(pages, path, round(1000 / fps), format="WEBP", lossless=True, method=1, quality=20)


def _save(pages: list[Image.Image], path: Path, beat: int, **options: Any) -> None:
    times = [beat] * (len(pages) - 1) + [max(beat, HELD)]
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=times, loop=0, **options)


def _mp4(frames: Frames, path: Path, fps: float) -> None:
    high, wide = frames.shape[1], frames.shape[2]
    options = ["-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    coding = ["-an", "-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    # Colours are stored at half the resolution, which needs even sides.
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"]
    source = ["-s", f"{wide}x{high}", "-r", str(fps), "-i", "-"]
    command = [_ffmpeg(), *options, *source, *even, *coding, str(path)]
    held = [frames[-1]] * round(fps * HELD / 1000)
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdin=PIPE, stderr=said) as process:
        pipe = cast(IO[bytes], process.stdin)
        try:
            for frame in (*frames, *held):
                pipe.write(frame.tobytes())
            pipe.close()
        except BrokenPipeError:
            pass  # It gave up, and says why.
        if process.wait():
            said.seek(0)
            lines = re.sub(r"\[.*?\] *", "", said.read().decode(errors="replace")).splitlines()
            raise OSError(lines[0] if lines else "ffmpeg failed")


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
    ".png": _apng,
    ".webp": _webp,
    ".mp4": _mp4,
}


def shared_palette(frames: Frames, colours: int = 255) -> UInt8[np.ndarray, "colour 3"]:
    """Colours for all frames alike, so that what is still does not flicker.

    All colours of the film where they suffice; else its most common ones as they are (background,
    ink) and median cuts of the others. One entry of 256 is left for what does not change.
    """
    stride = max(1, int(np.sqrt(frames.shape[0] * frames.shape[1] * frames.shape[2] / 2e6)))
    seen, counts = np.unique(_packed(frames[:, ::stride, ::stride]).ravel(), return_counts=True)
    if len(seen) <= colours:
        return _unpacked(seen)
    order = counts.argsort()[::-1]
    common, others = seen[order[:COMMON]], seen[order[COMMON:]]
    row = Image.fromarray(_unpacked(others)[None])
    cut = row.quantize(colours - COMMON, method=Image.Quantize.MEDIANCUT, kmeans=2).getpalette()
    return np.concatenate([_unpacked(common), np.array(cut, np.uint8).reshape(-1, 3)])


def _nearest(frames: Frames, palette: UInt8[np.ndarray, "colour 3"]) -> UInt8[np.ndarray, " packed"]:
    """For every colour of the film, by packed number, the palette's entry nearest to it."""
    seen = np.zeros(2**24, bool)
    for frame in frames:
        seen[_packed(frame)] = True
    present = np.flatnonzero(seen)
    table = np.zeros(2**24, np.uint8)
    known = palette.astype(np.float32)
    for part in np.array_split(present, len(present) // 8192 + 1):
        colours = _unpacked(part).astype(np.float32)
        apart = (known**2).sum(1) - 2 * colours @ known.T
        table[part] = apart.argmin(axis=1)
    return table


def _packed(colours: UInt8[np.ndarray, "*any 3"]) -> np.ndarray:
    wide = colours.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _unpacked(numbers: np.ndarray) -> UInt8[np.ndarray, "any 3"]:
    return np.stack([numbers >> 16 & 255, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)

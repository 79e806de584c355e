"""Emoji, drawn in the installed colour-emoji font."""

import unicodedata
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nca.errors import UserError

EMOJI_FONT = "NotoColorEmoji.ttf"
EMOJI_SIZE = 109
FONT_FOLDERS = "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"


def is_emoji(text: str) -> bool:
    """Whether a text looks like an emoji rather than a name or path."""
    # Emoji newer than Python's tables have no category yet, which reads "Cn".
    return not any(map(str.isascii, text)) and unicodedata.category(text[:1] or "a") in ("So", "Cn")


def draw_emoji(text: str) -> np.ndarray:
    """The (h, w, 4) bytes of one emoji in the installed font, whose bitmaps have one size only.

    Raises:
        UserError: the font is missing or damaged, has no such emoji, or draws it as several.
    """
    try:
        # By its bytes: of an unreadable file, Pillow would look for another of that name.
        font = ImageFont.truetype(BytesIO(Path(_font_path()).read_bytes()), EMOJI_SIZE)
    except OSError as error:
        raise UserError(f"{EMOJI_FONT} is damaged; install fonts-noto-color-emoji again.") from error
    sheet = Image.new("RGBA", (4 * EMOJI_SIZE, 2 * EMOJI_SIZE))
    ImageDraw.Draw(sheet).text((0, 0), text, font=font, embedded_color=True)
    pixels = np.asarray(sheet)
    if not pixels[..., 3].any():
        raise UserError(f"{EMOJI_FONT} has no picture of {text!r}; use another emoji.")
    columns = np.flatnonzero(pixels[..., 3].any(axis=0))
    if columns[-1] - columns[0] + 1 > 1.5 * EMOJI_SIZE:
        raise UserError(f"One emoji is needed, but {text!r} is drawn as several; use only one.")
    return pixels


def _font_path() -> str:
    for folder in FONT_FOLDERS:
        for path in sorted(Path(folder).expanduser().rglob(EMOJI_FONT)):
            return str(path)
    raise UserError(
        f"An emoji needs the font {EMOJI_FONT}, which is not installed; install the package "
        "fonts-noto-color-emoji, or use a picture file."
    )

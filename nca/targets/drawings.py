"""The bundled drawings, each made of a few smooth strokes and blobs.

Lengths are in cells of a 40 x 40 picture, x to the right and y down. A drawing need not fill 0..40, since the
target is cropped to what is visible, but it must cover the middle of that crop, where growth starts. Colours
are those that Pillow knows.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

UNITS = 40
MARGIN = 4

Point = tuple[float, float]


class _Pen:
    """Draws on `sheet`, a transparent picture with a margin of MARGIN units around 0..UNITS.

    Args:
        scale: pixels per unit, above 0.
    """

    def __init__(self, scale: float) -> None:
        side = round((UNITS + 2 * MARGIN) * scale)
        self.scale = scale
        self.sheet = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self.sheet)

    def stroke(self, colour: str, *points: Sequence[float]) -> None:
        """Brush along the smooth curve through `points`, each (x, y, radius); one is a dot."""
        for x, y, radius in (_smooth(points) + np.array([MARGIN, MARGIN, 0])) * self.scale:
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def blob(self, colour: str, corners: ArrayLike) -> None:
        """Fill the polygon whose corners are the (n, 2) sequence `corners` of (x, y)."""
        pixels = (np.asarray(corners, float) + MARGIN) * self.scale
        self._draw.polygon([(x, y) for x, y in pixels.tolist()], fill=colour)


def _smooth(points: ArrayLike, closed: bool = False, steps: int = 64) -> np.ndarray:
    """A Catmull-Rom curve through `points`, an (n, d) sequence, as a (samples, d) array.

    A closed curve ends where it starts; each span between two points has `steps` samples.
    """
    knots = np.asarray(points, float)
    if len(knots) == 1:
        return knots
    before, after = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    knots = np.concatenate([before, knots, after])
    t = np.linspace(0, 1, steps)[:, None]
    return np.concatenate([_span(knots[i : i + 4], t) for i in range(len(knots) - 3)])


def _span(knots: np.ndarray, t: np.ndarray) -> np.ndarray:
    before, start, stop, after = knots
    slope_in, slope_out = (stop - before) / 2, (after - start) / 2
    bend = 3 * (stop - start) - 2 * slope_in - slope_out
    twist = 2 * (start - stop) + slope_in + slope_out
    return start + t * (slope_in + t * (bend + t * twist))


def _lizard(pen: _Pen) -> None:
    """A green lizard striding up and to the left, its tail curling to the right."""
    skin, shade, gold = "#3fae49", "#1b7440", "#ffae1a"
    for leg in _LIZARD_LEGS:
        _leg(pen, skin, gold, *leg)
    for x, y in _LIZARD_EYES:
        pen.stroke(skin, (x, y, 2.2))
    pen.stroke(skin, *_LIZARD_SPINE)
    pen.stroke(shade, *[(x, y, r * 0.5) for x, y, r in _LIZARD_SPINE[2:7]])
    for x, y in ((15.5, 14.0), (19.3, 18.4), (21.2, 23.8)):
        pen.stroke(gold, (x, y, 1.15))
    for x, y in _LIZARD_EYES:
        pen.stroke("#ffffff", (x, y, 1.7))
        pen.stroke("#14202b", (x - 0.2, y - 0.2, 1.15))


_LIZARD_SPINE = (
    (6.2, 4.6, 1.7), (9.0, 7.6, 3.3), (13.0, 11.8, 2.1), (17.4, 16.0, 3.0), (20.8, 21.6, 3.3),
    (21.6, 27.6, 2.2), (22.4, 33.4, 1.7), (26.2, 37.2, 1.4), (30.8, 36.0, 1.2), (31.4, 32.4, 1.0),
    (29.0, 31.6, 0.8),
)  # fmt: skip
_LIZARD_EYES = (6.0, 9.8), (11.4, 4.8)
_LIZARD_LEGS = (
    ((15.0, 15.4), (11.2, 17.0), (9.4, 20.4)),
    ((17.0, 13.8), (20.6, 10.2), (19.6, 6.4)),
    ((20.0, 25.6), (16.0, 26.6), (14.2, 30.2)),
    ((23.0, 22.0), (26.8, 20.8), (29.6, 17.6)),
)


def _leg(pen: _Pen, skin: str, gold: str, hip: Point, knee: Point, foot: Point) -> None:
    pen.stroke(skin, (*hip, 1.3), (*knee, 1.2), (*foot, 1.1))
    ahead = math.atan2(foot[1] - knee[1], foot[0] - knee[0])
    for turn in (-0.9, 0, 0.9):
        toe = foot[0] + 1.7 * math.cos(ahead + turn), foot[1] + 1.7 * math.sin(ahead + turn)
        pen.stroke(gold, (*foot, 0.9), (*toe, 0.8))


def _planarian(pen: _Pen) -> None:
    """A violet flatworm with an arrow-shaped head, two squinting eyes and a tapered tail."""
    skin, light = "#8a4f8f", "#d9a0b4"
    pen.blob(skin, _smooth(_PLANARIAN_HEAD, closed=True))
    pen.stroke(skin, *_PLANARIAN_SPINE)
    pen.stroke(light, *[(x, y, r * 0.36) for x, y, r in _PLANARIAN_SPINE[1:-1]])
    for side in (-1, 1):
        pen.stroke("#ffffff", (18.8 + 2.5 * side, 7.2, 1.7))
        pen.stroke("#1d1426", (18.8 + 2.0 * side, 7.4, 1.05))


_PLANARIAN_HEAD = (
    (18.8, 0.6), (21.6, 2.8), (24.2, 6.0), (27.6, 9.6), (23.4, 11.2), (21.4, 15.0), (16.2, 15.0),
    (14.2, 11.4), (10.0, 9.8), (13.4, 6.2), (16.0, 2.8),
)  # fmt: skip
_PLANARIAN_SPINE = (
    (18.8, 9.0, 4.4), (18.6, 14.6, 4.2), (19.4, 20.4, 5.2), (21.2, 26.6, 4.9), (21.8, 32.4, 3.4),
    (20.4, 37.0, 1.9), (18.0, 39.6, 0.9),
)  # fmt: skip


def _flag(pen: _Pen) -> None:
    """The French flag of positional information, blue, white and red, in a light breeze."""
    pen.blob("#33415f", _cloth(0, 40, 0))
    for colour, left, right in (("#1f4fd8", 1, 14), ("#ffffff", 14, 26), ("#e8303a", 26, 39)):
        pen.blob(colour, _cloth(left, right, 1.1))


def _cloth(left: float, right: float, hem: float) -> np.ndarray:
    across = np.linspace(left, right, 200)
    wave = 20 + 1.5 * np.sin(2 * np.pi * across / 40)
    top = np.stack([across, wave - 12 + hem], axis=1)
    bottom = np.stack([across, wave + 12 - hem], axis=1)
    return np.concatenate([top, bottom[::-1]])


def _starfish(pen: _Pen) -> None:
    """An orange starfish, its five arms a little turned and dotted with cream."""
    for colour, rim in (("#c93a1e", 0), ("#f9682c", 1.1)):
        for arm in range(5):
            pen.stroke(colour, *[(*_along(arm, far), r - rim) for far, r in _STARFISH_ARM])
    for arm in range(5):
        for far, radius in ((0, 1.7), (5.4, 1.3), (9.4, 1.15), (13.4, 1.0)):
            pen.stroke("#ffd9a0", (*_along(arm, far), radius))


_STARFISH_ARM = (0, 6.4), (6, 4.8), (12, 3.3), (18, 2.2)


def _along(arm: int, far: float) -> Point:
    angle = math.radians(72 * arm - 80)
    return 20 + far * math.cos(angle), 20 + far * math.sin(angle)


def _butterfly(pen: _Pen) -> None:
    """A butterfly with orange upper wings, violet lower wings and a bright spot on each."""
    ink = "#2a2350"
    for side in (-1, 1):
        for colour, spot, eye, wing in _BUTTERFLY_WINGS:
            edge = _smooth([(20 + side * x, y) for x, y in wing], closed=True)
            pen.blob(ink, edge)
            pen.blob(colour, edge.mean(axis=0) + 0.78 * (edge - edge.mean(axis=0)))
            pen.stroke(spot, (20 + side * eye[0], *eye[1:]))
        pen.stroke(ink, (20, 11, 0.8), (20 + side * 2, 7, 0.8), (20 + side * 4.6, 5, 1.2))
    pen.stroke(ink, (20, 11, 2.1), (20, 14, 1.7), (20, 20, 2.1), (20, 30, 1.0))


_BUTTERFLY_WINGS = (
    ("#8b5cf0", "#7fe3f2", (9, 26, 2.0),
     ((0.6, 19), (9, 19), (15, 23), (14, 30), (9, 34), (5, 30), (2, 25))),
    ("#ff8a1f", "#ffe14d", (13.4, 11, 2.2),
     ((0.6, 18), (4, 11), (11, 5.6), (18, 5), (19.4, 11), (16, 18), (9, 21.4), (0.6, 21))),
)  # fmt: skip


def _axolotl(pen: _Pen) -> None:
    """A smiling pink axolotl with feathery gills, its tail swinging out to the right."""
    skin, gill, ink = "#ffa6bd", "#e0407f", "#3a1f38"
    pen.stroke("#f7819f", (20, 30, 4), (27, 35, 3.4), (33, 33, 2.6), (35.4, 27.4, 1.2))
    for side in (-1, 1):
        for out, high in ((16.4, 4.6), (18.4, 11.4), (16.8, 18.2)):
            pen.stroke(gill, (20 + side * 9, 12, 1.7), (20 + side * out, high, 1.3))
        for high in (23.6, 33):
            pen.stroke(skin, (20 + side * 4, high, 2), (20 + side * 9, high + 2.8, 1.5))
    pen.stroke(skin, (20, 20, 5.6), (20, 27, 5.6), (20, 33, 4.6))
    pen.stroke("#ffd6df", (20, 24, 3.2), (20, 31, 3.2))
    pen.blob(skin, _smooth(_AXOLOTL_HEAD, closed=True))
    for side in (-1, 1):
        pen.stroke("#ff7f9f", (20 + side * 8.2, 16.2, 1.7))
        pen.stroke(ink, (20 + side * 6.4, 12, 1.7))
        pen.stroke("#ffffff", (20 + side * 6.4 - 0.6, 11.4, 0.6))
    pen.stroke(ink, *_AXOLOTL_SMILE)


_AXOLOTL_HEAD = (
    (20, 4.4), (27, 6), (31.2, 12), (28.6, 18.6), (20, 21), (11.4, 18.6), (8.8, 12), (13, 6),
)  # fmt: skip
_AXOLOTL_SMILE = (
    (16.6, 15.2, 0.6), (18, 16.6, 0.6), (20, 17.2, 0.6), (22, 16.6, 0.6), (23.4, 15.2, 0.6),
)  # fmt: skip

DRAWINGS = {
    "lizard": _lizard,
    "planarian": _planarian,
    "flag": _flag,
    "starfish": _starfish,
    "butterfly": _butterfly,
    "axolotl": _axolotl,
}


def draw(name: str, scale: float) -> np.ndarray:
    """The (h, w, 4) bytes of a drawing at `scale` pixels per unit."""
    pen = _Pen(scale)
    DRAWINGS[name](pen)
    return np.asarray(pen.sheet)

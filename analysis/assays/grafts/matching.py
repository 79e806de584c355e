"""Where does a body stand again? Pictures laid over each other, shifted and turned.

A second body is looked for where it should be: turned by any angle about the place that moved
cells came from, and shifted so that this place comes to lie on the one they went to. It is judged
where it would show: at cells nearer to the new place than to the old, outside the graft, at which it
differs from the body that stands there undisturbed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from jaxtyping import Bool, Float

from analysis import metrics

TOLERANCE = 0.25  # of two colours, premultiplied RGBA, as a distance
LEAST_SHOWN = 0.1  # of the body's cells: fewer say nothing
COARSE = tuple((y, x) for y in range(-4, 5, 2) for x in range(-4, 5, 2))
TURNS = tuple(range(0, 360, 15))
Picture = Float[np.ndarray, "y x 4"]
Place = tuple[float, float]


@dataclass(frozen=True)
class Second:
    """The best match of a second body.

    Attributes:
        share: of the cells where it would show, how many show it: 1 a whole second body, 0 none;
            NaN where too few cells could show one.
        first: of the cells nearer to the old place that belong to the undisturbed body, how many
            still look as in it.
        turn: of the best match, degrees.
        shift: of the best match beyond the graft's own, cells (y, x).
        cells: how many cells show it.
    """

    share: float
    first: float
    turn: float = float("nan")
    shift: tuple[int, int] = (0, 0)
    cells: int = 0


class Template:
    """A body as it would stand a second time, in all its turns and shifts."""

    def __init__(
        self,
        body: Picture,
        source: Place,
        place: Place,
        outside: Bool[np.ndarray, "y x"],
        threshold: float = 0.1,
    ) -> None:
        """Lay out the second bodies.

        Args:
            body: the undisturbed body, premultiplied RGBA.
            source: where the moved cells came from, (y, x).
            place: where they went.
            outside: True outside the graft.
            threshold: alpha above which a cell belongs to the body.
        """
        y, x = np.ogrid[: body.shape[0], : body.shape[1]]
        old, new = ((y - p[0]) ** 2 + (x - p[1]) ** 2 for p in (source, place))
        cells = body[..., 3] > threshold
        self.body, self.near, self.kept = body, (new < old) & outside, cells & (old < new) & outside
        self.least, self.threshold = max(1.0, LEAST_SHOWN * cells.sum()), threshold
        self.shift = np.array([round(b - a) for a, b in zip(source, place, strict=True)])
        self.cells, self.under = np.argwhere(self.near), body[self.near]
        self.turned = {turn: turned(body, source, turn).astype(np.float32) for turn in TURNS}

    def match(self, picture: Picture) -> Second:
        """The best match in a picture: over a grid of turns and shifts, then about the best of these."""
        first = close(picture[self.kept], self.body[self.kept])
        still = float(first.mean()) if first.size else float("nan")
        seen = picture[self.near]
        coarse = [self._at(seen, turn, move) for turn in TURNS for move in COARSE]
        best = max(coarse, key=lambda found: found[0])
        if best[0] < 0:
            return Second(float("nan"), still)
        around = [(best[2][0] + a, best[2][1] + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        share, turn, shift, count = max([self._at(seen, best[1], move) for move in around], key=lambda f: f[0])
        return Second(share, still, float(turn), shift, count)

    def _at(self, seen: np.ndarray, turn: int, move: tuple[int, int]) -> tuple[float, int, tuple[int, int], int]:
        """Share (-1: too few cells to say), turn, shift and count of one second body."""
        came = self.cells - self.shift - move
        inside = ((came >= 0) & (came < self.body.shape[:2])).all(1)
        y, x = np.where(inside[:, None], came, 0).T
        second = self.turned[turn][y, x] * inside[:, None]
        shows = ~close(second, self.under) & (second[:, 3] > self.threshold)
        count = int((close(seen, second) & shows).sum())
        shown = int(shows.sum())
        return (count / shown if shown >= self.least else -1.0), turn, move, count


def close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether colours (..., 4) are the same within the tolerance."""
    return np.square(a - b).sum(-1) <= TOLERANCE**2


def turned(picture: Picture, about: Place, degrees: float) -> Picture:
    """A picture turned about a place, clockwise as seen (from the x axis towards y, which is down)."""
    if degrees % 360 == 0:
        return picture
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, -sin], [sin, cos]])  # of (y, x): where a turned cell came from
    middle = np.asarray(about, float)
    layers = [
        scipy.ndimage.affine_transform(picture[..., c], back, middle - back @ middle, order=1)
        for c in range(picture.shape[-1])
    ]
    return np.stack(layers, -1)


def whole_body(picture: Picture, body: Picture) -> tuple[float, float, tuple[int, int]]:
    """How much of a body a picture shows, wherever and however turned.

    Returns:
        the best W = 1 - E / E_dead over all shifts and over turns by 15 degrees, E being the squared
        difference to the body moved so; its turn in degrees and its shift (y, x). W is NaN where
        there is no body.

    The body's error is taken over all of it, also where it leaves the canvas.
    """
    energy = float(np.square(body).sum())
    if not energy:
        return float("nan"), float("nan"), (0, 0)
    high, wide = (n + m - 1 for n, m in zip(picture.shape[:2], body.shape[:2], strict=True))
    seen = scipy.fft.rfft2(picture, (high, wide), axes=(0, 1))
    own = float(np.square(picture).sum())
    middle = ((body.shape[0] - 1) / 2, (body.shape[1] - 1) / 2)
    best: tuple[float, float, tuple[int, int]] = (-np.inf, 0.0, (0, 0))
    for turn in TURNS:
        laid = turned(body, middle, turn)
        known = scipy.fft.rfft2(laid, (high, wide), axes=(0, 1))
        overlap = scipy.fft.irfft2((seen * known.conj()).sum(-1), (high, wide))
        at = np.unravel_index(int(overlap.argmax()), overlap.shape)
        e = own + float(np.square(laid).sum()) - 2 * float(overlap[at])
        fit = 1 - e / energy
        if fit > best[0]:
            y, x = (int(v) - (n if v >= m else 0) for v, n, m in zip(at, (high, wide), picture.shape, strict=False))
            best = fit, float(turn), (y, x)
    return best


def distance(a: Picture, b: Picture) -> float:
    """E between two pictures, as on 72x72."""
    return float(np.square(a - b).sum() / metrics.PUBLISHED_PIXELS)

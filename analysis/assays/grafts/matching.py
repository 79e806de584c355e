"""Where does a body stand again? Pictures compared under shifts and turns.

A second body is looked for where it should be: turned by any angle about the point that the moved cells came from, and
shifted so that this point comes to lie on the one they went to. It is measured where it would show: at cells nearer to
the new point than to the old, outside the graft, at which it differs from the undisturbed body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
from jaxtyping import Bool, Float

TOLERANCE = 0.25  # of two colours, premultiplied RGBA, as a distance
_MIN_SHOWN = 0.1  # of the body's cells: a second body of fewer visible cells is not defined
_SHIFTS = tuple((y, x) for y in range(-4, 5, 2) for x in range(-4, 5, 2))
_TURNS = tuple(range(0, 360, 15))
Picture = Float[np.ndarray, "y x 4"]
Point = tuple[float, float]


@dataclass(frozen=True)
class BodyMatch:
    """The best match of a second body.

    Attributes:
        second: share of the cells where a second body would show that show it: 1 complete, 0 none; NaN where too few
            cells could show one.
        first: share of the undisturbed body's cells near the old point that still look as in it.
        turn: of the best match, degrees.
        shift: of the best match relative to the graft's own, cells (y, x).
        cells: number of cells that show it.
    """

    second: float
    first: float
    turn: float = float("nan")
    shift: tuple[int, int] = (0, 0)
    cells: int = 0


class BodyTemplate:
    """A body as it would stand a second time, in all its turns and shifts."""

    def __init__(
        self, body: Picture, source: Point, target: Point, outside: Bool[np.ndarray, "y x"], threshold: float = 0.1
    ) -> None:
        """Prepare the second bodies.

        Args:
            body: the undisturbed body, premultiplied RGBA.
            source: where the moved cells came from, (y, x).
            target: where they went.
            outside: True outside the graft.
            threshold: alpha above which a cell belongs to the body.
        """
        y, x = np.ogrid[: body.shape[0], : body.shape[1]]
        old, new = ((y - p[0]) ** 2 + (x - p[1]) ** 2 for p in (source, target))
        cells = body[..., 3] > threshold
        self.body, self.threshold = body, threshold
        self.near_target, self.near_source = (new < old) & outside, cells & (old < new) & outside
        self.min_shown = max(1.0, _MIN_SHOWN * cells.sum())
        self.shift = np.array([round(b - a) for a, b in zip(source, target, strict=True)])
        self.cells, self.undisturbed = np.argwhere(self.near_target), body[self.near_target]
        self.rotated = {turn: _rotate(body, source, turn).astype(np.float32) for turn in _TURNS}

    def match(self, picture: Picture) -> BodyMatch:
        """The best match in a picture: over a grid of turns and shifts, then around the best of these."""
        same = _similar(picture[self.near_source], self.body[self.near_source])
        first = float(same.mean()) if same.size else float("nan")
        seen = picture[self.near_target]
        share, turn, best, _ = max((self._score(seen, t, s) for t in _TURNS for s in _SHIFTS), key=lambda m: m[0])
        if share < 0:
            return BodyMatch(float("nan"), first)
        around = [(best[0] + y, best[1] + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        share, turn, best, cells = max((self._score(seen, turn, s) for s in around), key=lambda m: m[0])
        return BodyMatch(share, first, float(turn), best, cells)

    def _score(self, seen: np.ndarray, turn: int, shift: tuple[int, int]) -> tuple[float, int, tuple[int, int], int]:
        """Share (-1: too few cells), turn, shift and number of cells of one second body."""
        origin = self.cells - self.shift - shift
        inside = ((origin >= 0) & (origin < self.body.shape[:2])).all(1)
        y, x = np.where(inside[:, None], origin, 0).T
        second = self.rotated[turn][y, x] * inside[:, None]
        shows = ~_similar(second, self.undisturbed) & (second[:, 3] > self.threshold)
        cells, shown = int((_similar(seen, second) & shows).sum()), int(shows.sum())
        return (cells / shown if shown >= self.min_shown else -1.0), turn, shift, cells


def _similar(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.square(a - b).sum(-1) <= TOLERANCE**2


def _rotate(picture: Picture, about: Point, degrees: float) -> Picture:
    """A picture turned about a point, clockwise as seen (from the x axis towards y, which is down)."""
    if degrees % 360 == 0:
        return picture
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, -sin], [sin, cos]])  # of (y, x): where a turned cell came from
    centre = np.asarray(about, float)
    layers = [
        scipy.ndimage.affine_transform(picture[..., c], back, centre - back @ centre, order=1)
        for c in range(picture.shape[-1])
    ]
    return np.stack(layers, -1)


def best_fit(picture: Picture, body: Picture) -> tuple[float, float, tuple[int, int]]:
    """How much of a body a picture shows, wherever and however turned.

    Returns:
        the best fitness 1 - E / E_empty over all shifts and over turns by 15 degrees, E being the squared difference to
        the body moved so, taken over all of the body, also where it leaves the canvas; its turn in degrees and its
        shift (y, x). The fitness is NaN where there is no body.
    """
    energy = float(np.square(body).sum())
    if not energy:
        return float("nan"), float("nan"), (0, 0)
    size = tuple(n + m - 1 for n, m in zip(picture.shape[:2], body.shape[:2], strict=True))
    spectrum = scipy.fft.rfft2(picture, size, axes=(0, 1))
    own = float(np.square(picture).sum())
    middle = ((body.shape[0] - 1) / 2, (body.shape[1] - 1) / 2)
    best: tuple[float, float, tuple[int, int]] = (-np.inf, 0.0, (0, 0))
    for turn in _TURNS:
        rotated = _rotate(body, middle, turn)
        other = scipy.fft.rfft2(rotated, size, axes=(0, 1))
        overlap = scipy.fft.irfft2((spectrum * other.conj()).sum(-1), size)
        at = np.unravel_index(int(overlap.argmax()), overlap.shape)
        fit = 1 - (own + float(np.square(rotated).sum()) - 2 * float(overlap[at])) / energy
        if fit > best[0]:
            y, x = (int(v) - (n if v >= m else 0) for v, n, m in zip(at, size, picture.shape, strict=False))
            best = fit, float(turn), (y, x)
    return best

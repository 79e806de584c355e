"""Where a cell is on its body: from the seed, from the edge, and along the body from end to end."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra


def positions(mask: Bool[np.ndarray, "y x"]) -> dict[str, Float[np.ndarray, " cell"]]:
    """Where every cell of the body is, in cells: x and y from the seed, right and down; radius,
    distance from the seed; edge, distance to the nearest cell outside, which beyond the canvas all are."""
    y, x = np.argwhere(mask).T - np.asarray([[mask.shape[0] // 2], [mask.shape[1] // 2]])
    edge = _to_edge(mask)[mask]
    return {"x": x.astype(float), "y": y.astype(float), "radius": np.hypot(x, y), "edge": edge}


def geodesic(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, " cell"]:
    """The body coordinate s: length of the shortest path inside the body from one end, in cells.

    The ends are found by two sweeps: the cell farthest from any cell is one end, the cell farthest
    from that is the other. s starts at the end that comes first in reading order (topmost, then
    leftmost), so that it is the same for equal bodies.

    Args:
        mask: the body.

    Returns:
        One number per cell of the mask, in row-major order; NaN on all islands but the largest
        (from which no path leads to them).
    """
    inside = main_island(mask)[mask]
    along = np.full(int(mask.sum()), np.nan)
    if inside.any():
        paths = _paths(mask)
        far = int(_farthest(paths, int(np.flatnonzero(inside)[0])))
        along = dijkstra(paths, indices=min(far, int(_farthest(paths, far))))
    return np.where(inside, along, np.nan)


def body_ends(mask: Bool[np.ndarray, "y x"]) -> Int[np.ndarray, "2 2"]:
    """(y, x) of the body's two ends: where s begins, and where it is largest.

    Args:
        mask: the body, of at least one cell.
    """
    along = geodesic(mask)
    return np.argwhere(mask)[[int(np.nanargmin(along)), int(np.nanargmax(along))]]


def main_island(mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """The largest piece of the body, the first of them in reading order; pieces are joined by sides."""
    pieces, number = scipy.ndimage.label(mask)
    if number < 2:
        return mask.astype(bool)
    return pieces == 1 + int(np.bincount(pieces[mask])[1:].argmax())


def _farthest(paths: csr_array, cell: int) -> int:
    """The cell at the end of the longest of the shortest paths; the first of several."""
    far = dijkstra(paths, indices=cell)
    return int(np.where(np.isfinite(far), far, -1.0).argmax())


def _paths(mask: np.ndarray) -> csr_array:
    """Steps to the eight neighbours inside the body, with their lengths. A diagonal step needs one of
    the two cells beside it, so that it leaves no island."""
    number = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1)
    height, width = mask.shape
    begin, end, length = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows, left, right = slice(0, height - dy), max(0, -dx), width - max(0, dx)
        one = number[rows, left:right]
        other = number[dy:, left + dx : right + dx]
        joined = (one >= 0) & (other >= 0)
        if dy and dx:
            joined &= (number[rows, left + dx : right + dx] >= 0) | (number[dy:, left:right] >= 0)
        begin.append(one[joined])
        end.append(other[joined])
        length.append(np.full(int(joined.sum()), np.hypot(dy, dx)))
    a, b, size = np.concatenate(begin), np.concatenate(end), np.concatenate(length)
    cells = int(mask.sum())
    steps = (np.concatenate([a, b]), np.concatenate([b, a]))
    return csr_array((np.concatenate([size, size]), steps), shape=(cells, cells))


def cell_ages(mature: Bool[np.ndarray, "step y x"], steps: Int[np.ndarray, " step"]) -> Float[np.ndarray, "step y x"]:
    """Steps since each cell last became mature, 0 where it just has; NaN where it is not.

    Args:
        mature: the cells of the body at each recorded step.
        steps: the steps' numbers, ascending.
    """
    born = np.full(mature.shape[1:], np.nan)
    out = np.full(mature.shape, np.nan)
    for k, (body, step) in enumerate(zip(mature, steps, strict=True)):
        born = np.where(body, np.where(np.isfinite(born), born, step), np.nan)
        out[k] = step - born
    return out


def shape_features(mask: Bool[np.ndarray, "y x"], sigma: float = 3.0) -> Float[np.ndarray, "cell feature"]:
    """What the shape alone tells a cell: its distance to the edge, the smoothed mask, and its gradient.

    Args:
        mask: the body.
        sigma: of the Gaussian that smooths it, in cells.

    Returns:
        Distance to the nearest cell outside, smoothed mask, its slopes along y and x.
    """
    soft = scipy.ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant")
    down, right = np.gradient(soft)
    fields = [_to_edge(mask), soft, down, right]
    return np.stack([f[mask] for f in fields], 1)


def _to_edge(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
    """Distance of every cell to the nearest cell outside. The canvas ends in such cells: else a body that
    fills it has no edge, and the distance would be measured from the canvas's first corner."""
    return np.asarray(scipy.ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1])

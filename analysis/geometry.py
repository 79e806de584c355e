"""Where a cell is on its body: relative to the seed, to the edge, and along the body from end to end."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from nca.damage import disc

Wounds = Mapping[str, tuple[Bool[np.ndarray, "y x"], dict[str, float]]]  # region and numbers, by name


def positions(mask: Bool[np.ndarray, "y x"]) -> dict[str, Float[np.ndarray, " cell"]]:
    """The position of every cell of the body, in cells.

    Returns:
        x and y, from the seed to the right and down; radius, the distance from the seed; edge, the distance
        to the nearest cell outside the body (everything beyond the canvas is outside).
    """
    y, x = np.argwhere(mask).T - np.asarray([[mask.shape[0] // 2], [mask.shape[1] // 2]])
    edge = _edge_distance(mask)[mask]
    return {"x": x.astype(float), "y": y.astype(float), "radius": np.hypot(x, y), "edge": edge}


def geodesic(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, " cell"]:
    """The body coordinate s: length of the shortest path inside the body from one of its ends, in cells.

    The ends are found by two sweeps: the cell farthest from an arbitrary cell is one end, the cell farthest
    from that is the other. s starts at the end that comes first in reading order (topmost, then leftmost), so
    that equal bodies have equal s.

    Returns:
        One number per cell of the mask, in row-major order; NaN on all islands but the largest.
    """
    inside = _main_island(mask)[mask]
    s = np.full(int(mask.sum()), np.nan)
    if inside.any():
        paths = _paths(mask)
        end = _farthest(paths, int(np.flatnonzero(inside)[0]))
        s = dijkstra(paths, indices=min(end, _farthest(paths, end)))
    return np.where(inside, s, np.nan)


def body_ends(mask: Bool[np.ndarray, "y x"]) -> Int[np.ndarray, "2 2"]:
    """(y, x) of the two ends of a body of one or more cells: where s begins, and where it is largest."""
    s = geodesic(mask)
    return np.argwhere(mask)[[int(np.nanargmin(s)), int(np.nanargmax(s))]]


def _main_island(mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """The largest island of the body, the first in reading order of equal ones; cells join by their sides."""
    islands, number = scipy.ndimage.label(mask)
    if number < 2:
        return mask.astype(bool)
    return islands == 1 + int(np.bincount(islands[mask])[1:].argmax())


def count_islands(mask: Bool[np.ndarray, "y x"]) -> int:
    """Number of islands of the body; cells join by their sides."""
    return int(scipy.ndimage.label(mask)[1])


def _farthest(paths: csr_array, cell: int) -> int:
    """The cell that is farthest along the shortest paths; the first of several."""
    distance = dijkstra(paths, indices=cell)
    return int(np.where(np.isfinite(distance), distance, -1.0).argmax())


def _paths(mask: np.ndarray) -> csr_array:
    """Lengths of the steps to the neighbours inside the body. A diagonal step needs one of the two cells
    next to it, so that it does not leave an island."""
    cells = np.argwhere(mask)
    pairs = KDTree(cells).query_pairs(1.5, output_type="ndarray")
    (ay, ax), (by, bx) = cells[pairs[:, 0]].T, cells[pairs[:, 1]].T
    joined = (ay == by) | (ax == bx) | mask[ay, bx] | mask[by, ax]
    lengths = np.hypot(ay - by, ax - bx)
    there = csr_array((lengths[joined], tuple(pairs[joined].T)), shape=(len(cells), len(cells)))
    return there + there.T


def cell_ages(mature: Bool[np.ndarray, "step y x"], steps: Int[np.ndarray, " step"]) -> Float[np.ndarray, "step y x"]:
    """Steps since each cell last became mature, 0 at the step at which it did; NaN where it is not mature.

    The steps are recorded ones, in ascending order.
    """
    born = np.full(mature.shape[1:], np.nan)
    ages = np.full(mature.shape, np.nan)
    for k, (body, step) in enumerate(zip(mature, steps, strict=True)):
        born = np.where(body, np.where(np.isfinite(born), born, step), np.nan)
        ages[k] = step - born
    return ages


def hole_grid(body: Bool[np.ndarray, "y x"], radii: tuple[float, ...], points: int) -> Wounds:
    """Discs of each radius about approximately `points` cells of the body, on a square grid through its middle.

    Returns:
        The region and the numbers radius, centre_y and centre_x (cells) of each, by its name.
    """
    spacing = max(1, round(float(np.sqrt(body.sum() / points))))
    y, x = np.nonzero(body)
    rows, columns = (np.arange(round(v.mean()) % spacing, n, spacing) for v, n in zip((y, x), body.shape, strict=True))
    wounds = {}
    for radius, centre in product(radii, product(rows.tolist(), columns.tolist())):
        if body[centre]:
            numbers = {"radius": float(radius), "centre_y": float(centre[0]), "centre_x": float(centre[1])}
            wounds[f"radius {radius:g} at {centre[0]},{centre[1]}"] = disc(body.shape, centre, radius), numbers
    return wounds


def shape_features(mask: Bool[np.ndarray, "y x"], sigma: float = 3.0) -> Float[np.ndarray, "cell feature"]:
    """Features of a cell that follow from the body's shape alone.

    Returns:
        Distance to the nearest cell outside; the mask smoothed by a Gaussian of `sigma` cells; the gradient of the
        smoothed mask along y and along x.
    """
    smoothed = scipy.ndimage.gaussian_filter(mask.astype(float), sigma, mode="constant")
    fields = [_edge_distance(mask), smoothed, *np.gradient(smoothed)]
    return np.stack([field[mask] for field in fields], 1)


def _edge_distance(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
    """Distance of every cell to the nearest cell outside. The canvas is padded with such cells: otherwise a body that
    fills it would have no edge, and the distance would be measured from the first corner of the canvas."""
    return np.asarray(scipy.ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1])

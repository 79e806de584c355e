"""Surrogate fields on a body: as smooth as the real ones, channel by channel and scale by scale, and without
any relation to position.

The grid graph of the mask has a Laplacian; its eigenvectors are the body's own modes, long wavelengths
first. The coefficients of a field are rotated at random within bands of neighbouring modes. That keeps the
mean of every channel, all covariances between channels (so the spectrum and loadings of a PCA) and the power
in every band; it scrambles only the position. Permuting cells would destroy the smoothness, so that every
smooth field would be "significant" (`tests/analysis/stats/test_surrogates.py` shows it). Flipping the signs
of single modes leaves the longest ones nearly in place.

Islands, as a fringe that is still growing leaves them, are joined to their nearest neighbours: otherwise each
would add a longest mode of its own, and smooth fields would be rejected far too often.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist

from nca.errors import UserError

MAX_CELLS = 4000
_BAND_SIZES = (3, 5, 8, 13, 21, 34, 55)
_LAST_BAND_SIZE = 60


def draw_surrogates(
    values: Float[np.ndarray, "cell channel"], mask: Bool[np.ndarray, "y x"], number: int = 99, seed: int = 0
) -> Float[np.ndarray, "surrogate cell channel"]:
    """Band-rotated surrogates of the channels of a body's cells.

    Args:
        values: one row per cell of the mask, in row-major order.

    Raises:
        UserError: a mask that does not fit the values, or a body of more than 4,000 cells, whose modes
            would take minutes to compute.
    """
    if len(values) != mask.sum():
        raise UserError(f"A mask of {int(mask.sum())} cells needs as many rows, got {len(values)}.")
    return rotate_bands(values, laplacian_modes(mask), number, seed)


def rotate_bands(
    values: Float[np.ndarray, "cell channel"],
    modes: Float[np.ndarray, "cell mode"],
    number: int,
    seed: int = 0,
    mean: bool = True,
) -> Float[np.ndarray, "surrogate cell channel"]:
    """`draw_surrogates` on a body whose `laplacian_modes` are given.

    Args:
        mean: keep the mean of every channel. If False the constant mode is rotated with the longest
            ones, so that only the power of the mean is kept.
    """
    coefficients = modes.T @ np.asarray(values, np.float64)
    # The noise is drawn per cell, not per mode: eigenvectors of equal or close eigenvalues differ between
    # machines, the space that a band of them spans does not.
    columns = min(coefficients.shape[1], len(modes))
    noise = np.random.default_rng(seed).standard_normal((len(modes), number * columns))
    noise = (modes.T @ noise).reshape(len(modes), number, columns).swapaxes(0, 1)
    rotated = np.broadcast_to(coefficients, (number, *coefficients.shape)).copy()
    for band in _bands(len(modes), first=int(mean)):
        # Of a random rotation Q only its product with the band's few columns counts. With the columns
        # written as (orthonormal) R, that is a random orthonormal frame times R: far less to draw.
        frame, r = _qr(coefficients[band])
        rotated[:, band] = _qr(noise[:, band, : frame.shape[1]])[0] @ r
    return modes @ rotated


def laplacian_modes(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "cell mode"]:
    """Orthonormal eigenvectors of the Laplacian of the mask's grid graph, by rising eigenvalue, the constant first.

    Raises:
        UserError: no cell, or more than 4,000.
    """
    cells = int(mask.sum())
    if not 1 <= cells <= MAX_CELLS:
        raise UserError(f"Surrogates need a body of 1 to {MAX_CELLS} cells, got {cells}.")
    shifted = _laplacian(mask) - np.full((cells, cells), 1.0 / cells)
    modes = np.linalg.eigh(shifted)[1]  # the constant alone has a negative eigenvalue: -1
    modes[:, 0] = 1 / np.sqrt(cells)
    return modes


def laplacian_eigenvalues(
    modes: Float[np.ndarray, "cell mode"], mask: Bool[np.ndarray, "y x"]
) -> Float[np.ndarray, " mode"]:
    """The eigenvalue of each mode of `laplacian_modes`: about the squared wave number per cell, 0 of the constant."""
    return np.asarray(np.einsum("cm,cm->m", modes, _laplacian(mask) @ modes))


def _laplacian(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "cell cell"]:
    """D - A of the graph that joins cells that share a side, and the `_bridges` between islands; nothing wraps."""
    number = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1)
    matrix = np.zeros((int(mask.sum()),) * 2)
    for first, second in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:])):
        joined = (first >= 0) & (second >= 0)
        a, b = first[joined], second[joined]
        matrix[a, b] = matrix[b, a] = -1.0
    a, b = _bridges(mask)
    matrix[a, b] = matrix[b, a] = -1.0
    np.fill_diagonal(matrix, -matrix.sum(1))
    return matrix


def _bridges(mask: Bool[np.ndarray, "y x"]) -> Int[np.ndarray, "2 pair"]:
    """Pairs of cells that join the islands of a mask: the smallest island is joined to the rest by all its nearest
    pairs, again and again until one island is left."""
    cells, island = np.argwhere(mask), scipy.ndimage.label(mask)[0][mask]
    bridges = [np.zeros((2, 0), np.int64)]
    while len(labels := np.unique(island)) > 1:
        smallest = labels[np.argmin([(island == label).sum() for label in labels])]
        inside = island == smallest
        distance = cdist(cells[inside], cells[~inside], "sqeuclidean")
        near, far = np.nonzero(distance == distance.min())
        pairs = np.stack([np.flatnonzero(inside)[near], np.flatnonzero(~inside)[far]])
        bridges.append(pairs)
        island[inside | np.isin(island, island[pairs[1]])] = smallest
    return np.concatenate(bridges, 1)


def _bands(cells: int, first: int = 1) -> list[slice]:
    """The modes that are rotated together: 3, 5, 8, 13, 21, 34, 55, then 60 at a time, from mode `first` on."""
    bands, sizes = [], iter(_BAND_SIZES)
    while first < cells:
        last = min(first + next(sizes, _LAST_BAND_SIZE), cells)
        bands.append(slice(first, last))
        first = last
    return bands


def haar_frames(
    rng: np.random.Generator, size: int, columns: int, number: int
) -> Float[np.ndarray, "number size columns"]:
    """The first columns of random orthogonal matrices, uniform over the group (Haar).

    QR of Gaussians with the signs of R's diagonal made positive, as `scipy.stats.ortho_group` does for
    whole matrices.
    """
    return _qr(rng.standard_normal((number, size, columns)))[0]


def _qr(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The QR decomposition whose R has no negative diagonal."""
    q, r = np.linalg.qr(matrix)
    sign = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return q * sign[..., None, :], r * sign[..., :, None]

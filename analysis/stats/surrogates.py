"""Nulls for maps on a body: fields as smooth as the real one, channel by channel and scale by scale,
that know nothing of where they are.

The mask's grid graph has a Laplacian; its eigenvectors are the body's own waves, long ones first.
A field's coefficients are rotated at random inside bands of neighbouring wavelengths. That keeps the
mean of every channel, all products and covariances of channels (so the spectrum and the loadings of
a PCA) and the power in every band, and scrambles only the place. Permuting cells would destroy the
smoothness, so that every smooth field at all would be "found" (`tests/test_surrogates.py` shows it):
a permutation of cells is therefore not offered. Flipping the signs of single waves leaves the longest
nearly in place.

Cells apart from the body, as a fringe that is still growing leaves them, are joined to what is nearest
to them. Else each would be a longest wave of its own, ahead of the body's, and smooth fields would be
found far too often (`tests/test_surrogates.py` counts it).
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist

from nca.errors import UserError

BANDS = (3, 5, 8, 13, 21, 34, 55)
LAST_BANDS = 60
LARGEST_BODY = 4000


def band_rotated(
    values: Float[np.ndarray, "cell channel"],
    mask: Bool[np.ndarray, "y x"],
    number: int = 99,
    seed: int = 0,
) -> Float[np.ndarray, "surrogate cell channel"]:
    """Surrogates of the channels of a body's cells.

    Args:
        values: one row per cell of the mask, in row-major order.
        mask: the body.
        number: surrogates to draw.
        seed: what they are drawn from.

    Raises:
        UserError: a mask that does not fit the values, or a body of more than 4,000 cells, whose
            waves would take minutes to compute.
    """
    if len(values) != mask.sum():
        raise UserError(f"A mask of {int(mask.sum())} cells needs as many rows, got {len(values)}.")
    return rotated(values, modes(mask), number, seed)


def rotated(
    values: Float[np.ndarray, "cell channel"],
    waves: Float[np.ndarray, "cell mode"],
    number: int,
    seed: int = 0,
    mean: bool = True,
) -> Float[np.ndarray, "surrogate cell channel"]:
    """`band_rotated` on a body whose `modes` are known already. Without `mean` the constant is rotated
    with the longest waves: of a field's mean then only the power is kept."""
    coefficients = waves.T @ np.asarray(values, np.float64)
    # What is random is drawn for cells, not for waves: eigenvectors of equal or close eigenvalues differ
    # from one machine to another, the space that a band of them spans does not.
    columns = min(coefficients.shape[1], len(waves))
    noise = np.random.default_rng(seed).standard_normal((len(waves), number * columns))
    drawn = (waves.T @ noise).reshape(len(waves), number, columns).swapaxes(0, 1)
    turned = np.broadcast_to(coefficients, (number, *coefficients.shape)).copy()
    for band in bands(len(waves), first=int(mean)):
        # Of a random rotation Q only Q times the band's few columns counts, and with these columns
        # written as (orthonormal) R, that is a random orthonormal frame times R: far less to draw.
        frame, r = _qr(coefficients[band])
        turned[:, band] = _qr(drawn[:, band, : frame.shape[1]])[0] @ r
    return waves @ turned


def modes(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "cell mode"]:
    """Orthonormal eigenvectors of the mask's `laplacian`, by rising eigenvalue, the constant first."""
    cells = int(mask.sum())
    if not 1 <= cells <= LARGEST_BODY:
        raise UserError(f"Surrogates need a body of 1 to {LARGEST_BODY} cells, got {cells}.")
    shifted = laplacian(mask) - np.full((cells, cells), 1.0 / cells)
    waves = np.linalg.eigh(shifted)[1]  # the constant alone has a negative eigenvalue: -1
    waves[:, 0] = 1 / np.sqrt(cells)
    return waves


def laplacian(mask: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "cell cell"]:
    """D - A of the graph that joins cells of the mask that share a side, and the `bridges` between
    islands; nothing wraps."""
    number = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1)
    matrix = np.zeros((int(mask.sum()),) * 2)
    for one, other in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:])):
        joined = (one >= 0) & (other >= 0)
        a, b = one[joined], other[joined]
        matrix[a, b] = matrix[b, a] = -1.0
    a, b = bridges(mask)
    matrix[a, b] = matrix[b, a] = -1.0
    np.fill_diagonal(matrix, -matrix.sum(1))
    return matrix


def bridges(mask: Bool[np.ndarray, "y x"]) -> Int[np.ndarray, "2 pair"]:
    """Pairs of cells that join the islands of a mask: again and again the smallest island is joined to
    the rest by all its nearest pairs, until one is left."""
    places, island = np.argwhere(mask), scipy.ndimage.label(mask)[0][mask]
    found = [np.zeros((2, 0), np.int64)]
    while len(left := np.unique(island)) > 1:
        sizes = [(island == one).sum() for one in left]
        inside = island == left[np.argmin(sizes)]
        apart = cdist(places[inside], places[~inside], "sqeuclidean")
        near, far = np.nonzero(apart == apart.min())
        pairs = np.stack([np.flatnonzero(inside)[near], np.flatnonzero(~inside)[far]])
        found.append(pairs)
        island[inside | np.isin(island, island[pairs[1]])] = left[np.argmin(sizes)]
    return np.concatenate(found, 1)


def bands(cells: int, first: int = 1) -> list[slice]:
    """The modes rotated together: 3, 5, 8, 13, 21, 34, 55, then 60 at a time, from mode `first` on."""
    found, sizes = [], iter(BANDS)
    while first < cells:
        last = min(first + next(sizes, LAST_BANDS), cells)
        found.append(slice(first, last))
        first = last
    return found


def haar(rng: np.random.Generator, size: int, columns: int, number: int) -> Float[np.ndarray, "number size columns"]:
    """The first columns of orthogonal matrices drawn uniformly: QR of Gaussians, with the signs of
    R's diagonal made positive."""
    return _qr(rng.standard_normal((number, size, columns)))[0]


def _qr(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The one QR decomposition whose R has no negative diagonal."""
    q, r = np.linalg.qr(matrix)
    sign = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return q * sign[..., None, :], r * sign[..., :, None]


def p_value(observed: float, null: Float[np.ndarray, " surrogate"]) -> float:
    """(1 + #{null >= observed}) / (n + 1), one-sided; never below 1 / (n + 1). NaN where a value or one of
    the null is not defined: nothing is above NaN, so that it would be the smallest p there is."""
    if np.isnan(observed) or np.isnan(null).any():
        return float("nan")
    return float((1 + (np.asarray(null) >= observed).sum()) / (len(null) + 1))


def islands(mask: Bool[np.ndarray, "y x"]) -> int:
    """Pieces that the body is in."""
    return int(scipy.ndimage.label(mask)[1])

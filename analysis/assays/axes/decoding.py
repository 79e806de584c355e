"""Is a quantity written in the cells' states? Linear decoders with folds that keep neighbours together.

A ridge needs only sums over cells of products of channels and quantities. These are added up once for
every block of cells, so that any way to deal blocks to folds, for any number of fields, costs little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from nca.errors import UserError

FOLDS = 8
BLOCK = 8
PENALTY = 1.0
CHUNK = 2**24  # numbers held at once


def deal(cells: Int[np.ndarray, "cell 2"], number: int, folds: int = FOLDS) -> Int[np.ndarray, " cell"]:
    """The fold of every cell: blocks of 8x8 cells are shuffled and dealt round in turn.

    Cells of one block stay together, or a decoder would only look up the neighbours' answers.

    Args:
        cells: (y, x) on the canvas.
        number: which deal; it seeds the shuffle.
        folds: how many, at least 2.

    Raises:
        UserError: fewer blocks than two.
    """
    blocks, of_cell = _blocks(cells)
    return _dealt(blocks, number, folds)[of_cell]


def _blocks(cells: np.ndarray) -> tuple[int, np.ndarray]:
    """How many blocks hold a cell, and the block of every cell, in row-major order."""
    blocks, of_cell = np.unique(cells // BLOCK, axis=0, return_inverse=True)
    if len(blocks) < 2:
        raise UserError(f"Decoding needs a body over two or more {BLOCK}x{BLOCK} blocks, got {len(blocks)}.")
    return len(blocks), of_cell.ravel()


def _dealt(blocks: int, number: int, folds: int) -> np.ndarray:
    """The fold of every block."""
    fold = np.empty(blocks, int)
    fold[np.random.default_rng(number).permutation(blocks)] = np.arange(blocks) % folds
    return fold


def decoded(
    features: Float[np.ndarray, "*field cell channel"],
    quantities: Float[np.ndarray, "cell quantity"],
    cells: Int[np.ndarray, "cell 2"],
    deals: int = 10,
) -> Float[np.ndarray, "*field deal quantity"]:
    """R2 of quantities decoded from the states of cells held out.

    Features are standardised and a ridge (penalty 1) is fitted on the training folds; the squared
    errors of all folds are pooled, and compared with the quantity's spread about the mean of all
    cells.

    Args:
        features: one field, or many (say surrogates) along the first axis.
        quantities: what to decode; one that is constant gives NaN.
        cells: (y, x) of every cell on the canvas.
        deals: ways to deal the blocks; one alone varies by .05 to .1.
    """
    lost = residuals(features, quantities, cells, deals)
    spread = np.square(quantities - quantities.mean(0)).sum(0)
    left = np.diagonal(lost, axis1=-2, axis2=-1)
    return 1 - left / np.where(spread > 0, spread, np.nan)


def residuals(
    features: Float[np.ndarray, "*field cell channel"],
    quantities: Float[np.ndarray, "cell quantity"],
    cells: Int[np.ndarray, "cell 2"],
    deals: int = 10,
) -> Float[np.ndarray, "*field deal quantity other"]:
    """Sums over cells held out of the products of two quantities' errors; arguments as for `decoded`."""
    stack = features[None] if features.ndim == 2 else features
    blocks, of_cell = _blocks(cells)
    folds = [_dealt(blocks, number, FOLDS) for number in range(deals)]
    width = 1 + stack.shape[2] + quantities.shape[1]
    chunk = max(1, CHUNK // (width * max(len(cells), blocks * width)))
    parts = []
    for first in range(0, len(stack), chunk):
        sums = _sums(_standard(stack[first : first + chunk]), quantities, of_cell, blocks)
        parts.append(np.stack([_lost(sums, fold, stack.shape[2]).sum(1) for fold in folds], 1))
    lost = np.concatenate(parts)
    return lost[0] if features.ndim == 2 else lost


def left_out(
    features: Sequence[Float[np.ndarray, "cell channel"]],
    quantities: Sequence[Float[np.ndarray, "cell quantity"]],
) -> Float[np.ndarray, "run quantity"]:
    """R2 in each run of a decoder fitted on all the others, about that run's own mean.

    This shows that runs of one network repeat each other, and nothing else: one frozen random field
    that all runs share scores as well as a code of position.

    Args:
        features: of the cells of each run; two runs or more.
        quantities: of the same cells.
    """
    if len(features) < 2:
        raise UserError(f"Leaving one run out needs two or more runs, got {len(features)}.")
    of_cell = np.repeat(np.arange(len(features)), [len(f) for f in features])
    sums = _sums(_standard(np.concatenate(features)[None]), np.concatenate(quantities), of_cell, len(features))
    lost = _lost(sums, np.arange(len(features)), features[0].shape[1])[0]
    spread = np.stack([np.square(q - q.mean(0)).sum(0) for q in quantities])
    return 1 - np.diagonal(lost, axis1=-2, axis2=-1) / np.where(spread > 0, spread, np.nan)


def weights(
    features: Float[np.ndarray, "cell channel"], quantities: Float[np.ndarray, "cell quantity"]
) -> Float[np.ndarray, "channel quantity"]:
    """The decoders themselves, fitted on all cells: change of a quantity per unit of each channel."""
    features = np.asarray(features, np.float64)
    centred = features - features.mean(0)
    sd = np.where(_varies(features), features.std(0), np.inf)
    scaled = centred / sd
    gram = scaled.T @ scaled + PENALTY * np.eye(scaled.shape[1])
    return np.linalg.solve(gram, scaled.T @ (quantities - quantities.mean(0))) / sd[:, None]


def _varies(features: np.ndarray) -> np.ndarray:
    """Where a channel differs from its mean by more than rounding, which must not be blown up."""
    size = np.abs(features).max(-2)
    return np.asarray(features.std(-2) > 1e-9 * (np.abs(features.mean(-2)) + size))


def _standard(stack: np.ndarray) -> np.ndarray:
    """Features of mean 0 and sd 1 over all cells, constant ones 0: only for the sums' precision."""
    stack = np.asarray(stack, np.float64)
    sd = np.where(_varies(stack), stack.std(-2), np.inf)
    return (stack - stack.mean(-2, keepdims=True)) / sd[:, None]


def _sums(
    stack: Float[np.ndarray, "field cell channel"],
    quantities: Float[np.ndarray, "cell quantity"],
    of_cell: Int[np.ndarray, " cell"],
    blocks: int,
) -> Float[np.ndarray, "field block column other"]:
    """Sums over each block's cells of products of (1, channels, centred quantities)."""
    fields, cells, _ = stack.shape
    known = np.broadcast_to(quantities - quantities.mean(0), (fields, cells, quantities.shape[1]))
    columns = np.concatenate([np.ones((fields, cells, 1)), stack, known], -1)
    sums = np.empty((fields, blocks, columns.shape[2], columns.shape[2]))
    for block in range(blocks):
        part = columns[:, of_cell == block]
        sums[:, block] = part.transpose(0, 2, 1) @ part
    return sums


def _lost(
    sums: Float[np.ndarray, "field block column other"], fold: Int[np.ndarray, " block"], channels: int
) -> Float[np.ndarray, "field fold quantity other"]:
    """Products of errors in each fold, of ridges with intercept fitted on all other folds."""
    folds = np.arange(fold.max() + 1)
    member = (fold == folds[:, None]).astype(float)
    held = np.tensordot(sums, member, (1, 1)).transpose(0, 3, 1, 2)
    train = held.sum(1, keepdims=True) - held
    x, y = slice(1, channels + 1), slice(channels + 1, None)
    many = train[..., 0, 0, None]
    mean_x, mean_y = train[..., 0, x] / many, train[..., 0, y] / many
    spread = train[..., x, x] - many[..., None] * mean_x[..., :, None] * mean_x[..., None, :]
    shared = train[..., x, y] - many[..., None] * mean_x[..., :, None] * mean_y[..., None, :]
    sd = np.sqrt(np.maximum(np.diagonal(spread, axis1=-2, axis2=-1) / many, 0))
    inverse = np.where(sd > 1e-7, 1 / np.maximum(sd, 1e-7), 0.0)
    gram = spread * inverse[..., :, None] * inverse[..., None, :] + PENALTY * np.eye(channels)
    slope = inverse[..., None] * np.linalg.solve(gram, inverse[..., None] * shared)
    start = mean_y - (mean_x[..., None, :] @ slope)[..., 0, :]
    one = np.broadcast_to(np.eye(start.shape[-1]), (*start.shape[:-1], start.shape[-1], start.shape[-1]))
    error = np.concatenate([-start[..., None, :], -slope, one], -2)
    return error.swapaxes(-1, -2) @ held @ error

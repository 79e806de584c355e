"""Is a quantity written in the cells' states? Linear decoders with folds that keep neighbours together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from nca.errors import UserError

FOLDS = 8
BLOCK = 8
PENALTY = 1.0


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
    blocks, block = np.unique(cells // BLOCK, axis=0, return_inverse=True)  # row-major
    if len(blocks) < 2:
        raise UserError(f"Decoding needs a body over two or more {BLOCK}x{BLOCK} blocks, got {len(blocks)}.")
    order = np.random.default_rng(number).permutation(len(blocks))
    fold = np.empty(len(blocks), int)
    fold[order] = np.arange(len(blocks)) % folds
    return fold[block.ravel()]


def decoded(
    features: Float[np.ndarray, "*field cell channel"],
    quantities: Float[np.ndarray, "cell quantity"],
    cells: Int[np.ndarray, "cell 2"],
    deals: int = 10,
) -> Float[np.ndarray, "*field deal quantity"]:
    """R2 of quantities decoded from the states of cells held out.

    Features are standardised and a ridge (penalty 1) is fitted on the training folds; the squared
    errors of all folds are pooled, and compared with the quantity's spread about the mean of all
    cells. All fields are solved in closed form at once.

    Args:
        features: one field, or many (say surrogates) along the first axis.
        quantities: what to decode.
        cells: (y, x) of every cell on the canvas.
        deals: ways to deal the blocks; one alone varies by .05 to .1.
    """
    stack = np.asarray(features, np.float64)
    stack = stack[None] if features.ndim == 2 else stack
    spread = np.square(quantities - quantities.mean(0)).sum(0)
    scores = np.empty((len(stack), deals, quantities.shape[1]))
    for number in range(deals):
        fold = deal(cells, number)
        lost = np.zeros((len(stack), quantities.shape[1]))
        for held in np.unique(fold):
            test = fold == held
            guess = _ridge(stack[:, ~test], quantities[~test], stack[:, test])
            lost += np.square(guess - quantities[test]).sum(1)
        scores[:, number] = 1 - lost / spread
    return scores[0] if features.ndim == 2 else scores


def _ridge(
    train: Float[np.ndarray, "field cell channel"],
    known: Float[np.ndarray, "cell quantity"],
    test: Float[np.ndarray, "field held channel"],
) -> Float[np.ndarray, "field held quantity"]:
    """Ridge with intercept on standardised features, for every field."""
    mean, sd = train.mean(1, keepdims=True), train.std(1, keepdims=True)
    # A constant channel differs from its mean by rounding only, which must not be blown up.
    sd = np.where(sd <= 1e-9 * (np.abs(mean) + np.abs(train).max(1, keepdims=True)), np.inf, sd)
    train, test = (train - mean) / sd, (test - mean) / sd
    middle = known.mean(0)
    turned = train.transpose(0, 2, 1)
    gram = turned @ train + PENALTY * np.eye(train.shape[2])
    return test @ np.linalg.solve(gram, turned @ (known - middle)) + middle

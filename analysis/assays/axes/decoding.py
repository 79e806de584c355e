"""Is position written in the cells' states, and would any equally smooth field do? (A1, A2)

Position is decoded by ridge regression with cells held out by blocks, so that no decoder looks up the
neighbours of a held-out cell. A ridge needs only sums over cells of products of features and quantities.
They are added up once per block: any assignment of blocks to folds, for any number of fields, then costs
little.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from analysis.assays.axes.pca import SHOWN, body_states, layout
from analysis.geometry import count_islands, geodesic, positions
from analysis.stats.nulls import Spectrum, null_tests, with_surrogates
from analysis.stats.surrogates import draw_surrogates
from nca.errors import UserError

QUANTITIES = ("x", "y", "s", "radius", "edge")
FOLDS = 8
BLOCK = 8  # cells
PENALTY = 1.0
PLANTED_SHARES = (0.02, 0.05, 0.1, 0.2)  # of the variance
_CHUNK = 2**24  # numbers in memory at once

# Ridge decoders


def ridge_r2(
    features: Float[np.ndarray, "*field cell channel"],
    quantities: Float[np.ndarray, "cell quantity"],
    cells: Int[np.ndarray, "cell 2"],
    repeats: int = 10,
) -> Float[np.ndarray, "*field repeat quantity"]:
    """R² of quantities decoded from the features of cells that were held out.

    Features are standardised and a ridge (penalty 1) is fitted on the training folds; the squared errors of
    all folds are pooled and compared with the quantity's variance over all cells.

    Args:
        features: one field, or several (such as surrogates) along the first axis.
        quantities: what to decode; R² is NaN where one is constant or not defined in every cell.
        cells: (y, x) of every cell on the canvas.
        repeats: assignments of blocks to folds; R² of a single one varies by 0.05 to 0.1.
    """
    errors = residual_products(features, quantities, cells, repeats)
    total = np.square(quantities - quantities.mean(0)).sum(0)
    return 1 - np.diagonal(errors, axis1=-2, axis2=-1) / np.where(total > 0, total, np.nan)


def residual_products(
    features: Float[np.ndarray, "*field cell channel"],
    quantities: Float[np.ndarray, "cell quantity"],
    cells: Int[np.ndarray, "cell 2"],
    repeats: int = 10,
) -> Float[np.ndarray, "*field repeat quantity other"]:
    """Sums over held-out cells of products of two quantities' errors; arguments as for `ridge_r2`.

    Raises:
        UserError: a body within one block.
    """
    fields = features[None] if features.ndim == 2 else features
    blocks, block_of_cell = _blocks(cells)
    folds = [_assign_blocks(blocks, repeat) for repeat in range(repeats)]
    width = 1 + fields.shape[2] + quantities.shape[1]
    chunk = max(1, _CHUNK // (width * max(len(cells), blocks * width)))
    parts = []
    for first in range(0, len(fields), chunk):
        sums = _block_sums(_standardise(fields[first : first + chunk]), quantities, block_of_cell, blocks)
        parts.append(np.stack([_fold_errors(sums, fold, fields.shape[2]).sum(1) for fold in folds], 1))
    defined = np.isfinite(quantities).all(0)
    errors = np.where(defined[:, None] & defined, np.concatenate(parts), np.nan)
    return errors[0] if features.ndim == 2 else errors


def ridge_weights(
    features: Float[np.ndarray, "cell channel"], quantities: Float[np.ndarray, "cell quantity"]
) -> Float[np.ndarray, "channel quantity"]:
    """Weights of the decoders fitted on all cells: change of a quantity per unit of each channel."""
    features = np.asarray(features, np.float64)
    sd = np.where(_varies(features), features.std(0), np.inf)
    scaled = (features - features.mean(0)) / sd
    gram = scaled.T @ scaled + PENALTY * np.eye(scaled.shape[1])
    return np.linalg.solve(gram, scaled.T @ (quantities - quantities.mean(0))) / sd[:, None]


def _leave_one_run_out(
    features: Sequence[Float[np.ndarray, "cell channel"]], quantities: Sequence[Float[np.ndarray, "cell quantity"]]
) -> Float[np.ndarray, "run quantity"]:
    """R² in each run, about its own mean, of a decoder fitted on all other runs.

    It shows that runs of one network repeat each other, and nothing else: one frozen random field that all
    runs share scores as well as a code of position.
    """
    if len(features) < 2:
        raise UserError(f"Leaving one run out needs two or more runs, got {len(features)}.")
    run_of_cell = np.repeat(np.arange(len(features)), [len(f) for f in features])
    stacked = _standardise(np.concatenate(features)[None])
    sums = _block_sums(stacked, np.concatenate(quantities), run_of_cell, len(features))
    errors = _fold_errors(sums, np.arange(len(features)), features[0].shape[1])[0]
    total = np.stack([np.square(q - q.mean(0)).sum(0) for q in quantities])
    return 1 - np.diagonal(errors, axis1=-2, axis2=-1) / np.where(total > 0, total, np.nan)


def _assign_folds(cells: Int[np.ndarray, "cell 2"], repeat: int) -> Int[np.ndarray, " cell"]:
    """The fold of every cell: cells of one block stay together."""
    blocks, block_of_cell = _blocks(cells)
    return _assign_blocks(blocks, repeat)[block_of_cell]


def _assign_blocks(blocks: int, repeat: int) -> Int[np.ndarray, " block"]:
    """The fold of every block: blocks are shuffled, then assigned to the folds in turn."""
    fold = np.empty(blocks, int)
    fold[np.random.default_rng(repeat).permutation(blocks)] = np.arange(blocks) % FOLDS
    return fold


def _blocks(cells: np.ndarray) -> tuple[int, np.ndarray]:
    """How many blocks of 8x8 cells hold a cell, and the block of every cell, in row-major order."""
    blocks, block_of_cell = np.unique(cells // BLOCK, axis=0, return_inverse=True)
    if len(blocks) < 2:
        raise UserError(f"Decoding needs a body over two or more {BLOCK}x{BLOCK} blocks, got {len(blocks)}.")
    return len(blocks), block_of_cell.ravel()


def _varies(features: np.ndarray) -> np.ndarray:
    """Where a channel differs from its mean by more than rounding errors, which must not be scaled up."""
    largest = np.abs(features).max(-2)
    return np.asarray(features.std(-2) > 1e-9 * (np.abs(features.mean(-2)) + largest))


def _standardise(fields: np.ndarray) -> np.ndarray:
    """Features of mean 0 and sd 1 over all cells, constant ones 0: only for the precision of the sums."""
    fields = np.asarray(fields, np.float64)
    sd = np.where(_varies(fields), fields.std(-2), np.inf)
    return (fields - fields.mean(-2, keepdims=True)) / sd[:, None]


def _block_sums(
    fields: Float[np.ndarray, "field cell channel"],
    quantities: Float[np.ndarray, "cell quantity"],
    block_of_cell: Int[np.ndarray, " cell"],
    blocks: int,
) -> Float[np.ndarray, "field block column other"]:
    """Sums over each block's cells of products of (1, channels, centred quantities); of a quantity that is not
    defined in every cell, 0, lest it spoil the others."""
    n, cells, _ = fields.shape
    defined = np.where(np.isfinite(quantities).all(0), quantities, 0.0)
    centred = np.broadcast_to(defined - defined.mean(0), (n, *quantities.shape))
    columns = np.concatenate([np.ones((n, cells, 1)), fields, centred], -1)
    sums = np.empty((n, blocks, columns.shape[2], columns.shape[2]))
    for block in range(blocks):
        inside = columns[:, block_of_cell == block]
        sums[:, block] = inside.transpose(0, 2, 1) @ inside
    return sums


def _fold_errors(
    sums: Float[np.ndarray, "field block column other"], fold: Int[np.ndarray, " block"], channels: int
) -> Float[np.ndarray, "field fold quantity other"]:
    """Products of the errors in each fold, of ridges with intercept that are fitted on all other folds."""
    member = (fold == np.arange(fold.max() + 1)[:, None]).astype(float)
    test = np.tensordot(sums, member, (1, 1)).transpose(0, 3, 1, 2)
    train = test.sum(1, keepdims=True) - test
    x, y = slice(1, channels + 1), slice(channels + 1, None)
    n = train[..., 0, 0, None]
    mean_x, mean_y = train[..., 0, x] / n, train[..., 0, y] / n
    cov_xx = train[..., x, x] - n[..., None] * mean_x[..., :, None] * mean_x[..., None, :]
    cov_xy = train[..., x, y] - n[..., None] * mean_x[..., :, None] * mean_y[..., None, :]
    sd = np.sqrt(np.maximum(np.diagonal(cov_xx, axis1=-2, axis2=-1) / n, 0))
    inverse = np.where(sd > 1e-7, 1 / np.maximum(sd, 1e-7), 0.0)
    gram = cov_xx * inverse[..., :, None] * inverse[..., None, :] + PENALTY * np.eye(channels)
    slope = inverse[..., None] * np.linalg.solve(gram, inverse[..., None] * cov_xy)
    intercept = mean_y - (mean_x[..., None, :] @ slope)[..., 0, :]
    identity = np.broadcast_to(np.eye(intercept.shape[-1]), (*intercept.shape, intercept.shape[-1]))
    error = np.concatenate([-intercept[..., None, :], -slope, identity], -2)
    return error.swapaxes(-1, -2) @ test @ error


# Position


def decode_position(
    fields: Float[np.ndarray, "field cell channel"],
    mask: Bool[np.ndarray, "y x"],
    repeats: int = 10,
    covariates: Float[np.ndarray, "cell feature"] | None = None,
) -> dict[str, Float[np.ndarray, "field repeat"]]:
    """R² of each position quantity, decoded from fields on a body with cells held out by blocks.

    Args:
        fields: states of all cells of the body, and their surrogates.
        covariates: further features that are added to every field.

    Returns:
        x, y, s, radius, edge. s is decoded on the largest island alone, and missing where that lies within
        one block.
    """
    if covariates is not None:
        fields = np.concatenate([fields, np.broadcast_to(covariates, (len(fields), *covariates.shape))], -1)
    position, s, cells = positions(mask), geodesic(mask), np.argwhere(mask)
    inside = np.isfinite(s)
    if inside.all():
        position["s"] = s
    r2 = ridge_r2(fields, np.stack(list(position.values()), 1), cells, repeats)
    by_quantity = {name: r2[..., k] for k, name in enumerate(position)}
    if not inside.all() and len(np.unique(cells[inside] // BLOCK, axis=0)) > 1:
        by_quantity["s"] = ridge_r2(fields[:, inside], s[inside, None], cells[inside], repeats)[..., 0]
    return {name: by_quantity[name] for name in QUANTITIES if name in by_quantity}


def position_tests(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    surrogates: int = 99,
    cv_repeats: int = 10,
    seed: int = 0,
    spectrum: Spectrum = "own",
) -> xr.Dataset:
    """Compare gradients and decoders in one run with those of surrogate fields.

    Args:
        recording: as given to `pca`.
        components: result of `pca`; its step, channels and scaling are used.
        cv_repeats: assignments of cells to folds, in the data and in every surrogate.
        spectrum: of the surrogates, as for `with_surrogates`.

    Returns:
        Dataset of `null_tests` over statistic, indexed by (quantity, measure): plane_r2 and
        rank_correlation (with the radius) of PC1 to PC3, horseshoe of PC2, r2 of x, y, s, radius and edge.
        Also repeat_sd (statistic,), the sd of r2 over repeats; and surrogate_scores (y, x, pc), maps of the
        first surrogate.

    Raises:
        UserError: a body too small or too large.
    """
    states, mask = body_states(recording, components, run)
    fields = with_surrogates(states, mask, surrogates, seed, spectrum)
    scaled = (fields - components["mean"].values) / components.scale.values
    maps = scaled @ components.loadings.values[:SHOWN].T
    on_body, measures = layout(maps, positions(mask)), {}
    for k in range(maps.shape[-1]):
        measures[f"PC{k + 1}", "plane_r2"] = on_body["plane_r2"][:, k]
        measures[f"PC{k + 1}", "rank_correlation"] = on_body["radius_correlation"][:, k]
    if maps.shape[-1] > 1:
        measures["PC2", "horseshoe"] = np.abs(on_body["horseshoe"])
    decoded = decode_position(fields, mask, cv_repeats)
    measures |= {(q, "r2"): r2.mean(1) for q, r2 in decoded.items()}
    repeat_sd = [decoded[q][0].std() if measure == "r2" else np.nan for q, measure in measures]
    example = np.full((*mask.shape, maps.shape[-1]), np.nan, np.float32)
    example[mask] = maps[1]
    attrs = {"step": components.attrs["step"], "run": run, "cells": len(states), "islands": count_islands(mask)}
    attrs |= {"surrogates": surrogates, "cv_repeats": cv_repeats, "seed": seed}
    data = {"repeat_sd": ("statistic", repeat_sd), "surrogate_scores": (("y", "x", "pc"), example)}
    return null_tests(measures).assign(data).assign_attrs(attrs)


def sensitivity(
    recording: xr.Dataset,
    components: xr.Dataset,
    tests: xr.Dataset,
    *,
    run: int = 0,
    draws: int = 20,
    cv_repeats: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """How strong a linear code of x `position_tests` would have found on this body.

    Gradients of x that hold a share of the variance are planted into surrogates of the same states, along random
    directions of the channels, or along the first component, where they compete with the strongest smooth field. A
    planted code is found where R² is above 0 and p, by the surrogates of `tests`, is significant alone among the tests.

    Args:
        recording: as given to `pca`.
        components: result of `pca`; its step and channels are used.
        tests: result of `position_tests` of the same run.
        draws: surrogates that each gradient is planted into.

    Returns:
        Dataset over (direction, share): found, in which share of the draws. Over direction (a random one, or the first
        component): least, the smallest share of the variance that is found in 80 % of the draws; NaN if none is.
    """
    states, mask = body_states(recording, components, run)
    x = positions(mask)["x"]
    x = (x - x.mean()) / max(float(x.std()), 1e-12)
    centred = states - states.mean(0)
    surrogates = draw_surrogates(centred, mask, draws, seed + 1)
    random = np.random.default_rng(seed).normal(size=(draws, states.shape[1]))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    first = np.broadcast_to(np.linalg.svd(centred, full_matrices=False)[2][0], random.shape)
    total = float(np.sqrt(centred.var(0).sum()))
    fields = [
        np.sqrt(1 - share) * surrogates + np.sqrt(share) * total * x[:, None] * vectors[:, None]
        for vectors in (random, first)
        for share in PLANTED_SHARES
    ]
    r2 = ridge_r2(np.concatenate(fields), x[:, None], np.argwhere(mask), cv_repeats)[..., 0].mean(1)
    null = tests.null.sel(quantity="x", measure="r2").values.ravel()
    p = (1 + (null >= r2[:, None]).sum(1)) / (len(null) + 1)
    found = (r2 > 0) & (p * int(np.isfinite(tests.p).sum()) <= 0.05)
    share = found.reshape(2, len(PLANTED_SHARES), draws).mean(-1)
    least = np.where((share >= 0.8).any(1), np.asarray(PLANTED_SHARES)[(share >= 0.8).argmax(1)], np.nan)
    coords = {"direction": ["a random direction", "the first component"], "share": list(PLANTED_SHARES)}
    data = {"found": (("direction", "share"), share), "least": ("direction", least)}
    return xr.Dataset(data, coords, {"draws": draws, "surrogates": len(null)})


def decode_runs(recording: xr.Dataset, components: xr.Dataset, *, cv_repeats: int = 10) -> xr.Dataset:
    """Decode position in every run, with blocked folds and by decoders that were fitted on the other runs.

    Where the components were fitted on several steps, one decoder serves the cells of all of them, and a block of cells
    is held out at all of them.

    Args:
        recording: several runs, with the steps of `components`.

    Returns:
        Dataset over (run, quantity): r2, its mean over repeats with blocked folds; repeat_sd; and
        left_out_r2, which shows reproducibility only and is NaN where there is one run.
    """
    runs = recording.sizes["run"]
    r2, repeat_sd, left_out = (np.full((runs, len(QUANTITIES)), np.nan) for _ in range(3))
    steps = components.attrs.get("steps", [components.attrs["step"]])
    bodies = [[body_states(recording, components, run, step=step) for step in steps] for run in range(runs)]
    states = [np.concatenate([states for states, _ in body]) for body in bodies]
    cells = [np.concatenate([np.argwhere(mask) for _, mask in body]) for body in bodies]
    position = []
    for body in bodies:
        by_step = [positions(mask) | {"s": geodesic(mask)} for _, mask in body]
        position.append({name: np.concatenate([p[name] for p in by_step]) for name in QUANTITIES})
    for (run, values), (k, name) in product(enumerate(position), enumerate(QUANTITIES)):
        inside = np.isfinite(values[name])
        if len(np.unique(cells[run][inside] // BLOCK, axis=0)) > 1:
            scores = ridge_r2(states[run][inside], values[name][inside, None], cells[run][inside], cv_repeats)
            r2[run, k], repeat_sd[run, k] = scores.mean(), scores.std()
    if runs > 1:
        for k, name in enumerate(QUANTITIES):
            defined = [np.isfinite(p[name]) for p in position]
            features = [values[i] for values, i in zip(states, defined, strict=True)]
            quantity = [p[name][i, None] for p, i in zip(position, defined, strict=True)]
            left_out[:, k] = _leave_one_run_out(features, quantity)[:, 0]
    dims = ("run", "quantity")
    data = {"r2": (dims, r2), "repeat_sd": (dims, repeat_sd), "left_out_r2": (dims, left_out)}
    coords = {"run": recording.run.values, "quantity": list(QUANTITIES)}
    return xr.Dataset(data, coords, {"cv_repeats": cv_repeats, "step": components.attrs["step"]})

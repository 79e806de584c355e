"""Is the same axis formed in independent networks? The unit is the network, not the cell or the run. (A5)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis.assays.axes.decoding import QUANTITIES, residual_products
from analysis.assays.axes.pca import body_states
from analysis.geometry import positions
from analysis.lineage import same_training_run, training_step
from analysis.stats.nulls import fdr, p_value, with_surrogates
from nca.errors import UserError

if TYPE_CHECKING:
    from analysis.assays.axes.run import AxesResult

_MIN_NETWORKS = 3
_STATE_DRAWS = 99  # surrogates of the states of all networks
_CELLS_PER_CHANNEL = 3  # matched cells of two networks, at least; fewer correlate by themselves


def decoder_direction(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    surrogates: int = 199,
    cv_repeats: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """The direction across the body along which position is decoded best.

    Args:
        recording: as given to `pca`.
        components: result of `pca`; its channels and step are used.
        surrogates: band-rotated surrogates, each with its own best direction: the shape of a body favours
            some directions even where no axis is encoded.
        cv_repeats: assignments of blocks to folds, whose errors are averaged.

    Returns:
        Dataset: angle, degrees modulo 180 from the x axis towards y (down), of the direction decoded best;
        best_r2 and worst_r2, R² along and across it; body_angle, of the body's long axis; elongation, its
        length over its width; null_angle and null_r2 (surrogate,); states (y, x, channel), NaN outside the body.
    """
    states, mask = body_states(recording, components, run)
    position = positions(mask)
    xy = np.stack([position["x"], position["y"]], 1)
    fields = with_surrogates(states, mask, surrogates, seed)
    errors = residual_products(fields, xy, np.argwhere(mask), cv_repeats).mean(1)
    centred = xy - xy.mean(0)
    angle, best, worst = _best_direction(errors, centred.T @ centred)
    body_angle, elongation = _long_axis(mask)
    placed = np.full((*mask.shape, states.shape[1]), np.nan)
    placed[mask] = states
    data = {
        "angle": float(angle[0]),
        "best_r2": float(best[0]),
        "worst_r2": float(worst[0]),
        "body_angle": body_angle,
        "elongation": elongation,
        "null_angle": ("surrogate", angle[1:]),
        "null_r2": ("surrogate", best[1:]),
        "states": (("y", "x", "channel"), placed),
    }
    coords = {"channel": components.channel.values}
    attrs = {"organism": recording.attrs["organism"], "hash": recording.attrs["hash"], "cells": len(states)}
    attrs |= {"step": components.attrs["step"], "run": run, "cv_repeats": cv_repeats, "seed": seed}
    return xr.Dataset(data, coords, attrs)


def _best_direction(
    errors: Float[np.ndarray, "*field 2 2"], spread: Float[np.ndarray, "2 2"]
) -> tuple[Float[np.ndarray, "*field"], Float[np.ndarray, "*field"], Float[np.ndarray, "*field"]]:
    """The angle (degrees modulo 180, from x towards y) of the direction decoded best, its R² and the worst R².

    A ridge is linear in what it decodes, so the errors of x cos(a) + y sin(a) follow from those of x and y:
    R²(a) = 1 - (v' errors v) / (v' spread v) with v = (cos(a), sin(a)).

    Args:
        errors: products of the errors of x and y, of `residual_products`.
        spread: products of x and y about their means.
    """
    if np.linalg.matrix_rank(spread) < 2:
        raise UserError("Directions need a body that is more than one cell wide.")
    root = np.linalg.inv(np.linalg.cholesky(spread))
    share, vectors = np.linalg.eigh(root @ errors @ root.T)
    best = vectors[..., 0] @ root
    angle = np.degrees(np.arctan2(best[..., 1], best[..., 0])) % 180 % 180
    return angle, 1 - share[..., 0], 1 - share[..., 1]


def _long_axis(mask: Bool[np.ndarray, "y x"]) -> tuple[float, float]:
    """The angle of a body's long axis (degrees modulo 180, from x towards y), and length over width."""
    y, x = np.argwhere(mask).T.astype(float)
    variance, vectors = np.linalg.eigh(np.atleast_2d(np.cov(np.stack([x, y]))))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180 % 180)
    return angle, float(np.sqrt(variance[1] / max(variance[0], 1e-12)))


def _rayleigh_test(angles: Float[np.ndarray, "*draw network"]) -> tuple[np.ndarray, np.ndarray]:
    """The axial Rayleigh test of angles in degrees modulo 180.

    Returns:
        Length of the mean of the doubled angles (1: all alike, 0: evenly spread), and p under uniform
        angles (Zar 1999, equation 27.4).
    """
    n = angles.shape[-1]
    length = np.abs(np.exp(2j * np.radians(angles)).mean(-1))
    p = np.exp(np.sqrt(1 + 4 * n + 4 * (n**2 - (n * length) ** 2)) - (1 + 2 * n))
    return length, np.minimum(p, 1.0)


def direction_agreement(
    directions: Sequence[xr.Dataset], frame: Literal["canvas", "body"] = "canvas", *, draws: int = 1999, seed: int = 0
) -> xr.Dataset:
    """Whether independent networks agree in the direction of their code, and in their states at the same places.

    Args:
        directions: `decoder_direction` of each network.
        frame: what angles are counted from: the "canvas" (for networks of one target), or the long axis of
            each "body" (for different targets).

    Returns:
        Dataset over network: angle (in the frame), best_r2, worst_r2, elongation; scalars: length of the mean
        axial vector, direction (its angle), p_uniform (Rayleigh, against uniform angles), p_surrogates (against
        one surrogate of each network, which allows for the bodies' shapes); null_length (draw,). shared, the mean
        squared canonical correlation of the states of two networks at the same places, averaged over pairs (1: one is a
        linear image of the other; it does not depend on the bases of their channels), with p_shared and null_shared
        (state_draw,) between surrogates of each; NaN in the frame "body", or where canvases differ or bodies share
        too few cells.

    Raises:
        UserError: fewer than three networks.
    """
    if len(directions) < _MIN_NETWORKS:
        raise UserError(f"A claim about networks needs {_MIN_NETWORKS} or more of them, got {len(directions)}.")
    origin = np.asarray([float(d.body_angle) if frame == "body" else 0.0 for d in directions])
    angles = (np.asarray([float(d.angle) for d in directions]) - origin) % 180
    length, p_uniform = _rayleigh_test(angles)
    rng = np.random.default_rng(seed)
    null_angles = [
        (d.null_angle.values[rng.integers(d.sizes["surrogate"], size=draws)] - o) % 180
        for d, o in zip(directions, origin, strict=True)
    ]
    null_length = _rayleigh_test(np.stack(null_angles, 1))[0]
    shared = _shared_variance([d.states.values for d in directions] if frame == "canvas" else [], seed)
    mean = np.exp(2j * np.radians(angles)).mean()
    data = {k: ("network", [float(d[k]) for d in directions]) for k in ("best_r2", "worst_r2", "elongation")} | {
        "angle": ("network", angles),
        "length": float(length),
        "direction": float(np.degrees(np.angle(mean)) / 2 % 180),
        "p_uniform": float(p_uniform),
        "p_surrogates": p_value(float(length), null_length),
        "null_length": ("draw", null_length),
        "shared": shared[0],
        "null_shared": ("state_draw", shared[1:]),
        "p_shared": p_value(shared[0], shared[1:]),
    }
    coords = {"network": [d.attrs["organism"] for d in directions]}
    return xr.Dataset(data, coords, {"frame": frame, "draws": draws, "seed": seed})


def _shared_variance(states: Sequence[Float[np.ndarray, "y x channel"]], seed: int) -> Float[np.ndarray, " field"]:
    """Mean squared canonical correlation over matched cells, averaged over pairs of networks, then that of surrogates.

    Canonical correlations compare what two networks represent whatever their bases (Raghu et al. 2017).
    """
    nothing = np.full(1 + _STATE_DRAWS, np.nan)
    if len({values.shape[:2] for values in states}) != 1:
        return nothing
    masks = [np.isfinite(values[..., 0]) for values in states]
    fields = [
        with_surrogates(values[mask], mask, _STATE_DRAWS, seed + number)
        for number, (values, mask) in enumerate(zip(states, masks, strict=True))
    ]
    pairs = []
    for i in range(len(states)):
        for j in range(i):
            both = masks[i] & masks[j]
            if both.sum() >= _CELLS_PER_CHANNEL * (states[i].shape[-1] + states[j].shape[-1]):
                pairs.append(_canonical(fields[i][:, both[masks[i]]], fields[j][:, both[masks[j]]]))
    return np.mean(pairs, 0) if pairs else nothing


def _canonical(
    a: Float[np.ndarray, "field cell channel"], b: Float[np.ndarray, "field cell other"]
) -> Float[np.ndarray, " field"]:
    """Mean squared canonical correlation of two sets of channels over the same cells; channels that are constant there
    count for nothing."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    within = [np.linalg.pinv(x.swapaxes(1, 2) @ x, rcond=1e-10, hermitian=True) for x in (a, b)]
    between = a.swapaxes(1, 2) @ b
    squared = np.einsum("fij,fjk,fkl,fil->f", within[0], between, within[1], between, optimize=True)
    ranks = [np.linalg.matrix_rank(x.swapaxes(1, 2) @ x, rtol=1e-10, hermitian=True) for x in (a, b)]
    return np.asarray(squared / np.minimum(*ranks))


def compare_networks(results: Sequence[AxesResult]) -> xr.Dataset:
    """Decoders and their nulls in every organism.

    Args:
        results: of the axes assay, one per organism, with equal numbers of surrogates.

    Returns:
        Dataset over (organism, quantity): r2, null_low, null_median, null_high, p, q (FDR-corrected over all). Over
        organism: cells; pc1_radius with p_pc1; n_components, for 95 % of the variance; training_step (-1 where
        unknown). NaN where an organism has no body, or the quantity is not decoded. Attribute one_training_run: whether
        these are snapshots of one training run.
    """
    names = ("observed", "null_low", "null_median", "null_high", "p")
    shape = (len(results), len(QUANTITIES))
    values = {name: np.full(shape, np.nan) for name in names}
    single = {name: np.full(len(results), np.nan) for name in ("cells", "pc1_radius", "p_pc1", "n_components")}
    for i, axes in enumerate(results):
        if axes.pca:
            single["n_components"][i] = float(axes.pca.n_components.sel(share=95))
        if axes.position:
            r2, pc1 = axes.position.sel(measure="r2"), axes.position.sel(quantity="PC1", measure="rank_correlation")
            for name in names:
                values[name][i] = r2[name].reindex(quantity=list(QUANTITIES))
            single["cells"][i] = axes.position.attrs["cells"]
            single["pc1_radius"][i], single["p_pc1"][i] = float(pc1.observed), float(pc1.p)
    data: dict[str, Any] = {name: (("organism", "quantity"), v) for name, v in values.items()}
    data["q"] = (("organism", "quantity"), fdr(values["p"]))
    data |= {name: ("organism", v) for name, v in single.items()}
    steps = [training_step(axes.organism) for axes in results]
    data["training_step"] = ("organism", [-1 if step is None else step for step in steps])
    coords = {"organism": [axes.organism.name for axes in results], "quantity": list(QUANTITIES)}
    attrs = {"surrogates": results[0].config.surrogates, "adult_step": results[0].config.adult_step}
    attrs["one_training_run"] = int(same_training_run([axes.organism for axes in results]))
    return xr.Dataset(data, coords, attrs).rename(observed="r2")

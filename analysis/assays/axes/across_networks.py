"""Is the same axis formed in independent networks? Networks, not cells or runs, are counted here. (A5)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis.assays.axes.decoding import residuals, weights
from analysis.assays.axes.reading import cells_of
from analysis.geometry import positions
from analysis.stats.nulls import with_surrogates
from analysis.stats.surrogates import haar, p_value
from nca.errors import UserError

FEWEST = 3
CODES = {"x and y": ("x", "y"), "radius and edge": ("radius", "edge")}


def code_direction(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    surrogates: int = 199,
    deals: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """Along which direction across the body its position is decoded best, and how well.

    Args:
        recording: as given to `pca`.
        components: what `pca` returned; its channels and step are used.
        run: the run.
        surrogates: band-rotated surrogates, each with its own best direction: the shape of a body
            favours some directions even where no axis is planted.
        deals: ways to deal blocks to folds, whose errors are added up.
        seed: what the surrogates are drawn from.

    Returns:
        Dataset: angle, degrees modulo 180 from the x axis towards y (down), of the gradient of the
        best decoder; best and worst, R2 along and across it; body_angle, of the body's long axis;
        elongation, its length over its width; and over surrogate, null_angle and null_best. Over
        (code, part): decoder (channel), orthonormal directions of the decoders of x and y, and of
        radius and edge, in units of each channel's sd.
    """
    rows, mask, at = cells_of(recording, components, run)
    where = positions(mask)
    position = np.stack([where["x"], where["y"]], 1)
    fields = with_surrogates(rows, mask, surrogates, seed)
    lost = residuals(fields, position, np.argwhere(mask), deals).mean(1)
    centred = position - position.mean(0)
    angle, best, worst = angle_of_code(lost, centred.T @ centred)
    body_angle, elongation = long_axis(mask)
    spread = np.where(rows.std(0) > 0, rows.std(0), 1.0)
    frames = []
    for pair in CODES.values():
        found = weights(rows, np.stack([where[q] for q in pair], 1)) * spread[:, None]
        frames.append(np.linalg.qr(found)[0].T)
    size = min(f.shape[0] for f in frames)
    data = {
        "angle": float(angle[0]),
        "best": float(best[0]),
        "worst": float(worst[0]),
        "body_angle": body_angle,
        "elongation": elongation,
        "null_angle": ("surrogate", angle[1:]),
        "null_best": ("surrogate", best[1:]),
        "decoder": (("code", "part", "channel"), np.stack([f[:size] for f in frames])),
    }
    coords = {"code": list(CODES), "channel": components.channel.values}
    attrs = {"organism": recording.attrs["organism"], "hash": recording.attrs["hash"], "cells": len(rows)}
    return xr.Dataset(data, coords, attrs | {"at": at, "run": run, "deals": deals, "seed": seed})


def angle_of_code(
    lost: Float[np.ndarray, "*field 2 2"], spread: Float[np.ndarray, "2 2"]
) -> tuple[Float[np.ndarray, "*field"], Float[np.ndarray, "*field"], Float[np.ndarray, "*field"]]:
    """The direction across the body that is decoded best, and how well.

    A ridge is linear in what it decodes, so the errors of x cos(a) + y sin(a) follow from those of x
    and y: R2(a) = 1 - (v' lost v) / (v' spread v) with v = (cos(a), sin(a)).

    Args:
        lost: products of the errors of x and y, of `decoding.residuals`.
        spread: products of x and y about their means.

    Returns:
        The angle of the best direction in degrees modulo 180 (from x towards y), its R2, and that of
        the worst direction.

    Raises:
        UserError: a body that is a line.
    """
    if np.linalg.matrix_rank(spread) < 2:
        raise UserError("Directions need a body that is more than one cell wide.")
    root = np.linalg.inv(np.linalg.cholesky(spread))
    worth, vectors = np.linalg.eigh(root @ lost @ root.T)
    best = vectors[..., 0] @ root
    angle = np.degrees(np.arctan2(best[..., 1], best[..., 0])) % 180 % 180
    return angle, 1 - worth[..., 0], 1 - worth[..., 1]


def long_axis(mask: Bool[np.ndarray, "y x"]) -> tuple[float, float]:
    """The angle of a body's long axis (degrees modulo 180, from x towards y), and length over width."""
    y, x = np.argwhere(mask).T.astype(float)
    spread = np.atleast_2d(np.cov(np.stack([x, y])))
    worth, vectors = np.linalg.eigh(spread)
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180 % 180)
    return angle, float(np.sqrt(worth[1] / max(worth[0], 1e-12)))


def rayleigh(angles: Float[np.ndarray, "*many unit"]) -> tuple[np.ndarray, np.ndarray]:
    """The axial Rayleigh test.

    Args:
        angles: degrees modulo 180.

    Returns:
        Length of the mean of the doubled angles (1: all alike, 0: even), and p of uniform angles
        (Zar 1999, equation 27.4).
    """
    many = angles.shape[-1]
    length = np.abs(np.exp(2j * np.radians(angles)).mean(-1))
    sum_ = many * length
    p = np.exp(np.sqrt(1 + 4 * many + 4 * (many**2 - sum_**2)) - (1 + 2 * many))
    return length, np.minimum(p, 1.0)


def networks(
    found: Sequence[xr.Dataset],
    frame: Literal["canvas", "body"] = "canvas",
    *,
    draws: int = 1999,
    seed: int = 0,
) -> xr.Dataset:
    """Whether independent networks agree, in the direction of their code and in the channels it uses.

    Args:
        found: what `code_direction` says of each network.
        frame: what angles are counted from: the "canvas" (for networks of one target), or the long
            axis of each "body" (for different ones).
        draws: random draws for each null.
        seed: what they are drawn from.

    Returns:
        Dataset over network: angle (in the frame), best, worst, elongation; scalars: length (of the
        mean axial vector), direction (its angle), p_uniform (Rayleigh, against uniform angles),
        p_surrogates (against one surrogate of each network, which allows for the bodies' shapes),
        null_length (draw,); over code: alike (mean over pairs of the Procrustes similarity of the
        decoders' directions: 1 if they span the same channels, k/channels or so by chance), p_alike
        and null_alike (draw, code), each network's decoder turned at random. `alike` is NaN where
        networks differ in their channels.

    Raises:
        UserError: fewer than three networks.
    """
    if len(found) < FEWEST:
        raise UserError(f"A claim about networks needs {FEWEST} or more of them, got {len(found)}.")
    turn = [float(f.body_angle) if frame == "body" else 0.0 for f in found]
    angles = np.asarray([(float(f.angle) - t) % 180 for f, t in zip(found, turn, strict=True)])
    length, p_uniform = rayleigh(angles)
    draw = np.random.default_rng(seed)
    null = [
        (f.null_angle.values[draw.integers(f.sizes["surrogate"], size=draws)] - t) % 180
        for f, t in zip(found, turn, strict=True)
    ]
    null_length = rayleigh(np.stack(null, 1))[0]
    alike, null_alike = _alike([f.decoder.values for f in found], draws, draw)
    mean = np.exp(2j * np.radians(angles)).mean()
    each = {k: ("network", [float(f[k]) for f in found]) for k in ("best", "worst", "elongation")}
    data = each | {
        "angle": ("network", angles),
        "length": float(length),
        "direction": float(np.degrees(np.angle(mean)) / 2 % 180),
        "p_uniform": float(p_uniform),
        "p_surrogates": p_value(float(length), null_length),
        "null_length": ("draw", null_length),
        "alike": ("code", alike),
        "null_alike": (("draw", "code"), null_alike),
        "p_alike": (
            "code",
            [p_value(a, n) if np.isfinite(a) else np.nan for a, n in zip(alike, null_alike.T, strict=True)],
        ),
    }
    coords = {"network": [f.attrs["organism"] for f in found], "code": list(CODES)}
    return xr.Dataset(data, coords, {"frame": frame, "draws": draws, "seed": seed})


def _alike(
    decoders: Sequence[Float[np.ndarray, "code part channel"]], draws: int, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean similarity over pairs, by code, and that of random directions."""
    shapes = {d.shape for d in decoders}
    if len(shapes) > 1:
        return np.full(len(CODES), np.nan), np.full((draws, len(CODES)), np.nan)
    _, parts, channels = decoders[0].shape
    stack = np.stack(decoders)  # network, code, part, channel
    observed = np.asarray([_similarity(stack[:, k]) for k in range(len(CODES))])
    random = haar(draw, channels, parts, draws * len(decoders)).swapaxes(1, 2)
    null = _similarity(random.reshape(draws, len(decoders), parts, channels).swapaxes(0, 1))
    return observed, np.repeat(null[:, None], len(CODES), 1)


def _similarity(frames: Float[np.ndarray, "network *draw part channel"]) -> np.ndarray:
    """Procrustes similarity of two frames, the sum of singular values of their products over the number
    of parts, averaged over pairs of networks."""
    pairs = [(i, j) for i in range(len(frames)) for j in range(i)]
    values = [np.linalg.svd(frames[i] @ frames[j].swapaxes(-1, -2), compute_uv=False).mean(-1) for i, j in pairs]
    return np.asarray(np.mean(values, 0))

"""Principal components of the cells' states, and where on the body they lie.

PCA of any smooth field on a body gives gradients and waves (Novembre & Stephens 2008; Shinn 2023), so
nothing here is a finding by itself: `analysis.position` puts each number beside its null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Float

from analysis.geometry import positions
from analysis.recording import spec_of
from analysis.stats.surrogates import islands
from nca.errors import UserError
from nca.spec import Spec, channel_names

Channels = Literal["hidden", "all"]
Scaling = Literal["raw", "zscore"]
SHARES = (90, 95, 99)
LEAST_CELLS = 10
SHOWN = 3
SIGN = "the entry of largest absolute loading is positive"


def pca(
    recording: xr.Dataset,
    *,
    at: int | None = None,
    channels: Channels = "hidden",
    scaling: Scaling = "raw",
) -> xr.Dataset:
    """Principal components of the states of mature cells, centred.

    They are fitted on all runs' mature cells at one step; the scores of every step are in that
    basis.

    Args:
        recording: of `analysis.record` or `label`.
        at: the step to fit on; the last if none.
        channels: "hidden" channels only, or "all".
        scaling: "raw", or "zscore" to give every channel unit variance first.

    Returns:
        Dataset: scores (run, step, y, x, pc), NaN outside the body; loadings (pc, channel), unit
        rows; explained (pc,), shares of the variance; needed (share,), PCs for 90, 95, 99 %; mean
        and scale (channel,); and of each run at that step: plane_r2 and angle (run, pc) of the plane
        fitted to the scores (degrees from the x axis towards y, which points down, modulo 180),
        radius (run, pc), the absolute rank correlation with distance from the seed, horseshoe
        (run,), corr(PC2, PC1^2), NaN where one is constant; cells (run,), islands (run,).

    Raises:
        UserError: fewer than 10 mature cells at that step, or states that do not vary or are not
            finite.
    """
    from sklearn.decomposition import PCA

    names = _picked(spec_of(recording), channels)
    step = int(recording.step[-1]) if at is None else at
    if step not in recording.step.values:
        raise UserError(f"The recording has no step {step}; it holds {_range(recording.step.values)}.")
    fitted = recording.sel(step=step)
    rows = fitted.state.sel(channel=names).values[fitted.mature.values].astype(np.float64)
    check_cells(rows, step)
    scale = np.where(rows.std(0) > 0, rows.std(0), 1.0) if scaling == "zscore" else np.ones(len(names))
    model = PCA(svd_solver="full").fit(rows / scale)
    loadings = model.components_ * np.sign(_largest(model.components_))[:, None]
    mean = rows.mean(0)
    scores = ((recording.state.sel(channel=names).values - mean) / scale) @ loadings.T
    scores = np.where(recording.mature.values[..., None], scores, np.nan).astype(np.float32)
    numbers = np.arange(1, len(loadings) + 1)
    data = {
        "scores": (("run", "step", "y", "x", "pc"), scores),
        "loadings": (("pc", "channel"), loadings),
        "explained": ("pc", model.explained_variance_ratio_),
        "needed": ("share", pcs_needed(model.explained_variance_ratio_)),
        "mean": ("channel", mean),
        "scale": ("channel", scale),
    }
    coords: dict[str, Any] = {k: recording[k] for k in ("run", "step", "y", "x")}
    coords |= {"pc": numbers, "channel": names, "share": list(SHARES)}
    attrs = {"at": step, "channels": channels, "scaling": scaling, "sign": SIGN, "cells": len(rows)}
    attrs |= {k: recording.attrs[k] for k in ("organism", "hash", "spec")}
    result = xr.Dataset(data, coords, attrs)
    return result.merge(_layout(result.scores.sel(step=step), fitted.mature))


def _picked(spec: Spec, channels: str) -> list[str]:
    if channels not in ("hidden", "all"):
        raise UserError(f'channels is "hidden" or "all", got {channels!r}.')
    names = channel_names(spec)
    picked = [n for n in names if channels == "all" or n.startswith("h")]
    if not picked:
        raise UserError('The rule has no hidden channel; ask for channels="all".')
    return picked


def _range(steps: np.ndarray) -> str:
    return f"{len(steps)} steps, {steps[0]} to {steps[-1]}"


def check_cells(rows: Float[np.ndarray, "cell channel"], step: int) -> None:
    """Raise `UserError` where states have no components: too few cells, none that vary, or exploded."""
    if len(rows) < LEAST_CELLS:
        raise UserError(f"PCA needs {LEAST_CELLS} or more mature cells; step {step} has {len(rows)}.")
    if not np.isfinite(rows).all():
        raise UserError(f"PCA needs finite states; at step {step} the run has exploded.")
    if not (rows.std(0) > 1e-9 * (1 + np.abs(rows).max(0))).any():
        raise UserError(f"PCA needs states that vary between cells; at step {step} none does.")


def _largest(rows: np.ndarray) -> np.ndarray:
    """The entry of largest absolute value of each row."""
    return np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1)[:, 0]


def pcs_needed(explained: Float[np.ndarray, " pc"]) -> list[int]:
    """Components needed for 90, 95 and 99 % of the variance."""
    total = np.cumsum(explained)
    return [int(np.searchsorted(total, share / 100 - 1e-12) + 1) for share in SHARES]


def _layout(scores: xr.DataArray, mature: xr.DataArray) -> xr.Dataset:
    """Where the components lie on the body, run by run."""
    found: dict[str, list[Any]] = {k: [] for k in ("plane_r2", "angle", "radius", "horseshoe")}
    for run in range(scores.sizes["run"]):
        mask = mature[run].values
        values = scores[run].values[mask].astype(np.float64)
        where = positions(mask)
        r2, angle = plane(values, where)
        found["plane_r2"].append(r2)
        found["angle"].append(angle)
        found["radius"].append(np.abs(rank_correlation(values, where["radius"])))
        found["horseshoe"].append(horseshoe(values))
    dims = {"horseshoe": ("run",)}
    data: dict[str, Any] = {k: (dims.get(k, ("run", "pc")), np.stack(v)) for k, v in found.items()}
    data["cells"] = ("run", mature.values.sum((1, 2)))
    data["islands"] = ("run", np.asarray([islands(m) for m in mature.values]))
    return xr.Dataset(data)


def plane(
    values: Float[np.ndarray, "*field cell pc"], where: Mapping[str, np.ndarray]
) -> tuple[Float[np.ndarray, "*field pc"], Float[np.ndarray, "*field pc"]]:
    """R2 of the plane fitted to each map, and the angle of its slope in degrees modulo 180."""
    design = np.stack([np.ones_like(where["x"]), where["x"], where["y"]], 1)
    fit = np.linalg.pinv(design) @ values
    left = np.square(values - design @ fit).sum(-2)
    spread = np.square(values - values.mean(-2, keepdims=True)).sum(-2)
    r2 = np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1), np.nan)
    return r2, np.degrees(np.arctan2(fit[..., 2, :], fit[..., 1, :])) % 180 % 180  # -1e-15 % 180 is 180


def rank_correlation(
    values: Float[np.ndarray, "*field cell pc"], other: Float[np.ndarray, " cell"]
) -> Float[np.ndarray, "*field pc"]:
    """Spearman's correlation of each map with one quantity; NaN where either is constant."""
    ranks = scipy.stats.rankdata(values, axis=-2)
    return _correlation(ranks, scipy.stats.rankdata(other)[:, None])


def horseshoe(values: Float[np.ndarray, "*field cell pc"]) -> Float[np.ndarray, "*field"]:
    """corr(PC2, PC1^2): large where PC2 is a mere fold of PC1; NaN with fewer than two PCs."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-2], np.nan)
    return _correlation(values[..., 1:2], np.square(values[..., :1]))[..., 0]


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the cells."""
    a, b = a - a.mean(-2, keepdims=True), b - b.mean(-2, keepdims=True)
    size = np.sqrt(np.square(a).sum(-2) * np.square(b).sum(-2))
    return np.where(size > 0, (a * b).sum(-2) / np.where(size > 0, size, 1), np.nan)

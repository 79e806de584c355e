"""Principal components of the cells' states, and how they lie on the body. (A0)

PCA of any smooth field on a body gives gradients and waves (Novembre & Stephens 2008; Shinn 2023), so
nothing here is a finding by itself: `decoding.position_tests` compares each number with a null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Bool, Float

from analysis.geometry import count_islands, positions
from nca.errors import UserError
from nca.spec import channel_role

Channels = Literal["hidden", "all"]
Scaling = Literal["raw", "zscore"]
VARIANCE_SHARES = (90, 95, 99)  # per cent
PCA_MIN_CELLS = 10
SHOWN = 3  # components that are tested and drawn


def pca(
    recording: xr.Dataset,
    *,
    step: int | Sequence[int] | None = None,
    channels: Channels = "hidden",
    scaling: Scaling = "raw",
) -> xr.Dataset:
    """Principal components of the states of mature cells, centred.

    They are fitted on the mature cells of all runs at one step, or at several together; scores at every step are in
    that basis.

    Args:
        recording: what `analysis.record`, `record_site` or `label_states` returns.
        step: the step to fit on, or several; the last one by default.
        channels: "hidden" channels only, or "all".
        scaling: "raw" states, or "zscore" to give every channel unit variance first.

    Returns:
        Dataset: scores (run, step, y, x, pc), NaN outside the body; loadings (pc, channel), unit rows whose
        entry of largest absolute value is positive; explained (pc,), shares of the variance; n_components
        (share,), components needed for 90, 95 and 99 % of it; mean and scale (channel,). Of each run at the
        fitted step: plane_r2 and plane_angle (run, pc) of the plane fitted to the scores (degrees from x towards y,
        which points down, modulo 180); radius_correlation (run, pc), the absolute rank correlation with the
        distance from the seed; horseshoe (run,), corr(PC2, PC1²); cells (run,); islands (run,). What is
        constant has correlations of NaN. Attributes: step (the last of several), steps, channels, scaling, cells,
        organism, hash, spec.

    Raises:
        UserError: fewer than 10 mature cells at that step, or states that do not vary or are not finite.
    """
    from sklearn.decomposition import PCA

    names = _select_channels(recording, channels)
    steps = recording.step.values
    chosen = [int(n) for n in np.atleast_1d(steps[-1] if step is None else np.asarray(step, int))]
    missing = [n for n in chosen if n not in steps]
    if missing or not chosen:
        wrong = missing[0] if missing else "at all"
        raise UserError(f"The recording has no step {wrong}; it holds {len(steps)} steps, {steps[0]} to {steps[-1]}.")
    step = max(chosen)
    fitted = recording.sel(step=chosen)
    states = fitted.state.sel(channel=names).values[fitted.mature.values].astype(np.float64)
    _check_states(states, step)
    scale = np.where(states.std(0) > 0, states.std(0), 1.0) if scaling == "zscore" else np.ones(len(names))
    model = PCA(svd_solver="full").fit(states / scale)
    largest = np.take_along_axis(model.components_, np.abs(model.components_).argmax(1)[:, None], 1)
    loadings = model.components_ * np.sign(largest)
    explained, mean = model.explained_variance_ratio_, states.mean(0)
    scores = ((recording.state.sel(channel=names).values - mean) / scale) @ loadings.T
    scores = np.where(recording.mature.values[..., None], scores, np.nan).astype(np.float32)
    data = {
        "scores": (("run", "step", "y", "x", "pc"), scores),
        "loadings": (("pc", "channel"), loadings),
        "explained": ("pc", explained),
        "n_components": ("share", [int((explained.cumsum() < s / 100 - 1e-12).sum()) + 1 for s in VARIANCE_SHARES]),
        "mean": ("channel", mean),
        "scale": ("channel", scale),
    }
    coords: dict[str, Any] = {k: recording[k] for k in ("run", "step", "y", "x")}
    coords |= {"pc": np.arange(1, len(loadings) + 1), "channel": names, "share": list(VARIANCE_SHARES)}
    attrs: dict[str, Any] = {
        "step": step,
        "steps": chosen,
        "channels": channels,
        "scaling": scaling,
        "cells": len(states),
    }
    attrs |= {k: recording.attrs[k] for k in ("organism", "hash", "spec")}
    components = xr.Dataset(data, coords, attrs)
    return components.merge(_layout_of_runs(components.scores.sel(step=step), recording.mature.sel(step=step)))


def _select_channels(recording: xr.Dataset, channels: str) -> list[str]:
    if channels not in ("hidden", "all"):
        raise UserError(f'channels is "hidden" or "all", got {channels!r}.')
    names, every = list(map(str, recording.channel.values)), channels == "all" or _is_of_units(recording)
    selected = [n for n in names if every or channel_role(n.split()[-1]) == "hidden"]  # "sobel_x h0" is of h0
    if not selected:
        raise UserError('The rule has no hidden channel; ask for channels="all".')
    return selected


def _is_of_units(recording: xr.Dataset) -> bool:
    return recording.attrs.get("site") in ("pre", "post")


def body_states(
    recording: xr.Dataset,
    components: xr.Dataset,
    run: int,
    *,
    step: int | None = None,
    channels: Sequence[str] | None = None,
    check: bool = True,
) -> tuple[Float[np.ndarray, "cell channel"], Bool[np.ndarray, "y x"]]:
    """States of the mature cells of one run, and the mask of these cells.

    Args:
        recording: as given to `pca`.
        step: another step than that of `components`.
        channels: other channels than those of `components`.
        check: raise `UserError` where the states have no components.
    """
    step = int(components.attrs["step"]) if step is None else int(step)
    names = components.channel.values if channels is None else list(channels)
    snapshot = recording.sel(step=step).isel(run=run)
    mask = snapshot.mature.values
    states = snapshot.state.sel(channel=names).values[mask].astype(np.float64)
    if check:
        _check_states(states, step)
    return states, mask


def _check_states(states: Float[np.ndarray, "cell channel"], step: int) -> None:
    """Raise `UserError` where states have no components: too few cells, not finite, or all alike."""
    if len(states) < PCA_MIN_CELLS:
        raise UserError(f"PCA needs {PCA_MIN_CELLS} or more mature cells; step {step} has {len(states)}.")
    if not np.isfinite(states).all():
        raise UserError(f"PCA needs finite states; at step {step} the run has exploded.")
    if not (states.std(0) > 1e-9 * (1 + np.abs(states).max(0))).any():
        raise UserError(f"PCA needs states that vary between cells; at step {step} none does.")


def _layout_of_runs(scores: xr.DataArray, mature: xr.DataArray) -> xr.Dataset:
    """How the components lie on the body, run by run."""
    rows = []
    for values, mask in zip(scores.values, mature.values, strict=True):
        measures = layout(values[mask].astype(np.float64), positions(mask))
        rows.append(measures | {"cells": mask.sum(), "islands": count_islands(mask)})
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return xr.Dataset({name: (("run", "pc")[: values.ndim], values) for name, values in columns.items()})


def layout(
    values: Float[np.ndarray, "*field cell pc"], position: Mapping[str, np.ndarray]
) -> dict[str, Float[np.ndarray, "*field ..."]]:
    """How maps of components lie on a body; NaN where one is constant.

    Returns:
        plane_r2 and plane_angle of the plane fitted to each map, the angle of its slope in degrees modulo 180;
        radius_correlation, the absolute rank correlation of each map with the radius; horseshoe, corr(PC2, PC1²), which
        is large where PC2 is only a fold of PC1, NaN with fewer than two components.
    """
    design = np.stack([np.ones_like(position["x"]), position["x"], position["y"]], 1)
    coefficients = np.linalg.pinv(design) @ values
    residual = np.square(values - design @ coefficients).sum(-2)
    total = np.square(values - values.mean(-2, keepdims=True)).sum(-2)
    slope_x, slope_y = coefficients[..., 1, :], coefficients[..., 2, :]
    ranks = scipy.stats.rankdata(values, axis=-2), scipy.stats.rankdata(position["radius"])[:, None]
    fold = np.full(values.shape[:-2], np.nan)
    if values.shape[-1] > 1:
        fold = _correlation(values[..., 1:2], np.square(values[..., :1]))[..., 0]
    return {
        "plane_r2": np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), np.nan),
        "plane_angle": np.degrees(np.arctan2(slope_y, slope_x)) % 180 % 180,  # -1e-15 % 180 is 180
        "radius_correlation": np.abs(_correlation(*ranks)),
        "horseshoe": fold,
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the cells."""
    a, b = a - a.mean(-2, keepdims=True), b - b.mean(-2, keepdims=True)
    norm = np.sqrt(np.square(a).sum(-2) * np.square(b).sum(-2))
    return np.where(norm > 0, (a * b).sum(-2) / np.where(norm > 0, norm, 1), np.nan)

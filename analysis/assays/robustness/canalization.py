"""Canalization: does growth reduce what differs between runs of the same network?"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.spatial.distance import pdist, squareform

from analysis import metrics
from analysis.rollouts import Tick, grow_through
from nca.organism import Organism
from nca.spec import hidden_channels


def grow_with_spread(
    organism: Organism, keys: Any, adult_step: int, tick: Tick | None = None
) -> tuple[Float[np.ndarray, "run y x channel"], xr.Dataset]:
    """Grow runs to the adult step, and measure how far apart they are on the way.

    Returns:
        the grown states; and a Dataset over (pair, step) of the distances between every two runs, as shares of their
        mean norm: picture, and hidden where there are hidden channels; run_a, run_b (pair,).
    """
    steps = sorted({n for n in (5, 10, 20, 40, 60, 80, 120, 160) if n < adult_step} | {adult_step})
    course = grow_through(organism, keys, [0, *steps], tick=tick)[1:]
    views = {"picture": np.asarray(metrics.picture(organism.rule.spec, course))}
    if hidden := hidden_channels(organism.rule.spec):
        views["hidden"] = course[..., hidden]
    run_a, run_b = np.tril_indices(len(keys), -1)
    data = {}
    for name, values in views.items():
        flat = np.nan_to_num(values.reshape(len(steps), len(keys), -1).astype(np.float64))
        norm = np.linalg.norm(flat, axis=-1)
        mean = (norm[:, run_a] + norm[:, run_b]) / 2
        distance = np.stack([squareform(pdist(states))[run_a, run_b] for states in flat])
        data[name] = ("pair", "step"), (distance / np.where(mean > 0, mean, np.nan)).T
    return course[-1], xr.Dataset(data, {"step": steps, "run_a": ("pair", run_a), "run_b": ("pair", run_b)})


def canalization(spread: xr.Dataset, resamples: int = 1000, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Distance between runs at the end over its median at the steps before, by view: value, lower, upper.

    The reference is not the largest distance on the way: the largest of several chance values lies above the last
    one. The interval is a bootstrap over runs; pairs of a run with itself are left out.

    Args:
        spread: as `grow_with_spread` returns it.
        resamples: bootstrap samples.
        seed: of the bootstrap.
    """
    ratios: dict[str, tuple[float, float, float]] = {}
    runs = int(spread.run_a.max()) + 1 if spread.sizes["pair"] else 0
    draw = np.random.default_rng(seed)
    for name in spread.data_vars:
        values = spread[name].values
        if not len(values) or not np.isfinite(values).any():
            continue
        square = np.full((runs, runs, values.shape[1]), np.nan)
        square[spread.run_a.values, spread.run_b.values] = values
        square[spread.run_b.values, spread.run_a.values] = values
        picks = draw.integers(runs, size=(resamples, runs))
        resampled = np.array([_end_ratio(square[np.ix_(p, p)].reshape(-1, values.shape[1])) for p in picks])
        defined = resampled[np.isfinite(resampled)]
        low, high = np.quantile(defined, (0.025, 0.975)) if defined.size else (np.nan, np.nan)
        ratios[str(name)] = _end_ratio(values), float(low), float(high)
    return ratios


def _end_ratio(values: Float[np.ndarray, "pair step"]) -> float:
    complete = values[np.isfinite(values).all(1)]
    if not len(complete):
        return float("nan")
    *before, end = np.median(complete, axis=0)
    usual = float(np.median(before)) if before else 0.0
    return float(end) / usual if usual > 0 else float("nan")

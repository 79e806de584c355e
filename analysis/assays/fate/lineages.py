"""Who is whose daughter? A fate map: which cells of the young body the cells of the grown one descend from.

Cells of an NCA do not move: a daughter is a site that becomes mature, and its mother the neighbour of largest alpha.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis.recording import record
from nca.organism import Organism

FOUNDERS_STEP = 20  # at which the founders are counted
_MAX_PIXELS = 40_000  # of a canvas of which every step is kept


def map_lineages(organism: Organism, adult_step: int, runs: int, seed: int) -> xr.Dataset:
    """The founders that grown cells descend from.

    Args:
        organism: what grows.
        adult_step: step of the descendants.
        runs: number of runs; 0 for none.
        seed: of their keys.

    Returns:
        Dataset over run: ancestor (run, y, x, axis), the place at step 20 of each grown cell's ancestor, NaN where
        there is none; founders (run, y, x), the cells mature at step 20; agreement (pair,), the median distance between
        the ancestors that two runs give the same grown cells, and chance (pair,), that of cells drawn at random. Empty
        without runs, where the body is grown by step 20, or the canvas larger than 40,000 cells.
    """
    if not runs or adult_step <= FOUNDERS_STEP or np.prod(organism.canvas) > _MAX_PIXELS:
        return xr.Dataset()
    recording = record(organism, adult_step, runs=runs, seed=seed).sel(step=slice(FOUNDERS_STEP, None))
    mature = recording.mature.values
    alpha = recording.state.values[..., organism.rule.spec.alpha]
    ancestor = np.stack([trace_ancestors(m, a) for m, a in zip(mature, alpha, strict=True)])
    draw, agreement, chance = np.random.default_rng(seed), [], []
    for a, b in combinations(ancestor, 2):
        both = np.isfinite(a[..., 0]) & np.isfinite(b[..., 0])
        if both.any():
            agreement.append(np.median(np.linalg.norm(a[both] - b[both], axis=-1)))
            chance.append(np.median(np.linalg.norm(a[both] - draw.permutation(b[both]), axis=-1)))
    data: dict[str, Any] = {
        "ancestor": (("run", "y", "x", "axis"), ancestor),
        "founders": (("run", "y", "x"), mature[:, 0]),
        "agreement": ("pair", np.array(agreement)),
        "chance": ("pair", np.array(chance)),
    }
    return xr.Dataset(data, {"axis": ["y", "x"], "run": np.arange(runs)})


def trace_ancestors(
    mature: Bool[np.ndarray, "step y x"], alpha: Float[np.ndarray, "step y x"]
) -> Float[np.ndarray, "y x 2"]:
    """The place at the first step of the ancestor of each cell that is mature at the last.

    A cell that becomes mature is the daughter of the mature neighbour of largest alpha one step before; a cell born
    without one has no ancestor, NaN.
    """
    shape = mature.shape[1:]
    ancestor = np.moveaxis(np.indices(shape), 0, -1).astype(float)
    ancestor[~mature[0]] = np.nan
    offsets = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
    for t in range(1, len(mature)):
        born = np.argwhere(mature[t] & ~mature[t - 1])
        if len(born):
            strength = np.pad(np.where(mature[t - 1], alpha[t - 1], -np.inf), 1, constant_values=-np.inf)
            near = born[:, None] + offsets  # (cell, neighbour, axis)
            values = strength[near[..., 0] + 1, near[..., 1] + 1]
            mothers = near[np.arange(len(born)), values.argmax(1)]
            orphan = ~np.isfinite(values.max(1))
            inherited = ancestor[tuple(mothers.clip(0, np.array(shape) - 1).T)]
            inherited[orphan] = np.nan
            ancestor[tuple(born.T)] = inherited
        ancestor[~mature[t]] = np.nan
    return ancestor

"""Grafts and their controls followed in the same runs, and measured beside the ungrafted twins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.grafts import matching
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.operations import States, kinds, pictures, set_once
from analysis.rollouts import Tick, grow_runs
from nca import edits
from nca.damage import disc
from nca.organism import Organism


def marks(config: GraftConfig) -> list[int]:
    """The steps looked at."""
    span = config.until - config.at
    return [config.at + n for n in sorted({0, 20, 60, *range(100, span, 100), span}) if n <= span]


def compared(
    donor: Organism,
    host: Organism,
    hosts: States,
    donors: States,
    keys: Any,
    config: GraftConfig,
    tick: Tick | None = None,
) -> tuple[xr.Dataset, States]:
    """The graft and what stands beside it, in every run, as they go on.

    Returns:
        Dataset over (kind, run, time): second (share of a second body, NaN where too few cells could
        show one), first (share of the first body kept), cells (that show the second), turn (of the
        second body, degrees), distance (E to the ungrafted twin), kept (1: the disc is still as in the
        donor's own run, 0: as far from it as the twin's), mature; mature_twin (run, time); exploded
        (kind, run); touched (kind, run), cells that the graft changed; picture (kind, run, time, y, x,
        rgba) and picture_twin (run, time, y, x, rgba); and the twins at the end.
    """
    runs = range(config.runs)
    mine, theirs = hosts[: config.runs], donors[1 : config.runs + 1]
    each = [kinds(host, mine[r], theirs[r], hosts[r + 1], config, r) for r in runs]
    names = list(each[0])
    rows = [(k, r) for k in names for r in runs]
    start = np.stack([set_once(host, mine[r], each[r][k], config.at, keys[r]) for k, r in rows])
    own = jnp.asarray([r for _, r in rows])
    when = marks(config)
    grafted = _followed(host, start, keys[own], when, tick)
    twins = _followed(host, mine, keys[: config.runs], when, tick)
    origin = _followed(donor, theirs, keys[1 : config.runs + 1], when, tick)
    dims = ("kind", "run", "time")
    shaped = grafted.reshape(len(when), len(names), config.runs, *grafted.shape[2:]).transpose(1, 2, 0, 3, 4, 5)
    data = judged(host, shaped, twins.swapaxes(0, 1), origin.swapaxes(0, 1), config)
    touched = [[int((_seen(start, names, k, r) != mine[r]).any(-1).sum()) for r in runs] for k in range(len(names))]
    found = xr.Dataset(
        {name: (dims, values) for name, values in data.items()},
        {"kind": names, "run": list(runs), "time": when},
        {
            "donor": donor.hash,
            "host": host.hash,
            "cells": int(disc(host.canvas, config.place, config.radius).sum()),
        },
    )
    found["picture"] = (*dims, "y", "x", "rgba"), pictures(host, shaped)
    found["picture_twin"] = ("run", "time", "y", "x", "rgba"), pictures(host, twins.swapaxes(0, 1))
    found["mature_twin"] = ("run", "time"), np.asarray(metrics.mature_count(host.rule, twins)).T
    found["exploded"] = ("kind", "run"), np.asarray(metrics.exploded(shaped[:, :, -1]))
    found["touched"] = ("kind", "run"), touched
    return found, twins[-1]


def _seen(start: np.ndarray, names: Sequence[str], kind: int, run: int) -> np.ndarray:
    return start.reshape(len(names), -1, *start.shape[1:])[kind, run]


def _followed(
    organism: Organism, states: np.ndarray, keys: Any, when: Sequence[int], tick: Tick | None
) -> Float[np.ndarray, "time run y x channel"]:
    """States at every mark."""
    seen = [np.asarray(states)]
    for here, there in pairwise(when):
        seen.append(np.asarray(grow_runs(organism, there - here, keys, states=seen[-1], start=here, tick=tick)))
    return np.stack(seen)


def judged(
    host: Organism, states: np.ndarray, twins: np.ndarray, origin: np.ndarray, config: GraftConfig
) -> dict[str, np.ndarray]:
    """The measures of `compared`, of states (kind, run, time, y, x, channel) and twins (run, time, ...)."""
    region = disc(states.shape[3:5], config.place, config.radius)
    out = {name: np.full(states.shape[:3], np.nan) for name in ("second", "first", "cells", "turn", "distance", "kept")}
    for run, time in product(range(states.shape[1]), range(states.shape[2])):
        body = pictures(host, twins[run, time])
        template = matching.Template(body, config.source, config.place, ~region, host.rule.spec.threshold)
        donor = edits.graft(
            host,
            origin[run, time],
            source=config.source,
            place=config.place,
            radius=config.radius,
            turn=config.turn,
        )
        away = np.linalg.norm((twins[run, time] - np.asarray(donor.value))[region])
        for kind in range(len(states)):
            picture, at = pictures(host, states[kind, run, time]), (kind, run, time)
            found = template.match(picture)
            out["second"][at], out["first"][at], out["cells"][at] = found.share, found.first, found.cells
            out["turn"][at], out["distance"][at] = found.turn, matching.distance(picture, body)
            off = np.linalg.norm((states[at] - np.asarray(donor.value))[region])
            out["kept"][at] = 1 - off / away if away else np.nan
    return out | {"mature": np.asarray(metrics.mature_count(host.rule, states))}


def above(values: Any, null: Any) -> tuple[float, float]:
    """One-sided p that some keys exceed a null's by chance (permutation of keys), and the least possible.

    NaN where either has less than two keys.
    """
    from scipy.stats import permutation_test

    known, drawn = (np.asarray(v, float).ravel() for v in (values, null))
    known, drawn = known[np.isfinite(known)], drawn[np.isfinite(drawn)]
    if min(known.size, drawn.size) < 2:
        return float("nan"), float("nan")
    deals = min(9999, math.comb(known.size + drawn.size, known.size))

    def excess(a: np.ndarray, b: np.ndarray, axis: int) -> Any:
        return a.mean(axis) - b.mean(axis)

    test = permutation_test((known, drawn), excess, n_resamples=deals, alternative="greater", vectorized=True, rng=0)
    return float(test.pvalue), 1 / (deals if deals < 9999 else 10000)

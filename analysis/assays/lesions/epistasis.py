"""Double lesions: which parts back each other up, and which act in series.

eps_ij = W_ij - W_i - W_j + W_0 on the same key, and the same on -L. Backup of i by j is -eps_ij, the second
difference that is called synthetic lethality in genetics (Mani et al. 2008). Two independent lesions add
in E, so L alone shows an interaction where there is none: both measures have to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.lesions.kinds import Scene
from analysis.paired import EditedRun, run_edited
from analysis.report import format
from analysis.rollouts import Tick
from nca import edits
from nca.errors import UserError

CLEAR = 0.05  # false discovery rate
LARGE = 0.05  # of W: less is no interaction worth a name
COSTLY = 0.2  # W of a single lesion that leaves nothing for the second to take
EXACT = 16  # keys up to which every choice of signs is tried
DRAWN = 9999


def double_lesions(
    scene: Scene,
    channels: Sequence[int],
    horizon: int,
    *,
    kept: float = 0.0,
    names: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Each channel alone and each pair, held at a share of themselves from the first step on.

    Args:
        scene: the runs; their marks hold the first step plus the horizon.
        channels: two or more.
        horizon: steps after the first at which the outcome is measured.
        kept: what the channels are multiplied by at every step; 0 takes them out.
        names: of the channels, if not the rule's.
        tick: is told the steps done.

    Returns:
        Dataset over (a, b, run), symmetric, single lesions on the diagonal: fitness, log_error,
        overgrown, exploded (step or -1); of the undisturbed runs log_error_control (run,).
    """
    if len(set(channels)) < 2:
        raise UserError(f"Double lesions need two channels or more, got {list(channels)}.")
    runs, controls, size = len(scene.states), scene.controls, len(channels)
    places = [*((i, i) for i in range(size)), *combinations(range(size), 2)]
    rows = []
    for (a, b), run in product(places, range(runs)):
        edit = edits.scale(scene.organism, kept, channels=sorted({channels[a], channels[b]}))
        rows.append(EditedRun(run, (edit.at(slice(scene.at, None)),)))
    found = run_edited(scene.organism, controls, rows, tick)
    mark = int(np.searchsorted(controls.steps, controls.steps[0] + horizon))
    which = np.tile(np.arange(runs), len(places))
    e, before, dead = found["mse"][:, mark], controls.mse[which, mark], controls.mse_empty[which, mark]
    values = {
        "fitness": np.asarray(metrics.fitness(e, before, dead), np.float64),
        "log_error": np.asarray(metrics.log_mse(e), np.float64),
        "overgrown": found["overgrown"],
        "exploded": found["exploded"],
    }
    a, b = np.asarray(places).T
    data: dict[str, Any] = {}
    for name, flat in values.items():
        square = np.empty((size, size, runs), flat.dtype)
        square[a, b] = square[b, a] = flat.reshape(len(places), runs)
        data[name] = (("a", "b", "run"), square)
    data["log_error_control"] = (("run",), np.asarray(metrics.log_mse(controls.mse[:, mark]), np.float64))
    labels = [scene.organism.rule.channel_names[c] for c in channels] if names is None else list(names)
    coords = {"a": labels, "b": labels, "run": np.arange(runs), "number": ("a", list(channels))}
    reference = "twin" if scene.organism.target is None else "target"
    attrs = {"horizon": horizon, "kept": kept, "at": scene.at, "reference": reference}
    return xr.Dataset(data, coords, attrs)


def interactions(doubles: xr.Dataset) -> xr.Dataset:
    """eps (measure, a, b, run) on W and on -L, NaN on the diagonal and where W is not defined.

    Beside a twin instead of a target the undisturbed L is no number but the floor of the logarithm, and
    eps on -L would be as arbitrary: it is NaN.
    """
    w, minus = doubles.fitness.values, -doubles.log_error.values
    if doubles.attrs["reference"] == "twin":
        minus = np.full_like(minus, np.nan)
    whole = {"W": (w, np.ones(w.shape[-1])), "-L": (minus, -doubles.log_error_control.values)}
    found = []
    for values, intact in whole.values():
        single = values[np.arange(len(values)), np.arange(len(values))]
        eps = values - single[:, None] - single[None, :] + intact
        eps[np.arange(len(values)), np.arange(len(values))] = np.nan
        found.append(eps)
    coords = {"measure": list(whole), "a": doubles.a.values, "b": doubles.b.values, "run": doubles.run.values}
    return xr.Dataset({"eps": (("measure", "a", "b", "run"), np.stack(found))}, coords)


def pairs(doubles: xr.Dataset, seed: int = 0) -> pd.DataFrame:
    """Every pair, the largest backup first.

    Returns:
        a, b; w_a, w_b, w_ab (medians over keys); for W and -L (columns ..._w and ..._l) eps, its
        median over keys, with low and high of its 95 % bootstrap interval, p of its mean against signs
        drawn at random for each key (the null: eps is as often above 0 as below), q over all pairs
        (Benjamini & Hochberg 1995); backup, which is -eps_w; overgrown_runs, exploded_runs of the
        double lesion; runs; verdict as `verdict` says.
    """
    eps = interactions(doubles)
    rows = []
    for i, j in combinations(range(doubles.sizes["a"]), 2):
        w = doubles.fitness.values
        row = {"a": str(doubles.a.values[i]), "b": str(doubles.b.values[j]), "runs": doubles.sizes["run"]}
        row |= {"w_a": _median(w[i, i]), "w_b": _median(w[j, j]), "w_ab": _median(w[i, j])}
        for measure, suffix in (("W", "w"), ("-L", "l")):
            values = eps.eps.sel(measure=measure).values[i, j]
            middle, low, high = metrics.median_interval(values)
            row |= {f"eps_{suffix}": middle, f"low_{suffix}": low, f"high_{suffix}": high}
            row[f"p_{suffix}"] = sign_flips(values, seed)
        for what in ("overgrown", "exploded"):
            row[f"{what}_runs"] = int((doubles[what].values[i, j] >= 0).sum())
        rows.append(row)
    table = pd.DataFrame(rows)
    for suffix in ("w", "l"):
        table[f"q_{suffix}"] = false_discovery(table[f"p_{suffix}"].to_numpy())
    table["backup"] = -table.eps_w
    table["verdict"] = [verdict(row) for _, row in table.iterrows()]
    return table.sort_values("eps_w", ignore_index=True)


def verdict(row: pd.Series) -> str:
    """What a pair is: backup, series or suppression, each perhaps "on W", masked, none, or not defined.

    They need 0.05 of W at least with q <= 0.05, and the same sign on -L with q <= 0.05 where
    that is defined; "on W" is said where -L does not agree. An eps beside a single lesion that costs 80 %
    of W already is "masked": there was nothing left for the second to take, or it overgrew, where W has
    no end. E is a square, so that two changes of one colour which merely add cost (sqrt(1 - W_i) +
    sqrt(1 - W_j))^2 together: a backup costs 0.05 of W more than even they would, else it is none. Where
    together they cost less than the costlier alone, by 0.05, one loss undoes the other's harm: suppression.
    Else it is series, of which two changes that cancel in part cannot be told.
    """
    if not np.isfinite(row.eps_w):
        return format.NOT_DEFINED
    if min(row.w_a, row.w_b) <= COSTLY:
        return "masked" if abs(row.eps_w) >= LARGE else "none"
    if abs(row.eps_w) < LARGE or row.q_w > CLEAR:
        return "none"
    added = np.sqrt(np.maximum(1 - np.array([row.w_a, row.w_b]), 0)).sum() ** 2
    if row.eps_w < 0 and 1 - row.w_ab < added + LARGE:
        return "none"
    agree = np.sign(row.eps_w) == np.sign(row.eps_l) and row.q_l <= CLEAR
    undone = row.w_ab > min(row.w_a, row.w_b) + LARGE
    word = "backup" if row.eps_w < 0 else "suppression" if undone else "series"
    return word if agree or not np.isfinite(row.eps_l) else f"{word} on W"


def sign_flips(values: Float[np.ndarray, " key"], seed: int = 0) -> float:
    """p of a mean as far from 0, were each key's sign as likely the other one; 1 of nothing but zeros.

    All signs are tried for up to 16 keys, so that p is 2 / 2^keys at least; 9,999 draws beyond.
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not known.size or not known.any():
        return 1.0
    if known.size <= EXACT:
        signs = 1 - 2 * ((np.arange(2**known.size)[:, None] >> np.arange(known.size)) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], (DRAWN, known.size))
        signs = np.concatenate([np.ones((1, known.size)), signs])
    means = np.abs(signs @ known)
    return float((means >= abs(known.sum()) * (1 - 1e-9)).mean())


def p_floor(keys: int) -> float:
    """The least p that so many keys can give."""
    return 2 / 2**keys if keys <= EXACT else 1 / (DRAWN + 1)


def false_discovery(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """q: the false discovery rate at which each test would be called clear."""
    return np.asarray(scipy.stats.false_discovery_control(p)) if len(p) else p


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")

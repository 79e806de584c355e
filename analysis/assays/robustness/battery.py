"""How much disturbance does it bear? Fitness against dose, spread between keys, return to the twin.

Disturbed runs share every fire mask with their undisturbed twins: a fire rate cuts the twin's own
random numbers at another level, a smaller canvas or a moved seed sees the twin's masks around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.regeneration.wounds import no_body
from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.robustness.disturbances import Grown, noise_lasting, noise_once
from analysis.assays.robustness.growth import canvas_edges, fire_rates, to_updates, weight_noise
from analysis.progress import Log, Progress
from analysis.rollouts import grow_runs, run_keys
from nca.organism import Organism


@dataclass(frozen=True)
class Robust:
    """What one organism bears.

    Attributes:
        organism: what was disturbed.
        config: how.
        doses: a row per kind, dose and run: fitness (W; NaN: not defined; -inf: exploded), worse
            (rise of L over the undisturbed run), mature, mature_twin, overgrown, exploded.
        returns: Dataset over (dose, run, time): distance of the state to the undisturbed twin after
            noise added once, as a share of the twin's norm; floor (run, time), of the next key's run.
        spread: Dataset over (time, pair): hidden and visible, distances between the runs of two keys
            as shares of their norm.
        trouble: why nothing was disturbed.
        skipped: kinds that were left out, and why.
        portrait: the first run's grown body, premultiplied RGBA.
    """

    organism: Organism
    config: RobustnessConfig
    doses: pd.DataFrame = field(default_factory=pd.DataFrame)
    returns: xr.Dataset = field(default_factory=xr.Dataset)
    spread: xr.Dataset = field(default_factory=xr.Dataset)
    trouble: str = ""
    skipped: Sequence[str] = ()
    portrait: np.ndarray | None = None


def robust(organism: Organism, config: RobustnessConfig, say: Log) -> Robust:
    """Grow, disturb, follow."""
    config = config.filled()
    progress = Progress(say, planned(organism, config))
    progress.stage = f"growing {organism.name}"
    keys = run_keys(config.seed, config.runs)
    when, course = spread_marks(config.at), []
    states, here = None, 0
    for there in when:
        states = grow_runs(organism, there - here, keys, states=states, start=here, tick=progress.tick)
        course.append(np.asarray(states))
        here = there
    spread = spread_of(organism, np.stack(course), when)
    if trouble := no_body(organism, course[-1], config.at):
        return Robust(organism, config, spread=spread, trouble=trouble)
    target = organism.picture(organism.canvas)
    pictures = np.asarray(metrics.picture(organism.rule.spec, course[-1]))
    reference = pictures if target is None else np.broadcast_to(target, pictures.shape)
    body = Grown(organism, config, keys, course[-1], reference, progress.tick)
    rows: list[dict[str, Any]] = []
    progress.stage = f"state noise on {organism.name}"
    once, returns = noise_once(body)
    rows += once + noise_lasting(body)
    progress.stage = f"weight noise on {organism.name}"
    rows += weight_noise(body)
    progress.stage = f"fire rates of {organism.name}"
    rows += fire_rates(body)
    progress.stage = f"edges around {organism.name}"
    edged, outcomes = canvas_edges(body)
    return Robust(organism, config, pd.DataFrame(rows + edged), returns, spread, "", outcomes, pictures[0])


def planned(organism: Organism, config: RobustnessConfig) -> int:
    """Steps that `robust` takes, all runs together, roughly."""
    state = config.horizon * (len(config.once) + len(config.lasting) + 2)
    rates = sum(max(config.at, to_updates(organism, config, rate)) for rate in config.rates)
    return config.runs * (state + rates + config.at * (1 + len(config.weights) + 2 * len(config.edges)))


def spread_marks(at: int) -> list[int]:
    """The steps at which the spread between keys is looked at."""
    return sorted({n for n in (5, 10, 20, 40, 60, 80, 120, 160) if n < at} | {at})


def spread_of(organism: Organism, course: np.ndarray, when: Sequence[int]) -> xr.Dataset:
    """Distances between the runs of every two keys, over their mean norm, states (time, run, ...)."""
    runs = course.shape[1]
    pairs = [(a, b) for a in range(runs) for b in range(a)]
    hidden = [i for i, name in enumerate(organism.rule.channel_names) if name.startswith("h")]
    views = {"visible": np.asarray(metrics.picture(organism.rule.spec, course))}
    if hidden:
        views["hidden"] = course[..., hidden]
    data = {}
    for name, values in views.items():
        flat = np.nan_to_num(values.reshape(len(when), runs, -1).astype(np.float64))
        size = np.linalg.norm(flat, axis=-1)
        rows = [np.linalg.norm(flat[:, a] - flat[:, b], axis=-1) / _half(size[:, a] + size[:, b]) for a, b in pairs]
        data[name] = ("pair", "time"), np.array(rows).reshape(len(pairs), len(when))
    coords = {
        "time": list(when),
        "first": ("pair", [a for a, _ in pairs]),
        "second": ("pair", [b for _, b in pairs]),
    }
    return xr.Dataset(data, coords)


def _half(total: np.ndarray) -> np.ndarray:
    return np.where(total > 0, total / 2, np.nan)


def summary(doses: pd.DataFrame) -> pd.DataFrame:
    """A row per kind and dose: median W and rise of L with 95 % bootstrap intervals over keys."""
    rows = []
    for (kind, dose), of in doses.groupby(["kind", "dose"], sort=False):
        row: dict[str, Any] = {"kind": kind, "dose": dose}
        for name in ("fitness", "worse"):
            ends = metrics.median_interval(of[name].values)
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        row |= {"defined": int(of.fitness.notna().sum()), "keys": len(of)}
        row |= {"overgrown_runs": int(of.overgrown.sum()), "exploded_runs": int(of.exploded.sum())}
        row |= {f"key {r}": v for r, v in zip(of.run, of.fitness, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def canalization(spread: xr.Dataset, resamples: int = 1000, seed: int = 0) -> dict[str, tuple[float, ...]]:
    """Spread between keys at the end over its median at the steps before, by view: median, lower, upper.

    Not over the most it ever was: the largest of several chance values lies above the last one. The
    interval is a bootstrap over keys: pairs of a key with itself are left out.
    """
    found: dict[str, tuple[float, ...]] = {}
    runs = int(spread.first.max()) + 1 if spread.sizes["pair"] else 0
    draw = np.random.default_rng(seed)
    for name in spread.data_vars:
        values = spread[name].values
        if not len(values) or not np.isfinite(values).any():
            continue
        square = np.full((runs, runs, values.shape[1]), np.nan)
        square[spread.first.values, spread.second.values] = values
        square[spread.second.values, spread.first.values] = values
        own = _ratio(values)
        picks = draw.integers(runs, size=(resamples, runs))
        ratios = [_ratio(square[np.ix_(p, p)].reshape(-1, values.shape[1])) for p in picks]
        known = np.asarray(ratios)[np.isfinite(ratios)]
        edges = np.quantile(known, (0.025, 0.975)) if known.size else (float("nan"),) * 2
        found[str(name)] = own, float(edges[0]), float(edges[1])
    return found


def _ratio(values: np.ndarray) -> float:
    known = values[np.isfinite(values).all(1)]
    if not len(known):
        return float("nan")
    *before, end = np.median(known, axis=0)
    usual = float(np.median(before)) if before else 0.0
    return float(end) / usual if usual > 0 else float("nan")

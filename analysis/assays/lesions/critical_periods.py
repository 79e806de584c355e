"""Critical periods: when is a channel needed?

A channel is ablated on (t, end], from ever later t on, and on (0, t], until ever later t. Its critical period lies
between the two steps at which half of the full lesion's effect is crossed. The control channel shows what no effect
looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.paired import EditedRun, run_controls, run_edited
from analysis.rollouts import CHUNK, Tick, grow_runs, run_keys
from nca import edits
from nca.errors import UserError
from nca.organism import Organism

_MIN_EFFECT = 0.1  # of fitness: a full lesion that costs less has no half to look for
_SIDES = ("after", "before")
_AGREEMENT = 0.95  # share of the resamples of runs that must agree


def critical_periods(
    organism: Organism,
    channels: Sequence[int],
    runs: int = 8,
    seed: int = 0,
    *,
    eval_step: int = 100,
    spacing: int = 10,
    share_kept: float = 0.0,
    names: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Fitness at a step after lesions that begin, or end, at regular steps before it.

    Args:
        channels: indices, each lesioned by itself.
        seed: number that the keys of the runs follow from.
        eval_step: step of growth at which the outcome is measured.
        spacing: steps between two beginnings, or two ends, of the lesion.
        share_kept: what a channel is multiplied by at every step of its lesion; 0 ablates it.
        names: of the channels, if not the rule's.

    Returns:
        Dataset over (side, channel, step, run): fitness, overgrown, exploded. Side "after" is the lesion on
        (step, eval_step], "before" on (0, step]; so at step 0 "after" is the full lesion and "before" none.

    Raises:
        UserError: a spacing that is not below the evaluation step.
    """
    if not 0 < spacing < eval_step:
        raise UserError(f"Steps between lesions must be from 1 to below {eval_step}, got {spacing}.")
    steps = np.asarray(sorted({*range(0, eval_step, spacing), eval_step}))
    shape = (len(_SIDES), len(channels), len(steps), runs)
    data = {"fitness": np.full(shape, np.nan), "overgrown": np.full(shape, -1), "exploded": np.full(shape, -1)}
    keys, start = run_keys(seed, runs), organism.initial_state()
    states: Any = np.broadcast_to(start, (runs, *start.shape))
    here = 0
    # Only full chunks, so that every row runs through the same program.
    for begin in sorted({t - t % CHUNK for t in steps.tolist() if t < eval_step}):
        states = states if begin == here else grow_runs(organism, begin - here, keys, states=states, start=here)
        here = begin
        measured = [*range(begin, eval_step, CHUNK), eval_step]
        controls = run_controls(organism, np.asarray(states), keys, measured, tick=tick)
        stop = min(begin + CHUNK, eval_step)
        windows = [(0, n, slice(t, eval_step)) for n, t in enumerate(steps.tolist()) if begin <= t < stop]
        windows += [(1, n, slice(0, t)) for n, t in enumerate(steps.tolist()) if t > 0] if begin == 0 else []
        rows, places = [], []
        for (side, n, window), (c, channel), run in product(windows, enumerate(channels), range(runs)):
            rows.append(EditedRun(run, (edits.scale(organism, share_kept, channels=channel).at(window),)))
            places.append((side, c, n, run))
        edited, at = run_edited(organism, controls, rows, tick), tuple(np.asarray(places).T)
        mse_control, mse_empty = controls.mse[at[-1], -1], controls.mse_empty[at[-1], -1]
        data["fitness"][at] = metrics.fitness(edited["mse"][:, -1], mse_control, mse_empty)
        for event in ("overgrown", "exploded"):
            data[event][at] = edited[event]
    defined = data["fitness"][1, :, -1]  # where fitness is defined, a lesion of no steps leaves it at 1
    data["fitness"][0, :, -1] = data["fitness"][1, :, 0] = np.where(np.isfinite(defined), 1.0, np.nan)
    data["fitness"][1, :, -1] = data["fitness"][0, :, 0]
    labels = [organism.rule.channel_names[c] for c in channels] if names is None else list(names)
    coords = {"side": list(_SIDES), "channel": labels, "step": steps, "run": np.arange(runs)}
    dims = ("side", "channel", "step", "run")
    attrs = {"eval_step": eval_step, "spacing": spacing, "share_kept": share_kept}
    return xr.Dataset({name: (dims, values) for name, values in data.items()}, coords, attrs)


def period_bounds(periods: xr.Dataset, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """When each channel is needed.

    Returns:
        For each channel: effect, 1 - fitness of the full lesion, median over runs; start, the step t from which
        lesions on (0, t] cost half of it, and end, the step t from which lesions on (t, eval_step] cost less than
        half, on the medians over runs, with 95 % intervals (..._low, ..._high) from resampled runs; runs; and
        period: "critical" where start comes before end, so that ablating the channel before the period or after it
        is enough for harm (this says nothing about ablations within the period: a channel that is needed at both
        ends has such a period, too); "long ablations" where only more than the span between end and start harms;
        "uncertain" where resamples of the runs disagree (more than one in twenty); "none" where the full lesion
        costs less than 0.1 of fitness; "not defined" where fitness is not.
    """
    rng = np.random.default_rng(seed)
    runs, rows = periods.sizes["run"], []
    resampled = rng.integers(runs, size=(resamples, runs))
    steps = periods.step.values.astype(float)
    for channel in periods.channel.values:
        fitness = periods.fitness.sel(channel=channel).transpose("side", "step", "run").values
        effect, start, end = _crossings(steps, fitness)
        row: dict[str, Any] = {"channel": str(channel), "runs": runs, "effect": effect, "start": start, "end": end}
        resamples_of = np.full((1, 3), np.nan)
        period = "none" if np.isfinite(effect) else "not defined"
        if np.isfinite(start):
            resamples_of = np.asarray([_crossings(steps, fitness[..., runs_of]) for runs_of in resampled])
            with_start = resamples_of[np.isfinite(resamples_of[:, 1])]
            critical = float((with_start[:, 1] <= with_start[:, 2]).mean())
            period = "uncertain"
            if max(critical, 1 - critical) >= _AGREEMENT:
                period = "critical" if critical >= _AGREEMENT else "long ablations"
        for n, name in ((1, "start"), (2, "end")):
            values = resamples_of[:, n][np.isfinite(resamples_of[:, n])]
            bounds = np.quantile(values, [0.025, 0.975]).tolist() if values.size else (float("nan"),) * 2
            row |= dict(zip((f"{name}_low", f"{name}_high"), bounds, strict=True))
        rows.append(row | {"period": period})
    return pd.DataFrame(rows)


def _crossings(steps: np.ndarray, fitness: Float[np.ndarray, "side step run"]) -> tuple[float, float, float]:
    """Effect of the full lesion, and where lesions before and after cross half of it, on medians over runs."""
    defined = fitness[..., np.isfinite(fitness).all((0, 1))]
    if not defined.shape[-1]:
        return (float("nan"),) * 3
    after, before = np.median(defined, -1)
    effect = 1.0 - float(after[0])
    if effect < _MIN_EFFECT:
        return effect, float("nan"), float("nan")
    half = 1.0 - effect / 2
    low = int(np.flatnonzero(before <= half)[0])  # the full lesion is below half, no lesion above it
    high = int(np.flatnonzero(after <= half)[-1])
    start = np.interp(half, before[[low, low - 1]], steps[[low, low - 1]])
    end = np.interp(half, after[[high, high + 1]], steps[[high, high + 1]])
    return effect, float(start), float(end)

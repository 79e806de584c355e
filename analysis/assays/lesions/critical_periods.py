"""Critical periods: when is a channel needed?

A channel is taken out on (t_on, end], from ever later on, and on (0, t_off], ever longer. Where half of the
whole lesion's effect is crossed on either side, there its period begins and ends. The neutral marker shows
what nothing looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.paired import Controls, EditedRun, run_controls, run_edited
from analysis.report import format
from analysis.rollouts import CHUNK, Tick, grow_runs, run_keys
from nca import edits
from nca.errors import UserError
from nca.organism import Organism

LEAST = 0.1  # of W: a whole lesion that costs less has no half to look for
SIDES = ("on", "off")
SURE = 0.95


def critical_periods(
    organism: Organism,
    channels: Sequence[int],
    runs: int = 8,
    seed: int = 0,
    *,
    end: int = 100,
    every: int = 10,
    kept: float = 0.0,
    names: Sequence[str] | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Fitness at the end after lesions that begin or end at every so many-th step.

    Args:
        organism: what grows, from its seed.
        channels: which, each by itself.
        runs: keys.
        seed: what they follow from.
        end: step at which the outcome is measured.
        every: steps between two beginnings, or two ends, of the lesion.
        kept: what a channel is multiplied by at every step of its lesion; 0 takes it out.
        names: of the channels, if not the rule's.
        tick: is told the steps done.

    Returns:
        Dataset over (side, channel, time, run): fitness, overgrown, exploded. Side "on" is the lesion on
        (time, end], "off" on (0, time]; so at time 0 "on" is the whole lesion and "off" none.

    Raises:
        UserError: a step that is not before the end.
    """
    if not 0 < every < end:
        raise UserError(f"Steps between lesions must be from 1 to below {end}, got {every}.")
    times = np.asarray(sorted({*range(0, end, every), end}))
    shape = (len(SIDES), len(channels), len(times), runs)
    found = {
        "fitness": np.full(shape, np.nan),
        "overgrown": np.full(shape, -1),
        "exploded": np.full(shape, -1),
    }
    keys, start = run_keys(seed, runs), organism.start()
    states: Any = np.broadcast_to(start, (runs, *start.shape))
    here = 0
    # Whole stretches only, so that every row runs through the same program.
    for begin in sorted({t - t % CHUNK for t in times.tolist() if t < end}):
        states = states if begin == here else grow_runs(organism, begin - here, keys, states=states, start=here)
        here = begin
        controls = run_controls(organism, np.asarray(states), keys, [*range(begin, end, CHUNK), end], tick=tick)
        windows = [(0, t, t, end) for t in times.tolist() if begin <= t < min(begin + CHUNK, end)]
        windows += [(1, t, 0, t) for t in times.tolist() if t > 0] if begin == 0 else []
        _fill(found, organism, controls, channels, times, windows, kept, tick)
    sound = found["fitness"][1, :, -1]  # where W is defined, a lesion of no steps has W = 1
    found["fitness"][0, :, -1] = found["fitness"][1, :, 0] = np.where(np.isfinite(sound), 1.0, np.nan)
    found["fitness"][1, :, -1] = found["fitness"][0, :, 0]
    labels = [organism.rule.channel_names[c] for c in channels] if names is None else list(names)
    coords = {"side": list(SIDES), "channel": labels, "time": times, "run": np.arange(runs)}
    dims = ("side", "channel", "time", "run")
    attrs = {"end": end, "every": every, "kept": kept}
    return xr.Dataset({name: (dims, values) for name, values in found.items()}, coords, attrs)


def _fill(
    found: dict[str, np.ndarray],
    organism: Organism,
    controls: Controls,
    channels: Sequence[int],
    times: np.ndarray,
    windows: Sequence[tuple[int, int, int, int]],
    kept: float,
    tick: Tick | None,
) -> None:
    """Every channel under every window (side, time, first step, last step) in every run."""
    runs = len(controls.states)
    places, rows = [], []
    for side, time, first, last in windows:
        n = int(np.searchsorted(times, time))
        for c, channel in enumerate(channels):
            edit = edits.scale(organism, kept, channels=channel).at(slice(first, last))
            rows += [EditedRun(run, (edit,)) for run in range(runs)]
            places += [(side, c, n, run) for run in range(runs)]
    made, where = run_edited(organism, controls, rows, tick), tuple(np.asarray(places).T)
    which = where[-1]
    e, before, dead = made["mse"][:, -1], controls.mse[which, -1], controls.mse_empty[which, -1]
    found["fitness"][where] = np.asarray(metrics.fitness(e, before, dead))
    for name in ("overgrown", "exploded"):
        found[name][where] = made[name]


def crossings(periods: xr.Dataset, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """When each channel is needed.

    Returns:
        For each channel: effect, 1 - W of the whole lesion, median over keys; first, where lesions on
        (0, t] come to cost half of it, and last, where lesions on (t, end] come to cost less than half, in
        steps, on the medians over keys, with 95 % intervals (columns ..._low, ..._high) from keys drawn
        with replacement; kind: "any lapse" where first comes before last, so that either being without the
        channel until first or from last on is enough (of a lapse between them this says nothing: a channel
        that is needed at both ends has such a period, too); "long lapse" where only more than the span
        between last and first harms; "unsure" where keys drawn with replacement say now this, now that (more
        than one in twenty); "none" where the whole lesion costs less than 0.1 of W; runs.
    """
    rng = np.random.default_rng(seed)
    runs, rows = periods.sizes["run"], []
    drawn = rng.integers(runs, size=(resamples, runs))
    times = periods.time.values.astype(float)
    for channel in periods.channel.values:
        w = periods.fitness.sel(channel=channel).values
        row: dict[str, Any] = {"channel": str(channel), "runs": runs}
        effect, first, last = _crossed(times, w)
        row |= {"effect": effect, "first": first, "last": last}
        again = np.asarray([_crossed(times, w[..., one]) for one in drawn]) if np.isfinite(first) else None
        for n, name in ((1, "first"), (2, "last")):
            low, high = _span(None if again is None else again[:, n])
            row |= {f"{name}_low": low, f"{name}_high": high}
        rows.append(row | {"kind": _kind(effect, again)})
    return pd.DataFrame(rows)


def _kind(effect: float, again: np.ndarray | None) -> str:
    if not np.isfinite(effect):
        return format.NOT_DEFINED
    if again is None:
        return "none"
    lapse = float((again[:, 1] <= again[:, 2])[np.isfinite(again[:, 1])].mean())
    return "any lapse" if lapse >= SURE else "long lapse" if lapse <= 1 - SURE else "unsure"


def _span(values: Any) -> tuple[float, float]:
    known = np.asarray([] if values is None else values)
    known = known[np.isfinite(known)]
    return tuple(np.quantile(known, [0.025, 0.975]).tolist()) if known.size else (float("nan"),) * 2


def _crossed(times: np.ndarray, w: Float[np.ndarray, "side time run"]) -> tuple[float, float, float]:
    """Effect of the whole lesion, first and last crossing of its half, of the medians over runs."""
    known = w[..., np.isfinite(w).all((0, 1))]
    if not known.shape[-1]:
        return (float("nan"),) * 3
    on, off = np.median(known, -1)
    effect = 1.0 - float(on[0])
    if effect < LEAST:
        return effect, float("nan"), float("nan")
    half = 1.0 - effect / 2
    below = int(np.flatnonzero(off <= half)[0])  # the whole lesion is below, none above
    above = int(np.flatnonzero(on <= half)[-1])
    first = _between(times[below - 1 : below + 1], off[below - 1 : below + 1], half)
    last = _between(times[above : above + 2], on[above : above + 2], half)
    return effect, first, last


def _between(times: np.ndarray, values: np.ndarray, level: float) -> float:
    """Where a line through two points crosses a level."""
    return float(times[0] + (values[0] - level) / (values[0] - values[1]) * (times[1] - times[0]))

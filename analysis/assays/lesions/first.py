"""A first lesion sweep: which channels does the grown body need, and how soon does it show?

Knocking a channel out from the seed on is ruinous for nearly every channel, so lesions are mild, of
two kinds and at two horizons: graded (5 % less a step, for good) and erase (to zero, once). Beside
an erased channel stand two nulls: the same cells pushed as far along a random hidden direction, and
the channel as it is in a twin, another run at the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.paired import Controls, EditedRun, run_controls, run_edited
from analysis.rollouts import CHUNK, Tick, grow_runs, run_keys
from nca import edits
from nca.errors import UserError
from nca.organism import Organism
from nca.spec import channel_names

KINDS = {
    "graded": "multiplied by 0.95 at every step",
    "erase": "set to zero once",
    "random direction": "null of erase: the same cells pushed as far along a random hidden direction",
    "twin": "null of erase: the channel of another run at the same step",
}
FACTOR = 0.95


def first_sweep(
    organism: Organism,
    runs: int = 4,
    seed: int = 0,
    *,
    at: int = 200,
    horizons: Sequence[int] = (60, 300),
    controls: Controls | None = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Each channel x each kind x each horizon, paired with the undisturbed run of the same key.

    Args:
        organism: what grows.
        runs: keys.
        seed: what the keys follow from.
        at: first step of the lesion.
        horizons: steps after it, ascending, at which the outcome is measured.
        controls: the undisturbed runs where they are there already, marked as `marks` says.
        tick: is told the steps done.

    Returns:
        Dataset over (kind, channel, run[, horizon]): fitness (NaN: not defined), log_error, e,
        mature; overgrown and exploded, the step at which first seen (the run stops there) or -1;
        touched, cells that the first step's edit changed; and of the undisturbed runs e_control,
        mature_control (run, horizon). `number` and `role` (colour, alpha, hidden) go with channel.

    Raises:
        UserError: horizons that do not ascend from 1 up.
    """
    if not horizons or list(horizons) != sorted(set(horizons)) or min(horizons) < 1:
        raise UserError(f"Horizons are ascending steps after the lesion, got {list(horizons)}.")
    if controls is None:
        keys = run_keys(seed, runs)
        states = grow_runs(organism, at, keys, tick=tick)
        controls = run_controls(organism, states, keys, marks(at, horizons), tick=tick)
    kinds = [kind for kind in KINDS if kind != "twin" or len(controls.states) > 1]
    made = {kind: lesions(organism, controls, kind, seed) for kind in kinds}
    found = run_edited(organism, controls, [row for rows in made.values() for row in rows], tick)
    sides = (len(kinds), organism.rule.spec.channels, len(controls.states))
    shaped = {k: v.reshape(*sides, *v.shape[1:]) for k, v in found.items() if k != "final_states"}
    return _labelled(organism, controls, kinds, np.asarray(horizons), shaped)


def marks(at: int, horizons: Sequence[int]) -> list[int]:
    """Every twentieth step, and the horizons."""
    return sorted({*range(at, at + max(horizons), CHUNK), *(at + h for h in horizons)})


def lesions(organism: Organism, controls: Controls, kind: str, seed: int = 0) -> list[EditedRun]:
    """The rows of one kind, channel by channel, run by run."""
    at, runs = int(controls.steps[0]), len(controls.states)
    states = np.asarray(controls.states)
    rng = np.random.default_rng(seed)
    rows = []
    for channel in range(organism.rule.spec.channels):
        for run in range(runs):
            if kind == "graded":
                edit = edits.scale(organism, FACTOR, channels=channel).at(slice(at, None))
            elif kind == "erase":
                edit = edits.erase(organism, channels=channel).at(at)
            elif kind == "twin":
                edit = edits.clamp(organism, 0.0, channels=channel).at(at)
                edit = replace(edit, value=jnp.asarray(states[(run + 1) % runs, ..., channel, None]))
            else:
                push = states[run, ..., channel, None] * _direction(organism, rng)
                edit = replace(edits.add(organism, 0.0).at(at), value=jnp.asarray(push, jnp.float32))
            rows.append(EditedRun(run, (edit,)))
    return rows


def _direction(organism: Organism, rng: np.random.Generator) -> np.ndarray:
    """A unit vector drawn uniformly among the hidden channels."""
    hidden = [name.startswith("h") for name in channel_names(organism.rule.spec)]
    drawn = rng.standard_normal(len(hidden)) * (hidden if any(hidden) else 1)
    return drawn / np.linalg.norm(drawn)


def _labelled(
    organism: Organism, controls: Controls, kinds: list[str], horizons: np.ndarray, found: dict[str, Any]
) -> xr.Dataset:
    picked = np.searchsorted(controls.steps, controls.steps[0] + horizons)
    e, undisturbed, dead = found["mse"][..., picked], controls.mse[:, picked], controls.mse_empty[:, picked]
    rowwise, dims = ("kind", "channel", "run"), ("kind", "channel", "run", "horizon")
    names = channel_names(organism.rule.spec)
    data = {
        "fitness": (dims, np.asarray(metrics.fitness(e, undisturbed, dead), np.float64)),
        "log_error": (dims, np.asarray(metrics.log_mse(e), np.float64)),
        "e": (dims, e),
        "mature": (dims, found["mature_cells"][..., picked]),
        "overgrown": (rowwise, found["overgrown"]),
        "exploded": (rowwise, found["exploded"]),
        "touched": (rowwise, found["cells_changed"]),
        "e_control": (("run", "horizon"), undisturbed),
        "mature_control": (("run", "horizon"), controls.mature_cells[:, picked]),
    }
    coords = {
        "kind": kinds,
        "channel": list(names),
        "run": np.arange(len(undisturbed)),
        "horizon": horizons,
        "number": ("channel", np.arange(len(names))),
        "role": ("channel", [role(name) for name in names]),
    }
    attrs = {
        "at": int(controls.steps[0]),
        "factor": FACTOR,
        "reference": "twin" if organism.target is None else "target",
        "organism": organism.hash,
    }
    return xr.Dataset(data, coords, attrs)


def role(channel: str) -> str:
    """What a channel is for: alpha keeps cells alive and colour is what E sees, so their lesions
    are no evidence about the hidden ones."""
    return "hidden" if channel.startswith("h") else "alpha" if channel == "alpha" else "colour"


def table(sweep: xr.Dataset) -> pd.DataFrame:
    """One row per kind, channel and horizon: medians over keys with 95 % bootstrap intervals.

    fitness and log_error as in the sweep; worse, the paired rise of L over the same key's
    undisturbed run, whose interval is the tighter one; NaN where not defined.
    """
    rows = []
    for kind in sweep.kind.values:
        for channel in sweep.channel.values:
            one = sweep.sel(kind=kind, channel=channel)
            outcome = _outcome(one)
            for horizon in sweep.horizon.values:
                cell = one.sel(horizon=horizon)
                where: dict[str, Any] = {"kind": str(kind), "channel": f"{channel} ({int(one.number)})"}
                where |= {"role": str(one.role.values), "horizon": int(horizon)}
                rows.append(where | _medians(cell) | outcome)
    return pd.DataFrame(rows)


def _medians(cell: xr.Dataset) -> dict[str, float]:
    control = np.asarray(metrics.log_mse(cell.e_control.values))
    values = {"fitness": cell.fitness, "log_error": cell.log_error, "worse": cell.log_error - control}
    row: dict[str, float] = {}
    for name, by_key in values.items():
        middle, low, high = metrics.median_interval(by_key.values)
        row |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    return row | {"mature_cells": float(np.median(cell.mature))}


def _outcome(one: xr.Dataset) -> dict[str, Any]:
    """What a table says of one lesion besides its numbers."""
    row: dict[str, Any] = {"runs": one.sizes["run"], "cells_touched": float(np.median(one.touched))}
    for what in ("overgrown", "exploded"):
        steps = one[what].values[one[what].values >= 0]
        row |= {f"{what}_runs": len(steps), f"{what}_step": int(steps.min()) if len(steps) else None}
    return row

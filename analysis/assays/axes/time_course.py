"""When does the code of position arise, and how much of it is a clock of each cell's age?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis.assays.axes.decoding import BLOCK, QUANTITIES, decode_position, ridge_r2
from analysis.assays.axes.pca import body_states
from analysis.geometry import cell_ages
from analysis.stats.nulls import MIN_CELLS, p_value, with_surrogates
from nca.errors import UserError

VARIABLES = (
    "r2", "null_low", "null_median", "null_high", "p",
    "r2_age", "gain", "gain_low", "gain_median", "gain_high", "p_gain",
)  # fmt: skip


def time_course(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    steps: Sequence[int] | None = None,
    surrogates: int = 39,
    cv_repeats: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Decode position at many steps, from states and from the age of each cell.

    The age of a cell is the number of steps since it last became mature. In a body that grows from one seed it
    is nearly a function of the distance from the seed, so states that only count steps encode the radius.

    Args:
        recording: of every step, or of evenly spaced ones.
        components: result of `pca`; its channels are used.
        steps: recorded steps to examine; about 20 by default.
        surrogates: band-rotated surrogates at every step.

    Returns:
        Dataset over (step, quantity): r2 of the states, with null_low, null_median, null_high (5, 50, 95 %) and p
        (not corrected); r2_age, of a decoder of the cell's age alone; gain, what states add to age, with gain_low,
        gain_median and gain_high of surrogates and p_gain. Over step: cells; age_r2, R² of the age decoded from
        states. NaN where the body has fewer than 40 cells, lies in one block or has states that do not vary.

    Raises:
        UserError: no recorded step has such a body.
    """
    recorded = recording.step.values
    ages = cell_ages(recording.mature.isel(run=run).values, recorded)
    selected = _select_steps(recorded) if steps is None else [int(step) for step in steps]
    table = np.full((len(VARIABLES), len(selected), len(QUANTITIES)), np.nan)
    age_r2, cells = np.full(len(selected), np.nan), np.zeros(len(selected), int)
    for k, step in enumerate(selected):
        states, mask = body_states(recording, components, run, step=step, check=False)
        cells[k] = len(states)
        blocks = len(np.unique(np.argwhere(mask) // BLOCK, axis=0))
        varying = len(states) > 0 and np.isfinite(states).all() and (states.std(0) > 1e-9).any()
        if len(states) >= MIN_CELLS and blocks > 1 and varying:
            age = ages[int(np.flatnonzero(recorded == step)[0])][mask]
            table[:, k] = _decode_with_age(with_surrogates(states, mask, surrogates, seed), mask, age, cv_repeats)
            if age.std() > 0:
                age_r2[k] = ridge_r2(states, age[:, None], np.argwhere(mask), cv_repeats).mean()
    if np.isnan(table[0]).all() and np.isnan(age_r2).all():
        raise UserError(f"A time course needs a body of {MIN_CELLS} or more cells at some recorded step.")
    data = {name: (("step", "quantity"), values) for name, values in zip(VARIABLES, table, strict=True)}
    attrs = {"run": run, "surrogates": surrogates, "cv_repeats": cv_repeats, "seed": seed}
    coords = {"step": selected, "quantity": list(QUANTITIES)}
    return xr.Dataset(data | {"age_r2": ("step", age_r2), "cells": ("step", cells)}, coords, attrs)


def _select_steps(recorded: np.ndarray, most: int = 20) -> list[int]:
    """Recorded steps, dense at first and evenly spaced later; the last among them."""
    last = int(recorded[-1])
    wanted = sorted({2, 5, 10, 15, last} | {int(n) for n in np.linspace(20, last, most - 5)} - {0})
    return sorted({int(recorded[np.abs(recorded - n).argmin()]) for n in wanted if n <= last})


def _decode_with_age(
    fields: Float[np.ndarray, "field cell channel"], mask: np.ndarray, age: np.ndarray, cv_repeats: int
) -> Float[np.ndarray, "variable quantity"]:
    """The `VARIABLES` of one step."""
    clock = np.stack([age, np.log1p(age)], 1)
    from_states = decode_position(fields, mask, cv_repeats)
    from_age = decode_position(clock[None], mask, cv_repeats)
    from_both = decode_position(fields, mask, cv_repeats, covariates=clock)
    columns = np.full((len(QUANTITIES), len(VARIABLES)), np.nan)
    for q, values in from_states.items():
        r2, gain = values.mean(1), (from_both[q] - from_age[q]).mean(1)
        null, null_gain = (np.quantile(v[1:], [0.05, 0.5, 0.95]) for v in (r2, gain))
        states = (r2[0], *null, p_value(r2[0], r2[1:]))
        columns[QUANTITIES.index(q)] = (*states, from_age[q].mean(), gain[0], *null_gain, p_value(gain[0], gain[1:]))
    return columns.T

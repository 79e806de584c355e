"""When do the codes of place arise, and how much of them is a clock of each cell's age?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis.assays.axes.decoding import decoded
from analysis.assays.axes.reading import QUANTITIES, body_at, decoded_places
from analysis.geometry import cell_ages
from analysis.stats.nulls import MIN_CELLS, with_surrogates
from analysis.stats.surrogates import p_value
from nca.errors import UserError

AGE = "age"


def course(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    steps: Sequence[int] | None = None,
    surrogates: int = 39,
    deals: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Decoders of place step by step, alone and beside the age of each cell.

    A cell's age is the number of steps since it last became mature. In a body that grows from one
    seed it is nearly a function of the distance from it, so a state that only counts steps encodes
    the radius for free.

    Args:
        recording: of every step (or of equally many between any two).
        components: what `pca` returned; its channels are used.
        run: the run.
        steps: recorded steps to look at; some 20 if none.
        surrogates: band-rotated surrogates at every step.
        deals: ways to deal blocks to folds.
        seed: what the surrogates are drawn from.

    Returns:
        Dataset over (step, quantity): r2 with null_low, null_median, null_high (5, 50, 95 %) and p
        (not corrected); by_age, R2 of a decoder that knows only the cell's age; over_age, what the
        states add to it, with over_age_low, over_age_median, over_age_high of surrogates and p_age;
        and over step, cells, age_r2, how well the states tell the age. NaN where the body has fewer
        than 40 cells, lies in one block or holds states that do not vary.

    Raises:
        UserError: no recorded step has such a body.
    """
    every = recording.step.values
    old = cell_ages(recording.mature.isel(run=run).values, every)
    picked = _spread(every) if steps is None else list(steps)
    rows = {}
    for step in picked:
        values, mask = body_at(recording, run, int(step), list(components.channel.values))
        age = old[int(np.flatnonzero(every == step)[0])][mask]
        rows[int(step)] = _moment(values, mask, age, surrogates, deals, seed)
    if not any(np.isfinite(r["age_r2"]) or np.isfinite(r["r2"]).any() for r in rows.values()):
        raise UserError(f"A time course needs a body of {MIN_CELLS} or more cells at some recorded step.")
    names = [n for n in next(iter(rows.values())) if n not in ("age_r2", "cells")]
    data = {n: (("step", "quantity"), np.stack([r[n] for r in rows.values()])) for n in names}
    single = {n: ("step", np.asarray([r[n] for r in rows.values()])) for n in ("age_r2", "cells")}
    attrs = {"run": run, "surrogates": surrogates, "deals": deals, "seed": seed}
    return xr.Dataset(data | single, {"step": list(rows), "quantity": list(QUANTITIES)}, attrs)


def _spread(steps: np.ndarray, most: int = 20) -> list[int]:
    """Recorded steps, dense at first and at even distances later; the last among them."""
    last = int(steps[-1])
    wanted = sorted({2, 5, 10, 15, last} | {int(n) for n in np.linspace(20, last, most - 5)} - {0})
    return sorted({int(steps[np.abs(steps - n).argmin()]) for n in wanted if n <= last})


NAMES = (
    "r2", "null_low", "null_median", "null_high", "p",
    "by_age", "over_age", "over_age_low", "over_age_median", "over_age_high", "p_age",
)  # fmt: skip


def _moment(
    values: Float[np.ndarray, "cell channel"],
    mask: np.ndarray,
    age: np.ndarray,
    surrogates: int,
    deals: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """One step's row of numbers."""
    row: dict[str, np.ndarray] = {name: np.full(len(QUANTITIES), np.nan) for name in NAMES}
    row |= {"age_r2": np.asarray(np.nan), "cells": np.asarray(len(values))}
    blocks = len(np.unique(np.argwhere(mask) // 8, axis=0))
    steady = len(values) and np.isfinite(values).all() and (values.std(0) > 1e-9).any()
    if len(values) < MIN_CELLS or blocks < 2 or not steady:
        return row
    fields = with_surrogates(values, mask, surrogates, seed)
    clock = np.stack([age, np.log1p(age)], 1)
    plain = decoded_places(fields, mask, deals)
    timed = decoded_places(clock[None], mask, deals)
    both = decoded_places(fields, mask, deals, given=clock)
    for q, scores in plain.items():
        k, r2, extra = QUANTITIES.index(q), scores.mean(1), (both[q] - timed[q]).mean(1)
        row["r2"][k], row["by_age"][k], row["over_age"][k] = r2[0], timed[q].mean(), extra[0]
        row["p"][k], row["p_age"][k] = p_value(r2[0], r2[1:]), p_value(extra[0], extra[1:])
        for name, null in (("null", r2[1:]), ("over_age", extra[1:])):
            for end, value in zip(("low", "median", "high"), np.quantile(null, [0.05, 0.5, 0.95]), strict=True):
                row[f"{name}_{end}"][k] = value
    if age.std() > 0:
        row["age_r2"] = decoded(values, age[:, None], np.argwhere(mask), deals).mean()
    return row

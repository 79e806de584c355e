"""Do cells born after a cut learn where they are?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis.assays.fate.dictionary import SAME_PLACE, Dictionary, bodies, decode_bodies, errors
from analysis.rollouts import Tick, grow_through
from nca.damage import CUTS, cut
from nca.organism import Organism

CUT, FILLED = "cut", "filled"  # a wound left empty; one filled with cells from random places of the body
_STREAM = 6211  # of the random places, so that they are independent of the runs' own keys
States = Float[np.ndarray, "run y x channel"]


def follow_regrowth(
    organism: Organism,
    dictionary: Dictionary,
    states: States,
    keys: Any,
    steps: Sequence[int],
    fill: bool = True,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Positional error of the cells born after each of the five cuts, against steps since.

    Args:
        organism: what is cut.
        dictionary: made from other runs.
        states: of the runs at the first of the steps, one run more than are cut: run i is filled with cells of run
            i + 1.
        keys: one per state.
        steps: at which cells are decoded, ascending; the first is that of the cut.
        fill: whether wounds are filled as well.
        tick: receives the steps done.

    Returns:
        Dataset over (wound, start, run, since): new_error and new_error_mean, median and mean distance (cells) of the
        cells in the wound from their decoded places; old_error, the median of the cells outside; chance, that of as
        many random places of the body; new_known, the share of known states among them; new_cells. shift (axis: y, x)
        is the median of the cells' decoded minus true places, the same for all where a body stands elsewhere. Of the
        first run, places (wound, since, y, x, axis) and distance (wound, since, y, x).
    """
    runs = range(len(states) - 1)
    starts = [CUT, FILLED] if fill else [CUT]
    measured, fields = [], []
    for n, name in enumerate(CUTS):
        region = cut(organism.canvas, name)
        begin = [np.where(region[..., None], 0, states[run]) for run in runs]
        if fill:
            begin += [_filled(organism, states[run], states[run + 1], region, n * len(states) + run) for run in runs]
        course = grow_through(organism, keys[np.tile(runs, len(starts))], steps, states=np.stack(begin), tick=tick)
        places, distance = decode_bodies(dictionary, organism, course)
        measured.append(_measure(dictionary, region, places, distance))
        fields.append((places[:, 0], distance[:, 0]))
    dims = ("wound", "start", "run", "since")
    data: dict[str, Any] = {}
    for key in measured[0]:  # (step, row, ...) of each cut to (wound, start, run, step, ...)
        values = np.stack([one[key] for one in measured])
        values = values.reshape(len(CUTS), len(steps), len(starts), len(runs), *values.shape[3:])
        data[key] = ((*dims, "axis") if key == "shift" else dims), np.moveaxis(values, 1, 3)
    data["places"] = ("wound", "since", "y", "x", "axis"), np.stack([f[0] for f in fields])
    data["distance"] = ("wound", "since", "y", "x"), np.stack([f[1] for f in fields])
    since = [step - steps[0] for step in steps]
    coords = {"wound": list(CUTS), "start": starts, "run": list(runs), "since": since, "axis": ["y", "x"]}
    return xr.Dataset(data, coords)


def _filled(organism: Organism, state: np.ndarray, donor: np.ndarray, region: np.ndarray, seed: int) -> np.ndarray:
    """A state whose mature cells in the region are replaced by cells from random places of another body."""
    donors, filled = donor[bodies(organism, donor)], np.where(region[..., None], 0, state)
    lost = region & bodies(organism, state)
    filled[lost] = donors[np.random.default_rng([_STREAM, seed]).integers(len(donors), size=lost.sum())]
    return filled


def _measure(
    dictionary: Dictionary, region: Bool[np.ndarray, "y x"], places: np.ndarray, distance: np.ndarray
) -> dict[str, np.ndarray]:
    """What `follow_regrowth` gives of one wound, over (step, row)."""
    lead, error, body = distance.shape[:2], errors(places), np.isfinite(places[..., 0])
    out = {n: np.full(lead, np.nan) for n in ("new_error", "new_error_mean", "old_error", "chance", "new_known")}
    out |= {"new_cells": np.zeros(lead, int), "shift": np.full((*lead, 2), np.nan)}
    draw = np.random.default_rng(_STREAM)
    for at in np.ndindex(*lead):
        new, old = body[at] & region, body[at] & ~region
        out["new_cells"][at] = new.sum()
        if old.any():
            out["old_error"][at] = np.median(error[at][old])
        if new.any():
            cells = np.argwhere(new)
            random = dictionary.places[draw.integers(len(dictionary.places), size=len(cells))]
            out["new_error"][at], out["new_error_mean"][at] = np.median(error[at][new]), error[at][new].mean()
            out["chance"][at] = np.median(np.linalg.norm(random - cells, axis=1))
            out["new_known"][at] = (distance[at][new] <= dictionary.radius).mean()
            out["shift"][at] = np.median(places[at][new] - cells, axis=0)
    return out


def steps_to_learn(regrowth: xr.Dataset, start: str = CUT) -> xr.DataArray:
    """Steps since the cut from which on the median error of new cells stays within 2.5 cells; NaN where it never does.

    Returns:
        Over (wound, run).
    """
    right = (regrowth.new_error.sel(start=start) <= SAME_PLACE).transpose("wound", "run", "since").values
    stays = np.flip(np.logical_and.accumulate(np.flip(right, -1), -1), -1)
    first = regrowth.since.values[stays.argmax(-1)].astype(float)
    return xr.DataArray(
        np.where(stays.any(-1), first, np.nan), {"wound": regrowth.wound, "run": regrowth.run}, ("wound", "run")
    )

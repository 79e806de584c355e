"""What of a cell's place can be read from its state: bodies, the quantities of place, their decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis.assays.axes.decoding import decoded
from analysis.assays.axes.pca import check_cells
from analysis.geometry import geodesic, positions

QUANTITIES = ("x", "y", "s", "radius", "edge")


def cells_of(
    recording: xr.Dataset, components: xr.Dataset, run: int
) -> tuple[Float[np.ndarray, "cell channel"], Bool[np.ndarray, "y x"], int]:
    """The states of one run's body at the step of `components`, its mask, and that step."""
    at = int(components.attrs["at"])
    rows, mask = body_at(recording, run, at, list(components.channel.values))
    check_cells(rows, at)
    return rows, mask, at


def body_at(
    recording: xr.Dataset, run: int, step: int, channels: Sequence[str]
) -> tuple[Float[np.ndarray, "cell channel"], Bool[np.ndarray, "y x"]]:
    """The states of one run's mature cells at one step, and where they are."""
    moment = recording.sel(step=step).isel(run=run)
    mask = moment.mature.values
    return moment.state.sel(channel=list(channels)).values[mask].astype(np.float64), mask


def decoded_places(
    fields: Float[np.ndarray, "field cell channel"],
    mask: Bool[np.ndarray, "y x"],
    deals: int = 10,
    given: Float[np.ndarray, "cell feature"] | None = None,
) -> dict[str, Float[np.ndarray, "field deal"]]:
    """R2 of each quantity of place, decoded from fields on a body with cells held out by blocks.

    Args:
        fields: states of all cells of the body, and of surrogates of them.
        mask: the body.
        deals: ways to deal blocks to folds.
        given: further features that every field gets.

    Returns:
        x, y, s, radius, edge; s of the largest island alone, and not where that is within one block.
    """
    if given is not None:
        beside = np.broadcast_to(given, (len(fields), *given.shape))
        fields = np.concatenate([fields, beside], -1)
    where, along, cells = positions(mask), geodesic(mask), np.argwhere(mask)
    inside = np.isfinite(along)
    if inside.all():
        where["s"] = along
    scores = decoded(fields, np.stack(list(where.values()), 1), cells, deals)
    found = {name: scores[..., k] for k, name in enumerate(where)}
    if "s" not in found and len(np.unique(cells[inside] // 8, axis=0)) > 1:
        found["s"] = decoded(fields[:, inside], along[inside, None], cells[inside], deals)[..., 0]
    return {name: found[name] for name in QUANTITIES if name in found}


def over_deals(
    scores: Sequence[Mapping[str, Float[np.ndarray, "field deal"]]],
) -> Float[np.ndarray, "row quantity 2"]:
    """Mean and sd over deals of the first field's R2, a row for each of these results of `decoded_places`.

    Returns:
        (row, quantity, mean or sd), in the order of `QUANTITIES`; NaN for a quantity that was left out.
    """
    table = np.full((len(scores), len(QUANTITIES), 2), np.nan)
    for row, found in zip(table, scores, strict=True):
        for name, v in found.items():
            row[QUANTITIES.index(name)] = v[0].mean(), v[0].std()
    return table

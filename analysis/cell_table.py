"""The cells of a recording as a table, and as AnnData, which single-cell tools read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.geometry import cell_ages, geodesic, positions
from nca.errors import UserError
from nca.spec import channel_role

if TYPE_CHECKING:
    from anndata import AnnData

_POSITION = ("x", "y", "radius", "edge", "s", "age")


def cells(recording: xr.Dataset, steps: int | Sequence[int] | None = None) -> pd.DataFrame:
    """Every mature cell of a recording, one row each.

    Args:
        recording: from `analysis.record` or `label_states`.
        steps: some of its steps; all by default. Ages count the recorded steps since the cell last became
            mature, so they need the steps before.

    Returns:
        Columns run, step; x, y (cells from the seed, right and down); radius, distance from the seed; edge,
        distance to the nearest cell outside; s, length of the shortest path inside the body from one of its
        ends (NaN on all islands but the largest); age, in steps; then one column per channel. Lengths are in
        cells.

    Raises:
        UserError: the recording has no such step, or no mature cell at any.
    """
    recorded = recording.step.values
    selected = recorded if steps is None else np.atleast_1d(steps)
    missing = sorted(set(selected.tolist()) - set(recorded.tolist()))
    if missing:
        raise UserError(f"The recording has no step {missing[0]}; it holds {recorded[0]} to {recorded[-1]}.")
    tables = []
    for run in recording.run.values:
        ages = dict(zip(recorded, cell_ages(recording.mature.sel(run=run).values, recorded), strict=True))
        for step in selected:
            body = recording.sel(run=run, step=step)
            mask = body.mature.values
            position = positions(mask) | {"s": geodesic(mask), "age": ages[step][mask]}
            columns: dict[str, Any] = {"run": int(run), "step": int(step)} | {n: position[n] for n in _POSITION}
            columns |= dict(zip(map(str, body.channel.values), body.state.values[mask].T, strict=True))
            tables.append(pd.DataFrame(columns, index=range(int(mask.sum()))))
    table = pd.concat([frame for frame in tables if len(frame)] or tables, ignore_index=True)
    if table.empty:
        raise UserError("A table of cells needs a body, but no step of the recording has a mature cell.")
    return table


def to_anndata(
    recording: xr.Dataset, components: xr.Dataset | None = None, steps: int | Sequence[int] | None = None
) -> AnnData:
    """The cells as AnnData, laid out as scanpy and squidpy expect.

    Args:
        recording: from `analysis.record` or `label_states`.
        components: result of `analysis.pca` for it, to be included.
        steps: some of its steps; the last by default.

    Returns:
        X, the states (cell, channel); obs, run and step (categories) and the positions of `cells`; var, the
        channels' roles; obsm["spatial"], (x, y); with components obsm["X_pca"], varm["PCs"] (0 for channels
        that they leave out) and uns["pca"]; uns["recording"], the attributes that repeat it.

    Raises:
        UserError: anndata is not installed, or there are no cells.
    """
    try:
        from anndata import AnnData
    except ImportError as error:
        raise UserError("AnnData needs the package anndata: pip install 'nca-dissection[cells]'.") from error
    table = cells(recording, int(recording.step[-1]) if steps is None else steps)
    channels = [str(name) for name in recording.channel.values]
    obs = table[["run", "step", *_POSITION]].copy()
    for name in ("run", "step"):
        numbers = obs[name].unique()
        obs[name] = pd.Categorical(obs[name].astype(str), [str(number) for number in sorted(numbers)], ordered=True)
    obs.index = [f"run{r.run}-step{r.step}-x{r.x:.0f}-y{r.y:.0f}" for r in table.itertuples()]
    var = pd.DataFrame({"role": [channel_role(name) for name in channels]}, index=channels)
    data = AnnData(table[channels].to_numpy(np.float32), obs, var)
    data.obsm["spatial"] = table[["x", "y"]].to_numpy(np.float64)
    data.uns["recording"] = {k: v for k, v in recording.attrs.items() if isinstance(v, (str, int, float))}
    if components is not None:
        names = [str(name) for name in components.channel.values]
        loadings = components.loadings.values
        states = (table[names].to_numpy(np.float64) - components["mean"].values) / components.scale.values
        all_loadings = np.zeros((len(channels), len(loadings)))
        all_loadings[[channels.index(name) for name in names]] = loadings.T
        data.obsm["X_pca"], data.varm["PCs"] = states @ loadings.T, all_loadings
        data.uns["pca"] = {"variance_ratio": components.explained.values}
    return data

"""The cells of a recording as a table, and as AnnData, which single-cell tools read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.geometry import cell_ages, geodesic, positions
from nca.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData

PLACES = ("x", "y", "radius", "edge", "s", "age")


def cells(recording: xr.Dataset, steps: int | Sequence[int] | None = None) -> pd.DataFrame:
    """Every mature cell of a recording, one row each.

    Args:
        recording: of `analysis.record` or `label`.
        steps: which of its steps; all if none. Ages need the steps before: they count the recorded
            steps since the cell last became mature.

    Returns:
        Columns run, step; x, y (cells from the seed, right and down); radius, distance from the
        seed; edge, distance to the nearest cell outside; s, length of the shortest path inside the
        body from one of its ends (NaN on islands beside the largest); age, in steps; then one column
        per channel. Lengths are in cells.

    Raises:
        UserError: the recording has no such step, or no mature cell at any.
    """
    known = recording.step.values
    wanted = known if steps is None else np.atleast_1d(steps)
    missing = sorted(set(wanted.tolist()) - set(known.tolist()))
    if missing:
        raise UserError(f"The recording has no step {missing[0]}; it holds {known[0]} to {known[-1]}.")
    rows = []
    for run in range(recording.sizes["run"]):
        one = recording.isel(run=run)
        age = cell_ages(one.mature.values, known)
        for step in wanted:
            k = int(np.flatnonzero(known == step)[0])
            rows.append(_of_one(one.isel(step=k), int(one.run), int(step), age[k]))
    table = pd.concat([frame for frame in rows if len(frame)] or rows, ignore_index=True)
    if table.empty:
        raise UserError("A table of cells needs a body, but no step of the recording has a mature cell.")
    return table


def _of_one(moment: xr.Dataset, run: int, step: int, age: np.ndarray) -> pd.DataFrame:
    mask = moment.mature.values
    where = positions(mask) | {"s": geodesic(mask), "age": age[mask]}
    columns: dict[str, Any] = {"run": run, "step": step} | {name: where[name] for name in PLACES}
    states = moment.state.values[mask]
    columns |= {str(name): states[:, c] for c, name in enumerate(moment.channel.values)}
    return pd.DataFrame(columns, index=range(int(mask.sum())))


def to_anndata(
    recording: xr.Dataset, components: xr.Dataset | None = None, steps: int | Sequence[int] | None = None
) -> AnnData:
    """The cells as AnnData, in the places where scanpy and squidpy look.

    Args:
        recording: of `analysis.record` or `label`.
        components: what `analysis.pca` found in it, if it is to go along.
        steps: which steps; the last if none.

    Returns:
        X, the states (cell, channel); obs, run and step (categories) and the places of `cells`; var,
        the channel's role; obsm["spatial"], (x, y); with components obsm["X_pca"], varm["PCs"]
        (channels that they leave out are 0) and uns["pca"]; uns["recording"], what repeats it.

    Raises:
        UserError: anndata is not installed, or there are no cells.
    """
    try:
        from anndata import AnnData
    except ImportError as error:
        raise UserError("AnnData needs the package anndata: pip install 'nca-dissection[cells]'.") from error
    table = cells(recording, int(recording.step[-1]) if steps is None else steps)
    channels = [str(name) for name in recording.channel.values]
    obs = table[["run", "step", *PLACES]].copy()
    obs[["run", "step"]] = obs[["run", "step"]].astype(str).astype("category")
    obs.index = [f"run{r.run}-step{r.step}-x{r.x:.0f}-y{r.y:.0f}" for r in table.itertuples()]
    var = pd.DataFrame({"role": [_role(name) for name in channels]}, index=channels)
    data = AnnData(table[channels].to_numpy(np.float32), obs, var)
    data.obsm["spatial"] = table[["x", "y"]].to_numpy(np.float64)
    data.uns["recording"] = {k: v for k, v in recording.attrs.items() if isinstance(v, (str, int, float))}
    if components is not None:
        _with_components(data, table, channels, components)
    return data


def _with_components(data: AnnData, table: pd.DataFrame, channels: list[str], components: xr.Dataset) -> None:
    names = [str(name) for name in components.channel.values]
    loadings = components.loadings.values
    states = (table[names].to_numpy(np.float64) - components["mean"].values) / components.scale.values
    every = np.zeros((len(channels), len(loadings)))
    every[[channels.index(name) for name in names]] = loadings.T
    data.obsm["X_pca"], data.varm["PCs"] = states @ loadings.T, every
    data.uns["pca"] = {"variance_ratio": components.explained.values}


def _role(channel: str) -> str:
    return "hidden" if channel.startswith("h") else "alpha" if channel == "alpha" else "colour"


def save_anndata(data: AnnData, path: str | Path) -> Path:
    """Write AnnData as one .h5ad file, whole or not at all."""
    from nca.io import write_with

    if Path(path).suffix != ".h5ad":
        raise UserError(f"AnnData is saved as a .h5ad file, got {str(path)!r}.")
    return write_with(path, lambda beside: data.write_h5ad(beside))

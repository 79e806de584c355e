"""The tables of a dissection: every number that it found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.lesions import first as lesions
from analysis.dissection.examination import Examination


def tables(found: Examination) -> dict[str, pd.DataFrame]:
    """Every table, by the name of its file."""
    made = {"growth": growth(found.growth, found.organism.target is not None)}
    if found.sweep:
        made["lesions"] = lesions.table(found.sweep)
    if found.wounds:
        made["regeneration"] = wounds(found.wounds)
    return made


def growth(course: xr.Dataset, has_target: bool) -> pd.DataFrame:
    """One row per run and time."""
    frame = course[["mature"] + (["e"] if has_target else [])].to_dataframe().reset_index()
    if has_target:
        frame["log10_error"] = np.asarray(metrics.log_mse(frame.e.values))
    return frame


def wounds(found: xr.Dataset) -> pd.DataFrame:
    """One row per cut and key."""
    frame = found[["recovered", "e_cut", "e_end", "overgrown", "exploded", "touched", "changed"]]
    rows = frame.to_dataframe().reset_index()
    end = found.e_twin.isel(time=-1).values
    rows["e_twin_end"] = end[rows.run.values]
    return rows

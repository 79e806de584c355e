"""Every number of a report, as JSON and as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis import lesions, metrics
from analysis.examination import Examination
from analysis.sections import Finding
from nca.versions import versions

MADE_BY = "nca dissect"
ABOUT = {
    "organism": "what was examined: name, hash (of rule, seed and canvas), conventions, provenance, metrics",
    "config": "what was asked for; with the hash and the versions it repeats everything here",
    "findings": "the verdict: claim and evidence in words, numbers",
    "outcomes": "assays that were not made, and why",
    "growth": "by run and time: E (squared error over 72*72*4), L = log10 of it, mature cells",
    "components": "PCA of mature cells' states at the grown step: shares, and where each lies in every run",
    "loadings": "how each channel enters each component, in the first run",
    "tests": "each statistic of place beside its null of surrogates, in the first run",
    "lesions": "by kind, channel and horizon: medians over keys with 95 % intervals; worse is the rise of L",
    "regeneration": "by cut and key: recovered = (E_cut - E_end) / (E_cut - E_twin,end); -1 for never",
    "null": "a number that is not defined",
}


def summary(found: Examination, said: list[Finding]) -> dict[str, Any]:
    """What `summary.json` holds; `about` explains the keys."""
    organism = found.organism
    return plain(
        {
            "made_by": MADE_BY,
            "about": ABOUT,
            "organism": {
                "name": organism.name,
                "hash": organism.hash,
                "spec": organism.rule.spec.to_json(),
                "canvas": organism.canvas,
                "parameters": organism.rule.parameters,
                "provenance": dict(organism.provenance),
                "metrics": dict(organism.metrics),
            },
            "config": found.config.to_json(),
            "versions": versions(),
            "seconds": round(found.seconds, 1),
            "findings": [
                {"topic": f.topic, "claim": f.claim, "evidence": f.evidence, "numbers": f.numbers}
                for f in said
            ],
            "outcomes": found.outcomes,
        }
        | {name: frame.to_dict("records") for name, frame in tables(found).items()}
    )


def tables(found: Examination) -> dict[str, pd.DataFrame]:
    """Every table, by the name of its file."""
    made = {"growth": growth(found.growth, found.organism.target is not None)}
    if found.components:
        made["components"] = components(found.repeats)
        made["loadings"] = found.components.loadings.to_pandas().reset_index()
    if found.tests:
        made["tests"] = found.tests.drop_dims(["surrogate", "y", "x", "pc"]).to_dataframe().reset_index()
    if found.sweep:
        made["lesions"] = lesions.table(found.sweep)
    if found.wounds:
        made["regeneration"] = wounds(found.wounds)
    return made


def growth(course: xr.Dataset, has_target: bool) -> pd.DataFrame:
    """One row per run and time."""
    frame = course[["mature"] + (["e"] if has_target else [])].to_dataframe().reset_index()
    if has_target:
        frame["log10_error"] = np.asarray(metrics.log_error(frame.e.values))
    return frame


def components(pca: xr.Dataset) -> pd.DataFrame:
    """One row per component: its share, and where it lies in every run."""
    frame = pd.DataFrame({"pc": pca.pc.values, "explained": pca.explained.values})
    for name in ("plane_r2", "angle", "radius"):
        for run in range(pca.sizes["run"]):
            frame[f"{name}_run{run}"] = pca[name].values[run]
    return frame


def wounds(found: xr.Dataset) -> pd.DataFrame:
    """One row per cut and key."""
    frame = found[["recovered", "e_cut", "e_end", "overgrown", "exploded", "touched", "changed"]]
    rows = frame.to_dataframe().reset_index()
    end = found.e_twin.isel(time=-1).values
    rows["e_twin_end"] = end[rows.run.values]
    return rows


def plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays as lists, what is not a finite number as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)

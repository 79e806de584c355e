"""The report of a dissection: what was found, section by section."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics, viewer
from analysis.animation import animation
from analysis.animation import files as films
from analysis.assays.axes.component_figures import colour_limits
from analysis.assays.axes.sections import axes_sections
from analysis.assays.lesions import first as lesions
from analysis.assays.regeneration.regeneration import MARGIN
from analysis.dissection import figures
from analysis.dissection import tables as found_tables
from analysis.dissection.examination import Examination
from analysis.dissection.findings import findings
from analysis.dissection.thorough import NAME, thorough
from analysis.progress import Log
from analysis.report import plots
from analysis.report.folder import Report
from analysis.report.format import number
from analysis.report.model import Film, Section
from nca.errors import UserError
from nca.organism import Organism

FILM_SIDE = 330
COMMAND = NAME
CAVEAT = (
    "All of this is about one trained network, grown from several keys: runs show that a result repeats, not "
    "that training other networks would give it."
)
METHOD = (
    "Recovered = (E at the cut − E at the end)/(E at the cut − E of the uncut twin at the end). Lesions are "
    "paired with the undisturbed run of the same key; a random push as large is their null."
)
FRAME = 860  # pixels that the living organism takes


def report(found: Examination, say: Log) -> Report:
    """Everything that a dissection found, as a report; with `full`, after the assays that it still takes."""
    spec, state = found.organism.rule.spec, found.recording.state.values[0, -1]
    begun = time.monotonic()
    assays = thorough(found, say) if found.config.full else first_slice(found)
    return Report(
        COMMAND,
        [found.organism],
        [growth_section(found), *axes_sections(found.axes), *assays, alive(found.organism)],
        found.config.to_json(),
        np.asarray(metrics.picture(spec, state)),
        found.seconds + time.monotonic() - begun,
        CAVEAT,
    )


def growth_section(found: Examination) -> Section:
    """The body, its course, its film."""
    film = Film("growth", films.webp(film_frames(found), fps=20), "The first run, one frame a step.")
    return replace(_section(found, "growth", "Growth", ("growth", "course"), ""), films=[film])


def first_slice(found: Examination) -> list[Section]:
    """Lesions of single channels and the five cuts."""
    harmed = _section(found, "lesions", "Lesions", ("lesions",), "lesions")
    healed = _section(found, "regeneration", "Regeneration", ("cuts", "recovery"), "cuts")
    return [
        replace(harmed, lookup=lesion_table(found), data=_kept(lesions=found.sweep)),
        replace(healed, lookup=cut_table(found), method=METHOD, data=_kept(cuts=found.wounds)),
    ]


def _kept(**data: xr.Dataset) -> dict[str, xr.Dataset]:
    return {name: dataset for name, dataset in data.items() if dataset}


def _section(found: Examination, name: str, title: str, pictures: tuple[str, ...], assay: str) -> Section:
    said, drawn, tables = findings(found), figures.draw(found), found_tables.tables(found)
    return Section(
        name,
        title,
        claims=[f for f in said if f.assay == name],
        figures=[drawn[p] for p in pictures if p in drawn],
        tables={name: tables[name]} if name in tables else {},
        skipped=[found.skipped[assay]] if assay in found.skipped else [],
    )


def alive(organism: Organism) -> Section:
    """The organism itself, to be wounded by hand; a canvas too large for that says so."""
    title = "Alive in this page"
    try:
        return Section("alive", title, live=viewer.frame(organism, FRAME))
    except UserError as error:
        return Section("alive", title, skipped=[str(error)])


def film_frames(found: Examination) -> np.ndarray:
    """The first run's growth; beside it, where there are components, the same cells in their colours."""
    spec = found.organism.rule.spec
    (states,) = animation.cropped([found.recording.state.isel(run=0).values])
    scale = min(16, max(1, FILM_SIDE // max(states.shape[1:3])))
    body = animation.render(states, spec, scale=scale, counter=False)
    if not found.axes.components:
        return animation.counted(body)
    components = found.axes.components
    at = components.scores.isel(run=0).sel(step=components.attrs["at"]).values
    mean, directions = np.zeros(spec.channels), np.zeros((3, spec.channels))
    where = [list(found.recording.channel.values).index(c) for c in components.channel.values]
    mean[where] = components["mean"].values
    for k, limit in enumerate(colour_limits(at)):
        directions[k, where] = components.loadings.values[k] / components.scale.values / limit
    colours = animation.ColourAxes(mean, directions)
    hidden = animation.render(states, spec, "pca", scale=scale, counter=False, directions=colours)
    labels = "picture", "PC" + ", ".join(str(k) for k in components.pc.values[: plots.SHOWN])
    return animation.counted(animation.side_by_side(body, hidden, labels))


def lesion_table(found: Examination) -> dict[str, pd.DataFrame]:
    """Every lesion's numbers, by a title."""
    if not found.sweep:
        return {}
    rows = lesions.table(found.sweep)
    rows = rows[rows.horizon == found.config.horizons[-1]]
    frame = pd.DataFrame(
        {
            "lesion": rows.kind,
            "channel": rows.channel,
            "W": [_with_interval(r, "fitness") for r in rows.itertuples()],
            "rise of L": [_with_interval(r, "worse") for r in rows.itertuples()],
            "cells": rows.mature_cells.map(lambda v: f"{v:.0f}"),
            "touched": rows.cells_touched.map(lambda v: f"{v:.0f}"),
            "overgrew": [_outcome(r, "overgrown") for r in rows.itertuples()],
            "exploded": [_outcome(r, "exploded") for r in rows.itertuples()],
        }
    )
    return {f"All lesions after {found.config.horizons[-1]} steps, beside their nulls": frame}


def _with_interval(row: object, name: str) -> str:
    middle, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
    return f"{number(middle)} ({number(low)} to {number(high)})" if np.isfinite(middle) else number(middle)


def _outcome(row: object, what: str) -> str:
    runs, of, first = (getattr(row, n) for n in (f"{what}_runs", "runs", f"{what}_step"))
    return f"{runs} of {of}, step {first:.0f}" if runs else "never"


def cut_table(found: Examination) -> dict[str, pd.DataFrame]:
    """Every cut and every key, by a title."""
    wounds = found.wounds
    if not wounds:
        return {}
    rows: Sequence[dict[str, str]] = [_cut_row(wounds.sel(wound=name)) for name in wounds.wound.values]
    return {"Recovered, by key": pd.DataFrame(rows)}


def _cut_row(one: xr.Dataset) -> dict[str, str]:
    name, values = str(one.wound.values), one.recovered.values
    keys, middle = [number(v) for v in values], number(metrics.median_interval(values)[0])
    if name == MARGIN:
        changed = float(one.changed.max())
        middle, keys = f"largest change {changed:g}", [""] * len(keys)
    return {"cut": name, "median": middle} | {f"key {k}": v for k, v in enumerate(keys)}

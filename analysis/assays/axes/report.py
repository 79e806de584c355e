"""The axes assay as sections: claims with their evidence, figures and tables, of one network or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.assays.axes.across_networks import compare_networks, direction_agreement
from analysis.assays.axes.claims import axes_claims
from analysis.assays.axes.plots import axes_figures
from analysis.assays.axes.run import AxesResult
from analysis.lineage import related
from analysis.report import plots
from analysis.report.format import number, probability
from analysis.report.model import Section, svg_figure
from nca.errors import UserError

_MAX_DETAILED = 4  # organisms that get sections of their own where several are compared
_DOCS = " More in the methods of the documentation, under “Axes”."
_SECTIONS = {  # title, parts of the result, method
    "axes": (
        "Body axes",
        ("pca", "pca_runs", "position", "long_waves", "sensitivity", "runs", "shape_and_colour", "direction"),
        "PCA of the states of mature cells of one run (A0); ridge decoders of position, with cells held out by blocks "
        "of 8×8 (A1), compared with band-rotated surrogates: fields as smooth, with scrambled positions, and "
        "with fields whose long waves have the power that their shorter ones predict (A2); "
        "decoders of shape or colour, and what hidden states add to them (A3). p is one-sided, q FDR-corrected.",
    ),
    "components": (
        "Principal components",
        ("pca",),
        "PCA of the states of mature cells of one run at one step, centred. Angles run from x (right) towards y "
        "(down), modulo 180. PCA of any smooth field gives gradients and waves, so these numbers alone say nothing "
        "about axes: nca axes compares each with a null.",
    ),
    "weight-shuffle": (
        "Weight shuffle and time course",
        ("weight_shuffle", "time_course"),
        "A rule with shuffled weights runs on the alive sites of the trained run, with its fire masks and the size of "
        "its updates (A4). The time course decodes position at each step from states and from the age of the cell.",
    ),
    "interventions": (
        "Interventions along the code",
        ("pushes", "projections"),
        "All cells of the grown body are pushed once along a decoder, or a plane is projected out of the states at "
        "every step; compared with random directions, or with planes that decode scrambled positions (A6).",
    ),
    "rotation-test": (
        "Rotation test: compass or map",
        ("rotated_perception", "rotated_states"),
        "The perception is rotated during growth, or the grown state under an unrotated perception; rotations of the "
        "body are fitted about the seed, those of PC1 to PC3 by their gradients (A7).",
    ),
    "networks": (
        "Axes of several organisms",
        ("networks",),
        "One run of each organism at the adult step; q over all organisms and quantities. Networks are the unit, and "
        "only independent ones count. Agreement of directions: axial Rayleigh test, against one surrogate of each "
        "network, which allows for the shape of the body. Agreement of states: canonical correlations over cells at "
        "the same places, against surrogates of both networks (A5).",
    ),
}


def sections(results: Sequence[AxesResult]) -> list[Section]:
    """All sections that there are results (or reasons) for.

    Several organisms are compared first; up to four of them then get sections of their own, whose names and
    files contain the number of the organism.
    """
    if len(results) == 1:
        return _network_sections(results[0])
    compared = [_comparison_section(results)]
    if len(results) <= _MAX_DETAILED:
        for n, axes in enumerate(results, 1):
            compared += [_number_section(section, n, axes.organism.name) for section in _network_sections(axes)]
    return compared


def pca_section(components: xr.Dataset) -> Section:
    """Components by themselves, of `pca` of a recording from the seed on; no null, so no claim about axes."""
    section = _section("components", {"pca": components})
    return replace(section, tables={**section.tables, "pca_runs": _table("pca_runs", components)})


def _network_sections(axes: AxesResult) -> list[Section]:
    """The sections of one organism that its options ask for."""
    config = axes.config
    asked = {
        "axes": True,
        "weight-shuffle": config.weight_shuffles or config.time_course_surrogates,
        "interventions": config.random_directions,
        "rotation-test": config.angles,
    }
    parts = {name: part for name, part in vars(axes).items() if isinstance(part, xr.Dataset) and part}
    reasons = {name: [axes.skipped[part] for part in _SECTIONS[name][1] if part in axes.skipped] for name in asked}
    return [_section(name, parts, reasons[name]) for name in asked if asked[name]]


def _section(
    name: str, parts: Mapping[str, Any], skipped: Sequence[str] = (), drawn: Mapping[str, Any] | None = None
) -> Section:
    """One section, from the parts that there are.

    Args:
        name: a key of `_SECTIONS`.
        parts: as for `axes_claims`, which may use parts of other sections.
        skipped: why parts are missing.
        drawn: as for `axes_figures`; the parts of this section by default.
    """
    title, own, method = _SECTIONS[name]
    data = {part: parts[part] for part in own if part in parts}
    with plots.style():
        figures = [svg_figure(figure, *new) for figure, new in axes_figures(drawn or data).items()]
    return Section(
        name,
        title,
        claims=axes_claims(name, parts),
        figures=figures,
        tables={part: _table(part, dataset) for part, dataset in data.items()},
        method=method + _DOCS,
        skipped=list(dict.fromkeys(skipped)),
        data={k: d.reset_index("statistic") if "statistic" in d.indexes else d for k, d in data.items()},
    )


def _table(name: str, results: xr.Dataset) -> pd.DataFrame:
    """The numbers of one part: a row per statistic, or per run and quantity, and so on."""
    if name == "pca":
        return results.loadings.to_pandas().reset_index().assign(explained=results.explained.values)
    if name == "pca_runs":
        return results[["plane_r2", "plane_angle", "radius_correlation"]].to_dataframe().reset_index()
    if name == "direction":
        scalars = results[["angle", "best_r2", "worst_r2", "body_angle", "elongation"]]
        return scalars.to_pandas().to_frame("value").reset_index(names="measure")
    dropped = {"surrogate", "y", "x", "rgba", "pc"} & set(map(str, results.dims))
    return results.drop_dims(dropped).to_dataframe().reset_index()


def _number_section(section: Section, n: int, name: str) -> Section:
    """The section of one of several organisms: names, titles and files tell them apart."""
    return replace(
        section,
        name=f"{section.name}-{n}",
        title=f"{section.title}: {name}",
        claims=[replace(claim, assay=f"{claim.assay}-{n}") for claim in section.claims],
        figures=[replace(figure, name=f"{n}-{figure.name}") for figure in section.figures],
        tables={f"{n}-{k}": v for k, v in section.tables.items()},
        data={f"{n}-{k}": v for k, v in section.data.items()},
    )


# Several organisms


def _comparison_section(results: Sequence[AxesResult]) -> Section:
    """Several networks compared, or the snapshots of one training run."""
    table = compare_networks(results)
    training = bool(table.attrs["one_training_run"])
    skipped = [f"{axes.organism.name}: {r}" for axes in results for r in dict.fromkeys(axes.skipped.values())]
    data, relatives = {"networks": table}, []
    drawn = {"bodies": [axes for axes in results if axes.pca], "training" if training else "networks": table}
    if not training:
        known = [axes for axes in results if axes.direction]
        directions, organisms = [axes.direction for axes in known], [axes.organism for axes in known]
        try:
            targets: list[Any] = [organism.target for organism in organisms]
            alike = all(t is not None and np.array_equal(t, targets[0]) for t in targets)
            data["agreement"] = direction_agreement(directions, "canvas" if alike else "body")
        except UserError as error:
            skipped.append(f"Agreement of networks was not tested. {error}")
        else:
            relatives = related(organisms)
            drawn |= {"agreement": data["agreement"], "directions": directions}
            if not np.isfinite(data["agreement"].shared):
                skipped.append("States were not compared place by place: targets or canvases differ.")
    section = _section("networks", {**data, "relatives": relatives}, skipped, drawn)
    title = "Axes across training" if training else section.title
    return replace(section, title=title, lookup={"R² of position in each organism": _lookup(table)}, data=data)


def _lookup(table: xr.Dataset) -> pd.DataFrame:
    """R² and q of every organism, for the reader."""
    rows = []
    for i in range(table.sizes["organism"]):  # by number: two may have one name
        results = table.isel(organism=i)
        row = {"organism": str(results.organism.values), "cells": number(float(results.cells), 0)}
        row["|ρ| of PC1 and radius"] = number(float(results.pc1_radius))
        row["components for 95 %"] = number(float(results.n_components), 0)
        for q in table.quantity.values:
            r2, p = float(results.r2.sel(quantity=q)), float(results.q.sel(quantity=q))
            row[str(q)] = f"{number(r2)} (q = {probability(p)})" if np.isfinite(r2) else "not defined"
        rows.append(row)
    return pd.DataFrame(rows)

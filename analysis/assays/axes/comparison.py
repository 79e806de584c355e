"""Axes of several organisms in one table: networks are the unit, or the steps of one training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.axes import comparison_figures
from analysis.assays.axes import protocol as axes
from analysis.assays.axes.examination import Axes, trained_for
from analysis.assays.axes.words import CLEAR, LONG, least
from analysis.lineage import related
from analysis.report import plots
from analysis.report.format import number, plural, probability, value_range
from analysis.report.model import Claim, Section, SvgFigure, svg_figure
from analysis.stats.nulls import fdr
from nca.errors import UserError
from nca.organism import Organism

METHOD = (
    "One run of each organism at the grown step; decoders and surrogates as in the sections on single "
    "organisms; q over all organisms and quantities, another family of tests than in those sections. "
    "Networks are the unit of any claim about axis formation, and only independent ones "
    "count. The direction decoded best maximises the cross-validated R² of x cos(a) + y sin(a). Agreement "
    "of directions: "
    "axial Rayleigh test against uniform angles, and against one surrogate of each network, which allows "
    "for the shape "
    "of the body. Agreement of decoders: Procrustes similarity of the directions in channel space (each "
    "channel in its sd), "
    "mean over pairs, against decoders turned at random."
)


def compared(found: Sequence[Axes]) -> xr.Dataset:
    """Decoders and their nulls in every organism.

    Args:
        found: of `examine_axes`, one per organism, with equal numbers of surrogates.

    Returns:
        Dataset over (organism, quantity): r2, null_low, null_median, null_high, p, q (over all);
        over organism: cells, pc1_radius with p_pc1, needed (components for 95 % of the variance),
        training_step (-1 where unknown). NaN where an organism has no body, or the quantity is not
        decoded.
    """
    names = ("observed", "null_low", "null_median", "null_high", "p")
    values = np.full((len(names), len(found), len(axes.QUANTITIES)), np.nan)
    single: dict[str, list[float]] = {n: [] for n in ("cells", "pc1_radius", "p_pc1", "needed")}
    for i, one in enumerate(found):
        known = one.tests.statistic.values if one.tests else []
        for k, q in enumerate(axes.QUANTITIES):
            if f"R2 of {q}" in known:
                at = one.tests.sel(statistic=f"R2 of {q}")
                values[:, i, k] = [float(at[n]) for n in names]
        radial = one.tests.sel(statistic="radius rank of PC1") if one.tests else None
        single["cells"].append(float(one.tests.attrs["cells"]) if one.tests else np.nan)
        single["pc1_radius"].append(np.nan if radial is None else float(radial.observed))
        single["p_pc1"].append(np.nan if radial is None else float(radial.p))
        single["needed"].append(float(one.components.needed[1]) if one.components else np.nan)
    data: dict[str, Any] = {
        ("r2" if n == "observed" else n): (("organism", "quantity"), v) for n, v in zip(names, values, strict=True)
    }
    data["q"] = (("organism", "quantity"), fdr(values[-1]))
    data |= {k: ("organism", v) for k, v in single.items()}
    steps = [-1 if one.training_step is None else one.training_step for one in found]
    coords = {"organism": [one.organism.name for one in found], "quantity": list(axes.QUANTITIES)}
    attrs = {"surrogates": found[0].config.surrogates, "step": found[0].config.steps}
    return xr.Dataset(data, coords, attrs).assign(training_step=("organism", steps))


def one_run(found: Sequence[Axes]) -> bool:
    """Whether these are the organisms kept along one training run, in its order."""
    return same_run([one.organism for one in found])


def same_run(organisms: Sequence[Organism]) -> bool:
    """Whether these organisms are the steps of one training run, in its order."""
    steps = [trained_for(one) for one in organisms]
    recipes = [dict(one.provenance.get("config", {})) for one in organisms]
    known = [s for s in steps if s is not None]
    ascending = len(known) == len(steps) > 1 and all(a < b for a, b in pairwise(known))
    return ascending and bool(recipes[0]) and all(r == recipes[0] for r in recipes)


def comparison_section(found: Sequence[Axes]) -> Section:
    """Several organisms in one section.

    Args:
        found: of `examine_axes`, two or more.
    """
    table, series = compared(found), one_run(found)
    said = [_training(table)] if series else [_counts(table)]
    outcomes = [f"{one.organism.name}: {r}" for one in found for r in dict.fromkeys(one.skipped.values())]
    drawn: list[SvgFigure] = []
    data = {"compared": table}
    with plots.style():
        shown = [one for one in found if one.components]
        if shown:
            drawn.append(svg_figure("bodies", *comparison_figures.bodies(*_bodies(shown))))
        if series:
            drawn.append(svg_figure("training", *comparison_figures.training(table)))
        else:
            drawn.append(svg_figure("organisms", *comparison_figures.decoders(table)))
            agreement = _agreement(found, said, outcomes)
            if agreement:
                codes = [one.code for one in found if one.code]
                drawn.append(svg_figure("directions", *comparison_figures.directions(agreement, codes)))
                data["networks"] = agreement
    title = "Along the training" if series else "Organisms compared"
    rows = table.to_dataframe().reset_index()
    return Section(
        "compared",
        title,
        claims=[replace(f, assay="compared") for f in said],
        figures=drawn,
        lookup={"Decoders beside their null, organism by organism": _shown(table)},
        tables={"compared": rows},
        method=METHOD,
        skipped=outcomes,
        data=data,
    )


def _shown(table: xr.Dataset) -> pd.DataFrame:
    """R2 and q in words."""
    rows = []
    for i, name in enumerate(table.organism.values):  # by number: two may have one name
        one = table.isel(organism=i)
        row = {"organism": str(name), "cells": number(float(one.cells), 0)}
        row |= {
            "PC1 and radius |ρ|": number(float(one.pc1_radius)),
            "PCs for 95 %": number(float(one.needed), 0),
        }
        for q in table.quantity.values:
            at = one.sel(quantity=q)
            row[str(q)] = (
                f"{number(float(at.r2))} (q {probability(float(at.q))})" if np.isfinite(at.r2) else "not defined"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _bodies(found: Sequence[Axes]) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """Pictures, scores of three components, names."""
    pictures, scores = [], []
    for one in found:
        state = one.recording.state.isel(run=0).sel(step=one.components.attrs["at"]).values
        pictures.append(np.asarray(metrics.picture(one.organism.rule.spec, state)))
        scores.append(one.components.scores.isel(run=0).sel(step=one.components.attrs["at"]).values[..., :3])
    return pictures, scores, [one.organism.name for one in found]


def _counts(table: xr.Dataset) -> Claim:
    """In how many organisms place is coded beyond smoothness."""
    clear = (table.q <= CLEAR) & (table.r2 > 0)
    tried = np.isfinite(table.r2)
    parts = [
        f"{LONG[str(q)]} in {int(clear.sel(quantity=q).sum())} of {int(tried.sel(quantity=q).sum())}"
        for q in table.quantity.values
    ]
    claim = f"Decodable beyond what smoothness gives: {', '.join(parts)}."
    radial = table.pc1_radius.values[np.isfinite(table.pc1_radius.values)]
    ranges = "; ".join(
        f"{q} R² {value_range(v)}, above the null’s median by {value_range(v - m)}"
        for q in table.quantity.values
        for v, m in [_known(table, str(q))]
        if len(v)
    )
    evidence = (
        f"{ranges}; PC1 with radius |ρ| {value_range(radial) if len(radial) else 'not defined'}; q ≤ "
        f"{CLEAR} over these tests of all organisms, not over those of each alone"
    )
    many = table.attrs["surrogates"]
    evidence += f"; {plural(table.sizes['organism'], 'organism')}, one run each, {many} surrogates ({least(many)})"
    numbers = {str(q): int(clear.sel(quantity=q).sum()) for q in table.quantity.values}
    return Claim("compared", claim, evidence, numbers)


def _known(table: xr.Dataset, q: str) -> tuple[np.ndarray, np.ndarray]:
    """R2 and its null's median, where both are defined."""
    one = table.sel(quantity=q)
    known = np.isfinite(one.r2.values)
    return one.r2.values[known], one.null_median.values[known]


def _training(table: xr.Dataset) -> Claim:
    """From which training step on place is coded."""
    clear = (table.q <= CLEAR) & (table.r2 > 0)
    steps, begins = table.training_step.values, {}
    for q in table.quantity.values:
        one = clear.sel(quantity=q).values
        lasting = [int(s) for k, s in enumerate(steps) if one[k:].all()]
        if lasting:
            begins[str(q)] = lasting[0]
    claim = (
        "In training, codes beyond smoothness appear and stay from "
        + ", ".join(f"step {s} ({LONG[q]})" for q, s in begins.items())
        + " on."
        if begins
        else "At no training step does a code beyond smoothness appear that stays to the last."
    )
    last = table.isel(organism=-1)
    evidence = f"q ≤ {CLEAR} over {plural(len(steps), 'organism')} of one run and all quantities; at the "
    "last " + ", ".join(f"{q} R² {number(float(last.r2.sel(quantity=q)))}" for q in table.quantity.values)
    many = table.attrs["surrogates"]
    return Claim("compared", claim, f"{evidence}; {many} surrogates ({least(many)})", {"begins": begins})


def _agreement(found: Sequence[Axes], said: list[Claim], outcomes: list[str]) -> xr.Dataset:
    """A5, with its sentence or the reason why there is none."""
    whole = [one for one in found if one.code]
    try:
        agreement = axes.networks([one.code for one in whole], frame_of([one.organism for one in whole]))
    except UserError as error:
        outcomes.append(f"Agreement of networks was not tested. {error}")
        return xr.Dataset()
    kin = related([one.organism for one in whole])
    clear = float(agreement.p_surrogates) <= CLEAR
    claim = (
        "The networks code position best along the same axis, more alike than their surrogates."
        if clear
        else "The networks do not agree on an axis more than smooth fields on their bodies do."
    )
    blind = int((agreement.best <= 0).sum())
    if blind:
        claim += (
            f" In {blind} of {len(whole)} no direction can be read at all (R² ≤ 0), so that its angle says nothing."
        )
    if kin:
        claim += (
            f" They are not independent: {plural(len(kin), 'pair')} share an ancestor, so this is no "
            f"claim about networks."
        )
    frame = {"canvas": "from x towards y", "body": "from the body’s long axis"}[agreement.attrs["frame"]]
    evidence = (
        f"length of the mean axis {number(float(agreement.length))} at {float(agreement.direction):.0f}° "
        f"({frame}), surrogates {number(float(np.median(agreement.null_length)))}; "
        f"p {probability(float(agreement.p_surrogates))} against surrogates, "
        f"{probability(float(agreement.p_uniform))} against uniform angles (Rayleigh), which ignores that a "
        f"body’s shape favours some directions; R² along it {value_range(agreement.best.values)}; "
        f"{plural(len(whole), 'network')}, {agreement.attrs['draws']} draws"
    )
    numbers = {k: float(agreement[k]) for k in ("length", "direction", "p_surrogates", "p_uniform")}
    said.append(Claim("compared", claim, evidence, numbers | {"related": kin}))
    if np.isfinite(agreement.alike).all():
        said.append(_channels(agreement, bool(kin)))
    else:
        outcomes.append("Decoders were not compared channel by channel: the networks differ in their channels.")
    return agreement


def _channels(agreement: xr.Dataset, kin: bool) -> Claim:
    """Whether networks use the same channels for it."""
    clear = [str(c) for c in agreement.code.values if float(agreement.p_alike.sel(code=c)) <= CLEAR]
    claim = (
        f"The code of {' and that of '.join(clear)} lies in the same channels in these networks"
        + (", as may be expected of networks trained on from each other." if kin else ".")
        if clear
        else "The networks keep their codes in different channels, as independent ones should."
    )
    evidence = "; ".join(
        f"{c}: Procrustes similarity {number(float(agreement.alike.sel(code=c)))}, null "
        f"{number(float(agreement.null_alike.sel(code=c).median()))}, p "
        f"{probability(float(agreement.p_alike.sel(code=c)))}"
        for c in agreement.code.values
    )
    return Claim("compared", claim, f"{evidence}; decoders turned at random, {agreement.attrs['draws']} draws", {})


def frame_of(organisms: Sequence[Organism]) -> Any:
    """What angles are counted from: the canvas for one target, else each body's long axis."""
    pictures = [o.target for o in organisms]
    first = pictures[0]
    same = all(p is not None and first is not None and np.array_equal(p, first) for p in pictures)
    return "canvas" if same else "body"

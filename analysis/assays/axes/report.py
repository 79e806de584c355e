"""The axes assay as sections: claims with their evidence, figures and tables, of one network or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.assays.axes.across_networks import compare_networks, direction_agreement
from analysis.assays.axes.claims import ALPHA, LONG_LABELS, network_claims, pca_claims
from analysis.assays.axes.pca_plots import pca_figures
from analysis.assays.axes.plots import comparison_figures, network_figures
from analysis.assays.axes.run import AxesResult
from analysis.lineage import related
from analysis.report import plots
from analysis.report.format import join_words, number, plural, probability
from analysis.report.model import Claim, Section, SvgFigure, evidence, svg_figure
from nca.errors import UserError

_MAX_DETAILED = 4  # organisms that get sections of their own where several are compared
_DOCS = " More in the methods of the documentation, under “Axes”."
_NETWORK_SECTIONS = {  # title, parts of the result, figures
    "axes": (
        "Body axes",
        ("pca", "pca_runs", "position", "runs", "shape_and_colour", "direction"),
        ("maps", "development", "position", "shape-and-colour", "runs", "spectrum"),
    ),
    "weight-shuffle": (
        "Weight shuffle and time course",
        ("weight_shuffle", "time_course"),
        ("weight-shuffle", "time-course"),
    ),
    "interventions": ("Interventions along the code", ("pushes", "projections"), ("interventions",)),
    "rotation-test": (
        "Rotation test: compass or map",
        ("rotated_perception", "rotated_states"),
        ("rotation-test",),
    ),
}
_METHODS = {
    "axes": (
        "PCA of the states of mature cells of one run (A0); ridge decoders of position, with cells held out by blocks "
        "of 8×8 (A1), compared with band-rotated surrogates: fields as smooth, with scrambled positions (A2); "
        "decoders of shape or colour, and what hidden states add to them (A3). p is one-sided, q FDR-corrected." + _DOCS
    ),
    "components": (
        "PCA of the states of mature cells of one run at one step, centred. Angles run from x (right) towards y "
        "(down), modulo 180. PCA of any smooth field gives gradients and waves, so these numbers alone say nothing "
        "about axes: nca axes compares each with a null." + _DOCS
    ),
    "weight-shuffle": (
        "A rule with shuffled weights runs on the alive sites of the trained run, with its fire masks and the size of "
        "its updates (A4). The time course decodes position at each step from states and from the age of the "
        "cell." + _DOCS
    ),
    "interventions": (
        "All cells of the grown body are pushed once along a decoder, or a plane is projected out of the states at "
        "every step; compared with random directions, or with planes that decode scrambled positions (A6)." + _DOCS
    ),
    "rotation-test": (
        "The perception is rotated during growth, or the grown state under an unrotated perception; rotations of the "
        "body are fitted about the seed, those of PC1 to PC3 by their gradients (A7)." + _DOCS
    ),
    "networks": (
        "One run of each organism at the adult step; q over all organisms and quantities. Networks are the unit, and "
        "only independent ones count. Agreement of directions: axial Rayleigh test, against one surrogate of each "
        "network, which allows for the shape of the body. Agreement of decoders: Procrustes similarity in channel "
        "space (A5)." + _DOCS
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
    with plots.style():
        figures = [svg_figure(name, *drawn) for name, drawn in pca_figures(components).items()]
    return Section(
        "components",
        "Principal components",
        claims=[replace(claim, assay="components") for claim in pca_claims(components)],
        figures=figures,
        tables={"pca": _table("pca", components), "pca_runs": _table("pca_runs", components)},
        method=_METHODS["components"],
        data={"pca": components},
    )


def _network_sections(axes: AxesResult) -> list[Section]:
    """The sections of one organism that its options ask for."""
    config, claims = axes.config, network_claims(axes)
    options = {
        "axes": True,
        "weight-shuffle": config.weight_shuffles or config.time_course_surrogates,
        "interventions": config.random_directions,
        "rotation-test": config.angles,
    }
    with plots.style():
        figures = {name: svg_figure(name, *drawn) for name, drawn in network_figures(axes).items()}
    return [_network_section(axes, name, claims[name], figures) for name, asked in options.items() if asked]


def _network_section(axes: AxesResult, name: str, claims: Sequence[Claim], figures: Mapping[str, SvgFigure]) -> Section:
    title, parts, shown = _NETWORK_SECTIONS[name]
    data = {part: getattr(axes, part) for part in parts if getattr(axes, part)}
    return Section(
        name,
        title,
        claims=[replace(claim, assay=name) for claim in claims],
        figures=[figures[figure] for figure in shown if figure in figures],
        tables={part: _table(part, dataset) for part, dataset in data.items()},
        method=_METHODS[name],
        skipped=list(dict.fromkeys(axes.skipped[part] for part in parts if part in axes.skipped)),
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
    claims = [_training_claim(table) if training else _count_claim(table)]
    skipped = [f"{axes.organism.name}: {r}" for axes in results for r in dict.fromkeys(axes.skipped.values())]
    data, agreement = {"networks": table}, xr.Dataset()
    if not training:
        known = [axes for axes in results if axes.direction]
        directions, organisms = [axes.direction for axes in known], [axes.organism for axes in known]
        try:
            targets: list[Any] = [organism.target for organism in organisms]
            alike = all(t is not None and np.array_equal(t, targets[0]) for t in targets)
            agreement = direction_agreement(directions, "canvas" if alike else "body")
        except UserError as error:
            skipped.append(f"Agreement of networks was not tested. {error}")
        else:
            relatives = related(organisms)
            claims.append(_agreement_claim(agreement, relatives))
            if np.isfinite(agreement.similarity).all():
                claims.append(_similarity_claim(agreement, relatives))
            else:
                skipped.append("Decoders were not compared by channel: the networks differ in their channels.")
            data["agreement"] = agreement
    with plots.style():
        figures = [svg_figure(name, *drawn) for name, drawn in comparison_figures(results, table, agreement).items()]
    return Section(
        "networks",
        "Axes across training" if training else "Axes of several organisms",
        claims=[replace(claim, assay="networks") for claim in claims],
        figures=figures,
        lookup={"R² of position in each organism": _lookup(table)},
        tables={"networks": table.to_dataframe().reset_index()},
        method=_METHODS["networks"],
        skipped=skipped,
        data=data,
    )


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


def _network_rows(table: xr.Dataset) -> list[dict[str, Any]]:
    """Evidence of every organism and quantity that was decoded."""
    frame = table[["r2", "null_median", "null_low", "null_high", "p", "q"]].to_dataframe().reset_index()
    frame = frame[frame.r2.notna()].rename(columns={"r2": "value"})
    frame = frame.assign(measure="r2 in " + frame.organism, n=table.attrs["surrogates"], unit="surrogates")
    records: list[dict[str, Any]] = frame.drop(columns="organism").to_dict("records")
    return records


def _count_claim(table: xr.Dataset) -> Claim:
    """In how many organisms position is encoded beyond smoothness."""
    clear = ((table.q <= ALPHA) & (table.r2 > 0)).sum("organism")
    tested = np.isfinite(table.r2).sum("organism")
    counts = {str(q): (int(clear.sel(quantity=q)), int(tested.sel(quantity=q))) for q in table.quantity.values}
    each = ", ".join(f"{LONG_LABELS[q]} in {k} of {n}" for q, (k, n) in counts.items())
    note = "q is corrected over all organisms and quantities; one run of each organism."
    clear_counts = {q: k for q, (k, _) in counts.items()}
    text = f"Decodable beyond what smooth fields allow: {each}."
    return Claim("networks", text, evidence(*_network_rows(table)), clear_counts, note)


def _training_claim(table: xr.Dataset) -> Claim:
    """From which training step on position is encoded."""
    onsets = {}
    for q in table.quantity.values:
        clear = ((table.q <= ALPHA) & (table.r2 > 0)).sel(quantity=q).values
        lasting = [int(step) for k, step in enumerate(table.training_step.values) if clear[k:].all()]
        if lasting:
            onsets[str(q)] = lasting[0]
    text = (
        "Codes beyond smoothness that last appear at training "
        + join_words([f"step {step} ({LONG_LABELS[q]})" for q, step in onsets.items()])
        + "."
        if onsets
        else "At no training step does a code beyond smoothness appear that lasts to the last snapshot."
    )
    note = f"q ≤ {ALPHA} over {plural(table.sizes['organism'], 'snapshot')} of one training run and all quantities."
    return Claim("networks", text, evidence(*_network_rows(table)), {"onsets": onsets}, note)


def _agreement_claim(agreement: xr.Dataset, relatives: Sequence[tuple[str, str]]) -> Claim:
    """A5: whether networks encode position best along the same axis."""
    undirected, n = int((agreement.best_r2 <= 0).sum()), agreement.sizes["network"]
    text = (
        "The networks encode position best along the same axis, more alike than their surrogates."
        if float(agreement.p_surrogates) <= ALPHA
        else "The networks do not agree on an axis more than smooth fields on their bodies do."
    )
    if undirected:
        text += f" In {undirected} of {n} no direction can be decoded (R² ≤ 0), so that its angle means nothing."
    if relatives:
        pairs = plural(len(relatives), "pair")
        text += f" They are not independent, since {pairs} share an ancestor: this is no claim about networks."
    origin = {"canvas": "the x axis towards y (down)", "body": "the long axis of the body"}[agreement.attrs["frame"]]
    networks, low_high = {"n": n, "unit": "networks"}, np.quantile(agreement.null_length, [0.5, 0.05, 0.95])
    null = dict(zip(("null_median", "null_low", "null_high"), low_high, strict=True))
    direction, length = float(agreement.direction), float(agreement.length)
    p = {"surrogates": float(agreement.p_surrogates), "uniform": float(agreement.p_uniform)}
    rows = [
        {"quantity": "mean axis", "measure": "length", "value": length, **null, "p": p["surrogates"], **networks},
        {
            "quantity": "mean axis",
            "measure": "length, uniform angles (Rayleigh)",
            "value": length,
            "p": p["uniform"],
            **networks,
        },
        {"quantity": "mean axis", "measure": "direction (°)", "value": direction, **networks},
    ]
    numbers = {"length": length, "direction": direction, "p": p["surrogates"], "related": list(relatives)}
    return Claim("networks", text, evidence(*rows), numbers, f"Angles are counted from {origin}.")


def _similarity_claim(agreement: xr.Dataset, relatives: Sequence[tuple[str, str]]) -> Claim:
    """A5: whether networks encode position in the same channels."""
    rows = []
    for code in agreement.code.values:
        similarity = agreement.sel(code=code)
        quantiles = np.quantile(similarity.null_similarity, [0.5, 0.05, 0.95])
        null = dict(zip(("null_median", "null_low", "null_high"), quantiles, strict=True))
        row = {"quantity": str(code), "measure": "Procrustes similarity", "value": float(similarity.similarity), **null}
        rows.append(row | {"p": float(similarity.p_similarity), "n": agreement.sizes["network"], "unit": "networks"})
    clear = [row["quantity"] for row in rows if row["p"] <= ALPHA]
    expected = ", as expected of networks that were trained from each other" if relatives else ""
    text = (
        f"The code of {' and that of '.join(clear)} lies in the same channels in these networks{expected}."
        if clear
        else "The networks keep their codes in different channels, as independent ones should."
    )
    return Claim("networks", text, evidence(*rows), {"same_channels": clear}, "Null: randomly rotated decoders.")

"""Grafts as a section of a report: claims, evidence tables, figures and a film from finished results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.animation.encode import webp_bytes
from analysis.animation.render import add_step_counter, crop_runs, render, side_by_side
from analysis.assays.grafts import plots
from analysis.assays.grafts.grafting import COLOUR, GRAFT, HIDDEN, NULLS, RANDOM, SHAM, permutation_p
from analysis.assays.grafts.matching import TOLERANCE
from analysis.assays.grafts.plots import median_over_runs
from analysis.assays.grafts.run import GraftResult
from analysis.report.format import number, plural
from analysis.report.model import Claim, Film, Section, evidence, svg_figure

_NAME = "grafts"
_PRESENT = 0.5  # share of a second body, of the first, or of the graft, from which on it counts as present
_REBUILT = 0.9  # fitness from which on a disc counts as having rebuilt the body


def sections(results: Sequence[GraftResult]) -> list[Section]:
    """What became of moved cells, a section for each result."""
    return [_section(result, "" if len(results) == 1 else f"-{n}") for n, result in enumerate(results, 1)]


def _section(result: GraftResult, suffix: str) -> Section:
    name = f"{_NAME}{suffix}"
    title = "Grafts" if not suffix else f"Grafts: {result.donor.name} to {result.organism.name}"
    if result.no_body:
        return Section(name, title, method=_method(result), skipped=[result.no_body, *result.warnings])
    claims = [*second_body_claims(result), *component_claims(result), _survival_claim(result)]
    claims += [*organizer_claims(result), *_isolation_claims(result)]
    data = {"grafts": result.grafts, "isolation": result.isolation, "organizers": result.organizers}
    return Section(
        name,
        title,
        [Claim(name, c.text, c.evidence, c.numbers, c.note) for c in claims],
        films=[_film(result)] if result.films else (),
        figures=[svg_figure(f"{key}{suffix}", *figure) for key, figure in plots.graft_figures(result).items()],
        tables={f"{table}{suffix}": frame for table, frame in _tables(result).items()},
        method=_method(result),
        skipped=list(result.warnings),
        data={f"{key}{suffix}": dataset for key, dataset in data.items() if dataset},
    )


def _final(result: GraftResult, intervention: str, measure: str = "second_body") -> Float[np.ndarray, " run"]:
    """A measure of every run at the end."""
    return result.grafts[measure].sel(intervention=intervention).values[:, -1]


def _row(quantity: str, measure: str, values: np.ndarray, **columns: Any) -> dict[str, Any]:
    """Median and range of the defined values of some runs, as a row of evidence."""
    defined = values[np.isfinite(values)]
    row: dict[str, Any] = {"quantity": quantity, "measure": measure, "n": len(values), "unit": "runs", **columns}
    if defined.size:
        row |= {"value": np.median(defined), "low": defined.min(), "high": defined.max()}
    return row


def _null_columns(null: np.ndarray) -> dict[str, float]:
    """Median and range of a null, as columns of evidence."""
    defined = null[np.isfinite(null)]
    if not defined.size:
        return {}
    return {"null_median": float(np.median(defined)), "null_low": defined.min(), "null_high": defined.max()}


def _has_second_body(values: np.ndarray, null: np.ndarray) -> bool:
    """Whether half of a second body shows, in every run more than in any run of the null."""
    values, null = values[np.isfinite(values)], null[np.isfinite(null)]
    return bool(values.size and np.median(values) >= _PRESENT and (not null.size or values.min() > null.max()))


def second_body_claims(result: GraftResult) -> list[Claim]:
    """Does the graft make a second body, and does the first one stay?"""
    config, second, sham = result.config, _final(result, GRAFT), _final(result, SHAM)
    moved = f"Moved from {_point(config.source)} to {_point(config.target)}"
    if not np.isfinite(second).any():
        text = f"{moved}, the disc lies too near to its origin for a second body to be defined."
        return [Claim(_NAME, text, evidence(_row("second body", "share, graft", second)))]
    p, floor = permutation_p(second, sham)
    present, first = _has_second_body(second, sham), _final(result, GRAFT, "first_body")
    first_stays = bool(np.nanmedian(first) >= _PRESENT)
    end = config.adult_step + config.eval_steps
    shares = f"share {number(float(np.nanmedian(second)))}, sham {number(float(np.nanmedian(sham)))}"
    if present:
        first_body = "stays" if first_stays else "does not stay"
        text = f"{moved}, the disc makes a second body by step {end} ({shares}), and the first {first_body}."
        if _reaches_edge(result):
            text += " What grew reaches the edge of the canvas, which cuts it short."
    else:
        text = f"{moved}, the disc makes no second body by step {end} ({shares})."
    rows = [_row("second body", f"share, step {end}", second, p=p, **_null_columns(sham))]
    for step in result.grafts.step.values[1:-1]:
        values = result.grafts.second_body.sel(intervention=GRAFT, step=step).values
        rows.append(_row("second body", f"share, step {step}", values))
    rows += [
        _row("first body", f"share kept, step {end}", first),
        {"quantity": "graft", "measure": "cells moved", "value": result.grafts.attrs["cells"]},
    ]
    if result.grafts.exploded.values.any():
        exploded = {"value": int(result.grafts.exploded.sum()), "n": result.grafts.exploded.size, "unit": "runs"}
        rows.append({"quantity": "all interventions", "measure": "exploded runs", **exploded})
    note = "Null: the sham; p by permutation of runs, one-sided" + (
        f", at least {number(floor, 3)}." if p == p else "."
    )
    numbers = {"second_body": second, "sham": sham, "p": p, "p_floor": floor, "first_body": first, "present": present}
    return [Claim(_NAME, text, evidence(*rows), numbers, note)]


def _reaches_edge(result: GraftResult) -> bool:
    """Whether what grew in the first run reaches the edge of the canvas."""
    alpha = result.grafts.picture.sel(intervention=GRAFT).isel(run=0).values[-1, ..., 3]
    rim = np.concatenate([alpha[[0, -1]].ravel(), alpha[:, [0, -1]].ravel()])
    return bool(rim.max() > result.organism.rule.spec.threshold)


def component_claims(result: GraftResult) -> list[Claim]:
    """Which part of the graft suffices: hidden channels, colours, or any change as large?"""
    graft, sham = _final(result, GRAFT), _final(result, SHAM)
    if not np.isfinite(graft).any():
        return []
    full = _has_second_body(graft, sham)
    subjects = {HIDDEN: "The hidden channels alone make", COLOUR: "The colours alone make"}
    subjects[RANDOM] = "A random change as large in every cell makes"
    claims = []
    for intervention, subject in subjects.items():
        if intervention not in result.grafts.intervention.values:
            continue
        values = _final(result, intervention)
        present, some = _has_second_body(values, sham), int((values >= _PRESENT).sum())
        text = f"{subject} {'a' if present else 'no'} second body."
        if intervention == RANDOM and present and full:
            text = f"{subject} a second body as well, so that this graft alone proves no code in the moved cells."
        elif intervention == RANDOM and not present and some:
            text = f"{subject} a second body in {some} of {plural(len(values), 'run')}."
        rows = [
            _row("second body", f"share, {intervention}", values, **_null_columns(sham)),
            _row("second body", "share, graft", graft),
        ]
        if intervention == RANDOM and full:
            p, _ = permutation_p(graft, values)
            rows.append(_row("second body", "share, graft against random", graft, p=p, **_null_columns(values)))
        before, after = result.grafts.mse.sel(intervention=intervention).median("run").values[:2]
        if before > metrics.FLOOR and after <= before:
            measure = f"share left at step {result.grafts.step.values[1]}"
            rows.append({"quantity": "visible change", "measure": measure, "value": after / before})
        numbers = {"intervention": intervention, "second_body": values, "present": present}
        claims.append(Claim(_NAME, text, evidence(*rows), numbers, "Null: the sham."))
    return claims


def _survival_claim(result: GraftResult) -> Claim:
    """Do the moved cells stay as in the donor?"""
    retained, sham = _final(result, GRAFT, "retained"), _final(result, SHAM, "retained")
    median = float(np.nanmedian(retained)) if np.isfinite(retained).any() else float("nan")
    text = "Whether the graft survives is not defined: donor and host do not differ there."
    if np.isfinite(median):
        text = f"The graft {'stays as in the donor' if median >= _PRESENT else 'does not stay as in the donor'}."
    row = _row("graft", f"retained, {result.config.eval_steps} steps later", retained, **_null_columns(sham))
    note = "1: as in the donor’s own run at that step; 0: as far from it as the ungrafted host; null: the sham."
    return Claim(_NAME, text, evidence(row), {"retained": retained}, note)


def organizer_claims(result: GraftResult) -> list[Claim]:
    """From which points of the body does a disc make a second body?"""
    if not result.organizers:
        return []
    medians = pd.Series(median_over_runs(result.organizers.second_body.values.T))
    defined = medians.dropna()
    if defined.empty:
        return [Claim(_NAME, "No point of the body is far enough from the target to be tested as an organizer.")]
    nulls = {name: _final(result, name) for name in NULLS}
    highest = max(float(np.nanmax(v)) if np.isfinite(v).any() else 0.0 for v in nulls.values())
    organizers = int(((defined >= _PRESENT) & (defined > highest)).sum())
    best = int(defined.idxmax())
    centre = _point((result.organizers.centre_y.values[best], result.organizers.centre_x.values[best]))
    target = _point(result.config.target)
    text = f"Discs from {organizers} of {len(defined)} points of the body make a second body at {target}."
    points = {"n": len(defined), "unit": "points"}
    rows = [
        {"quantity": "second body", "measure": f"points with a share of at least {_PRESENT}",
         "value": int((defined >= _PRESENT).sum()), **points},
        {"quantity": "second body", "measure": f"share, best point ({centre})", "value": defined[best]},
        {"quantity": "second body", "measure": "share, worst point", "value": defined.min()},
        {"quantity": "second body", "measure": "points too near to the target", "value": len(medians) - len(defined)},
        *(_row("second body", f"share, {name} at the target", values) for name, values in nulls.items()),
    ]  # fmt: skip
    note = (
        f"A point counts with a share of at least {_PRESENT} that exceeds every sham and every random change; "
        f"{plural(result.organizers.sizes['run'], 'run')} a point."
    )
    return [Claim(_NAME, text, evidence(*rows), {"organizers": organizers, "points": len(defined)}, note)]


def _isolation_claims(result: GraftResult) -> list[Claim]:
    """Which discs, left alone, rebuild the body?"""
    if not result.isolation:
        return []
    table = _point_table(result.isolation)
    complete = table.fit_start >= _REBUILT
    table = table[~complete]
    if table.empty:
        text = f"Each of {plural(len(complete), 'disc')} already holds the body, so that none has anything to rebuild."
        return [Claim(_NAME, text, numbers={"rebuilt": 0, "discs": 0, "complete": int(complete.sum())})]
    rows = []
    for radius, group in table.groupby("radius"):
        counts = {"value": int((group.fit >= _REBUILT).sum()), "n": len(group), "unit": "discs"}
        rows.append({"quantity": f"radius {radius:g}", "measure": "discs that rebuild the body", **counts})
        if group.fit.notna().any():
            best = group.loc[group.fit.idxmax()]
            measure = f"fitness, best disc ({_point((best.centre_y, best.centre_x))}); null: the bare disc"
            rows.append({"quantity": f"radius {radius:g}", "measure": measure, "value": best.fit,
                         "null_median": best.fit_start})  # fmt: skip
    if complete.any():
        rows.append(
            {"quantity": "discs that hold the body from the start", "measure": "discs", "value": complete.sum()}
        )
    rebuilt = int((table.fit >= _REBUILT).sum())
    end = result.config.adult_step + result.config.eval_steps
    text = f"{rebuilt} of {len(table)} discs, left alone, rebuild the body by step {end}."
    note = (
        f"Fitness, at least {_REBUILT}, of the body that fits best what grew, over shifts and turns; "
        f"{plural(result.isolation.sizes['run'], 'run')} a point."
    )
    numbers = {"rebuilt": rebuilt, "discs": len(table), "complete": int(complete.sum())}
    return [Claim(_NAME, text, evidence(*rows), numbers, note)]


def _point(point: Any) -> str:
    return f"row {float(point[0]):g}, column {float(point[1]):g}"


def _tables(result: GraftResult) -> Mapping[str, pd.DataFrame]:
    """Every run of every intervention at every step measured; every point of the maps."""
    names = ["second_body", "first_body", "second_cells", "turn", "mse", "retained", "mature_cells"]
    tables = {"grafts": result.grafts[names].to_dataframe().reset_index()}
    for name, data in (("organizers", result.organizers), ("isolation", result.isolation)):
        if data:
            tables[name] = _point_table(data)
    return tables


def _point_table(data: xr.Dataset) -> pd.DataFrame:
    """A row for each point of a map: medians over its runs, and every run."""
    table = pd.DataFrame({name: data[name].values for name in ("radius", "centre_y", "centre_x")})
    for name in ("second_body", "first_body", "mse", "fit", "fit_start", "mature_cells"):
        if name in data:
            table[name] = median_over_runs(data[name].values.T)
            for run in data.run.values:
                table[f"{name} run {run}"] = data[name].values[:, run]
    return table


def _film(result: GraftResult) -> Film:
    """The first run after the sham and after the graft, side by side, a frame a step."""
    spec = result.organism.rule.spec
    left, right = (render(states, spec, counter=False) for states in crop_runs(list(result.films)))
    frames = add_step_counter(side_by_side(left, right, (SHAM, GRAFT)), result.config.adult_step)
    caption = "The first run after the sham and after the graft, one frame a step; both share every fire mask."
    return Film("graft", webp_bytes(frames, fps=20), caption)


def _method(result: GraftResult) -> str:
    config = result.config
    turned = f", turned by {config.turn:g} degrees" if config.turn else ""
    points = f" about {_point(config.source)}" if config.source else ""
    points += f" of {result.donor.name} is set into {result.organism.name}"
    points += f" at {_point(config.target)}" if config.target else ""
    return (
        f"At step {config.adult_step} a disc of radius {config.radius:g}{points}{turned}, whose rule runs it. Run i "
        "receives it from the donor’s run i + 1. Controls, in the same runs: the hidden channels alone; the colours "
        "(and alpha) alone; a random change that has the graft’s size in every cell; and a sham, the same place of "
        "the host’s own next run. A second body is the ungrafted control of that step, turned by any multiple of 15 "
        "degrees about the disc’s origin and shifted with it, within five cells. It is measured at cells nearer to "
        "the target than to the origin, outside the graft, where it differs from the control: the share of these "
        f"that have its colour (within {TOLERANCE} of premultiplied RGBA), the best over turns and shifts; the nulls "
        "have the same freedom. It is not defined where fewer than a tenth of the body’s cells could show it. A "
        f"second body counts as present from {_PRESENT} on if every run exceeds every sham. Runs repeat one network."
    )

"""Grafts as a section of a report: claims, evidence tables, figures and a film from finished results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.animation.encode import webp_bytes
from analysis.animation.render import add_step_counter, crop_runs, render, side_by_side
from analysis.assays.grafts.grafting import COLOUR, GRAFT, HIDDEN, NULLS, RANDOM, SHAM
from analysis.assays.grafts.matching import TOLERANCE
from analysis.assays.grafts.plots import graft_figures
from analysis.assays.grafts.run import GraftResult
from analysis.report.format import number, plural, probability
from analysis.report.model import Answer, Claim, Film, Section, Verdict, evidence, surprise

_NAME = "grafts"
_PRESENT = 0.5  # share of a second body, of the first, or of the graft, from which on it counts as present
_MAX_P = 0.05  # least p that so few runs can reach, for a verdict
_SUBJECTS = {
    HIDDEN: "The hidden channels alone make",
    COLOUR: "The colours alone make",
    RANDOM: "A random change as large in every cell makes",
}
_REBUILT = 0.9  # fitness from which on a disc counts as having rebuilt the body


def sections(results: Sequence[GraftResult]) -> list[Section]:
    """What became of moved cells, a section for each result."""
    return [_section(result, "" if len(results) == 1 else f"-{n}") for n, result in enumerate(results, 1)]


def _section(result: GraftResult, suffix: str) -> Section:
    name = f"{_NAME}{suffix}"
    title = "Grafts" if not suffix else f"Grafts: {result.donor.name} to {result.organism.name}"
    if result.no_body:
        return Section(name, title, method=_method(result), skipped=[result.no_body, *result.warnings])
    data = {"grafts": result.grafts, "isolation": result.isolation, "organizers": result.organizers}
    return Section(
        name,
        title,
        [replace(claim, assay=name) for claim in _claims(result)],
        films=[_film(result)] if result.films else (),
        figures=graft_figures(result, suffix),
        tables={f"{table}{suffix}": frame for table, frame in _tables(result).items()},
        method=_method(result),
        skipped=list(result.warnings),
        data={f"{key}{suffix}": dataset for key, dataset in data.items() if dataset},
    )


def _claims(result: GraftResult) -> list[Claim]:
    """Is there a second body, which part of the graft makes it, does the graft stay; then the maps."""
    claims = [_second_body(result)]
    if np.isfinite(_final(result, GRAFT)).any():
        names = [name for name in _SUBJECTS if name in result.grafts.intervention.values]
        claims += [_component(result, name) for name in names]
    claims.append(_survival(result))
    claims += [_organizers(result)] if result.organizers else []
    return claims + ([_isolation(result)] if result.isolation else [])


def _final(result: GraftResult, intervention: str, measure: str = "second_body") -> Float[np.ndarray, " run"]:
    """A measure of every run at the end."""
    return result.grafts[measure].sel(intervention=intervention).values[:, -1]


def _row(quantity: str, measure: str, values: np.ndarray, null: Any = (), **columns: Any) -> dict[str, Any]:
    """Median and range of the defined values of some runs, and of a null, as a row of evidence."""
    row: dict[str, Any] = {"quantity": quantity, "measure": measure, "n": len(values), "unit": "runs", **columns}
    for names, all_values in (("value", "low", "high"), values), (("null_median", "null_low", "null_high"), null):
        defined = np.asarray(all_values)[np.isfinite(all_values)]
        if defined.size:
            row |= dict(zip(names, (np.median(defined), defined.min(), defined.max()), strict=True))
    return row


def _has_second_body(values: np.ndarray, null: np.ndarray) -> bool:
    """Whether half of a second body shows, in every run more than in any run of the null."""
    values, null = values[np.isfinite(values)], null[np.isfinite(null)]
    return bool(values.size and np.median(values) >= _PRESENT and (not null.size or values.min() > null.max()))


def _permutation_p(values: Any, null: Any) -> tuple[float, float]:
    """One-sided p that the values of some runs exceed those of a null by chance, and the least possible p.

    Runs are permuted; NaN where either has fewer than two defined values.
    """
    from scipy.stats import permutation_test

    samples = [np.asarray(v, float).ravel() for v in (values, null)]
    a, b = (v[np.isfinite(v)] for v in samples)
    if min(a.size, b.size) < 2:
        return float("nan"), float("nan")
    permutations = min(9999, math.comb(a.size + b.size, a.size))
    test = permutation_test(
        (a, b),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        n_resamples=permutations,
        alternative="greater",
        vectorized=True,
        rng=0,
    )
    return float(test.pvalue), 1 / (permutations if permutations < 9999 else 10000)


def _second_body(result: GraftResult) -> Claim:
    """Does the graft make a second body, and does the first one stay?"""
    config, second, sham = result.config, _final(result, GRAFT), _final(result, SHAM)
    moved = f"Moved from {_point(config.source)} to {_point(config.target)}"
    if not np.isfinite(second).any():
        text = f"{moved}, the disc lies too near to its origin for a second body to be defined."
        return Claim(_NAME, text, evidence(_row("second body", "share, graft", second)))
    p, floor = _permutation_p(second, sham)
    present, first = _has_second_body(second, sham), _final(result, GRAFT, "first_body")
    end = config.adult_step + config.eval_steps
    shares = f"(share {number(float(np.nanmedian(second)))}, sham {number(float(np.nanmedian(sham)))})"
    text = f"{moved}, the disc makes no second body by step {end} {shares}."
    if present:
        first_body = "stays" if np.nanmedian(first) >= _PRESENT else "does not stay"
        text = f"{moved}, the disc makes a second body by step {end} {shares}, and the first {first_body}."
        if _reaches_edge(result):
            text += " What grew reaches the edge of the canvas, which cuts it short."
    rows = [_row("second body", f"share, step {end}", second, sham, p=p)]
    course = result.grafts.second_body.sel(intervention=GRAFT)[:, 1:-1]
    rows += [_row("second body", f"share, step {step}", course.sel(step=step).values) for step in course.step.values]
    rows.append(_row("first body", f"share kept, step {end}", first))
    rows.append({"quantity": "graft", "measure": "cells moved", "value": result.grafts.attrs["cells"]})
    if result.grafts.exploded.values.any():
        exploded = {"value": int(result.grafts.exploded.sum()), "n": result.grafts.exploded.size, "unit": "runs"}
        rows.append({"quantity": "all interventions", "measure": "exploded runs", **exploded})
    least = f", at least {number(floor, 3)}" if np.isfinite(p) else ""
    numbers = {"second_body": second, "sham": sham, "p": p, "p_floor": floor, "first_body": first, "present": present}
    answer = _answer(result, present, shares, undecided=not p >= 0 or floor > _MAX_P)
    note = f"Null: the sham; p by permutation of runs, one-sided{least}."
    return Claim(_NAME, text, evidence(*rows), numbers, note, answer)


def _answer(result: GraftResult, present: bool, shares: str, undecided: bool) -> Answer:
    """The second body in short, next to the sham and to a random change as large, whichever makes more of one."""
    second, grows = _final(result, GRAFT), "grow a" if present else "grow no"
    rows = [_row("second body", "share", second, _final(result, SHAM))]
    if RANDOM in result.grafts.intervention.values and np.isfinite(random := _final(result, RANDOM)).any():
        rows.append(_row("second body", "share", second, random))
        shares = f"{shares[:-1]}, random change as large {number(float(np.nanmedian(random)))})"
    text = f"{plural(result.grafts.attrs['cells'], 'moved cell')} {grows} second body at their new place {shares}."
    unclear = not present and np.nanmedian(second) >= _PRESENT
    verdict: Verdict = "cannot tell" if undecided else "unclear" if unclear else "clear"
    return Answer(text, verdict, "grafts", min(map(surprise, rows)))


def _reaches_edge(result: GraftResult) -> bool:
    """Whether what grew in the first run reaches the edge of the canvas."""
    alpha = result.grafts.picture.sel(intervention=GRAFT).isel(run=0).values[-1, ..., 3]
    rim = np.concatenate([alpha[[0, -1]].ravel(), alpha[:, [0, -1]].ravel()])
    return bool(rim.max() > result.organism.rule.spec.threshold)


def _component(result: GraftResult, intervention: str) -> Claim:
    """Does a part of the graft suffice: hidden channels, colours, or any change as large?"""
    graft, sham, values = (_final(result, name) for name in (GRAFT, SHAM, intervention))
    present, p = _has_second_body(values, sham), _permutation_p(values, sham)[0]
    rows = [
        _row("second body", f"share, {intervention}", values, sham, p=p),
        _row("second body", "share, graft", graft),
    ]
    null, compared = sham, SHAM
    against_graft = intervention == RANDOM and _has_second_body(graft, sham)
    if against_graft:
        null, compared, p = graft, GRAFT, _permutation_p(graft, values)[0]
        rows.append(_row("second body", "share, graft against random", graft, values, p=p))
    medians = [number(float(np.nanmedian(v))) for v in (values, null)]
    share = f"(share of a second body {medians[0]}; {compared} {medians[1]}"
    share += f", p = {probability(p)})" if np.isfinite(p) else ")"
    some = int((values >= _PRESENT).sum())
    runs = f"in {some} of {plural(len(values), 'run')}"
    text = f"{_SUBJECTS[intervention]} {f'a second body {runs}' if some else 'no second body'} {share}."
    if against_graft and present:
        text = (
            f"{_SUBJECTS[intervention]} a second body as well, {runs} {share}, so that this graft alone proves no code "
            "in the moved cells."
        )
    before, after = result.grafts.mse.sel(intervention=intervention).median("run").values[:2]
    if before > metrics.FLOOR and after <= before:
        measure = f"share left at step {result.grafts.step.values[1]}"
        rows.append({"quantity": "visible change", "measure": measure, "value": after / before})
    numbers = {"intervention": intervention, "second_body": values, "present": present, "p": p}
    note = f"A run counts with a share of at least {_PRESENT}. Null: the sham; p by permutation of runs, one-sided."
    return Claim(_NAME, text, evidence(*rows), numbers, note)


def _survival(result: GraftResult) -> Claim:
    """Do the moved cells stay as in the donor?"""
    retained, sham = _final(result, GRAFT, "retained"), _final(result, SHAM, "retained")
    text = "Whether the graft survives is not defined: donor and host do not differ there."
    if np.isfinite(retained).any():
        text = f"The graft {'stays' if np.nanmedian(retained) >= _PRESENT else 'does not stay'} as in the donor."
    row = _row("graft", f"retained, {result.config.eval_steps} steps later", retained, sham)
    note = "1: as in the donor’s own run at that step; 0: as far from it as the ungrafted host; null: the sham."
    return Claim(_NAME, text, evidence(row), {"retained": retained}, note)


def _organizers(result: GraftResult) -> Claim:
    """From which points of the body does a disc make a second body?"""
    table = _point_table(result.organizers)
    defined = table[table.second_body.notna()]
    if defined.empty:
        return Claim(_NAME, "No point of the body is far enough from the target to be tested as an organizer.")
    nulls = {name: _final(result, name) for name in NULLS}
    highest = max([0.0, *(share for values in nulls.values() for share in values if np.isfinite(share))])
    is_present = defined.second_body >= _PRESENT
    organizers, best = int((is_present & (defined.second_body > highest)).sum()), defined.second_body.idxmax()
    text = (
        f"Discs from {organizers} of {len(defined)} points of the body make a second body at "
        f"{_point(result.config.target)}."
    )
    centre = _point(defined.loc[best, ["centre_y", "centre_x"]].to_numpy())
    measured = {
        f"points with a share of at least {_PRESENT}": int(is_present.sum()),
        f"share, best point ({centre})": defined.second_body[best],
        "share, worst point": defined.second_body.min(),
        "points too near to the target": len(table) - len(defined),
    }
    rows = [{"quantity": "second body", "measure": measure, "value": value} for measure, value in measured.items()]
    rows[0] |= {"n": len(defined), "unit": "points"}
    rows += [_row("second body", f"share, {name} at the target", values) for name, values in nulls.items()]
    note = (
        f"A point counts with a share of at least {_PRESENT} that exceeds every sham and every random change; "
        f"{plural(result.organizers.sizes['run'], 'run')} a point."
    )
    return Claim(_NAME, text, evidence(*rows), {"organizers": organizers, "points": len(defined)}, note)


def _isolation(result: GraftResult) -> Claim:
    """Which discs, left alone, rebuild the body?"""
    table = _point_table(result.isolation)
    complete = table.fit_start >= _REBUILT
    table = table[~complete]
    rebuilt = table.fit >= _REBUILT
    numbers = {"rebuilt": int(rebuilt.sum()), "discs": len(table), "complete": int(complete.sum())}
    if table.empty:
        text = f"Each of {plural(len(complete), 'disc')} already holds the body, so that none has anything to rebuild."
        return Claim(_NAME, text, numbers=numbers)
    rows = []
    for radius, group in table.groupby("radius"):
        quantity = {"quantity": f"radius {radius:g}"}
        counts = {"value": int(rebuilt[group.index].sum()), "n": len(group), "unit": "discs"}
        rows.append({**quantity, "measure": "discs that rebuild the body", **counts})
        if group.fit.notna().any():
            best = group.loc[group.fit.idxmax()]
            measure = f"fitness, best disc ({_point((best.centre_y, best.centre_x))}); null: the bare disc"
            rows.append({**quantity, "measure": measure, "value": best.fit, "null_median": best.fit_start})
    if complete.any():
        held = {"quantity": "discs that hold the body from the start", "measure": "discs"}
        rows.append({**held, "value": numbers["complete"]})
    end = result.config.adult_step + result.config.eval_steps
    text = f"{numbers['rebuilt']} of {len(table)} discs, left alone, rebuild the body by step {end}."
    note = (
        f"Fitness, at least {_REBUILT}, of the body that fits best what grew, over shifts and turns; "
        f"{plural(result.isolation.sizes['run'], 'run')} a point."
    )
    return Claim(_NAME, text, evidence(*rows), numbers, note)


def _point(point: Any) -> str:
    return f"row {float(point[0]):g}, column {float(point[1]):g}"


def _tables(result: GraftResult) -> Mapping[str, pd.DataFrame]:
    """Every run of every intervention at every step measured; every point of the maps."""
    names = ["second_body", "first_body", "second_cells", "turn", "mse", "retained", "mature_cells"]
    maps = {"organizers": result.organizers, "isolation": result.isolation}
    points = {name: _point_table(data) for name, data in maps.items() if data}
    return {"grafts": result.grafts[names].to_dataframe().reset_index(), **points}


def _point_table(data: xr.Dataset) -> pd.DataFrame:
    """A row for each point of a map: medians over its runs, and every run."""
    table = data[["radius", "centre_y", "centre_x"]].to_dataframe().reset_index(drop=True)
    for name in ("second_body", "first_body", "mse", "fit", "fit_start", "mature_cells"):
        if name in data:
            table[name] = data[name].median("run").values
            table[[f"{name} run {run}" for run in data.run.values]] = data[name].values
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

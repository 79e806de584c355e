"""What the axes assay shows in one network: one claim per question, each with its evidence as a table.

A quantity counts where q ≤ 0.05 and, for R², where R² itself is above 0: of two decoders that are both worse than
guessing the mean, none is called better. Where p is as small as the number of null draws allows and q is
still above 0.05, the claim says that this number cannot decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.assays.axes.pca import SHOWN
from analysis.assays.axes.run import AxesResult
from analysis.report.format import number, percent, plural, probability
from analysis.report.model import Claim, evidence

ALPHA = 0.05
LONG_LABELS = {
    "x": "left-right position (x)",
    "y": "up-down position (y)",
    "s": "position along the body (s)",
    "radius": "distance from the seed",
    "edge": "distance to the edge",
}


def list_words(words: Sequence[str], empty: str = "nothing") -> str:
    """Words as a phrase: a, b and c."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words) or empty


def list_quantities(quantities: Sequence[str]) -> str:
    """Long labels of quantities as a phrase."""
    return list_words([LONG_LABELS.get(q, q) for q in quantities])


def _null_table(tests: xr.Dataset, draws: str, *measures: str) -> pd.DataFrame:
    """Rows of evidence from null tests, of some measures or all; what is not defined is left out.

    Args:
        tests: of `null_tests`.
        draws: attribute that holds the number of null draws, and what they are called.
        *measures: names of measures.
    """
    frame = tests[["observed", "null_median", "null_low", "null_high", "p", "q"]].to_dataframe().reset_index()
    frame = frame[frame.p.notna() & (frame.measure.isin(measures) if measures else True)]
    return frame.rename(columns={"observed": "value"}).assign(n=tests.attrs[draws], unit=draws.replace("_", " "))


def _clear(rows: pd.DataFrame) -> list[str]:
    """Quantities that are clear of their null."""
    return [str(q) for q in rows.quantity[(rows.q <= ALPHA) & (rows.value > 0)]]


def _undecided(rows: pd.DataFrame) -> str:
    """A sentence on quantities that so few null draws cannot decide on; empty where there are none."""
    quantities = list(rows.quantity[(rows.q > ALPHA) & (rows.p <= 1 / (rows.n + 1) + 1e-9) & (rows.value > 0)])
    if not quantities:
        return ""
    return f" With {rows.n.iloc[0]} {rows.unit.iloc[0]} the test cannot decide on {list_quantities(quantities)}."


def _claim(text: str, rows: pd.DataFrame | Sequence[Mapping[str, Any]], note: str = "", **numbers: Any) -> Claim:
    records: Any = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    return Claim("axes", text, evidence(*records), numbers, note)


def _origin(tests: xr.Dataset) -> str:
    return f"{tests.attrs['cells']} cells of run {tests.attrs['run']} at step {tests.attrs['step']}."


# Components and decoders (A0 to A3)


def pca_claim(components: xr.Dataset) -> Claim:
    """How many components hold the variance of the states."""
    needed, first = components.n_components.values, float(components.explained[0])
    text = (
        f"{needed[0]} of {components.sizes['pc']} components hold 90 % of the variance of the cells’ states "
        f"({needed[1]} hold 95 %, {needed[2]} hold 99 %); PC1 holds {percent(first)}."
    )
    cells = {"n": components.attrs["cells"], "unit": "cells"}
    rows = [
        {"quantity": "components", "measure": f"{share} % of the variance", "value": int(n), **cells}
        for share, n in zip(components.share.values, needed, strict=True)
    ]
    rows.append({"quantity": "PC1", "measure": "share of the variance", "value": first, **cells})
    channels = plural(components.sizes["channel"], f"{components.attrs['channels']} channel".removeprefix("all "))
    scaling = {"raw": "raw", "zscore": "z-scored"}[components.attrs["scaling"]]
    return _claim(text, rows, f"PCA of {channels}, {scaling} and centred, at step {components.attrs['step']}.")


def position_claims(axes: AxesResult) -> list[Claim]:
    """A0 to A2: PC1 and the head-tail axis, gradients, decoders, and how far runs repeat each other."""
    position = _null_table(axes.position, "surrogates")
    claims = [_headline(axes, position), _gradients(axes, position[position.measure == "plane_r2"])]
    horseshoe = position[position.measure == "horseshoe"]
    if _clear(horseshoe):
        claims.append(
            _claim("PC2 is largely a fold of PC1 (a horseshoe), so it need not be an axis of its own.", horseshoe)
        )
    decoders = position[position.measure == "r2"]
    clear = _clear(decoders)
    found = f"A cell’s state encodes {list_quantities(clear)} beyond what smooth fields do (linear decoder, q ≤ 0.05)."
    none = "No position quantity can be decoded linearly from a cell’s state beyond what smooth fields allow."
    note = "R² below 0 means that there is no linear coordinate, not that cells lack positional information."
    claims.append(_claim((found if clear else none) + _undecided(decoders), decoders, note, decodable=clear))
    if axes.runs and axes.runs.sizes["run"] > 1:
        claims.append(_reproducibility(axes.runs))
    return claims


def _headline(axes: AxesResult, position: pd.DataFrame) -> Claim:
    by_statistic = {(r.quantity, r.measure): r for r in position.itertuples()}
    pc1, s = by_statistic.get(("PC1", "rank_correlation")), by_statistic.get(("s", "r2"))
    parts, rows, note = [], [], ""
    if pc1 is not None:
        rho, q = number(pc1.value), probability(pc1.q)
        if pc1.q <= ALPHA:
            parts.append(f"PC1 is radial: its rank correlation with the distance from the seed is {rho} (q = {q})")
            note = "Growth alone can make a component radial: cells nearer the seed are older (see the weight shuffle)."
        else:
            parts.append(f"PC1 is no more radial than smooth random fields (rank correlation {rho}, q = {q})")
        rows.append(pc1._asdict())
    radius = axes.pca_runs.radius_correlation.sel(pc=1).values if axes.pca_runs else np.asarray([])
    if len(radius) > 1:
        spread = {"value": np.median(radius), "low": radius.min(), "high": radius.max()}
        rows.append(
            {"quantity": "PC1", "measure": "rank_correlation over runs", **spread, "n": len(radius), "unit": "runs"}
        )
    if s is not None:
        r2 = f"R² = {number(s.value)}, q = {probability(s.q)}"
        if s.value <= 0:
            parts.append(f"position along the body cannot be decoded linearly (R² = {number(s.value)})")
        elif s.q <= ALPHA:
            parts.append(f"position along the body is decodable beyond what smooth fields allow ({r2})")
        else:
            parts.append(f"position along the body is decodable, but as well from smooth fields ({r2})")
        rows.append(s._asdict())
    rows = [{k: v for k, v in row.items() if k != "Index"} for row in rows]
    text = "; ".join(parts) + "."
    return _claim(text[0].upper() + text[1:], rows, note or _origin(axes.position))


def _gradients(axes: AxesResult, planes: pd.DataFrame) -> Claim:
    clear = _clear(planes)
    angles = {pc: float(axes.pca.plane_angle.isel(run=0).sel(pc=int(pc[2:]))) for pc in clear}
    slopes = list_words([f"{pc} (along {angle:.0f}°)" for pc, angle in angles.items()])
    found = f"More linear in position than smooth random fields: {slopes}; angles run from x towards y (down)."
    none = "No component is more linear in position than smooth random fields (all q > 0.05)."
    return _claim((found if clear else none) + _undecided(planes), planes, _origin(axes.position), angles=angles)


def _reproducibility(runs: xr.Dataset) -> Claim:
    rows = []
    for q in runs.quantity.values:
        for measure in ("left_out_r2", "r2"):
            values = runs[measure].sel(quantity=q).dropna("run").values
            if len(values):
                spread = {"value": values.mean(), "low": values.min(), "high": values.max()}
                rows.append({"quantity": q, "measure": measure, **spread, "n": len(values), "unit": "runs"})
    means = ", ".join(f"{r['quantity']} {number(r['value'])}" for r in rows if r["measure"] == "left_out_r2")
    text = f"Runs of this network repeat each other: decoders fitted on the other runs reach R² of {means}."
    return _claim(
        text, rows, "This is reproducibility, not a code of position: one frozen random field would do as well."
    )


def shape_and_colour_claims(tests: xr.Dataset) -> list[Claim]:
    """A3: what hidden states add to shape, and to colour."""
    claims = []
    for covariate, label in (("shape", "the body’s shape"), ("colour", "a cell’s colour and alpha")):
        rows = _null_table(tests, "surrogates", f"over_{covariate}")
        r2 = tests.sel(measure=f"over_{covariate}").sel(quantity=list(rows.quantity))
        hidden, alone = (dict(zip(rows.quantity, v.values, strict=True)) for v in (r2.r2_hidden, r2.r2_covariate))
        clear, better = _clear(rows), [q for q in rows.quantity if alone[q] > max(0.0, hidden[q])]
        text = (
            f"Hidden states improve the decoding of {list_quantities(clear)} over {label}."
            if clear
            else f"Hidden states add no more to {label} than smooth fields would."
        ) + _undecided(rows)
        if better:
            text += f" Alone, {covariate} decodes {list_quantities(better)} better than hidden states do."
        single = [
            {"quantity": q, "measure": f"r2 of {name} alone", "value": values[q]}
            for name, values in ((covariate, alone), ("hidden states", hidden))
            for q in rows.quantity
        ]
        claims.append(
            _claim(text, [*rows.to_dict("records"), *single], _origin(tests), added=clear, better_alone=better)
        )
    return claims


def pca_claims(components: xr.Dataset) -> list[Claim]:
    """Components by themselves: numbers without a null, so no claim about axes."""
    claims = [pca_claim(components)]
    for pc in components.pc.values[:SHOWN]:
        values = components.isel(run=0).sel(pc=pc)
        names = ("explained", "radius_correlation", "plane_r2", "plane_angle")
        share, radius, plane, angle = (float(values[name]) for name in names)
        text = (
            f"PC{pc}: {percent(share)} of the variance, |rank correlation| {number(radius)} with the distance from the "
            f"seed, plane R² {number(plane)} along {angle:.0f}°."
        )
        rows = [{"quantity": f"PC{pc}", "measure": name, "value": float(values[name])} for name in names]
        claims.append(_claim(text, rows, "How any smooth field would score is shown by nca axes."))
    return claims


# Origin: weight shuffle (A4) and time course


def weight_shuffle_claim(tests: xr.Dataset) -> Claim:
    """A4: the trained rule against shuffled weights."""
    rows = _null_table(tests, "weight_shuffles")
    r2, excess = rows[rows.measure == "r2"], rows[rows.measure == "excess"]
    clear = _clear(r2)
    beyond = [q for q in clear if q in _clear(excess)]
    free = [str(q) for q in r2.quantity[r2.null_median > r2.value.clip(lower=0)]]
    only = "" if beyond == clear else f"; beyond smoothness this holds only of {list_quantities(beyond)}"
    text = (
        f"Training made the code of {list_quantities(clear)}: shuffled weights on the same alive sites encode "
        f"less{only}."
        if clear
        else "No code of position needed training: shuffled weights on the same alive sites encode as much."
    ) + _undecided(r2)
    if free:
        text += f" Shuffled weights encode {list_quantities(free)} better than the trained ones."
    return _claim(text, rows, _origin(tests), trained=clear, beyond_smoothness=beyond, free=free)


def time_course_claims(course: xr.Dataset, position: xr.Dataset) -> list[Claim]:
    """When codes arise, and how much of the radial one is a clock.

    A code that lasts is present at the last step, whose `position` tests are FDR-corrected: none is said to last that
    they do not find. By the uncorrected time course alone, 28 % of bodies without a code would have one.
    """
    claims = []
    radius = course.sel(quantity="radius").dropna("step", subset=["r2"])
    if radius.sizes["step"]:
        claims.append(_clock_claim(radius))
    decodable = _clear(_null_table(position, "surrogates", "r2")) if position else []
    onsets = {}
    for q in decodable:
        results = course.sel(quantity=q)
        present = ((results.p <= ALPHA) & (results.r2 > 0)).values
        lasting = [int(step) for k, step in enumerate(course.step.values) if present[k:].all()]
        if lasting:
            onsets[q] = lasting[0]
    text = (
        "Codes that last arise at " + list_words([f"step {s} ({LONG_LABELS[q]})" for q, s in onsets.items()]) + "."
        if onsets
        else "No code that is found in the grown body lasts from an earlier step on."
    )
    steps = {"n": course.sizes["step"], "unit": "steps"}
    rows = [{"quantity": q, "measure": "onset", "value": step, **steps} for q, step in onsets.items()]
    note = (
        f"A code lasts from a step on if R² is above 0 and p ≤ 0.05 (not corrected, {course.attrs['surrogates']} "
        "surrogates) at each of the steps examined, and q ≤ 0.05 in the grown body."
    )
    return [*claims, _claim(text, rows, note, onsets=onsets)]


def _clock_claim(radius: xr.Dataset) -> Claim:
    """Whether states encode more of the radius than a cell's age does."""
    peak, last = radius.isel(step=int(radius.r2_age.fillna(-np.inf).argmax("step"))), radius.isel(step=-1)
    age, states = float(peak.r2_age), float(peak.r2)
    beyond = states > 0 and float(peak.gain) > 0 and float(peak.p_gain) <= ALPHA
    if age > max(0.0, states):
        verdict = "The age of a cell explains the code of the radius"
    else:
        verdict = "The radius is more than a clock" if beyond else "It is open whether the radius is more than a clock"
    text = (
        f"{verdict}: at step {int(peak.step)}, age alone decodes it at R² = {number(age)}, states at {number(states)}."
    )
    rows = []
    for at in (peak, last):
        where = {"quantity": "radius", "n": radius.attrs["surrogates"], "unit": "surrogates"}
        null = {"null_median": float(at.gain_median), "null_low": float(at.gain_low), "null_high": float(at.gain_high)}
        rows += [
            {**where, "measure": f"r2 at step {int(at.step)}", "value": float(at.r2), "p": float(at.p)}
            | {f"null_{end}": float(at[f"null_{end}"]) for end in ("median", "low", "high")},
            {"quantity": "radius", "measure": f"r2 of age alone at step {int(at.step)}", "value": float(at.r2_age)},
            {
                **where,
                "measure": f"r2 added to age at step {int(at.step)}",
                "value": float(at.gain),
                "p": float(at.p_gain),
            }
            | null,
            {"quantity": "age", "measure": f"r2 at step {int(at.step)}", "value": float(at.age_r2)},
        ]
    rows = rows[:4] if int(peak.step) == int(last.step) else rows
    return _claim(text, rows, "The age of a cell is the number of steps since it became mature.", step=int(peak.step))


# Use (A6)


def intervention_claims(pushes: xr.Dataset, projections: xr.Dataset) -> list[Claim]:
    """A6: pushes along the code, and states without it."""
    claims = []
    note = "Uniform pushes relax even where a code is used: what decides is whether fate follows grafted states."
    if pushes:
        rows = _null_table(pushes, "random_directions")
        mse, left = rows[rows.measure == "mse"], rows[rows.measure == "share_left"]
        text = (
            f"A push along the code of {list_quantities(_clear(mse))} changes the body more than random pushes of the "
            "same norm."
            if _clear(mse)
            else "Pushes along the codes of position change the body no more than random pushes of the same norm."
        ) + _undecided(mse)
        if _clear(left):
            text += f" A push along the code of {list_quantities(_clear(left))} lasts longer than random ones."
        claims.append(_claim(text, rows, note, effective=_clear(mse), lasting=_clear(left)))
    if projections:
        rows = _null_table(projections, "null_planes")
        excluded, restricted = rows[rows.measure == "excluded_loss"], rows[rows.measure == "restricted_loss"]
        needed, sufficient = _clear(excluded), list(restricted.quantity[restricted.q <= ALPHA])
        text = (
            f"The body loses more without the plane that encodes {list_words(needed)} than without null planes."
            if needed
            else "The body loses no more without the planes that encode position than without null planes."
        ) + _undecided(excluded)
        if sufficient:
            text += f" With the plane of {list_words(sufficient)} alone it loses less than with a null plane alone."
        claims.append(_claim(text, rows, note, needed=needed, sufficient=sufficient))
    return claims


# Compass or map (A7)


def rotation_claims(perception: xr.Dataset, states: xr.Dataset) -> list[Claim]:
    """A7: does the body follow its compass, or carry its own frame?"""
    claims = []
    if perception and perception.attrs["isotropic"]:
        change = float(perception.max_change.isel(angle=slice(1, None)).max())
        text = f"Its perception has no direction: rotating it changes {'nothing' if change == 0 else 'the body'}."
        runs = {"n": perception.sizes["run"], "unit": "runs"}
        claims.append(_claim(text, [{"quantity": "state", "measure": "largest change", "value": change, **runs}]))
    elif perception:
        claims.append(_perception_claim(perception))
    if states:
        claims.append(_state_claim(states))
    return claims


def _perception_claim(perception: xr.Dataset) -> Claim:
    deviation = {
        n: (perception[n] - perception.angle + 180) % 360 - 180 for n in ("body_rotation", "gradient_rotation")
    }
    rows, follows = [], []
    for angle in perception.angle.values:
        match = float(perception.match.sel(angle=angle).mean())
        for name, values in deviation.items():
            rows.append(_angle_row(angle, f"deviation of {name}", values.sel(angle=angle).values, "median"))
        rows.append(_angle_row(angle, "match", perception.match.sel(angle=angle).values, "mean"))
        if match > 0.5 and float(np.abs(deviation["body_rotation"].sel(angle=angle)).max()) <= 15:
            follows.append(float(angle))
    tested = [float(a) for a in perception.angle.values[1:]]
    follows = [a for a in follows if a in tested]
    if follows == tested:
        text = "The body follows its compass: with a rotated perception it grows rotated by the same angle."
    elif follows:
        at = list_words([f"{a:g}°" for a in follows])
        text = f"With a rotated perception the body grows rotated by the same angle at {at}, not at the other angles."
    else:
        text = "With a rotated perception no body of the same shape grows rotated by that angle."
    return _claim(text, rows, "At 0° the body is compared with that of another run.", follows=follows)


def _state_claim(states: xr.Dataset) -> Claim:
    angles = [float(a) for a in states.angle.values[1:]]
    rotated, upright = (
        {a: float(states[name].sel(angle=a).median()) for a in angles}
        for name in ("fitness_rotated", "fitness_upright")
    )
    if all(w >= 0.9 for w in rotated.values()):
        text = "A rotated body stays rotated: it carries its own frame."
    elif all(w >= 0.9 for w in upright.values()):
        text = "A rotated body returns to the direction of its compass."
    elif all(max(rotated[a], np.nan_to_num(upright[a])) < 0.5 for a in angles):
        text = "A rotated body is lost under an unrotated perception: state and compass must agree."
    else:
        text = "Under an unrotated perception, a rotated body neither stays rotated nor returns completely."
    rows = [
        _angle_row(angle, name, states[name].sel(angle=angle).values, "median")
        for angle in states.angle.values
        for name in ("fitness_rotated", "fitness_upright", "mature_cells")
    ]
    steps = states.attrs["eval_steps"]
    note = f"Fitness {steps} steps later, relative to the control; at 0°, relative to other fire masks."
    return _claim(text, rows, note, fitness_rotated=rotated, fitness_upright=upright)


def _angle_row(angle: float, measure: str, values: np.ndarray, average: str) -> dict[str, Any]:
    """A row of evidence of the runs at one angle; those that are not defined are left out."""
    known = values[np.isfinite(values)]
    row: dict[str, Any] = {"quantity": f"{angle:g}°", "measure": measure, "n": len(known), "unit": "runs"}
    if len(known):
        row |= {
            "value": np.mean(known) if average == "mean" else np.median(known),
            "low": known.min(),
            "high": known.max(),
        }
    return row

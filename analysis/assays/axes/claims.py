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
from analysis.report.format import join_words, number, percent, plural, probability
from analysis.report.model import Claim, evidence

ALPHA = 0.05
LONG_LABELS = {
    "x": "left-right position (x)",
    "y": "up-down position (y)",
    "s": "position along the body (s)",
    "radius": "distance from the seed",
    "edge": "distance to the edge",
}
_HEADLINES = {
    "pc1": {
        "clear": "PC1 is radial: its rank correlation with the distance from the seed is |ρ| = {} (q = {})",
        "undecided": "it is open whether PC1 is radial: too few surrogates (rank correlation |ρ| = {}, q = {})",
        "none": "PC1 is no more radial than smooth random fields (rank correlation |ρ| = {}, q = {})",
        "below 0": "PC1 is not radial (rank correlation |ρ| = {})",
    },
    "s": {
        "clear": "position along the body is decodable beyond what smooth fields allow (R² = {}, q = {})",
        "undecided": "it is open whether position along the body is encoded: too few surrogates (R² = {}, q = {})",
        "none": "position along the body is decodable, but as well from smooth fields (R² = {}, q = {})",
        "below 0": "position along the body cannot be decoded linearly (R² = {})",
    },
}


def _join(quantities: Sequence[str]) -> str:
    """Long labels of quantities as a phrase."""
    return join_words([LONG_LABELS.get(q, q) for q in quantities]) or "nothing"


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


def _undecided(rows: pd.DataFrame) -> list[str]:
    """Quantities that so few null draws cannot decide on."""
    return [str(q) for q in rows.quantity[(rows.q > ALPHA) & (rows.p <= 1 / (rows.n + 1) + 1e-9) & (rows.value > 0)]]


def _verdict(rows: pd.DataFrame, positive: str, negative: str) -> str:
    """A sentence on the quantities that are clear of their null, which take the place of {}; the negative sentence
    where there are none; and a sentence on those that cannot be decided on."""
    clear, undecided = _clear(rows), _undecided(rows)
    sentences = [positive.format(_join(clear))] if clear else [] if undecided else [negative]
    if undecided:
        sentences.append(f"{rows.n.iloc[0]} {rows.unit.iloc[0]} are too few to decide on {_join(undecided)}.")
    return " ".join(sentences)


def _runs_row(quantity: str, measure: str, values: np.ndarray, average: Any = np.median) -> dict[str, Any]:
    """A row of evidence: the average and the range over runs; those that are not defined are left out."""
    known = values[np.isfinite(values)]
    row = {"quantity": quantity, "measure": measure, "n": len(known), "unit": "runs"}
    return row | ({"value": average(known), "low": known.min(), "high": known.max()} if len(known) else {})


def _claim(text: str, rows: pd.DataFrame | Sequence[Mapping[str, Any]], note: str = "", **numbers: Any) -> Claim:
    records: Any = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    return Claim("axes", text, evidence(*records), numbers, note)


def _origin(tests: xr.Dataset) -> str:
    return f"{tests.attrs['cells']} cells of run {tests.attrs['run']} at step {tests.attrs['step']}."


def network_claims(axes: AxesResult) -> dict[str, list[Claim]]:
    """Claims on one organism by section; a section whose parts were not run has none."""
    shape_and_colour = _shape_and_colour_claims(axes.shape_and_colour) if axes.shape_and_colour else []
    return {
        "axes": _position_claims(axes) + shape_and_colour,
        "weight-shuffle": _origin_claims(axes.weight_shuffle, axes.time_course, axes.position),
        "interventions": _intervention_claims(axes.pushes, axes.projections),
        "rotation-test": _rotation_claims(axes.rotated_perception, axes.rotated_states),
    }


# Components and decoders (A0 to A3)


def _pca_claim(components: xr.Dataset) -> Claim:
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


def _position_claims(axes: AxesResult) -> list[Claim]:
    """A0 to A2: PC1 and the head-tail axis, components, gradients, decoders, and how far runs repeat each other."""
    claims = [_pca_claim(axes.pca)] if axes.pca else []
    if not axes.position:
        return claims
    position = _null_table(axes.position, "surrogates")
    claims = [_headline(axes, position), *claims, _gradients(axes, position[position.measure == "plane_r2"])]
    horseshoe = position[position.measure == "horseshoe"]
    if _clear(horseshoe):
        text = "PC2 is largely a fold of PC1 (a horseshoe), so it need not be an axis of its own."
        claims.append(_claim(text, horseshoe))
    decoders = position[position.measure == "r2"]
    text = _verdict(
        decoders,
        "A cell’s state encodes {} beyond what smooth fields do (linear decoder, q ≤ 0.05).",
        "No position quantity can be decoded linearly from a cell’s state beyond what smooth fields allow.",
    )
    note = "R² below 0 means that there is no linear coordinate, not that cells lack positional information."
    claims.append(_claim(text, decoders, note, decodable=_clear(decoders)))
    if axes.runs and axes.runs.sizes["run"] > 1:
        claims.append(_reproducibility(axes.runs))
    return claims


def _headline(axes: AxesResult, position: pd.DataFrame) -> Claim:
    """PC1 and the head-tail axis."""
    pc1 = position[(position.quantity == "PC1") & (position.measure == "rank_correlation")]
    s = position[(position.quantity == "s") & (position.measure == "r2")]
    parts = []
    for name, rows in (("pc1", pc1), ("s", s)):
        if len(rows):
            outcome = "clear" if _clear(rows) else "undecided" if _undecided(rows) else "none"
            outcome = "below 0" if rows.value.iloc[0] <= 0 else outcome
            parts.append(_HEADLINES[name][outcome].format(number(rows.value.iloc[0]), probability(rows.q.iloc[0])))
    note = "Growth alone can make a component radial: cells nearer the seed are older (see the weight shuffle)."
    records: list[dict[str, Any]] = pd.concat([pc1, s]).to_dict("records")
    if axes.pca_runs and axes.pca_runs.sizes["run"] > 1:
        radius = axes.pca_runs.radius_correlation.sel(pc=1).values
        records.append(_runs_row("PC1", "rank_correlation over runs", radius))
    text = "; ".join(parts) + "."
    return _claim(text[0].upper() + text[1:], records, note if _clear(pc1) else _origin(axes.position))


def _gradients(axes: AxesResult, planes: pd.DataFrame) -> Claim:
    angles = {pc: float(axes.pca.plane_angle.isel(run=0).sel(pc=int(pc[2:]))) for pc in _clear(planes)}
    along = join_words([f"{angle:.0f}°" for angle in angles.values()])
    text = _verdict(
        planes,
        f"{{}} is more linear in position than smooth random fields, along {along} (from x towards y, down).",
        "No component is more linear in position than smooth random fields (all q > 0.05).",
    )
    return _claim(text, planes, _origin(axes.position), angles=angles)


def _reproducibility(runs: xr.Dataset) -> Claim:
    measures = ("left_out_r2", "r2")
    rows = [
        _runs_row(str(q), measure, runs[measure].sel(quantity=q).values, np.mean)
        for q in runs.quantity.values
        for measure in measures
    ]
    rows = [row for row in rows if row["n"]]
    means = ", ".join(f"{r['quantity']} {number(r['value'])}" for r in rows if r["measure"] == "left_out_r2")
    text = f"Runs of this network repeat each other: decoders fitted on the other runs reach R² of {means}."
    note = "This is reproducibility, not a code of position: one frozen random field would do as well."
    return _claim(text, rows, note)


def _shape_and_colour_claims(tests: xr.Dataset) -> list[Claim]:
    """A3: what hidden states add to shape, and to colour."""
    claims = []
    for covariate, label in (("shape", "the body’s shape"), ("colour", "a cell’s colour and alpha")):
        rows = _null_table(tests, "surrogates", f"over_{covariate}")
        r2 = tests.sel(measure=f"over_{covariate}").sel(quantity=list(rows.quantity))
        hidden, alone = (dict(zip(rows.quantity, v.values, strict=True)) for v in (r2.r2_hidden, r2.r2_covariate))
        better = [q for q in rows.quantity if alone[q] > max(0.0, hidden[q])]
        text = _verdict(
            rows,
            f"Hidden states improve the decoding of {{}} over {label}.",
            f"Hidden states add no more to {label} than smooth fields would.",
        )
        if better:
            text += f" Alone, {covariate} decodes {_join(better)} better than hidden states do."
        single = [
            {"quantity": q, "measure": f"r2 of {name} alone", "value": values[q]}
            for name, values in ((covariate, alone), ("hidden states", hidden))
            for q in rows.quantity
        ]
        numbers = {"added": _clear(rows), "better_alone": better}
        claims.append(_claim(text, [*rows.to_dict("records"), *single], _origin(tests), **numbers))
    return claims


def pca_claims(components: xr.Dataset) -> list[Claim]:
    """Components by themselves: numbers without a null, so no claim about axes."""
    claims = [_pca_claim(components)]
    for pc in components.pc.values[:SHOWN]:
        values = components.isel(run=0).sel(pc=pc)
        names = ("explained", "radius_correlation", "plane_r2", "plane_angle")
        share, radius, plane, angle = (float(values[name]) for name in names)
        text = (
            f"PC{pc}: {percent(share)} of the variance, rank correlation |ρ| = {number(radius)} with the distance "
            f"from the seed, plane R² {number(plane)} along {angle:.0f}°."
        )
        rows = [{"quantity": f"PC{pc}", "measure": name, "value": float(values[name])} for name in names]
        claims.append(_claim(text, rows, "How any smooth field would score is shown by nca axes."))
    return claims


# Origin: weight shuffle (A4) and time course


def _weight_shuffle_claim(tests: xr.Dataset) -> Claim:
    """A4: the trained rule against shuffled weights."""
    rows = _null_table(tests, "weight_shuffles")
    r2, excess = rows[rows.measure == "r2"], rows[rows.measure == "excess"]
    clear = _clear(r2)
    beyond = [q for q in clear if q in _clear(excess)]
    free = [str(q) for q in r2.quantity[r2.null_median > r2.value.clip(lower=0)]]
    only = "" if beyond == clear else f"; beyond smoothness this holds only of {_join(beyond)}"
    text = _verdict(
        r2,
        f"Training made the code of {{}}: shuffled weights on the same alive sites encode less{only}.",
        "No code of position needed training: shuffled weights on the same alive sites encode as much.",
    )
    if free:
        text += f" Shuffled weights encode {_join(free)} better than the trained ones."
    return _claim(text, rows, _origin(tests), trained=clear, beyond_smoothness=beyond, free=free)


def _origin_claims(weight_shuffle: xr.Dataset, course: xr.Dataset, position: xr.Dataset) -> list[Claim]:
    """A4 and the time course: where the code comes from."""
    claims = [_weight_shuffle_claim(weight_shuffle)] if weight_shuffle else []
    if course:
        radius = course.sel(quantity="radius").dropna("step", subset=["r2"])
        claims += [_clock_claim(radius)] if radius.sizes["step"] else []
        claims.append(_onset_claim(course, position))
    return claims


def _onset_claim(course: xr.Dataset, position: xr.Dataset) -> Claim:
    """When codes arise.

    A code that lasts is present at the last step, whose `position` tests are FDR-corrected: none is said to last that
    they do not find. By the uncorrected time course alone, 28 % of bodies without a code would have one.
    """
    decodable = _clear(_null_table(position, "surrogates", "r2")) if position else []
    onsets = {}
    for q in decodable:
        results = course.sel(quantity=q)
        present = ((results.p <= ALPHA) & (results.r2 > 0)).values
        lasting = [int(step) for k, step in enumerate(course.step.values) if present[k:].all()]
        if lasting:
            onsets[q] = lasting[0]
    text = (
        "Codes that last arise at " + join_words([f"step {s} ({LONG_LABELS[q]})" for q, s in onsets.items()]) + "."
        if onsets
        else "No code that is found in the grown body lasts from an earlier step on."
    )
    steps = {"n": course.sizes["step"], "unit": "steps"}
    rows = [{"quantity": q, "measure": "onset", "value": step, **steps} for q, step in onsets.items()]
    note = (
        f"A code lasts from a step on if R² is above 0 and p ≤ 0.05 (not corrected, {course.attrs['surrogates']} "
        "surrogates) at each of the steps examined, and q ≤ 0.05 in the grown body."
    )
    return _claim(text, rows, note, onsets=onsets)


def _clock_claim(radius: xr.Dataset) -> Claim:
    """Whether states encode more of the radius than a cell's age does."""
    peak, last = radius.isel(step=int(radius.r2_age.fillna(-np.inf).argmax("step"))), radius.isel(step=-1)
    age, states = float(peak.r2_age), float(peak.r2)
    beyond = states > 0 and float(peak.gain) > 0 and float(peak.p_gain) <= ALPHA
    if age > max(0.0, states):
        verdict = "A clock of cell age decodes the radius at least as well as states do"
    else:
        verdict = "The radius is more than a clock" if beyond else "It is open whether the radius is more than a clock"
    text = (
        f"{verdict}: at step {int(peak.step)}, age alone decodes it at R² = {number(age)}, states at {number(states)}."
    )
    rows = []
    for at in [peak, last][: 1 + (int(peak.step) < int(last.step))]:
        step, draws = f"at step {int(at.step)}", {"n": radius.attrs["surrogates"], "unit": "surrogates"}
        for label, name, p, null in (
            ("r2 of states", "r2", "p", "null"),
            ("r2 added to age", "gain", "p_gain", "gain"),
        ):
            ends = {f"null_{end}": float(at[f"{null}_{end}"]) for end in ("median", "low", "high")}
            value = {"value": float(at[name]), **ends, "p": float(at[p]), **draws}
            rows.append({"quantity": "radius", "measure": f"{label} {step}", **value})
        rows.append({"quantity": "radius", "measure": f"r2 of age {step}", "value": float(at.r2_age)})
        rows.append({"quantity": "age", "measure": f"r2 of states {step}", "value": float(at.age_r2)})
    return _claim(text, rows, "The age of a cell is the number of steps since it became mature.", step=int(peak.step))


# Use (A6)


def _intervention_claims(pushes: xr.Dataset, projections: xr.Dataset) -> list[Claim]:
    """A6: pushes along the code, and states without it."""
    claims = []
    note = "Uniform pushes relax even where a code is used: what decides is whether fate follows grafted states."
    if pushes:
        rows = _null_table(pushes, "random_directions")
        mse, left = rows[rows.measure == "mse"], rows[rows.measure == "share_left"]
        text = _verdict(
            mse,
            "A push along the code of {} changes the body more than random pushes of the same norm.",
            "Pushes along the codes of position change the body no more than random pushes of the same norm.",
        )
        if _clear(left):
            text += f" A push along the code of {_join(_clear(left))} lasts longer than random ones."
        claims.append(_claim(text, rows, note, effective=_clear(mse), lasting=_clear(left)))
    if projections:
        rows = _null_table(projections, "null_planes")
        excluded, restricted = rows[rows.measure == "excluded_loss"], rows[rows.measure == "restricted_loss"]
        sufficient = list(restricted.quantity[restricted.q <= ALPHA])
        text = _verdict(
            excluded,
            "The body loses more without the plane that encodes {} than without null planes.",
            "The body loses no more without the planes that encode position than without null planes.",
        )
        if sufficient:
            text += f" With the plane of {join_words(sufficient)} alone it loses less than with a null plane alone."
        claims.append(_claim(text, rows, note, needed=_clear(excluded), sufficient=sufficient))
    return claims


# Compass or map (A7)


def _rotation_claims(perception: xr.Dataset, states: xr.Dataset) -> list[Claim]:
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
    rows, follows, tested = [], [], [float(a) for a in perception.angle.values[1:]]
    for angle in perception.angle.values:
        values = {f"deviation of {name}": d for name, d in deviation.items()} | {"match": perception.match}
        rows += [_runs_row(f"{angle:g}°", name, v.sel(angle=angle).values) for name, v in values.items()]
        largest = float(np.abs(deviation["body_rotation"].sel(angle=angle)).max())
        if angle in tested and float(perception.match.sel(angle=angle).mean()) > 0.5 and largest <= 15:
            follows.append(float(angle))
    if follows == tested:
        text = "The body follows its compass: with a rotated perception it grows rotated by the same angle."
    elif follows:
        at = join_words([f"{a:g}°" for a in follows])
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
        _runs_row(f"{angle:g}°", name, states[name].sel(angle=angle).values)
        for angle in states.angle.values
        for name in ("fitness_rotated", "fitness_upright", "mature_cells")
    ]
    steps = states.attrs["eval_steps"]
    note = f"Fitness {steps} steps later, relative to the control; at 0°, relative to other fire masks."
    return _claim(text, rows, note, fitness_rotated=rotated, fitness_upright=upright)

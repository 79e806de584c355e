"""What the axes assay shows, in one network or in several: one claim per question, with its evidence as a table.

A quantity counts where q ≤ 0.05 and, for R², where R² itself is above 0: of two decoders that are both worse than
guessing the mean, none is called better. Where p is as small as the number of null draws allows and q is
still above 0.05, the claim says that this number cannot decide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis.assays.axes.decoding import PLANTED_SHARES
from analysis.assays.axes.pca import SHOWN
from analysis.report.format import join_words, number, percent, plural, probability
from analysis.report.model import Answer, Claim, evidence, surprise

Results = Mapping[str, Any]
_ALPHA = 0.05
_NONE_FOUND = f"more than {percent(PLANTED_SHARES[-1])}"
_LABELS = {
    "x": "left-right position (x)",
    "y": "up-down position (y)",
    "s": "position along the body (s)",
    "radius": "distance from the seed",
    "edge": "distance to the edge",
}
_RADIAL = {  # by whether training makes PC1 more radial than shuffled weights do
    True: "Training makes PC1 radial: |ρ| = {} with the trained weights, {} with shuffled ones (median).",
    False: "PC1 needs no training to be radial: |ρ| = {} with the trained weights, {} with shuffled ones (median).",
}
_HEADLINES = {
    ("PC1", "rank_correlation"): {
        "clear": "PC1 is radial: its rank correlation with the distance from the seed is |ρ| = {} (q = {})",
        "undecided": "{n} surrogates cannot tell whether PC1 is radial (rank correlation |ρ| = {}, q = {})",
        "none": "PC1 is no more radial than smooth random fields (rank correlation |ρ| = {}, q = {})",
        "below 0": "PC1 is not radial (rank correlation |ρ| = {})",
    },
    ("s", "r2"): {
        "clear": "position along the body is decodable beyond what smooth fields allow (R² = {}, q = {})",
        "undecided": "{n} surrogates cannot tell whether position along the body is encoded (R² = {}, q = {})",
        "none": "position along the body is decoded no better than from smooth fields (R² = {}, q = {})",
        "below 0": "position along the body cannot be decoded linearly (R² = {})",
    },
}


# Evidence


def _claim(text: str, rows: pd.DataFrame | Sequence[Mapping[str, Any]], note: str = "", **numbers: Any) -> Claim:
    records: Any = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    return Claim("axes", text, evidence(*records, null_interval="5 to 95 %"), numbers, note)


def _null_rows(tests: xr.Dataset, draws: str, *measures: str) -> pd.DataFrame:
    """Rows of evidence from null tests, of some measures or all; what is not defined is left out.

    Args:
        tests: of `null_tests`.
        draws: attribute that holds the number of null draws, and what they are called.
        *measures: names of measures.
    """
    frame = tests[["observed", "null_median", "null_low", "null_high", "p", "q"]].to_dataframe().reset_index()
    frame = frame[frame.p.notna() & (frame.measure.isin(measures) if measures else True)]
    return frame.rename(columns={"observed": "value"}).assign(n=tests.attrs[draws], unit=draws.replace("_", " "))


def _rows(values: Mapping[tuple[str, str], float], **columns: Any) -> list[dict[str, Any]]:
    """Rows of evidence from values by (quantity, measure), with columns that all of them share."""
    return [{"quantity": q, "measure": measure, "value": v} | columns for (q, measure), v in values.items()]


def _runs_rows(values: Mapping[tuple[str, str], xr.DataArray], average: Any = np.median) -> list[dict[str, Any]]:
    """Rows of evidence: the average and the range over runs; those that are not defined are left out."""
    rows = []
    for (quantity, measure), over_runs in values.items():
        known = over_runs.values[np.isfinite(over_runs.values)]
        row = {"quantity": quantity, "measure": measure, "n": len(known), "unit": "runs"}
        rows.append(row | ({"value": average(known), "low": known.min(), "high": known.max()} if len(known) else {}))
    return rows


def _null_ends(draws: xr.DataArray) -> dict[str, float]:
    return dict(zip(("null_low", "null_median", "null_high"), np.quantile(draws, [0.05, 0.5, 0.95]), strict=True))


def _origin(tests: xr.Dataset) -> str:
    return f"{tests.attrs['cells']} cells of run {tests.attrs['run']} at step {tests.attrs['step']}."


# Sentences


def _join(quantities: Iterable[str]) -> str:
    """Long labels of quantities as a phrase."""
    return join_words([_LABELS.get(q, q) for q in quantities]) or "nothing"


def _clear(rows: pd.DataFrame) -> list[str]:
    """Quantities that are clear of their null."""
    return [str(q) for q in rows.quantity[(rows.q <= _ALPHA) & (rows.value > 0)]]


def _undecided(rows: pd.DataFrame) -> list[str]:
    """Quantities that so few null draws cannot decide on."""
    return [str(q) for q in rows.quantity[(rows.q > _ALPHA) & (rows.p <= 1 / (rows.n + 1) + 1e-9) & (rows.value > 0)]]


def _verdict(rows: pd.DataFrame, positive: str, negative: str) -> str:
    """A sentence on the quantities that are clear of their null, which take the place of {}; the negative sentence
    where there are none; and a sentence on those that cannot be decided on."""
    clear, undecided = _clear(rows), _undecided(rows)
    sentences = [positive.format(_join(clear))] if clear else [] if undecided else [negative]
    if undecided:
        sentences.append(f"{rows.n.iloc[0]} {rows.unit.iloc[0]} cannot tell about {_join(undecided)}.")
    return " ".join(sentences)


def _onsets(present: xr.DataArray, steps: Sequence[int]) -> dict[str, int]:
    """The step from which on each quantity is present at all of the steps; without those that are not at the last."""
    lasting = np.logical_and.accumulate(present.transpose("quantity", ...).values[:, ::-1], axis=1)[:, ::-1]
    rows = zip(present.quantity.values, lasting, strict=True)
    return {str(q): int(steps[row.argmax()]) for q, row in rows if row.any()}


def _join_onsets(onsets: Mapping[str, int]) -> str:
    return join_words([f"step {step} ({_LABELS[q]})" for q, step in onsets.items()])


# Components and decoders (A0 to A3)


def _pca_claim(results: Results) -> Iterator[Claim]:
    """How many components hold the variance of the states."""
    components = results["pca"]
    needed, first = components.n_components.values, float(components.explained[0])
    text = (
        f"{needed[0]} of {components.sizes['pc']} components hold 90 % of the variance of the cells’ states "
        f"({needed[1]} hold 95 %, {needed[2]} hold 99 %); PC1 holds {percent(first)}."
    )
    shares = zip(components.share.values, needed, strict=True)
    values = {("components", f"{share} % of the variance"): int(n) for share, n in shares}
    rows = _rows({**values, ("PC1", "share of the variance"): first}, n=components.attrs["cells"], unit="cells")
    channels = plural(components.sizes["channel"], f"{components.attrs['channels']} channel".removeprefix("all "))
    scaling = {"raw": "raw", "zscore": "z-scored"}[components.attrs["scaling"]]
    yield _claim(text, rows, f"PCA of {channels}, {scaling} and centred, at step {components.attrs['step']}.")


def _component_claims(results: Results) -> Iterator[Claim]:
    """Components by themselves: numbers without a null, so no claim about axes."""
    names = ("explained", "radius_correlation", "plane_r2", "plane_angle")
    for pc in results["pca"].pc.values[:SHOWN]:
        component = results["pca"].isel(run=0).sel(pc=pc)
        values = {(f"PC{pc}", name): float(component[name]) for name in names}
        share, radius, plane, angle = values.values()
        text = (
            f"PC{pc}: {percent(share)} of the variance, rank correlation |ρ| = {number(radius)} with the distance "
            f"from the seed, plane R² {number(plane)} along {angle:.0f}°."
        )
        yield _claim(text, _rows(values), "How any smooth field would score is shown by nca axes.")


def _headline(results: Results) -> Iterator[Claim]:
    """PC1 and the long axis of the body."""
    tests, runs = results["position"], results["pca_runs"]
    parts, records, note = [], [], _origin(tests)
    for (quantity, measure), templates in _HEADLINES.items():
        rows = _null_rows(tests, "surrogates", measure).query("quantity == @quantity")
        if len(rows):
            outcome = "clear" if _clear(rows) else "undecided" if _undecided(rows) else "none"
            outcome = "below 0" if rows.value.iloc[0] <= 0 else outcome
            value, q, n = rows.value.iloc[0], rows.q.iloc[0], rows.n.iloc[0]
            parts.append(templates[outcome].format(number(value), probability(q), n=n))
            records += rows.to_dict("records")
            if (quantity, outcome) == ("PC1", "clear"):
                note = "Growth alone can make a component radial: cells nearer the seed are older"
                note += " (see the weight shuffle)."
    if runs and runs.sizes["run"] > 1:
        records += _runs_rows({("PC1", "rank_correlation over runs"): runs.radius_correlation.sel(pc=1)})
    text = "; ".join(parts) + "."
    yield _claim(text[0].upper() + text[1:], records, note)


def _position_claims(results: Results) -> Iterator[Claim]:
    """A0 to A2: gradients and decoders."""
    tests = results["position"]
    planes, horseshoe, decoders = (_null_rows(tests, "surrogates", m) for m in ("plane_r2", "horseshoe", "r2"))
    angles = {pc: float(results["pca"].plane_angle.isel(run=0).sel(pc=int(pc[2:]))) for pc in _clear(planes)}
    along = join_words([f"{angle:.0f}°" for angle in angles.values()])
    text = _verdict(
        planes,
        f"{{}} is more linear in position than smooth random fields, along {along} (from x towards y, down).",
        "No component is more linear in position than smooth random fields (all q > 0.05).",
    )
    yield _claim(text, planes, _origin(tests), angles=angles)
    if _clear(horseshoe):
        yield _claim("PC2 is largely a fold of PC1 (a horseshoe), so it need not be an axis of its own.", horseshoe)
    text = _verdict(
        decoders,
        "A cell’s state encodes {} beyond what smooth fields do (linear decoder, q ≤ 0.05).",
        "No position quantity can be decoded linearly from a cell’s state beyond what smooth fields allow.",
    )
    note = "R² below 0 means that there is no linear coordinate, not that cells lack positional information."
    records, least = decoders.to_dict("records"), {}
    if results["sensitivity"]:
        least = {str(d): s for d, s in results["sensitivity"].least.to_series().items()}
        shares = [f"{percent(s) if s == s else _NONE_FOUND} along {direction}" for direction, s in least.items()]
        note += f" The least linear code of x that these tests find alone holds {' and '.join(shares)} of the variance."
        records += _rows({(f"x planted along {d}", "least share of the variance found"): s for d, s in least.items()})
    claim = _claim(text, records, note, decodable=_clear(decoders), least_found=least)
    yield replace(claim, answer=_position_answer(decoders, least))


def _position_answer(decoders: pd.DataFrame, least: Mapping[str, float]) -> Answer:
    """Which position a cell's state encodes most clearly, or how large a code would have been found."""
    figure, known = "position", decoders[decoders.quantity.isin(clear := _clear(decoders))]
    if clear:
        row = max(known.to_dict("records"), key=surprise)
        values = f"R² = {number(row['value'])} against {number(row['null_median'])}"
        straight = "" if {"x", "y", "s"} & {*clear, *_undecided(decoders)} else _no_axis(least)
        text = f"Cells encode {_LABELS[row['quantity']]} better than smooth random fields do ({values}){straight}."
        return Answer(text, "clear", figure, surprise(row))
    if undecided := _undecided(decoders):
        return Answer(f"{decoders.n.iloc[0]} surrogates cannot tell about {_join(undecided)}.", "cannot tell", figure)
    text, missed = (
        "Cells encode no position better than smooth random fields do",
        [share for share in least.values() if share != share],
    )
    if not least or missed:
        detail = f", but a code of {percent(PLANTED_SHARES[-1])} of the variance could be missed" if missed else ""
        return Answer(f"{text} that this test could find{detail}.", "cannot tell", figure)
    text += f"; a linear code of {percent(max(least.values()))} of the variance would have been found."
    return Answer(text, "clear", figure)


def _no_axis(least: Mapping[str, float]) -> str:
    """That no straight axis was found, with the weakest that would have been, in the easy and in the hard direction."""
    easy, hard = (percent(share) if share == share else _NONE_FOUND for share in least.values()) if least else ("", "")
    weakest = f" (weakest detectable: {easy} of the variance, along PC1 {hard})" if least else ""
    return f"; no straight axis was found{weakest}"


def _long_wave_claim(results: Results) -> Iterator[Claim]:
    """A2, second null: whether long waves are stronger than smoothness would have them."""
    tests = results["long_waves"]
    decoders = _null_rows(tests, "surrogates", "r2")
    text = _verdict(
        decoders,
        "Compared with fields whose long waves are only as strong as their shorter waves predict, cells encode {}.",
        "Even compared with fields whose long waves are only as strong as their shorter waves predict, cells encode no "
        "position.",
    )
    note = (
        "A gradient, a growth clock or a trunk unlike the limbs make long waves strong: this null names none of them."
    )
    yield _claim(text, decoders, f"{note} {_origin(tests)}", decodable=_clear(decoders))


def _reproducibility(results: Results) -> Iterator[Claim]:
    """A1: how far runs repeat each other."""
    runs = results["runs"]
    if results["position"] and runs.sizes["run"] > 1:
        values = {(str(q), m): runs[m].sel(quantity=q) for q in runs.quantity.values for m in ("left_out_r2", "r2")}
        rows = [row for row in _runs_rows(values, np.mean) if row["n"]]
        means = [(r["quantity"], r["value"]) for r in rows if r["measure"] == "left_out_r2" and r["value"] > 0]
        text = "No decoder fitted on the other runs of this network decodes position in a run (all R² ≤ 0)."
        if means:
            listed = ", ".join(f"{quantity} {number(r2)}" for quantity, r2 in means)
            text = f"Runs of this network repeat each other: decoders fitted on the other runs reach R² of {listed}."
        note = "This is reproducibility, not a code of position: one frozen random field would do as well."
        yield _claim(text, rows, note)


def _shape_and_colour_claims(results: Results) -> Iterator[Claim]:
    """A3: what hidden states add to shape, and to colour."""
    tests = results["shape_and_colour"]
    for covariate, label in (("shape", "the body’s shape"), ("colour", "a cell’s colour and alpha")):
        rows = _null_rows(tests, "surrogates", f"over_{covariate}")
        r2 = tests.sel(measure=f"over_{covariate}").sel(quantity=list(rows.quantity))
        of = [r2[f"r2_{name}"].values for name in ("hidden", "covariate", "both")]
        hidden, alone, both = (dict(zip(rows.quantity, values, strict=True)) for values in of)
        better = [q for q in rows.quantity if alone[q] > max(0.0, hidden[q])]
        readable = rows[[both[q] > 0 for q in rows.quantity]]
        text = _verdict(
            readable,
            f"Hidden states improve the decoding of {{}} over {label}.",
            f"Hidden states add no more to {label} than smooth fields would."
            if len(readable)
            else f"Hidden states and {label} together decode no position either (all R² ≤ 0).",
        )
        if better:
            text += f" Alone, {covariate} decodes {_join(better)} better than hidden states do."
        single = {(q, f"r2 of {covariate} alone"): r2 for q, r2 in alone.items()}
        single |= {(q, "r2 of hidden states alone"): r2 for q, r2 in hidden.items()}
        single |= {(q, "r2 of both"): r2 for q, r2 in both.items()}
        records = rows.to_dict("records") + _rows(single)
        yield _claim(text, records, _origin(tests), added=_clear(readable), better_alone=better)


# Origin: weight shuffle (A4) and time course


def _weight_shuffle_claim(results: Results) -> Iterator[Claim]:
    """A4: the trained rule against shuffled weights."""
    tests = results["weight_shuffle"]
    r2, excess = (_null_rows(tests, "weight_shuffles", measure) for measure in ("r2", "excess"))
    clear = _clear(r2)
    beyond = [q for q in clear if q in _clear(excess)]
    free = [str(q) for q in r2.quantity[r2.null_median > r2.value.clip(lower=0)]]
    only = "" if beyond == clear else f"; beyond smoothness this holds only of {_join(beyond)}"
    encoded = r2[r2.value > 0]
    rest = _join(q for q in encoded.quantity if q not in clear)
    text = _verdict(
        encoded,
        f"Training made the code of {{}}: shuffled weights on the same alive sites encode less{only}.",
        f"The code of {rest} needed no training: shuffled weights on the same alive sites encode as much."
        if len(encoded)
        else "There is no linear code of position that training could have made (all R² ≤ 0).",
    )
    if free:
        text += f" Shuffled weights encode {_join(free)} better than the trained ones."
    rows = _null_rows(tests, "weight_shuffles", "r2", "excess")
    yield _claim(text, rows, _origin(tests), trained=clear, beyond_smoothness=beyond, free=free)
    radial = _null_rows(tests, "weight_shuffles", "rank_correlation")
    if len(radial):
        values = (number(radial.value.iloc[0]), number(radial.null_median.iloc[0]))
        yield _claim(_RADIAL[bool(_clear(radial))].format(*values), radial, _origin(tests))


def _clock_claim(results: Results) -> Iterator[Claim]:
    """Whether states encode more of the radius than a cell's age does."""
    radius = results["time_course"].sel(quantity="radius").dropna("step", subset=["r2"])
    if not radius.sizes["step"]:
        return
    peak, last = radius.isel(step=int(radius.r2_age.fillna(-np.inf).argmax("step"))), radius.isel(step=-1)
    age, states = float(peak.r2_age), float(peak.r2)
    if age > max(0.0, states):
        verdict = "A clock of cell age decodes the radius at least as well as states do"
    elif states > 0 and float(peak.gain) > 0 and float(peak.p_gain) <= _ALPHA:
        verdict = "The radius is more than a clock"
    else:
        verdict = "It is open whether the radius is more than a clock"
    text = (
        f"{verdict}: at step {int(peak.step)}, age alone decodes it at R² = {number(age)}, states at {number(states)}."
    )
    rows: list[dict[str, Any]] = []
    for at in [peak, last][: 1 + (int(peak.step) < int(last.step))]:
        step, draws = f"at step {int(at.step)}", {"n": radius.attrs["surrogates"], "unit": "surrogates"}
        for label, name, p, null in (("of states", "r2", "p", "null"), ("added to age", "gain", "p_gain", "gain")):
            ends = {f"null_{end}": float(at[f"{null}_{end}"]) for end in ("median", "low", "high")}
            rows += _rows({("radius", f"r2 {label} {step}"): float(at[name])}, **ends, p=float(at[p]), **draws)
        rows += _rows({("radius", f"r2 of age {step}"): float(at.r2_age)})
        rows += _rows({("age", f"r2 of states {step}"): float(at.age_r2)})
    yield _claim(text, rows, "The age of a cell is the number of steps since it became mature.", step=int(peak.step))


def _onset_claim(results: Results) -> Iterator[Claim]:
    """When codes arise.

    A code that lasts is present at the last step, whose `position` tests are FDR-corrected: none is said to last that
    they do not find. By the uncorrected time course alone, 28 % of bodies without a code would have one.
    """
    course, tests = results["time_course"], results["position"]
    decodable = _clear(_null_rows(tests, "surrogates", "r2")) if tests else []
    onsets = _onsets(((course.p <= _ALPHA) & (course.r2 > 0)).sel(quantity=decodable), course.step.values)
    text = (
        f"Codes that last arise at {_join_onsets(onsets)}."
        if onsets
        else "No code that is found in the grown body lasts from an earlier step on."
    )
    rows = _rows({(q, "onset"): step for q, step in onsets.items()}, n=course.sizes["step"], unit="steps")
    note = (
        f"A code lasts from a step on if R² is above 0 and p ≤ 0.05 (not corrected, {course.attrs['surrogates']} "
        "surrogates) at each of the steps examined, and q ≤ 0.05 in the grown body."
    )
    yield _claim(text, rows, note, onsets=onsets)


# Use (A6)

_RELAXATION = "Uniform pushes relax even where a code is used: what decides is whether fate follows grafted states."


def _push_claim(results: Results) -> Iterator[Claim]:
    """A6: pushes along the code."""
    rows = _null_rows(results["pushes"], "random_directions")
    mse, left = rows[rows.measure == "mse"], rows[rows.measure == "share_left"]
    text = _verdict(
        mse,
        "A push along the code of {} changes the body more than random pushes of the same norm.",
        "Pushes along the codes of position change the body no more than random pushes of the same norm.",
    )
    if _clear(left):
        text += f" A push along the code of {_join(_clear(left))} lasts longer than random ones."
    yield _claim(text, rows, _RELAXATION, effective=_clear(mse), lasting=_clear(left))


def _projection_claim(results: Results) -> Iterator[Claim]:
    """A6: states without the code, or with nothing else."""
    rows = _null_rows(results["projections"], "null_planes")
    excluded, restricted = rows[rows.measure == "excluded_loss"], rows[rows.measure == "restricted_loss"]
    sufficient = list(restricted.quantity[restricted.q <= _ALPHA])
    text = _verdict(
        excluded,
        "The body loses more without the plane that encodes {} than without null planes.",
        "The body loses no more without the planes that encode position than without null planes.",
    )
    if sufficient:
        text += f" With the plane of {join_words(sufficient)} alone it loses less than with a null plane alone."
    yield _claim(text, rows, _RELAXATION, needed=_clear(excluded), sufficient=sufficient)


# Compass or map (A7)


def _perception_claim(results: Results) -> Iterator[Claim]:
    """A7: does the body follow its compass?"""
    rotated = results["rotated_perception"]
    if rotated.attrs["isotropic"]:
        change = float(rotated.max_change.isel(angle=slice(1, None)).max())
        text = f"Its perception has no direction: rotating it changes {'nothing' if change == 0 else 'the body'}."
        yield _claim(text, _rows({("state", "largest change"): change}, n=rotated.sizes["run"], unit="runs"))
        return
    measures = {
        f"deviation of {name}": (rotated[name] - rotated.angle + 180) % 360 - 180
        for name in ("body_rotation", "gradient_rotation")
    } | {"match": rotated.match}
    rows = _runs_rows({(f"{a:g}°", name): v.sel(angle=a) for a in rotated.angle.values for name, v in measures.items()})
    close = np.abs(measures["deviation of body_rotation"]).max("run") <= 15
    alike = (close & (rotated.match.mean("run") > 0.5)).isel(angle=slice(1, None))
    follows = [float(angle) for angle in alike.angle[alike]]
    if alike.all():
        text = "The body follows its compass: with a rotated perception it grows rotated by the same angle."
    elif follows:
        at = join_words([f"{a:g}°" for a in follows])
        text = f"With a rotated perception the body grows rotated by the same angle at {at}, not at the other angles."
    else:
        text = "With a rotated perception no body of the same shape grows rotated by that angle."
    yield _claim(text, rows, "At 0° the body is compared with that of another run.", follows=follows)


def _state_claim(results: Results) -> Iterator[Claim]:
    """A7: does a body carry its own frame?"""
    states = results["rotated_states"]
    rotated, upright = (
        {float(a): float(states[name].sel(angle=a).median()) for a in states.angle.values[1:]}
        for name in ("fitness_rotated", "fitness_upright")
    )
    if all(w >= 0.9 for w in rotated.values()):
        text = "A rotated body stays rotated: it carries its own frame."
    elif all(w >= 0.9 for w in upright.values()):
        text = "A rotated body returns to the direction of its compass."
    elif all(max(w, np.nan_to_num(upright[a])) < 0.5 for a, w in rotated.items()):
        text = "A rotated body is lost under an unrotated perception: state and compass must agree."
    else:
        text = "Under an unrotated perception, a rotated body neither stays rotated nor returns completely."
    names = ("fitness_rotated", "fitness_upright", "mature_cells")
    rows = _runs_rows({(f"{a:g}°", name): states[name].sel(angle=a) for a in states.angle.values for name in names})
    steps = states.attrs["eval_steps"]
    note = f"Fitness {steps} steps later, relative to the control; at 0°, relative to other fire masks."
    yield _claim(text, rows, note, fitness_rotated=rotated, fitness_upright=upright)


# Several networks (A5)


def _network_claim(results: Results) -> Iterator[Claim]:
    """In how many organisms position is encoded beyond smoothness, or from which training step on."""
    table = results["networks"]
    rows = _null_rows(table.rename(r2="observed"), "surrogates")
    rows = rows.assign(measure="r2 in " + rows.organism).drop(columns="organism")
    clear = (table.q <= _ALPHA) & (table.r2 > 0)
    if table.attrs["one_training_run"]:
        onsets = _onsets(clear, table.training_step.values)
        text = (
            f"Codes beyond smoothness that last appear at training {_join_onsets(onsets)}."
            if onsets
            else "At no training step does a code beyond smoothness appear that lasts to the last snapshot."
        )
        snapshots = plural(table.sizes["organism"], "snapshot")
        note = f"q ≤ {_ALPHA} over {snapshots} of one training run and all quantities."
        yield _claim(text, rows, note, onsets=onsets)
    else:
        counts = clear.sum("organism").to_series()
        tested = np.isfinite(table.r2).sum("organism").values
        each = ", ".join(f"{_LABELS[q]} in {k} of {n}" for (q, k), n in zip(counts.items(), tested, strict=True))
        note = "q is corrected over all organisms and quantities; one run of each organism."
        yield _claim(f"Decodable beyond what smooth fields allow: {each}.", rows, note, **counts.to_dict())


def _agreement_claim(results: Results) -> Iterator[Claim]:
    """A5: whether networks encode position best along the same axis."""
    agreement, relatives = results["agreement"], results["relatives"]
    undirected, n = int((agreement.best_r2 <= 0).sum()), agreement.sizes["network"]
    names = ("length", "direction", "p_surrogates", "p_uniform")
    length, direction, p, p_uniform = (float(agreement[name]) for name in names)
    text = (
        "The networks encode position best along the same axis, more alike than their surrogates."
        if p <= _ALPHA
        else "The networks do not agree on an axis more than smooth fields on their bodies do."
    )
    if undirected:
        text += f" In {undirected} of {n} no direction can be decoded (R² ≤ 0), so that its angle means nothing."
    if relatives:
        pairs = plural(len(relatives), "pair")
        text += f" They are not independent, since {pairs} share an ancestor: this is no claim about networks."
    origin = {"canvas": "the x axis towards y (down)", "body": "the long axis of the body"}[agreement.attrs["frame"]]
    rows = [
        *_rows({("mean axis", "length"): length}, **_null_ends(agreement.null_length), p=p),
        *_rows({("mean axis", "length, uniform angles (Rayleigh)"): length}, p=p_uniform),
        *_rows({("mean axis", "direction (°)"): direction}),
    ]
    rows = [row | {"n": n, "unit": "networks"} for row in rows]
    numbers = {"length": length, "direction": direction, "p": p, "related": list(relatives)}
    yield _claim(text, rows, f"Angles are counted from {origin}.", **numbers)


def _shared_claim(results: Results) -> Iterator[Claim]:
    """A5: whether the states of networks are alike at the same places, whatever their bases."""
    agreement = results["agreement"]
    shared, p = float(agreement.shared), float(agreement.p_shared)
    if not np.isfinite(shared):
        return
    null = _null_ends(agreement.null_shared)
    columns = null | {"p": p, "n": agreement.sizes["network"], "unit": "networks"}
    rows = _rows({("states at the same places", "squared canonical correlation, mean over pairs"): shared}, **columns)
    expected = ", as expected of networks that were trained from each other" if results["relatives"] else ""
    more = "more alike" if p <= _ALPHA else "no more alike"
    text = f"States of cells at the same place are {more} in these networks than smooth fields would be"
    text += expected if p <= _ALPHA else ""
    text += f" (mean squared canonical correlation {number(shared)}, surrogates {number(null['null_median'])})."
    note = "In any basis of the channels. A body’s outline and its growth from one seed make states alike, too."
    yield _claim(text, rows, note, shared=shared, p=p)


_CLAIMS = {  # by section: a part, and the claims that are made where it was run
    "components": (("pca", _pca_claim), ("pca", _component_claims)),
    "axes": (
        ("position", _headline),
        ("pca", _pca_claim),
        ("position", _position_claims),
        ("long_waves", _long_wave_claim),
        ("runs", _reproducibility),
        ("shape_and_colour", _shape_and_colour_claims),
    ),
    "weight-shuffle": (
        ("weight_shuffle", _weight_shuffle_claim),
        ("time_course", _clock_claim),
        ("time_course", _onset_claim),
    ),
    "interventions": (("pushes", _push_claim), ("projections", _projection_claim)),
    "rotation-test": (("rotated_perception", _perception_claim), ("rotated_states", _state_claim)),
    "networks": (("networks", _network_claim), ("agreement", _agreement_claim), ("agreement", _shared_claim)),
}


def axes_claims(section: str, parts: Mapping[str, Any]) -> list[Claim]:
    """Claims of one section, from the parts that there are.

    Args:
        section: such as "axes" or "rotation-test".
        parts: results of one organism, by the names of the fields of `AxesResult`; of several, networks (of
            `compare_networks`), agreement (of `direction_agreement`) and relatives (pairs with a common ancestor).
    """
    results = defaultdict(xr.Dataset, parts)
    claims = [claim for part, make in _CLAIMS[section] if results[part] for claim in make(results)]
    return [replace(claim, assay=section) for claim in claims]

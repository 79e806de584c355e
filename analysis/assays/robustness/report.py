"""Robustness as a section of a report: claims, evidence tables and figures from finished results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.assays.robustness.canalization import canalization
from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.robustness.dose_response import PERTURBATIONS, TOLERATED, dose_summary
from analysis.assays.robustness.plots import robustness_figures
from analysis.assays.robustness.run import RobustnessResult
from analysis.report.format import as_given, interval_label, number, plural
from analysis.report.model import Answer, Claim, Section, Verdict, evidence

_NAME = "robustness"
_UNITS = {"state_noise": " SD", "state_noise_per_step": " SD", "weight_noise": " of each array’s norm"}
_EMPTY_DISTANCE = 1.0  # of an empty canvas from any control, as a share of the control's norm


def sections(results: Sequence[RobustnessResult]) -> list[Section]:
    """How much perturbation one or several organisms tolerate, as one section."""
    shown = [result for result in results if not result.no_body]
    claims = [c for r in shown for c in (*_dose_claims(r), *_return_claims(r), *_canalization_claims(r))]
    skipped = [f"{r.organism.name}: {reason}" for r in results for reason in (r.no_body, *r.skipped) if reason]
    return [
        Section(
            _NAME,
            "Robustness",
            claims,
            figures=robustness_figures(shown),
            tables=_tables(shown),
            method=_method(results[0].config),
            skipped=skipped,
            data={f"{_NAME}-{n}": r.returns for n, r in enumerate(shown) if r.returns},
        )
    ]


def _row(quantity: str, measure: str, value: Any, n: int, **columns: Any) -> dict[str, Any]:
    return {"quantity": quantity, "measure": measure, "value": value, **columns, "n": n, "unit": "runs"}


def _dose_claims(result: RobustnessResult) -> list[Claim]:
    """Which doses of each perturbation are tolerated?"""
    claims = []
    for name, (label, dose_label) in PERTURBATIONS.items():
        doses = result.doses[result.doses.perturbation == name] if len(result.doses) else result.doses
        if doses.empty:
            continue
        summary, rows = dose_summary(doses), []
        for row in summary.itertuples():
            quantity, interval = f"{label}, {as_given(row.dose)}", {"low": row.fitness_low, "high": row.fitness_high}
            rows.append(_row(quantity, "fitness", row.fitness, row.runs, **interval))
            counts = {"overgrown runs": row.overgrown_runs, "exploded runs": row.exploded_runs}
            counts["runs whole, but displaced"] = row.displaced_runs
            rows += [_row(quantity, outcome, count, row.runs) for outcome, count in counts.items() if count]
        note = (
            f"Dose: {dose_label}; median and {interval_label(int(summary.runs.max()))}; the control of the same key "
            "has a fitness of 1, an empty canvas 0."
        )
        numbers = {"organism": result.organism.name, "perturbation": name, "doses": summary.to_dict("records")}
        text = f"{result.organism.name} {_tolerance(name, summary)}."
        limit = summary[(summary.fitness_low < TOLERATED) & (summary.fitness_high >= TOLERATED)]
        verdict: Verdict = "cannot tell" if summary.fitness.isna().all() else "unclear" if len(limit) else "clear"
        answer = Answer(text, verdict, "dose-response")
        claims.append(Claim(_NAME, text, evidence(*rows), numbers, note, answer))
    return claims


def _tolerance(name: str, summary: pd.DataFrame) -> str:
    """Which doses keep the body whole, as the rest of a sentence about the organism."""
    label, defined = PERTURBATIONS[name][0], summary[summary.fitness.notna()]
    if defined.empty:
        return f"has no body to lose, so that its fitness under {label} is not defined"
    tolerated = f"(fitness ≥ {TOLERATED})"
    if name.startswith("fire_rate"):
        rates = ", ".join(f"{rate:g}" for rate in sorted(defined[defined.fitness >= TOLERATED].dose))
        text = f"tolerates fire rates of {rates} {tolerated}" if rates else f"tolerates no other fire rate {tolerated}"
        return f"{text}, measured after as many updates per cell" if name == "fire_rate_updates" else text
    downwards = name in ("canvas_margin", "seed_offset")  # less room is the larger dose
    ordered = defined.sort_values("dose", ascending=not downwards)
    to, harmful = "down to" if downwards else "up to", ordered[ordered.fitness < TOLERATED]
    if harmful.empty:
        return f"tolerates {label} at every dose, {to} {as_given(ordered.dose.iloc[-1])} {tolerated}"
    first = as_given(harmful.dose.iloc[0])
    before = ordered[: ordered.index.get_loc(harmful.index[0])]
    if before.empty:
        fitness = number(harmful.fitness.iloc[0])
        return f"does not tolerate {label}: at the smallest dose, {first}, its fitness is {fitness}"
    largest, unit = as_given(before.dose.iloc[-1]), _UNITS.get(name, "")
    return f"tolerates {label} {to} {largest}{unit} {tolerated}, but not {first}"


def _return_claims(result: RobustnessResult) -> list[Claim]:
    """Does a perturbed state return to its control?"""
    if not result.returns:
        return []
    name, runs, later = result.organism.name, result.config.runs, f"{result.config.eval_steps} steps later"
    distance = result.returns.distance
    rows, halved = [], 0
    for dose in distance.dose.values:
        values = distance.sel(dose=dose).values
        first, last = np.median(values[:, 0]), np.median(values[:, -1])
        halved += bool(np.median(values[:, -1] / values[:, 0]) <= 0.5 and last < _EMPTY_DISTANCE)
        quantity = f"distance to the control, {dose:g} SD"
        rows += [_row(quantity, "just after the noise", first, runs), _row(quantity, later, last, runs)]
    between = float(np.median(result.returns.between_runs.values[:, -1]))
    if np.isfinite(between):
        rows.append(_row("distance to another run", later, between, runs))
    text = (
        f"{name} at least halves its distance to the control after {halved} of {plural(len(distance.dose), 'dose')} "
        "of state noise added once."
    )
    note = "Distance of all channels as a share of the control’s norm, same fire masks; an empty canvas is 1 away."
    return [Claim(_NAME, text, evidence(*rows), {"organism": name, "halved": halved}, note)]


def _canalization_claims(result: RobustnessResult) -> list[Claim]:
    """Do runs become more similar as they grow?"""
    ratios, name = canalization(result.spread), result.organism.name
    if not ratios or result.config.runs < 3:  # two runs are one pair
        return []
    steps, runs, rows = result.spread.step.values, result.config.runs, []
    for view, (ratio, low, high) in ratios.items():
        quantity = "hidden channels" if view == "hidden" else view
        measure = f"distance between runs at step {steps[-1]} over its median before"
        rows.append(_row(quantity, measure, ratio, runs, low=low, high=high))
        for k in (0, -1):
            median = float(np.nanmedian(result.spread[view].values[:, k]))
            rows.append(_row(quantity, f"distance between runs at step {steps[k]}", median, runs))
    converge = all(high < 1 for _, _, high in ratios.values())
    text = f"The runs of {name} {'become' if converge else 'do not clearly become'} more similar as they grow."
    note = "Distances are shares of the norm; the interval is a bootstrap over runs."
    return [Claim(_NAME, text, evidence(*rows), {"organism": name, "canalization": ratios}, note)]


def _tables(results: Sequence[RobustnessResult]) -> dict[str, pd.DataFrame]:
    """Every run, medians, and every distance; the organism is the first column."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for result in results:
        tables = {"spread-between-runs": result.spread.to_dataframe().reset_index()}
        if len(result.doses):
            tables |= {"robustness-runs": result.doses, "robustness": dose_summary(result.doses)}
        if result.returns:
            tables["return-to-control"] = result.returns.distance.to_dataframe().reset_index()
        for name, table in tables.items():
            table = table.copy()
            table.insert(0, "organism", result.organism.name)
            frames.setdefault(name, []).append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in frames.items()}


def _method(config: RobustnessConfig) -> str:
    return (
        "Fitness = 1 − (MSE − MSE of the control) / (MSE of an empty canvas − MSE of the control). The MSE is taken to "
        "the target (to the control where there is none); the control has the same key and fire masks. Fitness is not "
        "defined where the control has no body to lose; an explosion (−∞) is below all numbers. State noise is "
        f"Gaussian, on the cells mature at step {config.adult_step}, as a share of each channel’s standard deviation "
        "over them. Weight noise is Gaussian, as a share of each array’s norm, another draw for every run; the same "
        "draw grows with the dose. Another fire rate thresholds the same random numbers at another level; the outcome "
        f"is measured at step {config.adult_step} and, as growth is slower or faster, after as many updates per cell "
        "(rounded to 20 steps). A smaller canvas loses as many cells on every side and sees the masks of the larger "
        "one around the seed; a moved seed takes target, control and masks along, and what leaves the canvas is not "
        "measured. Cells to the edge are counted from the bounding box of the grown bodies of all runs. Canalization: "
        "the median distance between runs at the end over the median of those at the steps before. Runs repeat one "
        "network: their intervals say nothing about other networks."
    )

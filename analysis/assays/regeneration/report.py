"""Regeneration as a section of a report: claims with their evidence, figures and tables, from finished results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analysis import metrics
from analysis.assays.regeneration.cuts import MARGIN, POOR, REACH, REGENERATED
from analysis.assays.regeneration.plots import regeneration_figures
from analysis.assays.regeneration.recovery_time import wound_table
from analysis.assays.regeneration.run import RegenerationResult
from analysis.report.format import number, percent, plural
from analysis.report.model import Answer, Claim, Section, evidence
from nca.damage import CUTS

_NAME = "regeneration"


def sections(results: Sequence[RegenerationResult]) -> list[Section]:
    """One section, in which several organisms share tables and figures."""
    cut = [result for result in results if not result.no_body]
    tables = _tables(cut)
    reasons = [(r.organism.name, r.no_body) for r in results] + [(r.organism.name, _lost_controls(r)) for r in cut]
    return [
        Section(
            _NAME,
            "Regeneration",
            [claim for result in cut for claim in _claims(result)],
            figures=regeneration_figures(cut),
            lookup={"Five cuts": tables["five-cuts"].round(2).replace(-np.inf, "exploded")} if cut else {},
            tables=tables,
            method=_method(results[0]),
            skipped=[f"{name}: {reason}" for name, reason in reasons if reason],
            data={_NAME if len(cut) == 1 else f"{_NAME}-{n}": result.cuts for n, result in enumerate(cut, 1)},
        )
    ]


def _claims(result: RegenerationResult) -> list[Claim]:
    """What one organism regenerates, the check of the empty margin last."""
    claims = [_five_cuts(result)]
    claims += [_follow_up(result)] if result.follow_up else []
    maps = {"half plane": result.half_planes, "hole": result.holes}
    return [*claims, *(_wound_map(result, kind, outcome) for kind, outcome in maps.items() if outcome), _margin(result)]


def _row(quantity: str, measure: str, value: Any, n: int, unit: str = "runs", **columns: Any) -> dict[str, Any]:
    return {"quantity": quantity, "measure": measure, "value": value, **columns, "n": n, "unit": unit}


def _rows(quantity: str, wound: Any) -> list[dict[str, Any]]:
    """Evidence of a wound: share recovered, and the time that it takes."""
    n = int(wound.defined_runs)
    rows = [_row(quantity, "recovered", wound.recovered, n, low=wound.recovered_low, high=wound.recovered_high)]
    if np.isfinite(wound.steps_to_90):
        rows.append(_row(quantity, "steps to 90 % (median)", wound.steps_to_90, n))
    return [*rows, _row(quantity, "runs that reach 90 %", wound.regenerated_runs, n)]


def _five_cuts(result: RegenerationResult) -> Claim:
    """How many of the five cuts a body regenerates from, in how many runs, and which runs disagree."""
    wounds = wound_table(result.cuts).set_index("wound", drop=False).loc[list(CUTS)]
    name, runs, by_run = result.organism.name, result.config.runs, result.cuts.recovered
    regenerated = [cut for cut in CUTS if wounds.recovered[cut] >= REGENERATED]
    complete = int((by_run.sel(wound=regenerated) >= REGENERATED).all("wound").sum())
    these = "it" if len(regenerated) == 1 else "all of these"
    each = "; so does every run" if complete == runs else f"; {complete} of the {runs} do so after {these}"
    each = each if regenerated and runs > 1 else ""
    text = (
        f"{name} recovers {percent(REGENERATED)} or more of the damage within {result.config.eval_steps} steps after "
        f"{len(regenerated)} of {int(wounds.recovered.notna().sum())} cuts (median of {plural(runs, 'run')}{each})."
    )
    elsewhere = result.cuts[["recovered", "recovered_displaced", "displacement"]].sel(wound=list(CUTS))
    others = (elsewhere.recovered < REGENERATED).values
    whole = others & (elsewhere.recovered_displaced >= REGENERATED).values
    if whole.any():
        cells = np.abs(elsewhere.displacement.values[whole]).max(-1)
        span = plural(cells.max(), "cell") if cells.min() == cells.max() else f"{cells.min()} to {cells.max()} cells"
        body = plural(others.sum(), "cut body", "cut bodies")
        verb = "grows" if whole.sum() == 1 else "grow"
        text += f" Of the {body} with less, {whole.sum()} {verb} back whole, displaced by {span}."
    if wounds.recovered.isna().all():
        text = f"{name}: the share recovered is not defined after any cut."
    split = []
    for cut in wounds.wound[wounds.bistable]:
        poor = np.flatnonzero(by_run.sel(wound=cut).values < POOR).tolist()
        split.append(f"{cut} ({'run' if len(poor) == 1 else 'runs'} {', '.join(map(str, poor))})")
    note = f"Runs disagree; some recover {percent(REGENERATED)}, others less than {percent(POOR)}: {', '.join(split)}."
    numbers = {"organism": name, "regenerated": regenerated, "complete_runs": complete, "displaced": int(whole.sum())}
    numbers["wounds"] = wounds.to_dict("records")
    rows = [row for cut in CUTS for row in _rows(f"{cut} cut", wounds.loc[cut])]
    rows += [
        _row(f"{cut} cut", "runs that regrow displaced", n, runs)
        for cut, n in zip(CUTS, whole.sum(1), strict=True)
        if n
    ]
    answer = _answer(name, wounds, len(regenerated))
    return Claim(_NAME, text, evidence(*rows), numbers, note if split else "", answer)


def _answer(name: str, wounds: pd.DataFrame, regenerated: int) -> Answer:
    """How many cuts heal: unclear where an interval holds the limit, so that runs disagree."""
    defined = wounds[wounds.recovered.notna()]
    if defined.empty:
        return Answer(f"{name} has no body to regenerate.", "cannot tell", "cut-portraits")
    text = f"{name} regrows after {regenerated} of {plural(len(defined), 'cut')} that remove half of it or its centre."
    within = (defined.recovered_low < REGENERATED) & (defined.recovered_high >= REGENERATED)
    return Answer(text, "unclear" if within.any() else "clear", "cut-portraits")


def _follow_up(result: RegenerationResult) -> Claim:
    """What became of cut bodies long after."""
    late, runs = result.follow_up, result.follow_up.sizes["run"]
    fates = late.fate.sel(wound=list(CUTS)).to_series()
    counts, per_cut = fates.value_counts().sort_index(), ((cut, fates[cut].value_counts().sort_index()) for cut in CUTS)
    rows = [_row(f"{cut} cut", f"runs {fate}", n, runs) for cut, own in per_cut for fate, n in own.items()]
    rows.append(_row("uncut controls", "runs with a body", int(late.control_has_body.sum()), runs))
    text = (
        f"{result.organism.name}: by step {result.config.follow_up_step}, {counts.get('regenerated', 0)} of "
        f"{plural(fates.size, 'cut run')} have regenerated ({', '.join(f'{n} {fate}' for fate, n in counts.items())})."
    )
    return Claim(_NAME, text, evidence(*rows), {"organism": result.organism.name, "fates": counts.to_dict()})


def _wound_map(result: RegenerationResult, kind: str, outcome: xr.Dataset) -> Claim:
    """How many of many wounds a body regenerates from, and the worst one."""
    table = wound_table(outcome)
    defined, name = table[table.recovered.notna()], result.organism.name
    if defined.empty:
        return Claim(_NAME, f"{name}: the share recovered is not defined after any {kind}.", evidence())
    good = int((defined.recovered >= REGENERATED).sum())
    worst = defined.loc[defined.recovered.idxmin()]
    rows = [_row(f"all {kind}s", "recovered (median)", defined.recovered.median(), len(defined), f"{kind}s")]
    rows += _rows(worst.wound, worst)
    rows.append({"quantity": worst.wound, "measure": "share of the body removed", "value": worst.removed})
    for radius, holes in defined.groupby("radius") if kind == "hole" else ():
        regenerated = int((holes.recovered >= REGENERATED).sum())
        rows.append(_row(f"radius {radius:g}", "holes regenerated", regenerated, len(holes), "holes"))
    text = (
        f"{name} recovers {percent(REGENERATED)} or more of the damage after {good} of {plural(len(defined), kind)} "
        f"(median of {plural(outcome.sizes['run'], 'run')}); the worst recovers {number(worst.recovered)}."
    )
    note = f"The share recovered is not defined after {len(table) - len(defined)} more."
    numbers = {"organism": name, "regenerated": good, "n": len(defined), "worst": worst.wound}
    return Claim(_NAME, text, evidence(*rows), numbers, note if len(defined) < len(table) else "")


def _margin(result: RegenerationResult) -> Claim:
    """What the cut in the empty margin did."""
    name, cuts = result.organism.name, result.cuts
    if MARGIN not in cuts.wound.values:
        reason = "its living cells reach all sides of the canvas"
        return Claim(_NAME, f"{name} has no empty margin for a control cut: {reason}.", evidence())
    difference = float(cuts.final_difference.sel(wound=MARGIN).max())
    change = "nothing" if difference == 0 else f"the final state by {difference:g}, which it must not"
    row = _row(MARGIN, "largest difference from the uncut control", difference, result.config.runs)
    numbers = {"organism": name, "final_difference": difference}
    return Claim(_NAME, f"{name}: a cut in the empty margin changes {change}.", evidence(row), numbers)


def _lost_controls(result: RegenerationResult) -> str:
    """Why the share recovered is not defined where the uncut controls lose their bodies; empty where none does."""
    mse, empty = result.cuts.mse_control.values[:, -1], result.cuts.mse_empty.values[:, -1]
    lost = int((~np.asarray(metrics.has_body(mse, empty))).sum())
    reason = (
        f"the share recovered is not defined in {lost} of {plural(len(mse), 'run')}, whose uncut control itself has "
        f"lost the body by step {result.config.end_step}."
    )
    return reason if lost else ""


def _tables(results: Sequence[RegenerationResult]) -> dict[str, pd.DataFrame]:
    """A row for each wound of every organism; of the cuts also for each run."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for result in results:
        outcomes = {"five-cuts": result.cuts, "half-planes": result.half_planes, "holes": result.holes}
        frames = {name: wound_table(outcome) for name, outcome in outcomes.items() if outcome}
        columns = [
            "recovered",
            "recovered_displaced",
            "mse_cut",
            "mse_end",
            "overgrown",
            "exploded",
            "cells_changed",
            "final_difference",
        ]
        by_run = result.cuts[columns].to_dataframe().reset_index()
        frames["cut-runs"] = by_run.assign(mse_end_control=result.cuts.mse_control.values[by_run.run, -1])
        if result.follow_up:
            late = result.follow_up.sel(wound=list(CUTS))[["fate", "recovered", "control_has_body"]]
            frames["follow-up"] = late.to_dataframe().reset_index().assign(step=result.config.follow_up_step)
        for name, frame in frames.items():
            frame.insert(0, "organism", result.organism.name)
            parts.setdefault(name, []).append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _method(result: RegenerationResult) -> str:
    config = result.config
    return (
        f"A wound sets every channel of the cells that it takes to zero, once, at step {config.adult_step}. "
        "Recovered = (MSE after the wound − MSE at the end) / (MSE after the wound − MSE of the uncut control at the "
        f"end), at step {config.end_step}; the control is the run of the same key and shares all fire masks. The MSE "
        "is to the target (where there is none, to the control at the same step). Recovered is not defined where the "
        "wound changed the MSE, or left it above the control’s at the end, by less than "
        f"{metrics.LEAST_WOUND:g}, or where the control has lost its body; a run that explodes counts as −∞. A body is "
        f"displaced if it has recovered less than {percent(REGENERATED)} where it stood, but as much within {REACH} "
        "cells. A run with more than twice the mature cells of its control has overgrown and is stopped. The time to "
        "90 % is the first step, measured every 20, with that share recovered; runs that never get there are censored "
        "(Kaplan-Meier). Overshoot is the most by which the mature cells ever exceed the control’s. At the follow-up "
        f"a body counts as regenerated from {percent(REGENERATED)} on, else as scarred. Runs repeat one network: they "
        "say how reproducible its regeneration is, not how such networks regenerate in general."
    )

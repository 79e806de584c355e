"""Regeneration as a section of a report: claims with their evidence, figures and tables, from finished results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.assays.regeneration.cuts import MARGIN, POOR, REGENERATED
from analysis.assays.regeneration.plots import regeneration_figures
from analysis.assays.regeneration.recovery_time import wound_table
from analysis.assays.regeneration.run import RegenerationResult
from analysis.report import plots
from analysis.report.format import number, percent, plural
from analysis.report.model import Claim, Section, SvgFigure, evidence, svg_figure
from nca.damage import CUTS

_NAME = "regeneration"


def sections(results: Sequence[RegenerationResult]) -> list[Section]:
    """One section, in which several organisms share tables and figures."""
    cut = [result for result in results if not result.no_body]
    tables = _tables(cut)
    return [
        Section(
            _NAME,
            "Regeneration",
            [claim for result in cut for claim in claims(result)],
            figures=_figures(cut) if cut else (),
            lookup={"Five cuts": tables["five-cuts"].round(2).replace(-np.inf, "exploded")} if cut else {},
            tables=tables,
            method=_method(results[0]),
            skipped=[f"{r.organism.name}: {r.no_body}" for r in results if r.no_body]
            + [reason for result in cut for reason in _lost_controls(result)],
            data={_NAME if len(cut) == 1 else f"{_NAME}-{n}": result.cuts for n, result in enumerate(cut, 1)},
        )
    ]


def claims(result: RegenerationResult) -> list[Claim]:
    """What one organism regenerates, the check of the empty margin last."""
    return [
        _five_cuts(result),
        *([_follow_up(result)] if result.follow_up else []),
        *([_wound_map(result, "half plane")] if result.half_planes else []),
        *([_wound_map(result, "hole")] if result.holes else []),
        _margin(result),
    ]


def _rows(quantity: str, row: Any) -> list[dict[str, Any]]:
    """Evidence of a wound: share recovered, and the time that it takes."""
    count = {"n": int(row.defined_runs), "unit": "runs"}
    recovered = {"value": row.recovered, "low": row.recovered_low, "high": row.recovered_high}
    rows = [{"quantity": quantity, "measure": "recovered"} | recovered | count]
    if np.isfinite(row.steps_to_90):
        rows.append({"quantity": quantity, "measure": "steps to 90 % (median)", "value": row.steps_to_90} | count)
    regenerated = {"value": row.regenerated_runs, "measure": "runs that reach 90 %"}
    return [*rows, {"quantity": quantity} | regenerated | count]


def _five_cuts(result: RegenerationResult) -> Claim:
    """How many of the five cuts a body regenerates from, and which runs disagree."""
    rows = wound_table(result.cuts).set_index("wound", drop=False).loc[list(CUTS)]
    name, step = result.organism.name, result.config.eval_steps
    regenerated = [cut for cut in CUTS if rows.recovered[cut] >= REGENERATED]
    text = (
        f"{name} recovers {percent(REGENERATED)} or more of the damage within {step} steps after {len(regenerated)} of "
        f"{int(rows.recovered.notna().sum())} cuts (median of {plural(result.config.runs, 'run')})."
    )
    if rows.recovered.isna().all():
        text = f"{name}: the share recovered is not defined after any cut."
    split = []
    for cut in CUTS:
        recovered = result.cuts.recovered.sel(wound=cut).values
        if rows.bistable[cut]:
            poor = np.flatnonzero(recovered < POOR).tolist()
            split.append(f"{cut} ({'run' if len(poor) == 1 else 'runs'} {', '.join(map(str, poor))})")
    note = f"Runs disagree; some recover {percent(REGENERATED)}, others less than {percent(POOR)}: {', '.join(split)}."
    numbers = {"organism": name, "regenerated": regenerated, "wounds": rows.to_dict("records")}
    table = evidence(*(row for cut in CUTS for row in _rows(f"{cut} cut", rows.loc[cut])))
    return Claim(_NAME, text, table, numbers, note if split else "")


def _follow_up(result: RegenerationResult) -> Claim:
    """What became of cut bodies long after."""
    late = result.follow_up
    fates = late.fate.sel(wound=list(CUTS)).values
    counts = {fate: int((fates == fate).sum()) for fate in sorted(set(fates.ravel()))}
    rows = [
        {"quantity": f"{cut} cut", "measure": f"runs {fate}", "value": int((fates[n] == fate).sum())}
        | {"n": late.sizes["run"], "unit": "runs"}
        for n, cut in enumerate(CUTS)
        for fate in counts
        if (fates[n] == fate).any()
    ]
    controls = {"value": int(late.control_has_body.sum()), "n": late.sizes["run"], "unit": "runs"}
    rows.append({"quantity": "uncut controls", "measure": "runs with a body"} | controls)
    text = (
        f"{result.organism.name}: by step {result.config.follow_up_step}, {counts.get('regenerated', 0)} of "
        f"{plural(fates.size, 'cut run')} have regenerated ({', '.join(f'{n} {fate}' for fate, n in counts.items())})."
    )
    numbers = {"organism": result.organism.name, "fates": counts}
    return Claim(_NAME, text, evidence(*rows), numbers)


def _wound_map(result: RegenerationResult, kind: str) -> Claim:
    """How many of many wounds a body regenerates from, and the worst one."""
    outcome = result.half_planes if kind == "half plane" else result.holes
    table = wound_table(outcome)
    defined, name = table[table.recovered.notna()], result.organism.name
    if defined.empty:
        return Claim(_NAME, f"{name}: the share recovered is not defined after any {kind}.", evidence())
    good = int((defined.recovered >= REGENERATED).sum())
    worst = defined.loc[defined.recovered.idxmin()]
    count = {"n": len(defined), "unit": f"{kind}s"}
    rows = [{"quantity": f"all {kind}s", "measure": "recovered (median)", "value": defined.recovered.median()} | count]
    rows += _rows(worst.wound, worst)
    rows.append({"quantity": worst.wound, "measure": "share of the body removed", "value": worst.removed})
    if kind == "hole":
        for radius, holes in defined.groupby("radius"):
            regenerated = {"measure": "holes regenerated", "value": int((holes.recovered >= REGENERATED).sum())}
            rows.append({"quantity": f"radius {radius:g}"} | regenerated | {"n": len(holes), "unit": "holes"})
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
    row = {"quantity": MARGIN, "measure": "largest difference from the uncut control", "value": difference}
    return Claim(
        _NAME,
        f"{name}: a cut in the empty margin changes {change}.",
        evidence(row | {"n": result.config.runs, "unit": "runs"}),
        {"organism": name, "final_difference": difference},
    )


def _lost_controls(result: RegenerationResult) -> list[str]:
    """Why the share recovered is not defined where the uncut controls lose their bodies."""
    mse, empty = result.cuts.mse_control.values[:, -1], result.cuts.mse_empty.values[:, -1]
    lost = int((~np.asarray(metrics.has_body(mse, empty))).sum())
    reason = (
        f"{result.organism.name}: the share recovered is not defined in {lost} of {plural(len(mse), 'run')}, whose "
        f"uncut control itself has lost the body by step {result.config.end_step}."
    )
    return [reason] if lost else []


def _tables(results: Sequence[RegenerationResult]) -> dict[str, pd.DataFrame]:
    """A row for each wound of every organism; of the cuts also for each run."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for result in results:
        outcomes = {"five-cuts": result.cuts, "half-planes": result.half_planes, "holes": result.holes}
        frames = {name: wound_table(outcome) for name, outcome in outcomes.items() if outcome}
        columns = ["recovered", "mse_cut", "mse_end", "overgrown", "exploded", "cells_changed", "final_difference"]
        by_run = result.cuts[columns].to_dataframe().reset_index()
        frames["cut-runs"] = by_run.assign(mse_end_control=result.cuts.mse_control.values[by_run.run, -1])
        if result.follow_up:
            late = result.follow_up.sel(wound=list(CUTS))[["fate", "recovered", "control_has_body"]]
            frames["follow-up"] = late.to_dataframe().reset_index().assign(step=result.config.follow_up_step)
        for name, frame in frames.items():
            frame.insert(0, "organism", result.organism.name)
            parts.setdefault(name, []).append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _figures(results: Sequence[RegenerationResult]) -> list[SvgFigure]:
    with plots.style():
        made = regeneration_figures(results).items()
        return [svg_figure(name, figure, caption) for name, (figure, caption) in made]


def _method(result: RegenerationResult) -> str:
    config = result.config
    return (
        f"A wound sets every channel of the cells that it takes to zero, once, at step {config.adult_step}. "
        "Recovered = (MSE after the wound − MSE at the end) / (MSE after the wound − MSE of the uncut control at the "
        f"end), at step {config.end_step}; the control is the run of the same key and shares all fire masks. The MSE "
        "is to the target (where there is none, to the control at the same step). Recovered is not defined where the "
        "wound changed the MSE, or left it above the control’s at the end, by less than "
        f"{metrics.LEAST_WOUND:g}, or where the control has lost its body; a run that explodes counts as −∞. A run "
        "with more than twice the mature cells of its control has overgrown and is stopped. The time to 90 % is the "
        "first step, measured every 20, with that share recovered; runs that never get there are censored "
        "(Kaplan-Meier). Overshoot is the most by which the mature cells ever exceed the control’s. At the follow-up "
        f"a body counts as regenerated from {percent(REGENERATED)} on, else as scarred. Runs repeat one network: they "
        "say how reproducible its regeneration is, not how such networks regenerate in general."
    )

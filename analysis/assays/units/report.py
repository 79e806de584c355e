"""Hidden units as a section of a report: claims, evidence tables, figures, and the page of cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.assays.units.backup import MIN_BACKUP
from analysis.assays.units.cards import HARMLESS
from analysis.assays.units.config import UnitConfig
from analysis.assays.units.faithfulness import ENOUGH, needed_intervals, units_needed
from analysis.assays.units.page import cards_frame
from analysis.assays.units.plots import unit_figures
from analysis.assays.units.run import UnitResult
from analysis.report.format import interval_label, join_words, number, percent, plural, probability
from analysis.report.model import Answer, Claim, Section, evidence, surprise, svg_figure
from analysis.stats.nulls import p_value

_NAME = "units"
_ROWS = 10  # of evidence, the most needed first
_MAX_Q = 0.05
_MIN_RUNS = 4  # for a difference between phases
_ORDERS = {"effect": "ranked by effect", "variance": "ranked by variance written", "random": "at random"}
_PHASE_VERBS = {"growing": "to grow", "adult": "to stay", "regenerating": "to regenerate"}


def sections(results: Sequence[UnitResult]) -> list[Section]:
    """A section for each organism."""
    if len(results) == 1:
        return [_section(results[0])]
    return [_section(result, f"-{n}", f": {result.organism.name}") for n, result in enumerate(results, 1)]


def _section(result: UnitResult, suffix: str = "", name: str = "") -> Section:
    title = f"Hidden units{name}"
    if result.no_body:
        return Section(f"{_NAME}{suffix}", title, skipped=[result.no_body])
    makers = (_kept, _needed, _phases_differ, _backup, _families, _suppression)
    claims = [claim for make in makers for claim in make(result)]
    frames = {"cards": result.units, "backup": result.backup, "families": result.families}
    frames["kept"] = _kept_table(result)
    shown = ["unit", "family", *[c for c in result.units if str(c).endswith(("_mean", "_zero"))], "reads", "writes"]
    arrays = {"ablations": result.ablations, "activity": result.activity, "read": result.read, "write": result.write}
    arrays |= {"kept": result.curves, "suppression": result.suppression}
    by = "loss" if "loss" in result.units else "variance"
    lookup = {"Units, the most needed first": result.units.sort_values(by, ascending=False)[shown]}
    lookup["Families"] = result.families
    return Section(
        f"{_NAME}{suffix}",
        title,
        claims,
        live=cards_frame(result),
        figures=[
            svg_figure(f"{_NAME}{suffix}-{key}", figure, caption)
            for key, (figure, caption) in unit_figures(result).items()
        ],
        lookup={heading: frame.round(3) for heading, frame in lookup.items() if len(frame)},
        tables={f"{_NAME}{suffix}-{key}": frame for key, frame in frames.items() if len(frame)},
        method=_method(result.config),
        skipped=list(result.skipped),
        data={f"{_NAME}{suffix}-{key}": data for key, data in arrays.items() if len(data)},
    )


def _row(quantity: str, measure: str, interval: Any, n: int, unit: str = "runs", **columns: Any) -> dict[str, Any]:
    value, low, high = interval
    return {"quantity": quantity, "measure": measure, "value": value, "low": low, "high": high, **columns, "n": n} | {
        "unit": unit
    }


def _main_ablation(result: UnitResult) -> str:
    return "mean" if "mean" in result.ablations.ablation else str(result.ablations.ablation.values[0])


def _doing(ablation: str) -> str:
    return "held at their mean" if ablation == "mean" else "silenced"


def _needed(result: UnitResult) -> list[Claim]:
    """How many units can be ablated alone, and which is needed most."""
    if not result.ablations:
        return []
    ablation, table, size = _main_ablation(result), result.units, len(result.units)
    counts, rows, worst = [], [], []
    for phase in map(str, result.ablations.phase.values):
        column = f"fitness_{phase}_{ablation}"
        counts.append(f"{int((table[column] >= HARMLESS).sum())} of {size} when {phase}")
        ranked = table.sort_values(column)
        worst.append(f"unit {ranked.unit.iloc[0]} ({phase}, fitness {number(ranked[column].iloc[0])})")
        for _, unit in ranked.head(_ROWS // len(result.ablations.phase) + 1).iterrows():
            values = [unit[f"{column}{end}"] for end in ("", "_low", "_high")]
            rows.append(_row(f"unit {unit.unit}", f"fitness, {phase}, {_doing(ablation)}", values, result.config.runs))
    text = (
        f"Units of {result.organism.name} that can be {_doing(ablation)} one at a time without harm (fitness at least "
        f"{HARMLESS}): {join_words(counts)}. Needed most: {join_words(worst)}."
    )
    note = f"Median and {interval_label(result.config.runs)}; 1 is the control of the same key, 0 an empty canvas."
    return [Claim(_NAME, text, evidence(*rows), {"organism": result.organism.name}, note)]


def _kept(result: UnitResult) -> list[Claim]:
    """How many units a body needs."""
    if not result.curves:
        return []
    rows, parts, short, numbers, clear = [], [], [], {}, []
    name, size, runs = result.organism.name, int(result.curves.kept.values[-1]), result.config.kept_runs
    for phase in map(str, result.curves.phase.values):
        curve = result.curves.sel(phase=phase)
        needed, chance = needed_intervals(curve), units_needed(curve)["random"].ravel()
        null = dict(zip(("null_low", "null_median", "null_high"), np.quantile(chance, [0, 0.5, 1]), strict=True))
        for kind in ("effect", "variance"):
            rows.append(_row(f"units needed, {phase}", _ORDERS[kind], needed[kind], runs, **null))
        numbers[phase] = {kind: interval[0] for kind, interval in needed.items()}
        best = needed["effect"]
        clear.append(best[2] < null["null_low"] or best[1] > null["null_high"])
        parts.append(f"{number(best[0], 0)} when {phase} (at random {number(null['null_median'], 0)})")
        short.append(f"{number(best[0], 0)} {_PHASE_VERBS[phase]}")
    text = (
        f"To keep a fitness of {ENOUGH} with all other units at their mean, {name} needs, of its {size} units and "
        f"ranked by effect, {join_words(parts)}."
    )
    note = (
        "Units are ranked in other runs than those judged. The number is where the curve reaches 0.9 for good. Null: "
        "random orders, the range over orders and runs. Between the shares kept it is interpolated; another order "
        "might do with fewer. With no unit kept, a grown body stands still."
    )
    short_text = (
        f"Of {size} hidden units {name} takes {join_words(short)}, kept by effect with the others at their mean."
    )
    defined = all(np.isfinite(row["value"]) for row in rows)
    answer = Answer(short_text, "clear" if defined else "cannot tell", "kept", surprise(rows[0]) if clear[0] else 0.0)
    return [Claim(_NAME, text, evidence(*rows), {"organism": name, "needed": numbers}, note, answer)]


def _phases_differ(result: UnitResult) -> list[Claim]:
    """Does a regenerating body need more units than a growing one?"""
    curves = result.curves
    if not curves or not {"growing", "regenerating"} <= set(curves.phase.values.tolist()):
        return []
    if result.config.kept_runs < _MIN_RUNS:
        return []
    phases = ("growing", "regenerating")
    by_phase = {
        phase: {kind: np.median(values, 0) for kind, values in units_needed(curves.sel(phase=phase)).items()}
        for phase in phases
    }
    rows, differences = [], {}
    for kind in ("effect", "variance", "random"):
        values = by_phase["regenerating"][kind] - by_phase["growing"][kind]
        interval = differences[kind] = metrics.median_interval(values)
        rows.append(
            _row("regenerating minus growing", f"units needed, {kind}", interval, int(np.isfinite(values).sum()))
        )
    value, low, high = differences["effect"]
    if not np.isfinite(value):
        return []
    clear = low > 0 or high < 0
    text = (
        f"To regenerate, {result.organism.name} needs {plural(round(abs(value)), 'unit')} "
        f"{'more' if value > 0 else 'fewer'} than to grow ({number(low, 0)} to {number(high, 0)})"
    )
    text += "." if clear else ", which does not exclude no difference."
    return [
        Claim(_NAME, text, evidence(*rows), {"difference": value}, "Paired by run; ranked by effect in each phase.")
    ]


def _backup(result: UnitResult) -> list[Claim]:
    """Which units back up the one needed most."""
    claims = []
    for phase, judged in result.backup.groupby("phase", sort=False) if len(result.backup) else ():
        primary, runs = int(judged.primary.iloc[0]), int(judged.runs.iloc[0])
        rows = []
        for unit in judged.itertuples(index=False):
            backup = (unit.backup, unit.backup_low, unit.backup_high)
            response = (unit.response, unit.response_low, unit.response_high)
            rows.append(_row(f"unit {unit.unit}", "backup", backup, runs, p=unit.p, q=unit.q))
            rows.append(_row(f"unit {unit.unit}", "response", response, runs, p=unit.p_response, q=unit.q_response))
        loss = number(judged.fitness_primary.iloc[0])
        lead = f"When {phase}, without unit {primary} (fitness {loss}),"
        backs_up, more = judged[judged.backs_up], judged[(judged.backup >= MIN_BACKUP) & (judged.q <= _MAX_Q)]
        if len(backs_up):
            responding = int(backs_up.responds.sum())
            how = "the activity of the control would repair as much"
            if responding:
                how = f"{responding} of {len(backs_up)} respond to it: the activity of the control would repair less"
            text = (
                f"{lead} the loss of {join_words([f'unit {u}' for u in backs_up.unit])} costs more than before; {how}."
            )
        elif len(more):
            text = (
                f"{lead} the loss of {len(more)} of the {len(judged)} best candidates costs more than before, by up to "
                f"{number(more.backup.max())}, but no more than changes of colour that merely add: no backup is shown."
            )
        else:
            text = f"{lead} none of the {len(judged)} best candidates for backup costs more than before."
        note = (
            f"Candidates were proposed by {result.config.backup_screen_runs} runs and judged in {runs} others. Backup: "
            "0.05 of fitness or more, q ≤ 0.05, and more than two changes that merely add. Response: what is lost by "
            "holding the candidate to the control."
        )
        claims.append(Claim(_NAME, text, evidence(*rows), {"phase": phase, "primary": primary}, note))
    return claims


def _families(result: UnitResult) -> list[Claim]:
    """Are there families of units, beyond what shuffled tables show?"""
    clusters = result.clusters
    null = np.asarray(clusters.get("null", ()))
    if not len(null):
        return []
    value, p = clusters["silhouette"], clusters["p"]
    low, median, high = np.quantile(null, [0.05, 0.5, 0.95])
    row = {"quantity": "clusters of profiles", "measure": "silhouette", "value": value, "null_median": median}
    row |= {"null_low": low, "null_high": high, "p": p, "n": len(result.units), "unit": "units"}
    names = "; ".join(f"{f.name} ({f.units})" for f in result.families.head(4).itertuples(index=False))
    if p <= _MAX_Q:
        text = (
            f"The units fall into {clusters['families']} families, more clearly than shuffled profiles do (silhouette "
            f"{number(value)}, shuffled {number(median)}, p = {probability(p)}): {names}."
        )
    else:
        text = (
            f"The units fall into no clearer families than shuffled profiles do (silhouette {number(value)}, shuffled "
            f"{number(median)}, p = {probability(p)})."
        )
    note = f"Null: {len(null)} tables in which every column is shuffled over units, clustered in the same way."
    return [Claim(_NAME, text, evidence(row, null_interval="5 to 95 %"), {"families": clusters["families"]}, note)]


def _suppression(result: UnitResult) -> list[Claim]:
    """Do units write against what they read, beyond a leak?"""
    data = result.suppression
    if not data:
        return []
    own, null = data.opposition.values, data.null.values
    clear = (data.q.values <= _MAX_Q) & (own > 0)
    draw = np.random.default_rng(result.config.seed)
    picks = draw.integers(null.shape[1], size=(999, null.shape[0]))
    shuffled, mean = null[np.arange(len(own)), picks].mean(1), float(own.mean())
    p = min(1.0, 2 * min(p_value(mean, shuffled), p_value(-mean, -shuffled)))
    low, median, high = np.quantile(shuffled, [0.025, 0.5, 0.975])
    leak, leak_null = (float(np.median(v)) for v in (data.leak.values, data.leak_null.values))
    row = {"quantity": "opposition of reading and writing", "measure": "mean over units", "value": mean, "p": p}
    row |= {"null_median": median, "null_low": low, "null_high": high, "n": len(own), "unit": "units"}
    rows = [row, {"quantity": "opposition", "measure": "units with q ≤ 0.05", "value": clear.sum(), "n": len(own)}]
    rows.append({"quantity": "a plain leak", "measure": "share of activity explained, median", "value": leak})
    low, high = np.quantile(data.leak_null.values, [0.025, 0.975])
    rows[-1] |= {"null_median": leak_null, "null_low": low, "null_high": high, "n": len(own), "unit": "units"}
    for unit in np.argsort(-data.suppression.values)[:5]:
        value = float(data.suppression.values[unit])
        rows.append({"quantity": f"unit {unit}", "measure": "opposition × share beyond a leak", "value": value})
        rows[-1]["q"] = float(data.q.values[unit])
    verb = "write against" if mean > median else "add to"
    text = (
        f"On average units {verb} what they read of their own cell {'more' if p <= _MAX_Q else 'no more'} than chance "
        f"(opposition {number(mean)}, of mismatched units {number(median)}, p = {probability(p)}); {clear.sum()} of "
        f"{len(own)} do so one by one (q ≤ 0.05). A plain leak explains {percent(leak)} of a unit’s activity (median; "
        f"of another unit’s, {percent(leak_null)})."
    )
    note = "Null: the reading of a unit with the writing, or the activity, of another."
    return [Claim(_NAME, text, evidence(*rows, null_interval="2.5 to 97.5 %"), {"mean": mean}, note)]


def _kept_table(result: UnitResult) -> pd.DataFrame:
    """A row for each phase, order and number of units kept: fitness over runs."""
    rows = []
    for phase in result.curves.phase.values if result.curves else ():
        curve = result.curves.sel(phase=phase)
        for order in curve.order.values:
            for kept in curve.kept.values:
                median, low, high = metrics.median_interval(curve.fitness.sel(order=order, kept=kept), resamples=200)
                rows.append({"phase": phase, "order": order, "kept": kept, "fitness": median})
                rows[-1] |= {"fitness_low": low, "fitness_high": high, "runs": curve.sizes["run"]}
    return pd.DataFrame(rows)


def _method(config: UnitConfig) -> str:
    return (
        "A unit’s activity is its value after the activation, read in unperturbed runs; reading and writing are "
        "described through groups of channels and whitened directions, which do not depend on the basis of the "
        "hidden channels. Ablations last for a whole phase: zero everywhere, or the mean over the body’s mature "
        "cells of the whole phase, set in the cells that are mature at that step and nowhere else. Fitness compares "
        "with the control of the same key.\n\n"
        "Units kept: all others are held at their mean. Random orders are the null of an order; orders by effect were "
        "measured in other runs.\n\n"
        "Backup of the primary i by j: (W_i − W_ij) − (1 − W_j), in runs that did not propose j; fitness below −1 "
        "counts as −1. The response compares the run without i with one in which j is also held, cell by cell and "
        "step by step, to what it does in the control.\n\n"
        "Families: z scores of what units read, of when and where they are active and of what they write, clustered by "
        "Ward’s method; the number of clusters is that whose silhouette exceeds those of shuffled tables most, which "
        "is compared with the same of "
        f"{config.surrogates} tables with shuffled columns."
    )

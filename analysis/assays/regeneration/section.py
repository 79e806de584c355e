"""Regeneration told: sentences, figures and tables from finished results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.assays.regeneration import plots as healing_plots
from analysis.assays.regeneration import wounds as healing
from analysis.assays.regeneration.wounds import AS_CUT, HEALED, Healing
from analysis.report import format, plots
from analysis.report.format import as_given, number, percent, plural
from analysis.report.model import Claim, Section, SvgFigure, svg_figure
from nca.damage import CUTS

NAME = "regeneration"


def section(found: Sequence[Healing]) -> Section:
    """What several organisms heal, in one table and one set of figures."""
    told = [one for one in found if not one.trouble]
    findings = [f for one in told for f in (five_cuts(one), *fates(one), *sweeps(one), *controls(one))]
    return Section(
        NAME,
        "Regeneration",
        findings,
        figures=drawings(told) if told else (),
        lookup={"Five cuts": shown(told)} if told else {},
        tables=tables(told) if told else {},
        method=method(found[0]),
        skipped=[f"{one.organism.name}: {one.trouble}" for one in found if one.trouble] + lost(told),
        data={f"{NAME}-{n}": one.cuts for n, one in enumerate(told)},
    )


def shown(found: Sequence[Healing]) -> pd.DataFrame:
    """The five cuts of all organisms, for a reader."""
    rows = []
    for one in found:
        for row in healing.table(one.cuts).itertuples():
            if row.wound in CUTS:
                part = pd.Series(row._asdict())
                keys = [number(v) for v in one.cuts.recovered.sel(wound=row.wound).values]
                rows.append(
                    {"organism": one.organism.name, "cut": row.wound, "recovered": interval(part)}
                    | {"keys": " ".join(keys), "steps to 90 %": timed(part)}
                    | {"overshoot": percent(row.overshoot), "overgrown": row.overgrown_runs}
                )
    return pd.DataFrame(rows)


def five_cuts(one: Healing) -> Claim:
    """From how many of the five cuts a body heals, and which keys disagree."""
    rows = healing.table(one.cuts).set_index("wound").loc[list(CUTS)]
    medians = rows.recovered
    known = medians.notna()
    healed = [n for n in CUTS if medians[n] >= HEALED]
    name, config = one.organism.name, one.config
    if not known.any():
        claim = f"{name}: recovered is not defined after any cut."
    else:
        which = f": {', '.join(healed)}" if 0 < len(healed) < len(CUTS) else ""
        claim = f"{name} heals {len(healed)} of {len(CUTS)} cuts by {percent(HEALED)} or more{which}."
    parts = [f"{n} {interval(rows.loc[n])}" + split(rows.loc[n]) for n in CUTS]
    took = [f"{n} {timed(rows.loc[n])}" for n in CUTS if known[n]]
    evidence = (
        f"recovered, median and {format.interval_label(config.runs)} "
        f"(bootstrap): {'; '.join(parts)}. "
        f"Cut at step {config.cut_at}, judged at {config.until}; 0 is as cut, 1 as good as the uncut twin of "
        "the same key."
    )
    if took:
        evidence += f" Steps to 90 %: {', '.join(took)}."
    numbers = {"organism": name, "wounds": rows.reset_index().to_dict("records")}
    return Claim(NAME, claim, evidence, numbers)


def interval(row: pd.Series) -> str:
    """A median with its interval."""
    if not np.isfinite(row.recovered):
        return format.NOT_DEFINED if np.isnan(row.recovered) else "exploded"
    return f"{number(row.recovered)} ({number(row.low)} to {number(row.high)})"


def split(row: pd.Series) -> str:
    """The keys of a body between two fates."""
    if not row.bistable:
        return ""
    keys = row.unhealed_keys.split()
    return f", two fates: {'key' if len(keys) == 1 else 'keys'} {', '.join(keys)} below {AS_CUT}"


def timed(row: pd.Series) -> str:
    """The median time to 90 %, or that it was not reached."""
    median = f"{row.steps_to_90:.0f}" if np.isfinite(row.steps_to_90) else "not reached by half the keys"
    return f"{median} ({row.healed_runs} of {row.defined})"


def fates(one: Healing) -> list[Claim]:
    """What became of cut bodies long after."""
    if not one.fates:
        return []
    named = one.fates.fate.sel(wound=list(CUTS)).values.ravel().tolist()
    counted = ", ".join(f"{named.count(f)} {f}" for f in dict.fromkeys(sorted(named, key=named.count)[::-1]))
    keep = int((one.fates.fate_twin == "keeps its body").sum())
    runs = one.fates.sizes["run"]
    by_cut = "; ".join(f"{n}: {', '.join(one.fates.fate.sel(wound=n).values.tolist())}" for n in CUTS)
    claim = f"{one.organism.name}, cut bodies at step {one.config.late}: {counted} (of {len(named)})."
    evidence = f"{by_cut}. Uncut, {keep} of {plural(runs, 'twin')} still {'has' if keep == 1 else 'have'} a body"
    return [Claim(NAME, claim, evidence + ".", {"organism": one.organism.name, "fates": named})]


def sweeps(one: Healing) -> list[Claim]:
    """The worst half plane and the worst hole."""
    said = []
    for found, what in ((one.planes, "half plane"), (one.holes, "hole")):
        if not found:
            continue
        rows = healing.table(found)
        known = rows[rows.recovered.notna()]
        many = f"{plural(len(rows), what)}, {plural(found.sizes['run'], 'key')} each"
        if known.empty:
            claim = f"{one.organism.name}: recovered is not defined after any {what}."
            said.append(Claim(NAME, claim, many))
            continue
        good = int((known.recovered >= HEALED).sum())
        worst = known.loc[known.recovered.idxmin()]
        claim = f"{one.organism.name} heals {good} of {plural(len(known), what)} by {percent(HEALED)} or more."
        wound = worst.wound.replace("-", "−").replace("+0 ", "0 ")
        evidence = (
            f"{many}; median {number(float(known.recovered.median()))}, worst {number(worst.recovered)} "
            f"({wound}, which takes {percent(worst.removed)} of the body)"
        )
        if what == "hole":
            sizes = known.groupby("radius").recovered
            evidence += "; " + ", ".join(f"radius {r:g}: {int((v >= HEALED).sum())} of {len(v)}" for r, v in sizes)
        if len(known) < len(rows):
            evidence += f"; {len(rows) - len(known)} more not defined"
        said.append(Claim(NAME, claim, evidence, {"organism": one.organism.name, "healed": good}))
    return said


def controls(one: Healing) -> list[Claim]:
    """What the cut in the empty margin did."""
    changed = healing.margin_changed(one.cuts)
    if changed is None:
        reason = "its living cells reach all sides of the canvas"
        return [Claim(NAME, f"{one.organism.name} has no empty margin for a control cut.", reason)]
    claim = f"{one.organism.name}: a cut in the empty margin changes " + (
        "exactly nothing." if changed == 0 else f"the end by {changed:g}, which it must not."
    )
    evidence = (
        f"largest difference from the uncut twin at step {one.config.until}, over {plural(one.config.runs, 'key')}"
    )
    return [Claim(NAME, claim, evidence, {"organism": one.organism.name, "changed": changed})]


def lost(found: Sequence[Healing]) -> list[str]:
    """Organisms whose uncut twins lose the body, so that nothing is defined beside them."""
    said = []
    for one in found:
        kept = np.asarray(metrics.has_body(one.cuts.e_twin.values[:, -1], one.cuts.dead.values[:, -1]))
        if not kept.all():
            said.append(
                f"{one.organism.name}: recovered is not defined in {int((~kept).sum())} of {kept.size} keys, "
                f"whose uncut twin itself has lost the body by step {one.config.until}."
            )
    return said


def tables(found: Sequence[Healing]) -> dict[str, pd.DataFrame]:
    """Every wound of every organism, a row each; every key."""

    def joined(parts: Sequence[tuple[Healing, Any]]) -> pd.DataFrame:
        frames = [healing.table(data).assign(organism=one.organism.name) for one, data in parts]
        whole = pd.concat(frames, ignore_index=True)
        return whole[["organism", *whole.columns.drop("organism")]]

    made = {"five-cuts": joined([(one, one.cuts) for one in found])}
    for name in ("planes", "holes"):
        parts = [(one, getattr(one, name)) for one in found if getattr(one, name)]
        if parts:
            made["half-planes" if name == "planes" else name] = joined(parts)
    rows = [
        {
            "organism": one.organism.name,
            "wound": w,
            "run": int(r),
            "fate": str(one.fates.fate.sel(wound=w, run=r).values),
        }
        | {"recovered": float(one.fates.recovered.sel(wound=w, run=r))}
        | {"uncut": str(one.fates.fate_twin.sel(run=r).values), "step": one.config.late}
        for one in found
        if one.fates
        for w in healing_plots.drawn_wounds(one)
        for r in one.fates.run.values
    ]
    return made | ({"late-fates": pd.DataFrame(rows)} if rows else {})


def drawings(found: Sequence[Healing]) -> list[SvgFigure]:
    """The figures, each with what it shows of the control."""
    config = found[0].config
    twin = "Right of 0 is better than just after the cut; green is the uncut twin of the same key."
    with plots.style():
        made = [
            svg_figure(
                "five-cuts",
                healing_plots.cuts(found),
                f"Recovered fraction after each of five cuts at step {config.cut_at}, judged at step "
                f"{config.until}: every one of {config.runs} keys (circles), the median (bar). {twin} Arrow "
                f"heads at the left: keys below {as_given(healing_plots.LEAST)}.",
            ),
            svg_figure(
                "cut-portraits",
                healing_plots.portraits(found),
                f"The first run of {', '.join(one.organism.name for one in found)}, in this order: just "
                "after each cut, when judged and late; at the left the uncut twin.",
            ),
            svg_figure(
                "time-to-heal",
                healing_plots.times(found),
                "Kaplan-Meier curves of the steps until 90 % is recovered, looked at every 20 steps, over "
                f"{config.runs} keys, with 95 % intervals (log-log); keys that did not get there are "
                f"censored at step {config.until}.",
            ),
        ]
        keys = plural(config.sweep_runs, "key")
        if any(one.planes for one in found):
            text = (
                f"Median of {keys} after half planes are cut away: by direction (0° right, 90° down), and "
                "by the offset of the edge from the canvas’s middle (negative takes more than half). "
                "Crosses: not defined."
            )
            made.append(svg_figure("half-planes", healing_plots.planes(found), text))
        if any(one.holes for one in found):
            text = (
                "Where a hole does not heal: each cell of the body has the colour of the nearest hole’s "
                f"middle (dots), median of {keys}; the bar below is as long as the hole is wide. Crosses: "
                "not defined."
            )
            made.append(svg_figure("wound-map", healing_plots.holes(found), text))
    return made


def method(one: Healing) -> str:
    """How it was done."""
    config = one.config
    return (
        f"Wounds erase every channel of the cells they take, once, at step {config.cut_at}. Recovered is "
        "(E_cut − E_end) / (E_cut − E_twin,end), with E the squared error to the target (to the uncut twin "
        f"at the same step where there is none) and E_end at step {config.until}. It is not defined where a "
        f"wound changed E, or left it above the twin's end, by less than {metrics.LEAST_WOUND:g}, or where "
        "the uncut twin has lost its body. An explosion (−∞) is below all numbers. A run with more than "
        "twice its twin's mature cells has overgrown and is stopped there. Time to 90 % is the first of the "
        "steps looked at (every 20) with that share "
        "recovered, beside the twin of that step; runs that never get there are censored (Kaplan-Meier). "
        "Overshoot is the most that the mature cells ever exceed the twin's. Late, a body is healed where "
        f"90 % is recovered, else scarred. Two fates: some keys reach {HEALED}, others stay below {AS_CUT}. "
        "Keys repeat one network: they say how reproducible its healing is, not how such networks heal in "
        "general. Wounded run and uncut twin share every fire mask."
    )

"""Robustness told: sentences, figures and tables from finished results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.assays.robustness import battery as robustness
from analysis.assays.robustness import plots as robust_plots
from analysis.assays.robustness.battery import Robust
from analysis.assays.robustness.disturbances import KINDS, MOVED, RATE, SMALL, UPDATES
from analysis.report import format, plots
from analysis.report.format import as_given, number, plural
from analysis.report.model import Claim, Section, SvgFigure, svg_figure

NAME = "robustness"
WHOLE = 0.9
EMPTY = 1.0  # distance of an empty canvas from any twin, as a share of its norm


def section(found: Sequence[Robust]) -> Section:
    """How much disturbance several organisms bear."""
    told = [one for one in found if not one.trouble]
    findings = [f for one in told for f in (*doses(one), *returned(one), *canalized(one))]
    return Section(
        NAME,
        "Robustness",
        findings,
        figures=drawings(told),
        lookup={f"Doses, {one.organism.name}": shown(one) for one in told},
        tables=tables(told),
        method=method(found[0]),
        skipped=[f"{one.organism.name}: {one.trouble}" for one in found if one.trouble]
        + [f"{one.organism.name}: {line}" for one in found for line in one.skipped],
        data={f"{NAME}-{n}": one.returns for n, one in enumerate(told) if one.returns},
    )


def doses(one: Robust) -> list[Claim]:
    """Up to which dose the body stays whole, kind by kind."""
    said = []
    for kind in KINDS:
        rows = robustness.summary(one.doses[one.doses.kind == kind]) if len(one.doses) else pd.DataFrame()
        if rows.empty:
            continue
        known = rows[rows.fitness.notna()]
        name, keys = one.organism.name, plural(int(rows["keys"].max()), "key")
        if known.empty:
            claim = f"{name}, {kind}: W is not defined."
            why = "undisturbed there is no body to lose"
            said.append(Claim(NAME, claim, f"{why}; {keys}.", {"kind": kind}))
            continue
        parts = [
            f"{as_given(row.dose)}: {interval(row)}"
            + (f", {int(row.overgrown_runs)} overgrew" if row.overgrown_runs else "")
            + (f", {int(row.exploded_runs)} exploded" if row.exploded_runs else "")
            for row in rows.itertuples()
        ]
        evidence = (
            f"median W and {format.interval_label(int(rows['keys'].max()))} (bootstrap), "
            f"by {robust_plots.LABELS[kind]}: "
            f"{'; '.join(parts)}; the undisturbed twin of each key is 1, an empty canvas 0"
        )
        numbers = {"organism": name, "kind": kind, "doses": rows.to_dict("records")}
        said.append(Claim(NAME, f"{name}, {kind}: {borne(kind, known)}.", evidence + ".", numbers))
    return said


def borne(kind: str, rows: pd.DataFrame) -> str:
    """Which doses leave the body whole, in words."""
    good = rows[rows.fitness >= WHOLE].dose
    if kind in (RATE, UPDATES):
        if good.empty:
            return f"no other rate gives a whole body (W ≥ {WHOLE})"
        return f"whole (W ≥ {WHOLE}) at {', '.join(f'{v:g}' for v in sorted(good))}"
    closer = kind in (SMALL, MOVED)
    ordered = rows.sort_values("dose", ascending=not closer)
    failing = ordered[ordered.fitness < WHOLE]
    if failing.empty:
        return f"whole (W ≥ {WHOLE}) at every dose, to {as_given(ordered.dose.iloc[-1])}"
    before = ordered[: ordered.index.get_loc(failing.index[0])]
    if before.empty:
        return f"no longer whole (W < {WHOLE}) from the least dose on, {as_given(ordered.dose.iloc[0])}"
    return f"whole (W ≥ {WHOLE}) to {as_given(before.dose.iloc[-1])}, no longer at {as_given(failing.dose.iloc[0])}"


def returned(one: Robust) -> list[Claim]:
    """Whether a disturbed state comes back to its twin."""
    if not one.returns:
        return []
    away = one.returns.distance
    parts, back = [], 0
    for dose in away.dose.values:
        values = away.sel(dose=dose).values
        share = np.median(values[:, -1] / values[:, 0])
        back += bool(share <= 0.5 and np.median(values[:, -1]) < EMPTY)
        first, last = np.median(values[:, 0]), np.median(values[:, -1])
        parts.append(f"{dose:g} sd: {number(first, 3)} to {number(last, 3)}")
    floor = float(np.median(one.returns.floor.values[:, -1]))
    claim = (
        f"{one.organism.name} at least halves its distance to its undisturbed twin after {back} of "
        f"{plural(len(parts), 'dose')} of state noise."
    )
    evidence = (
        "distance of all channels, as a share of the twin’s norm, just after the noise and "
        f"{one.config.horizon} steps later, under the same fire masks: {'; '.join(parts)} (an empty "
        f"canvas: 1); median of {plural(one.config.runs, 'key')}"
    )
    if np.isfinite(floor):
        evidence += f"; another key’s run is {number(floor, 3)} away"
    return [Claim(NAME, claim, evidence + ".", {"organism": one.organism.name, "halved": back})]


def canalized(one: Robust) -> list[Claim]:
    """Whether keys are less apart at the end than they were."""
    ratios = robustness.canalization(one.spread)
    if not ratios:
        return []
    names = {"visible": "pictures", "hidden": "hidden channels"}
    parts = [f"{names[k]} {number(r)} ({number(low)} to {number(high)})" for k, (r, low, high) in ratios.items()]
    ends = "; ".join(
        f"{names[str(k)]} {number(float(np.nanmedian(v.values[:, 0])))} at step {one.spread.time.values[0]}, "
        f"{number(float(np.nanmedian(v.values[:, -1])))} at {one.spread.time.values[-1]}"
        for k, v in one.spread.data_vars.items()
    )
    yes = all(high < 1 for _, _, high in ratios.values())
    do = "come together" if yes else "do not clearly come together"
    claim = f"{one.organism.name}: the keys {do} as they grow."
    evidence = (
        f"distance between two keys at step {one.config.at} over the median on the way: "
        f"{', '.join(parts)}; distances as shares of the norm: {ends}; bootstrap over "
        f"{plural(one.config.runs, 'key')}"
    )
    return [Claim(NAME, claim, evidence + ".", {"organism": one.organism.name, "canalization": ratios})]


def shown(one: Robust) -> pd.DataFrame:
    """Medians by kind and dose, for a reader."""
    rows = robustness.summary(one.doses)
    return pd.DataFrame(
        {
            "kind": rows.kind,
            "dose": [as_given(v) for v in rows.dose],
            "W": [interval(row) for row in rows.itertuples()],
            "rise of L": [number(v) for v in rows.worse],
            "overgrew": rows.overgrown_runs,
            "exploded": rows.exploded_runs,
        }
    )


def interval(row: Any) -> str:
    """A median of W with its interval."""
    if not np.isfinite(row.fitness):
        return format.NOT_DEFINED if np.isnan(row.fitness) else "exploded"
    return f"{number(row.fitness)} ({number(row.fitness_low)} to {number(row.fitness_high)})"


def tables(found: Sequence[Robust]) -> dict[str, pd.DataFrame]:
    """Every run; medians; every distance."""
    if not found:
        return {}

    def joined(parts: Sequence[tuple[Robust, pd.DataFrame]]) -> pd.DataFrame:
        whole = pd.concat([f.assign(organism=one.organism.name) for one, f in parts], ignore_index=True)
        return whole[["organism", *whole.columns.drop("organism")]]

    made = {
        "robustness-runs": joined([(one, one.doses) for one in found]),
        "robustness": joined([(one, robustness.summary(one.doses)) for one in found]),
        "spread-between-keys": joined([(one, one.spread.to_dataframe().reset_index()) for one in found]),
    }
    back = [(one, one.returns.distance.to_dataframe().reset_index()) for one in found if one.returns]
    return made | ({"return-to-twin": joined(back)} if back else {})


def drawings(found: Sequence[Robust]) -> list[SvgFigure]:
    """The figures, null beside value."""
    if not found:
        return []
    config, keys = found[0].config, plural(found[0].config.runs, "key")
    with plots.style():
        made = []
        if any(len(one.doses) for one in found):
            text = (
                f"Fitness W against dose: every one of {keys} (dots), the median and its bootstrap "
                "interval. Green: the undisturbed twin; dashed: an empty canvas; below "
                f"{as_given(robust_plots.LEAST)} drawn there. State noise on grown bodies, judged "
                f"{config.horizon} steps later; all else from the seed to step {config.at}. Faint "
                "upright: the fire rate trained with; values above the frame are better than undisturbed. "
                "Crosses: not defined, as there was no body to lose."
            )
            made.append(svg_figure("dose-response", robust_plots.doses(found), text))
        if any(one.returns for one in found):
            text = (
                "After noise was added once to the grown body (in standard deviations of each channel): "
                "distance of all channels to the undisturbed twin under the same fire masks, every one of "
                f"{keys} and the median. Dashed: the distance to another key’s undisturbed run."
            )
            made.append(svg_figure("return-to-twin", robust_plots.returns(found), text))
        if config.runs > 1:
            text = (
                f"Spread between keys as bodies grow: every pair of {keys} (thin) and the median, as a share "
                "of the norm of the picture (left) and of the hidden channels (right)."
            )
            made.append(svg_figure("spread-between-keys", robust_plots.spread(found), text))
    return made


def method(one: Robust) -> str:
    """How it was done."""
    config = one.config
    return (
        "W = 1 − (E − E_twin) / (E_dead − E_twin), E to the target (to the undisturbed twin where there is "
        "none), of the same key and fire masks; not defined where the undisturbed run has no body to lose. "
        "An explosion (−∞) is below all numbers. State noise is Gaussian, on the cells mature at step "
        f"{config.at}, with a share of each channel’s standard deviation over them. Weight noise is Gaussian "
        "with a share of each array’s norm, another draw for every key; the same draw grows with the dose. "
        "Another fire rate cuts the same random numbers at another level; it is judged at step "
        f"{config.at} and, as growth is slower or faster, after as many updates per cell (in steps of "
        "20). A smaller canvas "
        "loses as many cells on every side, and sees the masks of the larger one around the seed; a moved "
        "seed takes target, twin and masks along, and what leaves the canvas is not judged. Cells to the "
        "edge: from the box around the grown bodies of all keys. Canalization: the median distance between "
        "keys at the end over the median of those at the steps before. Keys repeat one network."
    )

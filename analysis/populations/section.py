"""A population as a section of a report, from finished studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from analysis.populations import figures, words
from analysis.populations.members import Population, Verdict
from analysis.populations.studies import Study, by, compared, outsiders, table
from analysis.populations.words import absent
from analysis.report import plots
from analysis.report.format import number
from analysis.report.model import Section, SvgFigure, svg_figure

UNITS = (
    "A network is the unit, never a cell or a run. Networks that were trained on from one another, or began "
    "with the same weights, are one lineage: lineages are independent, and only over them are intervals "
    "drawn and p worked out. Regimes are compared lineage by lineage; a lineage that lacks a regime is left "
    "out of what compares it, and several networks of one lineage and regime count once, by their median. "
    "Over three regimes in their order: Page’s trend test, exact; its effect size is the mean over lineages "
    "of the rank correlation with the order. From one regime to the next, and against a null’s value: "
    "Wilcoxon’s signed rank test, exact, with the matched-pairs rank-biserial correlation. All p are "
    "two-sided, as a fall would be told as well; ties get mean ranks. Holm’s correction is over the tests of "
    "one kind, the main measures apart from those for contrast. Intervals are 95 % percentile bootstraps "
    "over six lineages or more, widened as so few need (Hesterberg 2015); of an effect near 1 or -1 they are "
    "still too narrow. "
)
ADMISSION = (
    "A network enters with L of at most {limit} at the step of the study, median over keys; the others are "
    "drawn as crosses and counted nowhere. At step 200, the project’s rule, networks trained as growing are "
    "expected to fail: their training looked at no step after some 95, and nothing ever asked them to hold "
    "their body longer. An overgrown body is no fair witness of what a grown one codes, so that the rule "
    "stands; but it leaves nothing to compare with. So the same question is asked at step 96 too, to which "
    "all three regimes were trained, with admission by L at that step. Neither is the better answer: step 96 "
    "compares bodies of one age, of which the persistent and regenerating are not yet at rest; step 200 "
    "compares bodies at rest, without the growing. Admission selects on the outcome of training, and regimes "
    "of a lineage differ in how long it was trained as well as in how: neither can be told apart from the "
    "regime here. "
)


def section(
    population: Population,
    studies: Sequence[Study],
    judged: Sequence[Sequence[Verdict]],
    limit: float,
    *,
    name: str = "population",
    title: str = "",
    method: str = "",
    pictures: bool = True,
) -> Section:
    """What studies of a population tell.

    Args:
        population: whose networks.
        studies: of one kind; those that compare most regimes lead.
        judged: who entered, step by step.
        limit: L of admission.
        name: of the section, a word.
        title: its heading.
        method: how values were measured.
        pictures: draw the bodies as well.
    """
    led = sorted(studies, key=lambda s: -len(s.regimes))
    said = words.findings(led)
    said += words.exclusions(population, judged, limit)
    drawn = drawings(name, led, judged if pictures else ())
    return Section(
        name,
        title or f"The population {population.name}",
        [replace(f, assay=name) for f in said],
        figures=drawn,
        lookup={f"Networks, {study.when}": shown(study) for study in studies},
        tables={f"{name}-values": pd.concat([table(s) for s in studies], ignore_index=True)}
        | {f"{name}-tests": pd.concat(_every_test(studies), ignore_index=True)},
        method=f"{UNITS + ADMISSION.format(limit=number(limit))}\n\n{method}",
        skipped=[f"{who}, {study.when}: {why}" for study in studies for who, why in study.skipped.items()],
    )


def _every_test(studies: Sequence[Study]) -> list[pd.DataFrame]:
    found = []
    for study in studies:
        found.append(compared(study).assign(statistic="value"))
        if "z" in study.values:
            found.append(compared(by(study, "z")).assign(statistic="z"))
    return found


def drawings(name: str, studies: Sequence[Study], judged: Sequence[Sequence[Verdict]]) -> list[SvgFigure]:
    """The figures."""
    with plots.style():
        made = [svg_figure(f"{name}-regimes", figures.regimes(studies), caption(studies))]
        for verdicts in judged:
            at = verdicts[0].at
            text = (
                f"The first run of every network at step {at}, by regime (rows) and lineage (columns), with "
                "its L, the median over keys. Faint, with a cross: excluded."
            )
            made.append(svg_figure(f"{name}-bodies-{at}", figures.bodies(verdicts), text))
    return made


def caption(studies: Sequence[Study]) -> str:
    """What the figure of regimes shows."""
    lines = "; ".join(
        f"{study.when}, {len({m.lineage for m in study.counted})} lineages and {len(study.counted)} networks admitted"
        for study in studies
    )
    null = (
        f" The null: {studies[0].null}; grey, the median over a regime’s networks of its 5 and its 95 %."
        if "low" in studies[0].values
        else f" The null of the tests: {studies[0].null}."
    )
    out = " Crosses: networks that do not enter, for their L." if any(map(outsiders, studies)) else ""
    if not out and absent(studies[0]):
        out = f" {absent(studies[0])}."
    return f"Every network (circles), joined within its lineage; bars are medians over lineages ({lines}).{out}{null}"


def shown(study: Study) -> pd.DataFrame:
    """Every network in a row, for a reader."""
    rows = table(study)
    wide = rows.pivot_table(index="member", columns="measure", values="value", sort=False, dropna=False)
    known = pd.DataFrame(
        {
            "network": [v.member.name for v in study.verdicts],
            "regime": [v.member.regime for v in study.verdicts],
            "lineage": [v.member.lineage for v in study.verdicts],
            f"L at {study.at}": [number(v.error) for v in study.verdicts],
            "enters": ["yes" if v.admitted else "no" for v in study.verdicts],
        }
    )
    for measure in study.measures:
        column = wide[measure.name] if measure.name in wide else pd.Series(dtype=float)
        known[measure.title] = [number(float(column.get(n, float("nan")))) for n in known.network]
    return known

"""A population as sections of a report: what increases over the regimes, what does not, and who was included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.assays.population import Measure
from analysis.populations.comparisons import TREND_REGIMES, Study, member_values, regime_medians, regime_tests
from analysis.populations.plots import population_figures
from analysis.populations.run import PopulationResult
from analysis.report.format import join_words, number, plural, probability, scientific
from analysis.report.model import Claim, Section, evidence
from analysis.stats.trends import ALPHA, MIN_LINEAGES

_MIN_TESTED = 3  # of which anything is claimed
_UNITS = (
    "The unit is the network, never a cell or a run. Networks that were trained on from one another, or that began "
    "with the same weights, are one lineage; lineages are independent, and intervals and p are computed over them. "
    "Regimes are compared within lineages: a lineage that lacks a regime is left out of its comparisons, and several "
    "networks of one lineage and regime count once, by their median. Over three regimes in their order: Page’s trend "
    "test, exact, with the mean over lineages of the rank correlation with the order as effect size. From one regime "
    "to the next, and against the value of a null: Wilcoxon’s signed rank test, exact, with the matched-pairs "
    "rank-biserial correlation. All p are two-sided; ties get mean ranks. q is p corrected over the tests of one kind "
    "(Holm), the main measures apart from those shown for contrast. Intervals are 95 % percentile bootstraps over "
    f"{MIN_LINEAGES} lineages or more, widened as so few need (Hesterberg 2015); they are still too narrow for effects "
    "near 1 or −1."
)
_INCLUSION = (
    "A network is included with a log10 MSE of at most {limit} at the step of the comparison, median over runs; "
    "the others are drawn as crosses and enter no statistic. Networks trained as growing are expected to fail at step "
    "200: their training looked at no step after some 95, so that nothing asked them to hold their body longer. An "
    "overgrown body says little about what a grown one codes, so the rule stands; but it leaves no growing network to "
    "compare with. The same question is therefore asked at step 96 too, to which all three regimes were trained. "
    "Neither answer is the better one: at step 96 bodies have one age, but those of the persistent and regenerating "
    "networks still change; at step 200 they are at rest, but the growing ones are missing. Inclusion selects on the "
    "outcome of training, and the regimes of a lineage differ in how long it was trained as well as in how; neither "
    "can be separated from the regime here."
)
_TESTS = {
    "trend": ("Page’s trend test", "rank correlation with the order of the regimes"),
    "change": ("Wilcoxon’s signed rank test", "matched-pairs rank-biserial correlation"),
}


def sections(results: Sequence[PopulationResult]) -> list[Section]:
    """A section for each assay of a population."""
    return [_section(result) for result in results]


def _section(result: PopulationResult) -> Section:
    name = result.assay.name
    studies = sorted(result.studies, key=lambda study: -len(study.regimes))  # that of most regimes first
    by_z = [study for study in map(_by_z, studies) if study]
    tests = [regime_tests(s).assign(statistic=n) for n, some in (("value", studies), ("z", by_z)) for s in some]
    limit = number(result.max_log_mse)
    return Section(
        name,
        f"{name.capitalize()} over the regimes",
        [*_comparisons(studies), *(_inclusion(result, study) for study in result.studies), *_missing(result)],
        figures=population_figures(name, studies),
        lookup={f"Networks, {study.when}": _network_table(study) for study in studies},
        tables={
            f"{name}-values": pd.concat([member_values(study) for study in studies], ignore_index=True),
            f"{name}-tests": pd.concat(tests, ignore_index=True),
        },
        method="\n\n".join([_UNITS, _INCLUSION.format(limit=limit), result.assay.method(result.config)]),
        skipped=[f"{member}, {s.when}: {why}" for s in studies for member, why in s.skipped.items()],
    )


def _by_z(study: Study) -> Study | None:
    """The same study with z, where it was measured, as the value."""
    return replace(study, values=study.values.assign(value=study.values.z)) if "z" in study.values else None


# Claims


def _comparisons(studies: Sequence[Study]) -> list[Claim]:
    """What changes over the regimes, step by step and against the null; then the measures shown for contrast."""
    claims: list[Claim] = []
    for main, opening in ((True, ""), (False, "For contrast, ")):
        pairs = [(study, [m for m in study.measures if m.main == main]) for study in studies]
        pairs = [(study, measures) for study, measures in pairs if measures]
        claims += [_trend_claim(study, measures, opening) for study, measures in pairs]
        if main:
            claims += [_step_claim(s, measures) for s, measures in pairs if len(s.regimes) >= TREND_REGIMES]
        with_null = [(s, [m for m in measures if m.null is not None]) for s, measures in pairs if s.regimes]
        claims += [_null_claim(study, measures, opening) for study, measures in with_null if measures]
    return claims


def _claim(study: Study, text: str, rows: Sequence[Mapping[str, Any]], numbers: Mapping[str, Any], note: str) -> Claim:
    text = text[:1].upper() + text[1:]
    return Claim(study.assay.name, text, evidence(*rows), {"step": study.step, **numbers}, note)


def _trend_claim(study: Study, measures: Sequence[Measure], opening: str) -> Claim:
    """Do the measures change over the regimes?"""
    regimes = study.regimes
    if len(regimes) < 2:
        return _no_comparison(study, measures, opening)
    kind, by_z = "trend" if len(regimes) >= TREND_REGIMES else "change", _by_z(study)
    tests, medians = _tests_of(study, kind, measures), regime_medians(study)
    z_tests = _tests_of(by_z, kind, measures) if by_z else tests.iloc[:0]
    outcomes, rows = {}, []
    for measure in measures:
        (test,), z_test = _rows_of(tests, measure), _rows_of(z_tests, measure)
        outcomes[measure.label] = outcome = _outcome(test)
        if by_z and (other := _outcome(*z_test)) != outcome:
            outcomes[measure.label] += f" (in units of the null’s SD: {other.format('it')})"
        for row in _rows_of(medians, measure):
            rows.append(_row(measure, f"median, {row.regime}", value=row.median, n=row.lineages))
        rows += _test_rows(measure, [test], kind, f"{regimes[0]} to {regimes[-1]}")
        rows += _test_rows(measure, z_test, kind, suffix=" of z")
    text = f"{opening}{study.when}, {plural(int(tests.n.max()), 'lineage')} show {_joined_outcomes(outcomes)} from "
    numbers = {"regimes": regimes, "tests": tests.to_dict("records")}
    return _claim(study, f"{text}{' to '.join(regimes)}.", rows, numbers, _test_note(kind, tests))


def _no_comparison(study: Study, measures: Sequence[Measure], opening: str) -> Claim:
    """There are no two regimes to compare."""
    if study.regimes:
        reason = f"only {study.regimes[0]} networks are included"
    elif study.included:
        reason = f"the regimes of the {plural(len(study.included), 'included network')} are not known"
    else:
        reason = "no network is included"
    values = member_values(study)
    values = values[values.included & values.value.notna()]
    rows = []
    for measure in measures:
        own = values[values.measure == measure.name].value
        if len(own):
            span = {"low": own.min(), "high": own.max()}
            rows.append(_row(measure, "median and range", value=own.median(), **span, n=len(own), unit="networks"))
    text = f"{opening}{study.when}, {reason}, so that no regimes are compared."
    return _claim(study, text, rows, {"regimes": study.regimes}, "")


def _step_claim(study: Study, measures: Sequence[Measure]) -> Claim:
    """Do the measures change from one regime to the next?"""
    tests = _tests_of(study, "change", measures)
    parts, rows = [], []
    for pair in dict.fromkeys(tests.regimes):
        own = tests[tests.regimes == pair]
        parts.append(f"{_joined_outcomes({m.label: _outcome(*_rows_of(own, m)) for m in measures})} from {pair}")
    for measure in measures:
        for test in _rows_of(tests, measure):
            rows += _test_rows(measure, [test], "change", test.regimes, f", {test.regimes}")
    text = f"{study.when}, lineages show {'; '.join(parts)}."
    return _claim(study, text, rows, {"tests": tests.to_dict("records")}, _test_note("change", tests))


def _null_claim(study: Study, measures: Sequence[Measure], opening: str) -> Claim:
    """Does each regime differ from the null: networks from their own, lineages together from its value?"""
    medians, tests = regime_medians(study), _tests_of(study, "level", measures)
    own_null = bool(medians.significant.notna().any())
    parts, rows = [], []
    for measure in measures:
        counts = []
        for test in _rows_of(tests, measure):
            change = {"value": test.change, "low": test.change_low, "high": test.change_high}
            rows.append(_row(measure, f"median minus null, {test.regimes}", test, **change))
        for row in _rows_of(medians, measure):
            counted = {"n": row.networks, "unit": "networks"}
            counts.append(f"{number(row.median)} {row.regime}")
            if own_null:
                counts[-1] = f"{row.significant:.0f} of {row.networks} {row.regime}"
                rows.append(
                    _row(measure, f"p ≤ {ALPHA} by its own null, {row.regime}", value=row.significant, **counted)
                )
            if np.isfinite(row.readable):
                rows.append(_row(measure, f"R² above 0, {row.regime}", value=row.readable, **counted))
        parts.append(f"{measure.label} {'in ' if own_null else ''}{join_words(counts)}")
    against = f"networks beyond their own null (p ≤ {ALPHA}, uncorrected)" if own_null else "medians over lineages"
    text = f"{opening}{study.when}, {against}: {'; '.join(parts)}."
    note = f"Compared with {study.assay.null(study.config)}; lineages by Wilcoxon’s signed rank test, q by Holm."
    return _claim(study, text, rows, {"tests": tests.to_dict("records")}, note)


def _inclusion(result: PopulationResult, study: Study) -> Claim:
    """Which networks enter the statistics at a step."""
    included, rows, counts = study.included, [], []
    for regime in result.population.regimes:
        own = [g for g in study.grown if g.member.regime == regime]
        count, median = sum(g.included for g in own), float(np.median([g.log_mse for g in own]))
        counts.append(f"{count} of {len(own)} {regime}")
        row = {"quantity": regime, "n": len(own), "unit": "networks"}
        rows += [{**row, "measure": "included networks", "value": count}]
        rows += [{**row, "measure": "median log10 MSE", "value": median}]
    excluded = {g.member.name: g for g in study.grown if not g.included}
    for name, g in excluded.items():
        rows.append({"quantity": name, "measure": f"excluded: {g.exclusion}", "value": g.log_mse})
    text = (
        f"At step {study.step}, {len(included)} of {plural(len(study.grown), 'network')} of {result.population.name} "
        f"are included ({', '.join(counts)}), from {plural(len({m.lineage for m in included}), 'independent lineage')}."
    )
    note = (
        f"A network is included with a log10 MSE of at most {number(result.max_log_mse)} at step {study.step}, median "
        f"over {plural(len(study.grown[0].run_log_mse), 'run')}."
    )
    reasons = {name: g.exclusion for name, g in excluded.items()}
    return _claim(study, text, rows, {"included": [m.name for m in included], "excluded": reasons}, note)


def _missing(result: PopulationResult) -> list[Claim]:
    """Which members could not be examined."""
    missing = result.population.missing
    text = f"{plural(len(missing), 'member')} that the folder lists could not be examined."
    rows = [{"quantity": member, "measure": reason} for member, reason in missing.items()]
    return [Claim(result.assay.name, text, evidence(*rows), {"missing": dict(missing)})] if missing else []


def _outcome(test: Any = None) -> str:
    """What a test says, as a phrase with a gap for the measure."""
    if test is None or not test.n:
        return "no lineage with all regimes for {}"
    lineages = plural(int(test.n), "lineage")
    if test.holm <= ALPHA and test.n >= _MIN_TESTED:
        return "an increase in {}" if test.effect > 0 else "a decrease in {}"
    if test.n < _MIN_TESTED or test.floor * test.family > ALPHA:
        if test.low <= 0 <= test.high or test.effect == 0:  # no interval with few lineages
            return f"nothing conclusive about {{}} ({lineages} are too few)"
        tendency = "an upward" if test.effect > 0 else "a downward"
        return f"{tendency} tendency in {{}} ({lineages} are too few to decide)"
    return "no clear trend in {}"


def _joined_outcomes(outcomes: Mapping[str, str]) -> str:
    """Outcomes by measure as one phrase, measures with the same outcome together."""
    groups: dict[str, list[str]] = {}
    for label, outcome in outcomes.items():
        groups.setdefault(outcome, []).append(label)
    return ", and ".join(outcome.format(join_words(labels)) for outcome, labels in groups.items())


def _tests_of(study: Study, kind: str, measures: Sequence[Measure]) -> pd.DataFrame:
    tests = regime_tests(study)
    return tests[(tests.test == kind) & tests.measure.isin([m.name for m in measures])]


def _rows_of(table: pd.DataFrame, measure: Measure) -> list[Any]:
    """The rows of a table that are about a measure."""
    return list(table[table.measure == measure.name].itertuples())


def _row(measure: Measure, statistic: str, test: Any = None, **values: Any) -> dict[str, Any]:
    """A row of evidence about a measure: the effect of a test, or other values; with the p of the test."""
    row: dict[str, Any] = {"quantity": measure.label, "measure": statistic, "unit": "lineages"}
    if test is not None:
        row |= {"value": test.effect, "low": test.low, "high": test.high, "p": test.p, "q": test.holm, "n": test.n}
    return row | values


def _test_rows(
    measure: Measure, tests: Sequence[Any], kind: str, ends: str = "", suffix: str = ""
) -> list[dict[str, Any]]:
    """The effect of tests with its p, and where `ends` names two regimes the median change between them."""
    rows = []
    for test in tests:
        if test.n:
            rows.append(_row(measure, _TESTS[kind][1] + suffix, test))
        if test.n and ends:
            change = {"value": test.change, "low": test.change_low, "high": test.change_high}
            rows.append(_row(measure, f"median change, {ends}", **change, n=test.n))
    return rows


def _test_note(kind: str, tests: pd.DataFrame) -> str:
    """Which test it was, of how many, and the least p that it can give."""
    tests = tests[tests.n > 0]
    if tests.empty:
        return f"{_TESTS[kind][0]} needs a lineage with every regime."
    floor, family = float(tests.floor.min()), int(tests.family.max())
    least = [scientific(p) if p < 0.001 else probability(p) for p in (floor, min(1.0, floor * family))]
    return (
        f"{_TESTS[kind][0]}, exact, two-sided; q is corrected over {plural(family, 'test')} (Holm); with "
        f"{plural(int(tests.n.min()), 'lineage')} p is at least {least[0]} and q at least {least[1]}."
    )


def _network_table(study: Study) -> pd.DataFrame:
    """Every network in a row, for a reader."""
    wide = member_values(study).pivot(index="member", columns="measure", values="value")
    rows = []
    for grown in study.grown:
        member, included = grown.member, "yes" if grown.included else "no"
        row = {"network": member.name, "regime": member.regime, "lineage": member.lineage}
        row |= {f"log10 MSE at {study.step}": number(grown.log_mse), "included": included}
        for measure in study.measures:
            row[measure.title or measure.label] = number(wide.get(measure.name, {}).get(member.name, np.nan))
        rows.append(row)
    return pd.DataFrame(rows)

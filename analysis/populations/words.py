"""A population in sentences: who counts, what rises over the regimes and what does not, with p and n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.populations.members import Population, Verdict
from analysis.populations.studies import FEWEST, THREE, Measure, Study, by, compared, levels, table
from analysis.report.format import number, plural, probability, scientific, value_range
from analysis.report.model import Claim
from analysis.stats.trends import BOUNDED, CLEAR

TOPIC = "population"


def listed(words: Sequence[str]) -> str:
    """Words as one speaks them: a, b and c."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else "none"


def findings(studies: Sequence[Study]) -> list[Claim]:
    """What studies of one kind say: their answers, then what stands behind them, then the contrast."""
    tested = {id(study): compared(study) for study in studies}
    said = [answer(s, tested[id(s)], s.main) for s in studies]
    said += [f for s in studies for f in steps(s, tested[id(s)], s.main)]
    said += [beyond(s, tested[id(s)]) for s in studies if any(m.null is not None for m in s.main)]
    for study in studies:
        other = [m for m in study.measures if not m.main]
        if other:
            said.append(answer(study, tested[id(study)], other, "For contrast, "))
    return said


def answer(study: Study, tested: pd.DataFrame, measures: Sequence[Measure], opening: str = "") -> Claim:
    """Whether measures rise over the regimes that there are."""
    regimes = study.regimes
    kind = "trend" if len(regimes) >= THREE else "change"
    rows = _of(tested, kind, measures)
    numbers = {"at": study.at, "regimes": regimes, "tests": rows.to_dict("records")}
    if len(regimes) < 2:
        claim, evidence = opening + _single(study), _spread(study, measures)
        return Claim(TOPIC, _capital(claim), evidence, numbers)
    scaled = _of(compared(by(study, "z")), kind, measures) if "z" in study.values else None
    n = int(rows.n.max())
    parts = grouped({m.words: _agreed(rows, scaled, m) for m in measures})
    claim = f"{opening}{study.when}, {_path(regimes)}, over {plural(n, 'lineage')}: {'; '.join(parts)}."
    claim += _clear(study, measures)
    evidence = "; ".join(_told(study, _one(rows, m), m) for m in measures)
    evidence += f". {_test_of(kind, rows)}"
    if scaled is not None:
        evidence += f". In units of the null’s sd (z) instead: {_scaled(scaled, measures)}"
    evidence += f". {absent(study)}" if absent(study) else ""
    return Claim(TOPIC, _capital(claim), evidence, numbers)


def grouped(said: Mapping[str, str]) -> list[str]:
    """What is said of each measure; once where it is the same of more than two."""
    of: dict[str, list[str]] = {}
    for measure, what in said.items():
        of.setdefault(what, []).append(measure)
    return [
        part
        for what, those in of.items()
        for part in ([f"{listed(those)}: each {what}"] if len(those) > 2 else [f"{one} {what}" for one in those])
    ]


def _clear(study: Study, measures: Sequence[Measure]) -> str:
    """In how many networks a measure is beyond that network's own null, whatever its trend."""
    if "p" not in study.values:
        return ""
    middle = levels(study)
    each = []
    for measure in measures:
        own = middle[middle.measure == measure.name]
        each.append(f"{measure.name} in {int(own.clear.sum())} of {int(own.networks.sum())}")
    return f" By their own null alone, networks show {listed(each)}."


def _path(regimes: Sequence[str]) -> str:
    return f"from {' to '.join(regimes)}"


def verdict(row: pd.Series | None) -> str:
    """What a test says of a measure."""
    if row is None or not row.n:
        return "cannot be compared, as no lineage has it in every regime"
    leans = "up" if row.effect > 0 else "down" if row.effect < 0 else "neither way"
    if row.holm <= CLEAR and row.n >= FEWEST:
        return "rises" if row.effect > 0 else "falls"
    if row.n < FEWEST or row.floor * row.family > CLEAR:
        if row.low <= 0 <= row.high:  # not where there are too few for an interval
            return f"stays open with {plural(int(row.n), 'lineage')}"
        return f"leans {leans}, which {plural(int(row.n), 'lineage')} cannot decide"
    return "neither rises nor falls clearly"


def _agreed(rows: pd.DataFrame, scaled: pd.DataFrame | None, measure: Measure) -> str:
    """The verdict, and where it is another in units of the null's sd, that as well."""
    said = verdict(_one(rows, measure))
    other = said if scaled is None else verdict(_one(scaled, measure))
    return said if other == said else f"{said} (in units of the null’s sd it {other})"


def _told(study: Study, row: pd.Series | None, measure: Measure) -> str:
    """Medians, effect and p of one measure."""
    middle = levels(study)
    own = middle[middle.measure == measure.name]
    medians = ", ".join(f"{r.regime} {number(r.median)}" for r in own.itertuples())
    if row is None or not row.n:
        return f"{measure.words}: medians {medians}"
    ends = str(row.regimes).split(" to ")
    return (
        f"{measure.words}: medians {medians}; effect {_ends(row.effect, row.low, row.high)}, p "
        f"{_small(row.p)}, corrected {_small(row.holm)}; median change from {ends[0]} to {ends[-1]} "
        f"{_ends(row.change, row.change_low, row.change_high)}"
    )


def _test_of(kind: str, rows: pd.DataFrame) -> str:
    """Which test it was, of how many, and what p it can reach."""
    name, effect = {
        "trend": ("Page’s trend test", "mean rank correlation with the order of the regimes"),
        "change": ("Wilcoxon’s signed rank test", "matched-pairs rank-biserial correlation"),
    }[kind]
    known = rows[rows.n > 0]
    if known.empty:
        return f"{name} needs a lineage with every regime"
    floor, family = float(known.floor.min()), int(known.family.max())
    more = ", more where some do not change" if known.floor.nunique() > 1 and known.n.nunique() == 1 else ""
    return (
        f"{name}, exact, two-sided, corrected over {plural(family, 'test')} (Holm): of "
        f"{plural(int(known.n.min()), 'lineage')} p is at least {_small(floor)}, corrected "
        f"{_small(min(1.0, floor * family))}{more}; effect: {effect}, with a 95 % bootstrap over lineages "
        f"where there are {BOUNDED}"
    )


def _scaled(rows: pd.DataFrame, measures: Sequence[Measure]) -> str:
    """The same tests on z, which allows for nulls of different width."""
    each = [(m, _one(rows, m)) for m in measures]
    return "; ".join(
        f"{m.name} effect {_ends(row.effect, row.low, row.high)}, p {_small(row.p)}, corrected {_small(row.holm)}"
        for m, row in each
        if row is not None and row.n
    )


def steps(study: Study, tested: pd.DataFrame, measures: Sequence[Measure]) -> list[Claim]:
    """From one regime to the next, where there are three."""
    if len(study.regimes) < THREE:
        return []
    rows = _of(tested, "change", measures)
    parts = []
    for pair in dict.fromkeys(rows.regimes):
        here = rows[rows.regimes == pair]
        each = grouped({m.words: verdict(_one(here, m)) for m in measures})
        parts.append(f"from {pair}, {', and '.join(each)}")
    told = "; ".join(
        f"{m.words} from {r.regimes} {_ends(r.change, r.change_low, r.change_high)}, effect "
        f"{_ends(r.effect, r.low, r.high)}, p {_small(r.p)}, corrected {_small(r.holm)}"
        for m in measures
        for r in rows[rows.measure == m.name].itertuples()
    )
    evidence = f"median changes: {told}. {_test_of('change', rows)}"
    claim = f"{_capital(study.when)}, step by step: {'; '.join(parts)}."
    return [Claim(TOPIC, claim, evidence, {"at": study.at, "tests": rows.to_dict("records")})]


def beyond(study: Study, tested: pd.DataFrame) -> Claim:
    """How each regime stands to the null: networks by their own, lineages together."""
    middle, own = levels(study), "p" in study.values
    parts = []
    for measure in study.main:
        rows = middle[middle.measure == measure.name]
        each = [f"{int(r.clear)} of {r.networks} {r.regime}" if own else f"{number(r.median)} {r.regime}"
                for r in rows.itertuples()]  # fmt: skip
        parts.append(f"{measure.words} {'in ' if own else ''}{listed(each)}")
    rows = _of(tested, "level", study.main)
    told = "; ".join(
        f"{m.words}, {r.regimes}: {_ends(r.change, r.change_low, r.change_high)}, p {_small(r.p)}, corrected "
        f"{_small(r.holm)}"
        for m in study.main
        for r in rows[rows.measure == m.name].itertuples()
    )
    against = f"beyond its own null (p ≤ {CLEAR}, not corrected)" if own else f"against {study.null}"
    claim = f"{_capital(study.when)}, {against}: {'; '.join(parts)}."
    evidence = f"median over lineages less the null’s value, Wilcoxon’s signed rank test: {told or 'none'}"
    if "r2" in study.values:
        evidence += f". {_readable(study)}"
    return Claim(TOPIC, claim, evidence, {"at": study.at, "tests": rows.to_dict("records")})


def _readable(study: Study) -> str:
    """How many can be read at all: an excess over a null below 0 may still be worse than guessing."""
    rows = table(study)
    rows = rows[rows.admitted & rows.r2.notna()]
    parts = []
    for measure in study.main:
        own = rows[rows.measure == measure.name]
        each = [
            f"{int((own[own.regime == r].r2 > 0).sum())} of {int((own.regime == r).sum())} {r}" for r in study.regimes
        ]
        parts.append(f"{measure.name} in {listed(each)}")
    return f"R² itself is above 0, so that place can be read at all: {'; '.join(parts)}"


def _single(study: Study) -> str:
    """Where there are no two regimes to compare."""
    if study.regimes:
        return f"{study.when}, only {study.regimes[0]} networks enter, so that no regimes are compared."
    if study.counted:
        many = plural(len(study.counted), "network")
        return f"{study.when}, the regimes of these {many} are not known, so that none are compared."
    return f"{study.when}, no network enters, so that nothing is compared."


def _spread(study: Study, measures: Sequence[Measure]) -> str:
    rows = table(study)
    rows = rows[rows.admitted & rows.value.notna()]
    parts = []
    for measure in measures:
        own = rows[rows.measure == measure.name].value
        if len(own):
            parts.append(f"{measure.words}: median {number(float(own.median()))}, {value_range(own.values)}")
    lines = plural(int(rows.lineage.nunique()), "lineage")
    return f"{'; '.join(parts) or 'no values'}; {lines}. {absent(study)}".strip()


def absent(study: Study) -> str:
    """Regimes that the population has and of which no network is admitted."""
    parts = []
    for regime in study.population.regimes:
        own = [v for v in study.verdicts if v.member.regime == regime]
        if any(v.admitted for v in own):
            continue
        middle = number(float(np.median([v.error for v in own])))
        parts.append(f"no {regime} network enters at step {study.at} (median L {middle} of {len(own)})")
    return _capital("; ".join(parts))


def exclusions(population: Population, judged: Sequence[Sequence[Verdict]], limit: float) -> list[Claim]:
    """Who enters the statistics and who does not, step by step."""
    said = [_entered(population, verdicts, limit) for verdicts in judged]
    if population.missing:
        reasons: dict[str, list[str]] = {}
        for name, why in population.missing.items():
            reasons.setdefault(why, []).append(name)
        gone = "; ".join(f"{why}: {', '.join(names)}" for why, names in reasons.items())
        claim = f"{plural(len(population.missing), 'member')} that the folder lists could not be examined."
        said.append(Claim(TOPIC, claim, gone, {"missing": dict(population.missing)}))
    return said


def _entered(population: Population, verdicts: Sequence[Verdict], limit: float) -> Claim:
    at, good = verdicts[0].at, [v.member for v in verdicts if v.admitted]
    out = {v.member.name: v.why for v in verdicts if v.why}
    each = [
        f"{sum(m.regime == r for m in good)} of {sum(v.member.regime == r for v in verdicts)} {r}"
        for r in population.regimes
    ]
    claim = (
        f"At step {at}, {len(good)} of {plural(len(verdicts), 'network')} of {population.name} enter the "
        f"statistics ({', '.join(each)}), of {plural(len({m.lineage for m in good}), 'independent lineage')}."
    )
    keys = plural(len(verdicts[0].keys), "key")
    same = f" at step {at}", f", above {number(limit)}"  # said of all at once
    told = "; ".join(f"{n}: {why.replace(same[0], '').removesuffix(same[1])}" for n, why in out.items())
    evidence = f"a network enters with L ≤ {number(limit)} at step {at}, median of {keys}; " + (
        f"excluded are {told}" if out else "none is excluded"
    )
    return Claim(TOPIC, claim, evidence, {"at": at, "admitted": [m.name for m in good], "excluded": out})


def _of(tested: pd.DataFrame, kind: str, measures: Sequence[Measure]) -> pd.DataFrame:
    return tested[(tested.test == kind) & tested.measure.isin([m.name for m in measures])]


def _one(rows: pd.DataFrame, measure: Measure) -> pd.Series | None:
    own = rows[rows.measure == measure.name]
    return own.iloc[0] if len(own) else None


def _ends(value: float, low: float, high: float) -> str:
    if not np.isfinite(low):
        return number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"


def _small(p: float) -> str:
    return probability(p) if not p < 0.001 else scientific(p)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

"""What was measured of every network of a population at one step, and what its regimes have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.populations.members import UNKNOWN, Member, Population, Verdict
from analysis.stats import trends

FEWEST = 3  # lineages of which anything is claimed
THREE = 3


@dataclass(frozen=True)
class Measure:
    """One number that every network has.

    Attributes:
        name: in tables.
        title: above a panel.
        words: in a sentence, such as "the code of x".
        null: the value that the null gives, where there is one.
        main: whether it answers the question; others are there for contrast, in a family of tests of
            their own.
    """

    name: str
    title: str
    words: str
    null: float | None = None
    main: bool = True


@dataclass(frozen=True, eq=False)
class Study:
    """Numbers of every network of a population.

    Attributes:
        name: a word for files.
        at: the step of admission, by which networks are told apart.
        when: in a sentence, when they are measured, such as "at step 200".
        label: of the axis that values are drawn on.
        null: in a sentence, what the null is.
        population: whose networks these are.
        verdicts: who enters the statistics.
        measures: what was measured.
        values: a row for each member and measure: member, measure, value (NaN: not defined), and where
            there is a null of each network low and high (5 and 95 % of it, on the scale of value), z
            and p.
        skipped: why a member has no values, by its name.
    """

    name: str
    at: int
    when: str
    label: str
    null: str
    population: Population
    verdicts: Sequence[Verdict]
    measures: Sequence[Measure]
    values: pd.DataFrame
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> list[Member]:
        """The members that enter the statistics."""
        return [v.member for v in self.verdicts if v.admitted]

    @property
    def regimes(self) -> list[str]:
        """The regimes of which a network enters, in the order of training; unknown ones have none."""
        have = {m.regime for m in self.counted}
        return [r for r in self.population.regimes if r in have and r != UNKNOWN]

    @property
    def main(self) -> list[Measure]:
        """The measures that answer the question."""
        return [m for m in self.measures if m.main]


def by(study: Study, statistic: str) -> Study:
    """The same study by another column of its values, such as z."""
    return replace(study, values=study.values.assign(value=study.values[statistic]))


def table(study: Study) -> pd.DataFrame:
    """Every value with what is known of its network."""
    known = pd.DataFrame(
        [
            {
                "member": v.member.name,
                "regime": v.member.regime,
                "lineage": v.member.lineage,
                "log_error": v.error,
                "admitted": v.admitted,
            }
            for v in study.verdicts
        ]
    )
    return known.merge(study.values, on="member").assign(at=study.at)


def outsiders(study: Study) -> bool:
    """Whether a network was measured that does not enter."""
    rows = table(study)
    return bool((rows.value.notna() & ~rows.admitted.astype(bool)).any())


def grid(study: Study, measure: str, regimes: Sequence[str]) -> pd.DataFrame:
    """Values of admitted networks, lineage by regime; networks of one lineage and regime as their median."""
    rows = table(study)
    rows = rows[rows.admitted & (rows.measure == measure) & rows.value.notna()]
    wide = rows.pivot_table(index="lineage", columns="regime", values="value", aggfunc="median")
    return wide.reindex(columns=list(regimes))


def compared(study: Study, seed: int = 0) -> pd.DataFrame:
    """Every test of a study.

    Args:
        study: what was measured.
        seed: what bootstraps draw from.

    Returns:
        A row for each test and measure. test: "trend" over three or more regimes, "change" from one to
        the next, "level" of one against the null. measure, regimes (such as "growing to persistent"),
        n (lineages), effect with low and high, change (median) with change_low and change_high, p,
        floor (least p that n can give), holm (p corrected over the tests of this kind of the main
        measures, or of the others), family (how many those are).
    """
    rows: list[dict[str, Any]] = []
    for measure in study.measures:
        wide = grid(study, measure.name, study.regimes)
        for regime in study.regimes if measure.null is not None else ():
            found = trends.level(wide[regime].values, float(measure.null or 0.0), seed)
            rows.append(_row("level", measure, regime, found))
        for pair in pairwise(study.regimes):
            found = trends.change(wide[list(pair)].values, seed)
            rows.append(_row("change", measure, " to ".join(pair), found))
        if len(study.regimes) >= THREE:
            found = trends.trend(wide.values, seed)
            rows.append(_row("trend", measure, " to ".join(study.regimes), found))
    if not rows:
        return pd.DataFrame(columns=["test", "measure", "main", "regimes", "n", "p", "holm", "family"])
    return _corrected(pd.DataFrame(rows)).assign(at=study.at)


def _row(test: str, measure: Measure, regimes: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {"test": test, "measure": measure.name, "main": measure.main, "regimes": regimes, **found}


def _corrected(rows: pd.DataFrame) -> pd.DataFrame:
    """With p corrected over each kind of test, the main measures apart from the others."""
    holm, family = np.full(len(rows), np.nan), np.zeros(len(rows), int)
    for places in rows.groupby(["test", "main"]).indices.values():
        holm[places] = trends.holm(rows.p.values[places])
        family[places] = int(np.isfinite(rows.p.values[places]).sum())
    return rows.assign(holm=holm, family=family)


def levels(study: Study) -> pd.DataFrame:
    """Median of every measure over the lineages of a regime, and in how many networks its own p is small.

    Returns:
        A row for each measure and regime: measure, regime, lineages, networks, median, clear (networks
        with p of .05 or less by their own null; NaN where they have none).
    """
    rows, found = table(study), []
    for measure in study.measures:
        wide = grid(study, measure.name, study.regimes)
        for regime in study.regimes:
            own = rows[rows.admitted & (rows.measure == measure.name) & (rows.regime == regime) & rows.value.notna()]
            column = wide[regime].dropna()
            tested = "p" in own and own.p.notna().any()
            found.append(
                {
                    "measure": measure.name,
                    "regime": regime,
                    "lineages": len(column),
                    "networks": len(own),
                    "median": float(column.median()) if len(column) else np.nan,
                    "clear": int((own.p <= trends.CLEAR).sum()) if tested else np.nan,
                }
            )
    return pd.DataFrame(found, columns=["measure", "regime", "lineages", "networks", "median", "clear"])

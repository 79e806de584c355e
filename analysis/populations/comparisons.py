"""What the regimes of a population have in common: one value a lineage and regime, and exact tests over lineages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.assays.population import Measure, PopulationAssay
from analysis.populations.population import UNKNOWN, GrownMember, Member, Population
from analysis.stats import trends

TREND_REGIMES = 3  # regimes that a trend needs


@dataclass(frozen=True, eq=False)
class Study:
    """What one assay measured of every network of a population at one step.

    Attributes:
        assay: which.
        config: of the assay.
        step: at which the networks are included and measured.
        population: whose networks.
        grown: the networks, included or not.
        measures: what was measured.
        values: a row for each member and measure: member, measure, value (NaN: not defined), and where each network
            has a null of its own low and high (5 and 95 % of it, on the scale of value), z, p and r2.
        skipped: why a member has no values, by its name.
    """

    assay: PopulationAssay
    config: Any
    step: int
    population: Population
    grown: Sequence[GrownMember]
    measures: Sequence[Measure]
    values: pd.DataFrame
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def included(self) -> list[Member]:
        """The members that enter the statistics."""
        return [g.member for g in self.grown if g.included]

    @property
    def regimes(self) -> list[str]:
        """The known regimes of which a network is included, in the order of training."""
        present = {member.regime for member in self.included}
        return [regime for regime in self.population.regimes if regime in present and regime != UNKNOWN]

    @property
    def when(self) -> str:
        """When the networks are measured, such as "at step 200"."""
        if self.assay.end_step is None:
            return f"at step {self.step}"
        return f"from step {self.step} to {self.assay.end_step(self.config)}"


def member_values(study: Study) -> pd.DataFrame:
    """Every value with its network: member, regime, lineage, log_mse, included, measure, value, ..., step."""
    columns = ["member", "regime", "lineage", "log_mse", "included"]
    rows = [(g.member.name, g.member.regime, g.member.lineage, g.log_mse, g.included) for g in study.grown]
    return pd.DataFrame(rows, columns=columns).merge(study.values, on="member").assign(step=study.step)


def lineage_values(study: Study, measure: str, regimes: Sequence[str]) -> pd.DataFrame:
    """Values of the included networks (lineage, regime); several networks of one lineage and regime by their median."""
    rows = member_values(study)
    rows = rows[rows.included & (rows.measure == measure) & rows.value.notna()]
    wide = rows.pivot_table(index="lineage", columns="regime", values="value", aggfunc="median")
    return wide.reindex(columns=list(regimes))


def regime_tests(study: Study, seed: int = 0) -> pd.DataFrame:
    """Every test of a study.

    Args:
        study: what was measured.
        seed: of the bootstraps.

    Returns:
        A row for each test and measure. test: "trend" over three or more regimes, "change" from one to the next,
        "level" of one against the null. measure, main, regimes (such as "growing to persistent"), n (lineages),
        effect with low and high, change (median) with change_low and change_high, p, floor (the least p that n lineages
        can give), holm (p corrected over the tests of this kind of the main measures, or of the others), family (how
        many those are), step.
    """
    rows: list[dict[str, Any]] = []
    for measure in study.measures:
        wide = lineage_values(study, measure.name, study.regimes)
        tests: list[tuple[str, str, Mapping[str, Any]]] = []
        if measure.null is not None:
            tests += [("level", r, trends.difference_test(wide[r].values - measure.null, seed)) for r in study.regimes]
        for pair in pairwise(study.regimes):
            change = (wide[pair[1]] - wide[pair[0]]).values
            tests.append(("change", " to ".join(pair), trends.difference_test(change, seed)))
        if len(study.regimes) >= TREND_REGIMES:
            tests.append(("trend", " to ".join(study.regimes), trends.trend_test(wide.values, seed)))
        measured = {"measure": measure.name, "main": measure.main}
        rows += [{"test": test, **measured, "regimes": regimes, **result} for test, regimes, result in tests]
    if not rows:
        return pd.DataFrame(columns=["test", "measure", "main", "regimes", "n", "p", "holm", "family"])
    table = pd.DataFrame(rows)
    holm, family = np.full(len(table), np.nan), np.zeros(len(table), int)
    for group in table.groupby(["test", "main"]).indices.values():
        p = table.p.values[group]
        holm[group], family[group] = trends.holm(p), int(np.isfinite(p).sum())
    return table.assign(holm=holm, family=family, step=study.step)


def regime_medians(study: Study) -> pd.DataFrame:
    """Median of every measure over the lineages of a regime, and how many networks stand out from their own null.

    Returns:
        A row for each measure and regime: measure, regime, lineages, networks, median, significant (networks with
        p <= 0.05 by their own null, and R2 above 0 where there is one; NaN where they have no null), readable (networks
        with R2 above 0; NaN without R2).
    """
    columns = ["measure", "regime", "lineages", "networks", "median", "significant", "readable"]
    values, rows = member_values(study), []
    values = values[values.included & values.value.notna()]
    for measure in study.measures:
        wide = lineage_values(study, measure.name, study.regimes)
        for regime in study.regimes:
            networks, medians = values[(values.measure == measure.name) & (values.regime == regime)], wide[regime]
            has_null, has_r2 = (name in networks and networks[name].notna().any() for name in ("p", "r2"))
            decoded = networks.r2 > 0 if has_r2 else True  # of two useless decoders none is better
            significant = int(((networks.p <= trends.ALPHA) & decoded).sum()) if has_null else np.nan
            readable = int((networks.r2 > 0).sum()) if has_r2 else np.nan
            counts = (medians.count(), len(networks), medians.median(), significant, readable)
            rows.append((measure.name, regime, *counts))
    return pd.DataFrame(rows, columns=columns)

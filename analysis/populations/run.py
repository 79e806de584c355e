"""Assays of a whole population: every network is grown once, included or not, and measured by each assay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from analysis import metrics
from analysis.assays import ASSAYS
from analysis.assays.population import PopulationAssay
from analysis.populations.comparisons import Study
from analysis.populations.population import MAX_LOG_MSE, GrownMember, Population, find_population, grow_members
from analysis.report.notebook import ReportHtml
from analysis.rollouts import with_adult_step
from nca.errors import UserError
from nca.progress import Log, silent
from nca.validation import replace_defaults

PUBLISHED_STEP = 96  # to which networks of every regime are trained


@dataclass(frozen=True, eq=False)
class PopulationResult(ReportHtml):
    """What one assay says of a population.

    Attributes:
        population: whose networks.
        assay: which.
        config: of the assay, with the population's preset in the fields that were left at their defaults.
        max_log_mse: largest log10 MSE with which a network is included.
        studies: one for each step at which networks are compared, the adult step first.
    """

    population: Population
    assay: PopulationAssay
    config: Any
    max_log_mse: float
    studies: Sequence[Study]

    @property
    def portrait(self) -> Float[np.ndarray, "y x 4"] | None:
        """A grown body of the last network that is included, as premultiplied RGBA; None without any."""
        shown = next((g for study in self.studies for g in reversed(study.grown) if g.included), None)
        return None if shown is None else np.asarray(metrics.picture(shown.member.organism.rule.spec, shown.states[0]))


def run(
    population: Population,
    assays: Sequence[tuple[PopulationAssay, Any]],
    *,
    max_log_mse: float = MAX_LOG_MSE,
    log: Log = silent,
) -> list[PopulationResult]:
    """Examine a population.

    Args:
        population: whose networks.
        assays: each with its configuration.
        max_log_mse: largest log10 MSE, at the step of comparison, with which a network enters the statistics.
        log: receives the progress.
    """
    cache: dict[tuple[int, int, int], list[GrownMember]] = {}
    results = []
    for assay, asked in assays:
        config = with_adult_step(replace_defaults(asked, assay.preset))
        steps = [config.adult_step]
        if assay.published_step and config.adult_step > PUBLISHED_STEP:
            steps.append(PUBLISHED_STEP)
        studies = []
        for step in steps:
            key = (step, config.runs, config.seed)
            if key not in cache:
                cache[key] = grow_members(
                    population.members, step, max_log_mse=max_log_mse, runs=config.runs, seed=config.seed, log=log
                )
            studies.append(_measure_members(population, cache[key], assay, replace(config, adult_step=step), log))
        results.append(PopulationResult(population, assay, config, max_log_mse, studies))
    return results


def compare_regimes(
    source: str, config: Any, *, max_log_mse: float = MAX_LOG_MSE, log: Log = silent
) -> PopulationResult:
    """Compare the networks of a population by one assay, lineage by lineage.

    Args:
        source: a bundled population such as "lizards", or a folder with one.
        config: of the assay, such as `analysis.AxesConfig`; it says which assay.
        max_log_mse: as in `run`.
        log: receives the progress.

    Raises:
        UserError: the source is no population, or the assay does not compare networks.
    """
    population = find_population([source])
    if population is None:
        raise UserError(f"Regimes are compared in a population, such as lizards or a folder; got {source}.")
    assay = next((assay for assay in ASSAYS if assay.population and isinstance(config, assay.config)), None)
    if assay is None:
        raise UserError(f"No assay compares networks with a {type(config).__name__}.")
    record = assay.module("population").POPULATION
    return run(population, [(record, config)], max_log_mse=max_log_mse, log=log)[0]


def _measure_members(
    population: Population, grown: Sequence[GrownMember], assay: PopulationAssay, config: Any, log: Log = silent
) -> Study:
    """Measure every network; those that are excluded as far as the assay says so, since it takes long."""
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for network in grown:
        runs = None if network.included else assay.excluded_runs
        if runs == 0:
            continue
        try:
            values = assay.measure(network.member.organism, network.states[:runs], config, log)
        except UserError as error:
            skipped[network.member.name] = str(error)
            continue
        for name, value in values.items():
            columns = value if isinstance(value, Mapping) else {"value": value}
            rows.append({"member": network.member.name, "measure": name, **columns})
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["member", "measure", "value"])
    measures = assay.measures(config)
    measured = [m for m in measures if m.name in set(table.measure)] or measures
    return Study(assay, config, grown[0].step, population, grown, measured, table, skipped)

"""Assays of a whole population: every network is grown once, included or not, and measured by each assay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from analysis import metrics
from analysis.assays.population import PopulationAssay
from analysis.populations.comparisons import Study
from analysis.populations.population import MAX_LOG_MSE, GrownMember, Population, grow_members
from analysis.progress import Log, silent
from nca.errors import UserError
from nca.validation import replace_defaults

PUBLISHED_STEP = 96  # to which networks of every regime are trained


@dataclass(frozen=True, eq=False)
class PopulationResult:
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
        for study in self.studies:
            for grown in reversed(study.grown):
                if grown.included:
                    return np.asarray(metrics.picture(grown.member.organism.rule.spec, grown.states[0]))
        return None


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
        config = replace_defaults(asked, assay.preset)
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


def _measure_members(
    population: Population, grown: Sequence[GrownMember], assay: PopulationAssay, config: Any, log: Log = silent
) -> Study:
    """Measure every network; those that are excluded as far as the assay says so, since it takes long.

    Args:
        population: whose networks.
        grown: all of them, at `config.adult_step`.
        assay: what is measured.
        config: of the assay.
        log: receives the progress.
    """
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

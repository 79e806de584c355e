"""What is measured of every network where networks are compared: fitness under a few doses of every perturbation."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.assays.population import Measure, PopulationAssay
from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.robustness.dose_response import PERTURBATIONS, dose_summary
from analysis.assays.robustness.run import run
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, silent

_LEAST = -1.0  # the least fitness that a network is counted with: an explosion has no number


def _measures(config: RobustnessConfig) -> tuple[Measure, ...]:
    cases = [
        *(("state_noise", dose) for dose in config.state_noise),
        *(("state_noise_per_step", dose) for dose in config.state_noise_per_step),
        *(("weight_noise", dose) for dose in config.weight_noise),
        *((name, rate) for rate in config.fire_rates for name in ("fire_rate", "fire_rate_updates")),
        *((name, margin) for margin in config.canvas_margins for name in ("canvas_margin", "seed_offset")),
    ]
    every_dose = []
    for name, dose in cases:
        label = PERTURBATIONS[name][0]
        measure = Measure(
            f"{name} {dose:g}", f"fitness under {label} ({dose:g})", main=False, title=f"{label}\n{dose:g}"
        )
        every_dose.append(measure)
    return Measure("all", "fitness (median of all perturbations)", title="median of all"), *every_dose


def _measure(organism: Organism, states: np.ndarray, config: RobustnessConfig, log: Log = silent) -> dict[str, float]:
    """Fitness under every dose, median over runs."""
    result = run(organism, config, log=log)
    if result.no_body:
        raise UserError(result.no_body)
    summary = dose_summary(result.doses)
    values = {f"{r.perturbation} {r.dose:g}": max(r.fitness, _LEAST) for r in summary.itertuples() if r.defined}
    defined = list(values.values())
    return {"all": float(np.median(defined)) if defined else float("nan"), **values}


def _method(config: Any) -> str:
    return (
        f"Fitness (1 as the control, 0 an empty canvas) under each perturbation, median over {config.runs} runs; doses "
        "are shares of a channel’s SD over the body or of an array’s norm, or fire rates. Only networks that are "
        "included are perturbed."
    )


POPULATION = PopulationAssay(
    "robustness",
    measures=_measures,
    measure=_measure,
    null=lambda config: "an exchange of the regimes within a lineage; a control has a fitness of 1, an empty canvas 0",
    method=_method,
    axis="fitness",
    preset={
        "runs": 2,
        "state_noise": (1.0,),
        "state_noise_per_step": (0.1,),
        "weight_noise": (0.1,),
        "fire_rates": (0.3, 1.0),
        "canvas_margins": (),
    },
)

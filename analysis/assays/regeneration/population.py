"""What is measured of every network where networks are compared: what it recovers of five cuts."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.assays.population import Measure, PopulationAssay
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.regeneration.cuts import measure_cuts
from analysis.paired import measured_steps, run_controls
from analysis.rollouts import run_keys
from nca.damage import CUTS
from nca.organism import Organism
from nca.progress import Log, Progress, silent

_MEASURES = (
    Measure("all five", "recovery (median of five cuts)", 0.0, title="median of five cuts"),
    *(Measure(cut, f"recovery from the {cut} cut", 0.0, main=False) for cut in CUTS),
)
_LEAST = -1.0  # the least share recovered that a network is counted with: an explosion has no number


def _measure(organism: Organism, states: np.ndarray, config: RegenerationConfig, log: Log = silent) -> dict[str, float]:
    """Share recovered from each of five cuts, median over runs."""
    progress = Progress(log)
    progress.start(f"cutting {organism.name}", config.runs * (len(CUTS) + 2) * config.eval_steps)
    keys, steps = run_keys(config.seed, config.runs), measured_steps(config.adult_step, (config.eval_steps,))
    controls = run_controls(organism, states, keys, steps, tick=progress.tick)
    recovered = measure_cuts(organism, controls, progress.tick).recovered
    by_cut = {cut: _median(recovered.sel(wound=cut).values) for cut in CUTS}
    return {"all five": _median(np.asarray(list(by_cut.values()))), **by_cut}


def _median(values: np.ndarray) -> float:
    """Median of the defined values, explosions (-inf) included, but not below `_LEAST`; NaN without any."""
    defined = values[~np.isnan(values)]
    return float(np.median(defined).clip(_LEAST)) if len(defined) else float("nan")


def _method(config: Any) -> str:
    return (
        f"Five cuts (four halves, and 16×16 cells of the centre) at step {config.adult_step}, measured at step "
        f"{config.end_step}: recovered = (MSE after the cut − MSE at the end) / (MSE after the cut − MSE of the uncut "
        f"control at the end), median over {config.runs} runs. Only networks that are included are cut."
    )


POPULATION = PopulationAssay(
    "regeneration",
    measures=lambda config: _MEASURES,
    measure=_measure,
    null=lambda config: "0, a body that stays as it was cut; the uncut control of the same key is 1",
    method=_method,
    axis="recovered",
    preset={"runs": 3},
    end_step=lambda config: int(config.end_step),
)

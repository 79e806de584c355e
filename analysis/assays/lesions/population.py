"""What is measured of every network where networks are compared: how much hangs on few hidden channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.assays.lesions.bases import channel_fitness, harm_statistics
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.population import Measure, PopulationAssay
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, Progress, silent
from nca.spec import hidden_channels

_MEASURES = (
    Measure("needed", "the share of hidden channels that is needed", title="share of channels needed"),
    Measure("spread", "how evenly the harm is spread over the channels", title="spread of the harm"),
    Measure("worst", "fitness without the channel needed most", main=False, title="fitness without the worst"),
)
_DOSE = 0.05  # share that a channel loses at every step


def _measure(organism: Organism, states: np.ndarray, config: LesionConfig, log: Log = silent) -> dict[str, float]:
    """Each hidden channel in turn loses 5 % per step; fitness, median over runs."""
    hidden = hidden_channels(organism.rule.spec)
    if not hidden:
        raise UserError("It has no hidden channels.")
    eval_step, runs = config.eval_steps[-1], config.runs
    progress = Progress(log)
    progress.start(f"lesions of {organism.name}", runs * (len(hidden) + 1) * eval_step)
    fitness = channel_fitness(
        organism,
        states,
        dose=_DOSE,
        adult_step=config.adult_step,
        eval_step=eval_step,
        seed=config.seed,
        tick=progress.tick,
    )
    return harm_statistics(np.asarray(list(fitness.values())))


def _method(config: Any) -> str:
    return (
        f"Each hidden channel in turn is multiplied by 0.95 at every step from step {config.adult_step} on; fitness "
        f"(1: as the control, 0: an empty canvas) {config.eval_steps[-1]} steps later, against the control of the same "
        f"key, median over {config.runs} runs. A channel is needed if that costs more than half of the fitness. "
        "The spread of the harm h = 1 − fitness, clipped to 0 to 1, is (Σh)² / Σh² over the number of channels: 1 if "
        "all are needed alike, near 0 if everything hangs on one. Only networks that are included are lesioned; one "
        "kind of lesion, one dose."
    )


POPULATION = PopulationAssay(
    "lesions",
    measures=lambda config: _MEASURES,
    measure=_measure,
    null=lambda config: "an exchange of the regimes within a lineage; an undisturbed body has a fitness of 1",
    method=_method,
    preset={"runs": 2},
    end_step=lambda config: int(config.adult_step + config.eval_steps[-1]),
)

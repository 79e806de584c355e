"""What is measured of every network where networks are compared: how much hangs on few hidden channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis import metrics
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.population import Measure, PopulationAssay
from analysis.paired import EditedRun, measured_steps, run_controls, run_edited
from analysis.progress import Log, Progress, silent
from analysis.rollouts import run_keys
from nca import edits
from nca.errors import UserError
from nca.organism import Organism
from nca.spec import hidden_channels

_MEASURES = (
    Measure("needed", "the share of hidden channels that is needed", title="share of channels needed"),
    Measure("spread", "how evenly the harm is spread over the channels", title="spread of the harm"),
    Measure("worst", "fitness without the channel needed most", main=False, title="fitness without the worst"),
)
_DOSE = 0.05  # share that a channel loses at every step
_NEEDED = 0.5  # a channel whose loss costs more fitness than this is needed
_LEAST = -1.0  # the least fitness that a network is counted with: an explosion has no number


def _measure(organism: Organism, states: np.ndarray, config: LesionConfig, log: Log = silent) -> dict[str, float]:
    """Each hidden channel in turn loses 5 % per step; fitness, median over runs."""
    hidden = hidden_channels(organism.rule.spec)
    if not hidden:
        raise UserError("It has no hidden channels.")
    eval_step, runs = config.eval_steps[-1], config.runs
    progress = Progress(log)
    progress.start(f"lesions of {organism.name}", runs * (len(hidden) + 1) * eval_step)
    keys, steps = run_keys(config.seed, runs), measured_steps(config.adult_step, (eval_step,))
    controls = run_controls(organism, states, keys, steps, tick=progress.tick)
    decays = [edits.scale(organism, 1 - _DOSE, channels=c).at(slice(config.adult_step, None)) for c in hidden]
    rows = [EditedRun(run, (decay,)) for decay in decays for run in range(runs)]
    edited = run_edited(organism, controls, rows, progress.tick, final_states=False)
    fitness = metrics.fitness(
        np.where(edited["exploded"] >= 0, np.inf, edited["mse"][:, -1]),
        np.tile(controls.mse[:, -1], len(hidden)),
        np.tile(controls.mse_empty[:, -1], len(hidden)),
    )
    by_channel = np.asarray(fitness, float).reshape(len(hidden), runs)
    return _harm_statistics(np.asarray([_median(values) for values in by_channel]))


def _harm_statistics(fitness: np.ndarray) -> dict[str, float]:
    """How much hangs on few channels, by their fitness: NaN where it is not defined, -inf where the body exploded.

    Returns:
        needed, the share of channels whose loss costs more than half of the fitness; spread, the effective number of
        channels that carry the harm h = 1 - fitness, (sum h)^2 / sum h^2, over their number: 1 if all harm alike, 1/n
        if one does all of it, NaN if none does; worst, the least fitness.
    """
    defined = fitness[~np.isnan(fitness)]
    if not len(defined):
        return dict.fromkeys(("needed", "spread", "worst"), float("nan"))
    harm = (1 - defined).clip(0, 1)
    squares = np.square(harm).sum()
    return {
        "needed": float((harm > _NEEDED).mean()),
        "spread": float(harm.sum() ** 2 / squares / len(defined)) if squares > 1e-6 else float("nan"),
        "worst": float(defined.min().clip(_LEAST)),
    }


def _median(values: np.ndarray) -> float:
    """Median of the defined values, explosions (-inf) included, but not below `_LEAST`; NaN without any."""
    defined = values[~np.isnan(values)]
    return float(np.median(defined).clip(_LEAST)) if len(defined) else float("nan")


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

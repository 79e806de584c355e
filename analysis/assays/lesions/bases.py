"""Whether what lesions of channels show is a fact about the organism or about the basis of its hidden channels.

The same lesions are made in the trained basis and in random rotations of it (`analysis.basis_controls`), in which the
organism grows the same body.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.basis import basis_controls
from analysis.paired import EditedRun, measured_steps, run_controls, run_edited
from analysis.rollouts import Tick, run_keys
from nca import edits
from nca.organism import Organism
from nca.spec import hidden_channels

TRAINED = "trained"  # the name of the basis in which the organism was trained
BASIS_RUNS = 2  # at most, in each basis
_NEEDED = 0.5  # a channel whose loss costs more fitness than this is needed
_LEAST = -1.0  # the least fitness that is counted with: an explosion has no number


def channel_fitness(
    organism: Organism,
    states: np.ndarray,
    *,
    dose: float,
    adult_step: int,
    eval_step: int,
    seed: int = 0,
    tick: Tick | None = None,
) -> dict[str, float]:
    """Fitness after partial ablation of each hidden channel in turn, median over runs.

    Args:
        states: the runs at the adult step (run, y, x, channel).
        dose: share that the channel loses at every step from the adult step on.
        eval_step: steps after the adult step at which fitness is measured.
        seed: number that the keys of the runs follow from.

    Returns:
        Fitness by channel: NaN where it is not defined, at least -1, which stands for an explosion too.
    """
    hidden = hidden_channels(organism.rule.spec)
    runs, steps = len(states), measured_steps(adult_step, (eval_step,))
    controls = run_controls(organism, states, run_keys(seed, runs), steps, tick=tick)
    decays = [edits.scale(organism, 1 - dose, channels=c).at(slice(adult_step, None)) for c in hidden]
    rows = [EditedRun(run, (decay,)) for decay in decays for run in range(runs)]
    edited = run_edited(organism, controls, rows, tick, final_states=False)
    fitness = metrics.fitness(
        np.where(edited["exploded"] >= 0, np.inf, edited["mse"][:, -1]),
        np.tile(controls.mse[:, -1], len(hidden)),
        np.tile(controls.mse_empty[:, -1], len(hidden)),
    )
    by_channel = np.asarray(fitness, float).reshape(len(hidden), runs)
    names = organism.rule.channel_names
    return {names[c]: _median(values) for c, values in zip(hidden, by_channel, strict=True)}


def _median(values: np.ndarray) -> float:
    """Median of the defined values, explosions (-inf) included, but not below `_LEAST`; NaN without any."""
    defined = values[~np.isnan(values)]
    return float(np.median(defined).clip(_LEAST)) if len(defined) else float("nan")


def harm_statistics(fitness: np.ndarray) -> dict[str, float]:
    """How much hangs on few channels, by their fitness: NaN where it is not defined.

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


def named_bases(organism: Organism, n: int, seed: int = 0) -> dict[str, Organism]:
    """The organism in its trained basis (`TRAINED`) and in n others ("1", "2", ...); raises as `basis_controls`."""
    others = basis_controls(organism, n, seed)
    return {TRAINED: organism} | {str(number): other for number, other in enumerate(others, 1)}


def rank_of_trained(values: pd.Series) -> dict[str, float]:
    """Where the value of the trained basis lies among those of the others, by a series over bases.

    Returns:
        value, of the trained basis; null_median, null_low, null_high: median and range of the others; below: number of
        others below it; n: number of others; p, two-sided: twice the smaller share of bases, the trained one
        included, that are as low or as high, at most 1. NaN are left out.
    """
    trained, others = float(values[TRAINED]), values.drop(TRAINED).dropna().to_numpy(float)
    if not len(others) or np.isnan(trained):
        return {"value": trained, "n": len(others)}
    tails = (1 + (others <= trained).sum(), 1 + (others >= trained).sum())
    return {
        "value": trained,
        "null_median": float(np.median(others)),
        "null_low": float(others.min()),
        "null_high": float(others.max()),
        "below": int((others < trained).sum()),
        "n": len(others),
        "p": min(1.0, 2 * min(tails) / (len(others) + 1)),
    }

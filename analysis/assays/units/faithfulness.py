"""How many hidden units does a body need? Fitness against the number of units kept, the others at their mean.

Units are kept in the order of what they do (the effect of their ablation, measured on other runs), of what they write
(variance of their update over the body), and in random orders, which are the null. The name is that of
interpretability: a circuit is faithful if it does what the whole network does while all else is ablated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from analysis import metrics
from analysis.assays.units.ablation import PhaseRuns, ablate
from analysis.rollouts import Tick

ENOUGH = 0.9  # fitness with which a body counts as there
_STREAM = 7013  # of the random orders


def keep_orders(
    effect: Float[np.ndarray, " unit"], written: Float[np.ndarray, " unit"], random_orders: int, seed: int
) -> dict[str, Int[np.ndarray, " unit"]]:
    """Units in the orders in which they are kept, the most important first, by the name of the order."""
    draw = np.random.default_rng([seed, _STREAM])
    orders = {"effect": np.argsort(-effect, kind="stable"), "variance": np.argsort(-written, kind="stable")}
    return orders | {f"random {n + 1}": draw.permutation(len(effect)) for n in range(random_orders)}


def kept_counts(units: int, shares: tuple[float, ...]) -> list[int]:
    """Numbers of units that are kept, ascending; the last is all of them."""
    return sorted({min(round(share * units), units) for share in shares} | {units})


def faithfulness_curve(
    phase: PhaseRuns, orders: Mapping[str, Int[np.ndarray, " unit"]], counts: list[int], tick: Tick | None = None
) -> xr.Dataset:
    """Fitness of every run when only the first units of an order are kept.

    Args:
        phase: the unperturbed runs; not those that the orders were made from.
        orders: as `keep_orders` returns them.
        counts: numbers of units kept; the last is all of them, which is the control itself.
        tick: receives the steps done.

    Returns:
        Dataset over (order, kept, run): fitness.
    """
    runs, size = len(phase.states), len(phase.means)
    kept = np.zeros((len(orders), len(counts), size), bool)
    for n, order in enumerate(orders.values()):
        for k, count in enumerate(counts):
            kept[n, k, order[:count]] = True
    ablated = ~kept[:, :-1].reshape(-1, size)
    outcomes = ablate(phase, np.tile(np.arange(runs), len(ablated)), np.repeat(ablated, runs, axis=0), tick=tick)
    fitness = outcomes.fitness.reshape(len(orders), len(counts) - 1, runs)
    whole = np.where(np.isnan(fitness).any((0, 1), keepdims=True), np.nan, 1.0)
    fitness = np.concatenate([fitness, np.broadcast_to(whole, (len(orders), 1, runs))], 1)
    coords: dict[str, Any] = {"order": list(orders), "kept": counts, "run": np.arange(runs)}
    return xr.Dataset({"fitness": (("order", "kept", "run"), fitness)}, coords)


def units_needed(curve: xr.Dataset) -> dict[str, Float[np.ndarray, "order run"]]:
    """Number of units that keep a fitness of 0.9, by the kind of order: effect, variance, random.

    It is where the curve crosses 0.9 for the last time, interpolated between two numbers of units kept; NaN of runs
    whose fitness is not defined.
    """
    needed: dict[str, list[list[float]]] = {}
    for order in curve.order.values:
        fitness = curve.fitness.sel(order=order).transpose("run", "kept").values
        crossings = [_last_crossing(curve.kept.values, of_run) for of_run in fitness]
        needed.setdefault(str(order).split()[0], []).append(crossings)
    return {kind: np.asarray(values) for kind, values in needed.items()}


def _last_crossing(kept: np.ndarray, fitness: np.ndarray) -> float:
    if np.isnan(fitness).any():
        return float("nan")
    below = np.flatnonzero(fitness < ENOUGH)
    if not len(below):
        return float(kept[0])
    n = int(below[-1])
    low = max(float(fitness[n]), -1.0)  # an overgrown or exploded run says no more than a dead one
    share = (ENOUGH - low) / (float(fitness[n + 1]) - low)
    return float(kept[n] + share * (kept[n + 1] - kept[n]))


def needed_intervals(curve: xr.Dataset) -> dict[str, tuple[float, float, float]]:
    """Median over runs of the number of units needed, with its bootstrap interval, by kind of order; of random orders,
    of their median in each run."""
    return {kind: metrics.median_interval(np.median(values, 0)) for kind, values in units_needed(curve).items()}

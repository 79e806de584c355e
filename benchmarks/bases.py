"""Is the trained basis of the hidden channels special? Lesions of channels in it and in random rotations of it.

    python -m benchmarks.bases

Prints, for the bundled organisms and for two regimes of the population `lizards`, fitness without the channel needed
most and the spread of the harm (`analysis.assays.lesions.bases`); then, over lineages, how many of the other bases lie
below the trained one on average, with p against ranks drawn uniformly.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

import nca
from analysis.assays.lesions.bases import channel_fitness, harm_statistics, named_bases, rank_of_trained
from analysis.rollouts import grow_runs, run_keys

ORGANISMS = (
    "lizard-regenerating",
    "lizard-persistent",
    "planarian-regenerating",
    "flag-regenerating",
    "starfish-regenerating",
)
LINEAGES = {regime: [f"lizards/lizard-{regime}-{n}" for n in range(8)] for regime in ("regenerating", "persistent")}
MEASURES = ("worst", "spread")
BASES, RUNS = 8, 2


def ranks(name: str) -> dict[str, dict[str, float]]:
    """Where the trained basis of an organism lies among others, by measure."""
    by_basis = {}
    for basis, organism in named_bases(nca.load(name), BASES).items():
        states = np.asarray(grow_runs(organism, 200, run_keys(0, RUNS)))
        fitness = channel_fitness(organism, states, dose=0.05, adult_step=200, eval_step=300)
        by_basis[basis] = harm_statistics(np.asarray(list(fitness.values())))
    table = pd.DataFrame(by_basis).T
    return {measure: rank_of_trained(table[measure]) for measure in MEASURES}


def mean_rank_p(below: np.ndarray, draws: int = 200_000, seed: int = 0) -> float:
    """p, two-sided, of a mean number of other bases below the trained one, were each number as likely as any other."""
    null = np.random.default_rng(seed).integers(0, BASES + 1, (draws, len(below))).mean(1)
    return float(min(1, 2 * min((null <= below.mean()).mean(), (null >= below.mean()).mean())))


def main() -> None:
    """Print a line for each organism and measure, then one for each regime and measure."""
    lines = []
    for name in (*ORGANISMS, *(name for names in LINEAGES.values() for name in names)):
        for measure, rank in ranks(name).items():
            lines.append({"organism": name, "measure": measure, **rank})
            sys.stdout.write(
                f"{name} {measure}: {rank['value']:.2f} as trained, {rank['null_low']:.2f} to {rank['null_high']:.2f} "
                f"in {rank['n']} other bases\n"
            )
            sys.stdout.flush()
    table = pd.DataFrame(lines)
    for regime, names in LINEAGES.items():
        for measure in MEASURES:
            below = table[table.organism.isin(names) & (table.measure == measure)].below.to_numpy(float)
            sys.stdout.write(f"{regime} {measure}: {below.mean():.1f} below, p = {mean_rank_p(below):.2f}\n")


if __name__ == "__main__":
    main()

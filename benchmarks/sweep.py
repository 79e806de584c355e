"""The lesion sweep beside a loop of compiled single runs: `python -m benchmarks.sweep [--quick] [--save]`.

One channel at a time is scaled by one of several doses, in every step, on the same keys: 12 channels,
5 doses and 8 keys are 480 runs of 200 steps. The loop is what one would write by hand around the growth
function: one program, compiled once, called run by run. The sweep also grows the undisturbed twins,
measures every 20 steps, and stops runs that overgrow; the loop measures the end alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import tyro

from analysis import metrics, rollouts
from analysis.sweeps.sweep import sweep
from benchmarks.measure import Row, Table, alternate, clock, ratio, seconds
from benchmarks.saving import report
from benchmarks.scene import QUICK, still
from nca import edits as editing
from nca.edits import Edit
from nca.io import load
from nca.organism import Organism
from nca.rollout import grow

HIDDEN = tuple(f"h{number}" for number in range(12))


@dataclass(frozen=True)
class Work:
    """What is swept.

    Attributes:
        organism: what grows.
        edits: lesions by name.
        runs: keys.
        steps: of each run.
    """

    organism: Organism
    edits: dict[str, Edit]
    runs: int
    steps: int


def work(quick: bool) -> Work:
    """480 runs of the bundled lizard; a dozen short ones of a body that keeps still where it is quick."""
    if quick:
        organism, body = still(QUICK)
        target = organism.padded_target()
        organism = Organism(organism.rule, seed=body, canvas=organism.canvas, target=target, name="still")
        return Work(organism, lesions(organism, ("r", "h0", "h1"), (0.99, 0.9)), 2, 20)
    organism = load("lizard")
    return Work(organism, lesions(organism, HIDDEN, (0.99, 0.95, 0.9, 0.5, 0.0)), 8, 200)


def lesions(organism: Organism, channels: tuple[str, ...], doses: tuple[float, ...]) -> dict[str, Edit]:
    """Each channel scaled by each dose."""
    return {
        f"{channel} x{dose:g}": editing.scale(organism, dose, channels=channel)
        for channel in channels
        for dose in doses
    }


def by_sweep(work: Work) -> pd.DataFrame:
    """The sweep's table."""
    measured = {"adult_step": 0, "eval_steps": (work.steps,)}
    return sweep(work.organism, work.edits, ("log_mse",), work.runs, **measured, allow_no_op=True)


def by_loop(work: Work) -> np.ndarray:
    """L at the end of every run, in the order of the sweep's rows."""
    one = _single(work.organism, work.steps)
    keys = list(rollouts.run_keys(0, work.runs))
    return np.asarray([float(one(edit, key)) for edit in work.edits.values() for key in keys])


def _single(organism: Organism, steps: int) -> jax.stages.Wrapped:
    if (organism.hash, steps) not in _COMPILED:
        picture = organism.padded_target()

        def one(edit: Edit, key: jax.Array) -> jax.Array:
            end = grow(organism, steps, key=key, edits=[edit])
            return metrics.log_mse(metrics.mse(organism.rule.spec, end, picture))

        _COMPILED[organism.hash, steps] = jax.jit(one)
    return _COMPILED[organism.hash, steps]


_COMPILED: dict[tuple[str, int], jax.stages.Wrapped] = {}


def sweep_table(work: Work, repeats: int) -> Table:
    """Both ways in turn, and by how much their errors differ where the sweep let a run go to its end."""
    clocks = {"sweep": clock(partial(by_sweep, work)), "loop": clock(partial(by_loop, work))}
    times = alternate(clocks, dict.fromkeys(clocks, repeats))
    found, alone = by_sweep(work), by_loop(work)
    whole = ((found.overgrown < 0) & (found.exploded < 0)).to_numpy()
    apart = float(np.abs(found.log_mse.to_numpy() - alone)[whole].max()) if whole.any() else None
    count = len(work.edits) * work.runs
    rows: list[Row] = [
        {"way": title, "runs": count}
        | seconds(times[name], "s")
        | {"against the loop": ratio(times[name], times["loop"]), "L differs by at most": differs}
        for name, title, differs in (
            ("sweep", f"sweep, {int((~whole).sum())} of its runs stopped early", apart),
            ("loop", "loop of compiled single runs", None),
        )
    ]
    height, width = work.organism.canvas
    note = (
        f"{len(work.edits)} lesions x {work.runs} keys x {work.steps} steps of {work.organism.name} on "
        f"{height}x{width}. The sweep also grows {work.runs} undisturbed twins and measures every 20 steps."
    )
    return Table("sweep", "The lesion sweep", note, rows)


@dataclass(frozen=True)
class Options:
    """Time the lesion sweep of 480 runs beside a loop of compiled single runs.

    Attributes:
        quick: a few short runs, to see that everything runs.
        save: write the table to a file.
        results: the folder that it goes to.
        repeats: how often each is timed.
    """

    quick: bool = False
    save: bool = False
    results: Path = Path(__file__).parent / "results"
    repeats: int = 3


def main(options: Options) -> None:
    """Measure, print, and save where asked."""
    repeats = 2 if options.quick else options.repeats
    report("sweep", options, lambda: [sweep_table(work(options.quick), repeats)])


if __name__ == "__main__":
    main(tyro.cli(Options))

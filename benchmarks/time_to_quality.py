"""Time to quality: training steps and wall time from random weights to a stated quality.

    python -m benchmarks.time_to_quality                 # the lizard of 40 cells that heals, three seeds
    python -m benchmarks.time_to_quality --goal growing --recipe published

Rule: a training saves its organism every 100 training steps. The first of these that meets every figure of the goal
(medians over 24 runs on 72x72 cells, with keys that no training and no choice has seen) ends the record. Its time is
the wall time of the training up to it, compiling included, measuring excluded.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from analysis.assays.regeneration.cuts import report_card
from analysis.metrics import log_mse, mse
from analysis.rollouts import grow_runs, run_keys
from nca import load
from nca.training.config import TrainConfig
from nca.training.devices import describe_devices
from nca.training.loop import train
from nca.versions import versions

GOALS: dict[str, dict[str, float]] = {
    "growing": {"96": -3.5},
    "persistent": {"200": -3.7, "2000": -3.7},
    "regenerating": {"96": -3.0, "200": -3.4, "2000": -3.4},
}
MIN_RECOVERED = 0.9  # of each of the five cuts; regenerating only
STEPS = {"fast": {"growing": 1000, "persistent": 1200, "regenerating": 2500}, "published": dict.fromkeys(GOALS, 8000)}
EVERY, CANVAS, EVAL_SEED = 100, (72, 72), 10_000


@dataclass(frozen=True)
class Options:
    """Measure time to quality.

    Attributes:
        goal: what has to be reached: growing, persistent or regenerating.
        recipe: fast or published.
        target: the picture.
        seeds: seeds of the trainings, one after another.
        steps: training steps at most; by goal and recipe if 0.
        runs: runs on which quality is measured.
        out: folder of the trainings; records.json in it is the result. A finished training there is only measured.
    """

    goal: Literal["growing", "persistent", "regenerating"] = "regenerating"
    recipe: Literal["fast", "published"] = "fast"
    target: str = "lizard"
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 0
    runs: int = 24
    out: Path = Path("runs") / "time-to-quality"


def quality(path: Path, goal: str, runs: int) -> dict[str, Any]:
    """What an organism reaches of a goal: log10 MSE by step, recovered by cut, and whether all figures are met.

    An organism whose first figures miss the goal is not measured further.
    """
    organism = replace(load(path), canvas=CANVAS)
    first = min(GOALS[goal], key=int)
    states = grow_runs(organism, int(first), run_keys(EVAL_SEED, runs))
    errors = log_mse(mse(organism.rule.spec, states, organism.padded_target(CANVAS)))
    median = float(np.median(errors))
    if median > GOALS[goal][first]:
        return {"log10_mse": {first: median}, "recovered": {}, "met": False}
    card = report_card(organism, runs=runs, seed=EVAL_SEED, late_runs=runs)
    recovered = {cut: values["median"] for cut, values in card["recovered"].items()} if goal == "regenerating" else {}
    met = all(card["log10_mse"][step] <= limit for step, limit in GOALS[goal].items())
    met &= all(value is not None and value >= MIN_RECOVERED for value in recovered.values())
    return {"log10_mse": card["log10_mse"], "recovered": recovered, "met": met}


def record(options: Options, seed: int) -> dict[str, Any]:
    """The record of one training: the first kept organism that meets the goal, or the last one, and its time."""
    make = TrainConfig if options.recipe == "fast" else TrainConfig.published
    steps = options.steps or STEPS[options.recipe][options.goal]
    config = make(
        target=options.target, regime=options.goal, seed=seed, steps=steps, snapshots=str(EVERY), plot_every=0
    )
    folder = options.out / f"{options.recipe}-{options.goal}-{options.target}-{seed}"
    seconds_file = folder / "seconds.json"
    if not seconds_file.is_file():
        started = time.time()
        train(config, folder)
        seconds = {p.name: p.stat().st_mtime - started for p in (folder / "snapshots").glob("*.safetensors")}
        seconds_file.write_text(json.dumps(seconds))
    seconds = json.loads(seconds_file.read_text())
    found: dict[str, Any] = {}
    for path in sorted((folder / "snapshots").glob("*.safetensors"))[1:]:
        found = {"training_steps": int(path.stem[5:]), "minutes": seconds[path.name] / 60}
        found |= quality(path, options.goal, options.runs)
        if found["met"]:
            break
    return {"goal": options.goal, "recipe": options.recipe, "target": options.target, "seed": seed, **found}


def main() -> None:
    """Train, measure, print and write the records."""
    options = tyro.cli(Options, description=__doc__)
    records = []
    for seed in options.seeds:
        records.append(record(options, seed))
        print(json.dumps(records[-1]), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    result = {
        "device": describe_devices(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d"),
        "records": records,
    }
    (options.out / "records.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

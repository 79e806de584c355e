"""Ways to compute the training step on a GPU, side by side, and whether they train as well."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from analysis import metrics
from analysis.rollouts import grow_runs, run_keys
from benchmarks import variants
from benchmarks.measure import Clock, Row, Table, alternate, clock, ratio, seconds
from benchmarks.scene import Scene
from nca.kernels import fused_step
from nca.perception import alive
from nca.rule import Rule
from nca.sparse import active_cells
from nca.step import dense_step
from nca.training.config import TrainConfig
from nca.training.loop import train
from nca.training.step import CAPACITIES, Task, compile_step

PLAIN = "plain XLA"
RECIPES: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "bfloat16 products": {"precision": "bfloat16"},
    "fused kernel": {"kernel": "pallas"},
    "fused kernel, bfloat16 products": {"kernel": "pallas", "precision": "bfloat16"},
}
UNROLLED = (1, 2, 4)
WINS = 1.5
EQUAL = 0.1


def on_gpu() -> bool:
    """Whether there is a GPU to measure on."""
    return jax.default_backend() == "gpu"


@contextmanager
def interpreted() -> Iterator[None]:
    """Where there is no GPU, the fused kernel as XLA would compute it: to see that everything runs."""
    if on_gpu():
        yield
        return
    with mock.patch("nca.training.step.fused_step", partial(fused_step, interpret=True)):
        yield


def tasks(scene: Scene) -> dict[str, Task]:
    """The training task, by each way that training knows."""
    plain = replace(scene.task, capacities=())
    found = {name: replace(plain, config=replace(plain.config, **says)) for name, says in RECIPES.items()}
    return found | {"gather (sparse step)": replace(plain, capacities=rows(scene))}


def rows(scene: Scene) -> tuple[int, ...]:
    """Rows that the sparse step may take, by the grown body, as training chooses them on a CPU."""
    rule = scene.organism.rule
    everyone = jnp.ones((1, *scene.body.shape[:2]), bool)
    sites = int(active_cells(rule, alive(rule, scene.body)[None], everyone).sum())
    whole = scene.sizes.batch * rule.spec.fire_rate * sites
    return tuple(int(np.ceil(share * whole / 128)) * 128 for share in CAPACITIES)


def variants_table(scene: Scene, repeats: int) -> Table:
    """Every way's training step in turn, and how many times faster than plain XLA it is."""

    def stepping(task: Task) -> Clock:
        return clock(compile_step(task), lambda: (jax.tree.map(jnp.copy, scene.state), scene.key))

    clocks = {name: stepping(task) for name, task in tasks(scene).items()}
    for count in UNROLLED:
        way = variants.plain(scene, densely, unroll=count)
        if way.train is not None:
            clocks[f"scan, {count} step{'s' if count > 1 else ''} a turn"] = way.train
    with interpreted():
        times = alternate(clocks, dict.fromkeys(clocks, repeats))
    faster = {name: ratio(times[PLAIN], took) for name, took in times.items()}
    table_rows: list[Row] = [
        {"variant": name}
        | seconds([1e3 * t for t in took], "ms")
        | {"times as fast as plain XLA": faster[name], "wins": "yes" if (faster[name] or 0) >= WINS else "no"}
        for name, took in times.items()
    ]
    note = (
        f"One training step of {scene.sizes.steps} steps of growth, batch {scene.sizes.batch}. Plain XLA is "
        "the default of training on a GPU. The scans recompute each step in the gradient, as training "
        "does, but their number of steps is fixed, and they neither draw from a pool nor write to it. Turn "
        f"by turn; what is {WINS:g} times as fast or more wins."
    )
    return Table("variants", "Ways to compute the training step", note, table_rows)


def densely(rule: Rule, states: Any, fires: Any) -> Any:
    """The dense step of a batch."""
    return jax.vmap(partial(dense_step, rule))(states, fires)


def quality_table(names: list[str], recipe: TrainConfig, seeds: int) -> Table:
    """The L that several seeds reach by each way; without steps to train, what would be measured."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(seeds if recipe.steps > 1 else 0):
        for name in names:
            found[name].append(reached(replace(recipe, seed=seed, **RECIPES[name])))
    plain = found.get(PLAIN) or []
    table_rows: list[Row] = []
    for name in names:
        apart = mean(found[name]) - mean(plain) if found[name] else None
        equal = None if apart is None else "yes" if abs(apart) <= EQUAL else "no"
        each = {f"L, seed {i}": found[name][i] if found[name] else None for i in range(seeds)}
        table_rows.append({"variant": name} | each | {"against plain XLA": apart, "equal": equal})
    note = (
        f"Trained {recipe.regime} for {recipe.steps} steps; L at step 96, the median of 8 keys. Equal: the "
        f"means over seeds differ by {EQUAL:g} at most. Plain XLA and the variants that win."
    )
    return Table("quality", "Do they train as well", note, table_rows)


def reached(recipe: TrainConfig) -> float:
    """The median L at step 96 of an organism trained so."""
    with tempfile.TemporaryDirectory() as folder:
        organism = train(recipe, Path(folder) / "run", log=lambda line: None)
    ends = grow_runs(organism, 96, run_keys(0, 8))
    picture = organism.padded_target()
    return float(np.median(metrics.log_mse(metrics.mse(organism.rule.spec, ends, picture))))

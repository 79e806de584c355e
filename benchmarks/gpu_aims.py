"""What a GPU is to reach: the whole recipe, a population, CAX side by side, the lesion sweep."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.gpu_variants import PLAIN, RECIPES, on_gpu, tasks
from benchmarks.measure import Clock, Row, Table, alternate, clock, ratio, seconds
from benchmarks.scene import Scene
from benchmarks.steps import CAX_TURNS, start_cax
from benchmarks.sweep import sweep_table, work
from nca.training.config import TrainConfig
from nca.training.loop import train
from nca.training.step import Task, TrainState, compile_step, init_training, train_step

WHOLE_RUN = 8000
FUSED = "fused kernel"


def ways() -> tuple[str, ...]:
    """How to train here."""
    return (PLAIN, FUSED) if on_gpu() else (PLAIN,)


def whole_table(recipe: TrainConfig) -> Table:
    """The published regenerating recipe from first step to last, once by each way that can be had."""
    rows: list[Row] = [{"variant": name, "seconds": whole_run(replace(recipe, **RECIPES[name]))} for name in ways()]
    note = (
        f"`nca.train`, {recipe.regime}, {recipe.steps} steps at {recipe.canvas[0]}x{recipe.canvas[1]}, batch "
        f"{recipe.batch_size}, pool {recipe.pool_size}; checkpoints, metrics and contact sheets included, compiling "
        "not: timed from the first line of progress on, and scaled to all steps."
    )
    return Table("whole", "The published recipe, whole", note, rows)


def whole_run(recipe: TrainConfig) -> float:
    """Seconds of a whole training once its program is compiled."""
    told: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, Path(folder) / "run", log=lambda line: told.append(time.perf_counter()))
        # The first line says what is trained; then there is one every `log_every` steps.
        took = time.perf_counter() - told[1]
    return took * recipe.steps / (recipe.steps - recipe.log_every)


def population_table(recipe: TrainConfig, members: int, repeats: int) -> Table:
    """A population's training step beside that of one, by each way that can be had."""
    clocks: dict[str, Clock] = {}
    for name in ways():
        begun = [init_training(replace(recipe, seed=seed)) for seed in range(members)]
        task = replace(begun[0][0], capacities=())
        task = replace(task, config=replace(task.config, **RECIPES[name]))
        clocks[f"{name}, 1"] = _stepping(compile_step(task), begun[0][1], jax.random.key(0))
        together = jax.tree.map(lambda *a: jnp.stack(a), *(state for _, state in begun))
        keys = jax.random.split(jax.random.key(0), members)
        clocks[f"{name}, {members}"] = _stepping(population_step(task), together, keys)
    times = alternate(clocks, dict.fromkeys(clocks, repeats))
    rows: list[Row] = []
    for label, took in times.items():
        name, count = label.rsplit(", ", 1)
        rows.append(
            {"variant": name, "members": int(count)}
            | seconds([1e3 * t for t in took], "ms a training step")
            | {"against one": ratio(took, times[f"{name}, 1"])}
            | {f"minutes of {WHOLE_RUN} steps": min(took) * WHOLE_RUN / 60}
        )
    note = (
        f"The training step of {members} seeds at once (`jax.vmap`), {recipe.regime}, {recipe.canvas[0]}x"
        f"{recipe.canvas[1]}, batch {recipe.batch_size} and pool {recipe.pool_size} each. A roll-out of all is as long "
        "as its longest. Minutes: projected from the best time, without files."
    )
    return Table("population", "A population at once", note, rows)


def population_step(task: Task) -> Any:
    """`train_step` of several states at once, each with its own key; compiled, buffers reused."""
    return jax.jit(jax.vmap(partial(train_step, task)), donate_argnums=0)


def _stepping(step: Any, state: TrainState, keys: Any) -> Clock:
    return clock(step, lambda: (jax.tree.map(jnp.copy, state), keys))


def cax_table(scene: Scene, pythons: tuple[str, ...], repeats: int) -> Table:
    """The training step beside that of CAX, each in its own process, turn by turn."""
    ours = {name: task for name, task in tasks(scene).items() if name in ways()}
    clocks = {
        name: clock(compile_step(task), lambda: (jax.tree.map(jnp.copy, scene.state), scene.key))
        for name, task in ours.items()
    }
    turns = dict.fromkeys(clocks, repeats)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, ask in start_cax(scene, pythons, Path(folder), stack).items():
            clocks[name], turns[name] = partial(ask, "train"), min(CAX_TURNS, repeats)
        times = alternate(clocks, turns)
    rows: list[Row] = [
        {"variant": name}
        | seconds([1e3 * t for t in took], "ms")
        | {"times as long as plain XLA": ratio(took, times[PLAIN])}
        for name, took in times.items()
    ]
    if not pythons:
        rows.append({"variant": "CAX"})
    note = (
        f"One training step of {scene.sizes.steps} steps of growth, batch {scene.sizes.batch}, CAX as in its "
        "growing example, from the same weights and states."
    )
    return Table("cax", "CAX side by side", note, rows)


def swept_table(quick: bool, repeats: int) -> Table:
    """The lesion sweep beside a loop of compiled single runs."""
    return sweep_table(work(quick), repeats)

"""What a step costs, by canvas, living cells and runs; and the machine's peak that training reaches."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from benchmarks.measure import Clock, Row, Table, alternate, clock, ratio, seconds
from benchmarks.scene import Scene, still
from benchmarks.variants import sparse
from nca.organism import Organism, pad_to_canvas
from nca.perception import alive
from nca.rollout import grow
from nca.sparse import active_cells
from nca.training.config import TrainConfig
from nca.training.loop import train
from nca.training.step import advance_batch

WHOLE_RUN = 8000


def by_canvas(scene: Scene, repeats: int) -> Table:
    """The same body on canvases of several sizes."""
    steps, side = scene.sizes.steps, scene.body.shape[0]
    states = {str(n): recentred(np.asarray(scene.body), n) for n in scene.sizes.canvases}
    clocks = {name: _growing(scene.organism, state, steps, scene.key) for name, state in states.items()}
    times = _per_step(alternate(clocks, dict.fromkeys(clocks, repeats)), steps)
    rows = [
        {"canvas": f"{name}x{name}", "living sites": _living(scene, states[name])}
        | seconds(took, "ms a step")
        | {f"against {side}x{side}": ratio(took, times.get(str(side)))}
        for name, took in times.items()
    ]
    note = f"`nca.grow`, one run, {steps} steps of the grown {scene.organism.name}, per step."
    return Table("canvas", "The same body on larger canvases", note, rows)


def by_living(scene: Scene, repeats: int) -> Table:
    """Bodies that keep still, of several sizes, on one canvas."""
    organism, _ = still(scene.sizes)
    states = {f"{share:.0%}": block(organism, share) for share in scene.sizes.living}
    steps = scene.sizes.steps
    clocks = {name: _growing(organism, state, steps, scene.key) for name, state in states.items()}
    times = _per_step(alternate(clocks, dict.fromkeys(clocks, repeats)), steps)
    rows = [
        _occupancy(organism, states[name]) | seconds(took, "ms a step") | {"steps a second": 1e3 / median(took)}
        for name, took in times.items()
    ]
    height, width = organism.canvas
    note = (
        f"`nca.grow`, one run, {steps} steps on {height}x{width} of a square body that an untrained rule "
        "keeps as it is. On a CPU the step takes the rows needed while living sites and their ring fill at "
        "most half of the window, and is dense beyond."
    )
    return Table("living", "Steps a second by living share", note, rows)


def by_runs(scene: Scene, repeats: int) -> Table:
    """Several runs at once."""
    steps = scene.sizes.steps
    runs = jax.jit(jax.vmap(lambda key: grow(scene.organism, steps, key=key, state=scene.body)))
    clocks = {}
    for count in scene.sizes.runs:
        keys = jax.vmap(lambda i: jax.random.fold_in(scene.key, i))(jnp.arange(count))
        clocks[count] = clock(partial(runs, keys))
    taken = alternate({str(n): c for n, c in clocks.items()}, {str(n): repeats for n in clocks})
    times = {n: _per_step({"": taken[str(n)]}, steps * n)[""] for n in clocks}
    rows = [
        {"runs": count}
        | seconds(took, "ms a step and run")
        | {"steps a second": 1e3 / median(took), "against one": ratio(took, times[min(times)])}
        for count, took in times.items()
    ]
    note = f"`jax.vmap` of `nca.grow` over keys, {steps} steps of the grown {scene.organism.name}."
    return Table("runs", "Several runs at once", note, rows)


def share_of_peak(scene: Scene, repeats: int) -> Table:
    """What the training step reaches of the machine's matrix product."""
    size, variant = scene.sizes.product, sparse(scene)
    square = jax.random.normal(scene.key, (size, size), jnp.float32)
    clocks = {"product": clock(jax.jit(jnp.dot), lambda: (square, square)), "forward": variant.forward}
    clocks |= {"training": variant.train} if variant.train else {}
    times = alternate(clocks, dict.fromkeys(clocks, repeats))
    forward = float(rows_needed(scene)) * 2 * sum(w.size for w in scene.organism.rule.weights) / 1e9
    work = {"product": 2 * size**3 / 1e9, "forward": forward, "training": 4 * forward}
    titles = {
        "product": f"matrix product {size}x{size}x{size}",
        "forward": "forward pass",
        "training": "training step",
    }
    rows: list[Row] = []
    for name, took in times.items():
        faster = ratio(times["product"], took) or 0.0
        speeds = {"GFLOP/s": work[name] / median(took), "share": faster * work[name] / work["product"]}
        rows.append({"work": titles[name], "GFLOP": work[name]} | seconds(took, "s") | speeds)
    note = (
        "Counted are the products of the dense layers on the rows needed (firing cells among the living "
        "sites and their ring), two operations for each multiply-add: once forward; in training once more "
        "recomputed and twice backward. Perception, pooling, noise and optimiser are not counted. float32."
    )
    return Table("peak", "Share of the machine's peak", note, rows)


def rows_needed(scene: Scene) -> Array:
    """Expected rows of all steps of the batch's roll-out together."""
    task, parameters, steps = scene.task, scene.state.parameters, scene.sizes.steps

    def body(states: Array, t: Array) -> tuple[Array, Array]:
        rule = task.rule(parameters)
        sites = active_cells(rule, alive(rule, states), jnp.ones(states.shape[:3], bool)).sum()
        return advance_batch(task, parameters, states, scene.key, t), sites * rule.spec.fire_rate

    return jax.jit(lambda states: jax.lax.scan(body, states, jnp.arange(steps))[1].sum())(scene.state.pool)


def whole_training(scene: Scene, repeats: int) -> Table:
    """The published recipe from first step to last, on a GPU."""
    note = f"`nca.train`, regenerating, {WHOLE_RUN} steps, compiling and files included."
    took = training_time(TrainConfig.published(regime="regenerating", steps=WHOLE_RUN)) if _on_gpu() else None
    row = {"device": jax.devices()[0].device_kind if _on_gpu() else "GPU", "minutes": took and took / 60}
    return Table("gpu", "A whole training run on a GPU", note, [row])


def training_time(config: TrainConfig) -> float:
    """Wall time in seconds of a training run."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        train(config, Path(folder) / "run", log=lambda line: None)
        return time.perf_counter() - begin


def _on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def recentred(state: np.ndarray, side: int) -> np.ndarray:
    """A state cut or padded around its middle."""
    cut = max(state.shape[0] - side, 0) // 2
    inner = state[cut : state.shape[0] - cut, cut : state.shape[1] - cut]
    return pad_to_canvas(inner, (side, side), "body")


def block(organism: Organism, share: float) -> np.ndarray:
    """A square body in the middle, its living sites (one ring more) about this share of the canvas."""
    height, width = organism.canvas
    side = height if share >= 1 else max(round((share * height * width) ** 0.5) - 2, 1)
    return pad_to_canvas(np.ones((side, side, organism.rule.spec.channels), np.float32), organism.canvas, "body")


def _occupancy(organism: Organism, state: np.ndarray) -> Row:
    rule, canvas = organism.rule, organism.canvas
    sites = alive(rule, jnp.asarray(state))
    ring = active_cells(rule, sites[None], jnp.ones((1, *canvas), bool))
    return {"alive": f"{float(sites.mean()):.1%}", "with their ring": f"{float(ring.mean()):.1%}"}


def _living(scene: Scene, state: np.ndarray) -> int:
    return int(alive(scene.organism.rule, jnp.asarray(state)).sum())


def _growing(organism: Organism, state: np.ndarray, steps: int, key: Array) -> Clock:
    start = jnp.asarray(state)
    return clock(lambda: grow(organism, steps, key=key, state=start))


def _per_step(times: dict[str, list[float]], steps: int) -> dict[str, list[float]]:
    return {name: [1e3 * t / steps for t in took] for name, took in times.items()}

"""The table of forward pass and training step, every variant in turn on the same machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from math import isnan
from pathlib import Path

import numpy as np

from benchmarks import variants
from benchmarks.against_cax import process
from benchmarks.measure import Clock, Row, Table, alternate, ratio, seconds
from benchmarks.scene import Scene
from nca.perception import alive
from nca.rollout import grow

NAMES = {
    "sparse": "sparse step (this project)",
    "windows": "grow, run by run (this project)",
    "slices": "dense, shifted slices",
    "convolution": "dense, convolution",
}
CAX_TURNS = 2


def step_table(scene: Scene, repeats: int, pythons: tuple[str, ...], quick: bool) -> Table:
    """Forward pass and training step, every variant in turn on the same states."""
    forward: dict[str, Clock] = {"windows": variants.windows(scene).forward}
    train: dict[str, Clock] = {}
    for name, make in variants.VARIANTS.items():
        variant = make(scene)
        forward[name] = variant.forward
        if variant.train is not None:
            train[name] = variant.train
    turns = dict.fromkeys(forward, repeats)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        others = start_cax(scene, pythons, Path(folder), stack)
        for name, ask in others.items():
            forward[name], train[name] = partial(ask, "forward"), partial(ask, "train")
            turns[name] = min(CAX_TURNS, repeats)
        forward_times = alternate(forward, turns)
        train_times = alternate(train, {name: turns[name] for name in train})
        peaks = {name: peak for name, ask in others.items() if not isnan(peak := ask("memory"))}
    for name in ("slices",) if quick else (*variants.VARIANTS, "training run"):
        peaks[name] = variants.memory(name, quick)
    rows = step_rows(forward_times, train_times, peaks)
    return Table("step", "Forward pass and training step", describe(scene), rows)


def start_cax(
    scene: Scene, pythons: tuple[str, ...], folder: Path, stack: ExitStack
) -> dict[str, Callable[[str], float]]:
    """The CAX of each Python, by name."""
    arrays = {f"w{i + 1}": np.asarray(w[...]) for i, w in enumerate(scene.organism.rule.weights)}
    arrays |= {f"b{i + 1}": np.asarray(b[...]) for i, b in enumerate(scene.organism.rule.biases)}
    arrays |= {"states": np.asarray(scene.state.pool), "target": np.asarray(scene.task.target)}
    arrays["steps"] = np.array(scene.sizes.steps)
    np.savez(folder / "given.npz", allow_pickle=False, **arrays)
    return dict(stack.enter_context(process(python, folder / "given.npz")) for python in pythons)


def step_rows(forward: dict[str, list[float]], train: dict[str, list[float]], peaks: dict[str, float]) -> list[Row]:
    """A row a variant, ratios against the sparse step."""
    rows = [
        {"variant": NAMES.get(name, name)}
        | seconds(forward[name], "forward s")
        | {"forward ratio": ratio(forward[name], forward["sparse"])}
        | seconds(train.get(name), "training s")
        | {"training ratio": ratio(train.get(name), train["sparse"])}
        | {"peak GB": peaks.get(name)}
        for name in forward
    ]
    if not any(name.startswith("CAX") for name in forward):
        rows.append({"variant": "CAX"})
    if "training run" in peaks:
        rows.append({"variant": "training run, pool of 1,024 and files", "peak GB": peaks["training run"]})
    return rows


def describe(scene: Scene) -> str:
    """What the step table times, and on what."""
    sizes, rule, (height, width, channels) = scene.sizes, scene.organism.rule, scene.body.shape
    end = grow(scene.organism, sizes.steps, key=scene.key, state=scene.body)
    first, last = (float(alive(rule, state).mean()) for state in (scene.body, end))
    return (
        f"Batch {sizes.batch}, {height}x{width}x{channels}, hidden {rule.weights[0].shape[1]}, {sizes.steps} "
        f"steps from the grown {scene.organism.name} ({first:.1%} of the sites alive at the start, "
        f"{last:.1%} at the end). Forward: the states after the last step. Training step: value and gradient "
        "of the squared error to the target after the last step, and Adam; this project's also draws the "
        "batch from a pool of as many and writes it back. The dense variants recompute each step in the "
        "backward pass; CAX is used as in its growing example, which does not. Ratios are to the sparse "
        "step, turn by turn. Peak: the most memory of a fresh process that trained so (CAX: the one timed)."
    )

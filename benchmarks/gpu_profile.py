"""Where the time of a training step goes: launches, memory or arithmetic.

Time is that of whole compiled programs. Work is XLA's own count for one step of growth, and for the
gradient of one; loops of a number that is not known when compiling would be counted once, so programs of
a single step are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import Clock, Row, Table, alternate, clock, seconds
from benchmarks.scene import Scene
from nca.training.step import Task, advance_batch, compile_step, train_step
from nca.unroll import unroll

KERNELS = {"fusion", "custom-call", "copy", "sort", "dot", "convolution", "reduce", "scatter"}
STARVED = 0.25


@dataclass(frozen=True)
class Peak:
    """What a device can do at most, by its data sheet: dense TF32 TFLOP/s, and TB/s of memory."""

    arithmetic: float
    memory: float


# Products of float32 are made of TF32 by default on these cards; the first name that fits counts.
PEAKS = {
    "H200": Peak(494.7, 4.8),
    "H100 PCIe": Peak(378.0, 2.0),
    "H100": Peak(494.7, 3.35),
    "A100-SXM4-40GB": Peak(156.0, 1.555),
    "A100": Peak(156.0, 1.935),
    "L4": Peak(60.0, 0.3),
}


def peak_of(kind: str) -> Peak | None:
    """The peak of a kind of device; none where it is not known."""
    words = set(re.split(r"[\s]", kind))
    return next((p for name, p in PEAKS.items() if name in kind and (name != "L4" or name in words)), None)


def bound(took: float, flops: float, moved: float, peak: Peak | None) -> str:
    """What holds a program back.

    Where neither arithmetic nor memory would take a quarter of the time at the device's peak, it mostly
    waits for kernels to start, or for each other; else the longer of the two.

    Args:
        took: seconds.
        flops: operations.
        moved: bytes.
        peak: of the device.
    """
    if peak is None:
        return "unknown"
    arithmetic, memory = flops / (peak.arithmetic * 1e12), moved / (peak.memory * 1e12)
    if max(arithmetic, memory) < STARVED * took:
        return "launch-bound"
    return "memory-bound" if memory >= arithmetic else "compute-bound"


def launches(text: str) -> tuple[int, int]:
    """Kernels outside of loops, and in loops' bodies, of a compiled program in XLA's notation."""
    programs, entry = _computations(text)
    counts = [0, 0]
    waiting, seen = [(entry, False)], set()
    while waiting:
        name, looped = waiting.pop()
        if (name, looped) in seen or name not in programs:
            continue
        seen.add((name, looped))
        for line in programs[name]:
            found = re.search(r"\s([a-z][\w\-]*)\(", line.partition(" = ")[2])
            opcode = found.group(1) if found else ""
            counts[looped] += opcode in KERNELS
            for key, called in re.findall(r"(body|condition|to_apply|branch_computations)=(\{[^}]*\}|\S+)", line):
                if key != "to_apply" or opcode == "call":
                    waiting += [(n, looped or key in ("body", "condition")) for n in re.findall(r"[\w.\-]+", called)]
    return counts[0], counts[1]


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    programs: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line)
        if head and not line.startswith((" ", "HloModule")):
            name = head.group(2)
            programs[name] = []
            entry = name if head.group(1) else entry
        elif name:
            programs[name].append(line)
    return programs, entry


def counted(function: Callable[..., Any], *given: Any) -> tuple[float, float]:
    """XLA's count of a compiled function's operations, and of the bytes that it moves."""
    flat, structure = jax.tree.flatten(given)
    program = jax.jit(lambda *leaves: function(*jax.tree.unflatten(structure, leaves))).lower(*flat).compile()
    found: Any = program.cost_analysis() or {}
    found = found[0] if isinstance(found, list) else found
    return float(found.get("flops", 0.0)), float(found.get("bytes accessed", 0.0))


def text_of(function: Callable[..., Any], *given: Any) -> str:
    """A compiled function in XLA's notation."""
    flat, structure = jax.tree.flatten(given)

    def leaves(*flat: Any) -> list[Any]:
        return jax.tree.leaves(function(*jax.tree.unflatten(structure, flat)))

    return jax.jit(leaves).lower(*flat).compile().as_text() or ""


def profile_table(scene: Scene, repeats: int) -> Table:
    """Forward pass, gradient and training step by plain XLA: time, kernels, work, and what binds."""
    task, steps = replace(scene.task, capacities=()), scene.sizes.steps
    calls = programs(task, steps)
    given = scene.state.parameters, scene.state.pool, scene.key
    step = compile_step(task)
    clocks: dict[str, Clock] = {
        name: clock(jax.jit(call), lambda: given) for name, call in calls.items() if name != "training"
    }
    clocks["training"] = clock(step, lambda: (jax.tree.map(jnp.copy, scene.state), scene.key))
    times = alternate(clocks, dict.fromkeys(clocks, repeats))
    work = step_work(task, scene)
    texts = {name: text_of(call, *given) for name, call in calls.items() if name != "training"}
    texts["training"] = text_of(calls["training"], scene.state, scene.key)
    peak = peak_of(jax.devices()[0].device_kind)
    titles = {"forward": "forward", "gradient": "forward and gradient", "training": "training step"}
    rows = [
        {"program": titles[name]}
        | seconds([1e6 * t / steps for t in times[name]], "us a step")
        | described(median(times[name]) / steps, work["forward" if name == "forward" else "training"], peak)
        | dict(zip(("kernels beside", "kernels a step"), launches(texts[name]), strict=True))
        for name in clocks
    ]
    height, width, channels = scene.body.shape
    note = (
        f"Batch {scene.sizes.batch}, {height}x{width}x{channels}, roll-outs of {steps} steps, plain XLA, per "
        "step of growth. Work: XLA's count for one step, and for the gradient of one, without optimiser "
        "and pool. Launch-bound: neither arithmetic nor memory at the device's peak "
        f"({peak or 'unknown'}) would take {STARVED:.0%} of the time; else bound by the longer of the two. "
        "Kernels: fusions, library calls and copies in the compiled program, in its loops and beside them."
    )
    return Table("profile", "Where the time of a training step goes", note, rows)


def programs(task: Task, steps: int) -> dict[str, Callable[..., Any]]:
    """Forward pass, forward and gradient, and the training step."""

    def forward(parameters: Any, states: Any, key: Any) -> Any:
        return unroll(partial(advance_batch, task), steps, parameters, states, key, steps)

    def loss(parameters: Any, states: Any, key: Any) -> Any:
        return jnp.mean((forward(parameters, states, key)[..., :4] - task.target) ** 2)

    return {
        "forward": forward,
        "gradient": jax.value_and_grad(loss),
        "training": partial(train_step, task),
    }


def step_work(task: Task, scene: Scene) -> dict[str, tuple[float, float]]:
    """Operations and bytes of one step: forward, and in training (forward, then again with its gradient)."""

    def one(parameters: Any, states: Any) -> Any:
        return advance_batch(task, parameters, states, scene.key, jnp.int32(0))

    def pulled(parameters: Any, states: Any, slope: Any) -> Any:
        return jax.vjp(one, parameters, states)[1](slope)

    parameters, states = scene.state.parameters, scene.state.pool
    forward, backward = counted(one, parameters, states), counted(pulled, parameters, states, states)
    return {"forward": forward, "training": (forward[0] + backward[0], forward[1] + backward[1])}


def described(took: float, work: tuple[float, float], peak: Peak | None) -> Row:
    """Columns of the work of a step, of the device's peak, and of what binds."""
    flops, moved = work
    shares = (flops / took / peak.arithmetic / 1e12, moved / took / peak.memory / 1e12) if peak else (None, None)
    return {
        "GFLOP a step": flops / 1e9,
        "MB a step": moved / 1e6,
        "FLOP a byte": flops / moved if moved else None,
        "of peak arithmetic": shares[0],
        "of peak memory": shares[1],
        "bound by": bound(took, flops, moved, peak),
    }

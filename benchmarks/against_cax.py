"""The same work done by CAX (Faldor and Cully 2024), in a process of its own.

CAX wants a Python and a jax of its own, so this file is two things: `process` talks to another
process, which runs this file as a script, in the other Python, with nothing of this project. The
system is put together as in the growing example of CAX: grouped convolution, `NCAUpdate` with cell
dropout, the batch by `nnx.vmap` over split random streams, all under `nnx.jit`, and Adam behind a
clipped norm. It starts from the same weights and states as the other variants.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def process(python: str, arrays: Path) -> Iterator[tuple[str, Callable[[str], float]]]:
    """The name of that Python's CAX, and a function that has it do one thing: `forward` or `train`
    (seconds), `memory` (GB); not a number once it has failed, so that the rest is measured still."""
    command = [python, str(Path(__file__).resolve()), str(arrays)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        name = json.loads(other.stdout.readline() or '"CAX, which did not start"') if other.stdout else ""

        def ask(what: str) -> float:
            try:
                print(what, file=other.stdin, flush=True)
                return float(other.stdout.readline()) if other.stdout else float("nan")
            except (OSError, ValueError):
                print(f"{name} ended with code {other.poll()}", file=sys.stderr)
                return float("nan")

        try:
            yield name, ask
        finally:
            with suppress(OSError):
                other.communicate()


def serve(arrays: dict[str, np.ndarray]) -> None:
    """Answer questions from standard input until it ends."""
    answers = clocks(arrays) | {"memory": peak_memory}
    print(json.dumps(f"CAX {version('cax')} (jax {version('jax')})"), flush=True)
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), flush=True)


def peak_memory() -> float:
    """The most memory that this process ever held, in GB; read as in `measure`."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmHWM")).split()[1]) * 1024 / 1e9


def clocks(arrays: dict[str, np.ndarray]) -> dict[str, Callable[[], float]]:
    """Clocks of the forward pass and of the training step."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    order = visible_last(arrays["states"].shape[-1])
    states = jnp.asarray(arrays["states"][..., order])
    target, steps = jnp.asarray(arrays["target"]), int(arrays["steps"])
    system = build(arrays, order)
    trained = nnx.All(nnx.Param, nnx.PathContains("update"))
    rate = optax.linear_schedule(2e-3, 2e-4, 2000)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    optimiser = nnx.Optimizer(system, adam, wrt=trained)

    def roll(system: Any, states: Any) -> Any:
        axes = nnx.StateAxes({nnx.RngState: 0, ...: None})
        runs = nnx.vmap(lambda one, state: one(state, num_steps=steps), in_axes=(axes, 0))
        return nnx.split_rngs(splits=states.shape[0])(runs)(system, states)

    @nnx.jit
    def train(system: Any, optimiser: Any, states: Any) -> Any:
        def loss(system: Any) -> Any:
            return jnp.mean((roll(system, states)[..., -4:] - target) ** 2)

        error, gradient = nnx.value_and_grad(loss, argnums=nnx.DiffState(0, trained))(system)
        optimiser.update(system, gradient)
        return error

    def clock(call: Callable[..., Any], *given: Any) -> Callable[[], float]:
        def seconds() -> float:
            begin = time.perf_counter()
            jax.block_until_ready(call(*given))
            return time.perf_counter() - begin

        return seconds

    return {
        "forward": clock(nnx.jit(roll), system, states),
        "train": clock(train, system, optimiser, states),
    }


def visible_last(channels: int) -> list[int]:
    """This project's channels in the order of CAX: hidden ones, then r, g, b, alpha."""
    return [*range(4, channels), 0, 1, 2, 3]


def build(arrays: dict[str, np.ndarray], order: list[int], drop: float = 0.5) -> Any:
    """The growing automaton of CAX with the given weights."""
    import jax.numpy as jnp
    from cax.core import ComplexSystem
    from cax.core.perceive import ConvPerceive
    from cax.core.update import NCAUpdate
    from flax import nnx

    channels, hidden = len(order), arrays["w1"].shape[1]

    class Growing(ComplexSystem):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.perceive = ConvPerceive(
                channel_size=channels, perception_size=3 * channels, feature_group_count=channels, rngs=rngs
            )
            # The dropout of Flax scales up what it keeps: a smaller step undoes that.
            self.update = NCAUpdate(
                channel_size=channels, perception_size=3 * channels, hidden_layer_sizes=(hidden,),
                cell_dropout_rate=drop, step_size=1 - drop, rngs=rngs,
            )  # fmt: skip

        def _step(self, state: Any, input: Any = None, **recording: Any) -> Any:
            return self.update(state, self.perceive(state), input)

    system = Growing(nnx.Rngs(0))
    dx = np.outer([1, 2, 1], [-1, 0, 1]) / 8
    one = np.zeros((3, 3))
    one[1, 1] = 1
    filters = np.stack([one, dx, dx.T], axis=-1)[:, :, None]
    system.perceive.conv.kernel[...] = jnp.asarray(np.tile(filters, channels), jnp.float32)
    # A grouped convolution lists the filters of one channel after those of another.
    first = arrays["w1"].reshape(3, channels, hidden)[:, order].swapaxes(0, 1).reshape(-1, hidden)
    for layer, weight, bias in zip(
        system.update.layers,
        (first, arrays["w2"][:, order]),
        (arrays["b1"], arrays["b2"][order]),
        strict=True,
    ):
        layer.kernel[...] = jnp.asarray(weight[None, None])
        layer.bias[...] = jnp.asarray(bias)
    return system


if __name__ == "__main__":
    with np.load(sys.argv[1]) as file:
        serve(dict(file))

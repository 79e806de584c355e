"""What everything is measured on: an organism, its grown body, and the training task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from nca.errors import UserError
from nca.io import load
from nca.organism import Organism
from nca.rollout import grow, run_key
from nca.rule import Rule, init_rule
from nca.spec import Spec
from nca.targets import target
from nca.training.config import TrainConfig
from nca.training.step import Task, TrainState, init_training, optimizer

ROOT = Path(__file__).parents[1]
GECKO = ROOT.parent / "shared" / "organisms" / "distill-gecko-persistent" / "reference.npz"


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults are the published size (Mordvintsev et al. 2020)."""

    batch: int = 8
    size: int = 40
    margin: int = 16
    hidden: int = 128
    steps: int = 64
    canvases: tuple[int, ...] = (56, 72, 144, 288)
    living: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
    runs: tuple[int, ...] = (1, 4, 16)
    product: int = 2048


QUICK = Sizes(2, 8, 8, 16, 4, (20, 24), (0.1, 1.0), (1, 2), 128)


@dataclass(frozen=True, eq=False)
class Scene:
    """What every variant computes on.

    Attributes:
        sizes: how much.
        organism: whose rule it is.
        body: its grown state, (y, x, channel); a batch holds copies of it, each with its own noise.
        task: the training task, its roll-outs of exactly `sizes.steps` steps.
        state: the train state before the step, its pool one batch of grown bodies.
        key: of all noise.
    """

    sizes: Sizes
    organism: Organism
    body: Float[Array, "y x channel"]
    task: Task
    state: TrainState
    key: Array


def scene(sizes: Sizes, name: str | None) -> Scene:
    """The scene of an organism grown for 100 steps; without a name, of a body that keeps still."""
    config = TrainConfig.published(
        regime="persistent", size=sizes.size, margin=sizes.margin, hidden_size=sizes.hidden,
        batch_size=sizes.batch, pool_size=sizes.batch, reseed_per_batch=0, min_steps=sizes.steps, max_steps=sizes.steps,
    )  # fmt: skip
    organism = None if name is None else _organism(name)
    if organism is None:
        organism, body = still(sizes)
    else:
        body = grow(organism, 100, key=run_key(0), canvas=config.canvas)
    if organism.rule.spec != Spec():
        raise UserError(f"The baselines know the published conventions only; {organism.name} has others.")
    parts: Any = nnx.split(organism.rule, nnx.Param, ...)
    task = replace(init_training(config)[0], split=(parts[0], parts[2]))
    pool = jnp.tile(body[None], (sizes.batch, 1, 1, 1))
    state = TrainState(parts[1], optimizer(config).init(parts[1]), pool)
    return Scene(sizes, organism, body, task, state, jax.random.key(0))


def _organism(name: str) -> Organism | None:
    """That organism; while no lizard is bundled, a published gecko, or the newest one kept in training."""
    try:
        return load(name)
    except UserError:
        if name != "lizard":
            raise
    if GECKO.is_file():
        with np.load(GECKO) as file:
            layers = [file["w1"], file["w2"]], [file["b1"], file["b2"]]
        return Organism(Rule.from_arrays(*layers), name="distill-gecko-persistent")
    snapshots = sorted(ROOT.glob("runs/*/snapshots/*.safetensors"), key=lambda path: path.stat().st_mtime)
    return load(snapshots[-1]) if snapshots else None


def still(sizes: Sizes) -> tuple[Organism, Array]:
    """An organism whose steps change nothing, and the drawn body that it keeps."""
    canvas = (sizes.size + 2 * sizes.margin,) * 2
    rule = init_rule(jax.random.key(0), hidden_size=sizes.hidden)
    organism = Organism(rule, canvas=canvas, target=target("lizard", sizes.size), name="still lizard")
    picture = jnp.asarray(organism.padded_target())
    hidden = jnp.broadcast_to(picture[..., 3:], (*canvas, rule.spec.channels - 4))
    return organism, jnp.concatenate([picture, hidden], axis=-1)

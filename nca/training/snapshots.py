"""The organism that training has come to, with its provenance: at the end, and along the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nca.io import load, save
from nca.organism import Organism
from nca.targets import target
from nca.training import checkpoint as runs
from nca.training import devices
from nca.training.config import TrainConfig, kept_steps
from nca.training.step import Task, Trainer
from nca.versions import versions


def run_name(config: TrainConfig) -> str:
    """The name of a run's folder where none is given."""
    return f"{Path(config.target).stem}-{config.regime}-{config.seed}"


def hatch(task: Task, parameters: Any, mark: runs.Mark, folder: Path) -> Organism:
    """The organism of these parameters, with its provenance."""
    config = task.config
    losses = [row["loss"] for row in runs.metrics(folder) if "loss" in row]
    provenance = {
        "trained_by": "nca-dissection",
        "config": _without_places(config),
        "steps": mark.step,
        "rollbacks": mark.rollbacks,
        "versions": versions(),
        "device": devices.in_words(),
        "started_from": None if config.start is None else _lineage(config.start),
    }
    metrics = {"training_log10_loss": float(np.log10(np.mean(losses[-20:])))} if losses else {}
    picture = target(config.target, config.size, background=config.background)
    return Organism(
        task.rule(jax.tree.map(jnp.asarray, parameters)),
        seed=None,
        canvas=config.canvas,
        target=picture,
        name=run_name(config),
        provenance=provenance,
        metrics=metrics,
    )


def keep(task: Task, trainer: Trainer, folder: Path, number: int) -> None:
    """Save the organism of this moment, where the schedule asks for it."""
    if number not in kept_steps(task.config.keep, task.config.steps):
        return
    (folder / "keep").mkdir(exist_ok=True)
    organism = hatch(task, trainer.parameters, runs.Mark(number, 0, 0), folder)
    save(organism.renamed(f"{organism.name}-{number}"), folder / "keep" / f"step-{number:06d}.safetensors")


def _without_places(config: TrainConfig) -> dict[str, Any]:
    """The recipe with files by their names alone: folders say nothing elsewhere."""
    start = None if config.start is None else load(config.start).name
    return config.to_json() | {"target": Path(config.target).name, "start": start}


def _lineage(start: str) -> dict[str, Any]:
    ancestor = load(start)
    return {
        "name": ancestor.name,
        "hash": ancestor.hash,
        "steps": ancestor.provenance.get("steps"),
        "started_from": ancestor.provenance.get("started_from"),
    }

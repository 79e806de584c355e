"""A training run's folder: what it was asked, what it measured, and the state to resume from.

config.json           the recipe
metrics.jsonl         a row per logged step, and a row per rollback
state.safetensors     parameters, optimiser, pool, step: written beside and renamed
keep/step-000100.safetensors   organisms along the way
sheets/, loss.png     to look at
organism.safetensors  the result
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from nca.errors import UserError
from nca.io import UNFINISHED, write
from nca.training.config import TrainConfig


@dataclass(frozen=True)
class Mark:
    """Where a checkpoint stands.

    Attributes:
        step: training steps done.
        rollbacks: rollbacks so far; part of every later key.
        written: bytes of metrics.jsonl that belong to it.
    """

    step: int
    rollbacks: int
    written: int


def prepare(folder: Path, config: TrainConfig, resume: bool) -> None:
    """Make the folder, or check that it holds the run to resume.

    Raises:
        UserError: it holds another run, cannot be made, or there is nothing to resume.
    """
    described = folder / "config.json"
    if resume:
        if not (folder / "state.safetensors").is_file():
            raise UserError(f"{folder} has no checkpoint to resume from; train without --resume.")
        before = read_config(folder)
        changed = [k for k, v in config.to_json().items() if before.to_json()[k] != v and k != "steps"]
        if changed:
            raise UserError(f"{folder} was begun with another {', '.join(changed)}; resume it as it was begun.")
    elif (folder / "state.safetensors").exists():
        raise UserError(f"{folder} already holds a training run: go on with --resume, or name another.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder}: {error.strerror}; choose another.") from error
    for left in [*folder.glob(f"{UNFINISHED}*"), *folder.glob(f"*/{UNFINISHED}*")]:
        left.unlink()
    write(described, json.dumps(config.to_json(), indent=1))


def read_config(folder: Path) -> TrainConfig:
    """The recipe of the run in a folder."""
    try:
        return TrainConfig.from_json(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no readable training config: {error}") from error


def save_state(folder: Path, trainer: Any, mark: Mark) -> None:
    """Write a checkpoint; the last one stays whole until this one is."""
    leaves = {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(trainer))}
    note = {"mark": json.dumps(vars(mark))}
    write(folder / "state.safetensors", to_bytes(leaves, metadata=note))


def load_state(folder: Path, like: Any) -> tuple[Any, Mark]:
    """The checkpoint as the tree `like` (arrays or shapes), and its mark."""
    path = folder / "state.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            mark = Mark(**json.loads(file.metadata()["mark"]))
            leaves = [file.get_tensor(name) for name in sorted(file.keys())]
        structure = jax.tree.structure(like)
        wanted = [leaf.shape for leaf in jax.tree.leaves(like)]
        if [leaf.shape for leaf in leaves] != wanted:
            raise ValueError("its arrays have other shapes")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a checkpoint of this run: {error}.") from error
    return jax.tree.unflatten(structure, [jax.numpy.asarray(leaf) for leaf in leaves]), mark


def append(folder: Path, row: dict[str, Any]) -> int:
    """Add a row to metrics.jsonl; returns the file's size after it."""
    try:
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            return file.tell()
    except OSError as error:
        raise UserError(f"Cannot write {folder / 'metrics.jsonl'}: {error.strerror}.") from error


def truncate(folder: Path, size: int) -> None:
    """Drop the rows that came after a checkpoint, they will be measured again, and half a row."""
    path = folder / "metrics.jsonl"
    path.touch()
    os.truncate(path, path.read_bytes()[:size].rfind(b"\n") + 1)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl; lines that are none are passed over."""
    path, rows = folder / "metrics.jsonl", []
    if not path.is_file():
        return []
    for line in path.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]

"""The run folder of a training: its configuration, its metrics, the checkpoint to resume from, its organisms.

config.json                         the configuration
target.safetensors                  the target, where it was given as an array
metrics.jsonl                       a row per logged step, and a row per rollback
state.safetensors                   the checkpoint: parameters, optimiser, pool, step
snapshots/step-000100.safetensors   organisms along the way
pool/000500.png, loss.png           pictures of the pool and of the loss
organism.safetensors                the result
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

from nca.errors import UserError
from nca.files import (
    MAX_FILE_BYTES,
    DamagedError,
    parse_json,
    read_bytes,
    read_json,
    reading,
    remove_unfinished,
    write_file,
)
from nca.io import load
from nca.organism import Organism
from nca.targets import target
from nca.training.config import CONFIG_FILE, TARGET_FILE, TrainConfig, read_config
from nca.training.devices import describe_devices
from nca.training.step import Task, TrainState, initial_seed
from nca.versions import modern_keys, versions

CHECKPOINT_FILE = "state.safetensors"
_METRICS_FILE = "metrics.jsonl"
_BEGUN_FILES = (CONFIG_FILE, TARGET_FILE, _METRICS_FILE)
_RUN_FILES = (*_BEGUN_FILES, "organism.safetensors", "loss.png", "failed.txt", "snapshots", "pool")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says besides its arrays.

    Attributes:
        step: training steps done.
        rollbacks: rollbacks so far; part of every later key.
        metrics_bytes: size of metrics.jsonl when it was written; later rows do not belong to it.
        since_row: metrics of the steps since the last row, of a run that was interrupted between two rows.

    Raises:
        DamagedError: a number is no whole number from 0 to 2^31 - 1, or `since_row` holds no metrics.
    """

    step: int = 0
    rollbacks: int = 0
    metrics_bytes: int = 0
    since_row: Sequence[Mapping[str, float]] = ()

    def __post_init__(self) -> None:
        numbers = (self.step, self.rollbacks, self.metrics_bytes)
        if not all(type(value) is int and 0 <= value < 2**31 for value in numbers):
            raise DamagedError("its step, rollbacks and metrics_bytes must be whole numbers from 0.")
        for metrics in self.since_row:
            if set(metrics) != {"loss", "finite", "max_abs", "dead"} or not all(map(np.isfinite, metrics.values())):
                raise DamagedError("its metrics since the last row are damaged.")


def open_run(folder: Path, config: TrainConfig, state: TrainState, resume: bool) -> tuple[TrainState, Checkpoint]:
    """Make a run folder whose first checkpoint is `state`, or open one at its last checkpoint.

    Raises:
        UserError: the folder holds another run, cannot be made, or holds nothing to resume.
    """
    if resume:
        if not (folder / CHECKPOINT_FILE).is_file():
            raise UserError(f"{folder} has no checkpoint to resume from; train without --resume.")
        before = read_config(folder).to_json()
        changed = [k for k, v in config.to_json().items() if before[k] != v and k != "steps"]
        if changed:
            raise UserError(
                f"{folder} was started with another {', '.join(changed)}; resume it with the same configuration."
            )
    else:
        _check_unused(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder}: {error.strerror}; choose another.") from error
    for used in (folder, folder / "snapshots", folder / "pool"):
        remove_unfinished(used)
    write_file(folder / CONFIG_FILE, json.dumps(config.to_json(), indent=1))
    if type(config.target) is not str:
        write_file(folder / TARGET_FILE, to_bytes({"target": config.target.pixels}))
    if resume:
        return restore_checkpoint(folder, state)
    checkpoint = Checkpoint()
    _truncate_metrics(folder, 0)
    save_checkpoint(folder, state, checkpoint)
    return state, checkpoint


def _check_unused(folder: Path) -> None:
    """Raise `UserError` where a new run would overwrite files: another run's, or such as are not ours."""
    if (folder / CHECKPOINT_FILE).exists():
        raise UserError(f"{folder} already holds a training run: continue it with --resume, or name another folder.")
    taken = [name for name in _RUN_FILES if (folder / name).exists()]
    if CONFIG_FILE in taken and set(taken) <= set(_BEGUN_FILES):
        with suppress(UserError):  # a run of ours that was killed before its first checkpoint loses nothing
            is_ours = vars(read_config(folder)).keys() <= read_json(folder / CONFIG_FILE, dict).keys()
            metrics = folder / _METRICS_FILE
            taken = [] if is_ours and not (metrics.exists() and metrics.stat().st_size) else taken
    if taken:
        raise UserError(
            f"{folder} holds {', '.join(taken)}, which a training run would overwrite; name another folder."
        )


def save_checkpoint(folder: Path, state: TrainState, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the previous one stays complete until this one is."""
    arrays = {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    metadata = {"checkpoint": json.dumps({k: v for k, v in vars(checkpoint).items() if v != ()})}
    write_file(folder / CHECKPOINT_FILE, to_bytes(arrays, metadata=metadata))


def restore_checkpoint(folder: Path, like: TrainState) -> tuple[TrainState, Checkpoint]:
    """The last checkpoint of a run; rows of metrics that came after it are dropped, since they will be repeated.

    Args:
        folder: the run folder.
        like: a state (arrays or shapes) of the same structure.

    Raises:
        UserError: the checkpoint is damaged, or of another task.
    """
    path = folder / CHECKPOINT_FILE
    with reading(path, "is not a checkpoint of this run"), safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        # "mark" is what earlier versions called it.
        entry = parse_json(metadata["checkpoint"] if "checkpoint" in metadata else metadata["mark"], dict)
        checkpoint = Checkpoint(**modern_keys(entry, "checkpoint"))
        names = sorted(file.keys())
        wanted = [(leaf.shape, np.dtype(leaf.dtype)) for leaf in jax.tree.leaves(like)]
        shapes = [tuple(file.get_slice(name).get_shape()) for name in names]
        if shapes != [shape for shape, _ in wanted]:
            raise DamagedError("its arrays have other shapes.")
        arrays = [file.get_tensor(name) for name in names]
        if [leaf.dtype for leaf in arrays] != [dtype for _, dtype in wanted]:
            raise DamagedError("its arrays are of other types.")
    _truncate_metrics(folder, checkpoint.metrics_bytes)
    return jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(leaf) for leaf in arrays]), checkpoint


def append_metrics(folder: Path, row: dict[str, Any]) -> int:
    """Add a row to metrics.jsonl; returns the file's size in bytes."""
    try:
        with (folder / _METRICS_FILE).open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            return file.tell()
    except OSError as error:
        raise UserError(f"Cannot write {folder / _METRICS_FILE}: {error.strerror}.") from error


def metrics_size(folder: Path) -> int:
    """The size of metrics.jsonl in bytes."""
    return (folder / _METRICS_FILE).stat().st_size


def _truncate_metrics(folder: Path, size: int) -> None:
    """Cut metrics.jsonl to `size` bytes, and to complete rows."""
    path = folder / _METRICS_FILE
    path.touch()
    os.truncate(path, path.read_bytes()[:size].rfind(b"\n") + 1)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl; damaged ones are skipped."""
    path, rows = folder / _METRICS_FILE, []
    if not path.is_file():
        return []
    for line in read_bytes(path, MAX_FILE_BYTES).splitlines():
        with suppress(DamagedError):
            rows.append(parse_json(line, dict))
    return [row for row in rows if _is_row(row)]


def _is_row(row: Mapping[str, Any]) -> bool:
    """Whether a row has a step, and the numbers of a logged step or none of them."""
    numbers = [row[name] for name in ("loss", "log10_loss") if name in row]
    is_step = type(row.get("step")) is int and 0 <= row["step"] < 2**31
    return is_step and len(numbers) != 1 and all(type(n) is float and abs(n) < 1e30 for n in numbers)


def build_organism(task: Task, parameters: Any, checkpoint: Checkpoint, folder: Path) -> Organism:
    """The organism of these parameters, with its provenance and its training loss (mean of the last 20 rows)."""
    config = task.config
    losses = [row["loss"] for row in read_metrics(folder) if "loss" in row]
    ancestor = None if config.init_from is None else load(config.init_from)
    # A folder means nothing on another machine: files are named without it.
    names = {"target": Path(config.target).name, "init_from": None if ancestor is None else ancestor.name}
    names |= {"start": None if config.start is None else Path(config.start).name}
    provenance = {
        "trained_by": "nca-dissection",
        "config": config.to_json() | names,
        "steps": checkpoint.step,
        "rollbacks": checkpoint.rollbacks,
        "versions": versions(),
        "device": describe_devices(),
        "started_from": ancestor
        and {
            "name": ancestor.name,
            "hash": ancestor.hash,
            "steps": ancestor.provenance.get("steps"),
            "started_from": ancestor.provenance.get("started_from"),
        },
    }
    return Organism(
        task.rule(jax.tree.map(jnp.asarray, parameters)),
        initial_seed(config),
        canvas=config.canvas,
        target=target(config.target, config.size, background=config.background),
        name=config.run_name,
        provenance=provenance,
        metrics={"training_log10_loss": float(np.log10(max(np.mean(losses[-20:]), 1e-12)))} if losses else {},
    )

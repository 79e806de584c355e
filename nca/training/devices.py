"""Where training runs: one device, all that a machine has, or several machines.

One organism: its batch is spread over the devices of all processes, and jax sums the gradients. A
population: each process takes its own lineages, and spreads them over its own devices.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nca.errors import UserError
from nca.training.step import Task, Trainer


def join(coordinator: str, processes: int | None = None, process: int | None = None) -> None:
    """Join the processes that train together; call it before anything is computed.

    Args:
        coordinator: HOST:PORT of the first process, or "auto" where the scheduler says it (SLURM,
            Open MPI, Kubernetes, TPU pods).
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        UserError: the numbers do not fit, or the others cannot be reached.
    """
    auto = coordinator == "auto"
    if not auto and (processes is None or process is None or not 0 <= process < processes):
        raise UserError(
            f"Training together needs --processes and --process, from 0 to one below it; got {processes} and {process}."
        )
    try:
        if auto:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"Cannot train together by way of {coordinator}: {said}") from error


def first() -> bool:
    """Whether this process is the one that tells and writes what all share."""
    return jax.process_index() == 0


def in_words() -> str:
    """The device in words."""
    kinds = jax.devices()
    return f"{kinds[0].platform}: {kinds[0].device_kind}" + (f" x {len(kinds)}" if len(kinds) > 1 else "")


def leave(why: str) -> None:
    """End this process at once, with the code of a mistake, after saying why.

    The usual way out waits for the other processes, and aborts where one of them is gone.
    """
    sys.stderr.write(f"nca: {why}\n")
    sys.stderr.flush()
    os._exit(2)


def spread(task: Task, trainer: Trainer) -> tuple[Task, Trainer]:
    """The task with its batch spread over all devices, where there are several that divide it."""
    devices = jax.devices()
    if len(devices) == 1:
        return task, trainer
    if task.config.batch % len(devices):
        if jax.process_count() > 1:
            raise UserError(f"A batch of {task.config.batch} cannot be spread over {len(devices)} devices.")
        return task, trainer
    place = NamedSharding(Mesh(np.asarray(devices), ("sample",)), PartitionSpec("sample"))
    # A gather over the whole batch would bring all of it to every device: each computes every cell.
    task = replace(task, place=place, capacities=())
    return task, everywhere(task, trainer)


def everywhere(task: Task, trainer: Trainer) -> Trainer:
    """The trainer on every device of the task."""
    if task.place is None:
        return trainer
    whole = NamedSharding(task.place.mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), whole), trainer)


def as_the_first(tree: Any) -> Any:
    """What the first process holds, in every process."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


@contextmanager
def lost_told(folder: Path) -> Iterator[None]:
    """Where another process is lost, say so and how to go on.

    Raises:
        UserError: it was lost.
    """
    try:
        yield
    except RuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise UserError(
            f"Another of the {jax.process_count()} processes was lost; the last checkpoint is in {folder}: "
            "start all of them again with --resume."
        ) from error


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """The folder in the first process; elsewhere one that is thrown away."""
    if jax.process_index() == 0:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / "run"

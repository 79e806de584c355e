"""Where training runs: on one device, on all devices of a machine, or on several machines; and their memory.

One organism: its batch is spread over the devices of all processes, and jax sums the gradients. A population:
each process takes its own lineages and spreads them over its own devices.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nca.errors import UserError
from nca.training.config import TrainConfig
from nca.training.step import Task, TrainState

_FLOAT_BYTES = 4
_OVERHEAD = 2  # the compiler's buffers take at least as much again as the states


def describe_devices() -> str:
    """Platform, kind and number of the devices, such as "gpu: NVIDIA H100 x 8"."""
    devices = jax.devices()
    count = f" x {len(devices)}" if len(devices) > 1 else ""
    return f"{devices[0].platform}: {devices[0].device_kind}{count}"


@contextmanager
def join_processes(coordinator: str, processes: int | None = None, process: int | None = None) -> Iterator[None]:
    """Join the processes that train together; enter it before anything is computed.

    A `UserError` inside ends this process at once with exit code 2: the usual way out waits for the other
    processes, and aborts where one of them is gone.

    Args:
        coordinator: HOST:PORT of the first process, or "auto" where the scheduler knows it (SLURM, Open MPI,
            Kubernetes, TPU pods).
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        UserError: the numbers do not fit, or the others cannot be reached.
    """
    auto = coordinator == "auto"
    if not auto and (processes is None or process is None or not 0 <= process < processes):
        raise UserError(
            "Training in several processes needs --processes and --process, from 0 to one below it; "
            f"got {processes} and {process}."
        )
    if not auto:
        _check_address(coordinator)
    try:
        if auto:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"Cannot join the other processes through {coordinator}: {reason}") from error
    try:
        yield
    except UserError as error:
        sys.stderr.write(f"nca: {error}\n")
        sys.stderr.flush()
        os._exit(2)


def _check_address(coordinator: str) -> None:
    """Raise `UserError` unless this is HOST:PORT and there is such a host; jax would wait for it, or abort."""
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port[:6]) < 2**16:
        raise UserError(f"--coordinator is HOST:PORT with a port from 1 to 65535, or auto; got {coordinator!r}.")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except (OSError, UnicodeError) as error:
        raise UserError(f"--coordinator names {host}, which cannot be found: {error}.") from error


@contextmanager
def process_folder(folder: Path) -> Iterator[Path]:
    """The run folder in the first process, a temporary folder in the others.

    Raises:
        UserError: another process was lost meanwhile; the message tells how to resume.
    """
    try:
        if jax.process_index() == 0:
            yield folder
        else:
            with tempfile.TemporaryDirectory() as temporary:
                yield Path(temporary) / "run"
    except RuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise UserError(
            f"Another of the {jax.process_count()} processes was lost; the last checkpoint is in {folder}: "
            "start all of them again with --resume."
        ) from error


def spread_batch(task: Task, state: TrainState) -> tuple[Task, TrainState]:
    """The task with its batch spread over all devices, and the state on each of them.

    Nothing changes on one device, or where the devices do not divide the batch.

    Raises:
        UserError: several processes cannot share the batch.
    """
    devices = jax.devices()
    if len(devices) == 1:
        return task, state
    if task.config.batch_size % len(devices):
        if jax.process_count() > 1:
            raise UserError(
                f"A batch of {task.config.batch_size} cannot be spread over {len(devices)} devices; "
                "make --batch-size a multiple of their number."
            )
        return task, state
    mesh = Mesh(np.asarray(devices), ("sample",))
    # The sparse step gathers over the whole batch, which would move all of it to every device.
    task = replace(task, sharding=NamedSharding(mesh, PartitionSpec("sample")), capacities=())
    replicated = NamedSharding(mesh, PartitionSpec())
    return task, jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), replicated), state)


# --- Memory ---


@contextmanager
def explain_out_of_memory(config: TrainConfig, members: int = 1) -> Iterator[None]:
    """Where the device runs out of memory, explain which options to lower, and by how much.

    Raises:
        UserError: it ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(_memory_advice(config, members, _memory_limit())) from error


def _memory_advice(config: TrainConfig, members: int, limit: int | None) -> str:
    """What takes the memory, and what to lower; `limit` is the device's memory in bytes where it is known."""
    height, width = config.canvas
    state_bytes = height * width * config.channels * _FLOAT_BYTES
    pool = config.pool_size * state_bytes
    rollout = config.max_steps * config.batch_size * state_bytes  # kept for the gradient
    per_device = -(-members // len(jax.local_devices())) if members > 1 else 1
    # On a CPU the members take turns.
    rollouts = 1 if jax.default_backend() == "cpu" else per_device
    needed = per_device * pool + rollouts * rollout
    size = "" if limit is None else f" of {_format_bytes(limit)}"
    problem = (
        f"The device's memory{size} does not hold this training: the states alone take {_format_bytes(needed)} "
        f"(pool {_format_bytes(per_device * pool)})"
    )
    if members > 1:
        fit = members // 2
        if limit is not None:
            fit = min(fit, int(limit / (_OVERHEAD * needed / per_device)) * len(jax.local_devices()))
        return f"{problem}; train at most {max(fit, 1)} members at once (--population, or --shard), not {members}."
    batch = config.batch_size
    while batch > 1:
        batch //= 2
        if limit is None or _OVERHEAD * (pool + rollout * batch // config.batch_size) <= limit:
            break
    return f"{problem}; lower --batch-size from {config.batch_size} to {batch}, or --pool-size from {config.pool_size}."


def _memory_limit() -> int | None:
    stats = jax.local_devices()[0].memory_stats()
    return int(stats["bytes_limit"]) if stats and "bytes_limit" in stats else None


def _format_bytes(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"

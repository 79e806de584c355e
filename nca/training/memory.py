"""What training holds in a device's memory, and what to lower where it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from nca.errors import UserError
from nca.training.config import TrainConfig

FLOAT = 4
SPARE = 2  # the compiler's own buffers, at least as much again


def pool_bytes(config: TrainConfig) -> int:
    """End states kept of one member."""
    height, width = config.canvas
    return config.pool * height * width * config.channels * FLOAT


def record_bytes(config: TrainConfig) -> int:
    """States of one batch of roll-outs, which the gradient walks back through."""
    height, width = config.canvas
    return config.longest * config.batch * height * width * config.channels * FLOAT


def states_bytes(config: TrainConfig, members: int) -> int:
    """States of members that one device trains side by side; on a CPU they take turns at the record."""
    records = 1 if jax.default_backend() == "cpu" else members
    return members * pool_bytes(config) + records * record_bytes(config)


@contextmanager
def told_what_fits(config: TrainConfig, members: int = 1) -> Iterator[None]:
    """Where the device runs out of memory, say what to lower, and by how much.

    Raises:
        UserError: it ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(advice(config, members, _limit())) from error


def advice(config: TrainConfig, members: int, limit: int | None) -> str:
    """The sentence for a training that does not fit.

    Args:
        config: its recipe.
        members: trained by one device.
        limit: the device's memory in bytes, where it is known.
    """
    share = -(-members // len(jax.local_devices())) if members > 1 else 1
    needs = states_bytes(config, share)
    has = "" if limit is None else f" of {_in_words(limit)}"
    said = (
        f"The device's memory{has} does not hold this training: the states alone take {_in_words(needs)} "
        f"(pool {_in_words(share * pool_bytes(config))})"
    )
    if members > 1:
        fit = members // 2
        if limit is not None:
            each = SPARE * states_bytes(config, share) / share
            fit = max(1, min(fit, int(limit / each) * len(jax.local_devices())))
        return f"{said}; train at most {max(fit, 1)} members at once (--population, or --part), not {members}."
    fewer = config.batch
    while fewer > 1 and (fewer == config.batch or (limit is not None and _lower(config, fewer) > limit)):
        fewer //= 2
    return f"{said}; lower --batch from {config.batch} to {fewer}, or --pool from {config.pool}."


def _lower(config: TrainConfig, batch: int) -> int:
    return SPARE * (pool_bytes(config) + record_bytes(config) * batch // config.batch)


def _limit() -> int | None:
    stats = jax.local_devices()[0].memory_stats()
    return int(stats["bytes_limit"]) if stats and "bytes_limit" in stats else None


def _in_words(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"

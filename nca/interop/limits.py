"""How much of a strange file is believed: sizes are checked before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nca.errors import UserError

LARGEST_FILE = 256 * 2**20
LARGEST_TEXT = 32 * 2**20
MOST_VALUES = 2**24
MOST_ARRAYS = 4096
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


class DamagedError(UserError):
    """A file that does not hold what its format needs."""


def bytes_of(path: Path, most: int = LARGEST_FILE) -> bytes:
    """The whole of a file that is not too large."""
    try:
        size = path.stat().st_size
        if size > most:
            raise UserError(f"{path} has {size} bytes; files of its kind are read up to {most}.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error


def count(shape: Iterable[Any]) -> int:
    """The number of values in an array of that shape, or `DamagedError` if it cannot be one of ours."""
    sizes = tuple(shape)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MOST_VALUES for n in sizes)
    if not whole or len(sizes) > 8 or math.prod(sizes) > MOST_VALUES:
        shown = "x".join(str(n)[:20] for n in sizes[:9])
        raise DamagedError(f"it declares an array of shape {shown}; at most {MOST_VALUES} values are read.")
    return math.prod(sizes)


def array(raw: bytes | memoryview, dtype: str, shape: Iterable[int], order: str = "<") -> np.ndarray:
    """float32 array of raw numbers; their bytes must be as many as the shape needs.

    Args:
        raw: the bytes.
        dtype: a NumPy name among `DTYPES`, or bfloat16.
        shape: sizes of the axes.
        order: "<" little-endian or ">" big-endian.
    """
    sizes = tuple(shape)
    number = count(sizes)
    if dtype != "bfloat16" and dtype not in DTYPES:
        raise DamagedError(f"it holds numbers of type {str(dtype)[:30]!r}; {', '.join(DTYPES)} are read.")
    kind = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    if len(raw) != number * kind.itemsize:
        raise DamagedError(
            f"an array of {'x'.join(map(str, sizes)) or 'one value'} {dtype} needs "
            f"{number * kind.itemsize} bytes, but {len(raw)} came."
        )
    values = np.frombuffer(raw, kind.newbyteorder(">" if order == ">" else "<"))
    if dtype == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(sizes)


def bounded(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise `DamagedError` where a file holds too many values in all."""
    if len(arrays) > MOST_ARRAYS or sum(a.size for a in arrays.values()) > 4 * MOST_VALUES:
        raise DamagedError(f"it holds more than {4 * MOST_VALUES} values or {MOST_ARRAYS} arrays.")

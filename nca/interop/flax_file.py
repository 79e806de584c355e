"""Flax parameters as `flax.serialization.to_bytes` writes them: msgpack with arrays as extension 1."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from nca.interop.contents import Contents
from nca.interop.limits import LARGEST_TEXT, MOST_ARRAYS, DamagedError, array, bounded
from nca.interop.pickles import walk

MOST_ENTRIES = 4096
ARRAY, SCALAR = 1, 3


def read(raw: bytes) -> Contents:
    """The arrays of a nested dictionary, names joined by dots."""
    if len(raw) > LARGEST_TEXT:
        raise DamagedError(f"msgpack is read up to {LARGEST_TEXT} bytes.")
    root = _unpacked(raw, _array)
    if not isinstance(root, dict):
        raise DamagedError("it begins as msgpack, but holds no dictionary of parameters.")
    arrays: dict[str, np.ndarray] = {}
    says: dict[str, Any] = {}
    for path, value in walk(root):
        if isinstance(value, np.ndarray) and len(arrays) < MOST_ARRAYS:
            arrays[".".join(path)] = value
        elif isinstance(value, int | float | str) and path:
            says.setdefault(path[-1], value)
    bounded(arrays)
    return Contents("Flax msgpack", arrays, "in-out", says=says)


def _unpacked(raw: bytes, extension: Any) -> Any:
    limit = {f"max_{kind}_len": MOST_ENTRIES for kind in ("array", "map")}
    whole = {f"max_{kind}_len": len(raw) for kind in ("bin", "ext", "str")}
    try:
        return msgpack.unpackb(
            raw,
            ext_hook=extension,
            raw=False,
            strict_map_key=True,
            unicode_errors="replace",
            **limit,
            **whole,
        )
    except DamagedError:
        raise
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise DamagedError("it begins as msgpack, but is damaged or cut off.") from error


def _array(code: int, data: bytes) -> Any:
    if code not in (ARRAY, SCALAR):
        return None
    found = _unpacked(data, lambda code, data: None)
    if not isinstance(found, list) or len(found) != 3 or not isinstance(found[2], bytes):
        raise DamagedError("an array in it is not one that Flax writes.")
    shape, dtype, numbers = found
    if not isinstance(shape, list) or not isinstance(dtype, str):
        raise DamagedError("an array in it is not one that Flax writes.")
    return array(numbers, dtype, shape)

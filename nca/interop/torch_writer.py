"""A file as `torch.save` writes it, of a state_dict and plain settings, without PyTorch."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"ctorch\nFloatStorage\n"
ORDERED = b"ccollections\nOrderedDict\n"


def written(root: Mapping[str, Any], folder: str = "organism") -> bytes:
    """The bytes of the file; arrays become float32 tensors, dictionaries ordered ones."""
    storages: list[np.ndarray] = []
    pickle = b"\x80\x02" + _value(root, storages) + b"."
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        # A fixed date: the same organism gives the same file.
        parts = {"data.pkl": pickle, "byteorder": b"little", "version": b"3\n"}
        parts |= {f"data/{i}": s.astype("<f4").tobytes() for i, s in enumerate(storages)}
        for name, raw in parts.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), raw)
    return out.getvalue()


def _value(value: Any, storages: list[np.ndarray]) -> bytes:
    """The pickle instructions (protocol 2) that make a value."""
    if isinstance(value, np.ndarray):
        return _tensor(value, storages)
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, tuple | list):
        inside = b"".join(_value(v, storages) for v in value)
        return b"(" + inside + b"t" if isinstance(value, tuple) else b"](" + inside + b"e"
    if isinstance(value, Mapping):
        pairs = b"".join(_value(k, storages) + _value(v, storages) for k, v in value.items())
        return ORDERED + b")R(" + pairs + b"u"
    raise TypeError(f"a {type(value).__name__} has no place in a state_dict")


def _tensor(array: np.ndarray, storages: list[np.ndarray]) -> bytes:
    flat = np.ascontiguousarray(array, np.float32)
    key = str(len(storages))
    storages.append(flat)
    strides = tuple(int(s // 4) for s in flat.strides)
    storage = b"(" + _value("storage", storages) + FLOATS + _value(key, storages) + _value("cpu", storages)
    storage += _value(int(flat.size), storages) + b"tQ"
    parts = _value(0, storages) + _value(tuple(map(int, flat.shape)), storages) + _value(strides, storages)
    return REBUILD + b"(" + storage + parts + b"\x89" + ORDERED + b")RtR"

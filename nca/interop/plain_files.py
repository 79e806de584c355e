"""npz, safetensors and headerless numbers."""

from __future__ import annotations

import io
import re
import struct

import numpy as np
from numpy.lib import format as npy

from nca.errors import UserError
from nca.interop.archive import Archive
from nca.interop.contents import Contents, object_of
from nca.interop.limits import MOST_ARRAYS, DamagedError, array, bounded, count

KINDS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
}  # fmt: skip


def read_npz(archive: Archive) -> Contents:
    """Arrays of numbers by name; `conventions` may hold our description as JSON."""
    arrays: dict[str, np.ndarray] = {}
    conventions = None
    for name in archive.names[:MOST_ARRAYS]:
        key = name.removesuffix(".npy")
        if key == "conventions":
            conventions = object_of(_words(archive.read(name, 2**20)))
        elif name.endswith(".npy") and not key.startswith(("state_", "mask", "damaged_")):
            values = _numbers(archive.read(name))
            if values is not None:
                arrays[key] = values
    bounded(arrays)
    return Contents("npz", arrays, "in-out" if "w1" in arrays else "", conventions=conventions)


def header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether columns come first, type, and where the numbers begin."""
    stream = io.BytesIO(raw)
    try:
        major, _ = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, fortran, dtype = reader(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, EOFError) as error:
        raise DamagedError("an array in it has no header that NumPy writes.") from error
    return shape, fortran, dtype, stream.tell()


def _numbers(raw: bytes) -> np.ndarray | None:
    shape, fortran, dtype, begin = header(raw)
    if dtype.hasobject:
        raise DamagedError("it holds pickled objects, which are not read; save arrays of numbers.")
    order = ">" if dtype.str[0] == ">" else "<"
    if dtype.newbyteorder("=").name not in ("float16", "float32", "float64"):
        return None
    values = array(memoryview(raw)[begin:], dtype.newbyteorder("=").name, shape[::-1] if fortran else shape, order)
    return np.ascontiguousarray(values.T) if fortran else values


def _words(raw: bytes) -> str:
    shape, _, dtype, begin = header(raw)
    if shape != () or dtype.kind != "U" or len(raw) - begin != dtype.itemsize:
        raise DamagedError("its conventions are not one text.")
    codec = "utf-32-be" if dtype.str[0] == ">" else "utf-32-le"
    return raw[begin:].decode(codec, "replace").rstrip("\0")


def read_safetensors(raw: bytes) -> Contents:
    """Tensors by name, as PyTorch's layers or by our names."""
    (size,) = struct.unpack_from("<Q", raw)
    if size > min(len(raw) - 8, 2**22):
        raise DamagedError("it begins as safetensors, but is cut off.")
    described = object_of(raw[8 : 8 + size].decode("utf-8", "replace"))
    body = memoryview(raw)[8 + size :]
    note = described.pop("__metadata__", None)
    note = note if isinstance(note, dict) else {}
    if "organism" in note:
        raise UserError("it is an organism of this package already; it needs no import.")
    arrays: dict[str, np.ndarray] = {}
    for name, entry in list(described.items())[:MOST_ARRAYS]:
        try:
            kind, shape, (begin, end) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
            inside = 0 <= begin <= end <= len(body)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"its array {name[:40]!r} is not described as safetensors are.") from error
        count(shape)
        if not inside or kind not in KINDS:
            raise DamagedError(f"its array {name[:40]!r} lies beyond its end, or its type is not read.")
        arrays[name] = array(body[begin:end], KINDS[kind], shape)
    bounded(arrays)
    conventions = object_of(note["conventions"]) if isinstance(note.get("conventions"), str) else None
    return Contents("safetensors", arrays, "in-out" if "w1" in arrays else "", conventions=conventions)


def read_raw(raw: bytes, sizes: str) -> Contents:
    """float32 without any header, in the order and sizes that the user gives.

    Args:
        raw: the numbers, little-endian.
        sizes: such as `w1:48x128,b1:128,w2:128x16`; a name that begins with `_` is passed over.
    """
    arrays: dict[str, np.ndarray] = {}
    at = 0
    for part in sizes.split(","):
        match = re.fullmatch(r"\s*(\w+):(\d{1,8}(?:x\d{1,8})*)\s*", part)
        if not match:
            raise UserError(f"Sizes are such as w1:48x128,b1:128,w2:128x16; got {part.strip()[:60]!r}.")
        shape = [int(n) for n in match[2].split("x")]
        size = 4 * count(shape)
        if not match[1].startswith("_"):
            arrays[match[1]] = array(memoryview(raw)[at : at + size], "float32", shape)
        at += size
    if at != len(raw):
        raise UserError(f"The sizes {sizes} make {at} bytes, but the file has {len(raw)}.")
    return Contents("headerless float32", arrays, "in-out")

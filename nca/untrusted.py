"""Files from strangers: what a reader returns, and bounds that are checked before anything is allocated."""

from __future__ import annotations

import base64
import io
import math
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from nca.files import MAX_FILE_BYTES, DamagedError

MAX_DIRECTORY_BYTES = 2**20
MAX_VALUES = 2**24
MAX_TOTAL_VALUES = 4 * MAX_VALUES
MAX_ARRAYS = 4096
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


class BoundedArrays(dict[str, np.ndarray]):
    """Arrays by name; `DamagedError` where one more would exceed `MAX_ARRAYS` or `MAX_TOTAL_VALUES`."""

    def __init__(self) -> None:
        super().__init__()
        self._values = 0

    def __setitem__(self, name: str, values: np.ndarray) -> None:
        self._values += values.size
        if len(self) >= MAX_ARRAYS or self._values > MAX_TOTAL_VALUES:
            raise DamagedError(f"it holds more than {MAX_TOTAL_VALUES} values or {MAX_ARRAYS} arrays.")
        super().__setitem__(name, values)


class Operation(NamedTuple):
    """A layer or operation of a network: its name, as its file spells it, and what else the file says of it."""

    name: str
    settings: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds, not yet interpreted.

    Attributes:
        container: the kind of file.
        arrays: float32, by name, in the order of the file.
        layout: axes of its matrices, "out-in" or "in-out"; "" where that varies or is unknown.
        feature_order: the order of features that is usual for this kind of file; "" where none is.
        settings: plain values found next to the arrays, by the name that the file gives them.
        operations: layers and activations, in the order of the file.
        unread: names of arrays of numbers that the reader skipped.
        conventions: fields of `nca.interop.conventions.Conventions`, where the file carries them.
    """

    container: str
    arrays: Mapping[str, np.ndarray]
    layout: str = ""
    feature_order: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    unread: tuple[str, ...] = ()
    conventions: Mapping[str, Any] | None = None


class Archive:
    """A zip file in memory; its entries are unpacked one by one, within bounds.

    Attributes:
        names: names of the entries.
    """

    def __init__(self, raw: bytes) -> None:
        if _directory_bytes(raw) > MAX_DIRECTORY_BYTES:
            raise DamagedError("its list of contents is too long.")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(raw))
        except Exception as error:  # zipfile and its decompressors raise almost anything
            raise DamagedError("it begins as a zip file, but is damaged or cut off.") from error
        self.names = tuple(self._zip.namelist())
        self._remaining = MAX_FILE_BYTES

    def read(self, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """One entry, unpacked; at most `limit` bytes, and `MAX_FILE_BYTES` over all entries read."""
        entry = self._zip.getinfo(name)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DamagedError(f"its entry {name[:60]!r} is compressed in a way that is not read; use deflate.")
        if entry.file_size > min(limit, self._remaining):
            raise DamagedError(f"its entry {name[:60]!r} claims {entry.file_size} bytes, which is too much.")
        try:
            with self._zip.open(entry) as file:
                raw = file.read(entry.file_size + 1)
        except Exception as error:  # as above
            raise DamagedError(f"its entry {name[:60]!r} is damaged.") from error
        self._remaining -= len(raw)
        return raw


def _directory_bytes(raw: bytes) -> int:
    """The size that the list of contents claims to have."""
    end = raw.rfind(b"PK\5\6")
    if end < 0 or end + 22 > len(raw):
        raise DamagedError("it begins as a zip file, but is cut off.")
    size = int(struct.unpack_from("<I", raw, end + 12)[0])
    if end >= 20 and raw[end - 20 : end - 16] == b"PK\6\7":  # zip64
        offset = struct.unpack_from("<Q", raw, end - 12)[0]
        if offset + 48 > len(raw):
            raise DamagedError("it begins as a zip file, but is damaged.")
        # Where this record does not lie at its offset, zipfile looks directly before its locator.
        before_locator = end - 20 - 56
        size = max(int(struct.unpack_from("<Q", raw, p + 40)[0]) for p in (offset, before_locator) if p >= 0)
    return size


def value_count(shape: Iterable[Any]) -> int:
    """The number of values in an array of this shape; `DamagedError` if it exceeds the bounds."""
    sizes = tuple(shape)
    valid = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MAX_VALUES for n in sizes)
    if not valid or len(sizes) > 8 or math.prod(sizes) > MAX_VALUES:
        shown = "x".join(str(n)[:20] if not isinstance(n, int) or abs(n) < 2**64 else "..." for n in sizes[:9])
        raise DamagedError(f"it declares an array of shape {shown}; at most {MAX_VALUES} values are read.")
    return math.prod(sizes)


def float_array(raw: bytes | memoryview | str, dtype: str, shape: Iterable[int], byte_order: str = "<") -> np.ndarray:
    """A float32 array from raw numbers, whose bytes must be exactly those that the shape needs.

    Args:
        raw: the bytes, or base64 text.
        dtype: a NumPy name among `DTYPES`, or bfloat16.
        shape: sizes of the axes.
        byte_order: "<" little-endian or ">" big-endian.
    """
    if isinstance(raw, str):
        try:
            raw = base64.b64decode(raw, validate=True)
        except ValueError as error:
            raise DamagedError("its numbers are not base64 text, or cut off.") from error
    sizes = tuple(shape)
    count = value_count(sizes)
    if dtype != "bfloat16" and dtype not in DTYPES:
        raise DamagedError(f"it holds numbers of type {str(dtype)[:30]!r}; {', '.join(DTYPES)} are read.")
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    if len(raw) != count * stored.itemsize:
        raise DamagedError(
            f"an array of {'x'.join(map(str, sizes)) or 'one value'} {dtype} needs "
            f"{count * stored.itemsize} bytes, but {len(raw)} came."
        )
    values = np.frombuffer(raw, stored.newbyteorder(">" if byte_order == ">" else "<"))
    if dtype == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(sizes)


def read_npy(raw: bytes, dtypes: tuple[str, ...] = DTYPES) -> np.ndarray | None:
    """The float32 array of an `.npy` file, or None where its numbers are of another type than these."""
    shape, fortran, dtype, start = npy_header(raw)
    if dtype.hasobject:
        raise DamagedError("it holds pickled objects, which are not read; save arrays of numbers.")
    name = dtype.newbyteorder("=").name
    if name not in dtypes:
        return None
    stored_shape = shape[::-1] if fortran else shape
    values = float_array(memoryview(raw)[start:], name, stored_shape, ">" if dtype.str[0] == ">" else "<")
    return np.ascontiguousarray(values.T) if fortran else values


def npy_header(raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Of an `.npy` file: shape, whether the order is Fortran's, type, and the offset of the numbers."""
    stream = io.BytesIO(raw)
    try:
        major, _ = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
    except Exception as error:  # NumPy parses it as Python
        raise DamagedError("an array in it has no header that NumPy writes.") from error
    return shape, fortran, dtype, stream.tell()

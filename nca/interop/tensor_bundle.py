"""TensorFlow 2 checkpoints: a table of entries (`.index`) and raw numbers (`.data-00000-of-00001`, ...).

The table is a LevelDB table (https://github.com/google/leveldb/blob/main/doc/table_format.md), its
values are `BundleEntryProto` messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nca.interop.contents import Contents
from nca.interop.limits import LARGEST_TEXT, MOST_ARRAYS, DamagedError, array, bytes_of
from nca.interop.wire import fields, numbers, signed, varint

MAGIC = bytes.fromhex("57fb808b247547db")
DTYPES = {1: "float32", 2: "float64", 14: "bfloat16", 19: "float16"}
LONGEST_KEY = 1024
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
ASIDE = (".OPTIMIZER_SLOT", "optimizer", "optim", "save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")


def index_of(path: Path) -> Path | None:
    """The `.index` file of a checkpoint given by any of its files or by their common beginning."""
    name = path.name.split(".data-")[0].removesuffix(".index")
    beside = path.with_name(name + ".index")
    return beside if beside.is_file() and (path == beside or not path.is_file() or ".data-" in path.name) else None


def read(index: Path) -> Contents:
    """The float arrays of a checkpoint."""
    raw = memoryview(bytes_of(index, LARGEST_TEXT))
    if len(raw) < 48 or raw[-8:] != MAGIC:
        raise DamagedError("its table has no end; it is cut off or no checkpoint.")
    shards, arrays = 1, dict[str, np.ndarray]()
    files: dict[int, memoryview] = {}
    for key, value in _entries(raw):
        name = key.decode("utf-8", "replace")
        if not name:
            shards = next((v for n, k, v in fields(value) if n == 1 and k == 0), 1)
            continue
        if any(part.startswith(ASIDE) for part in name.split("/")):
            continue
        dtype, shape, shard, offset, size = _entry(value)
        if dtype not in DTYPES:
            continue
        if shard not in files:
            file = index.with_name(f"{index.name.removesuffix('.index')}.data-{shard:05d}-of-{shards:05d}")
            files[shard] = memoryview(bytes_of(file))
        if offset + size > len(files[shard]) or len(arrays) >= MOST_ARRAYS:
            raise DamagedError(f"the numbers of {name[:60]!r} lie beyond the end of their file.")
        part = files[shard][offset : offset + size]
        arrays[name.removesuffix(SUFFIX)] = array(part, DTYPES[dtype], shape)
    return Contents("TensorFlow 2 checkpoint", arrays, "in-out", order="channel-major")


def _entry(value: memoryview) -> tuple[int, list[int], int, int, int]:
    """dtype, shape, shard, offset and size of a `BundleEntryProto`."""
    plain = {number: v for number, kind, v in fields(value) if kind == 0}
    shape: list[int] = []
    for number, kind, part in fields(value):
        if number == 2 and kind == 2:
            for inner, inner_kind, dim in fields(part):
                if inner == 2 and inner_kind == 2:
                    shape.append((numbers(list(fields(dim)), 1) or [0])[0])
    return plain.get(1, 0), shape, plain.get(3, 0), signed(plain.get(4, 0)), signed(plain.get(5, 0))


def _entries(raw: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """All keys and values of a table."""
    footer = raw[-48:]
    _, at = _handle(footer, 0)  # the block of meta-blocks is passed over
    index, _ = _handle(footer, at)
    for number, (_, place) in enumerate(_block(raw, *index)):
        if number >= MOST_ARRAYS:
            raise DamagedError("its table is too long.")
        yield from _block(raw, *_handle(place, 0)[0])


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(raw: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Entries of a block; a key shares its beginning with the key before."""
    if offset + size + 5 > len(raw) or size < 4:
        raise DamagedError("a block of its table lies beyond its end.")
    if raw[offset + size] != 0:
        raise DamagedError("its table is compressed, which is not read; save the weights as .npz or .h5.")
    block = raw[offset : offset + size]
    restarts = struct.unpack_from("<I", block, size - 4)[0]
    end = size - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or shared + fresh > LONGEST_KEY or at + fresh + length > end:
            raise DamagedError("an entry of its table reaches beyond its block.")
        key = key[:shared] + bytes(block[at : at + fresh])
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length

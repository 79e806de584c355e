"""Keras models: `.keras` (a zip of `model.weights.h5` and its config) and `.h5`, read by h5py.

Only plain datasets inside the file are read: links to other files, virtual datasets and unknown
filters are passed over.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from nca.interop.archive import Archive
from nca.interop.contents import Contents
from nca.interop.limits import LARGEST_TEXT, MOST_ARRAYS, DamagedError, bounded, count

LARGEST_CHUNK = 2**22
ROLES = {"0": "kernel", "1": "bias"}


def read_zip(archive: Archive) -> Contents:
    """A `.keras` file."""
    weights = next(name for name in archive.names if name.endswith(".weights.h5"))
    return read(archive.read(weights, LARGEST_TEXT))


def read(raw: bytes) -> Contents:
    """Float datasets of an HDF5 file; `layer/vars/0` is a kernel, `layer/vars/1` a bias."""
    if len(raw) > LARGEST_TEXT:
        raise DamagedError(f"HDF5 is read up to {LARGEST_TEXT} bytes.")
    arrays: dict[str, np.ndarray] = {}
    try:
        with h5py.File(io.BytesIO(raw), "r") as file:
            for path, dataset in _datasets(file):
                if len(arrays) >= MOST_ARRAYS:
                    break
                name, _, last = path.strip("/").rpartition("/")
                if "optimizer" in name:
                    continue
                owner = name.removesuffix("/vars")
                role = ROLES.get(last, last) if owner != name else last.split(":")[0]
                arrays[f"{owner}/{role}".replace("/", ".")] = _values(dataset)
    except DamagedError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedError("it begins as HDF5, but is damaged or cut off.") from error
    bounded(arrays)
    return Contents("Keras file", arrays, "in-out")


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Datasets with plain numbers, by path; only hard links are followed, each object once."""
    todo, seen = [("", file)], set()
    while todo:
        path, group = todo.pop()
        names = [str(name) for name in group][:MOST_ARRAYS]
        for name in sorted(names, reverse=True):
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group.get(name)
            place = h5py.h5o.get_info(item.id).addr
            if place in seen:
                continue
            seen.add(place)
            if isinstance(item, h5py.Group):
                todo.append((f"{path}/{name}", item))
            elif isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
                yield f"{path}/{name}", item


def _values(dataset: Any) -> np.ndarray:
    count(dataset.shape)
    outside = dataset.external is not None or dataset.is_virtual
    if outside or (dataset.chunks and np.prod(dataset.chunks, dtype=float) > LARGEST_CHUNK):
        raise DamagedError("its numbers lie in another file, or in parts that are too large.")
    return np.asarray(dataset[()], np.float32)

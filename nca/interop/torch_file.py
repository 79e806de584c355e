"""PyTorch files without PyTorch: state_dicts, `{model, config}`, whole modules, new and old layout.

Since 1.6 a file is a zip of `data.pkl` and one raw file for each storage; before, five pickles and then
the storages. Neither needs code to be run: see `pickles`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nca.interop.archive import Archive
from nca.interop.contents import Contents, object_of
from nca.interop.limits import LARGEST_TEXT, MOST_ARRAYS, MOST_VALUES, DamagedError, array, count
from nca.interop.pickles import Inert, read, walk

MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
INNER = ("_parameters", "_buffers", "_modules")
Storage = Callable[[str, str, int], np.ndarray]


def is_old(raw: bytes) -> bool:
    """Whether a file is of the layout before PyTorch 1.6."""
    return MAGIC in raw[:16]


def read_zip(archive: Archive) -> Contents:
    """A file of `torch.save` or `torch.jit.save` since PyTorch 1.6."""
    pickle = next(name for name in archive.names if name.split("/")[-1] == "data.pkl")
    folder = pickle.removesuffix("data.pkl")
    root = read(io.BytesIO(archive.read(pickle, LARGEST_TEXT)))
    byteorder = archive.read(folder + "byteorder", 16) if folder + "byteorder" in archive.names else b"little"
    order = ">" if byteorder.strip() == b"big" else "<"

    def storage(key: str, dtype: str, number: int) -> np.ndarray:
        for place in (f"{folder}data/{key}", folder + key):
            if place in archive.names:
                return array(archive.read(place), dtype, (number,), order)
        raise DamagedError(f"the numbers that it names {key[:40]!r} are not in it.")

    return contents(root, storage)


def read_old(raw: bytes) -> Contents:
    """A file of `torch.save` before PyTorch 1.6."""
    stream = io.BytesIO(raw)
    if len(raw) > LARGEST_TEXT:
        raise DamagedError(f"files of PyTorch before 1.6 are read up to {LARGEST_TEXT} bytes.")
    read(stream), read(stream)  # magic number, version
    machine = read(stream)
    root = read(stream)
    keys = read(stream)
    if not isinstance(keys, list) or not isinstance(machine, dict):
        raise DamagedError("its list of storages is missing.")
    order = "<" if machine.get("little_endian", True) else ">"
    kinds = {str(v.args[2]): _dtype(v) for v in _references(root)}
    found: dict[str, np.ndarray] = {}
    for key in keys[:MOST_ARRAYS]:
        head = stream.read(8)
        if str(key) not in kinds or len(head) != 8:
            raise DamagedError("its storages are cut off or not the ones that it names.")
        number = count(struct.unpack(order + "q", head))
        size = number * (2 if kinds[str(key)] == "bfloat16" else np.dtype(kinds[str(key)]).itemsize)
        found[str(key)] = array(stream.read(size), kinds[str(key)], (number,), order)

    def storage(key: str, dtype: str, number: int) -> np.ndarray:
        if key not in found:
            raise DamagedError(f"the numbers that it names {key[:40]!r} are not in it.")
        return found[key]

    return contents(root, storage)


def contents(root: Any, storage: Storage) -> Contents:
    """Tensors and settings of what was pickled."""
    arrays: dict[str, np.ndarray] = {}
    says: dict[str, Any] = {}
    kinds: list[str] = []
    loaded: dict[str, np.ndarray] = {}

    def values(reference: Any) -> np.ndarray:
        key = str(reference.args[2])
        if key not in loaded:
            loaded[key] = storage(key, _dtype(reference), count((reference.args[4],)))
        if sum(v.size for v in loaded.values()) > 4 * MOST_VALUES:
            raise DamagedError(f"it holds more than {4 * MOST_VALUES} values.")
        return loaded[key]

    for path, value in walk(root):
        name = ".".join(part for part in path if part not in INNER and part != "args")
        if isinstance(value, Inert) and value.name.startswith("torch._utils._rebuild_tensor"):
            if len(arrays) < MOST_ARRAYS and not _aside(name):
                arrays[_unused(name, arrays)] = _tensor(value, values)
        elif isinstance(value, Inert) and value.name == "torch._utils._rebuild_parameter":
            inner = value.args[0] if isinstance(value.args, tuple) and value.args else None
            if isinstance(inner, Inert) and inner.name.startswith("torch._utils._rebuild_tensor"):
                arrays[_unused(name, arrays)] = _tensor(inner, values)
        elif isinstance(value, Inert) and value.name.startswith(("torch.nn.modules", "__torch__.torch.nn")):
            kinds.append(value.name.split(".")[-1])
            if value.name.endswith("LeakyReLU") and isinstance(value.state, dict):
                says["negative_slope"] = value.state.get("negative_slope")
        elif isinstance(value, int | float | str) and path and len(says) < MOST_ARRAYS:
            says.setdefault(path[-1], value)
    described = says.pop("conventions", None)
    ours = object_of(described) if isinstance(described, str) else None
    return Contents("PyTorch file", arrays, "out-in", says=says, operations=tuple(kinds), conventions=ours)


def _references(root: Any) -> Iterator[Inert]:
    """Every reference to a storage."""
    for _, value in walk(root):
        found = value
        for _ in range(2):  # a parameter holds a tensor, which holds the reference
            if isinstance(found, Inert) and found.name.startswith("torch._utils."):
                found = found.args[0] if isinstance(found.args, tuple) and found.args else None
        if _is_storage(found):
            yield found


def _aside(name: str) -> bool:
    """Whether the tensor belongs to an optimizer, whose numbers may be many."""
    return any(part.startswith(("optim", "sched")) or part == "exp_avg" for part in name.lower().split("."))


def _unused(name: str, arrays: dict[str, np.ndarray]) -> str:
    return name if name not in arrays else f"{name}#{len(arrays)}"


def _is_storage(value: Any) -> bool:
    return (
        isinstance(value, Inert)
        and value.name == "persistent"
        and isinstance(value.args, tuple)
        and len(value.args) >= 5
        and value.args[0] == "storage"
        and isinstance(value.args[1], Inert)
        and isinstance(value.args[2], str | int)
    )


def _dtype(reference: Any) -> str:
    kind = reference.args[1].name.split(".")[-1]
    if kind not in STORAGES:
        raise DamagedError(f"it holds a {kind[:40]}, which is not read; save plain float32 tensors.")
    return STORAGES[kind]


def _tensor(value: Inert, values: Callable[[Any], np.ndarray]) -> np.ndarray:
    """A tensor as a view of its storage, copied."""
    args = value.args
    if not isinstance(args, tuple) or len(args) < 4 or not _is_storage(args[0]):
        raise DamagedError("a tensor in it is of a kind that is not read; save plain tensors.")
    reference, offset, sizes, strides = args[:4]
    whole = isinstance(sizes, tuple) and isinstance(strides, tuple) and len(sizes) == len(strides)
    steps = (offset, *strides) if whole else (None,)
    if not all(isinstance(n, int) and 0 <= n <= MOST_VALUES for n in steps):
        raise DamagedError("a tensor in it has sizes that are no numbers.")
    if not count(sizes):
        return np.zeros(sizes, np.float32)
    flat = values(reference)
    if offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True)) >= flat.size:
        raise DamagedError("a tensor in it reaches beyond the numbers that the file holds.")
    view = np.lib.stride_tricks.as_strided(flat[offset:], sizes, [4 * stride for stride in strides], writeable=False)
    return np.array(view, np.float32)

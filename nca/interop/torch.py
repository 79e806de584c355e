"""PyTorch files without PyTorch: state_dicts, `{model, config}`, whole modules and TorchScript; and a writer.

Since PyTorch 1.6 a file is a zip of `data.pkl` and one raw file for each storage; before, it was five
pickles followed by the storages. A pickle is a program for a small stack machine, whose instructions call
functions. The machine here calls none: each call becomes an `_Inert` record of what would have been
called, which is only ever looked at. `pickletools.genops` (standard library) splits the bytes into
instructions.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from nca.files import MAX_TEXT_BYTES, DamagedError, parse_json
from nca.untrusted import (
    MAX_ARRAYS,
    MAX_VALUES,
    Archive,
    BoundedArrays,
    Contents,
    Operation,
    float_array,
    value_count,
)

LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
_DTYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
_FUNCTIONS = (
    "relu", "leaky_relu", "tanh", "sigmoid", "elu", "silu", "gelu", "relu6", "prelu", "selu", "celu",
    "softplus", "mish", "hardtanh", "hardswish", "hardsigmoid", "softmax", "sin", "batch_norm", "layer_norm",
    "group_norm", "instance_norm",
)  # fmt: skip
_INTERNAL_KEYS = ("_parameters", "_buffers", "_modules", "args")
# (storage key, dtype, number of values) -> values
_LoadStorage = Callable[[str, str, int], np.ndarray]


# Reading -------------------------------------------------------------------------------------------------


def read_torch(file: Archive | bytes) -> Contents:
    """A file of `torch.save` or `torch.jit.save`: a zip, or bytes in the layout before PyTorch 1.6."""
    root, load_storage = _open_zip(file) if isinstance(file, Archive) else _open_legacy(file)
    arrays, storages = BoundedArrays(), BoundedArrays()
    settings: dict[str, Any] = {}
    operations: list[Operation] = []
    unread: list[str] = []
    for path, value in _walk(root):
        name = ".".join(key for key in path if key not in _INTERNAL_KEYS)
        tensor = _tensor_in(value)
        if tensor is not None:
            if _belongs_to_optimizer(name):
                continue
            if _is_quantized(tensor):
                unread.append(name)
            else:
                unique_name = name if name not in arrays else f"{name}#{len(arrays)}"
                arrays[unique_name] = _tensor_values(tensor, storages, load_storage)
        elif isinstance(value, _Inert) and value.name.startswith(("torch.nn.modules", "__torch__.torch.nn")):
            state = value.state if isinstance(value.state, dict) else {}
            operations.append(Operation(value.name.split(".")[-1], {k: v for k, v in state.items() if k != "training"}))
        elif isinstance(value, _Inert) and _is_plain_module(value.state):
            operations.append(Operation(value.name.split(".")[-1]))
        elif isinstance(value, _Inert) and value.name.startswith("torch._utils._rebuild_"):
            kind = value.name.removeprefix("torch._utils._rebuild_")[:40]
            raise DamagedError(
                f"its array {name[:60]!r} is of the kind {kind}, which is not read; save plain float tensors."
            )
        elif isinstance(value, int | float | str) and path and len(settings) < MAX_ARRAYS:
            settings.setdefault(path[-1], value)
    if isinstance(file, Archive) and all(o.name in ("Conv2d", "Linear", "Sequential") for o in operations):
        operations += _functions_in_code(file)
    text = settings.pop("conventions", None)
    conventions = parse_json(text, dict) if isinstance(text, str) else None
    return Contents(
        "PyTorch file",
        arrays,
        "out-in",
        settings=settings,
        operations=tuple(operations),
        unread=tuple(unread),
        conventions=conventions,
    )


def _is_plain_module(state: Any) -> bool:
    """Whether this is the state of a module without parameters and modules, as of an activation of somebody's own."""
    names = ("_modules", "_parameters", "_buffers")
    return isinstance(state, dict) and "_modules" in state and not any(state.get(name) for name in names)


def _functions_in_code(archive: Archive) -> list[Operation]:
    """Activations that the code of TorchScript calls as functions."""
    code = [name for name in archive.names if re.search(r"/code/.*\.py$", name)][:64]
    text = "\n".join(archive.read(name, 2**20).decode("utf-8", "replace") for name in code)
    pattern = rf"(?:torch|ops\.aten|functional)\.({'|'.join(_FUNCTIONS)})_?\("
    return [Operation(name) for name in dict.fromkeys(re.findall(pattern, text))]


def _open_zip(archive: Archive) -> tuple[Any, _LoadStorage]:
    entry = next(name for name in archive.names if name.split("/")[-1] == "data.pkl")
    folder = entry.removesuffix("data.pkl")
    root = _read_pickle(io.BytesIO(archive.read(entry, MAX_TEXT_BYTES)))
    stated = archive.read(folder + "byteorder", 16) if folder + "byteorder" in archive.names else b"little"
    byte_order = ">" if stated.strip() == b"big" else "<"

    def load(key: str, dtype: str, count: int) -> np.ndarray:
        for name in (f"{folder}data/{key}", folder + key):
            if name in archive.names:
                return float_array(archive.read(name), dtype, (count,), byte_order)
        raise DamagedError(f"the numbers that it names {key[:40]!r} are not in it.")

    return root, load


def _open_legacy(raw: bytes) -> tuple[Any, _LoadStorage]:
    if len(raw) > MAX_TEXT_BYTES:
        raise DamagedError(f"files of PyTorch before 1.6 are read up to {MAX_TEXT_BYTES} bytes.")
    stream = io.BytesIO(raw)
    _magic, _version, machine, root, keys = (_read_pickle(stream) for _ in range(5))
    if not isinstance(keys, list) or not isinstance(machine, dict):
        raise DamagedError("its list of storages is missing.")
    byte_order = "<" if machine.get("little_endian", True) else ">"
    dtypes = {str(reference.args[2]): _dtype(reference) for reference in _storage_references(root)}
    storages = BoundedArrays()
    for key in keys[:MAX_ARRAYS]:
        head = stream.read(8)
        if str(key) not in dtypes or len(head) != 8:
            raise DamagedError("its storages are cut off or not the ones that it names.")
        dtype = dtypes[str(key)]
        count = value_count(struct.unpack(byte_order + "q", head))
        item_bytes = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        storages[str(key)] = float_array(stream.read(count * item_bytes), dtype, (count,), byte_order)

    def load(key: str, dtype: str, count: int) -> np.ndarray:
        if key not in storages:
            raise DamagedError(f"the numbers that it names {key[:40]!r} are not in it.")
        return storages[key]

    return root, load


def _tensor_in(value: Any) -> _Inert | None:
    """The call that rebuilds a tensor, where the value is one or a parameter that holds one."""
    if isinstance(value, _Inert) and value.name.startswith("torch._utils._rebuild_parameter"):
        value = value.args[0] if isinstance(value.args, tuple) and value.args else None
    is_tensor = isinstance(value, _Inert) and value.name.startswith("torch._utils._rebuild_tensor")
    return value if is_tensor else None


def _is_quantized(tensor: _Inert) -> bool:
    """Whether a tensor is a matrix of whole numbers."""
    args = tensor.args
    shaped = isinstance(args, tuple) and len(args) > 3 and _is_storage(args[0]) and isinstance(args[2], tuple)
    return shaped and len(args[2]) > 1 and np.dtype(_dtype(args[0]).replace("bf", "f")).kind in "iu"


def _belongs_to_optimizer(name: str) -> bool:
    return any(key.startswith(("optim", "sched")) or key == "exp_avg" for key in name.lower().split("."))


def _storage_references(root: Any) -> Iterator[_Inert]:
    for _, value in _walk(root):
        inner = value
        for _ in range(2):  # a parameter holds a tensor, which holds the reference
            if isinstance(inner, _Inert) and inner.name.startswith("torch._utils."):
                inner = inner.args[0] if isinstance(inner.args, tuple) and inner.args else None
        if _is_storage(inner):
            yield inner


def _is_storage(value: Any) -> bool:
    return (
        isinstance(value, _Inert)
        and value.name == "persistent"
        and isinstance(value.args, tuple)
        and len(value.args) >= 5
        and value.args[0] == "storage"
        and isinstance(value.args[1], _Inert)
        and isinstance(value.args[2], str | int)
    )


def _dtype(reference: _Inert) -> str:
    storage_type = reference.args[1].name.split(".")[-1]
    if storage_type not in _DTYPES:
        raise DamagedError(f"it holds a {storage_type[:40]}, which is not read; save plain float32 tensors.")
    return _DTYPES[storage_type]


def _tensor_values(tensor: _Inert, storages: BoundedArrays, load_storage: _LoadStorage) -> np.ndarray:
    """A tensor as a strided view of its storage, copied; the storage is loaded once."""
    args = tensor.args
    if not isinstance(args, tuple) or len(args) < 4 or not _is_storage(args[0]):
        raise DamagedError("a tensor in it is of a kind that is not read; save plain tensors.")
    reference, offset, sizes, strides = args[:4]
    consistent = isinstance(sizes, tuple) and isinstance(strides, tuple) and len(sizes) == len(strides)
    numbers = (offset, *strides) if consistent else (None,)
    if not all(isinstance(n, int) and 0 <= n <= MAX_VALUES for n in numbers):
        raise DamagedError("a tensor in it has sizes that are no numbers.")
    if not value_count(sizes):
        return np.zeros(sizes, np.float32)
    key = str(reference.args[2])
    if key not in storages:
        storages[key] = load_storage(key, _dtype(reference), value_count((reference.args[4],)))
    storage = storages[key]
    if offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True)) >= storage.size:
        raise DamagedError("a tensor in it reaches beyond the numbers that the file holds.")
    if value_count(sizes) > storage.size:  # by a stride of 0
        raise DamagedError("a tensor in it has more numbers than the file holds for it.")
    byte_strides = [4 * stride for stride in strides]
    view = np.lib.stride_tricks.as_strided(storage[offset:], sizes, byte_strides, writeable=False)
    return np.array(view, np.float32)


# Pickles -------------------------------------------------------------------------------------------------

_MAX_INSTRUCTIONS = 2_000_000
_MARK = object()
_RECONSTRUCTORS = ("copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__")
_KEY_TYPES = (str, int, float, bytes, bool, type(None))
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}


@dataclass(eq=False)
class _Inert:
    """An object that a pickle asks for, by name; it is never made.

    Attributes:
        name: `module.function`, or "persistent" for a reference to data outside the pickle.
        args: arguments of the call.
        state: what the object would be given afterwards.
        items: entries that it would be given, as of a dict or a list.
    """

    name: str
    args: Any = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


def _read_pickle(stream: IO[bytes]) -> Any:
    """The first pickle of a stream, with `_Inert` in place of every object."""
    machine = _PickleMachine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if number > _MAX_INSTRUCTIONS:
                raise DamagedError(f"its pickle has more than {_MAX_INSTRUCTIONS} instructions.")
            machine._execute(opcode.name, argument)
        return machine.stack.pop()
    except DamagedError:
        raise
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise DamagedError("its pickle is damaged.") from error


class _PickleMachine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def _execute(self, opcode: str, argument: Any) -> None:
        """One instruction."""
        stack, memo = self.stack, self.memo
        match opcode:
            case _ if opcode in _LITERALS:
                stack.append(argument)
            case _ if opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            case _ if opcode in _EMPTY:
                stack.append(_EMPTY[opcode]())
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._pop_to_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[int(argument)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[int(argument)])
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                if len(stack) < count:
                    raise IndexError
                stack[-count:] = [tuple(stack[-count:])]
            case "LIST" | "FROZENSET":
                stack.append(self._pop_to_mark())
            case "DICT":
                pairs, entries = self._pop_to_mark(), dict[Any, Any]()
                _set_items(entries, pairs)
                stack.append(entries)
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [stack.pop()] if opcode == "APPEND" else self._pop_to_mark()
                _append_items(stack[-1], items)
            case "SETITEM" | "SETITEMS":
                pairs = [stack.pop(), stack.pop()][::-1] if opcode == "SETITEM" else self._pop_to_mark()
                _set_items(stack[-1], pairs)
            # Instructions that would make an object, and here make a record.
            case "GLOBAL":
                stack.append(_Inert(str(argument).replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                if not isinstance(name, str) or not isinstance(module, str):
                    raise ValueError
                stack.append(_Inert(f"{module}.{name}"))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                if opcode == "NEWOBJ_EX":
                    stack.pop()
                args, function = stack.pop(), stack.pop()
                stack.append(_call(function, args))
            case "BUILD":
                state = stack.pop()
                # A dictionary that is given a state is a state_dict with its `_metadata`.
                if isinstance(stack[-1], _Inert):
                    stack[-1].state = state
            case "BINPERSID":
                args = stack.pop()
                # Legacy files of whole modules keep a class together with its source.
                is_class = isinstance(args, tuple) and len(args) > 1 and args[0] == "module"
                stack.append(args[1] if is_class else _Inert("persistent", args))
            case _:
                raise DamagedError(f"its pickle has an instruction that is not read: {opcode}.")

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while (top := self.stack.pop()) is not _MARK:
            items.append(top)
        return items[::-1]


def _call(function: Any, args: Any) -> Any:
    if not isinstance(function, _Inert):
        raise ValueError
    if function.name == "collections.OrderedDict" and args == ():
        return {}
    if function.name in _RECONSTRUCTORS and isinstance(args, tuple) and isinstance(args[0], _Inert):
        return _Inert(args[0].name, ())
    return _Inert(function.name, args)


def _set_items(target: Any, pairs: list[Any]) -> None:
    entries = target.items if isinstance(target, _Inert) else target
    if not isinstance(entries, dict) or len(pairs) % 2:
        raise ValueError
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        # Keys of other types would be hashed, which a nested tuple can make arbitrarily deep.
        if isinstance(key, _KEY_TYPES):
            entries[key] = value


def _append_items(target: Any, items: list[Any]) -> None:
    if isinstance(target, _Inert):
        target.items.update({len(target.items) + i: item for i, item in enumerate(items)})
    elif isinstance(target, list):
        target.extend(items)
    else:
        raise ValueError


def _walk(root: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value within containers and inert objects, with the keys that lead to it, in the order of the file.

    Shared values and loops are visited once. The arguments of tensors and storages are not entered.
    """
    seen: set[int] = set()
    stack: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while stack:
        path, value = stack.pop()
        children = _children(value)
        if children is not None:
            if id(value) in seen:
                continue
            seen.add(id(value))
        yield path, value
        if children and len(path) < 64:
            stack += [((*path, str(key)[:80]), child) for key, child in reversed(children)]


def _children(value: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, _Inert):
        args = [("args", value.args)] if not value.name.startswith(("torch._utils.", "persistent")) else []
        state = value.state if isinstance(value.state, dict) else {}
        return [*state.items(), *value.items.items(), *args]
    return None


# Writing -------------------------------------------------------------------------------------------------

_REBUILD_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
_FLOAT_STORAGE = b"ctorch\nFloatStorage\n"
_ORDERED_DICT = b"ccollections\nOrderedDict\n"


def encode_torch(root: Mapping[str, Any], folder: str = "organism") -> bytes:
    """A file as `torch.save` writes it; arrays become float32 tensors, dictionaries ordered ones."""
    storages: list[np.ndarray] = []
    pickle = b"\x80\x02" + _pickle_value(root, storages) + b"."
    entries = {"data.pkl": pickle, "byteorder": b"little", "version": b"3\n"}
    entries |= {f"data/{i}": values.astype("<f4").tobytes() for i, values in enumerate(storages)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, raw in entries.items():
            # ZipInfo has a fixed date: the same organism gives the same file.
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), raw)
    return out.getvalue()


def _pickle_value(value: Any, storages: list[np.ndarray]) -> bytes:
    """The pickle instructions (protocol 2) that make a value; arrays are added to the storages."""
    if isinstance(value, np.ndarray):
        return _pickle_tensor(value, storages)
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
        items = b"".join(_pickle_value(v, storages) for v in value)
        return b"(" + items + b"t" if isinstance(value, tuple) else b"](" + items + b"e"
    if isinstance(value, Mapping):
        pairs = b"".join(_pickle_value(k, storages) + _pickle_value(v, storages) for k, v in value.items())
        return _ORDERED_DICT + b")R(" + pairs + b"u"
    raise TypeError(f"a {type(value).__name__} has no place in a state_dict")


def _pickle_tensor(array: np.ndarray, storages: list[np.ndarray]) -> bytes:
    flat = np.ascontiguousarray(array, np.float32)
    key = str(len(storages))
    storages.append(flat)
    strides = tuple(int(s // 4) for s in flat.strides)
    kind, *location = (_pickle_value(value, storages) for value in ("storage", key, "cpu", int(flat.size)))
    view = (_pickle_value(value, storages) for value in (0, tuple(map(int, flat.shape)), strides))
    storage = b"(" + kind + _FLOAT_STORAGE + b"".join(location) + b"tQ"
    return _REBUILD_TENSOR + b"(" + storage + b"".join(view) + b"\x89" + _ORDERED_DICT + b")RtR"

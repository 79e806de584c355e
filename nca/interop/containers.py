"""Which kind of file it is, by its first bytes; and the readers of files that hold little but arrays.

Those are web JSON, npz, safetensors, Flax msgpack and headerless float32. Other kinds have a module each:
`torch`, `onnx`, `tensorflow` (checkpoints, TensorFlow.js, Keras).
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import safetensors

from nca.errors import UserError
from nca.files import MAX_TEXT_BYTES, DamagedError, parse_json, read_bytes, reading
from nca.interop import onnx, tensorflow, torch
from nca.untrusted import (
    MAX_ARRAYS,
    Archive,
    BoundedArrays,
    Contents,
    float_array,
    npy_header,
    read_npy,
    value_count,
)

KINDS = (
    "web JSON, TensorFlow.js, TensorFlow 2 checkpoint or SavedModel, PyTorch, Flax msgpack, Equinox, ONNX, Keras, npz, "
    "safetensors, or headerless float32 with --sizes"
)
_NPY = b"\x93NUMPY"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_SAFETENSORS_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
}  # fmt: skip
_MAX_ENTRIES = 4096  # of one msgpack dictionary
_MAX_SCALE = 1e30


def read_contents(path: Path, sizes: str | None = None) -> Contents:
    """The arrays in a file of any known kind.

    Args:
        path: the file; of a TensorFlow 2 checkpoint, any of its files or their common prefix; of a SavedModel, its
            folder or its saved_model.pb.
        sizes: of the arrays in a headerless file, such as `w1:48x128,b1:128,w2:128x16`; arrays whose name
            begins with `_` are skipped.

    Raises:
        UserError: there is no such file, it is of none of the known kinds, or it is damaged.
    """
    with reading(path, "cannot be read"):
        return _read(path, sizes)


def _read(path: Path, sizes: str | None) -> Contents:
    if sizes is None and (checkpoint := tensorflow.read_checkpoint(path)):
        return checkpoint
    folder = path.parent if path.name == "saved_model.pb" else path
    if (folder / "saved_model.pb").is_file() and path in (folder, folder / "saved_model.pb"):
        return tensorflow.read_saved_model(folder)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the file that holds the weights ({KINDS}).")
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    raw = read_bytes(path)
    if sizes is not None:
        return _read_headerless(raw, sizes)
    if raw.startswith(b"PK\3\4"):
        return _read_zip(Archive(raw))
    if torch.LEGACY_MAGIC in raw[:16]:
        return torch.read_torch(raw)
    if raw.startswith(_HDF5):
        return tensorflow.read_keras(raw)
    start = 0 if raw.startswith(_NPY) else raw[: 2**16].find(b"\n" + _NPY) + 1
    if raw.startswith(_NPY) or (start and raw[:1] == b"{"):
        return _read_equinox(raw, start)
    if raw[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        return _read_json(raw, path)
    if len(raw) >= 10 and raw[8:9] == b"{" and struct.unpack_from("<Q", raw)[0] < len(raw):
        return _read_safetensors(raw)
    if raw[:1] == b"\x80" and raw[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        raise DamagedError(
            "it is a bare pickle, which is not read; save a PyTorch state_dict with torch.save, or the "
            "arrays with numpy.savez."
        )
    if raw[:1] and (0x81 <= raw[0] <= 0x8F or raw[0] in (0xDE, 0xDF)):
        return _read_flax(raw)
    if raw[:1] == b"\x08" or path.suffix.lower() == ".onnx":
        return onnx.read_onnx(raw)
    raise DamagedError(f"it is none of: {KINDS}.")


def _read_zip(archive: Archive) -> Contents:
    files = {name.split("/")[-1] for name in archive.names}
    if "data.pkl" in files:
        return torch.read_torch(archive)
    for name in archive.names:
        if name.endswith(".weights.h5"):
            config = "config.json" in archive.names and parse_json(archive.read("config.json", 2**20))
            return tensorflow.read_keras(archive.read(name, MAX_TEXT_BYTES), config or None)
    if any(name.endswith(".npy") for name in files):
        return _read_npz(archive)
    raise DamagedError(f"it is a zip file without known weights; unpack it and give one of: {KINDS}.")


def _read_json(raw: bytes, path: Path) -> Contents:
    if len(raw) > MAX_TEXT_BYTES:
        raise DamagedError(f"JSON is read up to {MAX_TEXT_BYTES} bytes.")
    root = parse_json(raw)
    if isinstance(root, dict) and {"modelTopology", "weightsManifest"} & root.keys():
        return tensorflow.read_tensorflow_js(root, path)
    layers = root.get("layers") if isinstance(root, dict) else root
    if isinstance(layers, list):
        return _read_web_json(layers)
    raise DamagedError("it is JSON, but neither web JSON (a list of layers) nor a TensorFlow.js model.")


def _read_web_json(layers: list[Any]) -> Contents:
    """Dense layers of bytes, `w = (u/255 - 0.5) * scale`, the bias in the last row (Mordvintsev et al. 2020)."""
    if not 1 <= len(layers) <= 16:
        raise DamagedError("web JSON is a list of 1 to 16 layers.")
    arrays = BoundedArrays()
    for i, layer in enumerate(layers):
        required = ("data_b64", "in_ch", "out_ch", "weight_scale", "bias_scale")
        missing = [k for k in required if not isinstance(layer, dict) or k not in layer]
        if missing:
            raise DamagedError(f"layer {i} of web JSON needs {', '.join(missing)}.")
        if layer.get("type", "uint8") != "uint8":
            raise DamagedError(f"layer {i} is of type {str(layer['type'])[:20]!r}; web JSON of uint8 is read.")
        for key in ("weight_scale", "bias_scale"):
            scale = layer[key]
            if isinstance(scale, bool) or not isinstance(scale, int | float) or not abs(scale) < _MAX_SCALE:
                raise DamagedError(f"its {key} is {str(scale)[:20]!r}; a number is needed.")
        inputs, outputs = layer["in_ch"], layer["out_ch"]
        value_count((inputs, outputs))
        levels = float_array(str(layer["data_b64"]), "uint8", (inputs + 1, outputs))
        centred = levels.astype(np.float64) / 255 - 0.5
        arrays[f"layer{i}.kernel"] = (centred[:-1] * float(layer["weight_scale"])).astype(np.float32)
        arrays[f"layer{i}.bias"] = (centred[-1] * float(layer["bias_scale"])).astype(np.float32)
    return Contents("web JSON", arrays, "in-out", feature_order="kernel-major")


def _read_npz(archive: Archive) -> Contents:
    """Arrays of numbers by name; `conventions` may hold JSON. Arrays of a reference's states are skipped."""
    arrays, unread = BoundedArrays(), list[str]()
    conventions = None
    for entry in archive.names[:MAX_ARRAYS]:
        name = entry.removesuffix(".npy")
        if name == "conventions":
            raw = archive.read(entry, 2**20)
            shape, _, dtype, start = npy_header(raw)
            if shape != () or dtype.kind != "U" or len(raw) - start != dtype.itemsize:
                raise DamagedError("its conventions are not one text.")
            codec = "utf-32-be" if dtype.str[0] == ">" else "utf-32-le"
            conventions = parse_json(raw[start:].decode(codec, "replace").rstrip("\0"), dict)
        elif name != entry and not name.startswith(("state_", "mask", "damaged_", "dx_")):
            raw = archive.read(entry)
            values = read_npy(raw, ("float16", "float32", "float64"))
            if values is not None:
                arrays[name] = values
            elif len(npy_header(raw)[0]) > 1:
                unread.append(name)
    layout = "in-out" if "w1" in arrays else ""
    return Contents("npz", arrays, layout, conventions=conventions, unread=tuple(unread))


def _read_equinox(raw: bytes, start: int) -> Contents:
    """Arrays one after the other, as `equinox.tree_serialise_leaves` writes them, perhaps behind a line of JSON.

    The arrays have no names; biases of convolutions are (outputs, 1, 1).
    """
    settings = parse_json(raw[:start], dict) if start else {}
    arrays, unread = BoundedArrays(), list[str]()
    while start < len(raw) and len(arrays) + len(unread) < MAX_ARRAYS:
        shape, _, dtype, offset = npy_header(raw[start:])
        end = start + offset + value_count(shape) * dtype.itemsize
        values = read_npy(raw[start:end], ("float16", "float32", "float64"))
        name = f"array{len(arrays) + len(unread)}"
        if values is not None:
            arrays[name] = values.ravel() if values.ndim == 3 and values.shape[1:] == (1, 1) else values
        elif len(shape) > 1:
            unread.append(name)
        start = end
    return Contents("Equinox file", arrays, "out-in", settings=settings, unread=tuple(unread))


def _read_safetensors(raw: bytes) -> Contents:
    """Tensors by name, of PyTorch layers or by the names of our npz."""
    (size,) = struct.unpack_from("<Q", raw)
    if size > min(len(raw) - 8, 2**22):
        raise DamagedError("it begins as safetensors, but is cut off.")
    metadata = parse_json(raw[8 : 8 + size].decode("utf-8", "replace"), dict).get("__metadata__")
    metadata = metadata if isinstance(metadata, dict) else {}
    if "organism" in metadata:
        raise UserError("it is an organism of this package already; it needs no import.")
    try:
        tensors = safetensors.deserialize(raw)
    except safetensors.SafetensorError as error:
        raise DamagedError("it begins as safetensors, but is damaged or cut off.") from error
    arrays, unread = BoundedArrays(), list[str]()
    for name, tensor in tensors:
        if tensor["dtype"] not in _SAFETENSORS_DTYPES:
            raise DamagedError(f"its array {name[:40]!r} is of type {tensor['dtype']}, which is not read.")
        if "I" in tensor["dtype"] or tensor["dtype"] == "U8":
            unread += [name] if len(tensor["shape"]) > 1 else []
        else:
            arrays[name] = float_array(tensor["data"], _SAFETENSORS_DTYPES[tensor["dtype"]], tensor["shape"])
    text = metadata.get("conventions")
    conventions = parse_json(text, dict) if isinstance(text, str) else None
    layout = "in-out" if "w1" in arrays else ""
    return Contents("safetensors", arrays, layout, conventions=conventions, unread=tuple(unread))


def _read_headerless(raw: bytes, sizes: str) -> Contents:
    arrays = BoundedArrays()
    position = 0
    for item in sizes.split(","):
        match = re.fullmatch(r"\s*(\w+):(\d{1,8}(?:x\d{1,8})*)\s*", item)
        if not match:
            raise UserError(f"Sizes are such as w1:48x128,b1:128,w2:128x16; got {item.strip()[:60]!r}.")
        shape = [int(n) for n in match[2].split("x")]
        size = 4 * value_count(shape)
        if not match[1].startswith("_"):
            arrays[match[1]] = float_array(memoryview(raw)[position : position + size], "float32", shape)
        position += size
    if position != len(raw):
        raise UserError(f"The sizes {sizes} make {position} bytes, but the file has {len(raw)}.")
    return Contents("headerless float32", arrays, "in-out")


def _read_flax(raw: bytes) -> Contents:
    """Nested parameters as `flax.serialization.to_bytes` writes them, names joined by dots.

    Flax's own reader makes arrays of any type and number before a size can be checked, so it is not used.
    """
    if len(raw) > MAX_TEXT_BYTES:
        raise DamagedError(f"msgpack is read up to {MAX_TEXT_BYTES} bytes.")
    arrays = BoundedArrays()
    settings: dict[str, Any] = {}
    stack: list[tuple[tuple[str, ...], Any]] = [((), _unpack_msgpack(raw, _flax_array))]
    if not isinstance(stack[0][1], dict):
        raise DamagedError("it begins as msgpack, but holds no dictionary of parameters.")
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict | list):
            items = list(value.items() if isinstance(value, dict) else enumerate(value))
            stack += [((*path, str(key)[:80]), child) for key, child in reversed(items)] if len(path) < 64 else []
        elif isinstance(value, np.ndarray):
            arrays[".".join(path)] = value
        elif isinstance(value, int | float | str):
            settings.setdefault(path[-1], value)
    return Contents("Flax msgpack", arrays, "in-out", settings=settings)


def _unpack_msgpack(raw: bytes, ext_hook: Any) -> Any:
    limits: dict[str, Any] = {f"max_{kind}_len": _MAX_ENTRIES for kind in ("array", "map")}
    limits |= {f"max_{kind}_len": len(raw) for kind in ("bin", "ext", "str")}
    try:
        return msgpack.unpackb(
            raw, ext_hook=ext_hook, raw=False, strict_map_key=True, unicode_errors="replace", **limits
        )
    except DamagedError:
        raise
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise DamagedError("it begins as msgpack, but is damaged or cut off.") from error


def _flax_array(code: int, data: bytes) -> np.ndarray | None:
    """An array (extension 1) or a NumPy scalar (3), each a packed (shape, dtype, bytes)."""
    if code not in (1, 3):
        return None
    match _unpack_msgpack(data, lambda code, data: None):
        case [list() as shape, str() as dtype, bytes() as numbers]:
            return float_array(numbers, dtype, shape)
    raise DamagedError("an array in it is not one that Flax writes.")

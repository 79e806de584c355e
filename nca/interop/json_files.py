"""JSON containers: the web JSON of Mordvintsev et al. 2020, and TensorFlow.js models."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.interop.contents import Contents
from nca.interop.limits import MOST_ARRAYS, DamagedError, array, bytes_of, count

LARGEST = 1e30
DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16", "DT_BFLOAT16": "bfloat16"}


def parsed(raw: bytes) -> Any:
    """JSON of bounded depth."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DamagedError("it begins as JSON, but is damaged or cut off.") from error


def decoded(value: Any) -> bytes:
    """base64 text as bytes."""
    if not isinstance(value, str):
        raise DamagedError("its numbers are not base64 text.")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DamagedError("its numbers are not base64 text, or cut off.") from error


def web_json(layers: Any) -> Contents:
    """A list of dense layers of bytes, the bias in the last row."""
    if not isinstance(layers, list) or not 1 <= len(layers) <= 16:
        raise DamagedError("web JSON is a list of layers.")
    arrays: dict[str, np.ndarray] = {}
    for i, layer in enumerate(layers):
        needed = ("data_b64", "in_ch", "out_ch", "weight_scale", "bias_scale")
        missing = [k for k in needed if not isinstance(layer, dict) or k not in layer]
        if missing:
            raise DamagedError(f"layer {i} of web JSON needs {', '.join(missing)}.")
        if layer.get("type", "uint8") != "uint8":
            raise DamagedError(f"layer {i} is of type {str(layer['type'])[:20]!r}; web JSON of uint8 is read.")
        scales = [_number(layer[k]) for k in ("weight_scale", "bias_scale")]
        inputs, outputs = layer["in_ch"], layer["out_ch"]
        count((inputs, outputs))
        grey = array(decoded(layer["data_b64"]), "uint8", (inputs + 1, outputs)).astype(np.float64)
        values = (grey / 255 - 0.5) * np.array([scales[0]] * inputs + [scales[1]])[:, None]
        arrays[f"layer{i}.kernel"] = values[:-1].astype(np.float32)
        arrays[f"layer{i}.bias"] = values[-1].astype(np.float32)
    return Contents("web JSON", arrays, "in-out", order="kernel-major")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        raise DamagedError(f"a scale is {str(value)[:20]!r}; a number is needed.")
    return float(value)


def tensorflow_js(model: dict[str, Any], path: Path) -> Contents:
    """The constants of a graph, those stored inside it and those in files beside it."""
    arrays = _constants(model.get("modelTopology"))
    manifest = model.get("weightsManifest") or []
    if not isinstance(manifest, list):
        raise DamagedError("its weightsManifest is not a list.")
    for group in manifest[:64]:
        arrays |= _group(group, path)
    return Contents("TensorFlow.js model", arrays, "in-out", order="channel-major")


def _constants(topology: Any) -> dict[str, np.ndarray]:
    """Arrays of the `Const` nodes; the graph itself, which may be anything, is not followed."""
    nodes = topology.get("node", []) if isinstance(topology, dict) else []
    arrays: dict[str, np.ndarray] = {}
    for node in nodes if isinstance(nodes, list) else []:
        if not isinstance(node, dict) or node.get("op") != "Const" or len(arrays) >= MOST_ARRAYS:
            continue
        try:
            tensor = node["attr"]["value"]["tensor"]
            dtype, sizes = tensor.get("dtype"), tensor.get("tensorShape", {}).get("dim", [])
            if dtype not in DTYPES or "tensorContent" not in tensor:
                continue
            shape = [int(str(d["size"])[:20]) for d in sizes]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DamagedError(f"its constant {str(node.get('name'))[:40]!r} has no array.") from error
        arrays[str(node.get("name"))] = array(decoded(tensor["tensorContent"]), DTYPES[dtype], shape)
    return arrays


def _group(group: Any, path: Path) -> dict[str, np.ndarray]:
    """Arrays of one group of a weights manifest, whose files lie beside the model."""
    try:
        names, weights = [str(p) for p in group["paths"]], list(group["weights"])
    except (KeyError, TypeError) as error:
        raise DamagedError("its weightsManifest needs paths and weights.") from error
    if any(Path(name).name != name or name.startswith(".") for name in names):
        raise DamagedError("its weights lie elsewhere than beside it; put them into its folder.")
    raw = memoryview(b"".join(bytes_of(path.parent / name) for name in names[:64]))
    arrays: dict[str, np.ndarray] = {}
    at = 0
    for weight in weights[:MOST_ARRAYS]:
        try:
            shape, packing = tuple(weight["shape"]), weight.get("quantization") or {}
            dtype = str(packing.get("dtype", weight["dtype"]))
            scale, least = _number(packing.get("scale", 1)), _number(packing.get("min", 0))
            name = str(weight["name"])
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError("an entry of its weightsManifest needs name, shape and dtype.") from error
        size = count(shape) * {"float32": 4, "int32": 4, "uint16": 2, "float16": 2}.get(dtype, 1)
        part = raw[at : at + size]
        at += size
        if dtype in ("uint16", "uint8") and packing:
            kind = np.dtype(dtype).newbyteorder("<")
            if len(part) != size:
                raise DamagedError("the weights beside it are cut off.")
            values = np.frombuffer(part, kind).astype(np.float64).reshape(shape) * scale + least
            arrays[name] = values.astype(np.float32)
        elif dtype == "float32":
            arrays[name] = array(part, dtype, shape)
    return arrays


def config_of(path: Path) -> dict[str, Any]:
    """A JSON object in a file, or `UserError`."""
    found = parsed(bytes_of(path, 2**20))
    if not isinstance(found, dict):
        raise UserError(f"{path} must hold a JSON object.")
    return found

"""ONNX models: arrays read from a graph, and one step of a rule written as a graph.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nca.files import DamagedError, parse_json
from nca.interop.operations import graph_operations
from nca.interop.protobuf import Message, encode_field, read_varint
from nca.spec import Spec
from nca.untrusted import BoundedArrays, Contents, Operation, float_array, value_count

_DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
_FLOAT, _INT64 = 1, 7
_OPSET, _IR = 20, 9  # the first opset that has Gelu; since 19, Pad wraps
_FLOAT_RANGE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


# Reading -------------------------------------------------------------------------------------------------


def read_onnx(raw: bytes) -> Contents:
    """The float initializers and constants of a model's graph."""
    model = Message(memoryview(raw))
    arrays = BoundedArrays()
    nodes = []
    for graph in model.messages(7):
        for node in graph.messages(1):
            reads, writes = ([bytes(v).decode("utf-8", "replace") for v in node.views.get(n, [])] for n in (1, 2))
            nodes.append((Operation(node.text(4), _attributes(node)), reads, writes))
            if node.text(4) == "Constant":
                for attribute in node.messages(5):
                    for tensor in attribute.messages(5):
                        _add_tensor(arrays, tensor, node.text(2))
        for tensor in graph.messages(5):
            _add_tensor(arrays, tensor, "")
    if not nodes and not arrays:
        raise DamagedError("it holds no graph with weights.")
    texts = [entry.text(2) for entry in model.messages(14) if entry.text(1) == "conventions"]
    conventions = parse_json(texts[0], dict) if texts else None
    return Contents("ONNX model", arrays, operations=graph_operations(nodes, arrays), conventions=conventions)


def _attributes(node: Message) -> dict[str, Any]:
    """The attributes of a node that say what it computes: a number, a text or a list of whole numbers each."""
    attributes: dict[str, Any] = {}
    for attribute in node.messages(5):
        if 2 in attribute.views:
            attributes[attribute.text(1)] = struct.unpack("<f", attribute.views[2][0])[0]
        elif 4 in attribute.views:
            attributes[attribute.text(1)] = attribute.text(4)
        elif 8 in attribute.ints:
            attributes[attribute.text(1)] = attribute.ints[8]
    return attributes


def _add_tensor(arrays: BoundedArrays, tensor: Message, name: str) -> None:
    dtype = tensor.integer(2)
    if dtype not in _DTYPES:
        return
    name = tensor.text(8) or name
    if tensor.integer(14) == 1:
        raise DamagedError("its weights lie in another file; save the model with its weights inside.")
    shape = list(tensor.ints.get(1, []))
    for packed in tensor.views.get(1, []):
        position = 0
        while position < len(packed):
            size, position = read_varint(packed, position)
            shape.append(size)
    if 9 in tensor.views:
        arrays[name] = float_array(tensor.views[9][0], _DTYPES[dtype], shape)
        return
    number, plain_dtype = (4, "float32") if dtype == 1 else (10, "float64")
    # Repeated numbers come packed into one field, or one to a field.
    raw = b"".join(tensor.views.get(number, []))
    if not raw and value_count(shape):
        raise DamagedError(f"its array {name[:40]!r} has no numbers.")
    arrays[name] = float_array(raw, plain_dtype, shape)


# Writing -------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Graph:
    """Encoded nodes and initializers."""

    nodes: list[bytes] = field(default_factory=list)
    initializers: list[bytes] = field(default_factory=list)


def encode_onnx(
    spec: Spec,
    kernels: np.ndarray,
    weights: list[np.ndarray],
    biases: list[np.ndarray],
    conventions: Mapping[str, Any],
    seed: np.ndarray,
) -> bytes:
    """One step as a model: `state` (batch, y, x, channel) and `fire` (batch, y, x) in, `next` out.

    Args:
        spec: the conventions of the step.
        kernels: (filter * channel, 1, 3, 3), of a grouped convolution.
        weights: (inputs, outputs); inputs of the first are channel-major.
        biases: one per layer.
        conventions: kept as metadata, for reading back.
        seed: (y, x, channel), kept as a constant.
    """
    g = _Graph()
    state = _node(g, "Transpose", "state", perm=[0, 3, 1, 2])
    fire = _node(g, "Unsqueeze", "fire", _constant(g, "axis_one", [1], np.int64))
    before = _alive(g, spec, state, "before")
    read = _node(g, "Mul", state, before) if spec.reads == "masked" else state
    values = _node(
        g, "Conv", _padded(g, read, spec.boundary, "perception"), _constant(g, "perception.weight", kernels),
        group=spec.channels, kernel_shape=[3, 3],
    )  # fmt: skip
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        matrix = _constant(g, f"update.{2 * i}.weight", weight.T[:, :, None, None])
        values = _node(g, "Conv", values, matrix, _constant(g, f"update.{2 * i}.bias", bias), kernel_shape=[1, 1])
        if i < len(weights) - 1:
            values = _activated(g, spec, values)
    values = _node(g, "Tanh", values) if spec.squash == "tanh" else values
    gate = _node(g, "Mul", fire, before) if spec.alive == "gate" else fire
    after = _clipped(g, spec, _node(g, "Add", state, _node(g, "Mul", values, gate)))
    if spec.alive == "before":
        after = _node(g, "Mul", after, before)
    if spec.alive in ("both", "after"):
        alive = _alive(g, spec, after, "after")
        alive = _node(g, "Mul", before, alive) if spec.alive == "both" else alive
        after = _node(g, "Mul", after, alive)
    _node(g, "Transpose", after, output="next", perm=[0, 2, 3, 1])
    # An initializer that nothing reads would draw a warning.
    _node(g, "Identity", _constant(g, "seed", seed), output="start")
    return _model(g, spec.channels, seed.shape, conventions)


def _activated(g: _Graph, spec: Spec, values: str) -> str:
    slope = spec.activation_slope
    match spec.activation:
        case "relu":
            return _node(g, "LeakyRelu", values, alpha=float(slope)) if slope else _node(g, "Relu", values)
        case "swish":
            return _node(g, "Mul", values, _node(g, "Sigmoid", values))
        case "gelu" | "gelu-tanh":
            return _node(g, "Gelu", values, approximate="tanh" if spec.activation == "gelu-tanh" else "none")
    return _node(g, spec.activation.capitalize(), values)


def _alive(g: _Graph, spec: Spec, state: str, name: str) -> str:
    """1 at alive cells, (1, 1, y, x)."""
    alpha = _node(g, "Gather", state, _constant(g, f"{name}.alpha", [spec.alpha], np.int64), axis=1)
    padded = _padded(g, alpha, spec.alive_boundary, name, _FLOAT_RANGE[0])
    maximum = _node(g, "MaxPool", padded, kernel_shape=[3, 3])
    comparison = "GreaterOrEqual" if spec.inclusive else "Greater"
    return _node(g, "Cast", _node(g, comparison, maximum, _constant(g, f"{name}.threshold", spec.threshold)), to=_FLOAT)


def _padded(g: _Graph, values: str, boundary: str, name: str, fill: float = 0.0) -> str:
    sides = _constant(g, f"{name}.sides", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    if boundary == "circular":
        return _node(g, "Pad", values, sides, mode="wrap")
    return _node(g, "Pad", values, sides, _constant(g, f"{name}.fill", fill), mode="constant")


def _clipped(g: _Graph, spec: Spec, state: str) -> str:
    if spec.clip is None:
        return state
    first, stop = spec.clip_channels or (0, spec.channels)
    channel = np.arange(spec.channels)
    inside = (first <= channel) & (channel < stop)
    low, high = (
        np.where(inside, bound, limit)[None, :, None, None]
        for bound, limit in zip(spec.clip, _FLOAT_RANGE, strict=True)
    )
    return _node(g, "Min", _node(g, "Max", state, _constant(g, "clip.low", low)), _constant(g, "clip.high", high))


def _constant(g: _Graph, name: str, values: Any, dtype: Any = np.float32) -> str:
    """Adds an initializer; returns its name."""
    array = np.asarray(values, dtype)
    dims = b"".join(encode_field(1, int(n)) for n in array.shape)
    data_type = encode_field(2, _FLOAT if array.dtype == np.float32 else _INT64)
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    g.initializers.append(dims + data_type + encode_field(8, name) + encode_field(9, raw))
    return name


def _node(g: _Graph, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
    """Adds an operation; returns the name of its result."""
    output = output or f"{operation.lower()}{len(g.nodes) + 1}"
    body = b"".join(encode_field(1, i) for i in inputs)
    body += encode_field(2, output) + encode_field(3, output) + encode_field(4, operation)
    for name, value in attributes.items():
        if isinstance(value, float):
            encoded = encode_field(2, value) + encode_field(20, 1)
        elif isinstance(value, int):
            encoded = encode_field(3, value) + encode_field(20, 2)
        elif isinstance(value, str):
            encoded = encode_field(4, value) + encode_field(20, 3)
        else:
            encoded = b"".join(encode_field(8, v) for v in value) + encode_field(20, 7)
        body += encode_field(5, encode_field(1, name) + encoded)
    g.nodes.append(body)
    return output


def _model(g: _Graph, channels: int, seed_shape: tuple[int, ...], conventions: Mapping[str, Any]) -> bytes:
    graph = b"".join(encode_field(1, n) for n in g.nodes) + encode_field(2, "step")
    graph += b"".join(encode_field(5, i) for i in g.initializers)
    graph += encode_field(11, _port("state", ["batch", "y", "x", channels]))
    graph += encode_field(11, _port("fire", ["batch", "y", "x"]))
    graph += encode_field(12, _port("next", ["batch", "y", "x", channels]))
    graph += encode_field(12, _port("start", [int(n) for n in seed_shape]))
    metadata = encode_field(1, "conventions") + encode_field(2, json.dumps(conventions))
    model = encode_field(1, _IR) + encode_field(2, "nca-dissection") + encode_field(7, graph)
    return model + encode_field(8, encode_field(1, "") + encode_field(2, _OPSET)) + encode_field(14, metadata)


def _port(name: str, sizes: list[str | int]) -> bytes:
    """An input or output of the graph."""
    dims = b"".join(encode_field(1, encode_field(2 if isinstance(s, str) else 1, s)) for s in sizes)
    tensor = encode_field(1, _FLOAT) + encode_field(2, dims)
    return encode_field(1, name) + encode_field(2, encode_field(1, tensor))

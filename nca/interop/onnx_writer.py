"""One step as an ONNX model: state and fire mask in, next state out; NHWC, any canvas.

Opset 19, whose `Pad` wraps. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nca.interop.wire import put
from nca.spec import Spec

FLOAT, INT64 = 1, 7
OPSET, IR = 19, 9


class Graph:
    """Nodes and initializers on their way into a file."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.arrays: list[bytes] = []
        self.count = 0

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """An initializer."""
        self.arrays.append(_tensor(name, values, dtype))
        return name

    def node(self, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One operation; returns the name of its result."""
        self.count += 1
        output = output or f"{operation.lower()}{self.count}"
        body = b"".join(put(1, i) for i in inputs) + put(2, output) + put(3, output) + put(4, operation)
        body += b"".join(put(5, _attribute(k, v)) for k, v in attributes.items())
        self.nodes.append(body)
        return output


def _tensor(name: str, values: Any, dtype: Any = np.float32) -> bytes:
    array = np.asarray(values, dtype)
    kind = FLOAT if array.dtype == np.float32 else INT64
    head = b"".join(put(1, int(n)) for n in array.shape)
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return head + put(2, kind) + put(8, name) + put(9, raw)


def _attribute(name: str, value: Any) -> bytes:
    if isinstance(value, float):
        return put(1, name) + put(2, value) + put(20, 1)
    if isinstance(value, int):
        return put(1, name) + put(3, value) + put(20, 2)
    if isinstance(value, str):
        return put(1, name) + put(4, value) + put(20, 3)
    return put(1, name) + b"".join(put(8, v) for v in value) + put(20, 7)


def written(
    spec: Spec,
    kernels: np.ndarray,
    weights: list[np.ndarray],
    biases: list[np.ndarray],
    conventions: Mapping[str, Any],
    seed: np.ndarray,
) -> bytes:
    """The bytes of the model.

    Args:
        spec: the conventions.
        kernels: (filter * channel, 1, 3, 3), of a grouped convolution.
        weights: (inputs, outputs), the first channel-major.
        biases: one per layer.
        conventions: kept as metadata, for reading back.
        seed: (y, x, channel), kept as a constant.
    """
    g = Graph()
    state = g.node("Transpose", "state", perm=[0, 3, 1, 2])
    fire = g.node("Unsqueeze", "fire", g.constant("axis_one", [1], np.int64))
    before = _alive(g, spec, state, "before")
    read = g.node("Mul", state, before) if spec.reads == "masked" else state
    values = g.node(
        "Conv", _padded(g, read, spec.boundary, "perception"), g.constant("perception.weight", kernels),
        group=spec.channels, kernel_shape=[3, 3],
    )  # fmt: skip
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        matrix = g.constant(f"update.{2 * i}.weight", weight.T[:, :, None, None])
        values = g.node("Conv", values, matrix, g.constant(f"update.{2 * i}.bias", bias), kernel_shape=[1, 1])
        if i < len(weights) - 1:
            slope = spec.activation_slope
            values = g.node("LeakyRelu", values, alpha=float(slope)) if slope else g.node("Relu", values)
    values = g.node("Tanh", values) if spec.squash == "tanh" else values
    gate = g.node("Mul", fire, before) if spec.alive == "gate" else fire
    grown = _clipped(g, spec, g.node("Add", state, g.node("Mul", values, gate)))
    if spec.alive in ("both", "after"):
        after = _alive(g, spec, grown, "after")
        lives = g.node("Mul", before, after) if spec.alive == "both" else after
        grown = g.node("Mul", grown, lives)
    g.node("Transpose", grown, output="next", perm=[0, 2, 3, 1])
    # An initializer that nothing reads would be warned of.
    g.node("Identity", g.constant("seed", seed), output="start")
    return _model(g, spec.channels, seed.shape, conventions)


def _padded(g: Graph, values: str, boundary: str, name: str, fill: float = 0.0) -> str:
    sides = g.constant(f"{name}.sides", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    if boundary == "circular":
        return g.node("Pad", values, sides, mode="wrap")
    return g.node("Pad", values, sides, g.constant(f"{name}.fill", fill), mode="constant")


def _alive(g: Graph, spec: Spec, state: str, name: str) -> str:
    """1 at living sites, (1, 1, y, x)."""
    alpha = g.node("Gather", state, g.constant(f"{name}.alpha", [spec.alpha], np.int64), axis=1)
    lowest = float(np.finfo(np.float32).min)
    pool = g.node("MaxPool", _padded(g, alpha, spec.alive_boundary, name, lowest), kernel_shape=[3, 3])
    test = "GreaterOrEqual" if spec.inclusive else "Greater"
    return g.node("Cast", g.node(test, pool, g.constant(f"{name}.threshold", spec.threshold)), to=FLOAT)


def _clipped(g: Graph, spec: Spec, state: str) -> str:
    if spec.clip is None:
        return state
    first, stop = spec.clip_channels or (0, spec.channels)
    free = np.arange(spec.channels)
    inside = (first <= free) & (free < stop)
    lowest, highest = (np.where(inside, v, e)[None, :, None, None] for v, e in zip(spec.clip, _ENDS, strict=True))
    low = g.node("Max", state, g.constant("clip.low", lowest))
    return g.node("Min", low, g.constant("clip.high", highest))


_ENDS = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def _model(g: Graph, channels: int, seed: tuple[int, ...], conventions: Mapping[str, Any]) -> bytes:
    whole = b"".join(put(1, n) for n in g.nodes) + put(2, "step") + b"".join(put(5, a) for a in g.arrays)
    whole += put(11, _port("state", ["batch", "y", "x", channels]))
    whole += put(11, _port("fire", ["batch", "y", "x"]))
    whole += put(12, _port("next", ["batch", "y", "x", channels])) + put(12, _port("start", [int(n) for n in seed]))
    model = put(1, IR) + put(2, "nca-dissection") + put(7, whole) + put(8, put(1, "") + put(2, OPSET))
    return model + put(14, put(1, "conventions") + put(2, json.dumps(conventions)))


def _port(name: str, sizes: list[str | int]) -> bytes:
    dims = b"".join(put(1, put(2, s) if isinstance(s, str) else put(1, s)) for s in sizes)
    return put(1, name) + put(2, put(1, put(1, FLOAT) + put(2, dims)))

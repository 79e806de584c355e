"""ONNX: the initializers and constants of a graph, read from the bytes of the model.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import numpy as np

from nca.interop.contents import Contents, object_of
from nca.interop.limits import MOST_ARRAYS, DamagedError, array, bounded, count
from nca.interop.wire import BYTES, FIXED32, FIXED64, fields, numbers, text

DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
EXTERNAL = 1
GRAPH, METADATA, NODE, INITIALIZER = 7, 14, 1, 5


def read(raw: bytes) -> Contents:
    """The float arrays of a model."""
    arrays: dict[str, np.ndarray] = {}
    operations: list[str] = []
    conventions = None
    for number, kind, value in fields(memoryview(raw)):
        if number == GRAPH and kind == BYTES:
            for inner, inner_kind, part in fields(value):
                if inner == INITIALIZER and inner_kind == BYTES:
                    _add(arrays, part, "")
                elif inner == NODE and inner_kind == BYTES:
                    operations.append(_node(arrays, part))
        elif number == METADATA and kind == BYTES:
            entry = {n: text(v) for n, k, v in fields(value) if k == BYTES}
            if entry.get(1) == "conventions":
                conventions = object_of(entry.get(2, ""))
    if not operations and not arrays:
        raise DamagedError("it holds no graph with weights.")
    bounded(arrays)
    return Contents("ONNX model", arrays, operations=tuple(operations[:1000]), conventions=conventions)


def _node(arrays: dict[str, np.ndarray], node: memoryview) -> str:
    """The kind of a node, whose constants are added to the arrays."""
    operation, output = "", ""
    tensors: list[memoryview] = []
    for number, kind, value in fields(node):
        if kind != BYTES:
            continue
        if number == 2:
            output = text(value)
        elif number == 4:
            operation = text(value)
        elif number == 5:
            tensors += [v for n, k, v in fields(value) if n == 5 and k == BYTES]
    if operation == "Constant":
        for tensor in tensors:
            _add(arrays, tensor, output)
    return operation


def _add(arrays: dict[str, np.ndarray], tensor: memoryview, name: str) -> None:
    found = list(fields(tensor))
    dtype = next((v for n, k, v in found if n == 2 and k == 0), 0)
    shape = numbers(found, 1)
    name = next((text(v) for n, k, v in found if n == 8), name)
    if dtype not in DTYPES or len(arrays) >= MOST_ARRAYS:
        return
    if any(n == 14 and v == EXTERNAL for n, k, v in found if k == 0):
        raise DamagedError("its weights lie in another file; save the model with its weights inside.")
    raw = next((v for n, k, v in found if n == 9 and k == BYTES), None)
    if raw is None:
        field, size, plain = (4, FIXED32, "float32") if dtype == 1 else (10, FIXED64, "float64")
        # Repeated numbers come packed into one field, or one to a field.
        raw = b"".join(v for n, k, v in found if n == field and k in (BYTES, size))
        if not raw and count(shape):
            raise DamagedError(f"its array {name[:40]!r} has no numbers.")
        arrays[name] = array(raw, plain, shape)
        return
    arrays[name] = array(raw, DTYPES[dtype], shape)

"""The wire format of protocol buffers: enough of it to read checkpoints and ONNX, and to write ONNX.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from nca.interop.limits import DamagedError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Message = list[tuple[int, int, Any]]


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a place, and the place after it."""
    value = 0
    for i in range(10):
        if at >= len(data):
            raise DamagedError("it ends in the middle of a number.")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at
    raise DamagedError("a number in it has no end.")


def fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Field number, wire type and value (a number, or a view of bytes) of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if number == 0 or size < 0 or size > len(data) - at:
            raise DamagedError("a field in it reaches beyond its end.")
        yield number, kind, data[at : at + size]
        at += size


def signed(value: int) -> int:
    """A varint as a 64-bit number with sign."""
    return value - 2**64 if value >= 2**63 else value


def numbers(found: Iterator[tuple[int, int, Any]] | Message, field: int) -> list[int]:
    """A repeated whole number, packed or not."""
    out: list[int] = []
    for number, kind, value in found:
        if number == field and kind == VARINT:
            out.append(signed(value))
        elif number == field and kind == BYTES:
            at = 0
            while at < len(value):
                one, at = varint(value, at)
                out.append(signed(one))
    return out


def text(value: Any) -> str:
    """A string field."""
    if not isinstance(value, memoryview):
        raise DamagedError("a name in it is not text.")
    return bytes(value).decode("utf-8", "replace")


def encoded(value: int) -> bytes:
    """A whole number as a varint."""
    value %= 2**64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def put(field: int, value: int | float | str | bytes) -> bytes:
    """One field of a message."""
    if isinstance(value, float):
        return encoded(field << 3 | FIXED32) + struct.pack("<f", value)
    if isinstance(value, int):
        return encoded(field << 3 | VARINT) + encoded(value)
    raw = value.encode() if isinstance(value, str) else value
    return encoded(field << 3 | BYTES) + encoded(len(raw)) + raw

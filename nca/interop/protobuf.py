"""The wire format of protocol buffers, as far as checkpoints and ONNX models need it.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct

from nca.files import DamagedError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_FIELDS = 2**18  # of one message


class Message:
    """The fields of one message, by number.

    Attributes:
        ints: values of the integer fields, unsigned.
        views: values of the fields of bytes (text, messages, packed numbers) and of fixed width.
    """

    def __init__(self, data: memoryview) -> None:
        self.ints: dict[int, list[int]] = {}
        self.views: dict[int, list[memoryview]] = {}
        position = 0
        for _ in range(_MAX_FIELDS):
            if position == len(data):
                return
            tag, position = read_varint(data, position)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, position = read_varint(data, position)
                self.ints.setdefault(number, []).append(value)
                continue
            if kind == _BYTES:
                size, position = read_varint(data, position)
            else:
                size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
            if number == 0 or size < 0 or size > len(data) - position:
                raise DamagedError("a field in it reaches beyond its end.")
            self.views.setdefault(number, []).append(data[position : position + size])
            position += size
        raise DamagedError(f"a message in it has more than {_MAX_FIELDS} fields.")

    def integer(self, number: int) -> int:
        """The value of an integer field; 0, the default of the format, where it is absent."""
        return self.ints.get(number, [0])[0]

    def text(self, number: int) -> str:
        """The value of a text field; "" where it is absent."""
        return bytes(self.views.get(number, [memoryview(b"")])[0]).decode("utf-8", "replace")

    def messages(self, number: int) -> list[Message]:
        """The values of a field of messages."""
        return [Message(data) for data in self.views.get(number, [])]


def read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """The unsigned number that begins at a position, and the position after it."""
    value = 0
    for i in range(10):
        if position >= len(data):
            raise DamagedError("it ends in the middle of a number.")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position
    raise DamagedError("a number in it has no end.")


def encode_field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a message; a float takes 32 bits."""
    if isinstance(value, float):
        return _varint(number << 3 | _FIXED32) + struct.pack("<f", value)
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])

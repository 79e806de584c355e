"""Zip files: only the entries asked for are unpacked, and never more of them than allowed."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from nca.interop.limits import LARGEST_FILE, DamagedError

LARGEST_DIRECTORY = 2**20
# What zipfile raises for damaged archives, some of it by way of numbers that are too large.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
)


class Archive:
    """A zip file in memory, opened for reading.

    Attributes:
        names: of its entries.
    """

    def __init__(self, raw: bytes) -> None:
        if _directory(raw) > LARGEST_DIRECTORY:
            raise DamagedError("its list of contents is too long.")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(raw))
        except BROKEN as error:
            raise DamagedError("it begins as a zip file, but is damaged or cut off.") from error
        self.names = tuple(self._zip.namelist())
        self._left = LARGEST_FILE

    def read(self, name: str, most: int = LARGEST_FILE) -> bytes:
        """One entry, unpacked."""
        entry = self._zip.getinfo(name)
        if entry.file_size > min(most, self._left):
            raise DamagedError(f"its part {name[:60]!r} claims {entry.file_size} bytes, which is too much.")
        try:
            with self._zip.open(entry) as file:
                raw = file.read(entry.file_size + 1)
        except BROKEN as error:
            raise DamagedError(f"its part {name[:60]!r} is damaged.") from error
        self._left -= len(raw)
        return raw


def _directory(raw: bytes) -> int:
    """How many bytes the list of contents claims to have."""
    end = raw.rfind(b"PK\5\6")
    if end < 0 or end + 22 > len(raw):
        raise DamagedError("it begins as a zip file, but is cut off.")
    size = int(struct.unpack_from("<I", raw, end + 12)[0])
    if end >= 20 and raw[end - 20 : end - 16] == b"PK\6\7":
        place = struct.unpack_from("<Q", raw, end - 12)[0]
        if place + 48 > len(raw):
            raise DamagedError("it begins as a zip file, but is damaged.")
        # Where this record does not lie, zipfile looks directly before its locator.
        near = end - 20 - 56
        sizes = [struct.unpack_from("<Q", raw, p + 40)[0] for p in (place, near) if p >= 0]
        size = max(int(s) for s in sizes)
    return size

"""Which kind of file it is, told by its first bytes, and the reader of each."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from nca.errors import UserError
from nca.interop import flax_file, json_files, onnx_file, plain_files, tensor_bundle, torch_file
from nca.interop.archive import Archive
from nca.interop.contents import Contents
from nca.interop.limits import LARGEST_TEXT, DamagedError, bytes_of

KINDS = (
    "web JSON, TensorFlow.js, TensorFlow 2 checkpoint, PyTorch, Flax msgpack, ONNX, Keras, npz, safetensors, "
    "or headerless float32 with --sizes"
)
HDF5 = b"\x89HDF\r\n\x1a\n"


def read(path: Path, sizes: str | None = None) -> Contents:
    """The arrays in a file of any known kind.

    Args:
        path: the file; of a TensorFlow 2 checkpoint, any of its files or their common beginning.
        sizes: of the arrays in a headerless file, as for `plain_files.read_raw`.

    Raises:
        UserError: no such file, none of the known kinds, or a damaged one.
    """
    try:
        return _read(path, sizes)
    except DamagedError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except MemoryError:
        raise UserError(f"{path} cannot be read: it needs more memory than there is.") from None


def _read(path: Path, sizes: str | None) -> Contents:
    index = tensor_bundle.index_of(path)
    if index is not None and sizes is None:
        return tensor_bundle.read(index)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the file that holds the weights ({KINDS}).")
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    raw = bytes_of(path)
    if sizes is not None:
        return plain_files.read_raw(raw, sizes)
    if raw.startswith(b"PK\3\4"):
        return _read_zip(Archive(raw))
    if torch_file.is_old(raw):
        return torch_file.read_old(raw)
    if raw.startswith(HDF5):
        from nca.interop import keras_file

        return keras_file.read(raw)
    if raw[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        return _read_json(raw, path)
    return _read_binary(raw, path)


def _read_zip(archive: Archive) -> Contents:
    last = {name.split("/")[-1] for name in archive.names}
    if "data.pkl" in last:
        return torch_file.read_zip(archive)
    if any(name.endswith(".weights.h5") for name in last):
        from nca.interop import keras_file

        return keras_file.read_zip(archive)
    if any(name.endswith(".npy") for name in last):
        return plain_files.read_npz(archive)
    raise DamagedError(f"it is a zip file without known weights; unpack it and give one of: {KINDS}.")


def _read_json(raw: bytes, path: Path) -> Contents:
    if len(raw) > LARGEST_TEXT:
        raise DamagedError(f"JSON is read up to {LARGEST_TEXT} bytes.")
    found: Any = json_files.parsed(raw)
    if isinstance(found, list):
        return json_files.web_json(found)
    if isinstance(found, dict) and {"modelTopology", "weightsManifest"} & found.keys():
        return json_files.tensorflow_js(found, path)
    if isinstance(found, dict) and isinstance(found.get("layers"), list):
        return json_files.web_json(found["layers"])
    raise DamagedError("it is JSON, but neither web JSON (a list of layers) nor a TensorFlow.js model.")


def _read_binary(raw: bytes, path: Path) -> Contents:
    if len(raw) >= 10 and raw[8:9] == b"{" and struct.unpack_from("<Q", raw)[0] < len(raw):
        return plain_files.read_safetensors(raw)
    if raw[:1] == b"\x80" and raw[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        raise DamagedError(
            "it is a bare pickle, which is not read; save a PyTorch state_dict with torch.save, or the "
            "arrays with numpy.savez."
        )
    if raw[:1] and (0x81 <= raw[0] <= 0x8F or raw[0] in (0xDE, 0xDF)):
        return flax_file.read(raw)
    if raw[:1] == b"\x08" or path.suffix.lower() == ".onnx":
        return onnx_file.read(raw)
    raise DamagedError(f"it is none of: {KINDS}.")

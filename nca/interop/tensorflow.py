"""TensorFlow without TensorFlow: TensorFlow 2 checkpoints, TensorFlow.js models, Keras files."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nca.files import MAX_FILE_BYTES, MAX_TEXT_BYTES, DamagedError, parse_json, read_bytes
from nca.interop.operations import graph_operations, list_operations
from nca.interop.protobuf import Message, read_varint
from nca.untrusted import MAX_ARRAYS, BoundedArrays, Contents, Operation, float_array, value_count

# Checkpoints ---------------------------------------------------------------------------------------------

_MAGIC = bytes.fromhex("57fb808b247547db")
_CHECKPOINT_DTYPES = {1: "float32", 2: "float64", 14: "bfloat16", 19: "float16"}
_MAX_KEY_BYTES = 1024
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_NOT_WEIGHTS = (".OPTIMIZER_SLOT", "optimizer", "optim", "save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")


def read_checkpoint(path: Path) -> Contents | None:
    """The float arrays of a TensorFlow 2 checkpoint, or None where the path does not name one.

    Its `.index` file is a table of entries in the format of LevelDB
    (https://github.com/google/leveldb/blob/main/doc/table_format.md), whose values are `BundleEntryProto`
    messages; the numbers lie in `.data-00000-of-00001` and so on.

    Args:
        path: the `.index` file, any data file, or their common prefix.
    """
    if not path.name:  # of "." and "/"
        return None
    stem = path.name.split(".data-")[0].removesuffix(".index")
    index = path.with_name(stem + ".index")
    if not index.is_file() or not (path == index or not path.is_file() or ".data-" in path.name):
        return None
    raw = memoryview(read_bytes(index, MAX_TEXT_BYTES))
    if len(raw) < 48 or raw[-8:] != _MAGIC:
        raise DamagedError("its table has no end; it is cut off or no checkpoint.")
    arrays = BoundedArrays()
    shard_count = 1
    shards: dict[int, memoryview] = {}
    for key, value in _table_entries(raw):
        name, entry = key.decode("utf-8", "replace"), Message(value)
        if not name:
            shard_count = entry.integer(1)
            continue
        dtype = _CHECKPOINT_DTYPES.get(entry.integer(1))
        if dtype is None or any(level.startswith(_NOT_WEIGHTS) for level in name.split("/")):
            continue
        shape = [dim.integer(1) for sizes in entry.messages(2) for dim in sizes.messages(2)]
        shard, offset, size = entry.integer(3), entry.integer(4), entry.integer(5)
        if shard not in shards:
            shards[shard] = memoryview(read_bytes(index.with_name(f"{stem}.data-{shard:05d}-of-{shard_count:05d}")))
        if offset + size > len(shards[shard]):
            raise DamagedError(f"the numbers of {name[:60]!r} lie beyond the end of their file.")
        data = shards[shard][offset : offset + size]
        arrays[name.removesuffix(_SUFFIX)] = float_array(data, dtype, shape)
    return Contents("TensorFlow 2 checkpoint", arrays, "in-out", feature_order="channel-major")


def _table_entries(raw: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """All keys and values of a table."""
    footer = raw[-48:]
    _, position = _block_handle(footer, 0)  # the block of meta-blocks
    index, _ = _block_handle(footer, position)
    for number, (_, handle) in enumerate(_block_entries(raw, *index)):
        if number >= MAX_ARRAYS:
            raise DamagedError("its table is too long.")
        yield from _block_entries(raw, *_block_handle(handle, 0)[0])


def _block_handle(data: memoryview, position: int) -> tuple[tuple[int, int], int]:
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _block_entries(raw: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a block; a key shares its beginning with the key before it."""
    if offset + size + 5 > len(raw) or size < 4:
        raise DamagedError("a block of its table lies beyond its end.")
    if raw[offset + size] != 0:
        raise DamagedError("its table is compressed, which is not read; save the weights as .npz or .h5.")
    block = raw[offset : offset + size]
    restarts = struct.unpack_from("<I", block, size - 4)[0]
    end = size - 4 - 4 * restarts
    position, key = 0, b""
    while position < end:
        shared, position = read_varint(block, position)
        unshared, position = read_varint(block, position)
        length, position = read_varint(block, position)
        if shared > len(key) or shared + unshared > _MAX_KEY_BYTES or position + unshared + length > end:
            raise DamagedError("an entry of its table reaches beyond its block.")
        key = key[:shared] + bytes(block[position : position + unshared])
        position += unshared
        yield key, block[position : position + length]
        position += length


_GRAPH_LAYERS = ("Conv2D", "MatMul", "DepthwiseConv2dNative")


def read_saved_model(folder: Path) -> Contents:
    """The checkpoint in a SavedModel folder, with the activations that its graphs name, in no known order."""
    checkpoint = read_checkpoint(folder / "variables" / "variables")
    if checkpoint is None:
        raise DamagedError("it is a SavedModel without its weights, which lie in variables/variables.index beside it.")
    kinds: dict[str, None] = {}
    for meta in Message(memoryview(read_bytes(folder / "saved_model.pb", MAX_TEXT_BYTES))).messages(2):
        for graph in meta.messages(2):
            functions = [function for library in graph.messages(2) for function in library.messages(1)]
            nodes = [n for f in functions for n in f.messages(3)] + graph.messages(1)
            kinds |= dict.fromkeys(node.text(2) for node in nodes)
    # Layers first, so that no activation seems to lie between them. A compass has its sine.
    listed = sorted(kinds.keys() - {"Sin", "Exp", "Pow"}, key=lambda kind: (kind not in _GRAPH_LAYERS, kind))
    operations = tuple(Operation(kind) for kind in listed)
    return replace(checkpoint, container="TensorFlow SavedModel", operations=operations)


# TensorFlow.js -------------------------------------------------------------------------------------------

_GRAPH_DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16", "DT_BFLOAT16": "bfloat16"}
_ITEM_BYTES = {"float32": 4, "int32": 4, "uint16": 2, "float16": 2}
_MAX_SCALE = 1e30


def read_tensorflow_js(model: dict[str, Any], path: Path) -> Contents:
    """The constants of a graph, and the weight files that lie beside the model."""
    arrays = BoundedArrays()
    topology = model.get("modelTopology")
    nodes = topology.get("node") if isinstance(topology, dict) else None
    nodes = nodes if isinstance(nodes, list) else []
    for node in nodes:
        if isinstance(node, dict) and node.get("op") == "Const":
            _add_constant(arrays, node)
    operations = graph_operations(_graph_nodes(nodes), arrays)
    if isinstance(topology, dict) and not nodes:
        operations = _keras_operations(topology.get("model_config", topology))
    manifest = model.get("weightsManifest") or []
    if not isinstance(manifest, list):
        raise DamagedError("its weightsManifest is not a list.")
    for group in manifest[:64]:
        _add_weight_group(arrays, group, path)
    return Contents("TensorFlow.js model", arrays, "in-out", feature_order="channel-major", operations=operations)


def _graph_nodes(listed: list[Any]) -> Iterator[tuple[Operation, list[str], list[str]]]:
    """The nodes of a graph; those that fuse a layer with its activation as one for each."""
    for node in (n for n in listed if isinstance(n, dict)):
        attributes: Any = node.get("attr")
        inputs = [str(name).lstrip("^").split(":")[0] for name in node.get("input") or []]
        name, kind = str(node.get("name")), str(node.get("op"))
        try:
            fused = [base64.b64decode(s).decode() for s in attributes["fused_ops"]["list"]["s"]]
            alpha = float(attributes.get("leakyrelu_alpha", attributes.get("alpha", {})).get("f", 0.2))
        except (KeyError, TypeError, AttributeError, ValueError):
            fused, alpha = [], float("nan")
        kinds = [kind.removeprefix("_Fused").removeprefix("Fused") if fused else kind]
        kinds += [activation for activation in fused if activation != "BiasAdd"]
        for number, kind in enumerate(kinds):
            last = number == len(kinds) - 1
            settings = {"alpha": alpha} if kind == "LeakyRelu" else {}
            yield Operation(kind, settings), inputs, [name if last else f"{name}#{number}"]
            inputs = [f"{name}#{number}"]


def _add_constant(arrays: BoundedArrays, node: dict[str, Any]) -> None:
    name = str(node.get("name"))
    try:
        tensor = node["attr"]["value"]["tensor"]
        dtype, sizes = tensor.get("dtype"), tensor.get("tensorShape", {}).get("dim", [])
        if dtype == "DT_FLOAT" and not sizes and isinstance(tensor.get("floatVal"), list):
            arrays[name] = np.asarray(tensor["floatVal"][0], np.float32)
        if dtype not in _GRAPH_DTYPES or "tensorContent" not in tensor:
            return
        shape = [int(str(d["size"])[:20]) for d in sizes]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise DamagedError(f"its constant {name[:40]!r} has no array.") from error
    arrays[name] = float_array(str(tensor["tensorContent"]), _GRAPH_DTYPES[dtype], shape)


def _add_weight_group(arrays: BoundedArrays, group: Any, path: Path) -> None:
    """Arrays of one group of a weights manifest; quantised ones are expanded."""
    try:
        names, weights = [str(p) for p in group["paths"]], list(group["weights"])
    except (KeyError, TypeError) as error:
        raise DamagedError("its weightsManifest needs paths and weights.") from error
    if any(Path(name).name != name or name.startswith(".") for name in names):
        raise DamagedError("its weights do not lie beside it; put them into its folder.")
    if len(set(names)) < len(names):
        raise DamagedError("it names the same file of weights twice.")
    joined = bytearray()
    for name in names[:64]:
        joined += read_bytes(path.parent / name, MAX_FILE_BYTES - len(joined))
    raw = memoryview(joined)
    position = 0
    for weight in weights[:MAX_ARRAYS]:
        try:
            shape, packing = tuple(weight["shape"]), weight.get("quantization") or {}
            dtype = str(packing.get("dtype", weight["dtype"]))
            scale, minimum = float(packing.get("scale", 1)), float(packing.get("min", 0))
            name = str(weight["name"])
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise DamagedError("an entry of its weightsManifest needs name, shape and dtype.") from error
        if not (abs(scale) < _MAX_SCALE and abs(minimum) < _MAX_SCALE):
            raise DamagedError(f"the quantization of its array {name[:40]!r} is out of range.")
        size = value_count(shape) * _ITEM_BYTES.get(dtype, 1)
        data = raw[position : position + size]
        position += size
        if dtype in ("uint16", "uint8") and packing:
            if len(data) != size:
                raise DamagedError("the weights beside it are cut off.")
            levels = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(np.float64)
            arrays[name] = (levels.reshape(shape) * scale + minimum).astype(np.float32)
        elif dtype in ("float32", "float16"):
            arrays[name] = float_array(data, dtype, shape)


# Keras ---------------------------------------------------------------------------------------------------

_MAX_CHUNK_VALUES = 2**22
_ROLES = {"0": "kernel", "1": "bias"}


def read_keras(raw: bytes, config: Any = None) -> Contents:
    """Float datasets of an HDF5 file (`.h5`, or the `model.weights.h5` of a `.keras` file).

    `layer/vars/0` is a kernel, `layer/vars/1` a bias. Only plain datasets inside the file are read, not links to
    other files, virtual datasets or data behind unknown filters. `config` is the model's, where another file has it.
    """
    import h5py

    if len(raw) > MAX_TEXT_BYTES:
        raise DamagedError(f"HDF5 is read up to {MAX_TEXT_BYTES} bytes.")
    arrays, unread = BoundedArrays(), list[str]()
    try:
        with h5py.File(io.BytesIO(raw), "r") as file:
            text = file.attrs.get("model_config")
            if config is None and isinstance(text, str | bytes):
                config = parse_json(text)
            for path, dataset in _datasets(file):
                parent, _, last = path.strip("/").rpartition("/")
                if "optimizer" in parent:
                    continue
                layer = parent.removesuffix("/vars")
                role = _ROLES.get(last, last) if layer != parent else last.split(":")[0]
                name = f"{layer}/{role}".replace("/", ".")
                if dataset.dtype.kind == "f":
                    arrays[name] = _dataset_values(dataset)
                elif dataset.ndim > 1:
                    unread.append(name)
    except DamagedError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DamagedError("it begins as HDF5, but is damaged or cut off.") from error
    return Contents("Keras file", arrays, "in-out", operations=_keras_operations(config), unread=tuple(unread))


def _keras_operations(config: Any) -> tuple[Operation, ...]:
    """The layers and activations in a model's configuration, in their order; none where it is not a list of layers."""
    found, stack = list[Operation](), [config]
    while stack and len(found) < MAX_ARRAYS:
        layer = stack.pop()
        fields = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(fields, dict):
            continue
        if isinstance(fields.get("layers"), list):
            stack += reversed(fields["layers"])
            continue
        kind, activation = str(layer.get("class_name")), fields.get("activation")
        if isinstance(activation, dict):
            named = activation.get("config")
            activation = named if isinstance(named, str) else activation.get("class_name")
        if kind != "Activation":
            called = '"training": true' in json.dumps(layer.get("inbound_nodes"))
            found.append(Operation(kind, {**fields, "training": called}))
        if activation not in (None, "linear"):
            slope = {"negative_slope": 0.2} if activation == "leaky_relu" else {}
            found.append(Operation(f"activation {activation}", slope))
    return list_operations(found)


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Datasets of numbers, by path; only hard links are followed, each object once."""
    import h5py

    stack, seen = [("", file)], set()
    while stack:
        path, group = stack.pop()
        names = [str(name) for name in group][:MAX_ARRAYS]
        for name in sorted(names, reverse=True):
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group.get(name)
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                stack.append((f"{path}/{name}", item))
            elif isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
                yield f"{path}/{name}", item


def _dataset_values(dataset: Any) -> np.ndarray:
    value_count(dataset.shape)
    external = dataset.external is not None or dataset.is_virtual
    if external or (dataset.chunks and np.prod(dataset.chunks, dtype=float) > _MAX_CHUNK_VALUES):
        raise DamagedError("its numbers lie in another file, or in chunks that are too large.")
    return np.asarray(dataset[()], np.float32)

"""Other people's files, written by the tests, and their rules worked out literally."""

import base64
import io
import json
import zipfile
from itertools import pairwise

import h5py
import msgpack
import numpy as np
import scipy.ndimage

from nca.interop import torch
from nca.interop.protobuf import encode_field

SOBEL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
IDENTITY = np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
LAPLACE = np.array([[1.0, 2, 1], [2, -12, 2], [1, 2, 1]])


def network(number, inputs, channels, hidden=(7,)):
    """Random layers [(weights (inputs, outputs), biases)]."""
    draw = np.random.default_rng(number)
    sizes = [inputs, *hidden, channels]
    pairs = [(draw.normal(size=s) / 3, draw.normal(size=s[1])) for s in pairwise(sizes)]
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in pairs]


def filter_channels(state, kernel, mode="constant", flipped=False):
    """A field correlated (or convolved) with a kernel, channel by channel."""
    work = scipy.ndimage.convolve if flipped else scipy.ndimage.correlate
    return np.stack([work(state[..., c], kernel, mode=mode) for c in range(state.shape[-1])], axis=-1)


def dense_layers(features, layers, slope=0.0):
    """The dense layers."""
    values = features
    for i, (weight, bias) in enumerate(layers):
        values = values @ weight.astype(float) + bias
        if i < len(layers) - 1:
            values = np.where(values > 0, values, slope * values)
    return values


def npz(arrays):
    """The bytes of an npz."""
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def by_name(layers, **more):
    """Layers under our documented names."""
    out = {}
    for i, (weight, bias) in enumerate(layers, 1):
        out |= {f"w{i}": weight, f"b{i}": bias}
    return out | more


def state_dict(layers, conv=False, prefix="net.", **more):
    """Layers as PyTorch names and turns them."""
    out = dict(more)
    for i, (weight, bias) in enumerate(layers):
        matrix = weight.T[:, :, None, None] if conv else weight.T
        out |= {f"{prefix}{2 * i}.weight": matrix, f"{prefix}{2 * i}.bias": bias}
    return out


def torch_zip(root):
    """A file of torch.save."""
    return torch.encode_torch(root)


def torch_old(model):
    """A file of torch.save before 1.6, with a storage for each tensor."""
    storages = []
    body = torch._pickle_value(model, storages)
    out = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03."
    out += b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s." + b"\x80\x02" + body.replace(b"tQ", b"NtQ") + b"."
    keys = b"".join(b"X\x01\x00\x00\x00" + str(i).encode() for i in range(len(storages)))
    out += b"\x80\x02](" + keys + b"e."
    for values in storages:
        out += np.int64(values.size).tobytes() + values.astype("<f4").tobytes()
    return out


def flax(layers):
    """`flax.serialization.to_bytes` of nested dictionaries."""

    def pack(array):
        inner = msgpack.packb((array.shape, array.dtype.name, array.tobytes()))
        return msgpack.ExtType(1, inner)

    tree = {f"Dense_{i}": {"kernel": pack(w), "bias": pack(b)} for i, (w, b) in enumerate(layers)}
    return msgpack.packb({"params": tree})


def onnx(layers):
    """A model of initializers and one node."""
    tensors = []
    for i, (weight, bias) in enumerate(layers):
        for name, array in ((f"fc{i}.weight", weight), (f"fc{i}.bias", bias)):
            dims = b"".join(encode_field(1, n) for n in array.shape)
            raw = encode_field(9, array.astype("<f4").tobytes())
            tensors.append(encode_field(5, dims + encode_field(2, 1) + encode_field(8, name) + raw))
    graph = encode_field(1, encode_field(2, "y") + encode_field(4, "Relu")) + b"".join(tensors)
    return encode_field(1, 8) + encode_field(7, graph)


def tensorflow_js(layers):
    """A graph of constants, each inner its node, which name each other in a circle."""

    def node(name, array):
        dims = [{"size": str(n)} for n in array.shape]
        content = base64.b64encode(array.astype("<f4").tobytes()).decode()
        tensor = {"dtype": "DT_FLOAT", "tensorShape": {"dim": dims}, "tensorContent": content}
        return {"name": name, "op": "Const", "input": [name], "attr": {"value": {"tensor": tensor}}}

    nodes = []
    for i, (weight, bias) in enumerate(layers):
        nodes += [node(f"conv{i}/Conv2D/x", weight[None, None]), node(f"conv{i}/BiasAdd/x", bias)]
    return json.dumps({"format": "graph-model", "modelTopology": {"node": nodes}}).encode()


def keras(layers):
    """A `.keras` file of Keras 3."""
    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        for i, (weight, bias) in enumerate(layers):
            group = file.create_group(f"layers/conv2d_{i}/vars")
            group.create_dataset("0", data=weight[None, None])
            group.create_dataset("1", data=bias)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", inner.getvalue())
    return out.getvalue()


def safetensors(layers):
    """A state_dict as safetensors."""
    from safetensors.numpy import save

    return save({k: np.ascontiguousarray(v) for k, v in state_dict(layers).items()})


def web_json(layers):
    """Layers of bytes, the bias in the last row."""
    rows = []
    for weight, bias in layers:
        scales = [2 * float(np.abs(values).max()) for values in (weight, bias)]
        scaled = np.concatenate([weight.astype(float) / scales[0], bias[None].astype(float) / scales[1]])
        levels = np.round((scaled + 0.5) * 255).astype(np.uint8)
        sizes = {"in_ch": weight.shape[0], "out_ch": weight.shape[1], "type": "uint8"}
        data = base64.b64encode(levels.tobytes()).decode()
        rows.append({**sizes, "weight_scale": scales[0], "bias_scale": scales[1], "data_b64": data})
    return json.dumps(rows).encode()


EXACT = {
    "npz": ("npz", lambda layers: npz(by_name(layers))),
    "torch": ("pth", lambda layers: torch_zip(state_dict(layers))),
    "torch conv": (
        "pt",
        lambda layers: torch_zip({"model": state_dict(layers, True), "config": {"lr": 0.1}}),
    ),
    "torch old": ("pth", lambda layers: torch_old(state_dict(layers))),
    "flax": ("msgpack", flax),
    "onnx": ("onnx", onnx),
    "tfjs": ("json", tensorflow_js),
    "keras": ("keras", keras),
    "safetensors": ("safetensors", safetensors),
}
WRITERS = {**EXACT, "web": ("json", web_json)}

"""Files of other programs: every container gives back its numbers; no size is believed, no code is run."""

import base64
import contextlib
import io
import json
import pickle
import re
import resource
import struct
import zipfile
from pathlib import Path

import msgpack
import numpy as np
import pytest
from helpers import authors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nca import untrusted
from nca.errors import UserError
from nca.files import read_bytes
from nca.interop import tensorflow, torch
from nca.interop.containers import read_contents
from nca.interop.importing import open_weights
from nca.interop.layers import find_layers
from nca.interop.protobuf import encode_field
from nca.untrusted import Contents

C, FEATURES = 5, 15
LAYERS = authors.network(0, FEATURES, C, hidden=(6, 6))


def write(tmp_path, kind, layers=LAYERS):
    suffix, writer = authors.WRITERS[kind]
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(writer(layers))
    return path


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def write_checkpoint(tmp_path, layers=LAYERS):
    """A TensorFlow 2 checkpoint of one shard."""
    data, entries = b"", [(b"", encode_field(1, 1))]
    for i, (weight, bias) in enumerate(layers):
        for role, array in (("bias", bias), ("kernel", weight[None, None])):
            shape = b"".join(encode_field(2, encode_field(1, n)) for n in array.shape)
            raw = array.astype("<f4").tobytes()
            entry = encode_field(1, 1) + encode_field(2, shape) + encode_field(4, len(data)) + encode_field(5, len(raw))
            entries.append((f"m/layer-{i}/{role}/.ATTRIBUTES/VARIABLE_VALUE".encode(), entry))
            data += raw
    index = b""

    def block(pairs):
        nonlocal index
        body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs)
        body += struct.pack("<II", 0, 1)
        handle = varint(len(index)) + varint(len(body))
        index += body + b"\0" + bytes(4)
        return handle

    handle = block([(b"z", block(entries))])
    index += (varint(0) + varint(0) + handle).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    (tmp_path / "model.data-00000-of-00001").write_bytes(data)
    path = tmp_path / "model.index"
    path.write_bytes(index)
    return path


def assert_same(layers, tolerance=0.0):
    for (weight, bias), w, b in zip(LAYERS, layers.weights, layers.biases, strict=True):
        np.testing.assert_allclose(w, weight, atol=tolerance, rtol=0)
        np.testing.assert_allclose(b, bias, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", authors.EXACT)
def test_every_container_gives_the_layers_back(tmp_path, kind):
    assert_same(find_layers(read_contents(write(tmp_path, kind))))


def test_a_checkpoint_of_tensorflow_gives_the_layers_back(tmp_path):
    assert_same(find_layers(read_contents(write_checkpoint(tmp_path))))


def test_web_json_gives_the_layers_back_within_half_a_grey(tmp_path):
    layers = find_layers(read_contents(write(tmp_path, "web")))
    assert_same(layers, max(np.abs(a).max() for pair in LAYERS for a in pair) / 255 * 1.01)


def test_headerless_numbers_are_read_in_the_sizes_given(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"".join(a.tobytes() for pair in LAYERS for a in pair) + bytes(8))
    sizes = "w1:15x6,b1:6,w2:6x6,b2:6,w3:6x5,b3:5,_rest:2"
    assert_same(find_layers(read_contents(path, sizes)))
    with pytest.raises(UserError, match="make"):
        read_contents(path, sizes.removesuffix(",_rest:2"))
    with pytest.raises(UserError, match="w1:48x128"):
        read_contents(path, "w1=15")


def test_a_tensorflow_js_model_with_its_weights_beside_is_read(tmp_path):
    weights, raw = [], b""
    for i, (weight, bias) in enumerate(LAYERS):
        for name, array in ((f"c{i}/kernel", weight[None, None]), (f"c{i}/bias", bias)):
            weights.append({"name": name, "shape": array.shape, "dtype": "float32"})
            raw += array.tobytes()
    (tmp_path / "group1.bin").write_bytes(raw)
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["group1.bin"], "weights": weights}]}))
    assert_same(find_layers(read_contents(path)))
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["../group1.bin"], "weights": weights}]}))
    with pytest.raises(UserError, match="beside"):
        read_contents(path)


def module_file(tmp_path, kind, **settings):
    """A file of a whole PyTorch module, with a module of this kind between its first two layers.

    A module is a call of its class and a state that holds parameters, buffers and modules by name.
    """
    storages = []

    def module(name, **state):
        state = {"_parameters": {}, "_modules": {}, **state}
        return (
            b"c"
            + name.replace(".", " ").encode()[::-1].replace(b" ", b"\n", 1)[::-1].replace(b" ", b".")
            + (b"\n)\x81" + value(state) + b"b")
        )

    def value(x):
        if isinstance(x, bytes):
            return x
        if isinstance(x, dict):
            pairs = b"".join(value(k) + value(v) for k, v in x.items())
            return torch._ORDERED_DICT + b")R(" + pairs + b"u"
        if isinstance(x, np.ndarray):
            tensor = torch._pickle_value(x, storages)
            return b"ctorch._utils\n_rebuild_parameter\n(" + tensor + b"\x88" + value({}) + b"tR"
        return torch._pickle_value(x, storages)

    linear = [
        module("torch.nn.modules.linear.Linear", _parameters={"weight": w.T, "bias": b}, in_features=len(w))
        for w, b in LAYERS
    ]
    act = module(kind, **settings)
    inner = module("torch.nn.modules.container.Sequential", _modules={"0": linear[0], "1": act, "2": linear[1]})
    root = module("my.own.Model", _modules={"net": inner, "last": linear[2]}, fire_rate=0.25)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + root + b".")
        for i, values in enumerate(storages):
            archive.writestr(f"m/data/{i}", values.tobytes())
    path = tmp_path / "module.pth"
    path.write_bytes(out.getvalue())
    return path


def test_a_whole_module_is_read_without_its_class(tmp_path):
    file = open_weights(
        module_file(tmp_path, "torch.nn.modules.activation.LeakyReLU", negative_slope=0.2, inplace=False)
    )
    assert_same(file.layers)
    assert (file.conventions.values.negative_slope, file.conventions.values.fire_rate) == (0.2, 0.25)
    assert "Linear" in [operation.name for operation in file.contents.operations]


@pytest.mark.parametrize("kind", ["my.own.Sine", "torch.nn.modules.pooling.AvgPool2d", "torch.nn.modules.fold.Unfold"])
def test_a_module_between_the_layers_that_no_rule_has_is_refused_by_its_name(tmp_path, kind):
    with pytest.raises(UserError, match=f"has {kind.split('.')[-1]},"):
        open_weights(module_file(tmp_path, kind))


# What a file says of its computation is expressed, or refused by its name.


def keras_file(tmp_path, *configs, layers=LAYERS):
    """A `.keras` file whose configuration lists these (class name, fields, perhaps how it is called)."""
    path = tmp_path / "model.keras"
    listed = [dict(zip(("class_name", "config", "inbound_nodes"), config, strict=False)) for config in configs]
    with zipfile.ZipFile(io.BytesIO(authors.keras(layers))) as plain, zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": listed}}))
        archive.writestr("model.weights.h5", plain.read("model.weights.h5"))
    return path


def onnx_file(tmp_path, *between, last=()):
    """A model of three layers; the two gaps and the end are lists of (operation, inputs, attributes).

    Inputs are `x`, the value of the layer, `y`, of the operation before, and `s`, a constant of 0.5.
    """
    nodes, number = [], 0

    def add(operation, inputs, attributes=b""):
        nonlocal number
        number += 1
        named = b"".join(encode_field(1, name) for name in inputs)
        nodes.append(named + encode_field(2, f"v{number}") + encode_field(4, operation) + attributes)
        return f"v{number}"

    value = "state"
    for i, gap in enumerate((*between, last)):
        value = add("Gemm", [value, f"fc{i}.weight", f"fc{i}.bias"])
        inside = {"x": value, "s": "scalar"}
        for operation, inputs, attributes in gap:
            inside["y"] = value = add(operation, [inside[name] for name in inputs], attributes)
    plain = authors.onnx(LAYERS)
    half = encode_field(2, 1) + encode_field(8, "scalar") + encode_field(9, np.float32(0.5).tobytes())
    arrays = plain[plain.index(b"*", 14) :] + encode_field(5, half)
    graph = b"".join(encode_field(1, node) for node in nodes) + arrays
    path = tmp_path / "model.onnx"
    path.write_bytes(encode_field(1, 8) + encode_field(7, graph))
    return path


def number_attribute(name, value):
    return encode_field(5, encode_field(1, name) + encode_field(2, value))


DENSE, RELU, TANH = (("Dense", {"activation": name}) for name in ("linear", "relu", "tanh"))
KERAS = {
    "swish": ([("Conv2D", {"activation": "swish"}), ("Conv2D", {"activation": "swish"}), DENSE], "swish", 0, "none"),
    "own layers": ([DENSE, ("ELU", {"alpha": 1.0}), DENSE, ("ELU", {"alpha": 1.0}), DENSE], "elu", 0, "none"),
    "leaky": ([DENSE, ("LeakyReLU", {"negative_slope": 0.3})] * 2 + [DENSE], "relu", 0.3, "none"),
    "dropout": ([("InputLayer", {}), RELU, ("Dropout", {}, [{"kwargs": {}}]), RELU, DENSE], "relu", 0, "none"),
    "squashed": ([("Dense", {"activation": "gelu"})] * 2 + [("Dense", {"activation": "tanh"})], "gelu", 0, "tanh"),
}


@pytest.mark.parametrize("kind", KERAS)
def test_the_activations_of_a_keras_model_are_read(tmp_path, kind):
    configs, activation, slope, squash = KERAS[kind]
    values = open_weights(keras_file(tmp_path, *configs)).conventions.values
    assert (values.activation, values.negative_slope, values.squash) == (activation, slope, squash)


X = [("Relu", "x", b"")]
ONNX = {
    "Relu": (X, "relu", 0),
    "LeakyRelu": ([("LeakyRelu", "x", number_attribute("alpha", 0.25))], "relu", 0.25),
    "Tanh": ([("Tanh", "x", b"")], "tanh", 0),
    "swish of two nodes": ([("Sigmoid", "x", b""), ("Mul", "xy", b"")], "swish", 0),
    "gelu of several nodes": ([("Erf", "x", b""), ("Mul", "xy", b"")], "gelu", 0),
    "relu between reshaped values": ([("Reshape", "xs", b""), *X, ("Dropout", "y", b"")], "relu", 0),
}


@pytest.mark.parametrize("kind", ONNX)
def test_the_activations_of_an_onnx_graph_are_read(tmp_path, kind):
    gap, activation, slope = ONNX[kind]
    file = open_weights(onnx_file(tmp_path, gap, gap, last=[("Tanh", "x", b"")]))
    assert_same(file.layers)
    values = file.conventions.values
    assert (values.activation, values.negative_slope, values.squash) == (activation, slope, "tanh")
    assert {file.conventions.sources[k] for k in ("activation", "squash")} == {"the file"}


@pytest.mark.parametrize(
    ("gaps", "words"),
    [
        (([("Softplus", "x", b"")],) * 2, "Softplus"),
        (([("Sin", "x", b"")],) * 2, "Sin"),
        ((X, []), "linear activation"),
        ((X, [("Tanh", "x", b"")]), "different activations, Relu and Tanh"),
        (([*X, ("Softmax", "y", b"")],) * 2, "Softmax"),
        (([("Elu", "x", number_attribute("alpha", 0.5))],) * 2, "Elu with {'alpha': 0.5}"),
        (([*X, ("Abs", "y", b"")],) * 2, "has Abs,"),
        (([*X, ("Mul", "ys", b"")],) * 2, "has Mul,"),
        (([("Tanh", "x", b""), ("Mul", "ys", b"")],) * 2, "has Mul,"),
        (([("Sigmoid", "x", b""), ("Mul", "yy", b"")],) * 2, "has Mul,"),
        (([("Erf", "x", b""), *[("Mul", "yx", b"")] * 4],) * 2, "has Mul,"),
        (([*X, ("Add", "xy", b"")],) * 2, "has Add,"),
        (([*X, ("ReduceMean", "y", b"")],) * 2, "has ReduceMean,"),
        (([("Tanh", "x", b""), ("Tanh", "y", b"")],) * 2, "has Tanh,"),
        ((X, X, [("Mul", "xs", b"")]), "has Mul,"),
    ],
)
def test_an_activation_that_no_rule_has_is_refused_by_its_name(tmp_path, gaps, words):
    with pytest.raises(UserError, match=re.escape(words)):
        open_weights(onnx_file(tmp_path, *gaps[:2], last=gaps[2] if len(gaps) > 2 else ()))


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        ([DENSE, ("PReLU", {}), DENSE, ("PReLU", {}), DENSE], "PReLU"),
        ([("Dense", {"activation": {"class_name": "function", "config": "mine"}})] * 2 + [DENSE], "activation mine"),
        ([DENSE, DENSE, DENSE], "linear activation"),
        ([DENSE, ("ReLU", {"max_value": 6.0}), DENSE, ("ReLU", {"max_value": 6.0}), DENSE], "ReLU with"),
        ([("Conv2D", {"activation": "relu", "dilation_rate": [2, 2]}), DENSE, DENSE], "dilated"),
        ([("Dense", {"activation": "relu"})] * 3, "ends in activation relu"),
        ([RELU, ("Lambda", {}), RELU, DENSE], "has Lambda,"),
        ([RELU, ("mine>Sharpen", {}), RELU, DENSE], "has mine>Sharpen,"),
        ([RELU, ("BatchNormalization", {}), RELU, DENSE], "has BatchNorm"),
        ([RELU, ("LayerNormalization", {}), RELU, DENSE], "has LayerNorm"),
        ([RELU, RELU, DENSE, ("Rescaling", {"scale": 0.1})], "has Rescaling,"),
        ([RELU, ("Dropout", {}, [{"args": [], "kwargs": {"training": True}}]), RELU, DENSE], "has Dropout,"),
        (
            [TANH, ("Activation", {"activation": "tanh"}), RELU, DENSE],
            "after activation tanh",
        ),
        ([("Conv2D", {"activation": "relu", "strides": [2, 2]}), RELU, DENSE], "strided"),
    ],
)
def test_a_layer_of_keras_that_no_rule_has_is_refused_by_its_name(tmp_path, configs, words):
    with pytest.raises(UserError, match=words):
        open_weights(keras_file(tmp_path, *configs))


def test_an_activation_in_the_settings_is_read_and_one_that_is_given_wins(tmp_path):
    path = tmp_path / "a.pt"
    root = {"model": authors.state_dict(LAYERS), "config": {"activation": "silu"}}
    path.write_bytes(authors.torch_zip(root))
    assert open_weights(path).conventions.values.activation == "swish"
    assert open_weights(path, activation="tanh").conventions.values.activation == "tanh"
    path.write_bytes(authors.torch_zip({**root, "config": {"activation": "softplus"}}))
    with pytest.raises(UserError, match="softplus"):
        open_weights(path)


def test_a_graph_of_tensorflow_js_says_its_activations_even_fused(tmp_path):
    model = json.loads(authors.tensorflow_js(LAYERS))
    fused = {"fused_ops": {"list": {"s": [base64.b64encode(s).decode() for s in (b"BiasAdd", b"Elu")]}}}
    nodes = [
        {"op": "_FusedConv2D", "name": "a", "input": ["x", "w"], "attr": fused},
        {"op": "Conv2D", "name": "b", "input": ["a", "w"]},
        {"op": "Elu", "name": "c", "input": ["b"]},
        {"op": "Conv2D", "name": "d", "input": ["c", "w"]},
    ]
    model["modelTopology"]["node"] += nodes
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model))
    assert open_weights(path).conventions.values.activation == "elu"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"fire.weight": np.ones((1, 6), np.float32), "fire.bias": np.ones(1, np.float32)}, "fire.weight"),
        ({"kernel3": np.arange(9.0).reshape(3, 3)}, "kernel3"),
        ({"extra": np.ones(7)}, "extra"),
        ({"w3_q": np.ones((6, 5), np.int8)}, "w3_q"),
        ({"seed": np.ones((1, 1, C + 1))}, "seed"),
    ],
)
def test_an_array_that_the_rule_would_not_use_is_an_error_unless_asked_for(tmp_path, more, words):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz({**authors.by_name(LAYERS), **more}))
    with pytest.raises(UserError, match=f"would not use {words}.*--allow-unused"):
        open_weights(path)
    assert_same(open_weights(path, allow_unused=True).layers)


def test_counters_optimizers_and_usual_filters_are_no_other_network(tmp_path):
    path = tmp_path / "a.npz"
    more = {"step": np.float32(3), "optimizer.mu": np.ones((3, 4)), "sobel_x": authors.SOBEL / 8}
    path.write_bytes(authors.npz({**authors.by_name(LAYERS), **more}))
    assert_same(open_weights(path).layers)


@pytest.mark.parametrize(
    "more",
    [
        {"fc.weight_g": np.ones((6, 1)), "fc.weight_v": np.ones((6, 15))},
        {"parametrizations.weight.original0": np.ones((6, 1))},
        {"fc.weight_mask": np.ones((6, 15))},
        {"fc.lora_A": np.ones((2, 15))},
    ],
)
def test_weights_that_are_stored_in_parts_are_refused(tmp_path, more):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz({**authors.by_name(LAYERS), **more}))
    with pytest.raises(UserError, match="parts of quantised, normalised, pruned"):
        open_weights(path, allow_unused=True)


def test_quantised_weights_are_named_where_they_are_all_that_there_is(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz({k: a.astype(np.int8) for k, a in authors.by_name(LAYERS).items()}))
    with pytest.raises(
        UserError, match=r"lacks the layers.*w1, w2, w3\) are not read: save quantised weights as floats"
    ):
        open_weights(path)


def test_a_saved_model_is_read_by_its_folder_and_by_its_graph(tmp_path):
    write_checkpoint(tmp_path)
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    for name in ("index", "data-00000-of-00001"):
        (tmp_path / f"model.{name}").rename(tmp_path / "saved" / "variables" / f"variables.{name}")
    nodes = b"".join(encode_field(1, encode_field(2, kind)) for kind in ("Elu", "Conv2D", "Sin"))
    graph = tmp_path / "saved" / "saved_model.pb"
    graph.write_bytes(encode_field(1, 1) + encode_field(2, encode_field(2, nodes)))
    for path in (tmp_path / "saved", graph):
        file = open_weights(path)
        assert_same(file.layers)
        assert file.conventions.values.activation == "elu"
    (tmp_path / "saved" / "variables" / "variables.index").unlink()
    with pytest.raises(UserError, match=r"variables/variables.index"):
        open_weights(graph)


@pytest.mark.parametrize("header", [b"", b'{"activation": "gelu", "channels": 5}\n'])
def test_an_equinox_file_is_read(tmp_path, header):
    raw = header
    for weight, bias in LAYERS:
        for array in (weight.T[:, :, None, None], bias[:, None, None]):
            out = io.BytesIO()
            np.save(out, array)
            raw += out.getvalue()
    path = tmp_path / "model.eqx"
    path.write_bytes(raw)
    file = open_weights(path)
    assert_same(file.layers)
    assert file.conventions.values.activation == ("gelu" if header else "relu")
    path.write_bytes(raw[:-5])
    with pytest.raises(UserError, match=r"model.eqx"):
        open_weights(path)


class Bomb:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle's code was run",))


def test_the_code_in_a_pickle_is_not_run(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({"weight": Bomb(), "state": [Bomb()]}, 2))
    path = tmp_path / "bomb.pth"
    path.write_bytes(out.getvalue())
    with pytest.raises(UserError, match="lacks the layers"):
        open_weights(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="bare pickle"):
        open_weights(path)


def zipped(**parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in parts.items():
            archive.writestr(name.replace("__", "/").replace("_pkl", ".pkl").replace("_npy", ".npy"), raw)
    return out.getvalue()


def entry_beyond_the_file():
    """A zip whose only entry claims to begin beyond any file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("m/data.pkl")
        entry.extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)
        archive.writestr(entry, b"N.")
    raw = bytearray(out.getvalue())
    place = raw.index(b"PK\1\2") + 42
    raw[place : place + 4] = b"\xff" * 4
    return bytes(raw)


def npy(shape, raw=b""):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + raw


def web(**changed):
    layer = {"in_ch": 2, "out_ch": 2, "weight_scale": 1.0, "bias_scale": 1.0, "data_b64": "AAAAAAAA"}
    return json.dumps([{**layer, **changed}]).encode()


def graph(**tensor):
    node = {"name": "w", "op": "Const", "attr": {"value": {"tensor": {"dtype": "DT_FLOAT", **tensor}}}}
    return json.dumps({"modelTopology": {"node": [node]}}).encode()


def onnx_tensor(fields):
    """A model of one float initializer."""
    return encode_field(1, 8) + encode_field(7, encode_field(5, encode_field(2, 1) + encode_field(8, "w") + fields))


def long(number):
    return {"size": str(number)}


HOSTILE = {
    "nothing": b"",
    "noise": bytes(range(7, 200)),
    "truncated zip": authors.torch_zip(authors.state_dict(LAYERS))[:900],
    "zip without its directory": b"PK\3\4" + bytes(40),
    "a zip of something else": zipped(readme=b"hello"),
    "zip of a part beyond any file": entry_beyond_the_file(),
    "zip bomb": zipped(m__data_pkl=bytes(40 * 2**20)),
    "npz bomb": zipped(w1_npy=npy("(4096, 8192)", bytes(4 * 2**25))),
    "npz of a huge shape": zipped(w1_npy=npy("(1000000, 1000000)")),
    "npz cut off": zipped(w1_npy=npy("(48, 128)")),
    "npz of objects": zipped(w1_npy=npy("(1,)").replace(b"<f4", b"|O8")),
    "npz header that is code": zipped(w1_npy=npy("(print('x'),)")),
    "base64 too short": web(in_ch=100),
    "base64 that is none": web(data_b64="@@@@"),
    "base64 of another type": web(data_b64=[1, 2]),
    "huge web layer": web(in_ch=10**9, out_ch=10**9),
    "negative web layer": web(in_ch=-3),
    "web layer of text": web(in_ch="48"),
    "scale that is no number": web(weight_scale=None),
    "scale beyond bounds": web(weight_scale=10**400),
    "infinite scale": web().replace(b"1.0", b"Infinity"),
    "web JSON of floats": web(type="float32"),
    "no layers": b"[]",
    "deep JSON": b"[" * 100_000,
    "cut JSON": web()[:40],
    "JSON of something else": b'{"a": 1}',
    "huge constant": graph(tensorShape={"dim": [long(10**6), long(10**6)]}, tensorContent="AAAA"),
    "constant of another size": graph(tensorShape={"dim": [long(4)]}, tensorContent="AAAA"),
    "constant whose size is no number": graph(tensorShape={"dim": [long("x")]}, tensorContent="AAAA"),
    "graph of nonsense": json.dumps({"modelTopology": {"node": 3}}).encode(),
    "msgpack of a huge array": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "msgpack that nests": b"\x81\xa1a" * 5000,
    "msgpack array of another size": msgpack.packb(
        {"a": msgpack.ExtType(1, msgpack.packb(((1000, 1000), "float32", b"1234")))}
    ),
    "msgpack array of objects": msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((1,), "object", bytes(8))))}),
    "protobuf that reaches too far": b"\x08\x08\x3a\xff\xff\xff\x7f",
    "ONNX of a huge shape": onnx_tensor(encode_field(1, 2**40) + encode_field(9, b"1234")),
    "ONNX with weights elsewhere": onnx_tensor(encode_field(1, 1) + encode_field(14, 1)),
    "ONNX message of very many fields": encode_field(1, 8) * 2**19,
    "HDF5 cut off": b"\x89HDF\r\n\x1a\n" + bytes(50),
    "safetensors of a huge header": struct.pack("<Q", 2**60) + b"{}",
    "pickle with a huge memo": zipped(m__data_pkl=b"\x80\x02}r\xff\xff\xff\xff."),
    "pickle with a huge string": zipped(m__data_pkl=b"\x80\x04\x96" + struct.pack("<Q", 2**62) + b"."),
    "pickle that takes from nothing": zipped(m__data_pkl=b"\x80\x02tR."),
    "pickle of nested tuples as keys": zipped(m__data_pkl=b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s."),
    "old PyTorch cut off": authors.torch_old(authors.state_dict(LAYERS))[:-40],
    "old PyTorch without storages": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(HOSTILE[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as error:
        open_weights(path)
    assert len(str(error.value)) < 700
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes


def tensor_of(offset, sizes, strides, stored=6):
    """A PyTorch file of one tensor with this offset, shape and strides."""
    body = torch._pickle_tensor(np.zeros(stored, np.float32), [])
    plain = torch._pickle_value(0, []) + torch._pickle_value((stored,), []) + torch._pickle_value((1,), [])
    view = torch._pickle_value(offset, []) + torch._pickle_value(sizes, []) + torch._pickle_value(strides, [])
    return zipped(m__data_pkl=b"\x80\x02" + body.replace(plain, view) + b".", m__data__0=bytes(4 * stored))


@pytest.mark.parametrize(
    ("offset", "sizes", "strides"),
    [
        (0, (7,), (1,)),
        (5, (2,), (1,)),
        (0, (2, 4), (3, 1)),
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, (2**30, 2**30), (0, 0)),
        (0, (-5,), (1,)),
        (0, (10**6, 100), (0, 0)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, offset, sizes, strides):
    path = tmp_path / "file.pth"
    path.write_bytes(tensor_of(offset, sizes, strides))
    with pytest.raises(UserError, match="cannot be read"):
        read_contents(path)


@pytest.mark.parametrize("path", [".", "/", "folder"])
def test_a_folder_is_refused_as_one(tmp_path, monkeypatch, path):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{re.escape(path)} is a folder; give the file"):
        open_weights(Path(path))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = write(tmp_path, "npz")
    monkeypatch.setattr(read_bytes, "__defaults__", (100,))
    with pytest.raises(UserError, match="bytes"):
        read_contents(path)


def test_tensors_that_share_a_storage_count_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "MAX_TOTAL_VALUES", 100)
    tensors = [torch._pickle_value(f"w{i}", []) + torch._pickle_tensor(np.zeros(6, np.float32), []) for i in range(30)]
    path = tmp_path / "file.pth"
    path.write_bytes(zipped(m__data_pkl=b"\x80\x02}(" + b"".join(tensors) + b"u.", m__data__0=bytes(24)))
    with pytest.raises(UserError, match="more than 100 values"):
        read_contents(path)


def test_weight_files_are_named_once_and_count_together(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorflow, "MAX_FILE_BYTES", 100)
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(bytes(60))
    path = tmp_path / "model.json"
    for names, message in ((["a.bin", "b.bin"], "60 bytes"), (["a.bin"] * 2, "names the same file of weights twice")):
        path.write_text(json.dumps({"weightsManifest": [{"paths": names, "weights": []}]}))
        with pytest.raises(UserError, match=message):
            read_contents(path)


def test_the_error_names_what_is_missing(tmp_path):
    path = tmp_path / "half.npz"
    path.write_bytes(authors.npz({"w1": LAYERS[0][0], "b1": LAYERS[0][1]}))
    with pytest.raises(UserError, match=r"units -> channels.*w1 15x6"):
        open_weights(path)
    with pytest.raises(UserError, match="no file"):
        open_weights(tmp_path / "none.pth")
    with pytest.raises(UserError, match="folder"):
        open_weights(tmp_path)
    index = write_checkpoint(tmp_path)
    (tmp_path / "model.data-00000-of-00001").unlink()
    with pytest.raises(UserError, match=r"model\.data-00000-of-00001"):
        open_weights(index)


def test_networks_that_are_no_rule_are_refused(tmp_path):
    path = tmp_path / "file.pth"
    norm = {"net.1.running_mean": np.zeros(6, np.float32)}
    path.write_bytes(authors.torch_zip({**authors.state_dict(LAYERS), **norm}))
    with pytest.raises(UserError, match="running_mean"):
        open_weights(path)
    endless = [(w * np.float32(np.inf), b) for w, b in LAYERS]
    path.write_bytes(authors.torch_zip(authors.state_dict(endless)))
    with pytest.raises(UserError, match="not finite"):
        open_weights(path)


def test_the_state_of_an_optimizer_is_ignored(tmp_path):
    path = tmp_path / "file.pth"
    model = authors.state_dict(LAYERS)
    state = {"exp_avg": LAYERS[0][0].T, "exp_avg_sq": LAYERS[0][0].T}
    path.write_bytes(authors.torch_zip({"optimizer": {"state": state}, "model": model}))
    assert_same(open_weights(path).layers)


def test_an_organism_of_ours_needs_no_import(tmp_path):
    import nca
    from nca.io import save

    path = save(nca.load("lizard"), tmp_path / "lizard.safetensors")
    with pytest.raises(UserError, match="needs no import"):
        open_weights(path)


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def read_or_refuse(tmp_path, raw, suffix):
    """Any other exception than `UserError` fails the test."""
    path = tmp_path / f"fuzzed.{suffix}"
    path.write_bytes(raw)
    with contextlib.suppress(UserError):
        contents = read_contents(path)
        assert isinstance(contents, Contents)
        find_layers(contents)


@pytest.mark.parametrize("kind", authors.WRITERS)
@given(data=st.data())
@QUICK
def test_a_damaged_file_is_read_or_refused(tmp_path, kind, data):
    suffix, writer = authors.WRITERS[kind]
    raw = bytearray(writer(LAYERS))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))]
    read_or_refuse(tmp_path, bytes(raw), suffix)


@given(data=st.data())
@QUICK
def test_a_damaged_checkpoint_is_read_or_refused(tmp_path, data):
    path = write_checkpoint(tmp_path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw))
    with contextlib.suppress(UserError):
        find_layers(read_contents(path))


@pytest.mark.parametrize("head", [b"", b"\x80\x02", b"PK\3\4", b"\x85", b"\x08\x08", b"[", b"\x89HDF\r\n\x1a\n"])
@given(tail=st.binary(max_size=300))
@QUICK
def test_noise_is_refused(tmp_path, head, tail):
    read_or_refuse(tmp_path, head + tail, "bin")


@given(program=st.binary(max_size=200))
@settings(QUICK, max_examples=300)
def test_any_pickle_program_is_read_or_refused(tmp_path, program):
    read_or_refuse(tmp_path, zipped(m__data_pkl=b"\x80\x04" + program + b"."), "pth")


def test_base64_with_spaces_is_refused_not_guessed(tmp_path):
    text = base64.b64encode(bytes(6)).decode()
    path = tmp_path / "a.json"
    path.write_bytes(web(data_b64=text[:4] + "\n " + text[4:]))
    with pytest.raises(UserError, match="base64"):
        read_contents(path)

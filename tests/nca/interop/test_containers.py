"""Files of other programs: every container gives back its numbers; none is believed, and none is run."""

import base64
import contextlib
import io
import json
import pickle
import resource
import struct
import zipfile

import msgpack
import numpy as np
import pytest
from helpers import authors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nca.errors import UserError
from nca.interop import containers, limits
from nca.interop.build import opened
from nca.interop.contents import Contents
from nca.interop.layers import found
from nca.interop.wire import encoded, put

C, FEATURES = 5, 15
LAYERS = authors.network(0, FEATURES, C, hidden=(6, 6))


def written(tmp_path, kind, layers=LAYERS):
    suffix, writer = authors.WRITERS[kind]
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(writer(layers))
    return path


def tensor_bundle(tmp_path, layers=LAYERS):
    """A TensorFlow 2 checkpoint of one shard."""
    data, entries = b"", [(b"", put(1, 1))]
    for i, (weight, bias) in enumerate(layers):
        for role, array in (("bias", bias), ("kernel", weight[None, None])):
            shape = b"".join(put(2, put(1, n)) for n in array.shape)
            raw = array.astype("<f4").tobytes()
            entry = put(1, 1) + put(2, shape) + put(4, len(data)) + put(5, len(raw))
            entries.append((f"m/layer-{i}/{role}/.ATTRIBUTES/VARIABLE_VALUE".encode(), entry))
            data += raw
    index = b""

    def block(pairs):
        nonlocal index
        body = b"".join(encoded(0) + encoded(len(k)) + encoded(len(v)) + k + v for k, v in pairs)
        body += struct.pack("<II", 0, 1)
        handle = encoded(len(index)) + encoded(len(body))
        index += body + b"\0" + bytes(4)
        return handle

    handle = block([(b"z", block(entries))])
    index += (encoded(0) + encoded(0) + handle).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    (tmp_path / "model.data-00000-of-00001").write_bytes(data)
    path = tmp_path / "model.index"
    path.write_bytes(index)
    return path


def same(layers, tolerance=0.0):
    for (weight, bias), w, b in zip(LAYERS, layers.weights, layers.biases, strict=True):
        np.testing.assert_allclose(w, weight, atol=tolerance, rtol=0)
        np.testing.assert_allclose(b, bias, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", authors.EXACT)
def test_every_container_gives_the_layers_back(tmp_path, kind):
    same(found(containers.read(written(tmp_path, kind))))


def test_a_checkpoint_of_tensorflow_gives_the_layers_back(tmp_path):
    same(found(containers.read(tensor_bundle(tmp_path))))


def test_web_json_gives_the_layers_back_within_half_a_grey(tmp_path):
    layers = found(containers.read(written(tmp_path, "web")))
    same(layers, max(np.abs(a).max() for pair in LAYERS for a in pair) / 255 * 1.01)


def test_headerless_numbers_are_read_in_the_sizes_given(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"".join(a.tobytes() for pair in LAYERS for a in pair) + bytes(8))
    sizes = "w1:15x6,b1:6,w2:6x6,b2:6,w3:6x5,b3:5,_rest:2"
    same(found(containers.read(path, sizes)))
    with pytest.raises(UserError, match="make"):
        containers.read(path, sizes.removesuffix(",_rest:2"))
    with pytest.raises(UserError, match="w1:48x128"):
        containers.read(path, "w1=15")


def test_a_tensorflow_js_model_with_its_weights_beside_is_read(tmp_path):
    weights, raw = [], b""
    for i, (weight, bias) in enumerate(LAYERS):
        for name, array in ((f"c{i}/kernel", weight[None, None]), (f"c{i}/bias", bias)):
            weights.append({"name": name, "shape": array.shape, "dtype": "float32"})
            raw += array.tobytes()
    (tmp_path / "group1.bin").write_bytes(raw)
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["group1.bin"], "weights": weights}]}))
    same(found(containers.read(path)))
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["../group1.bin"], "weights": weights}]}))
    with pytest.raises(UserError, match="beside"):
        containers.read(path)


def test_a_whole_module_is_read_without_its_class(tmp_path):
    # A module is its class, made anew, and a state that holds parameters, buffers and modules by name.
    from nca.interop import torch_writer as writer

    storages = []

    def module(name, **state):
        whole = {"_parameters": {}, "_modules": {}, **state}
        return (
            b"c"
            + name.replace(".", " ").encode()[::-1].replace(b" ", b"\n", 1)[::-1].replace(b" ", b".")
            + (b"\n)\x81" + value(whole) + b"b")
        )

    def value(x):
        if isinstance(x, bytes):
            return x
        if isinstance(x, dict):
            pairs = b"".join(value(k) + value(v) for k, v in x.items())
            return writer.ORDERED + b")R(" + pairs + b"u"
        if isinstance(x, np.ndarray):
            return b"ctorch._utils\n_rebuild_parameter\n(" + writer._value(x, storages) + b"\x88" + value({}) + b"tR"
        return writer._value(x, storages)

    linear = [
        module("torch.nn.modules.linear.Linear", _parameters={"weight": w.T, "bias": b}, in_features=len(w))
        for w, b in LAYERS
    ]
    act = module("torch.nn.modules.activation.LeakyReLU", negative_slope=0.2, inplace=False)
    inner = module("torch.nn.modules.container.Sequential", _modules={"0": linear[0], "1": act, "2": linear[1]})
    root = module("my.own.Model", _modules={"net": inner, "last": linear[2]}, fire_rate=0.25)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + root + b".")
        for i, values in enumerate(storages):
            archive.writestr(f"m/data/{i}", values.tobytes())
    path = tmp_path / "module.pth"
    path.write_bytes(out.getvalue())
    file = opened(path)
    same(file.layers)
    assert (file.said.values.leak, file.said.values.fire_rate) == (0.2, 0.25)
    assert "Linear" in file.contents.operations


class Bomb:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle's code was run",))


def test_a_pickle_with_code_is_looked_at_and_not_run(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({"weight": Bomb(), "state": [Bomb()]}, 2))
    path = tmp_path / "bomb.pth"
    path.write_bytes(out.getvalue())
    with pytest.raises(UserError, match="lacks the layers"):
        opened(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="bare pickle"):
        opened(path)


def zipped(**parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in parts.items():
            archive.writestr(name.replace("__", "/").replace("_pkl", ".pkl").replace("_npy", ".npy"), raw)
    return out.getvalue()


def far_away():
    """A zip whose one part claims to begin beyond any file."""
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


def initializer(tensor):
    return put(1, 8) + put(7, put(5, tensor))


def long(number):
    return {"size": str(number)}


HOSTILE = {
    "nothing": b"",
    "noise": bytes(range(7, 200)),
    "truncated zip": authors.torch_zip(authors.state_dict(LAYERS))[:900],
    "zip without its directory": b"PK\3\4" + bytes(40),
    "a zip of something else": zipped(readme=b"hello"),
    "zip of a part beyond any file": far_away(),
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
    "ONNX of a huge shape": put(1, 8) + put(7, put(5, put(1, 2**40) + put(2, 1) + put(8, "w") + put(9, b"1234"))),
    "ONNX with weights elsewhere": put(1, 8) + put(7, put(5, put(1, 1) + put(2, 1) + put(8, "w") + put(14, 1))),
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
    with pytest.raises(UserError) as told:
        opened(path)
    assert len(str(told.value)) < 700
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes


def tensor_of(offset, sizes, strides, stored=6):
    """A PyTorch file of one tensor described as asked."""
    from nca.interop import torch_writer as writer

    body = writer._tensor(np.zeros(stored, np.float32), [])
    plain = writer._value(0, []) + writer._value((stored,), []) + writer._value((1,), [])
    asked = writer._value(offset, []) + writer._value(sizes, []) + writer._value(strides, [])
    return zipped(m__data_pkl=b"\x80\x02" + body.replace(plain, asked) + b".", m__data__0=bytes(4 * stored))


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
        containers.read(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = written(tmp_path, "npz")
    monkeypatch.setattr(limits.bytes_of, "__defaults__", (100,))
    with pytest.raises(UserError, match="bytes"):
        containers.read(path)


def test_what_is_missing_is_named(tmp_path):
    path = tmp_path / "half.npz"
    path.write_bytes(authors.npz({"w1": LAYERS[0][0], "b1": LAYERS[0][1]}))
    with pytest.raises(UserError, match=r"units -> channels.*w1 15x6"):
        opened(path)
    with pytest.raises(UserError, match="no file"):
        opened(tmp_path / "none.pth")
    with pytest.raises(UserError, match="folder"):
        opened(tmp_path)
    index = tensor_bundle(tmp_path)
    (tmp_path / "model.data-00000-of-00001").unlink()
    with pytest.raises(UserError, match=r"model\.data-00000-of-00001"):
        opened(index)


def test_networks_that_are_no_rule_are_refused(tmp_path):
    path = tmp_path / "file.pth"
    norm = {"net.1.running_mean": np.zeros(6, np.float32)}
    path.write_bytes(authors.torch_zip({**authors.state_dict(LAYERS), **norm}))
    with pytest.raises(UserError, match="running_mean"):
        opened(path)
    endless = [(w * np.float32(np.inf), b) for w, b in LAYERS]
    path.write_bytes(authors.torch_zip(authors.state_dict(endless)))
    with pytest.raises(UserError, match="not finite"):
        opened(path)


def test_an_optimizers_state_is_left_aside(tmp_path):
    path = tmp_path / "file.pth"
    model = authors.state_dict(LAYERS)
    state = {"exp_avg": LAYERS[0][0].T, "exp_avg_sq": LAYERS[0][0].T}
    path.write_bytes(authors.torch_zip({"optimizer": {"state": state}, "model": model}))
    same(opened(path).layers)


def test_an_organism_of_ours_needs_no_import(tmp_path):
    import nca
    from nca.io import save

    path = save(nca.load("lizard"), tmp_path / "lizard.safetensors")
    with pytest.raises(UserError, match="needs no import"):
        opened(path)


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def survives(tmp_path, raw, suffix):
    """Any other exception than `UserError` fails the test."""
    path = tmp_path / f"fuzzed.{suffix}"
    path.write_bytes(raw)
    with contextlib.suppress(UserError):
        contents = containers.read(path)
        assert isinstance(contents, Contents)
        found(contents)


@pytest.mark.parametrize("kind", authors.WRITERS)
@given(data=st.data())
@QUICK
def test_a_damaged_file_is_read_or_refused(tmp_path, kind, data):
    suffix, writer = authors.WRITERS[kind]
    raw = bytearray(writer(LAYERS))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))]
    survives(tmp_path, bytes(raw), suffix)


@given(data=st.data())
@QUICK
def test_a_damaged_checkpoint_is_read_or_refused(tmp_path, data):
    path = tensor_bundle(tmp_path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    # Beside its data, under its own name.
    path.write_bytes(bytes(raw))
    with contextlib.suppress(UserError):
        found(containers.read(path))


@pytest.mark.parametrize("head", [b"", b"\x80\x02", b"PK\3\4", b"\x85", b"\x08\x08", b"[", b"\x89HDF\r\n\x1a\n"])
@given(tail=st.binary(max_size=300))
@QUICK
def test_noise_is_refused(tmp_path, head, tail):
    survives(tmp_path, head + tail, "bin")


@given(program=st.binary(max_size=200))
@settings(QUICK, max_examples=300)
def test_any_pickle_program_is_read_or_refused(tmp_path, program):
    survives(tmp_path, zipped(m__data_pkl=b"\x80\x04" + program + b"."), "pth")


def test_base64_with_spaces_is_refused_not_guessed(tmp_path):
    text = base64.b64encode(bytes(6)).decode()
    path = tmp_path / "a.json"
    path.write_bytes(web(data_b64=text[:4] + "\n " + text[4:]))
    with pytest.raises(UserError, match="base64"):
        containers.read(path)

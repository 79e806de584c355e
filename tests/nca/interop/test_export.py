"""Organisms written for other programs come back as they were, and other programs compute the same."""

import json

import numpy as np
import pytest
from helpers import authors, makers
from helpers.published import FILES

import nca
from nca.errors import UserError
from nca.interop.export import SUFFIXES, export_organism
from nca.interop.importing import build_organism, open_weights
from nca.organism import Organism
from nca.rollout import replay

EXACT = ("npz", "torch", "onnx")
IMPORTED = ("chen-gecko/remaster_1.pth", "jaxnca-gecko-flax/gecko_100_cell_fire_rate.msgpack",
            "distill-gecko-persistent/ex2_gecko.json", "matthewdso-goose/goose.pt")  # fmt: skip


def export_and_import(organism, to, tmp_path):
    path = export_organism(organism, to, tmp_path / f"written{SUFFIXES[to]}")[0]
    return build_organism(open_weights(path))


def assert_same(back, organism, tolerance=0.0):
    assert (back.rule.spec, back.canvas) == (organism.rule.spec, organism.canvas)
    mine, theirs = back.arrays(), organism.arrays()
    assert mine.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_allclose(mine[name], theirs[name], atol=tolerance, rtol=0, err_msg=name)


@pytest.mark.parametrize("to", EXACT)
def test_the_lizard_comes_back_to_the_bit(tmp_path, to):
    assert_same(export_and_import(nca.load("lizard"), to, tmp_path), nca.load("lizard"))


@pytest.mark.parametrize("to", EXACT)
@pytest.mark.parametrize("name", IMPORTED)
def test_an_imported_organism_comes_back_to_the_bit(tmp_path, published, name, to):
    organism = build_organism(open_weights(published / name, preset=FILES[name]))
    assert_same(export_and_import(organism, to, tmp_path), organism)


def test_a_target_travels_in_an_npz(tmp_path):
    organism = nca.load("lizard")
    np.testing.assert_array_equal(export_and_import(organism, "npz", tmp_path).target, organism.target)


def test_web_json_comes_back_within_half_a_grey_and_its_conventions_from_the_sidecar(tmp_path):
    organism = nca.load("lizard")
    back = export_and_import(organism, "web-json", tmp_path)
    assert json.loads((tmp_path / "written.json.conventions.json").read_text())["seed"] == "hidden"
    assert (back.rule.spec, back.canvas) == (organism.rule.spec, organism.canvas)
    for name, array in organism.arrays().items():
        half = np.abs(array).max() / 255 * 1.001
        np.testing.assert_allclose(back.arrays()[name], array, atol=half, rtol=0, err_msg=name)


def test_bytes_written_again_are_the_same_bytes(tmp_path, published):
    path = published / "distill-gecko-persistent" / "ex2_gecko.json"
    organism = build_organism(open_weights(path, preset="distill-web"))
    assert_same(export_and_import(organism, "web-json", tmp_path), organism, 1e-7)


def test_a_bias_that_is_none_stays_none_in_bytes(tmp_path, published):
    organism = build_organism(open_weights(published / "chen-gecko" / "remaster_1.pth", preset="chen2020"))
    back = export_and_import(organism, "web-json", tmp_path)
    assert not np.asarray(back.rule.biases[1][...]).any()


UNUSUAL = {
    "circular, gated": {
        "boundary": "circular", "alive_boundary": "circular", "alive": "gate", "inclusive": True,
    },
    "after alone, tanh": {"alive": "after", "squash": "tanh", "activation_slope": 0.2},
    "masked, clipped": {"reads": "masked", "clip": (-0.5, 0.7), "clip_channels": (1, 5), "threshold": 0.2},
    "laplacian": {"perception": "sobel-laplacian", "fire_rate": 0.3},
    "own kernels": {"perception": "learned"},
    "shared kernels": {"perception": "learned", "kernel_channels": 1},
    "nine shared kernels, straight colour": {
        "perception": "learned", "kernel_channels": 1, "filters": 9, "premultiplied": False,
    },
    "two hidden layers, never dead": {"hidden": (5, 6), "alive": "none"},
    **{name: {"activation": name, "alive": "before"} for name in ("tanh", "sigmoid", "elu", "swish")},
    "gelu": {"activation": "gelu"},
    "gelu by tanh": {"activation": "gelu-tanh"},
    "alpha last": {"alpha": 7, "colours": (0, 1, 2)},
}  # fmt: skip


@pytest.mark.parametrize("to", EXACT)
@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_rules_come_back(tmp_path, kind, to):
    seed = np.random.default_rng(1).normal(size=(3, 3, 8)).astype(np.float32)
    organism = Organism(makers.random_rule(3, **UNUSUAL[kind]), seed=seed, canvas=(12, 10))
    assert_same(export_and_import(organism, to, tmp_path), organism, 1e-7)


def test_an_isotropic_rule_comes_back_from_npz_and_is_refused_elsewhere(tmp_path):
    organism = Organism(makers.random_rule(3, perception="isotropic"), canvas=(12, 10))
    assert_same(export_and_import(organism, "npz", tmp_path), organism)
    for to in ("torch", "onnx", "web-json"):
        with pytest.raises(UserError, match="isotropic"):
            export_organism(organism, to, tmp_path / "none")


def test_a_turned_compass_is_turned_in_the_kernels(tmp_path):
    rule = makers.random_rule(3).rotate(0.7)
    organism = Organism(rule, canvas=(12, 10))
    state, fire = makers.blobs(0, (12, 10), 8), makers.masks(0, 1, (12, 10))[0]
    expected = replay(organism, state, 0, fire=fire)["next"]
    for to in ("torch", "onnx", "npz"):
        back = export_and_import(organism, to, tmp_path)
        np.testing.assert_allclose(replay(back, state, 0, fire=fire)["next"], expected, atol=1e-5)


@pytest.mark.parametrize("kind", UNUSUAL)
def test_the_onnx_model_computes_the_step(tmp_path, kind):
    """Run by the reference implementation of ONNX, where that is installed."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    organism = Organism(makers.random_rule(3, **UNUSUAL[kind]), canvas=(12, 10))
    path = export_organism(organism, "onnx", tmp_path / "rule.onnx")[0]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    alpha = organism.rule.spec.alpha
    state, fire = makers.blobs(0, (12, 10), 8, alpha=alpha), makers.masks(0, 1, (12, 10))[0]
    feeds = {"state": state[None], "fire": fire[None].astype(np.float32)}
    after = ReferenceEvaluator(str(path)).run(["next"], feeds)[0][0]
    np.testing.assert_allclose(after, replay(organism, state, 0, fire=fire)["next"], atol=1e-5)


@pytest.mark.slow
def test_pytorch_loads_the_file_as_weights_alone_and_computes_the_update(tmp_path):
    torch = pytest.importorskip("torch")
    organism = Organism(makers.random_rule(3), canvas=(12, 10))
    model = torch.load(export_organism(organism, "torch", tmp_path / "rule.pt")[0], weights_only=True)["model"]
    perception = torch.nn.Conv2d(8, 24, 3, groups=8, bias=False, padding=1)
    update = torch.nn.Sequential(torch.nn.Conv2d(24, 12, 1), torch.nn.ReLU(), torch.nn.Conv2d(12, 8, 1))
    torch.nn.ModuleDict({"perception": perception, "update": update}).load_state_dict(model)
    state = makers.blobs(0, (12, 10), 8)
    with torch.no_grad():
        delta = update(perception(torch.tensor(state.transpose(2, 0, 1)[None])))[0].numpy().transpose(1, 2, 0)
    expected = replay(organism, state, 0, fire=np.ones((12, 10), bool))["delta"]
    np.testing.assert_allclose(delta, expected, atol=1e-5)


def test_the_pytorch_file_holds_no_name_but_those_of_plain_tensors(tmp_path):
    import pickletools
    import zipfile

    path = export_organism(nca.load("lizard"), "torch", tmp_path / "lizard.pt")[0]
    with zipfile.ZipFile(path) as archive:
        code = list(pickletools.genops(archive.read("organism/data.pkl")))
    names = {value for op, value, _ in code if op.name in ("GLOBAL", "STACK_GLOBAL", "INST")}
    assert names == {"torch._utils _rebuild_tensor_v2", "torch FloatStorage", "collections OrderedDict"}


def test_web_json_refuses_what_it_has_no_room_for(tmp_path):
    deep = Organism(makers.random_rule(3, hidden=(5, 6)), canvas=(12, 10))
    with pytest.raises(UserError, match="3 layers"):
        export_organism(deep, "web-json", tmp_path / "a.json")
    patch = Organism(makers.random_rule(3), seed=np.full((2, 2, 8), 0.5), canvas=(12, 10))
    with pytest.raises(UserError, match="seed"):
        export_organism(patch, "web-json", tmp_path / "a.json")
    with pytest.raises(UserError, match="npz, torch"):
        export_organism(patch, "gltf", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_layers_written_by_hand_and_by_export_are_read_alike(tmp_path):
    layers = authors.network(0, 18, 6)
    path = tmp_path / "plain.npz"
    path.write_bytes(authors.npz(authors.by_name(layers)))
    organism = build_organism(open_weights(path))
    assert_same(export_and_import(organism, "npz", tmp_path), organism)

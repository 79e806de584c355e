"""`nca import` and `nca export`, as typed."""

from dataclasses import fields

import numpy as np
import pytest
from helpers import authors
from PIL import Image

import nca
from analysis.cli.import_ import Import
from analysis.cli.main import main
from nca.interop import probe
from nca.interop.build import opened
from nca.interop.conventions import names
from nca.interop.export import arrays_of
from nca.io import save


@pytest.fixture
def weights(tmp_path):
    """The lizard's layers, features by channel, in an npz that says nothing else."""
    layers, biases = arrays_of(nca.load("lizard").rule)
    by_channel = layers[0].reshape(3, 16, -1).swapaxes(0, 1).reshape(layers[0].shape)
    path = tmp_path / "weights.npz"
    path.write_bytes(authors.npz(authors.named([(by_channel, biases[0]), (layers[1], biases[1])])))
    return path


def test_every_convention_is_an_option():
    assert set(names()) <= {f.name for f in fields(Import)}


def test_the_order_of_the_features_is_found_by_growing(weights, tmp_path, capsys):
    out = tmp_path / "lizard.safetensors"
    words = ["--canvas", "56", "56", "--seed", "hidden"]
    assert main(["import", str(weights), "--out", str(out), *words]) == 0
    told = capsys.readouterr().out
    found = nca.load(out)
    np.testing.assert_array_equal(found.rule.weights[0][...], nca.load("lizard").rule.weights[0][...])
    assert found.provenance["imported"]["said"]["trial"] == ["order", "sobel_divisor"]
    first, *rest = (line for line in told.splitlines() if line.startswith("order "))
    assert first.startswith("order channel-major, sobel_divisor 8 ")
    assert "grows" in first
    assert len(rest) == 3
    assert all("explodes" in line or "dies" in line for line in rest)
    assert "growth cannot tell" in told
    assert "swap_xy = False" in told
    with Image.open(tmp_path / "lizard.trials.png") as sheet:
        assert min(sheet.size) > 200


def test_what_is_said_is_not_tried(weights):
    file = opened(weights, order="channel-major", sobel_divisor=8.0, seed="hidden")
    assert list(probe.candidates(file, probe.FIRST)) == [{}]


def test_without_trials_the_usual_values_are_taken_and_told(weights, tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    assert main(["import", str(weights), "--out", str(out), "--untried", "--name", "mine"]) == 0
    assert nca.load(out).name == "mine"
    assert nca.load(out).provenance["imported"]["assumed"][:2] == ["order", "filters"]
    assert "outcome" not in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_a_reference_that_differs_stops_the_import(published, tmp_path, capsys):
    folder = published / "gorold-gecko"
    words = ["import", str(folder / "nca_0.pth"), "--untried", "--check", str(folder / "reference.npz")]
    out = tmp_path / "gorold.safetensors"
    assert main([*words, "--like", "gorold", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert told.count("agrees") == 10
    assert "free run  step  200" in told
    assert nca.load(out).canvas == (56, 56)
    out.unlink()
    assert main([*words, "--like", "distill-tf", "--out", str(out)]) == 2
    streams = capsys.readouterr()
    assert "differs" in streams.out
    assert "nothing was written" in streams.err
    assert not out.exists()


def test_the_presets_are_listed(capsys):
    assert main(["import", "--list"]) == 0
    told = capsys.readouterr().out
    assert "chen2020" in told
    assert "distill-web" in told
    assert "summed = True" in told


def test_a_picture_may_come_along_as_target(weights, published, tmp_path):
    out = tmp_path / "a.safetensors"
    picture = published / "distill-gecko-persistent" / "target.png"
    assert main(["import", str(weights), "--out", str(out), "--untried", "--target", str(picture)]) == 0
    assert nca.load(out).target.shape == (40, 40, 4)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["import"], "needs a file"),
        (["import", "none.pth"], "There is no file"),
        (["import", "FILE", "--out", "a.npz"], ".safetensors"),
        (["import", "FILE", "--sheet", "a.gif"], ".png"),
        (["import", "FILE", "--like", "nobody"], "chen2020"),
        (["import", "FILE", "--order", "up"], "kernel-major"),
        (["import", "FILE", "--filters", "dx", "up", "--untried"], "filters are among"),
        (["import", "FILE", "--sidecar", "none.json"], "none.json"),
        (["import", "FILE", "--sidecar", "FILE"], "JSON"),
        (["import", "FILE", "--check", "FILE"], "state_0"),
        (["import", "FILE", "--sizes", "w1:3x3"], "bytes"),
        (["export", "lizard"], "--to"),
        (["export", "lizard", "--to", "gltf"], "npz"),
        (["export", "lizard", "--to", "npz", "--out", "no/such/folder.npz"], "Cannot write"),
    ],
)
def test_mistakes_are_told_in_one_line(words, needed, weights, capsys):
    assert main([str(weights) if word == "FILE" else word for word in words]) == 2
    told = capsys.readouterr().err.strip()
    assert needed in told
    assert "\n" not in told


def test_the_lizard_goes_out_and_comes_back(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    organism = save(nca.load("lizard"), tmp_path / "mine.safetensors")
    for to, name in (
        ("npz", "mine.npz"),
        ("torch", "mine.pt"),
        ("onnx", "mine.onnx"),
        ("web-json", "mine.json"),
    ):
        assert main(["export", str(organism), "--to", to]) == 0
        assert name in capsys.readouterr().out
        assert main(["import", name, "--untried", "--out", "back.safetensors"]) == 0
        back = nca.load("back.safetensors")
        assert back.rule.spec == nca.load("lizard").rule.spec
        assert back.canvas == nca.load("lizard").canvas

"""`nca import` and `nca export`, as typed."""

from dataclasses import fields

import numpy as np
import pytest
from helpers import authors
from PIL import Image

import nca
from analysis.cli.import_ import RENAMED_OPTIONS, Import
from analysis.cli.main import main
from nca.interop.conventions import TYPES
from nca.interop.importing import open_weights
from nca.interop.probe import run_trials
from nca.io import save


@pytest.fixture
def weights(tmp_path):
    """The lizard's layers, features by channel, in an npz without conventions."""
    rule = nca.load("lizard").rule
    first, last = (np.asarray(w[...]) for w in rule.weights)
    by_channel = first.reshape(3, 16, -1).swapaxes(0, 1).reshape(first.shape)
    layers = zip([by_channel, last], [np.asarray(b[...]) for b in rule.biases], strict=True)
    path = tmp_path / "weights.npz"
    path.write_bytes(authors.npz(authors.by_name(layers)))
    return path


def test_every_convention_is_an_option(capsys):
    assert list(TYPES) == [f.name for f in fields(Import(list=True).conventions)]
    assert main(["import", "--help"]) == 0
    help_text = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in help_text for name in TYPES)
    assert "divisor of the Sobel kernels" in " ".join(help_text.split())


def test_the_order_of_the_features_is_inferred_by_growth(weights, tmp_path, capsys):
    out = tmp_path / "lizard.safetensors"
    options = ["--canvas", "56", "56", "--seed", "hidden"]
    assert main(["import", str(weights), "--out", str(out), *options]) == 0
    text = capsys.readouterr().out
    organism = nca.load(out)
    np.testing.assert_array_equal(organism.rule.weights[0][...], nca.load("lizard").rule.weights[0][...])
    assert organism.provenance["imported"]["sources"]["probe"] == ["order", "sobel_divisor"]
    first, *others = (line for line in text.splitlines() if line.startswith("order "))
    assert first.startswith("order channel-major, sobel_divisor 8 ")
    assert "grows" in first
    assert len(others) == 3
    assert all("explodes" in line or "dies" in line for line in others)
    assert "assumed, and not verified by growth:\n  swap_xy = False (x and y exchanged): if wrong, " in text
    with Image.open(tmp_path / "lizard.trials.png") as sheet:
        assert min(sheet.size) > 200


def test_stated_conventions_are_not_probed(weights):
    (trial,) = run_trials(open_weights(weights, preset="distill-tf"))
    assert trial.changes == {}
    assert trial.outcome == "grows"


def test_without_a_probe_the_defaults_are_taken_and_recorded(weights, tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    options = ["--no-probe", "--name", "mine", "--premultiplied", "False", "--swap-xy"]
    assert main(["import", str(weights), "--out", str(out), *options]) == 0
    assert not nca.load(out).rule.spec.premultiplied
    assert nca.load(out).provenance["imported"]["sources"]["option"] == ["premultiplied", "swap_xy"]
    assert nca.load(out).name == "mine"
    assert nca.load(out).provenance["imported"]["assumed"][:2] == ["order", "filters"]
    assert "outcome" not in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_a_reference_that_differs_stops_the_import(published, tmp_path, capsys):
    folder = published / "gorold-gecko"
    words = ["import", str(folder / "nca_0.pth"), "--no-probe", "--check", str(folder / "reference.npz")]
    out = tmp_path / "gorold.safetensors"
    assert main([*words, "--preset", "gorold", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.count("agrees") == 10
    assert "free run  step  200" in text
    assert nca.load(out).canvas == (56, 56)
    out.unlink()
    assert main([*words, "--preset", "distill-tf", "--out", str(out)]) == 2
    streams = capsys.readouterr()
    assert "differs" in streams.out
    assert "nothing was written" in streams.err
    assert not out.exists()


def test_the_presets_are_listed(capsys):
    assert main(["import", "--list"]) == 0
    text = capsys.readouterr().out
    assert "chen2020" in text
    assert "distill-web" in text
    assert "summed = True" in text


def test_a_picture_can_be_given_as_target(weights, published, tmp_path):
    out = tmp_path / "a.safetensors"
    picture = published / "distill-gecko-persistent" / "target.png"
    assert main(["import", str(weights), "--out", str(out), "--no-probe", "--target", str(picture)]) == 0
    assert nca.load(out).target.shape == (40, 40, 4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["import"], "needs a file"),
        (["import", "none.pth"], "There is no file"),
        (["import", "FILE", "--out", "a.npz"], ".safetensors"),
        (["import", "FILE", "--sheet", "a.gif"], ".png"),
        (["import", "FILE", "--preset", "nobody"], "chen2020"),
        *((["import", "FILE", old, "0"], f"{old} is now {new}") for old, new in RENAMED_OPTIONS.items()),
        (["import", "FILE", "--filters", "dx", "up", "--no-probe"], "filters are among"),
        (["import", "FILE", "--sidecar", "none.json"], "none.json"),
        (["import", "FILE", "--sidecar", "FILE"], "JSON"),
        (["import", "FILE", "--check", "FILE"], "state_0"),
        (["import", "FILE", "--sizes", "w1:3x3"], "bytes"),
        (["export", "lizard", "--to", "npz", "--out", "no/such/folder.npz"], "Cannot write"),
    ],
)
def test_a_mistake_ends_in_one_sentence(words, expected, weights, capsys):
    assert main([str(weights) if word == "FILE" else word for word in words]) == 2
    message = capsys.readouterr().err.strip()
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["import", "FILE", "--order", "up"], "kernel-major"),
        (["export", "lizard"], "--to"),
        (["export", "lizard", "--to", "gltf"], "npz"),
    ],
)
def test_a_mistyped_option_is_explained(words, expected, weights, capsys):
    assert main([str(weights) if word == "FILE" else word for word in words]) == 2
    assert expected in capsys.readouterr().err


def test_the_lizard_can_be_exported_and_imported(tmp_path, capsys, monkeypatch):
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
        assert main(["import", name, "--no-probe", "--out", "back.safetensors"]) == 0
        back = nca.load("back.safetensors")
        assert back.rule.spec == nca.load("lizard").rule.spec
        assert back.canvas == nca.load("lizard").canvas

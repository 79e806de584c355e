"""`nca import` and `nca export`, as typed."""

import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from helpers import authors, oracle
from helpers.makers import random_rule
from jax import numpy as jnp
from PIL import Image

import nca
from analysis.cli.import_ import RENAMED_OPTIONS, Import
from analysis.cli.main import main
from nca.errors import UserError
from nca.interop import probe
from nca.interop.conventions import TYPES, SourcedConventions
from nca.interop.importing import open_weights
from nca.interop.probe import Trial, run_trials
from nca.interop.reference import compare, read_reference
from nca.io import save
from nca.organism import Organism


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
    assert "4 trials, 1 of which grow; best: order channel-major, sobel_divisor 8: grows\n" in text
    assert not any(line.startswith("order ") for line in text.splitlines())  # the trials themselves: with --verbose
    table = text[text.index("assumed, and not verified") :].splitlines()
    assert table[1].split("  ")[0] == "swap_xy (x and y exchanged)"
    assert not any(line.startswith("canvas") for line in table)  # it was given
    with Image.open(tmp_path / "lizard.trials.png") as sheet:
        assert min(sheet.size) > 200


def test_verbose_prints_every_trial_and_the_canvas_that_nobody_states_is_told(weights, capsys):
    assert main(["import", str(weights), "--seed", "hidden", "--order", "channel-major", "--verbose"]) == 0
    streams = capsys.readouterr()
    assert len([line for line in streams.out.splitlines() if line.startswith("sobel_divisor ")]) == 2
    assert "tried sobel_divisor 1: " in streams.err + streams.out
    row = next(line for line in streams.out.splitlines() if line.startswith("canvas (height and width in cells)"))
    assert " 72 72 " in row


@pytest.fixture
def vanishing(weights, tmp_path):
    """The same network with less alpha in every step, so that its body fades away."""
    path = tmp_path / "vanishing.npz"
    with np.load(weights) as arrays:
        path.write_bytes(authors.npz({**arrays, "b2": arrays["b2"] - 0.5 * (np.arange(16) == 3)}))
    return path


def test_a_search_in_which_nothing_grows_writes_nothing_unless_anyway(vanishing, tmp_path, capsys):
    out = tmp_path / "gone.safetensors"
    stated = {"seed": "hidden", "sobel_divisor": 8, "fire": "u<=r", "alpha": 3, "alive": "both", "summed": False}
    vanishing.with_name("vanishing.npz.conventions.json").write_text(json.dumps(stated))
    options = ["--out", str(out), "--canvas", "40", "40"]
    assert main(["import", str(vanishing), *options]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Nothing grew in 2 trials of order: the best dies. Not tried, because nothing states them: " in message
    assert "fire_rate" in message
    assert "--anyway" in message
    assert not list(tmp_path.glob("gone*"))
    assert main(["import", str(vanishing), *options, "--anyway"]) == 0
    assert nca.load(out).provenance["imported"]["conventions"]["order"] == "channel-major"  # the other one explodes


def test_what_explodes_comes_after_what_fades_and_what_does_not_last_after_what_does():
    def trial(outcome, score=np.inf):
        return Trial({}, SourcedConventions(), outcome, score, score, 0, 1.0, ())

    outcomes = ["explodes", "fills the canvas", "does not grow", "dies"]
    short, lasting = trial("grows until step 48", 0.01), trial("grows", 0.01)
    ranked = sorted([*map(trial, outcomes), short, lasting], key=probe._rank)
    assert [t.outcome for t in ranked] == ["grows", "grows until step 48", *outcomes[::-1]]


def test_a_body_grown_for_29_to_48_steps_is_recognised(monkeypatch, tmp_path):
    """A still disc for 48 steps, which explodes thereafter."""
    disc = np.zeros((20, 20, 4), np.float32)
    disc[6:14, 6:14] = (0.2, 0.4, 0.6, 1.0)

    def explodes_late(organism, steps, *, key, start, state):
        return jnp.asarray(disc) if start + steps <= 64 else jnp.full((20, 20, 4), 1e6)

    monkeypatch.setattr(probe, "grow", explodes_late)
    organism = Organism(random_rule(0, channels=4), canvas=(20, 20))
    result = probe._grow_trial(organism, SourcedConventions(), {})
    assert (result.outcome, result.cells, result.excess, result.drift) == ("grows until step 48", 64, 0.0, 0.0)
    assert "does not last" in probe.doubts([result])[0]


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


def reference(**arrays):
    """A reference of two states on 4x5 cells of 16 channels, with these arrays in place of its own."""
    states = {f"state_{step}": np.zeros((4, 5, 16), np.float32) for step in (0, 2)}
    return authors.npz({**states, "masks": np.ones((2, 4, 5)), **arrays})


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.full((2, 4, 5), 0.5), "other values than 0 and 1"),
        (np.ones((2, 4, 5, 16)) * (np.arange(16) > 3), "differ between channels"),
        (np.ones((2, 5, 4)), "must be (step, 4, 5)"),
        (np.ones((4, 5)), "must be (step, 4, 5)"),
        (np.ones((1, 4, 5)), "a state of step 2, but masks for 1 steps"),
    ],
)
def test_masks_of_a_reference_are_checked_for_shape_and_values(masks, words, tmp_path):
    path = tmp_path / "reference.npz"
    path.write_bytes(reference(masks=masks))
    with pytest.raises(UserError, match=re.escape(words)):
        read_reference(path)


def test_masks_that_are_alike_in_all_channels_are_those_of_the_cells(tmp_path):
    path = tmp_path / "reference.npz"
    path.write_bytes(reference(masks=np.ones((2, 4, 5, 16), bool)))
    assert read_reference(path).fires.shape == (2, 4, 5)


def test_a_test_before_the_update_alone_agrees_with_its_reference(tmp_path):
    """Another program, which erases by the test before the update: written out here."""
    organism = nca.load("lizard")
    net = oracle.net_of(organism.rule.with_spec(alive="before"))
    start = np.asarray(organism.initial_state((24, 24)))
    fires = np.random.default_rng(0).random((12, 24, 24)) < 0.5
    states = oracle.run(net, start, fires)
    path = tmp_path / "reference.npz"
    path.write_bytes(authors.npz({"masks": fires, **{f"state_{t}": states[t].astype(np.float32) for t in (0, 1, 12)}}))
    for alive_by, agrees in (("before", True), ("both", False)):
        ours = replace(organism, rule=organism.rule.with_spec(alive=alive_by))
        assert all(row.agrees for row in compare(ours, read_reference(path))) == agrees


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
        (["export", "lizard", "--to", "npz", "--out", "no/such/folder.npz"], "no folder no/such"),
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
        assert main(["import", name, "--no-probe", "--out", "back.safetensors", "--force"]) == 0
        back = nca.load("back.safetensors")
        assert back.rule.spec == nca.load("lizard").rule.spec
        assert back.canvas == nca.load("lizard").canvas

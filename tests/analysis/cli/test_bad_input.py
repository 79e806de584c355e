"""What a user gets wrong ends in one sentence and exit code 2, with nothing half-written."""

import errno
import json
import os
import pickle
import struct
import sys
from dataclasses import fields
from inspect import isclass
from pathlib import Path

import numpy as np
import pytest
from helpers.makers import random_rule
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save as to_bytes

import nca
from analysis.cli import main as cli
from analysis.cli.parse import _renamed_options
from nca import edits
from nca import io as files
from nca.errors import UserError


class Trap:
    """Unpickling this makes a file."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.fixture(scope="module")
def valid():
    """The bytes of a small organism's file."""
    return organism_bytes()


def organism_bytes():
    """The bytes of a small organism's file."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        organism = nca.Organism(random_rule(1, channels=6), canvas=(9, 9), target=np.zeros((4, 4, 4)), name="tiny")
        return nca.save(organism, Path(folder) / "tiny.safetensors").read_bytes()


VALID = organism_bytes()


def header_of(data):
    """The header of a safetensors file as a dict, and the bytes after it."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header, body):
    """A safetensors file of a header (dict or bytes) and what follows."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def with_description(**changes):
    """The valid file with its description changed."""
    header, body = header_of(VALID)
    description = json.loads(header["__metadata__"]["organism"]) | changes
    header["__metadata__"] = {"organism": json.dumps(description)}
    return with_header(header, body)


def tensor(name, **changes):
    """The valid file with what its header says of one tensor changed."""
    header, body = header_of(VALID)
    header[name] |= changes
    return with_header(header, body)


def respec(**changes):
    """The valid file with the rule's conventions changed."""
    header, _ = header_of(VALID)
    return with_description(spec=json.loads(header["__metadata__"]["organism"])["spec"] | changes)


def arrays(**named):
    """The valid file with arrays replaced or added."""
    header, body = header_of(VALID)
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__":
            a, b = about["data_offsets"]
            tensors[name] = np.frombuffer(body[a:b], np.float32).reshape(about["shape"])
    return to_bytes(tensors | named, metadata=header["__metadata__"])


def deep(depth=100_000):
    """A description of lists within lists."""
    header, body = header_of(VALID)
    header["__metadata__"] = {"organism": "[" * depth + "]" * depth}
    return with_header(header, body)


HOSTILE = {
    "empty": b"",
    "one byte": b"x",
    "a header longer than the file": struct.pack("<Q", 2**63) + b"{}",
    "a header of no JSON": with_header(b"{" * 40, b""),
    "a header of deep JSON": with_header(b"[" * 100_000, b""),
    "a description of deep JSON": deep(),
    "no description": to_bytes({"weights.0": np.zeros((2, 2), np.float32)}),
    "a description of no JSON": with_header({"__metadata__": {"organism": "{"}}, b""),
    "a description that is a list": with_header({"__metadata__": {"organism": "[]"}}, b""),
    "offsets beyond the file": tensor("weights.0", data_offsets=[0, 2**40]),
    "offsets that overlap": tensor("biases.0", data_offsets=[0, 48]),
    "offsets backwards": tensor("weights.0", data_offsets=[48, 0]),
    "a shape that does not fit": tensor("weights.0", shape=[2**31, 2**31]),
    "a shape that overflows": tensor("weights.0", shape=[2**63, 2]),
    "a negative shape": tensor("weights.0", shape=[-1, 4]),
    "another type": tensor("weights.0", dtype="F64"),
    "an unknown type": tensor("weights.0", dtype="X9"),
    "halves": arrays(angle=np.zeros((), np.float16)),
    "not a number": arrays(angle=np.full((), np.nan, np.float32)),
    "infinite weights": arrays(**{"biases.0": np.full(12, np.inf, np.float32)}),
    "no seed": arrays(seed=np.zeros((0, 0, 6), np.float32)),
    "a seed of other channels": arrays(seed=np.zeros((1, 1, 5), np.float32)),
    "a seed beyond the canvas": arrays(seed=np.zeros((10, 1, 6), np.float32)),
    "a target of three colours": arrays(target=np.zeros((4, 4, 3), np.float32)),
    "a target beyond the canvas": arrays(target=np.zeros((10, 10, 4), np.float32)),
    "an angle of many": arrays(angle=np.zeros(3, np.float32)),
    "kernels that do not belong": arrays(kernels=np.zeros((3, 6, 3, 3), np.float32)),
    "a third layer that does not fit": arrays(
        **{"weights.2": np.zeros((5, 6), np.float32), "biases.2": np.zeros(6, np.float32)}
    ),
    "a layer without its place": arrays(**{"weights.7": np.zeros((6, 6), np.float32)}),
    "weights of three axes": arrays(**{"weights.0": np.zeros((18, 12, 1), np.float32)}),
    "weights of no axis": arrays(**{"weights.0": np.zeros((), np.float32)}),
    "a newer format": with_description(format=99),
    "a format in words": with_description(format="one"),
    "a huge canvas": with_description(canvas=[10**9, 10**9]),
    "a canvas of nothing": with_description(canvas=[]),
    "a canvas in words": with_description(canvas="large"),
    "an infinite canvas": with_description(canvas=[float("inf"), 9]),
    "conventions of nothing": with_description(spec=None),
    "an unknown convention": respec(magic=1),
    "a perception that is a list": respec(perception=["sobel"]),
    "a perception that is an object": respec(perception={}),
    "channels in words": respec(channels="6"),
    "channels without end": respec(channels=10**9),
    "half a channel": respec(channels=6.0),
    "an alpha that is no number": respec(alpha=True),
    "half an alpha": respec(alpha=2.5),
    "a fire rate of nothing": respec(fire_rate=None),
    "a fire rate that is not a number": respec(fire_rate=float("nan")),
    "a threshold in words": respec(threshold="high"),
    "a slope in words": respec(activation_slope="steep"),
    "inclusive in words": respec(inclusive=[]),
    "a clip of one": respec(clip=[1]),
    "a clip in words": respec(clip=["a", "b"]),
    "provenance that is a number": with_description(provenance=3),
    "metrics that are a list of numbers": with_description(metrics=[1, 2]),
    "a pickle": pickle.dumps(Trap()),
    "a zip": b"PK\x03\x04" + bytes(200),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a valid organism and things to stumble over."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.safetensors").write_bytes(VALID)
    Path("cut.safetensors").write_bytes(VALID[:-7])
    Path("pickle.safetensors").write_bytes(pickle.dumps(Trap()))
    Path("folder").mkdir()
    Path("file").write_text("x")
    Image.new("RGBA", (1, 1), (255, 0, 0, 255)).save("pixel.png")
    Image.new("RGB", (20, 20), "red").save("opaque.png")
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    organism = nca.load("tiny.safetensors")
    good = edits.to_json(edits.freeze(organism, channels="h0"))
    lists = {
        "words": "words",
        "object": {},
        "numbers": [1],
        "empty object": [{}],
        "site": [good | {"site": "soul"}],
        "no site": [good | {"site": None}],
        "mode": [good | {"mode": "sing"}],
        "of": [good | {"of": 99}],
        "entries": [good | {"entries": [99]}],
        "steps": [good | {"steps": ["a", "b"]}],
        "value": [good | {"value": "much"}],
        "nan": [good | {"value": float("nan")}],
        "region": [good | {"region": {"shape": [3, 3], "bits": "AAA="}}],
        "region shape": [good | {"region": {"shape": [2, 4], "bits": "/w=="}}],
        "region bits": [good | {"region": {"shape": [9, 9], "bits": "%"}}],
    }
    for name, listed in lists.items():
        Path(f"{name}.json").write_text(json.dumps(listed))
    Path("torn.json").write_text("[")
    Path("deep.json").write_text("[" * 100_000)
    return organism


def message_of(capsys, *words):
    """What a command that fails writes: one message, with code 2 and no file more than before."""
    before = sorted(str(p) for p in Path().rglob("*"))
    assert cli.main([str(w) for w in words]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Traceback" not in streams.err
    assert sorted(str(p) for p in Path().rglob("*")) == before
    *progress, last = streams.err.splitlines()
    assert last.startswith("nca: ")
    assert not any(line.startswith("nca: ") or "helptext" in line for line in progress)
    assert len(last) < 600
    return last


GROW = ["grow", "tiny.safetensors", "--out", "f.gif", "--steps", "4"]
TRAIN = ["train", "flag", "--out", "run"]
BAD = [
    ([], "Expected one of"),
    (["gorw"], "Available subcommands: train, grow"),
    (["grow"], "Missing from nca grow: ORGANISM"),
    (["grow", "tiny.safetensors"], "Missing from nca grow: --out"),
    (["grow", "tiny.safetensors", "extra", "--out", "f.gif"], "extra"),
    (["train", "--stepz", "3"], "Perhaps you meant: --steps"),
    (["info", "tinny"], "No organism 'tinny'"),
    (["info", ""], "No organism"),
    (["info", "folder"], "No organism 'folder'"),
    (["info", "file"], "not an organism"),
    (["info", "cut.safetensors"], "not an organism"),
    (["info", "pickle.safetensors"], "not an organism"),
    (["info", "x" * 400], "No organism"),
    (["info", "a\0b"], "No organism"),
    (["dissect", "file"], "not an organism"),
    (["dissect", "tiny.safetensors", "--runs", "0"], "runs must be at least 1"),
    (["dissect", "tiny.safetensors", "--out", "nowhere/there"], "no folder nowhere"),
    (["dissect", "tiny.safetensors", "--out", "file"], "file exists"),
    ([*GROW, "--steps", "0"], "steps must be from 1"),
    ([*GROW, "--steps", "-5"], "steps must be from 1"),
    ([*GROW, "--steps", "many"], "Error parsing --steps: invalid literal for int()"),
    ([*GROW, "--steps", "1.5"], "Error parsing --steps: invalid literal for int()"),
    ([*GROW, "--steps", "9" * 30], "steps must be from 1"),
    ([*GROW, "--seed", "-1"], "seed must be from 0"),
    ([*GROW, "--seed", "9" * 30], "seed must be from 0"),
    ([*GROW, "--run", "9" * 30], "run must be from 0"),
    ([*GROW, "--every", "0"], "every must be"),
    ([*GROW, "--every", "5"], "every must be"),
    ([*GROW, "--fps", "0"], "fps must be"),
    ([*GROW, "--fps", "nan"], "fps must be"),
    ([*GROW, "--scale", "0"], "scale must be"),
    ([*GROW, "--view", "soul"], "invalid choice 'soul' for argument '--view'"),
    ([*GROW, "--channels", "h9"], "no channel 'h9'"),
    ([*GROW, "--channels", "-1"], "-1"),
    ([*GROW, "--background", "whale"], "background is a colour"),
    ([*GROW, "--canvas", "2", "2"], "canvas needs 3 to"),
    ([*GROW, "--canvas", "9"], "--canvas"),
    ([*GROW, "--canvas", "9", "100000"], "canvas needs 3 to"),
    ([*GROW, "--canvas", "2048", "2048", "--steps", "100000"], "GiB of memory"),
    ([*GROW, "--wound", "bite"], "invalid choice 'bite' for argument '--wound'"),
    ([*GROW, "--wound", "left", "--wound-step", "5"], "wound_step must be"),
    ([*GROW, "--wound", "left", "--wound-step", "-1"], "wound_step must be"),
    ([*GROW, "--wound", "disc", "--wound-step", "1", "--radius", "0"], "radius"),
    ([*GROW, "--wound", "disc", "--wound-step", "1", "--radius", "nan"], "finite"),
    ([*GROW, "--wound", "disc", "--wound-step", "1", "--centre", "900", "900"], "takes no cell"),
    ([*GROW, "--wound", "disc", "--wound-step", "1", "--centre", "inf", "0"], "finite"),
    ([*GROW, "--wound", "box", "--wound-step", "1", "--size", "0", "4"], "at least 1"),
    ([*GROW, "--wound", "half", "--wound-step", "1", "--offset", "99"], "takes no cell"),
    ([*GROW, "--lesion", "h0"], "CHANNEL=FACTOR"),
    ([*GROW, "--lesion", "h0=much"], "CHANNEL=FACTOR"),
    ([*GROW, "--lesion", "h0=nan"], "finite"),
    ([*GROW, "--lesion", "=1"], "no channel"),
    ([*GROW, "--lesion", "h9=0.5"], "no channel 'h9'"),
    ([*GROW, "--lesion", "h0=0.5", "--lesion-steps", "3", "3"], "last after the first"),
    ([*GROW, "--lesion-steps", "1", "3"], "need a lesion"),
    ([*GROW, "--with-control"], "next to a wound"),
    ([*GROW, "--edits", "none.json"], "Cannot read none.json"),
    ([*GROW, "--edits", "folder"], "Cannot read folder"),
    ([*GROW, "--edits", "pixel.png"], "not JSON"),
    ([*GROW, "--edits", "torn.json"], "not JSON"),
    ([*GROW, "--edits", "deep.json"], "not JSON"),
    *[
        ([*GROW, "--edits", f"{name}.json"], "")
        for name in (
            *("words", "object", "numbers", "empty object", "site", "no site", "mode", "of", "entries"),
            *("steps", "value", "nan", "region", "region shape", "region bits"),
        )
    ],
    (["grow", "tiny.safetensors", "--out", "f.avi"], ".gif, .png, .webp, .mp4"),
    (["grow", "tiny.safetensors", "--out", "nowhere/f.gif"], "no folder nowhere"),
    (["grow", "tiny.safetensors", "--out", "file/f.gif"], "no folder file"),
    (["grow", "tiny.safetensors", "--out", "folder"], ".gif, .png, .webp, .mp4"),
    (["grow", "tiny.safetensors", "--out", ""], ".gif, .png, .webp, .mp4"),
    (["targets", "--out", "sheet.jpg"], ".png"),
    (["targets", "--out", "nowhere/sheet.png"], "no folder nowhere"),
    (["targets", "--out", "sheet.png", "--size", "3"], "from 4 to 512"),
    ([*TRAIN, "--steps", "0"], "steps must be at least 1"),
    ([*TRAIN, "--steps", "-1"], "steps must be at least 1"),
    ([*TRAIN, "--seed", "9" * 30], "seed must be at most"),
    ([*TRAIN, "--max-steps", "99999999999"], "max_steps must be at most"),
    (["dissect", "tiny.safetensors", "--seed", "9" * 30], "seed must be at most"),
    ([*TRAIN, "--regime", "growin"], "invalid choice 'growin'"),
    ([*TRAIN, "--eval-runs", "-1"], "eval_runs must not be negative"),
    ([*TRAIN, "--learning-rate", "nan"], "learning_rate must be"),
    ([*TRAIN, "--learning-rate", "inf"], "learning_rate must be"),
    ([*TRAIN, "--fire-rate", "2"], "fire rate"),
    ([*TRAIN, "--fire-rate", "nan"], "fire rate"),
    ([*TRAIN, "--channels", "1"], "channels"),
    ([*TRAIN, "--perception", "sobol"], "perception"),
    ([*TRAIN, "--boundary", "wall"], "boundary"),
    ([*TRAIN, "--steer", "4"], "teer"),
    ([*TRAIN, "--snapshots", "often"], "snapshots must be"),
    ([*TRAIN, "--wounds", "bite"], "wounds must be of"),
    ([*TRAIN, "--max-steps", "3"], "max_steps"),
    ([*TRAIN, "--size", "3"], "size"),
    ([*TRAIN, "--size", "512", "--margin", "9999"], "margin must be at most 512"),
    ([*TRAIN, "--init-from", "nobody"], "No organism 'nobody'"),
    ([*TRAIN, "--init-from", "pickle.safetensors"], "not an organism"),
    ([*TRAIN, "--init-from", "tiny.safetensors"], "asks for"),
    ([*TRAIN, "--resume"], "Cannot read run/config.json"),
    (["train", "--resume", "--out", "folder"], "Cannot read folder/config.json"),
    (["train", "lizzard", "--out", "run"], "did you mean lizard?"),
    (["train", "pixel.png", "--out", "run"], "pixel.png"),
    (["train", "opaque.png", "--out", "run"], "opaque.png"),
    (["train", "broken.png", "--out", "run"], "broken.png"),
    (["train", "none.png", "--out", "run"], "none.png"),
    (["train", "flag", "--out", "file"], "file"),
    (["train", "flag", "--out", "file/run"], "file/run"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=lambda v: " ".join(v)[-60:] if isinstance(v, list) else "")
def test_a_mistake_ends_in_one_sentence_and_leaves_nothing(here, capsys, words, says):
    assert says in message_of(capsys, *words)


def test_an_unwritable_folder_is_refused_before_growing(here, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "not writable" in message_of(capsys, *GROW)


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_leaves_no_film(here, capsys, monkeypatch, place):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, place, full)
    assert "No space left on device" in message_of(capsys, *GROW)


def test_a_film_cut_short_leaves_the_film_that_was_there(here, capsys, monkeypatch):
    Path("f.gif").write_bytes(b"before")
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    assert "f.gif exists already; --force overwrites it" in message_of(capsys, *GROW)
    assert "broken" in message_of(capsys, *GROW, "--force")
    assert Path("f.gif").read_bytes() == b"before"


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_file_is_no_organism(name, here):
    Path("hostile.safetensors").write_bytes(HOSTILE[name])
    with pytest.raises(UserError, match=r"hostile\.safetensors"):
        nca.load("hostile.safetensors")
    assert not Path("trapped").exists()


def test_a_huge_file_is_refused_unread(here):
    with open("huge.safetensors", "wb") as file:
        file.truncate(files.MAX_BYTES + 1)
    with pytest.raises(UserError, match="at most"):
        nca.load("huge.safetensors")


def loads_or_is_refused(path, data):
    """The file holds an organism that can be used, or is refused in a sentence."""
    path.write_bytes(data)
    try:
        organism = nca.load(path)
    except UserError:
        return
    assert organism.initial_state().shape[:2] == organism.canvas
    assert len(organism.hash) == 12


ALWAYS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ALWAYS
@given(data=st.binary(max_size=400))
@example(data=pickle.dumps(Trap()))
def test_random_bytes_are_refused(data, tmp_path):
    loads_or_is_refused(tmp_path / "x.safetensors", data)


@ALWAYS
@given(length=st.integers(0, len(VALID) - 1))
def test_a_file_cut_short_is_refused(length, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(VALID[:length])
    with pytest.raises(UserError):
        nca.load(tmp_path / "x.safetensors")


@ALWAYS
@given(flips=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_are_refused_or_harmless(flips, tmp_path):
    data = bytearray(VALID)
    for place, bit in flips:
        data[place] ^= 1 << bit
    loads_or_is_refused(tmp_path / "x.safetensors", bytes(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
DESCRIPTION = json.loads(header_of(VALID)[0]["__metadata__"]["organism"])


@ALWAYS
@given(field=st.sampled_from(sorted(DESCRIPTION)), value=JSON)
def test_a_description_of_anything_is_refused_or_harmless(field, value, tmp_path):
    loads_or_is_refused(tmp_path / "x.safetensors", with_description(**{field: value}))


@ALWAYS
@given(field=st.sampled_from(sorted(DESCRIPTION["spec"])), value=JSON)
def test_conventions_of_anything_are_refused_or_harmless(field, value, tmp_path):
    loads_or_is_refused(tmp_path / "x.safetensors", respec(**{field: value}))


@ALWAYS
@given(
    name=st.sampled_from(sorted(set(header_of(VALID)[0]) - {"__metadata__"})),
    field=st.sampled_from(["dtype", "shape", "data_offsets"]),
    value=JSON | st.lists(st.integers(-(2**64), 2**64), max_size=4) | st.sampled_from(["F16", "I32", "BOOL", "F64"]),
)
def test_a_header_that_lies_is_refused_or_harmless(name, field, value, tmp_path):
    loads_or_is_refused(tmp_path / "x.safetensors", tensor(name, **{field: value}))


# Options that were renamed

RENAMED = [
    (["grow", "tiny.safetensors", "--out", "f.gif", "--wound", "left", "--at", "3"], "--at", "--wound-step", "grow"),
    ([*GROW, "--beside"], "--beside", "--with-control", "grow"),
    ([*GROW, "--plain"], "--plain", "--no-caption", "grow"),
    (["dissect", "tiny.safetensors", "--again"], "--again", "--force", "dissect"),
    (["dissect", "tiny.safetensors", "--late=900"], "--late", "--follow-up-step", "dissect"),
    (["axes", "tiny.safetensors", "--deals", "3"], "--deals", "--cv-repeats", "axes"),
    (["axes", "tiny.safetensors", "--admit", "-2"], "--admit", "--max-log-mse", "axes"),
    (["pca", "tiny.safetensors", "--at", "96"], "--at", "--adult-step", "pca"),
    ([*TRAIN, "--rate", "0.1"], "--rate", "--learning-rate", "train"),
    ([*TRAIN, "--from", "tiny.safetensors"], "--from", "--init-from", "train"),
]


@pytest.mark.parametrize(("words", "old", "new", "command"), RENAMED, ids=lambda v: v if isinstance(v, str) else "")
def test_a_renamed_option_names_its_successor(here, capsys, words, old, new, command):
    assert message_of(capsys, *words) == f"nca: {old} is now {new}; see nca {command} --help."


def test_every_successor_of_a_renamed_option_is_an_option_of_a_command():
    kinds = list(cli.COMMANDS.values())
    records = [*kinds, *(f.default_factory for kind in kinds for f in fields(kind) if isclass(f.default_factory))]
    listed = [getattr(sys.modules[record.__module__], "RENAMED_OPTIONS", {}) for record in records]
    used = {option for kind in kinds for option in _renamed_options(kind).values()}
    assert {new for renamed in listed for new in renamed.values()} == used
    assert len(used) > 30

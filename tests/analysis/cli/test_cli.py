"""The command line, in-process: what each command tells, writes and returns."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.makers import random_rule
from PIL import Image

import nca
from analysis.animation.render import render
from analysis.cli import grow, info
from analysis.cli import main as cli
from analysis.cli import train as train_module
from analysis.cli.info import Targets
from analysis.cli.parse import parse_command
from nca import damage, edits
from nca.io import bundled_populations
from nca.rule import init_rule
from nca.spec import Spec
from nca.targets import target
from nca.training.config import TrainConfig, read_config

ROOT = Path(nca.__file__).parents[1]
RECIPE = {
    "size": 8,
    "margin": 3,
    "batch-size": 2,
    "pool-size": 4,
    "hidden-size": 8,
    "channels": 6,
    "min-steps": 4,
    "max-steps": 6,
}
OFTEN = {"log-every": 1, "save-every": 1, "plot-every": 0}
SHORT = [
    "--recipe",
    "published",
    "--dense",
    *(word for name, n in (RECIPE | OFTEN).items() for word in (f"--{name}", str(n))),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder but for a small organism that grows, `tiny.safetensors`."""
    monkeypatch.chdir(tmp_path)
    rule = random_rule(5, channels=6, strength=0.5)
    provenance = {
        "config": TrainConfig.published(regime="persistent", steps=70).to_json(),
        "steps": 70,
        "versions": {"jax": "0"},
        "started_from": {"name": "mother", "hash": "abc", "steps": 50, "started_from": None},
    }
    metrics = {"log10_mse": {"96": -2.5}, "recovered": {"left": {"median": 0.8, "runs": [0.7, 0.9]}}}
    organism = nca.Organism(rule, canvas=(14, 12), name="tiny", provenance=provenance, metrics=metrics)
    nca.save(organism, "tiny.safetensors")
    return organism


def nca_(*words):
    """The exit code of a command."""
    return cli.main([str(w) for w in words])


def frames_of(path):
    """All frames of a film."""
    with Image.open(path) as image:
        shown = []
        for t in range(getattr(image, "n_frames", 1)):
            image.seek(t)
            shown.append(np.asarray(image.convert("RGB")))
    return np.stack(shown)


def in_shell(*words, **how):
    """A command in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "analysis.cli", *words], cwd=ROOT, capture_output=True, text=True, **how
    )


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["grow", "--help"], ["train", "--help"]])
def test_help_loads_nothing_heavy(words):
    heavy = {"jax", "flax", "xarray", "numpy", "matplotlib", "sklearn", "scipy", "pandas", "PIL"}
    code = f"import sys; import analysis.cli.main as c; c.main({words!r}); print({heavy} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "set()"


def test_help_names_every_command(capsys):
    assert nca_("--help") == 0
    output = capsys.readouterr().out
    assert all(name in output for name in cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_option_of_a_command_is_explained(name, capsys):
    assert nca_(name, "--help") == 0
    output = capsys.readouterr().out
    assert "usage: nca " + name in output
    record = cli.COMMANDS[name]
    for kind in (record, *(f.default_factory for f in fields(record) if isinstance(f.default_factory, type))):
        documented = "".join(base.__doc__ or "" for base in kind.__mro__)
        for field in fields(kind):
            has_help = any(getattr(a, "help", None) for a in getattr(field.type, "__metadata__", ()))
            is_group = isinstance(field.default_factory, type)
            assert is_group or has_help or f" {field.name}: " in documented or field.name == "organism", field.name


def test_the_version_is_printed(capsys):
    assert nca_("--version") == 0
    assert capsys.readouterr().out.startswith("nca-dissection ")


def test_grow_films_the_states_of_the_run(here, capsys):
    assert nca_("grow", "tiny.safetensors", "--steps", 9, "--every", 2, "--seed", 4, "--run", 1, "--out", "f.png") == 0
    streams = capsys.readouterr()
    assert streams.out == "f.png\n"
    states = nca.trajectory(here, 9, key=nca.run_key(4, 1))
    assert (frames_of("f.png") == render(states, here.rule.spec, every=2)).all()
    assert sorted(os.listdir()) == ["f.png", "tiny.safetensors"]


def test_grow_in_pieces_gives_the_states_of_one_piece(here, monkeypatch):
    command = grow.Grow("tiny.safetensors", Path("f.gif"), steps=37, every=3)
    wound = edits.erase(here).where(damage.cut((14, 12), "left")).at(17)
    at_once = np.asarray(nca.trajectory(here, 37, key=nca.run_key(0), edits=[wound]))[::3]
    monkeypatch.setattr(grow, "CHUNK_BYTES", 14 * 12 * 6 * 4 * 8)
    pieces = grow._grow_states(command, here, (14, 12), [wound])
    assert pieces.shape == at_once.shape
    np.testing.assert_allclose(pieces, at_once, atol=1e-5)


def test_a_wound_shows_in_the_frame_of_its_step_next_to_the_control(here):
    words = ["grow", "tiny.safetensors", "--steps", 6, "--scale", 10, "--out", "f.png"]
    assert nca_(*words, "--wound", "disc", "--radius", 20, "--wound-step", 4, "--with-control") == 0
    shown = frames_of("f.png")
    control, wounded = shown[:, 32:172, :120], shown[:, 32:172, -120:]
    assert (control[3] == wounded[3]).all()
    assert not (control[4] == wounded[4]).all()
    assert (wounded[4] == 255).all()


@pytest.mark.parametrize(
    ("words", "mask"),
    [
        (["left"], damage.cut((14, 12), "left")),
        (["half", "--angle", 90, "--offset", 2], damage.half_plane((14, 12), 90, 2)),
        (["disc", "--centre", 3, 4, "--radius", 2.5], damage.disc((14, 12), (3, 4), 2.5)),
        (["box", "--centre", 6, 5, "--size", 4, 2], damage.box((14, 12), (4, 4), (4, 2))),
    ],
)
def test_the_options_of_a_wound_make_that_wound(here, words, mask):
    words = ["grow", "tiny.safetensors", "--out", "f.gif", "--wound", *map(str, words)]
    command = parse_command(words, cli.COMMANDS, "")
    assert (grow._wound_mask(command, (14, 12)) == mask).all()


def test_lesions_edits_and_channels_are_taken_together(here):
    freeze = edits.freeze(here, channels="h1").at(slice(2, 5))
    Path("edits.json").write_text(json.dumps([edits.to_json(freeze)]))
    words = ["grow", "tiny.safetensors", "--steps", "6", "--out", "f.webp", "--channels", "h0", "3"]
    assert nca_(*words, "--lesion", "h0=0.5", "--lesion-steps", 1, 4, "--edits", "edits.json") == 0
    expected_edits = [edits.scale(here, 0.5, channels="h0").at(slice(1, 4)), freeze]
    states = nca.trajectory(here, 6, key=nca.run_key(0), edits=expected_edits)
    expected = render(states, here.rule.spec, "channels", channels=["h0", "alpha"])
    assert (frames_of("f.webp") == expected).all()


def test_a_canvas_is_grown_on_and_cropped(here):
    assert (
        nca_(
            "grow",
            "tiny.safetensors",
            "--steps",
            2,
            "--canvas",
            30,
            40,
            "--scale",
            5,
            "--no-caption",
            "--out",
            "f.gif",
        )
        == 0
    )
    assert frames_of("f.gif").shape[1:] == (150, 200, 3)
    words = ["--steps", 2, "--crop", "--scale", 5, "--no-caption", "--out", "f.gif", "--force"]
    assert nca_("grow", "tiny.safetensors", *words) == 0
    assert max(frames_of("f.gif").shape[1:3]) <= 5 * 9


def test_info_prints_what_is_known_as_a_table_and_as_json(here, capsys):
    assert nca_("info", "tiny.safetensors") == 0
    output = capsys.readouterr().out
    for words in (
        "tiny",
        here.hash,
        "14 x 12",
        "persistent",
        "-2.50 at step 96",
        "0.80  (0.70 0.90)",
        "mother (abc",
    ):
        assert words in output
    assert nca_("info", "tiny.safetensors", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert entries["hash"] == here.hash
    assert entries["parameters"] == here.rule.parameters
    assert Spec.from_json(entries["spec"]) == here.rule.spec


def test_info_names_the_conventions_that_few_rules_have():
    rule = random_rule(
        1,
        channels=5,
        perception="steered",
        steer=4,
        squash="tanh",
        clip=(-2, 2),
        alive="none",
        premultiplied=False,
    )
    text = info._describe(nca.Organism(rule))
    for words in ("steered by", "h0 (4)", "tanh", "-2 to 2", "not tested", "not multiplied"):
        assert words in text


def test_a_name_cannot_write_to_the_terminal(here, capsys):
    nca.save(here.rename("\x1b[2Jgone\ud800"), "odd.safetensors")
    assert nca_("info", "odd.safetensors") == 0
    assert "?[2Jgone?" in capsys.readouterr().out


def test_an_organism_of_odd_provenance_is_described():
    odd = {"config": ["a"], "started_from": "nowhere", "versions": 3, "deep": {"er": {"still": None}}}
    organism = nca.Organism(random_rule(1), provenance=odd, metrics={"recovered": 3, "log10_mse": "x"})
    assert "deep.er.still" in info._describe(organism)
    assert info._summarise(organism)


def test_organisms_lists_every_bundled_one(capsys):
    assert nca_("organisms") == 0
    output = capsys.readouterr().out
    names = (*nca.bundled(), *bundled_populations())
    assert all(name in output for name in names)
    assert len(output.splitlines()) == len(names)


def test_targets_are_listed_and_drawn(here, capsys):
    assert nca_("targets", "--out", "sheet.png") == 0
    output = capsys.readouterr().out
    assert "lizard" in output
    assert len(output.splitlines()) == len(nca.targets.names())
    with Image.open("sheet.png") as sheet:
        assert min(sheet.size) > 100


def test_training_saves_an_organism_with_what_was_measured(here, capsys, monkeypatch):
    card = {"log10_mse": {"96": -1.0, "200": None}, "recovered": {"left": {"median": None, "runs": [None]}}}
    asked = {}

    def report_card(organism, runs, tick):
        asked.update(name=organism.name, runs=runs)
        return card

    monkeypatch.setattr("analysis.assays.regeneration.cuts.report_card", report_card)
    assert nca_("train", "flag", *SHORT, "--steps", 2, "--out", "run", "--eval-runs", 3) == 0
    streams = capsys.readouterr()
    assert streams.out.splitlines()[-2:] == [
        "run: log10 MSE -1.00 at step 96 (at -3.5 a picture is hard to tell from its target). It has no body left at "
        "step 700, so that recovery from cuts is not defined.",
        "run/organism.safetensors",
    ]
    assert "left" in streams.err
    assert "-1.00 at step 96" in streams.out
    saved = nca.load("run/organism.safetensors")
    assert asked == {"name": saved.name, "runs": 3}
    assert saved.name == "run"
    assert saved.metrics["recovered"] == card["recovered"]
    assert "training_log10_loss" in saved.metrics
    assert saved.provenance["config"]["target"] == "flag"


def test_the_recipe_sets_the_defaults_of_all_other_options():
    def parse(*words):
        command = parse_command(["train", "flag", *words], {"train": train_module.Train, "targets": Targets}, "")
        return command.steps, command.optimizer, command.regime, command.growing_share

    assert parse() == (2500, "muon", "regenerating", 0.12)
    assert parse("--recipe", "published") == (8000, "adam", "growing", 0)
    assert parse("--recipe=published", "--steps", "2500", "--regime", "persistent") == (2500, "adam", "persistent", 0)


def test_training_takes_the_steps_that_its_minutes_allow(here, capsys):
    words = ["train", "flag", *SHORT, "--eval-runs", 0, "--out", "run", "--steps", 7]
    assert nca_(*words, "--minutes", 0.001) == 0
    steps = read_config(Path("run")).steps
    assert 1 <= steps != 7
    assert f"{steps} training steps take about 0.001 minutes here" in capsys.readouterr().err
    assert nca.load("run/organism.safetensors").provenance["steps"] == steps
    assert nca_("train", "--resume", "--out", "run", "--minutes", 1) == 2
    assert "continue a run with --resume" in capsys.readouterr().err


def test_training_resumes_by_the_recipe_in_its_folder(here):
    assert nca_("train", "flag", *SHORT, "--steps", 1, "--eval-runs", 0, "--out", "run") == 0
    assert nca_("train", "--resume", "--out", "run", "--steps", 2, "--eval-runs", 0) == 0
    assert nca.load("run/organism.safetensors").provenance["steps"] == 2
    assert read_config(Path("run")).channels == 6


def test_growth_and_training_start_from_a_picture(here, capsys):
    words = ["--steps", 2, "--start", "flag", "--scale", 4, "--no-caption", "--out", "grown.png"]
    assert nca_("grow", "tiny.safetensors", *words) == 0
    flag = np.pad(target("flag", 12), ((1, 1), (0, 0), (0, 0)))  # the canvas is 14x12
    on_white = flag[..., :3] + 1 - flag[..., 3:]
    shown = frames_of("grown.png")[0][2 : 14 * 4 : 4, 2::4]
    np.testing.assert_allclose(shown / 255, on_white, atol=0.01)
    assert nca_("train", "flag", *SHORT, "--steps", 1, "--start", "lizard", "--eval-runs", 0) == 0
    organism = nca.load("runs/flag-growing-0/organism.safetensors")
    np.testing.assert_allclose(organism.seed[..., :4], target("lizard", 8))
    assert organism.provenance["config"]["start"] == "lizard"
    capsys.readouterr()
    assert nca_("train", "flag", *SHORT, "--max-steps", 3, "--min-steps", 2, "--out", "far") == 2
    assert "reaches 4 cells from the seed" in capsys.readouterr().err
    assert not Path("far/state.safetensors").exists()


def test_training_from_an_organism_records_its_lineage(here):
    spec = Spec(channels=6)
    nca.save(nca.Organism(init_rule(jax.random.key(0), spec, 8), name="mother"), "mother.safetensors")
    words = ["train", "flag", *SHORT, "--steps", 1, "--init-from", "mother.safetensors", "--eval-runs", 0]
    assert nca_(*words) == 0
    child = nca.load("runs/flag-growing-0/organism.safetensors")
    assert child.provenance["started_from"]["name"] == "mother"


def test_interrupted_training_says_how_to_go_on(here, capsys, monkeypatch):
    def interrupted(config, folder, **_):
        folder.mkdir()
        (folder / "state.safetensors").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("nca.training.loop.train", interrupted)
    assert nca_("train", "--out", "run") == 130
    assert capsys.readouterr().err == "nca: stopped; continue with: nca train --resume --out run\n"


def test_deterministic_training_asks_xla_for_it_before_jax_is_loaded(here, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    monkeypatch.setattr("nca.training.loop.train", lambda *_, **__: pytest.fail(os.environ["XLA_FLAGS"]))
    with pytest.raises(pytest.fail.Exception) as failed:
        nca_("train", "--deterministic")
    assert failed.value.msg == "--xla_dump_to=x --xla_gpu_deterministic_ops=true"
    text = Path(train_module.__file__).read_text()
    assert text.index("XLA_FLAGS") < text.index("from nca.training import devices")


def test_a_command_computes_the_same_whatever_jax_is_set_to(here, tmp_path):
    assert nca_("grow", "tiny.safetensors", "--steps", 4, "--out", "here.png") == 0
    switches = {
        "JAX_ENABLE_X64": "1",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_TRANSFER_GUARD": "disallow",
    }
    words = ("grow", str(tmp_path / "tiny.safetensors"), "--steps", "4", "--out", str(tmp_path / "there.png"))
    process = in_shell(*words, env=os.environ | switches)
    assert process.returncode == 0, process.stderr
    np.testing.assert_array_equal(frames_of("there.png"), frames_of("here.png"))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="has a GPU")
def test_a_device_that_is_not_there_is_named():
    process = in_shell("organisms", env=os.environ | {"JAX_PLATFORMS": "cuda"})
    assert process.returncode == 2
    assert process.stderr == (
        "nca: jax finds no device of JAX_PLATFORMS=cuda; leave the variable out, or set it to cpu.\n"
    )


def test_nobody_reading_is_no_failure():
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "analysis.cli", "--version"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert process.returncode == cli.PIPE
    assert process.stderr == b""


def test_output_that_cannot_be_written_ends_in_a_sentence():
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "analysis.cli", "--version"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert process.returncode == 2
    assert process.stderr == b"nca: No space left on device\n"


def test_a_bug_is_a_sentence_and_shows_its_traceback_where_asked(monkeypatch, capsys, tmp_path):
    def broken(_):
        return 1 / 0

    monkeypatch.setattr(Targets, "execute", broken)
    assert nca_("targets") == 1
    assert "this should not have happened (ZeroDivisionError division by zero)" in capsys.readouterr().err
    (tmp_path / "sheet.png").touch()
    assert nca_("targets", "--out", str(tmp_path / "sheet.png")) == 2
    assert f"nca: {tmp_path / 'sheet.png'} is damaged or cannot be used here" in capsys.readouterr().err
    monkeypatch.setenv("NCA_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        nca_("targets")


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (MemoryError(), 2, "nca: not enough memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), 2, "nca: not enough memory on the device"),
        (PermissionError(13, "Permission denied", "there"), 2, "nca: there: Permission denied"),
        (KeyboardInterrupt(), 130, "nca: stopped"),
    ],
)
def test_what_a_machine_refuses_ends_in_a_sentence(monkeypatch, capsys, failure, code, says):
    def refused(_):
        raise failure

    monkeypatch.setattr(Targets, "execute", refused)
    assert nca_("targets") == code
    output = capsys.readouterr().err
    assert output.startswith(says)
    assert output.count("\n") == 1


def test_a_terminal_without_our_letters_is_helped_all_the_same():
    plain = os.environ | {"PYTHONIOENCODING": "ascii"}
    process = in_shell("--help", env=plain)
    assert process.returncode == 0
    assert "dissect" in process.stdout
    mistake = in_shell("grow", env=plain)
    assert mistake.returncode == 2
    assert "ORGANISM" in mistake.stderr
    assert "Traceback" not in mistake.stderr


def test_a_signal_stops_training_between_checkpoints_and_it_resumes(tmp_path):
    words = ["train", "flag", *SHORT, "--steps", "1000000", "--out", "run", "--eval-runs", "0"]
    command = [sys.executable, "-m", "analysis.cli", *words]
    how = os.environ | {"PYTHONPATH": str(ROOT)}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # where ignored, children ignore it too
    try:
        process = subprocess.Popen(command, cwd=tmp_path, env=how, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        lines = [process.stderr.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        last = process.stderr.read().splitlines()[-1]
    assert "step 1/" in "".join(lines)
    assert process.returncode == 130
    assert last == "nca: stopped; continue with: nca train --resume --out run"
    config = TrainConfig.from_json(json.loads((tmp_path / "run" / "config.json").read_text()))
    assert config.steps == 1_000_000
    assert (tmp_path / "run" / "state.safetensors").is_file()
    assert not [p for p in (tmp_path / "run").iterdir() if p.name.startswith(".")]

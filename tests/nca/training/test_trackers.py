"""What TensorBoard and Weights & Biases get of a training."""

import json
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers.training import disc_picture, failing_step, mock_step, no_log, tiny

from nca.errors import UserError
from nca.training import loop
from nca.training.checkpoint import read_metrics
from nca.training.loop import train

CONFIG = tiny(target=disc_picture(), size=40, steps=20, plot_every=10)


def events(folder):
    """The values that event files hold, in the order in which they were written: (tag, step) and the value."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:  # length, its checksum, the record, its checksum
            (size,) = struct.unpack("<Q", data[:8])
            event = proto.Event.FromString(data[12 : 12 + size])
            found += [((value.tag, event.step), value) for value in event.summary.value]
            data = data[16 + size :]
    return found


def test_tensorboard_has_the_metrics_and_the_pictures_of_the_pool(monkeypatch, tmp_path):
    pytest.importorskip("tensorboardX")
    monkeypatch.setattr(loop, "compile_step", failing_step(calls=[12]))
    train(CONFIG, tmp_path, log=no_log, log_to="tensorboard")
    logged = events(tmp_path)
    scalars = [(place, value.simple_value) for place, value in logged if not value.HasField("image")]
    rows = [row for row in read_metrics(tmp_path) if "loss" in row]
    assert [place for place, _ in scalars if place[0] == "loss"] == [("loss", row["step"]) for row in rows]
    assert [value for place, value in scalars if place[0] == "loss"] == pytest.approx([row["loss"] for row in rows])
    assert ("rollbacks", 10) in dict(scalars)
    images = {place: value.image for place, value in logged if value.HasField("image")}
    assert set(images) == {("pool", 10), ("pool", 20)}
    assert images["pool", 20].width == 8 * 3 * CONFIG.canvas[1]
    monkeypatch.setattr(loop, "compile_step", mock_step)
    train(tiny(target=disc_picture(), size=40, steps=25, plot_every=10), tmp_path, resume=True, log=no_log)
    assert len(events(tmp_path)) == len(logged)  # only when it is asked for


def test_wandb_keeps_a_run_on_this_machine(monkeypatch, tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed here")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(loop, "compile_step", mock_step)
    train(CONFIG, tmp_path, log=no_log, log_to="wandb")
    assert [path.name for path in (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")]


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_is_named_before_the_work(monkeypatch, tmp_path, name, package):
    monkeypatch.setitem(sys.modules, package, None)  # its import fails
    with pytest.raises(UserError, match=rf"needs the package {package}: pip install 'nca-dissection\[{name}\]'"):
        train(CONFIG, tmp_path / "run", log=no_log, log_to=name)
    assert not (tmp_path / "run").exists()


def test_no_such_tracker(tmp_path):
    with pytest.raises(UserError, match="log_to must be none, tensorboard or wandb; got 'mlflow'"):
        train(CONFIG, tmp_path / "run", log=no_log, log_to="mlflow")


def test_a_package_is_imported_only_when_it_is_asked_for():
    code = "import sys, json, nca.training.loop; print(json.dumps(sorted(sys.modules)))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert not {"tensorboardX", "wandb"} & set(json.loads(modules))


def test_wandb_that_cannot_begin_is_told_in_one_sentence(monkeypatch, tmp_path):
    def init(**options):
        raise RuntimeError("no API key")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Settings=dict))
    monkeypatch.setattr(loop, "compile_step", mock_step)
    with pytest.raises(UserError, match=r"wandb cannot begin a run .*no API key.*; set WANDB_MODE=offline"):
        train(CONFIG, tmp_path, log=no_log, log_to="wandb")

"""Recordings: what was grown, labelled, kept and read back."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import bodies
from helpers.makers import creeping_rule, masks, organism

import analysis
import nca
from analysis.recording import label_states
from nca import edits


@pytest.fixture(scope="module")
def creeper():
    return organism(creeping_rule(3, perception="sobel-laplacian"), canvas=(20, 18), name="creeper")


@pytest.fixture(scope="module")
def recording(creeper):
    return analysis.record(creeper, 27, runs=2, seed=5)


def test_a_recording_is_the_trajectory_of_every_run(creeper, recording):
    for run in range(2):
        path = nca.trajectory(creeper, 27, key=nca.run_key(5, run))
        np.testing.assert_allclose(recording.state[run], path, atol=1e-5)


def test_runs_differ_and_a_seed_repeats(creeper, recording):
    assert not np.array_equal(recording.state[0], recording.state[1])
    assert analysis.record(creeper, 27, runs=1, seed=5).state[0].equals(recording.state[0])


def test_dimensions_and_channels_have_their_names(creeper, recording):
    assert recording.state.dims == ("run", "step", "y", "x", "channel")
    assert recording.state.sizes == {"run": 2, "step": 28, "y": 20, "x": 18, "channel": 8}
    assert recording.channel.values.tolist() == ["r", "g", "b", "alpha", "h0", "h1", "h2", "h3"]
    seed = recording.state.sel(run=0, step=0, y=0, x=0)
    np.testing.assert_array_equal(seed, creeper.seed[0, 0])


def test_cells_of_the_body_are_those_whose_own_alpha_passes(recording):
    np.testing.assert_array_equal(recording.mature, recording.state.sel(channel="alpha") > 0.1)


@pytest.mark.parametrize("every", [2, 7, 27])
def test_keeping_some_steps_keeps_those_of_the_whole(creeper, recording, every):
    some = analysis.record(creeper, 27, runs=2, seed=5, every=every)
    assert some.step.values.tolist() == list(range(0, 28, every))
    np.testing.assert_allclose(some.state, recording.state.sel(step=some.step), atol=1e-5)


def test_given_fire_masks_drive_the_runs(creeper):
    fire = np.stack([masks(run, 23, (20, 18)) for run in range(2)])
    found = analysis.record(creeper, 23, runs=2, fire=fire)
    for run in range(2):
        path = nca.trajectory(creeper, 23, fire=fire[run])
        np.testing.assert_allclose(found.state[run], path, atol=1e-5)


def test_edits_act_and_their_record_repeats_the_run(creeper):
    fade = edits.scale(creeper, 0.9, channels="h1").at(slice(5, None))
    changes = [fade, edits.erase(creeper, channels="r").at(9)]
    found = analysis.record(creeper, 23, edits=changes)
    path = nca.trajectory(creeper, 23, key=nca.run_key(0, 0), edits=changes)
    np.testing.assert_allclose(found.state[0], path, atol=1e-5)
    kept = [edits.from_json(e) for e in json.loads(found.attrs["edits"])]
    assert analysis.record(creeper, 23, edits=kept).identical(found)


def test_a_saved_recording_is_read_back_identical(recording, tmp_path):
    path = analysis.save_recording(recording, tmp_path / "runs.nc")
    again = analysis.load_recording(path)
    assert again.identical(recording)
    assert {k: type(v) for k, v in again.attrs.items()} == {k: type(v) for k, v in recording.attrs.items()}
    assert [p.name for p in tmp_path.iterdir()] == ["runs.nc"]


def test_the_attributes_say_what_was_grown_and_how(creeper, recording):
    assert recording.attrs["organism"] == "creeper"
    assert recording.attrs["hash"] == creeper.hash
    assert recording.attrs["canvas"] == [20, 18]
    assert recording.attrs["seed"] == 5
    assert "jax" in json.loads(recording.attrs["versions"])


def test_states_from_elsewhere_can_be_labelled(creeper):
    states = np.random.default_rng(0).normal(size=(1, 3, 20, 18, 8))
    found = label_states(creeper, states, steps=[10, 20, 30])
    assert found.state.sel(step=20).shape == (1, 20, 18, 8)
    assert (float(found.x[9]), float(found.y[10])) == (0.0, 0.0)


def test_a_recording_beyond_two_gigabytes_is_refused_with_its_size():
    large = bodies.static_organism(canvas=(72, 72))
    with pytest.raises(nca.UserError, match=r"would take 2\.5 GB"):
        analysis.record(large, 2000, runs=10)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 5, "runs": 0}, {"steps": 5, "every": 0}])
def test_numbers_below_one_are_refused(creeper, wrong):
    with pytest.raises(nca.UserError, match="at least 1"):
        analysis.record(creeper, **wrong)


def test_only_a_netcdf_file_is_written(recording, tmp_path):
    with pytest.raises(nca.UserError, match=r"\.nc file"):
        analysis.save_recording(recording, tmp_path / "runs.zip")


def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(nca.UserError, match="No recording"):
        analysis.load_recording(tmp_path / "absent.nc")
    (tmp_path / "text.nc").write_text("no recording")
    with pytest.raises(nca.UserError, match="does not hold a recording"):
        analysis.load_recording(tmp_path / "text.nc")


def test_importing_the_package_loads_nothing_heavy_and_every_name_is_there():
    code = "import sys, analysis.dissection.dissect; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "numpy", "xarray", "sklearn", "matplotlib", "pandas"} & set(told.stdout.split())
    for name in analysis.__all__:
        assert getattr(analysis, name) is not None
    assert callable(analysis.record)

"""Recordings: growing, labelling, saving and loading."""

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


def test_a_recording_holds_the_trajectory_of_every_run(creeper, recording):
    for run in range(2):
        path = nca.trajectory(creeper, 27, key=nca.run_key(5, run))
        np.testing.assert_allclose(recording.state[run], path, atol=1e-5)


def test_runs_differ_and_the_same_seed_repeats_them(creeper, recording):
    assert not np.array_equal(recording.state[0], recording.state[1])
    assert analysis.record(creeper, 27, runs=1, seed=5).state[0].equals(recording.state[0])


def test_dimensions_and_channels_are_named(creeper, recording):
    assert recording.state.dims == ("run", "step", "y", "x", "channel")
    assert recording.state.sizes == {"run": 2, "step": 28, "y": 20, "x": 18, "channel": 8}
    assert recording.channel.values.tolist() == ["r", "g", "b", "alpha", "h0", "h1", "h2", "h3"]
    seed = recording.state.sel(run=0, step=0, y=0, x=0)
    np.testing.assert_array_equal(seed, creeper.seed[0, 0])


def test_mature_cells_are_those_whose_own_alpha_passes_the_threshold(recording):
    np.testing.assert_array_equal(recording.mature, recording.state.sel(channel="alpha") > 0.1)


@pytest.mark.parametrize("every", [2, 7, 27])
def test_every_nth_step_equals_that_of_the_full_recording(creeper, recording, every):
    some = analysis.record(creeper, 27, runs=2, seed=5, every=every)
    assert some.step.values.tolist() == list(range(0, 28, every))
    np.testing.assert_allclose(some.state, recording.state.sel(step=some.step), atol=1e-5)


def test_given_fire_masks_drive_the_runs(creeper):
    fire = np.stack([masks(run, 23, (20, 18)) for run in range(2)])
    labelled = analysis.record(creeper, 23, runs=2, fire=fire)
    for run in range(2):
        path = nca.trajectory(creeper, 23, fire=fire[run])
        np.testing.assert_allclose(labelled.state[run], path, atol=1e-5)


def test_edits_act_and_their_json_repeats_the_run(creeper):
    fade = edits.scale(creeper, 0.9, channels="h1").at(slice(5, None))
    both = [fade, edits.erase(creeper, channels="r").at(9)]
    labelled = analysis.record(creeper, 23, edits=both)
    path = nca.trajectory(creeper, 23, key=nca.run_key(0, 0), edits=both)
    np.testing.assert_allclose(labelled.state[0], path, atol=1e-5)
    loaded = [edits.from_json(e) for e in json.loads(labelled.attrs["edits"])]
    assert analysis.record(creeper, 23, edits=loaded).identical(labelled)


def test_a_saved_recording_loads_identical(recording, tmp_path):
    path = analysis.save_recording(recording, tmp_path / "runs.nc")
    again = analysis.load_recording(path)
    assert again.identical(recording)
    assert {k: type(v) for k, v in again.attrs.items()} == {k: type(v) for k, v in recording.attrs.items()}
    assert [p.name for p in tmp_path.iterdir()] == ["runs.nc"]


def test_the_attributes_describe_the_run(creeper, recording):
    assert recording.attrs["organism"] == "creeper"
    assert recording.attrs["hash"] == creeper.hash
    assert recording.attrs["canvas"] == [20, 18]
    assert recording.attrs["seed"] == 5
    assert "jax" in json.loads(recording.attrs["versions"])


def test_given_states_can_be_labelled(creeper):
    states = np.random.default_rng(0).normal(size=(1, 3, 20, 18, 8))
    labelled = label_states(creeper, states, steps=[10, 20, 30])
    assert labelled.state.sel(step=20).shape == (1, 20, 18, 8)
    assert (float(labelled.x[9]), float(labelled.y[10])) == (0.0, 0.0)


def test_a_recording_above_two_gigabytes_is_refused():
    large = bodies.static_organism(canvas=(72, 72))
    with pytest.raises(nca.UserError, match=r"would take 2\.5 GB"):
        analysis.record(large, 2000, runs=10)


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 5, "runs": 0}, {"steps": 5, "every": 0}])
def test_numbers_below_one_are_refused(creeper, options):
    with pytest.raises(nca.UserError, match="at least 1"):
        analysis.record(creeper, **options)


def test_a_recording_is_saved_only_as_netcdf(recording, tmp_path):
    with pytest.raises(nca.UserError, match=r"\.nc file"):
        analysis.save_recording(recording, tmp_path / "runs.zip")


def test_another_file_is_refused(tmp_path):
    with pytest.raises(nca.UserError, match="No recording"):
        analysis.load_recording(tmp_path / "absent.nc")
    (tmp_path / "text.nc").write_text("no recording")
    with pytest.raises(nca.UserError, match="does not hold a recording"):
        analysis.load_recording(tmp_path / "text.nc")


def test_importing_the_package_loads_nothing_heavy_and_every_public_name_exists():
    code = "import sys, analysis, analysis.cli.main; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "numpy", "xarray", "sklearn", "matplotlib", "pandas"} & set(result.stdout.split())
    for name in analysis.__all__:
        assert getattr(analysis, name) is not None
    assert callable(analysis.record)


def test_a_site_of_recorded_runs_is_what_a_replay_gives():
    body = bodies.static_organism(bias=np.asarray([0.01, 0, 0, 0, 0, 0]))
    recording = analysis.record(body, 4, runs=2, seed=3)
    for site, first in (("pre", "u0"), ("perception", "identity r"), ("next", "r")):
        of_site = analysis.record_site(body, recording.sel(step=[1, 3]), site)
        assert of_site.channel.values[0] == first
        expected = nca.replay(body, recording.state.values[1, 3], 3, key=nca.run_key(3, 1))[site]
        values = of_site.state.sel(run=1, step=3).values
        np.testing.assert_array_equal(values, np.asarray(expected).reshape(values.shape))
    assert of_site.state.sel(run=1, step=1).equals(recording.state.sel(run=1, step=2).assign_coords(step=1))
    assert set(analysis.pca(analysis.record_site(body, recording, "post")).channel.values) >= {"u0"}
    assert all("h" in name for name in analysis.pca(analysis.record_site(body, recording, "perception")).channel.values)


@pytest.mark.parametrize(("site", "erased", "says"), [("state", 0, "site is one of"), ("post", 1, "without edits")])
def test_sites_of_edited_runs_and_unknown_sites_are_refused(site, erased, says):
    body = bodies.static_organism()
    recording = analysis.record(body, 2, edits=[edits.erase(body).at(1)] * erased)
    with pytest.raises(nca.UserError, match=says):
        analysis.record_site(body, recording, site)

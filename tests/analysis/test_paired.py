"""Paired runs: every edited run equals growing it alone, controls are exact, overgrown and exploded runs stop."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import bodies
from helpers.makers import creeping_rule, masks, organism

import nca
from analysis import metrics
from analysis.paired import EditedRun, measured_steps, run_controls, run_edited
from analysis.rollouts import grow_runs, run_keys
from nca import edits
from nca.perception import mature

CANVAS = (20, 18)


@pytest.fixture(scope="module")
def creeper():
    picture = np.random.default_rng(0).uniform(0, 1, (20, 18, 4)).astype(np.float32)
    return organism(creeping_rule(3, perception="sobel-laplacian"), canvas=CANVAS, target=picture)


@pytest.fixture(scope="module")
def controls(creeper):
    keys = run_keys(1, 3)
    return run_controls(creeper, grow_runs(creeper, 12, keys), keys, [12, 20, 45])


def edits_by_kind(creeper):
    """Edits of several kinds, at one step or many, alone and together."""
    region = bodies.disc(CANVAS, 4)
    return {
        "scale": (edits.scale(creeper, 0.9, channels="h1").at(slice(12, None)),),
        "wound": (edits.erase(creeper).where(region).at(12),),
        "update": (edits.freeze(creeper, channels=[0, 5]).at(slice(15, 30)),),
        "late": (edits.add(creeper, 0.2, channels="h0").where(region).at(33),),
        "clamp": (edits.clamp(creeper, 0.4, channels="h2").at(slice(12, 21)),),
        "noise": (edits.noise(creeper, 0.05, channels="h3").at(slice(12, None)),),
        "both": (
            edits.erase(creeper, channels="g").at(12),
            edits.scale(creeper, 0.8, channels="b").at(slice(14, 40)),
        ),
    }


@pytest.mark.parametrize("name", ["scale", "wound", "update", "late", "clamp", "noise", "both"])
def test_every_edited_run_equals_growing_it_alone(creeper, controls, name):
    edit = edits_by_kind(creeper)[name]
    edited = run_edited(creeper, controls, [EditedRun(run, edit) for run in (2, 0)])
    for row, run in enumerate((2, 0)):
        key = nca.run_key(1, run)
        state = nca.grow(creeper, 12, key=key)
        for n, step in enumerate(controls.steps[1:], 1):
            alone = nca.grow(creeper, int(step) - 12, key=key, state=state, start=12, edits=edit)
            mse = metrics.mse(creeper.rule.spec, alone, creeper.padded_target())
            assert edited["mse"][row, n] == pytest.approx(float(mse), rel=1e-4)
            assert edited["mature_cells"][row, n] == int(mature(creeper.rule, alone).sum())
        np.testing.assert_allclose(edited["final_states"][row], alone, atol=1e-4)


def test_the_first_step_shows_the_state_after_its_edits(creeper, controls):
    edit = edits_by_kind(creeper)["wound"]
    edited = run_edited(creeper, controls, [EditedRun(1, edit)])
    state = nca.grow(creeper, 12, key=nca.run_key(1, 1))
    wounded = edits.apply(edit, "state", state, 12, None)
    assert edited["mature_cells"][0, 0] == int(mature(creeper.rule, wounded).sum())
    assert edited["cells_changed"][0] == int((wounded != state).any(-1).sum())


def test_edits_of_several_kinds_may_be_mixed(creeper, controls):
    kinds = list(edits_by_kind(creeper).values())
    mixed = run_edited(creeper, controls, [EditedRun(i % 3, edit) for i, edit in enumerate(kinds)])
    for i, edit in enumerate(kinds):
        alone = run_edited(creeper, controls, [EditedRun(i % 3, edit)])
        np.testing.assert_allclose(mixed["mse"][i], alone["mse"][0], rtol=1e-5)


def test_runs_in_batches_as_on_an_accelerator_equal_runs_one_by_one(creeper, controls, monkeypatch):
    rows = [EditedRun(i % 3, edit) for i, edit in enumerate(list(edits_by_kind(creeper).values()) * 2)]
    one_by_one = run_edited(creeper, controls, rows)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    in_batches = run_edited(creeper, controls, rows)
    for name in ("mse", "mature_cells", "overgrown", "exploded", "cells_changed"):
        np.testing.assert_allclose(in_batches[name], one_by_one[name], rtol=1e-3, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(grow_runs(creeper, 23, run_keys(1, 3)), grown_alone(creeper, 23, 1), atol=1e-4)


def grown_alone(creeper, steps, seed):
    return np.stack([nca.grow(creeper, steps, key=nca.run_key(seed, run)) for run in range(3)])


def test_a_run_without_edits_equals_its_control_to_the_bit(creeper, controls):
    edited = run_edited(creeper, controls, [EditedRun(run) for run in range(3)])
    np.testing.assert_array_equal(edited["final_states"], controls.final_states)
    np.testing.assert_allclose(edited["mse"], controls.mse, rtol=1e-6)
    np.testing.assert_array_equal(edited["mature_cells"], controls.mature_cells)


def test_given_fire_masks_drive_controls_and_edited_runs(creeper):
    fire = np.stack([masks(run, 30, CANVAS) for run in range(2)])
    keys = run_keys(0, 2)
    states = grow_runs(creeper, 10, keys, fire=fire[:, :10])
    controls = run_controls(creeper, states, keys, [10, 30], fire=fire[:, 10:])
    edited = run_edited(creeper, controls, [EditedRun(1, edits_by_kind(creeper)["wound"])])
    np.testing.assert_allclose(controls.final_states[1], nca.grow(creeper, 30, fire=fire[1]), atol=1e-4)
    alone = nca.grow(creeper, 20, fire=fire[1, 10:], state=states[1], start=10)
    np.testing.assert_allclose(controls.final_states[1], alone, atol=1e-5)
    # The wound belongs to step 12, so it acts within the run.
    edit = edits_by_kind(creeper)["wound"]
    wounded = nca.grow(creeper, 20, fire=fire[1, 10:], state=states[1], start=10, edits=edit)
    np.testing.assert_allclose(edited["final_states"][0], wounded, atol=1e-4)


def test_an_overgrown_run_stops_and_reports_the_step():
    body = bodies.static_organism()
    keys = run_keys(0, 1)
    controls = run_controls(body, grow_runs(body, 5, keys), keys, [5, 15, 25, 45])
    flood = edits.add(body, 1.0, channels="alpha").at(20)
    edited = run_edited(body, controls, [EditedRun(0, (flood,)), EditedRun(0)])
    assert edited["overgrown"].tolist() == [25, -1]
    assert edited["mature_cells"][0].tolist() == [149, 149, 576, 576]
    assert edited["mse"][0, 3] == edited["mse"][0, 2]


def test_an_exploded_run_has_finite_measurements_and_reports_the_step():
    body = bodies.static_organism()
    keys = run_keys(0, 1)
    controls = run_controls(body, grow_runs(body, 5, keys), keys, [5, 15, 45])
    edited = run_edited(body, controls, [EditedRun(0, (edits.scale(body, 3.0, channels="h1").at(slice(5, None)),))])
    assert edited["exploded"].tolist() == [15]
    assert np.isfinite(edited["mse"]).all()


def test_steps_must_ascend(creeper):
    keys = run_keys(0, 1)
    with pytest.raises(nca.UserError, match="ascending"):
        run_controls(creeper, grow_runs(creeper, 2, keys), keys, [20, 12])


def test_running_leaves_the_states_of_the_controls_unchanged(creeper, controls):
    before = jnp.array(controls.states)
    run_edited(creeper, controls, [EditedRun(0, edits_by_kind(creeper)["wound"])])
    np.testing.assert_array_equal(before, controls.states)


def test_every_twentieth_step_is_measured_and_the_evaluation_steps():
    assert measured_steps(10, (20, 50)) == [10, 30, 50, 60]
    assert measured_steps(0, (7,)) == [0, 7]

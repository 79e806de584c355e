"""Sweeps against the plain loop, and lesions of bodies whose answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import bodies
from helpers.makers import creeping_rule, masks, organism

import nca
from analysis import metrics
from analysis.assays.lesions import first as lesions
from analysis.paired import EditedRun, run_controls, run_edited
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


def changes(creeper):
    """Edits of several kinds, made once or for good, alone and together."""
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
def test_every_row_of_a_sweep_equals_growing_it_alone(creeper, controls, name):
    made = changes(creeper)[name]
    found = run_edited(creeper, controls, [EditedRun(run, made) for run in (2, 0)])
    for row, run in enumerate((2, 0)):
        key = nca.run_key(1, run)
        state = nca.grow(creeper, 12, key=key)
        for mark, step in enumerate(controls.steps[1:], 1):
            alone = nca.grow(creeper, int(step) - 12, key=key, state=state, start=12, edits=made)
            e = metrics.mse(creeper.rule.spec, alone, creeper.padded_target())
            assert found["mse"][row, mark] == pytest.approx(float(e), rel=1e-4)
            assert found["mature_cells"][row, mark] == int(mature(creeper.rule, alone).sum())
        np.testing.assert_allclose(found["final_states"][row], alone, atol=1e-4)


def test_the_first_mark_shows_the_state_as_its_step_reads_it(creeper, controls):
    made = changes(creeper)["wound"]
    found = run_edited(creeper, controls, [EditedRun(1, made)])
    state = nca.grow(creeper, 12, key=nca.run_key(1, 1))
    wounded = edits.apply(made, "state", state, 12, None)
    assert found["mature_cells"][0, 0] == int(mature(creeper.rule, wounded).sum())
    assert found["cells_changed"][0] == int((wounded != state).any(-1).sum())


def test_rows_of_several_kinds_may_be_mixed(creeper, controls):
    kinds = list(changes(creeper).values())
    mixed = run_edited(creeper, controls, [EditedRun(i % 3, made) for i, made in enumerate(kinds)])
    for i, made in enumerate(kinds):
        alone = run_edited(creeper, controls, [EditedRun(i % 3, made)])
        np.testing.assert_allclose(mixed["mse"][i], alone["mse"][0], rtol=1e-5)


def test_side_by_side_as_on_an_accelerator_rows_are_what_they_are_one_by_one(creeper, controls, monkeypatch):
    rows = [EditedRun(i % 3, made) for i, made in enumerate(list(changes(creeper).values()) * 2)]
    alone = run_edited(creeper, controls, rows)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    together = run_edited(creeper, controls, rows)
    for name in ("mse", "mature_cells", "overgrown", "exploded", "cells_changed"):
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-3, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(grow_runs(creeper, 23, run_keys(1, 3)), plain_ends(creeper, 23, 1), atol=1e-4)


def plain_ends(creeper, steps, seed):
    return np.stack([nca.grow(creeper, steps, key=nca.run_key(seed, run)) for run in range(3)])


def test_a_row_without_edits_is_its_control_to_the_bit(creeper, controls):
    found = run_edited(creeper, controls, [EditedRun(run) for run in range(3)])
    np.testing.assert_array_equal(found["final_states"], controls.final_states)
    np.testing.assert_allclose(found["mse"], controls.mse, rtol=1e-6)
    np.testing.assert_array_equal(found["mature_cells"], controls.mature_cells)


def test_given_fire_masks_drive_controls_and_rows(creeper):
    fire = np.stack([masks(run, 30, CANVAS) for run in range(2)])
    keys = run_keys(0, 2)
    states = grow_runs(creeper, 10, keys, fire=fire[:, :10])
    paired = run_controls(creeper, states, keys, [10, 30], fire=fire[:, 10:])
    found = run_edited(creeper, paired, [EditedRun(1, changes(creeper)["wound"])])
    np.testing.assert_allclose(paired.final_states[1], nca.grow(creeper, 30, fire=fire[1]), atol=1e-4)
    alone = nca.grow(creeper, 20, fire=fire[1, 10:], state=states[1], start=10)
    np.testing.assert_allclose(paired.final_states[1], alone, atol=1e-5)
    # The wound belongs to step 12, so it acts within the run.
    made = changes(creeper)["wound"]
    wounded = nca.grow(creeper, 20, fire=fire[1, 10:], state=states[1], start=10, edits=made)
    np.testing.assert_allclose(found["final_states"][0], wounded, atol=1e-4)


def test_an_overgrown_row_stops_there_and_says_when():
    body = bodies.static_organism()
    keys = run_keys(0, 1)
    paired = run_controls(body, grow_runs(body, 5, keys), keys, [5, 15, 25, 45])
    flood = edits.add(body, 1.0, channels="alpha").at(20)
    found = run_edited(body, paired, [EditedRun(0, (flood,)), EditedRun(0)])
    assert found["overgrown"].tolist() == [25, -1]
    assert found["mature_cells"][0].tolist() == [149, 149, 576, 576]
    assert found["mse"][0, 3] == found["mse"][0, 2]


def test_an_exploding_row_is_an_outcome_and_never_a_hole():
    body = bodies.static_organism()
    keys = run_keys(0, 1)
    paired = run_controls(body, grow_runs(body, 5, keys), keys, [5, 15, 45])
    found = run_edited(body, paired, [EditedRun(0, (edits.scale(body, 3.0, channels="h1").at(slice(5, None)),))])
    assert found["exploded"].tolist() == [15]
    assert np.isfinite(found["mse"]).all()


def test_marks_must_ascend(creeper):
    keys = run_keys(0, 1)
    with pytest.raises(nca.UserError, match="ascending"):
        run_controls(creeper, grow_runs(creeper, 2, keys), keys, [20, 12])


# The first sweep, on a body that keeps what it has: what is lost stays lost and nothing follows.


@pytest.fixture(scope="module")
def sweep():
    return lesions.first_sweep(bodies.static_organism(), runs=2, at=20, horizons=(10, 40))


def test_a_graded_loss_of_colour_costs_what_is_worked_out_by_hand(sweep):
    body = bodies.static_organism()
    red = np.asarray(body.padded_target())[..., 0]
    for horizon in (10, 40):
        lost = np.square(red * (1 - 0.95**horizon)).sum() / metrics.PUBLISHED_PIXELS
        cell = sweep.sel(kind="graded", channel="r", horizon=horizon)
        np.testing.assert_allclose(cell.e, lost, rtol=1e-4)
        dead = np.square(np.asarray(body.padded_target())).sum() / metrics.PUBLISHED_PIXELS
        np.testing.assert_allclose(cell.fitness, 1 - lost / dead, rtol=1e-5)


def test_hidden_channels_that_nothing_reads_can_be_lost(sweep):
    hidden = sweep.fitness.sel(channel=["h0", "h1"], kind=["graded", "erase", "random direction", "twin"])
    np.testing.assert_allclose(hidden, 1.0, atol=1e-6)


def test_without_alpha_there_is_no_body(sweep):
    dead = sweep.sel(kind="erase", channel="alpha")
    np.testing.assert_allclose(dead.fitness, 0.0, atol=1e-6)
    assert (dead.mature == 0).all()


def test_a_twin_that_is_the_same_changes_nothing(sweep):
    assert (sweep.touched.sel(kind="twin") == 0).all()
    np.testing.assert_allclose(sweep.fitness.sel(kind="twin"), 1.0, atol=1e-6)


def test_cells_touched_are_those_that_hold_something(sweep):
    assert (sweep.touched.sel(kind=["graded", "erase", "random direction"]) == 149).all()


def test_the_random_push_is_as_far_as_the_erasure_cell_by_cell():
    body = bodies.static_organism()
    keys = run_keys(0, 2)
    paired = run_controls(body, grow_runs(body, 4, keys), keys, [4, 8])
    erased = lesions.lesions(body, paired, "erase")
    pushed = lesions.lesions(body, paired, "random direction", seed=3)
    state = paired.states[0]
    for one, other in zip(erased, pushed, strict=True):
        steps = [np.asarray(edits.apply(r.edits, "state", state, 4, None) - state) for r in (one, other)]
        lengths = [np.linalg.norm(s, axis=-1) for s in steps]
        np.testing.assert_allclose(lengths[0], lengths[1], atol=1e-5)
        assert np.abs(steps[1][..., :4]).max() == 0
    directions = {tuple(np.round(np.asarray(r.edits[0].value)[12, 12], 4)) for r in pushed}
    assert len(directions) == len(pushed)


def test_without_a_target_the_undisturbed_twin_is_the_measure():
    found = lesions.first_sweep(bodies.static_organism(target=False), runs=2, at=20, horizons=(10,))
    assert found.attrs["reference"] == "twin"
    assert (found.e_control == 0).all()
    np.testing.assert_allclose(found.fitness.sel(kind="erase", channel="alpha"), 0.0, atol=1e-6)


def test_fitness_is_not_defined_where_no_body_is_left():
    found = lesions.first_sweep(bodies.fading_organism(), runs=1, at=40, horizons=(10,))
    assert "twin" not in found.kind.values
    assert np.isnan(found.fitness).all()
    assert np.isfinite(found.log_error).all()
    assert lesions.table(found).fitness.isna().all()


def test_the_table_has_a_row_for_every_kind_channel_and_horizon(sweep):
    rows = lesions.table(sweep)
    assert len(rows) == 4 * 6 * 2
    assert set(rows.role) == {"colour", "alpha", "hidden"}
    assert "h1 (5)" in set(rows.channel)
    one = rows[(rows.kind == "erase") & (rows.channel == "g (1)") & (rows.horizon == 40)].iloc[0]
    values = sweep.fitness.sel(kind="erase", channel="g", horizon=40)
    assert one.fitness == pytest.approx(float(values.median()))
    assert one.fitness_low <= one.fitness <= one.fitness_high
    assert one.overgrown_runs == 0


def test_the_rise_of_the_error_is_paired_with_the_same_key(sweep):
    rows = lesions.table(sweep)
    one = rows[(rows.kind == "erase") & (rows.channel == "h0 (4)") & (rows.horizon == 40)].iloc[0]
    assert one.worse == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("horizons", [(), (40, 10), (0, 10), (10, 10)])
def test_horizons_ascend_from_one_up(horizons):
    with pytest.raises(nca.UserError, match="ascending"):
        lesions.first_sweep(bodies.static_organism(), runs=1, horizons=horizons)


def test_states_of_a_sweep_are_not_changed_by_it(creeper, controls):
    before = jnp.array(controls.states)
    run_edited(creeper, controls, [EditedRun(0, changes(creeper)["wound"])])
    np.testing.assert_array_equal(before, controls.states)

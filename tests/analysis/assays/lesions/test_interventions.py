"""What each intervention does to a state, worked out by hand."""

import numpy as np
import pytest
from helpers import bodies, planted
from helpers.specimens import EVAL_STEP, STEP, specimen_of

import nca
from analysis.assays.lesions.atlas import list_lesions
from analysis.assays.lesions.interventions import Lesion, add_control_channel, lesion_edit


@pytest.fixture(scope="module")
def specimen():
    return specimen_of(bodies.static_organism())


def state_after(specimen, intervention, channel, dose=float("nan"), run=0):
    """A state, what it is after the first step of a lesion, and the edit."""
    edit = lesion_edit(specimen, Lesion("channel", "", (channel,), intervention, dose), run)
    state = specimen.states[run]
    return state, np.asarray(nca.edits.apply([edit], "state", state, STEP, specimen.controls.keys[run])), edit


def test_the_mean_is_set_on_the_cells_mature_at_the_first_step_and_nowhere_else(specimen):
    state, after, edit = state_after(specimen, "mean", 4)
    body = specimen.bodies[0]
    np.testing.assert_allclose(after[body][:, 4], state[body][:, 4].mean(), rtol=1e-5)
    np.testing.assert_array_equal(after[~body], state[~body])
    np.testing.assert_array_equal(np.delete(after, 4, -1), np.delete(state, 4, -1))
    assert int(edit.stop) > STEP + EVAL_STEP


def test_noise_has_the_dose_times_the_channels_standard_deviation_over_the_body(specimen):
    state, after, _ = state_after(specimen, "noise", 5, dose=2.0)
    body = specimen.bodies[0]
    noise = (after - state)[body][:, 5]
    assert noise.std() == pytest.approx(2 * state[body][:, 5].std(), rel=0.25)
    np.testing.assert_array_equal(after[~body], state[~body])


def test_a_random_change_is_as_large_as_the_erasure_in_every_cell_and_leaves_colour_alone(specimen):
    directions = set()
    for channel in (4, 5):
        state, after, _ = state_after(specimen, "random-direction", channel)
        change = after - state
        np.testing.assert_allclose(np.linalg.norm(change, axis=-1), np.abs(state[..., channel]), atol=1e-5)
        assert (after == state)[..., :4].all()
        directions.add(tuple(np.round(change[12, 12] / np.linalg.norm(change[12, 12]), 3)))
    assert len(directions) == 2  # each lesion draws its own


def test_clamp_and_resample_take_another_runs_values(specimen):
    for intervention in ("clamp", "resample"):
        _, after, edit = state_after(specimen, intervention, 4)
        body = specimen.bodies[0]
        np.testing.assert_array_equal(after[body][:, 4], specimen.states[1][body][:, 4])
        assert int(edit.stop) == STEP + 1 or intervention == "clamp"


def test_an_intervention_that_needs_another_run_is_refused_without_one():
    with pytest.raises(nca.UserError, match="two runs"):
        lesion_edit(specimen_of(bodies.static_organism(), runs=1), Lesion("channel", "", (4,), "clamp"), 0)


def test_each_type_of_target_has_its_interventions(specimen):
    with pytest.raises(nca.UserError, match="A filter has partial, zero, mean; got noise"):
        lesion_edit(specimen, Lesion("filter", "dx", (1,), "noise", 0.1), 0)


def test_components_are_unit_vectors_of_the_hidden_channels_by_falling_variance(specimen):
    components = specimen.directions[: len(specimen.hidden)]
    hidden = components[:, list(specimen.hidden)]
    np.testing.assert_allclose(hidden @ hidden.T, np.eye(2), atol=1e-6)
    assert (specimen.directions[:, :4] == 0).all()
    scores = specimen.states[specimen.bodies] @ components.T
    assert scores.var(0)[0] >= scores.var(0)[1]


def test_losing_a_component_leaves_the_others(specimen):
    edit = lesion_edit(specimen, Lesion("direction", "PC1", (0,), "partial", 0.25), 0)
    state, body = specimen.states[0], specimen.bodies[0]
    after = np.asarray(nca.edits.apply([edit], "state", state, STEP, None))
    before, now = ((s[body] - state[body].mean(0)) @ specimen.directions[:2].T for s in (state, after))
    np.testing.assert_allclose(now[:, 0], 0.75 * before[:, 0], atol=1e-5)
    np.testing.assert_allclose(now[:, 1], before[:, 1], atol=1e-5)


def test_components_hold_all_of_the_variance_and_the_first_most():
    specimen = specimen_of(bodies.static_organism(channels=8), step=5, eval_step=5)
    shares = specimen.variance_shares[: len(specimen.hidden)]
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == shares.max() == specimen.variance_shares.max()


def test_hidden_units_are_grouped_by_the_channel_that_they_write_to_most():
    organism = planted.relations()
    groups = {lesion.target: lesion.entries for lesion in list_lesions(organism, "units", ("zero",))}
    assert groups["3 to alpha"] == (0, 9, 10)
    assert groups["2 to h3"] == (1, 2)
    assert sum(map(len, groups.values())) == 11  # the twelfth unit writes nothing
    assert len(list_lesions(organism, "unit", ("zero",))) == 12


@pytest.mark.parametrize("make", [planted.relations, planted.gated])
def test_the_control_channel_changes_nothing_and_nothing_depends_on_it(make):
    organism, key = make(), nca.run_key(3)
    widened = add_control_channel(organism)
    plain, with_control = (nca.grow(o, 25, key=key) for o in (organism, widened))
    np.testing.assert_allclose(with_control[..., :-1], plain, atol=1e-5)
    assert float(with_control[12, 12, -1]) > 0
    lesion = nca.edits.clamp(widened, 7.0, channels=widened.rule.spec.channels - 1)
    lesioned = nca.grow(widened, 25, key=key, edits=[lesion])
    np.testing.assert_array_equal(lesioned[..., :-1], with_control[..., :-1])

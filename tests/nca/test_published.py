"""Ten organisms that other people trained, against states that their authors' conventions produce."""

import numpy as np
import pytest
from helpers import oracle
from helpers import published as organisms
from helpers.published import expected_next

from nca import edits
from nca.rollout import grow, replay, trajectory

FREE = {"atol": 1e-4, "rtol": 1e-4}
ONE_STEP = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module", params=organisms.NAMES)
def reference(request, published):
    return organisms.load_published(published, request.param)


@pytest.fixture(scope="module")
def states(reference):
    """The free run of 200 steps from the seed, with the published fire masks."""
    return np.asarray(trajectory(reference.organism, 200, fire=reference.fires[:200]))


def test_the_seed_is_the_published_one(reference):
    np.testing.assert_array_equal(reference.organism.initial_state(), reference.arrays["seed_state"])
    np.testing.assert_array_equal(reference.state(0), reference.arrays["seed_state"])


def test_a_free_run_passes_through_every_saved_state(reference, states):
    for step in organisms.SAVED:
        np.testing.assert_allclose(states[step], reference.state(step), **FREE, err_msg=f"step {step}")
    assert (states[200][..., 3] > 0.1).sum() > 100


def test_one_step_from_a_saved_state_is_the_next_saved_state(reference):
    for step in (0, 1):
        after = grow(
            reference.organism, 1, state=reference.state(step), start=step, fire=reference.fires[step : step + 1]
        )
        np.testing.assert_allclose(after, reference.state(step + 1), **ONE_STEP)


@pytest.mark.parametrize("step", organisms.SAVED)
def test_one_step_from_a_saved_state_equals_the_oracle(reference, step):
    fire = reference.fires[step]
    sites = replay(reference.organism, reference.state(step), step, fire=fire)
    expected = expected_next(oracle.net_of(reference.organism.rule), reference.state(step), fire)
    np.testing.assert_allclose(sites["next"], expected, **ONE_STEP)


def test_the_unmasked_update_of_every_cell_is_the_published_one(reference):
    sites = replay(reference.organism, reference.state(10), 10, fire=reference.fires[10])
    np.testing.assert_allclose(sites["delta"], reference.arrays["dx_10"], **ONE_STEP)


def test_the_replay_of_every_step_leads_to_the_next_recorded_state(reference, states):
    for step in (0, 7, 60, 199):
        sites = replay(reference.organism, states[step], step, fire=reference.fires[step])
        np.testing.assert_allclose(sites["next"], states[step + 1], **ONE_STEP)


def test_the_left_half_cut_off_at_step_100_leads_to_the_published_wreck(reference, states):
    height, width = reference.organism.canvas
    left = np.zeros((height, width), bool)
    left[:, : width // 2] = True
    wound = edits.erase(reference.organism).where(left).at(100)
    run = trajectory(reference.organism, 300, fire=reference.fires, edits=[wound])
    np.testing.assert_allclose(run[99], states[99], atol=1e-4)
    np.testing.assert_allclose(run[100], reference.arrays["damaged_100"], **FREE)
    np.testing.assert_allclose(run[300], reference.arrays["damaged_300"], **FREE)


def test_the_kernels_of_the_file_say_the_same_as_the_named_filters(reference):
    rule = organisms.with_learned_kernels(reference)
    learned = organisms.Organism(rule, canvas=reference.organism.canvas)
    for step in (10, 100):
        fire = reference.fires[step]
        plain = replay(reference.organism, reference.state(step), step, fire=fire)["next"]
        np.testing.assert_allclose(replay(learned, reference.state(step), step, fire=fire)["next"], plain, **ONE_STEP)


def test_the_planarian_with_its_compass_turned_by_a_quarter_is_the_published_one(published):
    reference = organisms.load_published(published, "google-planarian")
    with np.load(published / "google-planarian" / "reference_angle90.npz") as file:
        expected = dict(file)
    turned = organisms.Organism(reference.organism.rule.rotate(np.pi / 2), canvas=reference.organism.canvas)
    run = trajectory(turned, 200, fire=reference.fires[:200])
    for step in organisms.SAVED:
        np.testing.assert_allclose(run[step], expected[f"state_{step}"], **FREE, err_msg=f"step {step}")
    assert np.abs(expected["state_200"] - reference.state(200)).max() > 0.5


@pytest.mark.parametrize("name", ["google-planarian", "gorold-gecko"])
def test_a_published_rule_turned_by_a_quarter_grows_the_turned_body(published, name):
    reference = organisms.load_published(published, name)
    canvas, steps = (49, 49), 40
    fires = reference.fires[:steps, :49, :49]
    straight = np.asarray(grow(reference.organism, steps, fire=fires, canvas=canvas))
    rule = reference.organism.rule.rotate(-np.pi / 2)
    clockwise = np.rot90(fires, -1, axes=(1, 2)).copy()
    turned = grow(organisms.Organism(rule, canvas=canvas), steps, fire=clockwise)
    expected = np.rot90(straight, -1)
    np.testing.assert_allclose(turned, expected, atol=1e-4)
    assert np.abs(straight - expected).max() > 0.3

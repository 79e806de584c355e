"""Roll-outs: numbering, continuing, mapping, canvases, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import blobs, creeping_rule, masks, organism, random_rule

from nca import edits
from nca.errors import UserError
from nca.rollout import grow, replay, run_key, trajectory

SMALL = (9, 11)
WINDOWED = (30, 30)  # large enough that a window of 24x24 is used
A_STEP = {"atol": 1e-6, "rtol": 1e-6}


@pytest.fixture(scope="module")
def small():
    """A random rule on a canvas too small for windows."""
    return organism(random_rule(1), SMALL)


@pytest.fixture(scope="module")
def spreading():
    """A rule whose body spreads, on a canvas that is grown on through a window."""
    return organism(creeping_rule(2, perception="sobel-laplacian"), WINDOWED)


def region(canvas, rows, columns):
    mask = np.zeros(canvas, bool)
    mask[rows, columns] = True
    return mask


# Numbering: states[t] is s_t as step t read it.


def test_mask_i_takes_state_i_to_state_i_plus_1(small):
    fires = np.zeros((3, *SMALL), bool)
    fires[1, 4, 5] = True
    states = np.asarray(trajectory(small, 3, fire=fires))
    np.testing.assert_array_equal(states[1], states[0])
    changed = (states[2] != states[1]).any(-1)
    assert changed[4, 5]
    assert changed.sum() == 1
    np.testing.assert_array_equal(states[3], states[2])


def test_fire_i_drives_step_start_plus_i_and_so_does_the_key(small):
    key = run_key(3)
    state = trajectory(small, 4, key=key)[4]
    masks_by_hand = [jax.random.uniform(jax.random.fold_in(key, t), SMALL) <= 0.5 for t in range(4, 9)]
    by_masks = grow(small, 5, fire=np.stack(masks_by_hand), state=state, start=4)
    np.testing.assert_array_equal(grow(small, 5, key=key, state=state, start=4), by_masks)
    elsewhere = grow(small, 5, key=key, state=state)
    assert np.abs(np.asarray(elsewhere - by_masks)).max() > 1e-3


def test_a_wound_at_step_10_shows_in_frame_10_and_in_none_before(spreading):
    right = region(WINDOWED, slice(None), slice(WINDOWED[1] // 2, None))
    wound = edits.erase(spreading).where(right).at(10)
    intact = np.asarray(trajectory(spreading, 16, key=run_key(0)))
    wounded = np.asarray(trajectory(spreading, 16, key=run_key(0), edits=[wound]))
    np.testing.assert_array_equal(wounded[:10], intact[:10])
    np.testing.assert_array_equal(wounded[10][~right], intact[10][~right])
    assert intact[10][right].any()
    assert not wounded[10][right].any()
    assert np.abs(wounded[11:] - intact[11:]).max() > 0.01


def test_an_edit_at_slice_a_b_acts_at_steps_a_to_b_minus_1(small):
    push = edits.add(small, 1.0, channels="h0").at(slice(2, 4))
    nobody = np.zeros((6, *SMALL), bool)
    state = blobs(0, SMALL, 8)
    state[..., 3] = 1.0
    run = np.asarray(trajectory(small, 6, fire=nobody, state=state, edits=[push]))[..., 4]
    np.testing.assert_allclose([frame.sum() - run[0].sum() for frame in run], [0, 0, 99, 198, 198, 198, 198], rtol=1e-5)


def test_a_lasting_clamp_holds_in_the_returned_final_state_and_an_ended_one_does_not(small):
    key = run_key(1)
    held = np.asarray(grow(small, 5, key=key, edits=[edits.clamp(small, 0.25, channels="h1")]))
    assert (held[..., 5] == 0.25).all()
    ended = edits.clamp(small, 0.25, channels="h1").at(slice(0, 5))
    after = np.asarray(grow(small, 5, key=key, edits=[ended]))
    assert (after[..., 5] != 0.25).any()
    np.testing.assert_array_equal(np.delete(after, 5, -1), np.delete(held, 5, -1))
    lasting = edits.clamp(small, 0.25, channels="h1").at(slice(0, 6))
    np.testing.assert_array_equal(grow(small, 5, key=key, edits=[lasting]), held)


def test_scaling_and_adding_do_not_show_in_the_final_state_since_they_act_when_it_is_read(small):
    everywhere = blobs(0, SMALL, 8)
    everywhere[..., 3] = 1.0
    nobody = np.zeros((1, *SMALL), bool)
    half = edits.scale(small, 0.5, channels="h0")
    run = np.asarray(trajectory(small, 1, fire=nobody, state=everywhere, edits=[half]))
    np.testing.assert_array_equal(run[0, ..., 4], everywhere[..., 4] / 2)
    np.testing.assert_array_equal(run[1], run[0])


# Laws. Runs of 8 and 16 steps are run in stretches, through windows, where the canvas is large enough.


def busy_edits(body):
    """Edits of every kind whose windows lie across step 8, where runs are cut in two below."""
    left = region(body.canvas, slice(None), slice(0, body.canvas[1] // 2))
    return [
        edits.scale(body, 0.9, channels="h0"),
        edits.clamp(body, 0.3, channels="h1").where(left).at(slice(3, 12)),
        edits.noise(body, 0.05, channels="b").at(slice(6, 10)),
        edits.scale(body, 0.5, site="post", units=[1, 2]).at(slice(6, 11)),
        edits.add(body, 0.02, channels=["r", "h2"]).at(slice(5, 12)),
        edits.freeze(body, channels="g").at(slice(7, 9)),
        edits.noise(body, 0.02, site="delta", channels="b").at(slice(8, 11)),
    ]


def row_edits(body):
    """Edits that leave the compact, windowed steps in use: of the state, and of what a row computes."""
    right = region(body.canvas, slice(None), slice(body.canvas[1] // 2, None))
    return [
        edits.scale(body, 0.9, channels="h0"),
        edits.scale(body, 0.4, site="perception", filters="dx").where(right).at(slice(5, 12)),
        edits.clamp(body, 0.3, site="post", units=[3, 5]).where(right).at(slice(2, 9)),
    ]


EDITS = {"no edits": lambda body: [], "row edits": row_edits, "all kinds": busy_edits}


@pytest.fixture(scope="module", params=EDITS)
def sixteen(request, spreading):
    """Edits, and the states that a run of 16 steps with them passes through."""
    run_edits = EDITS[request.param](spreading)
    return run_edits, trajectory(spreading, 16, key=run_key(5), edits=run_edits)


def test_growing_m_plus_n_steps_is_growing_m_and_then_n(spreading, sixteen):
    run_edits, states = sixteen
    half = grow(spreading, 8, key=run_key(5), edits=run_edits)
    single = grow(spreading, 8, key=run_key(5), state=half, start=8, edits=run_edits)
    np.testing.assert_allclose(single, states[16], atol=1e-5)
    assert np.abs(np.asarray(single - half)).max() > 0.01


def test_a_trajectory_ends_where_growth_ends(spreading, sixteen):
    run_edits, states = sixteen
    assert states.shape == (17, *WINDOWED, 8)
    np.testing.assert_allclose(grow(spreading, 16, key=run_key(5), edits=run_edits), states[-1], atol=1e-5)


def test_replayed_steps_chain_to_the_trajectory(spreading, sixteen):
    run_edits, states = sixteen
    # A recorded state shows the edits of its own step already; those inside the step have yet to act.
    inside = [edit if edit.site != "state" else edit.at(10**6) for edit in run_edits]
    for t in range(16):
        after = replay(spreading, states[t], t, key=run_key(5), edits=inside)["next"]
        lasting = [edit for edit in run_edits if edit.mode == "set"] if t == 15 else run_edits
        expected = edits.apply(lasting, "state", after, t + 1, run_key(5))
        np.testing.assert_allclose(states[t + 1], expected, atol=1e-5, err_msg=f"step {t}")


def test_the_edits_of_these_laws_change_the_run(spreading, sixteen):
    run_edits, states = sixteen
    intact = trajectory(spreading, 16, key=run_key(5))
    assert bool(run_edits) == bool((np.abs(np.asarray(intact - states)) > 0.01).any())


def test_the_trajectory_of_a_given_start_begins_with_it_dead_cells_and_all(spreading):
    state = np.array(spreading.initial_state())
    state[0, 0, :3] = 0.5
    states = np.asarray(trajectory(spreading, 16, key=run_key(0), state=state))
    np.testing.assert_array_equal(states[0], state)
    assert not states[1, 0, 0].any()


def test_another_canvas_is_another_run_unless_the_masks_are_padded(small):
    key = run_key(0)
    here, larger = grow(small, 12, key=key), grow(small, 12, key=key, canvas=(13, 15))
    assert larger.shape == (13, 15, 8)
    assert np.abs(np.asarray(larger[2:-2, 2:-2] - here)).max() > 1e-3
    fires = masks(0, 3, SMALL)
    here = grow(small, 3, fire=fires)
    larger = grow(small, 3, fire=np.pad(fires, [(0, 0), (2, 2), (2, 2)]), canvas=(13, 15))
    np.testing.assert_allclose(larger[2:-2, 2:-2], here, **A_STEP)


def test_on_a_torus_a_shifted_start_grows_the_shifted_body():
    canvas = WINDOWED
    conventions = {"perception": "sobel-laplacian", "boundary": "circular", "alive_boundary": "circular"}
    body = organism(creeping_rule(3, **conventions), canvas)
    state, fires = blobs(1, canvas, 8), masks(2, 8, canvas)
    still = np.asarray(grow(body, 8, state=state, fire=fires))
    for shift in ((1, 0), (4, -3), (canvas[0] // 2, canvas[1] // 2)):
        moved = grow(body, 8, state=np.roll(state, shift, (0, 1)), fire=np.roll(fires, shift, (1, 2)))
        np.testing.assert_allclose(moved, np.roll(still, shift, (0, 1)), atol=1e-5)
    assert np.abs(still).max() > 0.1


def test_what_a_run_computes_does_not_depend_on_what_ran_before(small):
    first = grow(small, 9, key=run_key(0))
    grow(small, 9, key=run_key(1))
    np.testing.assert_array_equal(grow(small, 9, key=run_key(0)), first)


# Mistakes.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "exactly one of key and fire; got neither"),
        ({"key": run_key(0), "fire": np.ones((4, *SMALL), bool)}, "exactly one of key and fire; got both"),
        ({"fire": np.ones((3, *SMALL), bool)}, r"Fire masks must be \(4, 9, 11\), got \(3, 9, 11\)"),
        ({"key": run_key(0), "state": np.zeros((9, 11, 7))}, r"A state must be \(y, x, 8\)"),
        ({"key": run_key(0), "state": np.zeros((9, 11))}, r"A state must be \(y, x, 8\)"),
        ({"key": run_key(0), "state": np.zeros((9, 11, 8)), "canvas": (8, 8)}, "sets the canvas"),
        ({"key": run_key(0), "canvas": (2, 9)}, "3 to 2048 cells a side"),
        ({"key": run_key(0), "start": -1}, "start"),
    ],
)
def test_a_run_that_is_not_determined_is_refused_in_a_sentence(small, options, sentence):
    with pytest.raises(UserError, match=sentence):
        grow(small, 4, **options)


@pytest.mark.parametrize("steps", [0, -3, 2.5, True, float("nan"), float("inf"), "7"], ids=repr)
def test_a_number_of_steps_that_is_no_whole_number_from_one_up_is_refused(small, steps):
    with pytest.raises(UserError, match="steps must be a whole number of at least 1"):
        grow(small, steps, key=run_key(0))


def test_noise_needs_a_key_even_beside_fire_masks(small):
    fires = masks(0, 4, SMALL)
    with pytest.raises(UserError, match="noise need a key"):
        grow(small, 4, fire=fires, edits=[edits.noise(small, 0.1)])
    assert grow(small, 4, fire=fires, key=run_key(0), edits=[edits.noise(small, 0.1)]).shape == (*SMALL, 8)


def test_the_replay_of_a_step_wants_one_mask_of_the_canvas(small):
    with pytest.raises(UserError, match=r"fire mask of one step must be \(9, 11\)"):
        replay(small, jnp.zeros((*SMALL, 8)), 0, fire=masks(0, 1, SMALL))


def test_growth_is_the_same_where_jax_computes_in_64_bits(spreading):
    expected = grow(spreading, 6, key=run_key(0))
    with jax.enable_x64(True):
        state = grow(spreading, 6, key=run_key(0))
    assert state.dtype == jnp.float32
    np.testing.assert_allclose(state, expected, **A_STEP)

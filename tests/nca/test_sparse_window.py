"""Windows around the body: bodies that move, split, sit at edges, are born far away by an edit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import blobs, creeping_rule, organism
from helpers.plain import plain_states

from nca import edits, sparse
from nca.perception import alive
from nca.rollout import _Plan, _roll, grow, run_key, trajectory
from nca.rule import Rule

CANVAS = (44, 62)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
LEFTWARD, RIGHTWARD = (1, 2), (1, 0)  # the neighbour that a cell becomes, as (row, column) of a kernel


def mover(towards=RIGHTWARD, **conventions):
    """A rule whose cells become their left (or right) neighbour: every body moves one cell a step.

    Channels are two positive values and alpha, so that relu passes them.
    """
    kernels = np.zeros((2, 1, 3, 3), np.float32)
    kernels[0, 0, 1, 1] = 1.0
    kernels[(1, 0, *towards)] = 1.0
    copy = np.eye(3)
    first, last = np.eye(6), np.concatenate([-copy, copy])
    return Rule.from_arrays(
        [first, last], kernels=kernels, perception="learned", alpha=2, fire_rate=1.0, channels=3, **conventions
    )


def body(canvas, *places):
    """A state with a body of 3x2 cells at each place, all values differing."""
    state = np.zeros((*canvas, 3), np.float32)
    for y, x in places:
        draw = np.random.default_rng(y * 100 + x)
        for dy in range(3):
            for dx in range(2):
                state[(y + dy) % canvas[0], (x + dx) % canvas[1]] = draw.uniform(0.3, 1, 3)
    return state


def shifted(state, by):
    """The state moved by some columns; what leaves the canvas is gone."""
    out = np.zeros_like(state)
    width = state.shape[1]
    if by >= 0:
        out[:, by:] = state[:, : width - by]
    else:
        out[:, :by] = state[:, -by:]
    return out


@pytest.fixture(scope="module")
def moving():
    return organism(mover(), CANVAS)


@pytest.fixture(scope="module")
def creeping():
    return organism(creeping_rule(2, perception="sobel-laplacian"), CANVAS)


def chosen(host, state, steps=8):
    """The size of the window that is taken for a state and as many steps."""
    sizes = sparse._window_sizes(host.rule, CANVAS)
    living = alive(host.rule, jnp.asarray(state))
    return sizes[int(sparse._smallest_window(host.rule, living, steps, sizes)[0])]


def test_a_small_body_takes_a_small_window_and_a_large_one_the_canvas(moving):
    # Two cells' width of body, one ring of living sites, and 8 + 2 cells to grow on every side.
    assert chosen(moving, body(CANVAS, (20, 30)), steps=7) == (24, 24)
    assert chosen(moving, body(CANVAS, (20, 30)), steps=8) == (40, 40)
    assert chosen(moving, body(CANVAS, (0, 0))) == (24, 24)
    assert chosen(moving, body(CANVAS, (20, 10), (20, 22))) == (40, 40)
    assert chosen(moving, body(CANVAS, (20, 5), (20, 50))) == CANVAS
    assert chosen(moving, np.zeros((*CANVAS, 3), np.float32)) == (24, 24)


@pytest.mark.parametrize("places", [[(20, 3)], [(0, 0)], [(41, 50)], [(2, 2), (38, 40)], [(20, 5), (20, 50)]])
@pytest.mark.parametrize("steps", [16, 40])
def test_a_body_that_moves_a_cell_a_step_arrives_where_it_should(moving, places, steps):
    state = body(CANVAS, *places)
    np.testing.assert_allclose(grow(moving, steps, key=run_key(0), state=state), shifted(state, steps), **CLOSE)


def test_every_frame_shows_the_body_on_its_way(moving):
    state = body(CANVAS, (2, 2), (38, 4))
    states = trajectory(moving, 40, key=run_key(0), state=state)
    for t in range(41):
        np.testing.assert_allclose(states[t], shifted(state, t), **CLOSE, err_msg=f"step {t}")


def test_a_body_that_moves_the_other_way_does_too():
    state = body(CANVAS, (20, 50))
    host = organism(mover(LEFTWARD), CANVAS)
    np.testing.assert_allclose(grow(host, 40, key=run_key(0), state=state), shifted(state, -40), **CLOSE)


@pytest.mark.parametrize("corner", [(20, 30), (20, 55), (0, 61), (43, 0)])
def test_on_a_torus_a_body_that_moves_comes_back_on_the_other_side(corner):
    host = organism(mover(boundary="circular", alive_boundary="circular"), CANVAS)
    state = body(CANVAS, corner)
    moved = grow(host, 40, key=run_key(0), state=state)
    np.testing.assert_allclose(moved, np.roll(state, 40, axis=1), **CLOSE)


def test_an_empty_canvas_stays_empty(moving):
    empty = np.zeros((*CANVAS, 3), np.float32)
    np.testing.assert_array_equal(grow(moving, 16, key=run_key(0), state=empty), empty)


def test_dead_cells_that_hold_values_are_erased_wherever_they_lie(moving):
    state = body(CANVAS, (20, 10))
    state[3, 3, 0] = state[40, 60, 1] = 0.7
    state[5, 60, 2] = 0.05  # alpha, but below the threshold
    expected = shifted(body(CANVAS, (20, 10)), 16)
    np.testing.assert_allclose(grow(moving, 16, key=run_key(0), state=state), expected, **CLOSE)


# Edits that act where no window looks. One compiled program serves all steps of an edit.


@pytest.mark.parametrize("step", [0, 1, 7, 8, 9, 15])
@pytest.mark.parametrize("start", [0, 5])
def test_life_set_in_a_far_corner_grows_a_second_body(moving, step, start):
    state = body(CANVAS, (20, 4))
    corner = np.zeros(CANVAS, bool)
    corner[40:42, 50:52] = True
    spark = edits.clamp(moving, 0.6, channels="alpha").where(corner).at(start + step)
    after = np.asarray(grow(moving, 16, key=run_key(0), state=state, start=start, edits=[spark]))
    new = np.zeros_like(state)
    new[40:42, 50:52, 2] = 0.6
    np.testing.assert_allclose(after, shifted(state, 16) + shifted(new, 16 - step), **CLOSE)


FAR = np.zeros(CANVAS, bool)
FAR[36:40, 50:56] = True
STRIPES = np.indices(CANVAS)[1] % 3 == 0

FAR_EDITS = {
    "alpha added": lambda g: edits.add(g, 0.8, channels="alpha").where(FAR),
    "noise far away": lambda g: edits.noise(g, 0.3).where(FAR),
    "a value for every cell": lambda g: edits.clamp(g, values_of_cells(), channels="alpha").where(FAR),
    "alpha scaled up": lambda g: edits.scale(g, 3.0, channels="alpha"),
    "alpha scaled below zero": lambda g: edits.scale(g, -1.0, channels="alpha"),
    "shrunk": lambda g: edits.scale(g, 0.5),
    "rows": lambda g: edits.clamp(g, 0.5, site="post", units=[0, 1]).where(STRIPES),
    "perception": lambda g: edits.add(g, 0.5, site="perception", filters="dx"),
}


def values_of_cells():
    return np.random.default_rng(0).uniform(0, 1, (*CANVAS, 1)).astype(np.float32)


TIMES = ((0, 0), (7, 0), (slice(6, 10), 0), (slice(3, None), 2), (12, 4))  # steps of the edit, start


@pytest.fixture(scope="module")
def intact(creeping):
    """The same runs without an edit, by their start."""
    return {start: plain_states(creeping, 16, key=run_key(1), state=one_body(), start=start) for start in (0, 2, 4)}


def one_body():
    state = blobs(3, CANVAS, 8, count=1)
    state[30, 55, 3] = 0.08  # dead, but not if alpha is scaled up before it is erased
    return state


@pytest.mark.parametrize("name", FAR_EDITS)
def test_an_edit_anywhere_at_any_step_equals_the_plain_steps(creeping, intact, name):
    for steps, start in TIMES:
        edit, at = FAR_EDITS[name](creeping).at(steps), f"at {steps}, from {start}"
        arguments = {"key": run_key(1), "state": one_body(), "start": start, "edits": [edit]}
        expected = plain_states(creeping, 16, **arguments)
        np.testing.assert_allclose(trajectory(creeping, 16, **arguments), expected, **CLOSE, err_msg=at)
        assert np.abs(expected - intact[start]).max() > 0.02, at


def test_without_the_margin_a_moving_body_would_be_lost(moving, monkeypatch):
    # Power: a window that holds the body alone, not the cells that it can reach, gives another answer.
    smallest = sparse._smallest_window
    monkeypatch.setattr(sparse, "_smallest_window", lambda rule, alive, steps, sizes: smallest(rule, alive, -2, sizes))
    state = body(CANVAS, (20, 3), (20, 22))
    fresh = organism(mover(threshold=0.0999), CANVAS)  # not compiled before
    moved = np.asarray(grow(fresh, 16, key=run_key(0), state=state))
    assert np.abs(moved - shifted(state, 16)).max() > 0.1


def test_the_way_that_other_devices_take_leads_to_the_same_states(creeping):
    two_edits = (FAR_EDITS["rows"](creeping).at(slice(3, 9)), FAR_EDITS["alpha added"](creeping).at(5))
    start, keys = jnp.asarray(one_body()), jnp.stack([run_key(0, n) for n in range(2)])
    quick, plain = (
        jax.vmap(lambda key, plan=plan: _roll(plan, creeping.rule, start, key, None, two_edits, jnp.int32(0)))(keys)
        for plan in (_Plan(10, record=True, sparse=sparse) for sparse in (True, False))
    )
    np.testing.assert_allclose(quick, plain, **CLOSE)
    assert np.abs(np.asarray(plain[0] - plain[1])).max() > 0.02

"""Projections, paths, means, donors and grafts: by hand, in the window as on the canvas, and in JSON."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import blobs, creeping_rule, organism, random_rule
from helpers.plain import plain_states

from nca import edits, sparse
from nca.edits.constructors import Donor, _move_state
from nca.errors import UserError
from nca.perception import mature
from nca.rollout import grow, run_key, trajectory
from nca.step import dense_step

GRID = (9, 11)
HIDDEN = [4, 5, 6, 7]


@pytest.fixture(scope="module")
def body():
    return organism(random_rule(2, strength=0.4), GRID)


@pytest.fixture(scope="module")
def wide():
    """A small body on a canvas that windows are worth on."""
    rule = creeping_rule(1, channels=6, perception="sobel-laplacian")
    return organism(rule, (40, 40))


def orthonormal(number, rows, entries):
    return np.linalg.qr(np.random.default_rng(number).normal(size=(entries, rows)))[0].T


def read(body, state, edit, t=0):
    """The state as step t reads it."""
    return np.asarray(edits.apply([edit], "state", np.asarray(state), t, None))


# Projections.


def test_a_projection_takes_out_what_lies_along_its_directions_about_the_centre(body):
    state, centre = blobs(1, GRID, 8), np.arange(8.0)
    directions = orthonormal(0, 2, 8)
    mature_cells = state.any(-1)
    after = read(body, state, edits.project(body, directions, centre))
    np.testing.assert_allclose((after[mature_cells] - centre) @ directions.T, 0, atol=1e-5)
    rest = np.eye(8) - directions.T @ directions
    np.testing.assert_allclose((after - state)[mature_cells] @ rest, 0, atol=1e-5)
    half = read(body, state, edits.project(body, directions, centre, keep=0.5))
    np.testing.assert_allclose(half, (after + state) / 2, atol=1e-5)


def test_a_projection_leaves_the_void_as_it_is(body):
    after = read(body, np.zeros((*GRID, 8), np.float32), edits.project(body, np.eye(8)[:3], np.ones(8)))
    np.testing.assert_array_equal(after, 0)


def test_a_projection_over_some_channels_leaves_the_others(body):
    state = blobs(2, GRID, 8)
    directions = orthonormal(1, 2, 4)
    after = read(body, state, edits.project(body, directions, channels=HIDDEN))
    np.testing.assert_array_equal(after[..., :4], state[..., :4])
    np.testing.assert_allclose(after[..., 4:] @ directions.T, 0, atol=1e-5)


@pytest.mark.parametrize(
    ("directions", "channels"),
    [(np.ones((1, 8)), None), (np.eye(8)[[0, 0]], None), (np.eye(8)[:1], HIDDEN), (np.eye(7)[:1], None)],
)
def test_directions_that_are_not_orthonormal_or_lie_elsewhere_are_refused(body, directions, channels):
    with pytest.raises(UserError, match=r"orthonormal|entries"):
        edits.project(body, directions, channels=channels)


# Paths.


def test_a_run_that_follows_another_in_all_channels_is_that_other(body):
    state, key, other = blobs(3, GRID, 8), run_key(0), run_key(1)
    path = trajectory(body, 6, key=other, state=state)
    held = trajectory(body, 6, key=key, state=state, edits=[edits.follow(body, path)])
    np.testing.assert_array_equal(held, path)
    free = trajectory(body, 6, key=key, state=state)
    assert np.abs(np.asarray(free - path)).max() > 1e-2


def test_a_path_begins_where_its_window_does_and_then_keeps_its_last_value(body):
    path = np.arange(3.0)[:, None, None, None] * np.ones((3, *GRID, 8))
    edit = edits.follow(body, path, channels=HIDDEN).at(slice(5, 12))
    values = [read(body, np.full((*GRID, 8), 9.0, np.float32), edit, t)[0, 0, 4] for t in range(4, 13)]
    assert values == [9, 0, 1, 2, 2, 2, 2, 2, 9]


# The window and the rows.

KINDS = {
    "project": lambda o, s: edits.project(o, orthonormal(3, 2, 6), np.full(6, 0.2)),
    "project hidden": lambda o, s: edits.project(o, [[1.0, 0.0]], [0.3, 0.1], channels=["h0", "h1"]),
    "follow": lambda o, s: edits.follow(o, np.random.default_rng(0).normal(size=(9, 40, 40, 1)), channels=4),
    "hold alpha": lambda o, s: edits.follow(o, np.full((1, 1, 1, 6), 0.3), channels=3).at(slice(3, 9)),
    "clamp hidden everywhere": lambda o, s: edits.clamp(o, 0.7, channels=["h0", "h1"]),
    "clamp by cell": lambda o, s: edits.clamp(o, np.random.default_rng(1).normal(size=(40, 40, 6)), channels=5),
    "mean": lambda o, s: edits.mean(o, s, channels="h1"),
    "steer": lambda o, s: edits.steer(o, np.eye(6)[4], 0.05).where(np.tri(40, dtype=bool)),
    "erase": lambda o, s: edits.erase(o, channels=["h0"]),
    "freeze": lambda o, s: edits.freeze(o, channels="h0"),
    "graft": lambda o, s: edits.graft(o, s, (20, 20), (25, 24), 3).at(4),
    "noise": lambda o, s: edits.noise(o, 0.1, channels="h1"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_edit_grows_as_by_the_plain_dense_step(wide, name):
    key = run_key(3)
    state = np.asarray(grow(wide, 8, key=key))
    edit = KINDS[name](wide, state)
    expected = plain_states(wide, 16, key=key, state=state, edits=[edit])
    shown = trajectory(wide, 16, key=key, state=state, edits=[edit])
    np.testing.assert_allclose(shown, expected, atol=2e-4, rtol=1e-4)
    end = grow(wide, 16, key=key, state=state, edits=[edit])
    np.testing.assert_allclose(end, expected[-1], atol=2e-4, rtol=1e-4)
    assert np.abs(expected[-1] - np.asarray(grow(wide, 16, key=key, state=state))).max() > 1e-3


def test_what_is_done_beside_alpha_keeps_to_the_window_unless_every_state_is_shown(wide):
    hidden, alpha = edits.clamp(wide, 0.7, channels="h0"), edits.clamp(wide, 0.7, channels="alpha")
    for edit, shown, expected in [
        (hidden, False, True),
        (hidden, True, False),
        (alpha, False, False),
        (edits.erase(wide), True, True),
        (edits.project(wide, np.eye(6)[:1]), True, True),
        (edits.noise(wide, 0.1, channels="h0"), False, False),
    ]:
        assert bool(sparse._is_confined(wide.rule, [edit], 0, 5, shown)) == expected, edit


# Means, donors, grafts.


def test_a_mean_is_set_on_the_mature_cells_of_the_state_and_nowhere_else(body):
    state = blobs(4, GRID, 8, count=3)
    mature_cells = np.asarray(mature(body.rule, jnp.asarray(state)))
    after = read(body, state, edits.mean(body, state, channels="h2"))
    np.testing.assert_allclose(after[mature_cells, 6], state[mature_cells, 6].mean(), rtol=1e-6)
    np.testing.assert_array_equal(after[~mature_cells], state[~mature_cells])
    np.testing.assert_array_equal(after[..., :6], state[..., :6])
    with pytest.raises(UserError, match="no mature cell"):
        edits.mean(body, np.zeros_like(state))


def test_a_donor_is_grown_when_it_is_used(body):
    donor = Donor(body, 5, seed=3, run=2)
    expected = grow(body, 5, key=run_key(3, 2))
    np.testing.assert_array_equal(edits.resample(body, donor).value, expected)
    np.testing.assert_array_equal(Donor(body, 0).state(), body.initial_state())


def test_a_moved_state_is_turned_about_the_cell_that_moves():
    state = np.zeros((7, 7, 1), np.float32)
    state[2, 3], state[2, 4] = 1.0, 2.0  # 2 lies right of 1
    straight = _move_state(state, (2, 3), (4, 2))
    assert straight[4, 2, 0] == 1
    assert straight[4, 3, 0] == 2
    assert straight.sum() == 3
    turned = _move_state(state, (2, 3), (4, 2), turn=90)  # clockwise: right becomes down
    assert turned[4, 2, 0] == 1
    assert turned[5, 2, 0] == 2
    assert turned.sum() == 3
    halfway = _move_state(state, (2, 3), (3, 3), turn=45)
    assert halfway[3, 3, 0] == pytest.approx(1)
    assert halfway.sum() == pytest.approx(3, abs=0.5)


def test_a_graft_sets_a_disc_and_nothing_else(body):
    state, host = blobs(5, GRID, 8, count=4), np.full((*GRID, 8), -1, np.float32)
    after = read(body, host, edits.graft(body, state, (3, 3), (5, 6), 2).at(0))
    y, x = np.ogrid[: GRID[0], : GRID[1]]
    inside = (y - 5) ** 2 + (x - 6) ** 2 <= 4
    np.testing.assert_array_equal(after[~inside], -1)
    np.testing.assert_array_equal(after[5, 6], state[3, 3])
    np.testing.assert_array_equal(after[inside], np.roll(state, (2, 3), (0, 1))[inside])


def test_a_graft_of_a_run_onto_itself_at_the_same_place_changes_nothing(body):
    key = run_key(1)
    state = grow(body, 4, key=key)
    here = edits.graft(body, state, (4, 5), (4, 5), 2).at(4)
    np.testing.assert_array_equal(
        grow(body, 5, key=key, state=state, start=4, edits=[here]),
        grow(body, 5, key=key, state=state, start=4),
    )


# JSON.


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_edit_comes_back_from_its_file(wide, name, tmp_path):
    edit = KINDS[name](wide, np.asarray(wide.initial_state()))
    path = edits.save([edit, edits.erase(wide)], tmp_path / "edits.json")
    back, other = edits.load(path)
    assert jax.tree.structure(back) == jax.tree.structure(edit)
    for here, there in zip(jax.tree.leaves(back), jax.tree.leaves(edit), strict=True):
        np.testing.assert_array_equal(here, there)
    assert other.mode == "set"
    assert (tmp_path / "edits.npz").exists() == (np.size(edit.value) > 4096)


DONATED = {
    "resample": lambda o, d: edits.resample(o, d, channels="h0").at(7),
    "mean": lambda o, d: edits.mean(o, d, channels="h0"),
    "graft": lambda o, d: edits.graft(o, d, (3, 3), (5, 5), 2, turn=90).at(7),
}


@pytest.mark.parametrize("name", DONATED)
def test_what_came_from_a_donor_is_written_as_its_run_and_computed_anew(body, name):
    donor = Donor(body, 3, seed=1, edits=(edits.scale(body, 0.9, channels="h1"),))
    edit = DONATED[name](body, donor)
    text = json.dumps(edits.to_json(edit))
    assert len(text) < 2000
    back = edits.from_json(json.loads(text), [body])
    for here, there in zip(jax.tree.leaves(back), jax.tree.leaves(edit), strict=True):
        np.testing.assert_array_equal(here, there)
    assert edits.to_json(back) == edits.to_json(edit)
    with pytest.raises(UserError, match="is missing; pass it in"):
        edits.from_json(json.loads(text))


def test_a_graft_written_by_an_earlier_version_is_read(body):
    edit = edits.graft(body, Donor(body, 3), (3, 3), (5, 5), 2)
    fields = edits.to_json(edit)
    fields["value"]["details"]["place"] = fields["value"]["details"].pop("target")
    np.testing.assert_array_equal(edits.from_json(fields, [body]).value, edit.value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"npz": "none"},
        {"donor": {}, "how": "state", "details": {}},
        {"how": "theft"},
        [],
        [[1], [2, 3]],
        "x",
    ],
)
def test_a_value_that_is_none_is_refused_in_a_sentence(body, value):
    fields = edits.to_json(edits.erase(body)) | {"value": value}
    with pytest.raises(UserError, match=r"needs|taken|at hand"):
        edits.from_json(fields)


def test_a_free_array_is_not_written_into_the_list_itself(wide):
    edit = edits.clamp(wide, np.zeros((40, 40, 6)))
    with pytest.raises(UserError, match=r"edits\.save"):
        edits.to_json(edit)
    assert sparse._varies(edit)
    assert not sparse._varies(edits.project(wide, np.eye(6)[:1]))


def test_a_step_of_its_own_takes_every_kind(body):
    state, fire = jnp.asarray(blobs(6, GRID, 8)), jnp.ones(GRID, bool)
    path = np.zeros((2, *GRID, 8), np.float32)
    after = dense_step(body.rule, state, fire, edits=[edits.follow(body, path)], t=1)
    np.testing.assert_array_equal(after, 0)

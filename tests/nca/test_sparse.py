"""The sparse step equals the dense step: every convention, any body, edited or not, gradients too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import oracle
from helpers import published as organisms
from helpers.makers import blobs, masks, random_rule

from nca import edits, sparse
from nca.perception import alive
from nca.rule import Rule
from nca.sparse import _active_rows, active_cells, sparse_is_exact, sparse_step
from nca.step import dense_step

GRID = (10, 12)
CELLS = GRID[0] * GRID[1]
CLOSE = {"atol": 1e-6, "rtol": 1e-5}

CONVENTIONS = {
    "published": {},
    "circular": {"boundary": "circular", "alive_boundary": "circular", "inclusive": True},
    "circular life": {"alive_boundary": "circular"},
    "circular sight": {"boundary": "circular", "perception": "sobel-laplacian", "angle": 0.4},
    "gate": {"alive": "gate"},
    "before": {"alive": "before", "activation": "tanh"},
    "masked": {"reads": "masked", "perception": "isotropic"},
    "masked gate": {"reads": "masked", "alive": "gate", "alive_boundary": "circular"},
    "steered tanh": {"perception": "steered", "steer": 5, "squash": "tanh"},
    "clipped": {"clip": (-0.5, 0.5)},
    "clipped away from zero": {"clip": (0.2, 0.9), "alpha": 0},
    "clipped and gated": {"clip": (0.2, 0.9), "alive": "gate"},
    "learned, two layers": {"perception": "learned", "hidden": (10, 6), "activation_slope": 0.1},
    "last alpha": {"alpha": 7, "fire_rate": 1.0},
}


def bodies():
    """States from an empty canvas over a single cell to a full canvas, some with values in dead cells."""
    draw = np.random.default_rng(0)
    empty = np.zeros((*GRID, 8), np.float32)
    single, corner, edge = empty.copy(), empty.copy(), empty.copy()
    single[5, 6] = 1.0
    corner[0, 0] = corner[-1, -1] = 0.8
    edge[:2, 4:7] = edge[-2:, 4:7] = draw.uniform(0.2, 1, (2, 3, 8))
    full = draw.uniform(0.2, 1, (*GRID, 8)).astype(np.float32)
    littered = blobs(1, GRID, 8)
    littered[littered == 0] = draw.uniform(-0.09, 0.09, (littered == 0).sum())
    return jnp.asarray(np.stack([empty, single, corner, edge, blobs(2, GRID, 8), littered, full]))


def sparse_and_dense(rule, capacities, some_edits=(), **options):
    """Sparse steps and dense ones of a batch of states, compiled afresh."""
    step = jax.jit(lambda r, s, f: sparse_step(r, s, f, capacities, edits=some_edits, **options))
    dense = jax.jit(lambda r, s, f: jax.vmap(lambda a, b: dense_step(r, a, b, edits=some_edits, **options))(s, f))
    return step, dense


@pytest.mark.parametrize("name", CONVENTIONS)
def test_sparse_steps_equal_dense_ones_for_any_body(name):
    rule = random_rule(3, strength=0.4, **CONVENTIONS[name])
    states, fires = bodies(), jnp.asarray(masks(0, 7, GRID, rule.spec.fire_rate))
    if rule.spec.alpha != 3:
        states = states.at[..., [3, rule.spec.alpha]].set(states[..., [rule.spec.alpha, 3]])
    step, dense = sparse_and_dense(rule, (40, CELLS))
    for state, fire in zip(states, fires, strict=True):
        expected = dense(rule, state[None], fire[None])
        np.testing.assert_allclose(step(rule, state[None], fire[None]), expected, **CLOSE)
        np.testing.assert_allclose(
            expected[0],
            oracle.step(oracle.net_of(rule), np.asarray(state), np.asarray(fire))["next"],
            atol=1e-5,
        )


@pytest.mark.parametrize("capacities", [(), (1,), (16, 100), (7 * CELLS,), (10 * CELLS,)])
def test_no_cell_is_dropped_whatever_the_capacity(capacities):
    rule = random_rule(3, strength=0.4)
    states, fires = bodies(), jnp.asarray(masks(0, 7, GRID))
    step, dense = sparse_and_dense(rule, capacities)
    np.testing.assert_allclose(step(rule, states, fires), dense(rule, states, fires), **CLOSE)


def test_capacities_are_taken_in_turn_and_the_exact_number_of_rows_suffices():
    rule = random_rule(3, strength=0.4)
    states, fires = bodies()[4:6], jnp.asarray(masks(0, 2, GRID))
    count = int(active_cells(rule, alive(rule, states), fires).sum())
    expected = sparse_and_dense(rule, ())[1](rule, states, fires)
    for capacity in (count - 1, count, count + 1):
        np.testing.assert_allclose(sparse_and_dense(rule, (capacity,))[0](rule, states, fires), expected, **CLOSE)
    # Power: rows that were one too few, and no dense step to fall back on, would show.
    before, need = alive(rule, states), active_cells(rule, alive(rule, states), fires)
    complete, short = (sparse._sparse_update(rule, states, before, _active_rows(need, c)) for c in (count, count - 1))
    assert np.abs(np.asarray(complete - short)).max() > 1e-3


def test_rows_are_numbered_in_order_and_those_left_over_lie_outside():
    need = np.zeros((2, 3, 4), bool)
    need[0, 0, 1] = need[0, 2, 3] = need[1, 1, 0] = True
    rows = _active_rows(jnp.asarray(need), 5)
    np.testing.assert_array_equal(rows[:3], [1, 11, 16])
    assert set(np.asarray(rows[3:])) & set(range(24)) == set()
    assert len(set(np.asarray(rows).tolist())) == 5


def test_the_cells_needed_are_the_firing_ones_within_two_cells_of_alpha():
    rule = random_rule(0)
    state = np.zeros((1, *GRID, 8), np.float32)
    state[0, 5, 6, 3] = 1.0
    before = alive(rule, jnp.asarray(state))
    everyone = jnp.ones((1, *GRID), bool)
    expected = np.zeros(GRID, bool)
    expected[3:8, 4:9] = True
    np.testing.assert_array_equal(active_cells(rule, before, everyone)[0], expected)
    fire = masks(0, 1, GRID)
    np.testing.assert_array_equal(active_cells(rule, before, jnp.asarray(fire))[0], expected & fire[0])


# Edits.

TOP = np.zeros(GRID, bool)
TOP[:5] = True
EDITS = {
    "perception": lambda r: edits.scale(r, 0.3, site="perception", filters="dx", channels="alpha"),
    "pre": lambda r: edits.add(r, 0.5, site="pre", units=[0, 3]),
    "post, a region": lambda r: edits.clamp(r, 0.7, site="post", units=range(6)).where(TOP),
    "post, a value a unit": lambda r: edits.clamp(r, np.linspace(0, 1, 12), site="post"),
    "delta, scaled": lambda r: edits.scale(r, 0.2, site="delta", channels=[3, 4, 5]),
    "update, frozen": lambda r: edits.freeze(r, channels=[3, 5]).where(TOP),
    "perception at another step": lambda r: edits.erase(r, site="perception").at(9),
}


@pytest.mark.parametrize("name", EDITS)
def test_sparse_steps_equal_dense_ones_under_an_edit_of_what_a_row_computes(name):
    rule = random_rule(3, strength=0.4)
    some_edits = [EDITS[name](rule)]
    states, fires = bodies(), jnp.asarray(masks(0, 7, GRID))
    assert sparse_is_exact(rule, some_edits)
    step, dense = sparse_and_dense(rule, (400,), some_edits, t=4)
    plain = sparse_and_dense(rule, ())[1](rule, states, fires)
    expected = dense(rule, states, fires)
    np.testing.assert_allclose(step(rule, states, fires), expected, **CLOSE)
    assert (np.abs(np.asarray(plain - expected)).max() > 1e-3) == (name != "perception at another step")


@pytest.mark.parametrize(
    "make_edit",
    [
        lambda r: edits.clamp(r, 0.5, site="delta"),
        lambda r: edits.add(r, 0.5, site="update"),
        lambda r: edits.scale(r, 0.5, site="fire"),
        lambda r: edits.scale(r, 0.5, site="alive"),
    ],
)
def test_edits_that_reach_beyond_the_rows_take_the_dense_step(make_edit):
    rule = random_rule(0)
    assert not sparse_is_exact(rule, [make_edit(rule)])
    assert sparse_is_exact(rule, [edits.scale(rule, 0.5)])


def test_noise_in_a_row_and_rules_that_do_not_test_before_take_the_dense_step():
    rule = random_rule(0)
    assert not sparse_is_exact(rule, [edits.noise(rule, 0.5, site="post")])
    assert sparse_is_exact(rule, [edits.noise(rule, 0.5)])
    for alive_by, expected in (("both", True), ("before", True), ("gate", True), ("after", False), ("none", False)):
        assert sparse_is_exact(random_rule(0, alive=alive_by)) == expected


# Gradients.


@pytest.mark.parametrize("name", ["published", "circular", "masked gate", "clipped", "steered tanh"])
@pytest.mark.parametrize("capacities", [(400,), (1,)])
def test_gradients_of_sparse_steps_equal_those_of_dense_ones(name, capacities):
    rule = random_rule(3, strength=0.4, **CONVENTIONS[name])
    states, fires = bodies()[1:6], jnp.asarray(masks(0, 5, GRID))
    weight = jax.random.normal(jax.random.key(0), states.shape)
    slopes = [
        jax.jit(jax.grad(lambda r, s, step=step: (step(r, s, fires) * weight).sum(), argnums=(0, 1)))(rule, states)
        for step in sparse_and_dense(rule, capacities)
    ]
    for slope, expected in zip(*map(jax.tree.leaves, slopes), strict=True):
        np.testing.assert_allclose(slope, expected, atol=1e-4, rtol=1e-4)
    assert all(float(jnp.abs(w[...]).max()) > 1e-3 for w in slopes[0][0].weights)


# Published bodies: where a version without the ring goes wrong.


def first_difference(published_run, steps):
    """The first step that leads to another state than the dense step does, or None."""
    rule, cells = published_run.organism.rule, int(np.prod(published_run.organism.canvas))
    start, fires = published_run.organism.initial_state(), jnp.asarray(published_run.fires[:steps])

    @jax.jit
    def run(rule):
        def body(states, fire):
            quick, plain = states
            quick = sparse_step(rule, quick[None], fire[None], (cells,))[0]
            plain = dense_step(rule, plain, fire)
            return (quick, plain), jnp.abs(quick - plain).max()

        return jax.lax.scan(body, (start, start), fires)[1]

    wrong = np.flatnonzero(np.asarray(run(rule)) > 1e-4)
    return int(wrong[0]) if wrong.size else None


@pytest.mark.parametrize(("name", "step"), [("chen-gecko", 21), ("gorold-gecko", 66)])
def test_without_the_ring_of_dead_neighbours_a_published_body_goes_wrong(published, monkeypatch, name, step):
    published_run = organisms.load_published(published, name)
    assert first_difference(published_run, 100) is None
    monkeypatch.setattr(sparse, "active_cells", lambda rule, before, fire: before & fire)
    assert first_difference(published_run, 100) == step


def test_rules_differ_only_where_the_ring_matters():
    # A dead neighbour whose alpha rises in the step keeps a dying cell's site alive: by hand.
    first, last = np.zeros((6, 2)), np.zeros((2, 2))
    first[5, 0], first[1, 1] = 1.0, 1.0  # alpha's dy where positive, alpha itself
    last[0, 1], last[1, 1] = 4.0, -1.0  # the cell above a living one rises, the living one dies
    rule = Rule.from_arrays([first, last], channels=2, alpha=1)
    state = np.zeros((1, 7, 7, 2), np.float32)
    state[0, 3, 3, 1] = 1.0
    fire = jnp.ones((1, 7, 7), bool)
    after = sparse_step(rule, jnp.asarray(state), fire, (49,))[0]
    # dy of alpha one row above the cell is 2/8 straight above and 1/8 beside it, times 4.
    np.testing.assert_allclose(after[2, 2:5, 1], [0.5, 1.0, 0.5], atol=1e-6)
    assert float(jnp.abs(after[3:]).max()) == 0

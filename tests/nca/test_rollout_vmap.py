"""Runs mapped by `vmap` equal the loop, on canvases with and without windows, gradients included."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import blobs, creeping_rule, masks, organism, random_rule

from nca import edits
from nca.organism import Organism
from nca.rollout import _roll, grow, replay, run_key, trajectory

SMALL = (9, 11)
STEPS = 8  # a stretch, so that the windowed run looks through its window
CLOSE = {"atol": STEPS * 1e-6, "rtol": 1e-6}


@pytest.fixture(scope="module")
def body():
    """A rule whose body spreads, on a canvas that is grown on through a window."""
    return organism(creeping_rule(2, perception="sobel-laplacian"), (30, 30))


@pytest.fixture(scope="module")
def small():
    """The same on a canvas too small for windows."""
    return organism(creeping_rule(2, perception="sobel-laplacian"), SMALL)


def keys_of(runs):
    return jnp.stack([run_key(0, run) for run in range(runs)])


def assert_equals_loop(mapped, run, arguments):
    looped = jnp.stack([run(argument) for argument in arguments])
    np.testing.assert_allclose(mapped, looped, **CLOSE)
    assert len({np.asarray(entry).tobytes() for entry in looped}) == len(arguments)


def test_runs_mapped_over_keys_equal_the_loop(body):
    def run(key):
        return trajectory(body, STEPS, key=key)

    keys = keys_of(4)
    assert_equals_loop(jax.vmap(run)(keys), run, list(keys))


def test_runs_mapped_over_states_and_masks_equal_the_loop(body):
    states = jnp.stack([blobs(n, body.canvas, 8) for n in range(3)])
    fires = jnp.stack([masks(n, STEPS, body.canvas) for n in range(3)])
    mapped = jax.vmap(lambda s, f: grow(body, STEPS, state=s, fire=f))(states, fires)
    assert_equals_loop(mapped, lambda n: grow(body, STEPS, state=states[n], fire=fires[n]), range(3))


def test_runs_mapped_over_stacked_edits_equal_the_loop(body):
    left = np.zeros(body.canvas, bool)
    left[:, : body.canvas[1] // 2] = True
    three_edits = [
        edits.scale(body, 0.5, channels="h0"),
        edits.scale(body, 0.0, channels=["r", "h1"]).at(2),
        edits.scale(body, 2.0, channels="alpha").where(left).at(slice(1, 4)),
    ]

    def run(edit):
        return grow(body, STEPS, key=run_key(0), edits=[edit])

    assert_equals_loop(jax.vmap(run)(edits.stack(three_edits)), run, three_edits)


def test_runs_mapped_over_start_steps_equal_the_loop(body):
    state = blobs(0, body.canvas, 8)

    def run(start):
        return grow(body, STEPS, key=run_key(0), state=state, start=start)

    assert_equals_loop(jax.vmap(run)(jnp.arange(3)), run, [0, 1, 2])


def test_runs_mapped_over_rules_equal_the_loop(small):
    def run(angle):
        return grow(Organism(small.rule.rotate(angle), canvas=SMALL), STEPS, key=run_key(0))

    angles = jnp.array([0.0, 0.5, 2.0])
    assert_equals_loop(jax.vmap(run)(angles), run, list(angles))


def test_a_map_within_a_map_equals_the_double_loop(body):
    keys, three_edits = keys_of(2), [edits.scale(body, f, channels="h0") for f in (0.0, 0.5, 1.0)]

    def run(key, edit):
        return grow(body, STEPS, key=key, edits=[edit])

    nested = jax.vmap(lambda key: jax.vmap(lambda edit: run(key, edit))(edits.stack(three_edits)))(keys)
    looped = [[run(key, edit) for edit in three_edits] for key in keys]
    np.testing.assert_allclose(nested, jnp.stack([jnp.stack(row) for row in looped]), **CLOSE)


def test_the_sites_of_a_replay_mapped_over_steps_equal_the_loop(body):
    states = trajectory(body, STEPS, key=run_key(0))[:-1]
    mapped = jax.vmap(lambda s, t: replay(body, s, t, key=run_key(0)))(states, jnp.arange(STEPS))
    for t in (0, STEPS - 1):
        for site, values in replay(body, states[t], t, key=run_key(0)).items():
            np.testing.assert_allclose(mapped[site][t], values, **CLOSE, err_msg=site)


def slope(body, key, state):
    return jax.grad(lambda s: (grow(body, STEPS, key=key, state=s)[..., :4] ** 2).sum())(state)


def test_gradients_mapped_over_keys_equal_the_loop(body):
    state, keys = jnp.asarray(blobs(0, body.canvas, 8)), keys_of(3)
    mapped = jax.vmap(lambda key: slope(body, key, state))(keys)
    looped = jnp.stack([slope(body, key, state) for key in keys])
    np.testing.assert_allclose(mapped, looped, atol=1e-5, rtol=1e-4)
    assert float(jnp.abs(looped[0] - looped[1]).max()) > 1e-3


def test_the_gradient_of_a_mapped_loss_is_the_mean_of_gradients(small):
    state, keys = jnp.asarray(blobs(0, SMALL, 8)), keys_of(3)

    def loss(s):
        return jax.vmap(lambda key: (grow(small, STEPS, key=key, state=s)[..., :4] ** 2).sum())(keys).mean()

    looped = jnp.stack([slope(small, key, state) for key in keys]).mean(0)
    np.testing.assert_allclose(jax.grad(loss)(state), looped, atol=1e-5, rtol=1e-4)


# Gradients themselves.


def test_the_gradient_of_a_start_state_equals_finite_differences():
    body = organism(random_rule(4, strength=0.4), SMALL)
    fires = masks(0, STEPS, SMALL)
    state = blobs(0, SMALL, 8)
    weight = np.random.default_rng(0).normal(size=(*SMALL, 8)).astype(np.float32)

    def value(s):
        return float((np.asarray(grow(body, STEPS, state=s, fire=fires), float) * weight).sum())

    slopes = jax.grad(lambda s: (grow(body, STEPS, state=s, fire=fires) * weight).sum())(jnp.asarray(state))
    strongest = np.argsort(-np.abs(np.asarray(slopes)).ravel())[:6]
    for flat in strongest:
        at = np.unravel_index(flat, state.shape)
        up, down = state.copy(), state.copy()
        up[at], down[at] = up[at] + 1e-2, down[at] - 1e-2
        assert (value(up) - value(down)) / 2e-2 == pytest.approx(float(slopes[at]), rel=0.05)


def test_the_gradient_reaches_the_rule_and_the_value_of_an_edit(small):
    def loss(rule, factor):
        cut = replace(edits.scale(small, 0.9, channels="h0"), value=factor)
        return (grow(Organism(rule, canvas=SMALL), STEPS, key=run_key(0), edits=[cut]) ** 2).sum()

    by_rule, by_factor = jax.grad(loss, argnums=(0, 1))(small.rule, jnp.float32(0.9))
    assert all(float(jnp.abs(w[...]).max()) > 1e-3 for w in by_rule.weights)
    low, high = (float(loss(small.rule, jnp.float32(f))) for f in (0.89, 0.91))
    assert float(by_factor) == pytest.approx((high - low) / 0.02, rel=0.1, abs=1e-2)


def test_one_compiled_program_serves_every_key_state_and_start_step(small):
    grow(small, STEPS, key=run_key(0))
    before = _roll._cache_size()
    for seed in range(3):
        grow(small, STEPS, key=run_key(seed, 5), state=blobs(seed, SMALL, 8), start=seed)
    other = organism(creeping_rule(9, perception="sobel-laplacian"), SMALL)
    grow(other, STEPS, key=run_key(0))
    assert _roll._cache_size() == before
    grow(small, STEPS + 1, key=run_key(0))
    assert _roll._cache_size() == before + 1

"""The hand-written gradient of a roll-out equals that of a plain scan, for any number of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nca.unroll import unroll

LONGEST = 6
KEY = jax.random.key(1)


def advance(parameters, states, key, t):
    """A step that mixes states, parameters, the step's number and noise; parts of it branch."""
    noise = jax.random.normal(jax.random.fold_in(key, t), states.shape)
    mixed = jnp.tanh(states @ parameters["w"] + parameters["b"] * (t + 1) + 0.1 * noise)
    return lax.cond(mixed.sum() > 0, lambda: 0.5 * states + mixed, lambda: states - mixed**2)


def plain(parameters, states, key, steps):
    return lax.scan(lambda s, t: (advance(parameters, s, key, t), None), states, jnp.arange(steps))[0]


@pytest.fixture(scope="module")
def arguments():
    keys = jax.random.split(jax.random.key(0), 3)
    parameters = {"w": jax.random.normal(keys[0], (3, 3)), "b": jax.random.normal(keys[1], (3,))}
    return parameters, jax.random.normal(keys[2], (4, 3))


@pytest.mark.parametrize("steps", [0, 1, 2, 5, LONGEST])
def test_value_and_gradient_equal_those_of_a_scan(arguments, steps):
    def loss(run):
        return lambda p, s: (run(p, s) ** 2 * jnp.arange(1.0, 13.0).reshape(4, 3)).sum()

    ours = loss(lambda p, s: unroll(advance, LONGEST, p, s, KEY, steps))
    theirs = loss(lambda p, s: plain(p, s, KEY, steps))
    np.testing.assert_allclose(ours(*arguments), theirs(*arguments), rtol=1e-6)
    slopes, expected = (jax.grad(f, argnums=(0, 1))(*arguments) for f in (ours, theirs))
    for a, b in zip(*map(jax.tree.leaves, (slopes, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * (10 + float(jnp.abs(b).max())))
    assert float(jnp.abs(slopes[1]).max()) > 0
    assert (float(jnp.abs(slopes[0]["w"]).max()) > 0) == (steps > 0)


def test_one_compiled_program_serves_every_number_of_steps(arguments):
    traced = []

    @jax.jit
    def slope(steps):
        traced.append(steps)
        return jax.grad(lambda p: unroll(advance, LONGEST, p, arguments[1], KEY, steps).sum())(arguments[0])

    slopes = [slope(steps)["w"] for steps in range(LONGEST + 1)]
    assert len(traced) == 1
    for steps, slope in enumerate(slopes):
        expected = jax.grad(lambda p, n=steps: plain(p, arguments[1], KEY, n).sum())(arguments[0])["w"]
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-5)


def test_the_record_is_not_made_where_no_gradient_is_asked_for(arguments):
    def peak(f):
        return jax.jit(f).lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    longest = 4000
    run = peak(lambda p, s: unroll(advance, longest, p, s, KEY, 5))
    record = longest * arguments[1].nbytes
    assert run < record / 10
    assert peak(jax.grad(lambda p, s: unroll(advance, longest, p, s, KEY, 5).sum())) >= record

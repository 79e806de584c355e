"""A roll-out of any number of steps, differentiable, in one program and little memory.

The forward pass keeps the states only. The backward pass walks them in reverse and recomputes one
step at a time, so both passes are loops of exactly as many steps as were asked for, and a step may
branch without storing what either branch would need: half the time and half the memory of a
differentiated scan with skipped steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

Advance = Callable[[Any, Array, Array, Array], Array]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def unroll(advance: Advance, longest: int, parameters: Any, states: Array, key: Array, steps: Array | int) -> Array:
    """The states after `steps` steps of `advance(parameters, states, key, t)`, t = 0, 1, ...

    Args:
        advance: one step; static.
        longest: most steps that will be asked for; static, sizes the record for the gradient.
        parameters: any pytree of float arrays; the gradient reaches them and the states.
        states: start.
        key: passed on to every step.
        steps: number of steps, 0 to `longest`.
    """
    return lax.fori_loop(0, steps, lambda t, s: advance(parameters, s, key, t), states)


def _forward(
    advance: Advance, longest: int, parameters: Any, states: Array, key: Array, steps: Array | int
) -> tuple[Array, tuple[Any, ...]]:
    def body(t: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        states, record = carry
        record = lax.dynamic_update_index_in_dim(record, states, t, 0)
        return advance(parameters, states, key, t), record

    record = jnp.zeros((longest, *states.shape), states.dtype)
    ends, record = lax.fori_loop(0, steps, body, (states, record))
    return ends, (parameters, record, key, steps)


def _backward(advance: Advance, longest: int, kept: tuple[Any, ...], slope: Array) -> tuple[Any, ...]:
    parameters, record, key, steps = kept

    def body(back: Array, carry: tuple[Array, Any]) -> tuple[Array, Any]:
        slope, total = carry
        t = steps - 1 - back
        states = lax.dynamic_index_in_dim(record, t, 0, keepdims=False)
        _, pull = jax.vjp(lambda p, s: advance(p, s, key, t), parameters, states)
        by_parameters, slope = pull(slope)
        return slope, jax.tree.map(jnp.add, total, by_parameters)

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    slope, total = lax.fori_loop(0, steps, body, (slope, zeros))
    return total, slope, None, None


unroll.defvjp(_forward, _backward)

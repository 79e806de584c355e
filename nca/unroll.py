"""Differentiable loops: a roll-out with a hand-written gradient, and the splitting of pytrees that such need.

The forward pass of `unroll` keeps the states only. The backward pass walks them in reverse and recomputes one
step at a time. So both passes are loops of exactly as many steps as were asked for, and a step may branch
without storing what either branch would need: half the time and half the memory of a differentiated scan with
skipped steps.
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
Layout = tuple[Any, tuple[bool, ...]]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def unroll(advance: Advance, max_steps: int, parameters: Any, states: Array, key: Array, steps: Array | int) -> Array:
    """The states after `steps` steps of `advance(parameters, states, key, t)`, t = 0, 1, ...

    Args:
        advance: one step; static.
        max_steps: largest number of steps; static, sets the size of the record for the gradient.
        parameters: any pytree of float arrays; the gradient reaches them and the states.
        states: states at t = 0.
        key: passed on to every step.
        steps: number of steps, 0 to `max_steps`.
    """
    return lax.fori_loop(0, steps, lambda t, s: advance(parameters, s, key, t), states)


def _forward(
    advance: Advance, max_steps: int, parameters: Any, states: Array, key: Array, steps: Array | int
) -> tuple[Array, tuple[Any, ...]]:
    def body(t: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        states, record = carry
        record = lax.dynamic_update_index_in_dim(record, states, t, 0)
        return advance(parameters, states, key, t), record

    record = jnp.zeros((max_steps, *states.shape), states.dtype)
    last, record = lax.fori_loop(0, steps, body, (states, record))
    return last, (parameters, record, key, steps)


def _backward(advance: Advance, max_steps: int, residuals: tuple[Any, ...], cotangent: Array) -> tuple[Any, ...]:
    parameters, record, key, steps = residuals

    def body(i: Array, carry: tuple[Array, Any]) -> tuple[Array, Any]:
        cotangent, total = carry
        t = steps - 1 - i
        states = lax.dynamic_index_in_dim(record, t, 0, keepdims=False)
        _, pullback = jax.vjp(lambda p, s: advance(p, s, key, t), parameters, states)
        by_parameters, cotangent = pullback(cotangent)
        return cotangent, jax.tree.map(jnp.add, total, by_parameters)

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    cotangent, total = lax.fori_loop(0, steps, body, (cotangent, zeros))
    return total, cotangent, None, None


unroll.defvjp(_forward, _backward)


def split_floats(tree: Any) -> tuple[Layout, list[Array], list[Array]]:
    """The layout of a pytree (static, hashable), its floating leaves, which have gradients, and the others."""
    leaves, structure = jax.tree.flatten(tree)
    floating = tuple(bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating)) for leaf in leaves)
    floats = [leaf for leaf, f in zip(leaves, floating, strict=True) if f]
    others = [leaf for leaf, f in zip(leaves, floating, strict=True) if not f]
    return (structure, floating), floats, others


def join_floats(layout: Layout, floats: list[Array], others: list[Array]) -> Any:
    """The pytree that `split_floats` took apart."""
    next_float, next_other = iter(floats), iter(others)
    return jax.tree.unflatten(layout[0], [next(next_float) if f else next(next_other) for f in layout[1]])

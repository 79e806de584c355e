"""Splitting a pytree into what has a gradient and what has none, for hand-written gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

Layout = tuple[Any, tuple[bool, ...]]


def separate(tree: Any) -> tuple[Layout, list[Array], list[Array]]:
    """The layout of a pytree (static, hashable), its floating leaves, and the others."""
    leaves, structure = jax.tree.flatten(tree)
    floating = tuple(bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating)) for leaf in leaves)
    real = [leaf for leaf, f in zip(leaves, floating, strict=True) if f]
    rest = [leaf for leaf, f in zip(leaves, floating, strict=True) if not f]
    return (structure, floating), real, rest


def join(layout: Layout, real: list[Array], rest: list[Array]) -> Any:
    """The pytree that `separate` took apart."""
    reals, others = iter(real), iter(rest)
    return jax.tree.unflatten(layout[0], [next(reals) if f else next(others) for f in layout[1]])

"""A run's fire masks, for what has to be driven by another run's noise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from nca.organism import Organism
from nca.step import fire_mask


def fire_masks(
    organism: Organism, key: Any, steps: int, start: int = 0, canvas: tuple[int, int] | None = None
) -> Bool[Array, "step y x"]:
    """The masks of a run's steps, which drive it as its key does.

    Args:
        organism: what grows.
        key: of the run.
        steps: how many.
        start: the number of the first step.
        canvas: the grid; the organism's own if none.
    """
    size = organism.canvas if canvas is None else (int(canvas[0]), int(canvas[1]))
    return jax.vmap(lambda t: fire_mask(organism.rule, key, t, size))(start + jnp.arange(steps))

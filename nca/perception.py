"""What a cell sees of its 3x3 neighbourhood.

Kernels are sums of shifted slices: on a CPU three times faster than a depthwise convolution, and
exact in the same order of operations everywhere. Rows run down the canvas (y), columns to the
right (x); `dx` grows to the right, `dy` downwards.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nca.rule import Rule


def neighbours(field: Array, boundary: str, fill: float = 0.0) -> dict[tuple[int, int], Array]:
    """The nine neighbours of every cell: `out[dy, dx][..., y, x, :] = field[..., y + dy, x + dx, :]`.

    Args:
        field: (..., y, x, channel).
        boundary: "zero" reads `fill` beyond the canvas, "circular" wraps.
    """
    width = [(0, 0)] * (field.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    if boundary == "circular":
        padded = jnp.pad(field, width, mode="wrap")
    else:
        padded = jnp.pad(field, width, constant_values=fill)
    height, breadth = field.shape[-3], field.shape[-2]
    return {
        (dy, dx): padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + breadth, :]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }


def _sobel(near: dict[tuple[int, int], Array]) -> tuple[Array, Array]:
    """Gradients along x and y, divided by 8 as in Mordvintsev et al. 2020."""
    dx = near[-1, 1] - near[-1, -1] + 2.0 * (near[0, 1] - near[0, -1]) + near[1, 1] - near[1, -1]
    dy = near[1, -1] - near[-1, -1] + 2.0 * (near[1, 0] - near[-1, 0]) + near[1, 1] - near[-1, 1]
    return dx / 8.0, dy / 8.0


def _laplacian(near: dict[tuple[int, int], Array]) -> Array:
    """The nine-point Laplacian [1 2 1; 2 -12 2; 1 2 1] / 16."""
    corners = near[-1, -1] + near[-1, 1] + near[1, -1] + near[1, 1]
    sides = near[-1, 0] + near[1, 0] + near[0, -1] + near[0, 1]
    return (corners + 2.0 * sides - 12.0 * near[0, 0]) / 16.0


def _rotate(dx: Array, dy: Array, angle: Array) -> tuple[Array, Array]:
    """The gradient in a frame whose axes are turned by `angle` radians."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * dx - sin * dy, sin * dx + cos * dy


def perceive(rule: Rule, state: Float[Array, "*b y x channel"]) -> list[Array]:
    """The filters' fields, each of the state's shape, in the order of `rule.filters`."""
    spec = rule.spec
    near = neighbours(state, spec.boundary)
    if rule.kernels is not None:
        kernels = rule.kernels[...]
        return [sum(kernel[:, dy + 1, dx + 1] * cells for (dy, dx), cells in near.items()) for kernel in kernels]
    if spec.perception == "laplacian":
        return [state, _laplacian(near)]
    dx, dy = _sobel(near)
    if spec.perception == "isotropic":
        return [state, _laplacian(near), jnp.sqrt(dx**2 + dy**2 + 1e-8)]
    angle = rule.angle[...]
    if spec.steer is not None:
        angle = angle + state[..., spec.steer, None]
    dx, dy = _rotate(dx, dy, angle)
    return [state, dx, dy] + ([_laplacian(near)] if spec.perception == "sobel-laplacian" else [])


def max_pool(field: Float[Array, "*b y x"], boundary: str) -> Float[Array, "*b y x"]:
    """The 3x3 maximum; beyond a "zero" boundary there is nothing to exceed."""
    width = [(0, 0)] * (field.ndim - 2) + [(1, 1), (1, 1)]
    if boundary == "circular":
        padded = jnp.pad(field, width, mode="wrap")
    else:
        padded = jnp.pad(field, width, constant_values=jnp.finfo(field.dtype).min)
    rows = jnp.maximum(jnp.maximum(padded[..., :-2, :], padded[..., 1:-1, :]), padded[..., 2:, :])
    return jnp.maximum(jnp.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])


def alive(rule: Rule, state: Float[Array, "*b y x channel"]) -> Bool[Array, "*b y x"]:
    """Living sites: the 3x3 maximum of alpha passes the threshold."""
    spec = rule.spec
    strongest = max_pool(state[..., spec.alpha], spec.alive_boundary)
    return strongest >= spec.threshold if spec.inclusive else strongest > spec.threshold


def mature(rule: Rule, state: Float[Array, "*b y x channel"]) -> Bool[Array, "*b y x"]:
    """Cells of the body: their own alpha passes the threshold."""
    spec = rule.spec
    alpha = state[..., spec.alpha]
    return alpha >= spec.threshold if spec.inclusive else alpha > spec.threshold

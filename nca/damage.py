"""Wounds: boolean masks (y, x), True in the cells that a wound removes.

Lengths are in cells, angles in degrees from the x axis (right) towards the y axis (down). A wound
becomes an edit by `edits.erase(organism).where(mask).at(step)`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from nca.errors import UserError

CUTS = ("bottom", "top", "right", "left", "centre")


def disc(canvas: tuple[int, int], centre: tuple[float, float], radius: float) -> Bool[np.ndarray, "y x"]:
    """The cells within `radius` of `centre` (y, x)."""
    if not radius > 0:
        raise UserError(f"A disc needs a radius above 0, got {radius}.")
    y, x = np.ogrid[: canvas[0], : canvas[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def box(canvas: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """The cells of a box of `size` (height, width) whose upper left cell is `corner`."""
    if size[0] < 1 or size[1] < 1:
        raise UserError(f"A box needs a height and a width of at least 1, got {size}.")
    mask = np.zeros(canvas, bool)
    top, left = max(corner[0], 0), max(corner[1], 0)
    mask[top : max(corner[0] + size[0], 0), left : max(corner[1] + size[1], 0)] = True
    return mask


def half_plane(canvas: tuple[int, int], angle: float, offset: float = 0.0) -> Bool[np.ndarray, "y x"]:
    """The cells more than `offset` from the centre of the canvas in direction `angle`.

    The centre lies between the middle cells, so that angle 0 removes the right half of an even canvas.
    """
    y, x = np.ogrid[: canvas[0], : canvas[1]]
    down, right = y - (canvas[0] - 1) / 2, x - (canvas[1] - 1) / 2
    radians = np.radians(angle)
    return right * np.cos(radians) + down * np.sin(radians) > offset + 1e-9


def cut(canvas: tuple[int, int], name: str) -> Bool[np.ndarray, "y x"]:
    """One of the five cuts of Mordvintsev et al. 2020: a half, or the central 16x16 box."""
    if name not in CUTS:
        raise UserError(f"A cut is one of {', '.join(CUTS)}; got {name!r}.")
    height, width = canvas
    mask = np.zeros(canvas, bool)
    halves = {
        "bottom": np.s_[height // 2 :, :],
        "top": np.s_[: height // 2, :],
        "right": np.s_[:, width // 2 :],
        "left": np.s_[:, : width // 2],
        "centre": tuple(np.s_[max(n // 2 - 8, 0) : n // 2 + 8] for n in canvas),
    }
    mask[halves[name]] = True
    return mask


def random_wound(key: Array, canvas: tuple[int, int], kinds: tuple[str, ...]) -> Bool[Array, "y x"]:
    """A random wound for training, one of `kinds`; runs inside compiled code.

    "disc" is that of Mordvintsev et al. 2020: radius U(0.1, 0.4) and centre U(-0.5, 0.5), in units of half
    the canvas. "half" removes a half plane of any direction, its edge within a quarter of the canvas from the
    centre. "core" removes a disc of radius U(0.2, 0.45) within 0.15 of the centre, where the seed was.
    """
    kind_key, centre_key, size_key = jax.random.split(key, 3)
    y = jnp.linspace(-1.0, 1.0, canvas[0])[:, None]
    x = jnp.linspace(-1.0, 1.0, canvas[1])[None, :]
    centre = jax.random.uniform(centre_key, (2,), minval=-0.5, maxval=0.5)
    radius = jax.random.uniform(size_key, minval=0.1, maxval=0.4)
    angle = jax.random.uniform(size_key, minval=0.0, maxval=2 * jnp.pi)
    core = jax.random.uniform(size_key, minval=0.2, maxval=0.45)
    wounds = {
        "disc": (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2,
        "core": (y - 0.3 * centre[0]) ** 2 + (x - 0.3 * centre[1]) ** 2 < core**2,
        "half": x * jnp.cos(angle) + y * jnp.sin(angle) > centre[0] / 2,
    }
    candidates = jnp.stack([wounds[kind] for kind in kinds])
    return candidates[jax.random.randint(kind_key, (), 0, len(kinds))]

"""An organism: a rule with its seed, canvas, target picture and provenance."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nca.errors import UserError
from nca.rule import Rule, check_shapes
from nca.spec import Spec, colour_channels

MAX_SIDE = 2048


@dataclass(frozen=True, eq=False)
class Organism:
    """What is saved, loaded and dissected.

    Attributes:
        rule: the trained network of one cell.
        seed: the patch of cells that growth starts from, (y, x, channel), usually one cell. Its
            middle cell `(height // 2, width // 2)` is placed on the middle cell of the canvas.
        canvas: (y, x), the grid that it grows on by default.
        target: the picture that it was trained on, premultiplied RGBA (y, x, 4), without padding;
            None if there is none.
        name: name in files and reports.
        provenance: where it comes from: training configuration, versions, source.
        metrics: how well it grows, as measured.
    """

    rule: Rule
    seed: Any = None
    canvas: tuple[int, int] = (72, 72)
    target: Float[np.ndarray, "ty tx 4"] | None = None
    name: str = "organism"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_shapes(self.rule)
        seed = _one_cell(self.rule.spec) if self.seed is None else jnp.asarray(self.seed, jnp.float32)
        if seed.ndim != 3 or seed.shape[2] != self.rule.spec.channels or 0 in seed.shape:
            raise UserError(f"A seed must be (y, x, {self.rule.spec.channels}), got {tuple(seed.shape)}.")
        canvas = check_canvas(self.canvas)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "canvas", canvas)
        if self.target is not None:
            picture = np.asarray(self.target, np.float32)
            if picture.ndim != 3 or picture.shape[2] != 4:
                raise UserError(f"A target must be (y, x, 4), got {picture.shape}.")
            object.__setattr__(self, "target", picture)
            pad_to_canvas(picture, canvas, "target")
        pad_to_canvas(np.asarray(seed), canvas, "seed")

    def initial_state(self, canvas: tuple[int, int] | None = None) -> Float[Array, "y x channel"]:
        """s_0: the seed in the middle of an empty canvas."""
        size = self.canvas if canvas is None else check_canvas(canvas)
        return jnp.asarray(pad_to_canvas(np.asarray(self.seed), size, "seed"))

    def padded_target(self, canvas: tuple[int, int] | None = None) -> Float[np.ndarray, "y x 4"] | None:
        """The target in the middle of the canvas, or None."""
        if self.target is None:
            return None
        return pad_to_canvas(self.target, self.canvas if canvas is None else check_canvas(canvas), "target")

    @property
    def hash(self) -> str:
        """Twelve hex digits of what determines growth: rule, seed and canvas, not name or metrics."""
        digest = hashlib.sha256(json.dumps(self.rule.spec.to_json(), sort_keys=True).encode())
        digest.update(str(self.canvas).encode())
        for array in self.arrays().values():
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:12]

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that determine growth, by the names they are saved under."""
        parameters: dict[str, Any] = {f"weights.{i}": w for i, w in enumerate(self.rule.weights)}
        parameters |= {f"biases.{i}": b for i, b in enumerate(self.rule.biases)}
        parameters["angle"] = self.rule.angle
        if self.rule.kernels is not None:
            parameters["kernels"] = self.rule.kernels
        return {k: np.asarray(v[...]) for k, v in parameters.items()} | {"seed": np.asarray(self.seed)}

    def rename(self, name: str) -> Organism:
        """The same organism under another name."""
        return replace(self, name=name)


def check_canvas(canvas: Any) -> tuple[int, int]:
    """The canvas as two integers, or `UserError`."""
    try:
        height, width = (operator.index(n) for n in canvas)
    except (TypeError, ValueError):
        raise UserError(f"A canvas is (height, width) in cells, got {canvas!r}.") from None
    if not (3 <= height <= MAX_SIDE and 3 <= width <= MAX_SIDE):
        raise UserError(f"A canvas needs 3 to {MAX_SIDE} cells a side, got {height}x{width}.")
    return height, width


def pad_to_canvas(patch: np.ndarray, canvas: tuple[int, int], name: str) -> Float[np.ndarray, "y x channel"]:
    """A patch (y, x, channel) amid zeros on a canvas, its middle cell `n // 2` on the canvas's.

    `UserError` where the patch, called `name` in the message, does not fit the canvas.
    """
    height, width, channels = patch.shape
    if height > canvas[0] or width > canvas[1]:
        raise UserError(
            f"The {name} of {height}x{width} does not fit a canvas of {canvas[0]}x{canvas[1]}; use a larger canvas."
        )
    top, left = canvas[0] // 2 - height // 2, canvas[1] // 2 - width // 2
    padded = np.zeros((*canvas, channels), np.float32)
    padded[top : top + height, left : left + width] = patch
    return padded


def picture_seed(spec: Spec, picture: Float[np.ndarray, "y x 4"]) -> Float[np.ndarray, "y x channel"]:
    """A seed that looks like a picture of premultiplied RGBA; its other channels are as high as alpha."""
    seed = np.repeat(picture[..., 3:], spec.channels, axis=-1)
    colours = colour_channels(spec)
    opacity = 1 if spec.premultiplied else np.maximum(picture[..., 3:], 1 / 255)
    seed[..., colours] = (picture[..., :3] / opacity)[..., : len(colours)]
    return seed


def _one_cell(spec: Spec) -> Float[Array, "1 1 channel"]:
    """The seed of Mordvintsev et al. 2020: alpha and hidden channels 1, colours 0."""
    return jnp.ones((1, 1, spec.channels)).at[..., jnp.array(colour_channels(spec), int)].set(0.0)

"""The rule: the trained network of one cell, its arrays held to the conventions of its `Spec`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from nca.errors import UserError
from nca.spec import PERCEPTIONS, Spec, channel_names


class _Fixed(nnx.Variable):
    """An array of a rule that training leaves alone."""


class Rule(nnx.Module):
    """The network of one cell: perception, hidden layer(s), update.

    Attributes:
        spec: the conventions.
        weights: one matrix per layer, (inputs, outputs); the inputs of the first are ordered
            filter-major: feature `filter * channels + channel`.
        biases: one vector per layer.
        kernels: 3x3 correlation kernels, (filter, channel or 1, 3, 3), of a "learned" perception.
        angle: radians by which the compass of a Sobel perception is turned.
    """

    def __init__(
        self,
        spec: Spec,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        kernels: ArrayLike | None = None,
        angle: ArrayLike = 0.0,
    ) -> None:
        self.spec = spec
        self.weights = nnx.List([nnx.Param(jnp.asarray(w, jnp.float32)) for w in weights])
        self.biases = nnx.List([nnx.Param(jnp.asarray(b, jnp.float32)) for b in biases])
        self.kernels = None if kernels is None else nnx.Param(jnp.asarray(kernels, jnp.float32))
        self.angle = _Fixed(jnp.asarray(angle, jnp.float32))

    @classmethod
    def from_arrays(
        cls,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
        *,
        kernels: ArrayLike | None = None,
        angle: float = 0.0,
        **conventions: Any,
    ) -> Rule:
        """A rule of given arrays.

        Args:
            weights: two or more matrices (inputs, outputs), applied in turn with the activation
                between; the last has as many outputs as the state has channels.
            biases: one vector per layer; None where a layer has none (the same as zeros).
            kernels: (filter, channel or 1, 3, 3), only for perception="learned".
            angle: radians that the compass is turned by.
            **conventions: fields of `Spec`; `channels` is read off the last matrix.

        Raises:
            UserError: shapes that do not fit each other or the conventions.
        """
        if len(weights) < 2:
            raise UserError(f"A rule needs at least two layers of weights, got {len(weights)}.")
        matrices = [jnp.asarray(w, jnp.float32) for w in weights]
        if any(w.ndim != 2 for w in matrices):
            raise UserError(f"Weights must be matrices (inputs, outputs), got {[w.shape for w in matrices]}.")
        conventions.setdefault("channels", int(matrices[-1].shape[1]))
        if biases is not None and len(biases) != len(matrices):
            raise UserError(f"{len(matrices)} layers need as many biases (or None), got {len(biases)}.")
        vectors = [
            jnp.zeros(w.shape[1]) if b is None else jnp.asarray(b, jnp.float32)
            for w, b in zip(matrices, [None] * len(matrices) if biases is None else biases, strict=True)
        ]
        rule = cls(Spec(**conventions), matrices, vectors, kernels, angle)
        check_shapes(rule)
        return rule

    @property
    def filters(self) -> tuple[str, ...]:
        """The names of the perception's filters, in the order of the features."""
        if self.spec.perception != "learned":
            return PERCEPTIONS[self.spec.perception]
        count = 0 if self.kernels is None else self.kernels.shape[0]
        return tuple(f"learned{k}" for k in range(count))

    @property
    def channel_names(self) -> tuple[str, ...]:
        """`r g b alpha h0 h1 ...` by position; alpha stands where the spec puts it."""
        return channel_names(self.spec)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(int(p.size) for p in jax.tree.leaves(nnx.state(self, nnx.Param)))

    def rotate(self, radians: float | Array) -> Rule:
        """The same rule with its compass turned further by `radians`: the body turns from y towards x.

        The kernels of a "learned" perception have no compass.
        """
        if self.spec.perception == "learned":
            raise UserError("A learned perception has no compass to turn; its kernels would have to turn.")
        weights, biases = [w[...] for w in self.weights], [b[...] for b in self.biases]
        return Rule(self.spec, weights, biases, None, self.angle[...] + radians)

    def with_spec(self, **conventions: Any) -> Rule:
        """The same arrays under other conventions."""
        kernels = None if self.kernels is None else self.kernels[...]
        weights, biases = [w[...] for w in self.weights], [b[...] for b in self.biases]
        return Rule(replace(self.spec, **conventions), weights, biases, kernels, self.angle[...])


def init_rule(key: Array, spec: Spec | None = None, hidden: int = 128) -> Rule:
    """A rule before training: its last layer is zero, so a step changes nothing.

    Args:
        key: draws the hidden layer (LeCun normal, as dense layers are commonly begun) and the
            kernels of a "learned" perception.
        spec: the conventions; the published ones by default.
        hidden: number of hidden units.
    """
    spec = spec or Spec()
    kernels = None
    filters = len(PERCEPTIONS[spec.perception])
    if spec.perception == "learned":
        key, draw = jax.random.split(key)
        filters = 3
        kernels = jax.random.normal(draw, (filters, spec.channels, 3, 3)) / 3
    inputs = filters * spec.channels
    first = jax.nn.initializers.lecun_normal()(key, (inputs, hidden), jnp.float32)
    weights = [first, jnp.zeros((hidden, spec.channels))]
    return Rule(spec, weights, [jnp.zeros(hidden), jnp.zeros(spec.channels)], kernels)


def check_shapes(rule: Rule) -> None:
    """Raise `UserError` where the arrays of a rule do not fit each other or its conventions."""
    spec, sizes = rule.spec, [tuple(w.shape) for w in rule.weights]
    learned = spec.perception == "learned"
    if learned != (rule.kernels is not None):
        raise UserError(f"Kernels belong to perception 'learned' and to it alone; it is {spec.perception!r}.")
    if rule.kernels is not None:
        shape = tuple(rule.kernels.shape)
        if len(shape) != 4 or shape[2:] != (3, 3) or shape[1] not in (1, spec.channels):
            raise UserError(f"Kernels must be (filter, {spec.channels} or 1, 3, 3), got {shape}.")
    inputs = len(rule.filters) * spec.channels
    if sizes[0][0] != inputs:
        raise UserError(
            f"{len(rule.filters)} filters of {spec.channels} channels make {inputs} features, "
            f"but the first layer takes {sizes[0][0]}."
        )
    if len(rule.biases) != len(sizes):
        raise UserError(f"{len(sizes)} layers need as many biases, got {len(rule.biases)}.")
    if rule.angle.shape != ():
        raise UserError(f"A rule's angle is one number, got an array of shape {rule.angle.shape}.")
    if any(a[1] != b[0] for a, b in pairwise(sizes)) or sizes[-1][1] != spec.channels:
        raise UserError(f"Layers {sizes} do not chain to {spec.channels} channels.")
    for size, bias in zip(sizes, rule.biases, strict=True):
        if tuple(bias.shape) != (size[1],):
            raise UserError(f"A layer of {size[1]} outputs needs as many biases, got {tuple(bias.shape)}.")


def to_rgba(spec: Spec, state: Float[Array, "*grid channel"]) -> Float[Array, "*grid 4"]:
    """The picture of a state: premultiplied RGBA clipped to 0..1.

    Rules with fewer than four channels show grey levels of their alpha.
    """
    alpha = jnp.clip(state[..., spec.alpha], 0.0, 1.0)[..., None]
    if spec.colours is None and (spec.channels < 4 or spec.alpha > 3):
        return jnp.concatenate([alpha * 0.4] * 3 + [alpha], axis=-1)
    colours = spec.colours or [c for c in range(4) if c != spec.alpha]
    rgb = jnp.clip(state[..., jnp.array(colours)], 0.0, 1.0)
    return jnp.concatenate([rgb if spec.premultiplied else rgb * alpha, alpha], axis=-1)

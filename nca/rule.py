"""The rule: the trained network of one cell, with the conventions of its `Spec`."""

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
from nca.spec import PERCEPTIONS, Spec, channel_names, colour_channels


class _Fixed(nnx.Variable):
    """An array of a rule that is not trained."""


class Rule(nnx.Module):
    """The network of one cell: perception, hidden layer(s), update.

    Attributes:
        spec: the conventions.
        weights: one matrix per layer, (inputs, outputs); the inputs of the first are ordered
            filter-major: feature `filter * channels + channel`.
        biases: one vector per layer.
        kernels: 3x3 correlation kernels, (filter, channel or 1, 3, 3), of a "learned" perception.
        angle: radians by which the axes of dx and dy are turned.
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
        """A rule made of these arrays.

        Args:
            weights: two or more matrices (inputs, outputs), applied in turn with the activation in between; the
                last has as many outputs as the state has channels.
            biases: one vector per layer, or None for a layer without.
            kernels: (filter, channel or 1, 3, 3), for perception="learned" only.
            angle: radians by which the axes of dx and dy are turned.
            **conventions: fields of `Spec`; `channels` follows from the last matrix.

        Raises:
            UserError: the shapes do not fit each other or the conventions.
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
            return PERCEPTIONS[self.spec.perception].filters
        return tuple(f"learned{k}" for k in range(0 if self.kernels is None else self.kernels.shape[0]))

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels by position: r, g, b, alpha, h0, h1, ..."""
        return channel_names(self.spec)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(int(p.size) for p in jax.tree.leaves(nnx.state(self, nnx.Param)))

    def rotate(self, radians: float | Array) -> Rule:
        """The same rule with the axes of dx and dy turned by `radians` more; the body turns from y towards x.

        Raises:
            UserError: the perception is learned, so that its kernels would have to be turned.
        """
        if self.spec.perception == "learned":
            raise UserError("A learned perception has no compass to turn; rotate a rule with fixed filters instead.")
        weights, biases = [w[...] for w in self.weights], [b[...] for b in self.biases]
        return Rule(self.spec, weights, biases, None, self.angle[...] + radians)

    def with_spec(self, **conventions: Any) -> Rule:
        """The same arrays under other conventions."""
        kernels = None if self.kernels is None else self.kernels[...]
        weights, biases = [w[...] for w in self.weights], [b[...] for b in self.biases]
        return Rule(replace(self.spec, **conventions), weights, biases, kernels, self.angle[...])


def init_rule(key: Array, spec: Spec | None = None, hidden_size: int = 128) -> Rule:
    """A rule before training: its last layer is zero, so that a step changes nothing.

    Args:
        key: draws the hidden layer (LeCun normal) and the kernels of a "learned" perception.
        spec: the conventions; those of Mordvintsev et al. 2020 by default.
        hidden_size: number of hidden units.
    """
    spec = spec or Spec()
    kernels = None
    filters = len(PERCEPTIONS[spec.perception].filters)
    if spec.perception == "learned":
        key, kernel_key = jax.random.split(key)
        filters = 3
        kernels = jax.random.normal(kernel_key, (filters, spec.channels, 3, 3)) / 3
    first = jax.nn.initializers.lecun_normal()(key, (filters * spec.channels, hidden_size), jnp.float32)
    weights = [first, jnp.zeros((hidden_size, spec.channels))]
    return Rule(spec, weights, [jnp.zeros(hidden_size), jnp.zeros(spec.channels)], kernels)


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
    """The picture of a state: RGBA in 0..1, the colours multiplied by alpha.

    A rule without colour channels is shown in grey, by its alpha.
    """
    alpha = jnp.clip(state[..., spec.alpha], 0.0, 1.0)[..., None]
    colours = colour_channels(spec)
    if not colours:
        return jnp.concatenate([alpha * 0.4] * 3 + [alpha], axis=-1)
    rgb = jnp.clip(state[..., jnp.array(colours)], 0.0, 1.0)
    return jnp.concatenate([rgb if spec.premultiplied else rgb * alpha, alpha], axis=-1)

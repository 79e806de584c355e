"""The rule: the trained network of one cell, and what a step needs to know besides.

`Spec` holds the conventions (static, hashable), `Rule` the arrays. Published rules differ in every
convention named here, and a wrong one is often silent: the picture still grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from nca.errors import UserError

PERCEPTIONS: dict[str, tuple[str, ...]] = {
    "sobel": ("identity", "dx", "dy"),
    "laplacian": ("identity", "laplacian"),
    "isotropic": ("identity", "laplacian", "gradient"),
    "sobel-laplacian": ("identity", "dx", "dy", "laplacian"),
    "steered": ("identity", "dx", "dy"),
    "learned": (),
}
ALIVE = ("both", "after", "gate", "none")
BOUNDARIES = ("zero", "circular")
SQUASHES = ("none", "tanh")
COLOURS = ("r", "g", "b")


class Fixed(nnx.Variable):
    """An array of a rule that training leaves alone."""


@dataclass(frozen=True)
class Spec:
    """The conventions of a rule.

    Attributes:
        channels: number of channels of a cell's state, at least 2.
        perception: a name of `PERCEPTIONS`; "learned" reads its 3x3 kernels from the rule.
        steer: for "steered" perception, the channel that holds each cell's angle in radians.
        boundary: what perception reads beyond the canvas, "zero" or "circular".
        alive_boundary: the same for the alive test.
        alpha: the channel whose 3x3 maximum tells a living site.
        threshold: alive where that maximum exceeds it; 0.1 in Mordvintsev et al. 2020.
        inclusive: alive also where the maximum equals the threshold.
        alive: "both" (tested before and after the update), "after" alone, "gate" (the test before
            gates the update only and nothing is erased), or "none".
        reads: perception of the "state", or of the "masked" state (dead sites read as zero).
        fire_rate: probability that a cell updates in a step; 1 is synchronous.
        activation_slope: slope of the hidden layer below zero; 0 is relu.
        squash: "none" or "tanh", applied to the delta.
        clip: range that the next state is clipped to, or none.
        premultiplied: colour channels are multiplied by alpha (else straight).
        clip_channels: first channel that `clip` holds for, and the one before which it ends; all if none.
        colours: channels of red, green and blue where alpha does not stand among the first four.
    """

    channels: int = 16
    perception: str = "sobel"
    steer: int | None = None
    boundary: str = "zero"
    alive_boundary: str = "zero"
    alpha: int = 3
    threshold: float = 0.1
    inclusive: bool = False
    alive: str = "both"
    reads: str = "state"
    fire_rate: float = 0.5
    activation_slope: float = 0.0
    squash: str = "none"
    clip: tuple[float, float] | None = None
    premultiplied: bool = True
    clip_channels: tuple[int, int] | None = None
    colours: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        _one_of("perception", self.perception, PERCEPTIONS)
        _one_of("boundary", self.boundary, BOUNDARIES)
        _one_of("alive_boundary", self.alive_boundary, BOUNDARIES)
        _one_of("alive", self.alive, ALIVE)
        _one_of("reads", self.reads, ("state", "masked"))
        _one_of("squash", self.squash, SQUASHES)
        _in_range("channels", self.channels, 2, 1024)
        _in_range("alpha", self.alpha, 0, self.channels - 1)
        _in_range("threshold", self.threshold, 0.0, 1e6)
        _in_range("fire_rate", self.fire_rate, 0.0, 1.0)
        _in_range("activation_slope", self.activation_slope, 0.0, 1.0)
        for flag in ("inclusive", "premultiplied"):
            if not isinstance(getattr(self, flag), bool):
                raise UserError(f"{flag} must be true or false; got {getattr(self, flag)!r}.")
        if (self.perception == "steered") != (self.steer is not None):
            raise UserError(
                "Steered perception needs the channel that holds the angle, and no other perception "
                f"takes one; got perception={self.perception!r} with steer={self.steer!r}."
            )
        if self.steer is not None:
            _in_range("steer", self.steer, 0, self.channels - 1)
        if self.clip is not None:
            if len(self.clip) != 2:
                raise UserError(f"clip needs a lower and an upper bound, got {self.clip}.")
            object.__setattr__(self, "clip", (float(self.clip[0]), float(self.clip[1])))
            if not self.clip[0] < self.clip[1]:
                raise UserError(f"clip needs a lower bound below the upper one, got {self.clip}.")
        _check_places(self)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values; the rare ones only where they say something."""
        return {
            k: v for k, v in asdict(self).items() if v is not None or k not in ("clip_channels", "colours")
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Spec:
        """The spec that `to_json` described; unknown fields raise `UserError`."""
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise UserError(f"A rule has no convention named {', '.join(sorted(map(repr, unknown)))}.")
        try:
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            return cls(**given)
        except (TypeError, ValueError, IndexError) as error:
            raise UserError(f"The rule's conventions do not hold: {error}") from error


def _one_of(field: str, value: Any, known: Sequence[str] | dict[str, Any]) -> None:
    if value not in tuple(known):
        raise UserError(f"{field} must be one of {', '.join(known)}; got {value!r}.")


def _in_range(field: str, value: float, low: float, high: float) -> None:
    kind: Any = int if isinstance(low, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        whole = "a whole number " if kind is int else ""
        raise UserError(f"{field} must be {whole}between {low} and {high}; got {value!r}.")


def _check_places(spec: Spec) -> None:
    if spec.clip_channels is not None:
        first, stop = spec.clip_channels
        _in_range("clip_channels", first, 0, spec.channels - 1)
        _in_range("clip_channels", stop, first + 1, spec.channels)
    if spec.colours is not None:
        for channel in spec.colours:
            _in_range("colours", channel, 0, spec.channels - 1)
        if spec.alpha < 4 or len({*spec.colours, spec.alpha}) != 4:
            raise UserError(
                f"colours are three channels beside an alpha from channel 4 on; got {spec.colours}."
            )


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
        self.angle = Fixed(jnp.asarray(angle, jnp.float32))

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

    def turned(self, radians: float | Array) -> Rule:
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


def channel_names(spec: Spec) -> tuple[str, ...]:
    """Names of the channels by position."""
    if spec.colours is not None:
        known = {**dict(zip(spec.colours, COLOURS, strict=True)), spec.alpha: "alpha"}
        rest = iter(range(spec.channels))
        return tuple(known.get(c) or f"h{next(rest)}" for c in range(spec.channels))
    if spec.channels < 4 or spec.alpha > 3:
        rest = iter(range(spec.channels))
        return tuple("alpha" if c == spec.alpha else f"h{next(rest)}" for c in range(spec.channels))
    colours = iter(COLOURS)
    visible = tuple("alpha" if c == spec.alpha else next(colours) for c in range(4))
    return visible + tuple(f"h{c}" for c in range(spec.channels - 4))


def untrained(key: Array, spec: Spec | None = None, hidden: int = 128) -> Rule:
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


def visible(spec: Spec, state: Float[Array, "*grid channel"]) -> Float[Array, "*grid 4"]:
    """The picture of a state: premultiplied RGBA clipped to 0..1.

    Rules with fewer than four channels show grey levels of their alpha.
    """
    alpha = jnp.clip(state[..., spec.alpha], 0.0, 1.0)[..., None]
    if spec.colours is None and (spec.channels < 4 or spec.alpha > 3):
        return jnp.concatenate([alpha * 0.4] * 3 + [alpha], axis=-1)
    colours = spec.colours or [c for c in range(4) if c != spec.alpha]
    rgb = jnp.clip(state[..., jnp.array(colours)], 0.0, 1.0)
    return jnp.concatenate([rgb if spec.premultiplied else rgb * alpha, alpha], axis=-1)

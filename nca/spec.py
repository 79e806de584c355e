"""The conventions of a rule: what a step needs to know besides the arrays. Static, hashable, a field for each.

Published rules differ in every convention named here. A wrong one is often silent: the picture still grows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from nca.errors import UserError


@dataclass(frozen=True)
class Perception:
    """A kind of perception: which fields a cell's first layer reads.

    Attributes:
        filters: names of the filters in the order of the features; empty where each rule has its own kernels.
        has_compass: the fields depend on directions, so that turning the filters turns what grows.
        gauge_free: hidden channels may be mixed by any invertible matrix, and the weights by its inverse, without
            changing what grows: the filters are linear and the same for every channel. (`squash` and `clip`
            of a `Spec` fix the channels nevertheless.)
    """

    filters: tuple[str, ...]
    has_compass: bool = False
    gauge_free: bool = False


PERCEPTIONS = {
    "sobel": Perception(("identity", "dx", "dy"), has_compass=True, gauge_free=True),
    "laplacian": Perception(("identity", "laplacian"), gauge_free=True),
    "isotropic": Perception(("identity", "laplacian", "gradient")),  # the gradient's length is not linear
    "sobel-laplacian": Perception(("identity", "dx", "dy", "laplacian"), has_compass=True, gauge_free=True),
    "steered": Perception(("identity", "dx", "dy"), has_compass=True),  # one channel is an angle
    "learned": Perception(()),  # the rule's own kernels, which may differ from channel to channel
}
ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "swish", "gelu", "gelu-tanh")
ALIVE = ("both", "before", "after", "gate", "none")
BOUNDARIES = ("zero", "circular")
SQUASHES = ("none", "tanh")
COLOURS = ("r", "g", "b")


@dataclass(frozen=True)
class Spec:
    """The conventions of a rule.

    Attributes:
        channels: number of channels of a cell's state, at least 2.
        perception: a name of `PERCEPTIONS`; "learned" reads its 3x3 kernels from the rule.
        steer: for "steered" perception, the channel that holds each cell's angle in radians.
        boundary: what perception reads beyond the canvas, "zero" or "circular".
        alive_boundary: the same for the alive test.
        alpha: the channel whose 3x3 maximum decides whether a site is alive.
        threshold: alive where that maximum exceeds it; 0.1 in Mordvintsev et al. 2020.
        inclusive: alive also where the maximum equals the threshold.
        alive: "both" (tested before and after the update), "before" or "after" alone, "gate" (the test before
            gates the update only and nothing is erased), or "none".
        reads: what perception reads, the "state" or the "masked" state (dead sites read as zero).
        fire_rate: probability that a cell updates in a step; 1 is synchronous.
        activation: of the hidden layers: "relu", "tanh", "sigmoid", "elu", "swish", "gelu", or "gelu-tanh", its
            approximation by tanh.
        activation_slope: slope of relu below zero: 0 as usual, more where it is leaky.
        squash: "none" or "tanh", applied to the delta.
        clip: range that the next state is clipped to, or none.
        premultiplied: colour channels are multiplied by alpha (else straight).
        clip_channels: (first, stop): `clip` applies to channels first..stop-1; none is all channels.
        colours: channels of red, green and blue where alpha is not among the first four channels.
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
    activation: str = "relu"
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
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("reads", self.reads, ("state", "masked"))
        _one_of("squash", self.squash, SQUASHES)
        _in_range("channels", self.channels, 2, 1024)
        _in_range("alpha", self.alpha, 0, self.channels - 1)
        _in_range("threshold", self.threshold, 0.0, 1e6)
        _in_range("fire_rate", self.fire_rate, 0.0, 1.0)
        _in_range("activation_slope", self.activation_slope, 0.0, 1.0)
        if self.activation != "relu" and self.activation_slope:
            raise UserError(f"activation_slope is of relu alone; the activation is {self.activation}.")
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
        if self.clip_channels is not None:
            first, stop = self.clip_channels
            _in_range("clip_channels", first, 0, self.channels - 1)
            _in_range("clip_channels", stop, first + 1, self.channels)
        if self.colours is not None:
            for channel in self.colours:
                _in_range("colours", channel, 0, self.channels - 1)
            if self.alpha < 4 or len({*self.colours, self.alpha}) != 4:
                raise UserError(
                    "colours must be three channels other than alpha, and only where alpha is channel 4 or later; "
                    f"got {self.colours} with alpha={self.alpha}."
                )

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values; `clip_channels`, `colours` and `activation` only where they are set."""
        later = {"clip_channels": None, "colours": None, "activation": "relu"}  # fields that older files lack
        return {k: v for k, v in asdict(self).items() if k not in later or v != later[k]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Spec:
        """The spec that `to_json` wrote; unknown fields raise `UserError`."""
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise UserError(f"A rule has no convention named {', '.join(sorted(map(repr, unknown)))}.")
        try:
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            return cls(**given)
        except (TypeError, ValueError, IndexError) as error:
            raise UserError(f"The rule's conventions do not hold: {error}") from error


def colour_channels(spec: Spec) -> list[int]:
    """The channels of red, green and blue: the first four but alpha, unless the spec names them; may be none."""
    if spec.colours is not None:
        return list(spec.colours)
    return [c for c in range(4) if c != spec.alpha] if spec.channels >= 4 and spec.alpha <= 3 else []


def channel_names(spec: Spec) -> tuple[str, ...]:
    """The names of the channels by position: r, g, b, alpha, h0, h1, ..."""
    named = {spec.alpha: "alpha", **dict(zip(colour_channels(spec), COLOURS, strict=False))}
    hidden = count()
    return tuple(named.get(c) or f"h{next(hidden)}" for c in range(spec.channels))


def channel_role(name: str) -> str:
    """What a channel of this name holds: "hidden", "alpha" or "colour"."""
    return "hidden" if name.startswith("h") else "alpha" if name == "alpha" else "colour"


def hidden_channels(spec: Spec) -> list[int]:
    """Numbers of the channels that are neither colour nor alpha."""
    return [n for n, name in enumerate(channel_names(spec)) if channel_role(name) == "hidden"]


def _one_of(field: str, value: Any, allowed: Iterable[str]) -> None:
    if value not in tuple(allowed):
        raise UserError(f"{field} must be one of {', '.join(allowed)}; got {value!r}.")


def _in_range(field: str, value: float, low: float, high: float) -> None:
    integer = isinstance(low, int)
    allowed: Any = int if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not low <= value <= high:
        raise UserError(
            f"{field} must be {'a whole number ' if integer else ''}between {low} and {high}; got {value!r}."
        )

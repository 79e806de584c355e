"""What a step of a rule needs to know besides its arrays: static, hashable, a field for each convention.

Published rules differ in every convention named here, and a wrong one is often silent: the picture
still grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
        return {k: v for k, v in asdict(self).items() if v is not None or k not in ("clip_channels", "colours")}

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


def channel_role(name: str) -> str:
    """What a channel of this name holds: "hidden", "alpha" or "colour"."""
    return "hidden" if name.startswith("h") else "alpha" if name == "alpha" else "colour"


def hidden_channels(spec: Spec) -> list[int]:
    """Numbers of the channels that are neither colour nor alpha."""
    return [n for n, name in enumerate(channel_names(spec)) if channel_role(name) == "hidden"]


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
            raise UserError(f"colours are three channels beside an alpha from channel 4 on; got {spec.colours}.")

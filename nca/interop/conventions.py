"""What the files of growing NCA do not say, as one record; who said what; presets and sidecar files.

A field that nobody said is open: `probe` tries the loud ones, the others are assumed, and told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from nca.errors import UserError

Order = Literal["kernel-major", "channel-major"]
Boundary = Literal["zero", "circular"]
Alive = Literal["both", "after", "gate", "none"]
Reads = Literal["state", "masked"]
Fire = Literal["u<=r", "u<r", "u>r", "always"]
Squash = Literal["none", "tanh"]
Seed = Literal["hidden", "alpha", "rgba", "ones", "file"]
FILTERS = (
    "identity",
    "dx",
    "dy",
    "-dx",
    "-dy",
    "laplacian",
    "laplacian4",
    "laplacian8",
    "average",
    "gradient",
)


@dataclass(frozen=True)
class Conventions:
    """How a rule's arrays are to be read, and how it steps.

    Attributes:
        order: features by kernel (`k*C + c`) or by channel (`c*K + k`).
        filters: the perception's filters in the order of the features; used where the file has no kernels.
        sobel_divisor: what Sobel's kernels are divided by: 8 as published, 1 where they are not divided.
        laplacian_divisor: the same for the Laplacian [1 2 1; 2 -12 2; 1 2 1], usually 16.
        summed: each gradient is that of the sum of all channels, as a full convolution filled with one
            kernel gives.
        swap_xy: the author's x is our y (rows), as where the network sees transposed states.
        flip: kernels are turned half around, as by a true convolution.
        perception_activation: the activation also follows a 3x3 convolution found in the file.
        angle: degrees that the compass is turned by.
        step_size: factor of the update.
        boundary: what perception reads beyond the canvas.
        alive_boundary: what the living test reads there.
        alpha: channel of the living test; counted from the end where negative.
        threshold: alive above it.
        inclusive: alive also where equal to it (>=).
        alive: tested before and after, after alone, before to gate the update only, or never.
        reads: perception of the state, or of the state with dead sites at zero.
        fire: comparison of a uniform u with the rate r that lets a cell update.
        fire_rate: that r.
        leak: slope of the hidden layers below zero; 0 is relu.
        squash: of the update.
        clip: range of the state after the update.
        clip_channels: first channel clipped, and the one before which it ends; all if none.
        premultiplied: colour is multiplied by alpha.
        seed: one cell: alpha and hidden channels 1 ("hidden"), alpha alone, red, green, blue and alpha
            ("rgba"), all channels ("ones"); or the patch in the file.
        canvas: height and width in cells.
    """

    order: Order = "kernel-major"
    filters: tuple[str, ...] = ("identity", "dx", "dy")
    sobel_divisor: float = 8.0
    laplacian_divisor: float = 16.0
    summed: bool = False
    swap_xy: bool = False
    flip: bool = False
    perception_activation: bool = False
    angle: float = 0.0
    step_size: float = 1.0
    boundary: Boundary = "zero"
    alive_boundary: Boundary = "zero"
    alpha: int = 3
    threshold: float = 0.1
    inclusive: bool = False
    alive: Alive = "both"
    reads: Reads = "state"
    fire: Fire = "u<=r"
    fire_rate: float = 0.5
    leak: float = 0.0
    squash: Squash = "none"
    clip: tuple[float, float] | None = None
    clip_channels: tuple[int, int] | None = None
    premultiplied: bool = True
    seed: Seed = "hidden"
    canvas: tuple[int, int] = (72, 72)

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            object.__setattr__(self, name, _checked(name, kind, getattr(self, name)))
        unknown = [f for f in self.filters if f not in FILTERS]
        if unknown or not 1 <= len(self.filters) <= 16:
            raise UserError(f"filters are among {', '.join(FILTERS)}; got {', '.join(self.filters)[:100]!r}.")
        if not (self.sobel_divisor and self.laplacian_divisor and self.step_size):
            raise UserError("Divisors and step_size must not be 0.")
        if not 0 <= self.fire_rate <= 1:
            raise UserError(f"fire_rate must be from 0 to 1, got {self.fire_rate}.")

    @property
    def rate(self) -> float:
        """Probability that a cell updates."""
        return {"always": 1.0, "u>r": 1 - self.fire_rate}.get(self.fire, self.fire_rate)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


KINDS: dict[str, Any] = get_type_hints(Conventions)
PUBLISHED = {"order", "sobel_divisor", "seed", "fire", "fire_rate", "summed", "swap_xy"}


def _checked(name: str, kind: Any, value: Any) -> Any:
    """The value as its field has it, or `UserError`."""
    options = get_args(kind)
    if type(None) in options:
        if value is None:
            return None
        kind = options[0]
        options = get_args(kind)
    wrong = UserError(f"{name} must be {_described(kind)}; got {str(value)[:60]!r}.")
    if kind in (bool, int):
        if type(value) is not kind:
            raise wrong
        return value
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            raise wrong
        return float(value)
    if getattr(kind, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple) or (options[-1] is not ... and len(value) != len(options)):
            raise wrong
        if options[0] is str:
            if not all(isinstance(v, str) for v in value):
                raise wrong
            return tuple(value)
        return tuple(_checked(name, options[0], v) for v in value)
    if value not in options:
        raise wrong
    return value


def _described(kind: Any) -> str:
    options = get_args(kind)
    if getattr(kind, "__origin__", None) is tuple:
        return "a list of names" if options[0] is str else "two numbers"
    if options:
        return " or ".join(map(str, options))
    return {bool: "true or false", int: "a whole number", float: "a number"}[kind]


@dataclass(frozen=True)
class Said:
    """Conventions with who said each.

    Attributes:
        values: all fields.
        sources: for each field that was said, where: preset, file, sidecar or option.
    """

    values: Conventions
    sources: Mapping[str, str]

    def open(self, name: str) -> bool:
        """Whether nobody said it."""
        return name not in self.sources

    def with_(self, source: str, **given: Any) -> Said:
        """The same with more said, which wins over what was said before."""
        unknown = sorted(set(given) - set(KINDS))
        if unknown:
            raise UserError(
                f"There is no convention {', '.join(map(repr, unknown))[:120]}; known are {', '.join(KINDS)}."
            )
        return Said(replace(self.values, **given), {**self.sources, **dict.fromkeys(given, source)})


def nothing_said() -> Said:
    """The defaults, all open."""
    return Said(Conventions(), {})


def names() -> tuple[str, ...]:
    """The fields."""
    return tuple(f.name for f in fields(Conventions))

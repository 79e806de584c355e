"""What files of NCA rules do not say: one record, a source for each of its fields, and presets by project.

A field without a source is open: `probe` tries those whose error shows in growth, the others are assumed
and listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from nca.errors import UserError

FILTERS = (
    "identity", "dx", "dy", "-dx", "-dy", "laplacian", "laplacian4", "laplacian8", "average", "gradient",
)  # fmt: skip


@dataclass(frozen=True)
class Conventions:
    """How a rule's arrays are to be read, and how it steps.

    Attributes:
        order: order of the features: by kernel (k*C + c) or by channel (c*K + k).
        filters: filters of the perception, in the order of the features, among identity, dx, dy, -dx, -dy,
            laplacian, laplacian4, laplacian8, average and gradient; ignored where the file holds kernels.
        sobel_divisor: divisor of the Sobel kernels: 8 as published, 1 where they are not divided.
        laplacian_divisor: divisor of the Laplacian [1 2 1; 2 -12 2; 1 2 1], usually 16.
        summed: each gradient is that of the sum of all channels, as in a full convolution filled with one
            kernel.
        swap_xy: the author's x is our y (rows), as where the network sees transposed states.
        flip: kernels are rotated by 180 degrees, as by a true convolution.
        perception_activation: the activation also follows a 3x3 convolution found in the file.
        angle: degrees by which the compass is turned.
        step_size: factor of the update.
        boundary: what perception reads beyond the canvas.
        alive_boundary: what the alive test reads beyond the canvas.
        alpha: channel of the alive test; negative numbers count from the last channel.
        threshold: alpha above which a cell is alive.
        inclusive: a cell is alive also where alpha equals the threshold (>=).
        alive: alive test before and after the update, before or after it only, before it to gate the update only, or
            never.
        reads: what a cell perceives: the state, or the state with dead cells set to zero.
        fire: condition on a uniform random number u and the fire rate r under which a cell updates.
        fire_rate: the fire rate r, from 0 to 1.
        activation: activation of the hidden layers; gelu-tanh is gelu approximated by tanh.
        negative_slope: slope of relu below zero; 0 is relu as usual, more is leaky relu.
        squash: function applied to the update.
        clip: range of the state after the update.
        clip_channels: first channel that is clipped, and the channel before which clipping ends; all if not given.
        premultiplied: colour is multiplied by alpha.
        seed: one cell with alpha and hidden channels at 1 ("hidden"), with "alpha" alone, with red, green, blue
            and alpha ("rgba"), with all channels ("ones"); its values by channel, as 0,0,0,1,0.5 and so on, or one
            value for all channels; the "file"'s own patch; or the path of an .npz or .npy with a patch.
        seed_index: number of the seed, from 0, where a file holds several.
        canvas: height and width in cells.
    """

    order: Literal["kernel-major", "channel-major"] = "kernel-major"
    filters: tuple[str, ...] = ("identity", "dx", "dy")
    sobel_divisor: float = 8.0
    laplacian_divisor: float = 16.0
    summed: bool = False
    swap_xy: bool = False
    flip: bool = False
    perception_activation: bool = False
    angle: float = 0.0
    step_size: float = 1.0
    boundary: Literal["zero", "circular"] = "zero"
    alive_boundary: Literal["zero", "circular"] = "zero"
    alpha: int = 3
    threshold: float = 0.1
    inclusive: bool = False
    alive: Literal["both", "before", "after", "gate", "none"] = "both"
    reads: Literal["state", "masked"] = "state"
    fire: Literal["u<=r", "u<r", "u>r", "always"] = "u<=r"
    fire_rate: float = 0.5
    activation: Literal["relu", "tanh", "sigmoid", "elu", "swish", "gelu", "gelu-tanh"] = "relu"
    negative_slope: float = 0.0
    squash: Literal["none", "tanh"] = "none"
    clip: tuple[float, float] | None = None
    clip_channels: tuple[int, int] | None = None
    premultiplied: bool = True
    seed: str = "hidden"
    seed_index: int | None = None
    canvas: tuple[int, int] = (72, 72)

    def __post_init__(self) -> None:
        for name, kind in TYPES.items():
            object.__setattr__(self, name, _validate(name, kind, getattr(self, name)))
        unknown = [f for f in self.filters if f not in FILTERS]
        if unknown or not 1 <= len(self.filters) <= 16:
            raise UserError(f"filters are among {', '.join(FILTERS)}; got {', '.join(self.filters)[:100]!r}.")
        if not (self.sobel_divisor and self.laplacian_divisor and self.step_size):
            raise UserError("Divisors and step_size must not be 0.")
        if not 0 <= self.fire_rate <= 1:
            raise UserError(f"fire_rate must be from 0 to 1, got {self.fire_rate}.")


TYPES: dict[str, Any] = get_type_hints(Conventions)


def _validate(name: str, kind: Any, value: Any) -> Any:
    """The value as its field holds it; `UserError` where it is of another kind."""
    options = get_args(kind)
    if type(None) in options:
        return None if value is None else _validate(name, options[0], value)
    if get_origin(kind) is tuple:
        required = "a list of names" if options[0] is str else "two numbers"
        if isinstance(value, list | tuple):
            if options[0] is str and all(isinstance(v, str) for v in value):
                return tuple(value)
            if options[0] is not str and len(value) == len(options):
                return tuple(_validate(name, options[0], v) for v in value)
    elif options:
        required = " or ".join(options)
        if value in options:
            return value
    else:
        required = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
        if type(value) is kind and kind is not float:
            return value
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30:
            return float(value)
    raise UserError(f"{name} must be {required}; got {str(value)[:60]!r}.")


@dataclass(frozen=True)
class SourcedConventions:
    """Conventions with the source of each field.

    Attributes:
        values: all fields.
        sources: for each field that is known, where it comes from: a preset, the file, a sidecar, an option or a
            probe. Fields without a source hold their defaults.
    """

    values: Conventions = Conventions()
    sources: Mapping[str, str] = field(default_factory=dict)

    def merge(self, source: str, /, **fields: Any) -> SourcedConventions:
        """The same with these fields from this source, which replace those known before."""
        unknown = sorted(set(fields) - set(TYPES))
        if unknown:
            names = ", ".join(map(repr, unknown))[:120]
            raise UserError(f"There is no convention {names}; known are {', '.join(TYPES)}.")
        return SourcedConventions(replace(self.values, **fields), {**self.sources, **dict.fromkeys(fields, source)})


class _Preset(NamedTuple):
    """Conventions of one project: whose they are, and the fields that differ from the defaults."""

    about: str
    fields: Mapping[str, Any]


PRESETS: dict[str, _Preset] = {
    "distill-web": _Preset(
        "Mordvintsev et al. 2020, web JSON as its page runs it: toroidal, alive >=",
        {"boundary": "circular", "alive_boundary": "circular", "inclusive": True},
    ),
    "distill-tf": _Preset(
        "Mordvintsev et al. 2020, TensorFlow: checkpoint or TensorFlow.js, channel-major", {"order": "channel-major"}
    ),
    "chen2020": _Preset(
        "chenmingxiang110, PyTorch Linear, and its many descendants: rows first, u > r",
        {"swap_xy": True, "fire": "u>r"},
    ),
    "gorold": _Preset("gorold, PyTorch 1x1 Conv2d: u > r", {"fire": "u>r", "canvas": (56, 56)}),
    "matthewd-so": _Preset("matthewd-so, PyTorch {model, config}: channel-major", {"order": "channel-major"}),
    "jax-nca": _Preset(
        "shyamsn97/jax-nca, Flax msgpack: gradients of the sum of channels, synchronous",
        {"summed": True, "fire": "always", "fire_rate": 1.0, "canvas": (64, 64)},
    ),
    "semvdn": _Preset(
        "semvdn/Growing-NCA-WebUI, web JSON: zero padding, state clipped to [-10, 10]",
        {"clip": (-10.0, 10.0), "canvas": (64, 64)},
    ),
    "published": _Preset("the recipe of Mordvintsev et al. 2020 in kernel-major order: our defaults", {}),
}

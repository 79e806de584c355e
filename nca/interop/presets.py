"""Conventions of published projects, by name; and settings that files carry, under names in common use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nca.errors import UserError
from nca.interop.conventions import Said


@dataclass(frozen=True)
class Preset:
    """Conventions of one project.

    Attributes:
        about: whose, and which files.
        fields: where they differ from the defaults of `Conventions`; every other field is as there.
    """

    about: str
    fields: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "distill-web": Preset(
        "Mordvintsev et al. 2020, web JSON as its page runs it: toroidal, alive >=",
        {"boundary": "circular", "alive_boundary": "circular", "inclusive": True},
    ),
    "distill-tf": Preset(
        "Mordvintsev et al. 2020, TensorFlow: checkpoint or TensorFlow.js, channel-major",
        {"order": "channel-major"},
    ),
    "chen2020": Preset(
        "chenmingxiang110, PyTorch Linear, and its many descendants: rows first, u > r",
        {"swap_xy": True, "fire": "u>r"},
    ),
    "gorold": Preset("gorold, PyTorch 1x1 Conv2d: u > r", {"fire": "u>r", "canvas": (56, 56)}),
    "matthewd-so": Preset("matthewd-so, PyTorch {model, config}: channel-major", {"order": "channel-major"}),
    "jax-nca": Preset(
        "shyamsn97/jax-nca, Flax msgpack: gradients of the sum of channels, synchronous",
        {"summed": True, "fire": "always", "fire_rate": 1.0, "canvas": (64, 64)},
    ),
    "semvdn": Preset(
        "semvdn/Growing-NCA-WebUI, web JSON: zero padding, state clipped to [-10, 10]",
        {"clip": (-10.0, 10.0), "canvas": (64, 64)},
    ),
    "published": Preset("the recipe of Mordvintsev et al. 2020 in kernel-major order: our defaults", {}),
}
HINTS = {
    "fire_rate": ("fire_rate", "cell_fire_rate", "fire_prob", "update_prob", "update_rate"),
    "threshold": ("alive_threshold", "alpha_threshold", "living_threshold", "alive_thresh"),
    "leak": ("negative_slope",),
    "canvas": ("train_grid_size", "grid_size"),
}


def like(said: Said, name: str) -> Said:
    """Everything said by a preset."""
    if name not in PRESETS:
        raise UserError(f"There is no preset {name!r}; known are {', '.join(PRESETS)}.")
    defaults = {k: v for k, v in Said(type(said.values)(), {}).values.__dict__.items() if k != "canvas"}
    return said.with_(f"preset {name}", **{**defaults, **PRESETS[name].fields})


def hinted(said: Said, says: Mapping[str, Any], where: str) -> Said:
    """What a file's own settings say about conventions, under names in common use."""
    for field, known in HINTS.items():
        value = next((says[k] for k in known if k in says), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if field == "canvas":
            if isinstance(value, int) and 3 <= value <= 512:
                said = said.with_(where, canvas=(value, value))
        elif 0 <= value <= 1:
            said = said.with_(where, **{field: float(value)})
    return said

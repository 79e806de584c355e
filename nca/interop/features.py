"""Layers under conventions as a `Rule`: whatever perception a file has, folded into one that is known.

The features of a linear perception are kernels, (feature, channel, 3, 3): entry [f, c] is the kernel
through which feature f sees channel c. Kernels in the span of identity, Sobel and Laplacian are folded
into the first matrix, exactly; others are kept as a "learned" perception.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.interop.conventions import Conventions
from nca.interop.layers import Layers
from nca.rule import Rule
from nca.spec import PERCEPTIONS

DX = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
IDENTITY = np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
LAPLACIAN = np.array([[1.0, 2, 1], [2, -12, 2], [1, 2, 1]]) / 16
NAMED = {"identity": IDENTITY, "dx": DX, "dy": DX.T, "laplacian": LAPLACIAN}
CROSS = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
RING = np.array([[1.0, 1, 1], [1, -8, 1], [1, 1, 1]])
SAME = 1e-6
MOST_FEATURES = 2**19


def rule_of(layers: Layers, said: Conventions) -> Rule:
    """The rule that layers are under conventions.

    Raises:
        UserError: they do not fit each other.
    """
    weights = [np.asarray(w, np.float64) for w in layers.weights]
    biases = [np.zeros(w.shape[1]) if b is None else np.asarray(b, np.float64) for w, b in pairs(layers)]
    features = max(len(weights[0]), *(len(k) for k in layers.kernels), 0)
    if features * layers.channels > MOST_FEATURES:
        raise UserError(f"A perception of {features} features of {layers.channels} channels is too large.")
    weights[-1], biases[-1] = weights[-1] * said.step_size, biases[-1] * said.step_size
    if said.squash != "none" and said.step_size != 1:
        raise UserError("A squashed update cannot be scaled; give step_size 1, or squash none.")
    spec = spec_fields(said, layers.channels)
    if "gradient" in said.filters and not layers.kernels:
        return _isotropic(weights, biases, said, spec)
    kernels, weights, biases = perceived(layers, said, weights, biases)
    return folded(kernels, weights, biases, math.radians(said.angle), spec)


def pairs(layers: Layers) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Each matrix with its bias."""
    return list(zip(layers.weights, layers.biases, strict=True))


def spec_fields(said: Conventions, channels: int) -> dict[str, Any]:
    """The fields of `Spec` that conventions give."""
    alpha = said.alpha + channels if said.alpha < 0 else said.alpha
    if not 0 <= alpha < channels:
        raise UserError(f"Alpha is channel {said.alpha}, but there are {channels} channels; give alpha.")
    return {
        "channels": channels,
        "boundary": said.boundary,
        "alive_boundary": said.alive_boundary,
        "alpha": alpha,
        "colours": (0, 1, 2) if alpha > 3 else None,
        "threshold": said.threshold,
        "inclusive": said.inclusive,
        "alive": said.alive,
        "reads": said.reads,
        "fire_rate": said.rate,
        "activation_slope": said.leak,
        "squash": said.squash,
        "clip": said.clip,
        "clip_channels": said.clip_channels,
        "premultiplied": said.premultiplied,
    }


def named_kernel(name: str, said: Conventions) -> np.ndarray:
    """A filter's kernel, (3, 3)."""
    sign = -1.0 if name.startswith("-") else 1.0
    plain = name.removeprefix("-")
    made = {
        "identity": IDENTITY,
        "dx": DX * 8 / said.sobel_divisor,
        "dy": DX.T * 8 / said.sobel_divisor,
        "laplacian": LAPLACIAN * 16 / said.laplacian_divisor,
        "laplacian4": CROSS,
        "laplacian8": RING,
        "average": np.full((3, 3), 1 / 9),
    }
    return sign * made[plain]


def perceived(
    layers: Layers, said: Conventions, weights: list[np.ndarray], biases: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Kernels (feature, channel, 3, 3), in the order of the features, and the layers behind them."""
    features, channels = weights[0].shape[0], layers.channels
    if layers.kernels:
        whole, bias = _from_file(layers, said, features)
        whole = whole[..., ::-1, ::-1] if said.flip else whole
        whole = whole.swapaxes(-1, -2) if said.swap_xy else whole
        if len(weights) == 1 or said.perception_activation:
            return _as_layer(whole, bias, weights, biases)
        return whole, weights, [biases[0] + bias @ weights[0], *biases[1:]]
    if features != len(said.filters) * channels:
        raise UserError(
            f"The first layer takes {features} features, which {channels} channels make with "
            f"{features / channels:g} filters, but the filters are {', '.join(said.filters)}; give filters."
        )
    kernels = np.stack([named_kernel(name, said) for name in said.filters])
    kernels = kernels[..., ::-1, ::-1] if said.flip else kernels
    kernels = kernels.swapaxes(-1, -2) if said.swap_xy else kernels
    return spread(kernels, channels, said.order, said.summed), weights, biases


def spread(kernels: np.ndarray, channels: int, order: str, summed: bool = False) -> np.ndarray:
    """Filters (filter, 3, 3) that all channels share, as (feature, channel, 3, 3)."""
    whole = np.zeros((len(kernels), channels, channels, 3, 3))
    for k, kernel in enumerate(kernels):
        if summed and not np.allclose(kernel, IDENTITY):
            whole[k] = kernel
        else:
            whole[k, range(channels), range(channels)] = kernel
    if order == "channel-major":
        whole = whole.swapaxes(0, 1)
    return whole.reshape(-1, channels, 3, 3)


def _from_file(layers: Layers, said: Conventions, features: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernels of a file as (feature, channel, 3, 3), and their bias."""
    channels = layers.channels
    given = [
        (np.asarray(k, np.float64), np.zeros(len(k)) if b is None else np.asarray(b, np.float64))
        for k, b in zip(layers.kernels, layers.kernel_biases, strict=True)
    ]
    for missing in (0, channels):
        # A state of its own is often put before the filtered ones, without a kernel.
        own = [(spread(IDENTITY[None], channels, "kernel-major"), np.zeros(channels))] if missing else []
        for used in (given, *([one] for one in given)):
            wide = [_wide(k, b, channels, features - missing, len(used), said.order) for k, b in used]
            found = own + [w for w in wide if w is not None]
            if None not in wide and sum(len(k) for k, _ in found) == features:
                return np.concatenate([k for k, _ in found]), np.concatenate([b for _, b in found])
    shapes = ", ".join("x".join(map(str, k.shape)) for k in layers.kernels)
    raise UserError(
        f"The kernels in the file ({shapes}) do not make the {features} features of {channels} channels "
        "that the first layer takes."
    )


def _wide(
    kernel: np.ndarray, bias: np.ndarray, channels: int, features: int, parts: int, order: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """One array of kernels as (feature, channel, 3, 3) and its bias, or None if it is none."""
    outputs, inputs = kernel.shape[:2]
    if inputs == channels and inputs > 1:
        return kernel, bias
    if inputs != 1:
        return None
    if outputs % channels == 0 and (outputs == features or (parts > 1 and outputs == channels)):
        # A grouped convolution: output o reads channel o // filters.
        whole = np.zeros((outputs, channels, 3, 3))
        whole[range(outputs), np.arange(outputs) // (outputs // channels)] = kernel[:, 0]
        return whole, bias
    if outputs * channels == features or (parts > 1 and outputs * channels <= features):
        repeated = np.repeat(bias, channels) if order == "kernel-major" else np.tile(bias, channels)
        return spread(kernel[:, 0], channels, order), repeated
    return None


def _as_layer(
    kernels: np.ndarray, bias: np.ndarray, weights: list[np.ndarray], biases: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """A 3x3 convolution with an activation behind it: nine shifted states, and a matrix."""
    channels = kernels.shape[1]
    shifts = np.eye(9).reshape(9, 3, 3)
    first = kernels.reshape(len(kernels), channels, 9).transpose(2, 1, 0).reshape(9 * channels, -1)
    return spread(shifts, channels, "kernel-major"), [first, *weights], [bias, *biases]


def folded(
    kernels: np.ndarray,
    weights: list[np.ndarray],
    biases: list[np.ndarray],
    angle: float,
    spec: dict[str, Any],
) -> Rule:
    """The rule of a linear perception, named where it can be."""
    first, channels = weights[0], kernels.shape[1]
    flat = kernels.reshape(-1, 9).T
    basis = np.stack([k.ravel() for k in NAMED.values()], axis=1)
    parts = np.linalg.lstsq(basis, flat, rcond=None)[0]
    parts = np.where(np.abs(parts - np.round(parts * 64) / 64) < 1e-7, np.round(parts * 64) / 64, parts)
    if np.abs(basis @ parts - flat).max() <= SAME * max(np.abs(flat).max(), 1):
        mixed = parts.reshape(4, len(kernels), channels)  # (named filter, feature, channel)
        blocks = {name: mixed[i].T @ first for i, name in enumerate(NAMED)}
        filters = _smallest({name for i, name in enumerate(NAMED) if mixed[i].any()})
        whole = np.concatenate([blocks[name] for name in PERCEPTIONS[filters]])
        return Rule.from_arrays([whole, *weights[1:]], biases, perception=filters, angle=angle, **spec)
    if angle:
        raise UserError("Kernels that are no Sobel kernels have no compass to turn; give angle 0.")
    shared, whole = _learned(kernels, first)
    return Rule.from_arrays([whole, *weights[1:]], biases, kernels=shared, perception="learned", **spec)


def _smallest(needed: set[str]) -> str:
    """The perception with the fewest filters that has those needed."""
    if "laplacian" not in needed:
        return "sobel"
    return "sobel-laplacian" if {"dx", "dy"} & needed else "laplacian"


def _learned(kernels: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernels (filter, channel or 1, 3, 3) and the first matrix, filter-major."""
    features, channels = kernels.shape[:2]
    filters = features // channels
    if features == filters * channels:
        for major in ("kernel-major", "channel-major"):
            by = kernels.reshape(filters, channels, channels, 3, 3)
            rows = first.reshape(filters, channels, -1)
            if major == "channel-major":
                by = kernels.reshape(channels, filters, channels, 3, 3).swapaxes(0, 1)
                rows = first.reshape(channels, filters, -1).swapaxes(0, 1)
            own = by[:, range(channels), range(channels)]
            if np.count_nonzero(by) == np.count_nonzero(own):
                one = own[:, :1] if np.array_equal(own, np.broadcast_to(own[:, :1], own.shape)) else own
                return one, rows.reshape(features, -1)
    # Every feature may read every channel: nine shifted states say the same.
    moved = kernels.reshape(features, channels, 9).transpose(2, 1, 0) @ first
    return np.eye(9).reshape(9, 1, 3, 3), moved.reshape(9 * channels, -1)


def _isotropic(weights: list[np.ndarray], biases: list[np.ndarray], said: Conventions, spec: dict[str, Any]) -> Rule:
    """Identity, Laplacian and the gradient's length, in any order."""
    names = PERCEPTIONS["isotropic"]
    channels = spec["channels"]
    if sorted(said.filters) != sorted(names) or weights[0].shape[0] != 3 * channels:
        raise UserError(f"A gradient's length is a filter beside identity and laplacian; {said.filters} came.")
    scale = {"identity": 1.0, "laplacian": 16 / said.laplacian_divisor, "gradient": 8 / said.sobel_divisor}
    shape = (3, channels, -1) if said.order == "kernel-major" else (channels, 3, -1)
    blocks = weights[0].reshape(shape)
    blocks = blocks if said.order == "kernel-major" else blocks.swapaxes(0, 1)
    rows = [blocks[said.filters.index(name)] * scale[name] for name in names]
    return Rule.from_arrays([np.concatenate(rows), *weights[1:]], biases, perception="isotropic", **spec)

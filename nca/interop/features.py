"""From layers and conventions to a `Rule`: the file's perception expressed by one that the package knows.

The features of a linear perception are kernels, (feature, channel, 3, 3): entry [f, c] is the kernel
through which feature f reads channel c. Kernels in the span of identity, Sobel and Laplacian are folded
into the first matrix, exactly; others are kept as a "learned" perception.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.interop.conventions import Conventions
from nca.interop.layers import NAMED_KERNELS, Layers
from nca.rule import Rule
from nca.spec import PERCEPTIONS

_IDENTITY, _DX, _LAPLACIAN = (NAMED_KERNELS[name] for name in ("identity", "dx", "laplacian"))
_SPAN_TOLERANCE = 1e-6
_MAX_ENTRIES = 2**19  # features x channels
_Matrices = list[np.ndarray]


def build_rule(layers: Layers, conventions: Conventions) -> Rule:
    """The rule of these layers under these conventions, or `UserError` where they do not fit each other."""
    weights = [np.asarray(w, np.float64) for w in layers.weights]
    biases = [
        np.zeros(w.shape[1]) if b is None else np.asarray(b, np.float64)
        for w, b in zip(layers.weights, layers.biases, strict=True)
    ]
    features = max(len(weights[0]), *(len(k) for k in layers.kernels), 0)
    if features * layers.channels > _MAX_ENTRIES:
        raise UserError(f"A perception of {features} features of {layers.channels} channels is too large.")
    weights[-1], biases[-1] = weights[-1] * conventions.step_size, biases[-1] * conventions.step_size
    if conventions.squash != "none" and conventions.step_size != 1:
        raise UserError("A squashed update cannot be scaled; give step_size 1, or squash none.")
    spec = _spec_fields(conventions, layers.channels)
    if "gradient" in conventions.filters and not layers.kernels:
        return _isotropic_rule(weights, biases, conventions, spec)
    kernels, weights, biases = _perception_kernels(layers, conventions, weights, biases)
    return _linear_rule(kernels, weights, biases, math.radians(conventions.angle), spec)


def _spec_fields(conventions: Conventions, channels: int) -> dict[str, Any]:
    alpha = conventions.alpha + channels if conventions.alpha < 0 else conventions.alpha
    if not 0 <= alpha < channels:
        raise UserError(f"Alpha is channel {conventions.alpha}, but there are {channels} channels; give alpha.")
    rate = {"always": 1.0, "u>r": 1 - conventions.fire_rate}.get(conventions.fire, conventions.fire_rate)
    same = ("activation", "boundary", "alive_boundary", "threshold", "inclusive", "alive", "reads", "squash", "clip",
            "clip_channels", "premultiplied")  # fmt: skip
    return {
        **{name: getattr(conventions, name) for name in same},
        "channels": channels,
        "alpha": alpha,
        "colours": (0, 1, 2) if alpha > 3 else None,
        "fire_rate": rate,
        "activation_slope": conventions.negative_slope if conventions.activation == "relu" else 0.0,
    }


def _perception_kernels(
    layers: Layers, conventions: Conventions, weights: _Matrices, biases: _Matrices
) -> tuple[np.ndarray, _Matrices, _Matrices]:
    """Kernels (feature, channel, 3, 3), in the order of the features, and the layers behind them."""
    features, channels = weights[0].shape[0], layers.channels
    if layers.kernels:
        kernels, bias = _kernels_of_file(layers, conventions, features)
        kernels = _reorient(kernels, conventions)
        if len(weights) > 1 and not conventions.perception_activation:
            return kernels, weights, [biases[0] + bias @ weights[0], *biases[1:]]
        # A 3x3 convolution with an activation behind it: nine shifted states, and a matrix.
        first = kernels.reshape(len(kernels), channels, 9).transpose(2, 1, 0).reshape(9 * channels, -1)
        shifts = _per_channel(np.eye(9).reshape(9, 3, 3), channels, "kernel-major")
        return shifts, [first, *weights], [bias, *biases]
    if features != len(conventions.filters) * channels:
        raise UserError(
            f"The first layer takes {features} features, which {channels} channels make with "
            f"{features / channels:g} filters, but the filters are {', '.join(conventions.filters)}; give filters."
        )
    filters = _reorient(np.stack([_filter(name, conventions) for name in conventions.filters]), conventions)
    return _per_channel(filters, channels, conventions.order, conventions.summed), weights, biases


def _reorient(kernels: np.ndarray, conventions: Conventions) -> np.ndarray:
    kernels = kernels[..., ::-1, ::-1] if conventions.flip else kernels
    return kernels.swapaxes(-1, -2) if conventions.swap_xy else kernels


def _filter(name: str, conventions: Conventions) -> np.ndarray:
    """The kernel of a filter that `Conventions` names, (3, 3)."""
    kernels = {
        "identity": _IDENTITY,
        "dx": _DX * 8 / conventions.sobel_divisor,
        "dy": _DX.T * 8 / conventions.sobel_divisor,
        "laplacian": _LAPLACIAN * 16 / conventions.laplacian_divisor,
        "laplacian4": np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]),
        "laplacian8": np.array([[1.0, 1, 1], [1, -8, 1], [1, 1, 1]]),
        "average": np.full((3, 3), 1 / 9),
    }
    return -kernels[name[1:]] if name.startswith("-") else kernels[name]


def _per_channel(filters: np.ndarray, channels: int, order: str, summed: bool = False) -> np.ndarray:
    """Filters (filter, 3, 3) that all channels share, as (feature, channel, 3, 3)."""
    kernels = np.zeros((len(filters), channels, channels, 3, 3))
    for k, kernel in enumerate(filters):
        if summed and not np.allclose(kernel, _IDENTITY):
            kernels[k] = kernel
        else:
            kernels[k, range(channels), range(channels)] = kernel
    if order == "channel-major":
        kernels = kernels.swapaxes(0, 1)
    return kernels.reshape(-1, channels, 3, 3)


def _kernels_of_file(layers: Layers, conventions: Conventions, features: int) -> tuple[np.ndarray, np.ndarray]:
    """The kernels of a file as (feature, channel, 3, 3), and their bias."""
    channels = layers.channels
    given = [
        (np.asarray(k, np.float64), np.zeros(len(k)) if b is None else np.asarray(b, np.float64))
        for k, b in zip(layers.kernels, layers.kernel_biases, strict=True)
    ]
    # Often the state itself is put before the filtered ones, without a kernel.
    state = (_per_channel(_IDENTITY[None], channels, "kernel-major"), np.zeros(channels))
    for prefix in ([], [state]):
        remaining = features - channels * len(prefix)
        for selection in (given, *([pair] for pair in given)):
            pairs = [_expand(k, b, channels, remaining, len(selection), conventions.order) for k, b in selection]
            complete = prefix + [pair for pair in pairs if pair is not None]
            if None not in pairs and sum(len(k) for k, _ in complete) == features:
                return np.concatenate([k for k, _ in complete]), np.concatenate([b for _, b in complete])
    shapes = ", ".join("x".join(map(str, k.shape)) for k in layers.kernels)
    raise UserError(
        f"The kernels in the file ({shapes}) do not make the {features} features of {channels} channels "
        "that the first layer takes."
    )


def _expand(
    kernel: np.ndarray, bias: np.ndarray, channels: int, features: int, arrays: int, order: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """One array of kernels as (feature, channel, 3, 3) and its bias, or None where it cannot be.

    Args:
        kernel: (outputs, inputs, 3, 3).
        bias: (outputs,).
        channels: of the state.
        features: that all arrays of kernels together make.
        arrays: how many of these there are.
        order: of the features.
    """
    outputs, inputs = kernel.shape[:2]
    if inputs == channels and inputs > 1:
        return kernel, bias
    if inputs != 1:
        return None
    if outputs % channels == 0 and (outputs == features or (arrays > 1 and outputs == channels)):
        # A grouped convolution: output o reads channel o // filters.
        expanded = np.zeros((outputs, channels, 3, 3))
        expanded[range(outputs), np.arange(outputs) // (outputs // channels)] = kernel[:, 0]
        return expanded, bias
    if outputs * channels == features or (arrays > 1 and outputs * channels <= features):
        repeated = np.repeat(bias, channels) if order == "kernel-major" else np.tile(bias, channels)
        return _per_channel(kernel[:, 0], channels, order), repeated
    return None


def _linear_rule(
    kernels: np.ndarray, weights: _Matrices, biases: _Matrices, angle: float, spec: dict[str, Any]
) -> Rule:
    """The rule of a linear perception: of named filters where their span holds the kernels, else "learned"."""
    first, channels = weights[0], kernels.shape[1]
    flat = kernels.reshape(-1, 9).T
    basis = np.stack([k.ravel() for k in NAMED_KERNELS.values()], axis=1)
    coefficients = np.linalg.lstsq(basis, flat, rcond=None)[0]
    rounded = np.round(coefficients * 64) / 64
    coefficients = np.where(np.abs(coefficients - rounded) < 1e-7, rounded, coefficients)
    if np.abs(basis @ coefficients - flat).max() <= _SPAN_TOLERANCE * max(np.abs(flat).max(), 1):
        mixed = dict(zip(NAMED_KERNELS, coefficients.reshape(4, len(kernels), channels), strict=True))
        perception = "sobel"
        if mixed["laplacian"].any():
            perception = "sobel-laplacian" if mixed["dx"].any() or mixed["dy"].any() else "laplacian"
        first = np.concatenate([mixed[name].T @ first for name in PERCEPTIONS[perception].filters])
        return Rule.from_arrays([first, *weights[1:]], biases, perception=perception, angle=angle, **spec)
    if angle:
        raise UserError("Kernels that are no Sobel kernels have no compass to turn; give angle 0.")
    kernels, first = _learned_perception(kernels, first)
    return Rule.from_arrays([first, *weights[1:]], biases, kernels=kernels, perception="learned", **spec)


def _learned_perception(kernels: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernels (filter, channel or 1, 3, 3) and the first matrix, filter-major."""
    features, channels = kernels.shape[:2]
    filters = features // channels
    if features == filters * channels:
        for channel_major in (False, True):
            shape = (channels, filters) if channel_major else (filters, channels)
            by_filter, rows = kernels.reshape(*shape, channels, 3, 3), first.reshape(*shape, -1)
            if channel_major:
                by_filter, rows = by_filter.swapaxes(0, 1), rows.swapaxes(0, 1)
            own = by_filter[:, range(channels), range(channels)]
            if np.count_nonzero(by_filter) == np.count_nonzero(own):
                shared = np.array_equal(own, np.broadcast_to(own[:, :1], own.shape))
                return own[:, :1] if shared else own, rows.reshape(features, -1)
    # Every feature may read every channel: nine shifted states express the same.
    moved = kernels.reshape(features, channels, 9).transpose(2, 1, 0) @ first
    return np.eye(9).reshape(9, 1, 3, 3), moved.reshape(9 * channels, -1)


def _isotropic_rule(weights: _Matrices, biases: _Matrices, conventions: Conventions, spec: dict[str, Any]) -> Rule:
    """Identity, Laplacian and the gradient's length, in any order."""
    names, filters, channels = PERCEPTIONS["isotropic"].filters, conventions.filters, spec["channels"]
    if sorted(filters) != sorted(names) or weights[0].shape[0] != 3 * channels:
        raise UserError(f"The filter gradient needs identity and laplacian beside it; got {', '.join(filters)}.")
    scales = {
        "identity": 1.0,
        "laplacian": 16 / conventions.laplacian_divisor,
        "gradient": 8 / conventions.sobel_divisor,
    }
    if conventions.order == "kernel-major":
        blocks = weights[0].reshape(3, channels, -1)
    else:
        blocks = weights[0].reshape(channels, 3, -1).swapaxes(0, 1)
    first = np.concatenate([blocks[filters.index(name)] * scales[name] for name in names])
    return Rule.from_arrays([first, *weights[1:]], biases, perception="isotropic", **spec)

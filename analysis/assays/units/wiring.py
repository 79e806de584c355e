"""What hidden units read and write.

Weights on single hidden channels depend on the basis in which training ended. Three descriptions do not: how much each
filter contributes to a unit's input through colours, alpha and the hidden channels as a whole; the same through the
smoothest, second smoothest, ... direction of the whitened states; and the whitened length of what a unit writes.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.linalg
import xarray as xr
from jaxtyping import Bool, Float

from analysis.assays.units.activity import layer_inputs
from nca.organism import Organism
from nca.perception import perceive
from nca.rule import Rule
from nca.spec import channel_role

GROUPS = ("colour", "alpha", "hidden")
DIRECTIONS = 6  # directions of the whitened states that are shown
_RIDGE = 1e-6  # of the mean variance, below which a direction counts as constant


def smooth_directions(
    states: Float[np.ndarray, "run y x channel"], bodies: Bool[np.ndarray, "run y x"]
) -> tuple[Float[np.ndarray, "direction channel"], Float[np.ndarray, "direction channel"]]:
    """Directions of the states over the body, the smoothest first (maximum autocorrelation factors).

    Of all directions with unit variance, the first changes least from a cell to its neighbours, the second least among
    those uncorrelated with it, and so on (Switzer & Green 1984). They do not depend on the basis of the channels.

    Returns:
        read-outs, whose product with a state is its coordinate, of unit variance over the body; and patterns, the state
        that one unit of the coordinate stands for. Directions without variance are left out.
    """
    cells = states[bodies].astype(np.float64)
    covariance = np.atleast_2d(np.cov(cells.T))
    values, vectors = np.linalg.eigh(covariance)
    varying = values > _RIDGE * max(values.mean(), 1e-12)
    whiten = vectors[:, varying] / np.sqrt(values[varying])  # (channel, direction)
    change = [
        (states[:, 1:] - states[:, :-1])[bodies[:, 1:] & bodies[:, :-1]],
        (states[:, :, 1:] - states[:, :, :-1])[bodies[:, :, 1:] & bodies[:, :, :-1]],
    ]
    steps = np.concatenate(change).astype(np.float64) @ whiten
    _, order = scipy.linalg.eigh(steps.T @ steps)
    read = (whiten @ order).T
    return read, read @ covariance


def read_profile(
    rule: Rule, states: Float[np.ndarray, "run y x channel"], bodies: Bool[np.ndarray, "run y x"]
) -> xr.Dataset:
    """What each unit reads, over the body.

    Returns:
        Dataset: weight (unit, filter, channel), as trained; read (unit, filter, group) and read_direction (unit,
        filter, direction), the standard deviation over the body of what enters the unit through a filter and a group
        of channels, or a direction of the whitened states; bias (unit,).
    """
    features = np.asarray(layer_inputs(rule, states)[0])[bodies].astype(np.float64)
    channels = rule.spec.channels
    weight = np.asarray(rule.weights[0][...], np.float64).reshape(len(rule.filters), channels, -1)
    by_filter = features.reshape(len(features), len(rule.filters), channels)
    roles = np.asarray([channel_role(name) for name in rule.channel_names])
    readers, patterns = smooth_directions(states, bodies)
    read = np.zeros((len(rule.filters), len(GROUPS), weight.shape[2]))
    along = np.zeros((len(rule.filters), min(DIRECTIONS, len(readers)), weight.shape[2]))
    for f in range(len(rule.filters)):
        field = by_filter[:, f]
        for g, group in enumerate(GROUPS):
            read[f, g] = (field[:, roles == group] @ weight[f, roles == group]).std(0)
        spread = (field @ readers.T).std(0)[: along.shape[1]]
        along[f] = spread[:, None] * np.abs(patterns[: along.shape[1]] @ weight[f])
    names = {"filter": list(rule.filters), "channel": list(rule.channel_names), "group": list(GROUPS)}
    data: dict[str, Any] = {
        "weight": (("unit", "filter", "channel"), weight.transpose(2, 0, 1)),
        "read": (("unit", "filter", "group"), read.transpose(2, 0, 1)),
        "read_direction": (("unit", "filter", "direction"), along.transpose(2, 0, 1)),
        "bias": ("unit", np.asarray(rule.biases[0][...], np.float64)),
    }
    return xr.Dataset(data, names | {"direction": 1 + np.arange(along.shape[1])})


def write_weights(rule: Rule) -> Float[np.ndarray, "unit channel"]:
    """What a unit adds to the delta for every 1 that it is; in deeper rules, as if later layers were linear."""
    written = np.asarray(rule.weights[1][...], np.float64)
    for weight in rule.weights[2:]:
        written = written @ np.asarray(weight[...], np.float64)
    return written


def write_profile(
    rule: Rule,
    states: Float[np.ndarray, "run y x channel"],
    bodies: Bool[np.ndarray, "run y x"],
    activity: Float[np.ndarray, "cell unit"],
) -> xr.Dataset:
    """What each unit writes, over the body.

    Returns:
        Dataset: write (unit, channel), the weights; write_mean (unit, channel), times its mean; written (unit, group),
        the root mean square of what it adds to a group of channels, in standard deviations of the states over the body
        (hidden channels together, whitened); variance (unit,), the variance over the body of all that it adds,
        whitened.
    """
    write = write_weights(rule)
    roles = np.asarray([channel_role(name) for name in rule.channel_names])
    cells = states[bodies].astype(np.float64)
    size = np.sqrt(np.square(activity).mean(0))
    written = np.stack([size * _whitened_length(write[:, roles == g], cells[:, roles == g]) for g in GROUPS], 1)
    variance = activity.var(0) * np.square(_whitened_length(write, cells))
    data = {
        "write": (("unit", "channel"), write),
        "write_mean": (("unit", "channel"), write * activity.mean(0)[:, None]),
        "written": (("unit", "group"), written),
        "variance": ("unit", variance),
    }
    return xr.Dataset(data, {"channel": list(rule.channel_names), "group": list(GROUPS)})


def _whitened_length(vectors: np.ndarray, cells: np.ndarray) -> Float[np.ndarray, " vector"]:
    """Lengths of vectors in standard deviations of the cells' states, all directions alike."""
    if not vectors.shape[1]:
        return np.zeros(len(vectors))
    covariance = np.atleast_2d(np.cov(cells.T))
    inverse = np.linalg.pinv(covariance, rcond=_RIDGE, hermitian=True)
    return np.sqrt(np.einsum("uc,cd,ud->u", vectors, inverse, vectors).clip(0))


def own_read_weights(organism: Organism) -> Float[np.ndarray, "unit channel"]:
    """What each unit reads of its own cell, through all filters: the weights of the filters' middle cells."""
    rule = organism.rule
    channels = rule.spec.channels
    impulse = jnp.zeros((channels, 3, 3, channels)).at[jnp.arange(channels), 1, 1, jnp.arange(channels)].set(1.0)
    middle = np.stack([np.asarray(field)[:, 1, 1] for field in perceive(rule, impulse)])  # (filter, from, to)
    weight = np.asarray(rule.weights[0][...], np.float64).reshape(len(middle), channels, -1)
    return np.einsum("fab,fbu->ua", middle, weight)

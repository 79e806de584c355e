"""A dictionary of positional identity: which hidden state means which place, learned from other runs.

Positional information in the sense of Dubuis et al. 2013 and Petkova et al. 2019: the state of a cell is looked up
among those of other embryos, and the places where such states occur are its decoded place. States are whitened, so
that the same organism in another basis of its hidden channels has the same dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from analysis.stats.nulls import MIN_CELLS, with_surrogates
from analysis.stats.surrogates import MAX_CELLS
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature
from nca.spec import hidden_channels

SAME_PLACE = 2.5  # cells within which a decoded place counts as the true one
_NEIGHBOURS = 3  # states whose mean place is the decoded one
_LEAST_VARIANCE = 1e-10  # along a direction, as a share of the largest; below it is rounding
_FALSE_KNOWN = 0.01  # share of random states that count as known
_UNIT = 0.95  # quantile of the distances of cells of undisturbed runs, in whose units other distances are given


@dataclass(frozen=True, eq=False)
class Dictionary:
    """States and the places where they occur.

    Attributes:
        channels: those that are read.
        mean: of the states.
        whitening: from centred states to components of variance 1 without correlations.
        places: row and column of each entry, in cells.
        tree: of the entries' whitened states.
        radius: whitened distance from the nearest entry within which a state counts as known; infinite until
            `calibrate` sets it.
        unit: distance from the nearest entry that 95 % of the cells of undisturbed runs stay within.
    """

    channels: Sequence[int]
    mean: Float[np.ndarray, " channel"]
    whitening: Float[np.ndarray, "channel component"]
    places: Float[np.ndarray, "entry 2"]
    tree: KDTree
    radius: float = np.inf
    unit: float = 1.0


def build_dictionary(
    organism: Organism, states: Float[np.ndarray, "*b y x channel"], channels: Sequence[int] | None = None
) -> Dictionary:
    """A dictionary of the mature cells of some states.

    Args:
        organism: whose states they are.
        states: of undisturbed runs.
        channels: that are read; the hidden channels if none: colour and alpha are a picture, and no code.

    Raises:
        UserError: nothing to read: no hidden channel, no mature cell, or the same state in all of them.
    """
    read = list(hidden_channels(organism.rule.spec) if channels is None else channels)
    if not read:
        raise UserError(f"A dictionary of places reads hidden channels, and {organism.name} has none.")
    body = bodies(organism, states)
    return _index_states(states[body][:, read], np.argwhere(body)[:, -2:], read)


def _index_states(
    values: Float[np.ndarray, "entry channel"], places: Float[np.ndarray, "entry 2"], channels: Sequence[int]
) -> Dictionary:
    """A dictionary of given states and places."""
    finite = np.isfinite(values).all(1)
    values, places = values[finite].astype(np.float64), places[finite]
    if len(values) < 2:
        raise UserError("A dictionary of places needs two or more mature cells.")
    mean = values.mean(0)
    variance, directions = np.linalg.eigh(np.atleast_2d(np.cov(values.T)))
    varies = variance > max(_LEAST_VARIANCE * variance.max(), np.finfo(np.float32).tiny)
    if not varies.any():
        raise UserError("All cells have the same hidden states, so that none of them means a place.")
    whitening = directions[:, varies] / np.sqrt(variance[varies])
    return Dictionary(channels, mean, whitening, places.astype(float), KDTree((values - mean) @ whitening))


def bodies(organism: Organism, states: Float[np.ndarray, "*b y x channel"]) -> Bool[np.ndarray, "*b y x"]:
    """The mature cells of states."""
    return np.asarray(mature(organism.rule, jnp.asarray(states)))


def decode(
    dictionary: Dictionary, values: Float[np.ndarray, "cell channel"]
) -> tuple[Float[np.ndarray, "cell 2"], Float[np.ndarray, " cell"]]:
    """The decoded places of cells, and how far their states are from the nearest known one.

    Args:
        dictionary: made from other runs.
        values: states of cells, all channels.

    Returns:
        Row and column, the mean place of the three nearest entries (NaN where a state is not finite); the whitened
        distance to the nearest one (infinite there).
    """
    read = np.asarray(values, np.float64)[:, list(dictionary.channels)]
    places, distance = np.full((len(read), 2), np.nan), np.full(len(read), np.inf)
    finite = np.isfinite(read).all(1)
    if finite.any():
        near = min(_NEIGHBOURS, len(dictionary.places))
        query = (read[finite] - dictionary.mean) @ dictionary.whitening
        found, entries = dictionary.tree.query(query, range(1, near + 1), workers=-1)
        places[finite], distance[finite] = dictionary.places[entries].mean(1), found[:, 0]
    return places, distance


def decode_bodies(
    dictionary: Dictionary, organism: Organism, states: Float[np.ndarray, "*b y x channel"]
) -> tuple[Float[np.ndarray, "*b y x 2"], Float[np.ndarray, "*b y x"]]:
    """`decode` of every mature cell of states; NaN elsewhere."""
    body = bodies(organism, states)
    places, distance = np.full((*body.shape, 2), np.nan), np.full(body.shape, np.nan)
    places[body], distance[body] = decode(dictionary, states[body])
    return places, distance


def errors(places: Float[np.ndarray, "*b y x 2"]) -> Float[np.ndarray, "*b y x"]:
    """Distance of every cell from its decoded place, in cells."""
    return np.linalg.norm(places - np.moveaxis(np.indices(places.shape[-3:-1]), 0, -1), axis=-1)


def calibrate(dictionary: Dictionary, organism: Organism, states: Float[np.ndarray, "*b y x channel"]) -> Dictionary:
    """The dictionary with its radius and unit set by undisturbed runs that are not in it.

    A state counts as known where it is nearer to an entry than 99 % of random states, which have the (whitened) norms
    of these runs' cells and any direction.
    """
    values = states[bodies(organism, states)]
    random = _random_distance(dictionary, values)
    unit = float(np.quantile(decode(dictionary, values)[1], _UNIT))
    return replace(dictionary, radius=float(np.quantile(random, _FALSE_KNOWN)), unit=unit)


def held_out_errors(
    dictionary: Dictionary, organism: Organism, states: Float[np.ndarray, "step run y x channel"], steps: Sequence[int]
) -> xr.Dataset:
    """The positional error of undisturbed runs that are not in the dictionary.

    Returns:
        Dataset over (step, run): error_median, error_mean (cells); same_place, the share of cells decoded within 2.5
        cells; known, the share of known states.
    """
    places, distance = decode_bodies(dictionary, organism, states)
    error, body = errors(places), np.isfinite(distance)
    counts = np.maximum(body.sum((-2, -1)), 1)
    data = {
        "error_median": _over_cells(np.median, error),
        "error_mean": _over_cells(np.mean, error),
        "same_place": (error <= SAME_PLACE).sum((-2, -1)) / counts,
        "known": (distance <= dictionary.radius).sum((-2, -1)) / counts,
    }
    return xr.Dataset({name: (("step", "run"), values) for name, values in data.items()}, {"step": list(steps)})


def _over_cells(statistic: Callable[[np.ndarray], float], field: Float[np.ndarray, "*b y x"]) -> np.ndarray:
    """A statistic of the defined cells of each field; NaN where there is none."""
    out = np.full(field.shape[:-2], np.nan)
    for at in np.ndindex(*out.shape):
        cells = field[at][np.isfinite(field[at])]
        out[at] = statistic(cells) if cells.size else np.nan
    return out


def _random_distance(dictionary: Dictionary, values: Float[np.ndarray, "cell channel"]) -> Float[np.ndarray, " cell"]:
    """Distances from the nearest entry of states in random directions, as long, whitened, as the given ones."""
    read = values[:, list(dictionary.channels)].astype(np.float64)
    query = (read[np.isfinite(read).all(1)] - dictionary.mean) @ dictionary.whitening
    random = np.random.default_rng(0).normal(size=query.shape)
    random *= np.linalg.norm(query, axis=1, keepdims=True) / np.linalg.norm(random, axis=1, keepdims=True)
    return dictionary.tree.query(random, workers=-1)[0]


def vacuity_control(
    organism: Organism, states: Float[np.ndarray, "run step y x channel"], entries: int, number: int, seed: int
) -> xr.Dataset:
    """How well places are decoded from smooth fields that are random but the same in all runs.

    In the cells that are mature in all states, the mean field of the hidden channels is replaced by band-rotated
    surrogates of it; each run keeps its deviation from the mean. Such a field says nothing about position, and any
    that is frozen over runs can still be looked up: on one history, a small positional error is no finding.

    Args:
        organism: whose states they are.
        states: of undisturbed runs; the first `entries` make the dictionary, the others are decoded.
        entries: number of runs in the dictionary.
        number: of surrogates.
        seed: of the surrogates.

    Returns:
        Dataset over field, the states themselves and then the surrogates: error_median, error_mean (cells). Empty
        without surrogates, where a state is not finite, or where fewer than 40 or more than 4,000 cells are mature in
        all states.
    """
    body = np.asarray(bodies(organism, states).all((0, 1)))
    if not number or not MIN_CELLS <= body.sum() <= MAX_CELLS:
        return xr.Dataset()
    read = list(hidden_channels(organism.rule.spec))
    values = states[:, :, body][..., read].astype(np.float64)
    if not np.isfinite(values).all():
        return xr.Dataset()
    mean = values.mean((0, 1))
    cells = np.argwhere(body)
    measured = []
    for field in with_surrogates(mean, body, number, seed):
        frozen = field + (values - mean)
        entry = frozen[:entries].reshape(-1, len(read))
        dictionary = _index_states(entry, np.tile(cells, (len(entry) // len(cells), 1)), range(len(read)))
        held_out = frozen[entries:].reshape(-1, len(read))
        off = decode(dictionary, held_out)[0].reshape(-1, len(cells), 2) - cells
        error = np.linalg.norm(off, axis=-1)
        measured.append((np.median(error), error.mean()))
    names = ["states", *(f"surrogate {n}" for n in range(number))]
    data = {
        name: ("field", column)
        for name, column in zip(("error_median", "error_mean"), np.transpose(measured), strict=True)
    }
    return xr.Dataset(data, {"field": names}, {"cells": int(body.sum())})

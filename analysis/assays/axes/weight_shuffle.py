"""Did training make the code? The same network with its weights shuffled, on the same alive sites. (A4)

An untrained rule does nothing (its last layer is zero), so it is no control. A rule whose trained weights are
shuffled has their distribution and none of their order. It would soon kill or flood the body and grow without
bound, so it is guided: it runs on the alive sites of the trained rule, with the same fire masks; each of its updates
is scaled to the size (root mean square over the alive sites) of the trained update of that step; and its
states are clipped to the range that each channel has in the trained run. What it still encodes of position comes
for free with growth: from the shape, from the seed, from the age of each cell.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float

from analysis.assays.axes.decoding import decode_position
from analysis.assays.axes.pca import body_states, layout
from analysis.geometry import positions
from analysis.rollouts import fire_masks
from analysis.stats.nulls import null_tests
from analysis.stats.surrogates import laplacian_modes, rotate_bands
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import perceive
from nca.rule import Rule
from nca.spec import channel_names
from nca.step import dense_layers, perception_input, squash, step_sites


def weight_shuffle_tests(
    organism: Organism,
    recording: xr.Dataset,
    components: xr.Dataset,
    key: Any,
    *,
    run: int = 0,
    weight_shuffles: int = 99,
    surrogates: int = 19,
    cv_repeats: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Compare the decoders of the trained organism with those of its shuffled rules.

    Args:
        recording: as given to `pca`; grown from the seed without edits.
        components: result of `pca`; its channels and step are used.
        surrogates: band-rotated surrogates of each rule's states, for the excess.

    Returns:
        Dataset of `null_tests` over statistic, indexed by (quantity, measure): r2; excess, which is r2 minus
        its median over surrogates; and rank_correlation, that of PC1 with the radius, each rule's states having
        components of their own. The null is the shuffled rules. Each measure is FDR-corrected by itself, since
        all ask the same question. A shuffled rule whose states are all equal decodes nothing: its R² is
        that of no features.

    Raises:
        UserError: the step of `components` is 0, or there is no body.
    """
    step = int(components.attrs["step"])
    if step < 1:
        raise UserError("A shuffled rule is compared at a step after the seed; got step 0.")
    trained, mask = body_states(recording, components, run)
    states = _shuffled_states(organism, step, key, weight_shuffles, seed)[:, mask]
    channels = [channel_names(organism.rule.spec).index(n) for n in components.channel.values]
    body_modes = laplacian_modes(mask)
    scaling, position = str(components.attrs["scaling"]), positions(mask)
    radial: tuple[str, str] = ("PC1", "rank_correlation")
    measures: dict[str, dict[tuple[str, str], list[float]]] = {"r2": {}, "excess": {}, "radial": {radial: []}}
    for k, values in enumerate([trained, *states[..., channels].astype(np.float64)]):
        fields = np.concatenate([values[None], rotate_bands(values, body_modes, surrogates, seed + k)])
        for quantity, repeats in decode_position(fields, mask, cv_repeats).items():
            r2 = repeats.mean(1)
            measures["r2"].setdefault((quantity, "r2"), []).append(r2[0])
            measures["excess"].setdefault((quantity, "excess"), []).append(r2[0] - np.median(r2[1:]))
        first = _first_component(values, scaling)[:, None]
        measures["radial"][radial].append(np.nan_to_num(layout(first, position)["radius_correlation"][0]))
    families = [null_tests({k: np.asarray(v) for k, v in m.items()}) for m in measures.values()]
    attrs = {"step": step, "run": run, "cells": len(trained), "weight_shuffles": weight_shuffles}
    attrs |= {"surrogates": surrogates, "cv_repeats": cv_repeats, "seed": seed}
    return xr.concat(families, "statistic").assign_attrs(attrs)


def _first_component(states: Float[np.ndarray, "cell channel"], scaling: str) -> Float[np.ndarray, " cell"]:
    """Scores of the first principal component of these states."""
    centred = states - states.mean(0)
    if scaling == "zscore":
        centred = centred / np.where(states.std(0) > 0, states.std(0), 1.0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, 0] * size[0]


def _shuffled_states(
    organism: Organism, steps: int, key: Any, weight_shuffles: int, seed: int
) -> Float[np.ndarray, "shuffle y x channel"]:
    """The states of shuffled rules after `steps` steps from the seed, guided by the trained run of this key."""
    rule, start = organism.rule, organism.initial_state()
    with jax.default_matmul_precision("highest"):
        _, guide = _trained_run(rule, start, fire_masks(organism, key, steps))
        rows, columns = _crop(np.asarray(guide["before"] | guide["after"]))
        guide |= {name: guide[name][:, rows, columns] for name in ("fire", "before", "after")}
        states = np.zeros((weight_shuffles, *start.shape), np.float32)
        for k in range(weight_shuffles):
            states[k, rows, columns] = _guided_run(_shuffle_weights(rule, seed + k), start[rows, columns], guide)
    return states


def _shuffle_weights(rule: Rule, seed: int) -> Rule:
    """The rule with the entries of every weight matrix and of every bias permuted."""
    rng = np.random.default_rng(seed)

    def _permute(values: Any) -> np.ndarray:
        array = np.asarray(values[...])
        return rng.permutation(array.ravel()).reshape(array.shape)

    weights, biases = [_permute(w) for w in rule.weights], [_permute(b) for b in rule.biases]
    return Rule(rule.spec, weights, biases, None if rule.kernels is None else rule.kernels[...], rule.angle[...])


@jax.jit
def _trained_run(rule: Rule, start: Array, fire: Any) -> tuple[Array, dict[str, Array]]:
    """The last state of the trained run, and what guides the shuffled ones at each step: fire masks, alive sites
    before and after, size of the update, least and largest value of every channel."""

    def _step(state: Array, mask: Array) -> tuple[Array, dict[str, Array]]:
        sites = step_sites(rule, state, mask)
        return sites["next"], {
            "fire": mask,
            "before": sites["before"],
            "after": sites["alive"],
            "size": _rms(sites["update"], sites["alive"]),
            "low": sites["next"].min((0, 1)),
            "high": sites["next"].max((0, 1)),
        }

    return jax.lax.scan(_step, start, fire)


@jax.jit
def _guided_run(rule: Rule, start: Array, guide: dict[str, Array]) -> Float[Array, "y x channel"]:
    """The last state of a rule that is guided."""
    spec = rule.spec
    low, high = guide["low"].min(0), guide["high"].max(0)

    def _step(state: Array, at: dict[str, Array]) -> tuple[Array, None]:
        features = jnp.concatenate(perceive(rule, perception_input(rule, state, at["before"])), axis=-1)
        gate = at["fire"] & at["before"] if spec.alive == "gate" else at["fire"]
        update = squash(spec, dense_layers(rule, features, lambda _, values: values)) * gate[..., None]
        update = update * at["size"] / jnp.maximum(_rms(update, at["after"]), 1e-12)
        return jnp.where(at["after"][..., None], jnp.clip(state + update, low, high), 0.0), None

    return jax.lax.scan(_step, start, guide)[0]


def _rms(update: Array, mask: Array) -> Array:
    """Root mean square over the sites of a mask."""
    return jnp.sqrt(jnp.square(update * mask[..., None]).sum() / jnp.maximum(mask.sum(), 1))


def _crop(alive: Bool[np.ndarray, "step y x"]) -> tuple[slice, slice]:
    """Rows and columns around all sites that were ever alive, with a margin of one that stays empty; the whole
    canvas along an axis whose end is reached, where a boundary may wrap."""
    ever, spans = alive.any(0), []
    for axis, size in enumerate(ever.shape):
        where = np.flatnonzero(np.any(ever, axis=1 - axis))
        inside = len(where) and where[0] > 0 and where[-1] < size - 1
        spans.append(slice(where[0] - 1, where[-1] + 2) if inside else slice(0, size))
    return spans[0], spans[1]

"""Did training do it? The same network with its weights shuffled, on the same living sites. (A4)

An untrained rule does nothing (its last layer is zero), so it is no control. A rule whose trained weights
are shuffled has their distribution and none of their order. It would soon kill or flood the body and grow
without bound, so it is led: it runs on the living sites of the trained one, with its fire masks; each of
its updates is scaled to the size (root mean square over the living sites) of the trained update of that
step; and its states are clipped to the range that each channel has in the trained run. What it still knows
of place comes for free with growing: from the shape, from the seed, from how old each cell is.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float

from analysis.assays.axes.pca import check_cells
from analysis.assays.axes.reading import body_at, decoded_places
from analysis.firing import fire_masks
from analysis.stats.nulls import null_tests
from analysis.stats.surrogates import modes, rotated
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import filter_bank
from nca.rule import Rule
from nca.spec import channel_names
from nca.step import read, respond, squashed, step_sites


def shuffled(rule: Rule, seed: int) -> Rule:
    """The rule with the entries of every weight matrix and of every bias permuted."""
    draw = np.random.default_rng(seed)

    def mixed(values: Any) -> np.ndarray:
        array = np.asarray(values[...])
        return draw.permutation(array.ravel()).reshape(array.shape)

    weights, biases = [mixed(w) for w in rule.weights], [mixed(b) for b in rule.biases]
    return Rule(rule.spec, weights, biases, None if rule.kernels is None else rule.kernels[...], rule.angle[...])


@jax.jit
def _lived(rule: Rule, start: Array, fire: Any) -> tuple[Array, dict[str, Array]]:
    """The trained run's last state, and by step what leads the others: living sites before and after,
    size of the update, least and largest value of every channel."""

    def step(state: Array, mask: Array) -> tuple[Array, dict[str, Array]]:
        sites = step_sites(rule, state, mask)
        return sites["next"], {
            "fire": mask,
            "before": sites["before"],
            "after": sites["alive"],
            "size": _size(sites["update"], sites["alive"]),
            "low": sites["next"].min((0, 1)),
            "high": sites["next"].max((0, 1)),
        }

    return jax.lax.scan(step, start, fire)


def _size(update: Array, where: Array) -> Array:
    """Root mean square over the sites where `where` is True."""
    return jnp.sqrt(jnp.square(update * where[..., None]).sum() / jnp.maximum(where.sum(), 1))


@jax.jit
def _led(rule: Rule, start: Array, lead: dict[str, Array]) -> Float[Array, "y x channel"]:
    """The last state of a rule that is led."""
    spec = rule.spec
    low, high = lead["low"].min(0), lead["high"].max(0)

    def step(state: Array, at: dict[str, Array]) -> tuple[Array, None]:
        features = jnp.concatenate(filter_bank(rule, read(rule, state, at["before"])), axis=-1)
        gate = at["fire"] & at["before"] if spec.alive == "gate" else at["fire"]
        update = squashed(spec, respond(rule, features, lambda _, values: values)) * gate[..., None]
        update = update * at["size"] / jnp.maximum(_size(update, at["after"]), 1e-12)
        grown = jnp.clip(state + update, low, high)
        return jnp.where(at["after"][..., None], grown, 0.0), None

    return jax.lax.scan(step, start, lead)[0]


def shuffled_states(
    organism: Organism,
    steps: int,
    key: Any,
    *,
    permutations: int = 99,
    seed: int = 0,
    fire: Bool[np.ndarray, "step y x"] | None = None,
) -> tuple[Float[np.ndarray, "y x channel"], Float[np.ndarray, "permutation y x channel"]]:
    """The trained run's state, and those of its shuffled rules on the same living sites.

    Args:
        organism: what grew.
        steps: steps from the seed.
        key: of the run.
        permutations: ways to shuffle.
        seed: what they are drawn from.
        fire: masks in place of the key's own.
    """
    rule, start = organism.rule, organism.start()
    masks = fire_masks(organism, key, steps) if fire is None else jnp.asarray(fire, bool)
    with jax.default_matmul_precision("highest"):
        last, lead = _lived(rule, start, masks)
        rows, columns = _lived_in(np.asarray(lead["before"] | lead["after"]))
        begun = start[rows, columns]
        lead |= {name: lead[name][:, rows, columns] for name in ("fire", "before", "after")}
        led = np.zeros((permutations, *start.shape), np.float32)
        for k in range(permutations):
            led[k, rows, columns] = _led(shuffled(rule, seed + k), begun, lead)
    return np.asarray(last), led


def _lived_in(sites: Bool[np.ndarray, "step y x"]) -> tuple[slice, slice]:
    """Rows and columns around all sites that ever lived, and one beyond them, which stays empty; the
    whole canvas along an axis whose end is reached, where a boundary may wrap."""
    ever, spans = sites.any(0), []
    for axis, size in enumerate(ever.shape):
        where = np.flatnonzero(np.any(ever, axis=1 - axis))
        inside = len(where) and where[0] > 0 and where[-1] < size - 1
        spans.append(slice(where[0] - 1, where[-1] + 2) if inside else slice(0, size))
    return spans[0], spans[1]


def against_shuffled(
    organism: Organism,
    recording: xr.Dataset,
    components: xr.Dataset,
    key: Any,
    *,
    run: int = 0,
    permutations: int = 99,
    surrogates: int = 19,
    deals: int = 5,
    seed: int = 0,
    fire: Bool[np.ndarray, "step y x"] | None = None,
) -> xr.Dataset:
    """A1 and A2 of the trained organism beside those of its shuffled rules.

    Args:
        organism: what was recorded.
        recording: as given to `pca`; grown from the seed without edits.
        components: what `pca` returned; its channels and step are used.
        key: of that run.
        run: the run.
        permutations: shuffled rules.
        surrogates: band-rotated surrogates of each, and of the trained states, for the excess.
        deals: ways to deal blocks to folds.
        seed: what shuffles and surrogates are drawn from.
        fire: the run's masks where it was given them.

    Returns:
        Dataset over statistic ("R2 of x", "excess of x", ...) as of `position_tests`, its null the
        shuffled rules (along "surrogate"); q over the five of a kind; the excess is R2
        minus the median over surrogates. A
        shuffled rule whose states are all equal decodes nothing: its R2 is that of no features.

    Raises:
        UserError: the step of `components` is 0, or no body.
    """
    at, names = int(components.attrs["at"]), list(components.channel.values)
    if at < 1:
        raise UserError("A shuffled rule needs a step after the seed to be compared at; got step 0.")
    own, mask = body_at(recording, run, at, names)
    check_cells(own, at)
    _, led = shuffled_states(organism, at, key, permutations=permutations, seed=seed, fire=fire)
    picked = [list(channel_names(organism.rule.spec)).index(n) for n in names]
    waves = modes(mask)
    rows: list[dict[str, float]] = []
    for k, values in enumerate([own, *led[:, mask][..., picked].astype(np.float64)]):
        fields = np.concatenate([values[None], rotated(values, waves, surrogates, seed + k)])
        scores = {q: v.mean(1) for q, v in decoded_places(fields, mask, deals).items()}
        rows.append({f"R2 of {q}": v[0] for q, v in scores.items()})
        rows[-1] |= {f"excess of {q}": v[0] - np.median(v[1:]) for q, v in scores.items()}
    measures = {name: np.asarray([row[name] for row in rows]) for name in rows[0]}
    # R2 and its excess ask the same question twice: each kind is corrected by itself.
    kinds = [{n: v for n, v in measures.items() if n.startswith(k)} for k in ("R2", "excess")]
    found = xr.concat([null_tests(kind) for kind in kinds], "statistic")
    counted = {"permutations": permutations, "surrogates": surrogates, "deals": deals, "seed": seed}
    return found.assign_attrs(at=at, run=run, cells=len(own), **counted)

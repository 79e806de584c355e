"""What a run is measured by: error, fitness, size. Definitions, nothing else.

All of it is jax.numpy without branches on values, so it runs inside `jit` and `vmap`. Numbers that
do not exist ("not defined") are NaN here and only here; tables say it in words, JSON says null.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nca.perception import mature
from nca.rule import Rule, visible
from nca.spec import Spec

Arrays = Array | np.ndarray

PUBLISHED_PIXELS = 72 * 72 * 4
FLOOR = 1e-6
LEAST_BODY = 0.1
LEAST_WOUND = 1e-4
OVERGROWN = 2.0
EXPLODED = 1e3


def picture(spec: Spec, state: Float[Arrays, "*b y x channel"]) -> Float[Array, "*b y x 4"]:
    """Clipped premultiplied RGBA; a value that is not a number shows as 0."""
    return visible(spec, jnp.nan_to_num(jnp.asarray(state)))


def mse(spec: Spec, state: Float[Arrays, "*b y x channel"], reference: Float[Arrays, "*b y x 4"]) -> Float[Array, "*b"]:
    """E: squared difference of the pictures, summed over the canvas, over 72 * 72 * 4.

    On a 72x72 canvas this is the mean squared error; on any other it stays comparable with it.

    Args:
        spec: the rule's conventions.
        state: what grew.
        reference: premultiplied RGBA on the same canvas: the target, or a twin's `picture`.
    """
    return jnp.square(picture(spec, state) - reference).sum((-3, -2, -1)) / PUBLISHED_PIXELS


def empty_mse(reference: Float[Arrays, "*b y x 4"]) -> Float[Array, "*b"]:
    """E_dead: the error of an empty canvas."""
    return jnp.square(jnp.asarray(reference)).sum((-3, -2, -1)) / PUBLISHED_PIXELS


def log_mse(e: Float[Arrays, "*b"]) -> Float[Array, "*b"]:
    """L = log10(max(E, 1e-6))."""
    return jnp.log10(jnp.maximum(e, FLOOR))


def has_body(undisturbed: Float[Arrays, "*b"], dead: Float[Arrays, "*b"]) -> Bool[Array, "*b"]:
    """Whether there is a body to lose: E_dead - E_ref is at least a tenth of E_dead, and not 0."""
    whole = jnp.asarray(dead)
    return (whole - undisturbed >= LEAST_BODY * whole) & (whole > 0)


def fitness(e: Float[Arrays, "*b"], undisturbed: Float[Arrays, "*b"], dead: Float[Arrays, "*b"]) -> Float[Array, "*b"]:
    """W = 1 - (E - E_ref) / (E_dead - E_ref): 1 intact, 0 dead, negative when overgrown.

    NaN, which stands for "not defined", where `has_body` is False.

    Args:
        e: error of the disturbed run.
        undisturbed: E_ref, error of the undisturbed run of the same key and step; 0 where `e` is
            measured against that run itself.
        dead: E_dead.
    """
    defined = has_body(undisturbed, dead)
    span = jnp.where(defined, dead - undisturbed, 1.0)
    return jnp.where(defined, 1.0 - (e - undisturbed) / span, jnp.nan)


def recovered(
    e_before: Float[Arrays, "*b"],
    e_cut: Float[Arrays, "*b"],
    e_end: Float[Arrays, "*b"],
    e_twin: Float[Arrays, "*b"],
) -> Float[Array, "*b"]:
    """(E_cut - E_end) / (E_cut - E_twin,end): 1 healed, 0 as cut, negative when it grew worse.

    NaN, which stands for "not defined", where the cut changed E by less than 1e-4, or left it less than
    that above where the twin ends: then nothing was lost that could come back.

    Args:
        e_before: error just before the cut.
        e_cut: error just after it.
        e_end: error at the end.
        e_twin: error of the uncut twin of the same key at the end.
    """
    span = e_cut - e_twin
    defined = (jnp.abs(e_cut - e_before) >= LEAST_WOUND) & (span >= LEAST_WOUND)
    return jnp.where(defined, (e_cut - e_end) / jnp.where(defined, span, 1.0), jnp.nan)


def mature_count(rule: Rule, state: Float[Arrays, "*b y x channel"]) -> Int[Array, "*b"]:
    """Cells of the body: those whose own alpha passes the threshold."""
    return mature(rule, jnp.asarray(state)).sum((-2, -1))


def overgrown(count: Int[Arrays, "*b"], control: Int[Arrays, "*b"]) -> Bool[Array, "*b"]:
    """More than twice as many mature cells as the control has at the same step."""
    return jnp.asarray(count) > OVERGROWN * control


def exploded(state: Float[Arrays, "*b y x channel"]) -> Bool[Array, "*b"]:
    """A value that is not finite, or beyond a thousand."""
    return ~(jnp.abs(state) <= EXPLODED).all((-3, -2, -1))


def median_interval(
    values: Any, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Median of the defined values with a percentile bootstrap interval over them.

    It holds the median of all keys as often as `interval_coverage` says: of fewer than six, no interval between them
    reaches 95 %.

    Args:
        values: one number per key; NaN is left out, while -inf, a run that was ruined, is the least.
        level: coverage of the interval.
        resamples: bootstrap samples.
        seed: what they are drawn from.

    Returns:
        median, lower, upper; three NaN where no value is defined.
    """
    known = np.asarray(values, float).ravel()
    known = known[~np.isnan(known)]
    if not known.size:
        return (float("nan"),) * 3
    drawn = np.random.default_rng(seed).integers(known.size, size=(resamples, known.size))
    edges = (1 - level) / 2, (1 + level) / 2
    how: Any = "linear" if np.isfinite(known).all() else "nearest"  # nothing lies between -inf and a number
    low, high = np.quantile(np.median(known[drawn], axis=1), edges, method=how)
    return float(np.median(known)), float(low), float(high)


def interval_coverage(keys: int, level: float = 0.95) -> float:
    """How often an interval of a median over so few keys holds it: at most between the least and the most,
    which all lie on one side of the median with probability 2^(1 - keys)."""
    return min(level, 1.0 - 2.0 ** (1 - keys)) if keys > 0 else 0.0

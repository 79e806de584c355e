"""Definitions of what a run is measured by: error, fitness, recovery, size.

All of it is jax.numpy without branches on values, so it runs inside `jit` and `vmap`. A value that is
not defined is NaN here; tables and reports write "not defined", JSON null.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nca.perception import mature
from nca.rule import Rule, to_rgba
from nca.spec import Spec

Arrays = Array | np.ndarray

PUBLISHED_PIXELS = 72 * 72 * 4
FLOOR = 1e-6
LEAST_BODY = 0.1
LEAST_WOUND = 1e-4
OVERGROWN = 2.0
EXPLODED = 1e3


def picture(spec: Spec, state: Float[Arrays, "*b y x channel"]) -> Float[Array, "*b y x 4"]:
    """Premultiplied RGBA, clipped to 0..1; NaN becomes 0."""
    return to_rgba(spec, jnp.nan_to_num(jnp.asarray(state)))


def mse(spec: Spec, state: Float[Arrays, "*b y x channel"], reference: Float[Arrays, "*b y x 4"]) -> Float[Array, "*b"]:
    """E: squared difference of the pictures, summed over the canvas, over 72 * 72 * 4.

    On a 72x72 canvas this is the mean squared error; on any other it stays comparable with it.

    Args:
        spec: the rule's conventions.
        state: of the run.
        reference: premultiplied RGBA on the same canvas: the target, or the control's `picture`.
    """
    return jnp.square(picture(spec, state) - reference).sum((-3, -2, -1)) / PUBLISHED_PIXELS


def displaced_mse(
    spec: Spec, state: Float[Arrays, "*b y x channel"], reference: Float[Arrays, "*b y x 4"], reach: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """The smallest MSE to a reference that may be moved: whether a body is whole, wherever it stands.

    Args:
        spec: the rule's conventions.
        state: of the run.
        reference: premultiplied RGBA on the same canvas; what is moved beyond an edge counts as missing.
        reach: cells by which the reference may be moved in each direction.

    Returns:
        The smallest MSE (*b), and the displacement of the body from the reference in cells (*b, 2), as (y, x).
    """
    shown, reference = picture(spec, state), jnp.asarray(reference)
    axes, edges = (-3, -2), [(0, 0)] * (reference.ndim - 3) + [(reach, reach)] * 2 + [(0, 0)]
    height, width = reference.shape[-3:-1]
    padded = jnp.pad(reference, edges)
    span = range(-reach, reach + 1)
    moves = sorted(((y, x) for y in span for x in span), key=lambda move: move[0] ** 2 + move[1] ** 2)
    errors = []
    for move in moves:
        moved = jnp.roll(padded, move, axes)[..., reach : reach + height, reach : reach + width, :]
        missing = empty_mse(reference) - empty_mse(moved)
        errors.append(np.asarray(jnp.square(shown - moved).sum((-3, -2, -1)) / PUBLISHED_PIXELS + missing))
    least = np.argmin(errors, 0)  # the nearest place, where several are as good
    return np.min(errors, 0), np.asarray(moves)[least]


def empty_mse(reference: Float[Arrays, "*b y x 4"]) -> Float[Array, "*b"]:
    """E_empty: the MSE of an empty canvas."""
    return jnp.square(jnp.asarray(reference)).sum((-3, -2, -1)) / PUBLISHED_PIXELS


def log_mse(mse: Float[Arrays, "*b"]) -> Float[Array, "*b"]:
    """L = log10(max(E, 1e-6))."""
    return jnp.log10(jnp.maximum(mse, FLOOR))


def has_body(mse_control: Float[Arrays, "*b"], mse_empty: Float[Arrays, "*b"]) -> Bool[Array, "*b"]:
    """Whether the control has a body to lose: E_empty - E_control is at least 10 % of E_empty, and not 0."""
    mse_empty = jnp.asarray(mse_empty)
    return (mse_empty - mse_control >= LEAST_BODY * mse_empty) & (mse_empty > 0)


def fitness(
    mse: Float[Arrays, "*b"], mse_control: Float[Arrays, "*b"], mse_empty: Float[Arrays, "*b"]
) -> Float[Array, "*b"]:
    """W = 1 - (E - E_control) / (E_empty - E_control): 1 unperturbed, 0 as an empty canvas.

    NaN ("not defined") where `has_body` is False.

    Args:
        mse: of the edited run.
        mse_control: of the control of the same key at the same step; 0 where `mse` is measured against
            the control itself.
        mse_empty: of the empty canvas.
    """
    defined = has_body(mse_control, mse_empty)
    span = jnp.where(defined, mse_empty - mse_control, 1.0)
    return jnp.where(defined, 1.0 - (mse - mse_control) / span, jnp.nan)


def recovered(
    mse_before: Float[Arrays, "*b"],
    mse_cut: Float[Arrays, "*b"],
    mse_end: Float[Arrays, "*b"],
    mse_control: Float[Arrays, "*b"],
) -> Float[Array, "*b"]:
    """(E_cut - E_end) / (E_cut - E_control): 1 healed, 0 as cut, negative when worse.

    NaN ("not defined") where the cut changed E by less than 1e-4, or left it less than 1e-4 above the
    control's final E: then there is nothing to recover.

    Args:
        mse_before: just before the cut.
        mse_cut: just after it.
        mse_end: at the end.
        mse_control: of the uncut control of the same key at the end.
    """
    span = mse_cut - mse_control
    defined = (jnp.abs(mse_cut - mse_before) >= LEAST_WOUND) & (span >= LEAST_WOUND)
    return jnp.where(defined, (mse_cut - mse_end) / jnp.where(defined, span, 1.0), jnp.nan)


def mature_count(rule: Rule, state: Float[Arrays, "*b y x channel"]) -> Int[Array, "*b"]:
    """Number of mature cells: those whose own alpha passes the threshold."""
    return mature(rule, jnp.asarray(state)).sum((-2, -1))


def overgrown(mature_cells: Int[Arrays, "*b"], control_cells: Int[Arrays, "*b"]) -> Bool[Array, "*b"]:
    """Whether a run has more than twice as many mature cells as its control at the same step."""
    return jnp.asarray(mature_cells) > OVERGROWN * control_cells


def exploded(state: Float[Arrays, "*b y x channel"]) -> Bool[Array, "*b"]:
    """Whether any value is not finite, or beyond 1,000."""
    return ~(jnp.abs(state) <= EXPLODED).all((-3, -2, -1))


def missing_body(rule: Rule, states: Float[Arrays, "run y x channel"], step: int) -> str:
    """Why not every run has a body to examine, as one sentence; empty if every run has one.

    Args:
        rule: of the runs.
        states: of the runs at `step`.
        step: named in the sentence.
    """
    empty = np.asarray(mature_count(rule, states)) == 0
    burst = np.asarray(exploded(jnp.asarray(states)))
    for lacking, reason in ((burst, "has exploded (a value beyond 1,000)"), (empty, "has no mature cell")):
        if lacking.any():
            share = f" ({int(lacking.sum())} of {len(lacking)} runs)" if len(lacking) > 1 else ""
            return f"There is no body to examine: at step {step} run {int(lacking.argmax())} {reason}{share}."
    return ""


def median_interval(
    values: Any, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Median of the defined values with a percentile bootstrap interval.

    With fewer than six values no interval between them reaches 95 %: all n values lie on one side of the median with
    probability 2^(1 - n).

    Args:
        values: one per run; NaN is left out, -inf (a run that exploded) is the least.
        level: coverage of the interval.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        median, low, high; three NaN where no value is defined.
    """
    values = np.asarray(values, float).ravel()
    values = values[~np.isnan(values)]
    if not values.size:
        return (float("nan"),) * 3
    samples = np.random.default_rng(seed).integers(values.size, size=(resamples, values.size))
    edges = (1 - level) / 2, (1 + level) / 2
    method: Any = "linear" if np.isfinite(values).all() else "nearest"  # nothing lies between -inf and a number
    low, high = np.quantile(np.median(values[samples], axis=1), edges, method=method)
    return float(np.median(values)), float(low), float(high)

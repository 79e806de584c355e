"""Growth under noisy weights, other fire rates and nearer edges, beside the undisturbed run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.robustness.disturbances import (
    MOVED,
    RATE,
    SMALL,
    STREAM,
    UPDATES,
    WEIGHTS,
    Grown,
    row_of,
)
from analysis.rollouts import CHUNK, Batch, advance, grow_runs, map_runs
from nca.organism import Organism
from nca.perception import mature
from nca.rule import Rule


def weight_noise(body: Grown) -> list[dict[str, Any]]:
    """Organisms grown from the seed with noisy weights, another draw for every key."""
    cases = [(dose, run) for dose in body.config.weights for run in body.runs]
    rules = [blurred(body.organism.rule, dose, [body.config.seed, run, STREAM]) for dose, run in cases]

    def one(n: int) -> np.ndarray:
        run = cases[n][1]
        other = replace(body.organism, rule=rules[n])
        return np.asarray(grow_runs(other, body.config.at, body.keys[run : run + 1], tick=body.tick)[0])

    ends = _all(len(cases), one)
    return [
        row_of(body, WEIGHTS, dose, run, end, body.reference[run], body.states[run])
        for (dose, run), end in zip(cases, ends, strict=True)
    ]


def blurred(rule: Rule, share: float, seed: Any) -> Rule:
    """The rule with noise on every array of weights, of a share of its norm."""
    draw = np.random.default_rng(seed)

    def noise(array: Any) -> np.ndarray:
        values = np.asarray(array[...], np.float64)
        sample = draw.normal(size=values.shape)
        return values + share * np.linalg.norm(values) * sample / np.linalg.norm(sample)

    conventions = {k: tuple(v) if isinstance(v, list) else v for k, v in rule.spec.to_json().items()}
    return Rule.from_arrays(
        [noise(w) for w in rule.weights],
        [noise(b) for b in rule.biases],
        kernels=None if rule.kernels is None else np.asarray(rule.kernels[...]),
        angle=float(rule.angle[...]),
        **conventions,
    )


def to_updates(organism: Organism, config: RobustnessConfig, rate: float) -> int:
    """Steps in which a cell updates as often, on average, as undisturbed until `at`; in twenties."""
    steps = config.at * organism.rule.spec.fire_rate / rate
    return max(CHUNK, round(steps / CHUNK) * CHUNK)


def fire_rates(body: Grown) -> list[dict[str, Any]]:
    """Growth at other fire rates, judged at the same step and after as many updates."""
    cases = [(rate, run) for rate in body.config.rates for run in body.runs]

    def one(n: int) -> tuple[np.ndarray, np.ndarray]:
        rate, run = cases[n]
        first, second = sorted((body.config.at, to_updates(body.organism, body.config, rate)))
        key, canvas = body.keys[run], body.organism.canvas
        early = with_masks(body, body.organism.start(), lambda t: uniform(key, t, canvas) <= rate, 0, first)
        late = early
        if second > first:
            late = with_masks(body, early, lambda t: uniform(key, t, canvas) <= rate, first, second)
        return (early, late) if first == body.config.at else (late, early)

    rows = []
    for (rate, run), pair in zip(cases, _all(len(cases), one), strict=True):
        for kind, end in zip((RATE, UPDATES), pair, strict=True):
            rows.append(row_of(body, kind, rate, run, end, body.reference[run], body.states[run]))
    return rows


def uniform(key: Any, t: int, canvas: tuple[int, int]) -> np.ndarray:
    """The numbers behind a step's fire mask: a cell updates where they are at most the fire rate."""
    return np.asarray(_uniform(key, jnp.int32(t), canvas))


def _drawn(key: Any, t: Any, canvas: tuple[int, int]) -> Any:
    return jax.random.uniform(jax.random.fold_in(key, t), canvas)


_uniform = jax.jit(_drawn, static_argnums=2)


def with_masks(
    body: Grown, state: Any, mask: Callable[[int], np.ndarray], here: int, there: int
) -> Float[np.ndarray, "y x channel"]:
    """A run from step to step under masks of our own."""
    now = jnp.asarray(state)[None]
    for first in range(here, there, CHUNK):
        steps = min(CHUNK, there - first)
        masks = np.stack([mask(first + i) for i in range(steps)])[None]
        course = Batch(body.organism, body.keys[:1], jnp.asarray(masks), (), first, body.tick)
        now = advance(course, now, 0, steps)
    return np.asarray(now[0])


def canvas_edges(body: Grown) -> tuple[list[dict[str, Any]], list[str]]:
    """Growth with so many cells left to the edge: all around, and on the right alone."""
    high, wide = body.organism.canvas
    cells = np.asarray(mature(body.organism.rule, jnp.asarray(body.states))).any(0)
    y, x = np.argwhere(cells).T
    sides = y.min(), x.min(), high - 1 - y.max(), wide - 1 - x.max()
    rows: list[dict[str, Any]] = []
    for edge in body.config.edges:
        # A canvas loses as much on every side; the seed in the middle must stay on it.
        crop, shift = int(min(sides) - edge), int(sides[3] - edge)
        if 0 < crop < min(high, wide) // 2 - 1:
            rows += _grown_on(body, SMALL, edge, lambda field, crop=crop: _cropped(field, crop))  # type: ignore[misc]
        if 0 < shift < wide - wide // 2:
            rows += _grown_on(body, MOVED, edge, lambda field, shift=shift: _shifted(body, field, shift))  # type: ignore[misc]
    said = []
    if body.config.edges and not rows:
        said.append("Canvas edges: the body leaves no more room than the edges asked for.")
    return rows, said


def _cropped(field: np.ndarray, crop: int) -> np.ndarray:
    return field[crop : field.shape[0] - crop, crop : field.shape[1] - crop]


def _shifted(body: Grown, field: np.ndarray, shift: int) -> np.ndarray:
    """A field moved to the right: what leaves is lost, except on a canvas that wraps."""
    moved = np.roll(field, shift, axis=1)
    wraps = body.organism.rule.spec.boundary == "circular"
    if field.dtype != bool and not wraps:
        moved[:, :shift] = 0
    return moved


def _grown_on(body: Grown, kind: str, edge: int, seen: Callable[[np.ndarray], np.ndarray]) -> list[dict[str, Any]]:
    canvas, rate = body.organism.canvas, body.organism.rule.spec.fire_rate
    start = seen(np.asarray(body.organism.start()))

    def one(run: int) -> np.ndarray:
        def mask(t: int) -> Bool[np.ndarray, "y x"]:
            return seen(uniform(body.keys[run], t, canvas) <= rate)

        return with_masks(body, start, mask, 0, body.config.at)

    return [
        row_of(body, kind, edge, run, end, seen(body.reference[run]), seen(body.states[run]))
        for run, end in enumerate(_all(body.config.runs, one))
    ]


def _all(count: int, one: Callable[[int], Any]) -> list[Any]:
    """`one` of every number, on as many threads as there are cores."""
    if not count:
        return []
    return [out for outs in map_runs(count, lambda part: [one(int(n)) for n in part]) for out in outs]

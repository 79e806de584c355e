"""The unperturbed runs of each phase of life, and what every hidden unit does in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float

from analysis import metrics
from analysis.assays.units.ablation import PhaseRuns, check_steps
from analysis.assays.units.config import PHASES, UnitConfig
from analysis.rollouts import Tick, grow_runs, grow_through
from nca.damage import cut
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import alive, mature, perceive
from nca.rule import Rule
from nca.step import dense_layers, perception_input

SAMPLING = 5  # steps between two looks at the units
MOMENTS = 4  # maps of a phase


@dataclass(frozen=True)
class PhaseStates:
    """The unperturbed runs of a phase, step by step.

    Attributes:
        name: growing, adult or regenerating.
        steps: numbers of the steps.
        states: at these steps.
        bodies: mature cells.
    """

    name: str
    steps: list[int]
    states: Float[np.ndarray, "step run y x channel"]
    bodies: Bool[np.ndarray, "step run y x"]


def phase_steps(config: UnitConfig, name: str) -> tuple[int, int]:
    """The first step of a phase, and the number of its steps; growth ends at the adult step."""
    if name == "growing":
        return 0, min(config.growing_steps, config.adult_step)
    return config.adult_step, config.adult_steps if name == "adult" else config.regenerating_steps


def grow_phases(
    organism: Organism, config: UnitConfig, keys: Any, tick: Tick | None = None
) -> tuple[dict[str, PhaseStates], str]:
    """Grow runs to the adult step and on, cut and uncut.

    Args:
        organism: what grows.
        config: phases and their steps.
        keys: one per run.
        tick: receives the steps done.

    Returns:
        The states of each phase that was asked for; and why there is no body to examine, empty where there is one.
    """
    rule, phases = organism.rule, dict[str, PhaseStates]()

    def _follow(name: str, states: Any) -> PhaseStates:
        start, length = phase_steps(config, name)
        steps = sorted({*range(0, length, SAMPLING), *check_steps(length)})
        course = grow_through(organism, keys, [start + n for n in steps], states=states, tick=tick)
        bodies = np.asarray(mature(rule, jnp.asarray(course)))
        return PhaseStates(name, [start + n for n in steps], course, bodies)

    growing = _follow("growing", None)
    grown, last = growing.states[-1], growing.steps[-1]
    if config.adult_step > last:
        grown = np.asarray(grow_runs(organism, config.adult_step - last, keys, states=grown, start=last, tick=tick))
    if reason := metrics.missing_body(rule, grown, config.adult_step):
        return {}, reason
    wounded = np.where(cut(organism.canvas, config.cut)[..., None], 0, grown)
    for name in PHASES:
        if name in config.phases:
            phases[name] = growing if name == "growing" else _follow(name, grown if name == "adult" else wounded)
    return phases, ""


def phase_runs(organism: Organism, phase: PhaseStates, keys: Any, runs: slice) -> PhaseRuns:
    """Some runs of a phase as what ablations are paired with.

    Raises:
        UserError: no body at the end of the phase.
    """
    spec, start = organism.rule.spec, phase.steps[0]
    states = phase.states[:, runs]
    if reason := metrics.missing_body(organism.rule, states[-1], phase.steps[-1]):
        raise UserError(reason)
    picture = np.asarray(metrics.picture(spec, states[-1]))
    target = organism.padded_target()
    reference = picture if target is None else np.broadcast_to(target, picture.shape)
    length = phase.steps[-1] - start
    checks = [phase.steps.index(start + n) for n in check_steps(length)]
    bodies = phase.bodies[:, runs]
    return PhaseRuns(
        phase.name,
        organism,
        keys[runs],
        states[0],
        start,
        length,
        reference,
        np.asarray(metrics.mse(spec, states[-1], reference)),
        np.asarray(metrics.empty_mse(reference)),
        bodies[checks].sum((2, 3)).T,
        _mean_activity(organism.rule, states, bodies),
    )


def _mean_activity(rule: Rule, states: np.ndarray, bodies: np.ndarray) -> Float[np.ndarray, " unit"]:
    """Mean of every unit over the mature cells of all steps and runs."""
    sums = np.sum([np.asarray(_masked_sum(rule, s, b)) for s, b in zip(states, bodies, strict=True)], 0)
    return sums / max(int(bodies.sum()), 1)


@jax.jit
def _masked_sum(rule: Rule, states: Array, bodies: Array) -> Array:
    return jnp.where(bodies[..., None], unit_activity(rule, states), 0.0).sum((0, 1, 2))


def unit_activity(rule: Rule, states: Float[metrics.Arrays, "*b y x channel"]) -> Float[Array, "*b y x unit"]:
    """What the units of the first hidden layer are when a step reads these states."""
    return layer_inputs(rule, states)[1]


def layer_inputs(rule: Rule, states: Any) -> tuple[Array, Array]:
    """Perception (..., feature) and the units of the first hidden layer (..., unit) of these states."""
    states = jnp.asarray(states)
    before = alive(rule, states)
    features = jnp.concatenate(perceive(rule, perception_input(rule, states, before)), axis=-1)
    seen: dict[str, Array] = {}

    def _tap(site: str, values: Array) -> Array:
        seen.setdefault(site, values)
        return values

    with jax.default_matmul_precision("highest"):
        dense_layers(rule, features, _tap)
    return features, seen["post"]


def activity_maps(rule: Rule, phases: Mapping[str, PhaseStates]) -> xr.Dataset:
    """Where and when every unit is active, means over runs.

    Returns:
        Dataset: maps (frame, y, x, unit), activity in the cells that are mature in at least half of the runs, 0
        elsewhere, at a few steps of each phase; body (frame, y, x); phase and step (frame,); course (moment, unit), the
        mean over mature cells; course_phase and course_step (moment,).
    """
    means = jax.jit(lambda s, b: _mean_maps(rule, s, b))
    maps, bodies, frames, course, moments = [], [], [], [], []
    for name, phase in phases.items():
        drawn = set(np.linspace(0, len(phase.steps) - 1, MOMENTS).round().astype(int).tolist())
        for n, step in enumerate(phase.steps):
            by_cell, mean = (np.asarray(v) for v in means(phase.states[n], phase.bodies[n]))
            course.append(mean)
            moments.append((name, step))
            if n in drawn:
                body = phase.bodies[n].mean(0) >= 0.5
                maps.append(np.where(body[..., None], by_cell, 0))
                bodies.append(body)
                frames.append((name, step))
    coords: dict[str, Any] = {}
    for dim, prefix, rows in (("frame", "", frames), ("moment", "course_", moments)):
        coords |= {f"{prefix}phase": (dim, [r[0] for r in rows]), f"{prefix}step": (dim, [r[1] for r in rows])}
    data = {
        "maps": (("frame", "y", "x", "unit"), np.asarray(maps, np.float32)),
        "body": (("frame", "y", "x"), np.asarray(bodies)),
        "course": (("moment", "unit"), np.asarray(course, np.float32)),
    }
    return xr.Dataset(data, coords)


def _mean_maps(rule: Rule, states: Array, bodies: Array) -> tuple[Array, Array]:
    """Activity cell by cell over the runs that have the cell, and over all mature cells."""
    activity = jnp.where(bodies[..., None], unit_activity(rule, states), 0.0)
    cells = bodies.sum(0)[..., None]
    return activity.sum(0) / jnp.maximum(cells, 1), activity.sum((0, 1, 2)) / jnp.maximum(bodies.sum(), 1)

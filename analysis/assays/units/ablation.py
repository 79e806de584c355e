"""Runs with some hidden units silent, at their mean over the body, or held to what they do in the control.

A mean is set on the cells that are mature at that very step, and nowhere else: on the whole canvas it would write into
the void, and seed it. The body grows and shrinks meanwhile, so the cells are found anew at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from analysis import metrics
from analysis.rollouts import CHUNK, Tick, map_runs
from nca.edits import Edit
from nca.edits.edit import FOREVER
from nca.organism import Organism
from nca.perception import mature
from nca.rule import Rule
from nca.sparse import scan_in_windows, sparse_is_exact, sparse_step
from nca.step import dense_step, fire_mask, step_sites


@dataclass(frozen=True)
class PhaseRuns:
    """The unperturbed runs of one phase of life.

    Attributes:
        name: growing, adult or regenerating.
        organism: what grows.
        keys: one per run.
        states: at the first step (run, y, x, channel).
        start: number of the first step.
        steps: number of steps.
        reference: premultiplied RGBA that the MSE at the last step is measured against: the target, or the control.
        mse: of the controls at the last step.
        mse_empty: of an empty canvas.
        mature_cells: of the controls at `checks`.
        means: mean of every hidden unit over the mature cells of all steps and runs.
    """

    name: str
    organism: Organism
    keys: Any
    states: Float[np.ndarray, "run y x channel"]
    start: int
    steps: int
    reference: Float[np.ndarray, "run y x 4"]
    mse: Float[np.ndarray, " run"]
    mse_empty: Float[np.ndarray, " run"]
    mature_cells: Int[np.ndarray, "run check"]
    means: Float[np.ndarray, " unit"]

    @property
    def checks(self) -> list[int]:
        """Steps after the first at which it is looked whether a run has overgrown or exploded."""
        return check_steps(self.steps)


@dataclass(frozen=True)
class Outcomes:
    """What became of ablated runs.

    Attributes:
        fitness: of every row; NaN where there is no body to lose, -inf where the run exploded.
        log_mse_increase: over the control of the same key.
        overgrown: whether the run had more than twice its control's mature cells; it stops there.
        exploded: whether a value was beyond 1,000; it stops there.
    """

    fitness: Float[np.ndarray, " row"]
    log_mse_increase: Float[np.ndarray, " row"]
    overgrown: Bool[np.ndarray, " row"]
    exploded: Bool[np.ndarray, " row"]


def check_steps(steps: int) -> list[int]:
    """Ends of the chunks in which so many steps are computed."""
    return [*range(CHUNK, steps, CHUNK), steps]


def ablate(
    phase: PhaseRuns,
    runs: Int[np.ndarray, " row"],
    units: Bool[np.ndarray, "row unit"],
    *,
    ablation: str = "mean",
    as_in_control: Bool[np.ndarray, "row unit"] | None = None,
    tick: Tick | None = None,
) -> Outcomes:
    """Ablate sets of hidden units during a whole phase.

    Args:
        phase: the unperturbed runs.
        runs: number of the run of each row.
        units: which units are ablated in each row.
        ablation: "zero" or "mean".
        as_in_control: units that get, cell by cell and step by step, what they are in the control of the same key.
        tick: called with the number of steps done.
    """
    rule = phase.organism.rule
    fill = jnp.asarray(phase.means if ablation == "mean" else np.zeros_like(phase.means), jnp.float32)
    held = np.zeros_like(units) if as_in_control is None else as_in_control
    paired = as_in_control is not None
    sparse = jax.default_backend() == "cpu" and not paired and sparse_is_exact(rule)
    edges = [0, *phase.checks]

    def _run_rows(i: np.ndarray) -> list[np.ndarray]:
        of_row = jnp.asarray(runs[i])
        states = clean = jnp.asarray(phase.states)[of_row]
        stopped = jnp.zeros(len(i), bool)
        grown = burst = stopped
        arrays = jnp.asarray(units[i]), jnp.asarray(held[i])
        value = fill, jnp.bool_(ablation == "zero")
        for check, (begin, end) in enumerate(pairwise(edges)):
            if bool(stopped.all()):
                break
            plan = _Plan(end - begin, sparse, paired)
            start = jnp.int32(phase.start + begin)
            after, clean = _advance(plan, rule, (states, clean), phase.keys[of_row], start, value, *arrays)
            states = jnp.where(stopped[:, None, None, None], states, after)
            now = _observe(rule, states, jnp.asarray(phase.mature_cells[of_row, check]))
            grown, burst = grown | now[0], burst | now[1]
            stopped = grown | burst
            if tick is not None:
                tick((end - begin) * len(i))
        mse = metrics.mse(rule.spec, states, jnp.asarray(phase.reference)[of_row])
        return [np.asarray(v) for v in (mse, grown, burst)]

    mse, overgrown, exploded = (np.concatenate(v) for v in zip(*map_runs(len(runs), _run_rows), strict=True))
    fitness = np.asarray(metrics.fitness(mse, phase.mse[runs], phase.mse_empty[runs]), np.float64)
    fitness = np.where(exploded & np.isfinite(fitness), -np.inf, fitness)
    rise = np.asarray(metrics.log_mse(mse) - metrics.log_mse(phase.mse[runs]), np.float64)
    return Outcomes(fitness, rise, overgrown, exploded)


@dataclass(frozen=True)
class _Plan:
    """What a compiled chunk holds fixed.

    Attributes:
        steps: number of steps.
        sparse: compute active cells only.
        paired: compute the control as well.
    """

    steps: int
    sparse: bool
    paired: bool


@partial(jax.jit, static_argnums=0)
def _advance(
    plan: _Plan, rule: Rule, states: tuple[Array, Array], keys: Any, start: Array, value: Any, units: Any, held: Any
) -> tuple[Array, Array]:
    """States of ablated runs, and of their controls where those are needed, after a chunk."""
    roll = partial(_roll, plan, rule, start=start, value=value)
    if len(keys) == 1:  # not vmapped, which would compute every branch of a sparse step
        out = roll(*jax.tree.map(lambda v: v[0], (states, keys, units, held)))
        return jax.tree.map(lambda v: v[None], out)
    return jax.vmap(roll)(states, keys, units, held)


def _roll(
    plan: _Plan, rule: Rule, states: tuple[Array, Array], key: Any, units: Any, held: Any, *, start: Any, value: Any
) -> tuple[Array, Array]:
    canvas = states[0].shape[0], states[0].shape[1]
    fill, everywhere = value  # what an ablated unit is, and whether also outside of the body

    def _edit(state: Array) -> Edit:
        return Edit("post", "set", units, mature(rule, state) | everywhere, fill, jnp.int32(0), jnp.int32(FOREVER))

    def _advance_alone(edits: Any, state: Array, first: Any, steps: int, crop: Callable[[Array], Array]) -> Any:
        capacities = tuple(max(int(s * rule.spec.fire_rate * state.shape[0] * state.shape[1]), 16) for s in (0.2, 0.5))

        def body(state: Array, i: Array) -> tuple[Array, Array]:
            mask = crop(fire_mask(rule, key, start + i, canvas))
            if plan.sparse:
                after = sparse_step(rule, state[None], mask[None], capacities, edits=[_edit(state)], t=start + i)[0]
            else:
                after = dense_step(rule, state, mask, edits=[_edit(state)], t=start + i)
            return after, state[:0, :0]

        return lax.scan(body, state, first + jnp.arange(steps))

    def _advance_pair(pair: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        state, clean = pair
        mask = fire_mask(rule, key, start + i, canvas)
        control = step_sites(rule, clean, mask, t=start + i)
        follow = Edit("post", "set", held, None, control["post"], jnp.int32(0), jnp.int32(FOREVER))
        return (dense_step(rule, state, mask, edits=[_edit(state), follow], t=start + i), control["next"]), None

    with jax.default_matmul_precision("highest"):
        if plan.paired:
            return lax.scan(_advance_pair, states, jnp.arange(plan.steps))[0]
        if plan.sparse:
            return scan_in_windows(_advance_alone, rule, states[0], (), start, plan.steps, False)[0], states[1]
        return _advance_alone((), states[0], jnp.int32(0), plan.steps, lambda field: field)[0], states[1]


@jax.jit
def _observe(rule: Rule, states: Array, control_cells: Array) -> tuple[Array, Array]:
    """Which runs have overgrown, and which have exploded."""
    return metrics.overgrown(metrics.mature_count(rule, states), control_cells), metrics.exploded(states)

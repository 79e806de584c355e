"""Edited runs and their paired controls: the same PRNG keys, with and without the edits.

Runs continue from given states, so that what they share is grown once. An edit of the state that acts
only at the first step changes the start and needs no program of its own; each structure of lasting
edits is compiled once. A run that overgrows (more than twice its control's mature cells) or explodes
stops there: later measurements repeat that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from analysis import metrics
from analysis.rollouts import CHUNK, Batch, Tick, advance, map_runs
from nca.edits import Edit, apply
from nca.errors import UserError
from nca.organism import Organism
from nca.rule import Rule

# A user's metric: of a state, its control's state (y, x, channel) and the target, premultiplied RGBA (y, x, 4) or None.
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]


@dataclass(frozen=True)
class EditedRun:
    """An intervention on one run: the number of its control, and the edits."""

    run: int
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Controls:
    """Unedited runs, measured at the steps at which the edited runs are measured.

    Attributes:
        states: at the first of the steps.
        keys: one per run.
        steps: the steps that are measured, ascending.
        reference: premultiplied RGBA that the MSE is measured against: the target, or the control itself
            at that step where the organism has no target.
        mse: E of the controls.
        mse_empty: E of the empty canvas.
        mature_cells: number of mature cells.
        final_states: at the last of the steps.
        fire: fire masks from the first step on, where they were given.
        course: the states at all of the steps, where they were kept.
    """

    states: Float[metrics.Arrays, "run y x channel"]
    keys: Any
    steps: Int[np.ndarray, " step"]
    reference: Float[np.ndarray, "run step y x 4"]
    mse: Float[np.ndarray, "run step"]
    mse_empty: Float[np.ndarray, "run step"]
    mature_cells: Int[np.ndarray, "run step"]
    final_states: Float[np.ndarray, "run y x channel"]
    fire: Bool[np.ndarray, "run time y x"] | None = None
    course: Float[np.ndarray, "run step y x channel"] | None = None


def measured_steps(start: int, eval_steps: Sequence[int]) -> list[int]:
    """Steps to measure at: every twentieth step from `start`, and those `eval_steps` after it."""
    return sorted({*range(start, start + max(eval_steps), CHUNK), *(start + n for n in eval_steps)})


def run_controls(
    organism: Organism,
    states: Float[metrics.Arrays, "run y x channel"],
    keys: Any,
    steps: Sequence[int] | Int[np.ndarray, " step"],
    *,
    fire: Bool[np.ndarray, "run time y x"] | None = None,
    tick: Tick | None = None,
    keep_course: bool = False,
) -> Controls:
    """Continue unedited runs and measure them.

    Args:
        organism: what grows.
        states: the runs at the first of the steps.
        keys: one per run.
        steps: two or more ascending steps to measure at.
        fire: fire masks from the first step on, instead of those that follow from the keys.
        tick: called with the number of steps done.
        keep_course: keep the states at all of the steps.

    Raises:
        UserError: steps that do not ascend.
    """
    steps = np.asarray(steps, int)
    if steps.size < 2 or (np.diff(steps) <= 0).any():
        raise UserError(f"Paired runs need two or more ascending steps to measure at, got {steps.tolist()}.")

    def _measure_controls(i: Any) -> tuple[np.ndarray, ...]:
        batch = Batch(organism, keys[i], None if fire is None else fire[i], (), int(steps[0]), tick)
        current, measured = states[i], [_picture_and_count(organism.rule, states[i])]
        course = [np.asarray(current)]
        for begin, end in pairwise((steps - steps[0]).tolist()):
            current = advance(batch, current, begin, end)
            measured.append(_picture_and_count(organism.rule, current))
            course = [*(course if keep_course else ()), np.asarray(current)]
        pictures, counts = (np.stack([np.asarray(v) for v in values], 1) for values in zip(*measured, strict=True))
        return pictures, counts, np.stack(course, 1)

    batches = zip(*map_runs(len(keys), _measure_controls), strict=True)
    pictures, mature_cells, course = (np.concatenate(values) for values in batches)
    target = organism.padded_target((states.shape[1], states.shape[2]))
    reference = pictures if target is None else np.broadcast_to(target, pictures.shape)
    mse = np.square(pictures - reference).sum((-3, -2, -1)) / metrics.PUBLISHED_PIXELS
    mse_empty = np.asarray(metrics.empty_mse(reference))
    kept = course if keep_course else None
    return Controls(states, keys, steps, reference, mse, mse_empty, mature_cells, course[:, -1], fire, kept)


def run_edited(
    organism: Organism,
    controls: Controls,
    rows: Sequence[EditedRun],
    tick: Tick | None = None,
    *,
    on_row: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    final_states: bool = True,
    own_metrics: Mapping[str, Metric] | None = None,
) -> dict[str, np.ndarray]:
    """Run every intervention from the controls' first step to their last.

    Args:
        organism: what grows.
        controls: the paired unedited runs.
        rows: the interventions; their edits may differ in kind.
        tick: called with the number of steps done.
        on_row: called with a row's number and its measurements as soon as it is finished.
        final_states: return the last states, which take most of the memory.
        own_metrics: further functions to measure with, by name; the controls' course must have been kept.

    Returns:
        mse, mature_cells and own metrics (row, step); overgrown, exploded (row,): the step at which it was first seen,
        or -1; cells_changed (row,): cells whose state the edits of the first step changed; final_states
        (row, y, x, channel). The first step shows the state after its edits, as the step reads it.
    """

    def _measure_rows(members: np.ndarray, i: np.ndarray) -> dict[str, Any]:
        measured = _run_alike(organism, controls, [rows[j] for j in members[i]], tick, own_metrics or {})
        if not final_states:
            del measured["final_states"]
        if on_row is not None:
            for n, j in enumerate(members[i]):
                on_row(int(j), {k: v[n] for k, v in measured.items()})
        return measured

    by_row: dict[int, dict[str, np.ndarray]] = {}
    for members in _group_by_structure(rows):
        batches = map_runs(len(members), partial(_measure_rows, members))
        joined = {k: np.concatenate([batch[k] for batch in batches]) for k in batches[0]}
        by_row |= {j: {k: v[n] for k, v in joined.items()} for n, j in enumerate(members)}
    return {k: np.stack([by_row[j][k] for j in range(len(rows))]) for k in by_row[0]}


def _group_by_structure(rows: Sequence[EditedRun]) -> list[np.ndarray]:
    """Numbers of the rows by the structure of their edits, which one compiled program serves."""
    groups: dict[Any, list[int]] = {}
    for j, row in enumerate(rows):
        leaves, tree = jax.tree.flatten(row.edits)
        groups.setdefault((tree, tuple(np.shape(v) for v in leaves)), []).append(j)
    return [np.asarray(members) for members in groups.values()]


@jax.jit
def _picture_and_count(rule: Rule, states: Any) -> tuple[Any, Any]:
    return metrics.picture(rule.spec, states), metrics.mature_count(rule, states)


@jax.jit
def _measure(rule: Rule, states: Any, reference: Any, control_cells: Any) -> dict[str, Array]:
    mature_cells = metrics.mature_count(rule, states)
    return {
        "mse": metrics.mse(rule.spec, states, reference),
        "mature_cells": mature_cells,
        "overgrown": metrics.overgrown(mature_cells, control_cells),
        "exploded": metrics.exploded(states),
    }


def _measure_own(
    own_metrics: Mapping[str, Metric], organism: Organism, states: Any, control_states: np.ndarray
) -> dict[str, np.ndarray]:
    """The user's metrics of each state."""
    values, target = dict[str, np.ndarray](), organism.padded_target(control_states.shape[1:3])
    for name, metric in own_metrics.items():
        try:
            pairs = zip(np.asarray(states), control_states, strict=True)
            values[name] = np.asarray([float(metric(state, control, target)) for state, control in pairs])
        except Exception as error:  # the user's own code
            raise UserError(
                f"The metric {name} must return a number for a state and its control's (y, x, channel), and the target "
                f"(y, x, 4); it failed with {type(error).__name__}: {error}."
            ) from error
    return values


def _run_alike(
    organism: Organism,
    controls: Controls,
    rows: Sequence[EditedRun],
    tick: Tick | None,
    own_metrics: Mapping[str, Metric],
) -> dict[str, Any]:
    """`run_edited` for rows whose edits have the same structure, as one batch."""
    start, runs = int(controls.steps[0]), np.asarray([row.run for row in rows])
    keys, before = controls.keys[runs], controls.states[runs]
    after = jnp.stack([apply(r.edits, "state", s, start, k) for r, s, k in zip(rows, before, keys, strict=True)])
    at_start_only = all(
        edit.site == "state" and int(edit.first) == start and int(edit.stop) == start + 1
        for row in rows
        for edit in row.edits
    )
    edits = () if at_start_only else jax.tree.map(lambda *leaves: jnp.stack(leaves), *[r.edits for r in rows])
    batch = Batch(organism, keys, None if controls.fire is None else controls.fire[runs], edits, start, tick)

    def _measure_step(states: Any, n: int) -> dict[str, Any]:
        measured = _measure(organism.rule, states, controls.reference[runs, n], controls.mature_cells[runs, n])
        if own_metrics and controls.course is not None:
            measured |= _measure_own(own_metrics, organism, states, controls.course[runs, n])
        return measured

    measured, current, final = [_measure_step(after, 0)], after if at_start_only else before, after
    stopped = measured[0]["exploded"]
    offsets = controls.steps - start
    for n in range(1, len(offsets)):
        if bool(stopped.all()):
            measured.append(measured[-1])
            continue
        current = advance(batch, current, offsets[n - 1], offsets[n])
        final = jnp.where(stopped[:, None, None, None], final, current)
        measured.append(_measure_step(final, n))
        stopped = stopped | measured[-1]["overgrown"] | measured[-1]["exploded"]
    out = {k: np.stack([np.asarray(m[k]) for m in measured], 1) for k in measured[0]}
    for flag in ("overgrown", "exploded"):
        out[flag] = np.where(out[flag].any(1), controls.steps[out[flag].argmax(1)], -1)
    cells_changed = np.asarray((after != before).any(-1).sum((1, 2)))
    return out | {"cells_changed": cells_changed, "final_states": np.asarray(final)}

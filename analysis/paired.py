"""A sweep: many edits on many runs, one row of measures each. Assays are built from it.

Runs continue from given states, so what they share is grown once. An edit of the state made once,
at the first step, changes the start and needs no program of its own; each kind of lasting edit does.
A row that overgrows (more than twice its control's mature cells) or explodes stops there: its later
marks repeat that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from analysis import metrics
from analysis.rollouts import Batch, Tick, advance, map_runs, select_runs
from nca.edits import Edit, apply
from nca.errors import UserError
from nca.organism import Organism
from nca.rule import Rule

Done = Callable[[int, dict[str, np.ndarray]], None]


@dataclass(frozen=True)
class EditedRun:
    """One row of a sweep: the run that it continues, and what is done to it."""

    run: int
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Controls:
    """The undisturbed runs that a sweep is paired with.

    Attributes:
        states: at the first mark.
        keys: one per run.
        marks: the steps measured at.
        reference: premultiplied RGBA that E is measured against: the target, or where the organism
            has none the twin itself at that mark.
        e: E of the twins.
        dead: E of the empty canvas.
        mature: mature cells.
        end: states at the last mark.
        fire: fire masks from the first mark on, where the runs were given theirs.
    """

    states: Float[metrics.Arrays, "run y x channel"]
    keys: Any
    marks: Int[np.ndarray, " mark"]
    reference: Float[np.ndarray, "run mark y x 4"]
    e: Float[np.ndarray, "run mark"]
    dead: Float[np.ndarray, "run mark"]
    mature: Int[np.ndarray, "run mark"]
    end: Float[np.ndarray, "run y x channel"]
    fire: Bool[np.ndarray, "run step y x"] | None = None


def run_controls(
    organism: Organism,
    states: Float[metrics.Arrays, "run y x channel"],
    keys: Any,
    marks: Sequence[int] | Int[np.ndarray, " mark"],
    *,
    fire: Bool[np.ndarray, "run step y x"] | None = None,
    tick: Tick | None = None,
) -> Controls:
    """Let the undisturbed runs go on, and measure them.

    Args:
        organism: what grows.
        states: its runs at the first mark.
        keys: their keys.
        marks: ascending steps to measure at.
        fire: masks from the first mark on in place of the keys' own.
        tick: is told the steps done.

    Raises:
        UserError: marks that do not ascend.
    """
    when = np.asarray(marks, int)
    if when.size < 2 or (np.diff(when) <= 0).any():
        raise UserError(f"A sweep needs two or more ascending steps to measure at, got {when.tolist()}.")

    def part(i: Any) -> tuple[np.ndarray, ...]:
        course = Batch(organism, keys[i], select_runs(fire, i), (), int(when[0]), tick)
        now, seen = states[i], [_looked_at(organism.rule, states[i])]
        for here, there in pairwise((when - when[0]).tolist()):
            now = advance(course, now, here, there)
            seen.append(_looked_at(organism.rule, now))
        pictures, mature = (np.stack([np.asarray(v) for v in vs], 1) for vs in zip(*seen, strict=True))
        return pictures, mature, np.asarray(now)

    parts = zip(*map_runs(len(keys), part), strict=True)
    pictures, mature, end = (np.concatenate(p) for p in parts)
    target = organism.picture((states.shape[1], states.shape[2]))
    reference = pictures if target is None else np.broadcast_to(target, pictures.shape)
    e = np.square(pictures - reference).sum((-3, -2, -1)) / metrics.PUBLISHED_PIXELS
    dead = np.asarray(metrics.empty_mse(reference))
    return Controls(states, keys, when, reference, e, dead, mature, end, fire)


def run_edited(
    organism: Organism,
    controls: Controls,
    rows: Sequence[EditedRun],
    tick: Tick | None = None,
    *,
    done: Done | None = None,
    ends: bool = True,
) -> dict[str, np.ndarray]:
    """Every row from the controls' first mark to their last, beside its control.

    Args:
        organism: what grows.
        controls: the paired undisturbed runs.
        rows: what is done to which run; rows whose edits differ in kind may be mixed.
        tick: is told the steps done.
        done: is given a row's number and its measures as soon as it is finished.
        ends: keep the last states, which take most of the memory.

    Returns:
        e, mature (row, mark); overgrown, exploded (row,): the mark at which it was first seen, -1
        for never; touched (row,): cells of the state that the first step's edits changed; end
        (row, y, x, channel) if asked for. The first mark shows the state as its step reads it.
    """

    def part(members: np.ndarray, i: np.ndarray) -> dict[str, Any]:
        found = _followed(organism, controls, [rows[j] for j in members[i]], tick)
        found = found if ends else {k: v for k, v in found.items() if k != "end"}
        if done is not None:
            for n, j in enumerate(members[i]):
                done(int(j), {k: v[n] for k, v in found.items()})
        return found

    out: dict[int, dict[str, np.ndarray]] = {}
    for members in _alike(rows):
        parts = map_runs(len(members), partial(part, members))
        joined = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        out |= {j: {k: v[n] for k, v in joined.items()} for n, j in enumerate(members)}
    return {k: np.stack([out[j][k] for j in range(len(rows))]) for k in out[0]}


def _alike(rows: Sequence[EditedRun]) -> list[np.ndarray]:
    """Numbers of the rows by the structure of their edits, which one program serves."""
    groups: dict[Any, list[int]] = {}
    for j, row in enumerate(rows):
        leaves, tree = jax.tree.flatten(row.edits)
        groups.setdefault((tree, tuple(np.shape(v) for v in leaves)), []).append(j)
    return [np.asarray(members) for members in groups.values()]


@jax.jit
def _looked_at(rule: Rule, states: Any) -> tuple[Any, Any]:
    return metrics.picture(rule.spec, states), metrics.mature_count(rule, states)


@jax.jit
def _measured(rule: Rule, states: Any, reference: Any, control: Any) -> dict[str, Array]:
    mature = metrics.mature_count(rule, states)
    return {
        "e": metrics.mse(rule.spec, states, reference),
        "mature": mature,
        "overgrown": metrics.overgrown(mature, control),
        "exploded": metrics.exploded(states),
    }


def _followed(organism: Organism, controls: Controls, rows: Sequence[EditedRun], tick: Tick | None) -> dict[str, Any]:
    """Rows of one kind, side by side."""
    start, runs = int(controls.marks[0]), np.asarray([row.run for row in rows])
    keys, given = controls.keys[runs], controls.states[runs]
    read = jnp.stack([apply(r.edits, "state", s, start, k) for r, s, k in zip(rows, given, keys, strict=True)])
    once = all(_once(edit, start) for row in rows for edit in row.edits)
    edits = () if once else jax.tree.map(lambda *leaves: jnp.stack(leaves), *[r.edits for r in rows])
    course = Batch(organism, keys, select_runs(controls.fire, runs), edits, start, tick)

    def measured(states: Any, m: int) -> dict[str, Array]:
        return _measured(organism.rule, states, controls.reference[runs, m], controls.mature[runs, m])

    seen, now, end = [measured(read, 0)], read if once else given, read
    stopped = seen[0]["exploded"]
    offsets = controls.marks - start
    for m in range(1, len(offsets)):
        if not bool(stopped.all()):
            now = advance(course, now, offsets[m - 1], offsets[m])
            end = jnp.where(stopped[:, None, None, None], end, now)
            seen.append(measured(end, m))
            stopped = stopped | seen[-1]["overgrown"] | seen[-1]["exploded"]
        else:
            seen.append(seen[-1])
    touched = np.asarray((read != given).any(-1).sum((1, 2)))
    return _table(controls.marks, seen) | {"touched": touched, "end": np.asarray(end)}


def _once(edit: Edit, start: int) -> bool:
    """Whether an edit changes the state at the first step and never again."""
    return edit.site == "state" and int(edit.first) == start and int(edit.last) == start + 1


def _table(marks: np.ndarray, seen: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Measures by mark as arrays (row, mark); flags as the mark that first shows them, or -1."""
    out = {k: np.stack([np.asarray(s[k]) for s in seen], 1) for k in seen[0]}
    for flag in ("overgrown", "exploded"):
        out[flag] = np.where(out[flag].any(1), marks[out[flag].argmax(1)], -1)
    return out

"""A sweep: experiments x runs x horizons as one labelled table, each row paired with its control.

Experiments of one kind (sites, modes, shapes of values) share one compiled program, whatever their
channel, dose, region or window; runs follow one another on as many threads as there are cores (side
by side on an accelerator), and a run that overgrows or explodes stops there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from analysis import metrics as measures
from analysis.paired import Controls, EditedRun, run_controls, run_edited
from analysis.progress import Progress
from analysis.rollouts import grow_runs, run_keys
from analysis.sweeps.store import Found, Plan, Settings, Store
from nca.edits import Edit
from nca.errors import UserError
from nca.organism import Organism
from nca.rollout import replay
from nca.shards import Shard

Experiments = Mapping[str, Edit | Sequence[Edit]] | Sequence[Edit]
Say = Callable[[str], None]
Fired = dict[tuple[str, int], tuple[int, float]]


def sweep(
    organism: Organism,
    edits: Experiments,
    metrics: Sequence[str] = ("fitness", "log_error", "worse"),
    runs: int = 8,
    seed: int = 0,
    *,
    start: int = 0,
    horizons: Sequence[int] = (200,),
    untouched: bool = False,
    store: str | Path | None = None,
    part: Shard | str | None = None,
    say: Say | None = None,
) -> pd.DataFrame:
    """Make every experiment on every run, and measure it beside the undisturbed run of the same key.

    Args:
        organism: what grows.
        edits: experiments by name, each an edit or several that act together; or a plain list.
        metrics: of fitness (W), log_error (L), worse (the rise of L over the control's), e (E), mature
            (cells of the body).
        runs: keys.
        seed: what the keys follow from.
        start: the step that runs continue from; what comes before is grown once for all.
        horizons: steps after `start`, ascending, at which rows are measured.
        untouched: allow experiments that change nothing.
        store: a .jsonl file that finished rows are added to; rows found there are not made again.
        part: make only these of the rows, "k/n"; `analysis.merge` makes one table of the n files.
        say: is told the progress and the time left.

    Returns:
        A row per experiment, run and horizon: experiment, run, step; the metrics (NaN: not defined);
        overgrown and exploded, the step where the run was stopped, -1 for never; fired_cells and
        fired_most, how many cells the edits change at the first step at which they act, and by how
        much at most.

    Raises:
        UserError: an unknown metric, horizons that do not ascend, an experiment that touches nothing,
            or a store that holds something else.
    """
    times = tuple(int(h) for h in horizons)
    settings = Settings(tuple(metrics), int(runs), int(seed), int(start), times, bool(untouched))
    plan = Plan(organism, by_name(edits), settings, None if part is None else Shard.parse(part))
    kept = Store(store, plan)
    keys = {row: plan.key(*row) for row in plan.rows} if store is not None else {}
    found = {row: kept.known[key] for row, key in keys.items() if key in kept.known}
    todo = [row for row in plan.rows if row not in found]
    if todo:
        steps = len(todo) * times[-1] + len({run for _, run in todo}) * (start + times[-1])
        found |= _made(plan, todo, found, kept, keys, Progress(say or (lambda line: None), steps))
    elif plan.part is None and not untouched:
        _check_touched(plan, todo, {row: one["cells"] for row, one in found.items()})
    return table(settings, plan.rows, [found[row] for row in plan.rows])


def by_name(edits: Experiments) -> dict[str, tuple[Edit, ...]]:
    """The experiments, each as a tuple of edits that act together."""
    if not isinstance(edits, Mapping):
        edits = {str(number): edit for number, edit in enumerate(edits)}
    if not edits:
        raise UserError("A sweep needs at least one experiment, got none.")
    return {str(name): (acting,) if isinstance(acting, Edit) else tuple(acting) for name, acting in edits.items()}


def _made(
    plan: Plan,
    todo: Sequence[tuple[str, int]],
    known: Mapping[tuple[str, int], Found],
    kept: Store,
    keys: Mapping[tuple[str, int], str],
    progress: Progress,
) -> dict[tuple[str, int], Found]:
    """The rows that are still to do, kept as they finish."""
    runs = sorted({run for _, run in todo})
    place = {run: number for number, run in enumerate(runs)}
    controls = _controls(plan, runs, progress)
    fired = _fired(plan, controls, place, todo)
    if not plan.settings.untouched:
        cells = {row: one["cells"] for row, one in known.items()}
        _check_touched(plan, todo, cells | {row: many for row, (many, _) in fired.items()})
    kept.open()
    progress.stage = "experiments"
    made: dict[tuple[str, int], Found] = {}

    def done(number: int, measured: dict[str, np.ndarray]) -> None:
        row = todo[number]
        control, (cells, most) = place[row[1]], fired[row]
        beside = {"alone": controls.mse[control].tolist(), "dead": controls.mse_empty[control].tolist()}
        one = {k: np.asarray(v).tolist() for k, v in measured.items()}
        made[row] = one | beside | {"cells": cells, "most": most}
        kept.add(keys.get(row, ""), *row, made[row])

    rows = [EditedRun(place[run], plan.experiments[name]) for name, run in todo]
    run_edited(plan.organism, controls, rows, progress.tick, on_row=done, final_states=False)
    return made


def _controls(plan: Plan, runs: Sequence[int], progress: Progress) -> Controls:
    """The undisturbed runs of these numbers."""
    progress.stage = "undisturbed runs"
    keys = run_keys(plan.settings.seed, plan.settings.runs)[np.asarray(runs)]
    states = grow_runs(plan.organism, plan.settings.start, keys, tick=progress.tick)
    return run_controls(plan.organism, states, keys, plan.settings.marks, tick=progress.tick)


def _fired(plan: Plan, controls: Controls, place: Mapping[int, int], todo: Sequence[tuple[str, int]]) -> Fired:
    """How many cells the edits of each row change when they first act, and by how much at most."""
    fired: Fired = {}
    by_experiment: dict[str, list[int]] = {}
    for name, run in todo:
        by_experiment.setdefault(name, []).append(run)
    for name, runs in by_experiment.items():
        at = np.asarray([place[run] for run in runs])
        acting, states = plan.experiments[name], controls.states[at]
        cells, most = firing(plan.organism, plan.settings.start, states, controls.keys[at], acting)
        fired |= {(name, run): (int(c), float(m)) for run, c, m in zip(runs, cells, most, strict=True)}
    return fired


def firing(
    organism: Organism, begun: int, states: Any, keys: Any, acting: Sequence[Edit]
) -> tuple[np.ndarray, np.ndarray]:
    """Cells that edits change at the first step at which they act, and the largest change, by run.

    That step is replayed from the undisturbed run, which the edited one equals until then.

    Args:
        organism: what grows.
        begun: a step.
        states: the undisturbed runs at that step.
        keys: their keys.
        acting: the edits.
    """
    first = max(begun, min(int(e.first) for e in acting))
    if first > begun:
        states = grow_runs(organism, first - begun, keys, states=states, start=begun)
    cells, most = [], []
    for state, key in zip(states, keys, strict=True):
        plain = replay(organism, state, first, key=key)
        edited = replay(organism, state, first, key=key, edits=acting)
        changes = [
            np.abs(np.asarray(edited[site], np.float32) - np.asarray(plain[site], np.float32))
            for site in {e.site for e in acting}
        ]
        size = np.stack([c.reshape(*c.shape[:2], -1).max(-1) for c in changes]).max(0)
        cells.append(int((size > 0).sum()))
        most.append(float(size.max()))
    return np.asarray(cells), np.asarray(most)


def _check_touched(plan: Plan, todo: Sequence[tuple[str, int]], cells: Mapping[tuple[str, int], int]) -> None:
    """Raise `UserError` if an experiment touches nothing in any run, those of other parts included."""
    some = {name for (name, _), many in cells.items() if many}
    asked = {name for name, _ in (plan.rows if plan.part is None else todo)}
    idle = [name for name in plan.experiments if name in asked - some]
    idle = [name for name in idle if not _touches_elsewhere(plan, name, cells)]
    if idle:
        raise UserError(
            f"{len(idle)} of {len(plan.experiments)} experiments touch nothing (first: {idle[0]}); mend "
            "their channels, region or steps, or ask for untouched=True."
        )


def _touches_elsewhere(plan: Plan, name: str, cells: Mapping[tuple[str, int], int]) -> bool:
    """Whether an experiment touches anything in the runs that are not this part's."""
    others = [run for run in range(plan.settings.runs) if (name, run) not in cells]
    if plan.part is None or not others:
        return False
    keys = run_keys(plan.settings.seed, plan.settings.runs)[np.asarray(others)]
    states = grow_runs(plan.organism, plan.settings.start, keys)
    acting = plan.experiments[name]
    return bool(firing(plan.organism, plan.settings.start, states, keys, acting)[0].any())


def table(settings: Settings, rows: Sequence[tuple[str, int]], found: Sequence[Found]) -> pd.DataFrame:
    """Rows as `sweep` returns them, one for each horizon."""
    marks, horizons = settings.marks, settings.horizons
    at = np.searchsorted(marks, settings.start + np.asarray(horizons))
    by = {name: np.asarray([one[name] for one in found])[:, at] for name in ("mse", "mature_cells", "alone", "dead")}
    e, alone, dead = (jnp.asarray(by[name]) for name in ("mse", "alone", "dead"))
    log_error = np.asarray(measures.log_mse(e))
    values = {
        "e": by["mse"],
        "mature": by["mature_cells"],
        "fitness": np.asarray(measures.fitness(e, alone, dead)),
        "log_error": log_error,
        "worse": log_error - np.asarray(measures.log_mse(alone)),
    }
    each = len(horizons)
    frame = pd.DataFrame(
        {
            "experiment": [name for name, _ in rows for _ in range(each)],
            "run": np.repeat([run for _, run in rows], each),
            "step": np.tile(settings.start + np.asarray(horizons), len(rows)),
        }
    )
    for name in settings.metrics:
        frame[name] = values[name].ravel()
    for name, field in (
        *((flag, flag) for flag in ("overgrown", "exploded")),
        *(("fired_cells", "cells"), ("fired_most", "most")),
    ):
        frame[name] = np.repeat([one[field] for one in found], each)
    return frame

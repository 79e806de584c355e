"""Sweeps: experiments x runs x evaluation steps as one table, each run compared with its paired control.

Experiments whose edits have the same structure (sites, modes, shapes of values) share one compiled
program, whatever their channel, dose, region or window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.paired import EditedRun, Metric, measured_steps, run_controls, run_edited
from analysis.rollouts import grow_runs, own_adult_step, run_keys
from analysis.sweeps.config import METRICS, SweepConfig
from analysis.sweeps.rows import COLUMNS, Row, RowId, RowStore, SweepPlan, merge, rows_table
from nca.edits import Edit
from nca.errors import UserError
from nca.files import write_file
from nca.organism import Organism
from nca.progress import Log, Progress, silent
from nca.rollout import replay
from nca.shards import Shard, all_shards

Edits = Mapping[str, Edit | Sequence[Edit]] | Sequence[Edit]


def sweep(
    organism: Organism,
    edits: Edits,
    metrics: Sequence[str | Metric] = SweepConfig.metrics,
    runs: int = SweepConfig.runs,
    seed: int = SweepConfig.seed,
    *,
    adult_step: int = SweepConfig.adult_step,
    eval_steps: Sequence[int] = SweepConfig.eval_steps,
    allow_no_op: bool = SweepConfig.allow_no_op,
    store: str | Path | None = None,
    shard: Shard | str | None = None,
    log: Log = silent,
) -> pd.DataFrame:
    """Run every experiment on every run, paired with the unedited run of the same key.

    Args:
        organism: what grows.
        edits: experiments by name, each an edit or several that act together; or a list of edits.
        metrics: some of fitness, log_mse, log_mse_increase (over the control), mse, mature_cells, all by default; and
            functions of a state, its control's state (y, x, channel) and the target (premultiplied RGBA, y, x, 4, or
            None) that return a number. A function's name is its column, and stands for it in the store.
        runs: runs per experiment.
        seed: random seed from which the runs' PRNG keys are derived.
        adult_step: the step that runs continue from; what comes before is grown once for all experiments. -1 for 200,
            or for 96 if the organism has lost its body by 200.
        eval_steps: steps after `adult_step`, ascending, at which rows are measured.
        allow_no_op: allow experiments that change nothing.
        store: a .jsonl file that finished rows are added to; rows that it holds are not computed again.
        shard: compute only these of the rows, "k/n"; `analysis.merge` makes one table of the n files.
        log: called with lines of progress.

    Returns:
        One line per experiment, run and evaluation step: experiment, run, step; the metrics (NaN where not
        defined); overgrown and exploded, the step at which the run was stopped, or -1; cells_changed and
        largest_change, how many cells the edits change at the first step at which they act, and by how
        much at most.

    Raises:
        UserError: an unknown metric, steps that do not ascend, an experiment that changes nothing, or a
            store that holds something else.
    """
    times = tuple(int(step) for step in eval_steps)
    step = int(adult_step) if adult_step >= 0 else own_adult_step(organism)
    own, named = _own_metrics(metrics), tuple(metric for metric in metrics if isinstance(metric, str))
    config = SweepConfig(
        named or METRICS[: bool(own)], int(runs), int(seed), step, times, bool(allow_no_op), tuple(own)
    )
    plan = SweepPlan(organism, _name_experiments(edits), config, None if shard is None else Shard.parse(shard))
    file = RowStore(store, plan)
    rows = file.rows
    try:
        if todo := [row for row in file.order if row not in rows]:
            rows = _compute_rows(plan, todo, file, log, own)
        elif plan.shard is None:
            _check_effects(plan, plan.experiments, rows)
    finally:
        file.close()
    return rows_table(config, {row: rows[row] for row in file.order})


def sweep_shards(
    organism: Organism,
    edits: Edits,
    metrics: Sequence[str | Metric] = SweepConfig.metrics,
    *,
    shards: int,
    folder: str | Path,
    client: Any = None,
    log: Log = silent,
    **options: Any,
) -> pd.DataFrame:
    """`analysis.sweep` in shards, one after another or on the workers of a Dask client, merged.

    Args:
        organism: what grows.
        edits: experiments, as `analysis.sweep` takes them.
        metrics: as there.
        shards: number of shards; a few per worker.
        folder: for the shards' files; created if it does not exist. A worker without a shared disk keeps its
            own under the same name, and the finished file is copied here.
        client: a `distributed.Client`; None computes the shards here.
        log: called with lines of progress.
        **options: runs, seed, adult_step, eval_steps, allow_no_op, as `analysis.sweep` takes them.

    Returns:
        The table of the undivided sweep.

    Raises:
        UserError: what `sweep` and `merge` refuse; or shards failed, because workers were lost. Rows that
            were finished are kept, and the same call continues.
    """
    work, experiments = {"metrics": metrics, **options}, _name_experiments(edits)
    Shard(1, max(shards, 1)).of(
        len(experiments) * options.get("runs", SweepConfig.runs)
    )  # refuses more shards than rows
    files = {shard: Path(folder) / shard_filename(shard) for shard in all_shards(shards)}
    _make_folder(Path(folder))
    if client is None:
        for shard, path in files.items():
            log_shard = partial(lambda shard, line: log(f"shard {shard}, {line}"), shard)
            sweep(organism, experiments, **work, shard=shard, store=path, log=log_shard)
        return merge(list(files.values()))
    submit = partial(client.submit, _sweep_on_worker, organism, experiments, work, pure=False)
    futures = {shard: submit(str(shard), str(path.absolute())) for shard, path in files.items()}
    failed: dict[Shard, Exception] = {}
    for n, (shard, future) in enumerate(futures.items(), 1):
        try:
            text = future.result()
        except UserError:
            raise
        except Exception as error:
            failed[shard] = error  # the others go on
            continue
        if not files[shard].exists() or files[shard].read_text() != text:
            write_file(files[shard], text)
        log(f"shard {shard} is finished, {n - len(failed)} of {len(files)}")
    if failed:
        cause = next(iter(failed.values()))
        raise UserError(
            f"Shards {', '.join(map(str, failed))} of {len(files)} failed ({type(cause).__name__}: {cause}); finished "
            "rows are kept, and the same call continues with them."
        ) from cause
    return merge(list(files.values()))


def shard_filename(shard: Shard) -> str:
    """The name of a shard's file."""
    return "rows.jsonl" if shard.n == 1 else f"rows.{shard.label}.jsonl"


def _sweep_on_worker(organism: Organism, experiments: Edits, work: dict[str, Any], shard: str, path: str) -> str:
    """Compute a shard on a worker; returns the content of its file."""
    _make_folder(Path(path).parent)
    sweep(organism, experiments, **work, shard=shard, store=path)
    return Path(path).read_text()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot create the folder {folder}: {error.strerror}; choose another.") from error


def _name_experiments(edits: Edits) -> dict[str, tuple[Edit, ...]]:
    """The experiments by name, each as a tuple of edits that act together."""
    named = edits if isinstance(edits, Mapping) else dict(enumerate(edits))
    if not named:
        raise UserError("A sweep needs at least one experiment, got none.")
    return {str(name): (edit,) if isinstance(edit, Edit) else tuple(edit) for name, edit in named.items()}


def _own_metrics(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    """The functions among the metrics, by name."""
    own: dict[str, Metric] = {}
    for metric in metrics:
        if not isinstance(metric, str):
            name = getattr(metric, "__name__", "")
            if not callable(metric) or not name.isidentifier() or name in (*METRICS, *own, *COLUMNS):
                raise UserError(f"A metric of your own is a function with a new name of its own, got {metric!r}.")
            own[name] = metric
    return own


def _compute_rows(
    plan: SweepPlan, todo: Sequence[RowId], file: RowStore, log: Log, functions: Mapping[str, Metric]
) -> dict[RowId, Row]:
    """The finished rows of the file and those that are still to do, which are added to it one by one."""
    config, span = plan.config, plan.config.eval_steps[-1]
    runs = sorted({run for _, run in todo})
    index = {run: n for n, run in enumerate(runs)}
    progress = Progress(log)
    progress.start("controls", len(runs) * (config.adult_step + span))
    keys = run_keys(config.seed, config.runs)[np.asarray(runs)]
    states = grow_runs(plan.organism, config.adult_step, keys, tick=progress.tick)
    steps = measured_steps(config.adult_step, config.eval_steps)
    controls = run_controls(plan.organism, states, keys, steps, tick=progress.tick, keep_course=bool(functions))
    effects: dict[RowId, Row] = {}
    for name in dict.fromkeys(name for name, _ in todo):
        own = [run for other, run in todo if other == name]
        at = np.asarray([index[run] for run in own])
        by_run = _effects(plan, name, controls.states[at], controls.keys[at])
        effects |= {(name, run): effect for run, effect in zip(own, by_run, strict=True)}
    names = plan.experiments if plan.shard is None else [name for name, _ in todo]
    _check_effects(plan, names, {**file.rows, **effects})
    file.open()
    progress.start("experiments", len(todo) * span)
    rows = dict(file.rows)

    def _add_row(n: int, measured: dict[str, np.ndarray]) -> None:
        control = index[todo[n][1]]
        row = {k: np.asarray(v).tolist() for k, v in measured.items()} | effects[todo[n]]
        row |= {"mse_control": controls.mse[control].tolist(), "mse_empty": controls.mse_empty[control].tolist()}
        rows[todo[n]] = row
        file.add(*todo[n], row)

    edited = [EditedRun(index[run], plan.experiments[name]) for name, run in todo]
    run_edited(
        plan.organism, controls, edited, progress.tick, on_row=_add_row, final_states=False, own_metrics=functions
    )
    return rows


def _effects(plan: SweepPlan, name: str, states: Any, keys: Any) -> list[Row]:
    """Cells that an experiment changes at the first step at which it acts, and the largest change, for each run.

    That step is replayed from the unedited runs, whose states at the adult step are given: they equal the edited ones
    until then.
    """
    organism, edits, start = plan.organism, plan.experiments[name], plan.config.adult_step
    first = max(start, min(int(edit.first) for edit in edits))
    if first > start:
        states = grow_runs(organism, first - start, keys, states=states, start=start)
    effects = []
    for state, key in zip(states, keys, strict=True):
        control = replay(organism, state, first, key=key)
        edited = replay(organism, state, first, key=key, edits=edits)
        changes = [
            np.abs(np.asarray(edited[site], np.float32) - np.asarray(control[site], np.float32))
            for site in {edit.site for edit in edits}
        ]
        size = np.stack([change.reshape(*change.shape[:2], -1).max(-1) for change in changes]).max(0)
        effects.append({"cells_changed": int((size > 0).sum()), "largest_change": float(size.max())})
    return effects


def _check_effects(plan: SweepPlan, names: Iterable[str], effects: Mapping[RowId, Row]) -> None:
    """Raise `UserError` if one of these experiments changes nothing in any run, those of other shards included."""
    config = plan.config
    if config.allow_no_op:
        return
    active = {name for (name, _), effect in effects.items() if effect["cells_changed"]}
    idle = [name for name in dict.fromkeys(names) if name not in active]
    for name in list(idle):
        others = [run for run in range(config.runs) if (name, run) not in effects]
        if plan.shard is not None and others:
            keys = run_keys(config.seed, config.runs)[np.asarray(others)]
            states = grow_runs(plan.organism, config.adult_step, keys)
            if any(effect["cells_changed"] for effect in _effects(plan, name, states, keys)):
                idle.remove(name)
    if idle:
        raise UserError(
            f"{len(idle)} of {len(plan.experiments)} experiments change nothing (first: {idle[0]}); correct their "
            "channels, region or steps, or allow it with --allow-no-op (allow_no_op=True)."
        )

"""The training loop: one for a single network and for many.

Each network has a run folder of its own, with metrics, checkpoints, snapshots and plots; where its training
fails it rolls back to its last checkpoint. Nothing passes between the networks of a population, so one that
fails stops no other. A single network differs only in its compiled step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from nca.errors import UserError
from nca.files import check_writable, lock_folder, write_file
from nca.io import save
from nca.organism import Organism
from nca.progress import Log, Progress, log_line, silent
from nca.shards import Shard
from nca.training import devices
from nca.training.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    append_metrics,
    build_organism,
    metrics_size,
    open_run,
    restore_checkpoint,
    save_checkpoint,
)
from nca.training.config import TrackerName, TrainConfig
from nca.training.interrupts import interrupts_between_steps
from nca.training.plots import plot_training
from nca.training.population import PopulationMember, population_members, write_population
from nca.training.step import (
    MEMBERS,
    Task,
    TrainState,
    compile_population_step,
    compile_step,
    growth_warnings,
    init_training,
    step_key,
    training_phase,
)
from nca.training.trackers import Tracker, import_tracker

_FIRST_PLOT = 50  # so that a mistaken target is seen soon


# --- The two ways in ---


def train(
    config: TrainConfig,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    minutes: float = 0,
    log: Log | None = None,
    log_to: TrackerName = "none",
) -> Organism:
    """Train an organism.

    Args:
        config: the training configuration.
        folder: the run folder, for checkpoints, metrics and snapshots; `runs/TARGET-REGIME-SEED` if none.
        resume: continue from the folder's checkpoint. On a CPU the result equals, to the bit, that of
            a run that was never stopped.
        minutes: wall time for training, which sets the number of training steps by the time that a few of them take
            before the first; the configuration's number if 0.
        log: called with each line of progress; standard error if none.
        log_to: none, tensorboard or wandb: where metrics and pictures of the pool are logged as well.

    Raises:
        UserError: the configuration is impossible, the folder is in use, a package is missing, or training keeps
            failing.
    """
    log = log or log_line
    import_tracker(log_to)
    folder = Path(folder) if folder is not None else Path("runs") / config.run_name
    is_first = jax.process_index() == 0
    if not is_first:
        log = silent
    with (
        devices.explain_out_of_memory(config),
        devices.process_folder(folder) as own_folder,
        lock_folder(own_folder),
    ):
        check_writable(own_folder)
        task, state = devices.spread_batch(*init_training(config))
        _warn([task], log)
        compiled = compile_step(task)
        if minutes:
            config = replace(config, steps=_steps_in(minutes, task, state, compiled))
            task = replace(task, config=config)
            log(f"{config.steps} training steps take about {minutes:g} minutes here")
        log(f"training {config.target}, {config.regime}, on {devices.describe_devices()}; run folder {folder}")
        state, checkpoint = open_run(own_folder, config, state, resume and is_first)
        if resume:
            exact = jax.default_backend() == "cpu" or config.deterministic
            log(f"resuming at step {checkpoint.step}" + ("" if exact else ", equal to rounding on this device"))
        if jax.process_count() > 1:
            shared = (state, checkpoint.step, checkpoint.rollbacks)
            state, step, rollbacks = multihost_utils.broadcast_one_to_all(shared)
            checkpoint = replace(checkpoint, step=int(step), rollbacks=int(rollbacks))
            save_checkpoint(own_folder, state, checkpoint)
        run, states = _Run(task, own_folder, checkpoint), _SingleState(task, state, compiled)
        _train_runs([run], states, log, log_to if is_first else "none")
        if run.failure:
            raise UserError(run.failure)
        return _save_organism(run, states[0])


def _steps_in(minutes: float, task: Task, state: TrainState, compiled: Callable[..., Any]) -> int:
    """Number of training steps in a time, by the time of three of them on complete bodies; at least 1."""
    hidden = jnp.repeat(task.target[..., 3:], task.seed.shape[-1] - 4, axis=-1)
    bodies = jnp.broadcast_to(jnp.concatenate([task.target, hidden], axis=-1), state.pool.shape)
    state = jax.tree.map(jnp.copy, replace(state, pool=bodies))  # its buffers are reused
    started = time.monotonic()
    for i in range(4):
        state, metrics = compiled(state, jax.random.key(i), training_phase(task.config, task.config.steps - 1))
        jax.block_until_ready(metrics)
        started = started if i else time.monotonic()  # the first step compiles
    return max(1, int(minutes * 60 * 3 / (time.monotonic() - started)))


def train_population(
    configs: Sequence[TrainConfig],
    folder: str | Path,
    *,
    resume: bool = False,
    shard: Shard | None = None,
    log: Log | None = None,
    log_to: TrackerName = "none",
) -> list[PopulationMember]:
    """Train several organisms: those of one regime at once, regime after regime.

    Args:
        configs: one for each member (`nca.training.population.population_configs` makes them).
        folder: the population's folder.
        resume: continue from the members' checkpoints; members that are done stay as they are.
        shard: which share of the population to train here; all of it if none, or the share of this process
            where several train together.
        log: called with each line of progress; standard error if none.
        log_to: as for a single network, with a run for each member.

    Returns:
        All members, with the status of each.

    Raises:
        UserError: the configurations do not go together, or the folder holds another population.
    """
    log, folder = log or log_line, Path(folder)
    import_tracker(log_to)
    shard = shard or Shard(jax.process_index() + 1, jax.process_count())
    members = population_members(configs, folder, shard.n)
    own = [m for m in members if m.shard == str(shard)]
    if not resume and any(m.status != "waiting" or m.folder.exists() for m in own):
        raise UserError(f"{folder} already holds members: continue with --resume, or name another folder.")
    write_population(members)
    with lock_folder(own[0].folder):  # a shard has one writer; other shards may share its folder
        return _train_members(members, resume, shard, log, log_to)


def _train_members(
    members: list[PopulationMember], resume: bool, shard: Shard, log: Log, log_to: TrackerName
) -> list[PopulationMember]:
    """The members after those of a shard were trained, regime after regime."""
    configs, folder = [m.config for m in members], members[0].home
    own = [m for m in members if m.shard == str(shard)]
    for (regime, steps), group in groupby(own, key=lambda m: (m.config.regime, m.config.steps)):
        ready = [m for m in group if m.status == "waiting" and _ancestor_exists(m, log)]
        if ready:
            log(f"training {len(ready)} members, {regime}, {steps} steps, on {devices.describe_devices()}")
            with devices.explain_out_of_memory(configs[0], len(ready)):
                runs, states = _open_members(ready, resume, log)
                _train_runs(runs, states, log, log_to)
            for i, (member, run) in enumerate(zip(ready, runs, strict=True)):
                if not run.failure:
                    save(_save_organism(run, states[i]), member.file)
        members = population_members(configs, folder, shard.n)
        write_population(members)
    return members


def _ancestor_exists(member: PopulationMember, log: Log) -> bool:
    """Whether the organism that a member starts from was trained, where that belongs to the same population."""
    ancestor = None if member.config.init_from is None else Path(member.config.init_from)
    if ancestor is None or ancestor.is_file() or ancestor.parent.resolve() != member.home.resolve():
        return True
    log(f"{member.name} is left out: {ancestor.name}, from which it starts, was not trained")
    return False


def _warn(tasks: Sequence[Task], log: Log) -> None:
    """Say before the first step what makes the targets of these tasks hard to grow."""
    for warning in dict.fromkeys(warning for task in tasks for warning in growth_warnings(task)):
        log(f"warning: {warning}")


def _open_members(members: Sequence[PopulationMember], resume: bool, log: Log) -> tuple[list[_Run], _StackedState]:
    """The runs of members of one regime, at their first step or at their checkpoints, and their states."""
    tasks, states = zip(*(init_training(m.config) for m in members), strict=True)
    _warn(tasks, log)
    structure, fixed = tasks[0].split
    for task in tasks[1:]:
        equal = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), fixed, task.split[1])
        if task.split[0] != structure or not all(jax.tree.leaves(equal)):
            raise UserError(
                "The organisms that these members start from have different conventions; start them from "
                "organisms of the same conventions."
            )
    # One program computes all members: its capacities must suit each.
    capacities = tuple(sorted({rows for task in tasks for rows in task.capacities}))
    runs, opened = [], []
    for member, task, state in zip(members, tasks, states, strict=True):
        can_resume = resume and (member.folder / CHECKPOINT_FILE).is_file()
        state, checkpoint = open_run(member.folder, member.config, state, can_resume)
        runs.append(_Run(replace(task, capacities=capacities), member.folder, checkpoint, member.name))
        opened.append(state)
    return runs, _StackedState([run.task for run in runs], opened)


# --- Networks in training, and their states ---


@dataclass
class _Run:
    """One network in training.

    Attributes:
        task: what its training does not change.
        folder: its run folder.
        checkpoint: its last checkpoint.
        member: its name in a population; empty for a single network.
        step: training steps done.
        metrics: of each step since the last row.
        loss: mean loss of the last row.
        failure: why it gave up; empty while it trains.
        tracker: where its metrics are logged.
    """

    task: Task
    folder: Path
    checkpoint: Checkpoint
    member: str = ""
    step: int = field(init=False)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    loss: float = float("nan")
    failure: str = ""
    tracker: Tracker = field(init=False)

    def __post_init__(self) -> None:
        self.config, self.snapshot_steps = self.task.config, self.task.config.snapshot_steps
        self.step = self.checkpoint.step
        self.metrics = [{**metrics, "loss": np.float32(metrics["loss"])} for metrics in self.checkpoint.since_row]


class _SingleState:
    """The train state of one network, and its compiled step."""

    def __init__(self, task: Task, state: TrainState, compiled: Callable[..., Any]) -> None:
        self._task, self._compiled, self._state = task, compiled, devices.spread_batch(task, state)[1]

    def step(self, runs: Sequence[_Run], active: Sequence[int]) -> dict[str, Any]:
        """Take a training step; returns the metrics, each with an axis of one network."""
        run = runs[0]
        key = step_key(run.config.seed, run.checkpoint.rollbacks, run.step)
        self._state, metrics = self._compiled(self._state, key, training_phase(run.config, run.step))
        return {name: [value] for name, value in metrics.items()}

    def __getitem__(self, number: int) -> TrainState:
        return self._state

    def __setitem__(self, number: int, state: TrainState) -> None:
        self._state = devices.spread_batch(self._task, state)[1]


class _StackedState:
    """The train states of several networks, stacked and spread over the local devices, and their compiled step."""

    def __init__(self, tasks: Sequence[Task], states: Sequence[TrainState]) -> None:
        mesh = Mesh(np.asarray(jax.local_devices()), ("member",))
        sharding = NamedSharding(mesh, MEMBERS)
        idle = -len(tasks) % mesh.size  # copies that fill the last devices
        tasks, states = [*tasks, *[tasks[0]] * idle], [*states, *[states[0]] * idle]
        self._states = jax.tree.map(lambda *arrays: jax.device_put(np.stack(arrays), sharding), *states)
        targets = jax.device_put(np.stack([task.target for task in tasks]), sharding)
        self._compiled = compile_population_step(tasks[0], targets, mesh)
        self._size = len(tasks)

    def step(self, runs: Sequence[_Run], active: Sequence[int]) -> dict[str, Any]:
        """Take a training step of the active networks; returns the metrics, (network,)."""
        numbers = np.zeros((3, self._size), np.int32)
        for i, run in enumerate(runs):
            numbers[:, i] = run.config.seed, run.checkpoint.rollbacks, run.step
        phases = [training_phase(run.config, run.step) for run in runs]
        phases += [phases[0]] * (self._size - len(runs))
        phase = jax.tree.map(lambda *values: np.stack(values), *phases)
        is_active = np.isin(np.arange(self._size), active)
        self._states, metrics = self._compiled(self._states, *numbers, phase, is_active)
        return metrics

    def __getitem__(self, number: int) -> TrainState:
        return jax.tree.map(lambda leaf: leaf[number], self._states)

    def __setitem__(self, number: int, state: TrainState) -> None:
        self._states = jax.tree.map(lambda leaf, own: leaf.at[number].set(own), self._states, state)


# --- The loop ---


def _train_runs(runs: Sequence[_Run], states: _SingleState | _StackedState, log: Log, log_to: TrackerName) -> None:
    """Train until every network is done or has given up."""
    with ExitStack() as opened:
        for run in runs:
            run.tracker = opened.enter_context(closing(Tracker(log_to, run.folder, run.config, run.step)))
        _take_steps(runs, states, log)


def _take_steps(runs: Sequence[_Run], states: _SingleState | _StackedState, log: Log) -> None:
    for i, run in enumerate(runs):
        if run.checkpoint == Checkpoint() and 0 in run.snapshot_steps:
            _save_snapshot(run, states[i])
    progress, unread = Progress(log, pause=0.0, counts=True), []
    name = f"{len(runs)} members" if runs[0].member else runs[0].folder.name
    progress.start(f"training {name}", runs[0].config.steps, min(run.step for run in runs))
    with closing(progress), interrupts_between_steps() as is_interrupted:
        while active := [i for i, run in enumerate(runs) if _is_active(run)]:
            unread.append((states.step(runs, active), active))
            for i in active:
                runs[i].step += 1
            due = [i for i in active if _is_due(runs[i])]
            stop = is_interrupted()
            if not due and not stop:
                continue
            for metrics, members in jax.device_get(unread):
                for i in members:
                    runs[i].metrics.append({name: values[i] for name, values in metrics.items()})
            unread = []
            for i in due:
                failure = _failure(runs[i])
                if failure:
                    _roll_back(runs[i], states, i, failure, log)
                else:
                    _record(runs[i], states, i)
            if stop:
                for i in active:
                    _save_interrupted(runs[i], states, i)
                raise KeyboardInterrupt
            _show_progress(runs, progress)


def _save_interrupted(run: _Run, states: _SingleState | _StackedState, number: int) -> None:
    """Write the checkpoint of a network that is stopped between two rows of metrics, unless it has gone astray."""
    if run.failure or run.step == run.checkpoint.step or (run.metrics and _failure(run)):
        return
    size = metrics_size(run.folder)
    since_row = [{name: float(value) for name, value in metrics.items()} for metrics in run.metrics]
    run.checkpoint = Checkpoint(run.step, run.checkpoint.rollbacks, size, since_row)
    save_checkpoint(run.folder, states[number], run.checkpoint)


def _is_active(run: _Run) -> bool:
    return not run.failure and run.step < run.config.steps


def _is_due(run: _Run) -> bool:
    """Whether the metrics of this step are read: at every row, and before every state that is saved."""
    every = run.step % run.config.log_every == 0 or run.step % run.config.save_every == 0
    return every or run.step in run.snapshot_steps or run.step == run.config.steps


def _failure(run: _Run) -> str:
    """What went wrong since the last row of metrics; empty where nothing did."""
    if not all(bool(m["finite"]) for m in run.metrics):
        return "the loss, a weight or a state is not finite"
    if max(float(m["max_abs"]) for m in run.metrics) > run.config.max_abs_state:
        return f"a state exceeds {run.config.max_abs_state:g}"
    if all(int(m["dead"]) == run.config.batch_size for m in run.metrics):
        return "every sample is dead"
    return ""


def _record(run: _Run, states: _SingleState | _StackedState, number: int) -> None:
    """Write the row of metrics of a step, and the snapshot, plots and checkpoint that are due."""
    config, folder, step = run.config, run.folder, run.step
    run.loss = float(np.mean([m["loss"] for m in run.metrics]))
    run.metrics = []
    row = {"step": step, "loss": run.loss, "log10_loss": float(np.log10(max(run.loss, 1e-12)))}
    size = append_metrics(folder, row)
    run.tracker.log(row)
    is_last = step == config.steps
    if step in run.snapshot_steps:
        _save_snapshot(run, states[number])
    if config.plot_every and (step == _FIRST_PLOT or step % config.plot_every == 0 or is_last):
        run.tracker.log_picture(step, plot_training(states[number].pool, folder, step))
    if is_last or step % config.save_every == 0:
        run.checkpoint = Checkpoint(step, run.checkpoint.rollbacks, size)
        save_checkpoint(folder, states[number], run.checkpoint)


def _roll_back(run: _Run, states: _SingleState | _StackedState, number: int, failure: str, log: Log) -> None:
    """Return to the last checkpoint under another key, its dead samples reseeded; or give up."""
    prefix = f"{run.member}: " if run.member else ""
    run.metrics = []
    before = run.checkpoint
    if before.rollbacks >= run.config.max_rollbacks:
        run.failure = (
            f"Training failed {before.rollbacks + 1} times, last at step {run.step} because {failure}; "
            f"the last good state is at step {before.step} in {run.folder}: try a lower --learning-rate."
        )
        if run.member:
            log(f"{prefix}{run.failure}")
            write_file(run.folder / "failed.txt", run.failure + "\n")
        return
    state, checkpoint = restore_checkpoint(run.folder, states[number])
    state, reseeded = _reseed_pool(run.task, state)
    rollbacks = checkpoint.rollbacks + 1
    row = {"event": "rollback", "reason": failure, "failed_at": run.step, "step": checkpoint.step}
    row |= {"reseeded": reseeded, "rollbacks": rollbacks}
    size = append_metrics(run.folder, row)
    run.tracker.log(row)
    log(f"{prefix}step {run.step}: {failure}; back to step {checkpoint.step} with another key, {reseeded} reseeded")
    run.checkpoint, run.step = Checkpoint(checkpoint.step, rollbacks, size), checkpoint.step
    states[number] = state
    save_checkpoint(run.folder, state, run.checkpoint)


def _reseed_pool(task: Task, state: TrainState) -> tuple[TrainState, int]:
    """The state with dead and exploded samples of its pool replaced by the seed, and their number."""
    pool = state.pool
    spec = task.rule(state.parameters).spec
    lost = ~(pool[..., spec.alpha] > spec.threshold).any(axis=(1, 2))
    lost |= ~(jnp.abs(pool) <= task.config.max_abs_state).all(axis=(1, 2, 3))
    pool = jnp.where(lost[:, None, None, None], task.seed, pool)
    return replace(state, pool=pool), int(lost.sum())


def _save_snapshot(run: _Run, state: TrainState) -> None:
    """Save the organism of this step in the folder `snapshots`."""
    organism = build_organism(
        run.task, state.final_parameters, Checkpoint(run.step, run.checkpoint.rollbacks), run.folder
    )
    (run.folder / "snapshots").mkdir(exist_ok=True)
    path = run.folder / "snapshots" / f"step-{run.step:06d}.safetensors"
    save(organism.rename(f"{organism.name}-{run.step}"), path)


def _save_organism(run: _Run, state: TrainState) -> Organism:
    organism = build_organism(run.task, state.final_parameters, run.checkpoint, run.folder)
    save(organism, run.folder / "organism.safetensors")
    return organism


def _show_progress(runs: Sequence[_Run], progress: Progress) -> None:
    """Show how far the furthest-behind network is, with the loss (median and range of several)."""
    active = [run for run in runs if _is_active(run)]
    step = min((run.step for run in active), default=progress.total)
    losses = np.array([run.loss for run in runs if run.loss == run.loss] or [float("nan")])
    is_mse = runs[0].config.loss is None
    losses *= np.prod(runs[0].config.canvas) / 72**2 if is_mse else 1  # as the MSE is given everywhere
    low, median, high = np.quantile(np.log10(np.clip(losses, 1e-12, None)), (0, 0.5, 1))
    loss = f"log10 {'MSE' if is_mse else 'loss'} {median:+.2f}"
    if runs[0].member:
        loss = f"{len(active)} members, {loss} ({low:+.2f} to {high:+.2f})"
    progress.tick(step - progress.done, loss)

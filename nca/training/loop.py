"""The training loop: steps, watch, checkpoints, rollback, what to look at along the way."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from nca import fused
from nca.errors import UserError
from nca.io import load, save
from nca.organism import Organism
from nca.perception import alive
from nca.rule import Rule, untrained
from nca.sparse import needed
from nca.spec import Spec
from nca.targets import target
from nca.training import checkpoint as runs
from nca.training import devices
from nca.training import plots as sheets
from nca.training.config import TrainConfig, kept_steps
from nca.training.memory import told_what_fits
from nca.training.snapshots import hatch, keep, run_name
from nca.training.step import Task, Trainer, adam, compiled, step_key

Say = Callable[[str], None]
ROWS = (0.5, 0.85, 1.0, 1.06, 1.12, 1.18, 1.25, 1.35, 1.6, 2.2)  # of a grown body's firing cells and ring


def train(
    config: TrainConfig,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    say: Say | None = None,
) -> Organism:
    """Train an organism.

    Args:
        config: the recipe.
        folder: where checkpoints, metrics and kept organisms go; `runs/TARGET-REGIME-SEED` if none.
        resume: go on from the folder's checkpoint. On a CPU the result equals, to the bit, that of
            a run that was never stopped.
        say: is told the progress, a line at a time; standard error if none.

    Raises:
        UserError: what was asked does not fit, the folder is in use, or training kept failing.
    """
    say = say or to_stderr
    folder = Path(folder) if folder is not None else Path("runs") / run_name(config)
    if jax.process_index() > 0:
        say = silent
    with told_what_fits(config), devices.lost_told(folder), devices.own_folder(folder) as place:
        task, trainer = devices.spread(*begin(config))
        say(f"training {config.target}, {config.regime}, on {devices.in_words()}; run folder {folder}")
        trainer, mark = open_run(task, trainer, place, resume and jax.process_index() == 0)
        if resume:
            exactly = "" if exact(config) else ", equal to rounding on this device"
            say(f"resuming at step {mark.step}{exactly}")
        trainer, mark = together(task, trainer, mark, place)
        trainer, mark = loop(task, trainer, mark, place, say)
        organism = hatch(task, trainer.parameters, mark, place)
        save(organism, place / "organism.safetensors")
    return organism


def together(task: Task, trainer: Trainer, mark: runs.Mark, folder: Path) -> tuple[Trainer, runs.Mark]:
    """What the first process resumed, in all processes that train one organism."""
    if jax.process_count() > 1:
        trainer, step, rollbacks = devices.as_the_first((trainer, mark.step, mark.rollbacks))
        mark = runs.Mark(int(step), int(rollbacks), mark.written)
        runs.save_state(folder, trainer, mark)
    return devices.everywhere(task, trainer), mark


def begin(config: TrainConfig) -> tuple[Task, Trainer]:
    """The task and the trainer before the first step."""
    picture = target(config.target, config.size, background=config.background)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    rule = _first_rule(config, key)
    fused.check(config, rule)
    organism = Organism(rule, canvas=config.canvas, target=picture)
    parts: Any = nnx.split(rule, nnx.Param, ...)
    structure, parameters, fixed = parts
    seed = organism.start()
    padded = jnp.asarray(organism.picture())
    task = Task(config, (structure, fixed), seed, padded, _capacities(config, rule, padded))
    samples = config.batch if config.regime == "growing" else config.pool  # there only to look at
    pool = jnp.tile(seed[None], (samples, 1, 1, 1))
    return task, Trainer(parameters, adam(config).init(parameters), pool)


def _first_rule(config: TrainConfig, key: jax.Array) -> Rule:
    spec = Spec(**config.conventions())
    if config.start is None:
        return untrained(key, spec, config.hidden)
    rule = load(config.start).rule
    has = {**asdict(rule.spec), "hidden": rule.weights[0].shape[1]}
    asked = {**asdict(spec), "hidden": config.hidden}
    differ = [name for name in asked if has[name] != asked[name]]
    if differ:
        found, wanted = (", ".join(f"{k} {which[k]}" for k in differ) for which in (has, asked))
        raise UserError(f"{config.start} has {found}; the recipe asks for {wanted}: set them to match.")
    return rule


def _capacities(config: TrainConfig, rule: Rule, padded: jax.Array) -> tuple[int, ...]:
    """Rows for the compact step, by the grown bodies of a batch. None is dense.

    Rows left over cost as much as used ones, so there are more choices about a whole body's worth.
    """
    if config.dense or jax.default_backend() != "cpu":
        return ()
    body = jnp.zeros((*padded.shape[:2], rule.spec.channels)).at[..., rule.spec.alpha].set(padded[..., 3])
    everyone = jnp.ones((1, *padded.shape[:2]), bool)
    rows = config.batch * config.fire_rate * int(needed(rule, alive(rule, body)[None], everyone).sum())
    return tuple(int(np.ceil(share * rows / 128)) * 128 for share in ROWS)


def open_run(task: Task, trainer: Trainer, folder: Path, resume: bool) -> tuple[Trainer, runs.Mark]:
    """The trainer and the mark that a folder's training begins from, or goes on from."""
    runs.prepare(folder, task.config, resume)
    if resume:
        trainer, mark = runs.load_state(folder, trainer)
        runs.truncate(folder, mark.written)
        return trainer, mark
    mark = runs.Mark(0, 0, 0)
    runs.truncate(folder, 0)
    runs.save_state(folder, trainer, mark)
    keep(task, trainer, folder, 0)
    return trainer, mark


def loop(task: Task, trainer: Trainer, mark: runs.Mark, folder: Path, say: Say) -> tuple[Trainer, runs.Mark]:
    """Train from a mark to the last step, rolling back where a stretch fails."""
    config, step = task.config, compiled(task)
    kept = kept_steps(config.keep, config.steps)
    clock, since = time.monotonic(), mark.step
    number, written, stretch = mark.step, mark.written, []
    while number < config.steps:
        trainer, watch = step(trainer, step_key(config.seed, mark.rollbacks, number))
        number += 1
        stretch.append(watch)
        end = number == config.steps
        due = end or number % config.save_every == 0
        # What is saved or kept has been looked at; so a checkpoint also ends a stretch.
        if due or number % config.log_every == 0 or number in kept:
            seen, stretch = jax.device_get(stretch), []
            trouble = failure(config, seen)
            if trouble:
                trainer, mark = roll_back(task, mark, folder, trouble, number, say)
                number, written, clock, since = mark.step, mark.written, time.monotonic(), mark.step
                continue
            loss, written = note(folder, number, seen)
            say(_progress(config, number, loss, (number - since) / (time.monotonic() - clock)))
        if number in kept:
            keep(task, trainer, folder, number)
        if config.sheet_every and (number % config.sheet_every == 0 or end):
            show(trainer, folder, number)
        if due:
            mark = runs.Mark(number, mark.rollbacks, written)
            runs.save_state(folder, trainer, mark)
    return trainer, mark


def note(folder: Path, number: int, seen: list[dict[str, Any]]) -> tuple[float, int]:
    """Write the mean loss of a stretch of steps; returns it, and the size of the file of metrics."""
    loss = float(np.mean([w["loss"] for w in seen]))
    row = {"step": number, "loss": loss, "log10_loss": float(np.log10(max(loss, 1e-12)))}
    return loss, runs.append(folder, row)


def show(trainer: Trainer, folder: Path, number: int) -> None:
    """Draw the pool and the loss."""
    sheets.contact_sheet(trainer.pool, folder, number)
    sheets.loss_curve(folder)


def failure(config: TrainConfig, seen: list[dict[str, Any]]) -> str | None:
    """What went wrong in a stretch of steps, in words; None where nothing did."""
    if not all(bool(w["finite"]) for w in seen):
        return "the loss, a weight or a state is not finite"
    if max(float(w["largest"]) for w in seen) > config.limit:
        return f"a state exceeds {config.limit:g}"
    if all(int(w["dead"]) == config.batch for w in seen):
        return "every sample is dead"
    return None


def roll_back(
    task: Task, mark: runs.Mark, folder: Path, trouble: str, number: int, say: Say
) -> tuple[Trainer, runs.Mark]:
    """The last good trainer with dead samples reseeded, under a new key."""
    config = task.config
    if mark.rollbacks >= config.rollbacks:
        raise UserError(
            f"Training failed {mark.rollbacks + 1} times, at last at step {number} since {trouble}; "
            f"the last good state is at step {mark.step} in {folder}: try a lower --rate."
        )
    trainer, mark = runs.load_state(folder, begin(config)[1])
    trainer, reseeded = reseed(task, devices.everywhere(task, trainer))
    event = {"event": "rollback", "why": trouble, "failed_at": number, "step": mark.step}
    runs.truncate(folder, mark.written)
    written = runs.append(folder, event | {"reseeded": reseeded, "rollbacks": mark.rollbacks + 1})
    say(f"step {number}: {trouble}; back to step {mark.step} with another key, {reseeded} reseeded")
    mark = runs.Mark(mark.step, mark.rollbacks + 1, written)
    runs.save_state(folder, trainer, mark)
    return trainer, mark


def reseed(task: Task, trainer: Trainer) -> tuple[Trainer, int]:
    """The trainer with dead and exploded samples of its pool replaced by the seed, and how many."""
    pool = trainer.pool
    spec = task.rule(trainer.parameters).spec
    lost = ~(pool[..., spec.alpha] > spec.threshold).any(axis=(1, 2))
    lost |= ~(jnp.abs(pool) <= task.config.limit).all(axis=(1, 2, 3))
    pool = jnp.where(lost[:, None, None, None], task.seed, pool)
    return replace(trainer, pool=pool), int(lost.sum())


def exact(config: TrainConfig) -> bool:
    """Whether a resumed run repeats to the bit here."""
    return jax.default_backend() == "cpu" or config.deterministic


def _progress(config: TrainConfig, number: int, loss: float, speed: float) -> str:
    left = (config.steps - number) / max(speed, 1e-9)
    return (
        f"step {number}/{config.steps}  log10 loss {np.log10(max(loss, 1e-12)):+.2f}  "
        f"{speed:.2f} steps/s  {time.strftime('%H:%M:%S', time.gmtime(left))} left"
    )


def silent(line: str) -> None:
    """No progress: another process tells it."""


def to_stderr(line: str) -> None:
    """A line of progress where nobody else wants it."""
    sys.stderr.write(line + "\n")

"""Many rules trained by one program: each member with its own pool, wounds, noise and run folder.

What a member writes, how it resumes and how it rolls back are those of a single training
(`nca.training.loop`), in a folder of its own; `nca.training.crew` has the step of all. Nothing passes
between members, so one that fails stops no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import jax
import numpy as np

from nca.errors import UserError
from nca.io import save, write
from nca.shards import Part
from nca.training import checkpoint as runs
from nca.training import devices
from nca.training import loop as training
from nca.training import snapshots as hatching
from nca.training.config import TrainConfig, kept_steps
from nca.training.crew import Crew, Standing, gather, given
from nca.training.memory import told_what_fits
from nca.training.population import Member, check_alike, members_of, write_table

Say = Callable[[str], None]


def train_population(
    recipes: Sequence[TrainConfig],
    folder: str | Path,
    *,
    resume: bool = False,
    part: Part | None = None,
    say: Say | None = None,
) -> list[Member]:
    """Train several organisms, those of one regime at once, regime after regime.

    Args:
        recipes: one each (`nca.training.population.recipes_of` makes them).
        folder: where everything goes.
        resume: go on from the members' checkpoints; members that are done stay as they are.
        part: which part of the population to train here; all of it if none, or what falls to this
            process where several train together.
        say: is told the progress, a line at a time; standard error if none.

    Returns:
        All members, with what became of each.

    Raises:
        UserError: the recipes do not go together, or the folder holds another population.
    """
    say, home = say or training.to_stderr, Path(folder)
    check_alike(recipes)
    part = part or Part(jax.process_index() + 1, jax.process_count())
    everyone = members_of(recipes, home, part.n)
    mine = [m for m in everyone if m.part == str(part)]
    if not resume and any(m.status != "waiting" or m.folder.exists() for m in mine):
        raise UserError(f"{home} already holds members: go on with --resume, or name another folder.")
    write_table(home, everyone)
    for (regime, steps), group in groupby(mine, key=lambda m: (m.config.regime, m.config.steps)):
        ready = [m for m in group if m.status == "waiting" and _has_its_start(m, say)]
        if ready:
            say(f"training {len(ready)} members, {regime}, {steps} steps, on {devices.in_words()}")
            with told_what_fits(recipes[0], len(ready)):
                crew = gather(ready, resume)
                work(crew, say)
            for i in range(len(ready)):
                finish(crew, i)
        write_table(home, members_of(recipes, home, part.n))
    return members_of(recipes, home, part.n)


def _has_its_start(member: Member, say: Say) -> bool:
    """Whether the organism that a member begins from is there; its ancestor may have failed."""
    start = member.config.start
    if start is None or Path(start).is_file() or Path(start).parent.resolve() != member.home.resolve():
        return True
    say(f"{member.name} is left out: {Path(start).name}, which it would begin from, was not trained")
    return False


def work(crew: Crew, say: Say) -> None:
    """Train until every member is done or has given up."""
    clock, steps, unseen = time.monotonic(), 0, []
    while working := crew.working():
        crew.trainers, watch = crew.step(crew.trainers, *given(crew, working))
        unseen.append((watch, working))
        for i in working:
            crew.standings[i].number += 1
        steps += 1
        due = [i for i in working if _is_due(crew.members[i].config, crew.standings[i].number)]
        if not due:
            continue
        for watch, who in jax.device_get(unseen):
            for i in who:
                crew.standings[i].seen.append({k: v[i] for k, v in watch.items()})
        unseen = []
        for i in due:
            look(crew, i, say)
        say(_progress(crew, steps / (time.monotonic() - clock)))


def _is_due(config: TrainConfig, number: int) -> bool:
    every = number % config.save_every == 0 or number % config.log_every == 0
    return every or number == config.steps or number in kept_steps(config.keep, config.steps)


def look(crew: Crew, i: int, say: Say) -> None:
    """Write what a member did since it was last looked at; take it back where that failed."""
    member, task, standing = crew.members[i], crew.tasks[i], crew.standings[i]
    config, folder, number = member.config, member.folder, standing.number
    seen, standing.seen = standing.seen, []
    trouble = training.failure(config, seen)
    if trouble:
        return go_back(crew, i, trouble, say)
    standing.loss, standing.written = training.note(folder, number, seen)
    end = number == config.steps
    if number in kept_steps(config.keep, config.steps):
        hatching.keep(task, crew.trainer(i), folder, number)
    if config.sheet_every and (number % config.sheet_every == 0 or end):
        training.show(crew.trainer(i), folder, number)
    if end or number % config.save_every == 0:
        standing.mark = runs.Mark(number, standing.mark.rollbacks, standing.written)
        runs.save_state(folder, crew.trainer(i), standing.mark)
    return None


def go_back(crew: Crew, i: int, trouble: str, say: Say) -> None:
    """A member to its last checkpoint under another key; or out, where it failed too often."""
    member, standing = crew.members[i], crew.standings[i]

    def tell(line: str) -> None:
        say(f"{member.name}: {line}")

    try:
        trainer, mark = training.roll_back(crew.tasks[i], standing.mark, member.folder, trouble, standing.number, tell)
    except UserError as error:
        standing.failed = str(error)
        tell(standing.failed)
        write(member.folder / "failed.txt", standing.failed + "\n")
        return
    crew.trainers = jax.tree.map(lambda all, own: all.at[i].set(own), crew.trainers, trainer)
    crew.standings[i] = Standing(mark, mark.step, mark.written, loss=standing.loss)


def finish(crew: Crew, i: int) -> None:
    """Save the organism of a member that is done."""
    member, standing = crew.members[i], crew.standings[i]
    if standing.failed:
        return
    organism = hatching.hatch(crew.tasks[i], crew.trainer(i).parameters, standing.mark, member.folder)
    save(organism, member.folder / "organism.safetensors")
    save(organism, member.file)


def _progress(crew: Crew, speed: float) -> str:
    left = [m.config.steps - s.number for m, s in zip(crew.members, crew.standings, strict=True)]
    left = [left[i] for i in crew.working()] or [0]
    known = [s.loss for s in crew.standings if s.loss == s.loss] or [float("nan")]
    low, middle, high = np.quantile(np.log10(np.clip(known, 1e-12, None)), (0, 0.5, 1))
    steps = crew.members[0].config.steps
    return (
        f"step {steps - max(left)}/{steps}  {len(crew.working())} members  log10 loss {middle:+.2f} "
        f"({low:+.2f} to {high:+.2f})  {speed:.2f} steps/s  "
        f"{time.strftime('%H:%M:%S', time.gmtime(max(left) / max(speed, 1e-9)))} left"
    )

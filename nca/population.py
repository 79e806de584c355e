"""Many rules trained by one program: each member with its own pool, wounds, noise and run folder.

What a member writes, how it resumes and how it rolls back are those of a single training
(`nca.training`), in a folder of its own. On a GPU the members are computed side by side (vmap), on a
CPU one after another, so that each computes its own living rows only; over several devices each
computes its share of the members. Nothing passes between members, so one that fails stops no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from nca import runs, training
from nca.config import TrainConfig, kept_steps
from nca.errors import UserError
from nca.files import save, write
from nca.learning import Task, Trainer, descend, draw_batch, step_key
from nca.members import Member, check_alike, members_of, write_table
from nca.memory import told_what_fits
from nca.parts import Part

Say = Callable[[str], None]
Step = Callable[..., tuple[Trainer, dict[str, Array]]]
PLACE = PartitionSpec("member")


@dataclass
class Standing:
    """Where a member's training stands.

    Attributes:
        mark: its last checkpoint.
        number: training steps done.
        written: bytes of its metrics.
        seen: what was watched since it was last looked at.
        loss: the last mean of a stretch.
        failed: why it gave up, in words.
    """

    mark: runs.Mark
    number: int
    written: int
    seen: list[dict[str, Any]] = field(default_factory=list)
    loss: float = float("nan")
    failed: str = ""


@dataclass
class Crew:
    """Members in training.

    Attributes:
        members: who.
        tasks: what is fixed for each.
        standings: where each stands.
        trainers: what training changes, (member, ...); more than there are members where devices
            have to be filled.
        step: one compiled step of all.
    """

    members: Sequence[Member]
    tasks: Sequence[Task]
    standings: list[Standing]
    trainers: Trainer
    step: Step

    def working(self) -> list[int]:
        """The members with steps left."""
        pairs = enumerate(zip(self.members, self.standings, strict=True))
        return [i for i, (m, s) in pairs if not s.failed and s.number < m.config.steps]

    def trainer(self, number: int) -> Trainer:
        """One member's."""
        return jax.tree.map(lambda a: a[number], self.trainers)


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
        recipes: one each (`nca.members.recipes_of` makes them).
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
            say(f"training {len(ready)} members, {regime}, {steps} steps, on {training.device()}")
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


def gather(members: Sequence[Member], resume: bool) -> Crew:
    """The members of one regime at their beginnings, or at their checkpoints."""
    begun = [training.begin(m.config) for m in members]
    tasks = _alike([task for task, _ in begun])
    trainers, standings = [], []
    for member, task, (_, trainer) in zip(members, tasks, begun, strict=True):
        go_on = resume and (member.folder / "state.safetensors").is_file()
        trainer, mark = training.open_run(task, trainer, member.folder, go_on)
        trainers.append(trainer)
        standings.append(Standing(mark, mark.step, mark.written))
    mesh = Mesh(np.asarray(jax.local_devices()), ("member",))
    spare = -len(members) % mesh.size
    place = NamedSharding(mesh, PLACE)
    stacked = jax.tree.map(lambda *a: jax.device_put(np.stack(a), place), *trainers, *trainers[:1] * spare)
    targets = jax.device_put(np.stack([t.target for t in [*tasks, *tasks[:1] * spare]]), place)
    return Crew(members, tasks, standings, stacked, compiled(tasks[0], targets, mesh))


def _alike(tasks: list[Task]) -> list[Task]:
    """The tasks with rows enough for any, since one program computes all; their rules must agree."""
    structure, fixed = tasks[0].split
    for task in tasks[1:]:
        same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), fixed, task.split[1])
        if task.split[0] != structure or not all(jax.tree.leaves(same)):
            raise UserError("The organisms that these members start from follow other conventions.")
    rows = tuple(sorted({rows for task in tasks for rows in task.capacities}))
    return [replace(task, capacities=rows) for task in tasks]


def compiled(task: Task, targets: Array, mesh: Mesh) -> Step:
    """One training step of all members: (trainers, seeds, rollbacks, numbers, active).

    Members that are not active stay as they are.
    """
    one_by_one = jax.default_backend() == "cpu"

    def descended(given: tuple[Any, ...]) -> Any:
        target, parameters, optimiser, states, keys, active = given

        def step() -> Any:
            return descend(task, target, parameters, optimiser, states, (keys[0], keys[1]))

        idle: dict[str, Array]
        idle = {"loss": jnp.float32(0), "dead": jnp.int32(0), "largest": jnp.float32(0)}
        idle["finite"] = jnp.bool_(True)
        return jax.lax.cond(active, step, lambda: (parameters, optimiser, states, idle))

    def of_my_members(
        trainers: Trainer, targets: Array, seeds: Array, rollbacks: Array, numbers: Array, active: Array
    ) -> Any:
        keys = jax.vmap(lambda *k: jax.random.split(step_key(*k), 3))(seeds, rollbacks, numbers)
        drawn, states = jax.vmap(lambda t, p, k: draw_batch(task, t, p, k))(
            targets, trainers.pool, keys[:, 0]
        )
        given = (targets, trainers.parameters, trainers.optimiser, states, keys[:, 1:], active)
        several = jax.lax.map if one_by_one else lambda f, x: jax.vmap(f)(x)
        parameters, optimiser, ends, watch = several(descended, given)
        drawn = jnp.where(active[:, None], drawn, trainers.pool.shape[1])
        pool = jax.vmap(lambda p, d, e: p.at[d].set(e, mode="drop"))(trainers.pool, drawn, ends)
        return Trainer(parameters, optimiser, pool), watch

    spread = jax.shard_map(of_my_members, mesh=mesh, in_specs=PLACE, out_specs=PLACE, check_vma=False)
    program = jax.jit(spread, donate_argnums=0)
    return lambda trainers, *given: program(trainers, targets, *given)


def work(crew: Crew, say: Say) -> None:
    """Train until every member is done or has given up."""
    clock, steps, unseen = time.monotonic(), 0, []
    while working := crew.working():
        crew.trainers, watch = crew.step(crew.trainers, *_given(crew, working))
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


def _given(crew: Crew, working: Sequence[int]) -> tuple[np.ndarray, ...]:
    size = len(jax.tree.leaves(crew.trainers)[0])
    given = np.zeros((3, size), np.int32)
    for i, (member, standing) in enumerate(zip(crew.members, crew.standings, strict=True)):
        given[:, i] = member.config.seed, standing.mark.rollbacks, standing.number
    return (*given, np.isin(np.arange(size), working))


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
        training.keep(task, crew.trainer(i), folder, number)
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
        trainer, mark = training.roll_back(
            crew.tasks[i], standing.mark, member.folder, trouble, standing.number, tell
        )
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
    organism = training.hatch(crew.tasks[i], crew.trainer(i).parameters, standing.mark, member.folder)
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

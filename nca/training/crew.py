"""Members in training together: where each stands, what training changes, one compiled step of all.

On a GPU the members are computed side by side (vmap), on a CPU one after another, so that each computes
its own living rows only; over several devices each computes its share of the members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from nca.errors import UserError
from nca.training import checkpoint as runs
from nca.training import loop as training
from nca.training.population import Member
from nca.training.step import Task, Trainer, descend, draw_batch, step_key

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
        drawn, states = jax.vmap(lambda t, p, k: draw_batch(task, t, p, k))(targets, trainers.pool, keys[:, 0])
        given = (targets, trainers.parameters, trainers.optimiser, states, keys[:, 1:], active)
        several = jax.lax.map if one_by_one else lambda f, x: jax.vmap(f)(x)
        parameters, optimiser, ends, watch = several(descended, given)
        drawn = jnp.where(active[:, None], drawn, trainers.pool.shape[1])
        pool = jax.vmap(lambda p, d, e: p.at[d].set(e, mode="drop"))(trainers.pool, drawn, ends)
        return Trainer(parameters, optimiser, pool), watch

    spread = jax.shard_map(of_my_members, mesh=mesh, in_specs=PLACE, out_specs=PLACE, check_vma=False)
    program = jax.jit(spread, donate_argnums=0)
    return lambda trainers, *given: program(trainers, targets, *given)


def given(crew: Crew, working: Sequence[int]) -> tuple[np.ndarray, ...]:
    """What a step of all is given besides the trainers: seeds, rollbacks, numbers, active."""
    size = len(jax.tree.leaves(crew.trainers)[0])
    numbers = np.zeros((3, size), np.int32)
    for i, (member, standing) in enumerate(zip(crew.members, crew.standings, strict=True)):
        numbers[:, i] = member.config.seed, standing.mark.rollbacks, standing.number
    return (*numbers, np.isin(np.arange(size), working))

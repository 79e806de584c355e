"""What a population costs: by its number of members, and by the devices that share them.

Forced devices divide one processor, so they can show what spreading costs and not what it wins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from statistics import median

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from benchmarks.measure import Clock, Row, Table, alternate, clock, ratio, seconds
from benchmarks.scene import ROOT, Scene, Sizes
from nca.training.config import TrainConfig
from nca.training.step import MEMBERS as AXIS
from nca.training.step import TrainState, compile_population_step, compile_step, init_training, step_key, training_phase

MEMBERS, DEVICES = (1, 2, 4, 8), (1, 2, 4, 8)


def by_members(scene: Scene, repeats: int, members: tuple[int, ...] = MEMBERS) -> Table:
    """One training step of N members at once, beside one of a single training."""
    recipe = small(scene.sizes)
    clocks = {"alone": alone(recipe)} | {str(n): together(recipe, n) for n in members}
    times = alternate(clocks, dict.fromkeys(clocks, repeats))
    rows = [
        {"members": name}
        | seconds([1e3 * took / count for took in times[name]], "ms a member")
        | {"against alone": ratio([took / count for took in times[name]], times["alone"])}
        for name, count in zip(times, (1, *members), strict=True)
    ]
    note = f"One training step, persistent, {told(recipe)}, members from other seeds. Alone: `nca.train`'s step."
    return Table("population", "A population by its members", note, rows)


def by_devices(scene: Scene, repeats: int, devices: tuple[int, ...] = DEVICES) -> Table:
    """The same members spread over forced devices of one processor, each count in its own process."""
    recipe, members = small(scene.sizes), max(devices)
    times = {n: in_process(n, members, recipe, repeats) for n in devices}
    rows: list[Row] = [
        {"devices": n} | seconds(took, "s a step") | {"against one": median(took) / median(times[devices[0]])}
        for n, took in times.items()
    ]
    note = f"One training step of {members} members, persistent, {told(recipe)}; the processor is the same."
    return Table("devices", "A population over forced devices", note, rows)


def small(sizes: Sizes) -> TrainConfig:
    """The shipped population's recipe, its roll-outs all of one length."""
    quick = sizes.size < 24
    return TrainConfig.published(
        regime="persistent", size=min(sizes.size, 24), margin=min(sizes.margin, 8), hidden_size=sizes.hidden,
        batch_size=sizes.batch, pool_size=32, reseed_per_batch=0,
        min_steps=sizes.steps, max_steps=sizes.steps, dense=quick,
    )  # fmt: skip


def told(recipe: TrainConfig) -> str:
    """Its sizes in words."""
    side = recipe.canvas[0]
    return f"{recipe.batch_size} x {recipe.max_steps} steps at {side}x{side}, from grown bodies"


def body_pool(recipe: TrainConfig) -> TrainState:
    """A train state whose pool holds drawn bodies, so that as many cells live as in training."""
    task, state = init_training(recipe)
    picture = np.asarray(task.target)
    hidden = np.repeat(picture[..., 3:], recipe.channels - 4, axis=-1)
    body = np.concatenate([picture, hidden], axis=-1)
    return replace(state, pool=jax.numpy.tile(body[None], (recipe.pool_size, 1, 1, 1)))


def alone(recipe: TrainConfig) -> Clock:
    """A clock of a single training's step."""
    step, start = compile_step(init_training(recipe)[0]), body_pool(recipe)
    return clock(step, lambda: (jax.tree.map(jax.numpy.copy, start), step_key(0, 0, 0)))


def together(recipe: TrainConfig, members: int) -> Clock:
    """A clock of a population's step, spread over all local devices."""
    task, start = init_training(recipe)[0], body_pool(recipe)
    mesh = Mesh(np.asarray(jax.local_devices()), ("member",))
    place = NamedSharding(mesh, AXIS)
    stacked = jax.tree.map(lambda a: np.stack([np.asarray(a)] * members), start)
    targets = jax.device_put(np.stack([np.asarray(task.target)] * members), place)
    step = compile_population_step(task, targets, mesh)
    counts = np.zeros(members, np.int32)
    phase = jax.tree.map(lambda value: np.full(members, value), training_phase(recipe, 0))
    rest = (np.arange(members, dtype=np.int32), counts, counts, phase, np.ones(members, bool))
    return clock(step, lambda: (jax.device_put(stacked, place), *rest))


def in_process(devices: int, members: int, recipe: TrainConfig, repeats: int) -> list[float]:
    """Seconds of a population's step in a process with that many devices."""
    given = json.dumps({"recipe": recipe.to_json(), "members": members, "repeats": repeats})
    env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, "-m", "benchmarks.populations", given]
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    timer = together(TrainConfig.from_json(asked["recipe"]), asked["members"])
    print(json.dumps(alternate({"it": timer}, {"it": asked["repeats"]})["it"]))

"""One training step, as a pure function of train state, key and phase.

A batch is drawn from the pool; its worst sample is replaced by the seed and, when regenerating, its best
samples are wounded. It grows for a random number of steps. The loss is the mean squared error to the target, or
the configuration's own, and every variable's gradient is divided by its own norm (Mordvintsev et al. 2020). What
changes in the course of training is the phase: how many seeds, how many wounds, what learning rate.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int
from scipy import ndimage

from nca.damage import random_wound
from nca.errors import UserError
from nca.io import load
from nca.kernels import fused_step, has_kernel
from nca.organism import Organism, picture_seed
from nca.perception import alive, mature
from nca.rule import Rule, init_rule
from nca.sparse import active_cells, sparse_is_exact, sparse_step
from nca.step import dense_step
from nca.targets import target
from nca.training.config import TrainConfig
from nca.unroll import unroll

# Row capacities of the sparse step, as shares of what a batch of complete bodies needs.
CAPACITIES = (0.5, 0.85, 1.0, 1.06, 1.12, 1.18, 1.25, 1.35, 1.6, 2.2)
MEMBERS = PartitionSpec("member")
Metrics = dict[str, Array]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["parameters", "optimiser", "pool"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TrainState:
    """What training changes. In a population every array has a first axis, the member.

    Attributes:
        parameters: the trained arrays of the rule.
        optimiser: the state of the optimizer, with the moving average of the parameters.
        pool: end states of earlier roll-outs, (sample, y, x, channel).
    """

    parameters: Any
    optimiser: Any
    pool: Float[Array, "*member sample y x channel"]

    @property
    def final_parameters(self) -> Any:
        """The parameters of the organism: their moving average, or the last ones where none is kept."""
        nodes = jax.tree.leaves(self.optimiser, is_leaf=lambda node: isinstance(node, _Average))
        return next((node.parameters for node in nodes if isinstance(node, _Average)), self.parameters)


class Phase(NamedTuple):
    """Where a training step stands in the course of training; arrays of members in a population.

    Attributes:
        seeds: samples of the batch that are replaced by the seed.
        wounds: samples of the batch that are wounded.
        lr_factor: of the learning rate.
    """

    seeds: Any
    wounds: Any
    lr_factor: Any


@dataclass(frozen=True)
class Task:
    """What training does not change.

    Attributes:
        config: the training configuration.
        split: the rule's structure and its untrained arrays, as `nnx.split` gives them.
        seed: s_0, (y, x, channel).
        target: the picture padded to the canvas, (y, x, 4).
        capacities: rows that the sparse step may compute over the batch, ascending; empty for the dense step.
        sharding: how a batch is spread over devices; None on one device.
    """

    config: TrainConfig
    split: tuple[Any, Any]
    seed: Array
    target: Array
    capacities: tuple[int, ...]
    sharding: NamedSharding | None = None

    def rule(self, parameters: Any) -> Rule:
        """The rule with these parameters."""
        return nnx.merge(self.split[0], parameters, self.split[1])


# --- Before the first step ---


def init_training(config: TrainConfig) -> tuple[Task, TrainState]:
    """The task of a configuration, and the train state before the first step.

    Raises:
        UserError: the target cannot be drawn, the organism to start from has other conventions, or the loss is only
            the name of a function or does not give a number for each sample.
    """
    picture = target(config.target, config.size, background=config.background)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    rule = init_rule(key, config.spec, config.hidden_size) if config.init_from is None else _trained_rule(config)
    _check_kernel(config, rule)
    organism = Organism(rule, initial_seed(config), canvas=config.canvas, target=picture)
    split: Any = nnx.split(rule, nnx.Param, ...)
    structure, parameters, fixed = split
    seed = organism.initial_state()
    padded = jnp.asarray(organism.padded_target())
    task = Task(config, (structure, fixed), seed, padded, _row_capacities(config, rule, padded))
    _check_loss(task)
    # Growing does not draw from the pool: it is only there to be looked at.
    samples = config.batch_size if config.regime == "growing" else config.pool_size
    pool = jnp.tile(seed[None], (samples, 1, 1, 1))
    return task, TrainState(parameters, optimizer(config).init(parameters), pool)


def initial_seed(config: TrainConfig) -> Float[np.ndarray, "y x channel"] | None:
    """The seed that looks like the picture `start`; None, for one cell, without one."""
    if config.start is None:
        return None
    background = config.background if os.path.isfile(config.start) else None
    return picture_seed(config.spec, target(config.start, config.size, background=background))


def growth_warnings(task: Task) -> list[str]:
    """What makes the target hard to grow in the steps of a roll-out, in sentences.

    Raises:
        UserError: no roll-out can reach all of the target, since growth moves at most one cell a step.
    """
    config, warnings = task.config, []
    body, seed = (np.asarray(array[..., 3]) > config.threshold for array in (task.target, task.seed))
    far = int(ndimage.distance_transform_cdt(~seed, "chessboard")[body].max(initial=0))
    if far > config.min_steps:
        reach = f"The target reaches {far} cells from the seed, and growth moves at most one cell a step"
        fewest = "but" if far > config.max_steps else "but some roll-outs are shorter:"
        steps = f"a roll-out has {config.min_steps} to {config.max_steps} steps"
        warnings.append(f"{reach}, {fewest} {steps}; raise --min-steps and --max-steps, or lower --size.")
        if config.regime == "growing" and far > config.max_steps:
            raise UserError(warnings[0])
    # Cells that perceive a piece may belong to it: what is further apart has nothing in common.
    _, pieces = ndimage.label(ndimage.binary_dilation(body | seed, np.ones((3, 3))), np.ones((3, 3)))
    if pieces > 1:
        warnings.append(
            f"The target and the seed are {pieces} pieces, 3 or more empty cells apart, but a cell perceives its "
            "neighbours only, and lives only next to the living: growth has to bridge the gaps with cells that the "
            "picture lacks; a picture of one piece is learned sooner."
        )
    return warnings


def _trained_rule(config: TrainConfig) -> Rule:
    """The rule of `init_from`; raises unless it has the conventions and sizes of the configuration."""
    rule = load(str(config.init_from)).rule
    actual = {**asdict(rule.spec), "hidden_size": rule.weights[0].shape[1]}
    wanted = {**asdict(config.spec), "hidden_size": config.hidden_size}
    differ = [name for name in wanted if actual[name] != wanted[name]]
    if differ:
        has, asks = (", ".join(f"{name} {values[name]}" for name in differ) for values in (actual, wanted))
        raise UserError(f"{config.init_from} has {has}; the configuration asks for {asks}: set them to match.")
    return rule


def _check_loss(task: Task) -> None:
    """Raise `UserError` where the loss of a configuration is no function, or gives no number for each sample."""
    if isinstance(task.config.loss, str):
        raise UserError(
            f"This run was trained with the loss {task.config.loss}, a function of which only the name is kept; "
            "resume it in Python: nca.train(TrainConfig(..., loss=FUNCTION), FOLDER, resume=True)."
        )
    batch = jax.ShapeDtypeStruct((task.config.batch_size, *task.seed.shape), jnp.float32)
    shape = jax.eval_shape(partial(_sample_loss, task.config), task.target, batch)
    if getattr(shape, "shape", None) != batch.shape[:1] or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise UserError(f"A loss gives one number for each sample, so an array of {batch.shape[:1]}; got {shape}.")


def _check_kernel(config: TrainConfig, rule: Rule) -> None:
    """Raise `UserError` where the kernel or precision of a configuration is not available."""
    platform = jax.default_backend()
    if config.kernel == "pallas":
        if not has_kernel(rule):
            raise UserError(
                "The fused kernel needs sobel, sobel-laplacian, laplacian or isotropic perception, two layers and no "
                f"exact gelu; this rule has {rule.spec.perception}, {len(rule.weights)} layers and "
                f"{rule.spec.activation}: train it with --kernel xla."
            )
        if platform != "gpu":
            raise UserError(f"--kernel pallas needs a GPU, and jax finds {platform} only: use --kernel xla.")
    if config.precision == "bfloat16" and platform == "cpu":
        raise UserError("--precision bfloat16 needs a GPU or TPU; a CPU would silently compute in float32.")


def _row_capacities(config: TrainConfig, rule: Rule, padded: Array) -> tuple[int, ...]:
    """Rows for the sparse step, from the active cells of a batch of complete bodies; empty for the dense step.

    Spare rows cost as much as used ones, so there are more choices near the size of a complete body.
    """
    if config.dense or jax.default_backend() != "cpu":
        return ()
    body = jnp.zeros((*padded.shape[:2], rule.spec.channels)).at[..., rule.spec.alpha].set(padded[..., 3])
    all_fire = jnp.ones((1, *padded.shape[:2]), bool)
    rows = config.batch_size * config.fire_rate * int(active_cells(rule, alive(rule, body)[None], all_fire).sum())
    return tuple(int(np.ceil(share * rows / 128)) * 128 for share in CAPACITIES)


class _Average(NamedTuple):
    """The moving average of the parameters, a part of the optimizer's state."""

    parameters: Any


def optimizer(config: TrainConfig) -> optax.GradientTransformationExtraArgs:
    """Muon (Jordan et al. 2024) or Adam on gradients divided by their own norm; `update` takes `lr_factor`."""
    rate = optax.constant_schedule(config.learning_rate)  # a schedule, since its count is in earlier checkpoints
    parts = [
        optax.stateless_with_tree_map(lambda g, _: g / (jnp.linalg.norm(g) + 1e-8)),
        optax.contrib.muon(rate) if config.optimizer == "muon" else optax.adam(rate),
        optax.GradientTransformationExtraArgs(
            lambda parameters: optax.EmptyState(),
            lambda updates, state, parameters, *, lr_factor=1.0: (
                jax.tree.map(lambda u: u * lr_factor, updates),
                state,
            ),
        ),
    ]
    if config.ema_decay:
        parts.append(_average(config.ema_decay))
    return optax.chain(*parts)


def _average(decay: float) -> optax.GradientTransformation:
    """Keeps the exponential moving average of the parameters; the updates stay as they are."""

    def update(updates: Any, state: _Average, parameters: Any) -> tuple[Any, _Average]:
        after = optax.apply_updates(parameters, updates)
        return updates, _Average(optax.incremental_update(after, state.parameters, 1 - decay))

    return optax.GradientTransformation(lambda parameters: _Average(jax.tree.map(jnp.copy, parameters)), update)


def training_phase(config: TrainConfig, step: int) -> Phase:
    """The phase of a training step, from 0.

    Runs from random weights start with the growing and persistent stages, whatever their regime; runs from a trained
    organism skip the growing one. Then the wounded samples rise from 1 to `damage_per_batch`.
    """
    growing = 0 if config.init_from else round(config.growing_share * config.steps)
    wounding_step = step - growing - round(config.persistent_share * config.steps)
    seeds = config.reseed_per_batch if config.regime != "growing" and step >= growing else config.batch_size
    share = min((wounding_step + 1) / max(config.damage_ramp_share * config.steps, 1), 1) if wounding_step >= 0 else 0.0
    wounds = int(np.ceil(share * config.wounded_per_batch))
    start = config.lr_drop_step or config.steps // 2
    fallen = max(step - start, 0) / max(config.steps - start, 1) if config.lr_schedule == "linear" else step >= start
    return Phase(np.int32(seeds), np.int32(wounds), np.float32(1 - (1 - config.lr_drop_factor) * fallen))


# --- One step ---


def advance_batch(task: Task, parameters: Any, states: Array, key: Array, t: Array) -> Array:
    """Step t of a batch of roll-outs, (sample, y, x, channel)."""
    rule = task.rule(parameters)
    fires = jax.random.uniform(jax.random.fold_in(key, t), states.shape[:3], jnp.float32) <= rule.spec.fire_rate
    half = task.config.precision == "bfloat16"
    if task.config.kernel == "pallas":
        return fused_step(rule, states, fires, bfloat16=half)
    with jax.default_matmul_precision("BF16_BF16_F32") if half else nullcontext():  # of the gradient's products too
        if task.capacities and sparse_is_exact(rule):
            return sparse_step(rule, states, fires, task.capacities)
        return jax.vmap(partial(dense_step, rule))(states, fires)


def sample_mse(target: Float[Array, "y x 4"], states: Float[Array, "sample y x channel"]) -> Float[Array, " sample"]:
    """Mean squared error of each sample's RGBA to the target, without clipping."""
    return jnp.mean((states[..., :4] - target) ** 2, axis=(1, 2, 3))


def _sample_loss(
    config: TrainConfig, target: Float[Array, "y x 4"], states: Float[Array, "sample y x channel"]
) -> Array:
    """The loss of each sample: the configuration's own, or the mean squared error."""
    return config.loss(states, target) if callable(config.loss) else sample_mse(target, states)


def _draw_batch(
    task: Task, target: Array, pool: Array, key: Array, phase: Phase
) -> tuple[Int[Array, " sample"], Float[Array, "sample y x channel"]]:
    """Pool indices and start states of a batch, in order of falling loss: seeds, old states, wounded states."""
    config = task.config
    if config.regime == "growing":
        seeds = jnp.broadcast_to(task.seed, (config.batch_size, *task.seed.shape))
        return jnp.arange(config.batch_size), seeds
    draw_key, wound_key = jax.random.split(key)
    indices = jax.random.choice(draw_key, pool.shape[0], (config.batch_size,), replace=False)
    worst_first = jnp.argsort(-_sample_loss(config, target, pool[indices]))
    indices = indices[worst_first]
    ranks = jnp.arange(config.batch_size)
    states = jnp.where((ranks < phase.seeds)[:, None, None, None], task.seed, pool[indices])
    if config.wounded_per_batch:
        keys = jax.random.split(wound_key, config.wounded_per_batch)
        wounds = jax.vmap(lambda k: random_wound(k, config.canvas, config.wounds))(keys)
        wounds &= (ranks[-config.wounded_per_batch :] >= config.batch_size - phase.wounds)[:, None, None]
        states = states.at[-config.wounded_per_batch :].multiply(~wounds[..., None])
    return indices, states


def _gradient_step(
    task: Task,
    target: Array,
    parameters: Any,
    optimiser: Any,
    states: Array,
    keys: tuple[Array, Array],
    lr_factor: Array,
) -> tuple[Any, Any, Array, Metrics]:
    """Parameters and optimiser after one step on a batch, the end states of its roll-outs, and the metrics.

    Args:
        task: what is fixed.
        target: the padded picture.
        parameters: of the rule.
        optimiser: its state.
        states: start states of the batch.
        keys: of the number of steps, and of the fire masks.
        lr_factor: of the learning rate.
    """
    if task.sharding is not None:
        states = jax.lax.with_sharding_constraint(states, task.sharding)
    length_key, fire_key = keys
    steps = jax.random.randint(length_key, (), task.config.min_steps, task.config.max_steps + 1)

    def loss(parameters: Any) -> tuple[Array, Array]:
        ends = unroll(partial(advance_batch, task), task.config.max_steps, parameters, states, fire_key, steps)
        return jnp.mean(_sample_loss(task.config, target, ends)), ends

    (error, ends), gradients = jax.value_and_grad(loss, has_aux=True)(parameters)
    updates, optimiser = optimizer(task.config).update(gradients, optimiser, parameters, lr_factor=lr_factor)
    body = mature(task.rule(parameters), ends)
    parameters = optax.apply_updates(parameters, updates)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)]).all()
    metrics = {
        "loss": error,
        "dead": jnp.sum(~body.any(axis=(1, 2))),
        "max_abs": jnp.max(jnp.abs(ends)),
        "finite": jnp.isfinite(error) & finite & jnp.isfinite(ends).all(),
    }
    return parameters, optimiser, ends, metrics


def train_step(task: Task, state: TrainState, key: Array, phase: Phase | None = None) -> tuple[TrainState, Metrics]:
    """The train state after one step, and its metrics.

    Args:
        task: what is fixed.
        state: the train state before.
        key: of the batch, the number of steps and the fire masks.
        phase: where the step stands in the course of training; that of the first step if none.

    Returns:
        metrics: loss (mean over the batch), dead (number of samples without a mature cell), max_abs (largest
        absolute value of any end state), finite (whether loss, parameters and end states are).
    """
    phase = training_phase(task.config, 0) if phase is None else phase
    batch_key, length_key, fire_key = jax.random.split(key, 3)
    indices, states = _draw_batch(task, task.target, state.pool, batch_key, phase)
    parameters, optimiser, ends, metrics = _gradient_step(
        task, task.target, state.parameters, state.optimiser, states, (length_key, fire_key), phase.lr_factor
    )
    return TrainState(parameters, optimiser, state.pool.at[indices].set(ends)), metrics


def step_key(seed: Array | int, rollbacks: Array | int, step: Array | int) -> Array:
    """The key of a training step; each rollback changes the keys of all later steps."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), rollbacks + 1), step)


def compile_step(task: Task) -> Callable[..., tuple[TrainState, Metrics]]:
    """`train_step` of one task, compiled once; it reuses the buffers of the state that it is given."""
    return jax.jit(partial(train_step, task), donate_argnums=0)


def compile_population_step(task: Task, targets: Array, mesh: Mesh) -> Callable[..., tuple[TrainState, Metrics]]:
    """`train_step` of all members of a population, compiled once.

    On a GPU the members are computed side by side (vmap), on a CPU one after another, so that each computes its
    own active cells only. Each device computes its share of the members.

    Args:
        task: what is fixed, the same for all members but for the target.
        targets: padded pictures, (member, y, x, 4).
        mesh: devices, on an axis "member".

    Returns:
        A function of states, seeds, rollbacks, steps, phases and active, each with a first axis "member", to states and
        metrics. Members that are not active stay as they are.
    """
    one_by_one = jax.default_backend() == "cpu"

    def member_step(inputs: tuple[Any, ...]) -> Any:
        target, parameters, optimiser, states, keys, lr_factor, active = inputs

        def step() -> Any:
            return _gradient_step(task, target, parameters, optimiser, states, (keys[0], keys[1]), lr_factor)

        idle: Metrics = {"loss": jnp.float32(0), "dead": jnp.int32(0), "max_abs": jnp.float32(0)}
        idle["finite"] = jnp.bool_(True)
        return jax.lax.cond(active, step, lambda: (parameters, optimiser, states, idle))

    def device_step(
        state: TrainState, targets: Array, seeds: Array, rollbacks: Array, steps: Array, phase: Phase, active: Array
    ) -> Any:
        keys = jax.vmap(lambda *k: jax.random.split(step_key(*k), 3))(seeds, rollbacks, steps)
        indices, states = jax.vmap(partial(_draw_batch, task))(targets, state.pool, keys[:, 0], phase)
        inputs = (targets, state.parameters, state.optimiser, states, keys[:, 1:], phase.lr_factor, active)
        map_members = jax.lax.map if one_by_one else lambda f, x: jax.vmap(f)(x)
        parameters, optimiser, ends, metrics = map_members(member_step, inputs)
        indices = jnp.where(active[:, None], indices, state.pool.shape[1])
        pool = jax.vmap(lambda p, i, e: p.at[i].set(e, mode="drop"))(state.pool, indices, ends)
        return TrainState(parameters, optimiser, pool), metrics

    spread = jax.shard_map(device_step, mesh=mesh, in_specs=MEMBERS, out_specs=MEMBERS, check_vma=False)
    program = jax.jit(spread, donate_argnums=0)
    return lambda state, *inputs: program(state, targets, *inputs)

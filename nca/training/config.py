"""The training configuration: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, Literal, Self

from nca.errors import UserError
from nca.files import DamagedError, describe_error, read_bytes, read_json, reading
from nca.spec import Spec
from nca.validation import check_at_least, convert_to_tuples
from nca.versions import modern_keys

Regime = Literal["growing", "persistent", "regenerating"]
TrackerName = Literal["none", "tensorboard", "wandb"]
REGIMES: tuple[Regime, ...] = ("growing", "persistent", "regenerating")
WOUNDS = ("disc", "half", "core")
CONFIG_FILE = "config.json"
TARGET_FILE = "target.safetensors"
_MAX_SNAPSHOTS = 10_000
_MAX_TARGET_BYTES = 2**23
_MAX_NAME = 200  # bytes; systems allow 255, of which suffixes and temporary names take some
# Largest values, beyond which nothing could be computed.
_MOST = {"size": 512, "margin": 512, "channels": 1024, "hidden_size": 2**16, "batch_size": 2**16, "max_steps": 10_000}


_CHOICES = {
    "optimizer": ("muon", "adam"),
    "lr_schedule": ("linear", "step"),
    "kernel": ("xla", "pallas"),
    "precision": ("float32", "bfloat16"),
}
# What earlier versions did not know, and what else distinguishes the published recipe from the fast one.
_ONE_STAGE: dict[str, Any] = {
    "growing_share": 0.0,
    "persistent_share": 0.0,
    "damage_ramp_share": 0.0,
    "optimizer": "adam",
    "lr_schedule": "step",
    "ema_decay": 0.0,
}
PUBLISHED: dict[str, Any] = {
    "regime": "growing",
    "steps": 8000,
    "margin": 16,
    "pool_size": 1024,
    "wounds": ("disc",),
    "learning_rate": 2e-3,
    "lr_drop_step": 2000,
    "lr_drop_factor": 0.1,
    **_ONE_STAGE,
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train an organism; the defaults are the fast recipe, `TrainConfig.published` has the published one.

    The fast recipe trains in stages: on roll-outs from the seed, then on a pool of end states, then with more and
    more wounds. It uses Muon and averages the weights, and takes a sixth of the published recipe's steps.

    Attributes:
        target: a drawing's name, a picture file, an emoji character, or an array (y, x, 4) of red, green, blue and
            alpha in 0..1, a pixel a cell, the colours multiplied by alpha. An array sets `size` to its longer side;
            `target` then is a name, `array-` and eight digits of its hash, that carries the array.
        start: picture that growth starts from, named as the target is and scaled to the same size; one cell if none.
        regime: growing (every roll-out starts from the seed), persistent (from a pool of end states) or
            regenerating (from the pool, with wounds).
        steps: number of training steps.
        init_from: organism (name or file) whose weights to start from; random weights if none.
        seed: seed of all random numbers.
        size: longer side of the target picture, in cells.
        margin: empty cells on each side of the picture.
        background: colour to remove from a picture without alpha, or "auto".
        batch_size: roll-outs per training step.
        pool_size: number of end states in the pool.
        growing_share: share of the training steps, the first ones, in which every roll-out starts from the seed; a
            run that starts from a trained organism skips them.
        persistent_share: share of the training steps, the next ones, in which nothing is wounded.
        damage_ramp_share: share of the training steps, the next ones, over which the wounded samples of a batch rise
            from 1 to damage_per_batch.
        reseed_per_batch: number of samples of a batch, those with the highest loss, that are replaced by the seed.
        damage_per_batch: number of samples of a batch, those with the lowest loss, that are wounded; regenerating only.
        wounds: kinds of wound, drawn at random: disc (published), half (a half plane), core (a disc near
            the centre).
        min_steps: fewest steps of a roll-out.
        max_steps: most steps of a roll-out.
        optimizer: muon (Adam for all variables but matrices) or adam.
        learning_rate: learning rate of the optimizer.
        lr_schedule: step (the learning rate drops at once) or linear (it falls until the last step).
        lr_drop_step: training step from which the learning rate drops or falls; 0 for half of all steps.
        lr_drop_factor: learning rate after the drop or fall, as a share of that before.
        ema_decay: decay per training step of the moving average of the weights, which the organism gets; with 0 it gets
            the last weights.
        channels: channels of a cell's state.
        hidden_size: hidden units of the rule.
        perception: sobel, laplacian, isotropic, sobel-laplacian, steered or learned.
        steer: channel that holds the angle; steered perception only.
        fire_rate: probability that a cell updates in a step.
        threshold: alpha above which a cell is alive.
        boundary: what cells at the edge of the canvas perceive beyond it: zero or circular.
        log_every: training steps between rows of metrics.
        save_every: training steps between checkpoints; training resumes from the last one, or rolls back to it.
        plot_every: training steps between pictures of the pool, the first of which comes at step 50; 0 for none.
        snapshots: training steps at which to save the organism: "" for none, "log" for 0, 1, 2, 5, 10, 20, 50 and so
            on, a number n for every n steps, or a list such as 100,200,400.
        max_rollbacks: number of rollbacks after which training gives up.
        max_abs_state: largest absolute state value; a state beyond it counts as exploded.
        dense: compute every cell in every step (slower on a CPU; the default on a GPU).
        deterministic: on a GPU, compute in an order that repeats to the bit, which may be slower.
        kernel: on a GPU, how a step is computed: xla, or pallas, one fused kernel (not measured here;
            see docs/gpu.md).
        precision: precision of products on a GPU: float32, or bfloat16 with float32 sums and states (not
            measured here).
        loss: a function `(states, target)` of jax arrays, (sample, y, x, channel) and the padded picture (y, x, 4),
            to the loss of each sample, (sample,); the mean squared error of RGBA to the target if none. In files
            stands its name.
    """

    target: Any = "lizard"
    start: str | None = None
    regime: Regime = "regenerating"
    steps: int = 2500
    init_from: str | None = None
    seed: int = 0
    size: int = 40
    margin: int = 8
    background: str | None = None
    batch_size: int = 8
    pool_size: int = 256
    growing_share: float = 0.12
    persistent_share: float = 0.12
    damage_ramp_share: float = 0.4
    reseed_per_batch: int = 1
    damage_per_batch: int = 3
    wounds: tuple[str, ...] = ("disc", "half", "half", "core")
    min_steps: int = 64
    max_steps: int = 95
    optimizer: Literal["muon", "adam"] = "muon"
    learning_rate: float = 1e-2
    lr_schedule: Literal["linear", "step"] = "linear"
    lr_drop_step: int = 0
    lr_drop_factor: float = 0.02
    ema_decay: float = 0.98
    channels: int = 16
    hidden_size: int = 128
    perception: str = "sobel"
    steer: int | None = None
    fire_rate: float = 0.5
    threshold: float = 0.1
    boundary: str = "zero"
    log_every: int = 10
    save_every: int = 200
    plot_every: int = 250
    snapshots: str = ""
    max_rollbacks: int = 10
    max_abs_state: float = 1e3
    dense: bool = False
    deterministic: bool = False
    kernel: Literal["xla", "pallas"] = "xla"
    precision: Literal["float32", "bfloat16"] = "float32"
    loss: Callable[..., Any] | str | None = None

    def __post_init__(self) -> None:
        self._take_target()
        if self.regime not in REGIMES:
            raise UserError(f"regime must be one of {', '.join(REGIMES)}; got {self.regime!r}.")
        if (size := len(self.run_name.encode(errors="replace"))) > _MAX_NAME:
            raise UserError(f"The target has a name that makes file names of {size} bytes; give it a shorter one.")
        check_at_least(1, self, "steps", "batch_size", "pool_size", "min_steps", "hidden_size")
        check_at_least(1, self, "log_every", "save_every")
        for name, value in vars(self).items():
            if isinstance(value, int) and value >= 2**31:
                raise UserError(f"{name} must be at most {2**31 - 1}, got {value}.")
            if name in _MOST and value > _MOST[name]:
                raise UserError(f"{name} must be at most {_MOST[name]}, got {value}.")
        check_at_least(0, self, "margin", "plot_every", "max_rollbacks", "reseed_per_batch", "damage_per_batch", "seed")
        check_at_least(0, self, "growing_share", "persistent_share", "damage_ramp_share", "lr_drop_step")
        shares = (self.growing_share, self.persistent_share, self.damage_ramp_share)
        if sum(shares) > 1:
            raise UserError(
                f"growing_share, persistent_share and damage_ramp_share must sum to at most 1, got {shares}."
            )
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay must be 0 or more and below 1, got {self.ema_decay}.")
        for name in ("learning_rate", "lr_drop_factor", "max_abs_state"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be a number above 0, got {getattr(self, name)}.")
        if self.channels < 4 or not 0 < self.fire_rate <= 1:
            raise UserError(
                f"Training needs at least 4 channels and a fire rate above 0 and up to 1; "
                f"got {self.channels} and {self.fire_rate}."
            )
        if self.max_steps < self.min_steps:
            raise UserError(f"max_steps ({self.max_steps}) must not be below min_steps ({self.min_steps}).")
        if self.regime != "growing" and self.pool_size < self.batch_size:
            raise UserError(f"pool_size ({self.pool_size}) must not be below batch_size ({self.batch_size}).")
        if self.reseed_per_batch + self.wounded_per_batch > self.batch_size:
            raise UserError(
                f"A batch of {self.batch_size} cannot hold {self.reseed_per_batch} seeds and "
                f"{self.wounded_per_batch} wounded samples; lower --reseed-per-batch or --damage-per-batch."
            )
        convert_to_tuples(self, "wounds")
        if not self.wounds or set(self.wounds) - set(WOUNDS):
            raise UserError(f"wounds must be of {', '.join(WOUNDS)}; got {self.wounds!r}.")
        _ = self.snapshot_steps
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be {' or '.join(choices)}; got {getattr(self, name)!r}.")

    def _take_target(self) -> None:
        """Give an array a name that carries it, and `size` its longer side; make a path a text."""
        if isinstance(self.target, os.PathLike):
            object.__setattr__(self, "target", os.fspath(self.target))
        elif not isinstance(self.target, str):
            from nca.targets.pictures import ArrayTarget

            object.__setattr__(self, "target", ArrayTarget(self.target))
        side = self.size if type(self.target) is str else self.target.pixels.shape[0]
        if self.size not in (side, type(self).size):
            raise UserError(f"size is {self.size}, but the target is an array of {side} cells; leave size out.")
        object.__setattr__(self, "size", side)

    @classmethod
    def published(cls, **changes: Any) -> Self:
        """The recipe of Mordvintsev et al. (2020), with changes.

        Args:
            **changes: fields that differ from it, by name.
        """
        return cls(**(PUBLISHED | changes))

    @property
    def run_name(self) -> str:
        """TARGET-REGIME-SEED: the name of the organism, and of the run folder where none is given."""
        return f"{Path(self.target).stem}-{self.regime}-{self.seed}"

    @property
    def wounded_per_batch(self) -> int:
        """Samples of a batch that are wounded: `damage_per_batch` if regenerating, else 0."""
        return self.damage_per_batch if self.regime == "regenerating" else 0

    @property
    def canvas(self) -> tuple[int, int]:
        """The grid of a roll-out, (y, x) in cells."""
        return (self.size + 2 * self.margin,) * 2

    @property
    def spec(self) -> Spec:
        """The conventions of the rule."""
        names = ("channels", "perception", "steer", "fire_rate", "threshold", "boundary")
        return Spec(**{name: getattr(self, name) for name in names}, alive_boundary=self.boundary)

    @property
    def snapshot_steps(self) -> frozenset[int]:
        """The training steps at which the organism is saved, as `snapshots` asks for.

        Raises:
            UserError: `snapshots` cannot be read.
        """
        if self.snapshots == "":
            return frozenset()
        if self.snapshots == "log":
            powers = {m * 10**p for m in (1, 2, 5) for p in range(8)} | {0}
            return frozenset(step for step in powers if step <= self.steps)
        try:
            numbers = [int(n) for n in self.snapshots.split(",")]
        except ValueError:
            numbers = [-1]
        if min(numbers) < 0 or numbers == [0]:
            raise UserError(
                f'snapshots must be "", "log", a number of steps or a list of steps; got {self.snapshots!r}.'
            )
        if len(numbers) == 1 and self.steps // numbers[0] > _MAX_SNAPSHOTS:
            raise UserError(f"snapshots every {numbers[0]} steps are more than {_MAX_SNAPSHOTS}; take fewer.")
        if len(numbers) == 1:
            return frozenset(range(0, self.steps + 1, numbers[0]))
        return frozenset(step for step in numbers if step <= self.steps)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values; of a loss its name, of an array as target the name with its hash."""
        loss = self.loss
        if callable(loss):
            loss = f"{loss.__module__}.{getattr(loss, '__qualname__', type(loss).__qualname__)}"
        return vars(self) | {"target": str(self.target), "loss": loss}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TrainConfig:
        """The config of these fields, also under the names of earlier versions.

        Raises:
            UserError: a field is unknown, or holds an impossible value.
        """
        try:
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in modern_config(fields).items()
            }
            for field in dataclass_fields(cls):
                _check_type(field.name, field.default, values.get(field.name, field.default))
            return cls(**values)
        except UserError:
            raise
        except Exception as error:  # values from a file may be of any type
            raise UserError(f"The training configuration cannot be read: {describe_error(error)}.") from error


def _check_type(name: str, default: Any, value: Any) -> None:
    """Raise `UserError` where a field read from a file is of another type than its default."""
    wider: dict[type, tuple[Any, ...]] = {float: (float, int), type(None): (str, int, type(None))}
    kinds = wider.get(type(default), (type(default),))
    if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise UserError(f"{name} of a training configuration cannot be {str(value)[:30]!r}.")


def modern_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration read from a file; earlier versions knew only variants of the published recipe."""
    modern = {"start": None, "loss": None} | modern_keys(fields, "config")
    return modern if _ONE_STAGE.keys() & modern.keys() else PUBLISHED | modern


def read_config(folder: Path) -> TrainConfig:
    """The configuration of the run in a folder, with its target where that was given as an array."""
    with reading(folder / CONFIG_FILE, "is no training configuration"):
        config = TrainConfig.from_json(read_json(folder / CONFIG_FILE, dict))
    path = folder / TARGET_FILE
    if not (config.target.startswith("array-") and path.is_file()):
        return config
    from safetensors.numpy import load

    with reading(path, "is not the target of this run"):
        given = replace(config, target=load(read_bytes(path, _MAX_TARGET_BYTES))["target"])
        if given.target != config.target:
            raise DamagedError(f"it is not {config.target}.")
    return given

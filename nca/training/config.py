"""The training recipe: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from nca.errors import UserError
from nca.validation import as_tuples, at_least

Regime = Literal["growing", "persistent", "regenerating"]
REGIMES: tuple[Regime, ...] = ("growing", "persistent", "regenerating")
WOUNDS = ("disc", "half", "core")


@dataclass(frozen=True)
class TrainConfig:
    """How to train an organism; the defaults are the published recipe (Mordvintsev et al. 2020).

    Attributes:
        target: a drawing's name, a picture file, or an emoji character.
        regime: growing (always from the seed), persistent (from a pool of end states) or
            regenerating (the pool, with wounds).
        steps: training steps.
        start: organism (name or file) whose weights to begin from; none begins anew.
        seed: number that all randomness follows from.
        size: longer side of the picture, in cells.
        margin: empty cells on each side of it.
        background: colour to remove from a picture without alpha, or "auto".
        batch: roll-outs per training step.
        pool: end states kept.
        seeds: worst samples of a batch replaced by a seed.
        damaged: best samples of a batch wounded, when regenerating.
        wounds: kinds of wound, drawn at random: disc (published), half (a half plane), core (the
            middle).
        shortest: fewest steps of a roll-out.
        longest: most steps of a roll-out.
        rate: learning rate of Adam.
        drop_at: training step at which the rate drops.
        drop: factor of that drop.
        channels: channels of a cell's state.
        hidden: hidden units.
        perception: sobel, laplacian, isotropic, sobel-laplacian, steered or learned.
        steer: the angle's channel, for steered perception.
        fire_rate: probability that a cell updates in a step.
        threshold: alpha above which a cell is alive.
        boundary: beyond the canvas: zero or circular.
        log_every: training steps between rows of metrics.
        save_every: training steps between checkpoints, each a state to resume from or roll back to.
        sheet_every: training steps between contact sheets of the pool; 0 for none.
        keep: organisms kept along the way: "" for none, "log" at 0, 1, 2, 5, 10, 20, 50 ..., a
            number n for every n steps, or a list such as 100,200,400.
        rollbacks: failures after which training gives up.
        limit: largest absolute state that is not an explosion.
        dense: compute every cell in every step (slower on a CPU; the default on a GPU).
        deterministic: on a GPU, choose reproducible kernels.
        kernel: on a GPU, how a step is computed: xla, or pallas, one fused kernel (not measured here;
            see docs/gpu.md).
        precision: of products on a GPU: float32, or bfloat16 with float32 sums and states (not
            measured here).
    """

    target: str = "lizard"
    regime: Regime = "growing"
    steps: int = 8000
    start: str | None = None
    seed: int = 0
    size: int = 40
    margin: int = 16
    background: str | None = None
    batch: int = 8
    pool: int = 1024
    seeds: int = 1
    damaged: int = 3
    wounds: tuple[str, ...] = ("disc",)
    shortest: int = 64
    longest: int = 95
    rate: float = 2e-3
    drop_at: int = 2000
    drop: float = 0.1
    channels: int = 16
    hidden: int = 128
    perception: str = "sobel"
    steer: int | None = None
    fire_rate: float = 0.5
    threshold: float = 0.1
    boundary: str = "zero"
    log_every: int = 10
    save_every: int = 200
    sheet_every: int = 500
    keep: str = ""
    rollbacks: int = 10
    limit: float = 1e3
    dense: bool = False
    deterministic: bool = False
    kernel: Literal["xla", "pallas"] = "xla"
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise UserError(f"A regime is one of {', '.join(REGIMES)}; got {self.regime!r}.")
        at_least(1, self, "steps", "batch", "pool", "shortest", "hidden", "log_every", "save_every", "drop_at")
        for name, value in vars(self).items():
            if isinstance(value, int) and value >= 2**31:
                raise UserError(f"{name} must be at most {2**31 - 1}, got {value}.")
        for name in ("margin", "sheet_every", "rollbacks", "seeds", "damaged", "seed"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}.")
        for name in ("rate", "drop", "limit"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be a number above 0, got {getattr(self, name)}.")
        if self.channels < 4 or not 0 < self.fire_rate <= 1:
            raise UserError(
                f"Training needs at least 4 channels and a fire rate above 0 and up to 1; "
                f"got {self.channels} and {self.fire_rate}."
            )
        if self.longest < self.shortest:
            raise UserError(f"longest ({self.longest}) must not be below shortest ({self.shortest}).")
        if self.regime != "growing" and self.pool < self.batch:
            raise UserError(f"A pool of {self.pool} cannot give batches of {self.batch}; enlarge it.")
        if self.seeds + self.wounded > self.batch:
            raise UserError(f"A batch of {self.batch} cannot hold {self.seeds} seeds and {self.wounded} wounded.")
        as_tuples(self, "wounds")
        if not self.wounds or set(self.wounds) - set(WOUNDS):
            raise UserError(f"wounds are of {', '.join(WOUNDS)}; got {self.wounds!r}.")
        kept_steps(self.keep, self.steps)
        for name, known in (("kernel", ("xla", "pallas")), ("precision", ("float32", "bfloat16"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} is {' or '.join(known)}; got {getattr(self, name)!r}.")

    @property
    def wounded(self) -> int:
        """Samples of a batch that are wounded."""
        return self.damaged if self.regime == "regenerating" else 0

    @property
    def canvas(self) -> tuple[int, int]:
        """The grid trained on, in cells."""
        return (self.size + 2 * self.margin,) * 2

    def conventions(self) -> dict[str, Any]:
        """The fields that make the rule's `Spec`."""
        names = ("channels", "perception", "steer", "fire_rate", "threshold", "boundary")
        return {name: getattr(self, name) for name in names} | {"alive_boundary": self.boundary}

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> TrainConfig:
        """The config that `to_json` described."""
        try:
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            return cls(**given)
        except (AttributeError, TypeError) as error:
            raise UserError(f"A training config does not hold: {error}.") from error


def kept_steps(keep: str, steps: int) -> frozenset[int]:
    """The training steps whose organisms are kept."""
    if keep == "":
        return frozenset()
    if keep == "log":
        marks = {m * 10**p for m in (1, 2, 5) for p in range(8)} | {0}
        return frozenset(m for m in marks if m <= steps)
    try:
        numbers = [int(n) for n in keep.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0 or numbers == [0]:
        raise UserError(f'keep is "", "log", a number of steps, or a list of steps; got {keep!r}.')
    if len(numbers) == 1:
        return frozenset(range(0, steps + 1, numbers[0]))
    return frozenset(n for n in numbers if n <= steps)

"""What a lesion is: a part of the organism, a kind of harm, a dose; and the edit that makes it.

Kinds disagree about what is needed, so no conclusion rests on one. Edits are made so that one compiled
program serves as many kinds as can be: what is done once needs none, "graded" and "zero" share one,
"mean" and "clamp" another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from analysis.paired import Controls
from nca import edits
from nca.edits import Edit
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature
from nca.rollout import replay

KINDS = {
    "graded": "multiplied by 1 - dose at every step",
    "noise": "at every step, Gaussian noise of dose standard deviations, on the cells mature at the first",
    "erase": "set to zero once",
    "zero": "held at zero",
    "mean": "held at its mean over the cells mature at the first step, on those cells",
    "clamp": "held at what another run has there at the first step, on the cells mature then",
    "freeze": "its updates are left out, so that it keeps its values",
    "resample": "null: set once to what another run has there at the same step",
    "random direction": "null of erase: the same cells pushed once as far along a random hidden direction",
}
NULLS = ("resample", "random direction")
ONCE = ("erase", *NULLS)
RANDOM = 19  # random directions: the fewest that can give p of .05
PAIRED = ("clamp", "resample")  # need another run
SITES = {"channel": "state", "filter": "perception", "unit": "post", "direction": "state"}


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        part: channel, filter, unit or direction.
        target: its name.
        entries: numbers of the channels, filters or units; of a direction, its number in the scene.
        kind: one of `KINDS`.
        dose: of graded: the share lost at each step; of noise: standard deviations; else NaN.
        role: alpha, colour, hidden or marker; of a direction, component or random; of others, hidden.
    """

    part: str
    target: str
    entries: tuple[int, ...]
    kind: str
    dose: float = float("nan")
    role: str = "hidden"


@dataclass(frozen=True, eq=False)
class Scene:
    """Runs that lesions are made on.

    Attributes:
        organism: what grows.
        controls: the runs without a lesion, from its first step on.
        hidden: numbers of the hidden channels, the neutral marker not among them.
        directions: unit vectors over all channels: principal components, then random ones.
        seed: what random directions follow from.
    """

    organism: Organism
    controls: Controls
    hidden: tuple[int, ...]
    directions: Float[np.ndarray, "direction channel"]
    seed: int = 0

    @property
    def at(self) -> int:
        """The first step."""
        return int(self.controls.steps[0])

    @cached_property
    def states(self) -> Float[np.ndarray, "run y x channel"]:
        """The runs at the first step."""
        return np.asarray(self.controls.states)

    @cached_property
    def bodies(self) -> Bool[np.ndarray, "run y x"]:
        """Cells mature at the first step."""
        return np.asarray(mature(self.organism.rule, jnp.asarray(self.controls.states)))

    @cached_property
    def sites(self) -> list[dict[str, np.ndarray]]:
        """Sites of the first step of each run."""
        wanted = ("perception", "post", "update")
        found = []
        for run in range(len(self.states)):
            fire = None if self.controls.fire is None else self.controls.fire[run, 0]
            given: dict[str, Any] = {"key": self.controls.keys[run]} if fire is None else {"fire": fire}
            made = replay(self.organism, self.controls.states[run], self.at, **given)
            grid = self.states.shape[1:3]
            found.append({site: np.asarray(made[site]).reshape(*grid, -1) for site in wanted})
        return found

    @cached_property
    def spreads(self) -> Float[np.ndarray, " direction"]:
        """The share of the hidden channels' variance, over the cells of all bodies, along each direction."""
        cells = self.states[self.bodies].astype(np.float64)
        whole = cells[:, list(self.hidden)].var(0).sum()
        return (cells @ self.directions.T).var(0) / whole if whole > 0 else np.zeros(len(self.directions))

    def values(self, site: str, run: int) -> np.ndarray:
        """A site of the first step, (y, x, entry)."""
        return self.states[run] if site == "state" else self.sites[run][site]

    def means(self, site: str, run: int) -> Float[np.ndarray, " entry"]:
        """Means over the cells mature at the first step."""
        if not self.bodies[run].any():
            raise UserError(f"A mean over the body needs a body; run {run} has none at step {self.at}.")
        return self.values(site, run)[self.bodies[run]].mean(0)


def scene(organism: Organism, controls: Controls, marker: int | None = None, seed: int = 0) -> Scene:
    """Runs that lesions are made on, with the principal components of their bodies' hidden states.

    Args:
        organism: what grows.
        controls: the runs without a lesion.
        marker: number of the neutral channel, which is no part of the organism.
        seed: what random directions follow from.
    """
    names = organism.rule.channel_names
    hidden = tuple(n for n, name in enumerate(names) if role(name) == "hidden" and n != marker)
    states = np.asarray(controls.states)
    cells = states[np.asarray(mature(organism.rule, jnp.asarray(states)))][:, list(hidden)].astype(np.float64)
    whole = np.isfinite(cells).all() and len(cells) > 1
    components = np.eye(len(hidden))
    if whole and hidden:
        components = np.linalg.eigh(np.cov(cells.T).reshape(len(hidden), -1))[1].T[::-1]
    drawn = np.random.default_rng(seed).standard_normal((RANDOM, len(hidden)))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    directions = np.zeros((len(components) + len(drawn), len(names)))
    directions[:, list(hidden)] = np.concatenate([components, drawn])
    return Scene(organism, controls, hidden, directions, seed)


def role(channel: str) -> str:
    """What a channel is for: alpha keeps cells alive and colour is what E sees, so their lesions are no
    evidence about the hidden ones."""
    return "hidden" if channel.startswith("h") else "alpha" if channel == "alpha" else "colour"


def edit_of(scene: Scene, lesion: Lesion, run: int) -> Edit:
    """The edit that makes a lesion in a run.

    Raises:
        UserError: a kind that this part does not know, or one that needs a second run.
    """
    makers = _CHANNEL if lesion.part == "channel" else _DIRECTION if lesion.part == "direction" else _INNER
    if lesion.kind not in makers:
        raise UserError(f"A {lesion.part} can be {', '.join(makers)}; got {lesion.kind!r}.")
    if lesion.kind in PAIRED and len(scene.states) < 2:
        raise UserError(f"{lesion.kind} takes values from another run; give two runs or more.")
    made = makers[lesion.kind](scene, lesion, run)
    return made.at(scene.at) if lesion.kind in ONCE else made.at(slice(scene.at, None))


def touched(scene: Scene, edit: Edit, run: int) -> int:
    """Cells of the body whose values an edit changes at its first step."""
    values = scene.values(edit.site, run)
    after = edits.apply([edit], edit.site, jnp.asarray(values), scene.at, scene.controls.keys[run])
    return int(((np.asarray(after) != values).any(-1) & scene.bodies[run]).sum())


def _graded(scene: Scene, lesion: Lesion, run: int) -> Edit:
    return edits.scale(scene.organism, 1 - lesion.dose, channels=lesion.entries)


def _zero(scene: Scene, lesion: Lesion, run: int) -> Edit:
    return edits.scale(scene.organism, 0.0, channels=lesion.entries)


def _noise(scene: Scene, lesion: Lesion, run: int) -> Edit:
    (channel,) = lesion.entries
    body = scene.bodies[run]
    spread = float(scene.states[run][body][:, channel].std()) if body.any() else 0.0
    return edits.noise(scene.organism, lesion.dose * spread, channels=channel).where(body)


def _erase(scene: Scene, lesion: Lesion, run: int) -> Edit:
    return edits.erase(scene.organism, channels=lesion.entries)


def _mean(scene: Scene, lesion: Lesion, run: int) -> Edit:
    value = np.broadcast_to(scene.means("state", run), scene.states[run].shape)
    return edits.clamp(scene.organism, value, channels=lesion.entries).where(scene.bodies[run])


def _clamp(scene: Scene, lesion: Lesion, run: int) -> Edit:
    donor = scene.states[(run + 1) % len(scene.states)]
    return edits.clamp(scene.organism, donor, channels=lesion.entries).where(scene.bodies[run])


def _freeze(scene: Scene, lesion: Lesion, run: int) -> Edit:
    return edits.freeze(scene.organism, channels=lesion.entries)


def _resample(scene: Scene, lesion: Lesion, run: int) -> Edit:
    donor = scene.states[(run + 1) % len(scene.states)]
    return edits.clamp(scene.organism, donor, channels=lesion.entries)


def _push(scene: Scene, lesion: Lesion, run: int) -> Edit:
    """Push each cell as far as its erasure would, along a direction drawn for this lesion and run."""
    state = scene.states[run]
    if lesion.part == "direction":
        lost = (state - scene.means("state", run)) @ scene.directions[lesion.entries[0]] * scene.bodies[run]
    else:
        lost = np.linalg.norm(state[..., list(lesion.entries)], axis=-1)
    draw = np.random.default_rng([scene.seed, run, *lesion.entries])
    among = list(scene.hidden or range(state.shape[-1]))
    direction = np.zeros(state.shape[-1])
    direction[among] = draw.standard_normal(len(among))
    push = lost[..., None] * direction / np.linalg.norm(direction)
    return edits.add(scene.organism, push.astype(np.float32))


def _inner(scene: Scene, lesion: Lesion) -> dict[str, Any]:
    named = "units" if lesion.part == "unit" else "filters"
    return {"site": SITES[lesion.part], named: lesion.entries}


def _inner_graded(scene: Scene, lesion: Lesion, run: int) -> Edit:
    return edits.scale(scene.organism, 1 - lesion.dose, **_inner(scene, lesion))


def _inner_zero(scene: Scene, lesion: Lesion, run: int) -> Edit:
    size = scene.values(SITES[lesion.part], run).shape[-1]
    everywhere = np.ones(scene.states.shape[1:3], bool)
    return edits.clamp(scene.organism, np.zeros(size), **_inner(scene, lesion)).where(everywhere)


def _inner_mean(scene: Scene, lesion: Lesion, run: int) -> Edit:
    made = edits.clamp(scene.organism, scene.means(SITES[lesion.part], run), **_inner(scene, lesion))
    return made.where(scene.bodies[run])


def _along(keep: float, scene: Scene, lesion: Lesion, run: int) -> Edit:
    direction = scene.directions[list(lesion.entries)]
    return edits.project(scene.organism, direction, scene.means("state", run), keep)


Maker = Callable[[Scene, Lesion, int], Edit]
_CHANNEL: dict[str, Maker] = {
    "graded": _graded,
    "noise": _noise,
    "erase": _erase,
    "zero": _zero,
    "mean": _mean,
    "clamp": _clamp,
    "freeze": _freeze,
    "resample": _resample,
    "random direction": _push,
}
_INNER: dict[str, Maker] = {"graded": _inner_graded, "zero": _inner_zero, "mean": _inner_mean}
_DIRECTION: dict[str, Maker] = {
    "graded": lambda scene, lesion, run: _along(1 - lesion.dose, scene, lesion, run),
    "erase": lambda scene, lesion, run: _along(0.0, scene, lesion, run),
    "random direction": _push,
}

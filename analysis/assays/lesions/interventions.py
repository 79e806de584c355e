"""What a lesion is: a target, an intervention and a dose; and the edit that carries it out.

Interventions disagree about what is needed, so no conclusion rests on one of them. They are written so that one
compiled program serves as many of them as possible: an intervention that acts once needs no program of its own,
"partial" and "zero" share one, "mean" and "clamp" another.

Every lesion assay also ablates a control channel, which each cell writes and none reads (`add_control_channel`):
whatever is done to it must change nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from analysis import metrics
from analysis.paired import Controls, EditedRun, run_edited
from analysis.rollouts import Tick
from nca import edits
from nca.edits import Edit
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature
from nca.rollout import replay
from nca.rule import Rule
from nca.spec import hidden_channels

INTERVENTIONS = {
    "partial": "multiplied by 1 − dose at every step",
    "noise": "Gaussian noise of dose standard deviations added at every step, to the cells mature at the first",
    "erase": "set to zero once",
    "zero": "held at zero",
    "mean": "held at its mean over the cells mature at the first step, on those cells",
    "clamp": "held at what another run has there at the first step, on the cells mature then",
    "freeze": "left without updates, so that it keeps its values",
    "resample": "set once to what another run has there at the same step (a null of erase)",
    "random-direction": "the same cells changed once by as much along a random direction of the hidden channels "
    "(a null of erase)",
}
ONCE = ("erase", "resample", "random-direction")  # the others last from the first step on
TWO_RUNS = ("clamp", "resample")  # take values from another run
RANDOM_DIRECTIONS = 19  # the fewest that can give p = 0.05
_BY_TARGET = {
    "channel": tuple(INTERVENTIONS),
    "direction": ("partial", "erase", "random-direction"),
    "filter": ("partial", "zero", "mean"),
    "units": ("partial", "zero", "mean"),
    "unit": ("partial", "zero", "mean"),
}
_SITES = {"filter": "perception", "units": "post", "unit": "post"}
_COUNT_PER_UPDATE = 0.01  # what a cell adds to its control channel at every update


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        target_type: channel, filter (of the perception), units (a group of hidden units), unit or direction.
        target: the name of what is lesioned.
        entries: indices of the channels, filters or units; of a direction, its index in the specimen.
        intervention: a key of `INTERVENTIONS`.
        dose: of partial, the share lost at each step; of noise, standard deviations; else NaN.
        role: of a channel: alpha, colour, hidden or control; of a direction: component or random; else hidden.
    """

    target_type: str
    target: str
    entries: tuple[int, ...]
    intervention: str
    dose: float = float("nan")
    role: str = "hidden"


@dataclass(frozen=True, eq=False)
class Specimen:
    """An organism with the control runs that its lesions are paired with.

    Attributes:
        organism: what grows.
        controls: the runs without a lesion, from the first step of the lesions on.
        hidden: indices of the hidden channels, without the control channel.
        directions: unit vectors over all channels: principal components, then random ones.
        seed: number that random directions follow from.
    """

    organism: Organism
    controls: Controls
    hidden: tuple[int, ...]
    directions: Float[np.ndarray, "direction channel"]
    seed: int = 0

    @property
    def first_step(self) -> int:
        """The step at which lesions begin."""
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
    def variance_shares(self) -> Float[np.ndarray, " direction"]:
        """Share of the hidden channels' variance, over the cells of all bodies, along each direction."""
        cells = self.states[self.bodies].astype(np.float64)
        total = cells[:, list(self.hidden)].var(0).sum()
        return (cells @ self.directions.T).var(0) / total if total > 0 else np.zeros(len(self.directions))

    @cached_property
    def _sites(self) -> list[dict[str, np.ndarray]]:
        """Perception, hidden units and update of each run at the first step."""
        sites, fire, shape = [], self.controls.fire, (*self.states.shape[1:3], -1)
        for run, state in enumerate(self.controls.states):
            noise: dict[str, Any] = {"key": self.controls.keys[run]} if fire is None else {"fire": fire[run, 0]}
            activations = replay(self.organism, state, self.first_step, **noise)
            names = ("perception", "post", "update")
            sites.append({name: np.asarray(activations[name]).reshape(shape) for name in names})
        return sites

    def values(self, site: str, run: int) -> Float[np.ndarray, "y x entry"]:
        """A site of a run at the first step."""
        return self.states[run] if site == "state" else self._sites[run][site]

    def _body_mean(self, site: str, run: int) -> Float[np.ndarray, " entry"]:
        """Means over the cells mature at the first step."""
        if not self.bodies[run].any():
            raise UserError(f"A mean over the body needs a body; run {run} has none at step {self.first_step}.")
        return self.values(site, run)[self.bodies[run]].mean(0)

    def run_edited(
        self, rows: Sequence[EditedRun], eval_steps: Sequence[int], tick: Tick | None = None
    ) -> dict[str, Any]:
        """Outcomes of edited runs, as `analysis.paired.run_edited` gives them, so many steps after the first.

        Next to mse and mature_cells, (row, evaluation step), stand those of the control of the same key (..._control),
        fitness and log_mse.
        """
        controls, runs = self.controls, np.asarray([row.run for row in rows])
        at = np.searchsorted(controls.steps, self.first_step + np.asarray(eval_steps))
        edited = run_edited(self.organism, controls, rows, tick)
        for name, of_controls in (("mse", controls.mse), ("mature_cells", controls.mature_cells)):
            edited |= {name: edited[name][:, at], f"{name}_control": of_controls[runs][:, at]}
        fitness = metrics.fitness(edited["mse"], edited["mse_control"], controls.mse_empty[runs][:, at])
        log_mse = np.asarray(metrics.log_mse(edited["mse"]))
        return edited | {"fitness": np.asarray(fitness, np.float64), "log_mse": log_mse}


def prepare_specimen(
    organism: Organism, controls: Controls, control_channel: int | None = None, seed: int = 0
) -> Specimen:
    """Control runs with the principal components of their bodies' hidden states and with random directions.

    Args:
        controls: the runs without a lesion.
        control_channel: index of the channel that no cell reads, if there is one.
        seed: number that random directions follow from.
    """
    names = organism.rule.channel_names
    hidden = tuple(n for n in hidden_channels(organism.rule.spec) if n != control_channel)
    states = np.asarray(controls.states)
    cells = states[np.asarray(mature(organism.rule, jnp.asarray(states)))][:, list(hidden)].astype(np.float64)
    components = np.eye(len(hidden))
    if hidden and len(cells) > 1 and np.isfinite(cells).all():
        components = np.linalg.eigh(np.cov(cells.T).reshape(len(hidden), -1))[1].T[::-1]
    random = np.random.default_rng(seed).standard_normal((RANDOM_DIRECTIONS, len(hidden)))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    directions = np.zeros((len(components) + len(random), len(names)))
    directions[:, list(hidden)] = np.concatenate([components, random])
    return Specimen(organism, controls, hidden, directions, seed)


def lesion_edit(specimen: Specimen, lesion: Lesion, run: int) -> Edit:
    """The edit that makes a lesion in a run.

    Raises:
        UserError: an intervention that this target does not have, or one that needs a second run.
    """
    possible = _BY_TARGET[lesion.target_type]
    if lesion.intervention not in possible:
        raise UserError(f"A {lesion.target_type} has {', '.join(possible)}; got {lesion.intervention}.")
    if lesion.intervention in TWO_RUNS and len(specimen.states) < 2:
        raise UserError(f"{lesion.intervention} takes values from another run; ask for two runs or more.")
    make = {"channel": _channel_edit, "direction": _direction_edit}.get(lesion.target_type, _layer_edit)
    edit, step = make(specimen, lesion, run), specimen.first_step
    return edit.at(step) if lesion.intervention in ONCE else edit.at(slice(step, None))


def _channel_edit(specimen: Specimen, lesion: Lesion, run: int) -> Edit:
    organism, body, state = specimen.organism, specimen.bodies[run], specimen.states[run]
    donor = specimen.states[(run + 1) % len(specimen.states)]
    channels = lesion.entries
    match lesion.intervention:
        case "partial":
            return edits.scale(organism, 1 - lesion.dose, channels=channels)
        case "zero":
            return edits.scale(organism, 0.0, channels=channels)
        case "erase":
            return edits.erase(organism, channels=channels)
        case "freeze":
            return edits.freeze(organism, channels=channels)
        case "noise":
            sd = float(state[body][:, channels[0]].std()) if body.any() else 0.0
            return edits.noise(organism, lesion.dose * sd, channels=channels[0]).where(body)
        case "mean":
            mean = np.broadcast_to(specimen._body_mean("state", run), state.shape)
            return edits.clamp(organism, mean, channels=channels).where(body)
        case "clamp":
            return edits.clamp(organism, donor, channels=channels).where(body)
        case "resample":
            return edits.clamp(organism, donor, channels=channels)
        case _:
            return _random_change(specimen, lesion, run, np.linalg.norm(state[..., list(channels)], axis=-1))


def _direction_edit(specimen: Specimen, lesion: Lesion, run: int) -> Edit:
    directions, mean = specimen.directions[list(lesion.entries)], specimen._body_mean("state", run)
    if lesion.intervention == "random-direction":
        scores = (specimen.states[run] - mean) @ directions[0]
        return _random_change(specimen, lesion, run, scores * specimen.bodies[run])
    share_kept = 0.0 if lesion.intervention == "erase" else 1 - lesion.dose
    return edits.project(specimen.organism, directions, mean, share_kept)


def _random_change(specimen: Specimen, lesion: Lesion, run: int, size: Float[np.ndarray, "y x"]) -> Edit:
    """Change each cell by `size` along a direction of the hidden channels drawn for this lesion and run."""
    channels = specimen.states.shape[-1]
    among = list(specimen.hidden or range(channels))
    direction = np.zeros(channels)
    direction[among] = np.random.default_rng([specimen.seed, run, *lesion.entries]).standard_normal(len(among))
    change = size[..., None] * direction / np.linalg.norm(direction)
    return edits.add(specimen.organism, change.astype(np.float32))


def _layer_edit(specimen: Specimen, lesion: Lesion, run: int) -> Edit:
    """An intervention on filters of the perception or on hidden units."""
    organism, site = specimen.organism, _SITES[lesion.target_type]
    entries: dict[str, Any] = {"site": site, "filters" if lesion.target_type == "filter" else "units": lesion.entries}
    if lesion.intervention == "partial":
        return edits.scale(organism, 1 - lesion.dose, **entries)
    if lesion.intervention == "mean":
        return edits.clamp(organism, specimen._body_mean(site, run), **entries).where(specimen.bodies[run])
    zeros = np.zeros(specimen.values(site, run).shape[-1])
    return edits.clamp(organism, zeros, **entries).where(np.ones(specimen.states.shape[1:3], bool))


def add_control_channel(organism: Organism) -> Organism:
    """The same organism with a last channel that counts its cells' updates and that no cell reads.

    The fire masks stay those of the organism, so that it grows the same body. A state of fewer than four channels
    stays as it is, since one more would change which channels are colours.
    """
    rule, spec = organism.rule, organism.rule.spec
    if spec.channels < 4:
        return organism
    weights = [np.asarray(w[...]) for w in rule.weights]
    biases = [np.asarray(b[...]) for b in rule.biases]
    kernels = None if rule.kernels is None else np.asarray(rule.kernels[...])
    if kernels is not None and kernels.shape[1] == spec.channels:
        kernels = np.pad(kernels, [(0, 0), (0, 1), (0, 0), (0, 0)])
    by_channel = weights[0].reshape(-1, spec.channels, weights[0].shape[1])
    weights[0] = np.pad(by_channel, [(0, 0), (0, 1), (0, 0)]).reshape(-1, weights[0].shape[1])
    weights[-1] = np.pad(weights[-1], [(0, 0), (0, 1)])
    biases[-1] = np.append(biases[-1], np.float32(_COUNT_PER_UPDATE))
    widened = Rule(replace(spec, channels=spec.channels + 1), weights, biases, kernels, rule.angle[...])
    return replace(organism, rule=widened, seed=jnp.pad(organism.seed, [(0, 0), (0, 0), (0, 1)]))

"""A graft and what stands beside it: sham, hidden channels alone, colours alone, a change as large."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from analysis import metrics
from analysis.assays.grafts.config import GraftConfig
from nca import edits
from nca.edits import Edit
from nca.organism import Organism

GRAFT, HIDDEN, COLOUR, RANDOM, SHAM = "graft", "hidden only", "colour only", "random", "sham"
NULLS = (SHAM, RANDOM)
_STREAM = 7919  # of the random grafts, apart from every key's own
States = Float[np.ndarray, "run y x channel"]


def kinds(
    host: Organism, mine: np.ndarray, other: np.ndarray, twin: np.ndarray, config: GraftConfig, number: int
) -> dict[str, Edit]:
    """The graft into one run and what stands beside it, by name.

    Args:
        host: the host.
        mine: its state, (y, x, channel).
        other: the donor's.
        twin: the host's in the next run, which the sham comes from.
        config: how.
        number: of the run, which the random graft follows from.
    """
    colours, hidden = channels_of(host)
    move: dict[str, Any] = {
        "source": config.source,
        "place": config.place,
        "radius": config.radius,
        "turn": config.turn,
    }
    made = {GRAFT: edits.graft(host, other, **move)}
    if hidden:
        made[HIDDEN] = edits.graft(host, other, **move, channels=hidden)
        made[COLOUR] = edits.graft(host, other, **move, channels=colours)
    made[RANDOM] = scrambled(host, mine, made[GRAFT], config.seed, number)
    here = {**move, "source": config.place, "turn": 0.0}
    made[SHAM] = edits.graft(host, twin, **here)
    return {name: edit.at(config.at) for name, edit in made.items()}


def channels_of(organism: Organism) -> tuple[list[int], list[int]]:
    """Numbers of the channels that show, and of the others."""
    names = organism.rule.channel_names
    hidden = [i for i, name in enumerate(names) if name.startswith("h")]
    return [i for i in range(len(names)) if i not in hidden], hidden


def scrambled(host: Organism, mine: np.ndarray, graft: Edit, seed: int, number: int) -> Edit:
    """A change as large as the graft's in every cell, in a random direction of all channels."""
    change = np.asarray(graft.value) - mine
    draw = np.random.default_rng([seed, number, _STREAM]).normal(size=change.shape)
    size = np.linalg.norm(change, axis=-1, keepdims=True) / np.linalg.norm(draw, axis=-1, keepdims=True)
    return edits.clamp(host, mine + draw * size).where(np.asarray(graft.region))


def set_once(host: Organism, state: np.ndarray, edit: Edit, at: int, key: Any) -> np.ndarray:
    """The state with the edit made."""
    return np.asarray(edits.apply([edit], "state", jnp.asarray(state), at, key))


def pictures(organism: Organism, states: Any) -> Float[np.ndarray, "*b y x 4"]:
    """What states show."""
    return np.asarray(metrics.picture(organism.rule.spec, states))

"""Films of decoded places: a body that grows and is cut, and a graft, each next to its control."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis.assays.fate.dictionary import bodies, decode_bodies
from analysis.assays.fate.transplants import Grafting, start_of
from analysis.assays.grafts.grafting import GRAFT, SHAM
from analysis.rollouts import CHUNK, Batch, advance_chunk
from nca.damage import CUTS, cut
from nca.rollout import trajectory

_MAX_PIXELS = 40_000  # of a canvas that is filmed
EVERY = 2  # steps from one frame to the next
UNCUT = "uncut"


def record_films(grafting: Grafting, example: xr.Dataset) -> dict[str, xr.Dataset]:
    """The decoded places of every second step of the first run, edited and not.

    Args:
        grafting: organism, dictionary and grown bodies.
        example: of a result, whose attributes name source and target of a graft; empty for no graft.

    Returns:
        By name, cut: from the seed on, with the half cut off that holds most of the body; graft: from the adult step
        on. Datasets over (side, step): places (..., y, x, axis), distance (..., y, x). Empty for a canvas of more than
        40,000 cells.
    """
    organism, adult, state = grafting.organism, grafting.config.adult_step, grafting.states[0]
    if np.prod(organism.canvas) > _MAX_PIXELS:
        return {}
    name = max(CUTS[:4], key=lambda name: int((bodies(organism, state) & cut(organism.canvas, name)).sum()))
    wounded = np.where(cut(organism.canvas, name)[..., None], 0, state)
    growth = _follow(grafting, np.asarray(organism.initial_state()), 0, adult)[:-1]
    after = {UNCUT: state, f"{name} cut": wounded}
    films = {"cut": _decode_sides(grafting, after, growth)}
    if example:
        row = example.attrs | {"run": 0, "point": 0, "intervention": GRAFT}
        target = {"source_y": row["target_y"], "source_x": row["target_x"], "intervention": SHAM}
        after = {SHAM: start_of(grafting, row | target), GRAFT: start_of(grafting, row)}
        films["graft"] = _decode_sides(grafting, after, growth[:0])
    return films


def _follow(grafting: Grafting, state: np.ndarray, first: int, steps: int) -> Float[np.ndarray, "frame y x channel"]:
    """Every second state of the first run, from a state at a step on; the last one too."""
    batch, frames = Batch(grafting.organism, grafting.keys[:1], start=first), []
    for offset in range(0, steps, CHUNK):
        path = advance_chunk(batch, jnp.asarray(state)[None], offset, min(CHUNK, steps - offset), trajectory)[0]
        frames.append(np.asarray(path[:-1:EVERY]))
        state = path[-1]
    return np.concatenate([*frames, np.asarray(state)[None]])


def _decode_sides(grafting: Grafting, starts: Mapping[str, np.ndarray], before: np.ndarray) -> xr.Dataset:
    """What follows from states at the adult step, after the states that they share."""
    adult, steps = grafting.config.adult_step, grafting.config.eval_steps
    films = [np.concatenate([before, _follow(grafting, state, adult, steps)]) for state in starts.values()]
    places, distance = decode_bodies(grafting.dictionary, grafting.organism, np.stack(films))
    data = {
        "places": (("side", "step", "y", "x", "axis"), places.astype(np.float32)),
        "distance": (("side", "step", "y", "x"), distance.astype(np.float32)),
    }
    first = adult - EVERY * len(before)
    return xr.Dataset(data, {"side": list(starts), "step": first + EVERY * np.arange(places.shape[1])})

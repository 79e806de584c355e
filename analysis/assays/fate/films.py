"""Films of decoded places: a body that grows and is cut, and a graft, each next to its control."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from analysis.assays.fate.dictionary import bodies, decode_bodies
from analysis.assays.fate.transplants import Grafting, Place
from analysis.assays.grafts.grafting import GRAFT, SHAM
from analysis.recording import record
from nca import edits
from nca.damage import CUTS, cut
from nca.edits import Edit

_MAX_PIXELS = 40_000  # of a canvas that is filmed
EVERY = 2  # steps from one frame to the next
UNCUT = "uncut"


def record_films(grafting: Grafting, example: xr.Dataset) -> dict[str, xr.Dataset]:
    """The decoded places of every second step of a further run, edited and not.

    Args:
        grafting: organism, dictionary and grown bodies.
        example: of a result, whose attributes name source and target of a graft; empty for no graft.

    Returns:
        By name, cut: from the seed on, with the half cut off that holds most of the body; graft: from the adult step
        on. Datasets over (side, step): places (..., y, x, axis), distance (..., y, x). Empty for a canvas of more than
        40,000 cells.
    """
    if np.prod(grafting.organism.canvas) > _MAX_PIXELS:
        return {}
    organism, config, body = grafting.organism, grafting.config, bodies(grafting.organism, grafting.states[0])
    name = max(CUTS[:4], key=lambda name: int((body & cut(organism.canvas, name)).sum()))
    wound = edits.erase(organism).where(cut(organism.canvas, name)).at(config.adult_step)
    films = {"cut": _record(grafting, {UNCUT: (), f"{name} cut": (wound,)}, 0)}
    if example:
        source, target = ((example.attrs[f"{end}_y"], example.attrs[f"{end}_x"]) for end in ("source", "target"))
        grafts = {name: (_graft(grafting, place, target),) for name, place in ((SHAM, target), (GRAFT, source))}
        films["graft"] = _record(grafting, grafts, config.adult_step)
    return films


def _graft(grafting: Grafting, source: Place, target: Place) -> Edit:
    """The mature cells about a source, set about the target at the adult step."""
    config = grafting.config
    edit = edits.graft(grafting.organism, grafting.states[0], source, target, config.radius)
    region = grafting.region(target) & bodies(grafting.organism, np.asarray(edit.value))
    return edit.where(region).at(config.adult_step)


def _record(grafting: Grafting, sides: Mapping[str, tuple[Edit, ...]], first: int) -> xr.Dataset:
    """The run with each of some edits, from a step on."""
    organism, config, decoded = grafting.organism, grafting.config, []
    for changes in sides.values():
        steps, seed = config.adult_step + config.eval_steps, config.seed + 1  # no run of the dictionary
        recording = (
            record(organism, steps, seed=seed, every=EVERY, edits=changes).isel(run=0).sel(step=slice(first, None))
        )
        decoded.append(decode_bodies(grafting.dictionary, organism, recording.state.values))
    data = {
        "places": (("side", "step", "y", "x", "axis"), np.stack([p for p, _ in decoded]).astype(np.float32)),
        "distance": (("side", "step", "y", "x"), np.stack([d for _, d in decoded]).astype(np.float32)),
    }
    return xr.Dataset(data, {"side": list(sides), "step": recording.step.values})

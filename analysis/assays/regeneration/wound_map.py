"""Wounds everywhere: half planes at every angle, and holes over the body."""

from __future__ import annotations

from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Bool

from analysis.assays.regeneration.cuts import measure_wounds
from analysis.geometry import Wounds
from analysis.paired import Controls
from analysis.rollouts import Tick
from nca.damage import half_plane
from nca.organism import Organism

_OFFSETS = (-0.5, -0.25, 0.0, 0.25, 0.5)  # of half planes, as shares of the body's reach
_BATCH = 16  # wounds whose final states are held at once


def half_planes(body: Bool[np.ndarray, "y x"], angles: int) -> Wounds:
    """Half planes in evenly spaced directions, at offsets of -1/2 to 1/2 of the body's reach from the canvas's middle.

    Those that take no cell of the body, or all of it, are left out. Their numbers are angle (degrees) and offset
    (cells).
    """
    height, width = body.shape
    y, x = np.nonzero(body)
    reach = np.quantile(np.hypot(y - (height - 1) / 2, x - (width - 1) / 2), 0.95)
    offsets = sorted({float(round(share * reach)) for share in _OFFSETS})
    wounds = {}
    for angle, offset in product(np.arange(angles) * 360 / max(angles, 1), offsets):
        region = half_plane(body.shape, angle, offset)
        if 0 < (region & body).sum() < body.sum():
            wounds[f"{angle:g} degrees, {offset:+g} cells"] = region, {"angle": float(angle), "offset": offset}
    return wounds


def map_wounds(
    organism: Organism, controls: Controls, wounds: Wounds, body: Bool[np.ndarray, "y x"], tick: Tick | None = None
) -> xr.Dataset:
    """Outcome of many wounds: what `measure_wounds` returns, without pictures, with the wounds' numbers, the share of
    the body that each removes, and the body; empty where there are no wounds."""
    names, parts = list(wounds), []
    for first in range(0, len(names), _BATCH):
        regions = {name: wounds[name][0] for name in names[first : first + _BATCH]}
        part = measure_wounds(organism, controls, regions, tick)
        parts.append(part.drop_vars([name for name in part if str(name).startswith("picture")]))
    if not parts:
        return xr.Dataset()
    of_controls = [name for name in parts[0] if "wound" not in parts[0][name].dims]
    outcome = xr.concat([part.drop_vars(of_controls) for part in parts], "wound").assign(parts[0][of_controls])
    for name in wounds[names[0]][1]:
        outcome[name] = "wound", [numbers[name] for _, numbers in wounds.values()]
    removed = [(region & body).sum() / body.sum() for region, _ in wounds.values()]
    return outcome.assign(removed=("wound", removed), body=(("y", "x"), body)).assign_attrs(parts[0].attrs)

"""Copy suppression: units that write against what they read of their own cell, beyond a plain leak.

A unit reads r.s of its own cell's state s and adds its activity h times w. Where r.w is below 0 it lowers what it
reads. The plain leak does that in proportion: h = a max(r.s, 0). What is left of h beyond the best such leak is
suppression that depends on more than the cell's own state. r.w does not depend on the basis of the channels; divided
by the standard deviation of r.s over the body and by the whitened length of w it is the cosine of the angle between
reading and writing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis.stats.nulls import fdr

_RIDGE = 1e-6


def copy_suppression(
    read: Float[np.ndarray, "unit channel"],
    write: Float[np.ndarray, "unit channel"],
    cells: Float[np.ndarray, "cell channel"],
    activity: Float[np.ndarray, "cell unit"],
) -> xr.Dataset:
    """How far every unit writes against what it reads of its own cell.

    Args:
        read: what it reads of its own cell, from the state to its input.
        write: what it adds to the state for every 1 that it is.
        cells: states of mature cells.
        activity: of the units in the same cells.

    Returns:
        Dataset over unit: opposition, minus the whitened cosine between reading and writing (1: it takes away exactly
        what it reads, 0: something else, below 0: it adds to it), with null (unit, other), the same of its reading and
        the writing of every other unit, p (two-sided) and q; leak, the share of the square of its activity that a
        plain leak explains, with leak_null (unit, other), the same of every other unit's activity; beyond_leak, the
        share of its activity, where it lowers what it reads, that is more than the leak's; suppression, opposition
        times beyond_leak where both are above 0, else 0.
    """
    cells = cells.astype(np.float64)
    covariance = np.atleast_2d(np.cov(cells.T))
    inverse = np.linalg.pinv(covariance, rcond=_RIDGE, hermitian=True)
    read_size = np.sqrt(np.einsum("uc,cd,ud->u", read, covariance, read).clip(0))
    write_size = np.sqrt(np.einsum("uc,cd,ud->u", write, inverse, write).clip(0))
    size = read_size[:, None] * write_size[None]
    opposition = -np.divide(read @ write.T, size, out=np.zeros_like(size), where=size > 0)
    own = np.diagonal(opposition).copy()
    units = len(own)
    null = np.asarray([np.delete(opposition[n], n) for n in range(units)]).reshape(units, -1)
    p = (1 + (np.abs(null) >= np.abs(own)[:, None]).sum(1)) / (null.shape[1] + 1)
    reading = np.maximum(cells @ read.T, 0)
    total, square = np.square(reading).sum(0), np.square(activity).sum(0)
    together = reading.T @ activity  # (reading of a unit, activity of another)
    squares = np.outer(total, square)
    explained = np.divide(np.square(together), squares, out=np.zeros_like(squares), where=squares > 0)
    leak = np.diagonal(explained).copy()
    leak_null = np.asarray([np.delete(explained[n], n) for n in range(units)]).reshape(units, -1)
    slope = np.divide(np.diagonal(together), total, out=np.zeros(units), where=total > 0)
    rest = activity - slope * reading
    lowered = (cells @ read.T > 0) & (activity > 0)
    amount = np.where(lowered, activity, 0).sum(0)
    more = np.where(lowered, np.maximum(rest, 0), 0).sum(0)
    beyond = np.divide(more, amount, out=np.zeros(units), where=amount > 0)
    data: dict[str, Any] = {"opposition": ("unit", own), "null": (("unit", "other"), null), "p": ("unit", p)}
    data |= {"leak_null": (("unit", "other"), leak_null)}
    data |= {"q": ("unit", fdr(p)), "leak": ("unit", leak), "beyond_leak": ("unit", beyond)}
    data["suppression"] = ("unit", np.maximum(own, 0) * beyond)
    return xr.Dataset(data)

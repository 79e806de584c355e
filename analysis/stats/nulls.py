"""Statistics beside their nulls: states before their surrogates, p, and q over all that were asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Bool, Float

from analysis.stats.surrogates import modes, p_value, rotated
from nca.errors import UserError

MIN_CELLS = 40  # cells: on fewer, a band of the longest waves mixes gradients with what is hardly smooth


def with_surrogates(
    values: Float[np.ndarray, "cell channel"], mask: Bool[np.ndarray, "y x"], number: int, seed: int
) -> Float[np.ndarray, "field cell channel"]:
    """The states of a body's cells, then so many band-rotated surrogates of them.

    Raises:
        UserError: fewer than 40 cells: on 11, of smooth fields .82 had a straight gradient at .05.
    """
    if len(values) < MIN_CELLS:
        raise UserError(f"To be compared with fields as smooth takes {MIN_CELLS} or more cells, got {len(values)}.")
    return np.concatenate([values[None], rotated(values, modes(mask), number, seed)])


def null_tests(measures: Mapping[str, np.ndarray], deal_sd: Mapping[str, float] | None = None) -> xr.Dataset:
    """Statistics beside their nulls.

    Args:
        measures: by name, the value observed, then those of the null.
        deal_sd: sd of the observed value over deals, where there is one.

    Returns:
        Dataset over statistic as of `position_tests`. A value or null that is not defined gives p and
        q of NaN, and is left out of the correction.
    """
    observed = np.asarray([m[0] for m in measures.values()], float)
    null = np.stack([m[1:] for m in measures.values()])
    quantile = np.quantile(null, [0.05, 0.5, 0.95], axis=1)
    p = np.asarray([p_value(o, n) for o, n in zip(observed, null, strict=True)])
    p[~(np.isfinite(observed) & np.isfinite(null).all(1))] = np.nan
    data = {
        "observed": ("statistic", observed),
        "p": ("statistic", p),
        "q": ("statistic", fdr(p)),
        "null": (("statistic", "surrogate"), null),
        "null_low": ("statistic", quantile[0]),
        "null_median": ("statistic", quantile[1]),
        "null_high": ("statistic", quantile[2]),
        "deal_sd": ("statistic", np.asarray([(deal_sd or {}).get(name, np.nan) for name in measures])),
    }
    return xr.Dataset(data, {"statistic": list(measures)})


def fdr(p: Float[np.ndarray, "*many"]) -> Float[np.ndarray, "*many"]:
    """q: p corrected for the false discovery rate over all that are defined (Benjamini & Hochberg)."""
    q, known = np.full(np.shape(p), np.nan), np.isfinite(p)
    if known.any():
        q[known] = scipy.stats.false_discovery_control(np.asarray(p)[known])
    return q

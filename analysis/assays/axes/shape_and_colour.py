"""Is the code of position only shape, or only colour? (A3)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.assays.axes.decoding import decode_position
from analysis.assays.axes.pca import body_states
from analysis.geometry import shape_features
from analysis.stats.nulls import null_tests, with_surrogates
from nca.errors import UserError
from nca.spec import channel_role

COVARIATES = ("shape", "colour")


def shape_and_colour_tests(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    surrogates: int = 99,
    cv_repeats: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """Decode position from hidden states, from shape, from colour, and from hidden states with either.

    Args:
        recording: as given to `pca`.
        components: result of `pca`; its step is used.
        surrogates: band-rotated surrogates of the hidden states, combined with the same shape or colour.

    Returns:
        Dataset of `null_tests` over statistic, indexed by (quantity, measure): over_shape and over_colour, the R²
        that hidden states add to a decoder of shape (`shape_features`) or colour and alpha. Also, per
        statistic, r2_hidden, r2_covariate and r2_both with sd_hidden, sd_covariate and sd_both over repeats.
        over_shape of edge, which is itself part of the shape, is NaN.

    Raises:
        UserError: a rule without hidden channels.
    """
    names = [str(name) for name in recording.channel.values]
    hidden = [name for name in names if channel_role(name) == "hidden"]
    if not hidden:
        raise UserError("Shape and colour are compared with hidden channels, and this rule has none.")
    states, mask = body_states(recording, components, run, channels=hidden)
    visible = [name for name in names if name not in hidden]
    colours, _ = body_states(recording, components, run, channels=visible, check=False)
    fields = with_surrogates(states, mask, surrogates, seed)
    r2_hidden = decode_position(fields[:1], mask, cv_repeats)
    measures: dict[tuple[str, str], np.ndarray] = {}
    repeats: dict[str, list[np.ndarray]] = {"hidden": [], "covariate": [], "both": []}
    for covariate, features in zip(COVARIATES, (shape_features(mask), colours), strict=True):
        r2_covariate = decode_position(features[None], mask, cv_repeats)
        r2_both = decode_position(fields, mask, cv_repeats, covariates=features)
        for quantity, values in r2_covariate.items():
            added = (r2_both[quantity] - values).mean(1)
            part_of_shape = (covariate, quantity) == ("shape", "edge")
            measures[quantity, f"over_{covariate}"] = np.nan * added if part_of_shape else added
            for name, r2 in zip(repeats, (r2_hidden, r2_covariate, r2_both), strict=True):
                repeats[name].append(r2[quantity][0])
    data = {f"r2_{name}": ("statistic", np.mean(values, 1)) for name, values in repeats.items()}
    data |= {f"sd_{name}": ("statistic", np.std(values, 1)) for name, values in repeats.items()}
    attrs = {"step": components.attrs["step"], "run": run, "cells": len(states)}
    attrs |= {"surrogates": surrogates, "cv_repeats": cv_repeats, "seed": seed}
    return null_tests(measures).assign(data).assign_attrs(attrs)

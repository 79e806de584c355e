"""Is it only shape, or only colour? Decoders that see nothing else, and what hidden states add. (A3)"""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.assays.axes.pca import check_cells
from analysis.assays.axes.reading import QUANTITIES, body_at, decoded_places, over_deals
from analysis.geometry import shape_features
from analysis.recording import spec_of
from analysis.stats.nulls import null_tests, with_surrogates
from nca.errors import UserError
from nca.spec import channel_names

SOURCES = ("hidden", "shape", "colour", "shape + hidden", "colour + hidden")


def controls(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    surrogates: int = 99,
    deals: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """Decoders from hidden states, from the body's shape and from colour, and what hidden states add.

    Args:
        recording: as given to `pca`.
        components: what `pca` returned; it names the step.
        run: the run.
        surrogates: band-rotated surrogates of the hidden states, added to the same shape or colour.
        deals: ways to deal blocks to folds.
        seed: what the surrogates are drawn from.

    Returns:
        Dataset: r2 and deal_sd (source, quantity), source as in `SOURCES`; and over statistic
        ("x over shape", "x over colour", ...) observed, the extra R2 of hidden states, with null, p
        and q as of `position_tests`. Distance to the edge is itself part of the shape: what is added
        to it there is NaN.

    Raises:
        UserError: a rule without hidden channels.
    """
    names = channel_names(spec_of(recording))
    hidden = [n for n in names if n.startswith("h")]
    if not hidden:
        raise UserError("Shape and colour are compared with hidden channels, and this rule has none.")
    at = int(components.attrs["at"])
    own, mask = body_at(recording, run, at, hidden)
    check_cells(own, at)
    seen, _ = body_at(recording, run, at, [n for n in names if n not in hidden])
    fields = with_surrogates(own, mask, surrogates, seed)
    given = {"shape": shape_features(mask), "colour": seen}
    scores = {"hidden": decoded_places(fields[:1], mask, deals)}
    measures = {}
    for name, features in given.items():
        scores[name] = decoded_places(features[None], mask, deals)
        both = decoded_places(fields, mask, deals, given=features)
        scores[f"{name} + hidden"] = both
        for q, alone in scores[name].items():
            extra = (both[q] - alone).mean(1)
            known = not (name == "shape" and q == "edge")
            measures[f"{q} over {name}"] = extra if known else np.full_like(extra, np.nan)
    table = over_deals([scores[source] for source in SOURCES])
    dims = ("source", "quantity")
    attrs = {"at": at, "run": run, "surrogates": surrogates, "deals": deals, "seed": seed, "cells": len(own)}
    return (
        null_tests(measures)
        .assign(r2=(dims, table[..., 0]), deal_sd_of=(dims, table[..., 1]))
        .assign_coords(source=list(SOURCES), quantity=list(QUANTITIES))
        .assign_attrs(attrs)
    )

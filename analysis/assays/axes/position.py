"""Is place written in the cells' states, and would any field as smooth do as well? (A0, A1, A2)"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from analysis.assays.axes.decoding import left_out
from analysis.assays.axes.pca import SHOWN, horseshoe, plane, rank_correlation
from analysis.assays.axes.reading import QUANTITIES, cells_of, decoded_places, over_deals
from analysis.geometry import geodesic, positions
from analysis.stats.nulls import null_tests, with_surrogates
from analysis.stats.surrogates import islands


def position_tests(
    recording: xr.Dataset,
    components: xr.Dataset,
    *,
    run: int = 0,
    surrogates: int = 99,
    deals: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """Every gradient beside its null, in one run at the step of `pca`.

    Args:
        recording: as given to `pca`.
        components: what `pca` returned; its channels and scaling are used.
        run: the run.
        surrogates: band-rotated surrogates (A2).
        deals: ways to deal cells to folds; R2 is their mean, in the data and in every surrogate.
        seed: what the surrogates are drawn from.

    Returns:
        Dataset over statistic ("plane R2 of PC1", "radius rank of PC1", "horseshoe", "R2 of x", ...):
        observed, p (one-sided), q (p corrected for the false discovery rate over the statistics),
        null (statistic, surrogate), null_median, null_low and null_high (5 and 95 %), deal_sd (sd of
        the observed R2 over deals; NaN for the others); and maps of the first surrogate,
        surrogate_scores (y, x, pc). The body coordinate s is decoded on the largest island alone,
        and left out where that fits into one block.

    Raises:
        UserError: a body too small or too large.
    """
    rows, mask, at = cells_of(recording, components, run)
    fields = with_surrogates(rows, mask, surrogates, seed)
    loadings = components.loadings.values[:SHOWN].T
    maps = (fields - components["mean"].values) / components.scale.values @ loadings
    scores = decoded_places(fields, mask, deals)
    known = {f"R2 of {q}": v for q, v in scores.items()}
    measures = _measures(maps, positions(mask)) | {name: v.mean(1) for name, v in known.items()}
    surrogate = np.full((*mask.shape, maps.shape[-1]), np.nan, np.float32)
    surrogate[mask] = maps[1] if surrogates else np.nan
    spread = {name: float(v[0].std()) for name, v in known.items()}
    counted = {"surrogates": surrogates, "deals": deals, "seed": seed}
    return (
        null_tests(measures, spread)
        .assign(surrogate_scores=(("y", "x", "pc"), surrogate))
        .assign_attrs(at=at, run=run, cells=len(rows), islands=islands(mask), **counted)
    )


def _measures(maps: np.ndarray, where: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How the components lie on the body: the data first, then every surrogate."""
    measures = {}
    r2 = plane(maps, where)[0]
    radius = np.abs(rank_correlation(maps, where["radius"]))
    for k in range(maps.shape[-1]):
        measures[f"plane R2 of PC{k + 1}"] = r2[:, k]
        measures[f"radius rank of PC{k + 1}"] = radius[:, k]
    if maps.shape[-1] > 1:
        measures["horseshoe"] = np.abs(horseshoe(maps))
    return measures


def across_runs(recording: xr.Dataset, components: xr.Dataset, *, deals: int = 10) -> xr.Dataset:
    """A1 in every run: decoders with blocked folds, and decoders that leave one run out.

    Args:
        recording: of several runs, at the step of `components`.
        components: what `pca` returned of it.
        deals: ways to deal blocks to folds.

    Returns:
        Dataset over (run, quantity): r2, its mean over deals with blocked folds; deal_sd; left_out,
        R2 in a run of a decoder fitted on the others. The last shows reproducibility only (attribute
        `left_out_means`), and is NaN where there is one run.
    """
    bodies = [cells_of(recording, components, run) for run in range(recording.sizes["run"])]
    r2 = over_deals([decoded_places(rows[None], mask, deals) for rows, mask, _ in bodies])
    again = np.full(r2.shape[:2], np.nan)
    if len(bodies) > 1:
        known = [positions(mask) | {"s": geodesic(mask)} for _, mask, _ in bodies]
        for k, name in enumerate(QUANTITIES):
            inside = [np.isfinite(w[name]) for w in known]
            kept = [rows[i] for (rows, _, _), i in zip(bodies, inside, strict=True)]
            again[:, k] = left_out(kept, [w[name][i, None] for w, i in zip(known, inside, strict=True)])[:, 0]
    data = {"r2": r2[..., 0], "deal_sd": r2[..., 1], "left_out": again}
    attrs = {"left_out_means": "reproducibility only", "deals": deals, "at": int(components.attrs["at"])}
    return xr.Dataset(
        {k: (("run", "quantity"), v) for k, v in data.items()},
        {"run": recording.run.values, "quantity": list(QUANTITIES)},
        attrs,
    )

"""Is place written in the cells' states, and would any field as smooth do as well? (A0, A1, A2)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Bool, Float

from analysis.axes.components import (
    SHOWN,
    check_cells,
    horseshoe,
    plane,
    rank_correlation,
)
from analysis.axes.decoding import decoded, left_out
from analysis.axes.surrogates import islands, modes, p_value, rotated
from analysis.experiments.geometry import geodesic, places
from nca.errors import UserError

QUANTITIES = ("x", "y", "s", "radius", "edge")


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
    fields = np.concatenate([rows[None], rotated(rows, modes(mask), surrogates, seed)])
    loadings = components.loadings.values[:SHOWN].T
    maps = (fields - components["mean"].values) / components.scale.values @ loadings
    scores = decoded_places(fields, mask, deals)
    known = {f"R2 of {q}": v for q, v in scores.items()}
    measures = _measures(maps, places(mask)) | {name: v.mean(1) for name, v in known.items()}
    surrogate = np.full((*mask.shape, maps.shape[-1]), np.nan, np.float32)
    surrogate[mask] = maps[1] if surrogates else np.nan
    spread = {name: float(v[0].std()) for name, v in known.items()}
    counted = {"surrogates": surrogates, "deals": deals, "seed": seed}
    return (
        beside_null(measures, spread)
        .assign(surrogate_scores=(("y", "x", "pc"), surrogate))
        .assign_attrs(at=at, run=run, cells=len(rows), islands=islands(mask), **counted)
    )


def cells_of(
    recording: xr.Dataset, components: xr.Dataset, run: int
) -> tuple[Float[np.ndarray, "cell channel"], Bool[np.ndarray, "y x"], int]:
    """The states of one run's body at the step of `components`, its mask, and that step."""
    at = int(components.attrs["at"])
    rows, mask = body_at(recording, run, at, list(components.channel.values))
    check_cells(rows, at)
    return rows, mask, at


def body_at(
    recording: xr.Dataset, run: int, step: int, channels: Sequence[str]
) -> tuple[Float[np.ndarray, "cell channel"], Bool[np.ndarray, "y x"]]:
    """The states of one run's mature cells at one step, and where they are."""
    moment = recording.sel(step=step).isel(run=run)
    mask = moment.mature.values
    return moment.state.sel(channel=list(channels)).values[mask].astype(np.float64), mask


def decoded_places(
    fields: Float[np.ndarray, "field cell channel"],
    mask: Bool[np.ndarray, "y x"],
    deals: int = 10,
    given: Float[np.ndarray, "cell feature"] | None = None,
) -> dict[str, Float[np.ndarray, "field deal"]]:
    """R2 of each quantity of place, decoded from fields on a body with cells held out by blocks.

    Args:
        fields: states of all cells of the body, and of surrogates of them.
        mask: the body.
        deals: ways to deal blocks to folds.
        given: further features that every field gets.

    Returns:
        x, y, s, radius, edge; s of the largest island alone, and not where that is within one block.
    """
    if given is not None:
        beside = np.broadcast_to(given, (len(fields), *given.shape))
        fields = np.concatenate([fields, beside], -1)
    where, along, cells = places(mask), geodesic(mask), np.argwhere(mask)
    inside = np.isfinite(along)
    if inside.all():
        where["s"] = along
    scores = decoded(fields, np.stack(list(where.values()), 1), cells, deals)
    found = {name: scores[..., k] for k, name in enumerate(where)}
    if "s" not in found and len(np.unique(cells[inside] // 8, axis=0)) > 1:
        found["s"] = decoded(fields[:, inside], along[inside, None], cells[inside], deals)[..., 0]
    return {name: found[name] for name in QUANTITIES if name in found}


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


def beside_null(measures: Mapping[str, np.ndarray], deal_sd: Mapping[str, float] | None = None) -> xr.Dataset:
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
        "q": ("statistic", corrected(p)),
        "null": (("statistic", "surrogate"), null),
        "null_low": ("statistic", quantile[0]),
        "null_median": ("statistic", quantile[1]),
        "null_high": ("statistic", quantile[2]),
        "deal_sd": ("statistic", np.asarray([(deal_sd or {}).get(name, np.nan) for name in measures])),
    }
    return xr.Dataset(data, {"statistic": list(measures)})


def corrected(p: Float[np.ndarray, "*many"]) -> Float[np.ndarray, "*many"]:
    """q: p corrected for the false discovery rate over all that are defined (Benjamini & Hochberg)."""
    q, known = np.full(np.shape(p), np.nan), np.isfinite(p)
    if known.any():
        q[known] = scipy.stats.false_discovery_control(np.asarray(p)[known])
    return q


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
    r2 = np.full((len(bodies), len(QUANTITIES), 2), np.nan)
    for run, (rows, mask, _) in enumerate(bodies):
        for name, v in decoded_places(rows[None], mask, deals).items():
            r2[run, QUANTITIES.index(name)] = v.mean(), v.std()
    again = np.full(r2.shape[:2], np.nan)
    if len(bodies) > 1:
        known = [places(mask) | {"s": geodesic(mask)} for _, mask, _ in bodies]
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


def angle_of_code(
    lost: Float[np.ndarray, "*field 2 2"], spread: Float[np.ndarray, "2 2"]
) -> tuple[Float[np.ndarray, "*field"], Float[np.ndarray, "*field"], Float[np.ndarray, "*field"]]:
    """The direction across the body that is decoded best, and how well.

    A ridge is linear in what it decodes, so the errors of x cos(a) + y sin(a) follow from those of x
    and y: R2(a) = 1 - (v' lost v) / (v' spread v) with v = (cos(a), sin(a)).

    Args:
        lost: products of the errors of x and y, of `decoding.residuals`.
        spread: products of x and y about their means.

    Returns:
        The angle of the best direction in degrees modulo 180 (from x towards y), its R2, and that of
        the worst direction.

    Raises:
        UserError: a body that is a line.
    """
    if np.linalg.matrix_rank(spread) < 2:
        raise UserError("Directions need a body that is more than one cell wide.")
    root = np.linalg.inv(np.linalg.cholesky(spread))
    worth, vectors = np.linalg.eigh(root @ lost @ root.T)
    best = vectors[..., 0] @ root
    angle = np.degrees(np.arctan2(best[..., 1], best[..., 0])) % 180 % 180
    return angle, 1 - worth[..., 0], 1 - worth[..., 1]

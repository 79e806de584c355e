"""Families of units: clusters of what they read, when and where they are active, and what they write.

Units are described by numbers that do not depend on the basis of the channels, clustered (Ward), and the clusters
compared with those of shuffled tables, in which every column keeps its values and no unit keeps its row. A family is
named by the numbers in which it stands out from all units most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.cluster.vq import kmeans2
from sklearn.metrics import silhouette_score

from analysis import geometry, metrics
from analysis.assays.units.activity import PhaseStates, unit_activity
from analysis.stats.nulls import p_value
from nca.organism import Organism

_COUNTS = range(3, 13)  # numbers of families that are tried
_WOUND_WIDTH = 3  # cells from the cut that count as its edge
_WOUND_STEPS = 20  # steps after the cut in which a response to it is looked for
_YOUNG = 10  # steps for which a cell counts as new
_REGIONS = 4  # colour regions
_MIN_CELLS = 20
STANDS_OUT = 0.5  # mean z score from which on a number names a family
LABELS = {  # of a column: where it is high, where it is low
    "edge": ("active at the body’s edge", "active inside the body"),
    "seed": ("active near the seed", "active far from the seed"),
    "right": ("active on the right", "active on the left"),
    "bottom": ("active at the bottom", "active at the top"),
    "colour": ("active by colour region", ""),
    "front": ("active at the growth front", "active behind the growth front"),
    "early": ("active early in growth", "active in the grown body"),
    "wound": ("more active at a wound", "less active at a wound"),
    "always": ("active everywhere", "rarely active"),
    "writes colour": ("write colour", ""),
    "writes alpha": ("write alpha", ""),
    "writes hidden": ("write hidden channels", ""),
    "alpha sign": ("raise alpha", "lower alpha"),
}


def activity_features(organism: Organism, phases: Mapping[str, PhaseStates]) -> pd.DataFrame:
    """Where and when every unit is active, in numbers; NaN where a phase is missing or a unit never changes.

    Args:
        organism: what grows.
        phases: states of the unperturbed runs.

    Returns:
        A row for each unit. Of the adult body: edge, seed, right and bottom, correlations over mature cells with
        nearness to the edge, nearness to the seed, x and y; colour, the share of the variance between colour regions
        of the body; always, the share of cells in which it is active. Of the growing body: front, activity in cells
        that have been mature for 10 steps or less, minus that in older ones; early, activity in the first third of
        growth minus that in the adult. Of the cut body: wound, activity within 3 cells of the cut, in the first 20
        steps, minus that in the same cells uncut. Differences are in standard deviations over the adult body.
    """
    rule = organism.rule
    active = jax.jit(lambda states: unit_activity(rule, states))
    units = rule.weights[0].shape[1]
    features = pd.DataFrame(index=np.arange(units))
    adult = phases.get("adult")
    if adult is None:
        return features
    state, bodies = adult.states[0], adult.bodies[0]
    cells = np.asarray(active(state))[bodies].astype(np.float64)
    spread = np.where(cells.std(0) > 0, cells.std(0), np.nan)
    places = [geometry.positions(body) for body in bodies]
    of_cell = {name: np.concatenate([place[name] for place in places]) for name in ("x", "y", "radius", "edge")}
    for name, place, sign in (("edge", "edge", -1), ("seed", "radius", -1), ("right", "x", 1), ("bottom", "y", 1)):
        features[name] = sign * _correlations(cells, of_cell[place])
    picture = np.asarray(metrics.picture(rule.spec, state))[bodies]
    features["colour"] = _between_share(cells, _colour_regions(picture))
    features["always"] = (cells > 0).mean(0)
    if "growing" in phases:
        features["front"], early = _growth_features(active, phases["growing"], units)
        features["front"] /= spread
        features["early"] = (early - cells.mean(0)) / spread
    if "regenerating" in phases:
        features["wound"] = _wound_response(active, phases["regenerating"], adult) / spread
    return features


def _correlations(cells: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Of every unit with a number that each cell has."""
    centred, place = cells - cells.mean(0), place - place.mean()
    size = np.sqrt(np.square(centred).sum(0) * np.square(place).sum())
    return np.divide(place @ centred, size, out=np.full(cells.shape[1], np.nan), where=size > 0)


def _colour_regions(picture: Float[np.ndarray, "cell 4"]) -> Int[np.ndarray, " cell"]:
    """Which of four clusters of colours each cell belongs to."""
    if len(picture) < _MIN_CELLS or np.allclose(picture, picture[0], atol=0.02):
        return np.zeros(len(picture), int)
    return np.asarray(kmeans2(picture.astype(np.float64), _REGIONS, seed=0, minit="++", missing="warn")[1])


def _between_share(cells: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share of every unit's variance that lies between regions (eta squared)."""
    mean, total = cells.mean(0), np.square(cells - cells.mean(0)).sum(0)
    between = sum((region == r).sum() * np.square(cells[region == r].mean(0) - mean) for r in np.unique(region))
    return np.divide(between, total, out=np.full(cells.shape[1], np.nan), where=total > 0)


def _growth_features(active: Any, growing: PhaseStates, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Activity in new cells minus old ones, and mean activity in the first third of growth."""
    sums = np.zeros((3, units))
    counts = np.zeros(3)
    last = growing.steps[-1]
    for n, step in enumerate(growing.steps):
        body = growing.bodies[n]
        before = np.asarray(growing.steps) < step - _YOUNG
        old = growing.bodies[before][-1] if before.any() else np.zeros_like(body)
        activity = np.asarray(active(growing.states[n])).astype(np.float64)
        parts = [body & ~old, body & old, body if step <= last / 3 else np.zeros_like(body)]
        for k, part in enumerate(parts):
            if k == 2 or old.any():  # what is new has to have something old to be compared with
                sums[k] += activity[part].sum(0)
                counts[k] += part.sum()
    means = sums / np.where(counts > 0, counts, np.nan)[:, None]
    return means[0] - means[1], means[2]


def _wound_response(active: Any, wounded: PhaseStates, adult: PhaseStates) -> np.ndarray:
    """Activity near the cut minus that in the same cells and steps without it."""
    cells, differences = 0, []
    removed = adult.bodies[0] & ~wounded.bodies[0]
    near = np.stack([_near(mask, _WOUND_WIDTH) for mask in removed]) & wounded.bodies[0]
    for n, step in enumerate(wounded.steps):
        if step - wounded.steps[0] > _WOUND_STEPS or step not in adult.steps:
            continue
        k = adult.steps.index(step)
        place = near & wounded.bodies[n] & adult.bodies[k]
        difference = np.asarray(active(wounded.states[n])) - np.asarray(active(adult.states[k]))
        differences.append(difference[place].astype(np.float64).sum(0))
        cells += int(place.sum())
    return np.sum(differences, 0) / (cells or np.nan)


def _near(mask: Bool[np.ndarray, "y x"], width: int) -> Bool[np.ndarray, "y x"]:
    """Cells within so many cells of those of a mask."""
    import scipy.ndimage

    return scipy.ndimage.binary_dilation(mask, np.ones((3, 3), bool), iterations=width)


def unit_profiles(features: pd.DataFrame, read: xr.Dataset, write: xr.Dataset) -> pd.DataFrame:
    """What each unit reads, when and where it is active, and what it writes: a row of z scores for each unit.

    Columns that are not defined or the same for all units are left out; units that are never active have a row of NaN.
    """
    table = features.copy()
    total = read.read.sum(("filter", "group")).values
    total = np.where(total > 0, total, np.nan)
    for name in read["filter"].values:
        table[f"reads {name}"] = read.read.sel(filter=name).sum("group").values / total
    for group in read.group.values:
        table[f"reads {group}"] = read.read.sel(group=group).sum("filter").values / total
    size = write.written.sum("group").values
    for group in write.group.values:
        share = write.written.sel(group=group).values / np.where(size > 0, size, np.nan)
        table[f"writes {group}"] = share
    table["alpha sign"] = np.sign(write.write.sel(channel="alpha").values) * table["writes alpha"]
    silent = write.variance.values <= 0
    table[silent] = np.nan
    spread = table.std()
    scores = (table - table.mean()) / spread.where(spread > 1e-9)
    return scores.dropna(axis="columns", how="all").apply(lambda c: c.where(~c.isna() | silent, 0.0))


def find_families(profiles: pd.DataFrame, surrogates: int, seed: int = 0) -> tuple[np.ndarray, dict[str, Any]]:
    """Cluster units by their profiles, and compare the clusters with those of shuffled tables.

    The number of families is that whose silhouette lies highest above those of as many families of shuffled tables; p
    compares this excess with the largest excess of each shuffled table.

    Returns:
        the family of each unit, 1 the largest (0: never active in the adult body); and families, their number,
        silhouette, null (surrogate,), silhouettes of as many families of shuffled tables, and p.
    """
    rows = profiles.notna().all(axis=1).to_numpy()
    values = profiles.to_numpy()[rows]
    family = np.zeros(len(profiles), int)
    counts = [k for k in _COUNTS if k < len(values) - 1]
    if not counts or not values.shape[1] or np.unique(values, axis=0).shape[0] <= max(counts):
        return family, {"silhouette": float("nan"), "null": np.zeros(0), "p": float("nan"), "families": 0}
    labels, scores = _cluster(values, counts)
    draw = np.random.default_rng(seed)
    null = np.asarray([_cluster(draw.permuted(values, axis=0), counts)[1] for _ in range(surrogates)])
    excess = np.vstack([scores, null]) - null.mean(0)
    best = int(np.argmax(excess[0]))
    order = np.argsort(-np.bincount(labels[best])[1:], kind="stable")
    rank = np.empty(len(order), int)
    rank[order] = 1 + np.arange(len(order))
    family[rows] = rank[labels[best] - 1]
    p = p_value(float(excess[0].max()), excess[1:].max(1))
    return family, {"families": counts[best], "silhouette": scores[best], "null": null[:, best], "p": p}


def _cluster(values: np.ndarray, counts: list[int]) -> tuple[list[np.ndarray], list[float]]:
    tree = linkage(values, "ward")
    labels = [fcluster(tree, k, "maxclust") for k in counts]
    return labels, [float(silhouette_score(values, label)) if len(np.unique(label)) > 1 else -1.0 for label in labels]


def family_table(profiles: pd.DataFrame, family: Int[np.ndarray, " unit"]) -> pd.DataFrame:
    """A row for each family: family, units, name, and the mean z score of every column."""
    rows = []
    for number in range(1, int(family.max(initial=0)) + 1):
        mean = profiles[family == number].mean()
        name = ", ".join(_phrases(mean)[:3]) or "no number stands out"
        rows.append({"family": number, "units": int((family == number).sum()), "name": name, **mean.round(3)})
    return pd.DataFrame(rows)


def _phrases(mean: pd.Series) -> list[str]:
    """What a family stands out by, the most first."""
    phrases = []
    for column in mean.abs().sort_values(ascending=False).index:
        high, low = LABELS.get(column, (column.replace("reads", "read"), ""))
        phrase = high if mean[column] > 0 else low
        if abs(mean[column]) >= STANDS_OUT and phrase:
            phrases.append(phrase)
    return phrases


def co_activation(rule: Any, phases: Mapping[str, PhaseStates], runs: int = 2) -> Float[np.ndarray, "unit unit"]:
    """Correlation of every two units over the mature cells of all steps of all phases, in the first runs; NaN of a unit
    that never changes."""
    active = jax.jit(lambda states: unit_activity(rule, states))
    units = rule.weights[0].shape[1]
    total, first, second = 0, np.zeros(units), np.zeros((units, units))
    for phase in phases.values():
        for states, bodies in zip(phase.states[:, :runs], phase.bodies[:, :runs], strict=True):
            cells = np.asarray(active(jnp.asarray(states)))[bodies].astype(np.float64)
            total += len(cells)
            first += cells.sum(0)
            second += cells.T @ cells
    mean = first / max(total, 1)
    covariance = second / max(total, 1) - np.outer(mean, mean)
    sd = np.sqrt(np.diagonal(covariance).clip(0))
    size = np.outer(sd, sd)
    return np.divide(covariance, size, out=np.full_like(size, np.nan), where=size > 1e-12)

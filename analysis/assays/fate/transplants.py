"""Do moved cells keep the identity of the place that they come from, or take that of the place where they are?

Discs of the body are moved from a grid of source places to a few targets. A cell is read as donor, host or neither:
its decoded place is that where it would be at the source, that where it is, or another; a cell that is dead, or whose
state is like none of the wild type's, is neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist

from analysis.assays.fate.config import FateConfig
from analysis.assays.fate.dictionary import SAME_PLACE, Dictionary, bodies, decode
from analysis.assays.grafts.grafting import COLOUR, GRAFT, RANDOM, SHAM
from analysis.geometry import hole_grid, positions
from analysis.rollouts import Tick, grow_through
from nca import edits
from nca.damage import disc
from nca.organism import Organism
from nca.spec import hidden_channels

SHUFFLED = "shuffled"
CONTROLS = (SHAM, SHUFFLED, RANDOM, COLOUR)
FATES = ("host", "donor", "neither")
DETERMINED, SPECIFIED, MIXED = "determined", "specified", "mixed"
SHARE = 0.9  # of the graft's cells read as donor (host), from which a place counts as determined (specified)
_BATCH = 64  # grafts that are followed together
_STREAM = 5413
Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Grafting:
    """Grown bodies, and how cells are moved between them: run i receives cells of run i + 1.

    Attributes:
        organism: whose rule runs the cells.
        dictionary: made from other runs.
        config: radius and number of places.
        states: at the adult step, one run more than are grafted.
        keys: one per state.
        tick: receives the steps done.
    """

    organism: Organism
    dictionary: Dictionary
    config: FateConfig
    states: Float[np.ndarray, "run y x channel"]
    keys: Any
    tick: Tick | None = None

    def region(self, target: Place) -> Bool[np.ndarray, "y x"]:
        """The disc about a target."""
        return disc(self.organism.canvas, target, self.config.radius)


def find_targets(body: Bool[np.ndarray, "y x"], radius: float, number: int) -> Int[np.ndarray, "target 2"]:
    """Places deep in the body, each as far as possible from the others: first the two farthest apart.

    A place is deep where its disc lies in the body, or, in bodies too thin for that, among the deepest tenth.
    """
    cells, edge = np.argwhere(body), positions(body)["edge"]
    deep = cells[edge > min(radius, np.quantile(edge, 0.9))] if (edge > edge.min()).any() else cells
    deep = deep if len(deep) else cells
    apart = cdist(deep, deep)
    chosen = list(np.unravel_index(apart.argmax(), apart.shape))[: min(number, len(deep))]
    while len(chosen) < min(number, len(deep)):
        chosen.append(int(apart[chosen].min(0).argmax()))
    return deep[[int(n) for n in chosen]]


def find_sources(body: Bool[np.ndarray, "y x"], radius: float, points: int) -> Int[np.ndarray, "point 2"]:
    """About so many places spread over the body."""
    grid = [numbers for _, numbers in hole_grid(body, (radius,), points).values()]
    return np.array([(n["centre_y"], n["centre_x"]) for n in grid], int).reshape(-1, 2)


def follow_transplants(grafting: Grafting, steps: Sequence[int]) -> pd.DataFrame:
    """Move discs from every source place to every target, and decode their cells.

    Args:
        grafting: the grown bodies.
        steps: at which cells are decoded, ascending; the first is that of the graft.

    Returns:
        A row for each intervention (graft; sham, shuffled, random and colour only from a few sources), target, point,
        run and step: source_y, source_x, target_y, target_x, since, cells (of the disc, mature at both places), and
        the shares of them that are host, donor and neither; known, the share of known states; distance, the median
        from the nearest entry, in the dictionary's units. Sources within twice 2.5 cells plus one of a target are left
        out: host and donor could not be told apart.
    """
    config, body = grafting.config, bodies(grafting.organism, grafting.states[0])
    targets = find_targets(body, config.radius, config.targets)
    sources = find_sources(body, config.radius, config.map_points)
    some = set(np.linspace(0, len(sources) - 1, min(config.control_points, len(sources))).round().astype(int).tolist())
    rows: list[dict[str, Any]] = []
    for t, target in enumerate(targets.tolist()):
        for p, source in enumerate(sources.tolist()):
            if np.hypot(*np.subtract(source, target)) <= 2 * SAME_PLACE + 1:
                continue
            kinds = [GRAFT, *([SHUFFLED, RANDOM, COLOUR] if p in some else [])]
            places = {"source_y": source[0], "source_x": source[1], "target_y": target[0], "target_x": target[1]}
            rows += [{"intervention": kind, "target": t, "point": p, **places} for kind in kinds]
        place = {"source_y": target[0], "source_x": target[1], "target_y": target[0], "target_x": target[1]}
        rows.append({"intervention": SHAM, "target": t, "point": -1, **place})
    rows = [row | {"run": run} for row in rows for run in range(len(grafting.states) - 1)]
    tables = [_follow(grafting, rows[n : n + _BATCH], steps) for n in range(0, len(rows), _BATCH)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _follow(grafting: Grafting, rows: Sequence[dict[str, Any]], steps: Sequence[int]) -> pd.DataFrame:
    """Some of the rows of `follow_transplants`."""
    starts = np.stack([start_of(grafting, row) for row in rows])
    keys = grafting.keys[np.array([row["run"] for row in rows])]
    course = grow_through(grafting.organism, keys, steps, states=starts, tick=grafting.tick)
    measured = []
    for n, row in enumerate(rows):
        for step, state in zip(steps, course[:, n], strict=True):
            measured.append(row | {"since": step - steps[0]} | _shares(grafting, row, state))
    return pd.DataFrame(measured)


def start_of(grafting: Grafting, row: Mapping[str, Any]) -> Float[np.ndarray, "y x channel"]:
    """The state of a row's run with its graft, or what the graft is compared with.

    Only mature cells are moved: where the donor has none, the host keeps its own.
    """
    run, kind, spec = row["run"], row["intervention"], grafting.organism.rule.spec
    source, target = (row["source_y"], row["source_x"]), (row["target_y"], row["target_x"])
    host, donor = grafting.states[run], grafting.states[run + 1]
    moved = np.asarray(edits.graft(grafting.organism, donor, source, target, grafting.config.radius).value)
    region = grafting.region(target) & bodies(grafting.organism, moved)
    draw = np.random.default_rng([grafting.config.seed, run, row["target"], row["point"] + 1, _STREAM])
    if kind == SHUFFLED:
        moved = moved.copy()
        moved[region] = draw.permutation(moved[region])
    elif kind == RANDOM:
        noise = draw.normal(size=host.shape)
        size = np.linalg.norm(moved - host, axis=-1, keepdims=True) / np.linalg.norm(noise, axis=-1, keepdims=True)
        moved = host + noise * size
    elif kind == COLOUR:
        hidden = np.isin(np.arange(spec.channels), hidden_channels(spec))
        moved = np.where(hidden, host, moved)
    return np.where(region[..., None], moved, host).astype(np.float32)


def _shares(grafting: Grafting, row: dict[str, Any], state: Float[np.ndarray, "y x channel"]) -> dict[str, float]:
    """How many cells of the disc are read as host, donor and neither."""
    target, source = (row["target_y"], row["target_x"]), (row["source_y"], row["source_x"])
    cells = counted_cells(grafting, row["run"], source, target)
    if not len(cells):
        return {"cells": 0, **dict.fromkeys((*FATES, "known", "distance"), np.nan)}
    values = state[tuple(cells.T)]
    places, distance = decode(grafting.dictionary, values)
    known = bodies(grafting.organism, state)[tuple(cells.T)] & (distance <= grafting.dictionary.radius)
    host = known & (np.linalg.norm(places - cells, axis=1) <= SAME_PLACE)
    donor = known & ~host & (np.linalg.norm(places - cells - np.subtract(source, target), axis=1) <= SAME_PLACE)
    shares = {"host": host.mean(), "donor": donor.mean(), "neither": (~host & ~donor).mean(), "known": known.mean()}
    shares["distance"] = np.median(distance) / grafting.dictionary.unit if grafting.dictionary.unit else np.nan
    return {"cells": len(cells)} | {name: float(share) for name, share in shares.items()}


def counted_cells(
    grafting: Grafting, run: int, source: Sequence[int], target: Sequence[int]
) -> Int[np.ndarray, "cell 2"]:
    """Cells of the disc at the target that are mature there in the host, and mature at the source in the donor."""
    host, donor = bodies(grafting.organism, grafting.states[[run, run + 1]])
    cells = np.argwhere(host & grafting.region((int(target[0]), int(target[1]))))
    origin = cells + np.subtract(source, target)
    inside = ((origin >= 0) & (origin < donor.shape)).all(1)
    inside[inside] = donor[tuple(origin[inside].T)]
    return cells[inside]


def map_tissue(grafts: pd.DataFrame, since: int, runs: Sequence[int]) -> pd.DataFrame:
    """Determined and specified tissue, by the mean shares over some runs.

    Args:
        grafts: from `follow_transplants`.
        since: steps after the graft.
        runs: that are averaged over.

    Returns:
        A row for each target and point: source_y, source_x, host, donor, neither, and tissue: determined (donor share
        at least 0.9), specified (host share at least 0.9) or mixed.
    """
    chosen = grafts[
        (grafts.intervention == GRAFT) & (grafts.since == since) & grafts.run.isin(list(runs)) & (grafts.cells > 0)
    ]
    places = ["target", "point", "source_y", "source_x", "target_y", "target_x"]
    table = chosen.groupby(places)[list(FATES)].mean().reset_index()
    table["tissue"] = np.select([table.donor >= SHARE, table.host >= SHARE], [DETERMINED, SPECIFIED], MIXED)
    return table

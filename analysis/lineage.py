"""Which organisms were trained from which others: networks of one lineage are not independent."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from nca.organism import Organism


def related(organisms: Sequence[Organism]) -> list[tuple[str, str]]:
    """Names of the pairs that share an ancestor, or of which one is the other's ancestor."""
    hashes = [_own_and_ancestor_hashes(organism) for organism in organisms]
    pairs = combinations(range(len(organisms)), 2)
    return [(organisms[i].name, organisms[j].name) for i, j in pairs if hashes[i] & hashes[j]]


def lineages(organisms: Sequence[Organism], origins: Sequence[Hashable | None] = ()) -> list[int]:
    """The lineage of each organism, numbered from 0 in their order.

    Args:
        organisms: two of them are of one lineage if they share an ancestor, if one is the other's ancestor,
            or if a third joins them.
        origins: of each organism, what else only organisms of one lineage share, such as the initial weights;
            None where unknown.
    """
    if not organisms:
        return []
    traits: list[set[Any]] = [_own_and_ancestor_hashes(organism) for organism in organisms]
    for own, origin in zip(traits, origins, strict=False):
        own |= set() if origin is None else {("origin", origin)}
    joined = np.asarray([[bool(a & b) for b in traits] for a in traits])
    labels = connected_components(joined, directed=False)[1].tolist()
    numbers = {label: n for n, label in enumerate(dict.fromkeys(labels))}
    return [numbers[label] for label in labels]


def _own_and_ancestor_hashes(organism: Organism) -> set[str]:
    hashes, parent = {organism.hash}, organism.provenance.get("started_from")
    while isinstance(parent, Mapping):
        if parent.get("hash"):
            hashes.add(str(parent["hash"]))
        parent = parent.get("started_from")
    return hashes


def training_step(organism: Organism) -> int | None:
    """Number of training steps of the organism's last training run; None where its file does not state it."""
    steps = organism.provenance.get("steps")
    return steps if isinstance(steps, int) and not isinstance(steps, bool) else None


def same_training_run(organisms: Sequence[Organism]) -> bool:
    """Whether these are two or more snapshots of one training run, in their order."""
    steps = [training_step(organism) for organism in organisms]
    configs = [dict(organism.provenance.get("config", {})) for organism in organisms]
    defined = [step for step in steps if step is not None]
    ascending = len(defined) == len(steps) > 1 and all(a < b for a, b in pairwise(defined))
    return ascending and bool(configs[0]) and all(config == configs[0] for config in configs)

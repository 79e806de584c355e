"""Which organisms were trained on from others: such networks are not independent."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from nca.organism import Organism


def ancestors(organism: Organism) -> Iterator[str]:
    """The hashes of the organisms that this one was trained on from."""
    parent = organism.provenance.get("started_from")
    while isinstance(parent, Mapping):
        if parent.get("hash"):
            yield str(parent["hash"])
        parent = parent.get("started_from")


def related(organisms: Sequence[Organism]) -> list[tuple[str, str]]:
    """Pairs that share an ancestor, or of which one is the other's: no independent networks."""
    lines = [{o.hash, *ancestors(o)} for o in organisms]
    return [
        (organisms[i].name, organisms[j].name) for i, j in combinations(range(len(lines)), 2) if lines[i] & lines[j]
    ]


def lineages(organisms: Sequence[Organism], alike: Sequence[Hashable | None] = ()) -> list[int]:
    """Which independent line each organism belongs to, numbered from 0 in their order.

    Args:
        organisms: two of them are of one line if they share an ancestor, or one is the other's, or a
            third joins them.
        alike: of each, something that organisms of one line have in common besides, such as the
            weights they began with; None where nothing is known.
    """
    shared: list[set[Any]] = [{o.hash, *ancestors(o)} for o in organisms]
    for marks, also in zip(shared, alike, strict=False):
        marks |= set() if also is None else {("alike", also)}
    lines = list(range(len(organisms)))
    for i, j in combinations(range(len(organisms)), 2):
        if shared[i] & shared[j]:
            old, new = max(lines[i], lines[j]), min(lines[i], lines[j])
            lines = [new if line == old else line for line in lines]
    numbers = {line: n for n, line in enumerate(dict.fromkeys(lines))}
    return [numbers[line] for line in lines]

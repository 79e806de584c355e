"""Which organisms were trained on from others: such networks are not independent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

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
        (organisms[i].name, organisms[j].name)
        for i, j in combinations(range(len(lines)), 2)
        if lines[i] & lines[j]
    ]

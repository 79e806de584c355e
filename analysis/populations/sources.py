"""What the words typed after a command name: an organism, several, a folder of them, a population."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from analysis.assays.axes.comparison import same_run
from analysis.populations.members import FILE, INDEX, Population, members
from nca.errors import UserError
from nca.io import bundled, load
from nca.organism import Organism

FEW = 4  # organisms of a plain folder that are told one by one


def folder_of(source: str) -> Path | None:
    """The folder of organisms that a name or path means; None if it means something else."""
    if source in bundled():
        return None
    shipped = Path(str(resources.files("nca") / "organisms" / source))
    if source and Path(source).name == source and os.path.isfile(shipped / INDEX):
        return shipped
    return Path(source) if source and os.path.isdir(source) else None


def population_of(sources: Sequence[str]) -> Population | None:
    """The population that the words name, if that is what they name.

    A folder with a population.json is one, and so is a folder of more than four organisms that are not
    the steps of one training run; other organisms are told side by side.

    Raises:
        UserError: a folder without organisms, or a population.json that does not describe one.
    """
    folder = folder_of(sources[0]) if len(sources) == 1 else None
    if folder is None:
        return None
    if (folder / INDEX).is_file():
        return members(folder)
    if len(list(folder.glob(f"*{FILE}"))) <= FEW:
        return None
    found = members(folder)
    return None if same_run(in_training([m.organism for m in found.members])) else found


def organisms_of(sources: Sequence[str]) -> list[Organism]:
    """The organisms that are named, those of a folder in the order of their training, each under a name
    of its own.

    Raises:
        UserError: none is named, or a folder without organisms.
    """
    if not sources:
        raise UserError("At least one organism is needed; nca organisms lists the bundled ones.")
    found: list[Organism] = []
    for source in sources:
        folder = folder_of(source)
        found += in_training([m.organism for m in members(folder).members]) if folder else [one_of(source)]
    seen: dict[str, int] = {}
    for n, one in enumerate(found):
        seen[one.name] = seen.get(one.name, 0) + 1
        if seen[one.name] > 1:
            found[n] = one.renamed(f"{one.name} ({seen[one.name]})")
    return found


def in_training(organisms: Sequence[Organism]) -> list[Organism]:
    """Organisms by how long they were trained in their last run, where that is known."""

    def trained(organism: Organism) -> int:
        steps = organism.provenance.get("steps")
        return steps if isinstance(steps, int) else -1

    return sorted(organisms, key=trained)


def one_of(source: str, command: str = "") -> Organism:
    """The organism that is named, also as POPULATION/MEMBER.

    Args:
        source: a bundled name, a file, or a member of a population.
        command: what takes one organism only, such as "nca view", for the sentence about a folder.

    Raises:
        UserError: there is none, or a folder of several.
    """
    folder = folder_of(source)
    if folder is not None and ((folder / INDEX).is_file() or any(folder.glob(f"*{FILE}"))):
        found = members(folder).members
        raise UserError(
            f"{command or 'This'} takes one organism, and {source} holds {len(found)}: name one of them, "
            f"such as {source.rstrip('/')}/{found[0].name}."
        )
    where, _, name = source.rpartition("/")
    inside = folder_of(where) if where and not os.path.isfile(source) else None
    if inside is None or not (inside / INDEX).is_file():
        return load(source)
    found = members(inside).members
    named = {m.name: m.organism for m in found}
    if name not in named:
        listed = ", ".join(list(named)[:6]) + (" ..." if len(named) > 6 else "")
        raise UserError(f"The population {where} has no member {name!r}; it has {listed}.")
    return named[name]

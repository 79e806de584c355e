"""`nca merge`: the parts of a sweep, or of a population, made one again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from analysis.cli.basic import say, tell
from nca.errors import UserError

if TYPE_CHECKING:
    from analysis.sweeps.merge import Merged

NAME = "nca merge"


@dataclass(frozen=True)
class Merge:
    """Put together what was made with --part: sweeps, or populations. The parts stay as they are.

    Attributes:
        parts: the parts' files or folders, in any order.
        out: folder for the whole.
        mixed: allow parts made by different versions of jax; those of different versions of this package
            are never merged.
    """

    parts: Positional[tuple[Annotated[Path, arg(metavar="PART")], ...]]
    out: Path
    mixed: bool = False


def merge(command: Merge) -> None:
    """Merge, write, say where."""
    from nca.training.merge import is_population, merge_population

    if not command.parts:
        raise UserError("There are no parts to merge; name their files or folders.")
    missing = [path for path in command.parts if not path.exists()]
    if missing:
        raise UserError(f"There is no {missing[0]}; name the parts' files or folders.")
    kinds = {is_population(path) for path in command.parts}
    if len(kinds) > 1:
        raise UserError("These are parts of populations and of sweeps; merge each kind by itself.")
    if kinds == {True}:
        tell(str(merge_population(command.parts, command.out, mixed=command.mixed)))
    else:
        merge_sweep(command)


def merge_sweep(command: Merge) -> None:
    """Merge the parts of a sweep."""
    from analysis.cli.sweep import place, write_about
    from analysis.sweeps.merge import merged, write_whole

    begun = time.monotonic()
    whole = merged(list(command.parts), mixed=command.mixed)
    table = whole.table()
    for line in warnings(whole):
        say(f"warning: {line}")
    parts = [
        {"part": str(one.part), "device": one.header.get("device"), "versions": one.header["versions"]}
        for one in whole.parts
    ]
    with place(command.out, alone=True):
        write_whole(whole, command.out)
        config = {"mixed": command.mixed}
        write_about(command.out, table, NAME, config, time.monotonic() - begun, parts=parts)
    tell(str(command.out))


def warnings(whole: Merged) -> list[str]:
    """What a reader of the merged table should know."""
    kinds = sorted({str(one.header.get("device")) for one in whole.parts})
    if len(kinds) == 1:
        return []
    return [
        f"the parts were made on {', '.join(kinds)}; runs round differently there, each row beside its own "
        "machine's control"
    ]

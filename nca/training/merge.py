"""The parts of a population, trained apart, made one folder again.

A population's folder holds `population.json` and one organism file for each trained member. A part's
folder is the same, with what was not its own still waiting or not listed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nca.errors import UserError
from nca.io import UNFINISHED, read, write
from nca.shards import Part, all_parts, check_versions

INDEX = "population.json"
FORMAT = 1
FINISHED = ("trained", "failed")


@dataclass(frozen=True)
class Share:
    """What a folder holds of a population.

    Attributes:
        folder: where.
        described: its population.json.
        members: finished members, by number among the recipes.
        n: into how many parts the population was split.
    """

    folder: Path
    described: Mapping[str, Any]
    members: Mapping[int, Mapping[str, Any]]
    n: int


def merge_population(folders: Sequence[Path], out: Path, *, mixed: bool = False) -> Path:
    """Write one folder of a population whose parts were trained apart; the parts stay as they are.

    Args:
        folders: the parts, in any order.
        out: where to; it must not be there yet, or be empty.
        mixed: allow parts trained by different versions of jax, flax or optax.

    Returns:
        The folder.

    Raises:
        UserError: a member is missing, unfinished or came twice, a file is missing or damaged, or the
            parts are of different populations or versions. Nothing is written then.
    """
    shares = [share(folder) for folder in folders]
    if not shares:
        raise UserError("There are no parts to merge; name their folders.")
    _check_place(out)
    _check_same(shares)
    check_versions([(str(one.folder), one.described.get("versions", {})) for one in shares], mixed)
    owners = _owners(shares)
    described = {
        **shares[0].described,
        "members": [dict(owners[number].members[number]) for number in sorted(owners)],
        "merged": [{"versions": one.described.get("versions", {})} for one in shares],
    }
    _check_names(described["members"])
    _write(owners, described, out)
    return out


def is_population(path: Path) -> bool:
    """Whether a path is a population's folder."""
    return (path / INDEX).is_file()


def share(folder: Path) -> Share:
    """What a folder holds of a population.

    Raises:
        UserError: no readable `population.json`.
    """
    place = folder / INDEX
    try:
        described = json.loads(place.read_text())
        if described["format"] > FORMAT:
            raise UserError(f"{place} was written by a newer version (format {described['format']}).")
        recipes, members = described["recipes"], described["members"]
        parts = {Part.parse(one["part"]) for one in members}
        count = {part.n for part in parts}
        if len(count) != 1 or not isinstance(recipes, list):
            raise ValueError("its members are of different splits")
        finished = {number: one for number, one in _numbered(members, len(recipes)) if one["status"] in FINISHED}
        for one in finished.values():
            if one["status"] == "trained" and Path(str(one["file"])).name != one["file"]:
                raise ValueError(f"{one['file']!r} is no file of its folder")
            if Path(str(one["name"])).name != one["name"]:
                raise ValueError(f"{one['name']!r} is no name of a member")
    except (OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"{place} does not describe a population: {error}.") from error
    return Share(folder, described, finished, count.pop())


def _numbered(members: Sequence[Mapping[str, Any]], whole: int) -> list[tuple[int, Mapping[str, Any]]]:
    """Members with their numbers among the recipes: all are listed, or those of some parts in order."""
    if len(members) == whole:
        return list(enumerate(members))
    numbered = []
    for part in sorted({Part.parse(one["part"]) for one in members}):
        own = [one for one in members if Part.parse(one["part"]) == part]
        numbered += list(zip(part.of(whole), own, strict=True))
    return numbered


def _check_same(shares: Sequence[Share]) -> None:
    """Raise `UserError` where the parts are not of one population, split in one way."""
    first = shares[0]
    for other in shares[1:]:
        ours, theirs = first.described["recipes"], other.described["recipes"]
        if len(ours) != len(theirs):
            told = f"{len(ours)} and {len(theirs)} members"
        elif ours != theirs:
            told = "the recipe of member " + str(next(i for i, r in enumerate(ours) if r != theirs[i]))
        elif first.n != other.n:
            told = f"splits in {first.n} and {other.n} parts"
        else:
            continue
        raise UserError(
            f"Parts of different populations: {first.folder} and {other.folder} differ in {told}; merge the "
            "parts of one population."
        )


def _owners(shares: Sequence[Share]) -> dict[int, Share]:
    """Which folder holds each member; raises unless every member is finished in one of them."""
    owners: dict[int, Share] = {}
    for one in shares:
        for number, member in one.members.items():
            if number in owners:
                raise UserError(
                    f"{member['name']} came twice, from {owners[number].folder} and {one.folder}; give each part once."
                )
            owners[number] = one
    whole = len(shares[0].described["recipes"])
    listed = shares[0].described["members"]
    everyone = dict(_numbered(listed, whole))
    if len(everyone) == whole:
        parts = sorted({Part.parse(one["part"]) for i, one in everyone.items() if i not in owners})
    else:
        parts = [part for part in all_parts(shares[0].n) if set(part.of(whole)) - set(owners)]
    if parts:
        short = whole - len(owners)
        named = ", ".join(map(str, parts[:6])) + (f" and {len(parts) - 6} more" if len(parts) > 6 else "")
        raise UserError(
            f"{short} of {whole} members are missing or unfinished, of part {named}; train them with --part "
            "(and --resume where it was begun), then merge again: the other parts stay as they are."
        )
    return owners


def _check_names(members: Sequence[Mapping[str, Any]]) -> None:
    """Raise `UserError` where two members would have one name or one file."""
    for field in ("name", "file"):
        named = [one[field] for one in members if one["status"] == "trained"]
        twice = sorted({str(name) for name in named if named.count(name) > 1})
        if twice:
            raise UserError(f"Two members have the {field} {twice[0]!r}; they cannot share a folder.")


def _check_place(out: Path) -> None:
    """Raise `UserError` where a folder cannot be made."""
    if not out.absolute().parent.is_dir():
        raise UserError(f"There is no folder {out.parent}; make it, or choose another place.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already; name another folder for the merged population.")


def _write(owners: Mapping[int, Share], described: Mapping[str, Any], out: Path) -> None:
    """Write the folder beside its place, then rename it there."""
    try:
        beside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=out.absolute().parent))
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error.strerror or error}; choose another place.") from error
    try:
        for number, owner in owners.items():
            member = owner.members[number]
            if member["status"] == "trained":
                source = owner.folder / member["file"]
                if not source.is_file():
                    raise UserError(f"{member['name']} is said to be trained, but {source} is not there.")
                read(source)  # a damaged file is not merged
                write(beside / member["file"], source.read_bytes())
                continue
            why = Path("runs") / member["name"] / "failed.txt"
            if (owner.folder / why).is_file():
                (beside / why.parent).mkdir(parents=True)
                write(beside / why, (owner.folder / why).read_bytes())
        write(beside / INDEX, json.dumps(described, indent=1) + "\n")
        beside.chmod(0o755)
        os.replace(beside, out)
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error.strerror or error}; choose another place.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)

"""The parts of a sweep made one table again, the same as if it had never been split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.sweeps.store import FORMAT, Found, Settings, differing, read_lines, rows_of
from analysis.sweeps.sweep import table
from nca.errors import UserError
from nca.io import write_file
from nca.shards import Shard, check_same_versions, check_complete

WHOLE = "rows.jsonl"
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class PartFile:
    """A part as its file tells it.

    Attributes:
        path: the file.
        header: its first line: of which sweep, which part, made by what.
        part: which part.
        settings: what was measured, on which runs, when.
        lines: the rows, by experiment and run.
    """

    path: Path
    header: Mapping[str, Any]
    part: Shard
    settings: Settings
    lines: Mapping[tuple[str, int], dict[str, Any]]

    @property
    def missing(self) -> int:
        """Rows that are still to be made."""
        return len(self.rows) - len(self.lines)

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Experiment and run of every row that the part holds when it is finished."""
        return rows_of(list(self.header["experiments"]), self.settings.runs, self.part)


@dataclass(frozen=True)
class Merged:
    """A whole sweep.

    Attributes:
        parts: what it was made of, in order.
        rows: experiment and run of every row.
        lines: the rows as a file of rows holds them.
    """

    parts: Sequence[PartFile]
    rows: Sequence[tuple[str, int]]
    lines: Sequence[dict[str, Any]]

    def table(self) -> pd.DataFrame:
        """The rows as `analysis.sweep` returns them."""
        return table(self.parts[0].settings, self.rows, [line["found"] for line in self.lines])

    def header(self) -> dict[str, Any]:
        """The first line of the one file that holds it all."""
        return {**self.parts[0].header, "part": "1/1"}


def merge(paths: Paths, *, mixed: bool = False) -> pd.DataFrame:
    """One table of the files that `analysis.sweep(..., part="k/n", store=...)` wrote.

    On machines of one kind it equals the table of the undivided sweep to the bit, on CPUs at least; an
    accelerator rounds by how many runs it takes side by side.

    Args:
        paths: the parts' files, or folders that hold them; in any order.
        mixed: allow parts made by different versions of jax. Those of different versions of this
            package are never merged.

    Raises:
        UserError: a part is missing, unfinished, given twice, damaged, of another sweep, or made by
            another version. The files stay as they are.
    """
    return merged(paths, mixed=mixed).table()


def merged(paths: Paths, *, mixed: bool = False) -> Merged:
    """The same, with where everything came from."""
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    parts = [read(file) for path in listed for file in files_of(Path(path))]
    _check(parts, mixed)
    parts = sorted(parts, key=lambda one: one.part)
    lines = {row: line for one in parts for row, line in one.lines.items()}
    rows = rows_of(list(parts[0].header["experiments"]), parts[0].settings.runs, None)
    return Merged(parts, rows, [lines[row] for row in rows])


def files_of(path: Path) -> list[Path]:
    """The parts' files that a path names: itself, or those in a folder, if there are none its whole."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("rows.*-of-*.jsonl")) or sorted(path.glob(WHOLE))
    if not found:
        raise UserError(f"{path} holds no rows of a sweep: neither {WHOLE} nor rows.K-of-N.jsonl.")
    return found


def read(path: Path) -> PartFile:
    """A part's file.

    Raises:
        UserError: it is none, or holds what it should not.
    """
    header, lines = read_lines(path)
    if header is None:
        raise UserError(f'{path} is not a part of a sweep; make it with part="k/n", or nca sweep.')
    try:
        if header["format"] > FORMAT:
            raise UserError(f"{path} was written by a newer version (format {header['format']}).")
        asked: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in header["settings"].items()}
        part, settings = Shard.parse(header["part"]), Settings(**asked)
        held = set(rows_of(list(header["experiments"]), settings.runs, part))
        header["organism"]["digest"], header["versions"].items(), header["experiments"].items()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is not a part of a sweep: {error}.") from error
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for line in lines:
        row = (str(line["experiment"]), int(line["run"]))
        if row not in held:
            raise UserError(f"{path} is part {part} and holds a row of another: {row[0]}, run {row[1]}.")
        if row in rows and rows[row] != line:
            raise UserError(
                f"{path} holds {row[0]}, run {row[1]} twice, with different numbers, as two machines leave "
                "it that wrote at once; remove the file and make the part again."
            )
        _check_found(path, row, line["found"], len(settings.marks))
        rows[row] = line
    return PartFile(path, header, part, settings, rows)


def _check_found(path: Path, row: tuple[str, int], found: Found, marks: int) -> None:
    """Raise `UserError` where a row does not hold a measure at every mark."""
    try:
        whole = all(len(found[name]) == marks for name in ("mse", "mature_cells", "alone", "dead"))
        numbers = [float(found[name]) for name in ("overgrown", "exploded", "cells", "most")]
    except (KeyError, TypeError, ValueError):
        whole, numbers = False, []
    if not whole or not numbers:
        raise UserError(f"{path}: the row {row[0]}, run {row[1]} is damaged; make the part again.")


def _check(parts: Sequence[PartFile], mixed: bool) -> None:
    """Raise `UserError` unless these are all the parts, finished, of one sweep and of one version."""
    check_complete([(str(one.path), one.part) for one in parts])
    for other in parts[1:]:
        said = differing(parts[0].header, other.header)
        if said:
            raise UserError(
                f"Parts of different sweeps: {other.path} differs from {parts[0].path} in "
                f"{', '.join(said)}; merge the parts of one sweep."
            )
    check_same_versions([(str(one.path), one.header["versions"]) for one in parts], mixed)
    short = [one for one in parts if one.missing]
    if short:
        told = "; ".join(f"part {one.part} has {len(one.lines)} of {len(one.rows)} rows" for one in short[:5])
        more = f"; and {len(short) - 5} parts more" if len(short) > 5 else ""
        raise UserError(
            f"Unfinished: {told}{more}; run the same command again, which goes on where it was, then merge."
        )


def write_whole(whole: Merged, folder: Path) -> Path:
    """Write rows.jsonl as an undivided `nca sweep` leaves it; the folder has to be there."""
    lines = [{"sweep": whole.header()}, *whole.lines]
    return write_file(folder / WHOLE, "".join(json.dumps(line) + "\n" for line in lines))

"""What a sweep is asked for, and the file that its finished rows are kept in.

A file holds one JSON object a line. A row has its key (what determines it), experiment, run and what
was found: measures at every mark, of the run and of the control beside it, and what fired. So a row
is complete in itself. The first line of a part's file says of which sweep, and which part, it is.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from analysis.rollouts import CHUNK
from nca.edits import Edit
from nca.errors import UserError
from nca.io import write_file
from nca.organism import Organism
from nca.shards import NUMERIC_PACKAGES, OWN_PACKAGES, Shard
from nca.versions import versions

METRICS = ("fitness", "log_error", "worse", "e", "mature")
FORMAT = 1
Found = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What is measured of every experiment, on which runs, and when.

    Attributes:
        metrics: of `METRICS`.
        runs: keys.
        seed: what the keys follow from.
        start: the step that runs continue from.
        horizons: steps after it, ascending, at which rows are measured.
        untouched: allow experiments that change nothing.
    """

    metrics: tuple[str, ...]
    runs: int
    seed: int
    start: int
    horizons: tuple[int, ...]
    untouched: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.metrics) - set(METRICS))
        if unknown or not self.metrics:
            raise UserError(f"Metrics are of {', '.join(METRICS)}; got {', '.join(unknown) or 'none'}.")
        if not self.horizons or list(self.horizons) != sorted(set(self.horizons)) or self.horizons[0] < 1:
            raise UserError(f"Horizons are ascending steps after the start, got {list(self.horizons)}.")
        if self.runs < 1:
            raise UserError(f"At least one run is needed, got {self.runs}.")
        if self.start < 0:
            raise UserError(f"A sweep starts at step 0 or later, got {self.start}.")

    @property
    def marks(self) -> np.ndarray:
        """The steps measured at: the horizons, and the ends of stretches between."""
        last = self.start + self.horizons[-1]
        return np.asarray(sorted({*range(self.start, last, CHUNK), *(self.start + h for h in self.horizons)}))


@dataclass(frozen=True, eq=False)
class Plan:
    """A sweep, or a part of one, before it is made.

    Attributes:
        organism: what grows.
        experiments: edits that act together, by name.
        settings: everything else.
        part: which part of the rows; None is the whole, without a word about parts in its file.
    """

    organism: Organism
    experiments: Mapping[str, tuple[Edit, ...]]
    settings: Settings
    part: Shard | None = None

    @cached_property
    def rows(self) -> list[tuple[str, int]]:
        """Experiment and run of every row, as the table orders them."""
        return rows_of(list(self.experiments), self.settings.runs, self.part)

    @cached_property
    def digest(self) -> str:
        """What the organism's rows depend on, in forty hex digits."""
        digest = hashlib.sha1(self.organism.hash.encode())
        if self.organism.target is not None:
            digest.update(np.ascontiguousarray(self.organism.target).tobytes())
        return digest.hexdigest()

    def key(self, name: str, run: int) -> str:
        """What determines a row, in forty hex digits."""
        digest = hashlib.sha1(self.digest.encode())
        digest.update(json.dumps([self.settings.seed, run, self.settings.marks.tolist()]).encode())
        digest.update(digest_of(self.experiments[name]).encode())
        return digest.hexdigest()

    def header(self) -> dict[str, Any] | None:
        """The first line of a part's file."""
        if self.part is None:
            return None
        from nca.training import devices

        return {
            "format": FORMAT,
            "part": str(self.part),
            "organism": {"name": self.organism.name, "hash": self.organism.hash, "digest": self.digest},
            "experiments": {name: digest_of(edits) for name, edits in self.experiments.items()},
            "settings": json.loads(json.dumps(asdict(self.settings))),
            "versions": versions(),
            "device": devices.in_words(),
        }


def rows_of(names: list[str], runs: int, part: Shard | None) -> list[tuple[str, int]]:
    """Experiment and run of the rows that a part holds, experiment by experiment.

    Rows are dealt run by run, so that a part shares as few controls with the others as can be.
    """
    if part is None:
        return [(name, run) for name in names for run in range(runs)]
    held = set(part.of(len(names) * runs))
    return [
        (name, run) for number, name in enumerate(names) for run in range(runs) if run * len(names) + number in held
    ]


def digest_of(edits: tuple[Edit, ...]) -> str:
    """What edits that act together do, in forty hex digits."""
    digest = hashlib.sha1()
    for edit in edits:
        digest.update(f"{edit.site} {edit.mode} {edit.region is None}".encode())
        for leaf in jax.tree.leaves(edit):
            digest.update(np.ascontiguousarray(leaf).tobytes() + str(np.shape(leaf)).encode())
    return digest.hexdigest()


def read_lines(path: str | Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The first line of a part's file, if it is one, and the rows; half a last line is passed over.

    Raises:
        UserError: the file cannot be read or holds no rows of a sweep.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read rows from {path}: {error}; choose another file.") from error
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        if text and not text.startswith("{"):
            raise ValueError
        rows = [json.loads(line) for line in lines]
        header = rows.pop(0)["sweep"] if rows and "sweep" in rows[0] else None
        for row in rows:
            row["key"], row["experiment"], row["run"], row["found"]["alone"]  # all are needed
        return header, rows
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path} holds no rows of a sweep; name another file.") from None


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two parts' first lines tell of different sweeps, in words."""
    a, b = one["settings"], other["settings"]
    same = one["organism"]["digest"] == other["organism"]["digest"]
    said = [] if same else ["organism"]
    if list(one["experiments"].items()) != list(other["experiments"].items()):
        said.append("experiments")
    return said + [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


class Store:
    """Finished rows in a file, found again by what determines them.

    Attributes:
        path: the file; None keeps nothing.
        known: what was found, by the row's key.
    """

    def __init__(self, path: str | Path | None, plan: Plan) -> None:
        """Read what is there already.

        Raises:
            UserError: the file holds something else, rows of another sweep, or another version's.
        """
        self.path, self.header, self.lock = path, plan.header(), threading.Lock()
        self.known: dict[str, Found] = {}
        if path is not None and Path(path).exists():
            header, rows = read_lines(path)
            if header or rows:
                self._check(header)
            self.known = {row["key"]: row["found"] for row in rows}

    def _check(self, header: dict[str, Any] | None) -> None:
        if (header is None) != (self.header is None):
            what = "rows of a sweep that is not split" if header is None else "a part of a sweep"
            raise UserError(f"{self.path} holds {what}; name another file.")
        if header is None or self.header is None:
            return
        try:
            said = differing(header, self.header)
            said += [] if header["part"] == self.header["part"] else ["part"]
            before, now = header["versions"], self.header["versions"]
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{self.path} holds no rows of a sweep; name another file.") from None
        if said:
            raise UserError(
                f"{self.path} was begun with another {', '.join(said)}; go on as it was begun, or name another file."
            )
        for name in (*OWN_PACKAGES, *NUMERIC_PACKAGES):
            if before.get(name) != now[name]:
                raise UserError(
                    f"{self.path} was begun by {name} {before.get(name)} and this is {now[name]}; finish it "
                    "with that version, or begin another file."
                )

    def open(self) -> None:
        """Make the file ready to be added to: its first line there, half a last line gone.

        Raises:
            UserError: it cannot be written.
        """
        if self.path is None:
            return
        try:
            Path(self.path).touch()
            text = Path(self.path).read_text()
            whole = text[: text.rfind("\n") + 1]  # it may have been interrupted while it wrote
            if not whole and self.header is not None:
                whole = json.dumps({"sweep": self.header}) + "\n"
            if whole != text:
                write_file(self.path, whole)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot keep rows in {self.path}: {error}; choose another file.") from error

    def add(self, key: str, name: str, run: int, found: Found) -> None:
        """Keep a finished row."""
        if self.path is not None:
            line = json.dumps({"key": key, "experiment": name, "run": run, "found": found}) + "\n"
            with self.lock, Path(self.path).open("a") as file:
                file.write(line)

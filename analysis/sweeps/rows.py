"""The finished rows of a sweep: their file, their table, and merging the files of shards.

The file holds one JSON object per line. A row has the key that determines it, its experiment and run,
the measurements of the edited run and of its control at every measured step, and how much the edits
changed. The first line of a shard's file, the header, describes the sweep.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from analysis import metrics as measures
from analysis.paired import measured_steps
from nca.edits import Edit
from nca.errors import UserError
from nca.io import write_file
from nca.organism import Organism
from nca.shards import NUMERIC_PACKAGES, OWN_PACKAGES, Shard, check_complete, check_same_versions
from nca.validation import check_at_least, check_eval_steps
from nca.versions import versions

METRICS = ("fitness", "log_mse", "log_mse_increase", "mse", "mature_cells")
FORMAT = 2
_SERIES = ("mse", "mature_cells", "mse_control", "mse_empty")
_NUMBERS = ("overgrown", "exploded", "cells_changed", "largest_change")
_ONE_FILE = "rows.jsonl"

Row = dict[str, Any]
Experiments = Mapping[str, tuple[Edit, ...]]


@dataclass(frozen=True)
class SweepConfig:
    """What is measured of every experiment, on which runs, and when.

    Attributes:
        metrics: of `METRICS`.
        runs: runs per experiment.
        seed: of the runs' keys.
        adult_step: the step that runs continue from.
        eval_steps: steps after it, ascending, at which rows are measured.
        allow_no_op: allow experiments that change nothing.
    """

    metrics: tuple[str, ...]
    runs: int
    seed: int
    adult_step: int
    eval_steps: tuple[int, ...]
    allow_no_op: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.metrics) - set(METRICS))
        if unknown or not self.metrics:
            raise UserError(f"metrics are some of {', '.join(METRICS)}; got {', '.join(unknown) or 'none'}.")
        check_eval_steps(self.eval_steps)
        check_at_least(1, self, "runs")
        check_at_least(0, self, "adult_step")

    @property
    def steps(self) -> list[int]:
        """Every step that is measured."""
        return measured_steps(self.adult_step, self.eval_steps)


def shard_rows(experiments: Iterable[str], runs: int, shard: Shard | None) -> list[tuple[str, int]]:
    """Experiment and run of the rows of a shard (all rows if None), experiment by experiment.

    Rows are dealt run by run, so that shards share as few controls as possible.
    """
    names = list(experiments)
    own = range(len(names) * runs) if shard is None else shard.of(len(names) * runs)
    return [(name, run) for n, name in enumerate(names) for run in range(runs) if run * len(names) + n in own]


def rows_table(config: SweepConfig, order: Sequence[tuple[str, int]], rows: Sequence[Row]) -> pd.DataFrame:
    """The table that `analysis.sweep` returns: one line per row and evaluation step."""
    ends = config.adult_step + np.asarray(config.eval_steps)
    picked = np.searchsorted(config.steps, ends)
    series = {name: np.asarray([row[name] for row in rows])[:, picked] for name in _SERIES}
    mse, mse_control, mse_empty = (jnp.asarray(series[name]) for name in ("mse", "mse_control", "mse_empty"))
    log_mse = np.asarray(measures.log_mse(mse))
    values = {
        "mse": series["mse"],
        "mature_cells": series["mature_cells"],
        "fitness": np.asarray(measures.fitness(mse, mse_control, mse_empty)),
        "log_mse": log_mse,
        "log_mse_increase": log_mse - np.asarray(measures.log_mse(mse_control)),
    }
    names, runs = zip(*order, strict=True)
    columns: dict[str, Any] = {
        "experiment": [name for name in names for _ in ends],
        "run": np.repeat(runs, len(ends)),
        "step": np.tile(ends, len(order)),
    }
    columns |= {name: values[name].ravel() for name in config.metrics}
    columns |= {name: np.repeat([row[name] for row in rows], len(ends)) for name in _NUMBERS}
    return pd.DataFrame(columns)


def read_rows(path: str | Path) -> tuple[dict[str, Any] | None, list[Row]]:
    """The header of a file, if it has one, and its rows; an unfinished last line is ignored.

    Raises:
        UserError: the file cannot be read, or holds anything else.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read rows from {path}: {error}; choose another file.") from error
    try:
        if text and not text.startswith("{"):
            raise ValueError
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        header = rows.pop(0)["sweep"] if rows and "sweep" in rows[0] else None
        if not all({"key", "experiment", "run"} <= row.keys() for row in rows):
            raise ValueError
        return header, rows
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise UserError(f"{path} holds no rows of a sweep; choose another file.") from None


class RowStore:
    """The file that the finished rows of a sweep or shard are added to.

    Attributes:
        rows: the wanted rows that the file holds already, by experiment and run.
    """

    def __init__(
        self,
        path: str | Path | None,
        organism: Organism,
        experiments: Experiments,
        config: SweepConfig,
        shard: Shard | None,
    ) -> None:
        """Read the rows that are there already.

        Args:
            path: the file; None keeps nothing.
            organism: what grows.
            experiments: edits that act together, by name.
            config: of the sweep.
            shard: whose rows are wanted; None for an undivided sweep, whose file has no header, so that
                experiments can be added to it.

        Raises:
            UserError: the file holds something else, or rows of another sweep or version.
        """
        self.rows: dict[tuple[str, int], Row] = {}
        self._path, self._lock = path, threading.Lock()
        if path is None:
            return
        organism_digest = hashlib.sha1(organism.hash.encode())
        if organism.target is not None:
            organism_digest.update(np.ascontiguousarray(organism.target).tobytes())
        digests = {name: _edits_digest(edits) for name, edits in experiments.items()}
        self._header = None if shard is None else _header(organism, organism_digest.hexdigest(), digests, config, shard)
        common = [organism_digest.hexdigest(), config.seed, config.steps]
        self._keys = {
            (name, run): hashlib.sha1(json.dumps([*common, digests[name], run]).encode()).hexdigest()
            for name, run in shard_rows(experiments, config.runs, shard)
        }
        if Path(path).exists():
            header, rows = read_rows(path)
            if header or rows:
                self._check(header)
            for row in rows:
                _check_row(path, row)
            finished = {row["key"]: row for row in rows}
            self.rows = {row: finished[key] for row, key in self._keys.items() if key in finished}

    def _check(self, begun: dict[str, Any] | None) -> None:
        if (begun is None) != (self._header is None):
            content = "an undivided sweep" if begun is None else "a shard of a sweep"
            raise UserError(f"{self._path} holds the rows of {content}; choose another file.")
        if begun is None or self._header is None:
            return
        try:
            other = _differences(begun, self._header) + ["shard"] * (begun["shard"] != self._header["shard"])
            before, now = begun["versions"], self._header["versions"]
            changed = [name for name in (*OWN_PACKAGES, *NUMERIC_PACKAGES) if before.get(name) != now[name]]
            other += [f"version of {name} ({before.get(name)}, now {now[name]})" for name in changed]
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{self._path} holds no rows of a sweep; choose another file.") from None
        if other:
            raise UserError(
                f"{self._path} was begun with another {', '.join(other)}; continue as it was begun, or choose another "
                "file."
            )

    def open(self) -> None:
        """Make the file ready for new rows: write the header, drop an unfinished last line.

        Raises:
            UserError: it cannot be written.
        """
        if self._path is None:
            return
        try:
            Path(self._path).touch()
            text = Path(self._path).read_text()
            complete = text[: text.rfind("\n") + 1]
            if not complete and self._header is not None:
                complete = json.dumps({"sweep": self._header}) + "\n"
            if complete != text:
                write_file(self._path, complete)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot write rows to {self._path}: {error}; choose another file.") from error

    def add(self, name: str, run: int, row: Row) -> None:
        """Append the finished row of an experiment and run."""
        if self._path is not None:
            line = json.dumps({"key": self._keys[name, run], "experiment": name, "run": run, **row})
            with self._lock, Path(self._path).open("a") as file:
                file.write(line + "\n")


def _header(
    organism: Organism, organism_digest: str, edits_digests: Mapping[str, str], config: SweepConfig, shard: Shard
) -> dict[str, Any]:
    """The first line of a shard's file."""
    from nca.training import devices

    return {
        "format": FORMAT,
        "shard": str(shard),
        "organism": {"name": organism.name, "hash": organism.hash, "digest": organism_digest},
        "experiments": edits_digests,
        "config": json.loads(json.dumps(asdict(config))),
        "versions": versions(),
        "device": devices.describe_devices(),
    }


def _edits_digest(edits: Sequence[Edit]) -> str:
    digest = hashlib.sha1()
    for edit in edits:
        digest.update(f"{edit.site} {edit.mode} {edit.region is None}".encode())
        for leaf in jax.tree.leaves(edit):
            digest.update(np.ascontiguousarray(leaf).tobytes() + str(np.shape(leaf)).encode())
    return digest.hexdigest()


def _differences(header: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what the sweeps of two headers differ."""
    ours, theirs = header["config"], other["config"]
    same_organism = header["organism"]["digest"] == other["organism"]["digest"]
    same_experiments = list(header["experiments"].items()) == list(other["experiments"].items())
    return [
        *([] if same_organism else ["organism"]),
        *([] if same_experiments else ["experiments"]),
        *(name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)),
    ]


def _check_row(path: str | Path, row: Row, steps: int | None = None) -> None:
    """Raise `UserError` where a row lacks a measurement (at any of so many steps)."""
    try:
        lengths = {len(row[name]) for name in _SERIES} | ({steps} if steps else set())
        complete = len(lengths) == 1 and bool([float(row[name]) for name in _NUMBERS])
    except (KeyError, TypeError, ValueError):
        complete = False
    if not complete:
        raise UserError(
            f"{path}: the row of {row['experiment']}, run {row['run']} is damaged; delete the file and compute it "
            "again."
        )


@dataclass(frozen=True)
class _ShardFile:
    """The file of a shard: its header, its rows by experiment and run, and how many are expected."""

    path: Path
    header: Mapping[str, Any]
    shard: Shard
    config: SweepConfig
    rows: Mapping[tuple[str, int], Row]
    expected: int


def merge(
    paths: str | Path | Sequence[str | Path],
    *,
    allow_version_mismatch: bool = False,
    store: str | Path | None = None,
) -> pd.DataFrame:
    """One table from the files that `analysis.sweep(..., shard="k/n", store=...)` wrote.

    On CPUs of one kind it equals the table of the undivided sweep to the bit; an accelerator's rounding
    depends on how many runs it computes together.

    Args:
        paths: the shards' files, or folders that hold them, in any order.
        allow_version_mismatch: allow shards that were computed by different versions of jax. Shards of
            different versions of this package are never merged.
        store: also write the rows to this file, as an undivided `nca sweep` does.

    Returns:
        The table; its `attrs["shards"]` list the shard, device and versions of each file.

    Raises:
        UserError: a shard is missing, unfinished, given twice, damaged, of another sweep, or computed by
            another version. The files stay as they are.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files = [_read_shard(file) for path in paths for file in _shard_files(Path(path))]
    check_complete([(str(file.path), file.shard) for file in files])
    first = files[0]
    for file in files[1:]:
        if other := _differences(first.header, file.header):
            raise UserError(
                f"Shards of different sweeps: {file.path} differs from {first.path} in {', '.join(other)}; merge the "
                "shards of one sweep."
            )
    check_same_versions([(str(file.path), file.header["versions"]) for file in files], allow_version_mismatch)
    files = sorted(files, key=lambda file: file.shard)
    short = [f"shard {f.shard} has {len(f.rows)} of {f.expected} rows" for f in files if len(f.rows) < f.expected]
    if short:
        more = f"; and {len(short) - 5} more shards" if len(short) > 5 else ""
        raise UserError(
            f"Unfinished: {'; '.join(short[:5])}{more}; run the same command again, which continues, then merge."
        )
    rows = {key: row for file in files for key, row in file.rows.items()}
    order = shard_rows(first.header["experiments"], first.config.runs, None)
    if store is not None:
        lines = [{"sweep": {**files[0].header, "shard": "1/1"}}, *(rows[key] for key in order)]
        write_file(store, "".join(json.dumps(line) + "\n" for line in lines))
    table = rows_table(first.config, order, [rows[key] for key in order])
    table.attrs["shards"] = [
        {"shard": str(file.shard), "device": file.header.get("device"), "versions": file.header["versions"]}
        for file in files
    ]
    return table


def _shard_files(path: Path) -> list[Path]:
    """The files of shards that a path names: the path itself, or those in a folder, or its undivided file."""
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("rows.*-of-*.jsonl")) or sorted(path.glob(_ONE_FILE))
    if not files:
        raise UserError(f"{path} holds no rows of a sweep: neither {_ONE_FILE} nor rows.K-of-N.jsonl.")
    return files


def _read_shard(path: Path) -> _ShardFile:
    header, lines = read_rows(path)
    if header is None:
        raise UserError(f'{path} is not a shard of a sweep; compute one with shard="k/n", or nca sweep.')
    try:
        if header["format"] != FORMAT:
            age = "a newer" if header["format"] > FORMAT else "an older"
            raise UserError(f"{path} was written by {age} version of this program (format {header['format']}).")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in header["config"].items()}
        shard, config = Shard.parse(header["shard"]), SweepConfig(**fields)
        own = set(shard_rows(header["experiments"], config.runs, shard))
        header["organism"]["digest"], header["versions"].items(), header["experiments"].items()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is not a shard of a sweep: {error}.") from error
    rows: dict[tuple[str, int], Row] = {}
    for row in lines:
        key = (str(row["experiment"]), int(row["run"]))
        if key not in own:
            raise UserError(f"{path} is shard {shard} and holds a row of another: {key[0]}, run {key[1]}.")
        if key in rows and rows[key] != row:
            raise UserError(
                f"{path} holds {key[0]}, run {key[1]} twice, with different numbers, as happens when two processes "
                "write to it; delete the file and compute the shard again."
            )
        _check_row(path, row, len(config.steps))
        rows[key] = row
    return _ShardFile(path, header, shard, config, rows, len(own))

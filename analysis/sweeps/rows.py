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
from typing import Any, BinaryIO, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from analysis import metrics as measures
from analysis.paired import measured_steps
from analysis.sweeps.config import MOST, SweepConfig
from nca.edits import Edit
from nca.errors import UserError
from nca.files import DamagedError, lock_file, parse_json, read_bytes, reading, write_file
from nca.organism import Organism
from nca.shards import NUMERIC_PACKAGES, OWN_PACKAGES, Shard, check_complete, check_same_versions
from nca.versions import versions

FORMAT = 2
_SERIES = ("mse", "mature_cells", "mse_control", "mse_empty")
_NUMBERS = ("overgrown", "exploded", "cells_changed", "largest_change")
COLUMNS = ("key", "experiment", "run", "step", *_SERIES, *_NUMBERS)

Row = dict[str, Any]
RowId = tuple[str, int]  # experiment and run


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """What is computed.

    Attributes:
        organism: what grows.
        experiments: edits that act together, by name.
        config: what is measured of them, on which runs, and when.
        shard: whose rows are computed; None for those of an undivided sweep.
    """

    organism: Organism
    experiments: Mapping[str, tuple[Edit, ...]]
    config: SweepConfig
    shard: Shard | None


def _shard_rows(experiments: Iterable[str], runs: int, shard: Shard | None) -> list[RowId]:
    """Experiment and run of the rows of a shard (all rows if None), experiment by experiment.

    Rows are dealt run by run, so that shards share as few controls as possible.
    """
    names = list(experiments)
    if len(names) * runs > MOST:
        raise UserError(f"A sweep has at most {MOST} rows, experiments x runs; got {len(names)} x {runs}.")
    own = range(len(names) * runs) if shard is None else shard.of(len(names) * runs)
    return [(name, run) for n, name in enumerate(names) for run in range(runs) if run * len(names) + n in own]


def rows_table(config: SweepConfig, rows: Mapping[RowId, Row]) -> pd.DataFrame:
    """The table that `analysis.sweep` returns: one line per row and evaluation step."""
    steps = measured_steps(config.adult_step, config.eval_steps)
    table = pd.DataFrame([{**row, "experiment": name, "run": run, "step": steps} for (name, run), row in rows.items()])
    table = table.explode(["step", *_SERIES, *config.own_metrics], ignore_index=True).infer_objects()
    table = table[table.step.isin(config.adult_step + np.asarray(config.eval_steps))].reset_index(drop=True)
    mse, mse_control, mse_empty = (jnp.asarray(table[name]) for name in ("mse", "mse_control", "mse_empty"))
    table["fitness"] = np.asarray(measures.fitness(mse, mse_control, mse_empty))
    table["log_mse"] = np.asarray(measures.log_mse(mse))
    table["log_mse_increase"] = table.log_mse - np.asarray(measures.log_mse(mse_control))
    return table[["experiment", "run", "step", *config.metrics, *config.own_metrics, *_NUMBERS]]


def _read_rows(path: str | Path) -> tuple[dict[str, Any] | None, list[Row]]:
    """The header of a file, if it has one, and its rows; an unfinished last line is ignored.

    Raises:
        UserError: the file cannot be read, or holds anything else.
    """
    raw = read_bytes(path)
    with reading(path, "holds no rows of a sweep; choose another file"):
        if raw and not raw.startswith(b"{"):
            raise DamagedError("its first line is not JSON.")
        rows = [parse_json(line, dict) for line in raw[: raw.rfind(b"\n") + 1].splitlines()]
        header = rows.pop(0)["sweep"] if rows and "sweep" in rows[0] else None
        for row in rows:
            key, name, run = row["key"], row["experiment"], row["run"]
            if not (isinstance(key, str) and isinstance(name, str) and type(run) is int and 0 <= run < 2**31):
                raise DamagedError("a row has no key, experiment and run.")
        return header, rows


class RowStore:
    """The file that the finished rows of a sweep or shard are added to.

    Attributes:
        order: experiment and run of every row that is wanted.
        rows: the wanted rows that the file holds already.
    """

    def __init__(self, path: str | Path | None, plan: SweepPlan) -> None:
        """Read the rows that are there already.

        Args:
            path: the file; None keeps nothing.
            plan: whose rows are wanted. The file of an undivided sweep has no header, so that experiments can be
                added to it.

        Raises:
            UserError: the file holds something else, or rows of another sweep or version, or another process
                writes to it.
        """
        self.order = _shard_rows(plan.experiments, plan.config.runs, plan.shard)
        self.rows: dict[RowId, Row] = {}
        self._path, self._lock, config = path, threading.Lock(), plan.config
        self._file: BinaryIO | None = None
        self._own = plan.config.own_metrics
        if path is None:
            return
        organism = hashlib.sha1(plan.organism.hash.encode())
        if plan.organism.target is not None:
            organism.update(np.ascontiguousarray(plan.organism.target).tobytes())
        digests = {name: _edits_digest(edits) for name, edits in plan.experiments.items()}
        self._header = None if plan.shard is None else _header(plan, organism.hexdigest(), digests)
        common = [organism.hexdigest(), config.seed, measured_steps(config.adult_step, config.eval_steps)]
        self._keys = {
            (name, run): hashlib.sha1(json.dumps([*common, digests[name], run]).encode()).hexdigest()
            for name, run in self.order
        }
        if Path(path).exists():
            try:
                self._read(path)
            except BaseException:
                self.close()
                raise

    def _read(self, path: str | Path) -> None:
        header, rows = _read_rows(path)
        if header or rows:
            self._check(header)
        for row in rows:
            _check_row(path, row)
        self._file = lock_file(path)
        finished = {row["key"]: row for row in rows if row.keys() >= set(self._own)}
        self.rows = {row: finished[key] for row, key in self._keys.items() if key in finished}

    def _check(self, begun: dict[str, Any] | None) -> None:
        """Raise `UserError` where the file was begun by another sweep."""
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
        self._file = self._file or lock_file(self._path)
        try:
            complete = read_bytes(self._path).rfind(b"\n") + 1
            self._file.truncate(complete)
            if not complete and self._header is not None:
                self._write({"sweep": self._header})
        except OSError as error:
            raise UserError(f"Cannot write rows to {self._path}: {error}; choose another file.") from error

    def close(self) -> None:
        """Let other processes write to the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line).encode() + b"\n")

    def add(self, name: str, run: int, row: Row) -> None:
        """Append the finished row of an experiment and run."""
        if self._path is not None:
            with self._lock:
                self._write({"key": self._keys[name, run], "experiment": name, "run": run, **row})


def _header(plan: SweepPlan, organism_digest: str, edits_digests: Mapping[str, str]) -> dict[str, Any]:
    """The first line of a shard's file."""
    from nca.training import devices

    return {
        "format": FORMAT,
        "shard": str(plan.shard),
        "organism": {"name": plan.organism.name, "hash": plan.organism.hash, "digest": organism_digest},
        "experiments": edits_digests,
        "config": json.loads(json.dumps(asdict(plan.config))),
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
        numbers = [float(value) for name in _SERIES for value in row[name] if value is not None]
        complete = len(lengths) == 1 and bool([*numbers, *(float(row[name]) for name in _NUMBERS)])
    except (KeyError, TypeError, ValueError, OverflowError):
        complete = False
    if not complete:
        raise UserError(
            f"{path}: the row of {row['experiment'][:80]}, run {row['run']} is damaged; delete the file and compute it "
            "again."
        )


def merge(
    paths: str | Path | Sequence[str | Path], *, allow_version_mismatch: bool = False, store: str | Path | None = None
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
    files.sort(key=lambda file: file.shard)
    order = _shard_rows(first.header["experiments"], first.config.runs, None)
    counts = [(file.shard, len(file.rows), len(file.shard.of(len(order)))) for file in files]
    if short := [f"shard {shard} has {n} of {expected} rows" for shard, n, expected in counts if n < expected]:
        more = f"; and {len(short) - 5} more shards" if len(short) > 5 else ""
        raise UserError(
            f"Unfinished: {'; '.join(short[:5])}{more}; run the same command again, which continues, then merge."
        )
    by_id = {key: row for file in files for key, row in file.rows.items()}
    rows = {key: by_id[key] for key in order}
    if store is not None:
        lines = [{"sweep": {**files[0].header, "shard": "1/1"}}, *rows.values()]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        if Path(store).exists() and read_bytes(store) != text.encode():
            raise UserError(f"{store} holds the rows of another sweep; choose another folder.")
        write_file(store, text)
    table = rows_table(first.config, rows)
    table.attrs["shards"] = [
        {"shard": str(file.shard), "device": file.header.get("device"), "versions": file.header["versions"]}
        for file in files
    ]
    return table


class _ShardFile(NamedTuple):
    """A file of rows, read and checked."""

    path: Path
    header: Mapping[str, Any]
    shard: Shard
    config: SweepConfig
    rows: Mapping[RowId, Row]


def _shard_files(path: Path) -> list[Path]:
    """The files of shards that a path names: the path itself, or those in a folder, or its undivided file."""
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("rows.*-of-*.jsonl")) or sorted(path.glob("rows.jsonl"))
    if not files:
        raise UserError(f"{path} holds no rows of a sweep: neither rows.jsonl nor rows.K-of-N.jsonl.")
    return files


def _read_shard(path: Path) -> _ShardFile:
    header, lines = _read_rows(path)
    if header is None:
        raise UserError(f'{path} is not a shard of a sweep; compute one with shard="k/n", or nca sweep.')
    with reading(path, "is not a shard of a sweep"):
        if header["format"] != FORMAT:
            age = "a newer" if header["format"] > FORMAT else "an older"
            raise UserError(f"{path} was written by {age} version of this program (format {header['format']}).")
        shard, config = Shard.parse(header["shard"]), SweepConfig(**header["config"])
        own = set(_shard_rows(header["experiments"], config.runs, shard))
        header["organism"]["digest"], header["device"], header["versions"].items(), header["experiments"].items()
        if not all(type(n) is int for n in (config.runs, config.seed, config.adult_step, *config.eval_steps)):
            raise DamagedError("its configuration has numbers that are not whole.")
    steps, rows = len(measured_steps(config.adult_step, config.eval_steps)), dict[RowId, Row]()
    for row in lines:
        key = (row["experiment"], row["run"])
        if key not in own:
            raise UserError(f"{path} is shard {shard} and holds a row of another: {key[0]}, run {key[1]}.")
        if rows.setdefault(key, row) != row:
            raise UserError(
                f"{path} holds {key[0]}, run {key[1]} twice, with different numbers, as happens when two processes "
                "write to it; delete the file and compute the shard again."
            )
        _check_row(path, row, steps)
    return _ShardFile(path, header, shard, config, rows)

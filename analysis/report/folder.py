"""A report as a folder: one page that opens anywhere, every number, every figure.

report.html      the findings, then each section with its figures; fetches nothing
summary.json     every number
tables/*.csv     the same as tables
figures/*.svg    the figures
NAME.webp        the films
data/*.nc        the labelled arrays, where asked for
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.recording import save_recording
from analysis.report.format import NOT_DEFINED
from analysis.report.html import page_html
from analysis.report.model import Claim, Report
from nca.errors import UserError
from nca.files import MAX_FILE_BYTES, check_writable, read_json, replace_folder, write_file, writing
from nca.organism import Organism
from nca.versions import versions

SUMMARY_FILE = "summary.json"
ABOUT = {
    "command": "the command that wrote this",
    "organisms": "what was examined: name, hash (of rule, seed and canvas), conventions, provenance, metrics",
    "config": "the options; with the hashes and the versions they repeat everything here",
    "warnings": "what limits every finding, in sentences",
    "claims": "what was found: assay, text, evidence (rows of a table), numbers, note; answer (in short), if it is one",
    "skipped": "by section: what was not examined, and why",
    "files": "what was written; a report that replaces this one keeps all other files of the folder",
    "tables": "every table by its name, a row an object; null is a number that is not defined",
}


def write_report(report: Report, folder: str | Path, *, data: bool = False) -> Path:
    """Write a report into a folder; the folder appears whole or not at all.

    Args:
        report: what to write.
        folder: a new one, an empty one, or one that the same command wrote, which is replaced.
        data: write the labelled arrays of the sections as well.

    Returns:
        The folder.

    Raises:
        UserError: the folder is in use or cannot be written.
    """
    folder = Path(folder)
    with report_folder(folder, report.command) as unfinished:
        write_files(report, unfinished, data)
    return folder


@contextmanager
def report_folder(folder: Path, command: str, *, force: bool = True) -> Iterator[Path]:
    """A hidden folder, held by this process, for the files of a report; it becomes `folder` when the block ends.

    Args:
        folder: a new one, an empty one, or one that the same command wrote, which is replaced: all of its files that
            are not of the report stay.
        command: the command that makes the report.
        force: replace a report that is there.

    Raises:
        UserError: the folder is in use, cannot be written, or another process writes it.
    """
    check_folder(folder, command)
    is_report = (folder / SUMMARY_FILE).is_file()
    if is_report and not force:
        raise UserError(f"{folder} holds a finished report; --force replaces it, or name another folder with --out.")
    check_writable(folder.parent)
    listed = _read_summary(folder).get("files")
    written = listed if isinstance(listed, list) else []

    def _is_ours(path: Path) -> bool:
        return path.as_posix() in (SUMMARY_FILE, *written)

    with replace_folder(folder, _is_ours) as unfinished:
        yield unfinished
        check_folder(folder, command)


def check_folder(folder: Path, command: str) -> None:
    """Raise `UserError` unless a report of this command can be written there without loss."""
    if not folder.parent.is_dir():
        raise UserError(f"There is no folder {folder.parent}; make it, or choose another place.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if _read_summary(folder).get("command") != command:
        raise UserError(f"{folder} exists and holds no report of {command!r}; remove it or name another folder.")


def is_current(folder: Path, organisms: Sequence[Organism], config: Mapping[str, Any]) -> bool:
    """Whether a folder holds the report that these organisms, options and versions would make again."""
    summary = _read_summary(folder)
    try:
        hashes = [organism["hash"] for organism in summary["organisms"]]
        same = summary["config"] == _json_value(config) and summary["versions"] == versions()
        return same and hashes == [organism.hash for organism in organisms]
    except (KeyError, TypeError):
        return False


def _read_summary(folder: Path) -> dict[str, Any]:
    """The summary in a folder; empty where there is none that can be read."""
    try:
        return read_json(folder / SUMMARY_FILE, dict, MAX_FILE_BYTES)
    except UserError:
        return {}


def write_files(report: Report, folder: Path, data: bool = False) -> None:
    """Write the files of a report into a folder that is there."""
    with writing(folder):
        _write_files(report, folder, data)


def _write_files(report: Report, folder: Path, data: bool) -> None:
    for name in ("tables", "figures", *(("data",) if data else ())):
        (folder / name).mkdir()
    for section in report.sections:
        for figure in section.figures:
            write_file(folder / "figures" / f"{figure.name}.svg", figure.svg)
        for film in section.films:
            write_file(folder / f"{film.name}.webp", film.webp)
        for name, frame in section.tables.items():
            write_file(folder / "tables" / f"{name}.csv", frame.to_csv(index=False, na_rep=NOT_DEFINED))
        for name, dataset in section.data.items() if data else ():
            save_recording(dataset, folder / "data" / f"{name}.nc")
    write_file(folder / "report.html", page_html(report))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    summary = _summary(report) | {"files": [SUMMARY_FILE, *files]}
    write_file(folder / SUMMARY_FILE, json.dumps(summary, indent=1, allow_nan=False) + "\n")


def _summary(report: Report) -> dict[str, Any]:
    """What `summary.json` holds; `about` explains the keys."""
    return _json_value(
        {
            "command": report.command,
            "about": ABOUT,
            "organisms": [
                {
                    "name": organism.name,
                    "hash": organism.hash,
                    "spec": organism.rule.spec.to_json(),
                    "canvas": organism.canvas,
                    "parameters": organism.rule.parameters,
                    "provenance": dict(organism.provenance),
                    "metrics": dict(organism.metrics),
                }
                for organism in report.organisms
            ],
            "config": dict(report.config),
            "versions": versions(),
            "seconds": round(report.seconds, 1),
            "warnings": list(report.warnings),
            "claims": [_claim(claim) for section in report.sections for claim in section.claims],
            "skipped": {section.name: list(section.skipped) for section in report.sections if section.skipped},
            "tables": {name: frame for section in report.sections for name, frame in section.tables.items()},
        }
    )


def _claim(claim: Claim) -> dict[str, Any]:
    return vars(claim) | {"answer": claim.answer and vars(claim.answer)}


def _json_value(value: Any) -> Any:
    """A value as JSON can hold it: arrays as lists, tables as lists of rows, what is not a finite number as None."""
    if isinstance(value, Mapping):
        return {str(name): _json_value(entry) for name, entry in value.items()}
    if isinstance(value, pd.DataFrame):
        return [_json_value(row) for row in value.to_dict("records")]
    if isinstance(value, (list, tuple)):
        return [_json_value(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _json_value(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)

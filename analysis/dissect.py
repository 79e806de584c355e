"""The dissection of one organism, as one command: what is examined, and what is written."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.config import DissectConfig
from nca.errors import UserError

if TYPE_CHECKING:
    from nca.organism import Organism

__all__ = ["DissectConfig", "dissect"]

Say = Callable[[str], None]


def dissect(
    organism: Organism,
    folder: str | Path,
    config: DissectConfig | None = None,
    say: Say | None = None,
) -> Path:
    """Take an organism apart and write a report about it.

    Args:
        organism: what to dissect.
        folder: where to write; it appears whole or not at all. A folder that an earlier dissection
            made is replaced, any other is refused.
        config: what to examine.
        say: is told the progress, a line at a time; standard error if none.

    Returns:
        The folder: report.html, one self-contained page; summary.json, every number in it;
        growth.webp; tables/*.csv; figures/*.svg.

    Raises:
        UserError: the folder is in use or cannot be written.
    """
    from analysis.examination import examine
    from analysis.report import write_report

    config, say = config or DissectConfig(), say or _to_stderr
    folder = Path(folder)
    check_place(folder)
    found = examine(organism, config, say)
    say("drawing figures, writing the report")
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}; choose another place.") from error
    try:
        write_report(found, beside)
        beside.chmod(0o755)
        check_place(folder)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(beside, folder)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}; choose another place.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    say(f"the report is {folder / 'report.html'}")
    return folder


def check_place(folder: Path) -> None:
    """Raise `UserError` unless a report can be put there without loss."""
    if not folder.parent.is_dir():
        raise UserError(f"There is no folder {folder.parent}; make it, or choose another place.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    from analysis.summary import MADE_BY

    try:
        made_by = json.loads((folder / "summary.json").read_text())["made_by"]
    except (OSError, ValueError, KeyError, TypeError):
        made_by = None
    if made_by != MADE_BY:
        raise UserError(f"{folder} exists and holds no dissection; remove it or name another folder.")


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")

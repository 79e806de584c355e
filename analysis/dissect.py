"""The dissection of one organism, as one command: what is examined, and what is written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.config import DissectConfig

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
    from analysis import pages
    from analysis.examination import examine
    from analysis.report import COMMAND, report

    config, say = config or DissectConfig(), say or _to_stderr
    folder = Path(folder)
    pages.check_place(folder, COMMAND)
    found = examine(organism, config, say)
    say("drawing figures, writing the report")
    pages.write_report(report(found), folder)
    say(f"the report is {folder / 'report.html'}")
    return folder


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")

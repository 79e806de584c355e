"""The dissection of one organism, as one command: what is examined, and what is written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.dissection.config import DissectConfig

if TYPE_CHECKING:
    from nca.organism import Organism

__all__ = ["DissectConfig", "dissect"]

Say = Callable[[str], None]


def dissect(
    organism: Organism | Sequence[Organism],
    folder: str | Path,
    config: DissectConfig | None = None,
    say: Say | None = None,
    *,
    again: bool = False,
) -> Path:
    """Take an organism apart and write a report about it; several are compared.

    Args:
        organism: what to dissect.
        folder: where to write; it appears whole or not at all. A folder that an earlier dissection
            made is replaced, any other is refused.
        config: what to examine.
        say: is told the progress, a line at a time; standard error if none.
        again: dissect even if the folder holds this very dissection by these very versions.

    Returns:
        The folder: report.html, one self-contained page; summary.json, every number in it;
        growth.webp; tables/*.csv; figures/*.svg; with `full` data/*.nc.

    Raises:
        UserError: the folder is in use or cannot be written.
    """
    from analysis.dissection.examination import examine
    from analysis.dissection.report import COMMAND, report
    from analysis.dissection.thorough import side_by_side
    from analysis.report import folder as pages

    config, say = config or DissectConfig(), say or _to_stderr
    folder, several = Path(folder), organism if isinstance(organism, Sequence) else [organism]
    pages.check_place(folder, COMMAND)
    if not again and pages.holds(folder, several, config.to_json()):
        say(f"{folder} holds this dissection already; --again makes it anew")
        return folder
    made = side_by_side(several, config, say) if len(several) > 1 else report(examine(several[0], config, say), say)
    say("writing the report")
    pages.write_report(made, folder, data=config.full)
    say(f"the report is {folder / 'report.html'}")
    return folder


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")

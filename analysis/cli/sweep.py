"""`nca sweep`: doses of one kind of edit on channels, or edits from a file, as a table; whole or in parts."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from analysis.cli.basic import Source, say, tell
from nca.errors import UserError
from nca.shards import Part

if TYPE_CHECKING:
    import pandas as pd

    from nca.edits import Edit
    from nca.organism import Organism

NAME = "nca sweep"
TABLE, ABOUT = "table.csv", "sweep.json"
Site = Literal["state", "perception", "pre", "post", "delta", "fire", "update", "alive"]


@dataclass(frozen=True)
class Sweep:
    """Change one thing at a time, in every dose on every run, and measure it beside the undisturbed run.

    The same command goes on after an interruption. With --part it makes its share of the rows; nca merge
    makes one table of the shares.

    Attributes:
        out: folder for rows.jsonl, table.csv and sweep.json; of a part for rows.K-of-N.jsonl alone, so
            that parts can share a folder.
        site: where in the step.
        channels: what is changed, one at a time, such as h0,h1: channels by name or number, hidden units
            of pre and post by number; every one if none is named.
        mode: scale by the dose, set to it, add it, or add noise of that standard deviation.
        doses: such as 0,0.5,0.9; 0 if none, and if there are no edits from a file.
        window: first step of the edits, and the step before which they end, such as 100,160; from the
            start on if none.
        edits: JSON file with a list of further edits, each an experiment of its own.
        runs: keys.
        seed: number that the keys follow from.
        start: the step that runs continue from.
        horizons: steps after it at which rows are measured, such as 60,300.
        untouched: allow experiments that change nothing.
        part: make only this part of the rows, such as 2/8.
    """

    organism: Positional[Source]
    out: Path
    site: Site = "state"
    channels: tuple[str, ...] = ()
    mode: Literal["scale", "set", "add", "noise"] = "scale"
    doses: tuple[str, ...] = ()
    window: str | None = None
    edits: Path | None = None
    runs: int = 8
    seed: int = 0
    start: int = 100
    horizons: tuple[str, ...] = ("60,300",)
    untouched: bool = False
    part: str | None = None


def sweep(command: Sweep) -> None:
    """Sweep, write, say where."""
    part, begun = Part.parse(command.part or "1/1"), time.monotonic()
    settings: dict[str, Any] = {name: getattr(command, name) for name in ("runs", "seed", "start", "untouched")}
    settings["horizons"] = [int(h) for h in numbers("horizons", command.horizons, whole=True)]
    from analysis.sweeps.distributed import file_of
    from analysis.sweeps.store import METRICS
    from analysis.sweeps.sweep import sweep as swept
    from nca.io import load

    organism = load(command.organism)
    experiments = experiments_of(command, organism)
    with place(command.out, command.part is None):
        rows = command.out / file_of(part)
        try:
            table = swept(organism, experiments, METRICS, **settings, store=rows, part=part, say=say)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped; the same command goes on where it was") from None
    if part.n > 1:
        say(f"part {part} is made; nca merge puts the parts together")
        tell(str(rows))
        return
    config = {f.name: getattr(command, f.name) for f in fields(command) if f.name not in ("out", "part")}
    tell(str(write_about(command.out, table, NAME, config, time.monotonic() - begun)))


def experiments_of(command: Sweep, organism: Organism) -> dict[str, Edit]:
    """The experiments that a command asks for: "SITE.CHANNEL MODE DOSE", or "edit N" of the file."""
    from nca import edits

    doses = numbers("doses", command.doses) or ([] if command.edits else [0.0])
    window = slice(command.start, None)
    if command.window is not None:
        first, *last = numbers("window", (command.window,), whole=True)
        if len(last) != 1:
            raise UserError(f"--window is two steps, such as 100,160; got {command.window!r}.")
        window = slice(int(first), int(last[0]))
    kinds: dict[str, Callable[..., Edit]] = {
        "scale": edits.scale,
        "set": edits.clamp,
        "add": edits.add,
        "noise": edits.noise,
    }
    make, experiments = kinds[command.mode], {}
    for name, picked in entries(command, organism) if doses else ():
        for dose in doses:
            edit = make(organism, dose, site=command.site, **picked).at(window)
            experiments[f"{command.site}{name} {command.mode} {dose:g}"] = edit
    if command.edits is not None:
        listed = edits.load(command.edits, [organism])
        experiments |= {f"edit {number}": edit for number, edit in enumerate(listed)}
    return experiments


def entries(command: Sweep, organism: Organism) -> list[tuple[str, dict[str, Any]]]:
    """What is changed one at a time: what to call it, and how the edit is told of it."""
    from nca import edits

    asked = [one for words in command.channels for one in words.split(",") if one]
    if command.site in ("fire", "alive"):
        if asked:
            raise UserError(f"The site {command.site!r} has no channels; leave them out.")
        return [("", {})]
    units = command.site in ("pre", "post")
    width = organism.rule.weights[0].shape[1]
    names = [str(n) for n in range(width)] if units else list(organism.rule.channel_names)
    kind, word = ("unit", "units") if units else ("channel", "channels")
    numbered = [edits.index_of(kind, one, names) for one in asked] or range(len(names))
    return [(f".{names[number]}", {word: [number]}) for number in dict.fromkeys(numbered)]


def numbers(name: str, words: Sequence[str], whole: bool = False) -> list[float]:
    """The numbers in words such as 0,0.5 or 0 0.5."""
    found = [one for word in words for one in word.split(",") if one.strip()]
    try:
        values: list[float] = [int(one) if whole else float(one) for one in found]
        if not all(math.isfinite(value) and abs(value) < 2**31 for value in values):
            raise ValueError
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        raise UserError(f"--{name} takes {kind}, such as 60,300; got {' '.join(words)!r}.") from None
    return values


@contextlib.contextmanager
def place(folder: Path, alone: bool) -> Iterator[None]:
    """A folder to sweep into, made if need be; gone again if the sweep is refused before its first row.

    Args:
        folder: where.
        alone: whether it has to hold a sweep already, or nothing.
    """
    if not folder.absolute().parent.is_dir():
        raise UserError(f"There is no folder {folder.parent}; make it, or choose another place.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name another.")
    known = folder.exists() and any(folder.glob("rows*.jsonl"))
    if alone and not known and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} exists and holds no sweep; remove it or name another folder.")
    folder.mkdir(exist_ok=True)
    try:
        yield
    except UserError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only where it is empty
        raise


def write_about(
    folder: Path, table: pd.DataFrame, made_by: str, config: dict[str, Any], seconds: float, **more: Any
) -> Path:
    """Write table.csv and sweep.json beside the rows of a whole sweep."""
    from analysis.report.format import NOT_DEFINED
    from analysis.sweeps.store import read_lines
    from nca.io import write

    header = read_lines(folder / "rows.jsonl")[0] or {}
    write(folder / TABLE, table.to_csv(index=False, na_rep=NOT_DEFINED))
    about = {
        "made_by": made_by,
        "organism": header.get("organism"),
        "config": config,
        "settings": header.get("settings"),
        "experiments": list(header.get("experiments", {})),
        "rows": len(table),
        "versions": header.get("versions"),
        "device": header.get("device"),
        "seconds": round(seconds, 1),
        **more,
    }
    write(folder / ABOUT, json.dumps(about, indent=1, default=str) + "\n")
    return folder

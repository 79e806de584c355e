"""`nca sweep`: edits of one kind in several doses, or edits from a file, as a table; whole or in shards."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from analysis.cli.output import Source, log_line, print_result
from nca.errors import UserError
from nca.shards import Shard

if TYPE_CHECKING:
    import pandas as pd

    from nca.edits import Edit
    from nca.organism import Organism

RENAMED_OPTIONS = {
    "--part": "--shard",
    "--start": "--adult-step",
    "--horizons": "--eval-steps",
    "--untouched": "--allow-no-op",
}
Site = Literal["state", "perception", "pre", "post", "delta", "fire", "update", "alive"]


@dataclass(frozen=True)
class Sweep:
    """Apply one edit at a time, in every dose on every run, and measure it against the paired control.

    The same command continues after an interruption. With --shard it computes its share of the rows; nca
    merge makes one table of the shards.

    Attributes:
        out: folder for rows.jsonl, table.csv and sweep.json; of a shard for rows.K-of-N.jsonl alone, so
            that shards can share a folder.
        site: the site of the step that is edited.
        channels: what is edited, one at a time: channels by name or number, such as h0 h1; for the sites pre and
            post, hidden units by number; each in turn if none is named.
        mode: multiply by the dose, set to it, add it, or add noise of that standard deviation.
        doses: such as 0 0.5 0.9; 0 if none is given and there are no edits from a file.
        window: first step of the edits and the step before which they end, such as 100 160; from the adult
            step to the end if not given.
        edits: JSON file with a list of further edits, each an experiment of its own.
        runs: runs per experiment.
        seed: random seed from which the runs' PRNG keys are derived.
        adult_step: the step that runs continue from.
        eval_steps: steps after the adult step (not after the window) at which rows are measured.
        allow_no_op: allow experiments that change nothing.
        shard: compute only this shard of the rows, such as 2/8.
    """

    organism: Positional[Source]
    out: Path
    site: Site = "state"
    channels: tuple[str, ...] = ()
    mode: Literal["scale", "set", "add", "noise"] = "scale"
    doses: tuple[float, ...] = ()
    window: tuple[int, int] | None = None
    edits: Path | None = None
    runs: int = 8
    seed: int = 0
    adult_step: int = 100
    eval_steps: tuple[int, ...] = (60, 300)
    allow_no_op: bool = False
    shard: str | None = None

    def execute(self) -> None:
        """Sweep, write the files, print where they are."""
        shard, begun = Shard.parse(self.shard or "1/1"), time.monotonic()
        from analysis.sweeps.rows import METRICS
        from analysis.sweeps.sweep import shard_filename, sweep
        from nca.io import load

        organism = load(self.organism)
        edits = experiments(self, organism)
        names = ("runs", "seed", "adult_step", "eval_steps", "allow_no_op")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        with sweep_folder(self.out, self.shard is None):
            store = self.out / shard_filename(shard)
            try:
                table = sweep(organism, edits, METRICS, **options, store=store, shard=shard, log=log_line)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("stopped; the same command continues where it stopped") from None
        if shard.n > 1:
            log_line(f"shard {shard} is finished; nca merge joins the shards")
            print_result(str(store))
            return
        config = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("out", "shard")}
        print_result(str(write_summary(self.out, table, "nca sweep", config, time.monotonic() - begun)))


def experiments(command: Sweep, organism: Organism) -> dict[str, Edit]:
    """The experiments of a command, named "SITE.CHANNEL MODE DOSE", or "edit N" of the file."""
    from nca import edits

    doses = command.doses or (() if command.edits else (0.0,))
    if not all(math.isfinite(dose) for dose in doses):
        raise UserError(f"--doses must be finite numbers, such as 0 0.5; got {' '.join(map(str, doses))}.")
    window = slice(*command.window) if command.window else slice(command.adult_step, None)
    constructors: dict[str, Callable[..., Edit]] = {
        "scale": edits.scale,
        "set": edits.clamp,
        "add": edits.add,
        "noise": edits.noise,
    }
    named: dict[str, Edit] = {}
    for name, entry in _entries(command, organism) if doses else ():
        for dose in doses:
            edit = constructors[command.mode](organism, dose, site=command.site, **entry).at(window)
            named[f"{command.site}{name} {command.mode} {dose:g}"] = edit
    if command.edits is not None:
        named |= {f"edit {n}": edit for n, edit in enumerate(edits.load(command.edits, [organism]))}
    return named


def _entries(command: Sweep, organism: Organism) -> list[tuple[str, dict[str, Any]]]:
    """Name and constructor arguments of the channels or units that are edited one at a time."""
    from nca import edits

    if command.site in ("fire", "alive"):
        if command.channels:
            raise UserError(f"The site {command.site!r} has no channels; leave out --channels.")
        return [("", {})]
    units = command.site in ("pre", "post")
    width = organism.rule.weights[0].shape[1]
    names = [str(n) for n in range(width)] if units else list(organism.rule.channel_names)
    kind, argument = ("unit", "units") if units else ("channel", "channels")
    numbers = [edits.index_of(kind, name, names) for name in command.channels] or range(len(names))
    return [(f".{names[n]}", {argument: [n]}) for n in dict.fromkeys(numbers)]


@contextlib.contextmanager
def sweep_folder(folder: Path, exclusive: bool) -> Iterator[None]:
    """The folder of a sweep, created if it does not exist and removed if the sweep is refused before its first row.

    Args:
        folder: where.
        exclusive: an existing folder must be empty or hold a sweep.
    """
    if not folder.absolute().parent.is_dir():
        raise UserError(f"There is no folder {folder.parent}; create it, or choose another place.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; choose another name.")
    has_rows = folder.exists() and any(folder.glob("rows*.jsonl"))
    if exclusive and not has_rows and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} exists and holds no sweep; delete it or choose another folder.")
    folder.mkdir(exist_ok=True)
    try:
        yield
    except UserError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails unless it is empty
        raise


def write_summary(
    folder: Path, table: pd.DataFrame, made_by: str, config: dict[str, Any], seconds: float, **more: Any
) -> Path:
    """Write table.csv and sweep.json next to rows.jsonl; returns the folder."""
    from analysis.report.format import NOT_DEFINED
    from analysis.sweeps.rows import read_rows
    from nca.io import write_file

    header = read_rows(folder / "rows.jsonl")[0] or {}
    write_file(folder / "table.csv", table.to_csv(index=False, na_rep=NOT_DEFINED))
    summary = {
        "made_by": made_by,
        "organism": header.get("organism"),
        "options": config,
        "config": header.get("config"),
        "experiments": list(header.get("experiments", {})),
        "rows": len(table),
        "versions": header.get("versions"),
        "device": header.get("device"),
        "seconds": round(seconds, 1),
        **more,
    }
    write_file(folder / "sweep.json", json.dumps(summary, indent=1, default=str) + "\n")
    return folder

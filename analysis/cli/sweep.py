"""`nca sweep`: edits of one kind in several doses, or edits from a file, as a table; `nca merge` joins shards."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from analysis.cli.output import Source, log_line, print_result
from analysis.sweeps.config import SweepConfig
from nca.errors import UserError
from nca.files import check_writable, remove_unfinished
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
    "--mixed": "--allow-version-mismatch",
}
Site = Literal["state", "perception", "pre", "post", "delta", "fire", "update", "alive"]


@dataclass(frozen=True)
class Sweep:
    """Apply one edit at a time, in every dose on every run, and measure it against the paired control.

    The same command continues after an interruption. With --shard it computes its share of the rows; nca
    merge makes one table of the shards.

    Attributes:
        out: folder for rows.jsonl, table.csv and sweep.json. A shard writes only rows.K-of-N.jsonl, so that shards can
            share a folder.
        site: the site of the step that is edited.
        channels: what is edited, one at a time: channels by name or number, such as h0 h1, or hidden units by number at
            the sites pre and post; all of them by default.
        mode: scale (multiply by the dose), set (to the dose), add (the dose), or noise (whose standard deviation is the
            dose).
        doses: doses of the edit, such as 0 0.5 0.9; 0 by default, unless there are edits from a file.
        window: first step of the edits and the step before which they end, such as 100 160; by default from the adult
            step to the end.
        edits: JSON file with a list of further edits, each an experiment of its own.
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
    shard: str | None = None
    config: OmitArgPrefixes[SweepConfig] = field(default_factory=SweepConfig)

    def execute(self) -> None:
        """Sweep, write the files, print where they are."""
        shard, begun = Shard.parse(self.shard or "1/1"), time.monotonic()
        from analysis.rollouts import body_warnings, own_adult_step
        from analysis.sweeps.sweep import shard_filename, sweep
        from nca.io import load

        organism = load(self.organism)
        measured = self.config
        if measured.adult_step < 0:
            measured = replace(measured, adult_step=own_adult_step(organism))
        edits, options = _experiments(replace(self, config=measured), organism), asdict(measured)
        del options["own_metrics"]  # functions, which only Python has
        if measured.adult_step:
            body_warnings([organism], measured.adult_step, log_line)
        with _sweep_folder(self.out, self.shard is None):
            store = self.out / shard_filename(shard)
            try:
                table = sweep(organism, edits, **options, store=store, shard=shard, log=log_line)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("stopped; the same command continues where it stopped") from None
        if shard.n > 1:
            log_line(f"shard {shard} is finished; nca merge joins the shards")
            print_result(str(store))
            return
        config = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("out", "shard", "config")}
        _write_summary(self.out, table, "nca sweep", config | options, time.monotonic() - begun)


@dataclass(frozen=True)
class Merge:
    """Join the shards of a sweep or of a population that were computed with --shard. The shards stay as they are.

    Attributes:
        shards: the shards' files or folders, in any order.
        out: folder for the result.
        allow_version_mismatch: allow shards computed by different versions of jax; those of different
            versions of this package are never merged.
    """

    shards: Positional[tuple[Annotated[Path, arg(metavar="SHARD")], ...]]
    out: Path
    allow_version_mismatch: bool = False

    def execute(self) -> None:
        """Merge, write the files, print where they are."""
        from nca.training.population import POPULATION_FILE, merge_population

        if not self.shards:
            raise UserError("There are no shards to merge; name their files or folders.")
        missing = [path for path in self.shards if not path.exists()]
        if missing:
            raise UserError(f"There is no {missing[0]}; name the shards' files or folders.")
        kinds = {(path / POPULATION_FILE).is_file() for path in self.shards}
        if len(kinds) > 1:
            raise UserError("These are shards of populations and of sweeps; merge each kind separately.")
        if kinds == {True}:
            folder = merge_population(self.shards, self.out, allow_version_mismatch=self.allow_version_mismatch)
            print_result(str(folder))
        else:
            _merge_sweep(self)


def _merge_sweep(command: Merge) -> None:
    from analysis.sweeps.rows import merge

    begun, mismatch = time.monotonic(), command.allow_version_mismatch
    with _sweep_folder(command.out, exclusive=True):
        table = merge(command.shards, allow_version_mismatch=mismatch, store=command.out / "rows.jsonl")
        shards = table.attrs["shards"]
        devices = sorted({str(shard["device"]) for shard in shards})
        if len(devices) > 1:
            log_line(
                f"warning: the shards were computed on {', '.join(devices)}, which round differently; each row is "
                "compared with the control of its own machine"
            )
        config = {"allow_version_mismatch": mismatch}
        _write_summary(command.out, table, "nca merge", config, time.monotonic() - begun, shards=shards)


def _experiments(command: Sweep, organism: Organism) -> dict[str, Edit]:
    """The experiments of a command, named "SITE.CHANNEL MODE DOSE", or "edit N" of the file."""
    from nca import edits

    doses = command.doses or (() if command.edits else (0.0,))
    if not all(math.isfinite(dose) for dose in doses):
        raise UserError(f"--doses must be finite numbers, such as 0 0.5; got {' '.join(map(str, doses))}.")
    window = slice(*command.window) if command.window else slice(command.config.adult_step, None)
    constructors: Any = {"scale": edits.scale, "set": edits.clamp, "add": edits.add, "noise": edits.noise}
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
def _sweep_folder(folder: Path, exclusive: bool) -> Iterator[None]:
    """The folder of a sweep, created if it does not exist and removed if the sweep is refused before its first row.

    Args:
        folder: where.
        exclusive: an existing folder must be empty or hold a sweep.
    """
    if not folder.absolute().parent.is_dir():
        raise UserError(f"There is no folder {folder.parent}; create it, or choose another place.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; choose another name.")
    remove_unfinished(folder)
    has_rows = folder.exists() and any(folder.glob("rows*.jsonl"))
    if exclusive and not has_rows and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} exists and holds no sweep; delete it or choose another folder.")
    check_writable(folder if folder.exists() else folder.absolute().parent)
    folder.mkdir(exist_ok=True)
    try:
        yield
    except UserError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails unless it is empty
        raise


def _write_summary(
    folder: Path, table: pd.DataFrame, made_by: str, config: dict[str, Any], seconds: float, **more: Any
) -> None:
    """Write table.csv and sweep.json next to rows.jsonl; print where they are."""
    from analysis.report.format import NOT_DEFINED
    from nca.files import write_file

    with (folder / "rows.jsonl").open() as rows:
        header = json.loads(rows.readline())["sweep"]
    write_file(folder / "table.csv", table.to_csv(index=False, na_rep=NOT_DEFINED))
    summary = {"made_by": made_by, "options": config, "rows": len(table), "seconds": round(seconds, 1)}
    summary |= {name: header[name] for name in ("organism", "config", "versions", "device")}
    summary |= {"experiments": list(header["experiments"]), **more}
    write_file(folder / "sweep.json", json.dumps(summary, indent=1, default=str) + "\n")
    if "fitness" in table:
        print_result(_summarise(table))
    print_result(str(folder))


def _summarise(table: pd.DataFrame) -> str:
    """What a sweep shows, in two sentences."""
    last = table[table.step == table.step.max()]
    medians = last.groupby("experiment", sort=False).fitness.median().dropna()
    stopped = int(((last.overgrown >= 0) | (last.exploded >= 0)).sum())
    text = f"{table.experiment.nunique()} experiments on {table.run.nunique()} runs, to step {table.step.max()}"
    if len(medians):
        text += f": {medians.idxmin()} harms most (median fitness {medians.min():.2f}; 1 is unperturbed, 0 empty)"
    return f"{text}. {stopped} of {len(last)} runs overgrew or exploded."

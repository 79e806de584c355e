"""A sweep made in parts: here, one after another, or side by side on the workers of a Dask client.

Any object with Dask's `submit` and `gather` will do; Dask itself is not imported. A worker keeps its
rows in a file as they finish, so a part whose worker was lost goes on there when it is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from analysis.sweeps.merge import merge
from analysis.sweeps.sweep import Experiments, Say, by_name, sweep
from nca.errors import UserError
from nca.io import write_file
from nca.organism import Organism
from nca.shards import Shard, all_shards

LOST = ("KilledWorker", "CommClosedError", "CancelledError", "FutureCancelledError", "TimeoutError")


class Client(Protocol):
    """What is used of a `distributed.Client`."""

    def submit(self, work: Any, /, *given: Any, **named: Any) -> Any:
        """Begin `work(*given)` somewhere."""

    def gather(self, futures: Any, /) -> Any:
        """What it returned."""


def sweep_parts(
    organism: Organism,
    edits: Experiments,
    metrics: Sequence[str] = ("fitness", "log_error", "worse"),
    *,
    n: int,
    folder: str | Path,
    client: Client | None = None,
    say: Say | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """`analysis.sweep` in n parts, merged.

    Args:
        organism: what grows.
        edits: experiments, as `analysis.sweep` takes them.
        metrics: as there.
        n: parts; a few for each worker.
        folder: where the parts' files are kept; made if it is not there. A worker without a common
            disk keeps its own under the same name, and the finished part is brought here.
        client: a `distributed.Client`, or anything with its `submit` and `gather`; None makes the
            parts here.
        say: is told the progress.
        **settings: runs, seed, start, horizons, untouched: as `analysis.sweep` takes them.

    Returns:
        The table of the undivided sweep.

    Raises:
        UserError: what `sweep` and `merge` refuse; or workers were lost, and which parts with them.
    """
    place, named = Path(folder), by_name(edits)
    _make(place)
    tell = say or (lambda line: None)
    files = {part: place / file_of(part) for part in all_shards(n)}
    if client is None:
        for part, file in files.items():

            def told(line: str, part: Shard = part) -> None:
                tell(f"part {part}, {line}")

            sweep(organism, named, metrics, **settings, part=part, store=file, say=told)
    else:
        _on_workers(client, organism, named, metrics, settings, files, tell)
    return merge(list(files.values()))


def file_of(part: Shard) -> str:
    """The name of a part's file."""
    return "rows.jsonl" if part.n == 1 else f"rows.{part.label}.jsonl"


def _on_workers(
    client: Client,
    organism: Organism,
    named: Experiments,
    metrics: Sequence[str],
    settings: dict[str, Any],
    files: dict[Shard, Path],
    tell: Say,
) -> None:
    """Have every part made, and bring its file; one that fails does not stop the others."""
    futures = {
        part: client.submit(_one_part, organism, named, metrics, settings, str(part), str(file.absolute()), pure=False)
        for part, file in files.items()
    }
    lost = []
    for number, (part, future) in enumerate(futures.items()):
        try:
            text = client.gather(future)
        except Exception as error:
            if type(error).__name__ not in LOST:
                raise
            lost.append((part, error))
            continue
        if not files[part].exists() or files[part].read_text() != text:
            write_file(files[part], text)
        tell(f"part {part} is made, {number + 1 - len(lost)} of {len(files)}")
    if lost:
        raise UserError(
            f"Workers were lost with part {', '.join(str(part) for part, _ in lost)} of {len(files)} "
            f"({type(lost[0][1]).__name__}); finished rows are kept, and the same call goes on with them."
        ) from lost[0][1]


def _one_part(
    organism: Organism,
    named: Experiments,
    metrics: Sequence[str],
    settings: dict[str, Any],
    part: str,
    file: str,
) -> str:
    """Make a part, on a worker; returns what its file holds."""
    _make(Path(file).parent)
    sweep(organism, named, metrics, **settings, part=part, store=file)
    return Path(file).read_text()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {folder}: {error.strerror}; choose another.") from error

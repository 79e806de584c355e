"""`nca merge`: the shards of a sweep or of a population as one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from analysis.cli.output import log_line, print_result
from nca.errors import UserError

RENAMED_OPTIONS = {"--mixed": "--allow-version-mismatch"}


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
    from analysis.cli.sweep import sweep_folder, write_summary
    from analysis.sweeps.rows import merge

    begun, mismatch = time.monotonic(), command.allow_version_mismatch
    with sweep_folder(command.out, exclusive=True):
        table = merge(command.shards, allow_version_mismatch=mismatch, store=command.out / "rows.jsonl")
        shards = table.attrs["shards"]
        devices = sorted({str(shard["device"]) for shard in shards})
        if len(devices) > 1:
            log_line(
                f"warning: the shards were computed on {', '.join(devices)}, which round differently; each row is "
                "compared with the control of its own machine"
            )
        config = {"allow_version_mismatch": mismatch}
        write_summary(command.out, table, "nca merge", config, time.monotonic() - begun, shards=shards)
    print_result(str(command.out))

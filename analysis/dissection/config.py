"""Options of a dissection: one frozen record is the command line, the call and what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from analysis.assays import ASSAYS
from nca.errors import UserError
from nca.validation import check_at_least, convert_to_tuples

ASSAY_NAMES = tuple(assay.name for assay in ASSAYS)
RENAMED_OPTIONS = {
    "--steps": "--adult-step",
    "--late": "--follow-up-step",
    "--late-runs": "--follow-up-runs",
    "--again": "--force",
    "--admit": "--max-log-mse",
}


@dataclass(frozen=True)
class DissectConfig:
    """Which assays a dissection makes, and how large they are.

    Attributes:
        assays: which assays: axes, lesions, regeneration, grafts, robustness, fate, units.
        runs: runs of which growth is measured.
        seed: seed of all random numbers.
        adult_step: step at which the body counts as grown, in every assay; 0 for 200, or for 96 if the organism has
            lost its body by 200.
        follow_up_step: step to which a few runs are followed; 0 for none.
        follow_up_runs: number of runs that are followed.
        full: give each assay the defaults of its own command instead of its quick preset, add the quick presets of the
            assays that a first look leaves out, and write the labelled arrays as .nc files.
    """

    assays: tuple[str, ...] = ASSAY_NAMES
    runs: int = 8
    seed: int = 0
    adult_step: int = 0
    follow_up_step: int = 2000
    follow_up_runs: int = 2
    full: bool = False

    def __post_init__(self) -> None:
        convert_to_tuples(self, "assays")
        check_at_least(1, self, "runs", "follow_up_runs")
        check_at_least(0, self, "adult_step")
        if unknown := [name for name in self.assays if name not in ASSAY_NAMES]:
            raise UserError(f"assays are among {', '.join(ASSAY_NAMES)}; got {', '.join(unknown)}.")
        if self.follow_up_step and self.follow_up_step <= self.adult_step:
            raise UserError(
                f"follow_up_step ({self.follow_up_step}) must come after adult_step ({self.adult_step}), or be 0."
            )
        if self.follow_up_runs > self.runs:
            raise UserError(f"follow_up_runs are some of the {self.runs} runs; ask for fewer.")

    def assay_configs(self) -> dict[str, Any]:
        """The configuration of each assay, by its name."""
        chosen = [a for a in ASSAYS if a.name in self.assays]
        if not self.full and self.assays == ASSAY_NAMES:
            chosen = [a for a in chosen if a.first_look]
        configs = {a.name: a.config() if self.full and a.first_look else a.config.quick() for a in chosen}
        return {name: replace(c, seed=self.seed, adult_step=self.adult_step) for name, c in configs.items()}

    def to_json(self, assay_configs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The options, with those of each assay, as plain values."""
        configs = self.assay_configs() if assay_configs is None else assay_configs
        return asdict(self) | {"assay_configs": {name: asdict(config) for name, config in configs.items()}}

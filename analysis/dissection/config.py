"""What a dissection examines: one frozen record that is the command line, the call and the file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nca.errors import UserError
from nca.validation import as_tuples, at_least, check_horizons


@dataclass(frozen=True)
class DissectConfig:
    """What a dissection examines.

    Attributes:
        runs: runs that are grown, cut and compared.
        seed: number that all randomness follows from.
        steps: step at which the body counts as grown: lesions, cuts and axes begin there.
        surrogates: smooth random fields that every gradient is compared with.
        lesion_runs: runs that lesions are made on.
        horizons: steps after a lesion at which its outcome is measured.
        until: step at which a cut body is judged.
        late: step to which a few runs are followed; 0 for none.
        late_runs: how many.
        full: every assay in place of the first slice: the whole axes protocol, the lesion atlas, wounds
            everywhere, robustness, a graft; and the labelled arrays as .nc files.
    """

    runs: int = 8
    seed: int = 0
    steps: int = 200
    surrogates: int = 249
    lesion_runs: int = 4
    horizons: tuple[int, ...] = (60, 300)
    until: int = 700
    late: int = 2000
    late_runs: int = 2
    full: bool = False

    def __post_init__(self) -> None:
        at_least(1, self, "runs", "lesion_runs", "late_runs", "steps")
        if self.surrogates < 19:
            raise UserError(f"Fewer than 19 surrogates cannot give p of .05; got {self.surrogates}.")
        if self.until <= self.steps:
            raise UserError(f"until ({self.until}) must come after steps ({self.steps}).")
        as_tuples(self, "horizons")
        check_horizons(self.horizons)
        if self.late and self.late <= self.until:
            raise UserError(f"late ({self.late}) must come after until ({self.until}), or be 0.")
        if max(self.lesion_runs, self.late_runs) > self.runs:
            raise UserError(f"lesion_runs and late_runs are some of the {self.runs} runs; ask for fewer.")

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

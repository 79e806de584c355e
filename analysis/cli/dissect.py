"""`nca dissect`: every assay of an organism, of several or of a population, as one report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from analysis.assays import ASSAYS
from analysis.cli.assay import print_claims, report_folder, run_population
from analysis.cli.output import MAX_LOG_MSE, Sources, log_line, print_result
from analysis.dissection.config import DissectConfig

COMMAND = "nca dissect"


@dataclass(frozen=True)
class Dissect:
    """Take an organism apart: growth, axes, lesions, regeneration, grafts, robustness, in one report.

    Several organisms are compared. So are the regimes of a population, with its networks as units.

    Attributes:
        out: folder for the report; NAME-dissection if none.
        force: dissect again even if the folder holds this very dissection.
        max_log_mse: largest log10 MSE, at the adult step, with which a network of a population enters the statistics.
    """

    organism: Positional[Sources]
    out: Path | None = None
    force: bool = False
    max_log_mse: float = MAX_LOG_MSE
    config: OmitArgPrefixes[DissectConfig] = field(default_factory=DissectConfig)

    def execute(self) -> None:
        """Dissect, write the report, print the claims."""
        from analysis.dissection.dissect import dissect as run_dissection
        from analysis.populations.population import find_organisms, find_population
        from analysis.report.folder import check_folder, is_current, write_report

        config = self.config
        folder = report_folder(COMMAND, self.organism[0] if self.organism else "", self.out)
        population = find_population(self.organism)
        if population:
            organisms = [member.organism for member in population.members]
            options = asdict(config)
            written = options | {"max_log_mse": self.max_log_mse}
        else:
            organisms = find_organisms(self.organism)
            written = config.to_json()
        check_folder(folder, COMMAND)
        if not self.force and is_current(folder, organisms, written):
            log_line(f"{folder} holds this dissection already; --force repeats it")
        elif population:
            # Networks are the units, and presets for many networks fill what is left at its default.
            assays = [a for a in ASSAYS if a.population and a.name in config.assays]
            configs = [replace(a.config(), seed=config.seed, adult_step=config.adult_step) for a in assays]
            run_population(population, zip(assays, configs, strict=True), COMMAND, folder, options, self.max_log_mse)
            return
        else:
            report = run_dissection(organisms, config, log=log_line)
            write_report(report, folder, data=config.full)
            print_claims(report.sections)
        print_result(str(folder / "report.html"))

"""The commands of assays, `nca dissect` and `nca pca`: organisms or a population in, one page in a folder out.

The commands of assays are made from the list of assays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from analysis.assays import ASSAYS, Assay
from analysis.cli.output import MAX_LOG_MSE, Source, Sources, log_line, print_result
from analysis.dissection.config import DissectConfig
from nca.validation import replace_defaults

if TYPE_CHECKING:
    from analysis.populations.population import Population
    from analysis.report.model import Report

SHOWN_CLAIMS = 3  # of each section, on standard output
POPULATION_CAVEAT = (
    "Networks are the units here, and only independent lineages of them are counted. All were trained on the "
    "targets named, by one recipe for each regime."
)
RENAMED_OPTIONS = {"--admit": "--max-log-mse", "--at": "--adult-step"}  # of nca pca

Out = Annotated[Path | None, arg(help="Folder for the report, instead of one in the working folder.")]
Force = Annotated[bool, arg(help="Replace a finished report; other files in its folder stay.")]
MaxLogMse = Annotated[
    float, arg(help="Largest log10 MSE, at the adult step, with which a network of a population enters the statistics.")
]


def assay_commands() -> dict[str, type]:
    """The record of each assay's command, by the command's name."""
    return {assay.command: _make_record(assay) for assay in ASSAYS}


def _make_record(assay: Assay) -> type:
    """A frozen record of the organisms and options of an assay's command."""
    source = Annotated[str, arg(metavar="HOST", help="Organism that receives the cells, and whose rule runs them.")]
    donor = Annotated[str, arg(metavar="DONOR", help="Organism whose cells are moved; it may be the host itself.")]
    canvas = Annotated[tuple[int, int] | None, arg(help="Height and width in cells, instead of the host's own.")]
    config: Any = assay.config
    fields: list[Any] = [("organism", Positional[Sources] if assay.several else Positional[Source])]
    if assay.with_donor:
        fields = [("organism", Positional[source]), ("donor", Positional[donor])]
    fields += [("out", Out, None), ("force", Force, False)]
    fields += [("canvas", canvas, None)] if assay.with_donor else []
    fields += [("max_log_mse", MaxLogMse, MAX_LOG_MSE)] if assay.population else []
    fields.append(("config", OmitArgPrefixes[config], field(default_factory=config)))  # type: ignore[misc]
    lines = [assay.question, "", f"Writes a report into NAME-{assay.name}/."]
    lines += ["Several organisms are compared."] if assay.several else []
    lines += ["Of a population, its regimes are compared, with networks as units."] if assay.population else []
    namespace = {"execute": lambda command: _run_assay(assay, command)}
    record = make_dataclass(
        f"{assay.config.__name__.removesuffix('Config')}Command", fields, namespace=namespace, frozen=True
    )
    record.__doc__, record.__module__ = "\n".join(lines), __name__
    return record


def _run_assay(assay: Assay, command: Any) -> None:
    """Run an assay on the organisms that a command names, or on their population; write the report."""
    from analysis.populations.population import find_organism, find_organisms, find_population
    from analysis.report.folder import report_folder
    from analysis.report.model import Report
    from analysis.rollouts import body_warnings, with_adult_step

    name, config = f"nca {assay.command}", command.config
    sources = [command.organism] if isinstance(command.organism, str) else command.organism
    folder = _report_folder(name, sources[0] if sources else "", command.out)
    population = find_population(sources) if assay.population else None
    if population:
        _run_population(population, [(assay, config)], name, folder, asdict(config), command.max_log_mse, command.force)
        return
    organisms = find_organisms(sources) if assay.several else [find_organism(sources[0], name)]
    with report_folder(folder, name, force=command.force) as unfinished:
        started = time.monotonic()
        if assay.quick_above and len(organisms) > assay.quick_above:
            config = replace_defaults(config, asdict(assay.config.quick()))
        run = assay.module("run").run
        if assay.with_donor:
            donor, host = find_organism(command.donor, name), organisms[0]
            host = replace(host, canvas=command.canvas) if command.canvas else host
            organisms = [host] if donor.hash == host.hash else [host, donor]
        config = with_adult_step(config, *organisms)
        warnings = body_warnings(organisms, config.adult_step, log_line) if hasattr(config, "adult_step") else []
        if assay.with_donor:
            results = [run(host, donor, config, log=log_line)]
        else:
            results = [run(organism, config, log=log_line) for organism in organisms]
        for warning in (w for result in results for w in getattr(result, "warnings", ())):
            log_line(f"warning: {warning}")
        sections = assay.module("report").sections(results)
        drawn: Any = {"portrait": _first_portrait(results), "seconds": time.monotonic() - started, "warnings": warnings}
        _write(
            Report(name, organisms, sections, asdict(results[0].config), **drawn), folder, unfinished, data=config.full
        )


def _run_population(
    population: Population,
    assays: Iterable[tuple[Any, Any]],
    command: str,
    folder: Path,
    config: dict[str, Any],
    max_log_mse: float,
    force: bool,
) -> None:
    """Run assays on a population, write the report, print the claims.

    Args:
        population: whose networks.
        assays: assays, or what they measure of a population, each with its configuration.
        command: what makes the report, such as "nca axes".
        folder: where the report goes.
        config: the options, for the summary.
        max_log_mse: largest log10 MSE with which a network is included.
        force: replace a finished report.
    """
    from analysis.populations.report import sections
    from analysis.populations.run import run
    from analysis.report.folder import report_folder
    from analysis.report.model import Report

    with report_folder(folder, command, force=force) as unfinished:
        started = time.monotonic()
        measured = [(a.module("population").POPULATION if isinstance(a, Assay) else a, c) for a, c in assays]
        results = run(population, measured, max_log_mse=max_log_mse, log=log_line)
        report = Report(
            command,
            [member.organism for member in population.members],
            sections(results),
            {**config, "max_log_mse": max_log_mse},
            portrait=_first_portrait(results),
            seconds=time.monotonic() - started,
            caveat=POPULATION_CAVEAT,
            title=f"The population {population.name}",
        )
        _write(report, folder, unfinished)


def _first_portrait(results: Iterable[Any]) -> Any:
    return next((result.portrait for result in results if result.portrait is not None), None)


def _write(report: Report, folder: Path, unfinished: Path, data: bool = False) -> None:
    """Write a report that is to become `folder`; print the first claims of each section, and where the page is."""
    from analysis.report.folder import write_files

    write_files(report, unfinished, data)
    for section in report.sections:
        for claim in section.claims[:SHOWN_CLAIMS]:
            print_result(claim.text)
    print_result(str(folder / "report.html"))


def _report_folder(command: str, source: str, out: Path | None = None) -> Path:
    """Where a command writes: `out`, or NAME-ASSAY in the working folder.

    Args:
        command: such as "nca lesion".
        source: the first organism as it was typed; a file or folder goes without what leads to it, and a
            training run's by the run's name.
        out: the folder that was asked for, if any.
    """
    if out is not None:
        return out
    path, word = Path(os.path.abspath(source)), command.removeprefix("nca ")
    name = path.name if path.is_dir() else path.stem
    name = {"organism": path.parent.name, "snapshots": f"{path.parent.name}-snapshots"}.get(name, name)
    nouns = {"dissect": "dissection"} | {assay.command: assay.name for assay in ASSAYS}
    return Path(f"{name}-{nouns.get(word, word)}")


@dataclass(frozen=True)
class Dissect:
    """Take an organism apart: growth, axes, lesions, regeneration, grafts, robustness, in one report.

    Several organisms are compared. Of a population, its regimes are compared, with networks as units.

    Attributes:
        out: folder for the report; NAME-dissection if none.
        force: dissect again, and replace the dissection that the folder holds; other files in it stay.
        max_log_mse: largest log10 MSE, at the adult step, with which a network of a population enters the statistics.
    """

    organism: Positional[Sources]
    out: Path | None = None
    force: bool = False
    max_log_mse: float = MAX_LOG_MSE
    config: OmitArgPrefixes[DissectConfig] = field(default_factory=DissectConfig)

    def execute(self) -> None:
        """Dissect, write the report, print the claims."""
        from analysis.dissection.dissect import COMMAND, dissect
        from analysis.populations.population import find_organisms, find_population
        from analysis.report.folder import is_current, report_folder
        from analysis.rollouts import with_adult_step

        config, options = self.config, asdict(self.config)
        folder = _report_folder(COMMAND, self.organism[0] if self.organism else "", self.out)
        population = find_population(self.organism)
        if population:
            organisms = [member.organism for member in population.members]
            written = options | {"max_log_mse": self.max_log_mse}
        else:
            organisms = find_organisms(self.organism)
            config = with_adult_step(config, *organisms)
            written = config.to_json()
        if not self.force and is_current(folder, organisms, written):
            log_line(f"{folder} holds this dissection already; --force repeats it")
            print_result(str(folder / "report.html"))
        elif population:
            # Networks are the units, and presets for many networks fill what is left at its default.
            assays = [a for a in ASSAYS if a.population and a.name in config.assays]
            configs = [replace(a.config(), seed=config.seed, adult_step=config.adult_step) for a in assays]
            _run_population(
                population, zip(assays, configs, strict=True), COMMAND, folder, options, self.max_log_mse, self.force
            )
        else:
            with report_folder(folder, COMMAND, force=self.force) as unfinished:
                _write(dissect(organisms, config, log=log_line), folder, unfinished, data=config.full)


@dataclass(frozen=True)
class Pca:
    """Show the principal components of an organism's states: maps, colours, variance, loadings.

    Attributes:
        adult_step: step whose states the components are fitted on; growth is shown up to it. 0 means 200, or 96 if the
            organism has lost its body by 200.
        channels: channels that are analysed: the hidden ones, or all.
        scaling: raw states, or zscore, which gives every channel unit variance first.
        seed: seed of all random numbers.
        out: folder for the report; NAME-pca if none.
        force: replace a finished report; other files in its folder stay.
        max_log_mse: largest log10 MSE, at the adult step, with which a network of a population enters the statistics.
    """

    organism: Positional[Source]
    adult_step: int = 0
    channels: Literal["hidden", "all"] = "hidden"
    scaling: Literal["raw", "zscore"] = "raw"
    seed: int = 0
    out: Path | None = None
    force: bool = False
    max_log_mse: float = MAX_LOG_MSE

    def execute(self) -> None:
        """Grow, fit, write the report."""
        import numpy as np

        from analysis import metrics
        from analysis.assays.axes.config import AxesConfig
        from analysis.assays.axes.pca import pca as fit_pca
        from analysis.assays.axes.population import COMPONENTS
        from analysis.assays.axes.report import pca_section
        from analysis.populations.population import find_organism, find_population
        from analysis.recording import record
        from analysis.report.folder import report_folder
        from analysis.report.model import Report
        from analysis.rollouts import body_warnings, with_adult_step

        options = {name: getattr(self, name) for name in ("adult_step", "channels", "scaling", "seed")}
        config = AxesConfig(**options)
        folder = _report_folder("nca pca", self.organism, self.out)
        population = find_population([self.organism])
        if population:
            _run_population(
                population, [(COMPONENTS, config)], "nca pca", folder, asdict(config), self.max_log_mse, self.force
            )
            return
        organism = find_organism(self.organism, "nca pca")
        with report_folder(folder, "nca pca", force=self.force) as unfinished:
            started, step = time.monotonic(), with_adult_step(config, organism).adult_step
            warnings = body_warnings([organism], step, log_line)
            log_line(f"growing {organism.name} to step {step}")
            recording = record(organism, step, seed=self.seed)
            components = fit_pca(recording, step=step, channels=self.channels, scaling=self.scaling)
            sections = [pca_section(components)]
            portrait = np.asarray(metrics.picture(organism.rule.spec, recording.state.values[0, -1]))
            drawn: Any = {"portrait": portrait, "seconds": time.monotonic() - started, "warnings": warnings}
            _write(Report("nca pca", [organism], sections, options | {"adult_step": step}, **drawn), folder, unfinished)

"""`nca pca` and `nca axes`: components of the cells' states, and whether they are axes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional

from analysis.assays.axes.config import AxesConfig
from analysis.cli.assay import folder_for, of_population
from analysis.cli.basic import ADMIT, Source, Sources, say, tell
from nca.errors import UserError

if TYPE_CHECKING:
    from analysis.assays.axes.examination import Axes as Examined
    from analysis.report.model import Section
    from nca.organism import Organism

MANY = 4


@dataclass(frozen=True)
class Pca:
    """Show the principal components of an organism's states: maps, colours, scree, loadings.

    Attributes:
        at: step that they are fitted on; growth is shown up to it.
        channels: the hidden channels, or all.
        scaling: raw states, or z-scored.
        seed: number that the randomness follows from.
        out: folder for the report; NAME-pca if none.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Source]
    at: int = 200
    channels: Literal["hidden", "all"] = "hidden"
    scaling: Literal["raw", "zscore"] = "raw"
    seed: int = 0
    out: Path | None = None
    admit: float = ADMIT


def pca(command: Pca) -> None:
    """Grow, fit, write, say where."""
    from analysis.assays.axes.pca import pca as fitted
    from analysis.assays.axes.sections import components_section
    from analysis.populations import battery
    from analysis.populations.sources import one_of
    from analysis.recording import record
    from analysis.report import folder as pages

    if command.at < 1:
        raise UserError(f"Components need a step after the seed, got {command.at}.")
    config = AxesConfig(seed=command.seed, steps=command.at, channels=command.channels, scaling=command.scaling)
    if of_population("nca pca", command, config, battery.components):
        return
    organism = one_of(command.organism, "nca pca")
    folder = folder_for("nca pca", command.organism, command.out)
    pages.check_place(folder, "nca pca")
    say(f"growing {organism.name} to step {command.at}")
    begun = time.monotonic()
    recording = record(organism, command.at, seed=command.seed)
    found = fitted(recording, at=command.at, channels=command.channels, scaling=command.scaling)
    section = components_section(found)
    asked = {k: getattr(command, k) for k in ("at", "channels", "scaling", "seed")}
    more = {"portrait": _portrait(organism, recording), "seconds": time.monotonic() - begun}
    pages.write_sections(folder, [organism], [section], "nca pca", asked, **more)
    for finding in section.claims:
        tell(finding.text)
    tell(str(folder / "report.html"))


@dataclass(frozen=True)
class Axes:
    """Test the body axes of organisms, each statistic beside its null.

    Several organisms are also compared; of more than four, and of the organisms kept along a training
    run (a folder RUN/keep), only what their components and decoders are. Of a population it asks whether
    the codes of x and y rise over the regimes, lineage by lineage.

    Attributes:
        out: folder for the report; NAME-axes if none.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Sources]
    out: Path | None = None
    admit: float = ADMIT
    config: OmitArgPrefixes[AxesConfig] = field(default_factory=AxesConfig)


def axes(command: Axes) -> None:
    """Examine, compare, write, say where."""
    from analysis.assays.axes.comparison import comparison_section
    from analysis.assays.axes.examination import examine_axes
    from analysis.populations import battery
    from analysis.populations.sources import organisms_of
    from analysis.report import folder as pages

    if of_population("nca axes", command, command.config, battery.places):
        return
    organisms = organisms_of(command.organism)
    folder = folder_for("nca axes", command.organism[0], command.out)
    pages.check_place(folder, "nca axes")
    begun, config = time.monotonic(), command.config
    if len(organisms) > MANY:
        config = replace(config, permutations=0, course=0, randoms=0, angles=())
    found = [examine_axes(organism, config, say=say) for organism in organisms]
    sections = sections_of(found)
    if len(found) > 1:
        sections.insert(0, comparison_section(found))
    more: dict[str, Any] = {"seconds": time.monotonic() - begun}
    if len(found) == 1:
        more["portrait"] = _portrait(organisms[0], found[0].recording)
    pages.write_sections(folder, organisms, sections, "nca axes", config.to_json(), **more)
    for section in sections:
        for finding in section.claims[:3]:
            tell(finding.text)
    tell(str(folder / "report.html"))


def sections_of(found: Sequence[Examined]) -> list[Section]:
    """The sections of each organism; names, titles and files tell several apart."""
    from analysis.assays.axes.sections import axes_sections

    if len(found) == 1:
        return axes_sections(found[0])
    if len(found) > MANY:
        return []
    return [
        _named(section, f"{number}-", one.organism.name)
        for number, one in enumerate(found, 1)
        for section in axes_sections(one)
    ]


def _named(section: Section, prefix: str, name: str) -> Section:
    return replace(
        section,
        name=f"{section.name}-{prefix.rstrip('-')}",
        title=f"{section.title}: {name}",
        claims=[replace(f, assay=f"{f.assay}-{prefix.rstrip('-')}") for f in section.claims],
        figures=[replace(d, name=prefix + d.name) for d in section.figures],
        tables={prefix + k: v for k, v in section.tables.items()},
        data={prefix + k: v for k, v in section.data.items()},
    )


def _portrait(organism: Organism, recording: Any) -> Any:
    """The first run's last picture."""
    from analysis import metrics

    return metrics.picture(organism.rule.spec, recording.state.values[0, -1])

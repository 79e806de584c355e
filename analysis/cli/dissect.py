"""`nca dissect`: every assay of an organism, of several or of a population, as one report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes, Positional

from analysis.cli.assay import folder_for, told
from analysis.cli.basic import ADMIT, Sources, say, tell
from analysis.dissection.config import DissectConfig

if TYPE_CHECKING:
    from analysis.populations.members import Population

COMMAND = "nca dissect"


@dataclass(frozen=True)
class Dissect:
    """Take an organism apart: axes, lesions, regeneration, and a report of it all.

    Several organisms are compared: their axes, how they heal, and with --full what they bear. So are the
    regimes of a population, with its networks as units.

    Attributes:
        out: folder for the report; NAME-dissection if none.
        again: dissect even if the folder holds this very dissection already.
        admit: largest L, at the grown step, with which a network of a population enters the statistics.
    """

    organism: Positional[Sources]
    out: Path | None = None
    again: bool = False
    admit: float = ADMIT
    config: OmitArgPrefixes[DissectConfig] = field(default_factory=DissectConfig)


def dissect(command: Dissect) -> None:
    """Dissect, and say where the report is."""
    from analysis.dissection.dissect import dissect as dissected
    from analysis.populations.sources import organisms_of, population_of

    many = population_of(command.organism)
    if many:
        folder = folder_for(COMMAND, command.organism[0], command.out)
        together(many, folder, command.config, command.admit, again=command.again)
        return
    organisms = organisms_of(command.organism)
    folder = folder_for(COMMAND, command.organism[0], command.out)
    tell(str(dissected(organisms, folder, command.config, say, again=command.again)))


def together(population: Population, folder: Path, config: DissectConfig, limit: float, *, again: bool = False) -> None:
    """Dissect a population: axes, regeneration and lesions, with `full` also what it bears."""
    from analysis.assays.lesions.config import LesionConfig
    from analysis.assays.regeneration.config import RegenerationConfig
    from analysis.assays.robustness.config import RobustnessConfig
    from analysis.dissection.examination import axes_config
    from analysis.populations import battery
    from analysis.report import folder as pages

    asked = {**config.to_json(), "admit": limit}
    organisms = [m.organism for m in population.members]
    if not again and pages.holds(folder, organisms, asked):
        say(f"{folder} holds this dissection already; --again makes it anew")
        return
    usual = type(config)()
    places = replace(axes_config(config), runs=4 if config.runs == usual.runs else config.runs)
    harm = LesionConfig(seed=config.seed, at=config.steps, horizons=config.horizons)
    parts = [
        partial(battery.places, config=places),
        partial(
            battery.healing,
            config=RegenerationConfig(seed=config.seed, cut_at=config.steps, until=config.until, late=0),
        ),
        partial(battery.lesions, config=harm),
    ]
    if config.full:
        parts.append(partial(battery.robustness, config=RobustnessConfig(seed=config.seed, at=config.steps)))
    told(population, parts, COMMAND, folder, config.to_json(), limit)

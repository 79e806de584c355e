"""What commands do with a population: one page over all its networks, its answers printed, a table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.commands.basic import say, tell

if TYPE_CHECKING:
    from analysis.dissection.config import DissectConfig
    from analysis.pages.sections import Section
    from analysis.populations.battery import Part
    from analysis.populations.members import Population

CAVEAT = (
    "Networks are the units here, and only independent lineages of them are counted; all were trained on the "
    "targets named, by one recipe for each regime."
)


def told(
    population: Population,
    parts: Sequence[Part],
    command: str,
    folder: Path,
    config: Mapping[str, Any],
    limit: float,
    *,
    data: bool = False,
) -> None:
    """Examine a population, write its page, print what was found.

    Args:
        population: whose networks.
        parts: assays, each from a bench to a section.
        command: what made it, such as "nca axes".
        folder: where the page goes.
        config: what was asked for; its seed is used.
        limit: L with which a network enters.
        data: write labelled arrays as well.
    """
    from analysis.pages import folder as pages
    from analysis.populations.battery import Bench

    pages.check_place(folder, command)
    begun = time.monotonic()
    bench = Bench(population, say, limit, int(config["seed"]))
    sections = [part(bench) for part in parts]
    pages.write_sections(
        folder,
        [m.organism for m in population.members],
        sections,
        command,
        {**config, "admit": limit},
        title=f"The population {population.name}",
        caveat=CAVEAT,
        portrait=bench.portrait(),
        seconds=time.monotonic() - begun,
        data=data,
    )
    printed(sections)
    tell(str(folder / "report.html"))


def printed(sections: Sequence[Section]) -> None:
    """Every finding with its evidence."""
    for section in sections:
        for finding in section.findings:
            tell(f"{finding.claim}\n  {finding.evidence}")


def overview(population: Population) -> list[dict[str, Any]]:
    """A row for each member, trained or not, as plain JSON values."""
    rows: list[dict[str, Any]] = []
    for m in population.members:
        errors = m.organism.metrics.get("log10_error")
        errors = errors if isinstance(errors, Mapping) else {}
        rows.append(
            {
                "name": m.name,
                "target": m.target,
                "regime": m.regime,
                "seed": m.seed,
                "lineage": m.lineage,
                "L at 96": errors.get("96"),
                "L at 200": errors.get("200"),
                "hash": m.organism.hash,
                "status": "trained",
            }
        )
    rows += [{"name": name, "status": why} for name, why in population.missing.items()]
    return rows


def in_columns(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text, a column for each of the first row's names."""
    from analysis.commands import tables

    names = list(rows[0])
    return tables.columns([names, *([_word(row.get(name)) for name in names] for row in rows)])


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return "-" if value is None else str(value)


def dissected(
    population: Population, folder: Path, config: DissectConfig, limit: float, *, again: bool = False
) -> None:
    """Dissect a population: axes, regeneration and lesions, with `full` also what it bears."""
    from functools import partial

    from analysis.dissection.examination import axes_config
    from analysis.healing.config import HealingConfig
    from analysis.lesions.config import LesionConfig
    from analysis.pages import folder as pages
    from analysis.populations import battery
    from analysis.robustness.config import RobustConfig

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
            config=HealingConfig(seed=config.seed, cut_at=config.steps, until=config.until, late=0),
        ),
        partial(battery.lesions, config=harm),
    ]
    if config.full:
        parts.append(partial(battery.robustness, config=RobustConfig(seed=config.seed, at=config.steps)))
    told(population, parts, "nca dissect", folder, config.to_json(), limit)

"""What the commands of assays share: organisms or a population in, one page in a folder out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.cli.basic import say, tell

if TYPE_CHECKING:
    import numpy as np

    from analysis.populations.battery import Part
    from analysis.populations.members import Population
    from analysis.report.model import Section
    from nca.organism import Organism

NOUNS = {"dissect": "dissection", "regenerate": "regeneration", "robust": "robustness"}
CAVEAT = (
    "Networks are the units here, and only independent lineages of them are counted; all were trained on the "
    "targets named, by one recipe for each regime."
)


def folder_for(command: str, source: str, out: Path | None = None) -> Path:
    """Where a command writes: `out`, or NAME-ASSAY in the working folder.

    Args:
        command: such as "nca lesion"; the assay is its word, made a noun.
        source: the first organism as it was typed; a file or folder without what leads to it, and a
            training run's by the run's name.
        out: the folder that was asked for, if any.
    """
    if out is not None:
        return out
    path, word = Path(os.path.abspath(source)), command.removeprefix("nca ")
    name = path.name if path.is_dir() else path.stem
    name = {"organism": path.parent.name, "keep": f"{path.parent.name}-keep"}.get(name, name)
    return Path(f"{name}-{NOUNS.get(word, word)}")


def of_organisms(
    command: str,
    asked: Any,
    examine: Callable[[list[Organism]], tuple[Section, np.ndarray | None]],
    part: Callable[..., Section],
) -> None:
    """Examine the organisms that were named, or their population; write the page, say where.

    Args:
        command: what makes it, such as "nca lesion".
        asked: the command's record, with organism, out, admit and config.
        examine: from organisms to a section and a grown body's picture.
        part: the same assay of a population, from a bench and a config to a section.

    Raises:
        UserError: no such organism, or the folder is in use or cannot be written.
    """
    from analysis.populations.battery import fewer
    from analysis.populations.sources import one_of, organisms_of
    from analysis.report import folder as pages

    if of_population(command, asked, fewer(asked.config), part):
        return
    single = isinstance(asked.organism, str)
    organisms = [one_of(asked.organism, command)] if single else organisms_of(asked.organism)
    folder = folder_for(command, sources_of(asked)[0], asked.out)
    pages.check_place(folder, command)
    begun = time.monotonic()
    section, portrait = examine(organisms)
    config = asked.config.filled()
    seconds = time.monotonic() - begun
    more = {"portrait": portrait, "seconds": seconds, "data": config.full}
    tell(str(pages.write_sections(folder, organisms, [section], command, config.to_json(), **more)))


def of_population(command: str, asked: Any, config: Any, part: Callable[..., Section]) -> bool:
    """Examine the population that was named, write its page, print what was found.

    Returns:
        Whether one was named.
    """
    from analysis.populations.sources import population_of

    sources = sources_of(asked)
    population = population_of(sources)
    if population is None:
        return False
    folder = folder_for(command, sources[0], asked.out)
    told(population, [partial(part, config=config)], command, folder, config.to_json(), asked.admit)
    return True


def sources_of(asked: Any) -> Sequence[str]:
    """The organisms of a command's record, one or several, as they were typed."""
    return [asked.organism] if isinstance(asked.organism, str) else asked.organism


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
    from analysis.populations.battery import Bench
    from analysis.report import folder as pages

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
        for finding in section.claims:
            tell(f"{finding.text}\n  {finding.evidence}")

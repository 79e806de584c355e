"""What a GPU does with the training step: `python -m benchmarks.gpu [--save]`.

Without a GPU it runs all the same, at tiny sizes, to see that it does; nothing that it would then time is
shown: every such figure reads "not measured".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks import gpu_aims, gpu_variants
from benchmarks.gpu_profile import profile_table
from benchmarks.measure import Row, Table
from benchmarks.saving import report
from benchmarks.scene import QUICK, Sizes, scene
from nca.training.config import TrainConfig

Name = Literal["profile", "variants", "quality", "whole", "population", "cax", "sweep"]
LABELS = {"program", "variant", "members", "way", "runs", "aim", "wanted"}
PUBLISHED = Sizes(steps=80)


@dataclass(frozen=True)
class Options:
    """Measure what a GPU does with the training step.

    Attributes:
        quick: tiny sizes and few repetitions, to see that everything runs; so it is without a GPU.
        only: one of the tables.
        save: write the tables to a file.
        results: the folder that it goes to.
        organism: whose grown body is computed: a name or a file.
        cax_python: Pythons that have CAX and a jax for this GPU, to be measured beside.
        repeats: how often each thing is timed.
        quality: training steps of each seed and variant that trains as well; 0 leaves it out.
        seeds: how many of them.
        members: of the population.
    """

    quick: bool = False
    only: Name | None = None
    save: bool = False
    results: Path = Path(__file__).parent / "results"
    organism: str = "lizard"
    cax_python: tuple[str, ...] = ()
    repeats: int = 5
    quality: int = 0
    seeds: int = 3
    members: int = 32


def measure(options: Options) -> list[Table]:
    """The tables asked for."""
    quick, repeats = options.quick, 2 if options.quick else options.repeats
    given = scene(QUICK if quick else PUBLISHED, None if quick else options.organism)
    recipe = tiny() if quick else TrainConfig.published(regime="regenerating", steps=gpu_aims.WHOLE_RUN)
    members = 2 if quick else options.members
    winners = [gpu_variants.PLAIN]
    makers: dict[str, Callable[[], Table]] = {
        "profile": lambda: profile_table(given, repeats),
        "variants": lambda: gpu_variants.variants_table(given, repeats),
        "quality": lambda: gpu_variants.quality_table(winners, schooling(options, recipe), options.seeds),
        "whole": lambda: gpu_aims.whole_table(recipe),
        "population": lambda: gpu_aims.population_table(recipe, members, repeats),
        "cax": lambda: gpu_aims.cax_table(given, options.cax_python, repeats),
        "sweep": lambda: gpu_aims.swept_table(quick, repeats),
    }
    tables = []
    for name, make in makers.items():
        if options.only not in (None, name) and not (name == "variants" and options.only == "quality"):
            continue
        tables.append(make())
        if name == "variants":
            winners = won(tables[-1])
    tables.append(aims(tables))
    return tables if gpu_variants.on_gpu() else [blank(table) for table in tables]


def tiny() -> TrainConfig:
    """A recipe that is done in seconds."""
    return TrainConfig.published(
        regime="regenerating", steps=4, size=8, margin=4, pool_size=8, batch_size=4, min_steps=2, max_steps=4,
        hidden_size=16, log_every=2, plot_every=0,
    )  # fmt: skip


def schooling(options: Options, recipe: TrainConfig) -> TrainConfig:
    """How each variant is trained to see whether it trains as well."""
    steps = recipe.steps if options.quick else max(options.quality, 1)
    return replace(recipe, regime="growing", steps=steps)


def won(table: Table) -> list[str]:
    """Plain XLA, and the ways of training that won against it; without a GPU none can."""
    names = [str(row["variant"]) for row in table.rows if row["wins"] == "yes" and gpu_variants.on_gpu()]
    return [gpu_variants.PLAIN, *(n for n in names if n in gpu_variants.RECIPES and n != gpu_variants.PLAIN)]


def aims(tables: list[Table]) -> Table:
    """What is to be reached on one GPU of an H100's class, beside what was measured."""
    found = {table.name: table.rows for table in tables}

    def least(table: str, column: str, **says: Any) -> float | None:
        values = [
            row[column]
            for row in found.get(table, [])
            if row.get(column) is not None and all(row[k] == v for k, v in says.items())
        ]
        return min(values) if values else None

    minutes = f"minutes of {gpu_aims.WHOLE_RUN} steps"
    crowd = max((row["members"] for row in found.get("population", [])), default=0)
    rows: list[Row] = [
        _aim("the published recipe, s", "under", 60, least("whole", "seconds")),
        _aim("a population of 32, minutes", "under", 15, least("population", minutes, members=crowd)),
        _aim("CAX's training step against ours, times", "at least", 2, _beside(found.get("cax", []))),
        _aim("the lesion sweep of 480 runs, s", "under", 3, _sweep(found.get("sweep", []))),
    ]
    return Table("aims", "Aims on one GPU of an H100's class", "Only what this run measured.", rows)


def _sweep(rows: list[Row]) -> float | None:
    return next((row["s, median"] for row in rows if str(row["way"]).startswith("sweep")), None)


def _beside(rows: list[Row]) -> float | None:
    """How many times longer the fastest CAX takes than the fastest of ours."""
    best: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        if row.get("ms, best"):
            best[str(row["variant"]).startswith("CAX ")].append(row["ms, best"])
    return min(best[True]) / min(best[False]) if best[True] and best[False] else None


def _aim(what: str, how: str, wanted: float, found: float | None) -> Row:
    row: Row = {"aim": what, "wanted": f"{how} {wanted:g}", "measured": found, "met": None}
    if found is not None:
        row["met"] = "yes" if (found < wanted if how == "under" else found >= wanted) else "no"
    return row


def blank(table: Table) -> Table:
    """The table without its figures."""

    def empty(value: Any) -> Any:
        return [] if isinstance(value, list) else None

    rows = [{k: v if k in LABELS else empty(v) for k, v in row.items()} for row in table.rows]
    return replace(table, note=f"{table.note} There is no GPU here: nothing is measured.", rows=rows)


def main(options: Options) -> None:
    """Measure, print, and save where asked."""
    if not gpu_variants.on_gpu():
        options = replace(options, quick=True)
    report("gpu", options, lambda: measure(options))


if __name__ == "__main__":
    main(tyro.cli(Options))

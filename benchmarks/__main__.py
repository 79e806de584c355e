"""The command: what it measures, prints and saves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

if TYPE_CHECKING:
    from benchmarks.measure import Row, Table

Name = Literal["step", "canvas", "living", "runs", "peak", "gpu", "population", "devices"]


@dataclass(frozen=True)
class Options:
    """Measure speed and memory side by side.

    Attributes:
        quick: tiny sizes and few repetitions, to see that everything runs.
        only: one of the tables.
        save: write the tables to a file.
        results: the folder that it goes to.
        organism: whose grown body is computed: a name or a file.
        cax_python: Pythons that have CAX installed, to be measured beside.
        repeats: how often each thing is timed (CAX twice).
    """

    quick: bool = False
    only: Name | None = None
    save: bool = False
    results: Path = Path(__file__).parent / "results"
    organism: str = "lizard"
    cax_python: tuple[str, ...] = ()
    repeats: int = 5


def measure(options: Options) -> list[Table]:
    """The tables asked for."""
    from benchmarks import costs, populations
    from benchmarks.scene import QUICK, Sizes, scene
    from benchmarks.steps import step_table

    given = scene(QUICK if options.quick else Sizes(), None if options.quick else options.organism)
    repeats = 2 if options.quick else options.repeats
    members = (1, 2) if options.quick else populations.MEMBERS
    tables = {
        "step": lambda: step_table(given, repeats, options.cax_python, options.quick),
        "canvas": lambda: costs.by_canvas(given, repeats),
        "living": lambda: costs.by_living(given, repeats),
        "runs": lambda: costs.by_runs(given, repeats),
        "peak": lambda: costs.share_of_peak(given, repeats),
        "gpu": lambda: costs.whole_training(given, repeats),
        "population": lambda: populations.by_members(given, repeats, members),
        "devices": lambda: populations.by_devices(given, repeats, members),
    }
    found = [make() for name, make in tables.items() if options.only in (None, name)]
    return found if options.quick else [*found, *aims(found)]


def aims(tables: list[Table]) -> list[Table]:
    """What this project wants to reach, beside what was measured."""
    from benchmarks.measure import Table
    from benchmarks.steps import NAMES

    rows: list[Row] = []

    def compare(what: str, found: float | None, wanted: float, least: bool) -> None:
        if found is not None:
            met = found >= wanted if least else found <= wanted
            aim = f"{'at least' if least else 'at most'} {wanted:g}"
            rows.append({"aim": what, "wanted": aim, "measured": found, "met": "yes" if met else "no"})

    for row in (row for table in tables for row in table.rows):
        name = str(row.get("variant"))
        if name.startswith("CAX "):
            compare(f"forward, {name} against sparse", row["forward ratio"], 6, least=True)
            compare(f"training, {name} against sparse", row["training ratio"], 50, least=True)
        elif name == NAMES["convolution"]:
            compare("training, dense convolution against sparse", row["training ratio"], 8, least=True)
        elif name.startswith("training run"):
            compare("peak GB of a training run", row["peak GB"], 2.5, least=False)
        elif row.get("canvas") == "144x144":
            compare("a step on 144x144 against 72x72", row["against 72x72"], 1.5, least=False)
    return [Table("aims", "Aims", "Only those that this run measured.", rows)] if rows else []


def main(options: Options) -> None:
    """Measure, print, and save where asked."""
    from benchmarks.saving import report

    report("", options, lambda: measure(options))


if __name__ == "__main__":
    main(tyro.cli(Options))

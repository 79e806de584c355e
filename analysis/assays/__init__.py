"""Assays: one folder per question, all alike. `ASSAYS` lists them.

config.py    a frozen record, whose fields are the command's options; `quick()` and `full()` are two values of it
run.py       `run(organism, config, log=...)` -> a frozen record of labelled results; no sentences, no drawing
METHOD.py    one file per method, named by the method
plots.py     results -> matplotlib figures with captions
report.py    `sections(results)` -> claims, evidence tables and figures
population.py (where networks are compared)    what is measured of one network: `MEASURES` and `measure`
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from analysis.assays.axes.config import AxesConfig
from analysis.assays.fate.config import FateConfig
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.units.config import UnitConfig


@dataclass(frozen=True)
class Assay:
    """One question asked of organisms.

    Attributes:
        name: its package under `analysis.assays`, its section, and the folder NAME-`name` that it writes.
        command: the word after `nca`.
        question: what it asks, in one line, for help and contents.
        config: its record of options.
        several: whether one run of the command takes several organisms and compares them.
        with_donor: whether it takes two organisms, a host and a donor.
        population: whether it compares the networks of a population, by its module `population`.
        quick_above: above this number of organisms, options left at their defaults take their quick values.
        first_look: whether the short dissection makes it; else the full one does, in its quick preset.
    """

    name: str
    command: str
    question: str
    config: type[Any]
    several: bool = True
    with_donor: bool = False
    population: bool = True
    quick_above: int | None = None
    first_look: bool = True

    def module(self, name: str) -> ModuleType:
        """One of its modules (`run`, `report`, `population`), imported when it is needed."""
        return import_module(f"analysis.assays.{self.name}.{name}")


ASSAYS = (
    Assay("axes", "axes", "Do cells encode body axes, beyond what any smooth field shows?", AxesConfig, quick_above=4),
    Assay(
        "lesions", "lesion", "Which parts are needed, when, and which part backs up which?", LesionConfig, several=False
    ),
    Assay("regeneration", "regenerate", "From which wounds does the body regenerate?", RegenerationConfig),
    Assay(
        "grafts",
        "graft",
        "What becomes of cells that are moved to another place or another body?",
        GraftConfig,
        several=False,
        with_donor=True,
        population=False,
    ),
    Assay("robustness", "robust", "How much perturbation do growth and the grown body withstand?", RobustnessConfig),
    Assay(
        "fate",
        "fate",
        "Where does each cell think it is, when it is grown, regrown and moved?",
        FateConfig,
        population=False,
    ),
    Assay(
        "units",
        "units",
        "What does each hidden unit do, and how many does the body need?",
        UnitConfig,
        population=False,
        first_look=False,
    ),
)

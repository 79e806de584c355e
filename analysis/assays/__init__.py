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
from analysis.assays.grafts.config import GraftConfig
from analysis.assays.lesions.config import LesionConfig
from analysis.assays.regeneration.config import RegenerationConfig
from analysis.assays.robustness.config import RobustnessConfig


@dataclass(frozen=True)
class Assay:
    """One question asked of organisms.

    Attributes:
        name: its package under `analysis.assays`, its section, and the folder NAME-`name` that it writes.
        command: the word after `nca`.
        question: what it asks, in one line, for help and contents.
        config: its record of options.
        several: whether one run of the command takes several organisms.
    """

    name: str
    command: str
    question: str
    config: type[Any]
    several: bool = True

    def module(self, name: str) -> ModuleType:
        """One of its modules (`run`, `report`, `population`), imported when it is needed."""
        return import_module(f"analysis.assays.{self.name}.{name}")


ASSAYS = (
    Assay("axes", "axes", "Do cells carry body axes, beyond what any smooth field shows?", AxesConfig),
    Assay("lesions", "lesion", "Which parts are needed, when, and what backs up what?", LesionConfig, several=False),
    Assay("regeneration", "regenerate", "From which wounds does it heal?", RegenerationConfig),
    Assay("grafts", "graft", "What becomes of cells moved to another place or body?", GraftConfig, several=False),
    Assay("robustness", "robust", "How much disturbance do growth and body bear?", RobustnessConfig),
)

"""Taking neural cellular automata apart: recordings, statistics with their nulls, figures, reports.

experiments    runs recorded, twins, sweeps of edits; what a run is measured by
axes           are body axes in the cells' states, beyond what any smooth field shows
lesions        what is needed, when, and what backs up what
healing        wounds, and where they close
grafts         states moved to another place or another body
robustness     how much disturbance growth and body bear
films, pages   how results are shown: films, figures, one page that opens anywhere
dissection     all of it, of one organism or several
viewer         the living organism in a browser or a notebook
commands       the command line
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "record": "experiments.recording",
    "save_recording": "experiments.recording",
    "load_recording": "experiments.recording",
    "cells": "experiments.celltable",
    "to_anndata": "experiments.celltable",
    "sweep": "experiments.sweeping",
    "merge": "experiments.merging",
    "sweep_parts": "experiments.fleets",
    "pca": "axes.components",
    "examine_axes": "axes.examination",
    "axes_section": "axes.sections",
    "AxesConfig": "axes.config",
    "LesionConfig": "lesions.config",
    "DissectConfig": "dissection.config",
}
_PACKAGES = (
    "axes",
    "commands",
    "dissection",
    "experiments",
    "films",
    "grafts",
    "healing",
    "lesions",
    "pages",
    "robustness",
    "viewer",
)
__all__ = [*_HOMES, *_PACKAGES]


# Public names are imported when they are first used, so that `import analysis` is immediate.
def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"analysis.{_HOMES[name]}"), name)
    if name in _PACKAGES:
        return import_module(f"analysis.{name}")
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Taking neural cellular automata apart: recordings, statistics with their nulls, figures, reports.

The public names below are imported when they are first used, so that `import analysis` is immediate.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "record": "analysis.recording",
    "save_recording": "analysis.recording",
    "load_recording": "analysis.recording",
    "DissectConfig": "analysis.config",
    "LesionConfig": "analysis.lesion_config",
    "pca": "analysis.components",
    "AxesConfig": "analysis.axes_config",
    "examine_axes": "analysis.axes_examination",
    "axes_section": "analysis.axes_sections",
    "cells": "analysis.celltable",
    "sweep": "analysis.sweeping",
    "to_anndata": "analysis.celltable",
}
_MODULES = (
    "sweeping",
    "animation",
    "atlas",
    "axes",
    "dissect",
    "epistasis",
    "grafts",
    "healing",
    "lesions",
    "metrics",
    "periods",
    "plots",
    "recording",
    "regeneration",
    "repair",
    "report",
    "sessions",
    "robustness",
    "surrogates",
    "sweeps",
    "viewer",
)

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"analysis.{name}")
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

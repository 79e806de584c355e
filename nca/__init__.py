"""Growing neural cellular automata: one small network, the same in every cell.

The public names below are imported when they are first used, so that `import nca` is immediate.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Organism": "nca.organism",
    "Rule": "nca.rule",
    "Spec": "nca.spec",
    "TrainConfig": "nca.config",
    "UserError": "nca.errors",
    "bundled": "nca.files",
    "grow": "nca.growth",
    "load": "nca.files",
    "replay": "nca.growth",
    "run_key": "nca.growth",
    "save": "nca.files",
    "train": "nca.training",
    "trajectory": "nca.growth",
}
_MODULES = ("damage", "edits", "targets")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"nca.{name}")
    raise AttributeError(f"module 'nca' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

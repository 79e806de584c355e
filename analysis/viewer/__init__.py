"""The viewer: an organism alive in one HTML page, or in a notebook, to be taken apart by hand.

from analysis import viewer
viewer.save(organism, "lizard.html")       one file that opens anywhere, without a network
viewer.Viewer(organism)                    the same in a notebook; needs the extra "notebook"
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Viewer": "analysis.viewer.widget",
    "described": "analysis.viewer.data",
    "frame": "analysis.viewer.page",
    "save": "analysis.viewer.page",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'analysis.viewer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

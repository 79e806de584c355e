"""The versions that a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("nca-dissection", "jax", "jaxlib", "flax", "optax", "numpy")


def versions() -> dict[str, str]:
    """Version by package, and of Python; "absent" where a package is not installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found

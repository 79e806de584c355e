"""What every reader returns: the arrays of a file and what else it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nca.interop.limits import DamagedError


@dataclass(frozen=True, eq=False)
class Contents:
    """A file, read but not yet understood.

    Attributes:
        container: what kind of file it is, in words.
        arrays: float32, by name, in the order of the file.
        layout: how its matrices lie, "out-in" or "in-out"; "" where that differs or is not known.
        order: the feature order that this kind of file comes with as a rule; "" where none is usual.
        says: settings found beside the arrays, by the name that the file gives them.
        operations: names of layers or operations found, such as LeakyReLU.
        conventions: our own description, where the file carries one.
    """

    container: str
    arrays: dict[str, np.ndarray]
    layout: str = ""
    order: str = ""
    says: Mapping[str, Any] = field(default_factory=dict)
    operations: tuple[str, ...] = ()
    conventions: Mapping[str, Any] | None = None


def object_of(words: str) -> dict[str, Any]:
    """A JSON object written in a file."""
    try:
        found = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise DamagedError("its description is not JSON.") from error
    if not isinstance(found, dict):
        raise DamagedError("its description is not a JSON object.")
    return found

"""Sessions: what was done to an organism by hand, and to which run, as the viewer saves it.

    {"format": "nca-session-1", "organism", "hash", "seed", "run", "canvas": [y, x], "steps",
     "compass": [[step, radians], ...],         from that step on perception is turned by so much
     "edits": [...],                            as `nca.edits.to_json` writes them
     "arrays": {name: {"corner": [y, x], "shape": [y, x, channel], "float32": base64}}}

An edit whose value is `{"npz": name}` sets cells to an array of the session, which holds the box
around them.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nca import edits
from nca.edits.edit import Edit
from nca.errors import UserError
from nca.organism import Organism, check_canvas

FORMAT = "nca-session-1"


@dataclass(frozen=True)
class Session:
    """A run and what was done to it.

    Attributes:
        seed: what the run's key follows from.
        run: which run of that seed.
        canvas: (y, x) in cells.
        steps: how far it had come.
        compass: from which step on perception is turned, and by how many radians.
        edits: changes of the state.
    """

    seed: int
    run: int
    canvas: tuple[int, int]
    steps: int
    compass: tuple[tuple[int, float], ...]
    edits: tuple[Edit, ...]

    def angle(self, step: int) -> float:
        """Radians by which perception is turned at a step."""
        return next((angle for first, angle in reversed(self.compass) if first <= step), 0.0)

    def turned(self, organism: Organism, step: int) -> Organism:
        """The organism with its compass as it stands at a step."""
        angle = self.angle(step)
        return replace(organism, rule=organism.rule.turned(angle)) if angle else organism


def read(path: Path, organism: Organism) -> Session | list[Edit]:
    """What a JSON file holds, checked against the organism: a session, or a bare list of edits.

    Raises:
        UserError: neither, or of another organism.
    """
    try:
        found = json.loads(path.read_text(), parse_constant=_no_number)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}.") from error
    try:
        if isinstance(found, Mapping) and found.get("format") == FORMAT:
            return from_json(found, organism)
        if not isinstance(found, list) or not all(isinstance(e, dict) for e in found):
            raise UserError("it must hold a list of edits, each a JSON object, or a session of the viewer.")
        return _edits(found, organism, {})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def from_json(fields: Mapping[str, Any], organism: Organism) -> Session:
    """The session that JSON describes.

    Raises:
        UserError: it describes none, or one of another organism.
    """
    try:
        if fields["hash"] != organism.hash:
            raise UserError(
                f"This session is of {fields['organism']} (hash {fields['hash']}), not of "
                f"{organism.name} ({organism.hash})."
            )
        canvas = check_canvas(fields["canvas"])
        seed, run, steps = (int(fields[name]) for name in ("seed", "run", "steps"))
        compass = tuple(sorted((int(step), float(angle)) for step, angle in fields["compass"]))
        if min(seed, run, steps, *(step for step, _ in compass)) < 0 or max(seed, run) >= 2**31:
            raise ValueError("seed, run and steps are whole numbers from 0 up")
        if not all(math.isfinite(angle) for _, angle in compass):
            raise ValueError("an angle of the compass is not finite")
        arrays = {str(k): _pasted(v, canvas) for k, v in fields["arrays"].items()}
        listed = list(fields["edits"])
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"This is not a session of the viewer: {type(error).__name__} {error}.") from error
    if compass and organism.rule.spec.perception == "learned":
        raise UserError("This session turns a compass that a learned perception does not have.")
    return Session(seed, run, canvas, steps, compass, tuple(_edits(listed, organism, arrays)))


def _edits(listed: Sequence[Mapping[str, Any]], organism: Organism, arrays: Mapping[str, np.ndarray]) -> list[Edit]:
    try:
        found = [edits.from_json(e, [organism], arrays) for e in listed]
    except (AttributeError, TypeError, OverflowError) as error:
        raise UserError(f"it holds an edit that is none: {error}.") from error
    for edit in found:
        every = edits.entries(organism.rule, edit.site).size
        if (size := edit.channels.size) != every:
            raise UserError(f"the site {edit.site} has {every} entries here, not {size}.")
    return found


def _pasted(packed: Mapping[str, Any], canvas: tuple[int, int]) -> Float[np.ndarray, "y x channel"]:
    """An array of a session on the canvas, zero around it."""
    height, width, channels = (int(n) for n in packed["shape"])
    top, left = (int(n) for n in packed["corner"])
    raw = base64.b64decode(packed["float32"], validate=True)
    inside = 0 <= top <= canvas[0] - height and 0 <= left <= canvas[1] - width
    if min(height, width, channels) < 1 or not inside or len(raw) != 4 * height * width * channels:
        raise ValueError("an array does not fit its shape or the canvas")
    whole = np.zeros((*canvas, channels), np.float32)
    box = np.frombuffer(raw, "<f4").reshape(height, width, channels)
    whole[top : top + height, left : left + width] = box
    return whole


def _no_number(name: str) -> float:
    raise ValueError(f"it has {name}, which is no number")

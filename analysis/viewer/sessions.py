"""Sessions: what was done to an organism by hand, and to which run, as the viewer saves it.

    {"format": "nca-session-1", "organism", "hash", "seed", "run", "canvas": [y, x], "steps",
     "compass": [[step, radians], ...],         from that step on perception is rotated by this angle
     "edits": [...],                            as `nca.edits.to_json` writes them
     "arrays": {name: {"corner": [y, x], "shape": [y, x, channel], "float32": base64}}}

An edit whose value is `{"npz": name}` sets cells to an array of the session, which holds the box
around them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from nca import edits
from nca.edits.edit import Edit
from nca.errors import UserError
from nca.files import describe_error, read_json, reading
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
        compass: from which step on perception is rotated, and by how many radians.
        edits: changes of the state.
    """

    seed: int
    run: int
    canvas: tuple[int, int]
    steps: int
    compass: tuple[tuple[int, float], ...]
    edits: tuple[Edit, ...]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], organism: Organism) -> Session:
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
            arrays = {str(k): _on_canvas(v, canvas) for k, v in fields["arrays"].items()}
            listed = list(fields["edits"])
            if not all(isinstance(entry, Mapping) for entry in listed):
                raise ValueError("an entry of its edits is not an object")
        except UserError:
            raise
        except Exception as error:  # values from a file may be of any type
            raise UserError(f"This is not a session of the viewer: {describe_error(error)}.") from error
        if compass and organism.rule.spec.perception == "learned":
            raise UserError("This session rotates the perception, but a learned perception has no compass.")
        parsed = [edits.from_json(entry, [organism], arrays) for entry in listed]
        return cls(seed, run, canvas, steps, compass, tuple(_check_entries(parsed, organism)))

    def rotate(self, organism: Organism, step: int) -> Organism:
        """The organism with its perception rotated as it is at a step."""
        angle = next((angle for first, angle in reversed(self.compass) if first <= step), 0.0)
        return replace(organism, rule=organism.rule.rotate(angle)) if angle else organism


def read_session(path: Path, organism: Organism) -> Session | list[Edit]:
    """A JSON file as a session, or as a list of edits, checked against the organism.

    Raises:
        UserError: it holds neither, or belongs to another organism.
    """
    with reading(path, "is not JSON"):
        content = read_json(path)
    with reading(path, "cannot be used"):
        if isinstance(content, Mapping) and content.get("format") == FORMAT:
            return Session.from_json(content, organism)
        if not isinstance(content, list) or not all(isinstance(e, dict) for e in content):
            raise UserError("it must hold a list of edits, each a JSON object, or a session of the viewer.")
        return _check_entries(edits.load(path, [organism]), organism)


def _check_entries(parsed: list[Edit], organism: Organism) -> list[Edit]:
    """Edits, each of which must be one of this organism's entries."""
    for edit in parsed:
        expected = edits.entries(organism.rule, edit.site).size
        if (size := edit.entries.size) != expected:
            raise UserError(f"the site {edit.site} has {expected} entries here, not {size}.")
    return parsed


def _on_canvas(entry: Mapping[str, Any], canvas: tuple[int, int]) -> Float[np.ndarray, "y x channel"]:
    """An array of a session on the canvas, zero around it."""
    height, width, channels = (int(n) for n in entry["shape"])
    top, left = (int(n) for n in entry["corner"])
    raw = base64.b64decode(entry["float32"], validate=True)
    inside = 0 <= top <= canvas[0] - height and 0 <= left <= canvas[1] - width
    if min(height, width, channels) < 1 or not inside or len(raw) != 4 * height * width * channels:
        raise ValueError("an array does not fit its shape or the canvas")
    array = np.zeros((*canvas, channels), np.float32)
    box = np.frombuffer(raw, "<f4").reshape(height, width, channels)
    array[top : top + height, left : left + width] = box
    return array

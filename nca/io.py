"""Organism files: one safetensors file each, arrays plus JSON.

Layout: tensors `weights.N` (inputs, outputs), `biases.N`, `angle`, `seed`, and where they exist
`kernels` and `target`; the metadata entry `organism` holds spec, canvas, name, provenance and
metrics as JSON. Nothing is ever unpickled.
"""

from __future__ import annotations

import difflib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

from nca.errors import UserError
from nca.files import DamagedError, parse_json, reading, write_file
from nca.organism import Organism
from nca.rule import Rule
from nca.spec import Spec
from nca.versions import modern_keys

FORMAT = 1
MAX_BYTES = 256 * 2**20
ALIASES = {name: f"{name}-regenerating" for name in ("flag", "lizard", "planarian", "starfish")}


def save(organism: Organism, path: str | Path) -> Path:
    """Write an organism to a file, atomically.

    Raises:
        UserError: the folder is missing or not writable, the disk is full, or the organism holds
            numbers that are not finite or provenance that JSON cannot hold.
    """
    arrays = organism.arrays()
    if organism.target is not None:
        arrays["target"] = organism.target
    description = {
        "format": FORMAT,
        "spec": organism.rule.spec.to_json(),
        "canvas": organism.canvas,
        "name": organism.name,
        "provenance": dict(organism.provenance),
        "metrics": dict(organism.metrics),
    }
    bad = [k for k, v in arrays.items() if not np.isfinite(v).all()]
    if bad:
        raise UserError(f"An organism needs finite numbers, but {', '.join(bad)} has others.")
    try:
        metadata = {"organism": json.dumps(description, allow_nan=False)}
    except (TypeError, ValueError) as error:
        raise UserError(f"An organism's provenance and metrics must be plain JSON: {error}.") from error
    return write_file(path, to_bytes({k: np.array(v, order="C") for k, v in arrays.items()}, metadata=metadata))


def bundled(population: str = "") -> tuple[str, ...]:
    """The names of the organisms that come with the package, or of the members of a bundled population."""
    folder = resources.files("nca") / "organisms" / population
    files = [f.name for f in folder.iterdir()] if folder.is_dir() else []
    return tuple(sorted(n.removesuffix(".safetensors") for n in files if n.endswith(".safetensors")))


def bundled_populations() -> tuple[str, ...]:
    """The names of the populations that come with the package; `NAME/MEMBER` is an organism of one."""
    folder = resources.files("nca") / "organisms"
    entries = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(f.name for f in entries if (f / "population.json").is_file()))


def load(source: str | Path) -> Organism:
    """An organism: a bundled one by name, a member of a bundled population (`lizards/NAME`), or one from a file.

    Raises:
        UserError: no such name or file, or a file that is not an organism.
    """
    name = ALIASES.get(str(source), str(source))
    population, _, member = name.rpartition("/")
    if name in bundled() or (population in bundled_populations() and member in bundled(population)):
        return _read(Path(str(resources.files("nca") / "organisms" / f"{name}.safetensors")))
    if not os.path.isfile(source):
        close = difflib.get_close_matches(str(source), (*bundled(), *ALIASES), n=1)
        choices = f", or one of {', '.join(bundled())}" if bundled() else ""
        advice = f"did you mean {close[0]}?" if close else f"give a file{choices}."
        raise UserError(f"No organism {str(source)!r}: {advice}")
    return _read(Path(source))


def _read(path: Path) -> Organism:
    """The organism in a file."""
    arrays, description = _read_contents(path)
    with reading(path, "does not hold an organism"):
        if description["format"] > FORMAT:
            raise DamagedError(f"it was written by a newer version (format {description['format']}).")
        layers = range(sum(k.startswith("weights.") for k in arrays))
        if any(arrays[f"weights.{i}"].ndim != 2 for i in layers):
            raise DamagedError("its weights are not matrices.")
        rule = Rule(
            Spec.from_json(description["spec"]),
            [arrays[f"weights.{i}"] for i in layers],
            [arrays[f"biases.{i}"] for i in layers],
            arrays.get("kernels"),
            arrays["angle"].reshape(()),
        )
        return Organism(
            rule,
            seed=arrays["seed"],
            canvas=tuple(description["canvas"]),
            target=arrays.get("target"),
            name=str(description["name"]),
            provenance=modern_keys(description["provenance"], "provenance"),
            metrics=modern_keys(description["metrics"], "metrics"),
        )


def _read_contents(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path} has {size} bytes; an organism has at most {MAX_BYTES}.")
    mistake = "is not an organism file (safetensors written by this package); a file of another kind has to be imported"
    with reading(path, mistake), safe_open(path, framework="numpy") as file:
        description = parse_json((file.metadata() or {})["organism"], dict)
        names = list(file.keys())
        bad = [name for name in names if file.get_slice(name).get_dtype() != "F32"]
        arrays = {} if bad else {name: file.get_tensor(name) for name in names}
    if bad := bad or [name for name, values in arrays.items() if not np.isfinite(values).all()]:
        raise UserError(f"{path}: {', '.join(bad)[:200]} must hold finite float32 numbers.")
    return arrays, description

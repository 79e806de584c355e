"""Edits as JSON, and back.

A single number or a short array stands in the file; values taken from a run are named by that run
and computed anew; other large arrays go into an .npz beside the list.
"""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nca.edits.donors import DERIVATIONS, Donor, DonorValue
from nca.edits.edit import FOREVER, MODES, SITES, Edit, Origin
from nca.errors import UserError
from nca.io import bundled, write_file
from nca.io import load as load_organism

if TYPE_CHECKING:
    from nca.organism import Organism

SHORT = 4096  # numbers that a file of edits may hold in the open


def to_json(edit: Edit) -> dict[str, Any]:
    """An edit as plain JSON values; the region as packed bits in base64.

    Raises:
        UserError: its value is a large array from nowhere; `save` writes those.
    """
    if edit.donor is None and edit.value.size > SHORT:
        raise UserError(
            f"An edit with a free array of {edit.value.size} numbers is written by edits.save, which puts "
            f"it into an .npz beside; JSON alone holds {SHORT}."
        )
    region = None
    if edit.region is not None:
        bits = np.packbits(np.asarray(edit.region)).tobytes()
        region = {"shape": list(edit.region.shape), "bits": base64.b64encode(bits).decode()}
    window = [int(edit.first), None if int(edit.last) == FOREVER else int(edit.last)]
    entries = np.asarray(edit.channels)
    value: Any = np.asarray(edit.value).tolist() if edit.donor is None else _taken_to_json(edit.donor)
    return {
        "site": edit.site,
        "mode": edit.mode,
        "entries": np.flatnonzero(entries).tolist(),
        "of": len(entries),
        "value": value,
        "steps": window,
        "region": region,
    }


def from_json(
    fields: Mapping[str, Any],
    organisms: Sequence[Organism] = (),
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Edit:
    """The edit that `to_json` described.

    Args:
        fields: the description.
        organisms: where donors are looked for, before the bundled ones.
        arrays: large values by name, from the .npz beside.

    Raises:
        UserError: it describes no edit, or a donor is not at hand.
    """
    try:
        entries = np.zeros(int(fields["of"]), bool)
        entries[np.asarray(fields["entries"], int)] = True
        mode, site = str(fields["mode"]), str(fields["site"])
        first, last = (None if step is None else int(step) for step in fields["steps"])
        region = None if fields["region"] is None else _unpacked(fields["region"])
        value, taken = _value(fields["value"], organisms, arrays or {})
        if not np.isfinite(value).all():
            raise ValueError(f"its value is {value}")
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(f"An edit in JSON needs site, mode, entries, of, value, steps, region: {error}") from error
    if mode not in MODES or site.rstrip("0123456789") not in SITES:
        raise UserError(f"An edit needs a known site and mode, got {site!r} and {mode!r}.")
    edit = Edit(site, mode, jnp.asarray(entries), None, value, jnp.int32(0), jnp.int32(0), taken)
    edit = edit.at(slice(first, last))
    return edit if region is None else edit.where(region)


def save(edits: Sequence[Edit], path: str | Path) -> Path:
    """Write a list of edits as JSON, arrays that came from no run into an .npz beside it.

    Raises:
        UserError: the name does not end in .json, or a file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise UserError(f"Edits are saved as a .json file, got {str(path)!r}.")
    arrays: dict[str, np.ndarray] = {}
    listed = []
    for number, edit in enumerate(edits):
        large = edit.donor is None and edit.value.size > SHORT
        if large:
            arrays[f"edit{number}"] = np.asarray(edit.value)
        described = to_json(replace(edit, value=jnp.float32(0)) if large else edit)
        listed.append(described | ({"value": {"npz": f"edit{number}"}} if large else {}))
    if arrays:
        write_file(path.with_suffix(".npz"), lambda beside: _write_arrays(beside, arrays))
    return write_file(path, json.dumps(listed, indent=1))


def load(path: str | Path, organisms: Sequence[Organism] = ()) -> list[Edit]:
    """The edits that `save` wrote.

    Raises:
        UserError: no such file, or not a list of edits.
    """
    path = Path(path)
    try:
        listed = json.loads(path.read_text())
        if not isinstance(listed, list) or not all(isinstance(e, dict) for e in listed):
            raise ValueError("it is not a list of JSON objects")
        beside = path.with_suffix(".npz")
        arrays: dict[str, np.ndarray] = {}
        if beside.is_file():
            with np.load(beside, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} must hold a list of edits, each a JSON object: {error}.") from error
    return [from_json(fields, organisms, arrays) for fields in listed]


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _value(given: Any, organisms: Sequence[Organism], arrays: Mapping[str, np.ndarray]) -> tuple[Array, DonorValue | None]:
    """The value that JSON describes, and where it was taken from."""
    if isinstance(given, Mapping):
        if "npz" in given:
            return jnp.asarray(arrays[given["npz"]], jnp.float32), None
        taken = _taken(given, organisms)
        return jnp.asarray(taken.value(), jnp.float32), taken
    value = np.asarray(given, np.float32)
    if value.size > SHORT or not value.size:
        raise ValueError(f"a value in the open holds 1 to {SHORT} numbers, not {value.size}")
    return jnp.asarray(value), None


def _taken_to_json(taken: Origin) -> dict[str, Any]:
    """What finds the value again: the run by its organism's name and hash, and how it was taken."""
    assert isinstance(taken, DonorValue)  # all values of edits that were taken from anywhere are
    donor = taken.donor
    run = {
        "organism": donor.organism.name,
        "hash": donor.organism.hash,
        "step": donor.step,
        "seed": donor.seed,
        "run": donor.run,
        "canvas": list(donor.canvas or donor.organism.canvas),
        "edits": [to_json(edit) for edit in donor.edits],
    }
    return {"donor": run, "how": taken.how, "details": dict(taken.details)}


def _taken(fields: Mapping[str, Any], organisms: Sequence[Organism]) -> DonorValue:
    if fields["how"] not in DERIVATIONS:
        raise UserError(f"A value is taken from a donor by {', '.join(DERIVATIONS)}; got {fields['how']!r}.")
    run = fields["donor"]
    height, width = (int(n) for n in run["canvas"])
    donor = Donor(
        _by_hash(str(run["hash"]), str(run["organism"]), organisms),
        step=int(run["step"]),
        seed=int(run["seed"]),
        run=int(run["run"]),
        edits=tuple(from_json(edit, organisms) for edit in run["edits"]),
        canvas=(height, width),
    )
    return DonorValue(donor, str(fields["how"]), {str(k): v for k, v in dict(fields["details"]).items()})


def _by_hash(digest: str, name: str, organisms: Sequence[Organism]) -> Organism:
    """The organism of that hash among those given, else a bundled one of that name."""
    for organism in organisms:
        if organism.hash == digest:
            return organism
    if name in bundled() and load_organism(name).hash == digest:
        return load_organism(name)
    raise UserError(f"The donor {name} (hash {digest}) is not at hand; give its organism along.")


def _unpacked(packed: dict[str, Any]) -> np.ndarray:
    height, width = (int(n) for n in packed["shape"])
    bits = np.frombuffer(base64.b64decode(packed["bits"], validate=True), np.uint8)
    if not 0 < height * width <= 8 * bits.size < height * width + 8:
        raise ValueError("the region's bits do not fit its shape")
    return np.unpackbits(bits)[: height * width].reshape(height, width).astype(bool)

"""Edits as JSON, and back.

A number or a short array is written into the JSON file. A value taken from a run is written as the run it comes
from, and computed anew. Other large arrays go into an .npz file of the same name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nca.edits.constructors import DERIVATIONS, Donor, DonorValue
from nca.edits.edit import FOREVER, MODES, SITES, Edit
from nca.errors import UserError
from nca.files import DamagedError, describe_error, read_bytes, read_json, reading, write_file
from nca.io import bundled
from nca.io import load as load_organism
from nca.organism import check_canvas
from nca.untrusted import Archive, BoundedArrays, read_npy
from nca.versions import modern_keys

if TYPE_CHECKING:
    from nca.organism import Organism

MAX_INLINE = 4096  # numbers of a value that is written into the JSON file itself
_MAX_ENTRIES = 2**20
_MAX_DONOR_STEP = 100_000


def to_json(edit: Edit) -> dict[str, Any]:
    """An edit as plain JSON values; the region as packed bits in base64.

    Raises:
        UserError: its value is a large array that comes from no run; `save` writes those.
    """
    if edit.donor is None and edit.value.size > MAX_INLINE:
        raise UserError(
            f"JSON holds at most {MAX_INLINE} numbers of an edit, and this one has {edit.value.size}; write it by "
            "edits.save, which puts large arrays into an .npz file."
        )
    region = None
    if edit.region is not None:
        bits = np.packbits(np.asarray(edit.region)).tobytes()
        region = {"shape": list(edit.region.shape), "bits": base64.b64encode(bits).decode()}
    selected = np.asarray(edit.entries)
    value: Any = np.asarray(edit.value).tolist() if edit.donor is None else _donor_value_to_json(edit.donor)
    return {
        "site": edit.site,
        "mode": edit.mode,
        "entries": np.flatnonzero(selected).tolist(),
        "of": len(selected),
        "value": value,
        "steps": [int(edit.first), None if int(edit.stop) == FOREVER else int(edit.stop)],
        "region": region,
    }


def from_json(
    fields: Mapping[str, Any], organisms: Sequence[Organism] = (), arrays: Mapping[str, np.ndarray] | None = None
) -> Edit:
    """The edit that `to_json` wrote.

    Args:
        fields: its plain JSON values.
        organisms: organisms of donors, searched before the bundled ones.
        arrays: large values by name, from the .npz file.

    Raises:
        UserError: these are not the values of an edit, or the organism of a donor is missing.
    """
    try:
        if not 0 < int(fields["of"]) <= _MAX_ENTRIES:
            raise ValueError(f"of must be from 1 to {_MAX_ENTRIES}")
        selected = np.zeros(int(fields["of"]), bool)
        selected[np.asarray(fields["entries"], int)] = True
        mode, site = str(fields["mode"]), str(fields["site"])
        first, stop = (None if step is None else int(step) for step in fields["steps"])
        region = None if fields["region"] is None else _unpack_region(fields["region"])
        value, source = _read_value(fields["value"], organisms, arrays or {})
        if not np.isfinite(value).all():
            raise ValueError("its value is not finite")
    except UserError:
        raise
    except Exception as error:  # values from a file may be of any type
        raise UserError(
            f"An edit in JSON needs site, mode, entries, of, value, steps, region: {describe_error(error)}."
        ) from error
    if mode not in MODES or site.rstrip("0123456789") not in SITES:
        raise UserError(f"An edit needs a known site and mode, got {site!r} and {mode!r}.")
    edit = Edit(site, mode, jnp.asarray(selected), None, value, jnp.int32(0), jnp.int32(0), source)
    edit = edit.at(slice(first, stop))
    return edit if region is None else edit.where(region)


def save(edits: Sequence[Edit], path: str | Path) -> Path:
    """Write a list of edits as JSON, and large arrays that come from no run as .npz of the same name.

    Raises:
        UserError: the name does not end in .json, or a file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise UserError(f"Edits are saved as a .json file, got {str(path)!r}.")
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for number, edit in enumerate(edits):
        if edit.donor is None and edit.value.size > MAX_INLINE:
            name = f"edit{number}"
            arrays[name] = np.asarray(edit.value)
            entries.append(to_json(replace(edit, value=jnp.float32(0))) | {"value": {"npz": name}})
        else:
            entries.append(to_json(edit))
    if arrays:
        write_file(path.with_suffix(".npz"), lambda file: np.savez(file, allow_pickle=False, **arrays))
    return write_file(path, json.dumps(entries, indent=1))


def load(path: str | Path, organisms: Sequence[Organism] = ()) -> list[Edit]:
    """The edits that `save` wrote.

    Raises:
        UserError: no such file, or not a list of edits.
    """
    path = Path(path)
    with reading(path, "must hold a list of edits, each a JSON object"):
        entries = read_json(path)
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise DamagedError("it is not a list of JSON objects.")
        arrays = _read_arrays(path.with_suffix(".npz")) if path.with_suffix(".npz").is_file() else {}
        return [from_json(fields, organisms, arrays) for fields in entries]


def _read_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of numbers in an .npz file, by name."""
    arrays = BoundedArrays()
    with reading(path, "must hold the arrays of edits"):
        archive = Archive(read_bytes(path))
        for entry in archive.names:
            values = read_npy(archive.read(entry))
            if values is None:
                raise DamagedError(f"its array {entry[:40]} must hold numbers.")
            arrays[entry.removesuffix(".npy")] = values
    return arrays


def _read_value(
    value: Any, organisms: Sequence[Organism], arrays: Mapping[str, np.ndarray]
) -> tuple[Array, DonorValue | None]:
    """The value that JSON gives, and the donor it comes from, if any."""
    if isinstance(value, Mapping):
        if "npz" in value:
            return jnp.asarray(arrays[value["npz"]], jnp.float32), None
        source = _donor_value_from_json(value, organisms)
        return jnp.asarray(source.compute(), jnp.float32), source
    array = np.asarray(value, np.float32)
    if array.size > MAX_INLINE or not array.size:
        raise ValueError(f"a value written into the JSON itself holds 1 to {MAX_INLINE} numbers, not {array.size}")
    return jnp.asarray(array), None


def _donor_value_to_json(value: DonorValue) -> dict[str, Any]:
    """The run by its organism's name and hash, and how the value follows from it."""
    donor = value.donor
    run = {
        "organism": donor.organism.name,
        "hash": donor.organism.hash,
        "step": donor.step,
        "seed": donor.seed,
        "run": donor.run,
        "canvas": list(donor.canvas or donor.organism.canvas),
        "edits": [to_json(edit) for edit in donor.edits],
    }
    return {"donor": run, "how": value.how, "details": dict(value.details)}


def _donor_value_from_json(fields: Mapping[str, Any], organisms: Sequence[Organism]) -> DonorValue:
    if fields["how"] not in DERIVATIONS:
        raise UserError(f"A value is taken from a donor by {', '.join(DERIVATIONS)}; got {fields['how']!r}.")
    run = fields["donor"]
    height, width = check_canvas(run["canvas"])
    if not 0 <= int(run["step"]) <= _MAX_DONOR_STEP:
        raise UserError(f"A donor's step is from 0 to {_MAX_DONOR_STEP}; got {str(run['step'])[:20]}.")
    donor = Donor(
        _find_organism(str(run["hash"]), str(run["organism"]), organisms),
        step=int(run["step"]),
        seed=int(run["seed"]),
        run=int(run["run"]),
        edits=tuple(from_json(edit, organisms) for edit in run["edits"]),
        canvas=(height, width),
    )
    return DonorValue(donor, str(fields["how"]), modern_keys(dict(fields["details"]), "donor value"))


def _find_organism(digest: str, name: str, organisms: Sequence[Organism]) -> Organism:
    """The organism with this hash among those given, else the bundled one of this name."""
    for organism in organisms:
        if organism.hash == digest:
            return organism
    if name in bundled() and load_organism(name).hash == digest:
        return load_organism(name)
    raise UserError(f"The organism of the donor, {name} (hash {digest}), is missing; pass it in `organisms`.")


def _unpack_region(packed: dict[str, Any]) -> np.ndarray:
    height, width = (int(n) for n in packed["shape"])
    bits = np.frombuffer(base64.b64decode(packed["bits"], validate=True), np.uint8)
    if not 0 < height * width <= 8 * bits.size < height * width + 8:
        raise ValueError("the region's bits do not fit its shape")
    return np.unpackbits(bits)[: height * width].reshape(height, width).astype(bool)

"""From a file to an organism, and what is told about how it was understood."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.interop import containers, json_files, presets
from nca.interop.contents import Contents
from nca.interop.conventions import Conventions, Said, nothing_said
from nca.interop.features import rule_of
from nca.interop.layers import Layers
from nca.interop.layers import found as layers_of
from nca.organism import Organism

SILENT = {
    "swap_xy": ("x and y swapped", "the picture grows transposed"),
    "flip": ("kernels turned half around", "the picture grows turned by 180 degrees"),
    "filters": ("signs of the gradients", "a mirrored picture"),
    "inclusive": ("alive > or >=", "the same picture"),
    "alive": ("alive tested before the update too", "nearly the same picture"),
    "boundary": ("perception at the canvas's edge", "the same picture, unless it reaches the edge"),
    "alive_boundary": ("the living test at the edge", "the same picture, unless it reaches the edge"),
    "reads": ("perception of dead cells' values", "nearly the same picture"),
    "fire_rate": ("how often cells update", "growth at another speed, often the same picture"),
    "fire": ("which side of the fire rate updates", "at a rate of 0.5 the same picture"),
    "premultiplied": ("premultiplied or straight colour", "the same growth, other colours"),
}


@dataclass(frozen=True, eq=False)
class Opened:
    """A file read and taken apart, conventions said so far.

    Attributes:
        path: where it came from.
        contents: its arrays.
        layers: its network.
        said: conventions, and who said them.
    """

    path: Path
    contents: Contents
    layers: Layers
    said: Said


def opened(
    path: Path,
    *,
    like: str | None = None,
    sidecar: Path | None = None,
    sizes: str | None = None,
    **given: Any,
) -> Opened:
    """Read a file and gather what is said of its conventions.

    What is given here wins over the sidecar, that over the file's own settings, those over the preset.

    Args:
        path: the file.
        like: a preset's name.
        sidecar: JSON file with fields of `Conventions`; `NAME.conventions.json` beside the file if none.
        sizes: of the arrays in a headerless file.
        **given: fields of `Conventions`.

    Raises:
        UserError: the file or what is said of it cannot be used.
    """
    contents = containers.read(path, sizes)
    layers = layers_of(contents)
    said = presets.like(nothing_said(), like) if like else nothing_said()
    said = presets.hinted(said, contents.says, "the file")
    said = _beside(said, path)
    if layers.seed is not None:
        said = said.with_("the file", seed="file")
    if contents.conventions is not None:
        said = said.with_("the file", **contents.conventions)
    place = sidecar or path.with_name(path.name + ".conventions.json")
    if sidecar is not None or place.is_file():
        said = said.with_("sidecar", **json_files.config_of(place))
    return Opened(path, contents, layers, _completed(said.with_("option", **given), contents, layers))


def _beside(said: Said, path: Path) -> Said:
    """Training options in a JSON file of the same name, as some authors leave them."""
    place = path.with_suffix(".json")
    if place == path or not place.is_file() or place.stat().st_size > 2**20:
        return said
    try:
        found = json_files.parsed(place.read_bytes())
    except (UserError, OSError):
        return said
    return presets.hinted(said, found, place.name) if isinstance(found, dict) else said


def _completed(said: Said, contents: Contents, layers: Layers) -> Said:
    """Open fields that shapes or the kind of file decide."""
    channels, features = layers.channels, layers.weights[0].shape[0]
    if said.open("alpha") and channels < 4:
        said = said.with_("few channels", alpha=channels - 1)
    if said.open("filters") and not layers.kernels and features % channels == 0:
        few = {1: ("identity",), 2: ("identity", "laplacian"), 4: ("identity", "dx", "dy", "laplacian")}
        if features // channels in few:
            said = said.with_(f"{features // channels} filters", filters=few[features // channels])
    if said.open("order") and contents.order:
        values = Conventions(**{**said.values.__dict__, "order": contents.order})
        said = Said(values, said.sources)
    return said


def organism_of(opened: Opened, said: Conventions | None = None, *, name: str = "") -> Organism:
    """The organism that a file holds under conventions.

    Args:
        opened: the file.
        said: conventions, instead of those gathered.
        name: what to call it.
    """
    values = said or opened.said.values
    rule = rule_of(opened.layers, values)
    return Organism(
        rule,
        seed=seed_of(values, rule.spec.channels, rule.spec.alpha, rule.spec.colours, opened.layers.seed),
        canvas=values.canvas,
        target=_target(opened.contents.arrays.get("target")),
        name=name or opened.path.stem,
        provenance={"imported": provenance(opened, values)},
    )


def _target(picture: np.ndarray | None) -> np.ndarray | None:
    """A target as our npz holds it."""
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or not np.isfinite(picture).all():
        return None
    return picture


def provenance(opened: Opened, values: Conventions) -> dict[str, Any]:
    """Where an organism came from and how its file was understood: unusual conventions, who said which."""
    raw = opened.path.read_bytes() if opened.path.is_file() else b""
    usual, said = Conventions().to_json(), opened.said.sources
    return {
        "file": opened.path.name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "container": opened.contents.container,
        "conventions": {k: v for k, v in values.to_json().items() if v != usual[k]},
        "said": {s: sorted(k for k, v in said.items() if v == s) for s in sorted(set(said.values()))},
        "assumed": [k for k in values.to_json() if opened.said.open(k)],
        "arrays": list(opened.layers.used),
        "unused": list(opened.layers.unused),
    }


def seed_of(values: Conventions, channels: int, alpha: int, colours: Any, patch: np.ndarray | None) -> np.ndarray:
    """The seed's cells, (y, x, channel)."""
    if values.seed == "file":
        if patch is None:
            raise UserError("The file holds no seed; give seed hidden, alpha, rgba or ones.")
        return patch
    first = list(colours) if colours else [c for c in range(min(4, channels)) if c != alpha]
    if channels < 4 and not colours:
        first = []
    cell = np.zeros((1, 1, channels), np.float32)
    cell[..., alpha] = 1
    if values.seed == "hidden":
        cell[...] = 1
        cell[..., first] = 0
    elif values.seed == "rgba":
        cell[..., first] = 1
    elif values.seed == "ones":
        cell[...] = 1
    return cell


def untold(opened: Opened) -> list[str]:
    """What nobody said and growth does not show, with what was taken; one line each."""
    values = opened.said.values
    return [
        f"{what}: taken as {name} = {getattr(values, name)}; a wrong one gives {sign}"
        for name, (what, sign) in SILENT.items()
        if opened.said.open(name)
    ]

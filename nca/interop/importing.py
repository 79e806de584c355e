"""From a file to an organism, with a record of how the file was interpreted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.files import parse_json, read_bytes
from nca.interop.containers import read_contents
from nca.interop.conventions import PRESETS, Conventions, SourcedConventions
from nca.interop.features import build_rule
from nca.interop.layers import Layers, crop_seeds, find_layers
from nca.interop.operations import stated_conventions
from nca.organism import Organism
from nca.spec import Spec, colour_channels
from nca.untrusted import Contents
from nca.versions import modern_keys

# Conventions that growth does not verify: what they mean, and what happens if they are wrong.
_UNVERIFIABLE = {
    "swap_xy": ("x and y exchanged", "the picture grows transposed"),
    "flip": ("kernels rotated by 180 degrees", "the picture grows rotated by 180 degrees"),
    "filters": ("signs of the gradients", "the picture grows mirrored"),
    "inclusive": ("alive at >= instead of > the threshold", "the picture is the same"),
    "alive": ("alive test before the update too", "the picture is nearly the same"),
    "boundary": ("perception beyond the canvas", "the picture is the same until it reaches the edge"),
    "alive_boundary": ("alive test beyond the canvas", "the picture is the same until it reaches the edge"),
    "reads": ("perception of dead cells", "the picture is nearly the same"),
    "fire_rate": ("how often a cell updates", "the body grows at another speed, often to the same picture"),
    "activation": ("between the layers", "another rule grows, or none"),
    "fire": ("which side of the fire rate updates", "the picture is the same at a rate of 0.5"),
    "canvas": ("height and width in cells", "the picture is the same until it reaches the edge"),
    "premultiplied": ("colour multiplied by alpha", "the body grows the same in other colours"),
}
_SEED_KINDS = ("hidden", "alpha", "rgba", "ones")
# Names under which files keep settings.
_SETTINGS = {
    "fire_rate": ("fire_rate", "cell_fire_rate", "fire_prob", "update_prob", "update_rate"),
    "threshold": ("alive_threshold", "alpha_threshold", "living_threshold", "alive_thresh"),
    "negative_slope": ("negative_slope",),
    "canvas": ("train_grid_size", "grid_size"),
}


@dataclass(frozen=True, eq=False)
class WeightFile:
    """A file of weights, read and taken apart, with the conventions known so far.

    Attributes:
        path: the file.
        contents: its arrays.
        layers: its network.
        conventions: what is known of its conventions, and from where.
    """

    path: Path
    contents: Contents
    layers: Layers
    conventions: SourcedConventions


def open_weights(
    path: Path,
    *,
    preset: str | None = None,
    sidecar: Path | None = None,
    sizes: str | None = None,
    allow_unused: bool = False,
    **options: Any,
) -> WeightFile:
    """Read a file and gather what is known of its conventions.

    Options win over the sidecar, the sidecar over the file's own settings, and those over the preset.

    Args:
        path: the file.
        preset: a name among `PRESETS`.
        sidecar: JSON file with fields of `Conventions`; `NAME.conventions.json` beside the file if not given.
        sizes: of the arrays in a headerless file, as for `read_contents`.
        allow_unused: ignore arrays that may be parameters, but are none of the rule.
        **options: fields of `Conventions`.

    Raises:
        UserError: the file or its conventions cannot be used, or the rule would leave out part of the network.
    """
    contents = read_contents(path, sizes)
    layers = find_layers(contents)
    if layers.unread and not allow_unused and contents.conventions is None:
        raise UserError(
            f"The rule would not use {', '.join(layers.unread)[:200]}, which may belong to another network in "
            f"{path.name}, such as one that sets the fire rate; with --allow-unused it is left out."
        )
    conventions = SourcedConventions()
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"There is no preset {preset!r}; known are {', '.join(PRESETS)}.")
        defaults = {name: value for name, value in vars(Conventions()).items() if name != "canvas"}
        conventions = conventions.merge(f"preset {preset}", **{**defaults, **PRESETS[preset].fields})
    known = dict[str, Any]()  # what the user says
    sidecar_path = sidecar or path.with_name(path.name + ".conventions.json")
    if sidecar is not None or sidecar_path.is_file():
        try:
            known = modern_keys(parse_json(read_bytes(sidecar_path, 2**20), dict), "conventions")
        except UserError as error:
            raise UserError(f"{sidecar_path} must hold a JSON object of conventions: {error}") from error
    settings = dict[str, Any](contents.settings)
    conventions = conventions.merge("the file", **_fields_in(settings))
    sibling = path.with_suffix(".json")
    if sibling != path and sibling.is_file() and sibling.stat().st_size <= 2**20:
        with suppress(UserError, OSError):  # some authors leave their training options in a file of the same name
            beside = parse_json(sibling.read_bytes(), dict)
            conventions = conventions.merge(sibling.name, **_fields_in(beside))
            settings = beside | settings
    if contents.conventions is None:
        settings |= {k: v for k, v in {**known, **options}.items() if k == "activation"}
        stated = stated_conventions(contents.operations, settings, len(layers.weights))
        conventions = conventions.merge("the file", **stated)
    if layers.seeds:
        conventions = conventions.merge("the file", seed="file")
    if contents.conventions is not None:
        conventions = conventions.merge("the file", **modern_keys(contents.conventions, "conventions"))
    conventions = conventions.merge("sidecar", **known)
    conventions = _inferred_from_shapes(conventions.merge("option", **options), contents, layers)
    return WeightFile(path, contents, layers, conventions)


def _fields_in(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Conventions` among a file's settings, under names in common use."""
    fields: dict[str, Any] = {}
    for name, synonyms in _SETTINGS.items():
        value = next((settings[k] for k in synonyms if k in settings), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if name == "canvas":
            if isinstance(value, int) and 3 <= value <= 512:
                fields[name] = (value, value)
        elif 0 <= value <= 1:
            fields[name] = float(value)
    return fields


def _inferred_from_shapes(conventions: SourcedConventions, contents: Contents, layers: Layers) -> SourcedConventions:
    """Open fields that follow from shapes or from the kind of file."""
    channels, features = layers.channels, layers.weights[0].shape[0]
    sources = conventions.sources
    if "alpha" not in sources and channels < 4:
        conventions = conventions.merge("few channels", alpha=channels - 1)
    if "filters" not in sources and not layers.kernels and features % channels == 0:
        count = features // channels
        usual = {1: ("identity",), 2: ("identity", "laplacian"), 4: ("identity", "dx", "dy", "laplacian")}
        if count in usual:
            conventions = conventions.merge(f"{count} filters", filters=usual[count])
    if "order" not in sources and contents.feature_order:
        # The usual order of this kind of file: a better default, still open to the probe.
        values: Any = {**vars(conventions.values), "order": contents.feature_order}
        conventions = SourcedConventions(Conventions(**values), conventions.sources)
    return conventions


def build_organism(file: WeightFile, conventions: Conventions | None = None, *, name: str = "") -> Organism:
    """The organism that a file holds.

    Args:
        file: as `open_weights` read it.
        conventions: instead of those of the file.
        name: of the organism; the file's name if not given.

    Raises:
        UserError: the arrays do not fit the conventions.
    """
    values = conventions or file.conventions.values
    rule = build_rule(file.layers, values)
    target = file.contents.arrays.get("target")
    if target is not None and not (target.ndim == 3 and target.shape[2] == 4 and np.isfinite(target).all()):
        target = None
    return Organism(
        rule,
        seed=_read_seed(file, values, rule.spec),
        canvas=values.canvas,
        target=target,
        name=name or file.path.stem,
        provenance={"imported": _provenance(file, values)},
    )


def _provenance(file: WeightFile, values: Conventions) -> dict[str, Any]:
    """Origin of an organism: the file, its unusual conventions, and where each came from."""
    raw = file.path.read_bytes() if file.path.is_file() else b""
    defaults, sources = asdict(Conventions()), file.conventions.sources
    return {
        "file": file.path.name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "container": file.contents.container,
        "conventions": {k: v for k, v in asdict(values).items() if v != defaults[k]},
        "sources": {s: sorted(k for k, v in sources.items() if v == s) for s in sorted(set(sources.values()))},
        "assumed": [k for k in defaults if k not in sources],
        "arrays": list(file.layers.used),
        "unused": list(file.layers.unused),
    }


def _read_seed(file: WeightFile, values: Conventions, spec: Spec) -> np.ndarray:
    """The cells of the seed that the conventions name: from the file, from another one, by values or by kind."""
    if values.seed in _SEED_KINDS:
        return seed_cells(values.seed, spec)
    try:
        cell = np.array([float(number) for number in values.seed.split(",")], np.float32)
    except ValueError:
        cell = None
    if cell is not None:
        if len(cell) not in (1, spec.channels) or not np.isfinite(cell).all():
            raise UserError(
                f"A seed by values needs {spec.channels} numbers, or one for all; got {values.seed[:80]!r}."
            )
        return np.broadcast_to(cell, (1, 1, spec.channels)).copy()
    seeds = file.layers.seeds if values.seed == "file" else _seeds_in(Path(values.seed), spec.channels)
    if not seeds:
        raise UserError("The file holds no seed; give seed hidden, alpha, rgba, ones, values, or the path of a seed.")
    number = values.seed_index
    if (number is None and len(seeds) > 1) or not 0 <= (number or 0) < len(seeds):
        raise UserError(f"There are {len(seeds)} seeds; say which with --seed-index 0 to {len(seeds) - 1}.")
    return seeds[number or 0]


def _seeds_in(path: Path, channels: int) -> tuple[np.ndarray, ...]:
    if not path.is_file():
        raise UserError(
            f"There is no file {str(path)[:80]!r} for the seed, which is {', '.join(_SEED_KINDS)}, file, values such "
            "as 0,0,0,1,..., or the path of an .npz or .npy."
        )
    arrays = read_contents(path).arrays
    named = [arrays[name] for name in ("seed", "seed_state") if name in arrays] or list(arrays.values())
    seeds = crop_seeds(named[0], channels) if len(named) == 1 else ()
    if not seeds:
        raise UserError(
            f"{path} must hold a seed (y, x, {channels}), or several (seed, y, x, {channels}), and no other array."
        )
    return seeds


def seed_cells(kind: str, spec: Spec) -> np.ndarray:
    """The cell of a seed, (1, 1, channel), of kind "hidden", "alpha", "rgba" or "ones" as `Conventions` names them."""
    cell = np.full((1, 1, spec.channels), kind in ("hidden", "ones"), np.float32)
    if kind in ("hidden", "rgba"):
        cell[..., colour_channels(spec)] = kind == "rgba"
    cell[..., spec.alpha] = 1
    return cell


def assumptions(file: WeightFile) -> list[tuple[str, str, str]]:
    """The conventions that no source states and growth does not verify: name, value taken, what a wrong one does."""
    values, rows = file.conventions.values, []
    for name, (meaning, consequence) in _UNVERIFIABLE.items():
        if name not in file.conventions.sources:
            value = getattr(values, name)
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            rows.append((f"{name} ({meaning})", shown, consequence))
    return rows

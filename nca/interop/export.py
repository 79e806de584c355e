"""Organisms written for other programs: npz, PyTorch, web JSON, ONNX; each can be imported again.

Where a format has room, the fields of `Conventions` travel with the arrays.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.files import write_file
from nca.interop.conventions import Conventions
from nca.interop.importing import seed_cells
from nca.interop.layers import NAMED_KERNELS
from nca.interop.onnx import encode_onnx
from nca.interop.torch import encode_torch
from nca.organism import Organism
from nca.rule import Rule
from nca.spec import PERCEPTIONS, Spec

SUFFIXES = {"npz": ".npz", "torch": ".pt", "web-json": ".json", "onnx": ".onnx"}


def export_organism(organism: Organism, to: str, path: Path) -> list[Path]:
    """Write an organism in another format.

    Args:
        organism: what to write.
        to: a name among `SUFFIXES`.
        path: the file.

    Returns:
        The files written; for web JSON also a sidecar, because the format has no room for conventions.

    Raises:
        UserError: the format has no room for what the organism has.
    """
    if to not in _ENCODERS:
        raise UserError(f"Organisms are exported to {', '.join(_ENCODERS)}; got {to!r}.")
    raw = _ENCODERS[to](organism)
    if to != "web-json":
        return [write_file(path, raw)]
    sidecar = json.dumps(_conventions(organism, seed=_seed_kind(organism)), indent=1)
    return [write_file(path, raw), write_file(path.with_name(path.name + ".conventions.json"), sidecar)]


def _conventions(organism: Organism, **changes: Any) -> dict[str, Any]:
    """The fields of `Conventions` that give this organism back, as plain JSON values."""
    spec = organism.rule.spec
    shared = {f.name: getattr(spec, f.name) for f in fields(Spec) if f.name in Conventions.__dataclass_fields__}
    learned = spec.perception == "learned"
    conventions = Conventions(
        **shared,
        negative_slope=spec.activation_slope,
        filters=("identity", "dx", "dy") if learned else PERCEPTIONS[spec.perception].filters,
        canvas=organism.canvas,
        **{"seed": "file", "angle": 0.0 if learned else math.degrees(float(organism.rule.angle[...])), **changes},
    )
    return json.loads(json.dumps(asdict(conventions)))


def _seed_kind(organism: Organism) -> Any:
    """The kind of the organism's seed, for a file that has no room for its cells."""
    for kind in ("ones", "hidden", "alpha", "rgba"):  # of a rule without colours, "hidden" is "ones"
        if np.array_equal(organism.seed, seed_cells(kind, organism.rule.spec)):
            return kind
    raise UserError("Web JSON has no room for a seed of its own kind; export to npz, torch or onnx instead.")


def _layer_arrays(rule: Rule) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (inputs, outputs) and biases."""
    return [np.asarray(w[...]) for w in rule.weights], [np.asarray(b[...]) for b in rule.biases]


def _grouped_convolution(rule: Rule) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Perception as kernels (channel * filter, 1, 3, 3) of a grouped convolution, weights in its order, and biases."""
    spec = rule.spec
    if spec.perception in ("isotropic", "steered"):
        raise UserError(f"A perception that is {spec.perception} is not a convolution; export to npz instead.")
    weights, biases = _layer_arrays(rule)
    if rule.kernels is not None:
        kernels = np.asarray(rule.kernels[...])
    else:
        angle = float(rule.angle[...])
        cos, sin = (math.cos(angle), math.sin(angle)) if angle else (1.0, 0.0)
        dx, dy = NAMED_KERNELS["dx"], NAMED_KERNELS["dy"]
        named = {**NAMED_KERNELS, "dx": cos * dx - sin * dy, "dy": sin * dx + cos * dy}
        kernels = np.stack([named[name] for name in PERCEPTIONS[spec.perception].filters])[:, None].astype(np.float32)
    filters, channels = kernels.shape[0], spec.channels
    grouped = np.broadcast_to(kernels, (filters, channels, 3, 3)).swapaxes(0, 1).reshape(-1, 1, 3, 3)
    first = weights[0].reshape(filters, channels, -1).swapaxes(0, 1).reshape(weights[0].shape)
    return grouped, [first, *weights[1:]], biases


def _to_npz(organism: Organism) -> bytes:
    """`w1`, `b1`, ... (inputs, outputs), `kernels`, `seed`, `target`, and `conventions` as JSON."""
    if organism.rule.spec.steer is not None:
        raise UserError("A steered perception has no conventions to be exported with.")
    arrays: dict[str, Any] = {}
    for i, (weight, bias) in enumerate(zip(*_layer_arrays(organism.rule), strict=True), 1):
        arrays |= {f"w{i}": weight, f"b{i}": bias}
    if organism.rule.kernels is not None:
        arrays["kernels"] = np.asarray(organism.rule.kernels[...])
    if organism.target is not None:
        arrays["target"] = organism.target
    arrays["seed"] = np.asarray(organism.seed)
    arrays["conventions"] = np.array(json.dumps(_conventions(organism)))
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _to_torch(organism: Organism) -> bytes:
    """`{model, config, seed}`: a state_dict of a grouped 3x3 and of 1x1 convolutions.

    It fits `perception = Conv2d(C, K*C, 3, groups=C, bias=False)` and `update = Sequential(Conv2d, ReLU,
    Conv2d)`.
    """
    kernels, weights, biases = _grouped_convolution(organism.rule)
    model: dict[str, Any] = {"perception.weight": kernels}
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        model |= {f"update.{2 * i}.weight": weight.T[:, :, None, None], f"update.{2 * i}.bias": bias}
    config = {"conventions": json.dumps(_conventions(organism, angle=0.0))}
    return encode_torch({"model": model, "config": config, "seed": np.asarray(organism.seed)})


def _to_onnx(organism: Organism) -> bytes:
    arrays = _grouped_convolution(organism.rule)
    return encode_onnx(organism.rule.spec, *arrays, _conventions(organism, angle=0.0), np.asarray(organism.seed))


def _to_web_json(organism: Organism) -> bytes:
    """Two layers of bytes, features by kernel: identity, Sobel x, Sobel y."""
    spec = organism.rule.spec
    weights, biases = _layer_arrays(organism.rule)
    problems = {
        f"a perception that is {spec.perception}": spec.perception != "sobel",
        f"{len(weights)} layers": len(weights) != 2,
        "an activation other than relu": spec.activation != "relu" or spec.activation_slope or spec.squash != "none",
    }
    obstacles = [name for name, holds in problems.items() if holds]
    if obstacles:
        raise UserError(f"Web JSON has no room for {' and '.join(obstacles)}; export to npz, torch or onnx instead.")
    _seed_kind(organism)  # refused before anything is written
    return json.dumps([_quantize(w, b) for w, b in zip(weights, biases, strict=True)]).encode()


def _quantize(weight: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    """A layer of web JSON: `w = (u/255 - 0.5) * scale`, the bias in the last row."""
    rows, scales = [], []
    for values in (weight, bias[None]):
        # No byte stands for 0: an array of zeros needs the scale 0.
        scale = 2 * float(np.abs(values).max())
        rows.append(np.asarray(values, np.float64) / (scale or 1.0))
        scales.append(scale)
    levels = np.round((np.concatenate(rows) + 0.5) * 255).clip(0, 255).astype(np.uint8)
    return {
        "in_ch": weight.shape[0],
        "out_ch": weight.shape[1],
        "weight_scale": scales[0],
        "bias_scale": scales[1],
        "type": "uint8",
        "data_b64": base64.b64encode(levels.tobytes()).decode(),
    }


_ENCODERS: dict[str, Callable[[Organism], bytes]] = {
    "npz": _to_npz,
    "torch": _to_torch,
    "web-json": _to_web_json,
    "onnx": _to_onnx,
}

"""Organisms written for other programs: npz, PyTorch, web JSON, ONNX; each can be imported again.

Where a format has room, `conventions` (the fields of `Conventions`) travel with the arrays.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.interop import onnx_writer, torch_writer
from nca.interop.build import seed_of
from nca.interop.conventions import Conventions
from nca.interop.features import NAMED
from nca.io import write
from nca.organism import Organism
from nca.rule import Rule
from nca.spec import PERCEPTIONS, Spec

SUFFIXES = {"npz": ".npz", "torch": ".pt", "web-json": ".json", "onnx": ".onnx"}


def export(organism: Organism, to: str, path: Path) -> list[Path]:
    """Write an organism in another format.

    Args:
        organism: what to write.
        to: a name of `SUFFIXES`.
        path: the file.

    Returns:
        The files written: web JSON has no room for conventions, which go into a sidecar beside.

    Raises:
        UserError: the format has no room for what the organism has.
    """
    if to not in FORMATS:
        raise UserError(f"Organisms are exported to {', '.join(FORMATS)}; got {to!r}.")
    raw = FORMATS[to](organism)
    if to == "web-json":
        _seed(organism)  # refused before anything is written
    written = [write(path, raw)]
    if to == "web-json":
        beside = path.with_name(path.name + ".conventions.json")
        written.append(write(beside, json.dumps(conventions_of(organism, seed=_seed(organism)), indent=1)))
    return written


def _seed(organism: Organism) -> str:
    """The kind of the organism's seed, for a file that has no room for its cells."""
    spec, seed = organism.rule.spec, np.asarray(organism.seed)
    for kind in ("hidden", "alpha", "rgba", "ones"):
        plain = seed_of(Conventions(seed=kind), spec.channels, spec.alpha, spec.colours, None)
        if np.array_equal(seed, plain):
            return kind
    raise UserError("Web JSON has no room for a seed of its own kind; export to npz, torch or onnx instead.")


def conventions_of(organism: Organism, **changed: Any) -> dict[str, Any]:
    """The fields of `Conventions` that give this organism back."""
    spec = organism.rule.spec
    plain = {f.name: getattr(spec, f.name) for f in fields(Spec) if f.name in Conventions.__dataclass_fields__}
    angle = 0.0 if _learned(spec) else math.degrees(float(organism.rule.angle[...]))
    said = Conventions(
        **plain,
        leak=spec.activation_slope,
        filters=("identity", "dx", "dy") if _learned(spec) else PERCEPTIONS[spec.perception],
        canvas=organism.canvas,
        **{"seed": "file", "angle": angle, **changed},
    )
    return json.loads(json.dumps(said.to_json()))


def _learned(spec: Spec) -> bool:
    return spec.perception == "learned"


def arrays_of(rule: Rule) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (inputs, outputs) and biases."""
    return [np.asarray(w[...]) for w in rule.weights], [np.asarray(b[...]) for b in rule.biases]


def grouped(rule: Rule) -> tuple[np.ndarray, list[np.ndarray]]:
    """Kernels (channel * filter, 1, 3, 3) of a grouped convolution, and weights in its order.

    Raises:
        UserError: the perception is no convolution.
    """
    spec = rule.spec
    if spec.perception in ("isotropic", "steered"):
        raise UserError(f"A {spec.perception} perception is no convolution; export to npz instead.")
    weights, _ = arrays_of(rule)
    if rule.kernels is not None:
        kernels = np.asarray(rule.kernels[...])
    else:
        turned = _turned(float(rule.angle[...]))
        kernels = np.stack([turned[name] for name in PERCEPTIONS[spec.perception]])[:, None].astype(np.float32)
    filters, channels = kernels.shape[0], spec.channels
    each = np.broadcast_to(kernels, (filters, channels, 3, 3)).swapaxes(0, 1)
    first = weights[0].reshape(filters, channels, -1).swapaxes(0, 1).reshape(weights[0].shape)
    return each.reshape(-1, 1, 3, 3), [first, *weights[1:]]


def _turned(angle: float) -> dict[str, np.ndarray]:
    cos, sin = (math.cos(angle), math.sin(angle)) if angle else (1.0, 0.0)
    dx, dy = NAMED["dx"], NAMED["dy"]
    return {**NAMED, "dx": cos * dx - sin * dy, "dy": sin * dx + cos * dy}


def to_npz(organism: Organism) -> bytes:
    """`w1`, `b1`, ... (inputs, outputs), `kernels`, `seed`, `target`, and `conventions` as JSON."""
    if organism.rule.spec.steer is not None:
        raise UserError("A steered perception has no conventions to be exported with.")
    weights, biases = arrays_of(organism.rule)
    named: dict[str, Any] = {}
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
        named |= {f"w{i}": weight, f"b{i}": bias}
    if organism.rule.kernels is not None:
        named["kernels"] = np.asarray(organism.rule.kernels[...])
    if organism.target is not None:
        named["target"] = organism.target
    named["seed"] = np.asarray(organism.seed)
    named["conventions"] = np.array(json.dumps(conventions_of(organism)))
    out = io.BytesIO()
    np.savez(out, **named)
    return out.getvalue()


def to_torch(organism: Organism) -> bytes:
    """`{model, config, seed}`: a state_dict of a grouped 3x3 and of 1x1 convolutions.

    It fits `perception = Conv2d(C, K*C, 3, groups=C, bias=False)` and `update = Sequential(Conv2d, ReLU,
    Conv2d)`.
    """
    kernels, weights = grouped(organism.rule)
    _, biases = arrays_of(organism.rule)
    model: dict[str, Any] = {"perception.weight": kernels}
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        model |= {f"update.{2 * i}.weight": weight.T[:, :, None, None], f"update.{2 * i}.bias": bias}
    config = {"conventions": json.dumps(conventions_of(organism, angle=0.0))}
    return torch_writer.written({"model": model, "config": config, "seed": np.asarray(organism.seed)})


def to_onnx(organism: Organism) -> bytes:
    """One step: `state` and `fire` in, `next` out."""
    kernels, weights = grouped(organism.rule)
    _, biases = arrays_of(organism.rule)
    said = conventions_of(organism, angle=0.0)
    return onnx_writer.written(organism.rule.spec, kernels, weights, biases, said, np.asarray(organism.seed))


def to_web_json(organism: Organism) -> bytes:
    """Two layers of bytes, features by kernel: identity, Sobel x, Sobel y."""
    rule, spec = organism.rule, organism.rule.spec
    weights, biases = arrays_of(rule)
    lacks = []
    if spec.perception != "sobel":
        lacks.append(f"a {spec.perception} perception")
    if len(weights) != 2:
        lacks.append(f"{len(weights)} layers")
    if spec.activation_slope or spec.squash != "none":
        lacks.append("an activation other than relu")
    if lacks:
        raise UserError(f"Web JSON has no room for {' and '.join(lacks)}; export to npz, torch or onnx instead.")
    return json.dumps([quantised(w, b) for w, b in zip(weights, biases, strict=True)]).encode()


def quantised(weight: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    """A layer of web JSON: `w = (u/255 - 0.5) * scale`, the bias in the last row."""
    # An even number of greys has no zero: a part that is all zero needs the scale 0.
    scales = [2 * float(np.abs(part).max()) for part in (weight, bias)]
    parts = zip((weight, bias[None]), scales, strict=True)
    rows = [np.asarray(part, np.float64) / (scale or 1.0) for part, scale in parts]
    grey = np.round((np.concatenate(rows) + 0.5) * 255).clip(0, 255).astype(np.uint8)
    return {
        "in_ch": weight.shape[0],
        "out_ch": weight.shape[1],
        "weight_scale": scales[0],
        "bias_scale": scales[1],
        "type": "uint8",
        "data_b64": base64.b64encode(grey.tobytes()).decode(),
    }


FORMATS: dict[str, Callable[[Organism], bytes]] = {
    "npz": to_npz,
    "torch": to_torch,
    "web-json": to_web_json,
    "onnx": to_onnx,
}

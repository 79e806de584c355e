"""From named arrays to a network: which matrices follow each other, and their biases and kernels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nca.errors import UserError
from nca.untrusted import Contents

_NOT_WEIGHTS = re.compile(
    r"(^|[./_])(optim\w*|opt_state|exp_avg\w*|momentum|adam\w*|sched\w*|pool\w*|mu|nu|m_t|v_t)([./]|$)", re.I
)
_NORMALISATIONS = ("BatchNorm", "GroupNorm", "LayerNorm", "InstanceNorm", "running_mean")
# Weights that are stored as several arrays: normalised, pruned, quantised or of low rank.
_PARTS = re.compile(
    r"(^|[./_])(weight_[guv]|weight_orig|weight_mask|original[01]?|lora_\w+|qweight|weight_scale|scale|zero_points?|"
    r"_packed_params)$"
)
_GRAPHS = ("ONNX model", "TensorFlow.js model")  # whose constants are not all parameters
_DX = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
NAMED_KERNELS = {
    "identity": np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "dx": _DX,
    "dy": _DX.T,
    "laplacian": np.array([[1.0, 2, 1], [2, -12, 2], [1, 2, 1]]) / 16,
}
_SEED_NAMES = ("seed", "seed_state")
_MAX_MATRICES = 16
_MAX_CHAINS = 20_000
# How names of biases follow from those of their weights.
_BIAS_NAMES = (
    ("weights", "biases"), ("weight", "bias"), ("kernel", "bias"), ("Conv2D", "BiasAdd"), ("MatMul", "BiasAdd"),
)  # fmt: skip
_Chain = tuple[list[str], list[np.ndarray]]  # names and matrices (inputs, outputs)
_Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Layers:
    """The network of one cell, as its file holds it.

    Attributes:
        weights: matrices (inputs, outputs), in their order.
        biases: one per matrix, None where the file has none.
        kernels: 3x3 kernels in the order of the file, each (outputs, inputs, 3, 3).
        kernel_biases: of the kernels, None where the file has none.
        seeds: seed patches that the file holds, (y, x, channel) each.
        used: names of the arrays in use.
        unused: names of the other arrays.
        unread: those of them that may be parameters: not the optimizer's, no single numbers, no usual filter.
        guesses: what was inferred from shape and order alone.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray | None, ...]
    kernels: tuple[np.ndarray, ...] = ()
    kernel_biases: tuple[np.ndarray | None, ...] = ()
    seeds: tuple[np.ndarray, ...] = ()
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of a state: outputs of the last layer."""
        return int(self.weights[-1].shape[1])


def find_layers(contents: Contents) -> Layers:
    """The network in a file, or `UserError` where no chain of matrices ends in as many channels as it begins with."""
    arrays = {k: a for k, a in contents.arrays.items() if a.size and not _NOT_WEIGHTS.search(k)}
    for norm in _NORMALISATIONS:
        if any(norm in name for name in (*(operation.name for operation in contents.operations), *arrays)):
            raise UserError(f"The network has {norm} layers; rules here consist of perception and dense layers only.")
    parts = [name for name in arrays if _PARTS.search(name)]
    if parts:
        raise UserError(
            f"The arrays {', '.join(parts)[:200]} are parts of quantised, normalised, pruned or low-rank weights; save "
            "the weights as the network uses them, as plain float arrays."
        )
    infinite = [k for k, a in arrays.items() if not np.isfinite(a).all()]
    if infinite:
        raise UserError(f"The arrays {', '.join(infinite)[:200]} hold numbers that are not finite.")
    kernels = {k: v for k, a in arrays.items() if (v := _as_kernel(k, a, contents.layout)) is not None}
    matrices = {k: a for k, a in arrays.items() if k not in kernels}
    try:
        names, weights = _find_chain(matrices, kernels, contents.layout)
    except UserError as error:
        if not contents.unread:
            raise
        whole = ", ".join(contents.unread)[:200]
        note = f"Matrices of whole numbers ({whole}) are not read: save quantised weights as floats."
        raise UserError(f"{error} {note}") from error
    features, channels = weights[0].shape[0], weights[-1].shape[1]
    kernels = _split_by_filter(kernels, arrays, channels)
    kernels = {k: v for k, v in kernels.items() if v.shape[1] in (1, channels) and v.shape[0] <= features}
    vectors = {k: a for k, a in arrays.items() if a.ndim == 1}
    bias_names, guesses = _find_biases(
        [*names, *kernels], [*weights, *kernels.values()], order=list(arrays), vectors=vectors
    )
    biases = [vectors[name] if name else None for name in bias_names]
    used = (*names, *kernels, *filter(None, bias_names))
    seed = next((s for s in _SEED_NAMES if s in arrays), "")
    seeds = crop_seeds(arrays[seed], channels) if seed else ()
    spare = {*used, "kernels", "target", *([seed] if seeds else [])}
    return Layers(
        weights=tuple(weights),
        biases=tuple(biases[: len(names)]),
        kernels=tuple(kernels.values()),
        kernel_biases=tuple(biases[len(names) :]),
        seeds=seeds,
        used=used,
        unused=tuple(k for k in contents.arrays if k not in spare),
        unread=(
            *(k for k, a in arrays.items() if k not in spare and _is_parameter(a, contents.container in _GRAPHS)),
            *contents.unread,
        ),
        guesses=tuple(guesses),
    )


def _as_kernel(name: str, values: np.ndarray, layout: str) -> np.ndarray | None:
    """An array as perception kernels (outputs, inputs, 3, 3), or None where it cannot be one."""
    shape = values.shape
    if values.ndim == 3 and shape[1:] == (3, 3) and re.search("kernel|filter|percept", name, re.I):
        return values[:, None]
    if values.ndim != 4:
        return None
    if name == "kernels":
        return values if shape[2:] == (3, 3) else None
    leading = shape[:2] == (3, 3) and (shape[2:] != (3, 3) or layout == "in-out")
    if leading and re.search("depthwise", name, re.I):
        return values.transpose(2, 3, 0, 1).reshape(-1, 1, 3, 3)
    if leading and layout != "out-in":
        return values.transpose(3, 2, 0, 1)
    return values if shape[2:] == (3, 3) else None


def _split_by_filter(kernels: dict[str, np.ndarray], arrays: _Arrays, channels: int) -> dict[str, np.ndarray]:
    """Kernels of our own npz, (filter, channel, 3, 3), as one array for each filter."""
    own = kernels.get("kernels")
    if own is None or "w1" not in arrays or own.shape[1] != channels or channels == 1:
        return kernels
    others = {k: v for k, v in kernels.items() if k != "kernels"}
    return others | {f"kernels[{i}]": kernel[:, None] for i, kernel in enumerate(own)}


def _find_chain(arrays: _Arrays, kernels: _Arrays, layout: str) -> _Chain:
    """The largest chain of matrices; all are read in one layout if possible, otherwise each in either."""
    best: _Chain = ([], [])
    matrices: dict[str, list[np.ndarray]] = {}
    for tried in (layout,) if layout else ("in-out", "out-in", ""):
        matrices = {k: m for k, a in arrays.items() if (m := _as_matrices(a, tried))}
        chain = _largest_chain(matrices, kernels)
        if _chain_size(chain) > _chain_size(best):
            best = chain
    if not best[0]:
        shapes = [f"{k} {'x'.join(map(str, v[0].shape))}" for k, v in matrices.items()]
        shapes += [f"{k} {'x'.join(map(str, v.shape))}" for k, v in kernels.items()]
        raise UserError(
            "The file lacks the layers of a rule: a rule needs a matrix (filters x channels -> units) and one "
            f"(units -> channels); it holds {', '.join(shapes)[:300] if shapes else 'no matrix at all'}."
        )
    return best


def _as_matrices(values: np.ndarray, layout: str) -> list[np.ndarray]:
    """The possible readings of an array as a matrix (inputs, outputs)."""
    shape = values.shape
    if values.ndim == 4 and shape[2:] == (1, 1):
        return [values[:, :, 0, 0].T]
    if values.ndim == 4 and shape[:2] == (1, 1):
        return [values[0, 0]]
    if values.ndim != 2 or shape == (3, 3):  # a kernel, not a layer
        return []
    return {"out-in": [values.T], "in-out": [values]}.get(layout, [values, values.T])


def _chain_size(chain: _Chain) -> int:
    return sum(w.size for w in chain[1])


def _largest_chain(matrices: dict[str, list[np.ndarray]], kernels: _Arrays) -> _Chain:
    """The largest chain of matrices that makes a rule; of equally large ones the first in the file."""
    names = list(matrices)
    if all(re.search(r"\d", name) for name in names):
        names.sort(key=_natural_order)
    if len(names) > _MAX_MATRICES:
        raise UserError(f"The file holds {len(names)} matrices; save only the layers of one cell's network.")
    best: _Chain = ([], [])
    stack: list[_Chain] = [([], [])]
    for _ in range(_MAX_CHAINS):
        if not stack or len(best[0]) == len(names):
            break
        path, weights = stack.pop()
        if _chain_size((path, weights)) > _chain_size(best) and _is_rule(weights, kernels):
            best = (path, weights)
        longer = [
            ([*path, name], [*weights, matrix])
            for name in names
            for matrix in (matrices[name] if name not in path else [])
            if not weights or weights[-1].shape[1] == matrix.shape[0]
        ]
        stack += reversed(longer)
    return best


def _natural_order(name: str) -> list[tuple[int, int, str]]:
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in re.split(r"(\d{1,9})", name)]


def _is_rule(weights: Sequence[np.ndarray], kernels: _Arrays) -> bool:
    """Whether a chain begins with features of as many channels as it ends in."""
    features, channels = weights[0].shape[0], weights[-1].shape[1]
    if channels < 2 or channels > 1024:
        return False
    if any(k.shape[:2] == (features, channels) for k in kernels.values()):
        return True
    return len(weights) > 1 and features % channels == 0 and features // channels <= 16


def _find_biases(
    owners: list[str], weights: Sequence[np.ndarray], *, order: list[str], vectors: _Arrays
) -> tuple[list[str], list[str]]:
    """The name of each layer's bias ("" where it has none), and those that were guessed.

    `owners` and `weights` are the layers' names and arrays, `order` the names of all arrays in the order of the file.
    """
    sizes = [w.shape[1] if w.ndim == 2 else w.shape[0] for w in weights]
    names = [_bias_by_name(owner, size, vectors) for owner, size in zip(owners, sizes, strict=True)]
    guesses = []
    for i, (owner, size) in enumerate(zip(owners, sizes, strict=True)):
        if names[i] or weights[i].ndim != 2:
            continue
        free = [k for k, v in vectors.items() if v.size == size and k not in names and np.any(v)]
        following = order[order.index(owner) + 1 : order.index(owner) + 2]
        rivals = sum(s == size and not n for s, n in zip(sizes, names, strict=True))
        likely = [k for k in free if k in following] or (free if len(free) == 1 and rivals == 1 else [])
        if likely and not re.search("weight|kernel", owner):
            names[i] = likely[0]
            guesses.append(f"{likely[0]} is the bias of {owner}, by its size")
    return names, guesses


def _bias_by_name(name: str, size: int, vectors: _Arrays) -> str:
    tail = re.split(r"[./]", name)[-1]
    head = name.removesuffix(tail)
    candidates = [name.replace(old, new) for old, new in _BIAS_NAMES if old in name]
    candidates += [head + re.sub(r"^([wW])", lambda m: "b" if m[1] == "w" else "B", tail), head + "bias"]
    return next((c for c in candidates if c in vectors and vectors[c].size == size), "")


def _is_parameter(values: np.ndarray, in_graph: bool) -> bool:
    if values.shape == (3, 3):  # a fixed filter, by whatever factor
        flat, units = values.ravel(), [k.ravel() / np.linalg.norm(k) for k in NAMED_KERNELS.values()]
        return not any(np.allclose(flat, (flat @ unit) * unit, atol=1e-6) for unit in units)
    return values.size > 1 and (values.ndim > 1 or (not in_graph and bool(values.any())))


def crop_seeds(seeds: np.ndarray, channels: int) -> tuple[np.ndarray, ...]:
    """The cells of one seed, (y, x, channel), or of several, without the empty ones around them; none of other shapes.

    The middle of a seed stays in the middle.
    """
    several = seeds[None] if seeds.ndim == 3 else seeds
    if several.ndim != 4 or several.shape[3] != channels or not all(seed.any() for seed in several):
        return ()
    cropped = []
    for seed in several:
        middle_y, middle_x = seed.shape[0] // 2, seed.shape[1] // 2
        y, x = np.abs(np.argwhere(seed.any(-1)) - (middle_y, middle_x)).max(0)
        cropped.append(seed[max(middle_y - y, 0) : middle_y + y + 1, max(middle_x - x, 0) : middle_x + x + 1])
    return tuple(cropped)

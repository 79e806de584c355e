"""From named arrays to a network: which matrices follow each other, which biases and kernels go with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nca.errors import UserError
from nca.interop.contents import Contents

ASIDE = re.compile(
    r"(^|[./_])(optim\w*|opt_state|exp_avg\w*|momentum|adam\w*|sched\w*|pool\w*|mu|nu|m_t|v_t)([./]|$)", re.I
)
NORMS = ("BatchNorm", "GroupNorm", "LayerNorm", "InstanceNorm", "running_mean")
SEEDS = ("seed", "seed_state")
MOST_MATRICES = 16
MOST_TRIALS = 20_000
BIAS_NAMES = (
    ("weights", "biases"),
    ("weight", "bias"),
    ("kernel", "bias"),
    ("Conv2D", "BiasAdd"),
    ("MatMul", "BiasAdd"),
)


@dataclass(frozen=True, eq=False)
class Layers:
    """The network of one cell, as its file has it.

    Attributes:
        weights: matrices (inputs, outputs) in their order.
        biases: one per matrix, None where the file has none.
        kernels: 3x3 kernels in the order of the file, each (outputs, inputs, 3, 3).
        kernel_biases: of the kernels, None where they have none.
        seed: a seed patch that the file holds, (y, x, channel).
        used: names of the arrays in use.
        unused: names of those that are not.
        guesses: what was told by shape and order alone.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray | None, ...]
    kernels: tuple[np.ndarray, ...] = ()
    kernel_biases: tuple[np.ndarray | None, ...] = ()
    seed: np.ndarray | None = None
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of a state: what the last layer gives."""
        return int(self.weights[-1].shape[1])


def found(contents: Contents) -> Layers:
    """The network in a file.

    Raises:
        UserError: no chain of matrices ends in as many channels as it begins with.
    """
    arrays = {k: a for k, a in contents.arrays.items() if a.size and not ASIDE.search(k)}
    norm = [n for n in NORMS for name in (*contents.operations, *arrays) if n in name]
    if norm:
        raise UserError(f"The network has {norm[0]} layers; rules here are perception and dense layers alone.")
    bad = [k for k, a in arrays.items() if not np.isfinite(a).all()]
    if bad:
        raise UserError(f"The arrays {', '.join(bad)[:200]} hold numbers that are not finite.")
    kernels = {k: v for k, a in arrays.items() if (v := _kernel(k, a, contents.layout)) is not None}
    chain, weights = _chain({k: a for k, a in arrays.items() if k not in kernels}, kernels, contents.layout)
    channels = weights[-1].shape[1]
    kernels = _fitting(_by_filter(kernels, arrays, channels), weights[0].shape[0], channels)
    vectors = {k: a for k, a in arrays.items() if a.ndim == 1}
    biases, names, guesses = _biases([*chain, *kernels], [*weights, *kernels.values()], list(arrays), vectors)
    n = len(chain)
    seed = next((arrays[s] for s in SEEDS if s in arrays), None)
    used = (*chain, *kernels, *(name for name in names if name))
    return Layers(
        weights=tuple(weights),
        biases=tuple(biases[:n]),
        kernels=tuple(kernels.values()),
        kernel_biases=tuple(biases[n:]),
        seed=_seed_patch(seed, channels),
        used=used,
        unused=tuple(k for k in contents.arrays if k not in used and k not in (*SEEDS, "kernels", "target")),
        guesses=tuple(guesses),
    )


def _kernel(name: str, values: np.ndarray, layout: str) -> np.ndarray | None:
    """Perception kernels as (outputs, inputs, 3, 3)."""
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


def _by_filter(kernels: dict[str, np.ndarray], arrays: dict[str, np.ndarray], channels: int) -> dict[str, np.ndarray]:
    """Kernels under our own names, (filter, channel, 3, 3), as one array for each filter."""
    ours = kernels.get("kernels")
    if ours is None or "w1" not in arrays or ours.shape[1] != channels or channels == 1:
        return kernels
    rest = {k: v for k, v in kernels.items() if k != "kernels"}
    return rest | {f"kernels[{i}]": kernel[:, None] for i, kernel in enumerate(ours)}


def _matrices(values: np.ndarray, layout: str) -> list[np.ndarray]:
    """The ways to read an array as a matrix (inputs, outputs)."""
    shape = values.shape
    if values.ndim == 4 and shape[2:] == (1, 1):
        # Of (1, 1, 1, 1) either reading is the same.
        return [values[:, :, 0, 0].T]
    if values.ndim == 4 and shape[:2] == (1, 1):
        return [values[0, 0]]
    if values.ndim != 2 or shape == (3, 3):  # a kernel, not a layer
        return []
    return {"out-in": [values.T], "in-out": [values]}.get(layout, [values, values.T])


Chain = tuple[list[str], list[np.ndarray]]


def _chain(arrays: dict[str, np.ndarray], kernels: dict[str, np.ndarray], layout: str) -> Chain:
    """The largest chain, all of its matrices read one way if that can be, or each either way."""
    best: Chain = ([], [])
    matrices: dict[str, list[np.ndarray]] = {}
    for way in (layout,) if layout else ("in-out", "out-in", ""):
        matrices = {k: m for k, a in arrays.items() if (m := _matrices(a, way))}
        chain = _largest(matrices, kernels)
        if _size(chain) > _size(best):
            best = chain
    if not best[0]:
        raise UserError(_missing(matrices, kernels))
    return best


def _size(chain: Chain) -> int:
    return sum(w.size for w in chain[1])


def _largest(matrices: dict[str, list[np.ndarray]], kernels: dict[str, np.ndarray]) -> Chain:
    """The largest chain of matrices that makes a rule, of equally large ones the first in the file."""
    names = sorted(matrices, key=_natural) if _numbered(matrices) else list(matrices)
    if len(names) > MOST_MATRICES:
        raise UserError(f"The file holds {len(names)} matrices; save the layers of one cell's network alone.")
    best: Chain = ([], [])
    trials = 0

    def grow(path: list[str], weights: list[np.ndarray]) -> None:
        nonlocal best, trials
        trials += 1
        if _size((path, weights)) > _size(best) and _is_rule(weights, kernels):
            best = (path, weights)
        if len(best[0]) == len(names) or trials > MOST_TRIALS:
            return
        for name in names:
            for matrix in matrices[name] if name not in path else []:
                if not weights or weights[-1].shape[1] == matrix.shape[0]:
                    grow([*path, name], [*weights, matrix])

    grow([], [])
    return best


def _is_rule(weights: Sequence[np.ndarray], kernels: dict[str, np.ndarray]) -> bool:
    """Whether a chain begins with features of as many channels as it ends in."""
    features, channels = weights[0].shape[0], weights[-1].shape[1]
    if channels < 2 or channels > 1024:
        return False
    if any(k.shape[:2] == (features, channels) for k in kernels.values()):
        return True
    return len(weights) > 1 and features % channels == 0 and features // channels <= 16


def _missing(matrices: dict[str, list[np.ndarray]], kernels: dict[str, np.ndarray]) -> str:
    """What a file lacks, in a sentence."""
    needed = "a rule needs a matrix (filters x channels -> units) and one (units -> channels)"
    shapes = [f"{k} {'x'.join(map(str, v[0].shape))}" for k, v in matrices.items()]
    shapes += [f"{k} {'x'.join(map(str, v.shape))}" for k, v in kernels.items()]
    came = ", ".join(shapes)[:300] if shapes else "no matrix at all"
    return f"The file lacks the layers of a rule: {needed}; it holds {came}."


def _fitting(kernels: dict[str, np.ndarray], features: int, channels: int) -> dict[str, np.ndarray]:
    """The kernels that can be perception: one channel each, or all of them."""
    return {k: v for k, v in kernels.items() if v.shape[1] in (1, channels) and v.shape[0] <= features}


def _biases(
    owners: list[str], weights: Sequence[np.ndarray], order: list[str], vectors: dict[str, np.ndarray]
) -> tuple[list[np.ndarray | None], list[str], list[str]]:
    """The bias of each layer, by its name or else by its size."""
    sizes = [w.shape[1] if w.ndim == 2 else w.shape[0] for w in weights]
    names = [_named_bias(name, size, vectors) for name, size in zip(owners, sizes, strict=True)]
    guesses = []
    for i, (owner, size) in enumerate(zip(owners, sizes, strict=True)):
        if names[i] or weights[i].ndim != 2:
            continue
        free = [k for k, v in vectors.items() if v.size == size and k not in names and np.any(v)]
        behind = order[order.index(owner) + 1 : order.index(owner) + 2]
        rivals = sum(s == size and not n for s, n in zip(sizes, names, strict=True))
        likely = [k for k in free if k in behind] or (free if len(free) == 1 and rivals == 1 else [])
        if likely and not re.search("weight|kernel", owner):
            names[i] = likely[0]
            guesses.append(f"{likely[0]} is taken for the bias of {owner}, by its size")
    return [vectors[n] if n else None for n in names], names, guesses


def _named_bias(name: str, size: int, vectors: dict[str, np.ndarray]) -> str:
    tail = re.split(r"[./]", name)[-1]
    head = name.removesuffix(tail)
    tries = [name.replace(old, new) for old, new in BIAS_NAMES if old in name]
    tries += [head + re.sub(r"^([wW])", lambda m: "b" if m[1] == "w" else "B", tail), head + "bias"]
    return next((t for t in tries if t in vectors and vectors[t].size == size), "")


def _seed_patch(seed: np.ndarray | None, channels: int) -> np.ndarray | None:
    """A seed's cells without the empty ones around, its middle kept in the middle."""
    if seed is None or seed.ndim != 3 or seed.shape[2] != channels or not seed.any():
        return None
    height, width = seed.shape[:2]
    cells = np.argwhere(seed.any(-1))
    reach = np.abs(cells - (height // 2, width // 2)).max(0)
    (y, x), (middle_y, middle_x) = reach, (height // 2, width // 2)
    return seed[max(middle_y - y, 0) : middle_y + y + 1, max(middle_x - x, 0) : middle_x + x + 1]


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in re.split(r"(\d{1,9})", name)]


def _numbered(names: dict[str, list[np.ndarray]]) -> bool:
    return all(re.search(r"\d", name) for name in names)

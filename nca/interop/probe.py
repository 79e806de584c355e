"""Conventions that nobody said: tried, grown and compared.

Only what is loud when wrong can be told in this way: the state dies, explodes or leaves the range that
pictures have. What grows alike either way is assumed, never told from growth (`build.SILENT`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from nca.errors import UserError
from nca.interop.build import Opened, organism_of
from nca.interop.conventions import Conventions, Said
from nca.organism import Organism
from nca.rollout import grow, run_key
from nca.rule import visible

MARKS = (48, 96, 144, 192)
FIRST: dict[str, tuple[Any, ...]] = {
    "order": ("kernel-major", "channel-major"),
    "sobel_divisor": (8.0, 1.0),
    "seed": ("hidden", "alpha", "rgba"),
}
THEN: dict[str, tuple[Any, ...]] = {**FIRST, "summed": (False, True), "fire": ("u<=r", "always")}
LAST: dict[str, tuple[Any, ...]] = {**FIRST, "alpha": (3, -1), "alive": ("both", "gate")}
STAGES = (FIRST, THEN, LAST)
USUAL = {name: values[0] for stage in STAGES for name, values in stage.items()}
LARGEST = 1000.0
CLEAN = 0.05
UNUSUAL = 2.0


@dataclass(frozen=True, eq=False)
class Trial:
    """One candidate, grown.

    Attributes:
        changes: the conventions tried.
        values: all of its conventions.
        outcome: grows, or why not: dies, explodes, fills the canvas, does not grow.
        excess: mean of what its colours and alpha have beyond 0..1 in its body at the last mark; small for
            what was trained to be a picture.
        drift: mean change of the picture between the last two marks, in its body.
        cells: mature cells at the last mark.
        largest: largest absolute value of the state.
        pictures: premultiplied RGBA at `MARKS`, as far as it came.
    """

    changes: Mapping[str, Any]
    values: Conventions
    outcome: str
    excess: float
    drift: float
    cells: int
    largest: float
    pictures: tuple[np.ndarray, ...]

    @property
    def score(self) -> float:
        """Excess and drift, the smaller the more like a trained body; each unusual choice must halve it."""
        unusual = sum(value != USUAL[k] for k, value in self.changes.items())
        return (self.excess + self.drift) * UNUSUAL**unusual

    @property
    def rank(self) -> tuple[bool, float]:
        """What grows comes first, the smaller score before the larger."""
        return self.outcome != "grows", self.score

    @property
    def clean(self) -> bool:
        """Whether it is what a trained body is like."""
        return self.outcome == "grows" and self.excess < CLEAN and self.drift < CLEAN


def trials(opened: Opened, say: Callable[[str], None] = lambda line: None) -> list[Trial]:
    """Candidates for what is open, best first; more is tried as long as nothing grows cleanly.

    Args:
        opened: the file.
        say: told what is being tried.

    Raises:
        UserError: no candidate fits the file's arrays at all.
    """
    done: dict[str, Trial] = {}
    refused: UserError | None = None
    for stage in STAGES:
        for changes in candidates(opened, stage):
            values = replace(opened.said.values, **changes)
            name = str(sorted(values.to_json().items(), key=str))
            if name in done:
                continue
            try:
                done[name] = trial(organism_of(opened, values), values, changes)
            except UserError as error:
                refused = error
                continue
            say(f"tried {described(changes) or 'what is said'}: {done[name].outcome}")
        ranked = sorted(done.values(), key=lambda t: t.rank)
        if ranked and ranked[0].clean:
            return ranked
    if not done:
        raise refused or UserError("No convention fits the arrays in the file.")
    return sorted(done.values(), key=lambda t: t.rank)


def candidates(opened: Opened, stage: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Combinations of the stage's values for the fields that are open and matter for this file."""
    free = {k: v for k, v in stage.items() if opened.said.open(k) and _matters(opened, k)}
    for combination in itertools.product(*free.values()):
        yield dict(zip(free, combination, strict=True))


def _matters(opened: Opened, name: str) -> bool:
    kernels = opened.layers.kernels
    if name in ("sobel_divisor", "summed"):
        return not kernels and bool({"dx", "dy", "-dx", "-dy"} & set(opened.said.values.filters))
    if name == "order":
        return not kernels or any(k.shape[1] == 1 and k.shape[0] % opened.layers.channels for k in kernels)
    if name == "alpha":
        return opened.layers.channels > 4
    return True


def trial(organism: Organism, values: Conventions, changes: Mapping[str, Any]) -> Trial:
    """Grow a candidate and look at it."""
    key, spec, pictures = run_key(0, 0), organism.rule.spec, []
    state = np.asarray(organism.start())
    begun, largest, size = 0, 1.0, 0
    for mark in MARKS:
        state = np.asarray(grow(organism, mark - begun, key=key, start=begun, state=jnp.asarray(state)))
        begun = mark
        whole = np.isfinite(state).all()
        largest = float(np.abs(state).max()) if whole else np.inf
        if not whole or largest > LARGEST:
            break
        pictures.append(np.asarray(visible(spec, jnp.asarray(state))))
        size = int((state[..., spec.alpha] > spec.threshold).sum())
        if not size:
            break
    outcome = _outcome(size, largest, values.canvas, pictures)
    excess, drift = np.inf, np.inf
    if outcome == "grows":
        excess, drift = _excess(state[state[..., spec.alpha] > spec.threshold], spec), _drift(pictures)
    return Trial(changes, values, outcome, excess, drift, size, largest, tuple(pictures))


def _outcome(size: int, largest: float, canvas: tuple[int, int], pictures: list[np.ndarray]) -> str:
    if largest > LARGEST:
        return "explodes"
    if not size:
        return "dies"
    if size > 0.9 * canvas[0] * canvas[1]:
        return "fills the canvas"
    return "grows" if size > 12 and len(pictures) == len(MARKS) else "does not grow"


def _excess(cells: np.ndarray, spec: Any) -> float:
    """How far the visible channels of a body's cells are from being a picture."""
    alpha = cells[:, spec.alpha]
    rest = spec.colours or [c for c in range(min(4, spec.channels)) if c != spec.alpha]
    seen = np.stack([alpha, *([cells[:, c] for c in rest] if spec.channels > 3 else [])])
    beyond = np.maximum(seen - 1, 0) + np.maximum(-seen, 0)
    return float(beyond.mean())


def _drift(pictures: list[np.ndarray]) -> float:
    before, after = pictures[-2], pictures[-1]
    body = (before[..., 3] > 0.1) | (after[..., 3] > 0.1)
    return float(np.abs(after - before)[body].mean()) if body.any() else np.inf


def settled(opened: Opened, best: Trial) -> Opened:
    """The file with the best candidate's conventions, which were found by trial."""
    said = opened.said.with_("trial", **{k: getattr(best.values, k) for k in best.changes})
    return replace(opened, said=Said(best.values, said.sources))


def doubts(ranked: list[Trial]) -> list[str]:
    """What the trials leave open, in words; empty where one candidate stands alone."""
    best = ranked[0]
    if best.outcome != "grows":
        return [f"nothing that was tried grows; the nearest {best.outcome}"]
    out = []
    if not best.clean:
        out.append(f"even the best is little like a trained body: excess {best.excess:.3f}, drift {best.drift:.3f}")
    for rival in [t for t in ranked[1:] if t.outcome == "grows"][:4]:
        names = [k for k in USUAL if getattr(best.values, k) != getattr(rival.values, k)]
        theirs, ours = ({k: getattr(t.values, k) for k in names} for t in (rival, best))
        out.append(f"{described(theirs)} grows too; {described(ours)} was taken")
    return out


def described(changes: Mapping[str, Any]) -> str:
    """Conventions in few words."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in changes.items())

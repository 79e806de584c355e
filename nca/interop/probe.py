"""Trial growth: conventions that no source states are tried, and the candidates compared.

This decides only what shows when wrong: the state dies, explodes, or leaves the range of pictures. Other
conventions are assumed (`importing.assumptions`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from nca.errors import UserError
from nca.interop.conventions import SourcedConventions
from nca.interop.importing import WeightFile, build_organism
from nca.organism import Organism
from nca.rollout import grow, run_key
from nca.rule import to_rgba
from nca.spec import Spec, colour_channels

TRIAL_STEPS = (48, 96, 144, 192)
_FIRST_STAGE: dict[str, tuple[Any, ...]] = {
    "order": ("kernel-major", "channel-major"),
    "sobel_divisor": (8.0, 1.0),
    "seed": ("hidden", "alpha", "rgba"),
}
_STAGES = (
    _FIRST_STAGE,
    {**_FIRST_STAGE, "summed": (False, True), "fire": ("u<=r", "always")},
    {**_FIRST_STAGE, "alpha": (3, -1), "alive": ("both", "gate")},
)
_USUAL = {name: values[0] for stage in _STAGES for name, values in stage.items()}
_MAX_ABS_STATE = 1000.0
_MIN_CELLS = 12
_CLEAN = 0.05  # largest excess and drift of a trained body
_UNUSUAL_PENALTY = 2.0  # factor by which each unusual convention must reduce excess and drift


@dataclass(frozen=True, eq=False)
class Trial:
    """One candidate, grown.

    Attributes:
        changes: the conventions tried.
        conventions: those of the file with the changes, whose source is the probe.
        outcome: "grows", "dies", "explodes", "fills the canvas" or "does not grow".
        excess: mean distance of colour and alpha from the range 0..1, over the cells of its body at the last
            step; small for what was trained to be a picture. inf unless it grows.
        drift: mean absolute change of the picture between the last two steps, in its body. inf unless it grows.
        cells: mature cells at the last step.
        max_abs_state: largest absolute value of the state.
        pictures: premultiplied RGBA (y, x, 4) at `TRIAL_STEPS`, as far as it came.
    """

    changes: Mapping[str, Any]
    conventions: SourcedConventions
    outcome: str
    excess: float
    drift: float
    cells: int
    max_abs_state: float
    pictures: tuple[np.ndarray, ...]


def run_trials(file: WeightFile, log: Callable[[str], None] = lambda line: None) -> list[Trial]:
    """Grow candidates for the open conventions, best first; more are tried until one grows like a trained body.

    `log` receives a line for each candidate. `UserError` where no candidate fits the file's arrays.
    """
    trials: dict[str, Trial] = {}
    refusal = UserError("No convention fits the arrays in the file.")
    for stage in _STAGES:
        for changes in _candidates(file, stage):
            conventions = file.conventions.merge("probe", **changes)
            key = repr(conventions.values)
            if key in trials:
                continue
            try:
                trials[key] = _grow_trial(build_organism(file, conventions.values), conventions, changes)
            except UserError as error:
                refusal = error
                continue
            log(f"tried {describe_conventions(changes) or 'the conventions as stated'}: {trials[key].outcome}")
        ranked = sorted(trials.values(), key=_rank)
        if ranked and _is_clean(ranked[0]):
            return ranked
    if not trials:
        raise refusal
    return ranked


def _rank(trial: Trial) -> tuple[bool, float]:
    """What grows comes first; then by excess and drift, with a penalty for unusual conventions."""
    unusual = sum(value != _USUAL[name] for name, value in trial.changes.items())
    return trial.outcome != "grows", (trial.excess + trial.drift) * _UNUSUAL_PENALTY**unusual


def _is_clean(trial: Trial) -> bool:
    return trial.outcome == "grows" and trial.excess < _CLEAN and trial.drift < _CLEAN


def _candidates(file: WeightFile, stage: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Combinations of the stage's values, for the fields that are open and matter for this file."""
    free = {k: v for k, v in stage.items() if k not in file.conventions.sources and _matters(file, k)}
    for combination in itertools.product(*free.values()):
        yield dict(zip(free, combination, strict=True))


def _matters(file: WeightFile, name: str) -> bool:
    kernels, channels = file.layers.kernels, file.layers.channels
    if name in ("sobel_divisor", "summed"):
        return not kernels and bool({"dx", "dy", "-dx", "-dy"} & set(file.conventions.values.filters))
    if name == "order":
        return not kernels or any(k.shape[1] == 1 and k.shape[0] % channels for k in kernels)
    return name != "alpha" or channels > 4


def _grow_trial(organism: Organism, conventions: SourcedConventions, changes: Mapping[str, Any]) -> Trial:
    key, spec = run_key(0, 0), organism.rule.spec
    pictures: list[np.ndarray] = []
    state = np.asarray(organism.initial_state())
    start, max_abs_state, cells = 0, 1.0, 0
    for step in TRIAL_STEPS:
        state = np.asarray(grow(organism, step - start, key=key, start=start, state=jnp.asarray(state)))
        start = step
        max_abs_state = float(np.abs(state).max()) if np.isfinite(state).all() else np.inf
        if max_abs_state > _MAX_ABS_STATE:
            break
        pictures.append(np.asarray(to_rgba(spec, jnp.asarray(state))))
        cells = int((state[..., spec.alpha] > spec.threshold).sum())
        if not cells:
            break
    if max_abs_state > _MAX_ABS_STATE:
        outcome = "explodes"
    elif not cells:
        outcome = "dies"
    elif cells > 0.9 * organism.canvas[0] * organism.canvas[1]:
        outcome = "fills the canvas"
    else:
        outcome = "grows" if cells > _MIN_CELLS else "does not grow"
    excess, drift = np.inf, np.inf
    if outcome == "grows":
        excess, drift = _excess(state[state[..., spec.alpha] > spec.threshold], spec), _drift(*pictures[-2:])
    return Trial(changes, conventions, outcome, excess, drift, cells, max_abs_state, tuple(pictures))


def _excess(cells: np.ndarray, spec: Spec) -> float:
    """Mean distance of the visible channels of these cells, (cell, channel), from 0..1."""
    shown = cells[:, [spec.alpha, *colour_channels(spec)]]
    return float((np.maximum(shown - 1, 0) + np.maximum(-shown, 0)).mean())


def _drift(before: np.ndarray, after: np.ndarray) -> float:
    body = (before[..., 3] > 0.1) | (after[..., 3] > 0.1)
    return float(np.abs(after - before)[body].mean()) if body.any() else np.inf


def doubts(ranked: list[Trial]) -> list[str]:
    """What the trials leave open, one line each; empty where only one candidate grows, and like a trained body."""
    best = ranked[0]
    if best.outcome != "grows":
        return [f"No candidate grows; the best one {best.outcome}."]
    lines = []
    if not _is_clean(best):
        lines.append(
            f"The best candidate differs from a trained body: excess {best.excess:.3f}, drift {best.drift:.3f}."
        )
    ours = best.conventions.values
    for rival in [t.conventions.values for t in ranked[1:] if t.outcome == "grows"][:4]:
        names = [k for k in _USUAL if getattr(ours, k) != getattr(rival, k)]
        other, taken = (describe_conventions({k: getattr(values, k) for k in names}) for values in (rival, ours))
        lines.append(f"{other} also grows; {taken} was taken.")
    return lines


def describe_conventions(changes: Mapping[str, Any]) -> str:
    """Conventions as `name value, name value`."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in changes.items())

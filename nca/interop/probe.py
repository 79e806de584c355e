"""Trial growth: conventions that no source states are tried, and the candidates compared.

This decides only what shows when wrong: the state dies, explodes, or leaves the range of pictures. Other
conventions are assumed (`importing.assumptions`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from nca.errors import UserError
from nca.interop.conventions import TYPES, SourcedConventions
from nca.interop.importing import WeightFile, build_organism
from nca.organism import Organism
from nca.rollout import grow, run_key
from nca.rule import to_rgba
from nca.spec import Spec, colour_channels

TRIAL_STEPS = (32, 48, 96, 144, 192)
_CHUNK = 16  # steps compiled at once; divides every one of `TRIAL_STEPS`
_YOUNG_STEPS = 2  # of `TRIAL_STEPS`, within which a body trained for 29 to 48 steps is a picture
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
_FAILURES = ("dies", "does not grow", "fills the canvas", "explodes")
_UNUSUAL_PENALTY = 2.0  # factor by which each unusual convention must reduce excess and drift


@dataclass(frozen=True, eq=False)
class Trial:
    """One candidate, grown.

    Attributes:
        changes: the conventions tried.
        conventions: those of the file with the changes, whose source is the probe.
        outcome: "grows"; "grows until step 48", where what is a picture by then does not last; "dies", "explodes",
            "fills the canvas" or "does not grow".
        excess: mean distance of colour and alpha from the range 0..1, over the cells of its body at the step at
            which it is judged, the last or 48; small for what was trained to be a picture. inf unless it grows.
        drift: mean absolute change of the picture in its body since the trial step before. inf unless it grows.
        cells: mature cells at that step.
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

    @property
    def grows(self) -> bool:
        """Whether it grows a body, if only until step 48."""
        return self.outcome.startswith("grows")


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


def _rank(trial: Trial) -> tuple[int, float]:
    """What grows comes first, and what explodes last; among what grows by excess and drift.

    Each unusual convention is a penalty, and so is a body that does not last.
    """
    unusual = sum(value != _USUAL[name] for name, value in trial.changes.items())
    if not trial.grows:
        return 1 + _FAILURES.index(trial.outcome), unusual
    return 0, (trial.excess + trial.drift) * _UNUSUAL_PENALTY ** (unusual + (trial.outcome != "grows"))


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
    bodies: list[np.ndarray] = []  # (cell, channel) at the same steps
    state, max_abs_state = jnp.asarray(organism.initial_state()), 1.0
    for start in range(0, TRIAL_STEPS[-1], _CHUNK):
        state = grow(organism, _CHUNK, key=key, start=start, state=state)
        values = np.asarray(state)
        max_abs_state = float(np.abs(values).max()) if np.isfinite(values).all() else np.inf
        if max_abs_state > _MAX_ABS_STATE:
            break
        if start + _CHUNK in TRIAL_STEPS:
            pictures.append(np.asarray(to_rgba(spec, state)))
            bodies.append(values[values[..., spec.alpha] > spec.threshold])
            if not len(bodies[-1]):
                break
    outcome = _outcome(len(bodies[-1]) if bodies else 0, max_abs_state, organism.canvas)
    excess, drift = np.inf, np.inf
    if outcome == "grows":
        excess, drift = _excess(bodies[-1], spec), _drift(*pictures[-2:])
    if not (excess < _CLEAN and drift < _CLEAN) and len(bodies) >= _YOUNG_STEPS:
        young = bodies[_YOUNG_STEPS - 1]
        young_scores = _excess(young, spec), _drift(*pictures[:_YOUNG_STEPS])
        if max(young_scores) < _CLEAN and _outcome(len(young), 1.0, organism.canvas) == "grows":
            outcome, bodies = f"grows until step {TRIAL_STEPS[_YOUNG_STEPS - 1]}", bodies[:_YOUNG_STEPS]
            excess, drift = young_scores
    cells = len(bodies[-1]) if bodies else 0
    return Trial(changes, conventions, outcome, excess, drift, cells, max_abs_state, tuple(pictures))


def _outcome(cells: int, max_abs_state: float, canvas: tuple[int, int]) -> str:
    if max_abs_state > _MAX_ABS_STATE:
        return "explodes"
    if cells > 0.9 * canvas[0] * canvas[1]:
        return "fills the canvas"
    return "grows" if cells > _MIN_CELLS else "does not grow" if cells else "dies"


def _excess(cells: np.ndarray, spec: Spec) -> float:
    """Mean distance of the visible channels of these cells, (cell, channel), from 0..1; inf where there is none."""
    if not len(cells):
        return np.inf
    shown = cells[:, [spec.alpha, *colour_channels(spec)]]
    return float((np.maximum(shown - 1, 0) + np.maximum(-shown, 0)).mean())


def _drift(before: np.ndarray, after: np.ndarray) -> float:
    body = (before[..., 3] > 0.1) | (after[..., 3] > 0.1)
    return float(np.abs(after - before)[body].mean()) if body.any() else np.inf


def doubts(ranked: Sequence[Trial]) -> list[str]:
    """What the trials leave open, one line each; empty where only one candidate grows, and like a trained body."""
    best = ranked[0]
    if not best.grows:
        return []
    lines = []
    if best.outcome != "grows":
        lines.append(f"The body {best.outcome} and does not last: it may be trained for few steps, or wrongly read.")
    if not _is_clean(best):
        lines.append(
            f"The best candidate differs from a trained body: excess {best.excess:.3f}, drift {best.drift:.3f}."
        )
    ours = best.conventions.values
    for rival in [t.conventions.values for t in ranked[1:] if t.grows][:4]:
        names = [k for k in _USUAL if getattr(ours, k) != getattr(rival, k)]
        other, taken = (describe_conventions({k: getattr(values, k) for k in names}) for values in (rival, ours))
        lines.append(f"{other} also grows; {taken} was taken.")
    return lines


def failure(file: WeightFile, ranked: Sequence[Trial]) -> str:
    """One sentence on trials of which none grows: what was tried, and which open conventions were not."""
    tried = dict.fromkeys(name for trial in ranked for name in trial.changes)
    known = {*file.conventions.sources, *tried, "canvas", "premultiplied", "clip_channels", "seed_index"}
    untried = [name for name in TYPES if name not in known]
    return (
        f"Nothing grew in {len(ranked)} trials of {', '.join(tried) or 'the conventions as stated'}: the best "
        f"{ranked[0].outcome}. Not tried, because nothing states them: {', '.join(untried) or 'none'}."
    )


def describe_conventions(changes: Mapping[str, Any]) -> str:
    """Conventions as `name value, name value`."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in changes.items())

"""Dose-response curves: noise on states and weights, other fire rates, less room.

Perturbed runs share every fire mask with their controls: another fire rate thresholds the control's own random
numbers at another level, and a smaller canvas or a moved seed sees the control's masks around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from analysis import metrics
from analysis.assays.robustness.config import RobustnessConfig
from analysis.paired import EditedRun, run_controls, run_edited
from analysis.rollouts import CHUNK, Batch, Tick, advance, grow_runs, grow_through, map_runs
from nca import edits
from nca.organism import Organism
from nca.perception import mature
from nca.rule import Rule

PERTURBATIONS = {  # name -> (label, label of the dose)
    "state_noise": ("state noise added once", "noise (channel’s SD)"),
    "state_noise_per_step": ("state noise at every step", "noise (channel’s SD)"),
    "weight_noise": ("weight noise", "noise (weights’ norm)"),
    "fire_rate": ("other fire rates", "fire rate"),
    "fire_rate_updates": ("other fire rates, as many updates", "fire rate"),
    "canvas_margin": ("a smaller canvas", "cells to the edge"),
    "seed_offset": ("a seed moved to the right", "cells to the edge"),
}
_STREAM = 6007  # of the noise, so that it is independent of the runs' own keys
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ControlRuns:
    """The undisturbed runs at the adult step.

    Attributes:
        organism: what grows.
        config: how it is perturbed.
        keys: one per run.
        states: grown bodies.
        reference: premultiplied RGBA that the MSE is measured against.
        tick: receives the steps done.
    """

    organism: Organism
    config: RobustnessConfig
    keys: Any
    states: Float[np.ndarray, "run y x channel"]
    reference: Float[np.ndarray, "run y x 4"]
    tick: Tick | None


def _mature_cells(control: ControlRuns, run: int) -> Bool[np.ndarray, "y x"]:
    return np.asarray(mature(control.organism.rule, jnp.asarray(control.states[run])))


def _channel_sd(control: ControlRuns, run: int) -> Float[np.ndarray, " channel"]:
    """Standard deviation of every channel over a run's mature cells."""
    return control.states[run][_mature_cells(control, run)].std(0)


def _outcome(
    rule: Rule, case: tuple[str, float, int], state: Any, control: np.ndarray, reference: np.ndarray
) -> dict[str, Any]:
    """A row of `RobustnessResult.doses` for a case (perturbation, dose, run); all states lie on one canvas."""
    mse, mse_control = (np.asarray(metrics.mse(rule.spec, s, reference)) for s in (state, control))
    cells, cells_control = (np.asarray(metrics.mature_count(rule, s)) for s in (state, control))
    exploded = bool(metrics.exploded(state))
    fitness = float(metrics.fitness(mse, mse_control, metrics.empty_mse(reference)))
    rise = float(metrics.log_mse(mse) - metrics.log_mse(mse_control)) if mse_control > 0 else math.nan
    return {
        "perturbation": case[0],
        "dose": float(case[1]),
        "run": case[2],
        "fitness": -math.inf if exploded and math.isfinite(fitness) else fitness,
        "log_mse_increase": rise,
        "mature_cells": int(cells),
        "mature_cells_control": int(cells_control),
        "overgrown": bool(metrics.overgrown(cells, cells_control)),
        "exploded": exploded,
    }


# State noise on grown bodies


def add_state_noise(control: ControlRuns) -> tuple[Rows, xr.Dataset]:
    """Noise added once to the mature cells: outcomes, and how the states return to their controls.

    Returns:
        rows of outcomes; and a Dataset of distances over (dose, run, step): `distance` to the control as a share of
        its norm, and `between_runs` (run, step), that between controls of different keys.
    """
    config, doses, runs = control.config, control.config.state_noise, range(control.config.runs)
    rule = control.organism.rule
    cases = list(product(doses, range(control.config.runs)))
    if not cases:
        return [], xr.Dataset()
    after = sorted({0, 20, 60, 100, config.eval_steps})
    steps = [config.adult_step + n for n in after if n <= config.eval_steps]
    controls = grow_through(control.organism, control.keys, steps, states=control.states, tick=control.tick)
    start = np.stack([_noisy_state(control, run, dose) for dose, run in cases])
    keys = control.keys[jnp.asarray([run for _, run in cases])]
    states = grow_through(control.organism, keys, steps, states=start, tick=control.tick)
    rows, distance = [], np.full((len(doses), config.runs, len(steps)), np.nan)
    for n, (dose, run) in enumerate(cases):
        final = controls[-1, run]
        reference = control.reference[run]
        if control.organism.target is None:
            reference = np.asarray(metrics.picture(rule.spec, final))
        rows.append(_outcome(rule, ("state_noise", dose, run), states[-1, n], final, reference))
        distance[doses.index(dose), run] = [
            _relative_distance(s[n], c[run]) for s, c in zip(states, controls, strict=True)
        ]
    between = np.full((config.runs, len(steps)), np.nan)  # a single run has no other to be compared with
    if config.runs > 1:
        between = np.array([[_relative_distance(c[(r + 1) % config.runs], c[r]) for c in controls] for r in runs])
    returns = xr.Dataset(
        {"distance": (("dose", "run", "step"), distance), "between_runs": (("run", "step"), between)},
        {"dose": list(doses), "run": list(runs), "step": steps},
    )
    return rows, returns


def _noisy_state(control: ControlRuns, run: int, dose: float) -> Float[np.ndarray, "y x channel"]:
    state = control.states[run]
    draw = np.random.default_rng([control.config.seed, run, _STREAM]).normal(size=state.shape)
    return (state + _mature_cells(control, run)[..., None] * dose * _channel_sd(control, run) * draw).astype(np.float32)


def _relative_distance(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / size if size else math.nan


def add_state_noise_per_step(control: ControlRuns) -> Rows:
    """Noise at every step, on the cells that are mature when it begins."""
    config = control.config
    if not config.state_noise_per_step:
        return []
    start, end = config.adult_step, config.adult_step + config.eval_steps
    steps = sorted({start, start + min(60, config.eval_steps), end})
    controls = run_controls(control.organism, control.states, control.keys, steps, tick=control.tick)
    cases, rows = list(product(config.state_noise_per_step, range(control.config.runs))), []
    for dose, run in cases:
        edit = edits.noise(control.organism, 1.0).where(_mature_cells(control, run)).at(slice(start, end))
        rows.append(EditedRun(run, (replace(edit, value=jnp.float32(dose * _channel_sd(control, run))),)))
    finals = run_edited(control.organism, controls, rows, control.tick)["final_states"]
    rule, unperturbed = control.organism.rule, controls.final_states
    return [
        _outcome(rule, ("state_noise_per_step", dose, run), final, unperturbed[run], controls.reference[run, -1])
        for (dose, run), final in zip(cases, finals, strict=True)
    ]


# Growth from the seed


def add_weight_noise(control: ControlRuns) -> Rows:
    """Growth with noisy weights, another draw for every run."""
    cases = list(product(control.config.weight_noise, range(control.config.runs)))
    rule = control.organism.rule
    # Drawn ahead of the threads that use them.
    rules = [perturb_weights(rule, dose, [control.config.seed, run, _STREAM]) for dose, run in cases]

    def _grow(n: int) -> np.ndarray:
        noisy, run = replace(control.organism, rule=rules[n]), cases[n][1]
        keys = control.keys[run : run + 1]
        return np.asarray(grow_runs(noisy, control.config.adult_step, keys, tick=control.tick)[0])

    return [
        _outcome(rule, ("weight_noise", dose, run), final, control.states[run], control.reference[run])
        for (dose, run), final in zip(cases, _map_cases(len(cases), _grow), strict=True)
    ]


def perturb_weights(rule: Rule, share: float, seed: Any) -> Rule:
    """The rule with Gaussian noise on every array of weights and biases, a `share` of the array's norm."""
    draw = np.random.default_rng(seed)

    arrays = [np.asarray(array[...], np.float64) for array in (*rule.weights, *rule.biases)]
    samples = [draw.normal(size=array.shape) for array in arrays]
    noisy = [a + share * np.linalg.norm(a) * s / np.linalg.norm(s) for a, s in zip(arrays, samples, strict=True)]
    conventions = {k: tuple(v) if isinstance(v, list) else v for k, v in rule.spec.to_json().items()}
    return Rule.from_arrays(
        noisy[: len(rule.weights)],
        noisy[len(rule.weights) :],
        kernels=None if rule.kernels is None else np.asarray(rule.kernels[...]),
        angle=float(rule.angle[...]),
        **conventions,
    )


def change_fire_rate(control: ControlRuns) -> Rows:
    """Growth at other fire rates, measured at the same step and after as many updates a cell."""
    adult, trained = control.config.adult_step, control.organism.rule.spec.fire_rate
    cases = list(product(control.config.fire_rates, range(control.config.runs)))

    def _grow(n: int) -> tuple[np.ndarray, np.ndarray]:
        rate, run = cases[n]
        # As many updates on average, rounded to a chunk, so that no step needs a program of its own.
        equal = max(CHUNK, round(adult * trained / rate / CHUNK) * CHUNK)
        first, second = sorted((adult, equal))
        early = _grow_with_rate(control, control.organism.initial_state(), run, rate, 0, first)
        late = _grow_with_rate(control, early, run, rate, first, second)
        return (early, late) if first == adult else (late, early)

    return [
        _outcome(control.organism.rule, (name, rate, run), final, control.states[run], control.reference[run])
        for (rate, run), pair in zip(cases, _map_cases(len(cases), _grow), strict=True)
        for name, final in zip(("fire_rate", "fire_rate_updates"), pair, strict=True)
    ]


def reduce_canvas(control: ControlRuns) -> Rows:
    """Growth with so many cells left to the edge: on a smaller canvas, and from a seed moved to the right."""
    height, width = control.organism.canvas
    body = np.any([_mature_cells(control, run) for run in range(control.config.runs)], axis=0)
    y, x = np.argwhere(body).T
    room = y.min(), x.min(), height - 1 - y.max(), width - 1 - x.max()
    wraps = control.organism.rule.spec.boundary == "circular"
    rows: Rows = []
    for margin in control.config.canvas_margins:
        # A canvas loses as much on every side; the seed in the middle must stay on it.
        crop, shift = int(min(room) - margin), int(room[3] - margin)

        if 0 < crop < min(height, width) // 2 - 1:
            rows += _grow_in_view(control, "canvas_margin", margin, partial(_crop, margin=crop))
        if 0 < shift < width - width // 2:
            rows += _grow_in_view(control, "seed_offset", margin, partial(_shift, offset=shift, wraps=wraps))
    return rows


def _crop(values: np.ndarray, margin: int) -> np.ndarray:
    return values[margin : values.shape[0] - margin, margin : values.shape[1] - margin]


def _shift(values: np.ndarray, offset: int, wraps: bool) -> np.ndarray:
    """Values moved to the right; what leaves is lost, except on a canvas that wraps."""
    moved = np.roll(values, offset, axis=1)
    if values.dtype != bool and not wraps:
        moved[:, :offset] = 0
    return moved


def _grow_in_view(control: ControlRuns, name: str, margin: int, view: Callable[[np.ndarray], np.ndarray]) -> Rows:
    """Growth where seed, fire masks, reference and control are all seen through `view`."""
    rule, start = control.organism.rule, view(np.asarray(control.organism.initial_state()))

    def _grow(run: int) -> np.ndarray:
        return _grow_with_rate(control, start, run, rule.spec.fire_rate, 0, control.config.adult_step, view)

    return [
        _outcome(rule, (name, margin, run), final, view(control.states[run]), view(control.reference[run]))
        for run, final in enumerate(_map_cases(control.config.runs, _grow))
    ]


def _grow_with_rate(
    control: ControlRuns,
    state: Any,
    run: int,
    rate: float,
    start: int,
    end: int,
    view: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Float[np.ndarray, "y x channel"]:
    """A run from step to step; a cell updates where the control's random number is at most `rate`."""
    states = jnp.asarray(state)[None]
    for here in range(start, end, CHUNK):
        steps = min(CHUNK, end - here)
        draws = np.asarray(_uniform_draws(control.keys[run], here + jnp.arange(steps), control.organism.canvas))
        fire = jnp.asarray(np.stack([view(mask) for mask in draws <= rate])[None])
        states = advance(Batch(control.organism, control.keys[:1], fire, (), here, control.tick), states, 0, steps)
    return np.asarray(states[0])


def _draw_uniform(key: Any, steps: Any, canvas: tuple[int, int]) -> Any:
    """The numbers behind the fire masks of these steps, (step, y, x)."""
    return jax.vmap(lambda t: jax.random.uniform(jax.random.fold_in(key, t), canvas))(steps)


_uniform_draws = jax.jit(_draw_uniform, static_argnums=2)


def _map_cases(count: int, work: Callable[[int], Any]) -> list[Any]:
    """`work` on every number below `count`, on as many threads as there are cores."""
    if not count:
        return []
    return [out for outs in map_runs(count, lambda numbers: [work(int(n)) for n in numbers]) for out in outs]


# The curve


def dose_summary(doses: pd.DataFrame) -> pd.DataFrame:
    """Medians over runs with 95 % bootstrap intervals, a row for each perturbation and dose.

    Returns:
        perturbation, dose, fitness and log_mse_increase each with _low and _high, defined (runs with a fitness), runs,
        overgrown_runs, exploded_runs, and the fitness of each run ("run 0", ...).
    """
    rows = []
    for (perturbation, dose), group in doses.groupby(["perturbation", "dose"], sort=False):
        row: dict[str, Any] = {"perturbation": perturbation, "dose": dose}
        for name in ("fitness", "log_mse_increase"):
            interval = metrics.median_interval(group[name].values)
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
        row |= {"defined": int(group.fitness.notna().sum()), "runs": len(group)}
        row |= {"overgrown_runs": int(group.overgrown.sum()), "exploded_runs": int(group.exploded.sum())}
        row |= {f"run {r}": v for r, v in zip(group.run, group.fitness, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)

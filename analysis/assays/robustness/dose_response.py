"""Dose-response curves: noise on states and weights, other fire rates, less room.

Perturbed runs share every fire mask with their controls: another fire rate thresholds the control's own random
numbers at another level, and a smaller canvas or a moved seed sees the control's masks around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from nca.progress import Progress
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
TOLERATED = 0.9  # least fitness of a body that withstands a dose
_STREAM = 6007  # of the noise, so that it is independent of the runs' own keys
_Rows = list[dict[str, Any]]
Pictures = dict[tuple[str, float], np.ndarray]  # (perturbation, dose) -> premultiplied RGBA of the first run


@dataclass(frozen=True)
class _Control:
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


def measure_doses(
    organism: Organism, config: RobustnessConfig, keys: Any, states: Float[np.ndarray, "run y x channel"], log: Progress
) -> tuple[pd.DataFrame, xr.Dataset, Pictures]:
    """Every perturbation at every dose in every run.

    Args:
        organism: what grows.
        config: which perturbations and doses.
        keys: one per run.
        states: the bodies that these keys have grown by the adult step.
        log: receives the progress.

    Returns:
        `RobustnessResult.doses`, `.returns` and `.pictures`.
    """
    target, pictures = organism.padded_target(organism.canvas), np.asarray(metrics.picture(organism.rule.spec, states))
    reference = pictures if target is None else np.broadcast_to(target, pictures.shape)
    control = _Control(organism, config, keys, states, reference, log.tick)
    later, growth, name = config.runs * config.eval_steps, config.runs * config.adult_step, organism.name
    log.start(f"state noise on {name}", later * (len(config.state_noise) + 1))
    rows, returns = _add_state_noise(control)
    log.start(f"lasting state noise on {name}", later * (len(config.state_noise_per_step) + 1))
    rows += _add_state_noise_per_step(control)
    log.start(f"weight noise on {name}", growth * len(config.weight_noise))
    rows += _add_weight_noise(control)
    log.start(f"fire rates of {name}")
    rows += _change_fire_rate(control)
    log.start(f"canvas margins of {name}", 2 * growth * len(config.canvas_margins))
    rows += _reduce_canvas(control)
    pictures_of_rows = [row.pop("picture") for row in rows]
    shown = [(row, picture) for row, picture in zip(rows, pictures_of_rows, strict=True) if row["run"] == 0]
    return pd.DataFrame(rows), returns, {(row["perturbation"], row["dose"]): picture for row, picture in shown}


def _cases(control: _Control, doses: Sequence[float]) -> list[tuple[float, int]]:
    """Every dose in every run."""
    return list(product(doses, range(control.config.runs)))


def _mature_cells(control: _Control, run: int) -> Bool[np.ndarray, "y x"]:
    return np.asarray(mature(control.organism.rule, jnp.asarray(control.states[run])))


def _channel_sd(control: _Control, run: int) -> Float[np.ndarray, " channel"]:
    """Standard deviation of every channel over a run's mature cells."""
    return control.states[run][_mature_cells(control, run)].std(0)


def _outcome(
    rule: Rule, case: tuple[str, float, int], state: Any, control: np.ndarray, reference: np.ndarray
) -> dict[str, Any]:
    """A row of `RobustnessResult.doses` for a case (perturbation, dose, run); all states lie on one canvas."""
    mse, mse_control = (np.asarray(metrics.mse(rule.spec, s, reference)) for s in (state, control))
    cells, cells_control = (np.asarray(metrics.mature_count(rule, s)) for s in (state, control))
    exploded = bool(metrics.exploded(state))
    empty = metrics.empty_mse(reference)
    fitness = displaced = float(metrics.fitness(mse, mse_control, empty))
    if fitness < TOLERATED and not exploded:
        nearest = metrics.displaced_mse(rule.spec, state, reference)[0]
        displaced = max(fitness, float(metrics.fitness(nearest, mse_control, empty)))
    rise = float(metrics.log_mse(mse) - metrics.log_mse(mse_control)) if mse_control > 0 else math.nan
    return {
        "perturbation": case[0],
        "dose": float(case[1]),
        "run": case[2],
        "fitness": -math.inf if exploded and math.isfinite(fitness) else fitness,
        "fitness_displaced": displaced,
        "log_mse_increase": rise,
        "mature_cells": int(cells),
        "mature_cells_control": int(cells_control),
        "overgrown": bool(metrics.overgrown(cells, cells_control)),
        "exploded": exploded,
        "picture": np.asarray(metrics.picture(rule.spec, state)) if case[2] == 0 else None,
    }


# State noise on grown bodies


def _add_state_noise(control: _Control) -> tuple[_Rows, xr.Dataset]:
    """Noise added once to the mature cells: outcomes, and how the states return to their controls."""
    config, organism = control.config, control.organism
    cases = _cases(control, config.state_noise)
    if not cases:
        return [], xr.Dataset()
    after = sorted({0, 20, 60, 100, config.eval_steps})
    steps = [config.adult_step + n for n in after if n <= config.eval_steps]
    controls = grow_through(organism, control.keys, steps, states=control.states, tick=control.tick)
    start = np.stack([_noisy_state(control, run, dose) for dose, run in cases])
    keys = control.keys[jnp.asarray([run for _, run in cases])]
    states = grow_through(organism, keys, steps, states=start, tick=control.tick)
    finals = np.asarray(metrics.picture(organism.rule.spec, controls[-1]))
    reference = finals if organism.target is None else control.reference
    rows = [
        _outcome(organism.rule, ("state_noise", dose, run), final, controls[-1, run], reference[run])
        for (dose, run), final in zip(cases, states[-1], strict=True)
    ]
    by_dose = states.reshape(len(steps), len(config.state_noise), config.runs, *states.shape[2:])
    distance = _relative_distance(by_dose, controls[:, None])
    between = _relative_distance(np.roll(controls, -1, axis=1), controls)
    if config.runs == 1:  # a single run has no other to be compared with
        between = np.full_like(between, np.nan)
    data = {"distance": (("step", "dose", "run"), distance), "between_runs": (("step", "run"), between)}
    coords = {"dose": list(config.state_noise), "run": range(config.runs), "step": steps}
    return rows, xr.Dataset(data, coords).transpose("dose", "run", "step")


def _noisy_state(control: _Control, run: int, dose: float) -> Float[np.ndarray, "y x channel"]:
    state = control.states[run]
    draw = np.random.default_rng([control.config.seed, run, _STREAM]).normal(size=state.shape)
    return (state + _mature_cells(control, run)[..., None] * dose * _channel_sd(control, run) * draw).astype(np.float32)


def _relative_distance(a: Float[np.ndarray, "*b y x c"], b: Float[np.ndarray, "*b y x c"]) -> Float[np.ndarray, "*b"]:
    """Distance of states to others, as a share of the norm of these."""
    distance, size = (np.sqrt(np.square(v).sum((-3, -2, -1), dtype=float)) for v in (a - b, b))
    return distance / np.where(size > 0, size, np.nan)


def _add_state_noise_per_step(control: _Control) -> _Rows:
    """Noise at every step, on the cells that are mature when it begins."""
    config, organism = control.config, control.organism
    if not config.state_noise_per_step:
        return []
    start, end = config.adult_step, config.adult_step + config.eval_steps
    steps = sorted({start, start + min(60, config.eval_steps), end})
    controls = run_controls(organism, control.states, control.keys, steps, tick=control.tick)
    cases, rows = _cases(control, config.state_noise_per_step), []
    for dose, run in cases:
        edit = edits.noise(organism, 1.0).where(_mature_cells(control, run)).at(slice(start, end))
        rows.append(EditedRun(run, (replace(edit, value=jnp.float32(dose * _channel_sd(control, run))),)))
    finals, unperturbed = run_edited(organism, controls, rows, control.tick)["final_states"], controls.final_states
    return [
        _outcome(
            organism.rule, ("state_noise_per_step", dose, run), final, unperturbed[run], controls.reference[run, -1]
        )
        for (dose, run), final in zip(cases, finals, strict=True)
    ]


# Growth from the seed


def _add_weight_noise(control: _Control) -> _Rows:
    """Growth with noisy weights, another draw for every run."""
    cases = _cases(control, control.config.weight_noise)
    rule = control.organism.rule
    # Drawn ahead of the threads that use them.
    rules = [_perturb_weights(rule, dose, [control.config.seed, run, _STREAM]) for dose, run in cases]

    def _grow(n: int) -> np.ndarray:
        noisy, run = replace(control.organism, rule=rules[n]), cases[n][1]
        keys = control.keys[run : run + 1]
        return np.asarray(grow_runs(noisy, control.config.adult_step, keys, tick=control.tick)[0])

    return [
        _outcome(rule, ("weight_noise", dose, run), final, control.states[run], control.reference[run])
        for (dose, run), final in zip(cases, _map_cases(len(cases), _grow), strict=True)
    ]


def _perturb_weights(rule: Rule, share: float, seed: Any) -> Rule:
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


def _change_fire_rate(control: _Control) -> _Rows:
    """Growth at other fire rates, measured at the same step and after as many updates a cell."""
    adult, trained = control.config.adult_step, control.organism.rule.spec.fire_rate
    cases = _cases(control, control.config.fire_rates)

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


def _reduce_canvas(control: _Control) -> _Rows:
    """Growth with so many cells left to the edge: on a smaller canvas, and from a seed moved to the right."""
    height, width = control.organism.canvas
    body = np.any([_mature_cells(control, run) for run in range(control.config.runs)], axis=0)
    y, x = np.argwhere(body).T
    room = y.min(), x.min(), height - 1 - y.max(), width - 1 - x.max()
    wraps = control.organism.rule.spec.boundary == "circular"
    rows: _Rows = []
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


def _grow_in_view(control: _Control, name: str, margin: int, view: Callable[[np.ndarray], np.ndarray]) -> _Rows:
    """Growth where seed, fire masks, reference and control are all seen through `view`."""
    rule, start = control.organism.rule, view(np.asarray(control.organism.initial_state()))

    def _grow(run: int) -> np.ndarray:
        return _grow_with_rate(control, start, run, rule.spec.fire_rate, 0, control.config.adult_step, view)

    return [
        _outcome(rule, (name, margin, run), final, view(control.states[run]), view(control.reference[run]))
        for run, final in enumerate(_map_cases(control.config.runs, _grow))
    ]


def _grow_with_rate(
    control: _Control,
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
    return jax.vmap(lambda t: jax.random.uniform(jax.random.fold_in(key, t), canvas, jnp.float32))(steps)


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
        overgrown_runs, exploded_runs, displaced_runs (of less fitness than 0.9 unless the target is moved by up to 4
        cells in each direction: whole bodies elsewhere), and the fitness of each run ("run 0", ...).
    """
    rows = []
    for (perturbation, dose), group in doses.groupby(["perturbation", "dose"], sort=False):
        row: dict[str, Any] = {"perturbation": perturbation, "dose": dose}
        for name in ("fitness", "log_mse_increase"):
            interval = metrics.median_interval(group[name].values)
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
        row |= {"defined": int(group.fitness.notna().sum()), "runs": len(group)}
        row |= {"overgrown_runs": int(group.overgrown.sum()), "exploded_runs": int(group.exploded.sum())}
        elsewhere = (group.fitness < TOLERATED) & (group.fitness_displaced >= TOLERATED)
        row["displaced_runs"] = int(elsewhere.sum())
        row |= {f"run {r}": v for r, v in zip(group.run, group.fitness, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)

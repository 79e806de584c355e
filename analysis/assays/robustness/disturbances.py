"""State noise on grown bodies, and how any disturbed run is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from analysis import metrics
from analysis.assays.robustness.config import RobustnessConfig
from analysis.paired import EditedRun, run_controls, run_edited
from analysis.rollouts import Tick, grow_runs
from nca import edits
from nca.organism import Organism
from nca.perception import mature

ONCE, LASTING, WEIGHTS = "state noise, once", "state noise, every step", "weight noise"
RATE, UPDATES = "fire rate, same step", "fire rate, as many updates"
SMALL, MOVED = "smaller canvas", "seed moved to the right"
KINDS = (ONCE, LASTING, WEIGHTS, RATE, UPDATES, SMALL, MOVED)
STREAM = 6007  # of noise, apart from every key's own


@dataclass(frozen=True)
class Grown:
    """The undisturbed runs: what is disturbed, how it is measured, and who is told."""

    organism: Organism
    config: RobustnessConfig
    keys: Any
    states: Float[np.ndarray, "run y x channel"]
    reference: Float[np.ndarray, "run y x 4"]
    tick: Tick | None

    @property
    def runs(self) -> range:
        """The numbers of the runs."""
        return range(self.config.runs)


def row_of(
    body: Grown, kind: str, dose: float, run: int, state: Any, reference: np.ndarray, twin: np.ndarray
) -> dict[str, Any]:
    """One row of `Robust.doses`; the reference and the twin lie on the state's own canvas."""
    spec, rule = body.organism.rule.spec, body.organism.rule
    e, e_twin = (np.asarray(metrics.mse(spec, s, reference)) for s in (state, twin))
    count, own = (np.asarray(metrics.mature_count(rule, s)) for s in (state, twin))
    burst = bool(metrics.exploded(state))
    fitness = float(metrics.fitness(e, e_twin, metrics.empty_mse(reference)))
    worse = float(metrics.log_mse(e) - metrics.log_mse(e_twin)) if e_twin > 0 else float("nan")
    return {
        "kind": kind,
        "dose": float(dose),
        "run": run,
        "fitness": -math.inf if burst and math.isfinite(fitness) else fitness,
        "worse": worse,
        "mature": int(count),
        "mature_twin": int(own),
        "overgrown": bool(metrics.overgrown(count, own)),
        "exploded": burst,
    }


def channel_spread(body: Grown, run: int) -> Float[np.ndarray, " channel"]:
    """Standard deviation of every channel over a run's mature cells."""
    cells = body.states[run][np.asarray(mature(body.organism.rule, jnp.asarray(body.states[run])))]
    return cells.std(0)


def noise_once(body: Grown) -> tuple[list[dict[str, Any]], xr.Dataset]:
    """State noise on the mature cells, added once; how the states return to their twins."""
    config, doses = body.config, body.config.once
    marks = [config.at + n for n in sorted({0, 20, 60, 100, config.horizon}) if n <= config.horizon]
    plain = _course(body, body.states, body.keys, marks)
    cases = [(dose, run) for dose in doses for run in body.runs]
    if not cases:
        return [], xr.Dataset()
    begun = np.stack([noisy(body, run, dose) for dose, run in cases])
    states = _course(body, begun, body.keys[jnp.asarray([run for _, run in cases])], marks)
    references = body.reference if body.organism.target is not None else None
    rows, away = [], np.full((len(doses), config.runs, len(marks)), np.nan)
    for n, (dose, run) in enumerate(cases):
        twin = plain[-1, run]
        known = np.asarray(metrics.picture(body.organism.rule.spec, twin)) if references is None else references[run]
        rows.append(row_of(body, ONCE, dose, run, states[-1, n], known, twin))
        away[doses.index(dose), run] = [_apart(s[n], p[run]) for s, p in zip(states, plain, strict=True)]
    # A single run has no other key to be compared with.
    other = [(run + 1) % config.runs for run in body.runs]
    floor = [[_apart(p[o], p[r]) if o != r else np.nan for p in plain] for r, o in enumerate(other)]
    found = xr.Dataset(
        {"distance": (("dose", "run", "time"), away), "floor": (("run", "time"), np.array(floor))},
        {"dose": list(doses), "run": list(body.runs), "time": marks},
    )
    return rows, found


def noisy(body: Grown, run: int, dose: float) -> Float[np.ndarray, "y x channel"]:
    """A run's state with noise on its mature cells."""
    state = body.states[run]
    cells = np.asarray(mature(body.organism.rule, jnp.asarray(state)))
    draw = np.random.default_rng([body.config.seed, run, STREAM]).normal(size=state.shape)
    return (state + cells[..., None] * dose * channel_spread(body, run) * draw).astype(np.float32)


def _course(body: Grown, states: np.ndarray, keys: Any, marks: Sequence[int]) -> np.ndarray:
    seen = [np.asarray(states)]
    for here, there in pairwise(marks):
        more = grow_runs(body.organism, there - here, keys, states=seen[-1], start=here, tick=body.tick)
        seen.append(np.asarray(more))
    return np.stack(seen)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / size if size else float("nan")


def noise_lasting(body: Grown) -> list[dict[str, Any]]:
    """State noise at every step, on the cells mature when it begins."""
    config = body.config
    if not config.lasting:
        return []
    marks = sorted({config.at, config.at + min(60, config.horizon), config.at + config.horizon})
    controls = run_controls(body.organism, body.states, body.keys, marks, tick=body.tick)
    cases, rows = [(dose, run) for dose in config.lasting for run in body.runs], []
    for dose, run in cases:
        cells = np.asarray(mature(body.organism.rule, jnp.asarray(body.states[run])))
        edit = edits.noise(body.organism, 1.0).where(cells).at(slice(config.at, config.at + config.horizon))
        rows.append(EditedRun(run, (replace(edit, value=jnp.float32(dose * channel_spread(body, run))),)))
    ends = run_edited(body.organism, controls, rows, body.tick)["final_states"]
    return [
        row_of(body, LASTING, dose, run, end, controls.reference[run, -1], controls.final_states[run])
        for (dose, run), end in zip(cases, ends, strict=True)
    ]

"""Does it heal? Wounds at one step, the paired uncut twin, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis import metrics
from analysis.paired import Controls, EditedRun, run_controls, run_edited
from analysis.rollouts import CHUNK, Tick, grow_runs, run_keys
from nca import edits
from nca.damage import CUTS, cut
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import alive

MARGIN = "empty margin"


def five_cuts(
    organism: Organism,
    runs: int = 8,
    seed: int = 0,
    cut_at: int = 200,
    until: int = 700,
    *,
    fire: Bool[np.ndarray, "run step y x"] | None = None,
) -> xr.Dataset:
    """The five cuts of Mordvintsev et al. 2020, each beside the uncut twin of the same key.

    Recovered is (E_cut - E_end) / (E_cut - E_twin,end); E is measured to the target, or to the twin
    at the same step where the organism has none.

    Args:
        organism: what grows.
        runs: keys; the twin of each is grown once.
        seed: what the keys follow from.
        cut_at: step of the cut.
        until: step of the end.
        fire: masks of all steps in place of the keys' own.

    Returns:
        Dataset over (wound, run[, time]): recovered (NaN: not defined; -inf: exploded
        beside a twin that keeps its body), e and mature with e_twin
        and mature_twin (from the cut on), dead (E of the empty canvas), e_cut, e_end, overgrown and
        exploded (step or -1), touched (cells that the cut changed), changed (largest difference of
        the final state from the twin's), region (wound, y, x), picture_before, picture_twin,
        picture_cut and picture_end (of the first run). Wounds are the five cuts, then the control
        cut in the empty margin, which must change nothing, where there is one.
    """
    if fire is not None and (len(fire) < runs or fire.shape[1] < until):
        raise UserError(f"{runs} runs of {until} steps need as many fire masks, got {fire.shape[:2]}.")
    if until <= cut_at:
        raise UserError(f"The end must come after the cut; got a cut at {cut_at} and the end at {until}.")
    keys = run_keys(seed, runs)
    begun, later = (None, None) if fire is None else (fire[:runs, :cut_at], fire[:runs, cut_at:until])
    states = grow_runs(organism, cut_at, keys, fire=begun)
    return cuts_of(organism, run_controls(organism, states, keys, marks(cut_at, until), fire=later))


def marks(cut_at: int, until: int) -> list[int]:
    """Every twentieth step after the cut, and the end."""
    return [*range(cut_at, until, CHUNK), until]


def cuts_of(organism: Organism, controls: Controls, tick: Tick | None = None) -> xr.Dataset:
    """`five_cuts` on runs already grown to the step of the cut; `tick` is told the steps done."""
    canvas = controls.states.shape[1], controls.states.shape[2]
    regions = {name: cut(canvas, name) for name in CUTS}
    margin = empty_margin(organism, controls.states)
    if margin is not None:
        regions[MARGIN] = margin
    return wounds_of(organism, controls, regions, tick)


def wounds_of(
    organism: Organism,
    controls: Controls,
    regions: Mapping[str, Bool[np.ndarray, "y x"]],
    tick: Tick | None = None,
) -> xr.Dataset:
    """What `five_cuts` says, of any wounds: the cells that each takes, by the wound's name."""
    wound = edits.erase(organism).at(int(controls.steps[0]))
    runs = range(len(controls.states))
    rows = [EditedRun(run, (wound.where(region),)) for region in regions.values() for run in runs]
    found = run_edited(organism, controls, rows, tick)
    shaped = {k: v.reshape(len(regions), len(runs), *v.shape[1:]) for k, v in found.items()}
    return _labelled(organism, controls, regions, shaped)


def empty_margin(
    organism: Organism, states: Float[metrics.Arrays, "run y x channel"]
) -> Bool[np.ndarray, "y x"] | None:
    """The frame of the canvas outside every living site of every run; None where there is none."""
    living = np.asarray(alive(organism.rule, jnp.asarray(states)).any(0))
    if not living.any():
        return None
    rows, columns = np.flatnonzero(living.any(1)), np.flatnonzero(living.any(0))
    frame = np.ones(living.shape, bool)
    frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
    return frame if frame.any() else None


def _labelled(organism: Organism, controls: Controls, regions: Mapping[str, Any], found: dict[str, Any]) -> xr.Dataset:
    dims, spec = ("wound", "run"), organism.rule.spec
    e, twin, ends = found["mse"], controls.mse, found["final_states"]
    healed = np.asarray(metrics.recovered(twin[None, :, 0], e[:, :, 0], e[:, :, -1], twin[None, :, -1]))
    # Beside a twin that has lost its body, a wreck would count as healed.
    kept = np.asarray(metrics.has_body(twin[:, -1], controls.mse_empty[:, -1]))
    defined = kept & ~np.asarray(metrics.exploded(jnp.asarray(controls.final_states)))
    healed = np.where((found["exploded"] >= 0) & np.isfinite(healed), -np.inf, healed)
    pictures = {
        "picture_before": controls.states[0],
        "picture_twin": controls.final_states[0],
        "picture_cut": np.stack([np.where(r[..., None], 0, controls.states[0]) for r in regions.values()]),
        "picture_end": ends[:, 0],
    }
    data = {
        "recovered": (dims, np.where(defined, healed, np.nan)),
        "e": ((*dims, "time"), e),
        "e_twin": (("run", "time"), twin),
        "e_cut": (dims, e[:, :, 0]),
        "e_end": (dims, e[:, :, -1]),
        "dead": (("run", "time"), controls.mse_empty),
        "mature": ((*dims, "time"), found["mature_cells"]),
        "mature_twin": (("run", "time"), controls.mature_cells),
        "overgrown": (dims, found["overgrown"]),
        "exploded": (dims, found["exploded"]),
        "touched": (dims, found["cells_changed"]),
        "changed": (dims, np.abs(ends - controls.final_states).max((-3, -2, -1))),
        "region": (("wound", "y", "x"), np.stack(list(regions.values()))),
    }
    for name, states in pictures.items():
        lead = ("wound",) if states.ndim == 4 else ()
        data[name] = ((*lead, "y", "x", "rgba"), np.asarray(metrics.picture(spec, jnp.asarray(states))))
    coords = {"wound": list(regions), "run": np.arange(len(twin)), "time": controls.steps}
    attrs = {"reference": "twin" if organism.target is None else "target", "organism": organism.hash}
    return xr.Dataset(data, coords, attrs)


def report_card(organism: Organism, runs: int = 8, seed: int = 0, late_runs: int = 2) -> dict[str, Any]:
    """What an organism reaches, in a plain dict that JSON can hold; None is "not defined".

    Args:
        organism: what to examine.
        runs: keys of the measures up to step 700.
        seed: what the keys follow from.
        late_runs: keys that are followed to step 2,000.

    Returns:
        log10_error: median L over the keys at steps "96", "200", "700" and "2000", None without a
        target; mature_cells: medians at the same steps; recovered: for every cut, made at step 200
        and judged at 700, the median and every key; runs, late_runs, seed: how it was measured.
        Where even the uncut twin has no body left at 700, recovered is not defined.
    """
    keys, late = run_keys(seed, runs), min(late_runs, runs)
    young = grow_runs(organism, 96, keys)
    adult = grow_runs(organism, 104, keys, states=young, start=96)
    old = grow_runs(organism, 1800, keys[:late], states=adult[:late], start=200)
    controls = run_controls(organism, adult, keys, marks(200, 700))
    wounds = cuts_of(organism, controls)
    stages = {"96": young, "200": adult, "700": jnp.asarray(controls.final_states), "2000": old}
    return {
        "log10_error": {k: _log_error(organism, s) for k, s in stages.items()},
        "mature_cells": {k: _median(metrics.mature_count(organism.rule, s)) for k, s in stages.items()},
        "recovered": {
            name: {"median": _median(row), "keys": [_number(v) for v in row]}
            for name, row in zip(wounds.wound.values.tolist(), wounds.recovered.values, strict=True)
            if name in CUTS
        },
        "runs": runs,
        "late_runs": late,
        "seed": seed,
    }


def _log_error(organism: Organism, states: Any) -> float | None:
    target = organism.picture((states.shape[1], states.shape[2]))
    if target is None:
        return None
    return _median(metrics.log_mse(metrics.mse(organism.rule.spec, states, jnp.asarray(target))))


def _median(values: Any) -> float | None:
    return _number(metrics.median_interval(values, resamples=1)[0])


def _number(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None

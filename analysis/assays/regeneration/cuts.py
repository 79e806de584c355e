"""Wounds of the adult body and what comes back: the five cuts, any other wounds, and the fate long after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from analysis import metrics
from analysis.paired import Controls, EditedRun, measured_steps, run_controls, run_edited
from analysis.rollouts import Tick, grow_runs, run_keys
from nca import edits
from nca.damage import CUTS, cut
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import alive

MARGIN = "empty margin"
REGENERATED = 0.9  # recovered share from which a body counts as regenerated
REACH = 4  # cells by which a regenerated body may be displaced
POOR = 0.5  # recovered share below which a run has not regenerated
FOLLOW_UP_SPACING = 100  # steps between two measurements of the follow-up


def five_cuts(
    organism: Organism,
    runs: int = 8,
    seed: int = 0,
    adult_step: int = 200,
    eval_steps: int = 500,
    *,
    fire: Bool[np.ndarray, "run step y x"] | None = None,
) -> xr.Dataset:
    """The five cuts of Mordvintsev et al. 2020, each paired with the uncut control of the same key.

    recovered = (MSE after the cut - MSE at the end) / (MSE after the cut - MSE of the control at the end). The MSE is
    to the target, or to the control at the same step where the organism has none.

    Args:
        organism: what grows.
        runs: number of runs; the control of each is grown once.
        seed: number that their keys follow from.
        adult_step: step of the cut.
        eval_steps: steps after the cut at which its outcome is measured.
        fire: masks of all steps in place of the keys' own.

    Returns:
        What `measure_wounds` returns. Wounds are the five cuts, then, where there is an empty margin, the control cut
        in it, which must change nothing.

    Raises:
        UserError: fewer masks than steps, or no step after the cut.
    """
    end = adult_step + eval_steps
    if eval_steps < 1:
        raise UserError(f"The outcome must be measured at least one step after the cut, got {eval_steps}.")
    if fire is not None and (len(fire) < runs or fire.shape[1] < end):
        raise UserError(f"{runs} runs of {end} steps need as many fire masks, got {fire.shape[:2]}.")
    keys = run_keys(seed, runs)
    before, after = (None, None) if fire is None else (fire[:runs, :adult_step], fire[:runs, adult_step:end])
    states = grow_runs(organism, adult_step, keys, fire=before)
    steps = measured_steps(adult_step, (eval_steps,))
    return measure_cuts(organism, run_controls(organism, states, keys, steps, fire=after))


def measure_cuts(organism: Organism, controls: Controls, tick: Tick | None = None) -> xr.Dataset:
    """`five_cuts` of runs that are already grown to the step of the cut; `tick` receives the steps done."""
    canvas = controls.states.shape[1], controls.states.shape[2]
    regions = {name: cut(canvas, name) for name in CUTS}
    margin = _empty_margin(organism, controls.states)
    return measure_wounds(organism, controls, regions | ({} if margin is None else {MARGIN: margin}), tick)


def measure_wounds(
    organism: Organism, controls: Controls, regions: Mapping[str, Bool[np.ndarray, "y x"]], tick: Tick | None = None
) -> xr.Dataset:
    """Wound every run and let it go on.

    Args:
        organism: what grows.
        controls: the unwounded runs, from the step of the wound on.
        regions: the cells that each wound takes, by the wound's name.
        tick: receives the steps done.

    Returns:
        Dataset over (wound, run[, step]): recovered (NaN: not defined; -inf: exploded where the control keeps its
        body); recovered_displaced, the same of a body that may stand up to `REACH` cells elsewhere, and displacement,
        where it then stands (axis: y, x; in cells); mse and mature_cells with mse_control, mse_empty and
        mature_cells_control (run, step), mse_cut, mse_end, overgrown and exploded (step or -1), cells_changed by the
        wound, final_difference (largest, from the control's final state), region (wound, y, x), and of the first run
        picture_before, picture_control, picture_cut and picture_end (premultiplied RGBA).
    """
    wound, runs = edits.erase(organism).at(int(controls.steps[0])), range(len(controls.states))
    rows = [EditedRun(run, (wound.where(region),)) for region in regions.values() for run in runs]
    edited = run_edited(organism, controls, rows, tick)
    edited = {name: values.reshape(len(regions), len(runs), *values.shape[1:]) for name, values in edited.items()}
    mse, mse_control, final_states = edited["mse"], controls.mse, edited["final_states"]
    recovered = np.asarray(
        metrics.recovered(mse_control[None, :, 0], mse[:, :, 0], mse[:, :, -1], mse_control[None, :, -1])
    )
    recovered = np.where((edited["exploded"] >= 0) & np.isfinite(recovered), -np.inf, recovered)
    spec, target = organism.rule.spec, organism.padded_target((controls.states.shape[1], controls.states.shape[2]))
    reference = metrics.picture(spec, jnp.asarray(controls.final_states)) if target is None else jnp.asarray(target)
    mse_displaced, displacement = metrics.displaced_mse(spec, final_states, reference, REACH)
    elsewhere = np.asarray(
        metrics.recovered(mse_control[None, :, 0], mse[:, :, 0], mse_displaced, mse_control[None, :, -1])
    )
    # Next to a control that has lost its body, a wreck would count as regenerated.
    defined = np.asarray(metrics.has_body(mse_control[:, -1], controls.mse_empty[:, -1]))
    defined = defined & ~np.asarray(metrics.exploded(jnp.asarray(controls.final_states)))
    dims = ("wound", "run")
    data: dict[str, Any] = {
        "recovered": (dims, np.where(defined, recovered, np.nan)),
        "recovered_displaced": (dims, np.where(defined & ~np.isneginf(recovered), elsewhere, np.nan)),
        "displacement": ((*dims, "axis"), displacement),
        "mse": ((*dims, "step"), mse),
        "mse_control": (("run", "step"), mse_control),
        "mse_empty": (("run", "step"), controls.mse_empty),
        "mse_cut": (dims, mse[:, :, 0]),
        "mse_end": (dims, mse[:, :, -1]),
        "mature_cells": ((*dims, "step"), edited["mature_cells"]),
        "mature_cells_control": (("run", "step"), controls.mature_cells),
        **{name: (dims, edited[name]) for name in ("overgrown", "exploded", "cells_changed")},
        "final_difference": (dims, np.abs(final_states - controls.final_states).max((-3, -2, -1))),
        "region": (("wound", "y", "x"), np.stack(list(regions.values()))),
    }
    pictures = {
        "picture_before": controls.states[0],
        "picture_control": controls.final_states[0],
        "picture_cut": np.stack([np.where(r[..., None], 0, controls.states[0]) for r in regions.values()]),
        "picture_end": final_states[:, 0],
    }
    for name, states in pictures.items():
        lead = ("wound",) if states.ndim == 4 else ()
        picture = metrics.picture(organism.rule.spec, jnp.asarray(states))
        data[name] = ((*lead, "y", "x", "rgba"), np.asarray(picture))
    coords = {"wound": list(regions), "run": np.arange(len(runs)), "step": controls.steps, "axis": ["y", "x"]}
    attrs = {"reference": "control" if organism.target is None else "target", "organism": organism.hash}
    return xr.Dataset(data, coords, attrs)


def _empty_margin(
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


def follow_up(organism: Organism, controls: Controls, step: int, tick: Tick | None = None) -> xr.Dataset:
    """What becomes of cut bodies long after.

    Args:
        organism: what grows.
        controls: the uncut runs, from the step of the cut on.
        step: the step to which all runs are followed.
        tick: receives the steps done.

    Returns:
        What `measure_cuts` returns at that step, with fate (wound, run): regenerated, displaced (whole, but elsewhere),
        scarred, died, overgrown, exploded or not defined; and control_has_body (run,).
    """
    first = int(controls.steps[0])
    steps = [*range(first, step, FOLLOW_UP_SPACING), step]
    controls = run_controls(organism, controls.states, controls.keys, steps, fire=None, tick=tick)
    cuts = measure_cuts(organism, controls, tick)
    cells, control_cells = cuts.mature_cells[..., -1], cuts.mature_cells_control[..., -1]
    outcomes = {  # the first that applies
        "exploded": cuts.exploded >= 0,
        "died": cells == 0,
        "overgrown": (cuts.overgrown >= 0) | (cells > metrics.OVERGROWN * control_cells),
        "regenerated": cuts.recovered >= REGENERATED,
        "displaced": cuts.recovered_displaced >= REGENERATED,
        "scarred": np.isfinite(cuts.recovered),
    }
    applies = [outcome.transpose("wound", "run").values for outcome in outcomes.values()]
    fate = np.select(applies, list(outcomes), default="not defined")
    body = np.asarray(metrics.has_body(controls.mse[:, -1], controls.mse_empty[:, -1]))
    return cuts.assign(fate=(("wound", "run"), fate), control_has_body=("run", body))


def report_card(
    organism: Organism, runs: int = 8, seed: int = 0, late_runs: int = 2, *, tick: Tick | None = None
) -> dict[str, Any]:
    """What an organism reaches, as plain JSON values; None is "not defined". It is kept in the organism's file.

    Args:
        organism: what is grown and cut.
        runs: number of runs up to step 700.
        seed: number that their keys follow from.
        late_runs: how many of them are followed to step 2,000.
        tick: receives the steps done.

    Returns:
        log10_mse: median log10 MSE over runs at steps "96", "200", "700" and "2000", None without a target;
        mature_cells: medians at the same steps; recovered: for every cut, made at step 200 and measured at 700, the
        median, the value of every run ("runs"), and that of a body that may be displaced ("displaced"); runs,
        late_runs, seed: how it was measured. Where even the uncut control has no body at 700, recovered is not defined.
    """
    keys, late = run_keys(seed, runs), min(late_runs, runs)
    young = grow_runs(organism, 96, keys, tick=tick)
    adult = grow_runs(organism, 104, keys, states=young, start=96, tick=tick)
    old = grow_runs(organism, 1800, keys[:late], states=adult[:late], start=200, tick=tick)
    controls = run_controls(organism, adult, keys, measured_steps(200, (500,)), tick=tick)
    cuts = measure_cuts(organism, controls, tick)
    stages = {"96": young, "200": adult, "700": jnp.asarray(controls.final_states), "2000": old}
    return {
        "log10_mse": {k: _median_log_mse(organism, states) for k, states in stages.items()},
        "mature_cells": {k: _median(metrics.mature_count(organism.rule, states)) for k, states in stages.items()},
        "recovered": {
            name: {"median": _median(by_run), "runs": _json_numbers(by_run), "displaced": _json_numbers(elsewhere)}
            for name, by_run, elsewhere in zip(
                cuts.wound.values.tolist(), cuts.recovered.values, cuts.recovered_displaced.values, strict=True
            )
            if name in CUTS
        },
        "runs": runs,
        "late_runs": late,
        "seed": seed,
    }


def _median_log_mse(organism: Organism, states: Any) -> float | None:
    target = organism.padded_target((states.shape[1], states.shape[2]))
    if target is None:
        return None
    return _median(metrics.log_mse(metrics.mse(organism.rule.spec, states, jnp.asarray(target))))


def _median(values: Any) -> float | None:
    return _json_number(metrics.median_interval(values, resamples=1)[0])


def _json_numbers(values: Any) -> list[float | None]:
    return [_json_number(value) for value in values]


def _json_number(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None

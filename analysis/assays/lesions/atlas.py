"""The lesion atlas: target x intervention x dose, a row for each run and evaluation step, and its summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy.stats

from analysis import metrics
from analysis.assays.lesions.interventions import RANDOM_DIRECTIONS, Lesion, Specimen, lesion_edit
from analysis.paired import EditedRun
from analysis.rollouts import Tick
from nca import edits
from nca.errors import UserError
from nca.organism import Organism
from nca.spec import channel_role, hidden_channels

NO_CELLS_CHANGED, NO_BODY = "no cell changed", "not defined"  # outcomes of lesions without a fitness to speak of
_BATCH = 256  # rows whose final states are held at once
_OUTCOMES = ["fitness", "log_mse", "log_mse_increase", "mse", "mature_cells", "mse_control", "mature_cells_control"]
_LESION = ["phase", "target_type", "target", "role", "intervention", "dose"]


def list_lesions(
    organism: Organism,
    target_type: str,
    interventions: Sequence[str],
    doses: Sequence[float] = (),
    noise_sd: Sequence[float] = (),
    control_channel: int | None = None,
) -> list[Lesion]:
    """Lesions of every target of a type: partial ones at every dose, noise at every size, the others once.

    Args:
        target_type: channel; filter, of the perception over all channels; units, hidden units of the first layer
            grouped by the channel that they write to most; unit, each of them alone; direction, every principal
            component of the hidden states and random directions.
        interventions: keys of `INTERVENTIONS`.
        doses: of partial ablation.
        noise_sd: of noise.
        control_channel: index of the channel that no cell reads, if there is one.
    """
    sizes = {"partial": doses, "noise": noise_sd}
    return [
        Lesion(target_type, target, entries, intervention, dose, role)
        for intervention in interventions
        for dose in sizes.get(intervention, (float("nan"),))
        for target, entries, role in _targets(organism, target_type, control_channel)
        # Either changes other channels at random, so is no control and has no null of its own.
        if intervention != "random-direction" or role not in ("control", "random")
    ]


def _targets(
    organism: Organism, target_type: str, control_channel: int | None
) -> Sequence[tuple[str, tuple[int, ...], str]]:
    """Name, entries and role of every target of a type."""
    rule, names = organism.rule, organism.rule.channel_names
    if target_type == "filter":
        return [(name, (n,), "hidden") for n, name in enumerate(rule.filters)]
    if target_type == "direction":
        hidden = len(hidden_channels(rule.spec)) - (control_channel is not None)
        components = [(f"PC{k + 1}", (k,), "component") for k in range(hidden)]
        random = [(f"random {k + 1}", (hidden + k,), "random") for k in range(RANDOM_DIRECTIONS if hidden else 0)]
        return components + random
    if target_type == "channel":
        return [
            ("control", (n,), "control") if n == control_channel else (name, (n,), channel_role(name))
            for n, name in enumerate(names)
        ]
    written = np.abs(np.asarray(rule.weights[1][...]))  # (unit, channel)
    for weight in rule.weights[2:]:
        written = written @ np.abs(np.asarray(weight[...]))
    most = np.where(written.max(1) > 0, written.argmax(1), -1)
    if target_type == "unit":
        return [(f"unit {n}", (n,), "hidden") for n in range(len(most))]
    groups = [(name, tuple(np.flatnonzero(most == c).tolist())) for c, name in enumerate(names)]
    return [(f"{len(units)} to {name}", units, "hidden") for name, units in groups if units]


def run_lesions(
    specimen: Specimen,
    lesions: Sequence[Lesion],
    eval_steps: Sequence[int],
    *,
    phase: str = "adult",
    unchanged: Literal["error", "keep"] = "error",
    pictures: list[tuple[Lesion, np.ndarray]] | None = None,
    tick: Tick | None = None,
) -> pd.DataFrame:
    """Make each lesion in each run of a specimen.

    Args:
        specimen: the control runs; their steps hold the first plus every evaluation step.
        eval_steps: steps after the first at which the outcome is measured.
        phase: growing, adult or regenerating, for the table.
        unchanged: what to do about a lesion that changes no cell of any run: raise an error, or keep the row, whose
            `cells_changed` is then 0.
        pictures: receives every lesion with the first run's body at the last evaluation step, premultiplied RGBA.

    Returns:
        A row for each lesion, run and evaluation step: phase, target_type, target, role, intervention, dose, run,
        eval_step; variance_share, of the hidden variance along a direction (NaN of other targets); fitness (NaN: not
        defined), log_mse, log_mse_increase (over the control of the same key), mse, mature_cells, mse_control,
        mature_cells_control; overgrown, exploded: the step at which first seen (the run stops there) or -1;
        cells_changed, by the first step's edit; side_effect: the largest difference from the control at the last
        step, in channels that are not lesioned themselves.

    Raises:
        UserError: a lesion that changed nothing, unless such rows are kept.
    """
    pairs = [(lesion, run) for lesion in lesions for run in range(len(specimen.states))]
    batches = [pairs[n : n + _BATCH] for n in range(0, len(pairs), _BATCH)]
    tables = [_run_batch(specimen, batch, eval_steps, pictures, tick) for batch in batches]
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "phase", phase)
    if unchanged == "error":
        changed = table.groupby(["target_type", "target", "intervention"], sort=False).cells_changed.max()
        if (changed == 0).any():
            target_type, target, intervention = changed.index[changed == 0][0]
            raise UserError(
                f"The intervention {intervention} on {target_type} {target} changed no cell of any run, since it "
                "holds nothing there; leave it out, or keep such rows (unchanged='keep')."
            )
    return table


def _run_batch(
    specimen: Specimen,
    pairs: Sequence[tuple[Lesion, int]],
    eval_steps: Sequence[int],
    pictures: list[tuple[Lesion, np.ndarray]] | None,
    tick: Tick | None,
) -> pd.DataFrame:
    controls, runs = specimen.controls, [run for _, run in pairs]
    made = [lesion_edit(specimen, lesion, run) for lesion, run in pairs]
    rows = [EditedRun(run, (edit,)) for run, edit in zip(runs, made, strict=True)]
    edited = specimen.run_edited(rows, eval_steps, tick)
    if pictures is not None:
        spec, first = specimen.organism.rule.spec, [n for n, (_, run) in enumerate(pairs) if run == 0]
        shown = np.asarray(metrics.picture(spec, edited["final_states"][first]))
        pictures.extend((pairs[n][0], picture) for n, picture in zip(first, shown, strict=True))
    side_effects = np.abs(edited["final_states"] - controls.final_states[runs]).max((1, 2))  # (row, channel)
    for n, ((lesion, run), edit) in enumerate(zip(pairs, made, strict=True)):
        if edit.site != "state":
            edited["cells_changed"][n] = _cells_changed(specimen, edit, run)
        if lesion.target_type == "channel":
            side_effects[n, list(lesion.entries)] = 0
    shares = [specimen.variance_shares[x.entries[0]] if x.target_type == "direction" else np.nan for x, _ in pairs]
    of_row: dict[str, Any] = {name: [getattr(lesion, name) for lesion, _ in pairs] for name in _LESION[1:]}
    of_row |= {"run": runs, "variance_share": shares}
    of_row |= {name: edited[name] for name in ("overgrown", "exploded", "cells_changed")}
    of_row |= {"side_effect": side_effects.max(1)}
    edited["log_mse_increase"] = edited["log_mse"] - metrics.log_mse(edited["mse_control"])
    columns = {name: np.repeat(values, len(eval_steps)) for name, values in of_row.items()}
    columns |= {"eval_step": np.tile(eval_steps, len(pairs))}
    return pd.DataFrame(columns | {name: np.asarray(edited[name]).ravel() for name in _OUTCOMES})


def _cells_changed(specimen: Specimen, edit: edits.Edit, run: int) -> int:
    """Number of cells of the body whose values an edit changes at its first step."""
    values = specimen.values(edit.site, run)
    after = edits.apply([edit], edit.site, jnp.asarray(values), specimen.first_step, specimen.controls.keys[run])
    return int(((np.asarray(after) != values).any(-1) & specimen.bodies[run]).sum())


def summarise_lesions(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each lesion and evaluation step: medians over runs with 95 % bootstrap intervals.

    Returns:
        fitness and log_mse_increase with ..._low and ..._high, NaN where not defined; variance_share; mature_cells;
        runs; cells_changed; overgrown_runs and exploded_runs with the first step (overgrown_step, exploded_step; -1
        for never); outcome: "no cell changed", "not defined" (there is no body to lose), "exploded", "overgrown",
        "exploded, overgrown", or empty.
    """
    rows = []
    by = [*_LESION, "eval_step"]
    for names, group in table.groupby(by, sort=False, dropna=False):
        row: dict[str, Any] = dict(zip(by, names, strict=True))
        for value in ("fitness", "log_mse_increase"):
            median, low, high = metrics.median_interval(group[value], resamples=400)
            row |= {value: median, f"{value}_low": low, f"{value}_high": high}
        row |= {name: float(group[name].median()) for name in ("mature_cells", "cells_changed")}
        row |= {"variance_share": float(group.variance_share.iloc[0]), "runs": len(group)}
        for event in ("overgrown", "exploded"):
            steps = group[event][group[event] >= 0]
            row |= {f"{event}_runs": len(steps), f"{event}_step": int(steps.min()) if len(steps) else -1}
        row["outcome"] = ", ".join(event for event in ("exploded", "overgrown") if row[f"{event}_runs"])
        if not group.fitness.notna().any():
            row["outcome"] = NO_BODY
        if not (group.cells_changed > 0).any():
            row["outcome"] = NO_CELLS_CHANGED
        rows.append(row)
    return pd.DataFrame(rows)


def half_doses(atlas: pd.DataFrame) -> pd.DataFrame:
    """The dose of partial ablation at which half of the fitness is lost, from what `summarise_lesions` returns.

    Returns:
        phase, target_type, target, role, eval_step, half_dose (interpolated between the doses on either side of it,
        by their logarithms, on medians; NaN outside the doses) and position: "between doses", "below all doses" or
        "above all doses".
    """
    by = ["phase", "target_type", "target", "role", "eval_step"]
    rows = []
    partial = atlas[(atlas.intervention == "partial") & atlas.fitness.notna()]
    for names, group in partial.groupby(by, sort=False):
        doses, fitness = group.sort_values("dose")[["dose", "fitness"]].to_numpy(float).T
        half_dose, position = float("nan"), "above all doses"
        if (fitness <= 0.5).any():
            n = int((fitness <= 0.5).argmax())
            position = "between doses" if n else "below all doses"
            if n:
                share = (fitness[n - 1] - 0.5) / (fitness[n - 1] - fitness[n])
                half_dose = float(doses[n - 1] * (doses[n] / doses[n - 1]) ** share)
        rows.append(dict(zip(by, names, strict=True)) | {"half_dose": half_dose, "position": position})
    return pd.DataFrame(rows, columns=[*by, "half_dose", "position"])


def split_half_correlation(
    table: pd.DataFrame, intervention: str, dose: float, eval_step: int, targets: Sequence[str]
) -> float:
    """Rank correlation of fitness over channels of the adult between two halves of the runs: whether a ranking of
    channels repeats.

    The mean over two ways to halve them (every other run; every other pair of runs); NaN for one run.
    """
    rows = table[(table.phase == "adult") & (table.target_type == "channel") & table.target.isin(targets)]
    rows = rows[(rows.intervention == intervention) & (rows.eval_step == eval_step)]
    if rows.dose.notna().any():
        rows = rows[rows.dose == (dose if intervention == "partial" else rows.dose.iloc[0])]
    fitness = rows.pivot(index="target", columns="run", values="fitness").to_numpy()
    runs = np.arange(fitness.shape[1])
    halves = [runs // size % 2 == 0 for size in (1, 2) if size < len(runs)]
    correlations = [
        scipy.stats.spearmanr(np.median(fitness[:, half], 1), np.median(fitness[:, ~half], 1)).statistic
        for half in halves
    ]
    return float(np.mean(correlations)) if correlations else float("nan")

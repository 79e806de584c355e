"""How an organism grows: its body at the adult step, its error over time, and what becomes of it later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis import metrics
from analysis.animation.encode import webp_bytes
from analysis.animation.render import add_step_counter, crop_runs, render, side_by_side
from analysis.assays.axes.pca import pca
from analysis.dissection.config import DissectConfig
from analysis.paired import Controls, run_controls
from analysis.recording import record
from analysis.report import plots
from analysis.report.format import number, plural
from analysis.report.model import Claim, Film, Section, evidence, svg_figure
from analysis.rollouts import CHUNK, run_keys, seed_states
from nca.errors import UserError
from nca.organism import Organism
from nca.progress import Log, Progress, silent

FOLLOW_UP_SPACING = 100  # steps between two measurements after the adult step
STILLS = (10, 20, 30, 50, 75, 96, 150, 200, 400, 1000, 2000)
FILM_SIDE = 330  # pixels
FATES = {
    "kept": "kept their size",
    "shrank": "shrank below half",
    "overgrew": "overgrew",
    "died": "died",
    "exploded": "exploded",
}


@dataclass(frozen=True)
class Growth:
    """Growth of several runs.

    Attributes:
        organism: what grew.
        config: with which options.
        recording: every state of the first run up to the adult step.
        time_course: Dataset of all runs from the seed to the adult step: mse (with a target), mse_empty,
            mature_cells (run, step), exploded (run,).
        follow_up: the same of a few runs from the adult step to the follow-up step; empty if none was asked for.
    """

    organism: Organism
    config: DissectConfig
    recording: xr.Dataset
    time_course: xr.Dataset
    follow_up: xr.Dataset


def measure_growth(organism: Organism, config: DissectConfig, *, log: Log = silent) -> Growth:
    """Grow and follow the runs of a dissection."""
    adult, end, runs = config.adult_step, config.follow_up_step, config.follow_up_runs
    progress = Progress(log)
    progress.start("growing", (config.runs + 1) * adult + runs * max(0, end - adult))
    recording = record(organism, adult, seed=config.seed, tick=progress.tick)
    keys = run_keys(config.seed, config.runs)
    steps = sorted({*range(0, adult, CHUNK), adult} | {96} & set(range(adult)))
    grown = run_controls(organism, seed_states(organism, config.runs), keys, steps, tick=progress.tick)
    follow_up = xr.Dataset()
    if end:
        steps = sorted({*range(adult, end, FOLLOW_UP_SPACING), end})
        later = run_controls(organism, grown.final_states[:runs], keys[:runs], steps, tick=progress.tick)
        follow_up = _labelled(organism, later)
    return Growth(organism, config, recording, _labelled(organism, grown), follow_up)


def _labelled(organism: Organism, controls: Controls) -> xr.Dataset:
    names = ("mse_empty", "mature_cells", *(("mse",) if organism.target is not None else ()))
    dataset = xr.Dataset({name: (("run", "step"), getattr(controls, name)) for name in names}, {"step": controls.steps})
    return dataset.assign(exploded=("run", np.asarray(metrics.exploded(controls.final_states))))


def _fate(cells: int, adult_cells: int, exploded: bool) -> str:
    """What became of a body, one of `FATES`, by its number of mature cells."""
    if exploded:
        return "exploded"
    if cells == 0:
        return "died"
    if cells > metrics.OVERGROWN * adult_cells:
        return "overgrew"
    return "shrank" if cells < adult_cells / metrics.OVERGROWN else "kept"


def growth_section(growth: Growth) -> Section:
    """The body, its error over time, its film."""
    runs, followed = growth.time_course.sizes["run"], growth.follow_up.sizes.get("run", 0)
    later = f"; after it, {plural(followed, 'run')}" if followed else ""
    captions = (
        "The first run, from the seed." + ("" if growth.organism.target is None else " Right: the target."),
        f"Thin lines: {plural(runs, 'run')} up to the adult step ({growth.config.adult_step}, vertical line){later}. "
        "Thick lines: their median.",
    )
    with plots.style():
        figures = [
            svg_figure("growth", _plot_stills(growth), captions[0]),
            svg_figure("time-course", _plot_time_course(growth), captions[1]),
        ]
    frame = growth.time_course.drop_vars("exploded").to_dataframe().reset_index()
    if "mse" in frame:
        frame["log_mse"] = np.asarray(metrics.log_mse(frame.mse.values))
    film = Film("growth", webp_bytes(_film_frames(growth), fps=20), "The first run, one frame per step.")
    claims = [_body_claim(growth), *([_fate_claim(growth)] if growth.follow_up else [])]
    data = {"growth": growth.time_course, "follow-up": growth.follow_up}
    return Section(
        "growth",
        "Growth",
        claims=claims,
        films=[film],
        figures=figures,
        tables={"growth": frame},
        data={name: dataset for name, dataset in data.items() if dataset},
    )


def _measured(at_step: xr.Dataset) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Evidence and values of the runs at one step: mature cells, and log10 MSE where there is a target."""
    values = {"mature_cells": at_step.mature_cells.values}
    if "mse" in at_step:
        values["log_mse"] = np.asarray(metrics.log_mse(at_step.mse.values))
    rows = []
    for name, label in (("mature_cells", "mature cells"), ("log_mse", "log10 MSE")):
        if name in values:
            median, low, high = metrics.median_interval(values[name])
            row = {"quantity": label, "measure": f"at step {int(at_step.step)}", "value": median, "low": low}
            runs = len(values[name])
            rows.append(row | {"high": high, "n": runs, "unit": plural(runs, "run").partition(" ")[2]})
    return rows, values


def _body_claim(growth: Growth) -> Claim:
    """The body at the adult step."""
    step, runs = growth.config.adult_step, growth.config.runs
    adult = growth.time_course.sel(step=step)
    rows, values = _measured(adult)
    numbers: dict[str, Any] = values | {"exploded": adult.exploded.values}
    error = ""
    if "log_mse" in values:
        numbers["log_mse_empty"] = empty = float(metrics.log_mse(adult.mse_empty.values[0]))
        rows.append({"quantity": "log10 MSE", "measure": "of an empty canvas", "value": empty})
        error = f" and a log10 MSE of {number(float(np.median(values['log_mse'])))} (empty canvas: {number(empty)})"
    exploded, cells = int(adult.exploded.sum()), values["mature_cells"]
    note = f"{exploded} of {plural(runs, 'run')} exploded (a value beyond {metrics.EXPLODED:,.0f})." if exploded else ""
    text = f"At step {step} the body has {plural(int(np.median(cells)), 'cell')}{error}."
    if np.median(cells) == 0:
        text = f"At step {step} there is no body in {int((cells == 0).sum())} of {plural(runs, 'run')}."
    return Claim("growth", text, evidence(*rows), numbers, note)


def _fate_claim(growth: Growth) -> Claim:
    """Whether the body persists."""
    last, adult = growth.follow_up.isel(step=-1), growth.time_course.sel(step=growth.config.adult_step)
    rows, values = _measured(last)
    cells, step, exploded = values["mature_cells"].tolist(), int(last.step), last.exploded.values.tolist()
    adult_cells = adult.mature_cells.values[: len(cells)].tolist()
    fates = [_fate(*of_run) for of_run in zip(cells, adult_cells, exploded, strict=True)]
    counts = ", ".join(f"{fates.count(name)} of {len(fates)} {FATES[name]}" for name in dict.fromkeys(fates))
    text = f"Of the bodies left alone until step {step}, {counts}."
    return Claim("growth", text, evidence(*rows), values | {"fates": fates, "step": step})


def _plot_stills(growth: Growth) -> Figure:
    spec, last = growth.organism.rule.spec, growth.config.adult_step
    early = [n for n in STILLS if n < last][-5:] if last > 75 else [n for n in STILLS[:2] if n < last]
    steps = [*early, last]
    states = growth.recording.state.isel(run=0).sel(step=steps).values
    pictures = [np.asarray(metrics.picture(spec, state)) for state in states]
    titles = [f"step {n}" for n in steps]
    target = growth.organism.padded_target()
    if target is not None:
        pictures, titles = [*pictures, target], [*titles, "target"]
    return plots.plot_bodies(pictures, titles)


def _plot_time_course(growth: Growth) -> Figure:
    panels = [("mature_cells", "mature cells")]
    if "mse" in growth.time_course:
        panels.insert(0, ("mse", "log10 MSE"))
    figure, axes = plots.new_figure(1, len(panels), 2.5)
    parts = [growth.time_course, *([growth.follow_up] if growth.follow_up else [])]
    for ax, (name, label) in zip(axes[0], panels, strict=True):
        for part in parts:
            values = part[name].values
            values = np.asarray(metrics.log_mse(values)) if name == "mse" else values
            ax.plot(part.step, values.T, color=plots.BLUE, lw=0.6, alpha=0.45)
            ax.plot(part.step, np.median(values, 0), color=plots.BLUE, lw=1.8)
        if name == "mse":
            empty = float(metrics.log_mse(growth.time_course.mse_empty.values[0, 0]))
            ax.axhline(empty, color=plots.MUTED, lw=1, ls="--")
            style = {"textcoords": "offset points", "ha": "right", "va": "top", "fontsize": 8.5, "color": plots.MUTED}
            ax.annotate("empty canvas", (parts[-1].step.values[-1], empty), (0, -3), **style)
        else:
            ax.set_ylim(0, None)
        ax.set(xlabel="step", ylabel=label)
        ax.axvline(growth.config.adult_step, color=plots.FAINT, lw=0.8, zorder=0)
    return figure


def _film_frames(growth: Growth) -> np.ndarray:
    """The first run; next to it, where there are components, the same cells coloured by their first three."""
    spec = growth.organism.rule.spec
    (states,) = crop_runs([growth.recording.state.isel(run=0).values])
    scale = min(16, max(1, FILM_SIDE // max(states.shape[1:3])))
    body = render(states, spec, scale=scale, counter=False)
    try:
        components = pca(growth.recording, step=growth.config.adult_step)
    except UserError:
        return add_step_counter(body)
    shown = components.pc.values[: plots.SHOWN_COMPONENTS]
    scores = components.scores.isel(run=0).sel(step=growth.config.adult_step, pc=shown).values
    spread = np.maximum(np.nanpercentile(np.abs(scores), 98, axis=(0, 1)), 1e-9)
    on_all = components.reindex(channel=growth.recording.channel.values, fill_value=0.0)
    scaled = on_all.loadings.sel(pc=shown).values / np.where(on_all.scale.values == 0, 1, on_all.scale.values)
    directions = np.zeros((3, spec.channels))
    directions[: len(shown)] = scaled / spread[:, None]
    axes = on_all["mean"].values, directions
    colours = render(states, spec, "pca", scale=scale, counter=False, axes=axes)
    return add_step_counter(side_by_side(body, colours, ("picture", "PC" + ", ".join(map(str, shown)))))

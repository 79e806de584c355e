"""Figures of robustness with their captions, from finished results."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.assays.robustness.dose_response import PERTURBATIONS, dose_summary
from analysis.assays.robustness.run import RobustnessResult
from analysis.report import plots
from analysis.report.format import as_given, number, plural
from analysis.report.labels import add_legend
from analysis.report.model import SvgFigure, svg_figure
from analysis.report.plots import FAINT, GREEN, MUTED, ORGANISM_COLOURS

_MIN_DRAWN = -1.0  # lower fitness is drawn here


def robustness_figures(results: Sequence[RobustnessResult]) -> list[SvgFigure]:
    """The figures that there are results for."""
    makers: dict[str, Any] = {
        "dose-response": any(len(result.doses) for result in results) and _plot_dose_response,
        "perturbed-bodies": len(results) == 1 and results[0].pictures and _plot_bodies,
        "return-to-control": any(result.returns for result in results) and _plot_returns,
        "spread-between-runs": results and results[0].config.runs > 1 and _plot_spread,
    }
    with plots.style():
        return [svg_figure(name, *maker(results)) for name, maker in makers.items() if maker]


def _plot_dose_response(results: Sequence[RobustnessResult]) -> tuple[Figure, str]:
    """Fitness against dose, a panel for each perturbation, every run and the median."""
    shown = [name for name in PERTURBATIONS if any((r.doses.perturbation == name).any() for r in results)]
    rows = -(-len(shown) // 4)
    figure, axes = plots.new_figure(rows, min(4, len(shown)), 2.1 * rows + 0.5, sharey=True)
    for ax in axes.ravel()[len(shown) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.ravel(), shown, strict=False):
        label, dose_label = PERTURBATIONS[name]
        for result, colour in zip(results, ORGANISM_COLOURS * len(results), strict=False):
            doses = result.doses[result.doses.perturbation == name]
            if len(doses):
                trained = result.organism.rule.spec.fire_rate if name.startswith("fire_rate") else None
                _draw_curve(ax, doses, colour, trained)
        if name.endswith(("noise", "noise_per_step")):
            tried = sorted({dose for r in results for dose in r.doses[r.doses.perturbation == name].dose})
            ax.set_xscale("log")
            ax.set_xticks(tried, [as_given(dose) for dose in tried])
            ax.minorticks_off()
        if name in ("canvas_margin", "seed_offset"):
            ax.invert_xaxis()
        ax.axhline(1, color=GREEN, lw=1, zorder=0)
        ax.axhline(0, color=MUTED, lw=1, ls="--", zorder=0)
        ax.set(ylim=(_MIN_DRAWN - 0.08, 1.15))
        ax.set_title(label.removeprefix("a ").replace(", ", ",\n"), fontsize=8.5)
        ax.set_xlabel(dose_label, fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("fitness")
    plots.organism_legend(figure, [result.organism.name for result in results])
    config = results[0].config
    return figure, (
        f"Fitness against dose: every one of {plural(config.runs, 'run')} (dots), the median and its bootstrap "
        f"interval. Green: the control; dashed: an empty canvas; fitness below {as_given(_MIN_DRAWN)} is drawn there. "
        f"State noise acts on grown bodies and is measured {config.eval_steps} steps later; all else acts from "
        f"the seed to step {config.adult_step}. Faint vertical line: the trained fire rate, at which the curve is 1 "
        "by definition. Crosses: fitness not defined, as there was no body to lose."
    )


def _plot_bodies(results: Sequence[RobustnessResult]) -> tuple[Figure, str]:
    """The first run's body at every dose, a row for each perturbation, next to the body without it."""
    (result,) = results
    assert result.portrait is not None
    fitness = result.doses.groupby(["perturbation", "dose"]).fitness.median()
    rows = {name: sorted(dose for kind, dose in result.pictures if kind == name) for name in PERTURBATIONS}
    rows = {name: doses for name, doses in rows.items() if doses}
    columns = 1 + max(map(len, rows.values()))
    side = min(plots.WIDTH / (columns + 1), 1.3)
    figure, axes = plots.new_figure(len(rows), columns, len(rows) * (side + 0.3))
    for line, (name, doses) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.set_axis_off()
        plots.draw_body(line[0], result.portrait)
        line[0].set_title(textwrap.fill(PERTURBATIONS[name][0].removeprefix("a "), 18) + ":\nnone", fontsize=7.5)
        for ax, dose in zip(line[1:], doses, strict=False):
            plots.draw_body(ax, np.clip(np.nan_to_num(result.pictures[name, dose]), 0, 1))
            ax.set_title(f"{as_given(dose)}\n{number(float(fitness.get((name, dose), np.nan)))}", fontsize=7.5)
    return figure, (
        "The first run’s body without a perturbation, and at every dose of each; above it the dose, and the fitness "
        f"(median of {plural(result.config.runs, 'run')}; 1: as the control, 0: an empty canvas)."
    )


def _draw_curve(ax: Axes, doses: pd.DataFrame, colour: str, trained: float | None) -> None:
    """Runs as dots, the median with its interval as a line, through the trained fire rate where there is one."""
    summary = dose_summary(doses)
    if trained is not None:
        ax.axvline(trained, color=FAINT, lw=0.8, zorder=0)
        if trained not in set(summary.dose):  # that is the control, whose fitness is 1 by definition
            control = {"dose": trained, "fitness": 1.0, "fitness_low": 1.0, "fitness_high": 1.0}
            summary = pd.concat([summary, pd.DataFrame([control])], ignore_index=True)
    summary = summary.sort_values("dose")
    defined, lost = doses[doses.fitness.notna()], summary[summary.fitness.isna()]
    ax.plot(defined.dose, defined.fitness.clip(_MIN_DRAWN, None), ".", color=colour, ms=3, alpha=0.5)
    ax.plot(lost.dose, [_MIN_DRAWN] * len(lost), "x", color=colour, ms=5)
    low, high, median = (summary[f"fitness{end}"].clip(_MIN_DRAWN, None) for end in ("_low", "_high", ""))
    ax.fill_between(summary.dose, low, high, color=colour, alpha=0.15, lw=0)
    ax.plot(summary.dose, median, "o-", color=colour, ms=3, lw=1.3)


def _plot_returns(results: Sequence[RobustnessResult]) -> tuple[Figure, str]:
    """Distance to the control after noise added once, dose by dose."""
    shown = [result for result in results if result.returns]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plots.new_figure(rows, columns, 2.1 * rows + 0.6, sharey=True)
    for ax in axes.ravel()[len(shown) :]:
        ax.set_visible(False)
    for ax, result in zip(axes.ravel(), shown, strict=False):
        returns = result.returns
        after = returns.step.values - returns.step.values[0]
        for n, dose in enumerate(returns.dose.values):
            distance = returns.distance.sel(dose=dose).values
            shade = plots.DIVERGING(0.55 + 0.45 * (n + 1) / returns.sizes["dose"])
            ax.plot(after, distance.T, color=shade, lw=0.5, alpha=0.5)
            ax.plot(after, np.median(distance, 0), color=shade, lw=1.7, label=f"{dose:g} SD")
        between = np.median(returns.between_runs.values, 0)
        ax.plot(after, between, color=MUTED, lw=1.5, ls="--", label="another run")
        ax.set(yscale="log", xlabel="steps after the noise")
        ax.set_title(result.organism.name, fontsize=9)
    for ax in axes[:, 0]:
        ax.set_ylabel("distance to the control\n(of its norm)")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    add_legend(figure, handles, labels, most=6)
    return figure, (
        "Distance of all channels to the control after noise was added once to the grown body (in standard deviations "
        f"of each channel), under the same fire masks: every one of {plural(results[0].config.runs, 'run')} and the "
        "median. Dashed: distance to the control of another key."
    )


def _plot_spread(results: Sequence[RobustnessResult]) -> tuple[Figure, str]:
    """Distances between runs as bodies grow."""
    figure, axes = plots.new_figure(1, 2, 2.6, sharey=True)
    for ax, (name, title) in zip(axes[0], (("picture", "picture"), ("hidden", "hidden channels")), strict=True):
        for result, colour in zip(results, ORGANISM_COLOURS * len(results), strict=False):
            if name not in result.spread or not result.spread.sizes["pair"]:
                continue
            distance = result.spread[name].values
            ax.plot(result.spread.step, distance.T, color=colour, lw=0.4, alpha=0.35)
            ax.plot(result.spread.step, np.nanmedian(distance, 0), "o-", color=colour, ms=3, lw=1.7)
        ax.set(xlabel="step", ylim=(0, None))
        ax.set_title(title, fontsize=9)
    axes[0, 0].set_ylabel("distance between two runs\n(of their norm)")
    plots.organism_legend(figure, [result.organism.name for result in results])
    return figure, (
        f"Distance between runs as bodies grow: every pair of {plural(results[0].config.runs, 'run')} (thin) and the "
        "median, as a share of the norm of the picture (left) and of the hidden channels (right)."
    )

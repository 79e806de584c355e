"""Figures of grafts with their captions, from finished results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from analysis.assays.grafts.config import GraftConfig
from analysis.assays.grafts.grafting import COLOUR, GRAFT, HIDDEN, RANDOM, SHAM
from analysis.assays.grafts.run import GraftResult
from analysis.report import plots
from analysis.report.format import plural
from analysis.report.labels import add_legend
from analysis.report.model import SvgFigure, svg_figure
from analysis.report.plots import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE

_COLOURS = {GRAFT: ORANGE, HIDDEN: BLUE, COLOUR: GREEN, RANDOM: PURPLE, SHAM: MUTED}
_MIN_MSE = 1e-7  # a smaller MSE is drawn here


def graft_figures(result: GraftResult, suffix: str = "") -> list[SvgFigure]:
    """The figures that there are results for; the suffix ends their names."""
    makers: dict[str, Any] = {
        "grafts": _plot_gallery,
        "second-body": _plot_time_course,
        "organizer-map": result.organizers and _plot_organizers,
        "isolation-map": result.isolation and _plot_isolation,
    }
    with plots.style():
        return [svg_figure(f"{name}{suffix}", *maker(result)) for name, maker in makers.items() if maker]


def _plot_gallery(result: GraftResult) -> tuple[Figure, str]:
    """The first run after each intervention, over time; a ring where the graft was set."""
    run = result.grafts.isel(run=0)
    rows = [("ungrafted", run.picture_control.values)]
    rows += [(str(name), run.picture.sel(intervention=name).values) for name in run.intervention.values]
    alpha = np.max([pictures[..., 3].max(0) for _, pictures in rows], 0)
    ys, xs = plots.body_window(alpha > result.organism.rule.spec.threshold)
    side = plots.WIDTH / (len(run.step) + 0.5)
    aspect = (ys.stop - ys.start) / (xs.stop - xs.start)
    height = min(len(rows) * (side * aspect + 0.1) + 0.3, plots.TALLEST)
    figure, axes = plots.new_figure(len(rows), len(run.step), height)
    for line, (label, pictures) in zip(axes, rows, strict=True):
        for ax, picture, step in zip(line, pictures, run.step.values, strict=True):
            plots.draw_body(ax, picture[ys, xs], f"step {step}" if label == "ungrafted" else "")
            if label != "ungrafted":
                _draw_ring(ax, result.config, (ys, xs))
        line[0].set_ylabel(label, fontsize=8)
    step = result.config.adult_step
    return figure, f"The first run, undisturbed and after each intervention at step {step} (ring: the graft’s target)."


def _draw_ring(ax: Axes, config: GraftConfig, window: tuple[slice, slice]) -> None:
    y, x = np.asarray(config.target)
    ax.add_patch(Circle((x - window[1].start, y - window[0].start), config.radius + 0.5, fill=False, color=INK, lw=0.6))


def _plot_time_course(result: GraftResult) -> tuple[Figure, str]:
    """Share of a second body, graft retained, and MSE to the ungrafted control, over time."""
    figure, axes = plots.new_figure(1, 3, 2.7)
    steps = result.grafts.step.values
    for name in result.grafts.intervention.values[::-1]:
        for ax, measure in zip(axes[0], ("second_body", "retained", "mse"), strict=True):
            values = result.grafts[measure].sel(intervention=name)
            values = values.clip(_MIN_MSE) if measure == "mse" else values
            ax.plot(steps, values.T, color=_COLOURS[str(name)], lw=0.6, alpha=0.45)
            ax.plot(steps, values.median("run"), color=_COLOURS[str(name)], lw=1.8, label=str(name))
    axes[0, 0].set(xlabel="step", ylabel="share of a second body", ylim=(-0.03, 1.03))
    axes[0, 1].set(xlabel="step", ylabel="graft retained", ylim=(-0.6, 1.05))
    axes[0, 2].set(xlabel="step", ylabel="MSE to the ungrafted control", yscale="log")
    for ax in axes[0, :2]:
        for level in (0, 1):
            ax.axhline(level, color=FAINT, lw=0.8, zorder=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    add_legend(figure, handles[::-1], labels[::-1])
    return figure, (
        f"Every one of {plural(result.config.runs, 'run')} (thin) and the median. Left: share of the cells near the "
        "target, outside the graft, where a second body would show, that show it. Middle: 1 as in the donor’s own run, "
        "0 as far from it as the ungrafted host. Right: MSE to the ungrafted control, which shares all fire masks; no "
        "difference is drawn at 10⁻⁷. Sham and random are the nulls."
    )


def _plot_organizers(result: GraftResult) -> tuple[Figure, str]:
    """Where on the body a disc makes a second body at the target, and what grows from three of them."""
    data = result.organizers
    medians = data.second_body.median("run").values
    defined = np.flatnonzero(np.isfinite(medians))
    ranked = defined[np.argsort(medians[defined])[::-1]]
    shown = [int(n) for n in ranked[[0, len(ranked) // 2, -1]]] if len(ranked) else []
    titles = ["share of a second body"]
    figure = _map_figure(data, titles, medians[None], [data.radius.values[0]], shown, titles[0], result.config)
    config, (y, x) = result.config, np.asarray(result.config.target)
    return figure, (
        f"Discs of radius {config.radius:g} from all over the body, each set at {y:g},{x:g} at step "
        f"{config.adult_step}: share of a second body {config.eval_steps} steps later, in the colour of the nearest "
        f"point a disc came from, median of {plural(data.sizes['run'], 'run')} a point. Right: what grew from the "
        "best, the middle and the last of them in the first run (ring: the graft). Crosses: too near to be measured; "
        "the bar is as long as a disc is wide."
    )


def _plot_isolation(result: GraftResult) -> tuple[Figure, str]:
    """Which disc alone rebuilds the body, and what the best of each radius made."""
    data = result.isolation
    radii = sorted(set(data.radius.values.tolist()))
    medians = data.fit.median("run").values
    maps = np.stack([np.where(data.radius.values == radius, medians, np.nan) for radius in radii])
    shown = [int(np.nanargmax(row)) for row in maps if np.isfinite(row).any()]
    figure = _map_figure(data, [f"radius {r:g}" for r in radii], maps, radii, shown, "fitness (orange: below 0)")
    return figure, (
        f"Discs left alone at step {result.config.adult_step}: fitness, {result.config.eval_steps} steps later, of the "
        "body that fits best what grew, in the colour of the nearest disc’s centre, median of "
        f"{plural(data.sizes['run'], 'run')} a point; and what the best of each radius made in the first run. Bars are "
        "as long as the discs are wide."
    )


def _map_figure(
    data: xr.Dataset,
    titles: Sequence[str],
    maps: np.ndarray,
    radii: Sequence[float],
    shown: Sequence[int],
    label: str,
    ring: GraftConfig | None = None,
) -> Figure:
    """Maps over the body, and pictures of what grew at the points `shown`, ringed where the graft of `ring` was."""
    body = data.body.values
    window = plots.body_window(body)
    grown = plots.body_window(data.picture.values[shown, ..., 3].max(0) > 0.1) if shown else window
    columns = len(titles) + len(shown)
    aspect = max((w[0].stop - w[0].start) / (w[1].stop - w[1].start) for w in (window, grown))
    figure, axes = plots.new_figure(1, columns, (plots.WIDTH - 0.8) / columns * aspect + 0.7)
    centres, image = np.stack([data.centre_y.values, data.centre_x.values], -1), None
    for ax, title, values, radius in zip(axes[0], titles, maps, radii, strict=False):
        own = data.radius.values == radius
        image = plots.nearest_map(ax, body, centres[own], values[own], window, radius)
        ax.set_title(title, fontsize=8.5)
    for ax, n in zip(axes[0, len(titles) :], shown, strict=True):
        plots.draw_body(ax, data.picture.values[n][grown])
        value = np.nanmax(maps[:, n])
        ax.set_title(f"from {data.centre_y.values[n]:g},{data.centre_x.values[n]:g}: {value:.2f}", fontsize=8.5)
        if ring:
            _draw_ring(ax, ring, grown)
    for ax in axes[0]:
        ax.set_anchor("N")
    plots.add_colour_bar(axes, image, label, extend="neither" if ring else "min")
    return figure

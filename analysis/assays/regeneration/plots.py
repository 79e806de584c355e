"""Figures of regeneration: each takes finished results of one organism or several, and returns a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.assays.regeneration.cuts import REACH, REGENERATED
from analysis.assays.regeneration.recovery_time import kaplan_meier, recovery_times, wound_table
from analysis.assays.regeneration.run import RegenerationResult
from analysis.report import plots
from analysis.report.format import as_given, plural
from analysis.report.model import SvgFigure, svg_figure
from analysis.report.plots import FAINT, GREEN, MUTED, ORGANISM_COLOURS
from nca.damage import CUTS

_LEAST, _MOST = -1.0, 1.25  # of recovered, in the figure of the cuts
_RECOVERED = "recovered (orange: below 0)"
_MAX_COLUMNS = 6  # organisms beside each other


def regeneration_figures(results: Sequence[RegenerationResult]) -> list[SvgFigure]:
    """The figures that there are results for."""
    makers: dict[str, Any] = {
        "five-cuts": results and _plot_cuts,
        "cut-portraits": results and _plot_portraits,
        "time-to-regenerate": results and _plot_recovery_times,
        "half-planes": any(result.half_planes for result in results) and _plot_half_planes,
        "wound-map": any(result.holes for result in results) and _plot_wound_map,
    }
    with plots.style():
        return [svg_figure(name, *maker(results)) for name, maker in makers.items() if maker]


def _plot_cuts(results: Sequence[RegenerationResult]) -> tuple[Figure, str]:
    """Recovered after each cut, every run, organism by organism."""
    figure, axes = plots.new_figure(1, 1, 1.2 + 0.2 * len(CUTS) * (1 + len(results)))
    ax, pitch, least = axes[0, 0], 0.8 / len(results), 0.0
    for n, (result, colour) in enumerate(zip(results, ORGANISM_COLOURS * len(results), strict=False)):
        for row, name in enumerate(CUTS):
            recovered = result.cuts.recovered.sel(wound=name).values
            displaced = result.cuts.recovered_displaced.sel(wound=name).values
            _runs_and_median(ax, recovered, displaced, row - 0.4 + pitch * (n + 0.5), pitch, colour)
            least = min([least, *recovered[~np.isnan(recovered)]])
    for row in range(1, len(CUTS)):
        ax.axhline(row - 0.5, color=FAINT, lw=0.5)
    ax.axvline(1, color=GREEN, lw=1, zorder=0)
    ax.axvline(0, color=MUTED, lw=1, ls="--", zorder=0)
    ax.set_yticks(range(len(CUTS)), CUTS)
    left = _LEAST - 0.12 if least < -0.1 else -0.12
    ax.set(ylim=(len(CUTS) - 0.5, -0.5), xlim=(left, _MOST), xlabel="recovered", ylabel="cut")
    ax.tick_params(axis="y", length=0)
    plots.organism_legend(figure, [result.organism.name for result in results])
    config = results[0].config
    cuts = [result.cuts.sel(wound=list(CUTS)) for result in results]
    if any(((c.recovered < REGENERATED) & (c.recovered_displaced >= REGENERATED)).any() for c in cuts):
        moved = f" Crosses: the same body, were it moved by up to {REACH} cells: it is whole, but displaced."
    else:
        moved = ""
    arrows = f" Arrow heads at the left: runs below {as_given(_LEAST)}." if least < _LEAST else ""
    return figure, (
        f"Share of the damage recovered {config.eval_steps} steps after each of five cuts at step {config.adult_step}: "
        f"each of {plural(config.runs, 'run')} (circles) and the median (bar). 0 (dashed) is as cut, 1 (green) as good "
        f"as the uncut control of the same key.{moved}{arrows}"
    )


def _runs_and_median(
    ax: Axes, values: np.ndarray, displaced: np.ndarray, height: float, pitch: float, colour: str
) -> None:
    """Every run as a circle, below the axis as an arrow head at the left; the median as a bar; a cross where the body
    would be, were its displacement forgiven."""
    displaced, defined = displaced[~np.isnan(values)], values[~np.isnan(values)]
    if not defined.size:
        ax.annotate("not defined", (0.02, height), va="center", color=colour, fontsize=7.5)
        return
    heights = height + pitch * (np.linspace(-0.28, 0.28, len(defined)) if len(defined) > 1 else np.zeros(1))
    inside, moved = defined >= _LEAST, (displaced >= REGENERATED) & (defined < REGENERATED)
    ax.hlines(heights[moved], defined[moved].clip(_LEAST), displaced[moved], color=colour, lw=0.6, ls=":")
    ax.plot(displaced[moved], heights[moved], "x", color=colour, ms=4)
    ax.plot(defined[inside], heights[inside], "o", color=colour, ms=4, mfc="none", mew=1.1)
    ax.plot(np.full((~inside).sum(), _LEAST - 0.06), heights[~inside], "<", color=colour, ms=4)
    median = np.median(defined)
    if median >= _LEAST:
        ax.plot([median] * 2, [height - 0.42 * pitch, height + 0.42 * pitch], color=colour, lw=2.2)


def _plot_recovery_times(results: Sequence[RegenerationResult]) -> tuple[Figure, str]:
    """Kaplan-Meier curves of the time to regenerate, cut by cut."""
    figure, axes = plots.new_figure(1, len(CUTS), 2.5, sharey=True, sharex=True)
    for ax, name in zip(axes[0], CUTS, strict=True):
        for result, colour in zip(results, ORGANISM_COLOURS * len(results), strict=False):
            times, censored = recovery_times(result.cuts.sel(wound=[name]))
            steps, share, low, high = kaplan_meier(times[0], censored[0])
            if not steps.size:
                continue
            steps = np.append(steps, max(steps[-1], result.config.eval_steps))
            # Each level is drawn to the next step, so that a band without a level ends where its share does.
            at = np.repeat(steps, 2)[1:-1]
            band = [np.repeat(bound, 2) for bound in (low, high)]
            ax.fill_between(at, *band, color=colour, alpha=0.14, lw=0)
            ax.plot(at, np.repeat(share, 2), color=colour, lw=1.6)
        ax.set_title(name)
        ax.set(ylim=(-0.03, 1.03))
    axes[0, 0].set_yticks([0, 0.5, 1])
    axes[0, 0].set_ylabel("share not yet\nregenerated")
    axes[0, len(CUTS) // 2].set_xlabel("steps after the cut")
    plots.organism_legend(figure, [result.organism.name for result in results])
    config = results[0].config
    return figure, (
        "Kaplan-Meier curves of the steps until 90 % of the damage is recovered, measured every 20 steps over "
        f"{plural(config.runs, 'run')}, with 95 % intervals (log-log; none where the share is 0). Runs that never get "
        f"there are censored after {config.eval_steps} steps."
    )


def _plot_portraits(results: Sequence[RegenerationResult]) -> tuple[Figure, str]:
    """The first run, cut by cut: just after, when measured, and at the follow-up."""
    rows: list[tuple[str, Any, Any, tuple[slice, slice]]] = []
    for result in results:
        config, cuts, late = result.config, result.cuts, result.follow_up
        pictures = [cuts.picture_before, cuts.picture_control, cuts.picture_end.max("wound")]
        pictures += [late.picture_control, late.picture_end.max("wound")] if late else []
        window = plots.body_window(np.max([picture.values[..., 3] for picture in pictures], 0) > 0.1)
        label = f"{result.organism.name}\nstep {config.adult_step}"
        rows.append((label, cuts.picture_before, cuts.picture_cut, window))
        rows.append((f"step {config.end_step}", cuts.picture_control, cuts.picture_end, window))
        if late:
            rows.append((f"step {config.follow_up_step}", late.picture_control, late.picture_end, window))
    tall = max((w[0].stop - w[0].start) / (w[1].stop - w[1].start) for *_, w in rows)
    side = plots.WIDTH / (len(CUTS) + 1.6)
    figure, axes = plots.new_figure(len(rows), len(CUTS) + 1, len(rows) * (side * tall + 0.12) + 0.35)
    for line, (label, uncut, cut, window) in zip(axes, rows, strict=True):
        plots.draw_body(line[0], uncut.values[window])
        for ax, name in zip(line[1:], CUTS, strict=True):
            plots.draw_body(ax, cut.sel(wound=name).values[window])
        line[0].set_ylabel(label, fontsize=7)
    for ax, name in zip(axes[0], ("uncut", *CUTS), strict=True):
        ax.set_title(name)
    names = ", ".join(result.organism.name for result in results)
    later = "at later steps" if any(result.follow_up for result in results) else f"at step {results[0].config.end_step}"
    return figure, f"The first run of {names}: just after each cut, and {later}; at the left the uncut control."


def _plot_half_planes(results: Sequence[RegenerationResult]) -> tuple[Figure, str]:
    """Recovered by angle and offset of a half plane."""
    shown = [result for result in results if result.half_planes]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plots.new_figure(rows, columns, 0.7 + 2.2 * rows, sharex=True)
    for ax in axes.ravel()[len(shown) :]:
        ax.set_visible(False)
    for ax, result in zip(axes.ravel(), shown, strict=False):
        table = wound_table(result.half_planes)
        grid = table.pivot(index="offset", columns="angle", values="recovered")
        image = ax.imshow(grid, origin="lower", aspect="auto", **plots.RECOVERED)
        lost = table[table.recovered.isna()]
        ax.plot(grid.columns.get_indexer(lost.angle), grid.index.get_indexer(lost.offset), "x", color=MUTED, ms=4)
        spacing = max(1, len(grid.columns) // 4)
        ax.set_xticks(range(0, len(grid.columns), spacing), [f"{a:g}" for a in grid.columns[::spacing]])
        ax.set_yticks(range(len(grid)), [f"{o:+g}".replace("-", "−") if o else "0" for o in grid.index])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(result.organism.name)
    for ax in axes[:, 0]:
        ax.set_ylabel("offset (cells)")
    for ax in axes[-1]:
        ax.set_xlabel("direction cut away (degrees; 0 right, 90 down)" if columns == 1 else "direction (°)")
    plots.add_colour_bar(axes, image, _RECOVERED, extend="min")
    return figure, (
        f"Share recovered after half planes are cut away, median of {plural(results[0].config.map_runs, 'run')}: by "
        "direction (0° right, 90° down), and by the offset of the edge from the canvas’s middle (negative takes more "
        "than half). Crosses: not defined."
    )


def _plot_wound_map(results: Sequence[RegenerationResult]) -> tuple[Figure, str]:
    """Recovered by the place of a hole, drawn on the body: a row for each radius where there are several organisms."""
    shown = [result for result in results if result.holes]
    tables = [wound_table(result.holes) for result in shown]
    radii = sorted({radius for table in tables for radius in table.radius})
    windows = [plots.body_window(result.holes.body.values) for result in shown]
    tall = max((w[0].stop - w[0].start) / (w[1].stop - w[1].start) for w in windows)
    side = min(2.6, (plots.WIDTH - 0.8) / max(len(radii), min(len(shown), _MAX_COLUMNS)))
    several = 1 < len(shown) <= _MAX_COLUMNS
    rows, columns = (len(radii), len(shown)) if several else (len(shown), len(radii))
    figure, axes = plots.new_figure(rows, columns, rows * (side * tall + 0.25) + 0.5)
    grid = axes if several else axes.T
    for column, result, table, window in zip(grid.T, shown, tables, windows, strict=True):
        for ax, radius in zip(column, radii, strict=True):
            holes = table[table.radius == radius]
            centres = holes[["centre_y", "centre_x"]].to_numpy()
            body = result.holes.body.values
            image = plots.nearest_map(ax, body, centres, holes.recovered.to_numpy(), window, radius)
        if len(shown) > 1:
            (column[0].set_title if several else column[0].set_ylabel)(result.organism.name)
    for ax, radius in zip(grid[:, 0], radii, strict=True):
        (ax.set_ylabel if several else ax.set_title)(f"hole of radius {radius:g} cells")
    plots.add_colour_bar(axes, image, _RECOVERED, extend="min")
    return figure, (
        "Where a hole does not regenerate: each cell of the body has the colour of the nearest hole (dots: centres), "
        f"median of {plural(results[0].config.map_runs, 'run')}; the bar below is as long as the hole is wide. "
        "Crosses: not defined."
    )

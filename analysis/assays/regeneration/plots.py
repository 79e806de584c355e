"""Figures of regeneration, from finished results: nothing is computed here but where to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import metrics
from analysis.assays.regeneration import wounds as healing
from analysis.assays.regeneration.regeneration import MARGIN
from analysis.assays.regeneration.wounds import Healing
from analysis.report import plots
from analysis.report.plots import FAINT, GREEN, INK, MUTED, ORANGE
from nca.damage import CUTS

COLOURS = (plots.BLUE, ORANGE, GREEN, plots.PURPLE, "#e69f00", "#56b4e9", INK, MUTED)
LEAST, MOST = -1.0, 1.25
SHADES = ["#efe9dc", "#9ecae1", "#2171b5", "#08306b"]
RECOVERED = LinearSegmentedColormap.from_list("recovered", SHADES).with_extremes(under=ORANGE)


def colour_of(number: int) -> str:
    """The colour of the n-th organism."""
    return COLOURS[number % len(COLOURS)]


def named(made: Figure, names: Sequence[str]) -> None:
    """A legend of organisms below a figure."""
    marks = [Line2D([], [], color=colour_of(n), marker="o", mfc="none", lw=1.6) for n in range(len(names))]
    made.legend(marks, names, loc="outside lower center", ncols=min(4, len(names)))


def cuts(found: Sequence[Healing]) -> Figure:
    """Recovered after each cut, every key, organism by organism."""
    made, axes = plots.figure(1, 1, 1.2 + 0.2 * len(CUTS) * (1 + len(found)))
    ax = axes[0, 0]
    pitch = 0.8 / len(found)
    for n, one in enumerate(found):
        for row, name in enumerate(CUTS):
            keys = one.cuts.recovered.sel(wound=name).values
            strip(ax, keys, row - 0.4 + pitch * (n + 0.5), pitch, colour_of(n))
    for row in range(1, len(CUTS)):
        ax.axhline(row - 0.5, color=FAINT, lw=0.5)
    ax.axvline(1, color=GREEN, lw=1, zorder=0)
    ax.axvline(0, color=MUTED, lw=1, ls="--", zorder=0)
    ax.set_yticks(range(len(CUTS)), CUTS)
    known = np.concatenate([one.cuts.recovered.sel(wound=list(CUTS)).values.ravel() for one in found])
    left = LEAST - 0.12 if (known < -0.1).any() else -0.12
    ax.set(ylim=(len(CUTS) - 0.5, -0.5), xlim=(left, MOST), xlabel="recovered", ylabel="cut")
    ax.tick_params(axis="y", length=0)
    named(made, [one.organism.name for one in found])
    return made


def strip(ax: Axes, keys: np.ndarray, height: float, pitch: float, colour: str) -> None:
    """Every key as a circle, at the left edge as an arrow head; the median as a bar."""
    known = keys[~np.isnan(keys)]
    if not known.size:
        ax.annotate("not defined", (0.02, height), va="center", color=colour, fontsize=7.5)
        return
    spread = height + pitch * (np.linspace(-0.28, 0.28, len(known)) if len(known) > 1 else np.zeros(1))
    inside = known >= LEAST
    ax.plot(known[inside], spread[inside], "o", color=colour, ms=4, mfc="none", mew=1.1)
    ax.plot(np.full((~inside).sum(), LEAST - 0.06), spread[~inside], "<", color=colour, ms=4)
    middle = np.median(known)
    if middle >= LEAST:
        ax.plot([middle] * 2, [height - 0.42 * pitch, height + 0.42 * pitch], color=colour, lw=2.2)


def times(found: Sequence[Healing]) -> Figure:
    """Kaplan-Meier curves of healing, cut by cut."""
    made, axes = plots.figure(1, len(CUTS), 2.5, sharey=True, sharex=True)
    for ax, name in zip(axes[0], CUTS, strict=True):
        for n, one in enumerate(found):
            wound = one.cuts.wound.values.tolist().index(name)
            steps, censored = (v[wound] for v in healing.time_to_heal(one.cuts))
            when, share, low, high = healing.survival(steps, censored)
            if not when.size:
                continue
            end = one.config.until - one.config.cut_at
            when, share, low, high = (np.append(v, v[-1]) for v in (when, share, low, high))
            when[-1] = max(when[-1], end)
            ax.fill_between(when, low, high, step="post", color=colour_of(n), alpha=0.14, lw=0)
            ax.step(when, share, where="post", color=colour_of(n), lw=1.6)
        ax.set_title(name)
        ax.set(ylim=(-0.03, 1.03))
    axes[0, 0].set_ylabel("share not yet healed")
    axes[0, len(CUTS) // 2].set_xlabel("steps after the cut")
    named(made, [one.organism.name for one in found])
    return made


def portraits(found: Sequence[Healing]) -> Figure:
    """The first run, cut by cut: just after, when judged, and late."""
    rows: list[tuple[str, Any, Any]] = []
    for one in found:
        rows.append((f"{one.organism.name}\nstep {one.config.cut_at}", one.cuts.picture_before, one.cuts.picture_cut))
        rows.append((f"step {one.config.until}", one.cuts.picture_twin, one.cuts.picture_end))
        if one.fates:
            rows.append((f"step {one.config.late}", one.fates.picture_twin, one.fates.picture_end))
    windows = [_window(one) for one in found for _ in range(3 if one.fates else 2)]
    tall = max((w[0].stop - w[0].start) / (w[1].stop - w[1].start) for w in windows)
    side = plots.WIDTH / (len(CUTS) + 1.6)
    made, axes = plots.figure(len(rows), len(CUTS) + 1, len(rows) * (side * tall + 0.12) + 0.35)
    for line, (label, uncut, wounded), (ys, xs) in zip(axes, rows, windows, strict=True):
        plots.body(line[0], uncut.values[ys, xs])
        for ax, name in zip(line[1:], CUTS, strict=True):
            plots.body(ax, wounded.sel(wound=name).values[ys, xs])
        line[0].set_ylabel(label, fontsize=7)
    for ax, name in zip(axes[0], ("uncut", *CUTS), strict=True):
        ax.set_title(name)
    return made


def _window(one: Healing) -> tuple[slice, slice]:
    """Rows and columns that hold an organism's bodies at all times shown."""
    alphas = [one.cuts.picture_before, one.cuts.picture_twin, one.cuts.picture_end.max("wound")]
    if one.fates:
        alphas += [one.fates.picture_twin, one.fates.picture_end.max("wound")]
    return plots.window(np.max([a.values[..., 3] for a in alphas], 0) > 0.1)


def planes(found: Sequence[Healing]) -> Figure:
    """Recovered by angle and offset of a half plane."""
    shown = [one for one in found if one.planes]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    made, axes = plots.figure(lines, columns, 0.7 + 2.2 * lines, sharex=True)
    for ax in axes.ravel()[len(shown) :]:
        ax.set_visible(False)
    image = None
    for ax, one in zip(axes.ravel(), shown, strict=False):
        image = plane_map(ax, one.planes)
        ax.set_title(one.organism.name)
    for ax in axes[:, 0]:
        ax.set_ylabel("offset (cells)")
    axes[-1, 0].set_xlabel("direction cut away (degrees; 0 right, 90 down)" if columns == 1 else "direction (°)")
    for ax in axes[-1, 1:]:
        ax.set_xlabel("direction (°)")
    recovered_bar(axes, image)
    return made


def plane_map(ax: Axes, found: Any) -> Any:
    """Medians over keys as squares, by angle and offset; a cross where nothing is defined."""
    angles, offsets = (sorted(set(found[name].values.tolist())) for name in ("angle", "offset"))
    grid = np.full((len(offsets), len(angles)), np.nan)
    for w in range(found.sizes["wound"]):
        at = offsets.index(float(found.offset[w])), angles.index(float(found.angle[w]))
        grid[at] = metrics.median_interval(found.recovered.values[w], resamples=1)[0]
        if not np.isfinite(grid[at]):
            ax.plot(at[1], at[0], "x", color=MUTED, ms=4)
    image = squares(ax, grid)
    every = max(1, len(angles) // 4)
    ax.set_xticks(range(0, len(angles), every), [f"{a:g}" for a in angles[::every]])
    ax.set_yticks(range(len(offsets)), [f"{o:+g}".replace("-", "−") if o else "0" for o in offsets])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def holes(found: Sequence[Healing]) -> Figure:
    """Recovered by place of a hole, drawn on the body."""
    shown = [one for one in found if one.holes]
    radii = sorted({r for one in shown for r in one.holes.radius.values.tolist()})
    spans = [plots.window(one.holes.body.values) for one in shown]
    tall = max((w[0].stop - w[0].start) / (w[1].stop - w[1].start) for w in spans)
    side = min(2.6, (plots.WIDTH - 0.8) / max(len(radii), len(shown)))
    across = len(shown) > 1
    lines, columns = (len(radii), len(shown)) if across else (1, len(radii))
    made, axes = plots.figure(lines, columns, lines * (side * tall + 0.25) + 0.5)
    grid = axes if across else axes.T
    image = None
    for n, one in enumerate(shown):
        for r, radius in enumerate(radii):
            ax = grid[r, n]
            image = hole_map(ax, one.holes, radius, spans[n])
            if r == 0 and across:
                ax.set_title(one.organism.name)
            if n == 0:
                (ax.set_ylabel if across else ax.set_title)(f"hole of radius {radius:g} cells")
    recovered_bar(axes, image)
    return made


def hole_map(ax: Axes, found: Any, radius: float, span: tuple[slice, slice]) -> Any:
    """Each cell of the body coloured as the nearest hole's middle."""
    one = found.sel(wound=found.radius == radius)
    places = np.stack([one.at_y.values, one.at_x.values], -1)
    medians = np.array([metrics.median_interval(keys, resamples=1)[0] for keys in one.recovered.values])
    return nearest_map(ax, found.body.values, places, medians, span, radius)


def nearest_map(
    ax: Axes,
    inside: np.ndarray,
    places: np.ndarray,
    values: np.ndarray,
    span: tuple[slice, slice],
    radius: float,
) -> Any:
    """Each cell of a body (y, x) in the colour of the nearest place (place, 2).

    Places are dots, or crosses where there is no value; below is a bar as long as a disc is wide.
    """
    shown = np.full(inside.shape, np.nan)
    if len(places):
        cells = np.argwhere(inside)
        shown[inside] = values[np.square(cells[:, None] - places[None]).sum(-1).argmin(1)]
    image = squares(ax, shown[span])
    ax.set_aspect("equal")
    ax.invert_yaxis()
    plots.outline(ax, inside[span])
    corner = np.array([span[0].start, span[1].start])
    for place, value in zip(places - corner, values, strict=True):
        looks: dict[str, Any] = {"marker": ".", "ms": 2} if np.isfinite(value) else {"marker": "x", "ms": 4}
        ax.plot(place[1], place[0], color=MUTED, **looks)
    below = span[0].stop - span[0].start + 1.5
    ax.plot([0, 2 * radius], [below] * 2, color=INK, lw=1.5, solid_capstyle="butt", clip_on=False)
    plots.bare(ax)
    return image


def squares(ax: Axes, values: np.ndarray) -> Any:
    """Values (row, column) as squares about whole numbers, NaN left empty."""
    edges = [np.arange(n + 1) - 0.5 for n in values.shape[::-1]]
    return ax.pcolormesh(*edges, np.ma.masked_invalid(values), cmap=RECOVERED, vmin=0, vmax=1, lw=0.4, edgecolor="face")


def recovered_bar(axes: Any, image: Any, label: str = "recovered (orange: below 0)", below: bool = True) -> None:
    """The scale of recovered, with a tip for what is below 0 where that can be."""
    first = np.ravel(axes)[0]
    tip = "min" if below else "neither"
    bar = first.figure.colorbar(image, ax=axes, extend=tip, fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(label)


def drawn_wounds(one: Healing) -> list[str]:
    """The wounds that figures show: not the control."""
    return [str(n) for n in one.cuts.wound.values if n != MARGIN]

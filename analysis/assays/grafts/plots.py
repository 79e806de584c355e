"""Figures of grafts, from finished results."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from analysis.assays.grafts.operations import COLOUR, GRAFT, HIDDEN, RANDOM, SHAM
from analysis.assays.grafts.transplants import Grafted
from analysis.assays.regeneration.plots import nearest_map, recovered_bar
from analysis.report import plots
from analysis.report.plots import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE

LOOKS = {GRAFT: ORANGE, HIDDEN: BLUE, COLOUR: GREEN, RANDOM: PURPLE, SHAM: MUTED}


def gallery(found: Grafted) -> Figure:
    """The first run after each kind of graft, as it goes on; a ring where the graft was set."""
    one = found.grafts.isel(run=0)
    rows = [("ungrafted", one.picture_twin.values)]
    rows += [(str(k), one.picture.sel(kind=k).values) for k in one.kind.values]
    alpha = np.max([pictures[..., 3].max(0) for _, pictures in rows], 0)
    ys, xs = plots.window(alpha > found.host.rule.spec.threshold)
    columns = len(one.time)
    tall = (ys.stop - ys.start) / (xs.stop - xs.start)
    side = plots.WIDTH / (columns + 0.5)
    height = min(len(rows) * (side * tall + 0.1) + 0.3, plots.TALLEST)
    made, axes = plots.figure(len(rows), columns, height)
    for line, (label, pictures) in zip(axes, rows, strict=True):
        for ax, picture, step in zip(line, pictures, one.time.values, strict=True):
            plots.body(ax, picture[ys, xs], f"step {step}" if label == "ungrafted" else "")
            if label != "ungrafted":
                ring(ax, found, ys.start, xs.start)
        line[0].set_ylabel(label, fontsize=8)
    return made


def ring(ax: Axes, found: Grafted, top: int, left: int) -> None:
    """Where the graft was set."""
    y, x = found.config.place
    ax.add_patch(Circle((x - left, y - top), found.config.radius + 0.5, fill=False, color=INK, lw=0.6))


def course(found: Grafted) -> Figure:
    """Share of a second body, and distance to the ungrafted twin, over time."""
    made, axes = plots.figure(1, 3, 2.7)
    time = found.grafts.time.values
    for kind in found.grafts.kind.values[::-1]:
        one = found.grafts.sel(kind=kind)
        for ax, name in zip(axes[0], ("second", "kept", "distance"), strict=True):
            values = one[name].values
            if name == "distance":
                values = np.maximum(values, 1e-7)
            colour = LOOKS[str(kind)]
            ax.plot(time, values.T, color=colour, lw=0.6, alpha=0.45)
            ax.plot(time, _medians(values), color=colour, lw=1.8, label=str(kind))
    axes[0, 0].set(xlabel="step", ylabel="share of a second body", ylim=(-0.03, 1.03))
    axes[0, 1].set(xlabel="step", ylabel="graft kept", ylim=(-0.6, 1.05))
    axes[0, 2].set(xlabel="step", ylabel="E to the ungrafted twin", yscale="log")
    for ax, levels in ((axes[0, 0], (0, 1)), (axes[0, 1], (0, 1))):
        for level in levels:
            ax.axhline(level, color=FAINT, lw=0.8, zorder=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=5)
    return made


def _medians(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.array([np.median(v[k]) if k.any() else np.nan for v, k in zip(values.T, known.T, strict=True)])


def organizers(found: Grafted) -> Figure:
    """Where on the body a disc makes a second body at the graft's place, and what grows from some."""
    one = found.organizers
    medians = _medians(one.second.values.T)
    known = np.flatnonzero(np.isfinite(medians))
    ranked = known[np.argsort(medians[known])[::-1]]
    picked = [int(n) for n in ranked[[0, len(ranked) // 2, -1]]] if len(ranked) else []
    made, axes = mapped(one, ["second"], medians[None], [one.radius.values[0]], picked, found, True)
    for ax, n in zip(axes[0, 1:], picked, strict=True):
        ax.set_title(f"from {one.at_y.values[n]:g},{one.at_x.values[n]:g}: {medians[n]:.2f}", fontsize=8.5)
    return made


def isolation(found: Grafted) -> Figure:
    """Which disc alone rebuilds the whole, and what the best of them made."""
    one = found.isolation
    radii = sorted(set(one.radius.values.tolist()))
    medians = _medians(one.fit.values.T)
    rows = np.stack([np.where(one.radius.values == r, medians, np.nan) for r in radii])
    picked = [int(np.nanargmax(row)) for row in rows if np.isfinite(row).any()]
    made, axes = mapped(one, [f"radius {r:g}" for r in radii], rows, radii, picked, found, False)
    for ax, n in zip(axes[0, len(radii) :], picked, strict=True):
        ax.set_title(f"from {one.at_y.values[n]:g},{one.at_x.values[n]:g}: {medians[n]:.2f}", fontsize=8.5)
    return made


def mapped(
    one: Any, titles: list[str], rows: np.ndarray, radii: Any, picked: list[int], found: Grafted, ringed: bool
) -> tuple[Figure, np.ndarray]:
    """Maps over the body beside pictures of what grew at some places."""
    inside = one.body.values
    span = plots.window(inside)
    alpha = one.picture.values[..., 3]
    wide = plots.window(alpha[picked].max(0) > 0.1) if picked else span
    many = len(titles) + len(picked)
    tall = max((s[0].stop - s[0].start) / (s[1].stop - s[1].start) for s in (span, wide))
    made, axes = plots.figure(1, many, (plots.WIDTH - 0.8) / many * tall + 0.7)
    image = None
    places = np.stack([one.at_y.values, one.at_x.values], -1)
    for ax, title, values, radius in zip(axes[0], titles, rows, radii, strict=False):
        mine = one.radius.values == radius
        image = nearest_map(ax, inside, places[mine], values[mine], span, radius)
        ax.set_title("share of a second body" if ringed else title, fontsize=8.5)
    for ax, n in zip(axes[0, len(titles) :], picked, strict=True):
        plots.body(ax, one.picture.values[n][wide])
        if ringed:
            ring(ax, found, wide[0].start, wide[1].start)
    for ax in axes[0]:
        ax.set_anchor("N")
    if ringed:
        recovered_bar(axes, image, "share of a second body", below=False)
    else:
        recovered_bar(axes, image, "W (orange: below 0)")
    return made, axes

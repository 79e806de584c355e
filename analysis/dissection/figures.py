"""The figures of a report: finished results laid out, with what to read in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from analysis import metrics
from analysis.assays.lesions import first as lesions
from analysis.assays.regeneration.regeneration import MARGIN
from analysis.dissection.examination import Examination
from analysis.report import format, plots
from analysis.report.model import SvgFigure, svg_figure

SHOWN_STEPS = (10, 20, 30, 50, 75, 96, 150, 200, 400, 1000, 2000)
ABOVE = {"textcoords": "offset points", "ha": "right", "fontsize": 8.5, "color": plots.MUTED}
CUT_COLOURS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PURPLE, "#e69f00")


def draw(found: Examination) -> dict[str, SvgFigure]:
    """Every figure that there are results for, by name."""
    makers: dict[str, tuple[bool, Callable[[Examination], tuple[Figure, str]]]] = {
        "growth": (True, growth),
        "course": (True, course),
        "lesions": (bool(found.sweep), lesion_sweep),
        "cuts": (bool(found.wounds), cuts),
        "recovery": (bool(found.wounds), recovery),
    }
    drawn = {}
    with plots.style():
        for name, (known, maker) in makers.items():
            if known:
                made, caption = maker(found)
                drawn[name] = svg_figure(name, made, caption)
    return drawn


def growth(found: Examination) -> tuple[Figure, str]:
    """Stills of the first run."""
    spec, recording = found.organism.rule.spec, found.recording
    steps = shown_steps(found)
    states = recording.state.isel(run=0).sel(step=steps).values
    pictures = [np.asarray(metrics.picture(spec, s)) for s in states]
    titles = [f"step {n}" for n in steps]
    target = found.organism.picture()
    if target is not None:
        pictures.append(target)
        titles.append("target")
    seen = np.any([p[..., 3] > spec.threshold for p in pictures], axis=0)
    rows, columns = plots.window(seen)
    made, axes = plots.figure(1, len(pictures), 1.0 + 0.5 * (rows.stop - rows.start) / (columns.stop - columns.start))
    for ax, picture, title in zip(axes[0], pictures, titles, strict=True):
        plots.body(ax, picture[rows, columns], title)
    return made, "The first run, from one seed." + (" Right: the target." if target is not None else "")


def shown_steps(found: Examination, most: int = 6) -> list[int]:
    """Steps worth a still, the last one among them."""
    last = found.config.steps
    steps = [n for n in SHOWN_STEPS if n < last][-(most - 1) :] if last > 75 else list(SHOWN_STEPS[:2])
    return sorted({n for n in steps if n < last} | {last})


def course(found: Examination) -> tuple[Figure, str]:
    """Error and size over time."""
    growth, target = found.growth, found.organism.target is not None
    made, axes = plots.figure(1, 2 if target else 1, 2.5)
    time = growth.time.values
    if target:
        e = np.asarray(metrics.log_mse(growth.e.values))
        plots.keys_and_median(axes[0, 0], time, e, plots.BLUE)
        empty = float(metrics.log_mse(growth.dead.values[0, 0]))
        axes[0, 0].axhline(empty, color=plots.MUTED, lw=1, ls="--")
        axes[0, 0].annotate("empty canvas", (time[-1], empty), (0, -3), **ABOVE, va="top")
        axes[0, 0].set(xlabel="step", ylabel="error L (log10 of E)")
    plots.keys_and_median(axes[0, -1], time, growth.mature.values, plots.BLUE)
    axes[0, -1].set(xlabel="step", ylabel="mature cells", ylim=(0, None))
    for ax in axes[0]:
        ax.axvline(found.config.steps, color=plots.FAINT, lw=0.8, zorder=0)
    return made, (
        f"Each thin line is one of {growth.sizes['run']} undisturbed runs, the thick one their median; "
        f"the vertical line is step {found.config.steps}, where the body counts as grown."
    )


def lesion_sweep(found: Examination) -> tuple[Figure, str]:
    """Fitness and error after each lesion."""
    rows = lesions.table(found.sweep)
    values = [v for v in ("fitness", "worse") if np.isfinite(rows[v]).any()]
    labels = {"fitness": "fitness W", "worse": "rise of L"}
    null = rows[rows.kind == "random direction"]
    titles = {"graded": "graded", "erase": "erased once"}
    columns = [(kind, value) for kind in titles for value in values]
    made, axes = plots.figure(1, len(columns), 0.235 * found.sweep.sizes["channel"] + 1.1, sharey=True)
    for ax, (kind, value) in zip(axes[0], columns, strict=True):
        plots.lesions(ax, rows[rows.kind == kind], null if kind == "erase" else None, value)
        ax.set(title=titles[kind], xlabel=labels[value])
        for intact, looks in ((1, "-"), (0, "--")) if value == "fitness" else ((0, "-"),):
            ax.axvline(intact, color=plots.GREEN if looks == "-" else plots.MUTED, lw=1, ls=looks, zorder=0)
    axes[0, 0].set_ylabel("channel")
    handles = {label: h for ax in axes[0] for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    made.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return made, (
        f"Median and {format.interval_label(found.sweep.sizes['run'])} (bootstrap), after a lesion that begins "
        f"at step {found.config.steps}: graded takes 5 % off the channel at every step, erased "
        "sets it to zero once. W is 1 for an intact body (green), 0 for an empty canvas (dashed); the rise "
        "of L is over the undisturbed run of the same key, 1 being ten times the error. Crosses: the same "
        "cells pushed as far along a random hidden direction. Colour channels are what the error sees and "
        "alpha keeps cells alive: they are shown, but say nothing of the hidden ones."
    )


def cuts(found: Examination) -> tuple[Figure, str]:
    """Before and after, cut by cut."""
    wounds = found.wounds
    names = [n for n in wounds.wound.values if n != MARGIN]
    threshold = found.organism.rule.spec.threshold
    seen = (wounds.picture_before[..., 3] > threshold) | (wounds.picture_end[..., 3] > threshold).any("wound")
    rows, columns = plots.window((seen | (wounds.picture_twin[..., 3] > threshold)).values)
    tall = (rows.stop - rows.start) / (columns.stop - columns.start)
    made, axes = plots.figure(2, len(names) + 1, 0.3 + 2 * tall * plots.WIDTH / (len(names) + 1.2))
    plots.body(axes[0, 0], wounds.picture_before.values[rows, columns], "uncut")
    plots.body(axes[1, 0], wounds.picture_twin.values[rows, columns])
    for column, name in enumerate(names, 1):
        one = wounds.sel(wound=name)
        plots.body(axes[0, column], one.picture_cut.values[rows, columns], name)
        plots.body(axes[1, column], one.picture_end.values[rows, columns])
    axes[0, 0].set_ylabel(f"step {found.config.steps}", fontsize=10)
    axes[1, 0].set_ylabel(f"step {found.config.until}", fontsize=10)
    return made, "The first run: above, just after each cut; below, at the end. Left, its uncut twin."


def recovery(found: Examination) -> tuple[Figure, str]:
    """How much came back, and when."""
    wounds = found.wounds
    names = [str(n) for n in wounds.wound.values if n != MARGIN]
    made, axes = plots.figure(1, 2, 2.6, width_ratios=[1, 1.15])
    plots.dots(axes[0, 0], wounds.recovered.sel(wound=names).values, names, CUT_COLOURS)
    axes[0, 0].axvline(1, color=plots.GREEN, lw=1, zorder=0)
    axes[0, 0].axvline(0, color=plots.MUTED, lw=1, ls="--", zorder=0)
    axes[0, 0].set(xlabel="recovered", ylabel="cut")
    for name, colour in zip(names, CUT_COLOURS, strict=True):
        e = np.asarray(metrics.log_mse(wounds.e.sel(wound=name).values))
        axes[0, 1].plot(wounds.time, np.median(e, 0), color=colour, lw=1.5)
    if wounds.attrs["reference"] == "target":
        twin = np.median(np.asarray(metrics.log_mse(wounds.e_twin.values)), 0)
        axes[0, 1].plot(wounds.time, twin, color=plots.INK, lw=1, ls="--")
    axes[0, 1].set(xlabel="step", ylabel="error L (log10 of E)")
    return made, (
        f"Left: recovered fraction, every one of {wounds.sizes['run']} keys (circles) and the median (bar): "
        "1 is as good as the uncut twin of the same key (green), 0 is as cut (dashed). Right, in the same "
        f"colours: median error to the {wounds.attrs['reference']} after each cut"
        + ("; dashed, of the uncut twins." if wounds.attrs["reference"] == "target" else ".")
    )

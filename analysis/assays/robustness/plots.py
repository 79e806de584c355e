"""Figures of robustness, from finished results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.assays.regeneration.plots import colour_of, named
from analysis.assays.robustness import battery as robustness
from analysis.assays.robustness.battery import Robust
from analysis.assays.robustness.disturbances import KINDS, LASTING, MOVED, ONCE, RATE, SMALL, UPDATES, WEIGHTS
from analysis.report import plots
from analysis.report.plots import FAINT, GREEN, MUTED

LEAST = -1.0
LABELS = {
    ONCE: "noise (channel’s sd)",
    LASTING: "noise (channel’s sd)",
    WEIGHTS: "noise (weights’ norm)",
    RATE: "fire rate",
    UPDATES: "fire rate",
    SMALL: "cells to the edge",
    MOVED: "cells to the edge",
}


def doses(found: Sequence[Robust]) -> Figure:
    """Fitness against dose, kind by kind, every key."""
    kinds = [k for k in KINDS if any((one.doses.kind == k).any() for one in found)]
    lines = -(-len(kinds) // 4)
    made, axes = plots.figure(lines, min(4, len(kinds)), 2.1 * lines + 0.5, sharey=True)
    for ax in axes.ravel()[len(kinds) :]:
        ax.set_visible(False)
    for ax, kind in zip(axes.ravel(), kinds, strict=False):
        for n, one in enumerate(found):
            rows = one.doses[one.doses.kind == kind]
            if rows.empty:
                continue
            middle = robustness.summary(rows).sort_values("dose")
            colour = colour_of(n)
            known = rows[rows.fitness.notna()]
            ax.plot(known.dose, known.fitness.clip(LEAST, None), ".", color=colour, ms=3, alpha=0.5)
            lost = middle[middle.fitness.isna()]
            ax.plot(lost.dose, [LEAST] * len(lost), "x", color=colour, ms=5)
            bounds = (middle[name].clip(LEAST, None) for name in ("fitness_low", "fitness_high"))
            ax.fill_between(middle.dose, *bounds, color=colour, alpha=0.15, lw=0)
            ax.plot(middle.dose, middle.fitness.clip(LEAST, None), "o-", color=colour, ms=3, lw=1.3)
        if kind in (ONCE, LASTING, WEIGHTS):
            ax.set_xscale("log")
        if kind in (RATE, UPDATES):
            for one in found:
                ax.axvline(one.organism.rule.spec.fire_rate, color=FAINT, lw=0.8, zorder=0)
        if kind in (SMALL, MOVED):
            ax.invert_xaxis()
        ax.axhline(1, color=GREEN, lw=1, zorder=0)
        ax.axhline(0, color=MUTED, lw=1, ls="--", zorder=0)
        ax.set(ylim=(LEAST - 0.08, 1.15))
        ax.set_title(kind, fontsize=8.5)
        ax.set_xlabel(LABELS[kind], fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("fitness W")
    named(made, [one.organism.name for one in found])
    return made


def returns(found: Sequence[Robust]) -> Figure:
    """Distance to the undisturbed twin after noise added once, dose by dose."""
    shown = [one for one in found if one.returns]
    made, axes = plots.figure(1, len(shown), 2.7, sharey=True)
    for ax, one in zip(axes[0], shown, strict=True):
        after = one.returns.time.values - one.returns.time.values[0]
        many = one.returns.sizes["dose"]
        for n, dose in enumerate(one.returns.dose.values):
            values = one.returns.distance.sel(dose=dose).values
            shade = plots.SIGNED(0.55 + 0.45 * (n + 1) / many)
            ax.plot(after, values.T, color=shade, lw=0.5, alpha=0.5)
            ax.plot(after, np.median(values, 0), color=shade, lw=1.7, label=f"{dose:g} sd")
        floor = one.returns.floor.values
        ax.plot(after, np.median(floor, 0), color=MUTED, lw=1.5, ls="--", label="another key")
        ax.set(yscale="log", xlabel="steps after the noise")
        ax.set_title(one.organism.name, fontsize=9)
    axes[0, 0].set_ylabel("distance to the twin\n(of its norm)")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=6)
    return made


def spread(found: Sequence[Robust]) -> Figure:
    """Distances between keys as bodies grow."""
    made, axes = plots.figure(1, 2, 2.6, sharey=True)
    for ax, name in zip(axes[0], ("visible", "hidden"), strict=True):
        for n, one in enumerate(found):
            if name not in one.spread or not one.spread.sizes["pair"]:
                continue
            values = one.spread[name].values
            ax.plot(one.spread.time, values.T, color=colour_of(n), lw=0.4, alpha=0.35)
            ax.plot(one.spread.time, np.nanmedian(values, 0), "o-", color=colour_of(n), ms=3, lw=1.7)
        ax.set(xlabel="step", ylim=(0, None))
        ax.set_title("picture" if name == "visible" else "hidden channels", fontsize=9)
    axes[0, 0].set_ylabel("distance between two keys\n(of their norm)")
    named(made, [one.organism.name for one in found])
    return made

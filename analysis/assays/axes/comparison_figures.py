"""Figures of several organisms' axes: networks side by side, and one network along its training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.report import plots
from analysis.report.format import number

TITLES = {"x": "x", "y": "y", "s": "s, along the body", "radius": "radius", "edge": "edge"}
LOWEST = -1.2
MOST = 8


def bodies(pictures: Sequence[np.ndarray], colours: Sequence[np.ndarray], names: Sequence[str]) -> tuple[Figure, str]:
    """Every organism's body, above its first three components as colours."""
    shown = list(zip(pictures, colours, names, strict=True))[:MOST]
    columns = len(shown)
    made, axes = plots.figure(2, columns, 0.35 + 2 * plots.WIDTH / (max(columns, 3) + 0.3))
    for ax in axes.ravel():
        plots.bare(ax)
    for (above, below), (picture, scores, name) in zip(axes.T, shown, strict=False):
        inside = np.isfinite(scores).all(-1)
        rows, across = plots.window((picture[..., 3] > 0.1) | inside)
        plots.body(above, picture[rows, across], _short(name))
        known = np.abs(scores[inside])
        limits = [float(v) or 1.0 for v in np.quantile(known, 0.98, axis=0)] if len(known) else [1.0] * 3
        plots.coloured_map(below, scores[rows, across], limits)
    axes[1, 0].set_ylabel("PC1 to 3", fontsize=10)
    rest = f" The first {MOST} of {len(pictures)}." if len(pictures) > MOST else ""
    return made, (
        "Grown bodies, and beneath each the first three components of its own cells’ states as red, green "
        "and blue. "
        f"Components of different networks are not comparable colour by colour.{rest}"
    )


def _short(name: str, most: int = 16) -> str:
    """A name that fits over a small picture: broken at a dash."""
    if len(name) <= most or "-" not in name:
        return name
    middle = min((i for i, c in enumerate(name) if c == "-"), key=lambda i: abs(i - len(name) / 2))
    return name[: middle + 1] + "\n" + name[middle + 1 :]


def decoders(compared: xr.Dataset) -> tuple[Figure, str]:
    """A1 beside A2 in every organism."""
    names = [str(n) for n in compared.organism.values]
    made, axes = plots.figure(1, compared.sizes["quantity"], 0.3 * len(names) + 1.0, sharey=True)
    for ax, q in zip(axes[0], compared.quantity.values, strict=True):
        one = compared.sel(quantity=q)
        for row in range(len(names)):
            at = one.isel(organism=row)
            if not np.isfinite(at.r2):
                ax.annotate("no body", (0, row), color=plots.MUTED, va="center", ha="center", fontsize=7.5)
                continue
            ax.plot(
                [at.null_low, at.null_high],
                [row, row],
                color=plots.FAINT,
                lw=5,
                solid_capstyle="butt",
                zorder=1,
            )
            ax.plot([at.null_median] * 2, [row - 0.28, row + 0.28], color=plots.INK, lw=1.1, zorder=2)
            fill = plots.ORANGE if at.q <= 0.05 else "none"
            ax.plot(max(float(at.r2), LOWEST), row, "o", ms=6, color=plots.ORANGE, mfc=fill, mew=1.4, zorder=3)
        ax.axvline(0, color=plots.MUTED, lw=0.6, zorder=0)
        ax.set(title=TITLES[str(q)], xlabel="R²", xlim=(LOWEST - 0.08, 1.05))
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return made, (
        f"How well place is decoded in each of {len(names)} organisms, one run each (circles, filled "
        "where q ≤ 0.05 over "
        f"all of them; R² below {number(LOWEST, 1)} drawn there), beside the 5 to 95 % (grey) and the median "
        "(stroke) of "
        f"{compared.attrs['surrogates']} surrogates as smooth."
    )


def training(compared: xr.Dataset) -> tuple[Figure, str]:
    """A1 beside A2 along a training run."""
    made, axes = plots.figure(1, compared.sizes["quantity"], 2.3, sharey=True)
    steps = compared.training_step.values
    for ax, q in zip(axes[0], compared.quantity.values, strict=True):
        one = compared.sel(quantity=q)
        label = f"{compared.attrs['surrogates']} surrogates, 5 to 95 %"
        ax.fill_between(steps, one.null_low, one.null_high, color=plots.FAINT, lw=0, label=label)
        ax.plot(steps, one.null_median, color=plots.MUTED, lw=1, label="their median")
        ax.plot(steps, one.r2, color=plots.ORANGE, lw=1.2, label="observed")
        for clear, fill in ((one.q <= 0.05, plots.ORANGE), (one.q > 0.05, "none")):
            ax.plot(steps[clear], one.r2[clear], "o", color=plots.ORANGE, mfc=fill, ms=4.5, mew=1.2)
        ax.axhline(0, color=plots.MUTED, lw=0.6, zorder=0)
        if len(steps) > 2 and steps[-1] > 30 * max(1, steps[steps > 0].min(initial=steps[-1])):
            ax.set_xscale("symlog", linthresh=max(1, int(steps[steps > 0].min())))
        ax.set(title=TITLES[str(q)], xlabel="training step")
    axes[0, 0].set(ylabel="R²", ylim=(LOWEST, 1.02))
    made.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return made, (
        "How well place is decoded along one training run (circles filled where q ≤ 0.05 over all of "
        "them; cut off "
        f"below {number(LOWEST, 1)}). Gaps: no body to examine."
    )


def directions(found: xr.Dataset, codes: Sequence[xr.Dataset]) -> tuple[Figure, str]:
    """A5: in which direction each network codes position best."""
    names = [str(n) for n in found.network.values]
    made, axes = plots.figure(1, 2, 0.26 * len(names) + 1.5, width_ratios=[1.5, 1])
    left, right = axes[0]
    draw = np.random.default_rng(0)  # scatters the points within their row
    turn = [float(c.body_angle) if found.attrs["frame"] == "body" else 0.0 for c in codes]
    for row, (code, t) in enumerate(zip(codes, turn, strict=True)):
        null = (code.null_angle.values - t) % 180
        left.plot(null, row + draw.uniform(-0.25, 0.25, len(null)), ".", color=plots.FAINT, ms=3, zorder=1)
    left.plot(found.angle, range(len(names)), "o", color=plots.ORANGE, ms=7, zorder=3)
    left.axvline(found.direction, color=plots.MUTED, lw=1, ls="--", zorder=0)
    left.set_yticks(range(len(names)), names)
    left.tick_params(axis="y", length=0)
    where = "x axis, towards y" if found.attrs["frame"] == "canvas" else "body’s long axis"
    left.set(xlim=(0, 180), xlabel=f"direction decoded best (° from the {where})", ylim=(len(names) - 0.5, -0.5))
    left.set_xticks([0, 45, 90, 135, 180])
    right.hist(found.null_length.values, np.linspace(0, 1, 31), color=plots.FAINT)
    right.axvline(found.length, color=plots.ORANGE, lw=2)
    right.set(xlabel="agreement (length of the mean axis)", ylabel="draws", xlim=(0, 1))
    return made, (
        "Left: the direction across the body along which position is decoded best, in each network "
        "(orange) and in its surrogates (grey dots), which the body’s shape alone draws to some directions; "
        "dashed, the mean axis. Right: "
        f"how much the networks agree (orange), and one surrogate of each drawn {found.attrs['draws']} times."
    )

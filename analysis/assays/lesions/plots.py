"""Drawings of lesions: each takes finished tables and an `ax`, and computes nothing but where to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from analysis.report.plots import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE, SIGNED

SHORT = {"random direction": "random push", "resample": "twin's values"}
TOLD = {
    "backup": ORANGE,
    "backup on W": "#e69f00",
    "series": BLUE,
    "series on W": "#56b4e9",
    "suppression": BLUE,
    "suppression on W": "#56b4e9",
    "masked": MUTED,
    "none": FAINT,
}


def heading(kind: str, dose: float, horizon: int) -> str:
    """A column's name: kind, dose, horizon."""
    size = f" {dose:g}" if np.isfinite(dose) else ""
    return f"{SHORT.get(kind, kind)}{size}, {horizon}"


def atlas(ax: Axes, rows: pd.DataFrame, targets: Sequence[str], columns: Sequence[tuple[Any, ...]]) -> Any:
    """What each lesion (column: kind, dose, horizon) of each channel (row) costs: 1 - W, median over keys.

    Empty: not defined; dot: touched nothing; triangle: some run overgrew; cross: some run exploded.
    """
    values = np.full((len(targets), len(columns)), np.nan)
    for row in rows.itertuples():
        column = (row.kind, -1.0 if np.isnan(row.dose) else row.dose, row.horizon)
        if row.target in targets and column in columns:
            y, x = targets.index(row.target), columns.index(column)
            values[y, x] = 1 - row.fitness
            idle = row.outcome.startswith("touched nothing")
            mark = "." if idle else "x" if row.exploded_runs else "^" if row.overgrown_runs else ""
            if mark:
                ax.plot(x, y, mark, color=INK, ms=3.6, mfc="none", mew=0.8)
    image = cells(ax, values, 1.0)
    ax.set_xticks(range(len(columns)), [heading(k, d if d >= 0 else np.nan, h) for k, d, h in columns])
    ax.tick_params(axis="x", rotation=60, labelsize=7.5, length=0, pad=1)
    for label in ax.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(targets)), targets)
    ax.tick_params(axis="y", length=0)
    return image


def cells(ax: Axes, values: np.ndarray, limit: float, cmap: Any = SIGNED) -> Any:
    """A table of signed values as coloured cells, row 0 on top, NaN left empty."""
    image = ax.pcolormesh(
        np.arange(values.shape[1]),
        np.arange(values.shape[0]),
        np.ma.masked_invalid(values),
        cmap=cmap,
        vmin=-limit,
        vmax=limit,
        shading="nearest",
        edgecolors="white",
        linewidth=0.4,
    )
    ax.set(xlim=(-0.5, values.shape[1] - 0.5), ylim=(values.shape[0] - 0.5, -0.5))
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def dose_response(ax: Axes, rows: pd.DataFrame, title: str) -> None:
    """Median W with its interval against dose, a line for each horizon."""
    horizons = sorted(set(rows.horizon))
    for n, horizon in enumerate(horizons):
        one = rows[rows.horizon == horizon].sort_values("dose")
        last = n == len(horizons) - 1
        low, high = one.fitness - one.fitness_low, one.fitness_high - one.fitness
        looks: dict[str, Any] = {"color": BLUE, "mfc": BLUE if last else "white", "ms": 3.6, "lw": 1.2}
        style = "o-" if last else "o--"
        ax.errorbar(one.dose, one.fitness, [low, high], fmt=style, **looks, label=f"{horizon} steps")
        over = one[one.overgrown_runs > 0]
        ax.plot(over.dose, over.fitness.clip(-0.25), "^", color=ORANGE, ms=8, mfc="none", mew=1.1)
    ax.axhline(1, color=FAINT, lw=0.8, zorder=0)
    ax.axhline(0, color=FAINT, lw=0.8, zorder=0)
    ax.set(xscale="log", ylim=(-0.3, 1.12), yticks=(0, 0.5, 1))
    doses = sorted(set(rows.dose))
    shown = doses if len(doses) <= 4 else doses[::2]
    ax.set_xticks(shown, [f"{d:g}" for d in shown])
    ax.minorticks_off()
    ax.tick_params(labelsize=7.5)
    ax.set_title(title, fontsize=8.5, pad=3)


def parts(
    ax: Axes,
    rows: pd.DataFrame,
    kinds: Sequence[str],
    colours: Sequence[str],
    null: np.ndarray | None = None,
) -> None:
    """Median W with its interval by part, a colour for each kind; the null's span and median in grey."""
    targets = list(dict.fromkeys(rows.target))
    for n, (kind, colour) in enumerate(zip(kinds, colours, strict=True)):
        one = rows[rows.kind == kind]
        at = np.asarray([targets.index(t) for t in one.target]) + 0.22 * (n - (len(kinds) - 1) / 2)
        clipped = [one[v].clip(-0.5, 1.5) for v in ("fitness_low", "fitness_high", "fitness")]
        ax.hlines(at, clipped[0], clipped[1], color=colour, lw=1.2)
        ax.plot(clipped[2], at, "o", color=colour, ms=3.8, label=kind)
    if null is not None and len(null):
        ax.axvspan(*np.quantile(null, [0, 1]).clip(-0.5, 1.5), color=FAINT, alpha=0.5, lw=0, label="random, all")
        ax.axvline(float(np.median(null)), color=MUTED, lw=1, ls="--", label="random, median")
    ax.axvline(1, color=FAINT, lw=0.8, zorder=0)
    ax.axvline(0, color=FAINT, lw=0.8, zorder=0)
    ax.set_yticks(range(len(targets)), targets, fontsize=7.5)
    ax.set_ylim(len(targets) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="fitness W")


def epistasis(
    ax: Axes,
    pairs: pd.DataFrame,
    singles: Sequence[float],
    names: Sequence[str],
    limits: tuple[float, float],
) -> tuple[Any, Any]:
    """eps of every pair: on W above the diagonal, on -L below it, each with its own limit of the colours;
    the single lesion's W on the diagonal."""
    place, size = {name: n for n, name in enumerate(names)}, len(names)
    values = np.full((size, size), np.nan)
    for pair in pairs.itertuples():
        i, j = sorted((place[pair.a], place[pair.b]))
        values[i, j], values[j, i] = pair.eps_w, pair.eps_l
        if pair.verdict.startswith(("backup", "series", "suppression")):
            on_l = np.isfinite(pair.eps_l) and not pair.verdict.endswith("on W")
            both = [(j, i), (i, j)] if on_l else [(j, i)]
            for x, y in both:
                ax.add_patch(Rectangle((x - 0.45, y - 0.45), 0.9, 0.9, fill=False, ec=INK, lw=1.0, zorder=3))
        elif pair.verdict == "masked":
            ax.plot(j, i, "x", color=MUTED, ms=3.6, mew=0.8)
    halves = [np.triu(np.ones_like(values), 1), np.tril(np.ones_like(values), -1)]
    images = [
        cells(ax, np.where(half > 0, values, np.nan), limit, SIGNED.reversed())
        for half, limit in zip(halves, limits, strict=True)
    ]
    for n, w in enumerate(singles):
        text = f"{w + 0.0:.2f}".replace("-", "−") if np.isfinite(w) else "-"
        ax.text(n, n, text, ha="center", va="center", fontsize=6, color=INK)
    ax.set_aspect("equal")
    ax.set_xticks(range(size), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
    ax.set_yticks(range(size), names, fontsize=7.5)
    ax.tick_params(length=0)
    return images[0], images[1]


def ranked_pairs(ax: Axes, pairs: pd.DataFrame, most: int = 16) -> None:
    """The pairs that interact most on W, backup first: median over keys with its interval."""
    known = pairs[np.isfinite(pairs.eps_w)]
    order = known.eps_w.abs().sort_values(ascending=False).index[:most]
    shown = known.loc[order].sort_values("eps_w")
    told: set[str] = set()
    for row, pair in enumerate(shown.itertuples()):
        colour = TOLD.get(pair.verdict, FAINT)
        ax.plot([pair.low_w, pair.high_w], [row, row], color=colour, lw=1.4)
        label = pair.verdict if pair.verdict not in told else None
        told.add(pair.verdict)
        ax.plot(pair.eps_w, row, "o", color=colour, ms=4.5, label=label)
    ax.axvline(0, color=MUTED, lw=0.8, ls="--", zorder=0)
    ax.set_yticks(range(len(shown)), [f"{p.a} × {p.b}" for p in shown.itertuples()], fontsize=7.5)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="interaction ε on W")
    if len(shown):
        ax.legend(loc="lower left", fontsize=7.5)


def period(ax: Axes, w: xr.DataArray, marker: xr.DataArray | None, row: Any, title: str, low: float = -0.45) -> None:
    """W after lesions that begin late (blue) or end early (orange), every key thin; the marker's in grey;
    the critical period shaded."""
    time = w.time.values
    if np.isfinite(row["first"]):
        ends = sorted((row["first"], row["last"]))
        ax.axvspan(*ends, color=GREEN, alpha=0.16 if row["kind"] == "any lapse" else 0.07, lw=0)
    if marker is not None:
        ax.plot(time, np.median(marker, -1).T, color=MUTED, lw=1, ls=":")
    for side, colour, label in (("on", BLUE, "from t on"), ("off", ORANGE, "until t")):
        keys = w.sel(side=side).values.clip(-0.4, 1.4)
        ax.plot(time, keys, color=colour, lw=0.4, alpha=0.4)
        ax.plot(time, np.median(keys, -1), color=colour, lw=1.5, label=label)
    ax.set(ylim=(low, 1.2), yticks=(0, 0.5, 1))
    ax.tick_params(labelsize=7.5)
    ax.set_title(title, fontsize=8.5, pad=3)


def repair(ax: Axes, rows: pd.DataFrame, nulls: pd.DataFrame, title: str) -> None:
    """Direct and total effect by channel, with intervals, each beside its null; the share repaired where
    there is one."""
    for shift, name, colour, fill in (
        (-0.16, "direct", PURPLE, "none"),
        (0.16, "total", BLUE, BLUE),
    ):
        at = np.arange(len(rows)) + shift
        low, high = (rows[f"{name}_{end}"].clip(-0.4, 1.4) for end in ("low", "high"))
        ax.hlines(at, low, high, color=colour, lw=1.3)
        ax.plot(rows[name].clip(-0.4, 1.4), at, "o", color=colour, mfc=fill, ms=4.2, label=name)
        if len(nulls):
            grey = "none" if fill == "none" else MUTED
            ax.plot(nulls[name].clip(-0.4, 1.4), at, "D", color=MUTED, mfc=grey, ms=3, label=f"{name}, null")
    for n, share in enumerate(rows.share):
        if np.isfinite(share):
            text = f"{share:.0%}".replace("-", "−") if abs(share) < 9.995 else f"{share:.0f}×".replace("-", "−")
            ax.annotate(text, (1.02, n), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    ax.axvline(0, color=MUTED, lw=0.8, ls="--", zorder=0)
    ax.set_yticks(range(len(rows)), rows.channel)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="effect, 1 − W", xlim=(-0.45, 1.45))
    ax.set_title(title, fontsize=9)

"""A contact sheet of the conventions that were tried on a file: one row a candidate, as it grew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.report import plots
from nca.interop.probe import MARKS, Trial, described
from nca.io import write_with

MOST_ROWS, MOST_LINES = 10, 12
ROW = 1.1  # inches


def draw(ranked: Sequence[Trial], path: Path) -> Path:
    """Write the sheet, best candidate first; those that left no picture are listed below."""
    shown = [t for t in ranked if t.pictures][:MOST_ROWS] or list(ranked[:1])
    rest = _listed([t for t in ranked if t not in shown])
    below = 0.1 + 0.13 * len(rest)
    with plots.style():
        height = ROW * len(shown) + 0.3 + below
        figure, axes = plots.figure(len(shown), 1 + len(MARKS), height, width_ratios=[1.5, *([1] * len(MARKS))])
        grid = axes.reshape(len(shown), 1 + len(MARKS))
        for row, trial in zip(grid, shown, strict=True):
            _words(row[0], trial, taken=trial is ranked[0])
            _pictures(row[1:], trial, _part(shown))
        for ax, mark in zip(grid[0][1:], MARKS, strict=True):
            ax.set_title(f"step {mark}")
        figure.set_layout_engine("constrained", rect=(0, below / height, 1, 1 - below / height))
        if rest:
            figure.text(0.01, 0.05 / height, "\n".join(rest), fontsize=6.5, va="bottom", color="0.3")
        return write_with(path, lambda beside: figure.savefig(beside, dpi=150))


def _listed(rest: Sequence[Trial]) -> list[str]:
    lines = [f"{described(t.changes)}: {t.outcome}" for t in rest[:MOST_LINES]]
    more = len(rest) - len(lines)
    return (["not shown"] if lines else []) + lines + ([f"and {more} more"] if more else [])


def _part(shown: Sequence[Trial]) -> tuple[slice, slice]:
    """The square in the middle that holds every body."""
    alphas = [p[..., 3] > 0.05 for t in shown for p in t.pictures]
    if not alphas:
        return slice(None), slice(None)
    high, wide = alphas[0].shape
    cells = np.argwhere(np.any(alphas, axis=0))
    reach = int(np.abs(cells - (high // 2, wide // 2)).max()) + 2 if len(cells) else max(high, wide)
    rows = slice(max(high // 2 - reach, 0), high // 2 + reach + 1)
    return rows, slice(max(wide // 2 - reach, 0), wide // 2 + reach + 1)


def _pictures(axes: Any, trial: Trial, part: tuple[slice, slice]) -> None:
    for i, ax in enumerate(axes):
        plots.bare(ax)
        if i < len(trial.pictures):
            plots.body(ax, trial.pictures[i][part])
            for side in ax.spines.values():
                side.set(visible=True, color="0.85", linewidth=0.6)
        else:
            ax.text(0.5, 0.5, trial.outcome, ha="center", va="center", fontsize=6.5, transform=ax.transAxes)


def _words(ax: Any, trial: Trial, taken: bool) -> None:
    plots.bare(ax)
    lines = described(trial.changes).split(", ") if trial.changes else ["as said"]
    if trial.outcome == "grows":
        lines.append(f"grows: excess {trial.excess:.3f}, drift {trial.drift:.3f}")
    else:
        lines.append(trial.outcome)
    lines += ["taken"] if taken else []
    weight = "bold" if taken else "normal"
    ax.text(0, 0.5, "\n".join(lines), fontsize=6.5, va="center", weight=weight, transform=ax.transAxes)

"""A contact sheet of the conventions that were tried on a file: one row for each candidate, as it grew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.report import plots
from nca.interop.probe import TRIAL_STEPS, Trial, describe_conventions
from nca.io import write_file

_MAX_ROWS, _MAX_LINES = 10, 12
_ROW_HEIGHT = 1.1  # inches


def draw_trials(ranked: Sequence[Trial], path: Path) -> Path:
    """Write the sheet, best candidate first; candidates without a picture are listed below."""
    shown = [t for t in ranked if t.pictures][:_MAX_ROWS] or list(ranked[:1])
    others = [t for t in ranked if t not in shown]
    lines = [f"{describe_conventions(t.changes)}: {t.outcome}" for t in others[:_MAX_LINES]]
    if len(others) > len(lines):
        lines.append(f"and {len(others) - len(lines)} more")
    below = 0.1 + 0.13 * (len(lines) + 1 if lines else 0)
    height = _ROW_HEIGHT * len(shown) + 0.3 + below
    alphas = [picture[..., 3] > 0.05 for trial in shown for picture in trial.pictures]
    window = plots.body_window(np.any(alphas, axis=0)) if alphas else (slice(None), slice(None))
    with plots.style():
        columns = 1 + len(TRIAL_STEPS)
        figure, axes = plots.new_figure(len(shown), columns, height, width_ratios=[1.5, *([1] * len(TRIAL_STEPS))])
        for row, trial in zip(axes, shown, strict=True):
            _draw_label(row[0], trial, taken=trial is ranked[0])
            _draw_pictures(row[1:], trial, window)
        for ax, step in zip(axes[0][1:], TRIAL_STEPS, strict=True):
            ax.set_title(f"step {step}")
        figure.set_layout_engine("constrained", rect=(0, below / height, 1, 1 - below / height))
        if lines:
            text = "\n".join(["not shown", *lines])
            figure.text(0.01, 0.05 / height, text, fontsize=6.5, va="bottom", color="0.3")
        return write_file(path, lambda unfinished: figure.savefig(unfinished, dpi=150))


def _draw_label(ax: Any, trial: Trial, taken: bool) -> None:
    plots.hide_frame(ax)
    lines = describe_conventions(trial.changes).split(", ") if trial.changes else ["as stated"]
    scores = f": excess {trial.excess:.3f}, drift {trial.drift:.3f}" if trial.outcome == "grows" else ""
    lines += [trial.outcome + scores, *(["taken"] if taken else [])]
    weight = "bold" if taken else "normal"
    ax.text(0, 0.5, "\n".join(lines), fontsize=6.5, va="center", weight=weight, transform=ax.transAxes)


def _draw_pictures(axes: Any, trial: Trial, window: tuple[slice, slice]) -> None:
    for i, ax in enumerate(axes):
        plots.hide_frame(ax)
        if i < len(trial.pictures):
            plots.draw_body(ax, trial.pictures[i][window])
            for side in ax.spines.values():
                side.set(visible=True, color="0.85", linewidth=0.6)
        else:
            ax.text(0.5, 0.5, trial.outcome, ha="center", va="center", fontsize=6.5, transform=ax.transAxes)

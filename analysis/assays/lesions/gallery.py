"""A gallery of lesioned bodies: what became of the animal, next to the animal before."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.assays.lesions.run import LesionResult
from analysis.report import plots
from analysis.report.format import number, percent

_COLUMNS, _MOST = 6, 23  # bodies in a row, and lesions shown
_MARGIN = 5  # cells around the body before
_SMALL = 7.5  # points
_LESION = ["target_type", "target", "intervention", "dose"]


def plot_gallery(result: LesionResult) -> tuple[Figure, str]:
    """The first run's body after each of the lesions of the adult that harm most, and its caption."""
    rows = _most_harmful(result.atlas)
    bodies = {
        _key(lesion.target_type, lesion.target, lesion.intervention, lesion.dose): b for lesion, b in result.pictures
    }
    shown = [(row, bodies[_key(row.target_type, row.target, row.intervention, row.dose)]) for row in rows.itertuples()]
    assert result.portrait is not None
    window = plots.body_window(result.portrait[..., 3] > 0.1, margin=_MARGIN)
    height, width = (span.stop - span.start for span in window)
    lines = -(-(1 + len(shown)) // _COLUMNS)
    figure, axes = plots.new_figure(lines, _COLUMNS, lines * (plots.WIDTH / _COLUMNS * height / width + 0.3))
    for ax in axes.ravel():
        ax.set_axis_off()
    plots.draw_body(axes[0, 0], result.portrait[window])
    axes[0, 0].set_title("before\n", fontsize=_SMALL)
    for ax, (row, body) in zip(axes.ravel()[1:], shown, strict=False):
        plots.draw_body(ax, body[window])
        ax.set_title(f"{row.target}, {_label(row.intervention, row.dose)}\n{number(row.fitness)}", fontsize=_SMALL)
    return figure, (
        f"The first run’s body before, and after the {len(shown)} lesions of the adult that harm most, the worst "
        "first. Above each: the target, what is done to it (partial ablation by the share lost per step, noise in "
        "standard deviations), and fitness at the last evaluation step (median over runs; 1: as the control, 0: an "
        "empty canvas)."
    )


def _most_harmful(atlas: pd.DataFrame) -> pd.DataFrame:
    """Rows of the lesions of the adult with the least fitness, at their last evaluation step."""
    rows = atlas[(atlas.phase == "adult") & ~atlas.role.isin(("control", "random")) & (atlas.cells_changed > 0)]
    rows = rows[rows.fitness.notna() & ~rows.intervention.isin(("random-direction", "resample"))]
    last = rows.sort_values("eval_step", kind="stable").drop_duplicates(_LESION, keep="last")
    return last.sort_values("fitness", kind="stable").head(_MOST)


def _key(target_type: str, target: str, intervention: str, dose: float) -> tuple[str, str, str, float]:
    """What identifies a lesion; -1 stands for no dose."""
    return target_type, target, intervention, -1.0 if np.isnan(dose) else dose


def _label(intervention: str, dose: float) -> str:
    return (
        f"−{percent(dose)} per step"
        if intervention == "partial"
        else intervention
        if np.isnan(dose)
        else f"{intervention} {dose:g}"
    )

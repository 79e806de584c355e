"""Figures of a population: a line for every lineage over the regimes, and the bodies that were grown."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from analysis import metrics
from analysis.populations.members import UNKNOWN, Verdict
from analysis.populations.studies import Measure, Study, grid, outsiders, table
from analysis.report import format, plots
from analysis.report.plots import BLUE, FAINT, INK, MUTED, ORANGE

BAND = 0.36  # half width of a regime's column
ROW = 2.35  # inches
MOST_COLUMNS = 8
MOST_PANELS = 4  # in a row


def regimes(studies: Sequence[Study]) -> Figure:
    """Every measure over the regimes, study by study."""
    panels = [(study, m) for study in studies for m in study.measures]
    columns = min(MOST_PANELS, max(len(study.measures) for study in studies))
    lines = [-(-len(study.measures) // columns) for study in studies]
    made, axes = plots.figure(sum(lines), columns, ROW * sum(lines) + 0.45)
    for ax in axes.ravel():
        ax.set_visible(False)
    places = {
        id(study): [axes[sum(lines[:n]) + k // columns, k % columns] for k in range(len(study.measures))]
        for n, study in enumerate(studies)
    }
    taken = {key: iter(found) for key, found in places.items()}
    for study, measure in panels:
        _panel(next(taken[id(study)]), study, measure, named=len(studies) > 1)
    for study in studies:
        for k, ax in enumerate(places[id(study)]):
            if k % columns == 0:
                ax.set_ylabel(f"{study.when}\n{study.label}" if len(studies) > 1 else study.label)
        _one_scale(study, places[id(study)])
    made.legend(handles=_legend(studies), loc="outside lower center", ncols=4)
    return made


def _one_scale(study: Study, axes: Sequence[Axes]) -> None:
    """Panels of one unit share their scale."""
    if study.label:
        low, high = (f(ax.get_ylim()[k] for ax in axes) for k, f in enumerate((min, max)))
        for ax in axes:
            ax.set_ylim(low, high)


def _panel(ax: Axes, study: Study, measure: Measure, named: bool) -> None:
    ax.set_visible(True)
    shown = study.population.regimes
    rows = table(study)
    rows = rows[(rows.measure == measure.name) & rows.value.notna()]
    for k, regime in enumerate(shown):
        own = rows[rows.regime == regime]
        if "low" in own and own.low.notna().any():
            _band(ax, k, own)
        _out(ax, k, own[~own.admitted])
        inside = own[own.admitted]
        ax.plot(np.full(len(inside), k), inside.value, "o", color=BLUE, ms=4, mfc=BLUE, zorder=4)
        if len(inside):
            middle = inside.groupby("lineage").value.median().median()
            ax.plot([k - 0.22, k + 0.22], [middle] * 2, color=ORANGE, lw=2.4, zorder=5)
    wide = grid(study, measure.name, shown)
    for _, line in wide.iterrows():
        known = np.flatnonzero(np.isfinite(line.values.astype(float)))
        ax.plot(known, line.values.astype(float)[known], color=BLUE, lw=0.9, alpha=0.55, zorder=3)
    if measure.null is not None:
        ax.axhline(measure.null, color=INK, lw=0.7, zorder=1)
    ax.set_xticks(range(len(shown)), [_tick(r) for r in shown])
    ax.set_xlim(-0.55, len(shown) - 0.45)
    ax.set_title(measure.title)
    ax.tick_params(axis="x", length=0, labelsize=7.5)
    if len(rows) and (rows.value % 1 == 0).all():  # counts
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _tick(regime: str) -> str:
    return {"persistent": "persis-\ntent", "regenerating": "regen-\nerating", UNKNOWN: "?"}.get(regime, regime)


def _band(ax: Axes, k: int, own: pd.DataFrame) -> None:
    """The null of a regime's networks: the median over them of its 5 and its 95 %."""
    ax.fill_between([k - BAND, k + BAND], own.low.median(), own.high.median(), color=FAINT, alpha=0.75, lw=0, zorder=0)


def _out(ax: Axes, k: int, own: pd.DataFrame) -> None:
    ax.plot(np.full(len(own), k), own.value, "x", color=MUTED, ms=4.5, mew=1.1, zorder=2)


def _legend(studies: Sequence[Study]) -> list[Line2D | Patch]:
    marks: list[Line2D | Patch] = [
        Line2D([], [], color=BLUE, marker="o", ms=4, lw=0.9, label="a lineage of networks"),
        Line2D([], [], color=ORANGE, lw=2.4, label="median over lineages"),
    ]
    if any(outsiders(study) for study in studies):
        marks.append(Line2D([], [], color=MUTED, marker="x", ls="none", label="excluded by its L"))
    if any("low" in study.values and study.values.low.notna().any() for study in studies):
        marks.append(Patch(color=FAINT, label="surrogates, 5 to 95 %"))
    return marks


def bodies(verdicts: Sequence[Verdict]) -> Figure:
    """What every network grew: a row for each regime, a column for each lineage; L below."""
    rows, names, titles = _wrapped(*_arranged(verdicts))
    side = plots.WIDTH / (MOST_COLUMNS + 0.5)
    made, axes = plots.figure(len(rows), MOST_COLUMNS, len(rows) * (side + 0.28) + 0.25)
    for ax in axes.ravel():
        plots.bare(ax)
    pictures = {id(v): _picture(v) for v in verdicts}
    window = _shared_window([pictures[id(v)] for v in verdicts if v.admitted] or list(pictures.values()))
    for line, row, name, above in zip(axes, rows, names, titles, strict=True):
        line[0].set_ylabel(name)
        for ax, verdict, title in zip(line, row, above, strict=False):
            if verdict is not None:
                _portrait(ax, verdict, pictures[id(verdict)], window)
            ax.set_title(title, fontsize=8)
    return made


Rows = list[list[Verdict | None]]


def _arranged(verdicts: Sequence[Verdict]) -> tuple[Rows, list[str], list[str]]:
    """A row for each regime, more where a lineage has several networks of it, and the columns' names."""
    lineages = list(dict.fromkeys(v.member.lineage for v in verdicts))
    rows: Rows = []
    names: list[str] = []
    for regime in dict.fromkeys(v.member.regime for v in verdicts):
        own = [[v for v in verdicts if v.member.regime == regime and v.member.lineage == x] for x in lineages]
        for depth in range(max(map(len, own))):
            rows.append([cell[depth] if depth < len(cell) else None for cell in own])
            names.append("" if depth else regime)
    return rows, names, lineages


def _shared_window(pictures: Sequence[np.ndarray]) -> tuple[slice, slice] | None:
    """Where the bodies lie; None where canvases differ."""
    masks = [p[..., 3] > 0.1 for p in pictures]
    return plots.window(np.any(masks, 0), margin=4) if len({m.shape for m in masks}) == 1 else None


def _wrapped(rows: Rows, names: list[str], titles: list[str]) -> tuple[Rows, list[str], list[list[str]]]:
    """Rows of at most eight; columns are named above the first of them that shows them."""
    cut: Rows = []
    called: list[str] = []
    above: list[list[str]] = []
    told: set[int] = set()
    for row, name in zip(rows, names, strict=True):
        for first in range(0, len(row), MOST_COLUMNS):
            part = row[first : first + MOST_COLUMNS]
            if any(v is not None for v in part):
                new = len(row) > MOST_COLUMNS or first not in told
                above.append(titles[first : first + MOST_COLUMNS] if new else [""] * len(part))
                told.add(first)
                cut.append(part)
                called.append(name if first == 0 else "")
    return cut, called, above


def _picture(verdict: Verdict) -> np.ndarray:
    spec = verdict.member.organism.rule.spec
    return np.asarray(metrics.picture(spec, jnp.asarray(verdict.states[0])))


def _portrait(ax: Axes, verdict: Verdict, picture: np.ndarray, window: tuple[slice, slice] | None) -> None:
    """A body and its L; one that does not count is pale, and its L struck with a cross."""
    window = plots.window(picture[..., 3] > 0.1) if window is None else window
    shown = picture[window] * (1.0 if verdict.admitted else 0.35)
    plots.body(ax, shown)
    said = f"L {format.number(verdict.error)}"
    ax.set_xlabel(
        said if verdict.admitted else f"× {said}",
        fontsize=7.5,
        color=INK if verdict.admitted else MUTED,
        labelpad=2,
    )

"""Figures of a population with their captions: lineages over the regimes, and the bodies that were grown."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from analysis import metrics
from analysis.assays.population import Measure
from analysis.populations.comparisons import Study, lineage_values, member_values
from analysis.populations.population import UNKNOWN, GrownMember
from analysis.report import plots
from analysis.report.format import number
from analysis.report.labels import add_legend
from analysis.report.model import SvgFigure, svg_figure
from analysis.report.plots import BLUE, FAINT, INK, MUTED, ORANGE

_HALF_BAND = 0.36  # half the width of a regime's column
_ROW_HEIGHT = 2.35  # inches
_MAX_COLUMNS = 8
_MAX_PANELS = 4  # in a row


def population_figures(name: str, studies: Sequence[Study]) -> list[SvgFigure]:
    """Every measure over the regimes, and what the networks grew at each step, the latest first."""
    with plots.style():
        figures = [svg_figure(f"{name}-regimes", *_plot_regimes(studies))]
        for study in sorted(studies, key=lambda study: -study.step):
            figures.append(svg_figure(f"{name}-bodies-{study.step}", *_plot_bodies(study.grown)))
    return figures


def _plot_regimes(studies: Sequence[Study]) -> tuple[Figure, str]:
    """Every measure over the regimes, a block of panels for each study."""
    columns = min(_MAX_PANELS, max(len(study.measures) for study in studies))
    rows = [-(-len(study.measures) // columns) for study in studies]
    figure, axes = plots.new_figure(sum(rows), columns, _ROW_HEIGHT * sum(rows) + 0.45)
    for ax in axes.ravel():
        ax.set_visible(False)
    for n, study in enumerate(studies):
        panels = axes[sum(rows[:n]) : sum(rows[: n + 1])].ravel()[: len(study.measures)]
        for k, (ax, measure) in enumerate(zip(panels, study.measures, strict=True)):
            _draw_panel(ax, study, measure)
            if k % columns == 0:
                ax.set_ylabel(f"{study.when}\n{study.assay.axis}" if len(studies) > 1 else study.assay.axis)
        if study.assay.axis:  # panels of one unit share their scale
            low, high = min(ax.get_ylim()[0] for ax in panels), max(ax.get_ylim()[1] for ax in panels)
            for ax in panels:
                ax.set_ylim(low, high)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=BLUE, marker="o", ms=4, lw=0.9, label="a lineage of networks"),
        Line2D([], [], color=ORANGE, lw=2.4, label="median over lineages"),
    ]
    with_excluded = any(_draws_excluded(study) for study in studies)
    if with_excluded:
        handles.append(Line2D([], [], color=MUTED, marker="x", ls="none", label="excluded by its log10 MSE"))
    if any("low" in study.values and study.values.low.notna().any() for study in studies):
        handles.append(Patch(color=FAINT, label="surrogates, 5 to 95 %"))
    add_legend(figure, handles, [str(handle.get_label()) for handle in handles], most=4)
    counts = "; ".join(
        f"{s.when}, {len(s.included)} networks of {len({m.lineage for m in s.included})} lineages" for s in studies
    )
    caption = f"Every network (circles), joined within its lineage; bars are medians over lineages ({counts})."
    caption += " Crosses: networks excluded by their log10 MSE." if with_excluded else ""
    null = studies[0].assay.null(studies[0].config)
    if "low" in studies[0].values:
        return figure, f"{caption} Grey: 5 to 95 % of {null}, median over the networks of a regime."
    return figure, f"{caption} The tests compare with {null}."


def _draws_excluded(study: Study) -> bool:
    """Whether a network was measured, and is drawn, that is excluded."""
    values = member_values(study)
    return bool((values.value.notna() & ~values.included.astype(bool)).any())


def _draw_panel(ax: Axes, study: Study, measure: Measure) -> None:
    ax.set_visible(True)
    regimes, values = study.population.regimes, member_values(study)
    values = values[(values.measure == measure.name) & values.value.notna()]
    for k, regime in enumerate(regimes):
        networks = values[values.regime == regime]
        if "low" in networks and networks.low.notna().any():
            span = networks.low.median(), networks.high.median()
            ax.fill_between([k - _HALF_BAND, k + _HALF_BAND], *span, color=FAINT, alpha=0.75, lw=0, zorder=0)
        excluded, included = networks[~networks.included], networks[networks.included]
        ax.plot(np.full(len(excluded), k), excluded.value, "x", color=MUTED, ms=4.5, mew=1.1, zorder=2)
        ax.plot(np.full(len(included), k), included.value, "o", color=BLUE, ms=4, mfc=BLUE, zorder=4)
        if len(included):
            median = included.groupby("lineage").value.median().median()
            ax.plot([k - 0.22, k + 0.22], [median] * 2, color=ORANGE, lw=2.4, zorder=5)
    for line in lineage_values(study, measure.name, regimes).to_numpy(float):
        defined = np.flatnonzero(np.isfinite(line))
        ax.plot(defined, line[defined], color=BLUE, lw=0.9, alpha=0.55, zorder=3)
    if measure.null is not None:
        ax.axhline(measure.null, color=INK, lw=0.7, zorder=1)
    labels = {"persistent": "persis-\ntent", "regenerating": "regen-\nerating", UNKNOWN: "?"}
    ax.set_xticks(range(len(regimes)), [labels.get(regime, regime) for regime in regimes])
    ax.set_xlim(-0.55, len(regimes) - 0.45)
    ax.set_title(measure.title or measure.name)
    ax.tick_params(axis="x", length=0, labelsize=7.5)
    if len(values) and (values.value % 1 == 0).all():  # counts
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _plot_bodies(grown: Sequence[GrownMember]) -> tuple[Figure, str]:
    """What every network grew: a row for each regime, a column for each lineage; log10 MSE below."""
    lineages = list(dict.fromkeys(g.member.lineage for g in grown))
    rows: list[tuple[str, list[GrownMember | None], list[str]]] = []  # name, bodies, titles
    titled: set[int] = set()
    for regime in dict.fromkeys(g.member.regime for g in grown):
        cells = [[g for g in grown if g.member.regime == regime and g.member.lineage == x] for x in lineages]
        for depth in range(max(map(len, cells))):  # more rows where a lineage has several networks of a regime
            row = [cell[depth] if depth < len(cell) else None for cell in cells]
            for start in range(0, len(row), _MAX_COLUMNS):
                bodies, names = row[start : start + _MAX_COLUMNS], lineages[start : start + _MAX_COLUMNS]
                if any(body is not None for body in bodies):
                    first = len(row) > _MAX_COLUMNS or start not in titled
                    titled.add(start)
                    name = regime if depth == start == 0 else ""
                    rows.append((name, bodies, names if first else [""] * len(names)))
    side = plots.WIDTH / (_MAX_COLUMNS + 0.5)
    figure, axes = plots.new_figure(len(rows), _MAX_COLUMNS, len(rows) * (side + 0.28) + 0.25)
    for ax in axes.ravel():
        plots.hide_frame(ax)
    pictures = {
        id(g): np.asarray(metrics.picture(g.member.organism.rule.spec, jnp.asarray(g.states[0]))) for g in grown
    }
    shown = [pictures[id(g)] for g in grown if g.included] or list(pictures.values())
    masks = [picture[..., 3] > 0.1 for picture in shown]
    shared = plots.body_window(np.any(masks, 0), margin=4) if len({m.shape for m in masks}) == 1 else None
    for line, (name, bodies, titles) in zip(axes, rows, strict=True):
        line[0].set_ylabel(name)
        for ax, body, title in zip(line, bodies, titles, strict=False):
            if body is not None:
                _draw_body(ax, body, pictures[id(body)], shared)
            ax.set_title(title, fontsize=8)
    return figure, (
        f"The first run of every network at step {grown[0].step}, by regime (rows) and lineage (columns), with its "
        "log10 MSE, median over runs. Pale, with a cross: excluded."
    )


def _draw_body(ax: Axes, grown: GrownMember, picture: np.ndarray, window: tuple[slice, slice] | None) -> None:
    """A body and its log10 MSE; an excluded one is pale, with a cross before its number."""
    window = plots.body_window(picture[..., 3] > 0.1) if window is None else window
    plots.draw_body(ax, picture[window] * (1.0 if grown.included else 0.35))
    cross = "" if grown.included else "× "
    colour = INK if grown.included else MUTED
    ax.set_xlabel(f"{cross}{number(grown.log_mse)}", fontsize=7.5, color=colour, labelpad=2)

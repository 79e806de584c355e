"""The figures of the lesion assays: finished results laid out, with what to read in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.assays.lesions import plots as lesion_plots
from analysis.assays.lesions.battery import PHASES, Lesions
from analysis.assays.lesions.self_repair import NULL
from analysis.report import plots
from analysis.report.format import interval_label, percent, plural
from analysis.report.model import SvgFigure, svg_figure

COLUMNS = 5
EXTENT = 1.7  # inches a row of small panels


def draw(found: Lesions) -> list[SvgFigure]:
    """Every figure that there are results for."""
    makers: dict[str, tuple[bool, Callable[[Lesions], tuple[Figure, str]]]] = {
        "lesion-atlas": (len(found.rows) > 0, atlas),
        "lesion-doses": (len(found.rows) > 0 and bool(len(graded(found.rows))), doses),
        "lesion-parts": (len(found.rows) > 0 and bool((found.rows.part != "channel").any()), parts),
        "lesion-pairs": (len(found.pairs) > 0, pairs),
        "lesion-periods": (len(found.crossings) > 0, periods),
        "lesion-repair": (len(found.effects) > 0, repair),
    }
    drawn = []
    with plots.style():
        for name, (known, maker) in makers.items():
            if known:
                made, caption = maker(found)
                drawn.append(svg_figure(name, made, caption))
    return drawn


def graded(rows: pd.DataFrame) -> pd.DataFrame:
    """Dose-response rows of the grown body: hidden channels, alpha, the marker."""
    picked = (rows.phase == "adult") & (rows.part == "channel") & (rows.kind == "graded")
    return rows[picked & rows.role.isin(("hidden", "alpha", "marker")) & rows.fitness.notna()]


def atlas(found: Lesions) -> tuple[Figure, str]:
    """Every channel under every kind, phase by phase."""
    rows = found.rows[found.rows.part == "channel"]
    targets = list(dict.fromkeys(rows.target))
    phases = [phase for phase in PHASES if (rows.phase == phase).any()]
    columns = {phase: _columns(rows[rows.phase == phase]) for phase in phases}
    widths = [len(columns[phase]) for phase in phases]
    made, axes = plots.figure(1, len(phases), 0.2 * len(targets) + 1.75, sharey=True, width_ratios=widths)
    for ax, phase in zip(axes[0], phases, strict=True):
        image = lesion_plots.atlas(ax, rows[rows.phase == phase], targets, columns[phase])
        ax.set_title(phase)
    plots.scale_bar(axes[0], image, "lost fitness, 1 − W")
    runs = int(rows.runs.max())
    return made, (
        f"Median over {plural(runs, 'key')} of the fitness lost (1 − W) at so many steps after each lesion "
        "began: pale is as the undisturbed run of the same key, dark orange is dead, blue is closer to "
        "the target; colours end at ±1. Numbers after a kind are its dose and, after a comma, the steps. The "
        "nulls stand in the same map: the marker, "
        "which nothing reads (last row), a twin’s values and a random push as far as the erasure. "
        "Triangle: a run overgrew; cross: one exploded; empty: not made, or not defined; dot: the lesion "
        f"touched nothing. Growing from step {found.config.young}, adult and regenerating "
        f"({found.config.cut} cut off) from step {found.config.at}."
    )


def _columns(rows: pd.DataFrame) -> list[tuple[str, float, int]]:
    """Kind, dose (-1 for none) and horizon: of kinds judged more than once, the last horizon alone."""
    kinds = rows.groupby(["kind", rows.dose.fillna(-1.0)], sort=False).horizon.max()
    return [(str(kind), float(dose), int(horizon)) for (kind, dose), horizon in kinds.items()]


def _panels(many: int) -> tuple[Figure, list, list]:
    """Small panels, row by row; the outer ones are given labels by the caller."""
    rows = -(-many // COLUMNS)
    made, axes = plots.figure(rows, COLUMNS, EXTENT * rows + 0.35, sharey=True, sharex=True)
    flat = list(axes.ravel())
    for ax in flat[many:]:
        ax.set_visible(False)
    lowest = [ax for n, ax in enumerate(flat[:many]) if n + COLUMNS >= many]
    for ax in lowest:
        ax.tick_params(labelbottom=True)
    return made, flat[:many], lowest


def doses(found: Lesions) -> tuple[Figure, str]:
    """Fitness against dose, channel by channel."""
    rows = graded(found.rows)
    targets = list(dict.fromkeys(rows.target))
    made, panels, lowest = _panels(len(targets))
    for ax, target in zip(panels, targets, strict=True):
        lesion_plots.dose_response(ax, rows[rows.target == target], target)
    for ax in lowest:
        ax.set_xlabel("share lost a step")
    for ax in panels[::COLUMNS]:
        ax.set_ylabel("fitness W")
    panels[-1].legend(loc="lower left", fontsize=7)
    return made, (
        "A channel of the grown body loses a share of itself at every step. Median and "
        f"{interval_label(int(rows.runs.max()))}: dashed after the first horizon, full after "
        "the last. 1 is as the undisturbed run, 0 is dead; orange triangle: a run overgrew (W below −0.25 "
        "is drawn there). The marker is read by nothing."
    )


def parts(found: Lesions) -> tuple[Figure, str]:
    """Filters, hidden units, directions."""
    rows = found.rows[(found.rows.phase == "adult") & found.rows.fitness.notna()]
    units = rows[(rows.part == "unit") & ~rows.target.str.startswith("unit ")]
    inner = pd.concat([rows[rows.part == "filter"], units])
    along = rows[(rows.part == "direction") & (rows.kind == "graded")]
    dose = along.dose.max()
    along = along[along.dose == dose]
    inner = inner[inner.kind != "graded"]
    most = max(inner.target.nunique(), along.target.nunique(), 4)
    made, axes = plots.figure(1, 2, 0.19 * most + 0.9)
    lesion_plots.parts(axes[0, 0], inner, ("zero", "mean"), (plots.BLUE, plots.ORANGE))
    axes[0, 0].set_title("filters; hidden units by the channel they write")
    axes[0, 0].legend(loc="best", fontsize=7.5)
    own, null = (along[along.role == name] for name in ("component", "random"))
    lesion_plots.parts(axes[0, 1], own, ("graded",), (plots.BLUE,), null.fitness.to_numpy())
    axes[0, 1].set_title(f"directions, {percent(dose)} taken out a step")
    axes[0, 1].legend(loc="best", fontsize=7.5)
    horizon = int(inner.horizon.max()) if len(inner) else int(along.horizon.max())
    return made, (
        f"The grown body {horizon} steps on, median and {interval_label(int(rows.runs.max()))} (drawn "
        "within −0.5 to 1.5). Left: a filter of the "
        "perception over all channels, and groups of hidden units (how many, to the channel that they "
        "write to most), held at zero or at their mean over the body. Right: principal components of the "
        "hidden states, and in grey random hidden directions, the null."
    )


def pairs(found: Lesions) -> tuple[Figure, str]:
    """The epistasis map, and the pairs that interact most."""
    names = [str(name) for name in found.doubles.a.values]
    w = found.doubles.fitness.values
    limits = _ends(found.pairs.eps_w, 1.0), _ends(found.pairs.eps_l, 4.0)
    singles = [float(np.median(w[n, n])) for n in range(len(names))]
    made, axes = plots.figure(1, 2, 5.0, width_ratios=[1.7, 1])
    on_w, on_l = lesion_plots.epistasis(axes[0, 0], found.pairs, singles, names, limits)
    plots.scale_bar(axes[0, 0], on_w, "interaction ε on W (above)", "bottom")
    lesion_plots.ranked_pairs(axes[0, 1], found.pairs)
    axes[0, 1].yaxis.tick_right()
    axes[0, 1].spines["left"].set_visible(False)
    keys, twin = found.doubles.sizes["run"], found.doubles.attrs["reference"] == "twin"
    if not twin:
        plots.scale_bar(axes[0, 0], on_l, "interaction ε on −L (below)", "bottom")
    below = "empty: there is no target, so −L has no zero" if twin else "each half with its own scale"
    return made, (
        f"Two channels held at zero from step {found.config.at} on, {found.config.pair_for} steps later, "
        f"median over {plural(keys, 'key')}. Left: ε on W above the diagonal, on −L below it ({below}); on "
        "the diagonal W of the single lesion. Orange: together worse than the two alone would be "
        "(backup); blue: better. Framed: clear at a false discovery rate of 0.05, below the diagonal too "
        "where −L agrees; cross: masked, one alone leaves nothing to lose. Right: the largest on W, with "
        f"{interval_label(keys)}. The null is 0; the marker’s row is a control."
    )


def _ends(eps: pd.Series, most: float) -> float:
    """Where the colours of an interaction end: at the largest, but within 0.25 and `most`."""
    largest = float(eps.abs().max())
    return float(np.clip(largest, 0.25, most)) if np.isfinite(largest) else most


def periods(found: Lesions) -> tuple[Figure, str]:
    """When each channel is needed."""
    w, table = found.periods.fitness, found.crossings.set_index("channel")
    names = [str(name) for name in found.periods.channel.values]
    marker = next((name for name in names if name.startswith("marker")), None)
    low = -0.45 if (w.values < -0.05).any() else -0.05
    made, panels, lowest = _panels(len(names))
    for ax, name in zip(panels, names, strict=True):
        control = None if marker is None else w.sel(channel=marker)
        lesion_plots.period(ax, w.sel(channel=name), control, table.loc[name], name, low)
    for ax in lowest:
        ax.set_xlabel("step t")
    for ax in panels[::COLUMNS]:
        ax.set_ylabel("fitness W")
    panels[-1].legend(loc="lower left", fontsize=7)
    return made, (
        f"Fitness at step {found.config.period_end} after a channel was held at zero from step t on (blue) "
        f"or from the seed until step t (orange): {plural(found.periods.sizes['run'], 'key')} thin, their "
        "median thick. Shaded: between the half-effect crossings, dark where a lesion on either side of them "
        "harms, pale where only a longer one does or keys disagree. Dotted: the marker, which nothing reads. "
        "Curves are drawn within −0.4 to 1.4."
    )


def repair(found: Lesions) -> tuple[Figure, str]:
    """Direct against total effects."""
    kinds = [kind for kind in dict.fromkeys(found.effects.kind) if not kind.startswith(NULL)]
    size = found.effects.channel.nunique()
    made, axes = plots.figure(1, len(kinds), 0.23 * size + 1.25, sharey=True)
    for ax, kind in zip(axes[0], kinds, strict=True):
        rows, nulls = (found.effects[found.effects.kind == name].reset_index(drop=True) for name in (kind, NULL + kind))
        lesion_plots.repair(ax, rows, nulls, kind)
    made.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7.5)
    return made, (
        f"What a channel’s loss costs {found.config.repair_for} steps later, with everything free to "
        "respond (total) and with the updates of the other hidden channels held to those of the "
        f"undisturbed run (direct): median and {interval_label(int(found.effects.runs.max()))}. Where the "
        "direct effect is clear of 0, the share "
        "that the others make up for stands at the right (negative: they make it worse). Grey: the null, a "
        "change of the same channel as large and as smooth as its loss, but elsewhere. Values outside −0.4 "
        "to 1.4 stand at these. The marker is the control."
    )

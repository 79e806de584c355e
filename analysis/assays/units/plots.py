"""Figures of hidden units with their captions, from finished results."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import Rectangle

from analysis.assays.units.cards import HARMLESS
from analysis.assays.units.config import PHASES
from analysis.assays.units.faithfulness import ENOUGH, needed_intervals
from analysis.assays.units.run import UnitResult
from analysis.report import plots
from analysis.report.format import number, plural
from analysis.report.plots import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE

PHASE_COLOURS: dict[str, str] = dict(zip(PHASES, (GREEN, BLUE, ORANGE), strict=True))
_ORDER_COLOURS = {"effect": ORANGE, "variance": BLUE, "random": MUTED}
_ORDER_LABELS = {"effect": "by effect", "variance": "by variance written", "random": "at random"}
_COLUMNS = 16  # maps in a row
_MAX_LOSS = 0.3  # where the scale of losses ends
_MIN_DRAWN = -1.0  # lower fitness is drawn here
_LABELLED = 5
_SHORT = {"growing": "growing", "adult": "adult", "regenerating": "cut"}
_FAMILIES = 8  # drawn, the largest
_MAPS = plots.RECOVERED["cmap"]
_LOSSES = LinearSegmentedColormap.from_list("losses", plots.DIVERGING(np.linspace(0.5, 1, 9)))


def unit_figures(result: UnitResult) -> dict[str, tuple[Figure, str]]:
    """The figures that there are results for, with their captions, by name."""
    makers = {
        "maps": len(result.units) and _plot_maps,
        "ablations": result.ablations and _plot_ablations,
        "kept": result.curves and _plot_kept,
        "families": len(result.families) and _plot_families,
        "backup": len(result.backup) and _plot_backup,
        "suppression": result.suppression and _plot_suppression,
    }
    with plots.style():
        return {name: make(result) for name, make in makers.items() if make}


def _body_frame(result: UnitResult) -> int:
    """The map that shows the grown body: the adult's first, or the last."""
    adult = np.flatnonzero(result.activity.phase.values == "adult")
    return int(adult[0]) if len(adult) else result.activity.sizes["frame"] - 1


def _losses(result: UnitResult) -> dict[str, np.ndarray]:
    """Fitness lost by the ablation of each unit, median over runs, by phase: at its mean where that was done."""
    losses = {}
    for phase in result.ablations.phase.values if result.ablations else ():
        ablation = "mean" if "mean" in result.ablations.ablation else result.ablations.ablation.values[0]
        losses[str(phase)] = 1 - result.units[f"fitness_{phase}_{ablation}"].to_numpy()
    return losses


def _plot_maps(result: UnitResult) -> tuple[Figure, str]:
    """The body as each unit sees it, the units needed most first, and what each costs in every phase."""
    frame, losses = _body_frame(result), _losses(result)
    body = result.activity.body.values[frame]
    window = plots.body_window(body, 1)
    maps = result.activity.maps.values[frame][window].transpose(2, 0, 1)
    inside = body[window]
    most = np.max(list(losses.values()), 0) if losses else result.units.variance.to_numpy()
    order = np.argsort(-np.nan_to_num(most, nan=-np.inf, posinf=np.inf), kind="stable")
    rows = -(-len(order) // _COLUMNS)
    height, width = inside.shape
    bar = round(0.17 * width) if losses else 0
    cell_y, cell_x = height + bar + round(0.46 * width), round(1.12 * width) + 1
    figure = Figure(figsize=(plots.WIDTH, min(plots.WIDTH * rows * cell_y / (_COLUMNS * cell_x) + 0.5, 13)))
    ax = figure.subplots()
    mosaic = np.full((rows * cell_y, _COLUMNS * cell_x), np.nan)
    for place, unit in enumerate(order):
        top, left = (place // _COLUMNS) * cell_y, (place % _COLUMNS) * cell_x
        peak = maps[unit].max()
        mosaic[top : top + height, left : left + width] = np.where(inside, maps[unit] / (peak or 1.0), np.nan)
        ax.text(left + width / 2, top - 1, str(unit), ha="center", va="bottom", fontsize=5.5, color=INK)
        for n, loss in enumerate(losses.values()):
            share = float(np.clip(np.nan_to_num(loss[unit], posinf=9) / _MAX_LOSS, 0, 1))
            size = width / len(losses)
            corner = (left + n * size - 0.5, top + height + 1)
            ax.add_patch(Rectangle(corner, 0.9 * size, bar, color=_LOSSES(share), lw=0))
    ax.imshow(mosaic, cmap=_MAPS, vmin=0, vmax=1)
    ax.set_ylim(rows * cell_y, -0.3 * width)
    plots.hide_frame(ax)
    if losses:
        scale = figure.colorbar(
            ScalarMappable(Normalize(0, _MAX_LOSS), _LOSSES),
            ax=ax, location="bottom", shrink=0.35, aspect=28, pad=0.01,
        )  # fmt: skip
        scale.outline.set_visible(False)
        scale.set_label(f"fitness lost: {', '.join(losses)}", fontsize=8)
    config = result.config
    return figure, (
        f"Every hidden unit on the body at step {result.activity.step.values[frame]}: its mean activity over "
        f"{plural(config.runs, 'run')}, dark where it is high, each unit on its own scale, the units needed most "
        "first. "
        + (
            "Below each, what the body loses when the unit is held at its mean, from left to right "
            f"{', '.join(losses)} (orange: fitness is lost; {_MAX_LOSS} or more is darkest). The number is the unit’s."
            if losses
            else "The number is the unit’s."
        )
    )


def _plot_ablations(result: UnitResult) -> tuple[Figure, str]:
    """Fitness without each unit, the worst first, a panel for each phase."""
    phases = [str(p) for p in result.ablations.phase.values]
    figure, axes = plots.new_figure(1, len(phases), 2.7, sharey=True)
    lowest = 1.0
    for ax, phase in zip(axes[0], phases, strict=True):
        main = "mean" if "mean" in result.ablations.ablation else str(result.ablations.ablation.values[0])
        for ablation in map(str, result.ablations.ablation.values):
            marker = "o" if ablation == main else "|"
            columns = [f"fitness_{phase}_{ablation}{end}" for end in ("", "_low", "_high")]
            ranked = result.units.sort_values(columns[0])
            fitness, low, high = (ranked[c].clip(_MIN_DRAWN, None).to_numpy() for c in columns)
            place = 1 + np.arange(len(ranked))
            colour = PHASE_COLOURS[phase] if ablation == main else MUTED
            ax.vlines(place, low, high, color=colour, lw=0.6, alpha=0.5)
            label = "held at its mean" if ablation == "mean" else "silent"
            ax.plot(place, fitness, marker, color=colour, ms=2.5 if marker == "o" else 3.5, label=label)
            lowest = min(lowest, float(np.nanmin(low)))
        worst = result.units.sort_values(f"fitness_{phase}_{main}").head(_LABELLED)
        names = ", ".join(str(u) for u in worst.unit)
        ax.text(0.97, 0.06, f"needed most:\n{names}", transform=ax.transAxes, ha="right", fontsize=7.5, color=INK)
        ax.axhline(1, color=FAINT, lw=0.8, zorder=0)
        ax.axhline(HARMLESS, color=FAINT, lw=0.8, ls=":", zorder=0)
        ax.set_title(phase, fontsize=9)
        ax.set_xlabel("rank of the unit")
    axes[0, 0].set_ylabel("fitness without the unit")
    axes[0, 0].set_ylim(lowest - 0.05, 1.08)
    axes[0, 0].legend(loc="center right", fontsize=7.5)
    config = result.config
    return figure, (
        f"Fitness when one unit is ablated during a whole phase of life, the worst first: median and interval over "
        f"{plural(config.runs, 'run')}. 1 is the control of the same key, 0 an empty canvas. Dotted: {HARMLESS}. "
        f"Phases: {_phase_text(result)}."
    )


def _phase_text(result: UnitResult) -> str:
    """What the phases are, in words."""
    config, words = result.config, []
    for phase in result.curves.phase.values if result.curves else config.phases:
        words.append(
            {
                "growing": f"growing, from the seed to step {min(config.growing_steps, config.adult_step)}",
                "adult": f"adult, {config.adult_steps} steps from step {config.adult_step}",
                "regenerating": f"regenerating, {config.regenerating_steps} steps after the {config.cut} cut",
            }[str(phase)]
        )
    return "; ".join(words)


def _plot_kept(result: UnitResult) -> tuple[Figure, str]:
    """Fitness against the number of units kept, a panel for each phase."""
    phases = [str(p) for p in result.curves.phase.values]
    figure, axes = plots.new_figure(1, len(phases), 2.7, sharey=True)
    for ax, phase in zip(axes[0], phases, strict=True):
        curve = result.curves.sel(phase=phase)
        needed = needed_intervals(curve)
        kinds = np.asarray([str(order).split()[0] for order in curve.order.values])
        for kind in ("random", "variance", "effect"):
            values = curve.fitness.transpose("order", "kept", "run").values[kinds == kind].clip(_MIN_DRAWN, None)
            lines = values.transpose(1, 0, 2).reshape(curve.sizes["kept"], -1)
            ax.plot(curve.kept, lines, color=_ORDER_COLOURS[kind], lw=0.4, alpha=0.35)
            ax.plot(curve.kept, np.median(lines, 1), "o-", ms=2.5, lw=1.6, color=_ORDER_COLOURS[kind],
                    label=_ORDER_LABELS[kind])  # fmt: skip
            ax.plot([needed[kind][0]] * 2, [_MIN_DRAWN - 0.1, ENOUGH], color=_ORDER_COLOURS[kind], lw=0.8, ls=":")
        ax.axhline(ENOUGH, color=FAINT, lw=0.8, zorder=0)
        ax.set(ylim=(_MIN_DRAWN - 0.1, 1.12), xlim=(0, curve.kept.values[-1]), xlabel="units kept")
        ax.set_title(phase, fontsize=9)
    axes[0, 0].set_ylabel("fitness")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3)
    config = result.config
    return figure, (
        f"Fitness when so many units work and all others are held at their mean over the body: every one of "
        f"{plural(config.kept_runs, 'run')} (thin), and the median. Units are kept in the order of their effect, "
        f"measured in {config.runs} other runs; of the variance that they write; and in "
        f"{plural(config.random_orders, 'random order')}. With none kept, every cell does the same and a grown body "
        f"stands still. Dotted: where fitness {ENOUGH} is reached for good. Fitness "
        f"below {number(_MIN_DRAWN, 0)} is drawn there. Phases: {_phase_text(result)}."
    )


def _plot_families(result: UnitResult) -> tuple[Figure, str]:
    """Where and when each family is active, and the number by which it stands out."""
    families = result.families.head(_FAMILIES)
    frames = np.arange(result.activity.sizes["frame"])
    body = result.activity.body.values
    window = plots.body_window(body.any(0), 1)
    maps = result.activity.maps.values
    scale = maps.max((0, 1, 2))
    member = result.units.family.to_numpy()
    height, width = (span.stop - span.start for span in window)
    wide = plots.WIDTH / len(frames)
    tall = wide * height / width + 0.24
    top = tall * len(families) + 0.35
    figure = Figure(figsize=(plots.WIDTH, top), layout=PlaceHolderLayoutEngine(True, True))
    axes = figure.subplots(len(families), len(frames), squeeze=False)
    figure.subplots_adjust(0.005, 0.35 / top, 0.995, 1 - 0.22 / top, wspace=0.06, hspace=0.24 / (tall - 0.24))
    for row, family in zip(axes, families.itertuples(index=False), strict=True):
        units = (member == family.family) & (scale > 0)
        shares = (maps[..., units] / scale[units]).mean(-1)
        for ax, frame in zip(row, frames, strict=True):
            ax.imshow(np.where(body[frame], shares[frame], np.nan)[window], cmap=_MAPS, vmin=0, vmax=0.6)
            plots.hide_frame(ax)
        title = f"family {family.family} ({plural(family.units, 'unit')}): {family.name}"
        row[0].text(0, 1.02, title, transform=row[0].transAxes, fontsize=7.5, va="bottom", color=INK)
    for ax, phase, step in zip(axes[-1], result.activity.phase.values, result.activity.step.values, strict=True):
        ax.set_xlabel(f"{_SHORT[str(phase)]}\n{step}", fontsize=7)
    return figure, (
        "Mean activity of the units of each family on the body, of each unit as a share of its largest: growing, "
        f"adult, and after the {result.config.cut} cut (step below). The {len(families)} largest families of "
        f"{result.clusters['families']}; each is named by the numbers in which it lies half a standard deviation or "
        "more from the mean of all units."
    )


def _plot_backup(result: UnitResult) -> tuple[Figure, str]:
    """What the screening proposed, and what further runs say."""
    phases = list(dict.fromkeys(result.backup.phase))
    figure, axes = plots.new_figure(1, len(phases), 2.9)
    for ax, phase in zip(axes[0], phases, strict=True):
        judged = result.backup[result.backup.phase == phase]
        screen = np.median(result.screening.backup.sel(phase=phase).transpose("unit", "run").values, 1)
        place = np.arange(len(judged))[::-1]
        rest = np.delete(screen, [int(judged.primary.iloc[0]), *judged.unit])
        low, high = np.nanquantile(rest, [0.05, 0.95])
        ax.axvspan(low, high, color=FAINT, alpha=0.5, lw=0, zorder=0)
        for shift, name, colour in ((0.13, "backup", BLUE), (-0.13, "response", PURPLE)):
            values, lows, highs = (judged[f"{name}{end}"].to_numpy() for end in ("", "_low", "_high"))
            ax.hlines(place + shift, lows, highs, color=colour, lw=1)
            clear = judged["backs_up" if name == "backup" else "responds"].to_numpy()
            for n, y in enumerate(place + shift):
                ax.plot(values[n], y, "o", ms=4.5, color=colour, mfc=colour if clear[n] else "none",
                        label=name if n == 0 else None)  # fmt: skip
        ax.axvline(0, color=MUTED, lw=0.8, zorder=0)
        ax.set_yticks(place, [f"unit {u}" for u in judged.unit])
        ax.tick_params(axis="y", length=0)
        ax.set_title(f"{phase}, without unit {judged.primary.iloc[0]}", fontsize=8.5)
        ax.set_xlabel("fitness")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    config = result.config
    return figure, (
        "Units that may back up the one needed most. Backup: how much more the unit’s ablation costs when that one is "
        "out. Response: how much fitness is lost, when that one is out, by holding the unit to what it does in the "
        f"control. Median and interval over {plural(config.backup_runs, 'run')}; filled: clear (q ≤ 0.05, at least "
        "0.05, and "
        f"more than changes that merely add). Grey: 5 to 95 % of all other units, in the {config.backup_screen_runs} "
        "runs "
        "that proposed the candidates."
    )


def _plot_suppression(result: UnitResult) -> tuple[Figure, str]:
    """Opposition of reading and writing against its null, and what of it is more than a leak."""
    data = result.suppression
    figure, axes = plots.new_figure(1, 2, 2.5)
    left, right = axes[0]
    edges = np.linspace(-1, 1, 41)
    null, own = data.null.values.ravel(), data.opposition.values
    left.hist(null, edges, density=True, color=FAINT, label="reading of one unit, writing of another")
    left.hist(own, edges, density=True, histtype="step", color=ORANGE, lw=1.4, label="of the same unit")
    left.set(xlabel="opposition of reading and writing", ylabel="density")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, 1.32), fontsize=7.5)
    clear = data.q.values <= 0.05
    right.plot(own, data.beyond_leak, ".", color=MUTED, ms=4)
    right.plot(own[clear], data.beyond_leak.values[clear], "o", color=ORANGE, ms=4, label="q ≤ 0.05")
    _label_units(right, own, data.beyond_leak.values, np.argsort(-data.suppression.values)[:_LABELLED])
    right.axvline(0, color=FAINT, lw=0.8, zorder=0)
    right.set(xlabel="opposition of reading and writing", ylabel="share beyond a leak", ylim=(-0.05, 1.08))
    if clear.any():
        right.legend(loc="lower left", fontsize=7.5)
    return figure, (
        "Does a unit write against what it reads of its own cell? Left: minus the cosine between reading and writing, "
        "whitened (1: it takes away what it reads), of every unit, and of the reading of one unit with the writing "
        "of another (the null). Right: the share of a unit’s activity, where it lowers what it reads, that is more "
        "than a leak in proportion to the cell’s own state; numbered are the units with the largest product of the "
        "two."
    )


def _label_units(ax: Axes, x: Any, y: Any, units: Any) -> None:
    for unit in units:
        ax.annotate(str(unit), (x[unit], y[unit]), xytext=(3, 3), textcoords="offset points", fontsize=7, color=INK)

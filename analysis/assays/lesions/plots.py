"""Figures of the lesion experiments, drawn from finished results, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.assays.lesions.atlas import NO_CELLS_CHANGED
from analysis.assays.lesions.bases import BASIS_RUNS, TRAINED
from analysis.assays.lesions.epistasis import INTERACTIONS
from analysis.assays.lesions.gallery import plot_gallery
from analysis.assays.lesions.interventions import ONCE
from analysis.assays.lesions.run import LesionResult
from analysis.report import plots
from analysis.report.format import interval_label, percent, plural
from analysis.report.labels import add_legend
from analysis.report.plots import BLUE, DIVERGING, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE

_COLUMNS = 5  # small panels in a row
_MAX_UNITS = 12  # hidden units that are drawn
_ROW_HEIGHT = 1.7  # inches of a row of small panels
_PAIR_COLOURS = {
    "backup": ORANGE,
    "backup on fitness": "#e69f00",
    "series": BLUE,
    "series on fitness": "#56b4e9",
    "suppression": BLUE,
    "suppression on fitness": "#56b4e9",
    "masked": MUTED,
    "none": FAINT,
}


def lesion_figures(result: LesionResult) -> dict[str, tuple[Figure, str]]:
    """The figures that there are results for, by name, each with its caption."""
    atlas, has_atlas = result.atlas, len(result.atlas) > 0
    adult = _adult_channels(atlas).intervention if has_atlas else pd.Series()
    makers = {
        "channels": adult.isin(("partial", "erase")).any() and _plot_channels,
        "gallery": len(result.pictures) > 0 and result.portrait is not None and plot_gallery,
        "bases": len(result.basis_fitness) > 1 and _plot_bases,
        "atlas": has_atlas and atlas.intervention.nunique() > len(ONCE) + 1 and _plot_atlas,
        "doses": len(result.half_doses) > 0 and len(result.config.doses) > 1 and _plot_doses,
        "targets": has_atlas and (atlas.target_type != "channel").any() and _plot_targets,
        "pairs": len(result.pairs) > 0 and _plot_pairs,
        "periods": len(result.period_bounds) > 0 and _plot_periods,
        "repair": len(result.repair_effects) > 0 and _plot_repair,
    }
    return {name: maker(result) for name, maker in makers.items() if maker}


def _plot_channels(result: LesionResult) -> tuple[Figure, str]:
    """Fitness and rise of log10 MSE by channel of the adult: partial ablation, and erased once beside its null."""
    dose, rows = result.config.middle_dose, _adult_channels(result.atlas)
    rows = rows[(rows.intervention != "partial") | (rows.dose == dose)]
    titles = {"partial": f"{percent(dose)} per step", "erase": "erased once"}
    titles = {name: title for name, title in titles.items() if (rows.intervention == name).any()}
    values = {"fitness": "fitness", "log_mse_increase": "rise of log10 MSE"}
    values = {name: label for name, label in values.items() if np.isfinite(rows[name]).any()}
    columns = [(name, value) for name in titles for value in values]
    targets = list(dict.fromkeys(rows.target))
    figure, axes = plots.new_figure(1, max(len(columns), 1), 0.235 * len(targets) + 1.1, sharey=True)
    for ax, (name, value) in zip(axes[0], columns, strict=False):
        _channel_intervals(ax, rows, targets, name, value)
        ax.set(title=titles[name], xlabel=values[value])
        ax.axvline(1 if value == "fitness" else 0, color=GREEN, lw=1, zorder=0)
        if value == "fitness":
            ax.axvline(0, color=MUTED, lw=1, ls="--", zorder=0)
    _label_rows(axes[0, 0], targets)
    axes[0, 0].set_ylabel("channel")
    handles = {label: h for ax in axes[0] for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    add_legend(figure, list(handles.values()), list(handles), most=4)
    null = ""
    if "erase" in titles and (rows.intervention == "random-direction").any():
        null = (
            "Crosses: the same cells changed by as much along a random direction of the hidden channels, the null of "
        )
        null += "erase. "
    return figure, (
        f"Lesions of single channels of the adult body at step {result.config.adult_step}: median and "
        f"{interval_label(int(rows.runs.max()))} (bootstrap). Fitness is 1 for an unperturbed body (green) and 0 for "
        "an empty canvas (dashed); the rise of log10 MSE is over the control of the same key, 1 being ten times the "
        f"error. {null}Alpha keeps cells alive and colours are what the error measures: they say nothing about the "
        "hidden channels. No cell reads the control channel."
    )


def _channel_intervals(ax: Axes, rows: pd.DataFrame, targets: Sequence[str], intervention: str, value: str) -> None:
    """Median and interval of one intervention by channel, at each evaluation step; of erase the null, at the last."""
    steps = sorted(set(rows[rows.intervention == intervention].eval_step))
    series = [(intervention, step, 0.18 * (2 * n - len(steps) + 1)) for n, step in enumerate(steps)]
    series += [("random-direction", steps[-1], 0.36)] if intervention == "erase" else []
    for name, step, shift in series:
        shown = rows[(rows.intervention == name) & (rows.eval_step == step)]
        at = np.asarray([targets.index(t) for t in shown.target])
        if name == "random-direction":
            _intervals(ax, shown, value, at + shift, MUTED, "x", mew=1.4, label=f"null, {step} steps")
            continue
        fill = BLUE if step == steps[-1] else "none"
        _intervals(ax, shown, value, at + shift, BLUE, mfc=fill, label=f"{step} steps")
        over = (shown.overgrown_runs > 0).to_numpy()
        if over.any():
            ax.plot(shown[value][over], at[over], "^", color=ORANGE, ms=9, mfc="none", mew=1.2, label="overgrown")
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=FAINT, lw=0.4)
    ax.set_axisbelow(True)


def _intervals(ax: Axes, rows: pd.DataFrame, value: str, at: Any, colour: str, marker: str = "o", **looks: Any) -> None:
    """A value of every row of a table with its interval, at these heights."""
    low, middle, high = (rows[name] for name in (f"{value}_low", value, f"{value}_high"))
    ax.hlines(at, low, high, color=colour, lw=1.3)
    ax.plot(middle, at, marker, color=colour, **({"ms": 4.2} | looks))


def _label_rows(ax: Axes, labels: Sequence[str], **looks: Any) -> None:
    """A label for each row, the first on top."""
    ax.set_yticks(range(len(labels)), labels, **looks)
    ax.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def _adult_channels(atlas: pd.DataFrame) -> pd.DataFrame:
    """Rows of the atlas for channels of the adult body."""
    return atlas[(atlas.phase == "adult") & (atlas.target_type == "channel")]


def _plot_bases(result: LesionResult) -> tuple[Figure, str]:
    """Fitness without each hidden channel, the worst first, in the trained basis and in others."""
    fitness, with_backup = result.basis_fitness, len(result.basis_backup) > 1
    figure, axes = plots.new_figure(1, 2 if with_backup else 1, 2.6, width_ratios=[3, 1] if with_backup else None)
    ax, ranks = axes[0, 0], np.arange(1, fitness.shape[1] + 1)
    for name, row in fitness.iloc[::-1].iterrows():  # the trained one last, on top
        looks = {"color": BLUE, "lw": 1.8, "marker": "o", "ms": 4, "label": "trained basis"}
        ax.plot(ranks, np.sort(row), **(looks if name == TRAINED else {"color": MUTED, "lw": 0.9}))
    ax.lines[0].set_label("other bases")
    ax.axhline(1, color=GREEN, lw=1, zorder=0)
    ax.axhline(0, color=MUTED, lw=1, ls="--", zorder=0)
    step, dose = result.config.eval_steps[-1], percent(result.config.middle_dose)
    ax.set(xlabel="hidden channel, by rank", ylabel=f"fitness after {step} steps", xticks=ranks)
    ax.legend(loc="lower right")
    text = (
        f"The same organism in {len(fitness) - 1} other bases (random rotations of its hidden channels): fitness when "
        f"one channel decays by {dose} per step, the worst on the left (median of "
        f"{plural(min(result.config.runs, BASIS_RUNS), 'run')}). Were the "
        "trained basis like any other, the blue line would lie among the grey ones."
    )
    if with_backup:
        strip, others = axes[0, 1], result.basis_backup.drop(TRAINED)
        strip.plot(np.zeros(len(others)), others, "o", color=MUTED, mfc="none", ms=5)
        strip.plot(0, result.basis_backup[TRAINED], "o", color=BLUE, ms=6)
        strip.set(xlim=(-1, 1), xticks=[], ylabel="pairs that back each other up")
        text += " Right: the number of pairs of channels that back each other up, in the same bases."
    return figure, text


def _plot_atlas(result: LesionResult) -> tuple[Figure, str]:
    """Lost fitness of every channel under every intervention, phase by phase."""
    rows = result.atlas[result.atlas.target_type == "channel"]
    rows = rows.assign(dose=rows.dose.fillna(-1.0))  # -1 stands for none
    last = rows.groupby(["phase", "intervention", "dose"]).eval_step.transform("max")
    rows = rows[rows.eval_step == last]  # the last evaluation step alone, where there are more
    columns = {
        str(phase): list(dict.fromkeys(zip(shown.intervention, shown.dose, shown.eval_step, strict=True)))
        for phase, shown in rows.groupby("phase", sort=False)
    }
    targets, widths = list(dict.fromkeys(rows.target)), list(map(len, columns.values()))
    figure, axes = plots.new_figure(1, len(columns), 0.2 * len(targets) + 1.75, sharey=True, width_ratios=widths)
    for ax, phase in zip(axes[0], columns, strict=True):
        image = _atlas_map(ax, rows[rows.phase == phase], targets, columns[phase])
        ax.set_title(phase)
    plots.add_colour_bar(axes[0], image, "lost fitness (1 − fitness)")
    config = result.config
    return figure, (
        f"Fitness lost after each lesion, median over {plural(int(rows.runs.max()), 'run')}: pale is as the control of "
        "the same key, dark orange an empty canvas, blue is closer to the target; colours end at ±1. Labels give the "
        "intervention, its dose, and the steps after which the outcome is measured. The nulls stand in the same map: "
        "the control channel (last row), another run’s values (resample) and a random change as large as the erasure. "
        "Triangle: a run overgrew; cross: a run exploded; dot: the lesion changed no cell; empty: not made, or not "
        f"defined. Growing from step {config.growing_step}; adult and regenerating ({config.cut} cut off) from step "
        f"{config.adult_step}."
    )


def _atlas_map(ax: Axes, rows: pd.DataFrame, targets: Sequence[str], columns: Sequence[tuple[Any, ...]]) -> Any:
    values = np.full((len(targets), len(columns)), np.nan)
    for row in rows.itertuples():
        y, x = targets.index(row.target), columns.index((row.intervention, row.dose, row.eval_step))
        values[y, x] = 1 - row.fitness
        if row.outcome == NO_CELLS_CHANGED or row.exploded_runs or row.overgrown_runs:
            symbol = "." if row.outcome == NO_CELLS_CHANGED else "x" if row.exploded_runs else "^"
            ax.plot(x, y, symbol, color=INK, ms=3.6, mfc="none", mew=0.8)
    image = _coloured_cells(ax, values, 1.0)
    labels = [f"{name} {dose:g}, {step}" if dose >= 0 else f"{name}, {step}" for name, dose, step in columns]
    _tilt_labels(ax, labels)
    ax.set_yticks(range(len(targets)), targets)
    return image


def _tilt_labels(ax: Axes, labels: Sequence[str]) -> None:
    """A tilted label below each column; no ticks."""
    ax.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
    ax.tick_params(length=0, pad=1)


def _coloured_cells(ax: Axes, values: np.ndarray, limit: float, cmap: Any = DIVERGING) -> Any:
    """A table of signed values as coloured cells, row 0 on top, NaN left empty."""
    limits = {"cmap": cmap, "vmin": -limit, "vmax": limit}
    x, y = np.arange(values.shape[1]), np.arange(values.shape[0])
    masked = np.ma.masked_invalid(values)
    image = ax.pcolormesh(x, y, masked, shading="nearest", edgecolors="white", linewidth=0.4, **limits)
    ax.set(xlim=(-0.5, values.shape[1] - 0.5), ylim=(values.shape[0] - 0.5, -0.5))
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def _plot_doses(result: LesionResult) -> tuple[Figure, str]:
    """Fitness against the dose of partial ablation, channel by channel."""
    rows = _adult_channels(result.atlas)
    rows = rows[(rows.intervention == "partial") & (rows.role != "colour") & rows.fitness.notna()]
    targets, doses = list(dict.fromkeys(rows.target)), sorted(set(rows.dose))
    steps = sorted(set(rows.eval_step))
    figure, panels = _small_panels(targets, "share lost per step")
    for ax, target in zip(panels, targets, strict=True):
        for step in steps:
            shown = rows[(rows.target == target) & (rows.eval_step == step)].sort_values("dose")
            bars = [shown.fitness - shown.fitness_low, shown.fitness_high - shown.fitness]
            last = step == steps[-1]
            looks: dict[str, Any] = {"fmt": "o-" if last else "o--", "mfc": BLUE if last else "white"}
            ax.errorbar(shown.dose, shown.fitness, bars, color=BLUE, ms=3.6, lw=1.2, label=f"{step} steps", **looks)
            over = shown[shown.overgrown_runs > 0]
            ax.plot(over.dose, over.fitness.clip(-0.25), "^", color=ORANGE, ms=8, mfc="none", mew=1.1)
        for level in (0, 1):
            ax.axhline(level, color=FAINT, lw=0.8, zorder=0)
        ax.set(xscale="log", ylim=(-0.3, 1.12))
        ticks = doses if len(doses) <= 4 else doses[::2]
        ax.set_xticks(ticks, [f"{d:g}" for d in ticks])
        ax.minorticks_off()
    panels[-1].legend(loc="lower left", fontsize=7)
    looks_of = "dashed at the first evaluation step, solid at the last" if len(steps) > 1 else f"{steps[0]} steps later"
    overgrown = " Triangle: a run overgrew (fitness below −0.25 is drawn there)."
    overgrown = overgrown if (rows.overgrown_runs > 0).any() else ""
    return figure, (
        "One channel of the adult body loses a share of its values at every step: median and "
        f"{interval_label(int(rows.runs.max()))}, {looks_of}.{overgrown} No cell reads the control channel."
    )


def _small_panels(titles: Sequence[str], xlabel: str) -> tuple[Figure, list[Axes]]:
    """Small panels of fitness that share their axes, row by row."""
    count = len(titles)
    rows = -(-count // _COLUMNS)
    figure, axes = plots.new_figure(rows, _COLUMNS, _ROW_HEIGHT * rows + 0.35, sharey=True, sharex=True)
    for n, ax in enumerate(axes.flat):
        ax.set_visible(n < count)
        ax.set_title(titles[n] if n < count else "", fontsize=8.5, pad=3)
        ax.set_yticks((0, 0.5, 1))
        ax.tick_params(labelsize=7.5)
        if n + _COLUMNS >= count:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(xlabel)
        if n % _COLUMNS == 0:
            ax.set_ylabel("fitness")
    return figure, list(axes.flat)[:count]


def _plot_targets(result: LesionResult) -> tuple[Figure, str]:
    """Filters, hidden units, and directions of the hidden channels."""
    rows = result.atlas[(result.atlas.phase == "adult") & result.atlas.fitness.notna()]
    rows = rows.assign(**rows[["fitness", "fitness_low", "fitness_high"]].clip(-0.5, 1.5))
    layers = rows[rows.intervention != "partial"]
    units = layers[layers.target_type == "unit"].nsmallest(_MAX_UNITS, "fitness")
    inner = pd.concat([layers[layers.target_type.isin(("filter", "units"))], units])
    along = rows[(rows.target_type == "direction") & (rows.intervention == "partial")]
    along = along[along.dose == along.dose.max()]
    components, null = along[along.role == "component"], along[along.role == "random"].fitness
    dose = f", {percent(along.dose.max())} removed per step" if len(along) else ""
    grouped = (inner.target_type == "units").any()
    left = "filters; hidden units by the channel they write" if grouped else "filters; hidden units needed most"
    panels = [(left, inner), (f"directions{dose}", components)]
    panels = [(title, shown) for title, shown in panels if len(shown)]
    size = max([4, *(shown.target.nunique() for _, shown in panels)])
    figure, axes = plots.new_figure(1, max(len(panels), 1), 0.19 * size + 0.9)
    for ax, (title, shown) in zip(axes[0], panels, strict=False):
        if shown is components and len(null):
            ax.axvspan(null.min(), null.max(), color=FAINT, alpha=0.5, lw=0, label="random, all")
            ax.axvline(null.median(), color=MUTED, lw=1, ls="--", label="random, median")
        targets, names = list(dict.fromkeys(shown.target)), list(dict.fromkeys(shown.intervention))
        for n, name in enumerate(names):
            of_name = shown[shown.intervention == name]
            at = np.asarray([targets.index(t) for t in of_name.target]) + 0.22 * (n - (len(names) - 1) / 2)
            _intervals(ax, of_name, "fitness", at, (BLUE, ORANGE)[n % 2], ms=3.8, label=name)
        for level in (0, 1):
            ax.axvline(level, color=FAINT, lw=0.8, zorder=0)
        _label_rows(ax, targets, fontsize=7.5)
        ax.set(xlabel="fitness", title=title)
        ax.legend(loc="best", fontsize=7.5)
    text = (
        f"The adult body after a lesion: median and {interval_label(int(rows.runs.max()))}, drawn within −0.5 to 1.5. "
        "A filter of the perception over all channels, or hidden units (grouped by the channel that they write to "
        f"most, or each alone: the {_MAX_UNITS} whose loss costs most), held at zero or at the mean over the body."
    )
    if len(components):
        text += (
            " Right: principal components of the hidden states; grey: random directions of the hidden channels, the "
            "null."
        )
    return figure, text


def _plot_pairs(result: LesionResult) -> tuple[Figure, str]:
    """The epistasis map, and the pairs that interact most."""
    doubles, pairs = result.double_lesions, result.pairs
    names = [str(name) for name in doubles.a.values]
    figure, axes = plots.new_figure(1, 2, 5.0, width_ratios=[1.7, 1])
    singles = [float(np.median(doubles.fitness.values[n, n])) for n in range(len(names))]
    on_fitness, on_log = _epistasis_map(axes[0, 0], pairs, singles, names)
    plots.add_colour_bar(axes[0, 0], on_fitness, "epsilon on fitness (above)", "bottom")
    has_target = doubles.attrs["reference"] == "target"
    if has_target:
        plots.add_colour_bar(axes[0, 0], on_log, "epsilon on −log10 MSE (below)", "bottom")
    _ranked_pairs(axes[0, 1], pairs)
    below = "each half has its own scale" if has_target else "empty: without a target it is not defined"
    return figure, (
        f"Two channels held at zero from step {result.config.adult_step} on, measured "
        f"{result.config.epistasis_eval_steps} steps later: median over {plural(doubles.sizes['run'], 'run')}. Left: "
        f"epsilon on fitness above the diagonal, on −log10 MSE below it ({below}); on the diagonal the fitness after "
        "the single lesion. Orange: together worse than the two alone would be (backup); blue: better. Framed: q ≤ "
        "0.05, below the diagonal too where −log10 MSE agrees; cross: masked, one lesion alone leaves nothing to lose. "
        f"Right: the largest on fitness, with {interval_label(doubles.sizes['run'])}. The null is 0; the row of the "
        "control channel shows what no interaction looks like."
    )


def _epistasis_map(ax: Axes, pairs: pd.DataFrame, singles: Sequence[float], names: Sequence[str]) -> tuple[Any, Any]:
    """Epsilon of every pair, on fitness above the diagonal and on -log10 MSE below it; single lesions on it."""
    size = len(names)
    above, below = np.full((size, size), np.nan), np.full((size, size), np.nan)
    for pair in pairs.itertuples():
        i, j = sorted((names.index(pair.a), names.index(pair.b)))
        above[i, j], below[j, i] = pair.epsilon, pair.epsilon_log
        if pair.interaction.startswith(INTERACTIONS):
            agrees = np.isfinite(pair.epsilon_log) and not pair.interaction.endswith("on fitness")
            for x, y in [(j, i), (i, j)] if agrees else [(j, i)]:
                ax.add_patch(Rectangle((x - 0.45, y - 0.45), 0.9, 0.9, fill=False, ec=INK, lw=1.0, zorder=3))
        elif pair.interaction == "masked":
            ax.plot(j, i, "x", color=MUTED, ms=3.6, mew=0.8)
    images = []
    for values, widest in ((above, 1.0), (below, 4.0)):
        largest = np.nanmax(np.abs(values)) if np.isfinite(values).any() else widest
        images.append(_coloured_cells(ax, values, float(np.clip(largest, 0.25, widest)), DIVERGING.reversed()))
    for n, fitness in enumerate(singles):
        text = f"{fitness + 0.0:.2f}".replace("-", "−") if np.isfinite(fitness) else "-"
        ax.text(n, n, text, ha="center", va="center", fontsize=6, color=INK)
    ax.set_aspect("equal")
    _tilt_labels(ax, names)
    ax.set_yticks(range(size), names, fontsize=7.5)
    return images[0], images[1]


def _ranked_pairs(ax: Axes, pairs: pd.DataFrame, most: int = 16) -> None:
    """The pairs that interact most on fitness, backup first: median over runs with its interval."""
    defined = pairs[np.isfinite(pairs.epsilon)]
    shown = defined.loc[defined.epsilon.abs().sort_values(ascending=False).index[:most]].sort_values("epsilon")
    for interaction, rows in shown.assign(row=range(len(shown))).groupby("interaction", sort=False):
        _intervals(ax, rows, "epsilon", rows.row, _PAIR_COLOURS[str(interaction)], label=interaction)
    ax.axvline(0, color=MUTED, lw=0.8, ls="--", zorder=0)
    _label_rows(ax, [f"{p.a} × {p.b}" for p in shown.itertuples()], fontsize=7.5)
    ax.yaxis.tick_right()
    ax.spines["left"].set_visible(False)
    ax.set(xlabel="epsilon on fitness")
    if len(shown):
        ax.legend(loc="lower left", fontsize=7.5)


def _plot_periods(result: LesionResult) -> tuple[Figure, str]:
    """When each channel is needed."""
    fitness, bounds = result.critical_periods.fitness, result.period_bounds.set_index("channel")
    names = [str(name) for name in result.critical_periods.channel.values]
    control = fitness.sel(channel="control") if "control" in names else None
    low = -0.45 if (fitness.values < -0.05).any() else -0.05
    figure, panels = _small_panels(names, "step t")
    for ax, name in zip(panels, names, strict=True):
        _period_curves(ax, fitness.sel(channel=name), control, bounds.loc[name])
        ax.set_ylim(low, 1.2)
    panels[-1].legend(loc="lower left", fontsize=7)
    return figure, (
        f"Fitness at step {result.config.period_eval_step} after a channel was held at zero from step t on (blue) or "
        f"until step t (orange): {plural(result.critical_periods.sizes['run'], 'run')} thin, their median thick. "
        "Shaded: between the half-effect crossings, dark where the channel has a critical period, pale where only a "
        "longer ablation harms or runs disagree. Dotted: the control channel, which no cell reads. Curves are drawn "
        "within −0.4 to 1.4."
    )


def _period_curves(ax: Axes, fitness: xr.DataArray, control: xr.DataArray | None, bounds: pd.Series) -> None:
    steps = fitness.step.values
    if np.isfinite(bounds.start):
        alpha = 0.16 if bounds.period == "critical" else 0.07
        ax.axvspan(*sorted((bounds.start, bounds.end)), color=GREEN, alpha=alpha, lw=0)
    if control is not None:
        ax.plot(steps, np.median(control.transpose("step", "side", "run"), -1), color=MUTED, lw=1, ls=":")
    for side, colour, label in (("after", BLUE, "from t on"), ("before", ORANGE, "until t")):
        runs = fitness.sel(side=side).values.clip(-0.4, 1.4)
        ax.plot(steps, runs, color=colour, lw=0.4, alpha=0.4)
        ax.plot(steps, np.median(runs, -1), color=colour, lw=1.5, label=label)


def _plot_repair(result: LesionResult) -> tuple[Figure, str]:
    """Direct against total effects."""
    columns = [f"{effect}{end}" for effect in ("direct", "total") for end in ("", "_low", "_high")]
    effects = result.repair_effects.assign(**result.repair_effects[columns].clip(-0.4, 1.4))
    names, size = list(dict.fromkeys(effects.intervention)), effects.channel.nunique()
    figure, axes = plots.new_figure(1, len(names), 0.23 * size + 1.25, sharey=True)
    for ax, name in zip(axes[0], names, strict=True):
        rows = effects[effects.intervention == name]
        lesion, null = rows[rows.arm == "lesion"], rows[rows.arm == "null"]
        for shift, effect, colour, filled in ((-0.16, "direct", PURPLE, False), (0.16, "total", BLUE, True)):
            at = np.arange(len(lesion)) + shift
            _intervals(ax, lesion, effect, at, colour, mfc=colour if filled else "none", label=effect)
            if len(null):
                fill = MUTED if filled else "none"
                ax.plot(null[effect], at, "D", color=MUTED, mfc=fill, ms=3, label=f"{effect}, null")
        for n, share in enumerate(lesion.share):
            if np.isfinite(share):
                place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 7}
                ax.annotate(percent(share), (1.02, n), **place)
        ax.axvline(0, color=MUTED, lw=0.8, ls="--", zorder=0)
        _label_rows(ax, lesion.channel)
        ax.set(xlabel="effect (1 − fitness)", xlim=(-0.45, 1.45))
        ax.set_title(name, fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    add_legend(figure, handles, labels, most=4)
    return figure, (
        f"Fitness lost {result.config.repair_eval_steps} steps after a channel is lost, with everything free to "
        "respond (total) and with the updates of the other hidden channels held to those of the control (direct): "
        f"median and {interval_label(int(effects.runs.max()))}. At the right, where the direct effect is clear, the "
        "share of it that the others make up for (negative: they make it worse). Grey: the null, a change of the same "
        "channel as large and as smooth as its loss, elsewhere. Values outside −0.4 to 1.4 are drawn there."
    )

"""Figures of principal components: maps on the body, growth in their colours, variance and loadings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import metrics
from analysis.assays.axes.pca import SHOWN
from analysis.recording import spec_of
from analysis.report import plots
from nca.spec import channel_names

if TYPE_CHECKING:
    from analysis.assays.axes.run import AxesResult

_STEPS = (10, 20, 30, 50, 75, 96, 150, 200, 400, 1000, 2000)
_MOST_BODIES = 8


def pca_figures(components: xr.Dataset, tests: xr.Dataset | None = None) -> dict[str, tuple[Figure, str]]:
    """Figures and captions by name: maps (with a surrogate if there are tests), development, and spectrum."""
    return {
        "maps": plot_pca_maps(components, tests),
        "development": _plot_growth(components),
        "spectrum": _plot_spectrum(components),
    }


def plot_pca_maps(components: xr.Dataset, tests: xr.Dataset | None = None, run: int = 0) -> tuple[Figure, str]:
    """The first components on the body at the step of the PCA; below, those of a surrogate if there are tests."""
    step = components.attrs["step"]
    scores = components.scores.isel(run=run).sel(step=step).values
    shown = min(SHOWN, scores.shape[-1])
    rows, columns = plots.body_window(np.isfinite(scores[..., 0]))
    sets = [("data", scores)] + ([("surrogate", tests.surrogate_scores.values)] if tests else [])
    limits = _score_limits(scores)
    aspect = (rows.stop - rows.start) / (columns.stop - columns.start)
    height = len(sets) * aspect * plots.WIDTH / (shown + 1.3) + 1.05
    figure, axes = plots.new_figure(len(sets) + 1, shown + 1, height, height_ratios=[*[1.0] * len(sets), 0.03])
    for row, (name, values) in zip(axes, sets, strict=False):
        cropped = values[rows, columns, :shown]
        for k in range(shown):
            image = _signed_map(row[k], cropped[..., k], limits[k])
            plots.draw_outline(row[k], np.isfinite(cropped[..., k]))
            if name == sets[-1][0]:
                _colour_bar_in(axes[-1, k], image, "score")
        _rgb_map(row[shown], cropped, limits)
        if len(sets) > 1:
            row[0].set_ylabel(name, fontsize=10)
    for k in range(shown):
        axes[0, k].set_title(f"PC{k + 1}, {100 * float(components.explained[k]):.0f} %")
    axes[0, shown].set_title(f"PC1 to {shown} as RGB" if shown > 1 else "PC1")
    axes[-1, shown].set_axis_off()  # the others have their colour bars there
    colours = ", ".join(f"PC{k} is {c}" for k, c in enumerate(("red", "green", "blue")[:shown], 1))
    caption = (
        f"Scores of mature cells at step {step}, with each component’s share of the variance "
        f"({components.attrs['channels']} channels, {components.attrs['scaling']}, centred; the largest loading is "
        f"positive). The colour scale covers 98 % of the cells. Right: {colours}."
    )
    surrogate = (
        " Top: data. Bottom: a surrogate, a random field with the same covariance of channels and the same power at "
        "every scale, but without information about position. A pattern that appears in both is no finding."
    )
    no_null = " Maps of any smooth field look like gradients; only a comparison with a null shows whether these are."
    return figure, caption + (surrogate if tests else no_null)


def _score_limits(scores: np.ndarray) -> list[float]:
    """Ends of the colour scale of each of the first components: 98 % of the cells lie within."""
    known = np.abs(scores[np.isfinite(scores).all(-1)][:, :SHOWN])
    shown = min(SHOWN, scores.shape[-1])
    return [float(v) or 1.0 for v in np.quantile(known, 0.98, axis=0)] if len(known) else [1.0] * shown


def _plot_growth(components: xr.Dataset, run: int = 0, most: int = 7) -> tuple[Figure, str]:
    """The first components as colours on the growing body."""
    fitted = int(components.attrs["step"])
    scores = components.scores.isel(run=run)
    alive = components.step.values[np.isfinite(scores.isel(pc=0).values).any((1, 2))]
    steps = sorted({*[n for n in _STEPS if n < fitted and n in alive][-(most - 1) :], fitted})
    limits = _score_limits(scores.sel(step=fitted).values)
    shown = scores.sel(step=steps).values[..., :SHOWN]
    rows, columns = plots.body_window(np.isfinite(shown[..., 0]).any(0))
    aspect = (rows.stop - rows.start) / (columns.stop - columns.start)
    figure, axes = plots.new_figure(1, len(steps), 0.35 + aspect * plots.WIDTH / max(len(steps), 3))
    for ax, step, values in zip(axes[0], steps, shown, strict=True):
        _rgb_map(ax, values[rows, columns], limits, f"step {step}")
    return figure, (
        f"The first {min(SHOWN, components.sizes['pc'])} components, fitted at step {fitted}, as red, green and blue "
        "on the growing body: equal colours are equal states."
    )


def _plot_spectrum(components: xr.Dataset) -> tuple[Figure, str]:
    """Variance explained, and loadings."""
    numbers = {name: i for i, name in enumerate(channel_names(spec_of(components)))}
    figure, axes = plots.new_figure(1, 2, 2.9, width_ratios=[1, 1.35])
    _plot_scree(axes[0, 0], components)
    ax, values = axes[0, 1], components.loadings.values
    image = ax.imshow(values, cmap=plots.DIVERGING, vmin=-1, vmax=1, aspect="auto")
    channels = [f"{c} ({numbers[str(c)]})" for c in components.channel.values]
    ax.set_xticks(range(len(channels)), channels, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(values)), [f"PC{k}" for k in components.pc.values])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    plots.add_colour_bar(ax, image, "loading")
    return figure, (
        "Left: variance explained by each component; grey lines at 90, 95 and 99 %. Right: loadings of the "
        f"{components.sizes['channel']} channels (their number among {len(numbers)} in brackets)."
    )


def _plot_scree(ax: Axes, components: xr.Dataset) -> None:
    share, pc = 100 * components.explained.values, components.pc.values
    ax.bar(pc, share, color=plots.BLUE, width=0.72, label="each")
    ax.plot(pc, share.cumsum(), "o-", color=plots.ORANGE, ms=3.5, lw=1.2, label="cumulative")
    for level in components.share.values:
        ax.axhline(level, color=plots.FAINT, lw=0.7, zorder=0)
    ax.set(xlabel="principal component", ylabel="variance (%)", ylim=(0, 103), xlim=(0.3, max(5, len(pc)) + 0.7))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="center right")


def plot_pca_bodies(results: Sequence[AxesResult]) -> tuple[Figure, str]:
    """The grown body of each organism, above its first three components as colours."""
    shown = results[:_MOST_BODIES]
    figure, axes = plots.new_figure(2, len(shown), 0.35 + 2 * plots.WIDTH / (max(len(shown), 3) + 0.3))
    for ax in axes.ravel():
        plots.hide_frame(ax)
    for (top, bottom), result in zip(axes.T, shown, strict=False):
        step = result.pca.attrs["step"]
        state = result.recording.state.isel(run=0).sel(step=step).values
        picture = np.asarray(metrics.picture(result.organism.rule.spec, state))
        values = result.pca.scores.isel(run=0).sel(step=step).values[..., :SHOWN]
        rows, columns = plots.body_window((picture[..., 3] > 0.1) | np.isfinite(values).all(-1))
        plots.draw_body(top, picture[rows, columns], _break_name(result.organism.name))
        _rgb_map(bottom, values[rows, columns], _score_limits(values))
    axes[1, 0].set_ylabel("PC1 to 3", fontsize=10)
    rest = f" The first {_MOST_BODIES} of {len(results)}." if len(results) > _MOST_BODIES else ""
    return figure, (
        "Grown bodies, and below each the first three components of its own cells’ states as red, green and blue. "
        f"Components of different networks cannot be compared colour by colour.{rest}"
    )


def _break_name(name: str, most: int = 16) -> str:
    """A name that fits above a small picture: broken at the dash next to its middle."""
    if len(name) <= most or "-" not in name:
        return name
    middle = min((i for i, c in enumerate(name) if c == "-"), key=lambda i: abs(i - len(name) / 2))
    return name[: middle + 1] + "\n" + name[middle + 1 :]


def _signed_map(ax: Axes, values: np.ndarray, limit: float, title: str = "") -> Any:
    """A map (y, x) of signed values from -limit to limit, NaN left empty."""
    image = ax.imshow(np.ma.masked_invalid(values), cmap=plots.DIVERGING, vmin=-limit, vmax=limit)
    plots.hide_frame(ax)
    ax.set_title(title)
    return image


def _rgb_map(ax: Axes, scores: np.ndarray, limits: Sequence[float], title: str = "") -> None:
    """Up to three maps (y, x, pc) as red, green and blue, each from -limit to limit."""
    inside = np.isfinite(scores).all(-1)
    rgb = np.full((*scores.shape[:2], 3), 0.5)
    for k in range(scores.shape[2]):
        rgb[..., k] = 0.5 + 0.42 * np.clip(np.nan_to_num(scores[..., k]) / limits[k], -1, 1)
    ax.imshow(np.concatenate([rgb, inside[..., None]], -1))
    plots.hide_frame(ax)
    ax.set_title(title)


def _colour_bar_in(ax: Axes, image: Any, label: str) -> None:
    """A bar of colours that fills axes of its own."""
    bar = ax.figure.colorbar(image, cax=ax, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_label(label)
    bar.locator = MaxNLocator(4, symmetric=True)
    bar.update_ticks()

"""The axes protocol of one organism as sections: sentences, figures, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from analysis.assays.axes import cause_words as axes_cause_words
from analysis.assays.axes import component_figures
from analysis.assays.axes import figures as axes_figures
from analysis.assays.axes import words as axes_words
from analysis.assays.axes.config import QUICK, AxesConfig
from analysis.assays.axes.examination import Axes, Say, examine_axes
from analysis.report import plots
from analysis.report.format import number
from analysis.report.model import Claim, Section, SvgFigure, svg_figure
from nca.organism import Organism

METHOD = (
    "PCA of the states of mature cells, centred, the sign of each component fixed; plane fits and rank "
    "correlations with the distance from the seed (A0). Ridge decoders (penalty 1, standardised features) "
    "of x, y, "
    "place along the body s (shortest path inside it from one end; largest island only), distance from "
    "the seed and "
    "to the edge, in 8 folds of blocks of 8×8 cells, R² pooled, mean over deals (A1). The null: "
    "band-rotated Laplacian "
    "surrogates, which keep the covariance of channels and the power at every spatial scale and scramble "
    "only where "
    "(A2). Of stationary smooth fields x, y and s have p ≤ 0.05 in at most 0.15, radius and edge in "
    "0.21. Decoders from shape or colour alone, "
    "and what hidden states add to them (A3). Cells of one run are not independent and are never counted "
    "as units; "
    "p is one-sided, (1 + number of the null at least as large) / (n + 1)."
)
PLAIN = (
    "PCA of the states of mature cells of one run at one step, centred; the sign of each component fixed "
    "by its largest "
    "loading. Angles run from x (right) towards y (down), modulo 180. PCA of any smooth field gives "
    "gradients and "
    "waves, so these numbers alone say nothing about axes: nca axes puts each beside its null."
)
ORIGIN = (
    "A4: the entries of every weight matrix and bias permuted; the rule runs on the trained run's living "
    "sites with its "
    "fire masks, each update scaled to the size of the trained one, states clipped to the trained run's "
    "range (left "
    "alone, such rules grow without bound). The time course decodes place at each step from states, from "
    "the number "
    "of steps since the cell became mature, and from both."
)
USE = (
    "A6: all cells of the grown body are pushed once along the decoder's direction (odd runs the other "
    "way), or a "
    "plane is projected out of the states at every step about the body's mean; beside random directions "
    "of the same channels, or planes that read the same places scrambled. Uniform pushes relax even where "
    "a code is used: grafts decide."
)
COMPASS = (
    "A7: the perception's frame is turned while growing; the body's turn is fitted about the seed to one "
    "degree, that "
    "of the gradients of PC1 to 3 by least squares in the upright body's components. A grown state turned "
    "by quarter "
    "turns goes on under fire masks turned alike."
)


def axes_section(
    organism: Organism,
    config: AxesConfig = QUICK,
    *,
    recording: xr.Dataset | None = None,
    states: Any = None,
    say: Say | None = None,
) -> Section:
    """A0 to A3 of one organism: what its components are, and whether they mean anything.

    Args:
        organism: what to examine.
        config: how; `QUICK` leaves out what costs more.
        recording: every state of run 0 of the config's seed up to the grown step, if there is one.
        states: all runs at that step, if there are any.
        say: is told the progress.
    """
    return place_section(examine_axes(organism, config, recording=recording, states=states, say=say))


def axes_sections(found: Axes, grafts: Sequence[Claim] = ()) -> list[Section]:
    """All sections there are results (or reasons) for.

    Args:
        found: of `examine_axes`.
        grafts: what grafts say of the code's use; put first among the findings on use.
    """
    config = found.config
    made = [place_section(found)]
    if config.permutations or config.course:
        made.append(origin_section(found))
    if config.randoms:
        made.append(use_section(found, grafts))
    if config.angles:
        made.append(compass_section(found))
    return made


def place_section(found: Axes) -> Section:
    """A0 to A3."""
    said: list[Claim] = []
    if found.tests:
        said += axes_words.headline(found)
    if found.components:
        said += axes_words.components(found.components)
    if found.tests:
        said += [*axes_words.gradients(found), *axes_words.decoders(found)]
    if found.controls:
        said += axes_words.shape_and_colour(found.controls)
    drawn = _drawn(
        {
            "maps": (found.components, lambda: component_figures.maps(found.components, found.tests)),
            "development": (found.components, lambda: component_figures.development(found.components)),
            "null": (found.tests, lambda: axes_figures.null(found.tests)),
            "sources": (found.controls, lambda: axes_figures.sources(found.controls)),
            "runs": (found.across, lambda: axes_figures.across(found.across)),
            "spectrum": (found.components, lambda: component_figures.spectrum(found.components)),
        }
    )
    parts = ("components", "repeats", "tests", "across", "controls", "code")
    return _section("axes", "Body axes", said, drawn, METHOD, found, parts)


def components_section(components: xr.Dataset) -> Section:
    """Components alone, plainly: no null, so no claim about axes.

    Args:
        components: of `pca`, of a recording from the seed on.
    """
    at = int(components.attrs["at"])
    lie = [
        Claim(
            "components",
            f"PC{pc}: {100 * float(components.explained.sel(pc=pc)):.0f} % of the variance, |rank "
            "correlation| "
            f"{number(float(one.radius))} with the distance from the seed, plane R² "
            f"{number(float(one.plane_r2))} "
            f"along {float(one.angle):.0f}°.",
            f"{int(components.cells[0])} cells at step {at}; how any smooth field would score is told by nca axes",
            {k: float(one[k]) for k in ("radius", "plane_r2", "angle")},
        )
        for pc in components.pc.values[: plots.SHOWN]
        for one in [components.isel(run=0).sel(pc=pc)]
    ]
    drawn = _drawn(
        {
            "maps": (True, lambda: component_figures.maps(components)),
            "development": (True, lambda: component_figures.development(components)),
            "spectrum": (True, lambda: component_figures.spectrum(components)),
        }
    )
    return Section(
        "components",
        "Principal components",
        claims=[*[replace(f, assay="components") for f in axes_words.components(components)], *lie],
        figures=drawn,
        tables={"components": table("components", components), "repeats": table("repeats", components)},
        method=PLAIN,
        data={"components": components},
    )


def origin_section(found: Axes) -> Section:
    """A4 and the time course."""
    said = axes_cause_words.origin(found.shuffled) if found.shuffled else []
    said += axes_cause_words.clock(found.course, found.tests) if found.course else []
    drawn = _drawn(
        {
            "shuffled": (found.shuffled, lambda: axes_figures.origin(found.shuffled)),
            "course": (found.course, lambda: axes_figures.course(found.course)),
        }
    )
    return _section("origin", "Where the axes come from", said, drawn, ORIGIN, found, ("shuffled", "course"))


def use_section(found: Axes, grafts: Sequence[Claim] = ()) -> Section:
    """A6."""
    said = [*grafts, *axes_cause_words.use(found.steering, found.subspaces)]
    drawn = _drawn({"use": (found.steering, lambda: axes_figures.use(found.steering, found.subspaces))})
    return _section("use", "Whether the axes are used", said, drawn, USE, found, ("steering", "subspaces"))


def compass_section(found: Axes) -> Section:
    """A7."""
    said = axes_cause_words.compass(found.turned, found.turned_state)
    either = found.turned or found.turned_state
    drawn = _drawn({"compass": (either, lambda: axes_figures.compass(found.turned, found.turned_state))})
    return _section("compass", "Compass or map", said, drawn, COMPASS, found, ("turned", "turned_state"))


def _drawn(makers: Mapping[str, tuple[Any, Callable[[], tuple[Figure, str]]]]) -> list[SvgFigure]:
    """The figures that there are results for."""
    made = []
    with plots.style():
        for name, (known, maker) in makers.items():
            if known:
                figure, caption = maker()
                made.append(svg_figure(name, figure, caption))
    return made


def _section(
    name: str,
    title: str,
    said: Sequence[Claim],
    drawn: Sequence[SvgFigure],
    method: str,
    found: Axes,
    parts: Sequence[str],
) -> Section:
    reasons = dict.fromkeys(found.skipped[p] for p in parts if p in found.skipped)
    data = {p: getattr(found, p) for p in parts if getattr(found, p)}
    return Section(
        name,
        title,
        claims=[replace(f, assay=name) for f in said],
        figures=drawn,
        tables={p: table(p, d) for p, d in data.items()},
        method=method,
        skipped=list(reasons),
        data=data,
    )


def table(name: str, found: xr.Dataset) -> pd.DataFrame:
    """The numbers of one part: a row per statistic, or per run and quantity, and so on."""
    if name == "repeats":
        return found[["plane_r2", "angle", "radius"]].to_dataframe().reset_index()
    if name == "components":
        return found.loadings.to_pandas().reset_index().assign(explained=found.explained.values)
    if name == "code":
        return found[["angle", "best", "worst", "body_angle", "elongation"]].to_pandas().to_frame("value").reset_index()
    dropped = {"surrogate", "y", "x", "rgba", "pc"} & set(map(str, found.dims))
    if name == "controls":
        dropped |= {"source", "quantity"}
    if name in ("controls", "tests", "shuffled", "steering", "subspaces"):
        return found.drop_dims(dropped).to_dataframe().reset_index()
    return found.drop_dims(dropped).to_dataframe().reset_index()

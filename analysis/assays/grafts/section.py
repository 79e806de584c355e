"""Grafts told: sentences, figures and tables from finished results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics
from analysis.animation import animation, captions
from analysis.animation import files as films
from analysis.assays.grafts import matching
from analysis.assays.grafts import plots as graft_plots
from analysis.assays.grafts.controls import above
from analysis.assays.grafts.operations import COLOUR, GRAFT, HIDDEN, NULLS, RANDOM, SHAM
from analysis.assays.grafts.transplants import Grafted
from analysis.report import plots
from analysis.report.format import NOT_DEFINED, number, percent, plural, probability, value_range
from analysis.report.model import Claim, Film, Section, SvgFigure, svg_figure

NAME = "grafts"
SECOND = 0.5
FIT = 0.9


def section(found: Grafted) -> Section:
    """What moved cells make of another place."""
    if found.trouble:
        return Section(NAME, "Grafts", method=method(found), skipped=[found.trouble, *found.warnings])
    said = [second_body(found), *parts(found), survival(found)]
    said += [*organizer(found), *isolation(found)]
    data = {NAME: found.grafts}
    data |= {n: d for n, d in (("isolation", found.isolation), ("organizers", found.organizers)) if d}
    return Section(
        NAME,
        "Grafts",
        said,
        films=[film(found)] if found.film else (),
        figures=drawings(found),
        tables=tables(found),
        method=method(found),
        skipped=list(found.warnings),
        data=data,
    )


def film(found: Grafted) -> Film:
    """The first run after the sham and after the graft, side by side, a frame a step."""
    spec = found.host.rule.spec
    runs = animation.cropped(list(found.film or ()))
    left, right = (animation.render(states, spec, counter=False) for states in runs)
    frames = captions.counted(animation.side_by_side(left, right, ("sham", "graft")), found.config.at)
    caption = "The first run after the sham and after the graft, one frame a step; both share every fire mask."
    return Film("graft", films.webp(frames, fps=20), caption)


def at_end(found: Grafted, kind: str, name: str = "second") -> np.ndarray:
    """A measure of every key at the end."""
    return found.grafts[name].sel(kind=kind).values[:, -1]


def told(values: np.ndarray) -> str:
    """Median of some keys, and from the least to the most."""
    known = values[np.isfinite(values)]
    return f"{number(float(np.median(known)))} ({value_range(known)})" if known.size else NOT_DEFINED


def chance(p: float, floor: float) -> str:
    """A p with the least that so many keys can give."""
    if not np.isfinite(p):
        return "no p with less than two keys"
    return f"p {probability(p)} (at least {probability(floor)})"


def makes(values: np.ndarray, null: np.ndarray) -> bool:
    """Whether a second body stands: half of it shown, and every key above the null's."""
    known, drawn = values[np.isfinite(values)], null[np.isfinite(null)]
    return bool(known.size and np.median(known) >= SECOND and (not drawn.size or known.min() > drawn.max()))


def second_body(found: Grafted) -> Claim:
    """Whether the graft makes a second body, beside the sham."""
    config, second, sham = found.config, at_end(found, GRAFT), at_end(found, SHAM)
    where = f"{_at(config.source)} to {_at(config.place)}"
    if not np.isfinite(second).any():
        reason = "too few cells could show one: the disc lies where it came from, or nearly so"
        return Claim(NAME, f"Moved from {where}: a second body is not defined.", reason + ".")
    p, floor = above(second, sham)
    yes, first = makes(second, sham), at_end(found, GRAFT, "first")
    made = "a" if yes else "no"
    claim = f"Moved from {where}, the disc makes {made} second body by step {config.until}"
    claim += ", and the first stays." if yes and np.nanmedian(first) >= SECOND else "."
    if yes and not np.nanmedian(first) >= SECOND:
        claim = claim[:-1] + ", and the first does not stay."
    evidence = (
        f"of the cells on the graft’s side where a second body would show, {told(second)} show it; sham "
        f"{told(sham)}, {chance(p, floor)}, {plural(len(second), 'key')}; of the first body {told(first)} "
        f"stays; {found.grafts.attrs['cells']} cells moved"
    )
    if yes:
        evidence += f"; at steps {_listed(found.grafts.time.values)}: {_medians(found, GRAFT)}"
        evidence += f"; {edge(found)}" if edge(found) else ""
    numbers = {"second": second, "sham": sham, "p": p, "p_floor": floor, "first": first, "made": yes}
    return Claim(NAME, claim, evidence + ".", numbers)


def edge(found: Grafted) -> str:
    """Whether what grew reaches the edge of the canvas, which would cut a second body short."""
    alpha = found.grafts.picture.sel(kind=GRAFT).isel(run=0).values[-1, ..., 3]
    rim = np.concatenate([alpha[[0, -1]].ravel(), alpha[:, [0, -1]].ravel()])
    return "it reaches the edge of the canvas" if rim.max() > found.host.rule.spec.threshold else ""


def parts(found: Grafted) -> list[Claim]:
    """What of the graft it takes: hidden channels, colours, or any push as large."""
    said, sham = [], at_end(found, SHAM)
    if not np.isfinite(at_end(found, GRAFT)).any():
        return []
    full = makes(at_end(found, GRAFT), sham)
    for kind, what in ((HIDDEN, "The hidden channels alone"), (COLOUR, "The colours alone"), (RANDOM, "")):
        if kind not in found.grafts.kind.values:
            continue
        values = at_end(found, kind)
        yes = makes(values, sham)
        if kind != RANDOM:
            claim = f"{what} make {'a' if yes else 'no'} second body."
        elif not yes and (values >= SECOND).any():
            some = f"{int((values >= SECOND).sum())} of {plural(len(values), 'key')}"
            claim = f"A random change as large in every cell makes a second body in {some}."
        elif yes and full:
            claim = (
                "A random change as large in every cell makes a second body as well: one proves no code in "
                "the moved cells. Whether their place matters, the organizer map says."
            )
        else:
            claim = f"A random change as large in every cell makes {'a' if yes else 'no'} second body."
        evidence = f"{told(values)} beside {told(at_end(found, GRAFT))} of the whole graft; sham {told(sham)}"
        evidence += faded(found, kind)
        if kind == RANDOM and full:
            p, floor = above(at_end(found, GRAFT), values)
            evidence += f"; the graft’s is larger, {chance(p, floor)}"
        said.append(Claim(NAME, claim, evidence + ".", {"kind": kind, "second": values, "made": yes}))
    return said


def faded(found: Grafted, kind: str) -> str:
    """How much of a graft's visible change is left at the second step looked at; empty where it had none."""
    first, second = found.grafts.distance.sel(kind=kind).median("run").values[:2]
    if first <= metrics.FLOOR or second > first:
        return ""
    return f"; of what it changed, {percent(second / first)} is left at step {found.grafts.time.values[1]}"


def survival(found: Grafted) -> Claim:
    """Whether the moved cells stay as in the donor."""
    kept = at_end(found, GRAFT, "kept")
    middle = float(np.nanmedian(kept)) if np.isfinite(kept).any() else float("nan")
    word = "stays the donor’s" if middle >= SECOND else "becomes the host’s or something else"
    claim = f"The graft {word}." if np.isfinite(middle) else "Whether the graft survives is not defined."
    evidence = (
        f"kept {told(kept)} at step {found.config.until}: 1 as in the donor’s own run at that step, 0 as far "
        f"from it as the ungrafted host; sham {told(at_end(found, SHAM, 'kept'))}"
    )
    if found.grafts.exploded.values.any():
        evidence += f"; {int(found.grafts.exploded.sum())} of {found.grafts.exploded.size} runs exploded"
    return Claim(NAME, claim, evidence + ".", {"kept": kept})


def most(values: np.ndarray) -> float:
    """The largest of a null; 0 where there is none."""
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0


def organizer(found: Grafted) -> list[Claim]:
    """Which places of the body make a second one."""
    if not found.organizers:
        return []
    medians = pd.Series(graft_plots._medians(found.organizers.second.values.T))
    known = medians.dropna()
    if known.empty:
        return [Claim(NAME, "No place of the body could be judged as organizer.", "")]
    sham, chance = (most(at_end(found, kind)) for kind in NULLS)
    good = int(((known >= SECOND) & (known > max(sham, chance))).sum())
    best = int(known.idxmax())
    claim = f"Discs from {good} of {len(known)} places of the body, set there, make a second body."
    evidence = (
        f"share at least {SECOND} ({plural(int((known >= SECOND).sum()), 'place')}) and above every sham "
        "(at most "
        f"{number(sham)}) and every random change there (at most {number(chance)}); best "
        f"{number(known[best])} from {_place(found.organizers, best)}, least "
        f"{number(float(known.min()))}; "
        f"{plural(found.organizers.sizes['run'], 'key')} a place"
    )
    if len(known) < len(medians):
        evidence += f"; {plural(len(medians) - len(known), 'place')} too near to be judged"
    return [Claim(NAME, claim, evidence + ".", {"made": good, "of": len(known)})]


def isolation(found: Grafted) -> list[Claim]:
    """Which discs alone rebuild the whole."""
    if not found.isolation:
        return []
    rows = map_table(found.isolation)
    whole = rows.fit_start >= FIT
    rows, parts = rows[~whole], []
    if rows.empty:
        reason = f"bare, every one of {plural(len(whole), 'disc')} already is the body (W at least {FIT})"
        return [Claim(NAME, "No disc was small enough to have anything to rebuild.", reason + ".")]
    for radius, of in rows.groupby("radius"):
        best = of.loc[of.fit.idxmax()] if of.fit.notna().any() else None
        text = f"radius {radius:g}: {int((of.fit >= FIT).sum())} of {len(of)}"
        if best is not None:
            text += f", best {number(best.fit)} from {best.at_y:g},{best.at_x:g} (bare {number(best.fit_start)})"
        parts.append(text)
    good = int((rows.fit >= FIT).sum())
    claim = f"{good} of {len(rows)} discs, left alone, rebuild the whole body by step {found.config.until}."
    evidence = (
        f"W of the body laid best over what grew, any shift and turn, at least {FIT}; {'; '.join(parts)}; "
        f"bare is the disc itself, before it grows; {plural(found.isolation.sizes['run'], 'key')} a place"
    )
    if whole.any():
        evidence += f"; {int(whole.sum())} more hold the whole body from the start"
    return [Claim(NAME, claim, evidence + ".", {"rebuild": good, "of": len(rows)})]


def _at(place: tuple[float, float]) -> str:
    return f"{place[0]:g},{place[1]:g}"


def _place(data: Any, n: int) -> str:
    return f"{float(data.at_y[n]):g},{float(data.at_x[n]):g}"


def _listed(values: Any) -> str:
    return ", ".join(map(str, values))


def _medians(found: Grafted, kind: str) -> str:
    return ", ".join(number(v) for v in graft_plots._medians(found.grafts.second.sel(kind=kind).values))


def tables(found: Grafted) -> dict[str, pd.DataFrame]:
    """Every key of every kind at every step looked at; every place of the maps."""
    names = ["second", "first", "cells", "turn", "distance", "kept", "mature"]
    made = {"grafts": found.grafts[names].to_dataframe().reset_index()}
    for name, data in (("organizers", found.organizers), ("isolation", found.isolation)):
        if data:
            made[name] = map_table(data)
    return made


def map_table(data: Any) -> pd.DataFrame:
    """A row per place: medians over its keys, and every key."""
    measures = [n for n in ("second", "first", "distance", "fit", "fit_start", "mature") if n in data]
    frame = pd.DataFrame({n: data[n].values for n in ("radius", "at_y", "at_x")})
    for name in measures:
        frame[name] = graft_plots._medians(data[name].values.T)
        for run in data.run.values:
            frame[f"{name} key {run}"] = data[name].values[:, run]
    return frame


def drawings(found: Grafted) -> list[SvgFigure]:
    """The figures, null beside value."""
    config, keys = found.config, plural(found.config.runs, "key")

    def each(name: str) -> str:
        return f"median of {plural(getattr(found, name).sizes['run'], 'key')} a place"

    with plots.style():
        made = [
            svg_figure(
                "grafts",
                graft_plots.gallery(found),
                f"The first run, undisturbed and after each kind of graft at step {config.at} (ring).",
            ),
            svg_figure(
                "second-body",
                graft_plots.course(found),
                f"Every one of {keys} (thin) and the median. Left: of the cells on the graft’s side, outside "
                "the graft, where a second body would show, how many show it. Middle: 1 as in the donor’s "
                "own run, 0 as far from it as the ungrafted host. Right: squared difference to the ungrafted "
                "twin, which shares all fire masks; none is drawn at 10⁻⁷. Sham and random are the nulls.",
            ),
        ]
        if found.organizers:
            text = (
                f"Discs of radius {config.radius:g} from all over the body, each set at {_at(config.place)} "
                f"at step {config.at}: share of a second body at step {config.until}, in the colour of the "
                f"nearest place a disc came from, {each('organizers')}. Right: what grew from the best, the "
                "middle and the last of them in the first key (ring: the graft). Crosses: too near to be "
                "judged; the bar is as long as a disc is wide."
            )
            made.append(svg_figure("organizer-map", graft_plots.organizers(found), text))
        if found.isolation:
            text = (
                f"Discs left alone at step {config.at}: W at step {config.until} of the whole body laid best "
                f"over what grew, in the colour of the nearest disc’s middle, {each('isolation')}, and what "
                "the best of each radius made in the first. Bars are as long as the discs are wide."
            )
            made.append(svg_figure("isolation-map", graft_plots.isolation(found), text))
    return made


def method(found: Grafted) -> str:
    """How it was done."""
    config = found.config
    turned = f", turned by {config.turn:g} degrees" if config.turn else ""
    return (
        f"At step {config.at} a disc of radius {config.radius:g} about {_at(config.source)} of "
        f"{found.donor.name} is set at {_at(config.place)} of {found.host.name}{turned}, whose rule runs it. "
        "Run i takes it from the donor’s run i + 1. Beside it, in the same runs: the hidden channels alone; "
        "the colours (and alpha) alone; a random change with, in every cell, the size of the graft’s; a "
        "sham, the same place of the host’s own next run. A second body is the ungrafted twin of that step "
        "turned by any multiple of 15 degrees about the disc’s origin and shifted with it, give or take "
        "five cells. It is judged at cells nearer to the graft’s place than to its origin, outside the "
        "graft, where it differs from the twin: the share of these whose colour is its own (within "
        f"{matching.TOLERANCE} of premultiplied RGBA), the best over turns and shifts; the nulls have the "
        "same freedom. Not defined where fewer than a tenth of the body’s cells could show it. A second "
        f"body is said to stand from {SECOND} on if every key lies above every sham. p: permutation of keys, "
        "one-sided. Keys repeat one network."
    )

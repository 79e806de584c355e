"""Fate as a section of a report: claims, evidence tables and figures from finished results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from analysis import metrics
from analysis.animation.encode import webp_bytes
from analysis.animation.render import add_step_counter, side_by_side
from analysis.assays.fate.dictionary import SAME_PLACE
from analysis.assays.fate.films import EVERY
from analysis.assays.fate.lineages import FOUNDERS_STEP
from analysis.assays.fate.mutants import LESION_STEPS
from analysis.assays.fate.plots import decoded_colours, fate_figures
from analysis.assays.fate.regrowth import CUT, FILLED, steps_to_learn
from analysis.assays.fate.run import FateResult
from analysis.assays.fate.transplants import CONTROLS, DETERMINED, FATES, SHARE, SPECIFIED
from analysis.assays.grafts.grafting import GRAFT
from analysis.report import plots
from analysis.report.format import as_given, join_words, number, plural, probability
from analysis.report.model import Answer, Claim, Film, Section, evidence, surprise
from nca.damage import CUTS

_NAME = "fate"
_FILM_SIDE = 330  # pixels


def sections(results: Sequence[FateResult]) -> list[Section]:
    """Where the cells of one or several organisms think they are, as one section."""
    shown = [result for result in results if not result.no_body]
    claims = [claim for r in shown for claim in _claims(r)]
    return [
        Section(
            _NAME,
            "Fate",
            claims,
            films=[film for n, r in enumerate(shown, 1) for film in _films(r, f"-{n}" if len(shown) > 1 else "")],
            figures=fate_figures(shown),
            tables=_tables(shown),
            method=_method(results[0]),
            skipped=[f"{r.organism.name}: {r.no_body}" for r in results if r.no_body],
            data={f"{_NAME}-{n}": r.regrowth for n, r in enumerate(shown, 1)},
        )
    ]


def _claims(result: FateResult) -> list[Claim]:
    """Regrown cells, moved cells, undisturbed cells, and who descends from whom."""
    claims = [_regrowth_claim(result), *_tissue_claims(result), _error_claim(result)]
    claims += [_mutant_claim(result)] if len(result.mutants) else []
    return claims + ([_lineage_claim(result)] if result.lineages.sizes.get("pair") else [])


def _row(quantity: str, measure: str, values: Any, **columns: Any) -> dict[str, Any]:
    """Median of the values of runs with its interval, as a row of evidence."""
    median, low, high = metrics.median_interval(values)
    row = {"quantity": quantity, "measure": measure, "value": median, "low": low, "high": high}
    return row | {"n": int(np.size(values)), "unit": "runs"} | columns


def _regrowth_claim(result: FateResult) -> Claim:
    """Do cells born after a cut learn where they are?"""
    name, regrowth = result.organism.name, result.regrowth
    learn, last = steps_to_learn(regrowth), int(regrowth.since[-1])
    runs, rows, learned = regrowth.sizes["run"], [], {}
    for wound in CUTS:
        chosen = regrowth.sel(wound=wound, start=CUT)
        steps = learn.sel(wound=wound).values
        if np.isfinite(steps).sum() * 2 > runs:
            learned[wound] = float(np.median(np.where(np.isfinite(steps), steps, np.inf)))
        null = {"null_median": float(chosen.chance[:, -1].median()), "null_low": float(chosen.chance[:, -1].min())}
        null["null_high"] = float(chosen.chance[:, -1].max())
        for n in (k for k in (20, 60, last) if k in regrowth.since.values):
            shown = null if n == last else {}
            rows.append(
                _row(
                    f"{wound}: new cells",
                    f"error in cells, {n} steps later",
                    chosen.new_error.sel(since=n).values,
                    **shown,
                )
            )
        rows.append(_row(f"{wound}: old cells", f"error in cells, {last} steps later", chosen.old_error[:, -1].values))
        if FILLED in regrowth.start.values:
            filled = regrowth.new_error.sel(wound=wound, start=FILLED)
            rows += [
                _row(f"{wound}: filled wound", f"error in cells, {n} steps later", filled.sel(since=n).values)
                for n in (0, last)
            ]
        rows.append(
            _row(f"{wound}: new cells", f"steps until within {as_given(SAME_PLACE)} cells", steps[np.isfinite(steps)])
            | {"n": runs}
        )
    if not learned:
        text = (
            f"After none of five cuts do the states of regrown cells of {name} mean their own place within {last} "
            "steps."
        )
    else:
        after = (
            "each of five cuts"
            if len(learned) == len(CUTS)
            else f"{len(learned)} of five cuts ({join_words(list(learned))})"
        )
        span = sorted({min(learned.values()), max(learned.values())})
        text = (
            f"After {after}, the states of regrown cells of {name} mean their own place, within "
            f"{as_given(SAME_PLACE)} cells, from {' to '.join(as_given(n) for n in span)} steps on (random places: "
            f"{number(float(regrowth.chance.sel(start=CUT)[..., -1].median()), 0)} cells)."
        )
    note = "Null: as many random places of the body. A cut counts where more than half of the runs get there and stay."
    short = f"States of regrown cells mean their own place again after {len(learned)} of {len(CUTS)} cuts"
    short += f", within {as_given(max(learned.values()))} steps." if learned else "."
    least = min((surprise(row) for row in rows if "null_median" in row), default=0.0)
    answer = Answer(short, "clear" if len(learned) in (0, len(CUTS)) else "unclear", "fate-cuts", least)
    return Claim(_NAME, text, evidence(*rows), {"organism": name, "steps_to_learn": learned}, note, answer)


def _tissue_claims(result: FateResult) -> list[Claim]:
    """Which tissue is determined, and do the controls say what they must?"""
    if result.tissue.empty:
        return []
    name, since = result.organism.name, result.judged_since
    counts = _tissue_counts(result.tissue)
    points, rows = counts["points"], []
    for kind, which in ((DETERMINED, "one target or more"), (SPECIFIED, "every target")):
        first = {"value": counts[kind], "n": points, "unit": "places"}
        rows.append({"quantity": f"{kind} tissue", "measure": f"at {which}, first half of the runs", **first})
        again = {"value": counts[f"{kind} again"], "n": counts[kind], "unit": "places"}
        rows.append({"quantity": f"{kind} tissue", "measure": "of these, in the other half", **again})
    grafts = result.grafts[(result.grafts.since == since) & (result.grafts.cells > 0)]
    for kind in (GRAFT, *CONTROLS):
        chosen = grafts[grafts.intervention == kind]
        if len(chosen):
            by_run = chosen.groupby("run")[list(FATES)].mean()
            rows += [_row(kind, f"share read as {fate}, {since} steps later", by_run[fate].values) for fate in FATES]
    zone = _near_seed(result)
    targets = int(result.tissue.target.nunique())
    one, each = ("", "") if targets == 1 else (f"at one of {targets} targets or more, ", "at every one, ")
    text = (
        f"Of {plural(points, 'place')} of the body of {name}, {counts[DETERMINED]} "
        f"{'is' if counts[DETERMINED] == 1 else 'are'} determined ({one}their cells keep their identity {since} steps "
        f"after they were moved) and {counts[SPECIFIED]} specified ({each}their cells take that of the new place); in "
        f"the other half of the runs {counts['determined again']} and {counts['specified again']} of them are so again."
        f"{zone}"
    )
    shares = {kind: grafts[grafts.intervention == kind][list(FATES)].mean().to_dict() for kind in (GRAFT, *CONTROLS)}
    numbers = {"organism": name, **counts, "shares": shares}
    note = f"A share of at least {SHARE}. Controls: sham, shuffled disc, random change, colours alone."
    short = f"Cells of {counts[DETERMINED]} of {plural(points, 'place')} keep their identity when they are moved."
    agree = counts[DETERMINED] == counts["determined again"]
    answer = Answer(short, "clear" if agree else "unclear", "fate-tissue")
    return [Claim(_NAME, text, evidence(*rows), numbers, note, answer)]


def _tissue_counts(tissue: pd.DataFrame) -> dict[str, int]:
    """Source places that are determined at one target or more, and that are specified at every one: in the first half
    of the runs, and of these in the other half."""
    counts = {"points": int(tissue.point.nunique())}
    for kind in (DETERMINED, SPECIFIED):
        by_place = (tissue.tissue == kind).groupby([tissue.half, tissue.point])
        same = (by_place.any() if kind == DETERMINED else by_place.all()).unstack("half", fill_value=False)
        first = same.get("set", pd.Series(False, same.index)).astype(bool)
        again = first & same.get("judged", pd.Series(False, same.index)).astype(bool)
        counts |= {kind: int(first.sum()), f"{kind} again": int(again.sum())}
    return counts


def _near_seed(result: FateResult) -> str:
    """A sentence on where determined tissue lies, where there is some and some that is not."""
    tissue = result.tissue[result.tissue.half == "set"]
    determined = (tissue.tissue == DETERMINED).groupby(tissue.point).any()
    middle = np.array(result.organism.canvas) // 2
    place = tissue.groupby("point")[["source_y", "source_x"]].first().to_numpy()
    distance = np.linalg.norm(place - middle, axis=1)
    if not determined.any() or determined.all():
        return ""
    here, there = (float(np.median(distance[mask])) for mask in (determined.to_numpy(), ~determined.to_numpy()))
    return f" The determined places lie {number(here, 1)} cells from the seed (median), the others {number(there, 1)}."


def _error_claim(result: FateResult) -> Claim:
    """The positional error on one history, next to its vacuity control."""
    name, error, vacuity = result.organism.name, result.positional_error, result.vacuity
    hidden, rows = error.sel(dictionary="hidden"), []
    for kind in error.dictionary.values:
        for step in error.step.values:
            values = error.error_mean.sel(dictionary=kind, step=step).values
            rows.append(
                _row(
                    f"{kind} channels" if kind == "hidden" else "colour and alpha",
                    f"mean error in cells, step {step}",
                    values,
                )
            )
    known = hidden.known.sel(step=hidden.step[0]).values
    rows.append(_row("held-out runs", "share of known states", known))
    mean = number(float(hidden.error_mean.mean()), 1)
    text = f"Places of {name} are read from held-out runs with a mean error of {mean} cells"
    if not vacuity:
        text += "; no smooth random field was compared, so that this alone says nothing."
        return Claim(_NAME, text, evidence(*rows), {"organism": name})
    surrogate = vacuity.error_mean.values[1:]
    own = float(vacuity.error_mean[0])
    null = {"null_median": np.median(surrogate), "null_low": surrogate.min(), "null_high": surrogate.max()}
    measure = f"mean error in cells, in {vacuity.attrs['cells']} cells mature throughout"
    rows.append(
        {
            "quantity": "hidden channels",
            "measure": measure,
            "value": own,
            **null,
            "n": len(surrogate),
            "unit": "surrogates",
        }
    )
    better = own < surrogate.min() and np.median(surrogate) - own > 0.5
    verdict = "less than" if better else "no less than"
    text += (
        f", {verdict} from smooth random fields that are the same in all runs ({number(own, 1)} against "
        f"{number(float(np.median(surrogate)), 1)} in the same cells)"
    )
    text += "." if better else ": on one history a small error is no finding."
    note = "Null: band-rotated surrogates of the mean field, with each run’s own deviations."
    return Claim(_NAME, text, evidence(*rows), {"organism": name, "error": own, "surrogates": surrogate}, note)


def _mutant_claim(result: FateResult) -> Claim:
    """Do decoded places predict the colours of lesioned bodies?"""
    name, mutants = result.organism.name, result.mutants
    visible = mutants[mutants.unmoved > 2 * mutants.between_runs]
    better = int((visible.predicted < visible.unmoved).sum())
    rows = [
        _row("colours of lesioned bodies", f"squared difference, {label}", visible[column].to_numpy(), unit="units")
        for column, label in (
            ("predicted", "from those at the decoded places"),
            ("unmoved", "from those of the same cells"),
        )
    ]
    rows += [
        _row("cells of lesioned bodies", f"share {label}", visible[column].to_numpy(), unit="units")
        for column, label in (("known", "of known states"), ("moved", "decoded elsewhere"))
    ]
    rows.append({"quantity": "two runs", "measure": "squared difference", "value": float(mutants.between_runs.iloc[0])})
    if visible.empty:
        text = f"None of {len(mutants)} hidden units, held at zero, changes the colours of {name} beyond noise."
        return Claim(_NAME, text, evidence(*rows[-1:]), {"organism": name, "visible": 0})
    p = float(binomtest(better, len(visible), alternative="greater").pvalue)
    verdict = "identities move" if p <= 0.05 else "nothing homeotic is seen"
    text = (
        f"Of {len(visible)} hidden units whose loss shows in the colours of {name}, decoded places predict the "
        f"lesioned body better than that nothing moved for {better} (sign test, p = {probability(p)}): {verdict}."
    )
    note = f"Units are held at zero for {LESION_STEPS} steps; counted are changes of twice what runs differ by."
    numbers = {"organism": name, "visible": len(visible), "better": better, "p": p}
    return Claim(_NAME, text, evidence(*rows), numbers, note)


def _lineage_claim(result: FateResult) -> Claim:
    """How many young cells the grown body descends from, and whether runs agree on which."""
    name, lineages = result.organism.name, result.lineages
    ancestor = lineages.ancestor.values
    founders = lineages.founders.values.sum((1, 2))
    left = np.array([len(np.unique(run[np.isfinite(run[..., 0])], axis=0)) for run in ancestor])
    agreement, chance = (float(np.median(lineages[key])) for key in ("agreement", "chance"))
    rows = [
        _row(f"cells at step {FOUNDERS_STEP}", "number", founders),
        _row("of these, with descendants", "number", left),
    ]
    null = {"null_median": chance, "n": lineages.sizes["pair"], "unit": "pairs of runs"}
    rows.append(
        {"quantity": "ancestors of the same cell in two runs", "measure": "cells apart", "value": agreement, **null}
    )
    text = (
        f"The grown cells of {name} descend from {np.median(left):.0f} of {np.median(founders):.0f} cells of step "
        f"{FOUNDERS_STEP}; runs agree on the ancestor of a cell within {number(agreement, 1)} cells (median; cells "
        f"drawn at random: {number(chance, 1)})."
    )
    note = "A daughter’s mother is the mature neighbour of largest alpha. Null: the ancestors of one run permuted."
    return Claim(_NAME, text, evidence(*rows), {"organism": name, "agreement": agreement, "chance": chance}, note)


def _films(result: FateResult, suffix: str) -> list[Film]:
    """A body that grows and is cut, and a graft, in the colours of decoded places."""
    captions = {
        "cut": f"The first run of {result.organism.name} as it grows and is cut, right, next to the same run uncut.",
        "graft": f"A graft into {result.organism.name}, right, next to its sham.",
    }
    films = []
    for name, film in result.films.items():
        window = plots.body_window(np.isfinite(film.distance.values).any((0, 1)))
        scale = max(1, _FILM_SIDE // max(w.stop - w.start for w in window))
        rgba = decoded_colours(film.places, film.distance, result)[:, :, *window]
        shown = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        left, right = (255 * shown).astype(np.uint8).repeat(scale, 2).repeat(scale, 3)
        frames = side_by_side(left, right, (str(film.side.values[0]), str(film.side.values[1])))
        frames = add_step_counter(frames, int(film.step[0]), EVERY)
        caption = f"{captions[name]} Colours as in the wheel; greyed: unknown states. One frame in {EVERY} steps."
        films.append(Film(f"fate-{name}{suffix}", webp_bytes(frames, fps=20), caption))
    return films


def _tables(results: Sequence[FateResult]) -> dict[str, pd.DataFrame]:
    """Every run of every cut, every graft, and the tissue map; the organism is the first column."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for result in results:
        regrowth = result.regrowth.drop_vars(["places", "distance", "shift", "axis"]).to_dataframe().reset_index()
        tables = {
            "fate-regrowth": regrowth,
            "fate-grafts": result.grafts,
            "fate-tissue": result.tissue,
            "fate-mutants": result.mutants,
        }
        tables["fate-error"] = result.positional_error.to_dataframe().reset_index()
        for name, table in tables.items():
            if len(table):
                table = table.copy()
                table.insert(0, "organism", result.organism.name)
                frames.setdefault(name, []).append(table)
    return {name: pd.concat(tables, ignore_index=True) for name, tables in frames.items()}


def _method(result: FateResult) -> str:
    config = result.config
    adult = config.adult_step
    return (
        "Dictionary: the hidden channels, whitened, of the mature cells of "
        f"{plural(config.dictionary_runs, 'undisturbed run')} at steps {adult}, {adult + -(-config.eval_steps // 2)} "
        f"and {adult + config.eval_steps}. A state’s decoded place is the mean place of the three nearest entries. A "
        "state is known where it is nearer to an entry than 99 % of random states of the same norms (of the first "
        f"half of the runs). Cut and grafted runs ({config.runs}) are not in the dictionary. Cuts: those of the "
        "regeneration assay; new cells are the mature cells in the wound. Filled wounds: every cell that was cut "
        "gets the state of a cell from a random place of another run. Grafts: discs of radius "
        f"{as_given(config.radius)} of run i + 1, from about {config.map_points} places of the body to the places "
        "deep in it that are farthest apart, set into run i. A cell is host or donor if its state is known and its "
        f"decoded place within {as_given(SAME_PLACE)} cells of where it is, or of where it would be at the source; "
        "else neither. Tissue is determined (specified) where the mean share of donor (host) cells over half of the "
        f"runs is at least {SHARE}. Runs repeat one network: nothing here is about other networks."
    )

"""Where codes of place come from, whether they are used, and who leads the body, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.assays.axes.words import CLEAR, LONG, least, listed, tested
from analysis.report.format import number, plural, probability, scientific, value_range
from analysis.report.model import Claim


def origin(shuffled: xr.Dataset) -> list[Claim]:
    """A4: trained against shuffled weights."""
    names = [str(s).removeprefix("R2 of ") for s in shuffled.statistic.values if str(s).startswith("R2")]
    results = {q: tested(shuffled, f"R2 of {q}") for q in names}
    clear = [q for q in names if results[q][0]]
    free = [q for q in names if results[q][2]["null_median"] > max(0.0, results[q][2]["observed"])]
    claim = (
        f"Training did it for {listed([LONG[q] for q in clear])}: shuffled weights on the same living "
        f"sites tell less{_in_excess(shuffled, clear)}."
        if clear
        else "No code of place needed training: shuffled weights on the same living sites tell as much."
    )
    if free:
        claim += f" {listed([LONG[q] for q in free]).capitalize()} comes for free: shuffled weights tell it better."
    many = shuffled.attrs["permutations"]
    evidence = "; ".join(f"{q}: R² {words}" for q, (_, words, _) in results.items())
    evidence += f"; null: {many} rules with shuffled weights ({least(many)}), run {shuffled.attrs['run']}"
    return [Claim("axes", claim, evidence, {k: v[2] for k, v in results.items()})]


def _in_excess(shuffled: xr.Dataset, clear: Sequence[str]) -> str:
    """Of which of these that holds for what is read beyond smoothness, too; empty where for all."""
    known = [q for q in clear if f"excess of {q}" in shuffled.statistic.values]
    beyond = [q for q in known if tested(shuffled, f"excess of {q}")[0]]
    if beyond == known:
        return ""
    return f"; less beyond smoothness as well only of {listed([LONG[q] for q in beyond])}"


def clock(course: xr.Dataset, tests: xr.Dataset) -> list[Claim]:
    """When codes arise, and how much of the radial one is a clock.

    A code that stays is there at the last step, whose `tests` are corrected for how many they are: none
    is said to stay that they do not find. Of bodies without a code, 28 % had one by the course alone.
    """
    said = []
    radial = course.sel(quantity="radius").dropna("step", subset=["r2"])
    if radial.sizes["step"]:
        peak = radial.isel(step=int(radial.by_age.fillna(-np.inf).argmax("step")))
        last = radial.isel(step=-1)
        claim = (
            f"While it grows, a clock would do for the radius: at step {int(peak.step)} the age of a cell "
            "alone "
            "decodes "
            f"it at R² {number(float(peak.by_age))}, its state at {number(float(peak.r2))}."
            if float(peak.by_age) > max(0.0, float(peak.r2))
            else f"{_beyond_clock(peak)}: a cell’s age alone decodes it at R² "
            f"{number(float(peak.by_age))} "
            f"at best (step {int(peak.step)}), its state at {number(float(peak.r2))} there."
        )
        evidence = (
            f"at step {int(last.step)}: states R² {number(float(last.r2))}, age alone "
            f"{number(float(last.by_age))}, "
            f"states beside age add {number(float(last.over_age))} (null "
            f"{number(float(last.over_age_median))}, "
            f"p {probability(float(last.p_age))}, {course.attrs['surrogates']} surrogates); "
            f"age itself is decoded from states at {number(float(last.age_r2))}"
        )
        numbers = {str(k): float(last[k]) for k in ("r2", "by_age", "over_age", "p_age", "age_r2")}
        said.append(Claim("axes", claim, evidence, numbers))
    begins = {}
    for q in course.quantity.values:
        name = f"R2 of {q}"
        if not tests or name not in tests.statistic.values or not tested(tests, name)[0]:
            continue
        one = course.sel(quantity=q)
        seen = (one.p <= CLEAR) & (one.r2 > 0)
        lasting = [int(s) for k, s in enumerate(one.step.values) if bool(seen[k:].all())]
        if lasting:
            begins[str(q)] = lasting[0]
    claim = (
        "Codes that stay arise at " + ", ".join(f"step {s} ({LONG[q]})" for q, s in begins.items()) + "."
        if begins
        else "No code of place that is clear of its null in the grown body is there at all steps from some step on."
    )
    evidence = (
        f"q ≤ {CLEAR} in the grown body, and R² above 0 and above 95 % of surrogates (p ≤ {CLEAR}, not "
        "corrected) from that step to the last, "
        f"{course.sizes['step']} steps looked at, {course.attrs['surrogates']} surrogates each"
    )
    return [*said, Claim("axes", claim, evidence, {"begins": begins})]


def _beyond_clock(radial: xr.Dataset) -> str:
    """Whether states tell more of the radius than a cell's age does, by the null of what they add to it."""
    more = float(radial.r2) > 0 and float(radial.over_age) > 0 and float(radial.p_age) <= CLEAR
    return "The radius is more than a clock" if more else "It stays open whether the radius is a clock"


def use(steering: xr.Dataset, subspaces: xr.Dataset) -> list[Claim]:
    """A6: pushes and projections."""
    said = []
    if steering:
        names = [str(s).removeprefix("change by ") for s in steering.statistic.values if str(s).startswith("change")]
        change = {q: tested(steering, f"change by {q}") for q in names}
        left = {q: tested(steering, f"left of {q}") for q in names}
        clear = [q for q in names if change[q][0]]
        kept = [q for q in names if left[q][0]]
        claim = (
            f"Pushed along the code of {listed([LONG[q] for q in clear])}, the body changes more than "
            "when pushed as far at random."
            if clear
            else "Pushes along the codes of place change the body no more than random pushes of the same length."
        )
        if kept:
            claim += f" A push along the code of {listed([LONG[q] for q in kept])} is kept longer than random ones."
        evidence = "; ".join(
            f"{q}: E {_small(numbers)}, left {number(left[q][2]['observed'])} "
            f"(null {number(left[q][2]['null_median'])}, p {probability(left[q][2]['p'])})"
            for q, (_, _, numbers) in change.items()
        )
        evidence += f"; {_of_pushes(steering)}"
        numbers = {q: {"change": change[q][2], "left": left[q][2]} for q in names}
        said.append(Claim("axes", claim, evidence, numbers))
    if subspaces:
        results = {str(s): tested(subspaces, str(s)) for s in subspaces.statistic.values}
        harmful = [s.removeprefix("harm without ") for s, r in results.items() if r[0] and "without" in s]
        enough = [s.split(" with ")[1].removesuffix(" alone") for s, r in results.items() if r[0] and "alone" in s]
        claim = (
            f"Without the plane that codes {listed(harmful)}, the body suffers more than without a "
            "plane that reads nothing real."
            if harmful
            else "The body suffers no more without the planes that code place than without planes that read "
            "nothing real."
        )
        if enough:
            claim += f" The plane of {listed(enough)} alone does better than such planes."
        evidence = "; ".join(f"{s}: {words}" for s, (_, words, _) in results.items())
        evidence += f"; loss as a share of the whole body; {_of_pushes(subspaces)}"
        said.append(Claim("axes", claim, evidence, {s: r[2] for s, r in results.items()}))
    if said:
        end = " What decides is whether fate follows a moved state: grafts are the test of that."
        said[-1] = Claim("axes", said[-1].text + end, said[-1].evidence, said[-1].numbers)
    return said


def _small(numbers: dict[str, Any]) -> str:
    """An E beside its null, with enough digits."""
    low, middle, high = (scientific(numbers[f"null_{k}"]) for k in ("low", "median", "high"))
    return (
        f"{scientific(numbers['observed'])}, null {middle} ({low} to {high}), p "
        f"{probability(numbers['p'])}, q {probability(numbers['q'])}"
    )


def _of_pushes(tests: xr.Dataset) -> str:
    randoms = tests.attrs["randoms"]
    return (
        f"{tests.attrs['horizon']} steps from step {tests.attrs['start']} on, mean of "
        f"{plural(tests.attrs['runs'], 'key')}, "
        f"{randoms} random ({least(randoms)})"
    )


def compass(turned: xr.Dataset, state: xr.Dataset) -> list[Claim]:
    """A7: who leads, the compass or the state?"""
    said = []
    if turned and turned.attrs["blind"]:
        most = float(turned.changed.isel(angle=slice(1, None)).max())
        claim = "Its perception has no direction: turning the compass changes " + (
            "nothing." if most == 0 else "the body."
        )
        evidence = f"largest change of any state {most:g}, {plural(turned.sizes['run'], 'key')}"
        said.append(Claim("axes", claim, evidence, {"changed": most}))
    elif turned:
        said.append(_followed(turned))
    if state:
        said.append(_carried(state))
    return said


def _followed(turned: xr.Dataset) -> Claim:
    asked = turned.isel(angle=slice(1, None))
    off = {float(a): _off(asked.body_turn.sel(angle=a).values, float(a)) for a in asked.angle.values}
    states = {float(a): _off(asked.gradient_turn.sel(angle=a).values, float(a)) for a in asked.angle.values}
    match = {float(a): float(np.nanmean(asked.match.sel(angle=a).values)) for a in asked.angle.values}
    follows = [a for a in off if match[a] > 0.5 and np.nanmax(np.abs(off[a])) <= 15]
    if len(follows) == len(off):
        claim = "The body grows in the frame that its cells perceive by: turn their compass, and it turns as far."
    elif follows:
        claim = (
            f"With its compass turned the body turns as far at "
            f"{listed([f'{a:g}°' for a in follows])}, not at the other angles."
        )
    else:
        claim = "With its compass turned, no body of its shape grows turned as far."
    evidence = "; ".join(
        f"asked {a:g}°: body off by {value_range(off[a], 0)}°, match {number(match[a])}, gradients of PC1 to 3 "
        f"off by {value_range(states[a], 0)}°"
        for a in off
    )
    floor = turned.isel(angle=0)
    evidence += (
        f"; null, another key unturned: body {value_range(floor.body_turn.values, 0)}°, match "
        f"{number(float(floor.match.mean()))}, "
        f"gradients {value_range(floor.gradient_turn.values, 0)}°; {plural(turned.sizes['run'], 'key')}"
    )
    return Claim("axes", claim, evidence, {"body_off": off, "gradients_off": states, "match": match})


def _off(turns: np.ndarray, asked: float) -> np.ndarray:
    """How far turns are from what was asked, from -180 to 180 degrees."""
    return (turns - asked + 180) % 360 - 180


def _carried(state: xr.Dataset) -> Claim:
    turned = state.isel(angle=slice(1, None))
    kept = {float(a): float(np.nanmedian(turned.kept.sel(angle=a).values)) for a in turned.angle.values}
    back = {float(a): float(np.nanmedian(turned.upright.sel(angle=a).values)) for a in turned.angle.values}
    floor = float(np.nanmin(state.kept.isel(angle=0).values))
    if all(v >= 0.9 for v in kept.values()):
        claim = "A grown body that is turned stays as it is: it carries its own frame."
    elif all(v >= 0.9 for v in back.values()):
        claim = "A grown body that is turned goes back to where its compass points."
    elif all(max(kept[a], back[a]) < 0.5 for a in kept):
        claim = "A grown body that is turned under an unturned compass is lost: state and compass must agree."
    else:
        claim = "A grown body that is turned under an unturned compass neither keeps its turn nor turns back whole."
    each = "; ".join(f"turned {a:g}°: W {number(kept[a])} as turned, {number(back[a])} as upright" for a in kept)
    cells = ", ".join(f"{n:.0f}" for n in np.nanmedian(turned.mature.values, 1))
    evidence = (
        f"{each}; mature cells {cells}, {float(np.nanmedian(state.mature.isel(angle=0))):.0f} unturned; "
        "null, unturned "
        f"under another key: W at least {number(floor)}; {state.attrs['steps']} steps, "
        f"{plural(state.sizes['run'], 'key')}"
    )
    return Claim("axes", claim, evidence, {"kept": kept, "upright": back, "null": floor})

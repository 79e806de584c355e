"""The lesion atlas in sentences, each with its null and its n."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.assays.lesions.atlas import repeated
from analysis.assays.lesions.battery import PHASES, Lesions
from analysis.report.format import interval_label, number, percent, plural, probability, value_range
from analysis.report.model import Claim

TOPIC = "lesions"
HEALED = 0.95
DEAD = 0.5
CLEAR = 0.05
ROUNDING = 1e-4  # between two programs that compute the same
REPEATED = 0.5  # rank correlation of halves of the keys from which a ranking is one
NAMED = 4  # of a list in a sentence


def findings(found: Lesions) -> list[Claim]:
    """What the atlas says, the most telling first."""
    said: list[Claim] = []
    if len(found.rows):
        said += graded(found) + kinds(found) + phases(found) + erased(found)
        said += inner(found) + directions(found) + blow_ups(found)
    return said


def named(names: Sequence[Any]) -> str:
    """The first few of a list."""
    few = ", ".join(map(str, names[:NAMED]))
    return few + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def fitness(row: Any) -> str:
    """W with its interval."""
    return f"W {number(row.fitness)} ({number(row.fitness_low)} to {number(row.fitness_high)})"


def hidden(found: Lesions, **where: Any) -> pd.DataFrame:
    """Rows of hidden channels that hold something, the worst first."""
    rows = found.rows[(found.rows.part == "channel") & (found.rows.role == "hidden")]
    rows = rows[(rows.cells_touched > 0) & rows.fitness.notna()]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return rows.sort_values("fitness")


def middle_dose(found: Lesions) -> float:
    """The dose that sentences speak of."""
    return found.config.doses[len(found.config.doses) // 2]


def graded(found: Lesions) -> list[Claim]:
    """Which hidden channel is missed most, and at what dose."""
    dose, horizon = middle_dose(found), found.config.horizons[-1]
    rows = hidden(found, phase="adult", kind="graded", dose=dose, horizon=horizon)
    if rows.empty:
        reason = "W is not defined: no run has a body to lose, or no hidden channel holds anything."
        return [Claim(TOPIC, "No hidden channel could be judged.", reason)]
    worst, best = rows.iloc[0], rows.iloc[-1]
    claim = f"Of hidden channels lost slowly, {worst.target} is missed most and {best.target} least."
    if worst.fitness >= HEALED:
        claim = f"No hidden channel is missed when it is slowly lost (W ≥ {HEALED})."
    table = found.tolerance[(found.tolerance.phase == "adult") & (found.tolerance.horizon == horizon)]
    table = table[table.role == "hidden"]
    known = table[table.half_dose.notna()].sort_values("half_dose")
    evidence = (
        f"{percent(dose)} a step for {horizon} steps: {worst.target} {fitness(worst)}, {best.target} "
        f"{fitness(best)}; median and {interval_label(int(worst.runs))}; the marker, which "
        f"nothing reads, {_marker(found)}"
    )
    if len(known):
        least, most = known.iloc[0], known.iloc[-1]
        evidence += (
            f"; half the fitness is gone at {percent(least.half_dose, 1)} a step ({least.target}) to "
            f"{percent(most.half_dose, 1)} ({most.target}), inside the doses for {len(known)} of "
            f"{plural(len(table), 'channel')}"
        )
    numbers = {"dose": dose, "horizon": horizon, "channels": records(rows), "half_doses": records(table)}
    return [Claim(TOPIC, claim, evidence, numbers)]


def _marker(found: Lesions) -> str:
    w = found.table[found.table.role == "marker"].fitness
    return f"has W {value_range(w[np.isfinite(w)], 3)} under every kind" if w.notna().any() else "is not there"


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for machines."""
    return rows.to_dict("records")


def kinds(found: Lesions) -> list[Claim]:
    """Whether kinds of lesion agree about which channel matters."""
    dose, horizon = middle_dose(found), found.config.horizons[0]
    rows = hidden(found, phase="adult", horizon=horizon)
    lasting = {}
    for kind in ("graded", "zero", "noise", "mean", "clamp", "freeze"):
        one = rows[rows.kind == kind]
        one = one[one.dose == dose] if kind == "graded" else one.drop_duplicates("target")
        if len(one) > 2 and one.fitness.nunique() > 1:
            lasting[kind] = one.set_index("target").fitness
    sure = {kind: repeated(found.table, kind, dose, horizon, list(w.index)) for kind, w in lasting.items()}
    unsure = [kind for kind, r in sure.items() if not r >= REPEATED]
    lasting = {kind: w for kind, w in lasting.items() if kind not in unsure}
    if len(lasting) < 2:
        return []
    agree = {f"{a} and {b}": float(lasting[a].corr(lasting[b], method="spearman")) for a, b in combinations(lasting, 2)}
    values = np.asarray(list(agree.values()))
    worst = {kind: str(w.idxmin()) for kind, w in lasting.items()}
    same = len(set(worst.values())) == 1
    low = min(agree, key=lambda pair: agree[pair])
    claim = (
        f"Every kind of lasting lesion hits {next(iter(worst.values()))} hardest."
        if same
        else "Kinds of lesion disagree about which hidden channel is needed most."
    )
    evidence = (
        f"hit hardest after {horizon} steps: {'; '.join(f'{k} {t}' for k, t in worst.items())}. Rank "
        f"correlation of W over {plural(len(next(iter(lasting.values()))), 'channel')} between two kinds: "
        f"median {number(float(np.median(values)))}, least {number(agree[low])} ({low}); 0 is no "
        f"agreement; of a kind with itself, in two halves of the keys, at least {REPEATED}"
        + (f" (not so, and left out: {', '.join(unsure)})" if unsure else "")
        + f"; medians of {plural(found.config.runs, 'key')}"
    )
    numbers = {"worst": worst, "rank_correlation": agree, "of_halves": sure}
    return [Claim(TOPIC, claim, evidence, numbers)]


def phases(found: Lesions) -> list[Claim]:
    """How many channels each phase cannot do without."""
    dose, told, numbers = middle_dose(found), [], {}
    for phase in PHASES:
        rows = hidden(found, phase=phase, kind="graded", dose=dose)
        rows = rows[rows.horizon == rows.horizon.max()] if len(rows) else rows
        if len(rows):
            fallen = rows[rows.fitness < DEAD]
            told.append((phase, len(fallen), len(rows), int(rows.horizon.iloc[0]), rows.fitness.median()))
            numbers[phase] = {"below_half": fallen.target.tolist(), "of": len(rows), "horizon": told[-1][3]}
    if len(told) < 2:
        return []
    most = max(told, key=lambda one: one[1] / one[2])
    if most[1] == 0:
        claim = f"In no phase does losing {percent(dose)} of a hidden channel a step cost half the fitness."
    elif len({one[1] / one[2] for one in told}) == 1:
        claim = "Growing, grown and regenerating bodies miss as many hidden channels."
    else:
        claim = f"It can do without its hidden channels least while {most[0].replace('adult', 'grown')}."
    evidence = f"{percent(dose)} a step costs half of W or more for " + "; ".join(
        f"{fallen} of {of} hidden channels {phase} (after {horizon} steps, median W {number(middle)})"
        for phase, fallen, of, horizon, middle in told
    )
    evidence += f"; {plural(found.config.runs, 'key')}"
    return [Claim(TOPIC, claim, evidence, numbers)]


def erased(found: Lesions) -> list[Claim]:
    """Whether a channel erased once comes back, beside as large a push elsewhere."""
    horizon = found.config.horizons[-1]
    rows = hidden(found, phase="adult", kind="erase", horizon=horizon)
    null = hidden(found, phase="adult", kind="random direction", horizon=horizon)
    if rows.empty or null.empty:
        return []
    worst, healed = rows.iloc[0], int((rows.fitness >= HEALED).sum())
    p = float((1 + (null.fitness <= worst.fitness).sum()) / (len(null) + 1))
    claim = (
        f"{healed} of {plural(len(rows), 'hidden channel')} can be erased once without harm {horizon} steps "
        "later "
        f"(W ≥ {HEALED})" + (f"; {worst.target} does worst." if healed < len(rows) else ".")
    )
    evidence = (
        f"{worst.target} {fitness(worst)}; {len(null)} pushes as far along random hidden directions: "
        f"median W {number(float(null.fitness.median()))}, least {number(float(null.fitness.min()))}; p "
        f"{probability(p)} (at least {probability(1 / (len(null) + 1))}) before the choice of the worst of "
        f"{len(rows)}; {plural(int(worst.runs), 'key')}"
    )
    early = hidden(found, phase="adult", kind="erase", horizon=found.config.horizons[0])
    if found.config.horizons[0] != horizon:
        spared = int((early.fitness >= HEALED).sum())
        evidence += f"; after {found.config.horizons[0]} steps {spared} of {len(early)} are without harm"
    twin = hidden(found, phase="adult", kind="resample")
    twin = twin[twin.horizon == twin.horizon.max()]
    if len(twin):
        evidence += f"; set to a twin’s values, which should cost nothing: W {value_range(twin.fitness.to_numpy())}"
    return [Claim(TOPIC, claim, evidence, {"healed": healed, "of": len(rows), "p": p, "channels": records(rows)})]


def inner(found: Lesions) -> list[Claim]:
    """Filters and hidden units."""
    said = []
    rows = found.rows[found.rows.fitness.notna() & (found.rows.cells_touched > 0)]
    for part, name in (("filter", "filters of the perception"), ("unit", "groups of hidden units")):
        one = rows[(rows.part == part) & (rows.kind == "mean") & ~rows.target.str.startswith("unit ")]
        if one.empty:
            continue
        one = one.sort_values("fitness")
        worst, best = one.iloc[0], one.iloc[-1]
        spared = int((one.fitness >= HEALED).sum())
        claim = f"{spared} of {len(one)} {name} can be held at the mean without harm (W ≥ {HEALED})."
        evidence = (
            f"after {int(worst.horizon)} steps: worst {worst.target}, {fitness(worst)}; mildest "
            f"{best.target}, {fitness(best)}; median and {interval_label(int(worst.runs))}; "
            "the undisturbed run of the same key is 1"
        )
        said.append(Claim(TOPIC, claim, evidence, {"part": part, "rows": records(one)}))
    return said


def directions(found: Lesions) -> list[Claim]:
    """Whether the first principal component is needed more than random directions.

    More is taken out along it than along any other, so that the harm is judged for the variance taken.
    """
    rows = found.rows[(found.rows.part == "direction") & (found.rows.kind == "graded")]
    rows = rows[rows.fitness.notna()]
    if rows.empty:
        return []
    dose = rows.dose.max()
    rows = rows[rows.dose == dose]
    own, drawn = rows[rows.role == "component"], rows[(rows.role == "random") & (rows.spread > 0)]
    if drawn.empty or not own.iloc[0].spread > 0:
        return []
    first, null = own.iloc[0], drawn.fitness.to_numpy()
    harm, others = (1 - first.fitness) / first.spread, (1 - null) / drawn.spread.to_numpy()
    p = float((1 + (others >= harm).sum()) / (len(null) + 1))
    below = own[own.fitness < null.min()].target.tolist()
    claim = "For the variance along it, the first principal component is missed "
    claim += (
        f"more than any of {len(null)} random directions." if p <= CLEAR else "no more than a random direction may be."
    )
    evidence = (
        f"{percent(dose)} of it taken out a step, about the mean, for {int(first.horizon)} steps: PC1 "
        f"{fitness(first)}; {len(null)} random directions W {value_range(null)}, median "
        f"{number(float(np.median(null)))}; but along PC1 lies {percent(first.spread)} of the variance, "
        f"along those {percent(drawn.spread.min())} to {percent(drawn.spread.max())}, so more is taken: "
        f"1 − W over that share is {number(harm)} beside {value_range(others)}, p {probability(p)} (at least "
        f"{probability(1 / (len(null) + 1))}); a lower W than every random direction: "
        f"{named(below) if below else 'none'}; {plural(int(first.runs), 'key')}"
    )
    return [Claim(TOPIC, claim, evidence, {"p": p, "below_all": below, "rows": records(rows)})]


def blow_ups(found: Lesions) -> list[Claim]:
    """Lesions under which bodies grow without end."""
    rows = found.rows[found.rows.role != "marker"]
    lost = rows.drop_duplicates(["phase", "part", "target", "kind", "dose"], keep="last")
    over, burst = (lost[lost[f"{what}_runs"] > 0] for what in ("overgrown", "exploded"))
    claim = (
        f"{len(over)} of {plural(len(lost), 'lesion')} make the body overgrow in some run, {len(burst)} "
        "make it explode."
        if len(over) or len(burst)
        else f"None of {plural(len(lost), 'lesion')} makes the body overgrow or explode."
    )
    parts = []
    for what, some in (("overgrew", over), ("exploded", burst)):
        if len(some):
            first = some.sort_values(f"{'overgrown' if what == 'overgrew' else what}_step").iloc[0]
            step = first[f"{'overgrown' if what == 'overgrew' else what}_step"]
            parts.append(f"first {what} at step {int(step)}: {first.target} under {first.kind}, {first.phase}")
    evidence = "; ".join(["more than twice the twin’s cells, or a value beyond 1,000, where a run stops", *parts])
    return [Claim(TOPIC, claim, evidence, {"overgrown": records(over), "exploded": records(burst)})]


def controls(found: Lesions) -> list[Claim]:
    """What was done to nothing."""
    numbers: dict[str, Any] = {}
    idle: list[str] = []
    if len(found.table):
        rows = found.table[found.table.role == "marker"]
        numbers["state"] = float(rows.changed.max()) if len(rows) else None
        numbers["fitness"] = float((rows.fitness - 1).abs().max()) if len(rows) else None
        idle = sorted(set(found.rows[found.rows.cells_touched == 0].target))
    if len(found.crossings):
        row = found.crossings[found.crossings.channel.str.startswith("marker")]
        numbers["periods"] = float(row.effect.abs().max()) if len(row) else None
    known = {name: value for name, value in numbers.items() if value is not None}
    if found.organism.rule.spec.channels < 4:
        claim = "There is no neutral marker: one more channel would change what a state of so few means."
    elif not known:
        claim = "The neutral marker was carried along."
    elif max(known.values()) <= ROUNDING:
        claim = "Whatever is done to a channel that nothing reads changes nothing."
    else:
        claim = f"A channel that nothing reads changes something by {max(known.values()):.2g}: distrust this."
    told = {"state": "any other channel", "fitness": "W", "periods": "W at the end of growth"}
    evidence = "a marker that every cell writes and none reads is harmed like any other channel"
    if known:
        evidence += "; largest change of " + ", of ".join(f"{told[n]} {v:.1g}" for n, v in known.items())
    if idle:
        evidence += f"; some lesion touched nothing of {named(idle)}, which held nothing there"
    return [Claim(TOPIC, claim, evidence, numbers)]

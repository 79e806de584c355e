"""Double lesions, critical periods and self-repair in sentences, each with its null and its n."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.assays.lesions import critical_periods as periods
from analysis.assays.lesions import epistasis
from analysis.assays.lesions.battery import Lesions
from analysis.assays.lesions.words import NAMED, TOPIC, named, records
from analysis.report.format import interval_label, number, plural, probability, scientific
from analysis.report.model import Claim


def findings(found: Lesions) -> list[Claim]:
    """What these assays say."""
    said: list[Claim] = []
    if len(found.pairs):
        said += pairs(found)
    if len(found.crossings):
        said += critical(found)
    if len(found.effects):
        said += repaired(found)
    return said


def pairs(found: Lesions) -> list[Claim]:
    """What backs up what."""
    table, runs = found.pairs, found.doubles.sizes["run"]
    called = ("backup", "series", "suppression")
    verdicts = (*called, *(f"{word} on W" for word in called), "masked")
    by = {verdict: table[table.verdict == verdict] for verdict in verdicts}
    top, backup, partly = table.iloc[0], by["backup"], by["backup on W"]
    control = table.a.str.startswith("marker") | table.b.str.startswith("marker")
    claim = f"None of {plural(int((~control).sum()), 'pair')} of hidden channels backs each other up."
    if len(backup):
        claim = f"{plural(len(backup), 'pair')} of hidden channels back each other up: {_pairs(backup)}."
    if len(partly):
        more = "more would" if len(backup) else "would"
        claim += f" On W alone, which −L does not bear out, {len(partly)} {more}: {_pairs(partly)}."
    logs = (
        "−L is not defined, since there is no target and the twin’s own error is 0"
        if not np.isfinite(top.eps_l)
        else f"{number(top.eps_l)} on −L (q {small(top.q_l)})"
    )
    evidence = (
        f"both held at zero for {found.config.pair_for} steps, {plural(runs, 'key')}: lowest ε of "
        f"{top.a} and {top.b}, {number(top.eps_w)} ({number(top.low_w)} to {number(top.high_w)}) on W (q "
        f"{small(top.q_w)}), {logs}, alone W {number(top.w_a)} and {number(top.w_b)}; together no worse than "
        "the worse alone, as in series or where changes of colour cancel in part: "
        f"{len(by['series'])}; better than that, one undoing the other’s harm: {len(by['suppression'])}; "
        f"masked, where one alone leaves nothing to lose: {len(by['masked'])}. The "
        f"null is ε = 0, its sign drawn for each key; p is at least {small(epistasis.p_floor(runs))}; "
        f"called where |ε| ≥ {epistasis.LARGE} on W with q ≤ {epistasis.CLEAR} and −L, where defined, "
        "agrees with the same"
    )
    marker = table[control]
    if len(marker):
        evidence += f"; pairs with the marker: largest |ε| {number(float(marker.eps_w.abs().max()), 3)}"
    numbers = {name: records(some) for name, some in by.items()} | {"p_floor": epistasis.p_floor(runs)}
    return [Claim(TOPIC, claim, evidence, numbers)]


def _pairs(some: pd.DataFrame) -> str:
    return named([f"{r.a} and {r.b}" for r in some.itertuples()])


def small(p: float) -> str:
    """A probability that may be very small."""
    return probability(p) if p >= 0.001 else scientific(p)


def critical(found: Lesions) -> list[Claim]:
    """When channels are needed."""
    table = found.crossings[~found.crossings.channel.str.startswith("marker")]
    end = found.config.period_end
    lapse = table[table.kind == "any lapse"].sort_values("first")
    claim = (
        f"{len(lapse)} of {plural(len(table), 'hidden channel')} have a period: to be without until it begins "
        "harms, and so does to be without from its end on."
    )
    if len(lapse):
        short = lapse.loc[(lapse["last"] - lapse["first"]).idxmin()]
        first, last = (number(short[end], 0) for end in ("first", "last"))
        claim += f" The shortest is {short.channel}’s, steps {first} to {last}."
    told = [
        f"{r.channel} {number(r.first, 0)} ({number(r.first_low, 0)} to {number(r.first_high, 0)}) to "
        f"{number(r.last, 0)} ({number(r.last_low, 0)} to {number(r.last_high, 0)})"
        for r in lapse.itertuples()
    ]
    long, unsure, none = (int((table.kind == kind).sum()) for kind in ("long lapse", "unsure", "none"))
    evidence = (
        f"held at zero from step t on, or until t, judged at step {end}, half-effect crossings with "
        f"{interval_label(int(table.runs.max()))}, every {found.config.period_every} steps: "
        f"{'; '.join(told) or 'none'}. Harmed by a long lapse only: {long}; keys disagree: {unsure}; the "
        f"whole lesion costs less than {periods.LEAST} of W by step {end}: {none}. Lapses within a period "
        "were not tried"
    )
    control = found.crossings[found.crossings.channel.str.startswith("marker")]
    if len(control):
        evidence += f"; the marker’s whole lesion costs {number(float(control.effect.iloc[0]), 3)}"
    return [Claim(TOPIC, claim, evidence, {"channels": records(found.crossings)})]


def repaired(found: Lesions) -> list[Claim]:
    """What makes up for what is lost."""
    table = found.effects[~found.effects.channel.str.startswith("marker")]
    zero = table[(table.kind == "zero") & table.share.notna()].sort_values("share")
    helped, harmed = zero[zero.share_low > 0], zero[zero.share_high < 0]
    claim = (
        f"The other hidden channels make up for the loss of {len(helped)} of "
        f"{plural(len(zero), 'channel')}, and make it worse for {len(harmed)}."
    )
    nulls = "beyond" in zero
    compared = zero[zero.beyond.notna()] if nulls else zero[:0]
    beyond = compared[compared.beyond_low > 0] if nulls else compared
    if len(compared):
        claim = (
            f"{claim[:-1]}; for {len(beyond)} of {len(compared)} it is more than is made up for after an "
            "equally large and smooth change elsewhere in the channel."
        )
    elif nulls:
        claim = f"{claim[:-1]}; whether more than after any change as large, no null can say."
    if zero.empty:
        claim = "No hidden channel has a direct effect clear of 0, so there is nothing to repair."
    told = [
        f"{r.channel} {r.share:.0%} ({r.share_low:.0%} to {r.share_high:.0%}) of {number(r.direct)}".replace("-", "−")
        for r in zero.iloc[::-1].itertuples()
    ]
    without = int((table.kind == "zero").sum()) - len(zero)
    freed = table[table.kind == "erase"].set_index("channel").total
    held = table[table.kind == "erase, held"].set_index("channel").total
    itself = (held - freed).dropna()
    evidence = (
        f"share repaired ({interval_label(int(table.runs.max()))}) of the direct effect "
        f"after {found.config.repair_for} steps at zero: {'; '.join(told[:NAMED]) or 'none'}"
        + (f" … {told[-1]}" if len(told) > NAMED else "")
        + f"; where the interval of the direct effect holds 0 there is no share ({plural(without, 'channel')})"
    )
    if nulls and len(zero):
        evidence += (
            f"; more than after the null in {', '.join(beyond.channel) or 'none'} (interval of the "
            "difference above 0, uncorrected)"
        )
        if len(compared) < len(zero):
            evidence += (
                f"; of {plural(len(zero) - len(compared), 'channel')} the null or the lesion overgrew or "
                "exploded in some run, which cannot be compared"
            )
    if len(itself):
        evidence += (
            f". Erased once, holding the channel’s own updates costs {number(float(itself.median()))} of W "
            f"more in the median (most {itself.idxmax()}, {number(float(itself.max()))})"
        )
    return [Claim(TOPIC, claim, evidence, {"channels": records(found.effects)})]

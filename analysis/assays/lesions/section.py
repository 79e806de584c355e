"""Lesions as a section of a report, from finished results."""

from __future__ import annotations

import pandas as pd

from analysis.assays.lesions import figures as lesion_figures
from analysis.assays.lesions import verdicts as lesion_verdicts
from analysis.assays.lesions import words as lesion_words
from analysis.assays.lesions.battery import Lesions
from analysis.assays.lesions.kinds import KINDS
from analysis.report.model import Section


def section(found: Lesions) -> Section:
    """What the lesions of one organism tell."""
    frames = {
        "lesion-atlas": found.rows,
        "lesion-runs": found.table,
        "lesion-half-doses": found.tolerance,
        "lesion-pairs": found.pairs,
        "lesion-periods": found.crossings,
        "lesion-repair": found.effects,
    }
    arrays = {"lesion-pairs": found.doubles, "lesion-periods": found.periods, "lesion-repair": found.repairs}
    return Section(
        lesion_words.TOPIC,
        "Lesions",
        # What the marker shows is a check, not a result: last.
        [*lesion_words.findings(found), *lesion_verdicts.findings(found), *lesion_words.controls(found)],
        figures=lesion_figures.draw(found),
        lookup=shown(found),
        tables={name: _without_doses(frame) for name, frame in frames.items() if len(frame)},
        method=method(found),
        skipped=[f"{name}: {reason}" for name, reason in found.skipped.items()],
        data={name: data for name, data in arrays.items() if len(data)},
    )


def _without_doses(frame: pd.DataFrame) -> pd.DataFrame:
    """A kind without doses has an empty one; "not defined" is said of results alone."""
    if "dose" not in frame:
        return frame
    return frame.assign(dose=frame.dose.astype(object).where(frame.dose.notna(), ""))


def shown(found: Lesions) -> dict[str, pd.DataFrame]:
    """What a reader may want to look up: the main columns, rounded."""
    wanted: dict[str, pd.DataFrame] = {}
    if len(found.rows):
        rows = found.rows[(found.rows.phase == "adult") & (found.rows.part == "channel")]
        columns = ["target", "kind", "dose", "horizon", "fitness", "fitness_low", "fitness_high", "outcome"]
        wanted["Channels of the grown body"] = _without_doses(rows[columns])
    if len(found.pairs):
        columns = [
            "a",
            "b",
            "w_a",
            "w_b",
            "w_ab",
            "eps_w",
            "low_w",
            "high_w",
            "q_w",
            "eps_l",
            "q_l",
            "verdict",
        ]
        wanted["Pairs"] = found.pairs[columns]
    if len(found.crossings):
        wanted["Critical periods"] = found.crossings
    if len(found.effects):
        columns = ["kind", "channel", "direct", "direct_low", "direct_high", "total", "share"]
        columns += [c for c in ("beyond", "beyond_low", "beyond_high") if c in found.effects]
        wanted["Self-repair"] = found.effects[[*columns, "runs"]]
    return {title: frame.round(3) for title, frame in wanted.items()}


def method(found: Lesions) -> str:
    """How it was done."""
    config = found.config
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    return (
        "Every lesioned run is paired with the undisturbed run of the same key, whose fire masks it "
        "shares. Fitness W = 1 − (E − E_ref) / (E_dead − E_ref) is 1 intact, 0 dead, negative when "
        f"overgrown, and not defined where there is no body to lose. Kinds of lesion: {kinds}. Noise and "
        "direction lesions leave colour and alpha alone. A run that overgrows or explodes stops there, "
        "and its step is kept. Hidden units are grouped by the channel that they write to most. A neutral "
        "marker, one more channel that every cell writes and none reads, is carried along as a control. "
        f"Keys follow from seed {config.seed}; they repeat one network and say nothing about others. "
        "Intervals are percentile bootstraps over keys, of 95 % where there are six or more; of fewer "
        "none can "
        "reach that. Double lesions: ε_ij = W_ij − W_i − W_j + "
        "W_0 on the same key, and the same on −L; p by drawing each key’s sign, q over all pairs "
        "(Benjamini and Hochberg); a backup also costs 0.05 more than (√(1 − W_i) + √(1 − W_j))², which two "
        "changes that merely add may. Critical periods: half of the whole lesion’s effect, between the steps "
        "tried by a straight line. Self-repair: the share is 1 − TE / DE, given only where the interval "
        "of DE excludes 0; held channels answer to nothing, so DE is what the loss would do to a body "
        "that cannot respond at all. Its null changes the same channel by as much, with the same power at "
        "every scale of the body, elsewhere; beyond is the repair (DE − TE) less the null’s, key by key."
    )

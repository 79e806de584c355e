"""Lesions as a section of a report: claims with their evidence, figures and tables, from finished results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.assays.lesions.atlas import split_half_correlation
from analysis.assays.lesions.bases import harm_statistics, rank_of_trained
from analysis.assays.lesions.config import PHASES
from analysis.assays.lesions.epistasis import INTERACTIONS, MAX_Q, MIN_EPSILON, sign_flip_floor
from analysis.assays.lesions.interventions import INTERVENTIONS, ONCE
from analysis.assays.lesions.plots import lesion_figures
from analysis.assays.lesions.run import LesionResult
from analysis.report import plots
from analysis.report.format import number, percent, plural, probability, scientific
from analysis.report.model import Answer, Claim, Section, evidence, svg_figure
from analysis.stats.nulls import p_value
from nca.basis import change_basis
from nca.errors import UserError
from nca.spec import hidden_channels

_NAME = "lesions"
_INTACT = 0.95  # fitness that counts as unharmed
_HALF = 0.5
_MAX_P = 0.05
_ROUNDING = 1e-4  # between two programs that compute the same
_REPEATS = 0.5  # rank correlation between halves of the runs from which a ranking counts
_MAX_NAMES = 4  # of a list in a sentence
_MAX_ROWS = 20  # of evidence, the worst first: a table of the report has all of them
_METHODS = {
    "pairs": (
        "Double lesions: epsilon = W_ij − W_i − W_j + W_0 on the fitness W of the same key, and the same on "
        "−log10 MSE; p by drawing each run’s sign, q over all pairs (Benjamini & Hochberg). A backup also costs "
        "0.05 more than (√(1 − W_i) + √(1 − W_j))², which two changes of one colour that merely add may cost."
    ),
    "period_bounds": (
        "Critical periods: the start is the step t at which ablation on (0, t] first costs half of the full "
        "lesion’s effect, the end that at which ablation from t on no longer does, interpolated linearly."
    ),
    "repair_effects": (
        "Self-repair: the share is 1 − total / direct effect, given where the direct effect is at least 0.05 and "
        "its interval excludes 0. For the direct effect the updates of the other hidden channels are held to those "
        "of the control. The null changes the same channel by as much, with the same power at every spatial scale "
        "of the body, elsewhere."
    ),
}


def sections(results: Sequence[LesionResult]) -> list[Section]:
    """A section for each organism."""
    if len(results) == 1:
        return [_section(results[0])]
    return [_section(result, f"-{n}", f": {result.organism.name}") for n, result in enumerate(results, 1)]


def claims(result: LesionResult) -> list[Claim]:
    """Every claim that there are results for, the check of the control channel last."""
    of_atlas = (_inner_targets, _most_needed, _bases, _interventions_agree, _phases, _erased, _components, _overgrowth)
    makers = {"atlas": of_atlas, "pairs": (_backup,), "period_bounds": (_periods,), "repair_effects": (_repair,)}
    shown = [make for table, of_table in makers.items() if len(getattr(result, table)) for make in of_table]
    return [claim for make in (*shown, _control_channel) for claim in make(result)]


def _section(result: LesionResult, number: str = "", name: str = "") -> Section:
    prefix, atlas = f"lesion{number}", result.atlas
    frames = {"atlas": atlas, "runs": result.atlas_runs, "half-doses": result.half_doses, "pairs": result.pairs}
    frames |= {"periods": result.period_bounds, "repair": result.repair_effects}
    frames |= {"bases": result.basis_fitness.rename_axis("basis").reset_index()}
    arrays = {"pairs": result.double_lesions, "periods": result.critical_periods, "repair": result.self_repair}
    lookup = {"Pairs of channels": "pairs", "Critical periods": "periods", "Self-repair": "repair"}
    tables = {title: frames[key] for title, key in lookup.items()}
    if len(atlas):
        columns = ["target", "intervention", "dose", "eval_step", "fitness", "fitness_low", "fitness_high", "outcome"]
        channels = _where(atlas, phase="adult", target_type="channel")[columns]
        tables["Channels of the adult body"] = _blank_doses(channels)
    with plots.style():
        figures = lesion_figures(result).items()
        drawn = [svg_figure(f"{prefix}-{key}", figure, caption) for key, (figure, caption) in figures]
    return Section(
        f"{_NAME}{number}",
        f"Lesions{name}",
        claims(result),
        figures=drawn,
        lookup={title: frame.round(3) for title, frame in tables.items() if len(frame)},
        tables={f"{prefix}-{key}": _blank_doses(frame) for key, frame in frames.items() if len(frame)},
        method=_method(result),
        skipped=[f"{key}: {reason}" for key, reason in result.skipped.items()],
        data={f"{prefix}-{key}": data for key, data in arrays.items() if len(data)},
    )


def _blank_doses(frame: pd.DataFrame) -> pd.DataFrame:
    """An intervention without doses has an empty one: "not defined" is for results alone."""
    if "dose" not in frame:
        return frame
    return frame.assign(dose=frame.dose.astype(object).where(frame.dose.notna(), ""))


def _where(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Rows with these values."""
    for name, value in values.items():
        rows = rows[rows[name] == value]
    return rows


def _hidden(result: LesionResult, **values: Any) -> pd.DataFrame:
    """Rows of hidden channels that hold something and whose fitness is defined, the worst first."""
    rows = _where(result.atlas, target_type="channel", role="hidden", **values)
    return rows[(rows.cells_changed > 0) & rows.fitness.notna()].sort_values("fitness")


def _measured(row: Any, name: str, quantity: str, measure: str) -> dict[str, Any]:
    """Evidence: a value of a row with its interval."""
    low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
    return _row(quantity, measure, getattr(row, name), row.runs, "runs") | {"low": low, "high": high}


def _row(quantity: str, measure: str, value: float, n: int | None = None, unit: str = "channels") -> dict[str, Any]:
    """Evidence: a value without an interval."""
    return {"quantity": quantity, "measure": measure, "value": value} | ({} if n is None else {"n": n, "unit": unit})


def _fitness_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [_measured(r, "fitness", r.target, f"fitness after {r.eval_step} steps") for r in rows.itertuples()]


def _null(values: Any, p: float) -> dict[str, float]:
    """Evidence: median and range of a null, and the p value that follows from it."""
    return {"null_median": np.median(values), "null_low": np.min(values), "null_high": np.max(values), "p": p}


def _first_names(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:_MAX_NAMES]))
    return shown + (f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else "")


def _most_needed(result: LesionResult) -> Iterator[Claim]:
    """Which hidden channel is needed most."""
    dose, step = result.config.middle_dose, result.config.eval_steps[-1]
    where: dict[str, Any] = {"phase": "adult", "intervention": "partial", "dose": dose, "eval_step": step}
    rows, listed, halves = _hidden(result, **where), _where(result.atlas, **where), result.half_doses
    if rows.empty:
        if len(listed):
            yield Claim(_NAME, "The fitness after partial ablation of a hidden channel is not defined.", evidence())
        return
    halves = _where(halves, phase="adult", eval_step=step, role="hidden").dropna(subset="half_dose")
    halves = halves.sort_values("half_dose")
    doses = [_row(r.target, "dose that halves the fitness", r.half_dose) for r in halves.itertuples()]
    worst = rows.iloc[0]
    text = (
        f"When one hidden channel decays by {percent(dose)} per step, losing {worst.target} hurts most: fitness "
        f"{number(worst.fitness)} after {step} steps (1: as the control, 0: an empty canvas){_in_basis(result)}."
    )
    table = evidence(*_fitness_rows(rows), *_fitness_rows(_where(listed, role="control")), *doses)
    numbers = {"dose": dose, "eval_step": step, "worst": worst.target, "fitness": worst.fitness}
    yield Claim(_NAME, text, table, numbers)


def _in_basis(result: LesionResult) -> str:
    """What a statement about channels holds in, unless the rule leaves no choice of basis."""
    try:
        change_basis(result.organism, np.eye(len(hidden_channels(result.organism.rule.spec))))
    except UserError:
        return ""
    return ", in the trained basis"


def _bases(result: LesionResult) -> Iterator[Claim]:
    """Whether the trained basis of the hidden channels is special: how much hangs on its channels."""
    fitness = result.basis_fitness
    if len(fitness) < 2:
        return
    statistics = pd.DataFrame({name: harm_statistics(row.to_numpy()) for name, row in fitness.iterrows()}).T
    ranks = {name: rank_of_trained(statistics[name]) for name in ("worst", "needed", "spread")}
    worst = ranks["worst"]
    if "p" not in worst:
        return
    n, below, p = worst["n"], worst["below"], worst["p"]
    if 0 < below < n:
        verdict = f"the trained one lies among them ({below} of {n} are lower)"
    elif p > _MAX_P:
        side = "higher" if below else "lower"
        verdict = (
            f"{side} than in all of them, but so few bases cannot tell whether that is special (p = {probability(p)})"
        )
    elif below:
        verdict = "its channels can be spared more easily than those of other bases"
    else:
        verdict = "it hangs on one channel more than other bases do"
    text = (
        f"When the channel needed most decays by {percent(result.config.middle_dose)} per step, fitness is "
        f"{number(worst['value'])} in the trained basis and {_span(worst)} in {n} other bases of the same organism: "
        f"{verdict}."
    )
    measures = {
        "worst": "fitness without the channel needed most",
        "needed": "share of channels whose loss costs half of the fitness",
        "spread": "spread of the harm over channels (1: even)",
    }
    table = [_ranked(rank, measures[name]) for name, rank in ranks.items()]
    note = (
        f"With {n} bases p, two-sided, is at least {probability(2 / (n + 1))}. The other bases are random rotations of "
        "the hidden channels; training that prefers no basis could have ended in any of them."
    )
    yield Claim(_NAME, text, evidence(*table), {name: rank["p"] for name, rank in ranks.items() if "p" in rank}, note)


def _span(rank: Mapping[str, float]) -> str:
    """The range of the other bases."""
    return f"{number(rank['null_low'])} to {number(rank['null_high'])}"


def _ranked(rank: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """Evidence: a value of the trained basis among those of others."""
    known = {name: value for name, value in rank.items() if name != "below"}
    return {"quantity": "trained basis", "measure": measure, "unit": "other bases"} | known


def _interventions_agree(result: LesionResult) -> Iterator[Claim]:
    """Whether lasting interventions agree on which channel is needed most."""
    dose, step = result.config.middle_dose, result.config.eval_steps[0]
    hidden, fitness, repeats = _hidden(result, phase="adult", eval_step=step), {}, {}
    for name in (name for name in INTERVENTIONS if name not in ONCE):
        rows = _where(hidden, intervention=name)
        rows = _where(rows, dose=dose) if name == "partial" else rows.drop_duplicates("target")
        if len(rows) > 2 and rows.fitness.nunique() > 1:
            repeats[name] = split_half_correlation(result.atlas_runs, name, dose, step, list(rows.target))
            if repeats[name] >= _REPEATS:
                fitness[name] = rows.set_index("target").fitness
    if len(fitness) < 2:
        return
    worst = {name: str(values.idxmin()) for name, values in fitness.items()}
    most_often = max(worst.values(), key=list(worst.values()).count)
    pairs = {f"{a}, {b}": float(fitness[a].corr(fitness[b], method="spearman")) for a, b in combinations(fitness, 2)}
    unsure = [name for name in repeats if name not in fitness]
    n, measure = len(next(iter(fitness.values()))), "rank correlation of fitness over channels"
    table = [_row(name, f"lowest fitness, of {worst[name]}", values.min()) for name, values in fitness.items()]
    table += [_row(pair, measure, value, n) for pair, value in pairs.items()]
    table += [_row(name, f"{measure}, two halves of the runs", r, n) for name, r in repeats.items()]
    text = (
        f"{list(worst.values()).count(most_often)} of {len(fitness)} lasting interventions find {most_often} to be "
        f"needed most; between two of them the rank correlation of fitness is "
        f"{number(float(np.median(list(pairs.values()))))} (median; 0 = no agreement)."
    )
    numbers = {"worst": worst, "rank_correlation": pairs, "split_half_correlation": repeats}
    note = f"Left out, since their ranking does not repeat in two halves of the runs: {', '.join(unsure)}."
    yield Claim(_NAME, text, evidence(*table), numbers, note if unsure else "")


def _phases(result: LesionResult) -> Iterator[Claim]:
    """How many channels each phase cannot do without."""
    dose, phases, table = result.config.middle_dose, dict[str, Any](), []
    for phase in PHASES:
        rows = _hidden(result, phase=phase, intervention="partial", dose=dose)
        if rows.empty:
            continue
        step, n = int(rows.eval_step.max()), rows.target.nunique()
        rows = _where(rows, eval_step=step)
        halved = rows[rows.fitness < _HALF].target.tolist()
        phases[phase] = {"below_half": halved, "n": n, "eval_step": step}
        table.append(_row(phase, f"fitness below 0.5 after {step} steps", len(halved), n))
        table.append(_row(phase, "median fitness over channels", rows.fitness.median(), n))
    if len(phases) > 1:
        listed = ", ".join(f"{len(p['below_half'])} of {p['n']} ({phase})" for phase, p in phases.items())
        text = f"Losing {percent(dose)} of a hidden channel per step costs half of the fitness or more for {listed}."
        yield Claim(_NAME, text, evidence(*table), phases)


def _erased(result: LesionResult) -> Iterator[Claim]:
    """Whether a channel that was erased once comes back, compared with as large a change elsewhere."""
    step, names = result.config.eval_steps[-1], ("erase", "random-direction", "resample")
    rows, null, resampled = (_hidden(result, phase="adult", intervention=n, eval_step=step) for n in names)
    if rows.empty or null.empty:
        return
    worst, recovered = rows.iloc[0], int((rows.fitness >= _INTACT).sum())
    p = p_value(-worst.fitness, -null.fitness)
    table = _fitness_rows(rows)
    table[0] |= _null(null.fitness, p)
    if len(resampled):
        row = _row("median, resampled", f"fitness after {step} steps", resampled.fitness.median(), len(resampled))
        table.append(row | {"low": resampled.fitness.min(), "high": resampled.fitness.max()})
    text = (
        f"{recovered} of {plural(len(rows), 'hidden channel')} can be set to zero once without harm {step} steps later "
        f"(fitness at least {_INTACT}); {worst.target} does worst, with {number(worst.fitness)}."
    )
    note = (
        f"The null is {len(null)} changes as large along random hidden directions; p (at least "
        f"{probability(1 / (len(null) + 1))}) is not corrected for choosing the worst of {len(rows)}."
    )
    yield Claim(_NAME, text, evidence(*table), {"recovered": recovered, "n": len(rows), "p": p}, note)


def _inner_targets(result: LesionResult) -> Iterator[Claim]:
    """Hidden units and filters, which need no choice of basis."""
    atlas = result.atlas
    defined = atlas[(atlas.phase == "adult") & atlas.fitness.notna() & (atlas.cells_changed > 0)]
    names = {"unit": "hidden units", "units": "groups of hidden units", "filter": "filters of the perception"}
    for target_type, name in names.items():
        rows = _where(defined, target_type=target_type)
        held = next((value for value in ("mean", "zero") if value in set(rows.intervention)), "")
        shown = _where(rows, intervention=held).sort_values("fitness")
        if len(shown):
            worst, spared = shown.iloc[0], int((shown.fitness >= _INTACT).sum())
            at = "their mean" if held == "mean" else "zero"
            text = (
                f"{spared} of {len(shown)} {name} can be held at {at} for {int(worst.eval_step)} steps without "
                f"harm (fitness at least {_INTACT}); {worst.target} is needed most: fitness {number(worst.fitness)} "
                "without it."
            )
            numbers = {"target_type": target_type, "unharmed": spared, "n": len(shown)}
            short = f"Silencing {len(shown) - spared} of {len(shown)} {name}, each alone, harms the grown body."
            sure = spared == len(shown) or worst.fitness_high < _INTACT
            answer = Answer(short, "clear" if sure else "unclear", "gallery")
            yield Claim(_NAME, text, evidence(*_fitness_rows(shown.head(_MAX_ROWS))), numbers, answer=answer)


def _components(result: LesionResult) -> Iterator[Claim]:
    """Whether the first principal component is needed more than random directions, for the variance along it."""
    rows = _where(result.atlas, target_type="direction", intervention="partial").dropna(subset="fitness")
    rows = rows[(rows.dose == rows.dose.max()) & (rows.variance_share > 0)]
    components, random = _where(rows, role="component"), _where(rows, role="random")
    if random.empty or "PC1" not in set(components.target):
        return
    first = components.iloc[0]
    harm, null = ((1 - r.fitness) / r.variance_share for r in (first, random))
    p = p_value(harm, null)
    row = _row("PC1", "lost fitness per share of variance", harm, int(first.runs), "runs") | _null(null, p)
    text = (
        f"For the variance along it, losing the first principal component costs "
        f"{'more than' if p <= _MAX_P else 'no more than some of'} {len(null)} random directions "
        f"(p = {probability(p)})."
    )
    note = (
        f"{percent(first.dose)} is removed per step, and along PC1 lies {percent(first.variance_share)} of the "
        "variance, so that more is removed than along a random direction."
    )
    below = components[components.fitness < random.fitness.min()].target.tolist()
    table = evidence(row, *_fitness_rows(components), *_fitness_rows(random))
    yield Claim(_NAME, text, table, {"p": p, "below_all_random": below}, note)


def _overgrowth(result: LesionResult) -> Iterator[Claim]:
    """Lesions under which bodies grow without end."""
    rows = result.atlas[result.atlas.role != "control"]
    lesions = rows.drop_duplicates(["phase", "target_type", "target", "intervention", "dose"], keep="last")
    numbers, table = dict[str, int](), []
    for event in ("overgrown", "exploded"):
        hit = lesions[lesions[f"{event}_runs"] > 0].sort_values(f"{event}_step")
        numbers[event] = len(hit)
        table.append(_row("all lesions", f"{event} in some run", len(hit), len(lesions), "lesions"))
        for r in hit.itertuples():
            runs = getattr(r, f"{event}_runs")
            table.append(_row(f"{r.intervention} of {r.target}, {r.phase}", f"runs {event}", runs, r.runs, "runs"))
    text = (
        f"{numbers['overgrown']} of {plural(len(lesions), 'lesion')} make the body overgrow in some run, and "
        f"{numbers['exploded']} make it explode."
    )
    note = "Overgrown: more than twice the control’s mature cells; exploded: a value beyond 1,000; the run stops there."
    yield Claim(_NAME, text, evidence(*table), numbers, note)


def _backup(result: LesionResult) -> Iterator[Claim]:
    """Which channels back each other up."""
    pairs, runs = result.pairs, result.double_lesions.sizes["run"]
    is_control = (pairs.a == "control") | (pairs.b == "control")
    names = (*INTERACTIONS, *(f"{name} on fitness" for name in INTERACTIONS), "masked")
    counts = {name: int((pairs.interaction == name).sum()) for name in names}
    backup = _where(pairs, interaction="backup")
    shown = pairs[~pairs.interaction.isin(("none", "masked"))]
    table: list[dict[str, Any]] = []
    for row in (pairs.iloc[:1] if shown.empty else shown).itertuples():
        for suffix, measure in (("", "epsilon on fitness"), ("_log", "epsilon on −log10 MSE")):
            values = _measured(row, f"epsilon{suffix}", f"{row.a} and {row.b} ({row.interaction})", measure)
            table.append(values | {"p": getattr(row, f"p{suffix}"), "q": getattr(row, f"q{suffix}")})
    table += [_row("all pairs", name, count, len(pairs), "pairs") for name, count in counts.items() if count]
    if is_control.any():
        largest = float(pairs[is_control].epsilon.abs().max())
        table.append(_row("pairs with the control channel", "largest |epsilon| on fitness", largest, runs, "runs"))
    listed = f" ({_first_names([f'{r.a} and {r.b}' for r in backup.itertuples()])})" if len(backup) else ""
    text = (
        f"{len(backup)} of {plural(int((~is_control).sum()), 'pair')} of hidden channels back each other "
        f"up{_in_basis(result)}{listed}."
    )
    if len(result.basis_backup) > 1:
        ranked = rank_of_trained(result.basis_backup)
        text += (
            f" In {ranked['n']} other bases of the same organism {ranked['null_low']:.0f} to "
            f"{ranked['null_high']:.0f} pairs do."
        )
        table.append(_ranked(ranked, "pairs that back each other up"))
    floor = sign_flip_floor(runs)
    note = (
        f"Named where epsilon on fitness is at least {MIN_EPSILON} in size with q ≤ {MAX_Q} and −log10 MSE agrees; the "
        f"null is a random sign for each run, p at least {probability(floor) if floor >= 0.001 else scientific(floor)}."
    )
    yield Claim(_NAME, text, evidence(*table), counts | {"p_floor": floor}, note)


def _periods(result: LesionResult) -> Iterator[Claim]:
    """When channels are needed."""
    bounds = result.period_bounds[result.period_bounds.channel != "control"]
    control = _where(result.period_bounds, channel="control")
    critical = _where(bounds, period="critical").sort_values("start")
    table = [
        _measured(row, end, row.channel, f"{end} of the critical period (step)")
        for row in critical.itertuples()
        for end in ("start", "end")
    ]
    for period, rows in bounds[bounds.period != "critical"].groupby("period"):
        table.append(_row(_first_names(rows.channel.tolist()), str(period), len(rows), len(bounds)))
    table += [_row("control channel", "effect of the full ablation", row.effect) for row in control.itertuples()]
    text = (
        f"{len(critical)} of {plural(len(bounds), 'hidden channel')} have a critical period: ablating the channel "
        "before or after it reduces fitness."
    )
    numbers = {"critical": critical.channel.tolist(), "n": len(bounds)}
    yield Claim(_NAME, text, evidence(*table), numbers, "Ablations within a period were not tested.")


def _repair(result: LesionResult) -> Iterator[Claim]:
    """What the other channels make up for."""
    effects = _where(result.repair_effects, arm="lesion")
    effects = effects[effects.channel != "control"]
    zero = _where(effects, intervention="zero")
    clear = zero[zero.share.notna()].sort_values("share", ascending=False)
    helped, harmed = int((clear.share_low > 0).sum()), int((clear.share_high < 0).sum())
    compared = clear[clear.beyond_null.notna()] if "beyond_null" in clear else clear[:0]
    beyond = int((compared.beyond_null_low > 0).sum()) if len(compared) else 0
    measures = {"share": "share repaired", "direct": "direct effect", "total": "total effect"}
    table = [_measured(r, name, r.channel, label) for r in clear.itertuples() for name, label in measures.items()]
    table += [_measured(r, "beyond_null", r.channel, "repair beyond the null") for r in compared.itertuples()]
    held, free = (_where(effects, intervention=n).set_index("channel").total for n in ("erase-held", "erase"))
    own = (held - free).dropna()
    if len(own):
        measure = "further effect of erasing once where its own updates are held"
        table += [_row("median channel", measure, own.median()), _row(str(own.idxmax()), measure, own.max())]
    text = (
        f"The other hidden channels repair a part of the loss of {helped} of {plural(len(clear), 'channel')} and make "
        f"it worse for {harmed}; for {beyond} of {len(compared)} they repair more than after as large a change "
        "elsewhere in the channel."
    )
    unclear = len(zero) - len(clear)
    note = f"Of {plural(unclear, 'channel')} the direct effect is too small or too uncertain for a share."
    numbers = {"helped": helped, "harmed": harmed, "compared": len(compared), "beyond_null": beyond}
    yield Claim(_NAME, text, evidence(*table), numbers, note if unclear else "")


def _control_channel(result: LesionResult) -> Iterator[Claim]:
    """What lesions of the channel that no cell reads do."""
    runs, pairs = result.atlas_runs, result.pairs
    changes: dict[str, float] = {}
    if len(runs) and len(rows := _where(runs, role="control")):
        changes |= {"value of another channel": rows.side_effect.max(), "fitness": (rows.fitness - 1).abs().max()}
    if len(result.period_bounds):
        changes["fitness at the end of growth"] = _where(result.period_bounds, channel="control").effect.abs().max()
    if len(pairs):
        with_control = (pairs.a == "control") | (pairs.b == "control")
        changes["epsilon of a pair on fitness"] = pairs[with_control].epsilon.abs().max()
    changes = {name: float(value) for name, value in changes.items() if np.isfinite(value)}
    text = "No control channel was lesioned."
    if result.organism.rule.spec.channels < 4:
        text = "There is no control channel: one more would change the meaning of so few channels."
    elif changes:
        largest = max(changes.values())
        verdict = "nothing" if largest <= _ROUNDING else f"something by {largest:.2g}: distrust these results"
        text = f"Lesions of a control channel, which every cell writes and none reads, change {verdict}."
    table = [_row(name, "largest change", value) for name, value in changes.items()]
    unchanged = sorted(set(_where(result.atlas, cells_changed=0).target)) if len(result.atlas) else []
    note = f"Some lesion changed no cell, since its target held nothing: {_first_names(unchanged)}."
    yield Claim(_NAME, text, evidence(*table), changes, note if unchanged else "")


def _method(result: LesionResult) -> str:
    used = [name for name in INTERVENTIONS if name in result.config.interventions]
    interventions = "; ".join(f"{name}: {INTERVENTIONS[name]}" for name in used)
    parts = [
        "Every lesioned run is paired with its control: the run of the same key without the lesion, which shares all "
        "fire masks. Fitness = 1 − (MSE − MSE of the control) / (MSE of an empty canvas − MSE of the control): 1 is "
        "unperturbed, 0 as far from the target as an empty canvas; it is not defined where the control has no "
        "body. A run that overgrows or explodes stops there. A control channel, which every cell writes and none "
        f"reads, is lesioned like the others. Runs follow from seed {result.config.seed}; they repeat one network and "
        "say nothing about others. Intervals are percentile bootstraps over runs; with fewer than six runs they "
        "cannot reach 95 %.",
        f"Interventions: {interventions}. Noise and directions leave colour and alpha alone. Hidden units are grouped "
        "by the channel that they write to most. Channels are those of the trained basis: a rule that reads all "
        "hidden channels through the same filters can be written in another basis, where other channels matter.",
    ]
    parts += [text for table, text in _METHODS.items() if len(getattr(result, table))]
    return "\n\n".join(parts)

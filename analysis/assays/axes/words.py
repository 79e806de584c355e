"""What the axes protocol found in one organism, in sentences that can be quoted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.assays.axes.examination import Axes
from analysis.report.format import number, plural, probability, value_range
from analysis.report.model import Claim

CLEAR = 0.05
LONG = {
    "x": "left-right position (x)",
    "y": "up-down position (y)",
    "s": "position along the body (s)",
    "radius": "distance from the seed",
    "edge": "distance to the edge",
}


def tested(tests: xr.Dataset, statistic: str) -> tuple[bool, str, dict[str, Any]]:
    """Whether a statistic is clear of its null, the evidence in words, and the numbers."""
    one = tests.sel(statistic=statistic)
    names = ("observed", "null_low", "null_median", "null_high", "p", "q")
    numbers: dict[str, Any] = {name: float(one[name]) for name in names}
    words = (
        f"{number(numbers['observed'])}, null {number(numbers['null_median'])} "
        f"({number(numbers['null_low'])} to {number(numbers['null_high'])}), "
        f"p {probability(numbers['p'])}, q {probability(numbers['q'])}"
    )
    return numbers["q"] <= CLEAR, words, numbers | {"statistic": statistic}


def least(null: int) -> str:
    """The floor of p."""
    return f"least possible p {probability(1 / (null + 1))}"


def of_tests(tests: xr.Dataset) -> str:
    """What the tests are of."""
    many = tests.attrs["surrogates"]
    return f"{tests.attrs['cells']} cells of run {tests.attrs['run']}, {many} surrogates ({least(many)})"


def components(pca: xr.Dataset) -> list[Claim]:
    """How many dimensions the states take."""
    needed, share = pca.needed.values, float(pca.explained[0])
    claim = (
        f"The states of its cells take {needed[0]} of {pca.sizes['pc']} dimensions for 90 % of their "
        f"variance ({needed[1]} for 95 %, {needed[2]} for 99 %); the first takes {100 * share:.0f} %."
    )
    which = plural(pca.sizes["channel"], "hidden channel" if pca.attrs["channels"] == "hidden" else "channel")
    scaling = {"raw": "raw", "zscore": "each of unit variance"}[pca.attrs["scaling"]]
    evidence = f"PCA of {pca.attrs['cells']} cells, {which}, {scaling}, centred; step {pca.attrs['at']}"
    return [Claim("axes", claim, evidence, {"needed": needed, "explained": pca.explained.values})]


def headline(found: Axes) -> list[Claim]:
    """PC1 and the head-tail axis in one sentence."""
    tests = found.tests
    clear, radial, numbers = tested(tests, "radius rank of PC1")
    rho = number(numbers["observed"])
    first = (
        f"PC1 is radial (rank correlation {rho} with the distance from the seed)"
        if clear
        else f"PC1 is no more radial than random fields as smooth are (rank correlation {rho})"
    )
    said, evidence = [first], [f"PC1 and radius: {radial}"]
    both: dict[str, Any] = {"pc1_radius": numbers}
    if "R2 of s" in tests.statistic.values:
        along_clear, along, along_numbers = tested(tests, "R2 of s")
        r2, p = along_numbers["observed"], probability(along_numbers["p"])
        end = f"(p {p}, {tests.attrs['surrogates']} surrogates)"
        if r2 <= 0:
            said.append(f"the head-tail axis cannot be read from a cell’s state at all (R² {number(r2)})")
        elif along_clear:
            said.append(
                f"the head-tail axis is decodable at R² {number(r2)}, more than smooth fields on this body reach {end}"
            )
        else:
            said.append(
                f"the head-tail axis is decodable at R² {number(r2)}, which a smooth field on this body "
                f"reaches as well {end}"
            )
        evidence.append(f"s: R² {along}")
        both["s"] = along_numbers
    repeats = found.repeats.radius.sel(pc=1).values if found.repeats else np.asarray([])
    if len(repeats) > 1:
        evidence.append(f"|ρ| {value_range(repeats)} over {plural(len(repeats), 'run')}")
    evidence.append(of_tests(tests))
    return [Claim("axes", "; ".join(said) + ".", "; ".join(evidence), both | {"runs": repeats})]


def gradients(found: Axes) -> list[Claim]:
    """A0 beside its null: is any component a straight gradient?"""
    shown = [str(s) for s in found.tests.statistic.values if str(s).startswith("plane")]
    results = {s.removeprefix("plane R2 of "): tested(found.tests, s) for s in shown}
    straight = [pc for pc, (clear, _, _) in results.items() if clear]
    if straight:
        angle = {pc: float(found.components.angle.isel(run=0).sel(pc=int(pc[2:]))) for pc in straight}
        slopes = ", ".join(f"{pc} along {a:.0f}°" for pc, a in angle.items())
        claim = f"Straight gradients steeper than those of fields as smooth: {slopes} (from x towards y, down)."
    else:
        none = f"None of {', '.join(results)} is a" if len(results) > 1 else "PC1 is no"
        claim = f"{none} straighter gradient than random fields as smooth are."
    evidence = "plane R² " + "; ".join(f"{pc} {words}" for pc, (_, words, _) in results.items())
    numbers = {k: v[2] for k, v in results.items()}
    said = [Claim("axes", claim, f"{evidence}; {of_tests(found.tests)}", numbers)]
    if "horseshoe" in found.tests.statistic.values:
        clear, words, shoe = tested(found.tests, "horseshoe")
        if clear:
            claim = "PC2 is largely a fold of PC1 (a horseshoe): it need not be an axis of its own."
            said.append(Claim("axes", claim, f"|corr(PC2, PC1²)| {words}; {of_tests(found.tests)}", shoe))
    return said


def decoders(found: Axes) -> list[Claim]:
    """A1 and A2: is place written in the states, beyond smoothness?"""
    known = [str(s).removeprefix("R2 of ") for s in found.tests.statistic.values if str(s).startswith("R2")]
    results = {q: tested(found.tests, f"R2 of {q}") for q in known}
    clear = [q for q in known if results[q][0] and results[q][2]["observed"] > 0]
    # Less wrong than smooth fields, and still worse than guessing the mean.
    faint = [q for q in known if results[q][0] and q not in clear]
    claim = (
        f"Beyond what smoothness gives, a cell’s state tells {listed([LONG[q] for q in clear])}."
        if clear
        else "Nothing of a cell’s place can be read from its state beyond what smoothness gives."
    )
    if faint:
        claim += f" {listed([LONG[q] for q in faint]).capitalize()}: clear of the null, yet below R² 0."
    evidence = "; ".join(f"{q}: R² {words}" for q, (_, words, _) in results.items())
    return [
        Claim("axes", claim, f"{evidence}; {of_tests(found.tests)}", {k: v[2] for k, v in results.items()}),
        *_across(found.across),
    ]


def _across(across: xr.Dataset) -> list[Claim]:
    """How alike the runs of one network are."""
    if not across or across.sizes["run"] < 2:
        return []
    names = [str(q) for q in across.quantity.values]
    blocked = {q: across.r2.sel(quantity=q).values for q in names}
    left = {q: across.left_out.sel(quantity=q).values for q in names}
    claim = (
        "Runs of this network repeat each other: a decoder fitted on the other runs reads "
        + ", ".join(f"{q} at R² {number(float(np.nanmean(v)))}" for q, v in left.items())
        + ". This is reproducibility only, not a code of place."
    )
    evidence = "leaving one run out, mean; with blocked folds within each run " + ", ".join(
        f"{q} {value_range(v)}" for q, v in blocked.items()
    )
    return [
        Claim(
            "axes",
            claim,
            f"{evidence}; {plural(across.sizes['run'], 'run')}",
            {"left_out": left, "blocked": blocked},
        )
    ]


def shape_and_colour(controls: xr.Dataset) -> list[Claim]:
    """A3: what hidden states add to shape, and to colour."""
    said = []
    for source, whole in (("shape", "the body’s shape"), ("colour", "a cell’s own colour and alpha")):
        names = [str(s) for s in controls.statistic.values if str(s).endswith(f"over {source}")]
        results = {n.split()[0]: tested(controls, n) for n in names if np.isfinite(controls.p.sel(statistic=n))}
        clear = [q for q, (known, _, numbers) in results.items() if known and numbers["observed"] > 0]
        r2 = controls.r2.sel(quantity=list(results))
        alone, own = (r2.sel(source=s).values for s in (source, "hidden"))
        better = [q for q, a, h in zip(results, alone, own, strict=True) if a > h]
        claim = (
            f"Hidden states add to what {whole} tells of {listed([LONG[q] for q in clear])}."
            if clear
            else f"Hidden states add nothing to what {whole} tells of a cell’s place that smooth fields would not."
        )
        if better:
            claim += f" Alone, {source} decodes {listed([LONG[q] for q in better])} better than hidden states do."
        evidence = "extra R² " + "; ".join(f"{q} {words}" for q, (_, words, _) in results.items())
        each = ", ".join(f"{q} {number(a)}" for q, a in zip(results, alone, strict=True))
        said.append(
            Claim(
                "axes",
                claim,
                f"{evidence}; {source} alone: R² of {each}; {of_tests(controls)}",
                {k: v[2] for k, v in results.items()},
            )
        )
    return said


def listed(words: Sequence[str]) -> str:
    """Words as one speaks them: a, b and c."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else "nothing"

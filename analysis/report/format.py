"""How numbers and intervals are written, in tables and in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NOT_DEFINED = "not defined"


def interval_label(runs: int) -> str:
    """What an interval for a median over so many runs is, in a sentence."""
    return f"{percent(_coverage(runs))} interval over {plural(runs, 'run')}" if runs > 1 else "no interval for 1 run"


def _coverage(runs: int) -> float:
    """Coverage that an interval for a median can reach, at most 95 %: all values lie on one side of the median with
    probability 2^(1 - runs)."""
    return min(0.95, 1.0 - 2.0 ** (1 - runs))


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals, with a true minus sign; "not defined" where there is none."""
    if value is None or not np.isfinite(value):
        return "−∞" if value == -np.inf else NOT_DEFINED
    rounded = round(float(value), digits) + 0.0  # no minus before 0
    is_whole = rounded.is_integer() and abs(rounded) >= 10
    return f"{rounded:.{0 if is_whole else digits}f}".replace("-", "−")


def as_given(value: float) -> str:
    """A number as it was asked for, with a true minus sign."""
    return f"{value:g}".replace("-", "−")


def percent(share: float, digits: int = 0) -> str:
    """A share in a sentence, as per cent."""
    return f"{number(100 * share, digits)} %"


def scientific(value: float, digits: int = 4) -> str:
    """A number that may be too small for so many digits: then as a power of ten."""
    if not np.isfinite(value) or value == 0 or abs(value) >= 5 * 10.0**-digits:
        return number(value, digits)
    mantissa, power = f"{value:.1e}".split("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}×10{raised}".replace("-", "−").replace(".0×", "×")


def probability(p: float) -> str:
    """A p or q in a sentence: three digits where it is small."""
    return number(p, 3 if p < 0.0995 else 2)


def plural(count: int, noun: str, several: str = "") -> str:
    """A count with its noun, such as "8 runs"; `several` is a plural that takes more than an s."""
    return f"{count} {noun if count == 1 else several or noun + 's'}"


def join_words(words: Sequence[str]) -> str:
    """Words as a phrase: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

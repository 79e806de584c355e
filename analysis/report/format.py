"""How numbers and intervals are written, in tables and in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.metrics import interval_coverage

NOT_DEFINED = "not defined"


def interval_label(keys: int) -> str:
    """What an interval over so many keys is, in a sentence."""
    return (
        f"{percent(interval_coverage(keys))} interval over {plural(keys, 'key')}"
        if keys > 1
        else "no interval of 1 key"
    )


def table_cell(value: Any, digits: int = 3) -> str:
    """A number for a table: "not defined" where there is none."""
    if value is None or not np.isfinite(value):
        return NOT_DEFINED
    return str(int(value)) if float(value).is_integer() and abs(value) >= 10 else f"{value:.{digits}f}"


def number(value: float, digits: int = 2) -> str:
    """A number in a sentence, with a true minus sign and no minus before nothing."""
    if value == -np.inf:
        return "−∞"
    rounded = round(value, digits) + 0.0 if np.isfinite(value) else None
    return table_cell(rounded, digits).replace("-", "−")


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


def value_range(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """From the least to the most."""
    return f"{number(float(np.min(values)), digits)} to {number(float(np.max(values)), digits)}"


def plural(many: int, what: str) -> str:
    """So many of something."""
    return f"{many} {what}" + ("" if many == 1 else "s")


def join_words(words: Sequence[str]) -> str:
    """Words as a phrase: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

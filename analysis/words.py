"""Numbers in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis import metrics


def number(value: float, digits: int = 2) -> str:
    """A number in a sentence, with a true minus sign and no minus before nothing."""
    rounded = round(value, digits) + 0.0 if np.isfinite(value) else None
    return metrics.in_words(rounded, digits).replace("-", "−")


def probability(p: float) -> str:
    """A p or q in a sentence: three digits where it is small."""
    return number(p, 3 if p < 0.0995 else 2)


def span(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """From the least to the most."""
    return f"{number(float(np.min(values)), digits)} to {number(float(np.max(values)), digits)}"


def count(many: int, what: str) -> str:
    """So many of something."""
    return f"{many} {what}" + ("" if many == 1 else "s")

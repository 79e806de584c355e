"""Figures and findings shown in a notebook, where they were computed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from analysis.report import plots
from analysis.report.model import Claim

DOTS = 144  # an inch; shown at half as many, so that it is sharp on any screen


def show(drawn: Figure | Callable[..., Figure | tuple[Figure, str]], *found: Any, **options: Any) -> None:
    """Show a figure, with its caption if there is one.

    Args:
        drawn: a figure function of this package, such as `analysis.assays.axes.figures.null`, which gives a
            figure, or a figure and its caption; or a finished figure.
        *found: the finished results that the function draws.
        **options: of the function.
    """
    from IPython.display import Image, Markdown, display

    with plots.style():
        result = drawn if isinstance(drawn, Figure) else drawn(*found, **options)
        made, caption = (result, "") if isinstance(result, Figure) else result
        picture = io.BytesIO()
        # On white: a notebook's page may be dark, and the ink is.
        made.savefig(picture, format="png", dpi=DOTS, facecolor="white", bbox_inches="tight")
    wide = int.from_bytes(picture.getvalue()[16:20])  # of the PNG's header
    display(Image(picture.getvalue(), format="png", width=wide * 100 // DOTS))
    if caption:
        display(Markdown(caption))


def tell(findings: Sequence[Claim]) -> None:
    """Show findings, each a claim over its evidence."""
    from IPython.display import Markdown, display

    told = [f"- **{one.text}**  \n  {one.evidence.rstrip('.')}." for one in findings]
    display(Markdown("\n".join(told)))

"""Results and figures in a notebook, where they were computed."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from typing import Any

from matplotlib.figure import Figure

from analysis.report import plots
from analysis.report.html import cell_html

DPI = 144  # shown at half of it, so that figures are sharp on any screen


class ReportHtml:
    """Shows a result of an assay, in the notebook cell that ends with it, as its claims, figures and tables.

    A result that is defined in `analysis.assays.NAME.run` is shown by `analysis.assays.NAME.report.sections`.
    """

    def _repr_html_(self) -> str:
        report = import_module(type(self).__module__.rpartition(".")[0] + ".report")
        return cell_html(report.sections([self]))


def show_figure(plot: Figure | Callable[..., Figure | tuple[Figure, str]], *args: Any, **options: Any) -> None:
    """Show a figure in a notebook, with its caption if there is one.

    Args:
        plot: a finished figure, or a function of this package that returns a figure, or a figure and its caption.
        *args: finished results, the arguments of the function.
        **options: keyword arguments of the function.
    """
    from IPython.display import Image, Markdown, display

    with plots.style():
        drawing = plot if isinstance(plot, Figure) else plot(*args, **options)
        figure, caption = (drawing, "") if isinstance(drawing, Figure) else drawing
        png = io.BytesIO()
        # On white: a notebook's page may be dark, and the ink is.
        figure.savefig(png, format="png", dpi=DPI, facecolor="white", bbox_inches="tight")
    width = int.from_bytes(png.getvalue()[16:20])  # of the PNG's header
    display(Image(png.getvalue(), format="png", width=width * 100 // DPI))
    if caption:
        display(Markdown(caption))

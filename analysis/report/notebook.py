"""Results and figures in a notebook, where they were computed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from matplotlib.figure import Figure

from analysis.report import plots
from analysis.report.html import cell_html
from analysis.report.labels import fitted_labels
from analysis.report.model import Claim, Section, SvgFigure
from nca.errors import UserError

DPI = 144  # shown at half of it, so that figures are sharp on any screen


class ReportHtml:
    """A result of an assay, which a notebook cell that ends with it shows as claims, figures and tables.

    A result that is defined in `analysis.assays.NAME.run` is shown by `analysis.assays.NAME.report.sections`.
    """

    @cached_property
    def sections(self) -> list[Section]:
        """What a report shows of it."""
        return list(self._report().sections([self]))

    @property
    def claims(self) -> _Claims:
        """The claims of all sections, with their evidence; a notebook shows them as a list."""
        return _Claims(claim for section in self.sections for claim in section.claims)

    @property
    def figures(self) -> dict[str, _NotebookFigure]:
        """The figures of all sections by name; a notebook shows each with its caption."""
        return {figure.name: _NotebookFigure(**vars(figure)) for section in self.sections for figure in section.figures}

    def _report(self) -> Any:
        return import_module(type(self).__module__.rpartition(".")[0] + ".report")

    def _repr_html_(self) -> str:
        return cell_html(self.sections)


@dataclass(frozen=True, eq=False, repr=False)
class _Comparison(ReportHtml):
    """Results of one assay for several organisms; its sections are those that compare them.

    Attributes:
        results: of one assay, one for each organism.
    """

    results: Sequence[ReportHtml]

    @cached_property
    def sections(self) -> list[Section]:
        """Sections of the comparison; those of single organisms, whose names end in a number, are left out."""
        sections = self.results[0]._report().sections(self.results)
        return [s for s in sections if not s.name.rpartition("-")[2].isdigit()] or list(sections)


def compare(results: Sequence[ReportHtml]) -> _Comparison:
    """Compare the results of one assay for two or more organisms.

    Raises:
        UserError: fewer than two results, or results of different assays.
    """
    if len(results) < 2 or len({type(result) for result in results}) > 1:
        names = ", ".join(type(result).__name__ for result in results) or "none"
        raise UserError(f"A comparison needs two or more results of one assay; got {names}.")
    return _Comparison(tuple(results))


class _Claims(tuple[Claim, ...]):
    """Claims, which a notebook shows as a list with their evidence folded below each."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(claim.text for claim in self)

    def _repr_html_(self) -> str:
        return cell_html([Section("claims", "", claims=self)])


class _NotebookFigure(SvgFigure):
    """A figure of a report, which a notebook shows as a picture with its caption below."""

    def _ipython_display_(self) -> None:
        _display(self.figure, self.caption, self.name)


def show_figure(plot: Figure | Callable[..., Figure | tuple[Figure, str]], *args: Any, **options: Any) -> None:
    """Show a figure in a notebook, with its caption if there is one.

    Args:
        plot: a finished figure, or a function of this package that returns a figure, or a figure and its caption.
        *args: finished results, the arguments of the function.
        **options: keyword arguments of the function.
    """
    with plots.style():
        drawing = plot if isinstance(plot, Figure) else plot(*args, **options)
    _display(*((drawing,) if isinstance(drawing, Figure) else drawing))


def _display(figure: Figure, caption: str = "", name: str | None = None) -> None:
    from IPython.display import Image, Markdown, display

    with plots.style(), fitted_labels(figure):
        png = io.BytesIO()
        # On white: a notebook's page may be dark, and the ink is.
        figure.savefig(png, format="png", dpi=DPI, facecolor="white", bbox_inches="tight")
    width = int.from_bytes(png.getvalue()[16:20])  # of the PNG's header
    display(Image(png.getvalue(), format="png", width=width * 100 // DPI, alt=name))
    if caption:
        display(Markdown(caption))

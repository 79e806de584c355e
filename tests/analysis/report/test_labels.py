"""Labels of figures: however many and however long, none overprints another, and none raises a warning."""

import warnings

import numpy as np
import pytest
from helpers.figures import NAMES, overprinted

from analysis.report import plots
from analysis.report.labels import add_legend, shorten
from analysis.report.model import svg_figure

pytestmark = pytest.mark.filterwarnings("error")


def drawn(columns, height):
    """A figure of some panels in a row."""
    with plots.style():
        figure, axes = plots.new_figure(1, columns, height)
    return figure, axes[0]


def saved(figure):
    with plots.style():
        return svg_figure("labels", figure, "").figure


@pytest.mark.parametrize("height", [2.5, 6])
def test_names_beside_an_axis_do_not_overprint(height):
    figure, (ax,) = drawn(1, height)
    ax.set_yticks(range(24), NAMES)
    assert not overprinted(saved(figure))
    shown = [label.get_text() for label in ax.get_yticklabels() if label.get_text()]
    assert len(shown) == (24 if height == 6 else len(shown)) >= 12
    assert ax.bbox.width > 0.6 * figure.bbox.width


def test_names_below_an_axis_are_turned():
    figure, axes = drawn(2, 3)
    for ax in axes:
        ax.set_xticks(range(24), NAMES)
    assert not overprinted(saved(figure))
    assert {label.get_rotation() for label in axes[0].get_xticklabels()} == {60}
    assert axes[0].bbox.height > 0.3 * figure.bbox.height


def test_crowded_decades_are_thinned_and_stay_where_they_are():
    doses = [0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.3, 1, 3, 10]
    figure, axes = drawn(4, 2)
    for ax in axes:
        ax.set(xscale="log", xlim=(5e-4, 20), title=NAMES[0])
        ax.set_xticks(doses, [f"{dose:g}" for dose in doses])
        ax.minorticks_off()
    assert not overprinted(saved(figure))
    for ax in axes:
        shown = [(at, label.get_text()) for at, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)]
        assert len(shown) >= 3
        assert all(text in ("", f"{at:g}") for at, text in shown)
        assert ax.get_xlim() == (5e-4, 20)


def test_labels_that_fit_stay_as_they_are():
    figure, axes = drawn(2, 3)
    for ax in axes:
        ax.set_xticks([0, 1], ["a", "b"])
        ax.set_title("a title", fontsize=10)
    saved(figure)
    assert [label.get_fontsize() for label in axes[0].get_xticklabels()] == [8.5, 8.5]
    assert axes[1].title.get_fontsize() == 10


def test_a_legend_of_many_names_stays_within_the_figure_and_leaves_the_axes_their_height():
    figure, (ax,) = drawn(1, 2.5)
    with plots.style():
        add_legend(figure, [ax.plot([0, 1])[0] for _ in NAMES], NAMES)
    saved(figure)
    with warnings.catch_warnings(action="ignore"):
        box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert ax.bbox.height > 1.4 * figure.dpi


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert shorten("lizard-regenerating-after-23", 14) == "lizard-…ter-23"
    assert shorten("lizard", 14) == "lizard"
    assert len(shorten(NAMES[1], 20)) <= 20


def test_the_same_figure_gives_the_same_bytes():
    svgs = set()
    for _ in range(2):
        figure, (ax,) = drawn(1, 2.5)
        ax.plot(np.arange(24), range(24))
        ax.set_yticks(range(24), NAMES)
        with plots.style():
            svgs.add(svg_figure("labels", figure, "").svg)
    assert len(svgs) == 1

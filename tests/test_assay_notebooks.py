"""The two notebooks that take longest: what the assays of axes, grafts and lesions claim."""

from helpers.executing import number, run, stored


def test_the_axis_is_not_in_the_first_components_beyond_smoothness(quiet):
    text = run(stored(2), quiet)
    assert "0 of 12 statistics are significant in noise" in text
    assert "PC1 is radial" in text
    assert "No component is more linear in position than smooth random fields" in text
    assert "A cell’s state encodes distance to the edge beyond" in text
    assert "position along the body (s) in 0 of 3" in text
    assert "distance to the edge in 3 of 3" in text
    assert "8 lineages show no clear trend in x beyond smoothness and y beyond smoothness" in text
    assert "makes a second body by step 400" in text
    assert "The hidden channels alone make a second body" in text
    assert "The colours alone make no second body" in text
    share = (
        r"A random change as large in every cell makes a second body as well, in 4 of 4 runs \(share of a second body "
    )
    assert number(share + r"(\d\.\d+)", text) > number(share + r"\d\.\d+; graft (\d\.\d+)", text)
    assert number(r"Discs from (\d+) of 15 points", text) == 0


def test_lesions_periods_and_pairs_are_shown_with_the_control_channel(quiet):
    text = run(stored(3), quiet)
    unchanged = "Lesions of a control channel, which every cell writes and none reads, change nothing."
    assert text.count(unchanged) == 6  # the atlas, the critical periods and the pairs, as text and as HTML
    assert "largest change of any other channel: 0.0" in text
    assert "largest |epsilon| of a pair with the control channel: 0.000" in text
    assert number(r"(\d+) of 12 hidden channels have a critical period", text) >= 3
    assert "of 66 pairs of hidden channels back each other up" in text

"""The two notebooks that take longest, which say what the assays of axes and lesions find."""

from helpers.executing import number, run, stored


def test_the_axis_is_not_in_the_first_components_beyond_smoothness(quiet):
    said = run(stored(2), quiet)
    assert "0 of 12 statistics clear of the null in noise" in said
    assert "PC1 is radial" in said
    assert "None of PC1, PC2, PC3 is a straighter gradient" in said
    assert "a cell’s state tells distance from the seed and distance to the edge." in said
    assert "position along the body (s) in 0 of 3" in said
    assert "distance to the edge in 3 of 3" in said
    assert "makes a second body by step 400" in said
    assert "The hidden channels alone make a second body" in said
    assert "The colours alone make no second body" in said
    assert number(r"A random change as large in every cell makes a second body in (\d) of 4 runs", said) < 4
    assert number(r"Discs from (\d+) of 16 points", said) < 8
    assert "8 lineages show no clear trend in x beyond smoothness and y beyond smoothness" in said


def test_lesions_periods_and_pairs_are_shown_with_the_control_channel(quiet):
    said = run(stored(3), quiet)
    assert "Lesions of a control channel, which every cell writes and none reads, change nothing." in said
    assert "largest |epsilon| of a pair with the control channel: 0.000" in said
    assert number(r"(\d+) of 12 hidden channels have a critical period", said) >= 3
    assert "of 66 pairs of hidden channels back each other up" in said

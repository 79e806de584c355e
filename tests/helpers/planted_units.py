"""Hand-made rules in which it is known what every hidden unit does; built like those of `helpers.planted`."""

from dataclasses import replace

import numpy as np

from helpers import bodies
from helpers.planted import CANVAS, COLOURS, Wiring

DISC = bodies.disc(CANVAS)
LEFT = (np.argwhere(DISC)[:, 1] < CANVAS[1] // 2).astype(np.float32)  # of every cell of the disc
REDUNDANT = ((0, 1), (4, 5), (8, 9))  # units that stand in for each other


def redundant():
    """Three pairs of units that stand in for each other: alpha dies where both of a pair are silent.

    Both fill a hidden channel, a third empties it at every update, and a fourth hurts where it is empty.
    """
    wiring = Wiring()
    for channel in ("h0", "h1", "h2"):
        wiring.unit({"alpha": 1}, {channel: 1}).unit({"alpha": 1}, {channel: 1})
        wiring.unit({channel: 1}, {channel: -1}).hurt({"alpha": 1, channel: -1})
    return wiring.organism("redundant", h0=2.0, h1=2.0, h2=2.0)


def standing_in():
    """Red is filled by unit 0 and leaks by unit 1; unit 2 is silent unless red is missing, and then fills most."""
    red = COLOURS["r"]
    wiring = Wiring().unit({"alpha": red}, {"r": 0.2}).unit({"r": 1}, {"r": -0.2})
    return wiring.unit({"alpha": red, "r": -1}, {"r": 0.8}).organism("standing-in")


def coloured():
    """Units 0, 2 and 4 are needed: red follows h0, which is 1 in the left half alone, green h1, 1 in the upper half,
    and blue h2, 1 in every other row. Units 1, 3 and 5 let the colours fade, 6 to 11 do nothing. The seed has no
    colour."""
    rows = np.argwhere(DISC)[:, 0]
    patterns = {"h0": LEFT, "h1": rows < CANVAS[0] // 2, "h2": rows % 2}
    colours = {colour: 0.9 * pattern for colour, pattern in zip("rgb", patterns.values(), strict=True)}
    wiring = Wiring()
    for colour, channel in zip(colours, patterns, strict=True):
        wiring.follow(colour, {channel: 0.9})
    grown = wiring.organism("coloured", alpha=0.3, **patterns, **colours)
    return replace(grown, seed=np.asarray(grown.seed) * np.r_[0, 0, 0, np.ones(10)].astype(np.float32))

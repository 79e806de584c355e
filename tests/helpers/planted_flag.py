"""The French flag (Wolpert 1969) as ordinary weights: a morphogen read by two thresholds.

A source, which never changes, holds its cells' morphogen at 1; it diffuses, decays, and is lost over
the body's edge. Cells above the upper threshold are blue, below the lower one red, white between.
"""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from nca.organism import Organism
from nca.rule import Rule

CANVAS = (23, 49)
BODY = (slice(4, 19), slice(4, 45))
SOURCE, FAR, MIDDLE = (11.0, 8.0), (11.0, 40.0), (11.0, 24.0)
DECAY, UPPER, LOWER = 0.004, 0.4, 0.15
R, G, B, ALPHA, MORPHOGEN, PRODUCER = range(6)
STEEP = 40.0


def body():
    """The cells of the body."""
    mask = np.zeros(CANVAS, bool)
    mask[BODY] = True
    return mask


def source():
    """The cells that hold the morphogen at 1."""
    y, x = np.ogrid[: CANVAS[0], : CANVAS[1]]
    return (y - SOURCE[0]) ** 2 + (x - SOURCE[1]) ** 2 <= 4


def flag():
    """A body with a source at its left end, which becomes blue, white and red from there."""
    units, laplacian = [], 6

    def unit(bias=0.0, **reads):
        units.append((reads, bias))
        return len(units) - 1

    def step_at(threshold):
        """Two units whose difference is 1 in living cells above the threshold, 0 elsewhere."""
        reads = {"morphogen": STEEP, "alpha": 60.0}
        return [unit(half - 60.0 - STEEP * threshold, **reads) for half in (0.5, -0.5)]

    spread, shrink = unit(spread=1.0), unit(spread=-1.0)
    decay, pin = unit(morphogen=1.0), unit(producer=1.0, morphogen=-1.0)
    blue, coloured = step_at(UPPER), step_at(LOWER)
    opaque = unit(alpha=1.0)
    own = [unit(**{name: 1.0}) for name in "rgb"]
    rows = {
        "r": R, "g": G, "b": B, "alpha": ALPHA, "morphogen": MORPHOGEN, "producer": PRODUCER,
        "spread": laplacian + MORPHOGEN,
    }  # fmt: skip
    first, bias = np.zeros((12, len(units))), np.zeros(len(units))
    for n, (reads, offset) in enumerate(units):
        bias[n] = offset
        for name, weight in reads.items():
            first[rows[name], n] = weight
    last = np.zeros((len(units), 6))
    last[[spread, shrink, decay, pin], MORPHOGEN] = 1.0, -1.0, -DECAY, 1.0
    for channel, n in zip((R, G, B), own, strict=True):
        last[n, channel] = -1.0
    last[opaque, R] = 1.0
    for (up, down), channels in ((blue, {R: -1.0, G: -1.0}), (coloured, {G: 1.0, B: 1.0})):
        for channel, sign in channels.items():
            last[up, channel], last[down, channel] = sign, -sign
    rule = Rule.from_arrays([first, last], [bias, None], perception="laplacian", channels=6)
    patch = np.zeros((*CANVAS, 6), np.float32)
    patch[body(), ALPHA] = 1.0
    patch[source(), PRODUCER] = 1.0
    return Organism(rule, seed=patch, canvas=CANVAS, name="flag")


def known_colours(producers):
    """The steady state by a linear solve: 2 blue, 1 white, 0 red, -1 no body."""
    alive = np.pad(body(), 1)
    reach = np.logical_or.reduce([np.roll(alive, (a, b), (0, 1)) for a in (-1, 0, 1) for b in (-1, 0, 1)])[1:-1, 1:-1]
    number = np.full(CANVAS, -1)
    number[reach] = np.arange(reach.sum())
    weights = {(a, b): (2 if a == 0 or b == 0 else 1) / 16 for a in (-1, 0, 1) for b in (-1, 0, 1)} | {(0, 0): -0.75}
    system = scipy.sparse.lil_matrix((reach.sum(), reach.sum()))
    right = np.zeros(reach.sum())
    for y, x in np.argwhere(reach):
        row = number[y, x]
        if producers[y, x]:
            system[row, row], right[row] = 1.0, 1.0
            continue
        for (a, b), weight in weights.items():
            if 0 <= y + a < CANVAS[0] and 0 <= x + b < CANVAS[1] and reach[y + a, x + b]:
                system[row, number[y + a, x + b]] += weight
        system[row, row] -= DECAY
    level = np.zeros(CANVAS)
    level[reach] = scipy.sparse.linalg.spsolve(system.tocsc(), right)
    return np.where(body(), (level > UPPER).astype(int) + (level > LOWER), -1)


def colours_of(picture):
    """The same classes, read off a picture."""
    r, _, b, alpha = np.moveaxis(np.asarray(picture), -1, 0)
    classes = np.where(b < 0.5, 0, np.where(r < 0.5, 2, 1))
    return np.where(alpha > 0.1, classes, -1)

"""Hand-made rules in which the role of every channel is known.

Each is a static disc of cells with ordinary weights: perception's identity filter feeds relu units. A
"hurt" unit takes 2 from alpha, so that a cell which lacks what it needs is dead at its next update. All have
the same size and so share compiled programs; hidden channels that a rule does not name are read by nothing.
"""

from dataclasses import dataclass, field

import numpy as np

from helpers import bodies
from nca.organism import Organism
from nca.rule import Rule, to_rgba

VISIBLE = ("r", "g", "b", "alpha")
COLOURS = {"r": 0.6, "g": 0.5, "b": 0.4}
CANVAS = (24, 24)
HIDDEN = tuple(f"h{n}" for n in range(9))
UNITS = 12


@dataclass
class Wiring:
    """Relu units of a rule, each of which reads and writes named channels."""

    units: list = field(default_factory=list)

    def unit(self, reads, writes, bias=0.0):
        """relu(sum of reads + bias), times what it writes."""
        self.units.append((reads, writes, bias))
        return self

    def follow(self, channel, reads):
        """The channel takes at each update the value of a sum of others (all of them positive)."""
        return self.unit(reads, {channel: 1.0}).unit({channel: 1.0}, {channel: -1.0})

    def hurt(self, reads):
        """Alpha is lost where the sum of reads is positive."""
        return self.unit(reads, {"alpha": -2.0})

    def organism(self, name, fire_rate=0.5, **start):
        """The organism: a disc with alpha and hidden channels 1, except where `start` gives other values."""
        names = (*VISIBLE, *HIDDEN)
        size = len(names)
        first, last, biases = np.zeros((3 * size, UNITS)), np.zeros((UNITS, size)), np.zeros(UNITS)
        for n, (reads, writes, bias) in enumerate(self.units):
            biases[n] = bias
            for channel, weight in reads.items():
                first[names.index(channel), n] = weight
            for channel, weight in writes.items():
                last[n, names.index(channel)] = weight
        rule = Rule.from_arrays([first, last], [biases, None], fire_rate=fire_rate)
        patch = np.zeros((*CANVAS, size), np.float32)
        for n, channel in enumerate(names):
            patch[bodies.disc(CANVAS), n] = (COLOURS | start).get(channel, 1.0)
        return Organism(rule, patch, CANVAS, np.asarray(to_rgba(rule.spec, patch)), name)


def relations():
    """Every relation that two channels can have, in one body.

    h0 and h1 back each other up: alpha dies only without both. h2 and h3 are in series, not lethal:
    red follows h3, which follows h2. h4 and h5 are independent, not lethal: green follows the one, blue
    the other. h6 and h7 are independent and lethal. h8 is read by nothing.
    """
    wiring = Wiring()
    wiring.hurt({"alpha": 1, "h0": -1, "h1": -1})
    wiring.follow("h3", {"h2": 1}).follow("r", {"h3": COLOURS["r"]})
    wiring.follow("g", {"h4": COLOURS["g"]}).follow("b", {"h5": COLOURS["b"]})
    wiring.hurt({"alpha": 1, "h6": -1}).hurt({"alpha": 1, "h7": -1})
    return wiring.organism("relations")


def backups():
    """Three pairs that back each other up, (h0, h1), (h2, h3), (h4, h5), and three channels that are read by
    nothing: no single lesion tells any of the nine from another."""
    wiring = Wiring()
    for one, other in ((0, 1), (2, 3), (4, 5)):
        wiring.hurt({"alpha": 1, f"h{one}": -1, f"h{other}": -1})
    return wiring.organism("backups")


def gated():
    """h0 counts steps, h1 is 1 at steps 20 to 39, and then alone h2, remade at every step, is needed at every
    step; h3 is read by nothing. Synchronous, so that all cells count alike."""
    wiring = Wiring()
    wiring.unit({"alpha": 1}, {"h0": 1})
    for start, sign in ((18, 1), (19, -1), (38, -1), (39, 1)):
        wiring.unit({"h0": 1}, {"h1": sign}, bias=-start)
    wiring.unit({"h1": 1}, {"h1": -1})
    wiring.follow("h2", {"alpha": 1})
    wiring.hurt({"h1": 1, "h2": -1})
    return wiring.organism("gated", fire_rate=1.0, h0=0.0, h1=0.0)


def repairing():
    """What takes the place of what.

    Red follows h0 + h1, half each, and h1 makes up for h0: it follows 2 - h0. Green follows h2, for which
    nothing makes up. Blue follows h3, which is remade from its twin h4.
    """
    wiring = Wiring()
    wiring.follow("r", {"h0": COLOURS["r"] / 2, "h1": COLOURS["r"] / 2})
    wiring.follow("h1", {"alpha": 2, "h0": -1})
    wiring.follow("g", {"h2": COLOURS["g"]})
    wiring.follow("b", {"h3": COLOURS["b"]}).follow("h3", {"h4": 1})
    return wiring.organism("repairing")


def backing():
    """Red follows h0 + h1, and h1 takes the place of what h0 lacks of 1, but not of what it has beyond."""
    wiring = Wiring()
    wiring.follow("r", {"h0": COLOURS["r"], "h1": COLOURS["r"]}).follow("h1", {"alpha": 1, "h0": -1})
    return wiring.organism("backing", h1=0.0)

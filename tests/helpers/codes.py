"""Organisms whose positional code is known, and whether they use it."""

import numpy as np

from helpers import bodies, makers
from nca.organism import Organism
from nca.rule import Rule, to_rgba


def counter(canvas=(24, 40), fire_rate=1.0):
    """A rectangle whose cells count from the left: each takes its left neighbour's count, plus one.

    h0 is the count, R2(x) = 1 once it has run through; h1 stays as it is, smooth at random.
    """
    mask = np.zeros(canvas, bool)
    mask[4:20, 4:36] = True
    patch = np.zeros((*canvas, 6), np.float32)
    patch[mask, 3] = 1.0
    patch[mask, 5] = bodies.smooth_fields(0, mask, 1)[:, 0]
    kernels = np.zeros((2, 1, 3, 3), np.float32)
    kernels[0, 0, 1, 1] = kernels[1, 0, 1, 0] = 1.0  # itself, its left neighbour
    first = np.zeros((12, 2), np.float32)
    first[4], first[6 + 4] = [-1, 1], [1, -1]
    last = np.zeros((2, 6), np.float32)
    last[:, 4] = [1, -1]
    options = {"kernels": kernels, "perception": "learned", "fire_rate": fire_rate}
    rule = Rule.from_arrays([first, last], [[1.0, -1.0], None], **options)
    return Organism(rule, seed=patch, canvas=canvas, name="counter")


def read_code(channels=10, canvas=(32, 32), used=True):
    """A disc whose h0 is x; red follows it if it is used. All other channels never change."""
    mask = bodies.disc(canvas, 11.0)
    x = np.argwhere(mask)[:, 1] - canvas[1] // 2
    patch = np.zeros((*canvas, channels), np.float32)
    patch[mask, 4:] = 0.1 * bodies.smooth_fields(1, mask, channels - 4)
    patch[mask, 4] = 0.5 + x / 26
    patch[mask, 0] = patch[mask, 4]
    patch[mask, 3] = 1.0
    first = np.zeros((3 * channels, 2), np.float32)
    first[0], first[4] = [-1, 1], [1, -1]
    last = np.zeros((2, channels), np.float32)
    if used:
        last[:, 0] = [0.3, -0.3]
    rule = Rule.from_arrays([first, last])
    return Organism(rule, seed=patch, canvas=canvas, target=np.asarray(to_rgba(rule.spec, patch)), name="read code")


def creeper(perception, number=3, canvas=(27, 27), **options):
    """A body that grows from one cell by a random rule; synchronous by default."""
    rule = makers.creeping_rule(number, perception=perception, **{"fire_rate": 1.0, **options})
    return Organism(rule, canvas=canvas, name=f"creeper, {perception}")


def map_reader(canvas=(22, 26), fire_rate=1.0):
    """A rectangle whose cells count from the left in h0 and from the top in h1: they read where they are, and
    nothing else. A cell that is moved counts anew, as many steps later as it lies cells from the edge of the graft."""
    mask = np.zeros(canvas, bool)
    mask[3:-3, 3:-3] = True
    patch = np.zeros((*canvas, 6), np.float32)
    patch[mask, 3] = 1.0
    kernels = np.zeros((3, 1, 3, 3), np.float32)
    kernels[0, 0, 1, 1] = kernels[1, 0, 1, 0] = kernels[2, 0, 0, 1] = 1.0  # itself, its left and its upper neighbour
    first, last = np.zeros((18, 4), np.float32), np.zeros((4, 6), np.float32)
    for unit, (channel, neighbour) in enumerate(((4, 6 + 4), (5, 12 + 5))):
        first[channel, 2 * unit : 2 * unit + 2], first[neighbour, 2 * unit : 2 * unit + 2] = [-1, 1], [1, -1]
        last[2 * unit : 2 * unit + 2, channel] = [1, -1]
    options = {"kernels": kernels, "perception": "learned", "fire_rate": fire_rate}
    rule = Rule.from_arrays([first, last], [[1.0, -1.0, 1.0, -1.0], None], **options)
    return Organism(rule, seed=patch, canvas=canvas, name="map reader")


def drifting_code(homeotic=True, canvas=(32, 32)):
    """A disc whose h0 is x and whose h1 is y; red follows h0. Units 0 and 1 balance each other.

    Without unit 0, which reads alpha, h0 rises by 4 cells in 60 steps and takes the colour along: all cells mean the
    place 4 cells to their right. If not homeotic, it is blue that rises.
    """
    mask = bodies.disc(canvas, 11.0)
    y, x = np.argwhere(mask).T - 16
    patch = np.zeros((*canvas, 6), np.float32)
    patch[mask, 3] = 1.0
    patch[mask, 4], patch[mask, 5] = 0.5 + x / 26, 0.5 + y / 26
    patch[mask, 0] = patch[mask, 4]
    first, last = np.zeros((18, 4), np.float32), np.zeros((4, 6), np.float32)
    first[3, :2] = 1.0
    last[:2, 4 if homeotic else 2] = np.array([-1.0, 1.0]) * 4 / 26 / 60
    first[0, 2:], first[4, 2:] = [-1, 1], [1, -1]
    last[2:, 0] = [0.3, -0.3]
    rule = Rule.from_arrays([first, last], fire_rate=1.0)
    return Organism(rule, seed=patch, canvas=canvas, name="drifting code")


# Options of `nca axes` that leave out all but components, decoders, shape and colour.
FIRST_PARTS = [
    *("--long-wave-surrogates", "0", "--weight-shuffles", "0", "--time-course-surrogates", "0"),
    *("--random-directions", "0", "--angles"),
]

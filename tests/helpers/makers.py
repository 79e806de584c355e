"""Rules, states and masks drawn from a number, for tests that need any rule rather than a good one."""

from itertools import pairwise

import numpy as np

from nca.organism import Organism
from nca.rule import Rule
from nca.spec import PERCEPTIONS


def random_rule(number, *, hidden=(12,), strength=0.3, filters=3, kernel_channels=None, **conventions):
    """A rule of random weights under the given conventions; it grows, shrinks and moves at random."""
    draw = np.random.default_rng(number)
    channels = conventions.pop("channels", 8)
    kernels = None
    if conventions.get("perception") == "learned":
        kernels = draw.normal(size=(filters, kernel_channels or channels, 3, 3)) / 3
    else:
        filters = len(PERCEPTIONS[conventions.get("perception", "sobel")].filters)
    sizes = [filters * channels, *hidden, channels]
    weights = [draw.normal(size=(a, b)) / np.sqrt(a) for a, b in pairwise(sizes)]
    biases = [draw.normal(size=b) / 10 for b in sizes[1:]]
    weights[-1] *= strength
    biases[-1] *= strength
    return Rule.from_arrays(weights, biases, kernels=kernels, channels=channels, **conventions)


def creeping_rule(number, **conventions):
    """A random rule whose body surely spreads by a cell or so a step: alpha follows its neighbours'."""
    rule = random_rule(number, strength=0.05, **conventions)
    alpha, channels = rule.spec.alpha, rule.spec.channels
    laplacian = rule.filters.index("laplacian") * channels + alpha
    first, last = (np.array(rule.weights[i][...]) for i in (0, 1))
    biases = [np.array(b[...]) for b in rule.biases]
    first[:, :2], last[:2] = 0.0, 0.0
    biases[0][:2] = 0.0
    first[laplacian, 0], last[0, alpha] = 4.0, 1.0
    first[alpha, 1], last[1, alpha] = 1.0, -0.3
    return Rule.from_arrays([first, last], biases, angle=float(rule.angle[...]), **_conventions(rule))


def _conventions(rule):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in rule.spec.to_json().items()}


def blobs(number, canvas, channels, *, alpha=3, count=2, radius=2.0):
    """A state of a few living discs on an empty canvas, all channels random inside them."""
    draw = np.random.default_rng(number)
    y, x = np.mgrid[: canvas[0], : canvas[1]]
    state = np.zeros((*canvas, channels), np.float32)
    for _ in range(count):
        at = draw.uniform((0, 0), canvas)
        inside = (y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2
        state[inside] = draw.uniform(-1, 1, (inside.sum(), channels))
        state[inside, alpha] = draw.uniform(0.05, 1, inside.sum())
    return state


def masks(number, steps, canvas, rate=0.5):
    """Fire masks, (step, y, x)."""
    return np.random.default_rng(number).random((steps, *canvas)) <= rate


def organism(rule, canvas=(11, 9), **fields):
    """An organism of that rule."""
    return Organism(rule, canvas=canvas, **fields)

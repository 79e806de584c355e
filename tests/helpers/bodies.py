"""Bodies, smooth random fields, and organisms that stay as they are, fade or explode."""

import numpy as np
import scipy.ndimage

from nca.organism import Organism
from nca.rule import Rule, to_rgba
from nca.spec import Spec


def disc(canvas=(24, 24), radius=7.0):
    """The cells within `radius` of the canvas's middle cell."""
    y, x = np.ogrid[: canvas[0], : canvas[1]]
    return (y - canvas[0] // 2) ** 2 + (x - canvas[1] // 2) ** 2 <= radius**2


def ellipse(canvas=(24, 24)):
    """An ellipse of half axes 9 and 4."""
    y, x = np.ogrid[: canvas[0], : canvas[1]]
    return ((y - canvas[0] // 2) / 4) ** 2 + ((x - canvas[1] // 2) / 9) ** 2 <= 1


def two_islands(canvas=(24, 24)):
    """Two discs that do not touch."""
    y, x = np.ogrid[: canvas[0], : canvas[1]]
    return ((y - 11) ** 2 + (x - 6) ** 2 <= 20) | ((y - 12) ** 2 + (x - 17) ** 2 <= 24)


def smooth_fields(number, mask, channels, sigma=2.0):
    """Stationary smooth random fields on a body's cells, (cell, channel), each of unit variance."""
    noise = np.random.default_rng(number).normal(size=(*mask.shape, channels))
    fields = np.stack([scipy.ndimage.gaussian_filter(noise[..., c], sigma) for c in range(channels)], -1)
    values = fields[mask]
    return (values - values.mean(0)) / values.std(0)


def static_organism(channels=6, canvas=(24, 24), radius=7.0, number=0, target=True, bias=None, slope=None):
    """A disc of smooth random states that never change: nothing grows, nothing heals.

    Args:
        bias: added to every channel of a firing cell at every step.
        slope: share of itself that is added to each channel at every step, where it is positive.
    """
    mask = disc(canvas, radius)
    spec = Spec(channels=channels, alpha=min(3, channels - 1))
    patch = np.zeros((*canvas, channels), np.float32)
    patch[mask] = 0.3 + 0.2 * np.tanh(smooth_fields(number, mask, channels))
    patch[mask, spec.alpha] = 1.0
    first = np.zeros((3 * channels, channels), np.float32)
    first[:channels] = np.eye(channels)
    last = np.diag(np.zeros(channels) if slope is None else slope)
    rule = Rule.from_arrays([first, last], [None, bias], alpha=spec.alpha)
    picture = np.asarray(to_rgba(spec, patch)) if target else None
    return Organism(rule, seed=patch, canvas=canvas, target=picture, name="standing")


def fading_organism(**options):
    """A body whose cells lose alpha until none is left."""
    bias = np.zeros(6)
    bias[3] = -0.2
    return static_organism(bias=bias, **options).rename("fading")


def exploding_organism(**options):
    """A body with one hidden channel that doubles at every update."""
    slope = np.zeros(6)
    slope[5] = 1.0
    return static_organism(slope=slope, **options).rename("bursting")

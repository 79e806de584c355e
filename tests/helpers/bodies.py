"""Organisms and fields whose truth is known because it was put there."""

import numpy as np
import scipy.ndimage

from nca.organism import Organism
from nca.rule import Rule, visible
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


def smooth(number, mask, channels, sigma=2.0):
    """Stationary smooth random fields on a body's cells, (cell, channel), each of unit variance."""
    draw = np.random.default_rng(number)
    noise = draw.normal(size=(*mask.shape, channels))
    fields = np.stack([scipy.ndimage.gaussian_filter(noise[..., c], sigma) for c in range(channels)], -1)
    values = fields[mask]
    return (values - values.mean(0)) / values.std(0)


def standing(channels=6, canvas=(24, 24), radius=7.0, number=0, target=True, bias=None, slope=None):
    """A disc of smooth random states that each cell keeps as it is: nothing grows, nothing heals.

    Args:
        bias: added to every channel of a firing cell at every step.
        slope: channels' share of themselves added at every step, where they are positive.
    """
    mask = disc(canvas, radius)
    spec = Spec(channels=channels, alpha=min(3, channels - 1))
    patch = np.zeros((*canvas, channels), np.float32)
    patch[mask] = 0.3 + 0.2 * np.tanh(smooth(number, mask, channels))
    patch[mask, spec.alpha] = 1.0
    first = np.zeros((3 * channels, channels), np.float32)
    first[:channels] = np.eye(channels)
    last = np.diag(np.zeros(channels) if slope is None else slope)
    rule = Rule.from_arrays([first, last], [None, bias], alpha=spec.alpha)
    picture = np.asarray(visible(spec, patch)) if target else None
    return Organism(rule, seed=patch, canvas=canvas, target=picture, name="standing")


def fading(**says):
    """A body whose cells all lose alpha until none is left."""
    bias = np.zeros(6)
    bias[3] = -0.2
    return standing(bias=bias, **says).renamed("fading")


def bursting(**says):
    """A body with one hidden channel that doubles at every update."""
    slope = np.zeros(6)
    slope[5] = 1.0
    return standing(slope=slope, **says).renamed("bursting")

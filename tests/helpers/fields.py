"""Recordings of fields that were put on a body: states whose code of place is known."""

import numpy as np

from analysis.recording import label_states
from helpers import bodies


def recorded(values, mask, seen=None):
    """A recording of one state whose body's hidden channels hold these values, its colours those seen."""
    organism = bodies.standing(channels=values.shape[1] + 4, canvas=mask.shape)
    states = np.zeros((1, 1, *mask.shape, values.shape[1] + 4), np.float32)
    states[0, 0, mask, 3] = 1.0
    states[0, 0, mask, 4:] = values
    if seen is not None:
        states[0, 0, mask, :3] = seen
    return label_states(organism, states)

"""Recordings of given fields on a body: states whose positional code is known."""

import numpy as np

from analysis.recording import label_states
from helpers import bodies


def record_fields(values, mask, colours=None):
    """A recording of one state whose body's hidden channels hold these values, its colours those given."""
    organism = bodies.static_organism(channels=values.shape[1] + 4, canvas=mask.shape)
    states = np.zeros((1, 1, *mask.shape, values.shape[1] + 4), np.float32)
    states[0, 0, mask, 3] = 1.0
    states[0, 0, mask, 4:] = values
    if colours is not None:
        states[0, 0, mask, :3] = colours
    return label_states(organism, states)

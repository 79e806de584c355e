"""A neutral marker: one more channel, which every cell writes and nothing reads.

Whatever is done to it must change nothing else, so it is the control that every lesion carries along.
"""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from nca.organism import Organism
from nca.rule import Rule

PACE = 0.01  # what a living cell adds to its marker at every update


def with_marker(organism: Organism) -> Organism:
    """The same organism with a last channel that counts its cells' updates and is read by nothing.

    Fire masks are those of the organism, so it grows the same body. A state of fewer than four channels
    stays as it is, since one more would change which channels are colours.
    """
    rule, spec = organism.rule, organism.rule.spec
    if spec.channels < 4:
        return organism
    weights = [np.asarray(w[...]) for w in rule.weights]
    biases = [np.asarray(b[...]) for b in rule.biases]
    kernels = None if rule.kernels is None else np.asarray(rule.kernels[...])
    if kernels is not None and kernels.shape[1] == spec.channels:
        kernels = np.pad(kernels, [(0, 0), (0, 1), (0, 0), (0, 0)])
    by_channel = weights[0].reshape(-1, spec.channels, weights[0].shape[1])
    weights[0] = np.pad(by_channel, [(0, 0), (0, 1), (0, 0)]).reshape(-1, weights[0].shape[1])
    weights[-1] = np.pad(weights[-1], [(0, 0), (0, 1)])
    biases[-1] = np.append(biases[-1], np.float32(PACE))
    made = Rule(replace(spec, channels=spec.channels + 1), weights, biases, kernels, rule.angle[...])
    seed = jnp.pad(organism.seed, [(0, 0), (0, 0), (0, 1)])
    return replace(organism, rule=made, seed=seed)


def marked(organism: Organism, original: Organism) -> int | None:
    """The number of the marker among the channels, or None where there is none."""
    channels = organism.rule.spec.channels
    return channels - 1 if channels > original.rule.spec.channels else None

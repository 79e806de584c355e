"""Basis controls: the same organism in other bases of its hidden channels.

A statement about single hidden channels is a statement about the basis that training happened to end in. The controls
say how often another basis, equally good, shows the same.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.stats import ortho_group

from nca.basis import change_basis
from nca.errors import UserError
from nca.organism import Organism
from nca.spec import hidden_channels


def basis_controls(organism: Organism, n: int = 8, seed: int = 0) -> list[Organism]:
    """The organism in n random bases: rotations or reflections of the hidden channels that leave the seed as it is.

    Training that prefers no basis, from weights whose distribution has no preferred direction, ends in each of these
    bases with the same probability (Haar): then the trained basis is one more draw. Rotations keep the size of every
    state and of every change of it. Other mixes do not, and are no fair controls: in bases that keep the covariance of
    the hidden states, losing one channel may change the state by many times that channel's size, and harms more.

    Args:
        organism: its rule must not distinguish its hidden channels.
        n: number of controls.
        seed: seed of the rotations.

    Raises:
        UserError: the rule distinguishes its hidden channels, or too few of their directions are free of the seed.
    """
    hidden = list(hidden_channels(organism.rule.spec))
    seeded = np.asarray(organism.seed, np.float64)[..., hidden].reshape(-1, len(hidden))
    free = scipy.linalg.null_space(seeded) if len(hidden) else np.zeros((0, 0))  # (hidden, free direction)
    size = free.shape[1]
    if size < 2:
        raise UserError(
            f"Basis controls rotate the hidden channels without changing the seed, in two dimensions or more; "
            f"{organism.name} has {size}."
        )
    rotations = ortho_group.rvs(size, size=n, random_state=np.random.default_rng(seed)).reshape(n, size, size)
    fixed = np.eye(len(hidden)) - free @ free.T
    return [
        change_basis(organism, fixed + free @ rotation @ free.T).rename(f"{organism.name}-basis{i}")
        for i, rotation in enumerate(rotations, 1)
    ]

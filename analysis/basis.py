"""Basis controls: the same organism in other bases of its hidden channels.

A statement about single hidden channels is a statement about the basis that training happened to end in. The controls
say how often another basis, equally good, shows the same.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import ortho_group

from nca.basis import change_basis
from nca.errors import UserError
from nca.organism import Organism
from nca.spec import hidden_channels


def basis_controls(organism: Organism, n: int = 8, seed: int = 0) -> list[Organism]:
    """The organism in n bases that are random rotations or reflections of the trained one, drawn uniformly (Haar).

    Training that prefers no basis, from weights whose distribution has no preferred direction, ends in each of these
    bases with the same probability: then the trained basis is one more draw. Rotations keep the size of every state
    and of every change of it. Other mixes do not, and so are no fair controls: in bases that keep the covariance of
    the hidden states instead, losing one channel changes the state obliquely, and harms more in almost any organism.

    Args:
        organism: its rule must not distinguish its hidden channels.
        n: number of controls.
        seed: seed of the rotations.

    Raises:
        UserError: the rule distinguishes its hidden channels, or it has fewer than two.
    """
    size = len(hidden_channels(organism.rule.spec))
    if size < 2:
        raise UserError(f"Basis controls need at least two hidden channels; {organism.name} has {size}.")
    rotations = ortho_group.rvs(size, size=n, random_state=np.random.default_rng(seed)).reshape(n, size, size)
    return [
        change_basis(organism, rotation).rename(f"{organism.name}-basis{i}") for i, rotation in enumerate(rotations, 1)
    ]

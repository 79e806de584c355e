"""Basis controls: the same organism in other bases of its hidden channels.

A statement about single hidden channels is a statement about the basis that training happened to end in. The controls
say how often another basis, equally good, shows the same.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import ortho_group

from analysis.rollouts import grow_runs, run_keys
from nca.basis import change_basis
from nca.errors import UserError
from nca.organism import Organism
from nca.perception import mature
from nca.spec import hidden_channels

_RUNS = 4


def basis_controls(organism: Organism, n: int = 8, seed: int = 0, *, adult_step: int = 200) -> list[Organism]:
    """The organism in random bases in which the covariance of the grown body's hidden states stays what it is.

    The matrices are S^(1/2) Q S^(-1/2), where S is the covariance over the mature cells of 4 runs and Q a rotation or
    reflection drawn uniformly (Haar). So no channel has more variance, and no pair more correlation, than in the
    trained basis; what depends on the basis beyond that differs.

    Args:
        organism: its rule must not distinguish its hidden channels.
        n: number of controls.
        seed: seed of the rotations and of the runs.
        adult_step: step at which the body counts as grown.

    Raises:
        UserError: the rule distinguishes its hidden channels, it has fewer than two, or nothing grows.
    """
    hidden = hidden_channels(organism.rule.spec)
    if len(hidden) < 2:
        raise UserError(f"Basis controls need at least two hidden channels; {organism.name} has {len(hidden)}.")
    states = grow_runs(organism, adult_step, run_keys(seed, _RUNS))
    cells = np.asarray(states, np.float64)[np.asarray(mature(organism.rule, states))][:, hidden]
    if len(cells) <= len(hidden) or not np.isfinite(cells).all():
        raise UserError(f"{organism.name} has no body at step {adult_step}; choose another adult_step.")
    values, vectors = np.linalg.eigh(np.cov(cells.T))
    deviations = np.sqrt(np.maximum(values, 1e-6 * values.max()))
    root, inverse = (vectors * deviations) @ vectors.T, (vectors / deviations) @ vectors.T
    rotations = ortho_group.rvs(len(hidden), size=n, random_state=np.random.default_rng(seed)).reshape(n, *root.shape)
    return [
        change_basis(organism, root @ rotation @ inverse).rename(f"{organism.name}-basis{i}")
        for i, rotation in enumerate(rotations)
    ]

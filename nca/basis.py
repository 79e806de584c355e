"""The basis of hidden channels: the same organism, its hidden states in other coordinates.

Where all channels are perceived through the same linear filters and updated linearly, nothing in a rule distinguishes
the hidden channels from their linear combinations. Mixed by any invertible matrix, with the weights to match, they
make the same organism: colour, alpha and hidden units do not change.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jax.typing import ArrayLike

from nca.errors import UserError
from nca.organism import Organism
from nca.rule import Rule
from nca.spec import PERCEPTIONS, hidden_channels

MAX_CONDITION = 1e4  # beyond it, float32 no longer holds the states


def change_basis(organism: Organism, matrix: ArrayLike) -> Organism:
    """The same organism with its hidden channels h replaced by `matrix @ h`.

    It grows the same pictures, up to rounding (1e-5 over 200 steps).

    Args:
        organism: its perception must treat all hidden channels alike, and its states must be neither squashed nor
            clipped.
        matrix: (hidden, hidden), invertible.

    Raises:
        UserError: the rule distinguishes its hidden channels, or the matrix has another shape or cannot be inverted.
    """
    rule, spec = organism.rule, organism.rule.spec
    hidden = np.array(hidden_channels(spec), int)
    _check_free(organism)
    mixing = np.asarray(matrix, np.float64)
    if mixing.shape != (len(hidden), len(hidden)):
        raise UserError(
            f"{organism.name} has {len(hidden)} hidden channels and needs a matrix of {len(hidden)}x{len(hidden)}; "
            f"got one of shape {mixing.shape}."
        )
    if not np.isfinite(mixing).all() or not np.linalg.cond(mixing) < MAX_CONDITION:
        raise UserError(f"A change of basis needs an invertible matrix, of a condition number below {MAX_CONDITION:g}.")
    weights = [np.array(w[...], np.float64) for w in rule.weights]
    biases = [np.array(b[...], np.float64) for b in rule.biases]
    for rows in (hidden + f * spec.channels for f in range(len(rule.filters))):
        weights[0][rows] = np.linalg.solve(mixing.T, weights[0][rows])
    weights[-1][:, hidden] = weights[-1][:, hidden] @ mixing.T
    biases[-1][hidden] = mixing @ biases[-1][hidden]
    seed = np.array(organism.seed, np.float64)
    seed[..., hidden] = seed[..., hidden] @ mixing.T
    kernels = None if rule.kernels is None else rule.kernels[...]
    provenance = {**organism.provenance, "basis_of": organism.hash}
    return replace(
        organism, rule=Rule(spec, weights, biases, kernels, rule.angle[...]), seed=seed, provenance=provenance
    )


def _check_free(organism: Organism) -> None:
    """Raise `UserError` where the rule distinguishes its hidden channels from their combinations."""
    rule, spec = organism.rule, organism.rule.spec
    has_shared_kernels = rule.kernels is not None and rule.kernels.shape[1] == 1
    reasons = []
    if not PERCEPTIONS[spec.perception].gauge_free and not has_shared_kernels:
        reasons.append(f"{spec.perception} perception")
    if spec.squash != "none":
        reasons.append(f"an update squashed by {spec.squash}")
    clipped = range(*(spec.clip_channels or (0, spec.channels)))
    if spec.clip is not None and set(clipped) & set(hidden_channels(spec)):
        reasons.append("clipped states")
    if reasons:
        raise UserError(
            f"The hidden channels of {organism.name} have a basis of their own, because of {' and '.join(reasons)}; "
            "a change of basis needs filters that all channels share, and states that are neither squashed nor clipped."
        )

"""A change of basis is the same organism; rules that distinguish their hidden channels refuse it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import organism, random_rule

import nca
from nca.errors import UserError
from nca.spec import hidden_channels


def mixing(count, seed=0, stretch=2.0):
    """An invertible matrix that turns and stretches."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(count, count)))[0] for _ in range(2))
    return left @ np.diag(np.linspace(1 / stretch, stretch, count)) @ right


def test_the_lizard_in_another_basis_grows_the_same_pictures():
    lizard = nca.load("lizard")
    hidden = hidden_channels(lizard.rule.spec)
    matrix = mixing(len(hidden))
    other = nca.change_basis(lizard, matrix)
    key = nca.run_key(seed=0)
    ours, theirs = (np.asarray(nca.grow(each, 200, key=key)) for each in (lizard, other))
    np.testing.assert_allclose(theirs[..., :4], ours[..., :4], atol=1e-5)
    np.testing.assert_allclose(theirs[..., hidden], ours[..., hidden] @ matrix.T, atol=1e-4)
    assert np.abs(theirs[..., hidden] - ours[..., hidden]).max() > 0.1
    assert other.hash != lizard.hash
    assert other.provenance["basis_of"] == lizard.hash


@pytest.mark.parametrize(
    "conventions",
    [
        {"perception": "sobel"},
        {"perception": "laplacian"},
        {"perception": "sobel-laplacian", "reads": "masked"},
        {"perception": "sobel", "alpha": 0},
        {"clip": (-1.0, 1.0), "clip_channels": (0, 4)},
        {"perception": "learned", "kernel_channels": 1},
    ],
)
def test_hidden_units_and_pictures_do_not_change(conventions):
    grown = organism(random_rule(3, channels=9, strength=0.3, **conventions))
    other = nca.change_basis(grown, mixing(9 - 4))
    key = jax.random.key(1)
    visible = [c for c in range(9) if c not in hidden_channels(grown.rule.spec)]
    states, others = (nca.trajectory(each, 12, key=key) for each in (grown, other))
    np.testing.assert_allclose(others[..., visible], states[..., visible], atol=2e-5)
    sites, other_sites = (nca.replay(each, s[6], 6, key=key) for each, s in ((grown, states), (other, others)))
    np.testing.assert_allclose(other_sites["post"], sites["post"], atol=2e-5)


def test_back_and_forth_is_the_same_organism():
    grown = organism(random_rule(5, channels=8))
    matrix = mixing(4, seed=2)
    back = nca.change_basis(nca.change_basis(grown, matrix), np.linalg.inv(matrix))
    for ours, theirs in zip(back.arrays().values(), grown.arrays().values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("conventions", "reason"),
    [
        ({"perception": "isotropic"}, "isotropic perception"),
        ({"perception": "steered", "steer": 6}, "steered perception"),
        ({"perception": "learned"}, "learned perception"),
        ({"squash": "tanh"}, "squashed by tanh"),
        ({"clip": (-1.0, 1.0)}, "clipped states"),
    ],
)
def test_rules_that_distinguish_their_hidden_channels_refuse(conventions, reason):
    grown = organism(random_rule(1, channels=8, **conventions))
    with pytest.raises(UserError, match=reason):
        nca.change_basis(grown, jnp.eye(4))


def test_a_matrix_that_does_not_fit_is_refused():
    grown = organism(random_rule(1, channels=8))
    with pytest.raises(UserError, match="needs a matrix of 4x4; got one of shape \\(3, 3\\)"):
        nca.change_basis(grown, np.eye(3))
    for singular in (np.ones((4, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(UserError, match="needs an invertible matrix"):
            nca.change_basis(grown, singular)

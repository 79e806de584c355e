"""Basis controls are rotations of the hidden channels, and the same organism."""

import numpy as np
import pytest
from helpers.makers import organism, random_rule

import analysis
import nca
from analysis.rollouts import grow_runs, run_keys
from nca.errors import UserError
from nca.spec import hidden_channels


@pytest.fixture(scope="module")
def controls():
    lizard = nca.load("lizard")
    return lizard, analysis.basis_controls(lizard, n=2)


def test_controls_are_rotations_that_grow_the_same_body(controls):
    lizard, others = controls
    hidden = hidden_channels(lizard.rule.spec)
    states = [np.asarray(grow_runs(each, 200, run_keys(0, 1)))[0] for each in (lizard, *others)]
    trained = states[0][..., hidden]
    for other, state in zip(others, states[1:], strict=True):
        rotated = state[..., hidden]
        assert other.name.startswith("lizard-regenerating-basis")
        np.testing.assert_allclose(state[..., :4], states[0][..., :4], atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(rotated, axis=-1), np.linalg.norm(trained, axis=-1), atol=1e-3)
        assert np.abs(rotated - trained).max() > 0.1
        np.testing.assert_allclose(other.seed, lizard.seed, atol=1e-6)
    assert others[0].hash != others[1].hash


def test_controls_follow_from_their_seed(controls):
    lizard, others = controls
    again = analysis.basis_controls(lizard, n=1)[0]
    assert again.hash == others[0].hash
    assert analysis.basis_controls(lizard, n=1, seed=1)[0].hash != again.hash


def test_what_has_too_few_hidden_channels_is_refused():
    with pytest.raises(UserError, match="in two dimensions or more"):
        analysis.basis_controls(organism(random_rule(0, channels=5)))

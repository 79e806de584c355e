"""Basis controls keep the covariance of the grown body's hidden states, and the organism."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import organism, random_rule

import analysis
import nca
from analysis.rollouts import grow_runs, run_keys
from nca.errors import UserError
from nca.perception import mature
from nca.spec import hidden_channels


@pytest.fixture(scope="module")
def controls():
    lizard = nca.load("lizard")
    return lizard, analysis.basis_controls(lizard, n=2)


def test_controls_keep_covariance_and_colour_and_change_the_rest(controls):
    lizard, others = controls
    hidden = hidden_channels(lizard.rule.spec)
    states = [np.asarray(grow_runs(each, 200, run_keys(0, 4))) for each in (lizard, *others)]
    cells = [s[np.asarray(mature(lizard.rule, jnp.asarray(s)))] for s in states]
    covariances = [np.cov(c[:, hidden].T) for c in cells]
    for other, cell, covariance in zip(others, cells[1:], covariances[1:], strict=True):
        assert other.name.startswith("lizard-regenerating-basis")
        np.testing.assert_allclose(cell[:, :4], cells[0][:, :4], atol=1e-5)
        np.testing.assert_allclose(covariance, covariances[0], rtol=1e-2, atol=1e-3 * covariances[0].max())
        correlations = np.corrcoef(cell[:, hidden].T, cells[0][:, hidden].T)[len(hidden) :, : len(hidden)]
        assert np.abs(np.diag(correlations)).mean() < 0.9
    assert others[0].hash != others[1].hash


def test_controls_follow_from_their_seed(controls):
    lizard, others = controls
    again = analysis.basis_controls(lizard, n=1)[0]
    assert again.hash == others[0].hash
    assert analysis.basis_controls(lizard, n=1, seed=1)[0].hash != again.hash


def test_what_has_no_hidden_channels_or_no_body_is_refused():
    with pytest.raises(UserError, match="at least two hidden channels"):
        analysis.basis_controls(organism(random_rule(0, channels=5)))
    with pytest.raises(UserError, match="no body at step 0"):
        analysis.basis_controls(nca.load("lizard"), adult_step=0)

"""What is measured of a network where networks are compared: how much hangs on few channels."""

import numpy as np
import pytest

from analysis.assays.lesions.bases import harm_statistics


def test_how_much_hangs_on_few_channels():
    even, one = harm_statistics(np.array([0.2, 0.2, 0.2, 0.2])), harm_statistics(np.array([1.0, 1.0, 0.0, 1.0]))
    assert (even["needed"], even["spread"]) == pytest.approx((1.0, 1.0))
    assert (one["needed"], one["spread"], one["worst"]) == pytest.approx((0.25, 0.25, 0.0))
    assert np.isnan(harm_statistics(np.ones(4))["spread"])
    assert np.isnan(harm_statistics(np.full(4, np.nan))["needed"])


def test_a_channel_whose_loss_explodes_the_body_is_needed():
    assert harm_statistics(np.array([-np.inf, 1.0])) == {"needed": 0.5, "spread": 0.5, "worst": -1.0}

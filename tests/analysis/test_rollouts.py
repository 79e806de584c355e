"""The step at which an organism is examined, and what is said where it has no body of its own there."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import bodies

from analysis.assays.robustness.config import RobustnessConfig
from analysis.rollouts import body_warnings, own_adult_step, with_adult_step

BODY = bodies.static_organism()
FAR = replace(BODY, metrics={"log10_mse": {"96": -3.0}}, target=BODY.target * 0.5)
SWELLING = bodies.static_organism(bias=np.asarray([0.0, 0, 0, 0.005, 0, 0]), canvas=(40, 40), radius=3.0)


@pytest.mark.parametrize(
    ("metrics", "regime", "step"),
    [
        ({"log10_mse": {"96": -3.4, "200": -2.1}}, "growing", 96),
        ({"log10_mse": {"96": -3.1, "200": -3.7}}, "growing", 200),
        ({"log10_mse": {"96": -3.6, "200": -3.5}}, "persistent", 200),
        ({}, "growing", 96),
        ({}, "regenerating", 200),
        ({"log10_mse": {"96": "best", "200": None}}, None, 200),
        ({"log10_mse": 3}, None, 200),
    ],
)
def test_the_adult_step_is_96_where_the_body_is_lost_by_200(metrics, regime, step):
    organism = replace(BODY, metrics=metrics, provenance={"config": {"regime": regime}} if regime else {})
    assert own_adult_step(organism) == step
    assert own_adult_step(BODY, organism) == step
    assert with_adult_step(RobustnessConfig(), organism).adult_step == step
    assert with_adult_step(RobustnessConfig(adult_step=60), organism).adult_step == 60


def test_a_body_that_stays_as_it_is_gets_no_warning():
    assert body_warnings([BODY], 120, print) == []


@pytest.mark.parametrize(
    ("organism", "step", "says"),
    [
        (bodies.fading_organism(), 120, "at step 120 run 0 has no mature cell"),
        (bodies.exploding_organism(), 120, "at step 120 run 0 has exploded"),
        (FAR, 120, "is far from its best at step 120"),
        (replace(SWELLING, target=None), 240, "has overgrown by step 240"),
    ],
)
def test_a_body_that_is_gone_overgrown_or_far_from_its_best_is_said(organism, step, says):
    lines = []
    (warning,) = body_warnings([organism], step, lines.append)
    assert lines == [f"warning: {warning}"]
    assert says in warning

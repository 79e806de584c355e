"""Disturbances whose effect is known: none, to the bit; a planted return; bodies that cannot be judged."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import bodies, makers

import nca
from analysis.assays.robustness import battery as robustness
from analysis.assays.robustness import section as robust_section
from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.robustness.disturbances import LASTING, MOVED, ONCE, RATE, SMALL, UPDATES, WEIGHTS
from analysis.assays.robustness.growth import blurred

NOTHING = {"once": (), "lasting": (), "weights": (), "rates": (), "edges": ()}
SHORT = {**NOTHING, "runs": 2, "at": 20, "horizon": 20}


def quiet(line):
    """Nobody listens."""


def robust(organism, **config):
    return robustness.robust(organism, RobustnessConfig(**{**SHORT, **config}), quiet)


def homing(rate=0.1):
    """A body whose channels but alpha all go to 0.5, a tenth of the way at every update."""
    moves = np.full(6, rate)
    moves[3] = 0.0
    return bodies.standing(bias=0.5 * moves, slope=-moves).renamed("homing")


@pytest.fixture(scope="module")
def whole():
    doses = {
        "once": (0.5, 1.0),
        "lasting": (0.1,),
        "weights": (0.01,),
        "rates": (0.5, 1.0),
        "edges": (2, -2),
    }
    return robust(homing(), **doses)


def of(found, kind):
    return found.doses[found.doses.kind == kind]


def test_the_fire_rate_trained_with_changes_nothing_to_the_bit(whole):
    for kind in (RATE, UPDATES):
        rows = of(whole, kind)
        same = rows[rows.dose == 0.5]
        assert len(same) == 2
        assert (same.fitness == 1).all()


def test_a_body_far_from_the_edge_does_not_feel_it(whole):
    rows = of(whole, SMALL)
    assert set(rows.dose) == {2, -2}
    assert (rows.fitness == 1).all()  # its cells are on their own: also where it is cut
    assert (rows[rows.dose == -2].mature < rows[rows.dose == 2].mature.min()).all()


def test_on_a_canvas_that_wraps_a_moved_seed_changes_nothing():
    rule = makers.creeping_rule(
        2, boundary="circular", alive_boundary="circular", perception="sobel-laplacian", channels=6
    )
    found = robust(makers.organism(rule, canvas=(24, 24)), edges=(1,), at=10)
    rows = of(found, MOVED)
    assert len(rows) == 2
    assert (rows.fitness == 1).all()
    assert (rows.mature == rows.mature_twin).all()


def test_noise_added_once_fades_at_the_planted_rate():
    found = robust(homing(), once=(0.3,), horizon=60)
    away = found.returns.distance.sel(dose=0.3).values
    fall = away[:, -1] / away[:, 0]
    np.testing.assert_allclose(fall, 0.9**30, rtol=0.5)  # half of 60 steps fire
    assert (found.returns.floor >= 0).all()


def test_a_body_that_keeps_what_it_has_keeps_the_noise_too():
    found = robust(bodies.standing(), once=(0.1, 0.2))
    away = found.returns.distance
    np.testing.assert_allclose(away[..., -1], away[..., 0], rtol=1e-4)
    np.testing.assert_allclose(away.sel(dose=0.2), 2 * away.sel(dose=0.1), rtol=1e-3)


def test_noise_spares_the_empty_canvas(whole):
    rows = of(whole, ONCE)
    assert (rows.mature == rows.mature_twin).all()
    assert (of(whole, LASTING).mature <= of(whole, LASTING).mature_twin).all()


def test_more_noise_does_more_harm(whole):
    means = of(whole, ONCE).groupby("dose").fitness.mean()
    assert means[1.0] < means[0.5] < 1


def test_weight_noise_has_the_share_of_each_norm_asked_for():
    rule = makers.random_rule(1, channels=6)
    other = blurred(rule, 0.2, 0)
    for a, b in zip([*rule.weights, *rule.biases], [*other.weights, *other.biases], strict=True):
        before, after = np.asarray(a[...]), np.asarray(b[...])
        assert np.linalg.norm(after - before) == pytest.approx(0.2 * np.linalg.norm(before), rel=1e-4)
    assert other.spec == rule.spec


def test_keys_without_chance_are_not_apart():
    rule = makers.creeping_rule(3, fire_rate=1.0, perception="sobel-laplacian", channels=6)
    found = robust(makers.organism(rule, canvas=(24, 24)), at=10)
    assert (found.spread.visible == 0).all()
    assert all(np.isnan(ratio[0]) for ratio in robustness.canalization(found.spread).values())


def test_keys_that_come_together_are_canalized():
    found = robust(homing(0.3), runs=4, at=80)
    ratio, low, high = robustness.canalization(found.spread)["hidden"]
    assert ratio < 0.2
    assert low <= ratio <= high


def spread_of(draw, runs=4, last=1.0):
    """The spread between keys whose cells differ by chance at every step, at the last by a share of it."""
    when = robustness.spread_marks(200)
    sizes = np.r_[np.ones(len(when) - 1), last][:, None, None]
    cells = 1 + sizes * draw.standard_normal((len(when), runs, 60))
    pairs = [(a, b) for a in range(runs) for b in range(a)]
    apart = [np.linalg.norm(cells[:, a] - cells[:, b], axis=-1) for a, b in pairs]
    ends = {"time": when, "first": ("pair", [a for a, _ in pairs]), "second": ("pair", [b for _, b in pairs])}
    return xr.Dataset({"hidden": (("pair", "time"), np.stack(apart))}, ends)


def test_keys_as_far_apart_at_the_end_as_before_are_seldom_said_to_come_together():
    draw = np.random.default_rng(0)
    highs = [robustness.canalization(spread_of(draw), resamples=200)["hidden"][2] for _ in range(100)]
    assert np.mean(np.asarray(highs) < 1) < 0.15  # of four keys: of the largest on the way it would be 0.46
    assert robustness.canalization(spread_of(draw, last=0.5))["hidden"][2] < 1


def test_a_body_that_died_of_noise_has_not_come_back_to_its_twin():
    away = np.broadcast_to([[4.0, 1.0], [0.8, 0.2]], (4, 2, 2)).swapaxes(0, 1)
    data = {"distance": (("dose", "run", "time"), away), "floor": (("run", "time"), np.ones((4, 2)))}
    returns = xr.Dataset(data, {"dose": [4.0, 0.5], "run": range(4), "time": [20, 40]})
    config = RobustnessConfig(**SHORT)
    (told,) = robust_section.returned(robustness.Robust(bodies.standing(), config, returns=returns))
    assert "after 1 of 2 doses" in told.text


@pytest.mark.parametrize(("organism", "why"), [(bodies.fading, "no mature cell"), (bodies.bursting, "exploded")])
def test_what_dies_or_explodes_is_an_outcome(organism, why):
    found = robust(organism(), at=60, once=(0.1,))
    assert why in found.trouble
    told = robust_section.section([found])
    assert why in told.skipped[0]
    assert not told.claims


def test_doses_at_which_runs_explode_are_not_borne(whole):
    rows = of(whole, WEIGHTS)
    worse = rows.assign(dose=0.1, fitness=[-np.inf, -np.inf], exploded=True)
    some = rows.assign(dose=0.05, fitness=[1.0, -np.inf], exploded=[False, True])
    made = replace(whole, doses=pd.concat([rows, some, worse]))
    (told,) = robust_section.doses(made)
    assert told.text == "homing, weight noise: whole (W ≥ 0.9) to 0.01, no longer at 0.05."
    assert "0.1: exploded, 2 exploded" in told.evidence
    robust_section.section([made])


def test_noise_that_makes_a_body_explode_is_below_every_fitness():
    slope = np.zeros(6)
    slope[5] = 0.45
    found = robust(bodies.standing(slope=slope), at=10, horizon=24, once=(1e4,))
    assert found.doses.exploded.all()
    assert (found.doses.fitness == -np.inf).all()


def test_a_body_that_fills_its_canvas_has_no_room_to_lose():
    found = robust(bodies.standing(radius=40.0), edges=(4, 0))
    assert "no more room" in found.skipped[0]


def test_the_section_tells_every_kind_with_its_null(whole):
    told = robust_section.section([whole])
    assert {d.name for d in told.figures} == {"dose-response", "return-to-twin", "spread-between-keys"}
    assert set(told.tables["robustness"].kind) == {ONCE, LASTING, WEIGHTS, RATE, UPDATES, SMALL, MOVED}
    assert all("undisturbed twin of each key is 1" in f.evidence for f in told.claims if "median W" in f.evidence)
    assert len(told.tables["robustness-runs"]) == len(whole.doses)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"once": (0.0,)}, "above 0"), ({"rates": (1.5,)}, "0.01 to 1"), ({"runs": 0}, "at least 1")],
)
def test_a_config_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(nca.UserError, match=says):
        RobustnessConfig(**wrong)

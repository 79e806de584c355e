"""Perturbations whose effect is known: none, to the bit; a planted return; bodies that cannot be measured."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import bodies, figures, makers

import nca
from analysis import metrics
from analysis.assays.robustness import plots
from analysis.assays.robustness.canalization import canalization
from analysis.assays.robustness.config import RobustnessConfig
from analysis.assays.robustness.dose_response import PERTURBATIONS, _outcome, _perturb_weights, dose_summary
from analysis.assays.robustness.population import POPULATION
from analysis.assays.robustness.report import sections
from analysis.assays.robustness.run import RobustnessResult, run
from analysis.report.model import EVIDENCE

NOTHING = {
    "state_noise": (),
    "state_noise_per_step": (),
    "weight_noise": (),
    "fire_rates": (),
    "canvas_margins": (),
}
SHORT = {**NOTHING, "runs": 2, "adult_step": 20, "eval_steps": 20}


def perturb(organism, **config):
    return run(organism, RobustnessConfig(**{**SHORT, **config}))


def homing(rate=0.1):
    """A body whose channels but alpha all go to 0.5, a tenth of the way at every update."""
    moves = np.full(6, rate)
    moves[3] = 0.0
    return bodies.static_organism(bias=0.5 * moves, slope=-moves).rename("homing")


@pytest.fixture(scope="module")
def result():
    doses = {
        "state_noise": (0.5, 1.0),
        "state_noise_per_step": (0.1,),
        "weight_noise": (0.01,),
        "fire_rates": (0.5, 1.0),
        "canvas_margins": (2, -2),
    }
    return perturb(homing(), **doses)


def rows_of(result, perturbation):
    return result.doses[result.doses.perturbation == perturbation]


def test_a_whole_body_elsewhere_is_counted_as_displaced_and_a_half_is_not():
    organism = bodies.static_organism(target=False)
    state = np.asarray(organism.initial_state())
    reference = np.asarray(metrics.picture(organism.rule.spec, state))
    half = state * (np.arange(24) < 12)[:, None]
    moved = [np.roll(state, 3, axis=1), half, state]
    rows = [
        _outcome(organism.rule, ("weight_noise", 0.1, run), after, state, reference) for run, after in enumerate(moved)
    ]
    assert [row["fitness"] >= 0.9 for row in rows] == [False, False, True]
    assert rows[0]["fitness_displaced"] == pytest.approx(1)
    assert rows[1]["fitness_displaced"] < 0.9
    assert dose_summary(pd.DataFrame(rows)).displaced_runs.tolist() == [1]


def test_the_trained_fire_rate_changes_nothing_to_the_bit(result):
    for name in ("fire_rate", "fire_rate_updates"):
        rows = rows_of(result, name)
        same = rows[rows.dose == 0.5]
        assert len(same) == 2
        assert (same.fitness == 1).all()


def test_a_body_far_from_the_edge_does_not_feel_it(result):
    rows = rows_of(result, "canvas_margin")
    assert set(rows.dose) == {2, -2}
    assert (rows.fitness == 1).all()  # its cells are independent: also where it is cut
    assert (rows[rows.dose == -2].mature_cells < rows[rows.dose == 2].mature_cells.min()).all()


def test_on_a_canvas_that_wraps_a_moved_seed_changes_nothing():
    rule = makers.creeping_rule(
        2, boundary="circular", alive_boundary="circular", perception="sobel-laplacian", channels=6
    )
    result = perturb(makers.organism(rule, canvas=(24, 24)), canvas_margins=(1,), adult_step=10)
    rows = rows_of(result, "seed_offset")
    assert len(rows) == 2
    assert (rows.fitness == 1).all()
    assert (rows.mature_cells == rows.mature_cells_control).all()


def test_noise_added_once_fades_at_the_planted_rate():
    result = perturb(homing(), state_noise=(0.3,), eval_steps=60)
    distance = result.returns.distance.sel(dose=0.3).values
    np.testing.assert_allclose(distance[:, -1] / distance[:, 0], 0.9**30, rtol=0.5)  # half of 60 steps fire
    assert (result.returns.between_runs >= 0).all()


def test_a_body_that_keeps_what_it_has_keeps_the_noise_too():
    distance = perturb(bodies.static_organism(), state_noise=(0.1, 0.2)).returns.distance
    np.testing.assert_allclose(distance[..., -1], distance[..., 0], rtol=1e-4)
    np.testing.assert_allclose(distance.sel(dose=0.2), 2 * distance.sel(dose=0.1), rtol=1e-3)


def test_noise_spares_the_empty_canvas(result):
    rows = rows_of(result, "state_noise")
    assert (rows.mature_cells == rows.mature_cells_control).all()
    per_step = rows_of(result, "state_noise_per_step")
    assert (per_step.mature_cells <= per_step.mature_cells_control).all()


def test_more_noise_does_more_harm(result):
    means = rows_of(result, "state_noise").groupby("dose").fitness.mean()
    assert means[1.0] < means[0.5] < 1


def test_weight_noise_has_the_share_of_each_norm_asked_for():
    rule = makers.random_rule(1, channels=6)
    noisy = _perturb_weights(rule, 0.2, 0)
    for a, b in zip([*rule.weights, *rule.biases], [*noisy.weights, *noisy.biases], strict=True):
        before, after = np.asarray(a[...]), np.asarray(b[...])
        assert np.linalg.norm(after - before) == pytest.approx(0.2 * np.linalg.norm(before), rel=1e-4)
    assert noisy.spec == rule.spec


def test_runs_without_chance_do_not_differ():
    rule = makers.creeping_rule(3, fire_rate=1.0, perception="sobel-laplacian", channels=6)
    result = perturb(makers.organism(rule, canvas=(24, 24)), adult_step=10)
    assert (result.spread.picture == 0).all()
    assert all(np.isnan(ratio[0]) for ratio in canalization(result.spread).values())


def test_runs_that_converge_are_canalized():
    result = perturb(homing(0.3), runs=4, adult_step=80)
    ratio, low, high = canalization(result.spread)["hidden"]
    assert ratio < 0.2
    assert low <= ratio <= high


def random_spread(draw, runs=4, last=1.0):
    """Distances between runs whose cells differ by chance at every step, at the last by a share of it."""
    steps = [5, 10, 20, 40, 60, 80, 120, 160, 200]
    sizes = np.r_[np.ones(len(steps) - 1), last][:, None, None]
    cells = 1 + sizes * draw.standard_normal((len(steps), runs, 60))
    pairs = [(a, b) for a in range(runs) for b in range(a)]
    distance = [np.linalg.norm(cells[:, a] - cells[:, b], axis=-1) for a, b in pairs]
    coords = {"step": steps, "run_a": ("pair", [a for a, _ in pairs]), "run_b": ("pair", [b for _, b in pairs])}
    return xr.Dataset({"hidden": (("pair", "step"), np.stack(distance))}, coords)


def test_runs_as_far_apart_at_the_end_as_before_are_seldom_called_more_similar():
    draw = np.random.default_rng(0)
    highs = [canalization(random_spread(draw), resamples=200)["hidden"][2] for _ in range(100)]
    assert np.mean(np.asarray(highs) < 1) < 0.15  # of four runs: of the largest on the way it would be 0.46
    assert canalization(random_spread(draw, last=0.5))["hidden"][2] < 1


def test_a_body_that_died_of_noise_has_not_returned_to_its_control():
    distance = np.broadcast_to([[4.0, 1.0], [0.8, 0.2]], (4, 2, 2)).swapaxes(0, 1)
    data = {"distance": (("dose", "run", "step"), distance), "between_runs": (("run", "step"), np.ones((4, 2)))}
    returns = xr.Dataset(data, {"dose": [4.0, 0.5], "run": range(4), "step": [20, 40]})
    no_pair = random_spread(np.random.default_rng(0)).isel(pair=slice(0))
    result = RobustnessResult(bodies.static_organism(), RobustnessConfig(**SHORT), returns=returns, spread=no_pair)
    (claim,) = sections([result])[0].claims
    assert claim.numbers["halved"] == 1


@pytest.mark.parametrize(
    ("organism", "why"), [(bodies.fading_organism, "no mature cell"), (bodies.exploding_organism, "exploded")]
)
def test_what_dies_or_explodes_is_an_outcome(organism, why):
    result = perturb(organism(), adult_step=60, state_noise=(0.1,))
    assert why in result.no_body
    (section,) = sections([result])
    assert why in section.skipped[0]
    assert not section.claims


def test_doses_at_which_runs_explode_are_not_tolerated(result):
    rows = rows_of(result, "weight_noise")
    worse = rows.assign(dose=0.1, fitness=[-np.inf, -np.inf], exploded=True)
    some = rows.assign(dose=0.05, fitness=[1.0, -np.inf], exploded=[False, True])
    claims = sections([replace(result, doses=pd.concat([rows, some, worse]))])[0].claims
    assert (
        claims[0].text == "homing tolerates weight noise up to 0.01 of each array’s norm (fitness ≥ 0.9), but not 0.05."
    )
    exploded = claims[0].evidence.query("measure == 'exploded runs'")
    assert dict(zip(exploded.quantity, exploded.value, strict=True)) == {
        "weight noise, 0.05": 1,
        "weight noise, 0.1": 2,
    }


def test_noise_that_makes_a_body_explode_is_below_every_fitness():
    slope = np.zeros(6)
    slope[5] = 0.45
    result = perturb(bodies.static_organism(slope=slope), adult_step=10, eval_steps=24, state_noise=(1e4,))
    assert result.doses.exploded.all()
    assert (result.doses.fitness == -np.inf).all()


def test_a_body_that_fills_its_canvas_has_no_room_to_lose():
    result = perturb(bodies.static_organism(radius=40.0), canvas_margins=(4, 0))
    assert "no more room" in result.skipped[0]
    assert "no more room" in sections([result])[0].skipped[0]


def test_the_section_reports_every_perturbation_with_its_null(result):
    (section,) = sections([result])
    names = {"dose-response", "perturbed-bodies", "return-to-control", "spread-between-runs"}
    assert {f.name for f in section.figures} == names
    assert set(section.tables["robustness"].perturbation) == set(PERTURBATIONS)
    assert len(section.tables["robustness-runs"]) == len(result.doses)
    by_dose = [c for c in section.claims if "perturbation" in c.numbers]
    assert [c.numbers["perturbation"] for c in by_dose] == list(PERTURBATIONS)
    assert all("the control of the same key has a fitness of 1" in c.note for c in by_dose)
    assert all(set(c.evidence.columns) <= set(EVIDENCE) and len(c.evidence) for c in section.claims)


def test_what_is_claimed_of_a_small_result(result):
    fitness = {"state_noise": (1.0, 0.5), "fire_rate": (0.95, 1.0), "fire_rate_updates": (0.2, 0.1)}
    fitness |= {"state_noise_per_step": (0.3,), "weight_noise": (np.nan,), "canvas_margin": (1.0, 1.0)}
    fitness |= {"seed_offset": (0.95, 0.1)}
    doses = result.doses.copy()
    for name, values in fitness.items():
        for dose, value in zip(dict.fromkeys(rows_of(result, name).dose), values, strict=True):
            doses.loc[(doses.perturbation == name) & (doses.dose == dose), "fitness"] = value
    of_three = replace(result.config, runs=3)
    (section,) = sections([replace(result, doses=doses, config=of_three)])
    assert [c.text for c in section.claims] == [
        "homing tolerates state noise added once up to 0.5 SD (fitness ≥ 0.9), but not 1.",
        "homing does not tolerate state noise at every step: at the smallest dose, 0.1, its fitness is 0.30.",
        "homing has no body to lose, so that its fitness under weight noise is not defined.",
        "homing tolerates fire rates of 0.5, 1 (fitness ≥ 0.9).",
        "homing tolerates no other fire rate (fitness ≥ 0.9), measured after as many updates per cell.",
        "homing tolerates a smaller canvas at every dose, down to −2 (fitness ≥ 0.9).",
        "homing tolerates a seed moved to the right down to 2 (fitness ≥ 0.9), but not −2.",
        "homing at least halves its distance to the control after 2 of 2 doses of state noise added once.",
        "The runs of homing become more similar as they grow.",
    ]


def test_two_runs_are_one_pair_and_say_nothing_about_similarity(result):
    assert result.config.runs == 2
    (section,) = sections([result])
    assert not any("similar" in c.text for c in section.claims)


def test_the_curve_of_fire_rates_passes_through_the_trained_one(result):
    rates = rows_of(result, "fire_rate")
    doses = pd.concat([rates[rates.dose == 1.0].assign(dose=d, fitness=f) for d, f in ((0.3, 0.4), (1.0, 0.2))])
    figure, _ = plots._plot_dose_response([replace(result, doses=doses)])
    (curve,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(curve.get_xydata(), [(0.3, 0.4), (0.5, 1.0), (1.0, 0.2)])


def test_a_network_is_measured_by_its_median_fitness_and_an_explosion_counts_as_the_least():
    config = RobustnessConfig(**{**SHORT, "state_noise": (1.0,), "fire_rates": (0.5,)})
    values = POPULATION.measure(homing(), None, config)
    assert list(values) == [m.name for m in POPULATION.measures(config)]
    assert list(values) == ["all", "state_noise 1", "fire_rate 0.5", "fire_rate_updates 0.5"]
    assert values["fire_rate 0.5"] == values["all"] == 1
    slope = np.zeros(6)
    slope[5] = 0.45
    burst = replace(config, adult_step=10, eval_steps=24, state_noise=(1e4,), fire_rates=())
    assert POPULATION.measure(bodies.static_organism(slope=slope), None, burst) == {
        "all": -1.0,
        "state_noise 10000": -1.0,
    }
    with pytest.raises(nca.UserError, match="no mature cell"):
        POPULATION.measure(bodies.fading_organism(), None, replace(config, adult_step=60))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"state_noise": (0.0,)}, "above 0"), ({"fire_rates": (1.5,)}, "0.01 to 1"), ({"runs": 0}, "at least 1")],
)
def test_a_config_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(nca.UserError, match=message):
        RobustnessConfig(**wrong)


def test_the_larger_preset_fills_what_was_left_at_its_default():
    config = RobustnessConfig(full=True, eval_steps=60).filled()
    assert (config.runs, config.eval_steps, len(config.canvas_margins)) == (16, 60, 11)
    assert RobustnessConfig.quick().runs < RobustnessConfig().runs


@pytest.mark.filterwarnings("error:Glyph")
def test_labels_of_many_organisms_do_not_overprint(result):
    for figure in plots.robustness_figures(figures.renamed(result, figures.NAMES[:9])):
        assert not figures.overprinted(figure.figure)

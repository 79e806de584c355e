"""Error, fitness, recovery and size against values calculated by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import bodies

import nca
from analysis import metrics
from analysis.report.format import _coverage
from nca.spec import Spec

SPEC = Spec(channels=6)


def painted_state(cells, value=1.0, canvas=(72, 72)):
    """A state with as many cells of one value in all of r, g, b and alpha."""
    state = np.zeros((*canvas, 6), np.float32)
    state.reshape(-1, 6)[:cells, :4] = value
    return state


def test_the_mse_of_one_full_cell_is_four_over_the_values_of_the_published_canvas():
    empty = np.zeros((72, 72, 4), np.float32)
    assert metrics.mse(SPEC, painted_state(1), empty) == pytest.approx(4 / (72 * 72 * 4))
    assert metrics.mse(SPEC, painted_state(3, 0.5), empty) == pytest.approx(3 * 4 * 0.25 / (72 * 72 * 4))


def test_on_the_published_canvas_it_is_the_mean_squared_error():
    rng = np.random.default_rng(0)
    state, target = rng.normal(size=(72, 72, 6)), rng.uniform(size=(72, 72, 4))
    mean = np.square(state[..., :4].clip(0, 1) - target).mean()
    assert metrics.mse(SPEC, state, target) == pytest.approx(mean, rel=1e-5)


def test_the_same_picture_has_the_same_mse_on_any_canvas():
    sizes = (40, 50), (90, 72)
    small, large = (metrics.mse(SPEC, painted_state(30, 0.3, size), np.zeros((*size, 4))) for size in sizes)
    assert small == pytest.approx(float(large), rel=1e-6)


def test_hidden_channels_and_values_beyond_the_range_do_not_count():
    state = painted_state(5)
    changed = np.array(state)
    changed[..., 4:] = 100.0
    changed[state[..., 3] > 0, 0] = 7.0
    empty = np.zeros((72, 72, 4))
    assert metrics.mse(SPEC, changed, empty) == metrics.mse(SPEC, state, empty)


def test_nan_counts_as_zero():
    state = painted_state(5)
    state[0, 0] = np.nan
    assert metrics.mse(SPEC, state, np.zeros((72, 72, 4))) == pytest.approx(4 * 4 / (72 * 72 * 4))


@pytest.mark.parametrize(("mse", "log"), [(1e-3, -3.0), (1e-6, -6.0), (1e-9, -6.0), (0.0, -6.0), (1.0, 0.0)])
def test_log_mse_has_a_floor_of_minus_six(mse, log):
    assert metrics.log_mse(jnp.asarray(mse)) == pytest.approx(log, abs=1e-5)


def test_the_mse_of_the_empty_canvas_is_that_of_an_empty_state():
    target = np.random.default_rng(1).uniform(size=(20, 20, 4)).astype(np.float32)
    empty = np.zeros((20, 20, 6), np.float32)
    assert metrics.empty_mse(target) == pytest.approx(float(metrics.mse(SPEC, empty, target)))


@pytest.mark.parametrize(
    ("mse", "mse_control", "mse_empty", "fitness"),
    [
        (0.001, 0.001, 0.041, 1.0),
        (0.041, 0.001, 0.041, 0.0),
        (0.021, 0.001, 0.041, 0.5),
        (0.081, 0.001, 0.041, -1.0),
    ],
)
def test_fitness_is_one_unperturbed_zero_dead_and_negative_when_overgrown(mse, mse_control, mse_empty, fitness):
    assert metrics.fitness(*map(jnp.asarray, (mse, mse_control, mse_empty))) == pytest.approx(fitness, abs=1e-5)


@pytest.mark.parametrize(("mse_control", "defined"), [(0.0361, False), (0.0359, True), (0.04, False), (0.1, False)])
def test_fitness_is_not_defined_where_there_is_no_body_to_lose(mse_control, defined):
    value = metrics.fitness(jnp.asarray(0.04), jnp.asarray(mse_control), jnp.asarray(0.04))
    assert bool(jnp.isfinite(value)) == defined


def test_fitness_is_not_defined_for_an_empty_target():
    assert jnp.isnan(metrics.fitness(jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(0.0)))


@pytest.mark.parametrize(
    ("before", "cut", "end", "control", "recovered"),
    [
        (0.001, 0.021, 0.001, 0.001, 1.0),
        (0.001, 0.021, 0.021, 0.001, 0.0),
        (0.001, 0.021, 0.011, 0.001, 0.5),
        (0.001, 0.021, 0.061, 0.001, -2.0),
    ],
)
def test_recovered_is_one_healed_zero_as_cut_and_negative_when_worse(before, cut, end, control, recovered):
    values = map(jnp.asarray, (before, cut, end, control))
    assert metrics.recovered(*values) == pytest.approx(recovered, abs=1e-5)


@pytest.mark.parametrize(("cut", "defined"), [(0.00105, False), (0.00095, False), (0.00111, True), (0.0008, True)])
def test_recovered_is_not_defined_where_the_cut_hardly_changed_the_mse(cut, defined):
    value = metrics.recovered(*map(jnp.asarray, (0.001, cut, 0.0005, 0.0006)))
    assert bool(jnp.isfinite(value)) == defined


def test_a_run_is_overgrown_above_twice_its_control():
    assert not metrics.overgrown(jnp.asarray(200), jnp.asarray(100))
    assert metrics.overgrown(jnp.asarray(201), jnp.asarray(100))


@pytest.mark.parametrize(
    ("value", "expected"), [(999.0, False), (1001.0, True), (-1e9, True), (np.nan, True), (np.inf, True)]
)
def test_an_explosion_is_a_value_above_a_thousand_or_not_a_number(value, expected):
    state = painted_state(3)
    state[5, 5, 4] = value
    assert bool(metrics.exploded(jnp.asarray(state))) == expected


def test_metrics_give_the_same_compiled_and_vectorised():
    states = jnp.asarray(np.random.default_rng(2).uniform(-1, 2, (3, 24, 24, 6)), jnp.float32)
    target = jnp.asarray(np.random.default_rng(3).uniform(0, 1, (24, 24, 4)), jnp.float32)

    def measures(state):
        mse = metrics.mse(SPEC, state, target)
        fitness = metrics.fitness(mse, mse / 2, metrics.empty_mse(target))
        recovered = metrics.recovered(mse / 2, mse, mse / 3, mse / 4)
        return jnp.stack([mse, metrics.log_mse(mse), fitness, recovered])

    np.testing.assert_allclose(jax.jit(jax.vmap(measures))(states), jnp.stack([measures(s) for s in states]), rtol=1e-5)


def test_the_interval_holds_the_median_and_narrows_with_more_runs():
    rng = np.random.default_rng(4)
    few, many = rng.normal(size=8), rng.normal(size=800)
    for values in (few, many):
        median, low, high = metrics.median_interval(values)
        assert median == np.median(values)
        assert low <= median <= high
    widths = [high - low for _, low, high in (metrics.median_interval(v) for v in (few, many))]
    assert widths[1] < widths[0] / 3


def test_the_interval_leaves_out_nan_and_is_reproducible():
    values = [1.0, 2.0, np.nan, 3.0]
    assert metrics.median_interval(values) == metrics.median_interval([1.0, 2.0, 3.0])
    assert np.isnan(metrics.median_interval([np.nan, np.nan])).all()


def test_minus_infinity_counts_in_the_median():
    median, low, high = metrics.median_interval([0.95, 0.96, -np.inf, -np.inf, -np.inf])
    assert median == low == -np.inf
    assert high == 0.96


@pytest.mark.parametrize("end", [0.0, 0.0011, 0.0015, 0.1])
def test_recovered_is_not_defined_where_the_cut_left_no_more_mse_than_the_control_ends_with(end):
    before, cut = 0.0010, 0.0012
    for control in (0.0012, 0.00119, 0.0014):  # else 0.1 with a control at 0.0014 would count as 494 times healed
        assert np.isnan(metrics.recovered(before, cut, end, control))


@pytest.mark.parametrize("runs", [1, 2, 4, 8])
def test_the_stated_coverage_of_an_interval_is_its_coverage(runs):
    rng = np.random.default_rng(5)
    bounds = [metrics.median_interval(rng.normal(size=runs), resamples=200)[1:] for _ in range(400)]
    held = np.mean([low <= 0 <= high for low, high in bounds])
    assert held == pytest.approx(_coverage(runs), abs=0.05 if runs < 6 else 0.1)


def test_a_missing_body_is_described_by_its_first_run():
    body, fading = bodies.static_organism(), bodies.fading_organism()
    whole = np.repeat(np.asarray(body.initial_state())[None], 3, 0)
    assert metrics.missing_body(body.rule, whole, 20) == ""
    empty = whole * np.array([1, 0, 0]).reshape(3, 1, 1, 1)
    sentence = "There is no body to examine: at step 20 run 1 has no mature cell (2 of 3 runs)."
    assert metrics.missing_body(fading.rule, empty, 20) == sentence
    assert metrics.missing_body(fading.rule, empty[:1], 20) == ""
    empty[2, 0, 0, 0] = 2e3
    assert "run 2 has exploded (a value beyond 1,000) (1 of 3 runs)." in metrics.missing_body(body.rule, empty, 20)
    assert metrics.missing_body(body.rule, empty[2:], 20).endswith("run 0 has exploded (a value beyond 1,000).")


def test_a_body_that_stands_elsewhere_is_found_whole():
    still = bodies.static_organism()
    state, target = np.asarray(nca.grow(still, steps=1, key=nca.run_key(0))), still.padded_target()
    moves = [(0, 0), (2, -1), (0, 3), (5, 0)]  # the last is out of reach
    states = np.stack([np.roll(state, move, (0, 1)) for move in moves])
    least, displacement = metrics.displaced_mse(still.rule.spec, states, target, reach=3)
    here = np.asarray(metrics.mse(still.rule.spec, states, target))
    np.testing.assert_allclose(least[:3], here[0], atol=1e-7)
    assert displacement[:3].tolist() == [list(move) for move in moves[:3]]
    assert here[0] < least[3] < here[3]
    empty, nowhere = metrics.displaced_mse(still.rule.spec, np.zeros_like(state), target, reach=3)
    assert empty == pytest.approx(float(metrics.empty_mse(target)), abs=1e-7)
    assert nowhere.shape == (2,)

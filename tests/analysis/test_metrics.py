"""Error, fitness, recovery and size, against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import metrics
from analysis.report import format
from nca.spec import Spec

SPEC = Spec(channels=6)


def painted(cells, value=1.0, canvas=(72, 72)):
    """A state with as many cells of one value in all of r, g, b and alpha."""
    state = np.zeros((*canvas, 6), np.float32)
    state.reshape(-1, 6)[:cells, :4] = value
    return state


def test_the_error_of_one_full_cell_is_four_parts_of_the_published_canvas():
    empty = np.zeros((72, 72, 4), np.float32)
    assert metrics.mse(SPEC, painted(1), empty) == pytest.approx(4 / (72 * 72 * 4))
    assert metrics.mse(SPEC, painted(3, 0.5), empty) == pytest.approx(3 * 4 * 0.25 / (72 * 72 * 4))


def test_on_the_published_canvas_the_error_is_the_mean_square():
    draw = np.random.default_rng(0)
    state, target = draw.normal(size=(72, 72, 6)), draw.uniform(size=(72, 72, 4))
    mean = np.square(state[..., :4].clip(0, 1) - target).mean()
    assert metrics.mse(SPEC, state, target) == pytest.approx(mean, rel=1e-5)


def test_the_same_picture_has_the_same_error_on_any_canvas():
    sizes = (40, 50), (90, 72)
    small, large = (metrics.mse(SPEC, painted(30, 0.3, size), np.zeros((*size, 4))) for size in sizes)
    assert small == pytest.approx(float(large), rel=1e-6)


def test_hidden_channels_and_values_beyond_the_range_do_not_count():
    state = painted(5)
    loud = np.array(state)
    loud[..., 4:] = 100.0
    loud[state[..., 3] > 0, 0] = 7.0
    empty = np.zeros((72, 72, 4))
    assert metrics.mse(SPEC, loud, empty) == metrics.mse(SPEC, state, empty)


def test_a_state_that_is_not_a_number_has_an_error_all_the_same():
    state = painted(5)
    state[0, 0] = np.nan
    assert metrics.mse(SPEC, state, np.zeros((72, 72, 4))) == pytest.approx(4 * 4 / (72 * 72 * 4))


@pytest.mark.parametrize(("e", "log"), [(1e-3, -3.0), (1e-6, -6.0), (1e-9, -6.0), (0.0, -6.0), (1.0, 0.0)])
def test_the_logarithm_of_the_error_stops_at_minus_six(e, log):
    assert metrics.log_mse(jnp.asarray(e)) == pytest.approx(log, abs=1e-5)


def test_the_error_of_the_empty_canvas_is_that_of_a_state_of_nothing():
    target = np.random.default_rng(1).uniform(size=(20, 20, 4)).astype(np.float32)
    nothing = np.zeros((20, 20, 6), np.float32)
    assert metrics.empty_mse(target) == pytest.approx(float(metrics.mse(SPEC, nothing, target)))


@pytest.mark.parametrize(
    ("e", "undisturbed", "dead", "fitness"),
    [
        (0.001, 0.001, 0.041, 1.0),
        (0.041, 0.001, 0.041, 0.0),
        (0.021, 0.001, 0.041, 0.5),
        (0.081, 0.001, 0.041, -1.0),
    ],
)
def test_fitness_is_one_intact_zero_dead_and_negative_when_overgrown(e, undisturbed, dead, fitness):
    assert metrics.fitness(*map(jnp.asarray, (e, undisturbed, dead))) == pytest.approx(fitness, abs=1e-5)


@pytest.mark.parametrize(("undisturbed", "defined"), [(0.0361, False), (0.0359, True), (0.04, False), (0.1, False)])
def test_fitness_is_not_defined_where_there_is_no_body_to_lose(undisturbed, defined):
    value = metrics.fitness(jnp.asarray(0.04), jnp.asarray(undisturbed), jnp.asarray(0.04))
    assert bool(jnp.isfinite(value)) == defined


def test_fitness_is_not_defined_for_an_empty_target():
    assert jnp.isnan(metrics.fitness(jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(0.0)))


@pytest.mark.parametrize(
    ("before", "cut", "end", "twin", "recovered"),
    [
        (0.001, 0.021, 0.001, 0.001, 1.0),
        (0.001, 0.021, 0.021, 0.001, 0.0),
        (0.001, 0.021, 0.011, 0.001, 0.5),
        (0.001, 0.021, 0.061, 0.001, -2.0),
    ],
)
def test_recovered_is_one_healed_zero_as_cut_and_negative_when_worse(before, cut, end, twin, recovered):
    values = map(jnp.asarray, (before, cut, end, twin))
    assert metrics.recovered(*values) == pytest.approx(recovered, abs=1e-5)


@pytest.mark.parametrize(("cut", "defined"), [(0.00105, False), (0.00095, False), (0.00111, True), (0.0008, True)])
def test_recovered_is_not_defined_where_the_cut_hardly_changed_the_error(cut, defined):
    value = metrics.recovered(*map(jnp.asarray, (0.001, cut, 0.0005, 0.0006)))
    assert bool(jnp.isfinite(value)) == defined


def test_a_body_is_overgrown_beyond_twice_its_control():
    assert not metrics.overgrown(jnp.asarray(200), jnp.asarray(100))
    assert metrics.overgrown(jnp.asarray(201), jnp.asarray(100))


@pytest.mark.parametrize(
    ("value", "burst"), [(999.0, False), (1001.0, True), (-1e9, True), (np.nan, True), (np.inf, True)]
)
def test_an_explosion_is_a_value_beyond_a_thousand_or_none_at_all(value, burst):
    state = painted(3)
    state[5, 5, 4] = value
    assert bool(metrics.exploded(jnp.asarray(state))) == burst


def test_all_of_it_runs_compiled_and_side_by_side_as_it_does_alone():
    states = jnp.asarray(np.random.default_rng(2).uniform(-1, 2, (3, 24, 24, 6)), jnp.float32)
    target = jnp.asarray(np.random.default_rng(3).uniform(0, 1, (24, 24, 4)), jnp.float32)

    def measures(state):
        e = metrics.mse(SPEC, state, target)
        w = metrics.fitness(e, e / 2, metrics.empty_mse(target))
        return jnp.stack([e, metrics.log_mse(e), w, metrics.recovered(e / 2, e, e / 3, e / 4)])

    np.testing.assert_allclose(jax.jit(jax.vmap(measures))(states), jnp.stack([measures(s) for s in states]), rtol=1e-5)


def test_the_interval_of_a_median_holds_it_and_narrows_with_more_keys():
    draw = np.random.default_rng(4)
    few, many = draw.normal(size=8), draw.normal(size=800)
    for values in (few, many):
        middle, low, high = metrics.median_interval(values)
        assert middle == np.median(values)
        assert low <= middle <= high
    widths = [high - low for _, low, high in (metrics.median_interval(v) for v in (few, many))]
    assert widths[1] < widths[0] / 3


def test_the_interval_leaves_out_what_is_not_defined_and_repeats_itself():
    values = [1.0, 2.0, np.nan, 3.0]
    assert metrics.median_interval(values) == metrics.median_interval([1.0, 2.0, 3.0])
    assert np.isnan(metrics.median_interval([np.nan, np.nan])).all()


def test_a_run_that_was_ruined_is_the_least_of_a_median_and_not_left_out():
    middle, low, high = metrics.median_interval([0.95, 0.96, -np.inf, -np.inf, -np.inf])
    assert middle == low == -np.inf
    assert high == 0.96
    assert format.number(middle) == "−∞"


@pytest.mark.parametrize("end", [0.0, 0.0011, 0.0015, 0.1])
def test_a_cut_that_leaves_no_more_error_than_the_twin_ends_with_has_nothing_to_recover(end):
    before, cut = 0.0010, 0.0012
    for twin in (0.0012, 0.00119, 0.0014):  # 0.1 beside 0.0014 would be 494 times healed
        assert np.isnan(metrics.recovered(before, cut, end, twin))


@pytest.mark.parametrize("keys", [1, 2, 4, 8])
def test_an_interval_of_few_keys_is_said_to_hold_the_median_no_more_often_than_it_does(keys):
    draw = np.random.default_rng(5)
    bounds = [metrics.median_interval(draw.normal(size=keys), resamples=200)[1:] for _ in range(400)]
    held = np.mean([low <= 0 <= high for low, high in bounds])
    assert held == pytest.approx(metrics.interval_coverage(keys), abs=0.05 if keys < 6 else 0.1)
    said = {1: "no interval of", 2: "50 % interval over", 4: "88 % interval over", 8: "95 % interval over"}
    assert format.interval_label(keys) == f"{said[keys]} {format.plural(keys, 'key')}"


def test_a_number_that_does_not_exist_is_said_in_words():
    assert format.table_cell(float("nan")) == format.table_cell(None) == "not defined"
    assert format.table_cell(0.12345) == "0.123"
    assert format.table_cell(679.0) == "679"


def test_shares_are_told_per_cent_and_small_numbers_as_powers_of_ten():
    assert [format.percent(v) for v in (0.05, 1, -0.3, -0.001)] == ["5 %", "100 %", "−30 %", "0 %"]
    assert format.percent(0.0234, 1) == "2.3 %"
    assert [format.scientific(v) for v in (0.0088, 1.24e-5, -2e-6, 0)] == [
        "0.0088",
        "1.2×10⁻⁵",
        "−2×10⁻⁶",
        "0.0000",
    ]
    assert format.scientific(float("nan")) == "not defined"

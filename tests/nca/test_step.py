"""One step: values worked out by hand, the contract of the sites, and an independent oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import oracle
from helpers.makers import blobs, masks, organism, random_rule

from nca.perception import alive, mature, max_pool, perceive
from nca.rollout import replay, run_key, trajectory
from nca.rule import Rule
from nca.spec import ACTIVATIONS, ALIVE, BOUNDARIES, PERCEPTIONS, SQUASHES
from nca.step import fire_mask

GRID = (7, 9)
CASES = 44


def case_of(number):
    """Convention set `number` of the table: drawn once and for all, so that a failure has a name."""
    draw = np.random.default_rng(1000 + number)
    channels = int(draw.choice([2, 4, 5, 8, 16, 20]))
    kind = list(PERCEPTIONS)[number % len(PERCEPTIONS)]
    conventions = {
        "channels": channels,
        "perception": kind,
        "boundary": str(draw.choice(BOUNDARIES)),
        "alive_boundary": str(draw.choice(BOUNDARIES)),
        "alpha": int(draw.choice([0, 3, channels - 1])) if channels > 3 else int(draw.integers(channels)),
        "threshold": float(draw.choice([0.1, 0.3])),
        "inclusive": bool(draw.integers(2)),
        "alive": ALIVE[number // 2 % len(ALIVE)],
        "reads": str(draw.choice(["state", "masked"])),
        "fire_rate": float(draw.choice([0.0, 0.2, 0.5, 1.0], p=[0.1, 0.2, 0.4, 0.3])),
        "activation_slope": float(draw.choice([0.0, 0.0, 0.01, 0.2])),
        "squash": str(draw.choice(SQUASHES)),
        "clip": [None, (-1.0, 1.0), (0.0, 0.7)][int(draw.integers(3))],
    }
    if kind == "steered":
        conventions["steer"] = channels - 1
    if kind == "learned":
        conventions["kernel_channels"] = int(draw.choice([1, channels]))
        conventions["filters"] = int(draw.choice([1, 3, 4]))
    if kind in ("sobel", "steered", "sobel-laplacian"):
        conventions["angle"] = float(draw.choice([0.0, 0.7, -2.1]))
    conventions["hidden"] = (12,) if draw.integers(3) else (10, 6)
    if not conventions["activation_slope"]:
        conventions["activation"] = ACTIVATIONS[number % len(ACTIVATIONS)]
    return conventions


def random_case(number):
    """A rule, a start state with living and dead cells, and fire masks for case `number`."""
    conventions = case_of(number)
    rule = random_rule(number, strength=0.4, **conventions)
    state = blobs(number, GRID, rule.spec.channels, alpha=rule.spec.alpha)
    return rule, state, masks(number, 20, GRID, rule.spec.fire_rate)


@pytest.mark.parametrize("number", range(CASES))
def test_every_site_and_twenty_free_steps_equal_the_oracle(number):
    rule, state, fires = random_case(number)
    ours, net = organism(rule, GRID), oracle.net_of(rule)
    expected = oracle.step(net, state, fires[0])
    sites = replay(ours, state, 0, fire=fires[0])
    assert set(sites) == set(expected)
    for site, values in expected.items():
        assert sites[site].shape == values.shape, site
        np.testing.assert_allclose(sites[site], values, rtol=1e-5, atol=1e-5, err_msg=site)
    states = trajectory(ours, 20, state=state, fire=fires)
    np.testing.assert_allclose(states, oracle.run(net, state, fires), rtol=1e-4, atol=1e-4)


def test_the_table_of_conventions_leaves_nothing_out():
    table = [case_of(number) for number in range(CASES)]
    values = {key: {case.get(key) for case in table} for key in table[0] | {"kernel_channels": 0, "activation": ""}}
    assert values["activation"] == {None, *ACTIVATIONS}
    assert values["perception"] == set(PERCEPTIONS)
    assert values["alive"] == set(ALIVE)
    assert values["boundary"] == values["alive_boundary"] == set(BOUNDARIES)
    assert values["squash"] == set(SQUASHES)
    assert values["fire_rate"] == {0.0, 0.2, 0.5, 1.0}
    assert values["inclusive"] == {False, True}
    assert values["reads"] == {"state", "masked"}
    assert values["hidden"] == {(12,), (10, 6)}
    assert len(values["clip"]) == 3
    assert {2, 20} <= values["channels"]
    assert {1, 4} & values["kernel_channels"]


def test_cells_are_born_and_die_in_the_table_so_that_it_has_power():
    born = died = survived = 0
    for number in range(CASES):
        rule, state, fires = random_case(number)
        net = oracle.net_of(rule)
        states = oracle.run(net, state, fires[:6])
        before, after = oracle.alive(net, states[0]), oracle.alive(net, states[-1])
        born, died, survived = born + (~before & after).any(), died + (before & ~after).any(), survived + after.any()
    assert min(born, died) >= CASES // 4
    assert survived >= CASES // 2


# The contract between the sites, without an oracle.


@pytest.mark.parametrize("kind", sorted(set(PERCEPTIONS) - {"learned"}))
def test_the_sites_obey_the_equations_of_the_usual_convention(kind):
    rule = random_rule(5, perception=kind, **({"steer": 7} if kind == "steered" else {}))
    state, fire = blobs(3, GRID, 8), masks(4, 1, GRID)[0]
    sites = {k: np.asarray(v) for k, v in replay(organism(rule, GRID), state, 0, fire=fire).items()}
    np.testing.assert_array_equal(sites["update"], sites["delta"] * fire[..., None])
    np.testing.assert_array_equal(sites["next"], (sites["state"] + sites["update"]) * sites["alive"][..., None])
    np.testing.assert_array_equal(sites["perception"][:, :, 0], sites["state"])
    np.testing.assert_array_equal(sites["post"], np.maximum(sites["pre"], 0))
    np.testing.assert_array_equal(sites["before"], np.asarray(alive(rule, jnp.asarray(state))))
    after = np.asarray(alive(rule, jnp.asarray(state + sites["update"])))
    np.testing.assert_array_equal(sites["alive"], sites["before"] & after)
    np.testing.assert_array_equal(sites["fire"], fire)


# Values by hand.


def field(rows):
    """A two-channel state whose channel 0 holds the rows, and alpha (1) lives everywhere."""
    state = np.ones((*np.shape(rows), 2), np.float32)
    state[..., 0] = rows
    return state


def bank(kind, rows, **conventions):
    rule = random_rule(0, channels=2, alpha=1, perception=kind, **conventions)
    return [np.asarray(f)[..., 0] for f in perceive(rule, jnp.asarray(field(rows)))]


def test_sobel_and_laplacian_of_a_single_one_by_hand():
    rows = [[0, 0, 0], [0, 8, 0], [0, 0, 0]]
    _, right, down, bend = bank("sobel-laplacian", rows)
    # The cell to the left of the one sees it on its right: brighter to the right, so dx > 0 there.
    np.testing.assert_array_equal(right, [[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    np.testing.assert_array_equal(down, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    np.testing.assert_array_equal(bend, [[0.5, 1, 0.5], [1, -6, 1], [0.5, 1, 0.5]])


def test_a_ramp_to_the_right_has_slope_one_and_none_downwards():
    _, right, down = bank("sobel", np.tile(np.arange(5.0), (5, 1)))
    np.testing.assert_array_equal(right[1:-1, 1:-1], 1)
    np.testing.assert_array_equal(down[1:-1, 1:-1], 0)


def test_a_circular_boundary_sees_the_far_side_and_a_zero_boundary_sees_nothing():
    rows = np.zeros((3, 4))
    rows[1, 3] = 8
    assert bank("sobel", rows)[1][1, 0] == 0
    assert bank("sobel", rows, boundary="circular")[1][1, 0] == -2


def test_a_quarter_turn_of_the_compass_puts_minus_dy_in_the_place_of_dx():
    rows = np.random.default_rng(0).normal(size=(4, 5))
    _, right, down = bank("sobel", rows)
    _, first, second = bank("sobel", rows, angle=np.pi / 2)
    np.testing.assert_allclose(first, -down, atol=1e-6)
    np.testing.assert_allclose(second, right, atol=1e-6)


def test_each_cell_steers_by_its_own_channel():
    state = np.random.default_rng(1).normal(size=(4, 5, 4)).astype(np.float32)
    state[..., 2] = np.where(np.arange(5) < 2, 0.0, np.pi / 2)
    state = jnp.asarray(state)
    plain = perceive(random_rule(0, channels=4), state)
    steered = perceive(random_rule(0, channels=4, perception="steered", steer=2), state)
    np.testing.assert_allclose(steered[1][:, :2], plain[1][:, :2], atol=1e-6)
    np.testing.assert_allclose(steered[1][:, 2:], -plain[2][:, 2:], atol=1e-6)
    np.testing.assert_allclose(steered[2][:, 2:], plain[1][:, 2:], atol=1e-6)


def test_learned_kernels_are_correlated_not_convolved_and_one_may_serve_all_channels():
    kernels = np.zeros((2, 1, 3, 3), np.float32)
    kernels[0, 0, 1, 2] = 1.0  # what lies to the right
    kernels[1, 0, 0, 1] = 1.0  # what lies above
    rule = Rule.from_arrays([np.zeros((4, 3)), np.zeros((3, 2))], kernels=kernels, perception="learned", alpha=1)
    state = jnp.arange(24, dtype=jnp.float32).reshape(3, 4, 2)
    right, above = perceive(rule, state)
    np.testing.assert_array_equal(right[:, :-1], state[:, 1:])
    np.testing.assert_array_equal(above[1:], state[:-1])


def copying_rule(**conventions):
    """A rule of two channels, worked out by hand: channel 0 grows by half of what alpha's dx is if that
    is positive, and alpha by 0.25 * its own value."""
    first, last = np.zeros((6, 2)), np.zeros((2, 2))
    first[1 * 2 + 1, 0] = 1.0  # filter dx of channel 1, alpha
    first[0 * 2 + 1, 1] = 1.0  # alpha itself
    last[0, 0], last[1, 1] = 0.5, 0.25
    return Rule.from_arrays([first, last], channels=2, alpha=1, **conventions)


def test_one_step_of_a_rule_by_hand():
    state = np.zeros((3, 3, 2), np.float32)
    state[1, 1, 1] = 0.8
    everyone = np.ones((3, 3), bool)
    after = np.asarray(replay(organism(copying_rule(), (3, 3)), state, 0, fire=everyone)["next"])
    np.testing.assert_allclose(after[..., 1], [[0, 0, 0], [0, 1.0, 0], [0, 0, 0]], atol=1e-7)
    # dx of alpha is +0.2 at the left (2/8 * 0.8) and +0.1 at the left corners; half of it arrives.
    np.testing.assert_allclose(after[..., 0], [[0.05, 0, 0], [0.1, 0, 0], [0.05, 0, 0]], atol=1e-7)


def test_a_cell_that_does_not_fire_keeps_its_state():
    state = np.zeros((3, 3, 2), np.float32)
    state[1, 1, 1] = 0.8
    nobody = np.zeros((3, 3), bool)
    np.testing.assert_array_equal(replay(organism(copying_rule(), (3, 3)), state, 0, fire=nobody)["next"], state)


def lonely(alpha_here, **conventions):
    """The alive test of a 5x5 canvas with one cell of that alpha in the middle."""
    state = np.zeros((5, 5, 2), np.float32)
    state[2, 2, 1] = alpha_here
    rule, state = copying_rule(**conventions), jnp.asarray(state)
    return np.asarray(alive(rule, state)), np.asarray(mature(rule, state))


def test_a_living_site_is_within_one_cell_of_alpha_above_the_threshold():
    sites, body = lonely(0.2)
    square = np.zeros((5, 5), bool)
    square[1:4, 1:4] = True
    np.testing.assert_array_equal(sites, square)
    assert body.sum() == 1
    assert body[2, 2]
    assert not lonely(0.05)[0].any()


def test_alpha_at_the_threshold_is_alive_only_where_the_rule_says_inclusive():
    assert not lonely(0.1)[0].any()
    assert lonely(0.1, inclusive=True)[0].sum() == 9
    assert lonely(0.1, inclusive=True)[1].sum() == 1


def test_the_pool_of_a_zero_boundary_takes_nothing_from_beyond_it():
    below_zero = -jnp.ones((3, 3))
    np.testing.assert_array_equal(max_pool(below_zero, "zero"), below_zero)


def test_a_dead_site_is_erased_and_a_newborn_one_too_unless_only_the_test_after_counts():
    state = np.zeros((5, 5, 2), np.float32)
    state[0, 0] = (0.7, 0.05)  # dead, with colour
    nobody = np.zeros((5, 5), bool)

    def after(**conventions):
        return np.asarray(replay(organism(copying_rule(**conventions), (5, 5)), state, 0, fire=nobody)["next"])[0, 0]

    assert not after(alive="both").any()
    assert not after(alive="after").any()
    np.testing.assert_array_equal(after(alive="gate"), state[0, 0])
    np.testing.assert_array_equal(after(alive="none"), state[0, 0])


# Fire masks.


def test_fire_masks_are_keyed_by_run_and_step_as_documented():
    rule, key = random_rule(0, fire_rate=0.3), run_key(7, 4)
    again = jax.random.fold_in(jax.random.key(7), 4)
    for t in (0, 1, 250):
        expected = jax.random.uniform(jax.random.fold_in(again, t), GRID) <= 0.3
        np.testing.assert_array_equal(fire_mask(rule, key, t, GRID), expected)


def test_a_rate_of_one_fires_everywhere_and_a_rate_of_zero_nowhere():
    assert fire_mask(random_rule(0, fire_rate=1.0), run_key(0), 3, (40, 40)).all()
    assert not fire_mask(random_rule(0, fire_rate=0.0), run_key(0), 3, (40, 40)).any()


def test_the_masks_of_different_runs_and_steps_differ():
    rule = random_rule(0)
    fire_masks = [fire_mask(rule, run_key(0, r), t, (20, 20)) for r, t in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len({np.asarray(m).tobytes() for m in fire_masks}) == 4

"""Edits: what each does to a step, by hand, and what it leaves alone."""

import jax
import numpy as np
import pytest
from helpers.makers import blobs, masks, organism, random_rule

from nca import edits
from nca.rollout import _roll, grow, replay, run_key, trajectory

GRID = (7, 9)
ORDER = ("state", "perception", "pre", "post", "delta", "fire", "update", "alive", "next")
HALF = np.zeros(GRID, bool)
HALF[:, :4] = True


@pytest.fixture(scope="module")
def body():
    return organism(random_rule(1, strength=0.4), GRID)


@pytest.fixture(scope="module")
def deep():
    """A rule with two hidden layers."""
    return organism(random_rule(1, strength=0.4, hidden=(6, 5)), GRID)


STATE, FIRE = blobs(3, GRID, 8, count=3), masks(4, 1, GRID)[0]


def sites(body, *all_edits, t=0, key=None):
    """Every site of one step from a state of three discs, with given fire masks or with a key's."""
    masked = {"fire": FIRE} if key is None else {"key": key}
    edited = replay(body, STATE, t, edits=list(all_edits), **masked)
    return {site: np.asarray(values) for site, values in edited.items()}


# One site after the other: the edited values are these, what came before is untouched, what comes after
# follows from them.

SITE_EDITS = {
    "state": lambda o: edits.scale(o, 0.5, channels=["r", "h0"]),
    "perception": lambda o: edits.erase(o, site="perception", filters="dx", channels=["alpha", 4]),
    "pre": lambda o: edits.add(o, 0.7, site="pre", units=[2, 5]),
    "post": lambda o: edits.clamp(o, 0.9, site="post", units=range(4)),
    "delta": lambda o: edits.scale(o, -2.0, site="delta", channels="alpha"),
    "fire": lambda o: edits.clamp(o, 1.0, site="fire"),
    "update": lambda o: edits.add(o, 0.3, site="update", channels="g"),
    "alive": lambda o: edits.erase(o, site="alive"),
}


def by_hand(site, values):
    """The edit of `SITE_EDITS` made in NumPy."""
    values = values.copy()
    if site == "state":
        values[..., [0, 4]] *= 0.5
    elif site == "perception":
        values[..., 1, [3, 4]] = 0.0
    elif site == "pre":
        values[..., [2, 5]] += 0.7
    elif site == "post":
        values[..., :4] = 0.9
    elif site == "delta":
        values[..., 3] *= -2
    elif site == "update":
        values[..., 1] += 0.3
    else:
        values[...] = site == "fire"
    return values


def follows(body, edited, site):
    """A site worked out from the sites before it."""
    (first, last), (bias, offset) = (
        [np.asarray(w[...]) for w in body.rule.weights],
        [np.asarray(b[...]) for b in body.rule.biases],
    )
    if site == "perception":
        return np.asarray(replay(body, edited["state"], 0, fire=FIRE)["perception"])
    if site == "pre":
        return edited["perception"].reshape(*GRID, -1) @ first + bias
    if site == "post":
        return np.maximum(edited["pre"], 0)
    if site == "delta":
        return edited["post"] @ last + offset
    if site == "update":
        return edited["delta"] * edited["fire"][..., None]
    if site == "alive":
        alpha = np.pad((edited["state"] + edited["update"])[..., 3], 1, constant_values=-9)
        after = np.lib.stride_tricks.sliding_window_view(alpha, (3, 3)).max((2, 3)) > 0.1
        return edited["before"] & after
    if site == "next":
        return (edited["state"] + edited["update"]) * edited["alive"][..., None]
    return {"state": STATE, "fire": FIRE}[site]


@pytest.mark.parametrize("site", SITE_EDITS)
@pytest.mark.parametrize("region", [None, HALF], ids=["everywhere", "in one half"])
def test_an_edit_changes_its_site_as_by_hand_and_feeds_the_rest_of_the_step(body, site, region):
    edit = SITE_EDITS[site](body)
    edited, intact = sites(body, edit if region is None else edit.where(region)), sites(body)
    for name in ORDER:
        expected = follows(body, edited, name)
        if name == site:
            everywhere = by_hand(site, expected)
            cells = np.ones(GRID, bool) if region is None else region
            cells = cells.reshape(GRID + (1,) * (everywhere.ndim - 2))
            expected = np.where(cells, everywhere, expected)
        elif ORDER.index(name) < ORDER.index(site):
            np.testing.assert_array_equal(edited[name], intact[name], err_msg=name)
        np.testing.assert_allclose(edited[name], expected, atol=1e-5, err_msg=name)
    assert np.abs(edited[site].astype(float) - intact[site]).max() > 0.02
    assert np.abs(edited["next"] - intact["next"]).max() > 0.005


def test_the_second_hidden_layer_has_sites_of_its_own(deep):
    edited, intact = sites(deep, edits.clamp(deep, 0.5, site="post2", units=4)), sites(deep)
    assert edited["post2"].shape == (*GRID, 5)
    assert (edited["post2"][..., 4] == 0.5).all()
    np.testing.assert_array_equal(edited["post"], intact["post"])
    last, offset = (np.asarray(v[2][...]) for v in (deep.rule.weights, deep.rule.biases))
    np.testing.assert_allclose(edited["delta"], edited["post2"] @ last + offset, atol=1e-5)


def test_a_frozen_channel_keeps_its_values_and_the_others_go_on(body):
    edit, everyone = edits.freeze(body, channels=["h0", 6]), np.ones((1, *GRID), bool)
    state = STATE.copy()
    state[..., 3] = 1.0
    after = np.asarray(grow(body, 1, state=state, fire=everyone, edits=[edit]))
    np.testing.assert_array_equal(after[..., [4, 6]], state[..., [4, 6]])
    assert (np.abs(after - state).max((0, 1))[[0, 1, 2, 3, 5, 7]] > 0.01).all()


def test_fire_and_alive_count_as_on_only_above_zero(body):
    assert not sites(body, edits.add(body, -1.0, site="fire"))["fire"].any()
    np.testing.assert_array_equal(sites(body, edits.scale(body, 0.5, site="fire"))["fire"], FIRE)
    assert not sites(body, edits.scale(body, -1.0, site="alive"))["alive"].any()
    assert sites(body, edits.add(body, 0.5, site="alive"))["alive"].all()


def test_edits_of_one_site_act_in_the_order_given(body):
    half, plus = edits.scale(body, 0.5), edits.add(body, 1.0)
    np.testing.assert_allclose(sites(body, half, plus)["state"], STATE / 2 + 1, atol=1e-6)
    np.testing.assert_allclose(sites(body, plus, half)["state"], (STATE + 1) / 2, atol=1e-6)


def test_a_value_may_differ_from_cell_to_cell_and_from_entry_to_entry(body):
    values = np.random.default_rng(0).normal(size=(*GRID, 1)).astype(np.float32)
    edit = edits.clamp(body, values, channels="b").where(HALF)
    edited = sites(body, edit)["state"]
    np.testing.assert_array_equal(edited[HALF, 2], values[HALF, 0])
    np.testing.assert_array_equal(edited[~HALF], STATE[~HALF])
    factors = np.arange(8, dtype=np.float32)
    np.testing.assert_allclose(sites(body, edits.scale(body, factors))["state"], STATE * factors, atol=1e-6)


# Noise.


def test_noise_is_drawn_from_the_runs_key_in_a_stream_of_its_own_by_number_and_step(body):
    key, all_edits = run_key(2), [edits.noise(body, 0.5), edits.noise(body, 0.25, channels="r")]
    noise = np.zeros(STATE.shape)
    for number, (sd, channels) in enumerate(((0.5, slice(None)), (0.25, [0]))):
        stream = jax.random.fold_in(jax.random.fold_in(key, np.uint32(2**31 + number)), 6)
        noise[..., channels] += sd * np.asarray(jax.random.normal(stream, STATE.shape))[..., channels]
    np.testing.assert_allclose(sites(body, *all_edits, t=6, key=key)["state"], STATE + noise, atol=1e-6)


def test_noise_has_mean_zero_and_the_standard_deviation_asked_for():
    wide = organism(random_rule(1), (60, 60))
    still = np.zeros((60, 60, 8), np.float32)
    edited = replay(wide, still, 3, key=run_key(0), edits=[edits.noise(wide, 0.3, channels=[0, 1])])["state"]
    assert float(edited[..., :2].mean()) == pytest.approx(0, abs=0.02)
    assert float(edited[..., :2].std()) == pytest.approx(0.3, rel=0.05)
    assert not np.asarray(edited[..., 2:]).any()


def test_noise_leaves_the_fire_masks_alone_and_repeats(body):
    edit, key = edits.noise(body, 0.3, channels="h0"), run_key(1)
    quiet, noisy, again = (replay(body, STATE, 5, key=key, edits=e) for e in ([], [edit], [edit]))
    np.testing.assert_array_equal(quiet["fire"], noisy["fire"])
    np.testing.assert_array_equal(noisy["state"], again["state"])
    others = [replay(body, STATE, t, key=k, edits=[edit])["state"] for t, k in ((6, key), (5, run_key(2)))]
    assert all(np.abs(np.asarray(o - noisy["state"])).max() > 0.1 for o in others)


# What an edit leaves alone.


def one_of_each(body):
    yield from (make(body) for make in SITE_EDITS.values())
    yield edits.noise(body, 0.5)
    yield edits.noise(body, 0.5, site="fire")
    yield edits.add(body, 0.5).where(HALF)


def test_an_edit_whose_window_excludes_a_step_changes_nothing_bit_for_bit(body):
    key = run_key(0)
    intact = {t: sites(body, t=t, key=key) for t in (1, 2, 3, 5, 6, 8)}
    for edit in one_of_each(body):
        for window, t in ((slice(3, 5), 2), (slice(3, 5), 5), (7, 6), (7, 8), (slice(0, 1), 1)):
            edited = sites(body, edit.at(window), t=t, key=key)
            for site, values in intact[t].items():
                np.testing.assert_array_equal(edited[site], values, err_msg=f"{edit.site} {site}")
        touched = sites(body, edit.at(3), t=3, key=key)
        assert any((touched[site] != values).any() for site, values in intact[3].items())


def test_one_compiled_program_serves_every_channel_value_region_and_window(body):
    def run(channels, value, region, window):
        edit = edits.scale(body, value, channels=channels).where(region).at(window)
        return np.asarray(grow(body, 5, key=run_key(0), edits=[edit]))

    results = [run("r", 0.5, HALF, 2)]
    before = _roll._cache_size()
    results += [
        run(["h0", 1], 0.1, ~HALF, slice(1, 3)),
        run(None, 0.0, HALF, 4),
        run(7, 3.0, HALF, slice(0, None)),
    ]
    assert _roll._cache_size() == before
    assert len({r.tobytes() for r in results}) == 4


def test_an_edit_acts_on_several_channels_as_its_parts_do_together(body):
    everywhere = trajectory(body, 4, key=run_key(0), edits=[edits.scale(body, 0.5, channels=["r", "h1"])])
    parts = [edits.scale(body, 0.5, channels=c) for c in ("h1", "r")]
    np.testing.assert_allclose(trajectory(body, 4, key=run_key(0), edits=parts), everywhere, atol=1e-6)

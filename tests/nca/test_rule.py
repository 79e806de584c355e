"""The rule: what it says of itself, and the mistakes that it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import oracle
from helpers.makers import blobs, masks, organism, random_rule
from hypothesis import given
from hypothesis import strategies as st

from nca.errors import UserError
from nca.rollout import grow, replay, run_key
from nca.rule import Rule, init_rule, to_rgba
from nca.spec import (
    ACTIVATIONS,
    ALIVE,
    BOUNDARIES,
    PERCEPTIONS,
    SQUASHES,
    Spec,
    channel_names,
    channel_role,
    hidden_channels,
)

GRID = (7, 9)


def spec_of(kind, **conventions):
    return Spec(perception=kind, **({"steer": 5} if kind == "steered" else {}), **conventions)


# Identity.


@pytest.mark.parametrize("alive", ["both", "none"])
@pytest.mark.parametrize("kind", PERCEPTIONS)
def test_an_untrained_rule_changes_nothing(kind, alive):
    rule = init_rule(jax.random.key(3), spec_of(kind, channels=8, alive=alive, fire_rate=1.0), 10)
    state = blobs(1, GRID, 8)
    state[..., 3] = 1.0  # every site is alive, so that nothing is erased either
    np.testing.assert_array_equal(grow(organism(rule, GRID), 5, key=run_key(0), state=state), state)


@pytest.mark.parametrize("kind", PERCEPTIONS)
def test_an_untrained_rule_has_hidden_units_that_see_something(kind):
    rule = init_rule(jax.random.key(3), spec_of(kind, channels=8), 10)
    pre = replay(organism(rule, GRID), blobs(1, GRID, 8), 0, fire=masks(0, 1, GRID)[0])["pre"]
    assert (np.abs(np.asarray(pre)).max(axis=(0, 1)) > 1e-3).all()


def test_two_keys_begin_two_different_rules_and_one_key_the_same():
    first, again, other = (init_rule(jax.random.key(k)).weights[0][...] for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.asarray(first - other)).max() > 0.1


def test_the_published_rule_has_8320_parameters():
    assert init_rule(jax.random.key(0)).parameters == 48 * 128 + 128 + 128 * 16 + 16


def test_the_angle_is_no_trained_parameter_but_kernels_are():
    assert random_rule(0, angle=0.3).parameters == 24 * 12 + 12 + 12 * 8 + 8
    learned = random_rule(0, perception="learned", filters=2)
    assert learned.parameters == 16 * 12 + 12 + 12 * 8 + 8 + 2 * 8 * 9


# The table of perceptions.


def mixed_rule(rule, mixing):
    """The rule that grows `state @ mixing` where the given one grows `state`, if its perception is gauge-free."""
    weights = [np.asarray(w[...], float) for w in rule.weights]
    biases = [np.asarray(b[...], float) for b in rule.biases]
    blocks = weights[0].reshape(-1, rule.spec.channels, weights[0].shape[1])
    first = np.concatenate([np.linalg.solve(mixing, block) for block in blocks])
    kernels = None if rule.kernels is None else rule.kernels[...]
    return Rule.from_arrays(
        [first, weights[1] @ mixing],
        [biases[0], biases[1] @ mixing],
        kernels=kernels,
        perception=rule.spec.perception,
        steer=rule.spec.steer,
    )


@pytest.mark.parametrize("kind", PERCEPTIONS)
def test_mixing_hidden_channels_changes_nothing_where_a_perception_is_gauge_free_and_only_there(kind):
    rule = random_rule(4, perception=kind, **({"steer": 5} if kind == "steered" else {}))
    mixing = np.eye(8)
    mixing[4:, 4:] = np.random.default_rng(0).normal(size=(4, 4))
    state, fire = blobs(1, GRID, 8), masks(0, 5, GRID)
    plain = grow(organism(rule, GRID), 5, fire=fire, state=state)
    mixed = grow(organism(mixed_rule(rule, mixing), GRID), 5, fire=fire, state=(state @ mixing).astype(np.float32))
    difference = np.abs(np.asarray(plain) @ mixing - np.asarray(mixed)).max()
    assert (difference < 1e-4) == PERCEPTIONS[kind].gauge_free
    assert (difference > 1e-2) == (not PERCEPTIONS[kind].gauge_free)


@pytest.mark.parametrize("kind", sorted(set(PERCEPTIONS) - {"learned"}))
def test_rotating_a_rule_changes_what_grows_where_its_perception_has_a_compass_and_only_there(kind):
    rule = random_rule(4, perception=kind, **({"steer": 5} if kind == "steered" else {}))
    state, fire = blobs(1, GRID, 8), masks(0, 5, GRID)
    upright, rotated = (grow(organism(r, GRID), 5, fire=fire, state=state) for r in (rule, rule.rotate(1.0)))
    assert bool(np.abs(np.asarray(upright - rotated)).max() > 1e-3) == PERCEPTIONS[kind].has_compass


# Names.


def test_channels_are_named_by_position():
    assert channel_names(Spec(channels=6)) == ("r", "g", "b", "alpha", "h0", "h1")
    assert channel_names(Spec(channels=5, alpha=0)) == ("alpha", "r", "g", "b", "h0")
    assert channel_names(Spec(channels=6, alpha=5)) == ("h0", "h1", "h2", "h3", "h4", "alpha")
    assert channel_names(Spec(channels=2, alpha=0)) == ("alpha", "h0")


def test_channels_are_colour_alpha_or_hidden():
    spec = Spec(channels=6, alpha=0)
    assert [channel_role(name) for name in channel_names(spec)] == ["alpha", *["colour"] * 3, "hidden", "hidden"]
    assert hidden_channels(spec) == [4, 5]
    assert hidden_channels(Spec(channels=2, alpha=0)) == [1]


@given(channels=st.integers(2, 40), data=st.data())
def test_every_channel_has_a_name_of_its_own_and_alpha_stands_in_its_place(channels, data):
    alpha = data.draw(st.integers(0, channels - 1))
    names = channel_names(Spec(channels=channels, alpha=alpha))
    assert len(set(names)) == len(names) == channels
    assert names[alpha] == "alpha"


def test_filters_are_named_in_the_order_of_the_features():
    assert random_rule(0).filters == ("identity", "dx", "dy")
    assert random_rule(0, perception="learned", filters=2).filters == ("learned0", "learned1")


# The picture of a state.


def test_the_picture_is_premultiplied_and_within_range():
    state = jnp.array([[[2.0, 0.5, -1.0, 0.5, 9.0]]])
    np.testing.assert_allclose(to_rgba(Spec(channels=5), state), [[[1.0, 0.5, 0.0, 0.5]]])
    straight = to_rgba(Spec(channels=5, premultiplied=False), state)
    np.testing.assert_allclose(straight, [[[0.5, 0.25, 0.0, 0.5]]])
    first = to_rgba(Spec(channels=5, alpha=0), jnp.array([[[0.5, 0.1, 0.2, 0.3, 9.0]]]))
    np.testing.assert_allclose(first, [[[0.1, 0.2, 0.3, 0.5]]])


# Turning.


def test_turning_twice_is_turning_by_the_sum():
    rule = random_rule(0, angle=0.2).rotate(0.3).rotate(-1.0)
    assert float(rule.angle[...]) == pytest.approx(-0.5)


def quarter(field, axes=(0, 1)):
    """The field turned by a quarter, as x (right) turns towards y (down)."""
    return np.rot90(np.asarray(field), -1, axes=axes)


@pytest.mark.parametrize("kind", ["sobel", "sobel-laplacian"])
def test_a_rule_turned_by_a_quarter_grows_the_body_turned_by_a_quarter(kind):
    rule, canvas = random_rule(2, perception=kind, strength=0.4), (15, 15)
    state, fires = blobs(5, canvas, 8), masks(6, 12, canvas)
    straight = grow(organism(rule, canvas), 12, state=state, fire=fires)
    assert np.abs(np.asarray(straight)).max() > 0.1
    turned = {
        sign: grow(
            organism(rule.rotate(sign * np.pi / 2), canvas),
            12,
            state=quarter(state),
            fire=quarter(fires, axes=(1, 2)).copy(),
        )
        for sign in (-1, 1)
    }
    expected = quarter(straight)
    np.testing.assert_allclose(turned[-1], expected, atol=1e-5)
    assert np.abs(np.asarray(turned[1]) - expected).max() > 0.05


@pytest.mark.parametrize("kind", ["isotropic", "laplacian"])
def test_a_rule_without_a_compass_grows_the_turned_body_as_it_is(kind):
    rule, canvas = random_rule(3, perception=kind, strength=0.4), (15, 15)
    state, fires = blobs(5, canvas, 8), masks(6, 12, canvas)
    straight = grow(organism(rule, canvas), 12, state=state, fire=fires)
    assert np.abs(np.asarray(straight) - blobs(5, canvas, 8)).max() > 0.1
    turned = grow(organism(rule, canvas), 12, state=quarter(state), fire=quarter(fires, (1, 2)).copy())
    np.testing.assert_allclose(turned, quarter(straight), atol=1e-5)


def test_other_conventions_keep_the_arrays():
    rule = random_rule(0, angle=0.4)
    tilted = rule.with_spec(boundary="circular")
    assert tilted.spec.boundary == "circular"
    assert rule.spec.boundary == "zero"
    np.testing.assert_equal(oracle.net_of(tilted).weights, oracle.net_of(rule).weights)
    assert float(tilted.angle[...]) == float(rule.angle[...])


# Conventions as JSON.


@st.composite
def specs(draw):
    channels = draw(st.integers(2, 32))
    kind = draw(st.sampled_from(sorted(PERCEPTIONS)))
    activation = draw(st.sampled_from(ACTIVATIONS))
    bounds = st.floats(-20, 20, allow_nan=False)
    clip = draw(st.none() | st.tuples(bounds, bounds).filter(lambda c: c[0] < c[1]))
    return Spec(
        channels=channels,
        perception=kind,
        steer=draw(st.integers(0, channels - 1)) if kind == "steered" else None,
        boundary=draw(st.sampled_from(BOUNDARIES)),
        alive_boundary=draw(st.sampled_from(BOUNDARIES)),
        alpha=draw(st.integers(0, channels - 1)),
        threshold=draw(st.floats(0.01, 1)),
        inclusive=draw(st.booleans()),
        alive=draw(st.sampled_from(ALIVE)),
        reads=draw(st.sampled_from(["state", "masked"])),
        fire_rate=draw(st.floats(0, 1)),
        activation=activation,
        activation_slope=draw(st.floats(0, 1)) if activation == "relu" else 0.0,
        squash=draw(st.sampled_from(SQUASHES)),
        clip=clip,
        premultiplied=draw(st.booleans()),
    )


@given(spec=specs())
def test_conventions_survive_json(spec):
    import json

    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


# Mistakes.


@pytest.mark.parametrize(
    ("conventions", "sentence"),
    [
        ({"perception": "sobell"}, "perception must be one of sobel, .*'sobell'"),
        ({"boundary": "torus"}, "boundary must be one of zero, circular"),
        ({"alive_boundary": "torus"}, "alive_boundary must be one of"),
        ({"alive": "during"}, "alive must be one of both, before, after, gate, none"),
        ({"activation": "softplus"}, "activation must be one of relu, tanh, sigmoid, elu, swish, gelu, gelu-tanh"),
        ({"activation": "tanh", "activation_slope": 0.1}, "activation_slope is of relu alone"),
        ({"reads": "all"}, "reads must be one of state, masked"),
        ({"squash": "sigmoid"}, "squash must be one of none, tanh"),
        ({"channels": 1}, "channels must be .*between 2 and 1024"),
        ({"alpha": 16}, "alpha must be .*between 0 and 15"),
        ({"fire_rate": 1.5}, "fire_rate must be .*between"),
        ({"fire_rate": float("nan")}, "fire_rate must be .*between"),
        ({"steer": 4}, "Steered perception needs"),
        ({"perception": "steered"}, "Steered perception needs"),
        ({"perception": "steered", "steer": 99}, "steer must be .*between"),
        ({"clip": (1.0, 1.0)}, "lower bound below the upper"),
    ],
)
def test_a_convention_out_of_range_is_refused_in_a_sentence(conventions, sentence):
    with pytest.raises(UserError, match=sentence):
        Spec(**conventions)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), -0.1, "0.1", None])
def test_a_threshold_that_is_no_number_from_zero_up_is_refused(threshold):
    # A negative one would make an empty canvas alive everywhere.
    with pytest.raises(UserError, match="threshold"):
        Spec(threshold=threshold)


@pytest.mark.parametrize(
    ("conventions", "field"),
    [
        ({"channels": 16.5}, "channels"),
        ({"alpha": 2.5}, "alpha"),
        ({"perception": "steered", "steer": 4.5}, "steer"),
        ({"activation_slope": float("nan")}, "activation_slope"),
        ({"activation_slope": "steep"}, "activation_slope"),
        ({"clip": (0.0, 1.0, 2.0)}, "clip"),
        ({"inclusive": "no"}, "inclusive"),
    ],
)
def test_a_convention_of_another_kind_is_refused_in_a_sentence(conventions, field):
    with pytest.raises(UserError, match=field):
        Spec(**conventions)


def test_json_with_an_unknown_convention_is_refused_by_its_name():
    with pytest.raises(UserError, match="no convention named 'fire_rat'"):
        Spec.from_json({"fire_rat": 0.5})


ZEROS = np.zeros


@pytest.mark.parametrize(
    ("weights", "options", "sentence"),
    [
        ([ZEROS((48, 16))], {}, "at least two layers"),
        ([ZEROS(48), ZEROS((8, 16))], {}, "must be matrices"),
        ([ZEROS((47, 8)), ZEROS((8, 16))], {}, "48 features, but the first layer takes 47"),
        ([ZEROS((48, 8)), ZEROS((9, 16))], {}, "do not chain"),
        ([ZEROS((48, 8)), ZEROS((8, 16))], {"biases": [ZEROS(7), None]}, "8 outputs needs as many"),
        ([ZEROS((48, 8)), ZEROS((8, 16))], {"kernels": ZEROS((3, 1, 3, 3))}, "'learned' and to it alone"),
        ([ZEROS((48, 8)), ZEROS((8, 16))], {"perception": "learned"}, "'learned' and to it alone"),
        (
            [ZEROS((48, 8)), ZEROS((8, 16))],
            {"perception": "learned", "kernels": ZEROS((3, 2, 3, 3))},
            r"\(filter, 16 or 1, 3, 3\)",
        ),
        ([ZEROS((48, 8)), ZEROS((8, 16))], {"biases": [ZEROS(8)]}, "biases"),
        ([ZEROS((48, 8)), ZEROS((8, 16))], {"angle": [0.0, 1.0]}, "angle"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_a_sentence(weights, options, sentence):
    with pytest.raises(UserError, match=sentence):
        Rule.from_arrays(weights, **options)


def test_a_layer_without_biases_is_a_layer_of_zero_biases():
    without = Rule.from_arrays([np.ones((48, 8)), np.ones((8, 16))], [np.ones(8), None])
    assert not np.asarray(without.biases[1][...]).any()
    assert np.asarray(without.biases[0][...]).all()

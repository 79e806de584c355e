"""Edits as data: how their places are named, what is refused, how they are stacked and written."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import blobs, organism, random_rule
from hypothesis import given, settings
from hypothesis import strategies as st

from nca import edits
from nca.edits import Edit
from nca.errors import UserError
from nca.rollout import grow, replay, run_key

GRID = (7, 9)
STATE = blobs(3, GRID, 8, count=3)
HALF = np.zeros(GRID, bool)
HALF[:, :4] = True


@pytest.fixture(scope="module")
def body():
    return organism(random_rule(1, strength=0.4), GRID)


@pytest.fixture(scope="module")
def deep():
    """A rule with two hidden layers."""
    return organism(random_rule(1, strength=0.4, hidden=(6, 5)), GRID)


# Names.


@pytest.mark.parametrize(
    ("channels", "numbers"),
    [
        ("alpha", [3]),
        ("h0", [4]),
        (["r", "h3"], [0, 7]),
        (2, [2]),
        ("5", [5]),
        (np.int64(6), [6]),
        (range(4, 8), [4, 5, 6, 7]),
        ({"g", 1}, [1]),
        (None, range(8)),
    ],
)
def test_channels_are_picked_by_name_or_number(body, channels, numbers):
    picked = np.flatnonzero(np.asarray(edits.erase(body, channels=channels).entries))
    np.testing.assert_array_equal(picked, list(numbers))


def test_a_rule_will_do_in_place_of_an_organism(body):
    by_organism, rule = edits.erase(body, channels="h0"), edits.erase(body.rule, channels="h0")
    np.testing.assert_array_equal(by_organism.entries, rule.entries)


# Mistakes.


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        ({"site": "stat"}, "needs a site of .*got 'stat'"),
        ({"site": "next"}, "needs a site"),
        ({"site": "pre2"}, "needs a site"),
        ({"site": "state1"}, "needs a site"),
        ({"channels": "h9"}, "no channel 'h9': there are 8, r .. h3"),
        ({"channels": 8}, "no channel 8"),
        ({"channels": -1}, "no channel -1"),
        ({"channels": [1.5]}, "no channel 1.5"),
        ({"channels": 1.5}, "no channel 1.5"),
        ({"channels": True}, "no channel True"),
        ({"channels": np.ones(8, bool)}, "no channel"),
        ({"channels": []}, "at least one channel"),
        ({"units": 1}, "'state' has no units"),
        ({"filters": "dx"}, "'state' has no filters"),
        ({"site": "post", "channels": 1}, "'post' has no channels"),
        ({"site": "post", "units": 12}, "no unit 12"),
        ({"site": "perception", "filters": "laplacian"}, "no filter 'laplacian'"),
        ({"site": "perception", "units": 1}, "'perception' has no units"),
        ({"site": "fire", "channels": 0}, "'fire' has no channels"),
    ],
)
def test_an_edit_of_what_is_not_there_is_refused_when_it_is_made(body, selection, sentence):
    with pytest.raises(UserError, match=sentence):
        edits.scale(body, 0.5, **selection)


@pytest.mark.parametrize("value", [np.nan, np.inf, [1.0, np.nan]])
def test_an_edit_needs_finite_values(body, value):
    with pytest.raises(UserError, match="finite"):
        edits.clamp(body, value)


@pytest.mark.parametrize(
    "steps",
    [
        -1,
        1.5,
        slice(3, 3),
        slice(5, 2),
        slice(0, 9, 2),
        slice(1.0, 4.0),
        slice(-2, 4),
        2**31,
        slice(0, 2**40),
    ],
)
def test_steps_that_are_none_are_refused(body, steps):
    with pytest.raises(UserError, match="steps from 0 up, the last after the first"):
        edits.erase(body).at(steps)


@pytest.mark.parametrize("region", [np.ones(GRID), np.ones(7, bool), np.ones((*GRID, 1), bool), [[1, 0], [0, 1]]])
def test_a_region_is_a_boolean_mask_of_the_cells(body, region):
    with pytest.raises(UserError, match="boolean"):
        edits.erase(body).where(region)


def test_an_edit_that_does_not_fit_the_run_is_refused_before_it_starts(body, deep):
    other = organism(random_rule(0, channels=6), GRID)
    with pytest.raises(UserError, match=r"region is \(9, 7\), but the canvas is \(7, 9\)"):
        grow(body, 2, key=run_key(0), edits=[edits.erase(body).where(HALF.T)])
    with pytest.raises(UserError, match=r"made for \(6,\) entries, but this rule has \(8,\)"):
        grow(body, 2, key=run_key(0), edits=[edits.erase(other)])
    with pytest.raises(UserError, match="needs a site"):
        grow(body, 2, key=run_key(0), edits=[edits.erase(deep, site="post2")])
    with pytest.raises(UserError, match=r"broadcast to \(7, 9, 8\), got \(3,\)"):
        grow(body, 2, key=run_key(0), edits=[edits.clamp(body, [1.0, 2.0, 3.0])])
    with pytest.raises(UserError, match=r"jax\.vmap"):
        grow(body, 2, key=run_key(0), edits=[edits.stack([edits.erase(body)] * 3)])
    with pytest.raises(UserError, match="canvas"):
        replay(body, STATE, 0, key=run_key(0), edits=[edits.erase(body).where(HALF.T)])


def test_only_edits_of_one_site_and_mode_can_be_stacked(body):
    with pytest.raises(UserError, match="one site and one mode"):
        edits.stack([edits.erase(body), edits.scale(body, 0.5)])
    stacked = edits.stack([edits.erase(body), edits.clamp(body, 2.0).where(HALF)])
    assert stacked.region.shape == (2, *GRID)
    assert bool(stacked.region[0].all())


# JSON.


@st.composite
def any_edit(draw):
    rule = random_rule(1, hidden=(6, 5))
    site = draw(st.sampled_from([*edits.SITES, "pre2", "post2"]))
    sizes = {"pre": 6, "post": 6, "pre2": 5, "post2": 5}
    selection = {}
    if site in sizes:
        selection["units"] = draw(st.none() | st.sets(st.integers(0, sizes[site] - 1), min_size=1))
    elif site not in ("fire", "alive"):
        selection["channels"] = draw(st.none() | st.sets(st.sampled_from(rule.channel_names), min_size=1))
    if site == "perception":
        selection["filters"] = draw(st.none() | st.sets(st.sampled_from(rule.filters), min_size=1))
    make = draw(st.sampled_from([edits.scale, edits.clamp, edits.add, edits.noise]))
    edit = make(rule, draw(st.floats(-9, 9, width=32)), site=site, **selection)
    if draw(st.booleans()):
        height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
        bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
        edit = edit.where(np.array(bits).reshape(height, width))
    first = draw(st.integers(0, 5000))
    last = draw(st.none() | st.integers(first + 1, 2**31 - 1))
    return edit.at(slice(first, last))


@settings(max_examples=60, deadline=None)
@given(edit=any_edit())
def test_an_edit_survives_json(edit):
    again = edits.from_json(json.loads(json.dumps(edits.to_json(edit), allow_nan=False)))
    assert jax.tree.structure(again) == jax.tree.structure(edit)
    for field in ("entries", "region", "value", "first", "stop"):
        before, after = getattr(edit, field), getattr(again, field)
        if before is not None:
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(before, after, err_msg=field)


def test_a_short_array_of_values_stands_in_the_list_itself(body):
    edit = edits.clamp(body, np.linspace(0, 1, 8))
    np.testing.assert_array_equal(edits.from_json(edits.to_json(edit)).value, edit.value)


def test_edits_are_data_that_jax_maps_and_flattens(body):
    edit = edits.erase(body, channels="h0").where(HALF).at(slice(2, 5))
    leaves, structure = jax.tree.flatten(edit)
    assert isinstance(jax.tree.unflatten(structure, leaves), Edit)
    assert all(isinstance(leaf, jnp.ndarray) for leaf in leaves)

"""An organism: its seed, its canvas, its picture, its hash, and what it refuses to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.makers import random_rule
from hypothesis import given
from hypothesis import strategies as st

from nca.errors import UserError
from nca.organism import Organism, _one_cell, check_canvas, pad_to_canvas
from nca.rule import init_rule
from nca.spec import Spec

RULE = random_rule(0)


def test_the_published_seed_has_alpha_and_hidden_channels_one_and_no_colour():
    np.testing.assert_array_equal(_one_cell(Spec(channels=6))[0, 0], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(_one_cell(Spec(channels=6, alpha=0))[0, 0], [1, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(_one_cell(Spec(channels=6, alpha=5))[0, 0], [1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(_one_cell(Spec(channels=2, alpha=1))[0, 0], [1, 1])


@pytest.mark.parametrize(("canvas", "middle"), [((72, 72), (36, 36)), ((9, 12), (4, 6)), ((3, 3), (1, 1))])
def test_growth_begins_from_one_cell_in_the_middle(canvas, middle):
    start = np.asarray(Organism(RULE, canvas=canvas).initial_state())
    assert start.shape == (*canvas, 8)
    assert np.argwhere(start.any(-1)).tolist() == [list(middle)]


@given(
    patch=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    spare=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_padding_puts_middle_on_middle_and_keeps_every_value(patch, spare):
    values = np.random.default_rng(0).random((*patch, 4)).astype(np.float32) + 1
    canvas = patch[0] + spare[0], patch[1] + spare[1]
    padded = pad_to_canvas(values, canvas, "seed")
    assert padded.shape == (*canvas, 4)
    assert padded.dtype == np.float32
    middle = padded[canvas[0] // 2, canvas[1] // 2]
    np.testing.assert_array_equal(middle, values[patch[0] // 2, patch[1] // 2])
    np.testing.assert_array_equal(padded[padded.any(axis=-1)], values.reshape(-1, 4))


@pytest.mark.parametrize("canvas", [(39, 72), (72, 39)])
def test_a_patch_larger_than_the_canvas_is_refused(canvas):
    with pytest.raises(UserError, match=f"seed of 40x40 does not fit a canvas of {canvas[0]}x{canvas[1]}"):
        pad_to_canvas(np.ones((40, 40, 4), np.float32), canvas, "seed")


def test_a_canvas_given_for_one_run_moves_the_seed_and_the_picture_to_its_middle():
    picture = np.full((4, 4, 4), 0.5, np.float32)
    organism = Organism(RULE, canvas=(8, 8), target=picture)
    assert np.argwhere(np.asarray(organism.initial_state((20, 11))).any(-1)).tolist() == [[10, 5]]
    framed = organism.padded_target((20, 11))
    assert np.argwhere(framed.any(-1)).min(0).tolist() == [8, 3]
    assert framed.sum() == picture.sum()
    assert Organism(RULE).padded_target() is None


def test_a_seed_may_be_a_patch_of_cells():
    patch = np.random.default_rng(0).normal(size=(3, 2, 8))
    start = np.asarray(Organism(RULE, canvas=(7, 6), seed=patch).initial_state())
    np.testing.assert_allclose(start[2:5, 2:4], patch, atol=1e-6)
    assert np.argwhere(start.any(-1)).shape == (6, 2)


# The hash names what grows.


def test_the_hash_changes_with_whatever_changes_growth_and_with_nothing_else():
    plain = Organism(RULE, canvas=(8, 8))
    same = [
        Organism(RULE, canvas=(8, 8), name="another"),
        Organism(RULE, canvas=(8, 8), target=np.ones((4, 4, 4)), metrics={"loss": 1.0}),
        Organism(random_rule(0), canvas=(8, 8), provenance={"source": "elsewhere"}),
        plain.rename("third"),
    ]
    assert {o.hash for o in same} == {plain.hash}
    others = [
        Organism(RULE, canvas=(8, 9)),
        Organism(RULE.rotate(0.1), canvas=(8, 8)),
        Organism(RULE.with_spec(boundary="circular"), canvas=(8, 8)),
        Organism(RULE.with_spec(fire_rate=0.4), canvas=(8, 8)),
        Organism(RULE, canvas=(8, 8), seed=np.ones((1, 1, 8))),
        Organism(random_rule(1), canvas=(8, 8)),
        Organism(init_rule(jax.random.key(0), Spec(channels=8), 12), canvas=(8, 8)),
    ]
    assert len({o.hash for o in [plain, *others]}) == len(others) + 1
    assert len(plain.hash) == 12
    assert int(plain.hash, 16) >= 0


# Mistakes.


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"seed": np.ones((1, 1, 7))}, r"A seed must be \(y, x, 8\)"),
        ({"seed": np.ones(8)}, "A seed must be"),
        ({"seed": np.ones((0, 1, 8))}, "A seed must be"),
        ({"seed": np.ones((9, 9, 8)), "canvas": (8, 8)}, "seed of 9x9 does not fit a canvas of 8x8"),
        ({"target": np.ones((9, 9, 4)), "canvas": (8, 8)}, "target of 9x9 does not fit"),
        ({"target": np.ones((4, 4, 3))}, r"A target must be \(y, x, 4\)"),
        ({"canvas": (2, 8)}, "3 to 2048 cells a side"),
        ({"canvas": (8, 4096)}, "3 to 2048 cells a side"),
        ({"canvas": 8}, "A canvas is"),
        ({"canvas": (8, 8, 8)}, "A canvas is"),
        ({"canvas": (8.5, 8)}, "A canvas is"),
        ({"canvas": "ab"}, "A canvas is"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_a_sentence(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        Organism(RULE, **fields)


def test_a_rule_whose_arrays_do_not_fit_makes_no_organism():
    rule = random_rule(0)
    rule.weights[0][...] = jnp.zeros((24, 12))
    rule.biases[0] = type(rule.biases[0])(jnp.zeros(11))
    with pytest.raises(UserError, match="12 outputs needs as many biases"):
        Organism(rule)


def test_a_canvas_may_be_whole_numbers_of_any_kind():
    assert check_canvas([np.int64(8), 9]) == (8, 9)
    assert check_canvas(np.array([8, 9])) == (8, 9)

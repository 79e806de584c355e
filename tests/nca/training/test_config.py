"""The recipe: what it keeps, what it refuses, how it is written."""

import json

import pytest
from helpers.recipes import tiny

from nca.errors import UserError
from nca.training.config import TrainConfig, kept_steps


@pytest.mark.parametrize(
    ("keep", "steps", "expected"),
    [
        ("", 100, set()),
        ("log", 25, {0, 1, 2, 5, 10, 20}),
        ("30", 100, {0, 30, 60, 90}),
        ("5,70,500", 100, {5, 70}),
    ],
)
def test_the_schedule_of_kept_organisms(keep, steps, expected):
    assert kept_steps(keep, steps) == expected


@pytest.mark.parametrize("keep", ["often", "0", "-5", "1,,2", "1.5"])
def test_a_schedule_that_is_none_is_refused(keep):
    with pytest.raises(UserError, match="keep is"):
        tiny(keep=keep)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"regime": "shrinking"}, "A regime is one of"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"margin": -1}, "margin must not be negative"),
        ({"rate": float("nan")}, "rate must be a number above 0"),
        ({"longest": 7}, "must not be below shortest"),
        ({"pool": 3}, "cannot give batches of 4"),
        ({"regime": "regenerating", "damaged": 4}, "cannot hold 1 seeds and 4 wounded"),
        ({"wounds": ("bite",)}, "wounds are of"),
        ({"wounds": ()}, "wounds are of"),
        ({"channels": 3}, "at least 4 channels"),
        ({"fire_rate": 0.0}, "fire rate above 0"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        tiny(**changes)


def test_a_recipe_survives_json():
    recipe = tiny(wounds=("half", "disc"), keep="log", background="white", rate=1e-3)
    assert TrainConfig.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe

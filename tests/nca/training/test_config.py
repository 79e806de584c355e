"""The training configuration: snapshot steps, what it refuses, how it is written."""

import copy
import json

import numpy as np
import pytest
from helpers.training import disc_picture, tiny

from nca.errors import UserError
from nca.spec import Spec
from nca.targets import target
from nca.training.config import TrainConfig


@pytest.mark.parametrize(
    ("snapshots", "steps", "expected"),
    [
        ("", 100, set()),
        ("log", 25, {0, 1, 2, 5, 10, 20}),
        ("30", 100, {0, 30, 60, 90}),
        ("5,70,500", 100, {5, 70}),
    ],
)
def test_snapshots_are_taken_at_these_steps(snapshots, steps, expected):
    assert tiny(snapshots=snapshots, steps=steps).snapshot_steps == expected


@pytest.mark.parametrize("snapshots", ["often", "0", "-5", "1,,2", "1.5"])
def test_snapshots_that_cannot_be_read_are_refused(snapshots):
    with pytest.raises(UserError, match="snapshots must be"):
        tiny(snapshots=snapshots)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"regime": "shrinking"}, "regime must be one of"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"margin": -1}, "margin must be at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"max_steps": 7}, "must not be below min_steps"),
        ({"pool_size": 3}, r"pool_size \(3\) must not be below batch_size \(4\)"),
        ({"regime": "regenerating", "damage_per_batch": 4}, "cannot hold 1 seeds and 4 wounded"),
        ({"wounds": ("bite",)}, "wounds must be of"),
        ({"wounds": ()}, "wounds must be of"),
        ({"optimizer": "sgd"}, "optimizer must be muon or adam"),
        ({"ema_decay": 1.0}, "ema_decay must be 0 or more and below 1"),
        ({"growing_share": -0.1}, "growing_share must be at least 0"),
        ({"growing_share": 0.6, "damage_ramp_share": 0.5}, "must sum to at most 1"),
        ({"channels": 3}, "at least 4 channels"),
        ({"fire_rate": 0.0}, "fire rate above 0"),
        ({"target": "x" * 190}, r"file names of \d+ bytes; give it a shorter one"),
    ],
)
def test_an_impossible_configuration_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        tiny(**changes)


def test_a_configuration_survives_json():
    config = tiny(wounds=("half", "disc"), snapshots="log", background="white", learning_rate=1e-3)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_configuration_of_an_earlier_version_is_read():
    old = {
        "target": "flag",
        "start": None,
        "batch": 4,
        "pool": 32,
        "seeds": 2,
        "damaged": 1,
        "shortest": 5,
        "longest": 6,
    }
    old |= {"rate": 0.1, "drop_at": 7, "drop": 0.5, "hidden": 20, "sheet_every": 3, "keep": "log"}
    old |= {"rollbacks": 4, "limit": 9.0, "steps": 11, "wounds": ["half"]}
    assert TrainConfig.from_json(old) == TrainConfig.published(
        target="flag",
        batch_size=4,
        pool_size=32,
        reseed_per_batch=2,
        damage_per_batch=1,
        min_steps=5,
        max_steps=6,
        learning_rate=0.1,
        lr_drop_step=7,
        lr_drop_factor=0.5,
        hidden_size=20,
        plot_every=3,
        snapshots="log",
        max_rollbacks=4,
        max_abs_state=9.0,
        steps=11,
        wounds=("half",),
    )


def test_the_published_recipe_is_that_of_mordvintsev_et_al():
    config = TrainConfig.published(regime="regenerating")
    assert (config.steps, config.batch_size, config.pool_size, config.canvas) == (8000, 8, 1024, (72, 72))
    assert (config.optimizer, config.learning_rate, config.lr_schedule, config.ema_decay) == ("adam", 2e-3, "step", 0)
    assert (config.lr_drop_step, config.lr_drop_factor) == (2000, 0.1)
    assert (config.reseed_per_batch, config.damage_per_batch, config.wounds) == (1, 3, ("disc",))
    assert config.growing_share == config.persistent_share == config.damage_ramp_share == 0


def test_the_rule_has_the_conventions_of_the_configuration():
    config = tiny(perception="steered", steer=7, fire_rate=0.3, boundary="circular", threshold=0.2)
    assert config.spec == Spec(8, "steered", 7, "circular", "circular", threshold=0.2, fire_rate=0.3)
    assert config.canvas == (20, 20)
    assert config.run_name == "lizard-persistent-1"


def test_an_array_is_a_target_under_a_name_that_its_values_give():
    config = TrainConfig(target=disc_picture()[:10])
    assert config.size == 12
    assert config.canvas == (28, 28)
    np.testing.assert_array_equal(target(config.target, config.size)[1:11], disc_picture()[:10])  # centred in a square
    assert (target(config.target, 12)[[0, 11]] == 0).all()
    assert config == TrainConfig(target=disc_picture()[:10].astype(np.float64))
    assert config.run_name == f"{config.to_json()['target']}-regenerating-0"
    assert config != TrainConfig(target=disc_picture(radius=3))
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert copy.deepcopy(config).target.pixels.shape == (12, 12, 4)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (disc_picture() * 255, "values from 0 to 255"),
        (disc_picture() * [1, 1, 1, 0.5], "colours of a target array are multiplied by alpha"),
        (disc_picture()[..., :3], r"of the shape \(12, 12, 3\)"),
        (disc_picture() * np.nan, "values from nan"),
        (disc_picture() * 0, "Nothing in the target array is visible"),
        (np.ones((600, 2, 4)), "4 to 512 cells a side"),
        (7, r"of the shape \(\)"),
        ({}, "got dict"),
    ],
)
def test_an_array_that_is_no_premultiplied_picture_is_refused_in_one_sentence(picture, sentence):
    with pytest.raises(UserError, match=sentence):
        TrainConfig(target=picture)


def test_an_array_has_its_own_size():
    with pytest.raises(UserError, match="size is 24, but the target is an array of 12 cells; leave size out"):
        TrainConfig(target=disc_picture(), size=24)


def test_only_the_name_of_a_loss_is_written():
    config = TrainConfig(loss=disc_picture)
    assert config.to_json()["loss"].endswith(".disc_picture")
    assert TrainConfig.from_json(config.to_json()).loss == config.to_json()["loss"]

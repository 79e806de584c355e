"""The viewer's engine, run by Node, against states and masks that JAX computes."""

import base64
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import bodies, makers, viewing
from helpers import published as others
from helpers.plain import plain_states

import nca
from analysis import metrics
from analysis.cli.grow import Grow, _grow_states, _with_session
from analysis.viewer.data import _encode_floats, page_data
from nca import damage, edits
from nca.rollout import trajectory
from nca.step import fire_mask

CONVENTIONS = {
    "sobel": {},
    "laplacian": {"perception": "laplacian"},
    "isotropic": {"perception": "isotropic", "alive": "gate"},
    "sobel-laplacian, rotated": {"perception": "sobel-laplacian", "angle": 0.7},
    "steered": {"perception": "steered", "steer": 6},
    "learned": {"perception": "learned", "filters": 4},
    "learned, one kernel for all": {"perception": "learned", "kernel_channels": 1, "alive": "after"},
    "circular": {"boundary": "circular", "alive_boundary": "circular", "inclusive": True},
    "circular life only": {"alive_boundary": "circular", "reads": "masked"},
    "masked, wraps": {"boundary": "circular", "reads": "masked"},
    "after, clipped": {"alive": "after", "clip": (-0.5, 1.5)},
    "none, synchronous": {"alive": "none", "fire_rate": 1.0, "squash": "tanh"},
    "deep, leaky": {"hidden": (12, 7, 9), "activation_slope": 0.2, "fire_rate": 0.3},
    "before, gelu": {"alive": "before", "activation": "gelu"},
    "none, gelu by tanh": {"alive": "none", "activation": "gelu-tanh"},
    **{name: {"activation": name} for name in ("tanh", "sigmoid", "elu", "swish")},
    "two channels": {"channels": 2, "alpha": 1, "hidden": (5,)},
    "alpha late, straight": {"channels": 11, "alpha": 7, "premultiplied": False},
}


@pytest.fixture(scope="module")
def lizard():
    return nca.load("lizard")


@pytest.fixture(scope="module")
def lizard_data(lizard):
    return page_data(lizard, steps=60)


@pytest.fixture(scope="module")
def untouched(lizard):
    """The states of run 0 of seed 0, to step 100."""
    return np.asarray(trajectory(lizard, 100, key=nca.run_key(0, 0)))


def difference(encoded, want):
    return np.abs(viewing.array(encoded, want.shape) - want).max()


def test_fire_masks_are_those_of_jax_to_the_bit(tmp_path):
    rule = makers.random_rule(0)
    cases = [
        (0, 0, 0, (72, 72)),
        (3, 2, 17, (5, 8)),
        (2**31 - 1, 9, 1999, (37, 41)),
        (7, 2**31 - 1, 3, (3, 131)),
    ]
    jobs, wanted = [], []
    for seed, run, step, canvas in cases:
        for rate in (0.5, 0.3, 0.9):
            mask = fire_mask(rule.with_spec(fire_rate=rate), nca.run_key(seed, run), step, canvas)
            wanted.append("".join(map(str, np.asarray(mask).astype(int).ravel())))
            place = {"seed": seed, "run": run, "step": step, "canvas": canvas, "rate": rate}
            jobs.append({"kind": "masks", **place})
    assert viewing.node(tmp_path, *jobs) == wanted


@pytest.mark.parametrize("named", CONVENTIONS)
def test_steps_of_every_convention_equal_the_plain_step(named, tmp_path):
    says = dict(CONVENTIONS[named])
    rule = makers.random_rule(len(named), **says)
    channels = rule.spec.channels
    state = makers.blobs(3, (11, 9), channels, alpha=rule.spec.alpha, count=3)
    grown = makers.organism(rule)
    want = plain_states(grown, 10, key=nca.run_key(5, 1), state=state)
    data = page_data(grown, steps=0)
    job = {"kind": "steps", "organism": data, "start": _encode_floats(state), "key": [5, 1], "marks": [1, 10]}
    (answer,) = viewing.node(tmp_path, job)
    assert np.abs(want[10] - want[0]).max() > 1e-3
    assert difference(answer["1"], want[1]) < 1e-5
    assert difference(answer["10"], want[10]) < 1e-4 * max(1, np.abs(want[10]).max())


def lab(data, script, marks=(), seed=0, run=0):
    """A job: a script of acts in the laboratory."""
    place = {"seed": seed, "run": run}
    return {"kind": "lab", "organism": data, "place": place, "script": script, "marks": list(marks)}


def cells_of(mask):
    return np.flatnonzero(mask).tolist()


def onward(steps):
    return {"do": "advance", "steps": steps}


def gain(kind, index, value, **says):
    return {"do": "gain", "kind": kind, "index": index, "value": value, **says}


def wound(place, radius):
    return {"do": "set", "places": cells_of(damage.disc((56, 56), place, radius)), "values": None}


def test_the_lizard_grows_as_in_python(lizard_data, untouched, tmp_path):
    job = {"kind": "steps", "organism": lizard_data, "key": [0, 0], "marks": [0, 1, 10, 100]}
    (answer,) = viewing.node(tmp_path, job)
    for step, tolerance in ((0, 0), (1, 1e-5), (10, 1e-5), (100, 1e-4)):
        assert difference(answer[str(step)], untouched[step]) <= tolerance, step


def test_organisms_of_other_people_grow_as_their_authors_say(published, tmp_path):
    jobs, wanted = [], []
    for name in ("chen-gecko", "distill-gecko-regenerating", "google-planarian", "jaxnca-gecko-flax"):
        weights = others.load_published(published, name)
        fires = base64.b64encode(weights.fires[:100].astype(np.uint8).tobytes()).decode()
        job = {"organism": page_data(weights.organism, steps=0), "start": _encode_floats(weights.state(0))}
        jobs.append({"kind": "steps", **job, "fires": fires, "marks": [1, 10, 100]})
        wanted.append((name, weights))
    for (name, want), states in zip(wanted, viewing.node(tmp_path, *jobs), strict=True):
        for step in (1, 10, 100):
            assert difference(states[str(step)], want.state(step)) < 1e-4, (name, step)


def test_a_session_runs_again_in_python(lizard, lizard_data, tmp_path):
    host = damage.disc(lizard.canvas, (28, 12), 4)
    graft = np.random.default_rng(0).uniform(-0.5, 1, (int(host.sum()), 16)).astype(np.float32)
    script = [
        gain("channel", 9, 0.9),
        onward(20),
        wound((24, 30), 5),
        wound((30, 30), 3),
        gain("pc", 0, 0.8),
        gain("pc", 3, 1.1),
        onward(15),
        {"do": "set", "places": [50 * 56 + 50], "values": _encode_floats(lizard.seed), "what": "seed"},
        {"do": "turn", "angle": 0.5},
        gain("channel", 9, 1),
        gain("pc", 0, 1),
        gain("pc", 3, 1),
        onward(25),
        {"do": "set", "places": cells_of(host), "values": _encode_floats(graft), "what": "graft"},
        gain("channel", 4, -0.2),
        onward(3),
        gain("channel", 4, 1),
        onward(37),
    ]
    (answer,) = viewing.node(tmp_path, lab(lizard_data, script, [20, 36, 59, 100], seed=2, run=5))
    path = tmp_path / "session.json"
    path.write_text(json.dumps(answer["session"]))
    command = Grow("lizard", Path("out.webp"), steps=100, edits=path)
    command, session = _with_session(command, lizard)
    assert (command.seed, command.run, session.steps) == (2, 5, 100)
    assert [e.mode for e in session.edits] == ["set"] * 3 + ["scale"] * 2 + ["project"] * 2
    states = _grow_states(command, lizard, lizard.canvas, session.edits, session)
    for mark in (36, 59, 100):
        assert difference(answer["states"][str(mark)], states[mark]) < 1e-4, mark
    # The page shows what step 20 is given; a recording what it read, with the lesions made.
    shown = viewing.array(answer["states"]["20"], states[20].shape)
    lesions = [e for e in session.edits if e.mode != "set"]
    assert np.abs(np.asarray(edits.apply(lesions, "state", shown, 20, None)) - states[20]).max() < 1e-4
    bare = np.asarray(nca.grow(lizard, 100, key=nca.run_key(2, 5)))
    assert np.abs(bare - states[100]).max() > 0.1


def test_the_twin_is_intact_and_shares_the_masks(lizard, lizard_data, untouched, tmp_path):
    script = [onward(20), wound((28, 28), 6), onward(5), {"do": "twin", "on": True}, onward(5)]
    (answer,) = viewing.node(tmp_path, lab(lizard_data, script, [30]))
    want = untouched[30]
    assert difference(answer["twins"]["30"], want) < 1e-4
    hurt = viewing.array(answer["states"]["30"], want.shape)
    spec, goal = lizard.rule.spec, lizard.padded_target()
    series = {name: values["30"] for name, values in answer["series"].items()}
    assert series["error"] == pytest.approx(float(metrics.mse(spec, hurt, goal)), rel=1e-4)
    apart = float(metrics.mse(spec, hurt, metrics.picture(spec, want)))
    assert series["apart"] == pytest.approx(apart, rel=1e-3)
    assert series["mature"] == int(metrics.mature_count(lizard.rule, hurt))


def test_going_back_gives_the_same_future_and_acting_there_another(lizard_data, untouched, tmp_path):
    begun = [onward(20), wound((28, 28), 6), onward(10)]
    back, again = [{"do": "seek", "t": 12}, onward(18)], [{"do": "seek", "t": 25}, onward(5)]
    scripts = (begun, begun + back, begun + again)
    once, unhurt, same = viewing.node(tmp_path, *(lab(lizard_data, script, [30]) for script in scripts))
    assert once["states"] == same["states"]
    assert once["session"] == same["session"]
    assert unhurt["session"]["edits"] == []
    assert difference(unhurt["states"]["30"], untouched[30]) < 1e-4
    assert difference(once["states"]["30"], untouched[30]) > 0.1


def test_lesions_wait_for_the_next_growth_if_asked_to(lizard, lizard_data, untouched, tmp_path):
    waits = [onward(5), gain("channel", 8, 0.5, now=False), onward(5)]
    scripts = (waits, [*waits, {"do": "reset"}, onward(10)])
    first, second = viewing.node(tmp_path, *(lab(lizard_data, script, [10]) for script in scripts))
    assert difference(first["states"]["10"], untouched[10]) < 1e-5
    lesion = edits.scale(lizard, 0.5, channels=8)
    want = np.asarray(nca.grow(lizard, 10, key=nca.run_key(0, 0), edits=[lesion]))
    assert difference(second["states"]["10"], want) < 1e-5
    assert second["session"]["edits"][0]["steps"] == [0, None]


def test_an_explosion_stops_the_run_and_the_past_is_still_there(tmp_path):
    burst = page_data(bodies.exploding_organism(), steps=0)
    script = [onward(60), {"do": "seek", "t": 3}]
    stopped, back = viewing.node(tmp_path, lab(burst, script[:1]), lab(burst, script))
    states = np.asarray(trajectory(bodies.exploding_organism(), 60, key=nca.run_key(0, 0)))
    first = int(np.argmax(np.asarray(metrics.exploded(states))))
    assert stopped["exploded"] == stopped["t"] == first
    assert (back["exploded"], back["t"]) == (None, 3)


def test_the_generator_is_the_one_that_the_engine_repeats():
    assert jax.config.jax_threefry_partitionable

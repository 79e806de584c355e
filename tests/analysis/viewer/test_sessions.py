import json

import numpy as np
import pytest
from helpers import bodies, makers

from analysis.cli import main as cli
from analysis.viewer import sessions
from analysis.viewer.data import _encode_floats
from nca import damage, edits
from nca.errors import UserError


@pytest.fixture(scope="module")
def host():
    return bodies.static_organism(canvas=(12, 10), radius=3)


def session_fields(host, **says):
    """A session of a few steps: a wound, then a patch of cells set to values."""
    wound = edits.erase(host).where(damage.disc(host.canvas, (6, 5), 1)).at(2)
    patch = {"corner": [3, 4], "shape": [2, 1, 6], "float32": _encode_floats(np.arange(12))}
    region = damage.box(host.canvas, (3, 4), (2, 1))
    graft = edits.to_json(edits.erase(host).where(region).at(3)) | {"value": {"npz": "set1"}}
    fields = {"format": sessions.FORMAT, "organism": host.name, "hash": host.hash, "seed": 3, "run": 1}
    fields |= {"canvas": [12, 10], "steps": 5, "compass": [[2, 0.5], [0, -0.25]]}
    fields |= {"edits": [edits.to_json(wound), graft], "arrays": {"set1": patch}}
    return fields | says


def test_a_session_holds_run_compass_and_edits(host, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(session_fields(host)))
    session = sessions.read_session(path, host)
    assert (session.seed, session.run, session.steps, session.canvas) == (3, 1, 5, (12, 10))
    angles = [float(session.rotate(host, step).rule.angle[...]) for step in (0, 1, 2, 9)]
    assert angles == [-0.25, -0.25, 0.5, 0.5]
    state = np.asarray(edits.apply(session.edits, "state", np.asarray(host.initial_state()), 3, None))
    assert state[3, 4].tolist() == list(range(6))
    assert state[4, 4].tolist() == list(range(6, 12))
    assert (state[5:] == np.asarray(host.initial_state())[5:]).all()


def test_a_bare_list_of_edits_is_read_as_before(host, tmp_path):
    path = tmp_path / "e.json"
    path.write_text(json.dumps([edits.to_json(edits.scale(host, 0.5, channels=4))]))
    (edit,) = sessions.read_session(path, host)
    assert edit.mode == "scale"


def test_a_list_of_edits_with_arrays_beside_it_is_read(host, tmp_path):
    values = np.random.default_rng(0).random((*host.canvas, 6), np.float32)
    fields = edits.to_json(edits.clamp(host, 0.0)) | {"value": {"npz": "edit0"}}
    (tmp_path / "e.json").write_text(json.dumps([fields]))
    np.savez(tmp_path / "e.npz", edit0=values)
    (edit,) = sessions.read_session(tmp_path / "e.json", host)
    assert (np.asarray(edit.value) == values).all()


PATCH = {"corner": [3, 4], "shape": [2, 1, 6], "float32": _encode_floats(np.arange(12))}


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ({"hash": "0" * 12}, "not of standing"),
        ({"canvas": [1, 10]}, "canvas"),
        ({"seed": -1}, "whole numbers from 0 up"),
        ({"run": 2**31}, "whole numbers from 0 up"),
        ({"compass": [[0]]}, "not a session"),
        ({"compass": [[0, "north"]]}, "not a session"),
        ({"edits": 3}, "not a session"),
        ({"edits": [{}]}, "needs site"),
        ({"arrays": []}, "not a session"),
        ({"arrays": {"set1": PATCH | {"corner": [11, 4]}}}, "does not fit"),
        ({"arrays": {"set1": PATCH | {"float32": "AAAA"}}}, "does not fit"),
        ({"arrays": {}}, "needs site"),
        ({"steps": None}, "not a session"),
        ({"format": "nca-session-9"}, "a list of edits"),
    ],
)
def test_what_is_no_session_is_refused_in_a_sentence(host, tmp_path, says, sentence):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(session_fields(host, **says)))
    with pytest.raises(UserError, match=sentence):
        sessions.read_session(path, host)


def test_a_compass_needs_a_perception_that_has_one(tmp_path):
    learned = makers.organism(makers.random_rule(0, channels=6, perception="learned"), canvas=(12, 10))
    fields = session_fields(bodies.static_organism(canvas=(12, 10), radius=3), hash=learned.hash)
    with pytest.raises(UserError, match="compass"):
        sessions.Session.from_json(fields, learned)


def test_grow_refuses_another_run_than_the_sessions(host, tmp_path, capsys):
    import nca

    nca.save(host, tmp_path / "host.safetensors")
    (tmp_path / "s.json").write_text(json.dumps(session_fields(host)))
    words = ["grow", str(tmp_path / "host.safetensors"), "--out", str(tmp_path / "f.gif")]
    words += ["--steps", "4", "--edits", str(tmp_path / "s.json")]
    assert cli.main([*words, "--seed", "4"]) == 2
    assert "leave out --seed" in capsys.readouterr().err
    assert cli.main(words) == 0

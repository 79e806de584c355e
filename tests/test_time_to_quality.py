"""The rule by which a training's time to quality is taken."""

import nca
from benchmarks import time_to_quality
from benchmarks.time_to_quality import Options


def test_the_first_organism_that_meets_the_goal_ends_the_record(tmp_path, monkeypatch):
    trained = []

    def train(config, folder):
        trained.append(config)
        (folder / "snapshots").mkdir(parents=True)
        for step in (0, 100, 200, 300):
            (folder / "snapshots" / f"step-{step:06d}.safetensors").touch()

    def quality(path, goal, runs):
        return {"met": path.stem >= "step-000200", "goal of": goal}

    monkeypatch.setattr(time_to_quality, "train", train)
    monkeypatch.setattr(time_to_quality, "quality", quality)
    options = Options(goal="persistent", steps=300, out=tmp_path)
    for _ in range(2):  # the second time the training is only measured
        record = time_to_quality.record(options, 5)
        assert (record["training_steps"], record["met"], record["seed"], record["goal of"]) == (
            200,
            True,
            5,
            "persistent",
        )
        assert abs(record["minutes"]) < 1
    assert [(c.regime, c.seed, c.steps, c.optimizer) for c in trained] == [("persistent", 5, 300, "muon")]


def test_quality_is_that_of_fresh_runs_on_the_stated_canvas(tmp_path, monkeypatch):
    path = nca.save(nca.load("lizard-growing"), tmp_path / "lizard.safetensors")
    missed = time_to_quality.quality(path, "growing", runs=2)
    assert not missed["met"]
    assert -3.5 < missed["log10_mse"]["96"] < -2.5
    cut = {"right": {"median": 0.95}, "left": {"median": 0.85}}
    card = {"log10_mse": {"96": -2.6, "200": -3.5, "2000": -3.5}, "recovered": cut}
    monkeypatch.setattr(time_to_quality, "report_card", lambda organism, **_: card)
    for goal, steps in (("growing", {"96": -2.5}), ("persistent", {"200": -3.7}), ("regenerating", {"96": -2.5})):
        monkeypatch.setitem(time_to_quality.GOALS, goal, steps)
    assert time_to_quality.quality(path, "growing", runs=2) == {**card, "recovered": {}, "met": True}
    assert not time_to_quality.quality(path, "persistent", runs=2)["met"]
    assert not time_to_quality.quality(path, "regenerating", runs=2)["met"]
    cut["left"]["median"] = 0.9
    assert time_to_quality.quality(path, "regenerating", runs=2)["met"]

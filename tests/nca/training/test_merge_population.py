"""Shards of a population merged into one folder, and what is refused."""

import json
from pathlib import Path

import pytest
from helpers import makers

import nca
from analysis.cli import main as cli
from nca.errors import UserError
from nca.shards import Shard, all_shards
from nca.training.population import merge_population, read_members


def run_nca(*words):
    """The exit code of a command."""
    return cli.main([str(word) for word in words])


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def shard_folder(k, n=2, count=5):
    """Shard k/n of a population of `count` members as the folder pK: its own trained but for member 1, which failed."""
    folder = Path(f"p{k}")
    folder.mkdir()
    own, members = Shard(k, n).of(count), []
    for number in range(count):
        shard = next(s for s in all_shards(n) if number in s.of(count))
        status = "waiting" if number not in own else "failed" if number == 1 else "trained"
        name = f"lizard-growing-{number}"
        members.append(
            {"name": name, "file": f"{name}.safetensors", "target": "lizard", "regime": "growing"}
            | {"seed": number, "status": status, "shard": str(shard), "metrics": {"loss": float(number)}}
        )
        if status == "trained":
            nca.save(makers.organism(makers.random_rule(number), name=name), folder / f"{name}.safetensors")
        elif status == "failed":
            (folder / "runs" / name).mkdir(parents=True)
            (folder / "runs" / name / "failed.txt").write_text("it exploded")
    configs = [nca.TrainConfig.published(seed=seed).to_json() for seed in range(count)]
    index = {"format": 1, "configs": configs, "members": members, "versions": {"nca-dissection": "0.1"}}
    (folder / "population.json").write_text(json.dumps(index))
    return folder


def edit_index(folder, edit):
    """Change a shard's population.json in place."""
    file = folder / "population.json"
    index = json.loads(file.read_text())
    edit(index)
    file.write_text(json.dumps(index))


def with_old_keys(index):
    """The keys of population.json as earlier versions wrote them."""
    index["recipes"] = index.pop("configs")
    for config in index["recipes"]:
        config["rate"] = config.pop("learning_rate")
    for member in index["members"]:
        member["part"] = member.pop("shard")


@pytest.mark.parametrize("is_old", [False, True])
def test_the_shards_of_a_population_merge_into_one_folder(capsys, is_old):
    folders = [shard_folder(k) for k in (2, 1)]
    if is_old:
        edit_index(folders[0], with_old_keys)
    assert run_nca("merge", *folders, "--out", "all") == 0
    assert capsys.readouterr().out == "all\n"
    index = json.loads(Path("all/population.json").read_text())
    assert [m["seed"] for m in index["members"]] == [0, 1, 2, 3, 4]
    assert [m["status"] for m in index["members"]] == ["trained", "failed", *["trained"] * 3]
    assert [m["shard"] for m in index["members"]] == ["1/2", "1/2", "2/2", "2/2", "2/2"]
    assert [c["learning_rate"] for c in index["configs"]] == [0.002] * 5
    for number in (0, 2, 3, 4):
        name = f"lizard-growing-{number}"
        assert nca.load(f"all/{name}.safetensors").hash == makers.organism(makers.random_rule(number)).hash
    assert [m.status for m in read_members(Path("all"))] == ["trained", "failed", *["trained"] * 3]
    assert read_members(Path("all"))[1].reason == "it exploded"
    assert len(list(Path("all").iterdir())) == 6


def unfinished(index):
    index["members"][3]["status"] = "waiting"


def other_config(index):
    index["configs"][4]["learning_rate"] = 1.0


def file_elsewhere(index):
    index["members"][2]["file"] = "../body.safetensors"


def name_elsewhere(index):
    index["members"][2]["name"] = "../body"


def same_name(index):
    index["members"][2]["file"] = "lizard-growing-3.safetensors"
    index["members"][2]["name"] = "lizard-growing-3"


def other_split(index):
    for member in index["members"]:
        member["shard"] = "2/3"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (unfinished, r"1 of 5 members are missing or unfinished, of shard 2/2; train them with --shard"),
        (other_config, r"different populations: .* the configuration of member 4"),
        (lambda d: d["configs"].append({}), "does not describe a population"),
        (lambda d: d.update(versions={"nca-dissection": "9"}), "nca-dissection 0.1 and p2 by 9"),
        (file_elsewhere, "no file of its folder"),
        (name_elsewhere, "no name of a member"),
        (same_name, "Two members have the name"),
        (other_split, "splits in 2 and 3 shards"),
        (lambda d: d.update(format=2), "newer version"),
        (lambda d: d.pop("members"), "does not describe a population"),
        (lambda d: d["members"].pop(), "not as many members as configurations"),
        (lambda d: d["members"][0].pop("shard"), "does not describe a population"),
        (lambda d: d["members"][2].pop("status"), "does not describe a population"),
        (lambda _: Path("p2/lizard-growing-2.safetensors").unlink(), "is listed as trained"),
        (lambda _: Path("p2/lizard-growing-2.safetensors").write_text("x"), "not an organism"),
    ],
)
def test_shards_that_do_not_make_a_population_are_refused(edit, message):
    folders = [shard_folder(k) for k in (1, 2)]
    edit_index(folders[1], edit)
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError, match=message):
        merge_population(folders, Path("all"))
    assert sorted(Path().rglob("*")) == before


def test_missing_and_repeated_shards_and_mixed_kinds_are_refused(capsys):
    one, two = (shard_folder(k) for k in (1, 2))
    with pytest.raises(UserError, match=r"3 of 5 members are missing or unfinished, of shard 2/2"):
        merge_population([one], Path("all"))
    with pytest.raises(UserError, match=r"lizard-growing-0 was given twice, in p1 and p1"):
        merge_population([one, one, two], Path("all"))
    with pytest.raises(UserError, match="p1 exists already"):
        merge_population([one, two], one)
    with pytest.raises(UserError, match="no folder nowhere"):
        merge_population([one, two], Path("nowhere/all"))
    with pytest.raises(UserError, match="no shards to merge"):
        merge_population([], Path("all"))
    Path("rows.jsonl").touch()
    assert run_nca("merge", one, "rows.jsonl", "--out", "all") == 2
    assert "merge each kind separately" in capsys.readouterr().err

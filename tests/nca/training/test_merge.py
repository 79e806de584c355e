"""Parts of a population merged to one folder, and what is refused."""

import json
from pathlib import Path

import pytest
from helpers import makers

import nca
from analysis.cli import main as cli
from nca.errors import UserError
from nca.shards import Part, all_parts
from nca.training.merge import merge_population
from nca.training.population import read_table


def nca_(*words):
    """The exit code of a command."""
    return cli.main([str(word) for word in words])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


def population(folder, part, n=2, whole=5, **changes):
    """A part of a population as a folder: its members trained, one of them failed, the others waiting."""
    folder.mkdir()
    recipes = [nca.TrainConfig(seed=seed).to_json() for seed in range(whole)]
    own = Part(part, n).of(whole)
    members = []
    for number in range(whole):
        its = next(one for one in all_parts(n) if number in one.of(whole))
        status = "waiting" if number not in own else "failed" if number == 1 else "trained"
        name = f"lizard-growing-{number}"
        members.append(
            {"name": name, "file": f"{name}.safetensors", "target": "lizard", "regime": "growing"}
            | {"seed": number, "status": status, "part": str(its), "metrics": {"loss": float(number)}}
        )
        if status == "trained":
            nca.save(makers.organism(makers.random_rule(number), name=name), folder / f"{name}.safetensors")
        elif status == "failed":
            (folder / "runs" / name).mkdir(parents=True)
            (folder / "runs" / name / "failed.txt").write_text("it exploded")
    described = {"format": 1, "recipes": recipes, "members": members, "versions": {"nca-dissection": "0.1"}}
    (folder / "population.json").write_text(json.dumps(described | changes))
    return folder


def changed(folder, change):
    """Change what a part's population.json says."""
    file = folder / "population.json"
    described = json.loads(file.read_text())
    change(described)
    file.write_text(json.dumps(described))


@pytest.mark.parametrize("all_listed", [True, False])
def test_the_parts_of_a_population_merge_to_one_folder(here, capsys, all_listed):
    folders = [population(Path(f"p{k}"), k) for k in (2, 1)]
    if not all_listed:
        for folder in folders:
            changed(folder, lambda d: d.update(members=[m for m in d["members"] if m["status"] != "waiting"]))
    assert nca_("merge", *folders, "--out", "all") == 0
    assert capsys.readouterr().out == "all\n"
    told = json.loads(Path("all/population.json").read_text())
    assert [m["seed"] for m in told["members"]] == [0, 1, 2, 3, 4]
    assert [m["status"] for m in told["members"]] == ["trained", "failed", *["trained"] * 3]
    assert [m["part"] for m in told["members"]] == ["1/2", "1/2", "2/2", "2/2", "2/2"]
    for number in (0, 2, 3, 4):
        name = f"lizard-growing-{number}"
        assert nca.load(f"all/{name}.safetensors").hash == makers.organism(makers.random_rule(number)).hash
    assert [m.status for m in read_table(Path("all"))] == ["trained", "failed", *["trained"] * 3]
    assert read_table(Path("all"))[1].why == "it exploded"
    assert len(list(Path("all").iterdir())) == 6


def waiting(described):
    described["members"][3]["status"] = "waiting"


def other_recipe(described):
    described["recipes"][4]["rate"] = 1.0


def outside(described):
    described["members"][2]["file"] = "../body.safetensors"


def twin(described):
    described["members"][2]["file"] = "lizard-growing-3.safetensors"
    described["members"][2]["name"] = "lizard-growing-3"


def elsewhere(described):
    described["members"][2]["name"] = "../body"


def split(described):
    for member in described["members"]:
        member["part"] = "2/3"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (waiting, r"1 of 5 members are missing or unfinished, of part 2/2; train them with --part"),
        (other_recipe, r"different populations: .* the recipe of member 4"),
        (lambda d: d["recipes"].append({}), "5 and 6 members|does not describe"),
        (lambda d: d.update(versions={"nca-dissection": "9"}), "nca-dissection 0.1 and p2 by 9"),
        (outside, "no file of its folder"),
        (elsewhere, "no name of a member"),
        (twin, "Two members have the name"),
        (split, "splits in 2 and 3 parts"),
        (lambda d: d.update(format=2), "newer version"),
        (lambda d: d.pop("members"), "does not describe a population"),
        (lambda d: d["members"][0].pop("part"), "does not describe a population"),
        (lambda d: d["members"][2].pop("status"), "does not describe a population"),
        (lambda _: Path("p2/lizard-growing-2.safetensors").unlink(), "is said to be trained"),
        (lambda _: Path("p2/lizard-growing-2.safetensors").write_text("x"), "not an organism"),
    ],
)
def test_parts_of_a_population_that_are_not_whole_are_refused(here, change, says):
    folders = [population(Path(f"p{k}"), k) for k in (1, 2)]
    changed(folders[1], change)
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError, match=says):
        merge_population(folders, Path("all"))
    assert sorted(Path().rglob("*")) == before


def test_a_population_s_part_missing_doubled_or_beside_a_sweep_is_refused(here, capsys):
    one, two = (population(Path(f"p{k}"), k) for k in (1, 2))
    with pytest.raises(UserError, match=r"3 of 5 members are missing or unfinished, of part 2/2"):
        merge_population([one], Path("all"))
    with pytest.raises(UserError, match=r"lizard-growing-0 came twice, from p1 and p1"):
        merge_population([one, one, two], Path("all"))
    with pytest.raises(UserError, match="p1 exists already"):
        merge_population([one, two], one)
    with pytest.raises(UserError, match="no folder nowhere"):
        merge_population([one, two], Path("nowhere/all"))
    with pytest.raises(UserError, match="no parts to merge"):
        merge_population([], Path("all"))
    Path("rows.jsonl").touch()
    assert nca_("merge", one, "rows.jsonl", "--out", "all") == 2
    assert "merge each kind by itself" in capsys.readouterr().err

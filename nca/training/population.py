"""The members of a population: their recipes, their files, and the table `population.json`.

population.json            recipes, and what became of each member
NAME.safetensors           an organism for each trained member
runs/NAME/                 the training run of each
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nca.errors import UserError
from nca.io import load, write
from nca.shards import Part, all_parts
from nca.training.checkpoint import read_config
from nca.training.config import REGIMES, TrainConfig
from nca.versions import versions

FORMAT = 1
TABLE = "population.json"
MAY_DIFFER = ("target", "regime", "seed", "start", "steps")
Status = Literal["trained", "failed", "waiting"]


@dataclass(frozen=True)
class Member:
    """One network of a population.

    Attributes:
        config: its recipe.
        home: the population's folder.
        status: trained, failed (it gave up) or waiting (not begun, or not done).
        why: what made it fail, in words.
        metrics: what its training measured.
        part: which part of the population it belongs to, k/n.
    """

    config: TrainConfig
    home: Path
    status: Status = "waiting"
    why: str = ""
    metrics: dict[str, Any] | None = None
    part: str = "1/1"

    @property
    def name(self) -> str:
        """TARGET-REGIME-SEED."""
        return f"{Path(self.config.target).stem}-{self.config.regime}-{self.config.seed}"

    @property
    def folder(self) -> Path:
        """Its training run."""
        return self.home / "runs" / self.name

    @property
    def file(self) -> Path:
        """Its organism."""
        return self.home / f"{self.name}.safetensors"


def recipes_of(
    config: TrainConfig,
    count: int,
    folder: Path,
    targets: Sequence[str] = (),
    regimes: Sequence[str] = (),
) -> list[TrainConfig]:
    """The recipes of a population, regime by regime, each target with seeds from the config's on.

    Args:
        config: what all share.
        count: seeds.
        folder: where the population will be; later regimes start from its earlier ones.
        targets: pictures; the config's if none.
        regimes: in order, each begun from the member of the regime before with the same target and
            seed; `REGIME:STEPS` gives a regime its own number of steps. The config's if none.

    Raises:
        UserError: there is none, a regime is unknown, or the seeds run out.
    """
    if count < 1:
        raise UserError(f"A population needs at least 1 seed, got {count}.")
    stages = [_stage(config, words) for words in regimes] or [(config.regime, config.steps)]
    if len({regime for regime, _ in stages}) < len(stages):
        raise UserError(f"Each regime can be trained once, got {' '.join(regimes)}.")
    recipes, before = [], ""
    for regime, steps in stages:
        for target in targets or (config.target,):
            for seed in range(config.seed, config.seed + count):
                one = replace(config, target=target, regime=regime, steps=steps, seed=seed)  # type: ignore[arg-type]
                start = config.start
                if before:
                    start = str(folder / f"{Path(target).stem}-{before}-{seed}.safetensors")
                elif start is not None and (Path(start) / TABLE).is_file():
                    start = str(_same_line(Path(start), target, seed))
                recipes.append(replace(one, start=start))
        before = regime
    return recipes


def _stage(config: TrainConfig, words: str) -> tuple[str, int]:
    regime, _, steps = words.partition(":")
    if regime not in REGIMES or (steps and not steps.isdecimal()):
        raise UserError(f"Regimes are {', '.join(REGIMES)}, with :STEPS after them; got {words!r}.")
    return regime, int(steps) if steps else config.steps


def _same_line(start: Path, target: str, seed: int) -> Path:
    """The last trained member of another population with this target and seed."""
    wanted = (Path(target).stem, seed)
    found = [
        m.file
        for m in read_table(start)
        if (Path(m.config.target).stem, m.config.seed) == wanted and m.status == "trained"
    ]
    if not found:
        raise UserError(f"{start} holds no trained member for {target} with seed {seed} to begin from.")
    return found[-1]


def parts_of(recipes: Sequence[TrainConfig], n: int) -> list[Part]:
    """To which of n parts each recipe belongs.

    A lineage (the same target and seed, regime after regime) is not divided, since each regime begins
    from the one before.

    Raises:
        UserError: fewer lineages than parts.
    """
    lines = list(dict.fromkeys((r.target, r.seed) for r in recipes))
    held = {lines[i]: part for part in all_parts(n) for i in part.of(len(lines))}
    return [held[r.target, r.seed] for r in recipes]


def check_alike(recipes: Sequence[TrainConfig]) -> None:
    """Raise `UserError` where recipes cannot be one population."""
    first = recipes[0].to_json()
    for recipe in recipes[1:]:
        other = recipe.to_json()
        differ = [k for k in first if first[k] != other[k] and k not in MAY_DIFFER]
        if differ:
            raise UserError(f"Members of a population share {', '.join(differ)}; train these by themselves.")
    names = [Member(r, Path()).name for r in recipes]
    if len(set(names)) < len(names):
        raise UserError("Two members of this population would have the same name: give other seeds.")


def members_of(recipes: Sequence[TrainConfig], home: Path, n: int = 1) -> list[Member]:
    """The members by their recipes, split in n parts, with what became of each so far."""
    parts = parts_of(recipes, n)
    pairs = zip(recipes, parts, strict=True)
    return [_as_it_stands(Member(recipe, home, part=str(part))) for recipe, part in pairs]


def _as_it_stands(member: Member) -> Member:
    given_up = member.folder / "failed.txt"
    if member.file.is_file():
        organism = load(member.file)
        known = {"steps": organism.provenance.get("steps"), **organism.metrics}
        return replace(member, status="trained", metrics=known)
    if given_up.is_file():
        return replace(member, status="failed", why=given_up.read_text().strip())
    return member


def write_table(home: Path, members: Sequence[Member]) -> None:
    """Write `population.json`, whole or not at all.

    Raises:
        UserError: the folder holds another population, or cannot be written.
    """
    recipes = [_described(m.config) for m in members]
    path = home / TABLE
    if path.is_file():
        before = _read(path)["recipes"]
        if before != recipes:
            raise UserError(f"{home} holds another population; name another folder, or train that one.")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {home}: {error.strerror}; choose another.") from error
    rows = [
        {
            "name": m.name,
            "file": m.file.name,
            "target": Path(m.config.target).name,
            "regime": m.config.regime,
            "seed": m.config.seed,
            "part": m.part,
            "status": m.status,
            "why": m.why,
            "metrics": m.metrics or {},
        }
        for m in members
    ]
    table = {"format": FORMAT, "recipes": recipes, "members": rows, "versions": versions()}
    write(path, json.dumps(table, indent=1) + "\n")


def _described(config: TrainConfig) -> dict[str, Any]:
    """A recipe without the places of files: a population may be moved."""
    start = None if config.start is None else Path(config.start).name
    described = config.to_json() | {"target": Path(config.target).name, "start": start}
    return json.loads(json.dumps(described))


def read_recipes(home: Path) -> list[TrainConfig]:
    """The recipes of the population in a folder, those that begin from others of it placed there.

    Raises:
        UserError: there is no population, or its table cannot be read.
    """
    recipes = [TrainConfig.from_json(r) for r in _read(home / TABLE)["recipes"]]
    own = {Member(r, home).file.name for r in recipes}
    return [_begun(Member(r, home), own) for r in recipes]


def _begun(member: Member, own: set[str]) -> TrainConfig:
    """A member's recipe with the place of what it begins from."""
    start = member.config.start
    if start in own:
        return replace(member.config, start=str(member.home / str(start)))
    if start is not None and (member.folder / "config.json").is_file():
        return read_config(member.folder)
    return member.config


def read_table(home: Path) -> list[Member]:
    """The members of the population in a folder, as its files stand.

    Raises:
        UserError: there is no population, or its table cannot be read.
    """
    recipes = read_recipes(home)
    n = max(int(str(one.get("part", "1/1")).partition("/")[2] or 1) for one in _read(home / TABLE)["members"])
    return members_of(recipes, home, n)


def _read(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text())
        if table["format"] != FORMAT or not isinstance(table["recipes"], list):
            raise ValueError(f"its format is {table['format']}, not {FORMAT}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the table of a population: {error}.") from error
    return table

"""The members of a population, and the only reader and writer of `population.json`.

population.json     the configurations, and the status of each member
NAME.safetensors    the organism of each trained member
runs/NAME/          the training run of each member

A shard of a population is a folder of the same kind, in which the members of other shards are waiting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nca.errors import UserError
from nca.files import DamagedError, read_bytes, read_json, reading, replace_folder, write_file
from nca.io import load
from nca.shards import Shard, all_shards, check_same_versions
from nca.training.config import CONFIG_FILE, REGIMES, TrainConfig, modern_config, read_config
from nca.versions import modern_keys, versions

POPULATION_FILE = "population.json"
Status = Literal["trained", "failed", "waiting"]
MAX_MEMBERS = 10_000
_FORMAT = 1
_MAY_DIFFER = ("target", "regime", "seed", "init_from", "steps")
_DONE = ("trained", "failed")


@dataclass(frozen=True)
class PopulationMember:
    """One network of a population.

    Attributes:
        config: its training configuration.
        home: the population's folder.
        status: trained, failed (training gave up) or waiting (not started, or not done).
        reason: why it failed.
        metrics: training steps and what was measured; None unless trained.
        shard: the shard of the population that it belongs to, k/n.
    """

    config: TrainConfig
    home: Path
    status: Status = "waiting"
    reason: str = ""
    metrics: Mapping[str, Any] | None = None
    shard: str = "1/1"

    @property
    def name(self) -> str:
        """TARGET-REGIME-SEED."""
        return self.config.run_name

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return self.home / "runs" / self.name

    @property
    def file(self) -> Path:
        """Its organism."""
        return self.home / f"{self.name}.safetensors"


# --- Which members there are ---


def population_configs(
    config: TrainConfig,
    count: int,
    folder: Path,
    targets: Sequence[Any] = (),
    regimes: Sequence[str] = (),
) -> list[TrainConfig]:
    """The configurations of a population: regime by regime, each target with `count` seeds.

    Args:
        config: what all members share; its seed is the first.
        count: number of seeds.
        folder: the population's folder, where later regimes find the organisms of earlier ones.
        targets: pictures; the config's if none.
        regimes: in order; each member starts from the member of the regime before with the same target and
            seed. `REGIME:STEPS` gives a regime its own number of steps. The config's if none.

    Raises:
        UserError: there are no seeds, a regime is unknown or repeated, or the population to start from has no
            member with the same target and seed.
    """
    networks = count * max(len(targets), 1) * max(len(regimes), 1)
    if count < 1 or networks > MAX_MEMBERS:
        raise UserError(f"A population has 1 to {MAX_MEMBERS} networks, seeds x targets x regimes; got {networks}.")
    stages: dict[str, int] = {}
    for stage in regimes or (config.regime,):
        regime, _, given = stage.partition(":")
        if regime not in REGIMES or (given and not given.isdecimal()):
            raise UserError(f"Regimes are {', '.join(REGIMES)}, each as REGIME or REGIME:STEPS; got {stage!r}.")
        if regime in stages:
            raise UserError(f"Each regime can be trained once, got {' '.join(regimes)}.")
        stages[regime] = int(given) if given else config.steps
    targets = [replace(config, target=target).target for target in targets]  # an array gets a name
    configs, previous = [], ""
    for regime, steps in stages.items():
        for target in targets or (config.target,):
            for seed in range(config.seed, config.seed + count):
                init_from = config.init_from
                if previous:
                    init_from = str(folder / f"{Path(target).stem}-{previous}-{seed}.safetensors")
                elif init_from is not None and (Path(init_from) / POPULATION_FILE).is_file():
                    init_from = str(_last_trained(Path(init_from), target, seed))
                fields: dict[str, Any] = {"target": target, "regime": regime, "steps": steps, "seed": seed}
                configs.append(replace(config, init_from=init_from, **fields))
        previous = regime
    return configs


def _last_trained(folder: Path, target: str, seed: int) -> Path:
    """The last trained member of another population with this target and seed."""
    lineage = (Path(target).stem, seed)
    files = [
        m.file
        for m in read_members(folder)
        if m.status == "trained" and (Path(m.config.target).stem, m.config.seed) == lineage
    ]
    if not files:
        raise UserError(f"{folder} holds no trained member for {target} with seed {seed} to start from.")
    return files[-1]


def population_members(configs: Sequence[TrainConfig], folder: Path, shards: int = 1) -> list[PopulationMember]:
    """The members of these configurations, split into shards, with the status that the folder's files show.

    A lineage (the same target and seed, regime after regime) belongs to one shard, since each regime starts
    from the one before.

    Raises:
        UserError: the configurations cannot be one population, or there are fewer lineages than shards.
    """
    _check_one_population(configs)
    lineages = list(dict.fromkeys((c.target, c.seed) for c in configs))
    Shard(1, shards).of(len(lineages))  # refuses more shards than lineages
    shard_of = {lineages[i]: shard for shard in all_shards(shards) for i in shard.of(len(lineages))}
    members = [PopulationMember(c, folder, shard=str(shard_of[c.target, c.seed])) for c in configs]
    return [_with_status(m) for m in members]


def _check_one_population(configs: Sequence[TrainConfig]) -> None:
    first = vars(configs[0])
    for config in configs[1:]:
        differ = [k for k, value in vars(config).items() if first[k] != value and k not in _MAY_DIFFER]
        if differ:
            raise UserError(f"Members of a population share {', '.join(differ)}; train these separately.")
    if len({c.run_name for c in configs}) < len(configs):
        raise UserError("Two members of this population would have the same name: give other seeds.")


def _with_status(member: PopulationMember) -> PopulationMember:
    if member.file.is_file():
        organism = load(member.file)
        metrics = {"steps": organism.provenance.get("steps"), **organism.metrics}
        return replace(member, status="trained", metrics=metrics)
    failure = member.folder / "failed.txt"
    if failure.is_file():
        reason = read_bytes(failure, 2**16).decode("utf-8", "replace").strip()
        return replace(member, status="failed", reason=reason)
    return member


# --- population.json ---


def write_population(members: Sequence[PopulationMember]) -> None:
    """Write `population.json` atomically.

    Raises:
        UserError: the folder holds another population, or cannot be written.
    """
    home = members[0].home
    path, configs = home / POPULATION_FILE, [_portable(m.config) for m in members]
    if path.is_file() and read_index(home)["configs"] != configs:
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
            "shard": m.shard,
            "status": m.status,
            "reason": m.reason,
            "metrics": m.metrics or {},
        }
        for m in members
    ]
    index = {"format": _FORMAT, "configs": configs, "members": rows, "versions": versions()}
    write_file(path, json.dumps(index, indent=1) + "\n")


def _portable(config: TrainConfig) -> dict[str, Any]:
    """A configuration with files by their names alone, since a population may be moved."""
    init_from = None if config.init_from is None else Path(config.init_from).name
    start = None if config.start is None else Path(config.start).name
    fields = config.to_json() | {"target": Path(config.target).name, "start": start, "init_from": init_from}
    return json.loads(json.dumps(fields))


def read_index(folder: Path) -> dict[str, Any]:
    """The contents of a folder's `population.json`, also as earlier versions wrote it.

    Returns:
        format, configs (fields of `TrainConfig`), members (rows with at least a name) and versions.

    Raises:
        UserError: there is no population, or its file cannot be read.
    """
    path = folder / POPULATION_FILE
    with reading(path, "does not describe a population (nca train --population writes it)"):
        index = modern_keys(read_json(path, dict), "population")
        if index["format"] > _FORMAT:
            raise UserError(f"{path} was written by a newer version (format {index['format']}).")
        index["configs"] = [modern_config(config) for config in index.get("configs") or []]
        index["members"] = [modern_keys(member, "member") for member in index["members"]]
        for member in index["members"]:
            member["metrics"] = modern_keys(member.get("metrics") or {}, "metrics")
        if not all(isinstance(member["name"], str) for member in index["members"]):
            raise DamagedError("a member has no name.")
        if len(index["members"]) > MAX_MEMBERS or len(index["configs"]) > MAX_MEMBERS:
            raise DamagedError(f"it lists more than {MAX_MEMBERS} members.")
        index["versions"] = dict(index.get("versions") or {})
    return index


def read_members(folder: Path) -> list[PopulationMember]:
    """The members of the population in a folder, with the status that its files show.

    Raises:
        UserError: there is no population, or its file cannot be read.
    """
    index = read_index(folder)
    with reading(folder / POPULATION_FILE, "does not describe a population"):
        configs = [TrainConfig.from_json(config) for config in index["configs"]]
        if not configs:
            raise DamagedError("it has no members.")
        own = {f"{c.run_name}.safetensors" for c in configs}
        shards = max((Shard.parse(member.get("shard", "1/1")).n for member in index["members"]), default=1)
    return population_members([_with_ancestor(PopulationMember(c, folder), own) for c in configs], folder, shards)


def _with_ancestor(member: PopulationMember, own: set[str]) -> TrainConfig:
    """A member's configuration with the path of the organism that it starts from."""
    init_from = member.config.init_from
    if init_from in own:
        return replace(member.config, init_from=str(member.home / str(init_from)))
    is_array = member.config.target.startswith("array-")
    if (init_from is not None or is_array) and (member.folder / CONFIG_FILE).is_file():
        return read_config(member.folder)
    return member.config


# --- Merging shards ---


@dataclass(frozen=True)
class _ShardFolder:
    """A folder with the members of some shards.

    Attributes:
        path: the folder.
        index: its population.json.
        done: rows of its trained and failed members, by number among the configurations.
        shards: into how many shards the population was split.
    """

    path: Path
    index: Mapping[str, Any]
    done: Mapping[int, Mapping[str, Any]]
    shards: int


def merge_population(folders: Sequence[Path], out: Path, *, allow_version_mismatch: bool = False) -> Path:
    """Write one folder of a population whose shards were trained apart; the shards stay as they are.

    Args:
        folders: the shards, in any order.
        out: the folder to write; it must be empty or not exist.
        allow_version_mismatch: allow shards trained by different versions of jax, flax or optax.

    Returns:
        The folder.

    Raises:
        UserError: a member is missing, unfinished or given twice, a file is missing or damaged, or the shards
            belong to different populations or versions. Nothing is written then.
    """
    shards = [_read_shard(folder) for folder in folders]
    if not shards:
        raise UserError("There are no shards to merge; name their folders.")
    if not out.absolute().parent.is_dir():
        raise UserError(f"There is no folder {out.parent}; make it, or choose another place.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already; name another folder for the merged population.")
    _check_same_population(shards)
    check_same_versions([(str(s.path), s.index["versions"]) for s in shards], allow_version_mismatch)
    sources = _source_folders(shards)
    rows = [dict(sources[number].done[number]) for number in sorted(sources)]
    for field in ("name", "file"):
        values = [row[field] for row in rows if row["status"] == "trained"]
        repeated = sorted({str(v) for v in values if values.count(v) > 1})
        if repeated:
            raise UserError(f"Two members have the {field} {repeated[0]!r}; they cannot share a folder.")
    merged = [{"versions": s.index["versions"]} for s in shards]
    _write_merged(sources, {**shards[0].index, "members": rows, "merged": merged}, out)
    return out


def _read_shard(folder: Path) -> _ShardFolder:
    """What a folder holds of a population; raises `UserError` where it cannot be merged."""
    index = read_index(folder)
    with reading(folder / POPULATION_FILE, "does not describe a population"):
        counts = {Shard.parse(row["shard"]).n for row in index["members"]}
        if len(counts) != 1:
            raise DamagedError("its members belong to different splits.")
        if len(index["members"]) != len(index["configs"]):
            raise DamagedError("it has not as many members as configurations.")
        done = {i: row for i, row in enumerate(index["members"]) if row["status"] in _DONE}
        for row in done.values():
            if row["status"] == "trained" and Path(str(row["file"])).name != row["file"]:
                raise DamagedError(f"{str(row['file'])[:80]!r} is no file of its folder.")
            if Path(row["name"]).name != row["name"]:
                raise DamagedError(f"{row['name'][:80]!r} is no name of a member.")
    return _ShardFolder(folder, index, done, counts.pop())


def _check_same_population(shards: Sequence[_ShardFolder]) -> None:
    first = shards[0]
    for other in shards[1:]:
        ours, theirs = first.index["configs"], other.index["configs"]
        if len(ours) != len(theirs):
            difference = f"{len(ours)} and {len(theirs)} members"
        elif ours != theirs:
            number = next(i for i, config in enumerate(ours) if config != theirs[i])
            difference = f"the configuration of member {number}"
        elif first.shards != other.shards:
            difference = f"splits in {first.shards} and {other.shards} shards"
        else:
            continue
        raise UserError(
            f"Shards of different populations: {first.path} and {other.path} differ in {difference}; merge the "
            "shards of one population."
        )


def _source_folders(shards: Sequence[_ShardFolder]) -> dict[int, _ShardFolder]:
    """The folder that holds each member; raises unless every member is done in exactly one of them."""
    sources: dict[int, _ShardFolder] = {}
    for shard in shards:
        for number, row in shard.done.items():
            if number in sources:
                raise UserError(
                    f"{row['name']} was given twice, in {sources[number].path} and {shard.path}; give each shard once."
                )
            sources[number] = shard
    members = shards[0].index["members"]
    missing = sorted({Shard.parse(row["shard"]) for i, row in enumerate(members) if i not in sources})
    if missing:
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise UserError(
            f"{len(members) - len(sources)} of {len(members)} members are missing or unfinished, of shard "
            f"{', '.join(map(str, missing[:6]))}{more}; train them with --shard (and --resume to continue), then "
            "merge again: the other shards stay as they are."
        )
    return sources


def _write_merged(sources: Mapping[int, _ShardFolder], index: Mapping[str, Any], out: Path) -> None:
    """Write the merged folder."""
    with replace_folder(out) as temporary:
        for number, shard in sources.items():
            row = shard.done[number]
            if row["status"] == "trained":
                source = shard.path / row["file"]
                if not source.is_file():
                    raise UserError(f"{row['name']} is listed as trained, but {source} is missing.")
                load(source)  # a damaged file is not merged
                write_file(temporary / row["file"], source.read_bytes())
                continue
            failure = Path("runs") / row["name"] / "failed.txt"
            if (shard.path / failure).is_file():
                (temporary / failure.parent).mkdir(parents=True)
                write_file(temporary / failure, (shard.path / failure).read_bytes())
        write_file(temporary / POPULATION_FILE, json.dumps(index, indent=1) + "\n")

"""A population: a folder of networks, which of them share ancestors, and which enter the statistics."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from analysis import metrics
from analysis.lineage import lineages, same_training_run, training_step
from analysis.report.format import number
from analysis.rollouts import grow_runs, run_keys
from nca.errors import UserError
from nca.io import bundled, load
from nca.organism import Organism
from nca.progress import Log, silent
from nca.training.config import REGIMES
from nca.training.population import POPULATION_FILE, read_index

_SUFFIX = ".safetensors"
_COMPARED_SINGLY = 4  # organisms of a folder without an index that are no population yet
MAX_LOG_MSE = -2.7  # log10 MSE that a grown body must reach, the project's own rule for a good network
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Member:
    """One network of a population.

    Attributes:
        organism: what grows.
        target: what it was trained to grow.
        regime: how it was trained: growing, persistent, regenerating or unknown.
        seed: the seed of its training, where known.
        lineage: the independent line of networks that it belongs to.
    """

    organism: Organism
    target: str = UNKNOWN
    regime: str = UNKNOWN
    seed: int | None = None
    lineage: str = ""

    @property
    def name(self) -> str:
        """The organism's name, unique in its population."""
        return self.organism.name


@dataclass(frozen=True)
class Population:
    """A folder of networks.

    Attributes:
        name: the folder's name.
        members: those that can be examined, by regime and lineage.
        missing: by name, why a member that the folder lists cannot be examined.
        versions: of the packages that trained them, where the folder says so.
    """

    name: str
    members: Sequence[Member]
    missing: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def regimes(self) -> list[str]:
        """The regimes of its members, in the order of training."""
        present = {member.regime for member in self.members}
        return [regime for regime in (*REGIMES, UNKNOWN) if regime in present]


def read_population(folder: str | Path) -> Population:
    """The population in a folder.

    Args:
        folder: with a population.json, as `nca train --population` writes it, or just organism files.

    Raises:
        UserError: no organism in it, or a population.json that does not describe a population.
    """
    folder = Path(folder)
    name = folder.name or folder.resolve().name
    if not (folder / POPULATION_FILE).is_file():
        files = sorted(folder.glob(f"*{_SUFFIX}"))
        if not files:
            raise UserError(f"The folder {folder} holds no organism (a {_SUFFIX} file).")
        return Population(name, _with_lineages([_member(load(file), {}) for file in files]))
    index = read_index(folder)
    members, missing = [], {}
    for entry in index["members"]:
        reason = _why_missing(folder, entry)
        if reason:
            missing[str(entry["name"])] = reason
        else:
            members.append(_member(load(folder / entry["file"]).rename(str(entry["name"])), entry))
    if not members:
        reasons = "; ".join(f"{k}: {v}" for k, v in list(missing.items())[:3]) or "it lists no member"
        raise UserError(f"The population {folder} has no trained member yet ({reasons}).")
    return Population(name, _with_lineages(members), missing, index["versions"])


def _why_missing(folder: Path, entry: Mapping[str, Any]) -> str:
    """Why a listed member cannot be examined; empty where it can."""
    status, file = entry.get("status", "trained"), entry.get("file")
    if status == "failed":
        return f"its training failed ({entry['reason']})" if entry.get("reason") else "its training failed"
    if status != "trained":
        return "it is not trained yet"
    if not isinstance(file, str) or Path(file).name != file or not file.endswith(_SUFFIX):
        return f"population.json names no {_SUFFIX} file of this folder for it"
    return "" if (folder / file).is_file() else f"its file {file} is missing"


def _member(organism: Organism, entry: Mapping[str, Any]) -> Member:
    """A member by the population's entry, and where that is silent by its own training configuration."""
    config = organism.provenance.get("config")
    entries = {**(config if isinstance(config, Mapping) else {}), **{k: v for k, v in entry.items() if v}}
    seed = entry["seed"] if entry.get("seed") is not None else entries.get("seed")
    return Member(
        organism,
        str(entries.get("target") or UNKNOWN),
        str(entries["regime"]) if entries.get("regime") in REGIMES else UNKNOWN,
        seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
    )


def _with_lineages(members: Sequence[Member]) -> list[Member]:
    """Members under unique names, with their lineages, sorted by regime, target and seed.

    Networks are of one lineage if one was trained on from another or from the same one, and if they have target and
    seed in common, which begins them with the same weights.
    """
    same = [None if m.seed is None or m.target == UNKNOWN else (m.target, m.seed) for m in members]
    organisms = [m.organism for m in members]
    named = zip(
        members, _with_unique_names(organisms), _lineage_labels(members, lineages(organisms, same)), strict=True
    )
    labelled = [replace(member, organism=organism, lineage=label) for member, organism, label in named]
    return sorted(labelled, key=lambda m: ((*REGIMES, UNKNOWN).index(m.regime), m.target, m.seed or 0))


def _lineage_labels(members: Sequence[Member], groups: Sequence[int]) -> list[str]:
    """A label for each member's lineage: the seed its members share, with the target where there are several."""
    several_targets = len({m.target for m in members}) > 1
    labels: dict[int, str] = {}
    for group in dict.fromkeys(groups):
        inside = [m for m, g in zip(members, groups, strict=True) if g == group]
        seeds, first = {m.seed for m in inside}, inside[0]
        if len(seeds) > 1 or None in seeds:
            label = first.name
        else:
            label = f"{first.target}, seed {first.seed}" if several_targets else f"seed {first.seed}"
        taken = sum(v == label or v.startswith(f"{label} (") for v in labels.values())
        labels[group] = f"{label} ({taken + 1})" if taken else label
    return [labels[group] for group in groups]


def _with_unique_names(organisms: Sequence[Organism]) -> list[Organism]:
    """Organisms of which the second of a name is called NAME (2), and so on."""
    names = [organism.name for organism in organisms]
    counts = [names[: n + 1].count(name) for n, name in enumerate(names)]
    return [o.rename(f"{o.name} ({n})") if n > 1 else o for o, n in zip(organisms, counts, strict=True)]


# Populations and organisms by what was typed on the command line


def _organism_folder(source: str) -> Path | None:
    """The folder of organisms that a name or path means; None if it means something else."""
    if source in bundled():
        return None
    shipped = Path(str(resources.files("nca") / "organisms" / source))
    if source and Path(source).name == source and os.path.isfile(shipped / POPULATION_FILE):
        return shipped
    return Path(source) if source and os.path.isdir(source) else None


def find_population(sources: Sequence[str]) -> Population | None:
    """The population that the sources name, or None if they name organisms.

    A folder with a population.json is a population, and so is a folder of more than four organisms that are not
    the snapshots of one training run; other organisms are examined side by side.

    Raises:
        UserError: a folder without organisms, or a population.json that does not describe a population.
    """
    folder = _organism_folder(sources[0]) if len(sources) == 1 else None
    if folder is None:
        return None
    if (folder / POPULATION_FILE).is_file():
        return read_population(folder)
    if len(list(folder.glob(f"*{_SUFFIX}"))) <= _COMPARED_SINGLY:
        return None
    population = read_population(folder)
    return None if same_training_run(_by_training_step([m.organism for m in population.members])) else population


def find_organisms(sources: Sequence[str]) -> list[Organism]:
    """The organisms that are named, under unique names; those of a folder in the order of their training.

    Raises:
        UserError: none is named, or a folder without organisms.
    """
    if not sources:
        raise UserError("At least one organism is needed; nca organisms lists the bundled ones.")
    organisms: list[Organism] = []
    for source in sources:
        folder = _organism_folder(source)
        if folder is None:
            organisms.append(find_organism(source))
        else:
            organisms += _by_training_step([m.organism for m in read_population(folder).members])
    return _with_unique_names(organisms)


def _by_training_step(organisms: Sequence[Organism]) -> list[Organism]:
    steps = [training_step(organism) for organism in organisms]
    order = np.argsort([-1 if step is None else step for step in steps], kind="stable")
    return [organisms[n] for n in order]


def find_organism(source: str, command: str = "") -> Organism:
    """The organism that is named.

    Args:
        source: a bundled name, a file, or a member of a population as POPULATION/MEMBER.
        command: what takes one organism only, such as "nca view", for the error about a folder.

    Raises:
        UserError: there is none, or a folder of several.
    """
    folder = _organism_folder(source)
    if folder is not None and ((folder / POPULATION_FILE).is_file() or any(folder.glob(f"*{_SUFFIX}"))):
        members = read_population(folder).members
        raise UserError(
            f"{command or 'This'} takes one organism, and {source} holds {len(members)}: name one of them, "
            f"such as {source.rstrip('/')}/{members[0].name}."
        )
    parent, _, name = source.rpartition("/")
    folder = _organism_folder(parent) if parent and not os.path.isfile(source) else None
    if folder is None or not (folder / POPULATION_FILE).is_file():
        return load(source)
    organisms = {m.name: m.organism for m in read_population(folder).members}
    if name not in organisms:
        names = ", ".join(list(organisms)[:6]) + (" ..." if len(organisms) > 6 else "")
        raise UserError(f"The population {parent} has no member {name!r}; it has {names}.")
    return organisms[name]


# Which members enter the statistics


@dataclass(frozen=True, eq=False)
class GrownMember:
    """A member with what it grows, and whether it enters the statistics.

    Attributes:
        member: the network.
        step: the step it was grown to.
        log_mse: log10 MSE to the target at that step, median over runs; NaN without a target or after an explosion.
        run_log_mse: that of every run.
        mature_cells: median over runs.
        states: what grew.
        exclusion: why it does not enter the statistics; empty where it does.
    """

    member: Member
    step: int
    log_mse: float
    run_log_mse: Float[np.ndarray, " run"]
    mature_cells: float
    states: Float[np.ndarray, "run y x channel"]
    exclusion: str = ""

    @property
    def included(self) -> bool:
        """Whether it enters the statistics."""
        return not self.exclusion


def grow_members(
    members: Sequence[Member],
    step: int,
    *,
    max_log_mse: float = MAX_LOG_MSE,
    runs: int = 4,
    seed: int = 0,
    log: Log = silent,
) -> list[GrownMember]:
    """Grow every member and decide whether it enters the statistics.

    Args:
        members: the networks.
        step: at which they are measured.
        max_log_mse: largest log10 MSE (as on 72x72 cells) with which a network is included.
        runs: over which its median is taken.
        seed: of the runs' keys.
        log: receives the progress.
    """
    keys, grown = run_keys(seed, runs), []
    for member in members:
        log(f"growing {member.name} to step {step}")
        organism, exclusion = member.organism, ""
        states = np.asarray(grow_runs(organism, step, keys))
        cells = float(np.median(metrics.mature_count(organism.rule, states)))
        log_mse = _log_mse(organism, states)
        median = float(np.median(log_mse))
        if organism.target is None:
            exclusion = "it has no target, so that its log10 MSE is not defined"
        elif not np.isfinite(median):
            exclusion = f"it has exploded by step {step}"
        elif cells < 1:
            exclusion = f"it has no body at step {step}"
        elif median > max_log_mse:
            exclusion = f"its log10 MSE at step {step} is {number(median)}, above {number(max_log_mse)}"
        grown.append(GrownMember(member, step, median, log_mse, cells, states, exclusion))
    return grown


def _log_mse(organism: Organism, states: np.ndarray) -> np.ndarray:
    """That of every run; NaN without a target or after an explosion."""
    target = organism.padded_target((states.shape[1], states.shape[2]))
    if target is None:
        return np.full(len(states), np.nan)
    values = metrics.log_mse(metrics.mse(organism.rule.spec, states, jnp.asarray(target)))
    return np.where(np.asarray(metrics.exploded(states)), np.nan, np.asarray(values, float))

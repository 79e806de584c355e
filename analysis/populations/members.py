"""A population: a folder of organisms, who begat whom, and who is good enough to count."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from analysis import metrics
from analysis.lineage import lineages
from analysis.progress import Log
from analysis.report import format
from analysis.rollouts import grow_runs, run_keys
from nca.errors import UserError
from nca.io import read
from nca.organism import Organism
from nca.training.config import REGIMES

FILE, INDEX = ".safetensors", "population.json"
LIMIT = -2.7  # L that a grown body must reach, the project's own rule for a good network
ADULT, PUBLISHED = 200, 96
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Member:
    """One network of a population.

    Attributes:
        organism: what grows.
        target: what it was trained to grow.
        regime: how it was trained: growing, persistent, regenerating or unknown.
        seed: what its training followed from, where known.
        lineage: which independent line of networks it belongs to.
    """

    organism: Organism
    target: str = UNKNOWN
    regime: str = UNKNOWN
    seed: int | None = None
    lineage: str = ""

    @property
    def name(self) -> str:
        """What to call it."""
        return self.organism.name


@dataclass(frozen=True)
class Population:
    """A folder of networks.

    Attributes:
        name: what to call it.
        members: those that can be examined, in the order of regimes and lineages.
        missing: by name, why a member that the folder lists cannot be examined.
        versions: what they were trained by, where the folder says so.
    """

    name: str
    members: Sequence[Member]
    missing: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def regimes(self) -> list[str]:
        """The regimes of its members, in the order of training."""
        have = {m.regime for m in self.members}
        return [r for r in (*REGIMES, UNKNOWN) if r in have]


def members(folder: str | Path) -> Population:
    """The population in a folder.

    Args:
        folder: with a population.json, as `nca train --population` writes it, or just organism files.

    Raises:
        UserError: no organism in it, or a population.json that is none.
    """
    folder = Path(folder)
    name = folder.name or folder.resolve().name
    if not (folder / INDEX).is_file():
        files = sorted(folder.glob(f"*{FILE}"))
        if not files:
            raise UserError(f"The folder {folder} holds no organism (a {FILE} file).")
        return Population(name, told_apart([described(read(f), {}) for f in files]))
    index = read_index(folder / INDEX)
    found, missing = [], {}
    for entry in index["members"]:
        listed, why = str(entry["name"]), unavailable(folder, entry)
        if why:
            missing[listed] = why
        else:
            found.append(described(read(folder / entry["file"]).renamed(listed), entry))
    if not found:
        reasons = "; ".join(f"{k}: {v}" for k, v in list(missing.items())[:3]) or "it lists no member"
        raise UserError(f"The population {folder} has no trained member yet ({reasons}).")
    return Population(name, told_apart(found), missing, index.get("versions") or {})


def read_index(path: Path) -> dict[str, Any]:
    """What population.json says, or `UserError`."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        entries = index["members"]
        good = isinstance(entries, list) and all(isinstance(e, dict) and "name" in e for e in entries)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} does not describe a population: {type(error).__name__} {error}.") from error
    if not good or index.get("format") != 1:
        raise UserError(
            f"{path} does not describe a population of format 1 (a list of members with names); "
            "it is written by nca train --population."
        )
    return dict(index)


def unavailable(folder: Path, entry: Mapping[str, Any]) -> str:
    """Why a listed member cannot be examined; empty where it can."""
    status, file = entry.get("status", "trained"), entry.get("file")
    if status != "trained":
        why = f" ({entry['why']})" if entry.get("why") else ""
        return f"its training failed{why}" if status == "failed" else "it is not trained yet"
    if not isinstance(file, str) or Path(file).name != file or not file.endswith(FILE):
        return f"population.json names no {FILE} file of this folder for it"
    return "" if (folder / file).is_file() else f"its file {file} is missing"


def described(organism: Organism, entry: Mapping[str, Any]) -> Member:
    """A member by what the population says of it, else by its own recipe."""
    recipe = organism.provenance.get("config")
    known = {**(recipe if isinstance(recipe, Mapping) else {}), **{k: v for k, v in entry.items() if v}}
    known |= {"seed": entry["seed"]} if entry.get("seed") is not None else {}
    regime, seed = known.get("regime"), known.get("seed")
    return Member(
        organism,
        str(known.get("target") or UNKNOWN),
        str(regime) if regime in REGIMES else UNKNOWN,
        seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
    )


def told_apart(found: Sequence[Member]) -> list[Member]:
    """Members under names of their own, with their lineages, by regime and then by lineage.

    Networks are of one lineage if one was trained on from another or from the same one, and if they
    have target and seed in common, which begins them with the same weights.
    """
    same = [None if m.seed is None or m.target == UNKNOWN else (m.target, m.seed) for m in found]
    groups = lineages([m.organism for m in found], same)
    labels = _labels(found, groups)
    used: dict[str, int] = {}
    named = []
    for m, label in zip(found, labels, strict=True):
        used[m.name] = used.get(m.name, 0) + 1
        again = f" ({used[m.name]})" if used[m.name] > 1 else ""
        own = m.organism.renamed(m.name + again)
        named.append(Member(own, m.target, m.regime, m.seed, label))
    order = (*REGIMES, UNKNOWN)
    return sorted(named, key=lambda m: (order.index(m.regime), m.target, m.seed or 0))


def _labels(found: Sequence[Member], groups: Sequence[int]) -> list[str]:
    """What to call each lineage: the seed its members share, with the target where there are several."""
    many = len({m.target for m in found}) > 1
    called: dict[int, str] = {}
    for group in dict.fromkeys(groups):
        inside = [m for m, g in zip(found, groups, strict=True) if g == group]
        seeds, first = {m.seed for m in inside}, inside[0]
        label = first.name if len(seeds) > 1 or None in seeds else f"seed {first.seed}"
        label = f"{first.target}, {label}" if many and label.startswith("seed") else label
        taken = sum(v == label or v.startswith(f"{label} (") for v in called.values())
        called[group] = f"{label} ({taken + 1})" if taken else label
    return [called[g] for g in groups]


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a member counts.

    Attributes:
        member: who.
        at: the step at which it was looked at.
        error: L at that step, median over keys; NaN without a target or after an explosion.
        keys: L of every key.
        cells: mature cells, median over keys.
        states: what grew, (run, y, x, channel).
        why: why it does not count; empty where it does.
    """

    member: Member
    at: int
    error: float
    keys: np.ndarray
    cells: float
    states: np.ndarray
    why: str = ""

    @property
    def admitted(self) -> bool:
        """Whether it enters the statistics."""
        return not self.why


def admitted(
    found: Sequence[Member],
    limit: float = LIMIT,
    at: int = ADULT,
    *,
    runs: int = 4,
    seed: int = 0,
    say: Log | None = None,
) -> list[Verdict]:
    """Grow every member and say who is good enough to enter the statistics.

    Args:
        found: the members.
        limit: largest L (log10 of the error to the target, as on 72x72 cells) with which one counts.
        at: step at which L is measured.
        runs: keys that its median is taken over.
        seed: what the keys follow from.
        say: is told who grows.
    """
    keys, verdicts = run_keys(seed, runs), []
    for member in found:
        if say is not None:
            say(f"growing {member.name} to step {at}")
        organism = member.organism
        states = np.asarray(grow_runs(organism, at, keys))
        cells = float(np.median(np.asarray(metrics.mature_count(organism.rule, states))))
        errors = _errors(organism, states)
        known = errors[np.isfinite(errors)]
        middle = float(np.median(known)) if len(known) == runs else float("nan")
        why = _excluded(organism, middle, cells, limit, at)
        verdicts.append(Verdict(member, at, middle, errors, cells, states, why))
    return verdicts


def _errors(organism: Organism, states: np.ndarray) -> np.ndarray:
    """L of every run."""
    target = organism.picture((states.shape[1], states.shape[2]))
    if target is None:
        return np.full(len(states), np.nan)
    found = metrics.log_mse(metrics.mse(organism.rule.spec, states, jnp.asarray(target)))
    return np.where(np.asarray(metrics.exploded(states)), np.nan, np.asarray(found, float))


def _excluded(organism: Organism, error: float, cells: float, limit: float, at: int) -> str:
    if organism.target is None:
        return "it has no target, so that its L is not defined"
    if not np.isfinite(error):
        return f"it has exploded by step {at}"
    if cells < 1:
        return f"it has no body at step {at}"
    if error > limit:
        return f"its L at step {at} is {format.number(error)}, above {format.number(limit)}"
    return ""

"""`nca train`: one organism or a population, on one device, all of a machine, or several machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from analysis.cli.basic import say, tell
from nca.errors import UserError
from nca.training.config import TrainConfig


# The one record here that extends another: so that the recipe's fields are this command's options.
@dataclass(frozen=True)
class Train(TrainConfig):
    """Train an organism, or a population of them, and measure what is reached.

    Several devices share the batch of one organism, or the members of a population. Several machines
    do so too, with the same words and --coordinator in each.

    Attributes:
        target: a drawing's name (see `nca targets`), a picture file, or an emoji character.
        start: organism (name or file) whose weights to begin from.
        out: folder of the run; runs/TARGET-REGIME-SEED if none.
        resume: go on where the run in the folder stopped, by its own recipe.
        measure: roll-outs that the result is measured on; 0 leaves that out.
        population: train that many, with seeds from --seed on; 0 trains one organism.
        targets: of a population: several pictures, each with all seeds.
        regimes: of a population: several regimes in order, each begun from the members of the one
            before; REGIME:STEPS gives one its own number of steps.
        part: of a population: train only part k/n of its lineages; nca merge puts parts together.
        coordinator: HOST:PORT of the first of several processes that train together, or auto where a
            scheduler says it.
        processes: how many train together.
        process: which of them this is, from 0.
    """

    target: Annotated[Positional[str], arg(metavar="TARGET")] = "lizard"
    start: Annotated[str | None, arg(name="from")] = None
    out: Path | None = None
    resume: bool = False
    measure: int = 8
    population: int = 0
    targets: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    part: str = ""
    coordinator: str = ""
    processes: int | None = None
    process: int | None = None


def train(command: Train) -> None:
    """Train, measure, save what was measured, say where it is."""
    if command.measure < 0:
        raise UserError(f"measure must not be negative, got {command.measure}.")
    if command.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    together = command.coordinator or command.processes is not None or command.process is not None
    if together:
        from nca.training import devices

        devices.join(command.coordinator or "auto", command.processes, command.process)
    try:
        (train_several if command.population else train_one)(command)
    except UserError as error:
        if together:  # the others may be gone, and jax would wait for them in vain
            devices.leave(str(error))
        raise


def train_one(command: Train) -> None:
    """One organism."""
    from nca import io as files
    from nca.training import devices
    from nca.training.loop import train as trained
    from nca.training.snapshots import run_name

    alone = [name for name in ("targets", "regimes", "part") if getattr(command, name)]
    if alone:
        raise UserError(f"--{alone[0]} is for a population: say how many seeds with --population N.")
    config = recipe(command)
    folder = command.out or Path("runs") / run_name(config)
    with stopped(folder / "state.safetensors", folder):
        organism = trained(config, folder, resume=command.resume, say=say)
    if not devices.first():
        return
    if command.measure:
        organism = measured(organism, command.measure)
    tell(f"{files.save(organism, folder / 'organism.safetensors')}")


def train_several(command: Train) -> None:
    """A population."""
    from nca.shards import Part
    from nca.training import devices
    from nca.training.population import TABLE, read_recipes, recipes_of
    from nca.training.population_loop import train_population

    folder = command.out or Path("runs") / f"{Path(command.target).stem}-population"
    if command.resume:
        recipes = read_recipes(folder)
    else:
        recipes = recipes_of(recipe(command), command.population, folder, command.targets, command.regimes)
    part = Part.parse(command.part) if command.part else None
    with stopped(folder / TABLE, folder, f" --population {command.population}"):
        members = train_population(recipes, folder, resume=command.resume, part=part, say=say)
    if command.measure and devices.first():
        members = measured_members(members, command.measure, part)
    tell(table_of(members))
    tell(str(folder / TABLE))


@contextmanager
def stopped(saved: Path, folder: Path, more: str = "") -> Iterator[None]:
    """Say how to go on where training is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        hint = f"stopped; go on with: nca train --resume{more} --out {folder}"
        raise KeyboardInterrupt(hint if saved.is_file() else "stopped") from None


def recipe(command: Train) -> TrainConfig:
    """The training config that a command asks for: resumed runs go by their own."""
    asked = {f.name: getattr(command, f.name) for f in fields(TrainConfig)}
    if not command.resume or command.out is None:
        return TrainConfig(**asked)
    from nca.training.checkpoint import read_config

    usual = {f.name: f.default for f in fields(TrainConfig)}
    changed = {name: value for name, value in asked.items() if value != usual[name]}
    return replace(read_config(command.out), **changed)


def measured(organism: Any, runs: int) -> Any:
    """The organism with its report card among its metrics, which is told as well."""
    from analysis.assays.regeneration.regeneration import report_card
    from analysis.cli import tables

    say(f"measuring {organism.name} on {runs} roll-outs")
    card = report_card(organism, runs=runs)
    tell(tables.aligned(tables.measured(card)))
    return replace(organism, metrics={**organism.metrics, **card})


def measured_members(members: Sequence[Any], runs: int, part: Any) -> list[Any]:
    """The members, those trained here with their report cards."""
    from nca import io as files
    from nca.training.population import members_of, write_table

    for member in members:
        if member.status == "trained" and (part is None or member.part == str(part)):
            organism = files.load(member.file)
            if "log10_error" not in organism.metrics:
                files.save(measured(organism, runs), member.file)
    n = int(members[0].part.partition("/")[2])
    again = members_of([m.config for m in members], members[0].home, n)
    write_table(members[0].home, again)
    return again


def table_of(members: Sequence[Any]) -> str:
    """A line for each member: what became of it, and what it reaches."""
    from analysis.cli import tables

    rows = [("member", "status", "steps", "L at 96", "L at 200", "why")]
    for member in members:
        known = member.metrics or {}
        errors = known.get("log10_error", {})
        reached = [f"{errors[at]:+.2f}" if errors.get(at) is not None else "-" for at in ("96", "200")]
        rows.append((member.name, member.status, str(known.get("steps", "-")), *reached, member.why))
    return tables.columns(rows)

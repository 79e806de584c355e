"""`nca train`: one organism or a population, on one device, on all of a machine, or on several machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, Suppress, arg

from analysis.cli.info import metrics_pairs
from analysis.cli.output import format_pairs, format_table, log_line, print_result
from nca.errors import UserError
from nca.training.config import TrackerName, TrainConfig, read_config
from nca.versions import OLD_KEYS

if TYPE_CHECKING:
    from nca.organism import Organism
    from nca.shards import Shard
    from nca.training.population import PopulationMember

RENAMED_OPTIONS = {
    f"--{old.replace('_', '-')}": f"--{new.replace('_', '-')}"
    for old, new in OLD_KEYS["config"].items()
    if old != "start"  # which is another option now
} | {"--from": "--init-from", "--measure": "--eval-runs", "--part": "--shard"}


# The one record here that extends another, so that the fields of the configuration are options of this command.
@dataclass(frozen=True)
class Train(TrainConfig):
    """Train an organism, or a population of them, and measure the result.

    By default the organism regenerates: it is trained in stages by the fast recipe. A picture of 40 cells takes about
    25 minutes on two CPU cores. --recipe published sets every option to the recipe of Mordvintsev et al. (2020).

    Several devices share the batch of one organism, or the members of a population. To train on several
    machines, run the same command on each with --coordinator.

    Attributes:
        target: a drawing's name (see `nca targets`), a picture file, or an emoji character.
        recipe: fast or published; it sets the defaults of all other options.
        out: the run folder; runs/TARGET-REGIME-SEED if none.
        resume: continue the run in the folder; options that differ from their defaults replace those of the run.
        minutes: minutes of training, instead of --steps: as many training steps are taken as fit in them here.
        eval_runs: runs on which the result is measured; 0 skips the measurement.
        population: number of seeds, from --seed on: one network is trained for each seed, target and regime; 0 trains
            a single organism.
        targets: of a population: several pictures, each with all seeds.
        regimes: of a population: several regimes in order, each starting from the members of the one
            before; REGIME:STEPS gives a regime its own number of steps.
        log_to: also log metrics and pictures to TensorBoard or Weights & Biases (wandb), in the run folder; wandb
            sends nothing unless WANDB_MODE is online.
        shard: of a population: train only shard k/n of its lineages; nca merge joins the shards.
        coordinator: HOST:PORT of the first of several processes that train together, or auto where a
            scheduler knows it.
        processes: number of processes that train together.
        process: which of them this is, from 0.
    """

    target: Annotated[Positional[str], arg(metavar="TARGET")] = "lizard"
    loss: Annotated[None, Suppress] = None
    recipe: Literal["fast", "published"] = "fast"
    out: Path | None = None
    resume: bool = False
    minutes: float = 0
    eval_runs: int = 8
    population: int = 0
    targets: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    log_to: TrackerName = "none"
    shard: str = ""
    coordinator: str = ""
    processes: int | None = None
    process: int | None = None

    @classmethod
    def defaults(cls, words: Sequence[str]) -> Train:
        """The record of a command without other options than the recipe that the words name."""
        options = " ".join(words).replace("=", " ").split()
        is_published = ("--recipe", "published") in pairwise(options)
        return cls.published(recipe="published") if is_published else cls()

    def execute(self) -> None:
        """Train, measure, save, print where the result is."""
        if self.eval_runs < 0:
            raise UserError(f"eval_runs must not be negative, got {self.eval_runs}.")
        if self.deterministic:
            flags = os.environ.get("XLA_FLAGS", "")
            os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
        from nca.training import devices

        is_shared = self.coordinator or self.processes is not None or self.process is not None
        processes = (self.coordinator or "auto", self.processes, self.process)
        with devices.join_processes(*processes) if is_shared else nullcontext():
            (_train_population if self.population else _train_one)(self)


def _train_one(command: Train) -> None:
    import jax

    from nca.io import save
    from nca.training.loop import train

    of_population = [name for name in ("targets", "regimes", "shard") if getattr(command, name)]
    if of_population:
        raise UserError(f"--{of_population[0]} is for a population: give the number of seeds with --population N.")
    if not 0 <= command.minutes < float("inf"):
        raise UserError(f"--minutes must be 0 (for --steps) or a number above it, got {command.minutes}.")
    if command.minutes and command.resume:
        raise UserError("--minutes sets the steps of a new run; continue a run with --resume and, for more, --steps.")
    config = _config(command)
    folder = command.out or Path("runs") / config.run_name
    with _resume_hint(folder / "state.safetensors", f"--out {folder}"):
        how: Any = {"resume": command.resume, "log": log_line, "log_to": command.log_to}
        organism = train(config, folder, minutes=command.minutes, **how)
    if jax.process_index() > 0:
        return
    if command.out and folder.name:
        organism = organism.rename(folder.name)
    if command.eval_runs:
        organism = _measure(organism, command.eval_runs)
        print_result(_summarise(organism))
    print_result(str(save(organism, folder / "organism.safetensors")))


def _train_population(command: Train) -> None:
    import jax

    from nca.shards import Shard
    from nca.training.loop import train_population
    from nca.training.population import POPULATION_FILE, population_configs, read_members

    folder = command.out or Path("runs") / f"{Path(command.target).stem}-population"
    if command.resume:
        configs = [member.config for member in read_members(folder)]
    else:
        configs = population_configs(_config(command), command.population, folder, command.targets, command.regimes)
    shard = Shard.parse(command.shard) if command.shard else None
    if command.minutes:
        raise UserError("--minutes is for a single organism; a population takes --steps, or --regimes REGIME:STEPS.")
    with _resume_hint(folder / POPULATION_FILE, f"--population {command.population} --out {folder}"):
        how: Any = {"resume": command.resume, "log": log_line, "log_to": command.log_to}
        members = train_population(configs, folder, shard=shard, **how)
    if command.eval_runs and jax.process_index() == 0:
        members = _measure_members(members, command.eval_runs, shard)
    rows: list[tuple[str, ...]] = [("member", "status", "steps", "log10 MSE at 96", "at 200", "reason")]
    for member in members:
        metrics = member.metrics or {}
        log_mse = metrics.get("log10_mse", {})
        values = [f"{log_mse[step]:+.2f}" if log_mse.get(step) is not None else "-" for step in ("96", "200")]
        rows.append((member.name, member.status, str(metrics.get("steps", "-")), *values, member.reason))
    print_result(format_table(rows))
    print_result(str(folder / POPULATION_FILE))


def _config(command: Train) -> TrainConfig:
    """The training configuration of a command; a resumed run has its own, changed where an option was given."""
    values = {f.name: getattr(command, f.name) for f in fields(TrainConfig)}
    if not command.resume or command.out is None:
        return TrainConfig(**values)
    defaults = TrainConfig.published() if command.recipe == "published" else TrainConfig()
    given = {name: value for name, value in values.items() if value != getattr(defaults, name)}
    return replace(read_config(command.out), **given)


@contextmanager
def _resume_hint(saved: Path, options: str) -> Iterator[None]:
    """Say how to continue where training is interrupted and something was saved."""
    try:
        yield
    except KeyboardInterrupt:
        hint = f"stopped; continue with: nca train --resume {options}"
        raise KeyboardInterrupt(hint if saved.is_file() else "stopped") from None


def _measure(organism: Organism, runs: int) -> Organism:
    """The organism with its report card among its metrics; prints the card."""
    from analysis.assays.regeneration.cuts import report_card
    from nca.progress import Progress

    log_line(f"measuring {organism.name} on {runs} runs: growth to step 2,000, and recovery from five cuts at step 200")
    progress = Progress(log_line)
    progress.start(f"measuring {organism.name}", runs * (200 + 7 * 500) + 2 * 1800)
    card = report_card(organism, runs=runs, tick=progress.tick)
    progress.close()
    print_result(format_pairs(metrics_pairs(card)))
    return replace(organism, metrics={**organism.metrics, **card})


def _summarise(organism: Organism) -> str:
    """What a measured organism reaches, in two sentences."""
    mse, cuts = organism.metrics["log10_mse"], organism.metrics["recovered"].values()
    known = [step for step in ("96", "200", "2000") if mse.get(step) is not None]
    reached = ", ".join(f"{mse[step]:.2f} at step {step}" for step in known)
    text = f"{organism.name}: log10 MSE {reached} (at -3.5 a picture is hard to tell from its target)."
    if all(cut["median"] is None for cut in cuts):
        return f"{text} It has no body left at step 700, so that recovery from cuts is not defined."
    healed = sum((cut["median"] or 0) >= 0.9 for cut in cuts)
    return f"{text} It recovers 90 % or more of the damage within 500 steps after {healed} of {len(cuts)} cuts."


def _measure_members(members: Sequence[PopulationMember], runs: int, shard: Shard | None) -> list[PopulationMember]:
    """The members, those that were trained here with their report cards."""
    from nca.io import load, save
    from nca.training.population import population_members, write_population

    for member in members:
        if member.status == "trained" and (shard is None or member.shard == str(shard)):
            organism = load(member.file)
            if "log10_mse" not in organism.metrics:
                save(_measure(organism, runs), member.file)
    count = int(members[0].shard.partition("/")[2])
    members = population_members([m.config for m in members], members[0].home, count)
    write_population(members)
    return members

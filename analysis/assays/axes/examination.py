"""Everything that the axes protocol computes of one organism, before a word is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from analysis import metrics
from analysis.assays.axes import protocol as axes
from analysis.assays.axes.config import AxesConfig
from analysis.recording import label_states, record
from analysis.rollouts import grow_runs as grow_many
from analysis.rollouts import run_keys
from nca.errors import UserError
from nca.organism import Organism

Say = Callable[[str], None]
PARTS = (
    "components", "repeats", "tests", "across", "controls", "code",
    "shuffled", "course", "steering", "subspaces", "turned", "turned_state",
)  # fmt: skip


@dataclass(frozen=True)
class Axes:
    """What was found of one organism; a part that was not examined is an empty Dataset, hence False.

    Attributes:
        organism: what was examined.
        config: how.
        recording: every state of the first run up to the grown body.
        components: `axes.pca` of it.
        repeats: `axes.pca` of all runs at the grown step, those without a body left out.
        tests: `axes.position_tests`: A0, A1, A2.
        across: `axes.across_runs`: A1 run by run.
        controls: `axes.controls`: A3.
        code: `axes.code_direction`: A5's part of one network.
        shuffled: `axes.against_shuffled`: A4.
        course: `axes.course`.
        steering: `axes.steering`: A6.
        subspaces: `axes.subspaces`: A6.
        turned: `axes.turned_growth`: A7.
        turned_state: `axes.turned_state`: A7.
        skipped: why a part was not examined, by its name.
        seconds: how long it took.
    """

    organism: Organism
    config: AxesConfig
    recording: xr.Dataset
    components: xr.Dataset = field(default_factory=xr.Dataset)
    repeats: xr.Dataset = field(default_factory=xr.Dataset)
    tests: xr.Dataset = field(default_factory=xr.Dataset)
    across: xr.Dataset = field(default_factory=xr.Dataset)
    controls: xr.Dataset = field(default_factory=xr.Dataset)
    code: xr.Dataset = field(default_factory=xr.Dataset)
    shuffled: xr.Dataset = field(default_factory=xr.Dataset)
    course: xr.Dataset = field(default_factory=xr.Dataset)
    steering: xr.Dataset = field(default_factory=xr.Dataset)
    subspaces: xr.Dataset = field(default_factory=xr.Dataset)
    turned: xr.Dataset = field(default_factory=xr.Dataset)
    turned_state: xr.Dataset = field(default_factory=xr.Dataset)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def training_step(self) -> int | None:
        """How long its network has been trained in its last run, where that is known."""
        return trained_for(self.organism)


def trained_for(organism: Organism) -> int | None:
    """Training steps of an organism's last run, where they are known."""
    steps = organism.provenance.get("steps")
    return steps if isinstance(steps, int) and not isinstance(steps, bool) else None


def examine_axes(
    organism: Organism,
    config: AxesConfig | None = None,
    *,
    recording: xr.Dataset | None = None,
    states: Any = None,
    say: Say | None = None,
) -> Axes:
    """Examine the axes of one organism, as far as the config asks.

    Args:
        organism: what to examine.
        config: how.
        recording: every state of run 0 of the config's seed up to its grown step, if there is one.
        states: all runs at that step, (run, y, x, channel), if there are any.
        say: is told the part that begins.
    """
    config, say = config or AxesConfig(), say or (lambda _: None)
    begun, keys = time.monotonic(), run_keys(config.seed, config.runs)
    if recording is None:
        say(f"{organism.name}: growing")
        recording = record(organism, config.steps, seed=config.seed)
    if states is None:
        states = np.asarray(grow_many(organism, config.steps, keys))
    job = _Job(organism, config, recording, np.asarray(states), keys, say)
    found, skipped = _parts(job)
    seconds = time.monotonic() - begun
    return Axes(organism, config, recording, skipped=skipped, seconds=seconds, **found)


@dataclass(frozen=True)
class _Job:
    organism: Organism
    config: AxesConfig
    recording: xr.Dataset
    states: np.ndarray
    keys: Any
    say: Say


def _parts(job: _Job) -> tuple[dict[str, xr.Dataset], dict[str, str]]:
    """Part by part; what one needs and has not got, it says."""
    found: dict[str, xr.Dataset] = {}
    skipped: dict[str, str] = {}
    trouble = _no_body(job)
    for name, wanted, needs, work in _plan(job, found):
        if not wanted:
            continue
        reason = trouble or skipped.get(needs, "")
        if not reason:
            job.say(f"{job.organism.name}: {WORDS[name]}")
            try:
                found[name] = work()
                continue
            except UserError as error:
                reason = str(error)
        skipped[name] = reason
    return found, skipped


WORDS = {
    "components": "principal components",
    "repeats": "principal components of all runs",
    "tests": "gradients and decoders beside surrogates",
    "across": "decoders run by run",
    "controls": "decoders from shape and colour",
    "code": "the direction of the code",
    "shuffled": "rules with shuffled weights",
    "course": "the time course",
    "steering": "pushes along the code",
    "subspaces": "states without the code",
    "turned": "growth with a turned compass",
    "turned_state": "turned bodies",
}


def _plan(job: _Job, found: dict[str, xr.Dataset]) -> list[tuple[str, bool, str, Callable[[], xr.Dataset]]]:
    """Each part: its name, whether it is asked for, the part it needs, and the work."""
    organism, config, recording = job.organism, job.config, job.recording
    drawn: dict[str, Any] = {"surrogates": config.surrogates, "deals": config.deals, "seed": config.seed}
    hidden = any(str(n).startswith("h") for n in recording.channel.values)
    how: dict[str, Any] = {"channels": config.channels if hidden else "all", "scaling": config.scaling}
    again = _whole(job)

    def pushed(part: Callable[..., xr.Dataset], randoms: int) -> xr.Dataset:
        who = axes.subject(organism, job.states[:2], job.keys[:2], start=config.steps, horizon=config.horizon)
        return part(who, randoms=randoms, seed=config.seed)

    def own() -> tuple[xr.Dataset, xr.Dataset]:
        return recording, found["components"]

    return [
        ("components", True, "", lambda: axes.pca(recording, at=config.steps, **how)),
        ("repeats", True, "components", lambda: axes.pca(again, **how)),
        ("tests", True, "components", lambda: axes.position_tests(*own(), **drawn)),
        ("across", True, "repeats", lambda: axes.across_runs(again, found["repeats"], deals=config.deals)),
        ("controls", True, "components", lambda: axes.controls(*own(), **drawn)),
        ("code", True, "components", lambda: axes.code_direction(*own(), **drawn)),
        (
            "shuffled",
            config.permutations > 0,
            "components",
            lambda: axes.against_shuffled(
                organism, *own(), job.keys[0], permutations=config.permutations, seed=config.seed
            ),
        ),
        (
            "course",
            config.course > 0,
            "components",
            lambda: axes.course(*own(), surrogates=config.course, seed=config.seed),
        ),
        ("steering", config.randoms > 0, "", lambda: pushed(axes.steering, config.randoms)),
        (
            "subspaces",
            config.randoms > 0,
            "steering",
            lambda: pushed(axes.subspaces, max(19, config.randoms // 2)),
        ),
        (
            "turned",
            bool(config.angles),
            "",
            lambda: axes.turned_growth(organism, config.steps, job.keys[:2], angles=config.angles),
        ),
        (
            "turned_state",
            bool(config.angles),
            "",
            lambda: axes.turned_state(organism, job.states[:2], job.keys[:2], start=config.steps),
        ),
    ]


def _no_body(job: _Job) -> str:
    """Why the first run cannot be examined; empty if it can."""
    step, state = job.config.steps, job.states[0]
    if int(metrics.mature_count(job.organism.rule, state)) == 0:
        return f"There is no body to examine: at step {step} run 0 has no mature cell."
    if bool(metrics.exploded(state)):
        return f"There is no body to examine: at step {step} run 0 has exploded (a value beyond 1,000)."
    return ""


def _whole(job: _Job) -> xr.Dataset:
    """All runs at the grown step whose body is in order, the first at least."""
    cells = np.asarray(metrics.mature_count(job.organism.rule, job.states))
    whole = (cells >= axes.LEAST_CELLS) & ~np.asarray(metrics.exploded(job.states))
    whole[0] = True
    return label_states(job.organism, job.states[whole][:, None], steps=[job.config.steps])

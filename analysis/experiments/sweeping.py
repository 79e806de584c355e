"""A sweep: experiments x runs x horizons as one labelled table, each row paired with its control.

Experiments of one kind (sites, modes, shapes of values) share one compiled program, whatever their
channel, dose, region or window; runs follow one another on as many threads as there are cores (side
by side on an accelerator), and a run that overgrows or explodes stops there.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from analysis.experiments import metrics
from analysis.experiments.progress import Progress
from analysis.experiments.rollouts import STRETCH, grown, keys_of
from analysis.experiments.sweeps import Row, Twins, follow, twins
from nca.edits import Edit
from nca.errors import UserError
from nca.files import write
from nca.growth import replay
from nca.organism import Organism

Experiments = Mapping[str, Edit | Sequence[Edit]] | Sequence[Edit]
METRICS = ("fitness", "log_error", "worse", "e", "mature")
Say = Callable[[str], None]


def sweep(
    organism: Organism,
    edits: Experiments,
    metrics: Sequence[str] = ("fitness", "log_error", "worse"),
    runs: int = 8,
    seed: int = 0,
    *,
    start: int = 0,
    horizons: Sequence[int] = (200,),
    untouched: bool = False,
    store: str | Path | None = None,
    say: Say | None = None,
) -> pd.DataFrame:
    """Make every experiment on every run, and measure it beside the undisturbed run of the same key.

    Args:
        organism: what grows.
        edits: experiments by name, each an edit or several that act together; or a plain list.
        metrics: of fitness (W), log_error (L), worse (the rise of L over the control's), e (E), mature
            (cells of the body).
        runs: keys.
        seed: what the keys follow from.
        start: the step that runs continue from; what comes before is grown once for all.
        horizons: steps after `start`, ascending, at which rows are measured.
        untouched: allow experiments that change nothing.
        store: a .jsonl file that finished rows are added to; rows found there are not made again.
        say: is told the progress and the time left.

    Returns:
        A row per experiment, run and horizon: experiment, run, step; the metrics (NaN: not defined);
        overgrown and exploded, the step where the run was stopped, -1 for never; fired_cells and
        fired_most, how many cells the edits change at the first step at which they act, and by how
        much at most.

    Raises:
        UserError: an unknown metric, horizons that do not ascend, or an experiment that touches
            nothing.
    """
    named = by_name(edits)
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown or not metrics:
        raise UserError(f"Metrics are of {', '.join(METRICS)}; got {', '.join(unknown) or 'none'}.")
    if not horizons or list(horizons) != sorted(set(horizons)) or min(horizons) < 1:
        raise UserError(f"Horizons are ascending steps after the start, got {list(horizons)}.")
    progress = Progress(say or (lambda line: None), steps_of(len(named), runs, start, horizons))
    controls = _controls(organism, runs, seed, start, horizons, progress)
    fired = {name: firing(organism, controls, acting) for name, acting in named.items()}
    idle = [name for name, (cells, _) in fired.items() if not cells.any()]
    if idle and not untouched:
        raise UserError(
            f"{len(idle)} of {len(named)} experiments touch nothing (first: {idle[0]}); mend their channels, "
            "region or steps, or ask for untouched=True."
        )
    rows = [Row(run, acting) for acting in named.values() for run in range(runs)]
    found = kept_rows(organism, controls, rows, Store(store, organism, seed, controls), progress)
    return _table(organism, controls, list(named), metrics, found, fired, horizons)


def by_name(edits: Experiments) -> dict[str, tuple[Edit, ...]]:
    """The experiments, each as a tuple of edits that act together."""
    if not isinstance(edits, Mapping):
        edits = {str(number): edit for number, edit in enumerate(edits)}
    if not edits:
        raise UserError("A sweep needs at least one experiment, got none.")
    return {
        str(name): (acting,) if isinstance(acting, Edit) else tuple(acting) for name, acting in edits.items()
    }


def steps_of(experiments: int, runs: int, start: int, horizons: Sequence[int]) -> int:
    """Steps that a sweep takes at most."""
    return runs * (start + (experiments + 1) * max(horizons))


def _controls(
    organism: Organism, runs: int, seed: int, start: int, horizons: Sequence[int], progress: Progress
) -> Twins:
    progress.stage = "undisturbed runs"
    keys = keys_of(seed, runs)
    states = grown(organism, start, keys, tick=progress.tick)
    ticks = range(start, start + max(horizons), STRETCH)
    return twins(organism, states, keys, sorted({*ticks, *(start + h for h in horizons)}), tick=progress.tick)


def firing(organism: Organism, controls: Twins, acting: Sequence[Edit]) -> tuple[np.ndarray, np.ndarray]:
    """Cells that edits change at the first step at which they act, and the largest change, by run.

    That step is replayed from the undisturbed run, which the edited one equals until then.
    """
    begun = int(controls.marks[0])
    first = max(begun, min(int(e.first) for e in acting))
    states = controls.states
    if first > begun:
        states = grown(organism, first - begun, controls.keys, states=states, start=begun)
    cells, most = [], []
    for state, key in zip(states, controls.keys, strict=True):
        plain = replay(organism, state, first, key=key)
        edited = replay(organism, state, first, key=key, edits=acting)
        changes = [
            np.abs(np.asarray(edited[site], np.float32) - np.asarray(plain[site], np.float32))
            for site in {e.site for e in acting}
        ]
        size = np.stack([c.reshape(*c.shape[:2], -1).max(-1) for c in changes]).max(0)
        cells.append(int((size > 0).sum()))
        most.append(float(size.max()))
    return np.asarray(cells), np.asarray(most)


@dataclass
class Store:
    """Finished rows in a file, one JSON object a line, found again by what determines them."""

    path: str | Path | None
    organism: Organism
    seed: int
    controls: Twins

    def __post_init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        if self.path is None:
            return
        try:
            Path(self.path).touch()
            text = Path(self.path).read_text()
            if text and not text.endswith("\n"):  # it was interrupted while it wrote
                text = text[: text.rfind("\n") + 1]
                write(self.path, text)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot keep rows in {self.path}: {error}; choose another file.") from error
        for line in text.splitlines():
            try:
                row = json.loads(line)
                self.known[row["key"]] = row["found"]
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{self.path} holds no rows of a sweep; name another file.") from None

    def key(self, row: Row) -> str:
        """What determines a row, in forty hex digits."""
        digest = hashlib.sha1(self.organism.hash.encode())
        digest.update(json.dumps([self.seed, row.run, self.controls.marks.tolist()]).encode())
        for edit in row.edits:
            digest.update(f"{edit.site} {edit.mode} {edit.region is None}".encode())
            for leaf in jax.tree.leaves(edit):
                digest.update(np.ascontiguousarray(leaf).tobytes() + str(np.shape(leaf)).encode())
        return digest.hexdigest()

    def add(self, key: str, found: dict[str, Any]) -> None:
        """Keep a finished row."""
        if self.path is not None:
            with self.lock, Path(self.path).open("a") as file:
                file.write(json.dumps({"key": key, "found": found}) + "\n")


def kept_rows(
    organism: Organism, controls: Twins, rows: Sequence[Row], store: Store, progress: Progress
) -> list[dict[str, Any]]:
    """Every row's measures at the marks, made or found again."""
    progress.stage = "experiments"
    keys = [store.key(row) for row in rows] if store.path is not None else [""] * len(rows)
    found: list[Any] = [store.known.get(key) for key in keys]
    whole = int(controls.marks[-1] - controls.marks[0])
    todo = [j for j, row in enumerate(found) if row is None]
    progress.tick(whole * (len(rows) - len(todo)))

    def done(number: int, measured: dict[str, np.ndarray]) -> None:
        j = todo[number]
        found[j] = {k: np.asarray(v).tolist() for k, v in measured.items()}
        store.add(keys[j], found[j])

    if todo:
        follow(organism, controls, [rows[j] for j in todo], progress.tick, done=done, ends=False)
    return found


def _table(
    organism: Organism,
    controls: Twins,
    names: Sequence[str],
    wanted: Sequence[str],
    found: Sequence[dict[str, Any]],
    fired: Mapping[str, tuple[np.ndarray, np.ndarray]],
    horizons: Sequence[int],
) -> pd.DataFrame:
    at = np.searchsorted(controls.marks, controls.marks[0] + np.asarray(horizons))
    runs = len(controls.states)
    e = np.asarray([row["e"] for row in found])[:, at].reshape(len(names), runs, -1)
    mature = np.asarray([row["mature"] for row in found])[:, at].reshape(e.shape)
    alone, dead = controls.e[:, at], controls.dead[:, at]
    values = {
        "e": e,
        "mature": mature,
        "fitness": np.asarray(metrics.fitness(jnp.asarray(e), alone, dead)),
        "log_error": np.asarray(metrics.log_error(e)),
    }
    values["worse"] = values["log_error"] - np.asarray(metrics.log_error(alone))
    index = pd.MultiIndex.from_product(
        [names, range(runs), (int(controls.marks[0]) + np.asarray(horizons)).tolist()],
        names=["experiment", "run", "step"],
    )
    frame = pd.DataFrame({name: values[name].ravel() for name in wanted}, index=index).reset_index()
    for flag in ("overgrown", "exploded"):
        frame[flag] = np.repeat([int(row[flag]) for row in found], len(horizons))
    for k, name in enumerate(("fired_cells", "fired_most")):
        frame[name] = np.repeat(np.concatenate([fired[n][k] for n in names]), len(horizons))
    return frame

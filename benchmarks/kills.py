"""Commands that are killed or interrupted at random moments: whether anything is lost, and whether the result changes.

    python -m benchmarks.kills --kills 200           kill -9, at random moments and at random writes to the disk
    python -m benchmarks.kills --interrupts 60       Ctrl-C in the first 5 s

Each command runs once undisturbed. Then it is killed one to four times in a row and started again as a user would,
and what it has written when it ends is compared with what the undisturbed one wrote. A fixed seed draws the same
moments again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import tyro

ROOT = Path(__file__).parents[1]
SECONDS = 5.0  # after which nobody is interrupted
TRAIN = (
    "train flag --regime growing --size 6 --margin 2 --channels 5 --hidden-size 4 --pool-size 4 --batch-size 2 "
    "--min-steps 4 --max-steps 4 --steps 30 --save-every 5 --log-every 3 --plot-every 0 --snapshots 10 --eval-runs 0 "
    "--dense"
)
SWEEP = "--channels r h0 --mode add --doses 0.1 0.2 --runs 2 --adult-step 4 --eval-steps 8"
_DISTURBED = (
    "import sys; from helpers.training import die_at; left = die_at(int(sys.argv[1])); "
    "from analysis.cli.__main__ import run; sys.argv[1:2] = []; code = run(); print(-left[0]); sys.exit(code)"
)
_INTERRUPTED = ["training"] * 4 + ["film", "report"]
_CHECKPOINTS = {"training": "run/state.safetensors", "population": "pop/population.json"}  # then --resume
_TIMED = ("sweep.json", "summary.json", "report.html")  # hold durations
_NOTE = "notes.txt"  # a user's own, in a folder that is replaced


@dataclass(frozen=True)
class Options:
    """Kill commands, or interrupt them.

    Attributes:
        kills: number of processes killed.
        interrupts: number of processes interrupted instead.
        only: which of the commands; each in turn if none is named.
        seed: of the moments.
    """

    kills: int = 200
    interrupts: int = 0
    only: tuple[str, ...] = ()
    seed: int = 0


class Undisturbed(NamedTuple):
    """What an undisturbed command wrote, by path, in which time, and the moments before and after its writes."""

    files: dict[str, bytes]
    seconds: float
    moments: int


def commands(base: Path) -> dict[str, list[str]]:
    """The words of each command, which may read what those before it wrote undisturbed, in `base` under their names."""
    organism = str(base / "training/run/organism.safetensors")
    sweep = ["sweep", organism, *SWEEP.split(), "--out", "s", "--shard"]
    pca = ["pca", organism, "--adult-step", "8", "--out", "report"]
    return {
        "training": [*TRAIN.split(), "--out", "run"],
        "population": [*TRAIN.split(), "--population", "2", "--out", "pop"],
        "sweep": [*sweep, "1/2"],
        "other shard": [*sweep, "2/2"],
        "merge": ["merge", str(base / "sweep/s"), str(base / "other shard/s"), "--out", "m"],
        "report": pca,
        "replaced report": [*pca, "--force"],
        "film": ["grow", organism, "--steps", "8", "--out", "film.gif"],
    }


def start(folder: Path, words: list[str], die_at: int | None = None) -> subprocess.Popen[str]:
    """A command in a process of its own; it dies at that write to the disk, or prints how many there were."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    environment = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | environment
    program = ["-m", "analysis.cli"] if die_at is None else ["-c", _DISTURBED, str(die_at)]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *program, *words], cwd=folder, env=environment, **pipes)


def files_in(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their paths: empty where they hold durations, rows of a sweep in one order."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    for path in files:
        if Path(path).name in _TIMED:
            files[path] = b""
        elif Path(path).name.startswith("rows"):  # threads finish them in any order
            files[path] = b"\n".join(sorted(files[path].split(b"\n")))
    return files


class Trials:
    """Commands, what they wrote undisturbed, and what was counted."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.seed, self.commands = base, seed, commands(base)
        self.undisturbed: dict[str, Undisturbed] = {}
        self.counts, self.failures = Counter[str](), 0

    def prepare(self, name: str) -> None:
        """Run a command undisturbed, twice: the first time it is compiled, the second it is measured."""
        for folder in ("compiled", name):
            at, begun = self._folder(folder, name), time.monotonic()
            out, err = (process := start(at, self.commands[name], 10**9)).communicate()
            if process.returncode:
                raise RuntimeError(f"{name}: {err}")
            seconds = time.monotonic() - begun
        self.undisturbed[name] = Undisturbed(files_in(at), seconds, 10**9 + int(out.split()[-1]))
        shutil.rmtree(self.base / "compiled")

    def _folder(self, folder: str, name: str) -> Path:
        """A new folder for a command."""
        (self.base / folder).mkdir()
        if name == "replaced report":
            shutil.copytree(self.base / "report", self.base / folder, dirs_exist_ok=True)
            (self.base / folder / "report" / _NOTE).write_text("mine")
        return self.base / folder

    def _words(self, name: str, folder: Path) -> list[str]:
        """The words with which a user starts a command, or starts it again."""
        is_resumed = name in _CHECKPOINTS and (folder / _CHECKPOINTS[name]).is_file()
        return [*self.commands[name], *(["--resume"] if is_resumed else [])]

    def kill(self, name: str, number: int, kills: int) -> int:
        """Kill a command up to so many times in a row, let it end, compare; returns how often it was killed."""
        rng, usual = np.random.default_rng([self.seed, number]), self.undisturbed[name]
        folder = self._folder("it", name)
        killed, seen = 0, set[str]()
        while True:
            at_write = bool(killed < kills and usual.moments and rng.integers(2))
            die_at = int(rng.integers(1, usual.moments + 1)) if at_write else None
            process = start(folder, self._words(name, folder), die_at)
            if killed < kills and not at_write:
                _wait(process, rng.uniform(0, usual.seconds))
                process.kill()
            _, err = process.communicate()
            if process.returncode != -signal.SIGKILL:
                break
            killed += 1
            self.counts.update({"kills": 1, "inside the work": int(any(folder.iterdir())), "at a write": int(at_write)})
            seen |= self._check_complete(f"{name} {number}", folder)
        self._compare(f"{name} {number}", name, folder, seen, *self._end(name, folder, process.returncode, err))
        return killed

    def _end(self, name: str, folder: Path, code: int, err: str) -> tuple[int, str]:
        """How a command ends that was refused because its result is complete: once more, and then it replaces it."""
        if code != 2 or "--force" not in err:
            return code, err
        self.counts["complete already"] += 1
        _, err = (process := start(folder, [*self._words(name, folder), "--force"])).communicate()
        return process.returncode, err

    def _check_complete(self, trial: str, folder: Path) -> set[str]:
        """Files that a kill left, all of which must be complete; returns their paths."""
        usual, left = self.undisturbed[trial.rpartition(" ")[0]].files, files_in(folder)
        visible = {path for path in left if not _is_hidden(path)}
        for path in visible:
            if not _is_complete(path, left[path], usual.get(path, b"")):
                self._fail(trial, "half written", path)
        return visible

    def _compare(self, trial: str, name: str, folder: Path, seen: set[str], code: int, err: str) -> None:
        """Compare what a command that has ended wrote with what it wrote undisturbed."""
        usual, now = self.undisturbed[name].files, files_in(folder)
        hidden = [str(path.relative_to(folder)) for path in folder.rglob(".*")]
        if code:
            self._fail(trial, "not continued", f"exit code {code}, {err[-300:]}")
        elif lost := (seen | usual.keys()) - now.keys():
            self._fail(trial, "lost", *sorted(lost))
        elif differing := [path for path in now if now[path] != usual.get(path) and not _is_hidden(path)]:
            self._fail(trial, "differing", *differing)
        if hidden:
            self._fail(trial, "hidden left", *hidden)
        shutil.rmtree(folder)

    def interrupt(self, name: str, number: int) -> None:
        """Press Ctrl-C once, let a command be continued, compare."""
        rng, trial, folder = np.random.default_rng([self.seed, number]), f"{name} {number}", self._folder("it", name)
        process = start(folder, self._words(name, folder))
        moment = rng.uniform(0, min(SECONDS, self.undisturbed[name].seconds))
        if _wait(process, moment):
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
            is_ours = str(ROOT) in err or "nca: " in err
            self.counts.update({"interrupts": 1, "before the first line": int(process.returncode != 0 and not is_ours)})
            lines = [line for line in err.splitlines() if line.startswith("nca: ")]
            if process.returncode and is_ours and (process.returncode != 130 or "Traceback" in err or len(lines) != 1):
                self._fail(trial, "unclear", f"at {moment:.2f} s: exit code {process.returncode}, {err[-600:]}")
        else:
            process.communicate()
            self.counts["ended before"] += 1
        seen = self._check_complete(trial, folder)
        process = start(folder, self._words(name, folder))
        _, err = process.communicate()
        self._compare(trial, name, folder, seen, *self._end(name, folder, process.returncode, err))

    def _fail(self, trial: str, kind: str, *what: str) -> None:
        self.counts[kind] += 1
        self.failures += 1
        print(f"{trial}: {kind}: {', '.join(what)}", flush=True)


def _is_complete(path: str, left: bytes, usual: bytes) -> bool:
    """Whether a file is as usual; or can be read, where it is written more than once; or holds some of the rows."""
    if path.endswith(".jsonl"):
        return all(any(line.startswith(row) for line in usual.split(b"\n")) for row in left.split(b"\n"))
    try:
        return left == usual or bool(
            safetensors.numpy.load(left) if path.endswith(".safetensors") else json.loads(left)
        )
    except (ValueError, safetensors.SafetensorError):
        return False


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in Path(path).parts)


def _wait(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait so long; whether the process still runs."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def main() -> int:
    """Kill or interrupt; prints what failed and the counts."""
    options, begun = tyro.cli(Options), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/cache")
        trials, number = Trials(Path(folder), options.seed), 0
        names = [*options.only] or (_INTERRUPTED if options.interrupts else list(trials.commands))
        for name in trials.commands:
            trials.prepare(name)
        while trials.counts["kills"] + trials.counts["interrupts"] < (options.interrupts or options.kills):
            name = names[number % len(names)]
            if options.interrupts:
                trials.interrupt(name, number)
            else:
                trials.kill(name, number, min(number // len(names) % 4 + 1, options.kills - trials.counts["kills"]))
            number += 1
            print(f"{number} {name}: {dict(trials.counts)}", file=sys.stderr)
    print(", ".join(f"{name} {count}" for name, count in trials.counts.items()), f"in {time.monotonic() - begun:.0f} s")
    return bool(trials.failures)


if __name__ == "__main__":
    sys.exit(main())

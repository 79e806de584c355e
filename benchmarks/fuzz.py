"""Damaged files and wrong words: whether each ends in one sentence, soon, and in little memory.

    python -m benchmarks.fuzz --files 10000      small valid files of every format, each changed at random, are read
    python -m benchmarks.fuzz --words            command lines with a mistake

A fixed seed gives the same files again. Another process reads them, so that one that hangs or crashes is counted too.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import tyro

ROOT = Path(__file__).parents[1]
LIMIT = 20  # seconds after which a file counts as one that hangs
_POSITIONAL = ("organism", "donor", "file", "target", "shards")
_NUMBERS = (0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
_VALUES = (
    *(None, True, {}, [], "", "x", "a\0b", -1, 0, 1e308, 2**31, 2**63, 10**400, "../../etc/passwd", [[]], {"": None}),
    *("x" * 5000, [0] * 1000),
)


@dataclass(frozen=True)
class Options:
    """Read damaged files, or try wrong command lines.

    Attributes:
        files: number of files.
        seed: of what is changed in them.
        words: try command lines instead.
    """

    files: int = 10_000
    seed: int = 0
    words: bool = False


@dataclass(frozen=True)
class Case:
    """A format.

    Attributes:
        files: its files as they should be, by their path in a folder.
        changed: which of them are damaged, one at a time.
        read: reads them from a folder, or raises.
    """

    files: Mapping[str, bytes]
    changed: tuple[str, ...]
    read: Callable[[Path], Any]


# --- The formats ---


def cases() -> dict[str, Case]:
    """Every format that the project reads, by name."""
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers import authors

    layers = authors.network(0, 15, 5, hidden=(6,))
    made = {
        f"{name} file": Case({f"file.{suffix}": writer(layers)}, (f"file.{suffix}",), _imported(f"file.{suffix}"))
        for name, (suffix, writer) in authors.WRITERS.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        made |= _own_cases(Path(folder))
    web = made["web file"].files["file.json"]
    conventions = json.dumps({"fire_rate": 0.5, "threshold": 0.1, "canvas": [9, 9]}).encode()
    sidecar = "file.json.conventions.json"
    made["conventions"] = Case({"file.json": web, sidecar: conventions}, (sidecar,), _imported("file.json"))
    return made


def _imported(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from nca.interop.importing import build_organism, open_weights

        return build_organism(open_weights(folder / name))

    return read


def _own_cases(folder: Path) -> dict[str, Case]:
    """The formats that the project writes, from files that it writes."""
    from PIL import Image

    import analysis
    import nca
    from analysis.cli.info import Info
    from analysis.cli.sweep import Merge
    from analysis.recording import load_recording, record, save_recording
    from analysis.report.folder import is_current, write_report
    from analysis.report.model import Report
    from analysis.viewer.sessions import read_session
    from nca import edits
    from nca.interop.reference import read_reference
    from nca.training.checkpoint import open_run, read_metrics
    from nca.training.config import TrainConfig, read_config
    from nca.training.population import population_configs, population_members, read_members, write_population
    from nca.training.step import init_training

    config = TrainConfig(target="flag", size=8, margin=2, channels=6, hidden_size=8, pool_size=8, steps=4)
    task, state = init_training(config)
    organism = nca.Organism(task.rule(state.parameters), canvas=config.canvas, target=task.target, name="tiny")
    file = nca.save(organism, folder / "tiny.safetensors").read_bytes()
    open_run(folder / "run", config, state, False)
    (folder / "run/metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "log10_loss": -0.3}\n')

    def resume(folder: Path) -> Any:
        open_run(folder / "run", read_config(folder / "run"), state, True)
        return read_metrics(folder / "run")

    members = population_members(population_configs(config, 2, folder / "pop"), folder / "pop")
    (folder / "pop").mkdir()
    for member in members:
        shutil.copy(folder / "tiny.safetensors", member.file)
    write_population(population_members([m.config for m in members], folder / "pop"))
    save_recording(record(organism, 2), folder / "runs.nc")
    plain = edits.to_json(edits.scale(organism, 0.5, channels="h0").where(np.ones(config.canvas, bool)))
    (folder / "edits.json").write_text(json.dumps([plain, plain | {"value": {"npz": "edit1"}}]))
    np.savez(folder / "edits.npz", edit1=np.zeros((12, 12, 6), np.float32))
    session = {"format": "nca-session-1", "organism": "tiny", "hash": organism.hash, "seed": 0, "run": 0, "steps": 3}
    session |= {"canvas": [12, 12], "compass": [[1, 0.5]], "edits": [edits.to_json(edits.freeze(organism))]}
    analysis.sweep(
        *(organism, {"a": edits.scale(organism, 0.5, channels="h0")}),
        **{"runs": 2, "adult_step": 2, "eval_steps": (3,), "allow_no_op": True},
        **{"store": folder / "rows.1-of-1.jsonl", "shard": "1/1"},
    )
    write_report(Report("nca axes", [organism], [], {}), folder / "report")
    picture = Image.fromarray((np.random.default_rng(0).random((9, 9, 4)) * 255).astype(np.uint8), "RGBA")
    states = {f"state_{i}": np.zeros((6, 6, 6), np.float32) for i in range(3)}
    np.savez_compressed(folder / "reference.npz", masks=np.zeros((2, 6, 6), bool), **states)

    def case(read: Callable[[Path], Any], *names: str, **more: bytes) -> Case:
        files = {name: (folder / name).read_bytes() for name in names} | more
        return Case(files, tuple(files), read)

    def merged(*names: str) -> Callable[[Path], Any]:
        return lambda folder: Merge(tuple(folder / name for name in names), folder / "merged").execute()

    made = {
        "organism": case(lambda at: Info(str(at / "tiny.safetensors")).execute(), "tiny.safetensors"),
        "run": case(resume, *(f"run/{name}" for name in ("config.json", "metrics.jsonl", "state.safetensors"))),
        "recording": case(lambda at: load_recording(at / "runs.nc"), "runs.nc"),
        "edits": case(lambda at: edits.load(at / "edits.json", [organism]), "edits.json", "edits.npz"),
        "rows": case(merged("rows.1-of-1.jsonl"), "rows.1-of-1.jsonl"),
        "summary": case(lambda at: is_current(at / "report", [organism], {}), "report/summary.json"),
        "reference": case(lambda at: read_reference(at / "reference.npz"), "reference.npz"),
        "session": Case(
            {"session.json": json.dumps(session | {"arrays": {}}).encode()},
            ("session.json",),
            lambda at: read_session(at / "session.json", organism),
        ),
    }
    population = {f"pop/{m.file.name}": file for m in members}
    population |= {"pop/population.json": (folder / "pop/population.json").read_bytes()}
    for name, read in {
        "population": lambda at: Info(str(at / "pop")).execute(),
        "members": lambda at: read_members(at / "pop"),
        "merged population": merged("pop"),
    }.items():
        made[name] = Case(population, ("pop/population.json",), read)
    for suffix in ("png", "webp", "gif", "bmp"):
        out = io.BytesIO()
        picture.save(out, suffix)
        made[f"{suffix} picture"] = Case(
            {f"a.{suffix}": out.getvalue()},
            (f"a.{suffix}",),
            lambda at, n=f"a.{suffix}": nca.targets.target(at / n, 8, background="white"),
        )
    return made


# --- What is changed ---


def damage(raw: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with one to three changes: of bits, of pieces, or inside their JSON or zip."""
    for _ in range(rng.integers(1, 4)):
        ways = [_flip, _cut, _splice, _overwrite]
        if raw[:1] in (b"{", b"["):
            ways = [_change_json] * 4 + ways
        elif raw[8:9] == b"{" and len(raw) > 16:
            ways = [_change_header] * 4 + ways
        elif raw[:2] == b"PK":
            ways = [_change_entry] * 4 + ways
        raw = ways[rng.integers(len(ways))](raw, rng)
    return raw


def _flip(raw: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(raw)
    for place in rng.integers(0, max(len(raw), 1), rng.integers(1, 9)) if raw else ():
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def _cut(raw: bytes, rng: np.random.Generator) -> bytes:
    return raw[: rng.integers(0, len(raw) + 1)]


def _splice(raw: bytes, rng: np.random.Generator) -> bytes:
    """A piece is moved, repeated or lost."""
    a, b = sorted(rng.integers(0, len(raw) + 1, 2))
    place = rng.integers(0, len(raw) + 1)
    return raw[:place] + raw[a : min(b, a + 4096)] * int(rng.integers(0, 4)) + raw[place + rng.integers(0, 64) :]


def _overwrite(raw: bytes, rng: np.random.Generator) -> bytes:
    """A number of 4 or 8 bytes becomes an extreme one."""
    number = _NUMBERS[rng.integers(len(_NUMBERS))] & (2**64 - 1)
    new = struct.pack("<Q", number)[: int(rng.choice([1, 2, 4, 8]))]
    place = rng.integers(0, len(raw) + 1)
    return raw[:place] + new[:: int(rng.choice([1, -1]))] + raw[place + len(new) :]


def _change_json(raw: bytes, rng: np.random.Generator) -> bytes:
    """One value anywhere in lines of JSON becomes another, some of which no writer of JSON would write."""
    lines = raw.split(b"\n") if b"}\n{" in raw else [raw]
    chosen = int(rng.integers(len(lines)))
    try:
        root = json.loads(lines[chosen])
    except (ValueError, RecursionError):
        return _flip(raw, rng)
    places: list[tuple[Any, Any]] = []
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, dict | list):
            inside = list(value.items() if isinstance(value, dict) else enumerate(value))
            places += [(value, key) for key, _ in inside[:200]]
            stack += [child for _, child in inside[:200]]
    if not places:
        return _flip(raw, rng)
    holder, key = places[rng.integers(len(places))]
    kind = rng.integers(8)
    token = None
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif kind == 2:
        holder[key], token = "@@", rng.choice(["9" * 5000, "[" * 5000, "NaN", "-Infinity", "1e999", '{"a":' * 300])
    else:
        holder[key] = _VALUES[rng.integers(len(_VALUES))]
    lines[chosen] = json.dumps(root).encode()
    if token is not None:
        lines[chosen] = lines[chosen].replace(b'"@@"', str(token).encode())
    return b"\n".join(lines)


def _change_header(raw: bytes, rng: np.random.Generator) -> bytes:
    """The header of safetensors is changed as JSON, or the JSON inside its metadata is."""
    (size,) = struct.unpack_from("<Q", raw)
    try:
        header = json.loads(raw[8 : 8 + size])
        metadata = header.get("__metadata__", {})
        if metadata and rng.integers(2):
            name = sorted(metadata)[0]
            metadata[name] = _change_json(metadata[name].encode(), rng).decode()
            changed = json.dumps(header).encode()
        else:
            changed = _change_json(raw[8 : 8 + size], rng)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return _flip(raw, rng)
    return struct.pack("<Q", len(changed)) + changed + raw[8 + size :]


def _change_entry(raw: bytes, rng: np.random.Generator) -> bytes:
    """One entry of a zip is damaged and packed again, so that its checksum is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:
        return _flip(raw, rng)
    if not entries:
        return _flip(raw, rng)
    name = sorted(entries)[rng.integers(len(entries))]
    entries[name] = [_flip, _cut, _splice, _overwrite][rng.integers(4)](entries[name], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if rng.integers(2) else zipfile.ZIP_STORED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return out.getvalue()


# --- Reading them ---


def read_damaged(made: Mapping[str, Case], number: int, seed: int, folder: Path) -> tuple[str, str, str]:
    """Damage one file and read it.

    Returns:
        The format, the outcome (read, refused or failed), and the sentence or the error.
    """
    from nca.errors import UserError

    name = list(made)[number % len(made)]
    case, rng = made[name], np.random.default_rng([seed, number])
    chosen = case.changed[rng.integers(len(case.changed))]
    for path, raw in case.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(damage(raw, rng) if path == chosen else raw)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            case.read(folder)
        return name, "read", ""
    except UserError as error:
        return name, "refused", str(error)
    except BaseException as error:
        return name, "failed", repr(type(error))
    finally:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _work(connection: Any, numbers: range, seed: int) -> None:
    made = cases()
    with tempfile.TemporaryDirectory() as folder:
        connection.send(0)
        for number in numbers:
            outcome = read_damaged(made, number, seed, Path(folder))
            connection.send((number, *outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def fuzz(options: Options) -> dict[str, Any]:
    """Read so many damaged files in another process; counts and figures."""
    outcomes = Counter(dict.fromkeys(("read", "refused", "failed", "hung", "crashed"), 0))
    failures, peak, slowest, number = list[str](), 0.0, 0.0, 0
    while number < options.files:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        numbers = range(number, options.files)
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(theirs, numbers, options.seed))
        process.start()
        theirs.close()
        ours.recv()
        while number < options.files:
            begun = time.monotonic()
            try:
                outcome = ours.recv() if ours.poll(LIMIT) else (number, "", "hung", "")
            except EOFError:
                outcome = (number, "", "crashed", f"exit code {process.exitcode}")
            slowest = max(slowest, time.monotonic() - begun)
            outcomes[outcome[2]] += 1
            if outcome[2] not in ("read", "refused"):
                failures.append(f"{outcome[0]} {outcome[1]}: {outcome[2]} {outcome[3]}")
            number += 1
            if outcome[2] in ("hung", "crashed"):
                break
            peak = max(peak, outcome[4])
        process.kill()
        process.join()
    return {**outcomes, "peak MB": round(peak), "slowest s": round(slowest, 1), "failures": failures}


# --- Command lines ---


def bad_words() -> list[list[str]]:
    """Command lines with a mistake: every option of every command with values that it cannot have, and more."""
    from analysis.cli.main import COMMANDS

    needed = {"graft": ["flag", "flag"], "sweep": ["flag", "--out", "s"], "merge": ["x", "--out", "m"]}
    needed |= {"grow": ["flag", "--out", "f.gif"], "export": ["flag", "--to", "npz"], "import": ["x.npz"]}
    needed |= {"targets": [], "organisms": []}
    lines = [["--nonsense"], ["nonsense"], []]
    for name, kind in COMMANDS.items():
        start = [name, *needed.get(name, ["flag"])]
        lines += [[*start, "--nonsense"], [*start, "one", "too", "many", "--really"], [*start, "--help-me"]]
        for option, field_type in _options(kind):
            lines += [[*start, option, *values] for values in _wrong_values(field_type)]
    return lines


def _options(kind: Any) -> Iterator[tuple[str, str]]:
    for field in fields(kind):
        if is_dataclass(field.default_factory):
            yield from _options(field.default_factory)
        elif "Positional" not in str(field.type) and field.name not in _POSITIONAL:
            kept = get_args(field.type)[0] if hasattr(field.type, "__metadata__") else field.type
            yield f"--{field.name.replace('_', '-')}", getattr(kept, "__name__", str(kept))


def _wrong_values(field_type: str) -> list[list[str]]:
    """Words that no field of this type takes."""
    if "Literal" in field_type or field_type == "Site":
        return [["nonsense"]]
    if "tuple[int, int]" in field_type or "tuple[float, float]" in field_type:
        return [["1"], ["a", "b"]]
    if re.search(r"\bint\b", field_type):
        return [["many"], ["9" * 30], ["1.5"]]
    if re.search(r"\bfloat\b", field_type):
        return [["many"]]
    return [["one", "two", "--three"]] if field_type == "bool" else []


def try_words(lines: list[list[str]]) -> dict[str, Any]:
    """Run command lines in this process, each of which must end with code 2 in one sentence before it does anything."""
    from analysis.cli.main import COMMANDS, main

    failures = []
    with contextlib.ExitStack() as stack:
        for kind in COMMANDS.values():
            stack.enter_context(mock.patch.object(kind, "execute", _refuse_to_start))
        for words in lines:
            err = io.StringIO()
            with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
                try:
                    code: Any = main(words)
                except BaseException as error:
                    code = repr(error)
            text = err.getvalue()
            if code != 2 or text.count("\n") != 1 or not text.startswith("nca: "):
                failures.append(f"{' '.join(words)[:80]}: {code} {text[:200]!r}")
    return {"command lines": len(lines), "failures": failures}


def _refuse_to_start(command: Any) -> None:
    raise AssertionError("a command with a mistake has started")


def main() -> int:
    """Run what the options ask for; prints the figures."""
    options = tyro.cli(Options)
    begun = time.monotonic()
    figures = try_words(bad_words()) if options.words else fuzz(options)
    failures = figures.pop("failures")
    print("\n".join(failures[:40]))
    print(", ".join(f"{name} {value}" for name, value in figures.items()), f"in {time.monotonic() - begun:.0f} s")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())

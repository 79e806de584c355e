"""Clocks, memory, the machine and tables.

What is timed is always one whole compiled call, from its arguments to finished results. JAX returns
before the work is done, and its compiler merges work across operations and steps, so a part timed
alone is another program than the same part inside a run. Compiling is never counted: every clock
runs once before it is read.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

import jax

from nca.versions import versions

Clock = Callable[[], float]
Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of one measurement.

    Attributes:
        name: what `--only` calls it.
        title: heading.
        note: what is timed, and on what.
        rows: values by column; lists are kept in the file and not shown.
    """

    name: str
    title: str
    note: str
    rows: list[Row]


def clock(call: Callable[..., Any], prepare: Callable[[], tuple[Any, ...]] = tuple) -> Clock:
    """A function that runs `call(*prepare())` and returns the seconds that the call took."""

    def seconds() -> float:
        given = jax.block_until_ready(prepare())
        begin = time.perf_counter()
        jax.block_until_ready(call(*given))
        return time.perf_counter() - begin

    return seconds


def alternate(clocks: dict[str, Clock], repeats: dict[str, int]) -> dict[str, list[float]]:
    """Seconds by name: all clocks once to compile, then in turn, so that all see the same machine."""
    for each in clocks.values():
        each()
    times: dict[str, list[float]] = {name: [] for name in clocks}
    for turn in range(max(repeats.values())):
        for name, each in clocks.items():
            if turn < repeats[name]:
                times[name].append(each())
    return times


def seconds(times: list[float] | None, what: str) -> Row:
    """Columns of median, best and all times."""
    times = [took for took in times or [] if not isnan(took)]
    if not times:
        return {f"{what}, median": None, f"{what}, best": None, f"{what}, times": []}
    return {f"{what}, median": median(times), f"{what}, best": min(times), f"{what}, times": times}


def ratio(times: list[float] | None, ours: list[float] | None) -> float | None:
    """How many times longer the one takes than the other: the median over turns, each by itself."""
    turns = [took / own for took, own in zip(times or [], ours or [], strict=False) if not isnan(took)]
    return median(turns) if turns else None


def peak_memory() -> float:
    """The most memory that this process ever held, in GB.

    The kernel's own record is read where there is one: `getrusage` of a process begun by another
    counts what that one held as well.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if platform.system() == "Darwin" else 1024) / 1e9


def machine() -> Row:
    """Hardware, core count, versions and load average."""
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    models = [line.split(":")[1].strip() for line in described.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{jax.default_backend()}: {jax.devices()[0].device_kind}",
        "versions": versions(),
        "load": load(),
    }


def load() -> list[float]:
    """Load average over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def markdown(table: Table) -> str:
    """A table as it is printed and saved."""
    columns = [c for c, value in table.rows[0].items() if not isinstance(value, list)]
    cells = [columns, *([shown(row.get(c)) for c in columns] for row in table.rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["| " + " | ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([f"## {table.title}", "", table.note, "", lines[0], rule, *lines[1:]])


def shown(value: Any) -> str:
    """A value as text, numbers to three digits."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return "not measured"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

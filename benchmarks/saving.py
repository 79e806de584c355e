"""What a benchmark prints and saves: the machine, the options, the tables."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, Table, load, machine, markdown


def report(name: str, options: Any, measure: Callable[[], list[Table]]) -> None:
    """Measure, print, and save where asked.

    Args:
        name: put into the file's name, if any.
        options: a record with `save` and `results`; its numbers and flags are told.
        measure: makes the tables.
    """
    begin = time.perf_counter()
    found = machine()
    tables = measure()
    found |= {"load after": load(), "seconds": round(time.perf_counter() - begin)}
    told = {k: v for k, v in vars(options).items() if k not in ("save", "results", "organism", "cax_python")}
    found["options"] = told
    lines = [f"- {label}: {listed(value)}" for label, value in found.items()]
    text = "\n\n".join(["# Benchmarks", "\n".join(lines), *(markdown(table) for table in tables)])
    print(text)
    if options.save:
        print(f"\nSaved as {save(options.results, tables, text, found, name).name}")


def save(folder: Path, tables: list[Table], text: str, found: Row, name: str = "") -> Path:
    """Write the results as Markdown and, with all times, as JSON."""
    hardware = f"{name} {found['device']} {found['cores']} cores"
    slug = re.sub(r"[^a-z0-9]+", "-", hardware.lower()).strip("-")
    folder.mkdir(exist_ok=True)
    path = folder / f"{date.today().isoformat()}-{slug}"
    path.with_suffix(".md").write_text(text + "\n")
    data = found | {"tables": [asdict(table) for table in tables]}
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    return path.with_suffix(".md")


def listed(value: object) -> str:
    """A value in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {listed(part)}" for name, part in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

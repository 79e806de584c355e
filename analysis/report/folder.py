"""A folder that tells what assays found: one page that opens anywhere, every number, every figure.

report.html      the verdict in words, then each section with its figures; fetches nothing
summary.json     every number
tables/*.csv     the same as tables
figures/*.svg    the figures
NAME.webp        the films
data/*.nc        the labelled arrays behind it, where asked for
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from analysis.recording import save_recording
from analysis.report import format, markup
from analysis.report.model import Section
from nca.errors import UserError
from nca.io import write
from nca.organism import Organism
from nca.versions import versions

ABOUT = {
    "made_by": "the command that wrote this",
    "organisms": "what was examined: name, hash (of rule, seed and canvas), conventions, provenance, metrics",
    "config": "what was asked for; with the hashes and the versions it repeats everything here",
    "claims": "what was found: assay, text, evidence, numbers",
    "skipped": "by section: what was not examined, and why",
    "tables": "every table by its name, a row an object; null is a number that is not defined",
}


@dataclass(frozen=True)
class Report:
    """What a page tells and what it is about.

    Attributes:
        command: what made it, such as "nca axes".
        organisms: what was examined.
        sections: what was found.
        config: what was asked for.
        portrait: a grown body, premultiplied RGBA (y, x, 4).
        seconds: how long it took.
        caveat: a paragraph under the verdict, plain text.
        title: what the page is about, where names would be too many.
    """

    command: str
    organisms: Sequence[Organism]
    sections: Sequence[Section]
    config: Mapping[str, Any] = field(default_factory=dict)
    portrait: np.ndarray | None = None
    seconds: float = 0.0
    caveat: str = ""
    title: str = ""


def write_sections(
    folder: str | Path,
    organisms: Sequence[Organism],
    sections: Sequence[Section],
    command: str,
    config: Mapping[str, Any],
    **more: Any,
) -> Path:
    """Write a report of some sections into a folder; it appears whole or not at all.

    Args:
        folder: a new one, an empty one, or one that the same command wrote, which is replaced.
        organisms: what was examined.
        sections: what was found.
        command: what made it, such as "nca axes".
        config: what was asked for, as plain JSON values.
        **more: portrait, seconds, caveat, title of `Report`; data=True also writes the labelled arrays.

    Raises:
        UserError: the folder is in use or cannot be written.
    """
    data = more.pop("data", False)
    return write_report(Report(command, organisms, sections, config, **more), Path(folder), data)


def write_report(report: Report, folder: Path, data: bool = False) -> Path:
    """Write a report; the folder appears whole or not at all."""
    check_place(folder, report.command)
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}; choose another place.") from error
    try:
        fill(report, beside, data)
        beside.chmod(0o755)
        check_place(folder, report.command)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(beside, folder)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}; choose another place.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def check_place(folder: Path, command: str) -> None:
    """Raise `UserError` unless a report can be put there without loss."""
    if not folder.parent.is_dir():
        raise UserError(f"There is no folder {folder.parent}; make it, or choose another place.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        made_by = json.loads((folder / "summary.json").read_text())["made_by"]
    except (OSError, ValueError, KeyError, TypeError):
        made_by = None
    if made_by != command:
        raise UserError(f"{folder} exists and holds no report of {command!r}; remove it or name another folder.")


def holds(folder: Path, organisms: Sequence[Organism], config: Mapping[str, Any]) -> bool:
    """Whether a folder holds what these organisms, this config and these versions would make again."""
    try:
        kept = json.loads((folder / "summary.json").read_text())
        same = [o["hash"] for o in kept["organisms"]] == [o.hash for o in organisms]
        return bool(same and kept["config"] == plain(config) and kept["versions"] == versions())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def fill(report: Report, folder: Path, data: bool) -> None:
    """Write every file of a report."""
    for name in ("tables", "figures", *(("data",) if data else ())):
        (folder / name).mkdir()
    for section in report.sections:
        for drawing in section.figures:
            write(folder / "figures" / f"{drawing.name}.svg", drawing.svg)
        for film in section.films:
            write(folder / f"{film.name}.webp", film.webp)
        for name, frame in section.tables.items():
            write(folder / "tables" / f"{name}.csv", frame.to_csv(index=False, na_rep=format.NOT_DEFINED))
        for name, dataset in section.data.items() if data else ():
            save_recording(dataset, folder / "data" / f"{name}.nc")
    write(folder / "summary.json", json.dumps(summary(report), indent=1, allow_nan=False) + "\n")
    write(folder / "report.html", page(report))


def summary(report: Report) -> dict[str, Any]:
    """What `summary.json` holds; `about` explains the keys."""
    said = [f for section in report.sections for f in section.claims]
    return plain(
        {
            "made_by": report.command,
            "about": ABOUT,
            "organisms": [described(organism) for organism in report.organisms],
            "config": dict(report.config),
            "versions": versions(),
            "seconds": round(report.seconds, 1),
            "claims": [vars(finding) for finding in said],
            "skipped": {s.name: list(s.skipped) for s in report.sections if s.skipped},
            "tables": {k: v.to_dict("records") for s in report.sections for k, v in s.tables.items()},
        }
    )


def described(organism: Organism) -> dict[str, Any]:
    """What an organism is, without its weights."""
    return {
        "name": organism.name,
        "hash": organism.hash,
        "spec": organism.rule.spec.to_json(),
        "canvas": organism.canvas,
        "parameters": organism.rule.parameters,
        "provenance": dict(organism.provenance),
        "metrics": dict(organism.metrics),
    }


def plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays as lists, what is not a finite number as None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def page(report: Report) -> str:
    """The report as one self-contained page."""
    template = Template((resources.files("analysis.report") / "page.html").read_text(encoding="utf-8"))
    many = len(report.organisms) > 1
    names = report.title or ", ".join(organism.name for organism in report.organisms)
    shown = () if report.title else report.organisms[:4]
    files = ["summary.json", "tables/*.csv", "figures/*.svg"]
    files += [f"{film.name}.webp" for section in report.sections for film in section.films]
    text = template.substitute(
        title=html.escape(f"{names}: {report.command.removeprefix('nca ')}"),
        heading=html.escape(names),
        portrait=markup.portrait(report.portrait),
        facts="".join(f'<p class="facts">{facts(one, many)}</p>' for one in shown),
        contents="\n".join(f'<a href="#{s.name}">{html.escape(s.title)}</a>' for s in report.sections if shows(s)),
        verdict=markup.verdict(report.sections),
        caveat=f"<p>{html.escape(report.caveat)}</p>" if report.caveat else "",
        sections="".join(section_text(section) for section in report.sections if shows(section)),
        method=method(report),
        files=", ".join(f"<code>{html.escape(name)}</code>" for name in files),
    )
    return numbered(text)


def shows(section: Section) -> bool:
    """Whether there is something to see in a section."""
    return bool(section.live or section.films or section.figures or section.lookup or section.skipped)


def section_text(section: Section) -> str:
    """A section: what is missing and why, films, figures, tables."""
    parts = [f'<p class="outcome">{markup.together(reason)}</p>\n' for reason in section.skipped]
    parts += [f'<figure class="live">{section.live}</figure>\n'] if section.live else []
    parts += [markup.film(film) for film in section.films]
    parts += [markup.figure(drawing) for drawing in section.figures]
    parts += [markup.folded(title, markup.table(frame)) for title, frame in section.lookup.items()]
    heading = f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>\n'
    return heading + "".join(parts) + "</section>\n"


def method(report: Report) -> str:
    """How everything was done, section by section, and what is known of the organisms."""
    told = "".join(
        f"<h3>{html.escape(title)}</h3>" + "".join(f"<p>{html.escape(text)}</p>\n" for text in texts)
        for title, texts in methods(report.sections).items()
    )
    known: dict[str, Mapping[str, Any]] = {"settings": report.config}
    for organism in () if report.title else report.organisms[:4]:
        many = f" of {organism.name}" if len(report.organisms) > 1 else ""
        known |= {
            f"conventions{many}": organism.rule.spec.to_json(),
            f"provenance{many}": dict(organism.provenance),
            f"metrics{many}": dict(organism.metrics),
        }
    known["versions"] = versions()
    return told + "".join(markup.folded(title.capitalize(), markup.words(values)) for title, values in known.items())


def methods(sections: Sequence[Section]) -> dict[str, list[str]]:
    """Paragraphs on method by heading, each once; where sections share all, what comes before their colon."""
    told: set[str] = set()
    found: dict[str, list[str]] = {}
    for section in sections:
        new = [text for text in section.method.split("\n\n") if text.strip() and text not in told]
        if new:
            shared = sum(other.method == section.method for other in sections) > 1
            found[section.title.partition(":")[0] if shared else section.title] = new
            told.update(new)
    return found


def facts(organism: Organism, named: bool) -> str:
    """What an organism is, in one breath, with its name where there are several."""
    spec, rule = organism.rule.spec, organism.rule
    hidden = " and ".join(str(w.shape[1]) for w in list(rule.weights)[:-1])
    parts = [
        *([organism.name] if named else []),
        f"{spec.channels} channels, {hidden} hidden units, {rule.parameters:,} parameters",
        f"{spec.perception} perception, fire rate {spec.fire_rate:g}",
        f"canvas {organism.canvas[0]}×{organism.canvas[1]}",
        f"hash {organism.hash}",
    ]
    return html.escape("; ".join(parts))


def numbered(text: str) -> str:
    """Figures counted from 1."""
    parts = re.split(r"<b>Figure\.</b>", text)
    return parts[0] + "".join(f"<b>Figure {n}.</b>{part}" for n, part in enumerate(parts[1:], 1))

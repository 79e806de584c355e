"""Organisms and populations in words: what `nca info` and `nca organisms` say, as plain text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from nca.organism import Organism
from nca.training.config import TrainConfig

if TYPE_CHECKING:
    from analysis.populations.population import Population

Rows = list[tuple[str, str]]
CUTS = ("bottom", "top", "right", "left", "centre")


def about(organism: Organism) -> dict[str, Any]:
    """Everything that is known of an organism but its weights, as plain JSON values."""
    rule = organism.rule
    return {
        "name": organism.name,
        "hash": organism.hash,
        "canvas": list(organism.canvas),
        "seed": list(organism.seed.shape[:2]),
        "target": None if organism.target is None else list(organism.target.shape[:2]),
        "spec": rule.spec.to_json(),
        "channels": list(rule.channel_names),
        "filters": list(rule.filters),
        "layers": [list(w.shape) for w in rule.weights],
        "parameters": rule.parameters,
        "provenance": dict(organism.provenance),
        "metrics": dict(organism.metrics),
    }


def described(organism: Organism) -> str:
    """A readable table of the same."""
    rule, spec = organism.rule, organism.rule.spec
    sizes = [w.shape[0] for w in rule.weights] + [spec.channels]
    high, wide = organism.canvas
    rows = [
        ("name", organism.name),
        ("hash", organism.hash),
        ("canvas", f"{high} x {wide} cells"),
        ("seed", _cells(organism.seed.shape)),
        ("target", "none" if organism.target is None else _cells(organism.target.shape)),
        ("channels", f"{spec.channels}: {' '.join(rule.channel_names)}"),
        ("perception", f"{spec.perception} ({', '.join(rule.filters)}), reads the {spec.reads}"),
        ("layers", f"{' > '.join(map(str, sizes))}, {rule.parameters:,} parameters"),
        ("fire rate", f"{spec.fire_rate:g}"),
        ("alive", _alive(organism)),
        ("boundary", f"{spec.boundary}, of the alive test {spec.alive_boundary}"),
        *_peculiar(organism),
    ]
    parts = [aligned(rows)]
    if organism.metrics:
        parts.append("measured\n" + aligned(measured(organism.metrics), 2))
    if organism.provenance:
        parts.append("provenance\n" + aligned(provenance(organism.provenance), 2))
    return "\n".join(parts)


def one_line(organism: Organism) -> str:
    """What it was trained for and what it reaches, short enough for a list."""
    config = organism.provenance.get("config")
    config = config if isinstance(config, Mapping) else {}
    words = [f"{config.get('target', '?')}, {config.get('regime', '?')}"]
    errors = organism.metrics.get("log10_error")
    if isinstance(errors, Mapping):
        words.append("log10 error " + ", ".join(f"{number(v)} at {k}" for k, v in errors.items()))
    healed = organism.metrics.get("recovered")
    if isinstance(healed, Mapping):
        shares = [_middle(healed.get(c)) for c in CUTS]
        known = any(share is not None for share in shares)
        words.append("recovers " + " ".join(map(number, shares)) if known else "recovery not defined")
    return "; ".join(words)


def measured(metrics: Mapping[str, Any]) -> Rows:
    """Rows of an organism's metrics: the report card in words, anything else as it is."""
    rows: Rows = []
    for key, value in metrics.items():
        if key == "log10_error" and isinstance(value, Mapping):
            rows.append(("log10 error", ", ".join(f"{number(v)} at step {k}" for k, v in value.items())))
        elif key == "mature_cells" and isinstance(value, Mapping):
            rows.append(("mature cells", ", ".join(f"{number(v, 0)} at step {k}" for k, v in value.items())))
        elif key == "recovered" and isinstance(value, Mapping):
            rows += [(f"recovered, {cut}", _recovered(found)) for cut, found in value.items()]
        else:
            rows += flat({key: value})
    return rows


def provenance(known: Mapping[str, Any]) -> Rows:
    """Rows of an organism's provenance; of a training recipe only what is not the default."""
    usual = {f.name: f.default for f in fields(TrainConfig)}
    rows: Rows = []
    for key, value in known.items():
        if key == "config" and isinstance(value, Mapping):
            always = ("target", "regime")
            rows += flat(
                {k: v for k, v in value.items() if k in always or (k != "steps" and usual.get(k) != _frozen(v))}
            )
        elif key == "started_from":
            rows.append(("lineage", _lineage(value)))
        elif key == "versions" and isinstance(value, Mapping):
            rows.append((key, ", ".join(f"{k} {v}" for k, v in value.items())))
        else:
            rows += flat({key: value})
    return rows


def flat(nested: Mapping[str, Any], above: str = "") -> Rows:
    """Rows of nested values, their names joined by dots."""
    rows: Rows = []
    for key, value in nested.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += flat(value, f"{above}{key}.")
        else:
            rows.append((name, _plain(value)))
    return rows


def aligned(rows: Sequence[tuple[str, str]], indent: int = 0) -> str:
    """Two columns of text."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{'':{indent}}{name:{width}}  {value}".rstrip() for name, value in rows)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as a table, its first row the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(w.ljust(n) for w, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def overview(population: Population) -> list[dict[str, Any]]:
    """A row for each member, trained or not, as plain JSON values."""
    rows: list[dict[str, Any]] = []
    for m in population.members:
        errors = m.organism.metrics.get("log10_error")
        errors = errors if isinstance(errors, Mapping) else {}
        rows.append(
            {
                "name": m.name,
                "target": m.target,
                "regime": m.regime,
                "seed": m.seed,
                "lineage": m.lineage,
                "L at 96": errors.get("96"),
                "L at 200": errors.get("200"),
                "hash": m.organism.hash,
                "status": "trained",
            }
        )
    rows += [{"name": name, "status": why} for name, why in population.missing.items()]
    return rows


def in_columns(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as text, a column for each of the first row's names."""
    names = list(rows[0])
    return columns([names, *([_word(row.get(name)) for name in names] for row in rows)])


def number(value: Any, digits: int = 2) -> str:
    """A number in short, "-" where there is none."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:.{digits}f}" if known else "-"


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return "-" if value is None else str(value)


def _recovered(found: Any) -> str:
    keys = found.get("keys", []) if isinstance(found, Mapping) else []
    return f"{number(_middle(found)):>6}  ({' '.join(number(k) for k in keys)})"


def _middle(found: Any) -> Any:
    return found.get("median") if isinstance(found, Mapping) else found


def _lineage(parent: Any) -> str:
    names = []
    while isinstance(parent, Mapping):
        names.append(f"{parent.get('name')} ({parent.get('hash')}, {parent.get('steps')} steps)")
        parent = parent.get("started_from")
    return " < ".join(names) or "trained from scratch"


def _alive(organism: Organism) -> str:
    spec = organism.rule.spec
    sign = ">=" if spec.inclusive else ">"
    when = {"both": "before and after the update", "after": "after the update", "gate": "gating the update"}
    tested = when.get(spec.alive)
    name = organism.rule.channel_names[spec.alpha]
    test = f"3x3 maximum of {name} ({spec.alpha}) {sign} {spec.threshold:g}"
    return f"{test}, {tested}" if tested else "not tested"


def _peculiar(organism: Organism) -> Rows:
    """Conventions that most rules do not have."""
    spec, rows = organism.rule.spec, []
    if spec.steer is not None:
        rows.append(("steered by", f"{organism.rule.channel_names[spec.steer]} ({spec.steer})"))
    if spec.activation_slope:
        rows.append(("activation", f"leaky, slope {spec.activation_slope:g}"))
    if spec.squash != "none":
        rows.append(("squash", spec.squash))
    if spec.clip is not None:
        rows.append(("clip", f"{spec.clip[0]:g} to {spec.clip[1]:g}"))
    if not spec.premultiplied:
        rows.append(("colour", "not multiplied by alpha"))
    return rows


def _cells(shape: Sequence[int]) -> str:
    return "one cell" if tuple(shape[:2]) == (1, 1) else f"{shape[0]} x {shape[1]} cells"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value))
    return "none" if value is None else str(value)

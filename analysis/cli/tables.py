"""Organisms and populations as plain text and as JSON, for `nca info`, `nca organisms` and `nca train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from nca.organism import Organism
from nca.training.config import TrainConfig

if TYPE_CHECKING:
    from analysis.populations.population import Population

Pairs = list[tuple[str, str]]
_CUTS = ("bottom", "top", "right", "left", "centre")


def organism_fields(organism: Organism) -> dict[str, Any]:
    """What an organism's file holds except its weights, as plain JSON values."""
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


def describe_organism(organism: Organism) -> str:
    """The same as a text of two columns."""
    rule, spec = organism.rule, organism.rule.spec
    sizes = [w.shape[0] for w in rule.weights] + [spec.channels]
    height, width = organism.canvas
    pairs = [
        ("name", organism.name),
        ("hash", organism.hash),
        ("canvas", f"{height} x {width} cells"),
        ("seed", _cells(organism.seed.shape)),
        ("target", "none" if organism.target is None else _cells(organism.target.shape)),
        ("channels", f"{spec.channels}: {' '.join(rule.channel_names)}"),
        ("perception", f"{spec.perception} ({', '.join(rule.filters)}), reads the {spec.reads}"),
        ("layers", f"{' > '.join(map(str, sizes))}, {rule.parameters:,} parameters"),
        ("fire rate", f"{spec.fire_rate:g}"),
        ("alive", _alive_test(organism)),
        ("boundary", f"{spec.boundary}, of the alive test {spec.alive_boundary}"),
    ]
    # Conventions that most rules do not have:
    if spec.steer is not None:
        pairs.append(("steered by", f"{rule.channel_names[spec.steer]} ({spec.steer})"))
    if spec.activation_slope:
        pairs.append(("activation", f"leaky, slope {spec.activation_slope:g}"))
    if spec.squash != "none":
        pairs.append(("squash", spec.squash))
    if spec.clip is not None:
        pairs.append(("clip", f"{spec.clip[0]:g} to {spec.clip[1]:g}"))
    if not spec.premultiplied:
        pairs.append(("colour", "not multiplied by alpha"))
    text = [format_pairs(pairs)]
    if organism.metrics:
        text.append("metrics\n" + format_pairs(metrics_pairs(organism.metrics), 2))
    if organism.provenance:
        text.append("provenance\n" + format_pairs(_provenance_pairs(organism.provenance), 2))
    return "\n".join(text)


def summarise_organism(organism: Organism) -> str:
    """Training target, regime and main metrics of an organism in one line."""
    config = organism.provenance.get("config")
    config = config if isinstance(config, Mapping) else {}
    text = [f"{config.get('target', '?')}, {config.get('regime', '?')}"]
    log_mse = organism.metrics.get("log10_mse")
    if isinstance(log_mse, Mapping):
        text.append("log10 MSE " + ", ".join(f"{_number(v)} at {step}" for step, v in log_mse.items()))
    recovered = organism.metrics.get("recovered")
    if isinstance(recovered, Mapping):
        medians = [_median(recovered.get(cut)) for cut in _CUTS]
        defined = any(value is not None for value in medians)
        text.append("recovers " + " ".join(map(_number, medians)) if defined else "recovery not defined")
    return "; ".join(text)


def metrics_pairs(metrics: Mapping[str, Any]) -> Pairs:
    """Name and text of an organism's metrics."""
    pairs: Pairs = []
    for name, value in metrics.items():
        if name == "log10_mse" and isinstance(value, Mapping):
            pairs.append(("log10 MSE", ", ".join(f"{_number(v)} at step {step}" for step, v in value.items())))
        elif name == "mature_cells" and isinstance(value, Mapping):
            pairs.append(("mature cells", ", ".join(f"{_number(v, 0)} at step {step}" for step, v in value.items())))
        elif name == "recovered" and isinstance(value, Mapping):
            for cut, entry in value.items():
                runs = entry.get("runs", []) if isinstance(entry, Mapping) else []
                pairs.append((f"recovered, {cut}", f"{_number(_median(entry)):>6}  ({' '.join(map(_number, runs))})"))
        else:
            pairs += _flatten({name: value})
    return pairs


def population_records(population: Population) -> list[dict[str, Any]]:
    """One record per member, trained or not, as plain JSON values."""
    records: list[dict[str, Any]] = []
    for member in population.members:
        log_mse = member.organism.metrics.get("log10_mse")
        log_mse = log_mse if isinstance(log_mse, Mapping) else {}
        records.append(
            {
                "name": member.name,
                "target": member.target,
                "regime": member.regime,
                "seed": member.seed,
                "lineage": member.lineage,
                "log10 MSE at 96": log_mse.get("96"),
                "log10 MSE at 200": log_mse.get("200"),
                "hash": member.organism.hash,
                "status": "trained",
            }
        )
    return records + [{"name": name, "status": reason} for name, reason in population.missing.items()]


def format_pairs(pairs: Sequence[tuple[str, str]], indent: int = 0) -> str:
    """Two columns of text."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{'':{indent}}{name:{width}}  {value}".rstrip() for name, value in pairs)


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def format_records(records: Sequence[Mapping[str, Any]]) -> str:
    """Records as a table of text with the fields of the first as columns."""
    names = list(records[0])

    def _cell(value: Any) -> str:
        return _number(value) if isinstance(value, float) else "-" if value is None else str(value)

    return format_table([names, *([_cell(record.get(name)) for name in names] for record in records)])


def _provenance_pairs(provenance: Mapping[str, Any]) -> Pairs:
    """Name and text of an organism's provenance; of a training configuration only what is not the default."""
    defaults = {f.name: f.default for f in fields(TrainConfig)}
    pairs: Pairs = []
    for name, value in provenance.items():
        if name == "config" and isinstance(value, Mapping):
            for option, chosen in value.items():
                frozen = tuple(chosen) if isinstance(chosen, list) else chosen
                if option in ("target", "regime") or (option != "steps" and defaults.get(option) != frozen):
                    pairs += _flatten({option: chosen})
        elif name == "started_from":
            ancestors = []
            while isinstance(value, Mapping):
                ancestors.append(f"{value.get('name')} ({value.get('hash')}, {value.get('steps')} steps)")
                value = value.get("started_from")
            pairs.append(("lineage", " < ".join(ancestors) or "trained from scratch"))
        elif name == "versions" and isinstance(value, Mapping):
            pairs.append((name, ", ".join(f"{k} {v}" for k, v in value.items())))
        else:
            pairs += _flatten({name: value})
    return pairs


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> Pairs:
    """Pairs of nested values, their names joined by dots."""
    pairs: Pairs = []
    for name, value in nested.items():
        if isinstance(value, Mapping):
            pairs += _flatten(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}".replace("_", " "), _plain(value)))
    return pairs


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _number(value: Any, digits: int = 2) -> str:
    """A number with so many digits; "-" where there is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:.{digits}f}" if is_number else "-"


def _median(entry: Any) -> Any:
    return entry.get("median") if isinstance(entry, Mapping) else entry


def _cells(shape: Sequence[int]) -> str:
    return "one cell" if tuple(shape[:2]) == (1, 1) else f"{shape[0]} x {shape[1]} cells"


def _alive_test(organism: Organism) -> str:
    spec = organism.rule.spec
    when = {"both": "before and after the update", "after": "after the update", "gate": "gating the update"}
    if spec.alive not in when:
        return "not tested"
    name, sign = organism.rule.channel_names[spec.alpha], ">=" if spec.inclusive else ">"
    return f"3x3 maximum of {name} ({spec.alpha}) {sign} {spec.threshold:g}, {when[spec.alive]}"

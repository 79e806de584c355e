"""`nca info`, `nca organisms`, `nca targets`: what is known of an organism, and what is bundled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from analysis.cli.output import Source, check_outputs, format_pairs, format_table, print_result
from nca.errors import UserError
from nca.training.config import TrainConfig

if TYPE_CHECKING:
    from analysis.populations.population import Member, Population
    from nca.organism import Organism

Pairs = list[tuple[str, str]]
_CUTS = ("bottom", "top", "right", "left", "centre")


@dataclass(frozen=True)
class Info:
    """Print what is known of an organism (conventions, size, provenance, metrics) or of a population.

    Attributes:
        json: print it as JSON.
    """

    organism: Positional[Source]
    json: bool = False

    def execute(self) -> None:
        """Print it."""
        from analysis.populations.population import find_organism, find_population

        population = find_population([self.organism])
        if population:
            record = _population_record(population)
            text = _members_table(record["members"])
        else:
            organism = find_organism(self.organism, "nca info")
            record, text = _organism_record(organism), _describe(organism)
        print_result(json.dumps(record, indent=1) if self.json else text)


@dataclass(frozen=True)
class Organisms:
    """List the bundled organisms and populations, what they were trained for and how well they do."""

    def execute(self) -> None:
        """List them."""
        from nca.io import bundled, bundled_populations, load

        rows = [(name, _summarise(load(name))) for name in bundled()]
        for name in bundled_populations():
            members = bundled(name)
            rows.append((name, f"a population of {len(members)}, such as {name}/{members[0]}"))
        print_result(format_pairs(rows) or "none is bundled")


@dataclass(frozen=True)
class Targets:
    """List the drawings that come with the package.

    Attributes:
        out: PNG file to draw all of them into.
        size: longer side of a drawing in that file, in cells.
        force: overwrite a file that exists.
    """

    out: Path | None = None
    size: int = 40
    force: bool = False

    def execute(self) -> None:
        """List them, and draw them if asked to."""
        from nca import targets as drawings

        names = drawings.names()
        if self.out is not None:
            from analysis.animation.render import picture_sheet
            from nca.files import write_file

            if self.out.suffix.lower() != ".png":
                raise UserError(f"The sheet of drawings is a .png, got {self.out}.")
            check_outputs(self.force, self.out)
            sheet = picture_sheet({name: drawings.target(name, self.size) for name in names})
            write_file(self.out, lambda temporary: sheet.save(temporary))
        print_result(format_pairs([(name, drawings.describe(name)) for name in names]))


# Populations


def _population_record(population: Population) -> dict[str, Any]:
    """Name, members (trained or not) and versions of a population, as plain JSON values."""
    members = [_member_record(member) for member in population.members]
    members += [{"name": name, "status": reason} for name, reason in population.missing.items()]
    return {"name": population.name, "members": members, "versions": dict(population.versions)}


def _member_record(member: Member) -> dict[str, Any]:
    log_mse = _mapping(member.organism.metrics.get("log10_mse"))
    return {
        **{name: getattr(member, name) for name in ("name", "target", "regime", "seed", "lineage")},
        **{f"log10 MSE at {step}": log_mse.get(step) for step in ("96", "200")},
        "hash": member.organism.hash,
        "status": "trained",
    }


def _members_table(members: Sequence[Mapping[str, Any]]) -> str:
    names = list(members[0])

    def _cell(value: Any) -> str:
        return _number(value) if isinstance(value, float) else "-" if value is None else str(value)

    return format_table([names, *([_cell(member.get(name)) for name in names] for member in members)])


# Organisms


def _organism_record(organism: Organism) -> dict[str, Any]:
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


def _describe(organism: Organism) -> str:
    """What is known of an organism, as a text of two columns."""
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
    if spec.activation_slope or spec.activation != "relu":
        leaky = f"leaky relu, slope {spec.activation_slope:g}"
        pairs.append(("activation", leaky if spec.activation_slope else spec.activation))
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


def _summarise(organism: Organism) -> str:
    """Training target, regime and main metrics of an organism in one line."""
    config, metrics = _mapping(organism.provenance.get("config")), organism.metrics
    text = [f"{config.get('target', '?')}, {config.get('regime', '?')}"]
    if isinstance(log_mse := metrics.get("log10_mse"), Mapping):
        text.append("log10 MSE " + ", ".join(f"{_number(v)} at {step}" for step, v in log_mse.items()))
    if isinstance(recovered := metrics.get("recovered"), Mapping):
        medians = [_median(recovered.get(cut)) for cut in _CUTS]
        defined = any(value is not None for value in medians)
        text.append("recovers " + " ".join(map(_number, medians)) if defined else "recovery not defined")
    return "; ".join(text)


def metrics_pairs(metrics: Mapping[str, Any]) -> Pairs:
    """Name and text of an organism's metrics."""
    pairs: Pairs = []
    for name, value in metrics.items():
        if name in ("log10_mse", "mature_cells") and isinstance(value, Mapping):
            label, digits = ("log10 MSE", 2) if name == "log10_mse" else ("mature cells", 0)
            pairs.append((label, ", ".join(f"{_number(v, digits)} at step {step}" for step, v in value.items())))
        elif name == "recovered" and isinstance(value, Mapping):
            for cut, entry in value.items():
                runs = " ".join(map(_number, _mapping(entry).get("runs", [])))
                pairs.append((f"recovered, {cut}", f"{_number(_median(entry)):>6}  ({runs})"))
        elif name != "training_log10_loss" or "log10_mse" not in metrics:  # that is of its own canvas, and not clipped
            pairs += _flatten({name: value})
    return pairs


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


def _mapping(value: Any) -> Mapping[str, Any]:
    """A value that a file may hold as a mapping; empty if it is anything else."""
    return value if isinstance(value, Mapping) else {}


def _median(entry: Any) -> Any:
    return entry.get("median") if isinstance(entry, Mapping) else entry


def _cells(shape: Sequence[int]) -> str:
    return "one cell" if tuple(shape[:2]) == (1, 1) else f"{shape[0]} x {shape[1]} cells"


def _alive_test(organism: Organism) -> str:
    spec = organism.rule.spec
    when = {
        "both": "before and after the update",
        "before": "before the update",
        "after": "after the update",
        "gate": "gating the update",
    }
    if spec.alive not in when:
        return "not tested"
    name, sign = organism.rule.channel_names[spec.alpha], ">=" if spec.inclusive else ">"
    return f"3x3 maximum of {name} ({spec.alpha}) {sign} {spec.threshold:g}, {when[spec.alive]}"

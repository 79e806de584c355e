"""`nca import`: an organism from a file that another program wrote, and how certain its conventions are."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from analysis.cli.output import check_outputs, format_pairs, format_table, log_line, print_result
from nca.errors import UserError
from nca.interop.conventions import PRESETS, TYPES, Conventions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nca.interop.importing import WeightFile
    from nca.interop.probe import Trial
    from nca.interop.reference import Difference

RENAMED_OPTIONS = {"--like": "--preset", "--untried": "--no-probe", "--leak": "--negative-slope"}
_MAX_ROWS = 12  # trials in the table, lines of trials without a picture
_MAX_PICTURED = 10  # rows of the sheet


def _option(name: str, default: Any) -> tuple[str, Any, Any]:
    """A convention as a field of the command, None or () where the option is not given."""
    if default is True:  # a flag could only confirm it
        return name, Annotated[bool | None, tyro.conf.FlagConversionOff], None
    return (name, TYPES[name], ()) if name == "filters" else (name, TYPES[name] | None, None)


# The options that state conventions have the names, types and help texts of their fields.
_ConventionOptions: Any = make_dataclass(
    "ConventionOptions",
    [_option(f.name, f.default) for f in fields(Conventions)],
    frozen=True,
    namespace={"__doc__": Conventions.__doc__, "__module__": __name__},
)


@dataclass(frozen=True)
class Import:
    """Read an organism from a file that another program wrote.

    Files do not hold all conventions of a rule; those that are missing are options. Conventions that nothing
    states are inferred by trial growth where possible, otherwise set to the published default; the output
    lists which.

    Attributes:
        file: web JSON, TensorFlow.js, TensorFlow 2 checkpoint or SavedModel, PyTorch, Flax msgpack, Equinox, ONNX,
            Keras, npz, safetensors, or headerless float32 with --sizes.
        out: organism to write, a .safetensors; without it the file is only examined.
        preset: name of a set of conventions; --list shows them.
        sidecar: JSON file of conventions; FILE.conventions.json beside the file if not given.
        check: reference npz to compare states with; nothing is written if they differ.
        list: list the presets.
        sizes: shapes of the arrays in a headerless file, such as w1:48x128,b1:128,w2:128x16.
        name: name of the organism; the file's name by default.
        target: picture file that it was trained for.
        target_size: longer side of that picture, in cells.
        sheet: PNG of the trials; OUT.trials.png beside the organism if not given.
        no_probe: grow no trials; conventions that nothing states take the published default.
        anyway: write the organism though nothing grew in the trials.
        allow_unused: leave out arrays that may belong to another network in the file.
        verbose: print every trial.
        force: overwrite a file that exists.
    """

    file: Positional[Path | None] = None
    out: Path | None = None
    preset: str | None = None
    sidecar: Path | None = None
    check: Path | None = None
    list: bool = False
    sizes: str | None = None
    name: str | None = None
    target: Path | None = None
    target_size: int = 40
    sheet: Path | None = None
    no_probe: bool = False
    anyway: bool = False
    allow_unused: bool = False
    verbose: bool = False
    force: bool = False
    conventions: Annotated[_ConventionOptions, tyro.conf.arg(name="")] = field(default_factory=_ConventionOptions)

    def __post_init__(self) -> None:
        if self.out is not None and self.out.suffix != ".safetensors":
            raise UserError(f"An organism is a .safetensors file; got --out {self.out}.")
        if self.sheet is not None and self.sheet.suffix.lower() != ".png":
            raise UserError(f"The sheet of trials is a .png; got {self.sheet}.")
        if self.file is None and not self.list:
            raise UserError("import needs a file, or --list for the presets; see nca import --help.")

    def execute(self) -> None:
        """Read, probe, report, check and write."""
        if self.list:
            print_result(_preset_list())
        if self.file is None:
            return
        from nca.interop.importing import build_organism, open_weights
        from nca.interop.probe import failure, run_trials
        from nca.interop.reference import compare, read_reference
        from nca.io import save

        check_outputs(self.force, *(path for path in (self.out, self.sheet or _sheet_beside(self.out)) if path))
        reference = read_reference(self.check) if self.check else None
        options = {k: v for k, v in vars(self.conventions).items() if v not in (None, ())}
        file = open_weights(
            self.file,
            preset=self.preset,
            sidecar=self.sidecar,
            sizes=self.sizes,
            allow_unused=self.allow_unused,
            **options,
        )
        print_result(import_summary(file))
        ranked = [] if self.no_probe else run_trials(file, log_line if self.verbose else lambda line: None)
        if ranked:
            failed = not ranked[0].grows and not self.anyway and reference is None
            _print_trials(ranked, self.verbose)
            sheet = self.sheet or (None if failed else _sheet_beside(self.out))
            if sheet is not None:
                print_result(str(_draw_trials(ranked, sheet)))
            if failed:
                raise UserError(f"{failure(file, ranked)} State what you know, or take it as it is with --anyway.")
            file = replace(file, conventions=ranked[0].conventions)
        print_result(_assumption_table(file))
        organism = build_organism(file, name=self.name or "")
        if self.target is not None:
            from nca.targets import target

            organism = replace(organism, target=target(self.target, self.target_size))
        if reference is not None:
            _check_differences(compare(organism, reference))
        if self.out is not None:
            print_result(str(save(organism, self.out)))


def _sheet_beside(out: Path | None) -> Path | None:
    """Where the sheet of trials goes if no place is given."""
    return out.with_suffix(".trials.png") if out else None


def _preset_list() -> str:
    rows = []
    for name, preset in PRESETS.items():
        rows.append((name, preset.about))
        rows += [("", f"{k} = {v}") for k, v in preset.fields.items()]
    return format_pairs(rows)


def import_summary(file: WeightFile) -> str:
    """The network found in a file, and the conventions known with their sources."""
    layers = file.layers
    sizes = [len(layers.weights[0]), *(w.shape[1] for w in layers.weights)]
    kernels = [" x ".join(map(str, k.shape)) for k in layers.kernels]
    rows = [
        ("container", file.contents.container),
        ("layers", " > ".join(map(str, sizes))),
        ("biases", ", ".join("none" if b is None else str(b.size) for b in layers.biases)),
        ("kernels", ", ".join(kernels) or "none in the file"),
        ("arrays", ", ".join(layers.used)),
    ]
    rows += [("not used", ", ".join(layers.unused))] if layers.unused else []
    rows += [("guessed", guess) for guess in layers.guesses]
    values, by_source = file.conventions.values, dict[str, list[str]]()
    for name, source in file.conventions.sources.items():
        # Of a preset, only what differs from the default.
        shown = by_source.setdefault(source, [])
        if not source.startswith("preset") or getattr(values, name) != getattr(Conventions, name):
            shown.append(f"{name} {getattr(values, name)}")
    rows += [(f"from {source}", ", ".join(shown) or "the defaults") for source, shown in by_source.items()]
    return format_pairs(rows)


def _print_trials(ranked: Sequence[Trial], verbose: bool) -> None:
    """What was taken, and what else grows; with `verbose` the table of trials."""
    from nca.interop.probe import describe_conventions, doubts

    best, growing = ranked[0], sum(trial.grows for trial in ranked)
    taken = describe_conventions(best.changes) or "the conventions as stated"
    print_result(f"{len(ranked)} trial{'s'[: len(ranked) > 1]}, {growing} of which grow; best: {taken}: {best.outcome}")
    if verbose:
        rows = [("tried", "outcome", "cells", "excess", "drift", "max abs state")]
        for trial in ranked:
            scores = (f"{trial.excess:.4f}", f"{trial.drift:.4f}") if trial.grows else ("", "")
            name = describe_conventions(trial.changes) or "as stated"
            rows.append((name, trial.outcome, str(trial.cells), *scores, f"{trial.max_abs_state:.3g}"))
        print_result(format_table(rows))
    for line in doubts(ranked):
        print_result(f"doubt: {line}")


def _assumption_table(file: WeightFile) -> str:
    from nca.interop.importing import assumptions

    rows = assumptions(file)
    if not rows:
        return "nothing was assumed"
    return format_table([("assumed, and not verified", "value", "if it is wrong"), *rows])


def _draw_trials(ranked: Sequence[Trial], path: Path) -> Path:
    """Write a sheet of the trials, each a row as it grew, the best first; those without a picture are listed below."""
    import numpy as np

    from analysis.report import plots
    from nca.files import write_file
    from nca.interop.probe import TRIAL_STEPS, describe_conventions

    shown = [t for t in ranked if t.pictures][:_MAX_PICTURED] or list(ranked[:1])
    others = [t for t in ranked if t not in shown]
    lines = [f"{describe_conventions(t.changes)}: {t.outcome}" for t in others[:_MAX_ROWS]]
    lines += [f"and {len(others) - len(lines)} more"] if len(others) > len(lines) else []
    below = 0.1 + 0.13 * (len(lines) + 1 if lines else 0)
    height = 1.1 * len(shown) + 0.3 + below
    alphas = [picture[..., 3] > 0.05 for trial in shown for picture in trial.pictures]
    window = plots.body_window(np.any(alphas, axis=0)) if alphas else (slice(None), slice(None))
    with plots.style():
        widths = [1.5, *([1] * len(TRIAL_STEPS))]
        figure, axes = plots.new_figure(len(shown), len(widths), height, width_ratios=widths)
        for row, trial in zip(axes, shown, strict=True):
            for ax in row:
                plots.hide_frame(ax)
            label = describe_conventions(trial.changes).split(", ") if trial.changes else ["as stated"]
            scores = f": excess {trial.excess:.3f}, drift {trial.drift:.3f}" if trial.grows else ""
            label += [trial.outcome + scores, *(["taken"] if trial is ranked[0] else [])]
            weight = "bold" if trial is ranked[0] else "normal"
            row[0].text(0, 0.5, "\n".join(label), fontsize=6.5, va="center", weight=weight, transform=row[0].transAxes)
            for ax, picture in zip(row[1:], trial.pictures, strict=False):
                plots.draw_body(ax, picture[window])
                for side in ax.spines.values():
                    side.set(visible=True, color="0.85", linewidth=0.6)
            for ax in row[1 + len(trial.pictures) :]:
                ax.text(0.5, 0.5, trial.outcome, ha="center", va="center", fontsize=6.5, transform=ax.transAxes)
        for ax, step in zip(axes[0][1:], TRIAL_STEPS, strict=True):
            ax.set_title(f"step {step}")
        figure.set_layout_engine("constrained", rect=(0, below / height, 1, 1 - below / height))
        if lines:
            text = "\n".join(["not shown", *lines])
            figure.text(0.01, 0.05 / height, text, fontsize=6.5, va="bottom", color="0.3")
        return write_file(path, lambda unfinished: figure.savefig(unfinished, dpi=150))


def _check_differences(differences: list[Difference]) -> None:
    """Print how far the organism is from the reference; raise `UserError` where it is too far."""
    print_result("largest difference from the reference")
    for row in differences:
        verdict = "agrees" if row.agrees else "differs"
        print_result(f"  {row.comparison:9} step {row.step:4d}  {row.largest:.2e}  {verdict}")
    first = next((row for row in differences if not row.agrees), None)
    if first:
        raise UserError(
            f"The organism differs from the reference, first in the {first.comparison} at step {first.step} by "
            f"{first.largest:.2g}; nothing was written. Try other conventions."
        )

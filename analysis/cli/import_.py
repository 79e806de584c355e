"""`nca import`: an organism from a file that other people's code wrote, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from analysis.cli.basic import say, tell
from nca.errors import UserError

if TYPE_CHECKING:
    from nca.interop.build import Opened
    from nca.interop.conventions import Said
    from nca.interop.reference import Difference

MOST_ROWS = 12


@dataclass(frozen=True)
class Import:
    """Read an organism from a file that another program wrote.

    Conventions that the file does not hold are options; those that nobody says are tried where a wrong
    one shows, and assumed where it does not. Both are told.

    Attributes:
        file: web JSON, TensorFlow.js, TensorFlow 2 checkpoint, PyTorch, Flax msgpack, ONNX, Keras, npz,
            safetensors, or headerless float32 with sizes.
        out: organism to write, a .safetensors; if none, only tell.
        like: a preset of conventions, of those that --list shows.
        sidecar: JSON file of conventions; FILE.conventions.json beside the file if none.
        check: reference npz to compare states with; nothing is written if they differ.
        list: list the presets.
        sizes: of the arrays of a headerless file, such as w1:48x128,b1:128,w2:128x16.
        name: what to call the organism; the file's name if none.
        target: picture file that it was trained for.
        target_size: cells of that picture's longer side.
        sheet: PNG of what was tried; NAME.trials.png beside out if none.
        untried: grow nothing, take the usual values of what nobody said.
        order: features by kernel (k*C + c) or by channel (c*K + k).
        filters: of the perception in the order of the features, among identity, dx, dy, -dx, -dy,
            laplacian, laplacian4, laplacian8, average, gradient; the file's kernels win.
        sobel_divisor: what Sobel's kernels are divided by, 8 or 1.
        laplacian_divisor: of [1 2 1; 2 -12 2; 1 2 1], usually 16.
        summed: each gradient is that of the sum of all channels.
        swap_xy: the author's x is our y, rows.
        flip: kernels turned half around, a true convolution.
        perception_activation: the activation also follows a 3x3 convolution found in the file.
        angle: degrees that the compass is turned by.
        step_size: factor of the update.
        boundary: what perception reads beyond the canvas.
        alive_boundary: what the living test reads there.
        alpha: channel of the living test; -1 is the last.
        threshold: alive above it.
        inclusive: alive also where equal to it.
        alive: tested before and after the update, after alone, before to gate the update only, or never.
        reads: perception of the state, or of the state with dead sites at zero.
        fire: comparison of a uniform u with the rate r that lets a cell update.
        fire_rate: that r.
        leak: slope of the hidden layers below zero.
        squash: of the update.
        clip: range of the state after the update.
        clip_channels: first channel clipped, and the one before which it ends.
        premultiplied: colour is multiplied by alpha.
        seed: one cell: alpha and hidden channels 1, alpha alone, RGBA, all ones; or the file's.
        canvas: height and width in cells.
    """

    file: Positional[Path | None] = None
    out: Path | None = None
    like: str | None = None
    sidecar: Path | None = None
    check: Path | None = None
    list: bool = False
    sizes: str | None = None
    name: str | None = None
    target: Path | None = None
    target_size: int = 40
    sheet: Path | None = None
    untried: bool = False
    order: Literal["kernel-major", "channel-major"] | None = None
    filters: tuple[str, ...] = ()
    sobel_divisor: float | None = None
    laplacian_divisor: float | None = None
    summed: bool | None = None
    swap_xy: bool | None = None
    flip: bool | None = None
    perception_activation: bool | None = None
    angle: float | None = None
    step_size: float | None = None
    boundary: Literal["zero", "circular"] | None = None
    alive_boundary: Literal["zero", "circular"] | None = None
    alpha: int | None = None
    threshold: float | None = None
    inclusive: bool | None = None
    alive: Literal["both", "after", "gate", "none"] | None = None
    reads: Literal["state", "masked"] | None = None
    fire: Literal["u<=r", "u<r", "u>r", "always"] | None = None
    fire_rate: float | None = None
    leak: float | None = None
    squash: Literal["none", "tanh"] | None = None
    clip: tuple[float, float] | None = None
    clip_channels: tuple[int, int] | None = None
    premultiplied: bool | None = None
    seed: Literal["hidden", "alpha", "rgba", "ones", "file"] | None = None
    canvas: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.out is not None and self.out.suffix != ".safetensors":
            raise UserError(f"An organism is a .safetensors file; got --out {self.out}.")
        if self.sheet is not None and self.sheet.suffix.lower() != ".png":
            raise UserError(f"The sheet of trials is a .png; got {self.sheet}.")
        if self.file is None and not self.list:
            raise UserError("import needs a file, or --list for the presets; see nca import --help.")


def import_(command: Import) -> None:
    """Read, try, tell, check, write."""
    if command.list:
        tell(listing())
    if command.file is None:
        return
    from nca.interop import build, reference
    from nca.io import save

    expected = reference.read(command.check) if command.check else None
    opened = build.opened(
        command.file, like=command.like, sidecar=command.sidecar, sizes=command.sizes, **given(command)
    )
    tell(understood(opened))
    opened = opened if command.untried else tried(command, opened)
    unknown = build.untold(opened)
    if unknown:
        tell("growth cannot tell, and nobody said:\n  " + "\n  ".join(unknown))
    organism = build.organism_of(opened, name=command.name or "")
    if command.target is not None:
        from nca.targets import target

        organism = replace(organism, target=target(command.target, command.target_size))
    if expected is not None:
        checked(reference.differences(organism, expected))
    if command.out is not None:
        tell(str(save(organism, command.out)))


def given(command: Import) -> dict[str, Any]:
    """The conventions that the options say."""
    from nca.interop.conventions import names

    values = {name: getattr(command, name) for name in names()}
    return {name: value for name, value in values.items() if value is not None and value != ()}


def listing() -> str:
    """The presets, with the fields that each sets apart."""
    from analysis.cli.tables import aligned
    from nca.interop.presets import PRESETS

    rows = []
    for name, preset in PRESETS.items():
        rows.append((name, preset.about))
        rows += [("", f"{k} = {v}") for k, v in preset.fields.items()]
    return aligned(rows)


def understood(opened: Opened) -> str:
    """What was found in the file, and what is said about it."""
    from analysis.cli.tables import aligned

    layers, said = opened.layers, opened.said
    sizes = [len(layers.weights[0]), *(w.shape[1] for w in layers.weights)]
    kernels = [" x ".join(map(str, k.shape)) for k in layers.kernels]
    rows = [
        ("container", opened.contents.container),
        ("layers", " > ".join(map(str, sizes))),
        ("biases", ", ".join("none" if b is None else str(b.size) for b in layers.biases)),
        ("kernels", ", ".join(kernels) or "none in the file"),
        ("arrays", ", ".join(layers.used)),
    ]
    rows += [("not used", ", ".join(layers.unused))] if layers.unused else []
    rows += [("guessed", guess) for guess in layers.guesses]
    return aligned(rows + sources(said))


def sources(said: Said) -> list[tuple[str, str]]:
    """Who said what; of a preset, what it sets apart."""
    usual = type(said.values)()
    words: dict[str, list[str]] = {}
    for name, source in said.sources.items():
        value = getattr(said.values, name)
        told = words.setdefault(source, [])
        if not source.startswith("preset") or value != getattr(usual, name):
            told.append(f"{name} {value}")
    return [(f"by {source}", ", ".join(told) or "all as usual") for source, told in words.items()]


def tried(command: Import, opened: Opened) -> Opened:
    """The file with what trials found; tells them and draws them."""
    from analysis.cli.import_sheet import draw
    from nca.interop import probe

    ranked = probe.trials(opened, say)
    tell(table(ranked))
    for doubt in probe.doubts(ranked):
        tell(f"doubt: {doubt}")
    place = command.sheet or (command.out.with_suffix(".trials.png") if command.out else None)
    if place is not None:
        tell(str(draw(ranked, place)))
    return probe.settled(opened, ranked[0])


def table(ranked: list[Any]) -> str:
    """What was tried and what grew, best first."""
    from nca.interop.probe import described

    rows = [("tried", "outcome", "cells", "excess", "drift", "largest")]
    grown = sum(trial.outcome == "grows" for trial in ranked)
    shown = ranked[: max(MOST_ROWS, min(grown, 2 * MOST_ROWS))]
    for trial in shown:
        numbers = ("", "") if trial.outcome != "grows" else (f"{trial.excess:.4f}", f"{trial.drift:.4f}")
        name = described(trial.changes) or "what is said"
        rows.append((name, trial.outcome, str(trial.cells), *numbers, f"{trial.largest:.3g}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rest = len(ranked) - len(shown)
    return "\n".join(lines + ([f"and {rest} more, none of which grows"] if rest else []))


def checked(found: list[Difference]) -> None:
    """Tell how far the reference is at each step; raise `UserError` where it is too far."""
    tell("largest difference from the reference")
    for row in found:
        verdict = "agrees" if row.agrees else "differs"
        tell(f"  {row.what:9} step {row.step:4d}  {row.largest:.2e}  {verdict}")
    worst = [row for row in found if not row.agrees]
    if worst:
        first = worst[0]
        raise UserError(
            f"The organism differs from the reference, first in the {first.what} at step {first.step} by "
            f"{first.largest:.2g}; nothing was written. Try other conventions."
        )

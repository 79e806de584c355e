"""Pictures to look at while training: the pool, and the loss over training steps."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from nca.files import write_file
from nca.training.checkpoint import read_metrics

_COLUMNS, _ROWS = 8, 4
_CELL = 3  # pixels


def plot_training(pool: jax.Array, folder: Path, step: int) -> Path:
    """Write pool/STEP.png, the pool's first samples on white, and loss.png; returns the former."""
    path = folder / "pool" / f"{step:06d}.png"
    _plot_pool(np.asarray(pool[: _COLUMNS * _ROWS, ..., :4]), path)
    _plot_loss(folder)
    return path


def _plot_pool(states: np.ndarray, path: Path) -> None:
    height, width = states.shape[1:3]
    sheet = np.ones((_ROWS * height, _COLUMNS * width, 3), np.float32)
    for i, rgba in enumerate(states):
        y, x = i // _COLUMNS * height, i % _COLUMNS * width
        alpha = rgba[..., 3:4].clip(0, 1)
        on_white = 1 - alpha + rgba[..., :3].clip(0, 1)  # colours are premultiplied
        sheet[y : y + height, x : x + width] = on_white.clip(0, 1)
    image = Image.fromarray((sheet * 255).round().astype(np.uint8))
    image = image.resize((image.width * _CELL, image.height * _CELL), Image.Resampling.NEAREST)
    path.parent.mkdir(exist_ok=True)
    write_file(path, image.save)


def _plot_loss(folder: Path) -> None:
    """log10 of the loss over training steps, a line for each rollback."""
    rows = read_metrics(folder)
    losses = [(row["step"], row["log10_loss"]) for row in rows if "loss" in row]
    if not losses:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    steps, values = np.array(losses).T
    axes.plot(steps, values, color="#0072B2", lw=0.6, alpha=0.4)
    axes.plot(steps, _moving_average(values), color="#0072B2", lw=1.5)
    for row in rows:
        if row.get("event") == "rollback":
            axes.axvline(row["step"], color="#D55E00", lw=0.8)
    axes.set(xlabel="training step", ylabel="log10 loss")
    axes.spines[["top", "right"]].set_visible(False)
    write_file(folder / "loss.png", lambda path: figure.savefig(path, dpi=150))


def _moving_average(values: np.ndarray, width: int = 15) -> np.ndarray:
    width = min(width, len(values))
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")

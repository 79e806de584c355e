"""What to look at while training: a contact sheet of the pool, the loss over steps."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from nca.io import write_with
from nca.training import checkpoint as runs


def contact_sheet(pool: jax.Array, folder: Path, number: int, columns: int = 8, rows: int = 4) -> Path:
    """A PNG of the pool's first samples on white, `sheets/NUMBER.png`."""
    states = np.asarray(pool[: columns * rows, ..., :4])
    height, width = states.shape[1:3]
    sheet = np.ones((rows * height, columns * width, 3), np.float32)
    for i, state in enumerate(states):
        y, x = i // columns * height, i % columns * width
        sheet[y : y + height, x : x + width] = on_white(state)
    image = Image.fromarray((sheet * 255).round().astype(np.uint8))
    (folder / "sheets").mkdir(exist_ok=True)
    path = folder / "sheets" / f"{number:06d}.png"
    return write_with(path, lambda beside: image.save(beside))


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Premultiplied RGBA (y, x, 4) over white, (y, x, 3) in 0..1."""
    alpha = rgba[..., 3:4].clip(0, 1)
    return (1 - alpha + rgba[..., :3].clip(0, 1)).clip(0, 1)


def loss_curve(folder: Path) -> Path | None:
    """log10 of the loss over training steps, with rollbacks marked: `loss.png`."""
    rows = runs.metrics(folder)
    losses = [(r["step"], r["log10_loss"]) for r in rows if "loss" in r]
    if not losses:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    steps, values = np.array(losses).T
    axes.plot(steps, values, color="#0072B2", lw=0.6, alpha=0.4)
    axes.plot(steps, _smooth(values), color="#0072B2", lw=1.5)
    for row in rows:
        if row.get("event") == "rollback":
            axes.axvline(row["step"], color="#D55E00", lw=0.8)
    axes.set(xlabel="training step", ylabel="log10 mean squared error")
    axes.spines[["top", "right"]].set_visible(False)
    return write_with(folder / "loss.png", lambda beside: figure.savefig(beside, dpi=150))


def _smooth(values: np.ndarray, width: int = 15) -> np.ndarray:
    width = min(width, len(values))
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")

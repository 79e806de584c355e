"""Logging of a training to TensorBoard or Weights & Biases, beside metrics.jsonl; both packages are optional."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nca.errors import UserError
from nca.files import describe_error
from nca.training.config import TrackerName, TrainConfig

_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def import_tracker(name: str) -> Any:
    """The package behind a name, None for none; `UserError` where there is no such name, or no such package here."""
    if name == "none":
        return None
    if name not in _PACKAGES:
        raise UserError(f"log_to must be none, {' or '.join(_PACKAGES)}; got {name!r}.")
    os.environ.setdefault("WANDB_MODE", "offline")  # nothing leaves this machine unless the user says so
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        return importlib.import_module(_PACKAGES[name])
    except ImportError as error:
        raise UserError(
            f"Logging to {name} needs the package {_PACKAGES[name]}: pip install 'nca-dissection[{name}]'."
        ) from error


class Tracker:
    """Where the metrics and pictures of one run are logged; nowhere if the name is none.

    Args:
        name: tensorboard, which writes into the folder `tensorboard` of the run, or wandb, which writes into `wandb`
            there and sends nothing unless WANDB_MODE is online.
        folder: the run folder.
        config: recorded by wandb.
        step: training steps done; later ones that TensorBoard has from before are repeated.
    """

    def __init__(self, name: TrackerName, folder: Path, config: TrainConfig, step: int) -> None:
        self._name, self._package = name, import_tracker(name)
        self._log: Any = None
        if name == "tensorboard":
            self._log = self._package.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        elif name == "wandb":
            options = {"project": "nca-dissection", "name": config.run_name, "config": config.to_json()}
            settings = self._package.Settings(console="off", silent=True)
            try:
                self._log = self._package.init(dir=str(folder), reinit="create_new", settings=settings, **options)
            except Exception as error:  # such as no login, or no network
                raise UserError(
                    f"wandb cannot begin a run ({describe_error(error)}); set WANDB_MODE=offline, and use --resume."
                ) from error
            self._log.define_metric("*", step_metric="step")  # a rollback goes back, which wandb's own steps cannot

    def log(self, row: Mapping[str, Any]) -> None:
        """Log the numbers of a row of metrics, at its step."""
        numbers = {key: value for key, value in row.items() if isinstance(value, int | float) and key != "step"}
        if self._name == "tensorboard":
            for key, value in numbers.items():
                self._log.add_scalar(key, value, row["step"])
        elif self._name == "wandb":
            self._log.log(numbers | {"step": row["step"]})

    def log_picture(self, step: int, path: Path) -> None:
        """Log a picture file that was written at a step."""
        if self._name == "tensorboard":
            with Image.open(path) as image:
                self._log.add_image("pool", np.asarray(image), step, dataformats="HWC")
        elif self._name == "wandb":
            self._log.log({"pool": self._package.Image(str(path)), "step": step})

    def close(self) -> None:
        """Write what is left."""
        if self._log is not None:
            (self._log.close if self._name == "tensorboard" else self._log.finish)()

"""Versions: those that a result depends on, and the keys of files that earlier versions wrote."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("nca-dissection", "jax", "jaxlib", "flax", "optax", "numpy")

# Keys that were renamed, by the mapping they belong to: old key -> new key.
OLD_KEYS: dict[str, dict[str, str]] = {
    "config": {  # a `TrainConfig`, also under provenance["config"]
        "start": "init_from",
        "batch": "batch_size",
        "pool": "pool_size",
        "seeds": "reseed_per_batch",
        "damaged": "damage_per_batch",
        "shortest": "min_steps",
        "longest": "max_steps",
        "rate": "learning_rate",
        "drop_at": "lr_drop_step",
        "drop": "lr_drop_factor",
        "hidden": "hidden_size",
        "sheet_every": "plot_every",
        "keep": "snapshots",
        "rollbacks": "max_rollbacks",
        "limit": "max_abs_state",
    },
    "population": {"recipes": "configs"},  # population.json
    "member": {"part": "shard", "why": "reason"},  # a member in population.json
    "checkpoint": {"written": "metrics_bytes"},  # a `Checkpoint`
    "conventions": {"leak": "negative_slope"},  # of a file for another program, or of its sidecar
    "donor value": {"place": "target"},  # details of a graft, in a file of edits
    "provenance": {},
    "metrics": {"log10_error": "log10_mse"},
    "recovered": {"keys": "runs"},  # of one cut, inside metrics
}


def versions() -> dict[str, str]:
    """Version by package, and of Python; "absent" where a package is not installed. And jax's random numbers.

    The same key gives other numbers under another setting of `jax_default_prng_impl`, `jax_threefry_partitionable` or
    `jax_enable_x64`; the command line always has jax's defaults of today.
    """
    import jax

    config: Any = jax.config
    prng = [config.jax_default_prng_impl]
    prng += [] if config.jax_threefry_partitionable else ["not partitionable"]
    prng += ["64 bits"] if config.jax_enable_x64 else []
    installed = {"python": platform.python_version(), "prng": ", ".join(prng)}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "absent"
    return installed


def modern_keys(mapping: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A mapping read from a file, its keys as this version spells them.

    Args:
        mapping: as it was written, by this version or an earlier one.
        kind: a key of `OLD_KEYS`; "provenance" and "metrics" translate what is inside as well.
    """
    renamed = OLD_KEYS[kind]
    # An old key may have come to mean something else: then the new key stands beside it.
    modern = {key if renamed.get(key) in mapping else renamed.get(key, key): value for key, value in mapping.items()}
    if kind == "provenance" and isinstance(modern.get("config"), Mapping):
        modern["config"] = modern_keys(modern["config"], "config")
    if kind == "metrics" and isinstance(modern.get("recovered"), Mapping):
        cuts = modern["recovered"].items()
        modern["recovered"] = {k: modern_keys(v, "recovered") if isinstance(v, Mapping) else v for k, v in cuts}
    return modern

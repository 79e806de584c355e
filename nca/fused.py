"""Steps by the fused kernel, and where they can be had.

Neither the kernel nor products of bfloat16 have been measured on a GPU yet; see docs/gpu.md.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nca.errors import UserError
from nca.perception import alive
from nca.rule import Rule
from nca.sparse import active_cells, next_state, sparse_is_exact
from nca.step import perception_input

if TYPE_CHECKING:
    from nca.kernels import Layers
    from nca.training.config import TrainConfig

KINDS = ("sobel", "sobel-laplacian", "laplacian", "isotropic")
LEAST = 16  # the shortest side of a matrix that a tensor core multiplies


def fused_step(
    rule: Rule,
    states: Float[Array, "b y x channel"],
    fires: Bool[Array, "b y x"],
    *,
    halves: bool = False,
    interpret: bool = False,
) -> Float[Array, "b y x channel"]:
    """One step of a batch of runs by the fused kernel, equal to the dense step of each.

    Args:
        rule: the rule; `fusible(rule)` must hold.
        states: the runs' states.
        fires: the runs' fire masks.
        halves: products of bfloat16, added up in float32.
        interpret: compute the kernel as XLA would, on any device: for tests.
    """
    from nca.kernels import Form, fused_update  # Pallas is loaded by those alone who use it

    spec = rule.spec
    before = alive(rule, states)
    active = active_cells(rule, before, fires) if sparse_is_exact(rule) else fires
    form = Form(spec.perception, spec.boundary, spec.activation_slope, spec.squash, halves=halves, interpret=interpret)
    spare = _side(spec.channels) - spec.channels
    seen = jnp.pad(perception_input(rule, states, before), [(0, 0)] * 3 + [(0, spare)])
    update = fused_update(form, seen, active.astype(jnp.float32), _pack_layers(rule))
    return next_state(rule, states, before, update[..., : spec.channels])


def _pack_layers(rule: Rule) -> Layers:
    """The rule's arrays as the kernel takes them: turned against the compass, and padded."""
    from nca.kernels import Layers

    (first, last), (b1, b2) = [w[...] for w in rule.weights], [b[...] for b in rule.biases]
    channels, units = rule.spec.channels, first.shape[1]
    blocks = list(first.reshape(-1, channels, units))
    if rule.spec.perception in ("sobel", "sobel-laplacian"):
        # Features turned by an angle, times weights, are plain features times weights turned back.
        cos, sin = jnp.cos(rule.angle[...]), jnp.sin(rule.angle[...])
        right, down = blocks[1], blocks[2]
        blocks[1], blocks[2] = cos * right + sin * down, cos * down - sin * right
    c, u = (0, _side(channels) - channels), (0, _side(units) - units)
    w1 = jnp.pad(jnp.stack(blocks), ((0, 0), c, u))
    return Layers(w1, jnp.pad(b1, u), jnp.pad(last, (u, c)), jnp.pad(b2, c))


def _side(length: int) -> int:
    """The power of two that holds a side of a matrix."""
    return max(LEAST, 1 << (length - 1).bit_length())


def _has_kernel(rule: Rule) -> bool:
    """Whether there is a kernel for this rule."""
    return rule.spec.perception in KINDS and len(rule.weights) == 2


def matmul_precision(precision: str) -> AbstractContextManager[object]:
    """Where XLA's products are of that precision, those of their gradients too."""
    return jax.default_matmul_precision("BF16_BF16_F32") if precision == "bfloat16" else nullcontext()


def check_kernel(config: TrainConfig, rule: Rule) -> None:
    """Raise `UserError` where a recipe's kernel or precision cannot be had."""
    platform = jax.default_backend()
    if config.kernel == "pallas":
        if not _has_kernel(rule):
            raise UserError(
                f"The fused kernel is for {', '.join(KINDS)} perception and two layers; this rule has "
                f"{rule.spec.perception} and {len(rule.weights)} layers: train it with --kernel xla."
            )
        if platform != "gpu":
            raise UserError(f"--kernel pallas needs a GPU, and jax finds {platform} only: use --kernel xla.")
    if config.precision == "bfloat16" and platform == "cpu":
        raise UserError("--precision bfloat16 needs a GPU or TPU; a CPU would silently compute in float32.")

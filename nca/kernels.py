"""The fused GPU step: the update of every cell by one kernel, and its gradient by another.

Between the operations of a plain step, features, hidden layer and delta may go to memory and back: 192
numbers a cell at the published size, where a state has 16. Here a program of the kernel takes one tile of
cells through perception, both layers and fire mask, and writes only the update. Its gradient recomputes
the hidden layer, writes what reaches the features, and adds up the weights' gradients over the program's
tiles. Both skip tiles in which no cell updates. docs/gpu.md says what has been measured on a GPU.

The canvas, with a border one cell wide, is laid flat: cell (y, x) of sample b is row `(b (height + 2) +
y + 1) (width + 2) + x + 1`, so that the nine neighbours of a tile are nine slices at fixed distances,
whatever the canvas's size. Border cells are computed and dropped. Whatever needs a *neighbour's result*
would have to wait for other programs, so it stays in XLA between kernels: the alive tests, and the
perception's transpose at the end of the gradient. Sums over programs are added by XLA, not by atomics, so
that the gradient is the same each time.

Written for the Triton backend of `jax.experimental.pallas`: every array in a kernel has sides that are
powers of two, those of products at least 16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Bool, Float

from nca.perception import alive, filter_fields, neighbours
from nca.rule import Rule
from nca.sparse import active_cells, sparse_is_exact
from nca.spec import PERCEPTIONS
from nca.step import activate, next_state, perception_input

SHORTEST_SIDE = 16  # of a matrix that a tensor core multiplies


def fused_step(
    rule: Rule,
    states: Float[Array, "b y x channel"],
    fires: Bool[Array, "b y x"],
    *,
    bfloat16: bool = False,
    interpret: bool = False,
) -> Float[Array, "b y x channel"]:
    """One step of a batch of runs by the fused kernel, equal to the dense step of each.

    Args:
        rule: one for which `has_kernel(rule)` holds.
        bfloat16: multiply in bfloat16, add in float32.
        interpret: compute the kernel as XLA would, on any device: for tests.
    """
    spec = rule.spec
    before = alive(rule, states)
    active = active_cells(rule, before, fires) if sparse_is_exact(rule) else fires
    hidden = (spec.activation, spec.activation_slope)
    options = _Options(spec.perception, spec.boundary, hidden, spec.squash, bfloat16, interpret)
    padding = [(0, 0)] * 3 + [(0, _padded_side(spec.channels) - spec.channels)]
    read = jnp.pad(perception_input(rule, states, before), padding)
    update = _fused_update(options, read, active.astype(jnp.float32), _pack_layers(rule))
    return next_state(rule, states, before, update[..., : spec.channels])


def has_kernel(rule: Rule) -> bool:
    """Whether the fused kernel computes this rule: fixed filters, the same for every cell, two layers, no exact gelu.

    Triton lacks the error function that exact gelu needs.
    """
    spec = rule.spec
    return spec.perception not in ("steered", "learned") and spec.activation != "gelu" and len(rule.weights) == 2


class _Layers(NamedTuple):
    """Both layers' arrays, or their gradients; every side a power of two, at least 16."""

    w1: Float[Array, "*p filter channel unit"]
    b1: Float[Array, "*p unit"]
    w2: Float[Array, "*p unit channel"]
    b2: Float[Array, "*p channel"]


def _pack_layers(rule: Rule) -> _Layers:
    """The rule's arrays as the kernel takes them: with the compass turned into the weights, and padded."""
    (first, last), (b1, b2) = [w[...] for w in rule.weights], [b[...] for b in rule.biases]
    channels, units = rule.spec.channels, first.shape[1]
    blocks = list(first.reshape(-1, channels, units))
    if PERCEPTIONS[rule.spec.perception].has_compass:
        # Features turned by an angle, times weights, are plain features times weights turned back.
        cos, sin = jnp.cos(rule.angle[...]), jnp.sin(rule.angle[...])
        right, down = blocks[1], blocks[2]
        blocks[1], blocks[2] = cos * right + sin * down, cos * down - sin * right
    c, u = (0, _padded_side(channels) - channels), (0, _padded_side(units) - units)
    w1 = jnp.pad(jnp.stack(blocks), ((0, 0), c, u))
    return _Layers(w1, jnp.pad(b1, u), jnp.pad(last, (u, c)), jnp.pad(b2, c))


def _padded_side(length: int) -> int:
    """The power of two, at least 16, that a side of a matrix is padded to."""
    return max(SHORTEST_SIDE, 1 << (length - 1).bit_length())


@dataclass(frozen=True)
class _Options:
    """What a kernel is compiled for.

    Attributes:
        perception: sobel, sobel-laplacian, laplacian or isotropic, its compass not turned.
        boundary: "zero" or "circular".
        hidden: the hidden layer's activation, and its slope below zero.
        squash: "none" or "tanh".
        bfloat16, interpret: as for `fused_step`.
        tiles: cells of a tile, forward and in the gradient; powers of two, at least 16.
        warps: of 32 threads, by which a program is computed, forward and in the gradient. Larger tiles
            or fewer warps make the gradient, which holds sums as large as the layers, spill registers.
        programs: most programs of the gradient, each with sums of its own; two for each of an
            H100's 132 multiprocessors.
    """

    perception: str = "sobel"
    boundary: str = "zero"
    hidden: tuple[str, float] = ("relu", 0.0)
    squash: str = "none"
    bfloat16: bool = False
    interpret: bool = False
    tiles: tuple[int, int] = (64, 32)
    warps: tuple[int, int] = (4, 8)
    programs: int = 264


class _Tiling(NamedTuple):
    """How a batch is divided among programs.

    Attributes:
        pitch: rows from a cell to the one below it.
        tile: cells of a tile.
        programs: number of programs.
        turns: tiles that each of them takes.
        warps: by which a program is computed.
    """

    pitch: int
    tile: int
    programs: int
    turns: int
    warps: int

    @property
    def rows(self) -> int:
        """Cells computed."""
        return self.tile * self.programs * self.turns


def _tiling(options: _Options, shape: tuple[int, ...], gradient: bool = False) -> _Tiling:
    """The tiling of a batch of states of this shape, (b, y, x, channel)."""
    batch, height, width, _ = shape
    tile, warps = options.tiles[gradient], options.warps[gradient]
    tiles = pl.cdiv(batch * (height + 2) * (width + 2), tile)
    turns = pl.cdiv(tiles, options.programs) if gradient else 1
    return _Tiling(width + 2, tile, pl.cdiv(tiles, turns), turns, warps)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused_update(
    options: _Options, states: Float[Array, "b y x channel"], active: Float[Array, "b y x"], layers: _Layers
) -> Float[Array, "b y x channel"]:
    """The update of a batch: squash(layers(perception(states))) * active.

    `states` is what perception reads, its channels padded as the layers are. `active` is 1 where a cell updates,
    else 0, and has no gradient.
    """
    tiling = _tiling(options, states.shape)
    call = _call(options, tiling, _forward_kernel, (tiling.rows, states.shape[-1]))
    cells = _flat(tiling, states, options.boundary, tiling.pitch + 1)
    (update,) = call(cells, _flat(tiling, active), *_operands(options, layers))
    return _unflat(update, states.shape)


def _forward(options: _Options, states: Array, active: Array, layers: _Layers) -> tuple[Array, Any]:
    return _fused_update(options, states, active, layers), (states, active, layers)


def _backward(options: _Options, residuals: Any, cotangent: Array) -> tuple[Array, None, _Layers]:
    states, active, layers = residuals
    tiling = _tiling(options, states.shape, gradient=True)
    filters, channels, _ = layers.w1.shape
    by_layers = [(tiling.programs, *array.shape) for array in layers]
    call = _call(options, tiling, _backward_kernel, (filters, tiling.rows, channels), *by_layers)
    cells = _flat(tiling, states, options.boundary, tiling.pitch + 1)
    by_fields, *sums = call(cells, _flat(tiling, active), _flat(tiling, cotangent), *_operands(options, layers))
    _, pullback = jax.vjp(
        lambda s: filter_fields(PERCEPTIONS[options.perception].filters, s, neighbours(s, options.boundary)), states
    )
    (by_states,) = pullback([_unflat(field, states.shape) for field in by_fields])
    return by_states, None, _Layers(*(jnp.sum(by_program, axis=0) for by_program in sums))


_fused_update.defvjp(_forward, _backward)


def _forward_kernel(
    options: _Options, tiling: _Tiling, cells: Any, active: Any, w1: Any, b1: Any, w2: Any, b2: Any, update: Any
) -> None:
    """One tile: its update."""
    start = pl.program_id(0) * tiling.tile
    here = pl.ds(start, tiling.tile)
    mask = active[here]
    any_active = jnp.max(mask) > 0

    @pl.when(any_active)
    def _() -> None:
        _, _, _, delta = _tile(options, tiling, cells, start, (w1, b1, w2, b2))
        update[here, :] = (jnp.tanh(delta) if options.squash == "tanh" else delta) * mask[:, None]

    @pl.when(~any_active)
    def _() -> None:
        update[here, :] = jnp.zeros((tiling.tile, cells.shape[-1]), jnp.float32)


def _backward_kernel(
    options: _Options, tiling: _Tiling, cells: Any, active: Any, cotangent: Any, w1: Any, b1: Any, w2: Any, b2: Any,
    by_fields: Any, *totals: Any,
) -> None:  # fmt: skip
    """A program's tiles: what reaches their features, and the layers' gradients added up."""
    filters, channels, units = w1.shape
    program = pl.program_id(0)

    def visit(turn: Array, sums: list[Array]) -> list[Array]:
        start = (program * tiling.turns + turn) * tiling.tile
        here = pl.ds(start, tiling.tile)
        mask = active[here]

        def compute() -> list[Array]:
            features, pre, post, delta = _tile(options, tiling, cells, start, (w1, b1, w2, b2))
            by_delta = cotangent[here, :] * mask[:, None]
            if options.squash == "tanh":
                by_delta = by_delta * (1 - jnp.tanh(delta) ** 2)
            by_post = _product(options, by_delta, w2[...], (1, 1))
            if options.hidden[0] == "relu":  # written out, which saves two sums of zeros
                by_pre = jnp.where(pre > 0, by_post, options.hidden[1] * by_post)
            else:
                (by_pre,) = jax.vjp(partial(_activate, options), pre)[1](by_post)
            for k in range(filters):
                by_fields[k, here, :] = _product(options, by_pre, w1[k], (1, 1))
            terms = [_product(options, feature, by_pre, (0, 0)) for feature in features]
            terms += [by_pre.sum(0), _product(options, post, by_delta, (0, 0)), by_delta.sum(0)]
            return [total + term for total, term in zip(sums, terms, strict=True)]

        def skip() -> list[Array]:
            for k in range(filters):
                by_fields[k, here, :] = jnp.zeros((tiling.tile, channels), jnp.float32)
            return sums

        return lax.cond(jnp.max(mask) > 0, compute, skip)

    shapes = [(channels, units)] * filters + [(units,), (units, channels), (channels,)]
    sums = lax.fori_loop(0, tiling.turns, visit, [jnp.zeros(shape, jnp.float32) for shape in shapes])
    by_w1, by_b1, by_w2, by_b2 = totals
    for k in range(filters):
        by_w1[program, k] = sums[k]
    by_b1[program], by_w2[program], by_b2[program] = sums[filters:]


def _tile(
    options: _Options, tiling: _Tiling, cells: Any, start: Array, layers: tuple[Any, ...]
) -> tuple[list[Array], Array, Array, Array]:
    """Features, hidden layer before and after its activation, and delta of a tile."""
    w1, b1, w2, b2 = layers
    near = {
        (dy, dx): cells[pl.ds(start + (1 + dy) * tiling.pitch + 1 + dx, tiling.tile), :]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    features = filter_fields(PERCEPTIONS[options.perception].filters, near[0, 0], near)
    pre = sum(_product(options, feature, w1[k]) for k, feature in enumerate(features)) + b1[...]
    post = _activate(options, pre)
    return features, pre, post, _product(options, post, w2[...]) + b2[...]


def _activate(options: _Options, pre: Array) -> Array:
    name, slope = options.hidden
    return jnp.where(pre > 0, pre, slope * pre) if name == "relu" else activate(name, slope, pre)


def _product(options: _Options, a: Array, b: Array, over: tuple[int, int] = (1, 0)) -> Array:
    """The product of two matrices summed over one axis of each, in float32."""
    dtype = jnp.bfloat16 if options.bfloat16 else jnp.float32
    axes = (((over[0],), (over[1],)), ((), ()))
    return lax.dot_general(a.astype(dtype), b.astype(dtype), axes, preferred_element_type=jnp.float32)


def _call(
    options: _Options, tiling: _Tiling, kernel: Callable[..., None], *shapes: tuple[int, ...]
) -> Callable[..., list[Array]]:
    from jax.experimental.pallas import triton  # only where a kernel is used

    return pl.pallas_call(
        partial(kernel, options, tiling),
        grid=(tiling.programs,),
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
        interpret=options.interpret,
        compiler_params=triton.CompilerParams(num_warps=tiling.warps),
        name=f"nca{kernel.__name__}",
    )


def _operands(options: _Options, layers: _Layers) -> tuple[Array, ...]:
    """The layers as the kernels read them."""
    dtype = jnp.bfloat16 if options.bfloat16 else jnp.float32
    return layers.w1.astype(dtype), layers.b1, layers.w2.astype(dtype), layers.b2


def _flat(tiling: _Tiling, field: Array, boundary: str = "zero", margin: int = 0) -> Array:
    """A field of the batch laid flat, with so many rows before and after it for the outermost cells' neighbours."""
    width = [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (field.ndim - 3)
    bordered = jnp.pad(field, width, mode="wrap" if boundary == "circular" else "constant")
    flat = bordered.reshape(-1, *field.shape[3:])
    return jnp.pad(flat, [(margin, margin + tiling.rows - len(flat))] + [(0, 0)] * (flat.ndim - 1))


def _unflat(flat: Array, shape: tuple[int, ...]) -> Array:
    """The cells of the canvases, without border."""
    batch, height, width, channels = shape
    rows = flat[: batch * (height + 2) * (width + 2)]
    return rows.reshape(batch, height + 2, width + 2, channels)[:, 1:-1, 1:-1]

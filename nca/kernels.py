"""The update of every cell by one GPU kernel, and its gradient by another.

Between the operations of a plain step, features, hidden layer and delta may go to memory and back: 192
numbers a cell at the published size, where a state has 16. Here a program of the kernel takes one tile of
cells through perception, both layers and fire mask, and writes the update alone; its gradient recomputes
the hidden layer, writes what reaches the features, and adds up the weights' gradients over the program's
tiles. Both leave out tiles in which no cell updates.

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
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from nca.perception import _laplacian, _sobel, neighbours

Near = dict[tuple[int, int], Array]


@dataclass(frozen=True)
class Form:
    """What a kernel is compiled for.

    Attributes:
        perception: sobel, sobel-laplacian, laplacian or isotropic, its compass not turned.
        boundary: "zero" or "circular".
        activation_slope: of the hidden layer below zero.
        squash: "none" or "tanh".
        halves: products of bfloat16, added up in float32.
        interpret: compute as XLA would, on any device: for tests.
        tiles: cells of a tile, forward and in the gradient; powers of two, at least 16.
        warps: of 32 threads, by which a program is computed, forward and in the gradient. Larger tiles
            or fewer warps make the gradient, which holds sums as large as the layers, spill registers.
        programs: most programs of the gradient, each with sums of its own; two for each of an
            H100's 132 multiprocessors.
    """

    perception: str = "sobel"
    boundary: str = "zero"
    activation_slope: float = 0.0
    squash: str = "none"
    halves: bool = False
    interpret: bool = False
    tiles: tuple[int, int] = (64, 32)
    warps: tuple[int, int] = (4, 8)
    programs: int = 264


class Layers(NamedTuple):
    """Both layers' arrays, or their gradients; every side a power of two, at least 16."""

    w1: Float[Array, "*p filter channel unit"]
    b1: Float[Array, "*p unit"]
    w2: Float[Array, "*p unit channel"]
    b2: Float[Array, "*p channel"]


class Plan(NamedTuple):
    """How a batch is laid out and shared out.

    Attributes:
        pitch: rows from a cell to the one below it.
        tile: cells of a tile.
        programs: how many compute it.
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


def plan(form: Form, shape: tuple[int, ...], gradient: bool = False) -> Plan:
    """The plan for a batch of states of this shape, (b, y, x, channel)."""
    batch, height, width, _ = shape
    tile, warps = form.tiles[gradient], form.warps[gradient]
    tiles = pl.cdiv(batch * (height + 2) * (width + 2), tile)
    turns = pl.cdiv(tiles, form.programs) if gradient else 1
    return Plan(width + 2, tile, pl.cdiv(tiles, turns), turns, warps)


def fields(perception: str, near: Near) -> list[Array]:
    """The filters' fields, from the nine neighbours of every cell."""
    if perception == "laplacian":
        return [near[0, 0], _laplacian(near)]
    dx, dy = _sobel(near)
    if perception == "isotropic":
        return [near[0, 0], _laplacian(near), jnp.sqrt(dx**2 + dy**2 + 1e-8)]
    return [near[0, 0], dx, dy] + ([_laplacian(near)] if perception == "sobel-laplacian" else [])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def fused_update(
    form: Form,
    states: Float[Array, "b y x channel"],
    active: Float[Array, "b y x"],
    layers: Layers,
) -> Float[Array, "b y x channel"]:
    """The update of a batch: squash(layers(perception(states))) * active.

    Args:
        form: what the kernel is compiled for.
        states: what perception reads; channels padded to a power of two, at least 16.
        active: 1 where a cell updates, else 0; it has no gradient.
        layers: both layers, padded likewise.
    """
    where = plan(form, states.shape)
    call = _call(form, where, _forward_kernel, (where.rows, states.shape[-1]))
    (update,) = call(_with_border(form, where, states), _flat(where, active), *_operands(form, layers))
    return _unflat(update, states.shape)


def _forward(form: Form, states: Array, active: Array, layers: Layers) -> tuple[Array, Any]:
    return fused_update(form, states, active, layers), (states, active, layers)


def _backward(form: Form, kept: Any, slope: Array) -> tuple[Array, None, Layers]:
    states, active, layers = kept
    where = plan(form, states.shape, gradient=True)
    filters, channels, _ = layers.w1.shape
    parts = [(where.programs, *array.shape) for array in layers]
    call = _call(form, where, _backward_kernel, (filters, where.rows, channels), *parts)
    by_fields, *sums = call(
        _with_border(form, where, states),
        _flat(where, active),
        _flat(where, slope),
        *_operands(form, layers),
    )
    _, pull = jax.vjp(lambda s: fields(form.perception, neighbours(s, form.boundary)), states)
    (by_states,) = pull([_unflat(one, states.shape) for one in by_fields])
    return by_states, None, Layers(*(jnp.sum(part, axis=0) for part in sums))


fused_update.defvjp(_forward, _backward)


def _forward_kernel(
    form: Form, where: Plan, cells: Any, active: Any, w1: Any, b1: Any, w2: Any, b2: Any, update: Any
) -> None:
    """One tile: its update."""
    start = pl.program_id(0) * where.tile
    here = pl.ds(start, where.tile)
    mask = active[here]
    some = jnp.max(mask) > 0

    @pl.when(some)
    def _() -> None:
        _, _, _, delta = _tile(form, where, cells, start, (w1, b1, w2, b2))
        update[here, :] = (jnp.tanh(delta) if form.squash == "tanh" else delta) * mask[:, None]

    @pl.when(~some)
    def _() -> None:
        update[here, :] = jnp.zeros((where.tile, cells.shape[-1]), jnp.float32)


def _backward_kernel(
    form: Form, where: Plan, cells: Any, active: Any, slope: Any, w1: Any, b1: Any, w2: Any, b2: Any,
    by_fields: Any, *totals: Any,
) -> None:  # fmt: skip
    """A program's tiles: what reaches their features, and the layers' gradients added up."""
    filters, channels, units = w1.shape
    program = pl.program_id(0)

    def visit(turn: Array, sums: list[Array]) -> list[Array]:
        start = (program * where.turns + turn) * where.tile
        here = pl.ds(start, where.tile)
        mask = active[here]

        def work() -> list[Array]:
            features, pre, post, delta = _tile(form, where, cells, start, (w1, b1, w2, b2))
            by_delta = slope[here, :] * mask[:, None]
            if form.squash == "tanh":
                by_delta = by_delta * (1 - jnp.tanh(delta) ** 2)
            by_post = _product(form, by_delta, w2[...], (1, 1))
            by_pre = jnp.where(pre > 0, by_post, form.activation_slope * by_post)
            for k in range(filters):
                by_fields[k, here, :] = _product(form, by_pre, w1[k], (1, 1))
            found = [_product(form, feature, by_pre, (0, 0)) for feature in features]
            found += [by_pre.sum(0), _product(form, post, by_delta, (0, 0)), by_delta.sum(0)]
            return [total + more for total, more in zip(sums, found, strict=True)]

        def rest() -> list[Array]:
            for k in range(filters):
                by_fields[k, here, :] = jnp.zeros((where.tile, channels), jnp.float32)
            return sums

        return lax.cond(jnp.max(mask) > 0, work, rest)

    shapes = [(channels, units)] * filters + [(units,), (units, channels), (channels,)]
    sums = lax.fori_loop(0, where.turns, visit, [jnp.zeros(shape, jnp.float32) for shape in shapes])
    by_w1, by_b1, by_w2, by_b2 = totals
    for k in range(filters):
        by_w1[program, k] = sums[k]
    by_b1[program], by_w2[program], by_b2[program] = sums[filters:]


def _tile(
    form: Form, where: Plan, cells: Any, start: Array, layers: tuple[Any, ...]
) -> tuple[list[Array], Array, Array, Array]:
    """Features, hidden layer before and after its activation, and delta of a tile."""
    w1, b1, w2, b2 = layers
    near = {
        (dy, dx): cells[pl.ds(start + (1 + dy) * where.pitch + 1 + dx, where.tile), :]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    features = fields(form.perception, near)
    pre = sum(_product(form, feature, w1[k]) for k, feature in enumerate(features)) + b1[...]
    post = jnp.where(pre > 0, pre, form.activation_slope * pre)
    return features, pre, post, _product(form, post, w2[...]) + b2[...]


def _product(form: Form, a: Array, b: Array, over: tuple[int, int] = (1, 0)) -> Array:
    """The product of two matrices summed over one axis of each, in float32."""
    kind = jnp.bfloat16 if form.halves else jnp.float32
    axes = (((over[0],), (over[1],)), ((), ()))
    return lax.dot_general(a.astype(kind), b.astype(kind), axes, preferred_element_type=jnp.float32)


def _call(form: Form, where: Plan, kernel: Callable[..., None], *shapes: tuple[int, ...]) -> Callable[..., list[Array]]:
    return pl.pallas_call(
        partial(kernel, form, where),
        grid=(where.programs,),
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
        interpret=form.interpret,
        compiler_params=triton.CompilerParams(num_warps=where.warps),
        name=f"nca{kernel.__name__}",
    )


def _operands(form: Form, layers: Layers) -> tuple[Array, ...]:
    """The layers as the kernels read them."""
    kind = jnp.bfloat16 if form.halves else jnp.float32
    return layers.w1.astype(kind), layers.b1, layers.w2.astype(kind), layers.b2


def _with_border(form: Form, where: Plan, states: Array) -> Array:
    """The flat batch, with rows before it and after it for the first and last cells' neighbours."""
    width = [(0, 0), (1, 1), (1, 1), (0, 0)]
    bordered = jnp.pad(states, width, mode="wrap" if form.boundary == "circular" else "constant")
    flat = bordered.reshape(-1, states.shape[-1])
    before = where.pitch + 1
    return jnp.pad(flat, ((before, before + where.rows - len(flat)), (0, 0)))


def _flat(where: Plan, field: Array) -> Array:
    """A field of the batch laid flat, zero on the border."""
    width = [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (field.ndim - 3)
    bordered = jnp.pad(field, width)
    flat = bordered.reshape(-1, *field.shape[3:])
    return jnp.pad(flat, [(0, where.rows - len(flat))] + [(0, 0)] * (flat.ndim - 1))


def _unflat(flat: Array, shape: tuple[int, ...]) -> Array:
    """The cells of the canvases, without border."""
    batch, height, width, channels = shape
    rows = flat[: batch * (height + 2) * (width + 2)]
    return rows.reshape(batch, height + 2, width + 2, channels)[:, 1:-1, 1:-1]

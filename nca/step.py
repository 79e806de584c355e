"""One step of growth, site by site: the plain definition that everything faster must equal.

    before      b = max3x3(alpha(s)) > threshold
    perception  p = filters(s)                  (s * b where a rule perceives the masked state)
    pre         z = p W1 + b1                   (pre2, post2, ... where there are more hidden layers)
    post        h = relu(z)                     (or another activation)
    delta       d = h W2 + b2
    fire        m = uniform(fold_in(run_key, t)) <= fire rate
    update      u = squash(d) * m * gate
    alive       a = b and after                 (after: the test of `before` on clip(s + u))
    next        clip(s + u) * a

squash, clip and gate are identity or 1 unless the rule's `Spec` says otherwise. Every site but `before` and
`next` can be edited; an edited value feeds the rest of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nca.edits.edit import Edit, apply
from nca.perception import alive, perceive
from nca.rule import Rule
from nca.spec import Spec

Tap = Callable[[str, Array], Array]


def fire_mask(rule: Rule, key: Any, t: Array | int, canvas: tuple[int, int]) -> Bool[Array, "y x"]:
    """Which cells update in step t of the run with this key."""
    return jax.random.uniform(jax.random.fold_in(key, t), canvas, jnp.float32) <= rule.spec.fire_rate


def step_sites(
    rule: Rule,
    state: Float[Array, "y x channel"],
    fire: Bool[Array, "y x"],
    *,
    edits: Sequence[Edit] = (),
    t: Array | int = 0,
    key: Array | None = None,
) -> dict[str, Array]:
    """Every named site of one step, computed densely.

    Args:
        rule: the rule.
        state: s_t.
        fire: True where a cell updates.
        edits: changes made at sites; those whose window excludes t change nothing.
        t: number of the step.
        key: the run's key, for edits that draw noise.

    Returns:
        state (as it was read, after edits), before, perception (y, x, filter, channel), pre, post,
        delta, fire, update, alive, next.
    """
    spec, sites = rule.spec, {}

    def tap(site: str, values: Array) -> Array:
        sites[site] = apply(edits, site, values, t, key)
        return sites[site]

    state = tap("state", state)
    before = sites["before"] = alive(rule, state)
    features = jnp.concatenate(perceive(rule, perception_input(rule, state, before)), axis=-1)
    features = tap("perception", features)
    sites["perception"] = features.reshape(*features.shape[:-1], -1, spec.channels)
    delta = tap("delta", dense_layers(rule, features, tap))
    fire = sites["fire"] = tap("fire", fire[..., None].astype(jnp.float32))[..., 0] > 0
    gate = fire & before if spec.alive == "gate" else fire
    update = tap("update", squash(spec, delta) * gate[..., None])
    after = _clip(spec, state + update)
    survives = tap("alive", _survives(rule, before, after)[..., None].astype(jnp.float32))[..., 0] > 0
    sites["alive"] = survives
    sites["next"] = jnp.where(survives[..., None], after, 0.0)
    return sites


def dense_step(
    rule: Rule,
    state: Float[Array, "y x channel"],
    fire: Bool[Array, "y x"],
    *,
    edits: Sequence[Edit] = (),
    t: Array | int = 0,
    key: Array | None = None,
) -> Float[Array, "y x channel"]:
    """s_t+1, every cell computed; arguments as for `step_sites`."""
    return step_sites(rule, state, fire, edits=edits, t=t, key=key)["next"]


# The pieces that faster steps share.


def perception_input(rule: Rule, state: Array, before: Array) -> Array:
    """What perception reads: the state, or the state of living sites only."""
    return state * before[..., None] if rule.spec.reads == "masked" else state


def dense_layers(rule: Rule, features: Float[Array, "*n feature"], tap: Tap) -> Float[Array, "*n channel"]:
    """Features to delta through the dense layers; `tap(site, values)` sees, and may change, pre and post."""
    values = features
    hidden = len(rule.weights) - 1
    for layer, (weight, bias) in enumerate(zip(rule.weights, rule.biases, strict=True)):
        values = values @ weight[...] + bias[...]
        if layer < hidden:
            suffix = "" if layer == 0 else str(layer + 1)
            values = tap("pre" + suffix, values)
            values = activate(rule.spec.activation, rule.spec.activation_slope, values)
            values = tap("post" + suffix, values)
    return values


def activate(activation: str, slope: float, values: Array) -> Array:
    """A hidden layer's activation, elementwise: one of `nca.spec.ACTIVATIONS`; `slope` is of relu below zero."""
    match activation:
        case "relu":
            return jax.nn.relu(values) if slope == 0 else jnp.where(values > 0, values, slope * values)
        case "tanh" | "sigmoid" | "elu" | "swish":
            return getattr(jax.nn, activation)(values)
        case _:
            return jax.nn.gelu(values, approximate=activation == "gelu-tanh")


def squash(spec: Spec, delta: Array) -> Array:
    """tanh of the delta where the rule has it, else the delta."""
    return jnp.tanh(delta) if spec.squash == "tanh" else delta


def next_state(rule: Rule, state: Array, before: Array, update: Array) -> Array:
    """The state after an update: clipped, and zero where a site does not survive."""
    after = _clip(rule.spec, state + update)
    return jnp.where(_survives(rule, before, after)[..., None], after, 0.0)


def _clip(spec: Spec, state: Array) -> Array:
    if spec.clip is None:
        return state
    clipped = jnp.clip(state, *spec.clip)
    if spec.clip_channels is None:
        return clipped
    channel = jnp.arange(spec.channels)
    first, stop = spec.clip_channels
    return jnp.where((first <= channel) & (channel < stop), clipped, state)


def _survives(rule: Rule, before: Array, after: Array) -> Array:
    """The site `alive`: which sites keep their state after the update."""
    test = rule.spec.alive
    if test in ("gate", "none"):
        return jnp.ones_like(before)
    if test == "before":
        return before
    alive_after = alive(rule, after)
    return alive_after if test == "after" else before & alive_after

"""One step of growth, site by site: the plain definition that everything else must equal.

    before      max3x3(alpha(s)) > threshold
    perception  p = filters(s)                  (s * before where a rule perceives the masked state)
    pre, post   z W1 + b1, relu                 (pre2, post2, ... where there are more hidden layers)
    delta       last layer
    update      u = squash(delta) * fire * gate
    alive       a = before and after            (after: the same test on clip(s + u))
    next        clip(s + u) * a

Every site can be edited; an edited value feeds the rest of the step.
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
    """Which cells update in step t of the run whose key this is."""
    return jax.random.uniform(jax.random.fold_in(key, t), canvas) <= rule.spec.fire_rate


def dense_layers(rule: Rule, features: Float[Array, "*n feature"], tap: Tap) -> Float[Array, "*n channel"]:
    """The dense layers: features to delta. `tap` is shown, and may change, pre and post."""
    values = features
    depth = len(rule.weights)
    for layer, (weight, bias) in enumerate(zip(rule.weights, rule.biases, strict=True)):
        values = values @ weight[...] + bias[...]
        if layer < depth - 1:
            suffix = "" if layer == 0 else str(layer + 1)
            values = tap("pre" + suffix, values)
            values = tap("post" + suffix, _activation(rule.spec, values))
    return values


def _activation(spec: Spec, values: Array) -> Array:
    """relu, or leaky where the rule says so."""
    slope = spec.activation_slope
    return jax.nn.relu(values) if slope == 0 else jnp.where(values > 0, values, slope * values)


def squash(spec: Spec, delta: Array) -> Array:
    """tanh of the delta, where the rule says so."""
    return jnp.tanh(delta) if spec.squash == "tanh" else delta


def _clip(spec: Spec, state: Array) -> Array:
    """The state within its range, where the rule has one, in the channels that it holds for."""
    if spec.clip is None:
        return state
    within = jnp.clip(state, *spec.clip)
    if spec.clip_channels is None:
        return within
    channel = jnp.arange(spec.channels)
    first, stop = spec.clip_channels
    return jnp.where((first <= channel) & (channel < stop), within, state)


def _survivors(rule: Rule, before: Array, grown: Array) -> Array:
    """The site `alive`: who keeps its state after the update."""
    where = rule.spec.alive
    if where in ("gate", "none"):
        return jnp.ones_like(before)
    after = alive(rule, grown)
    return after if where == "after" else before & after


def perception_input(rule: Rule, state: Array, before: Array) -> Array:
    """What perception reads: the state, or the state of living sites only."""
    return state * before[..., None] if rule.spec.reads == "masked" else state


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
        t: the step's number.
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
    fire = tap("fire", fire[..., None].astype(jnp.float32))[..., 0] > 0
    sites["fire"] = fire
    gate = fire & before if spec.alive == "gate" else fire
    update = tap("update", squash(spec, delta) * gate[..., None])
    grown = _clip(spec, state + update)
    lives = tap("alive", _survivors(rule, before, grown)[..., None].astype(jnp.float32))[..., 0] > 0
    sites["alive"] = lives
    sites["next"] = jnp.where(lives[..., None], grown, 0.0)
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
    """s_t+1, every cell computed."""
    return step_sites(rule, state, fire, edits=edits, t=t, key=key)["next"]

"""One step of growth in NumPy and double precision, written from the equations and from nothing else.

    before      b = max3x3(alpha(s)) > threshold
    perception  p = filters(s)                  (s * b where a rule perceives the masked state)
    pre         z = p W1 + b1                   (pre2, post2, ... where there are more hidden layers)
    post        h = relu(z)                     (or another activation)
    delta       d = h W2 + b2
    update      u = squash(d) * m * gate        (m, the fire mask, is given)
    alive       a = b and after                 (after: the test of `before` on clip(s + u))
    next        clip(s + u) * a

Nothing here is fast: neighbours are gathered by index arithmetic, kernels are written out.
"""

from dataclasses import asdict, dataclass

import numpy as np
import scipy

IDENTITY = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], float)
RIGHTWARD = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
DOWNWARD = RIGHTWARD.T
LAPLACIAN = np.array([[1, 2, 1], [2, -12, 2], [1, 2, 1]]) / 16


@dataclass(frozen=True)
class Net:
    """A rule as plain arrays; its conventions by name."""

    weights: list
    biases: list
    kernels: np.ndarray | None
    angle: float
    conventions: dict


def net_of(rule):
    """The arrays and conventions of a rule of the package."""
    return Net(
        [np.asarray(w[...], float) for w in rule.weights],
        [np.asarray(b[...], float) for b in rule.biases],
        None if rule.kernels is None else np.asarray(rule.kernels[...], float),
        float(rule.angle[...]),
        asdict(rule.spec),
    )


def neighbours(field, boundary, beyond):
    """out[i, j, y, x] = field[y + i - 1, x + j - 1], and `beyond` past a boundary that is not circular."""
    height, width = field.shape[:2]
    out = np.full((3, 3, *field.shape), float(beyond))
    for i in range(3):
        for j in range(3):
            for y in range(height):
                for x in range(width):
                    v, u = y + i - 1, x + j - 1
                    if boundary == "circular":
                        v, u = v % height, u % width
                    if 0 <= v < height and 0 <= u < width:
                        out[i, j, y, x] = field[v, u]
    return out


def correlate(kernel, near):
    return np.einsum("ij,ijyxc->yxc", kernel, near)


def alive(net, state):
    near = neighbours(state[..., net.conventions["alpha"]], net.conventions["alive_boundary"], -np.inf)
    strongest = near.max(axis=(0, 1))
    threshold = np.float32(net.conventions["threshold"])
    return strongest >= threshold if net.conventions["inclusive"] else strongest > threshold


def perception(net, state):
    """(y, x, filter, channel)."""
    near = neighbours(state, net.conventions["boundary"], 0.0)
    kind = net.conventions["perception"]
    if kind == "learned":
        return np.stack([np.einsum("cij,ijyxc->yxc", broadcast_kernel(k, state), near) for k in net.kernels], axis=2)
    same, bend = correlate(IDENTITY, near), correlate(LAPLACIAN, near)
    right, down = correlate(RIGHTWARD, near), correlate(DOWNWARD, near)
    if kind == "laplacian":
        return np.stack([same, bend], axis=2)
    if kind == "isotropic":
        return np.stack([same, bend, np.sqrt(right**2 + down**2 + 1e-8)], axis=2)
    angle = np.full(state.shape[:2], net.angle)
    if kind == "steered":
        angle = angle + state[..., net.conventions["steer"]]
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    perceived = [same, cos * right - sin * down, sin * right + cos * down]
    return np.stack(perceived + ([bend] if kind == "sobel-laplacian" else []), axis=2)


def broadcast_kernel(kernel, state):
    return np.broadcast_to(kernel, (state.shape[2], 3, 3))


def clip(net, state):
    return state if net.conventions["clip"] is None else np.clip(state, *net.conventions["clip"])


def activate(conventions, values):
    """The activations by their textbook formulas."""
    sigmoid = 1 / (1 + np.exp(-values))
    return {
        "relu": np.where(values > 0, values, conventions["activation_slope"] * values),
        "tanh": np.tanh(values),
        "sigmoid": sigmoid,
        "elu": np.where(values > 0, values, np.expm1(np.minimum(values, 0))),
        "swish": values * sigmoid,
        "gelu": values * scipy.stats.norm.cdf(values),
        "gelu-tanh": values / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (values + 0.044715 * values**3))),
    }[conventions["activation"]]


def step(net, state, fire):
    """Every named site of one step."""
    conventions, sites = net.conventions, {"state": np.asarray(state, float), "fire": fire}
    state = sites["state"]
    before = sites["before"] = alive(net, state)
    read = state * before[..., None] if conventions["reads"] == "masked" else state
    perceived = sites["perception"] = perception(net, read)
    values = perceived.reshape(*state.shape[:2], -1)
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        values = np.einsum("yxi,io->yxo", values, weight) + bias
        if layer < len(net.weights) - 1:
            name = "" if layer == 0 else str(layer + 1)
            sites["pre" + name] = values
            values = sites["post" + name] = activate(conventions, values)
    sites["delta"] = values
    gate = before if conventions["alive"] == "gate" else np.ones_like(before)
    squashed = np.tanh(values) if conventions["squash"] == "tanh" else values
    sites["update"] = squashed * (fire & gate)[..., None]
    after_update = clip(net, state + sites["update"])
    after = alive(net, after_update)
    kinds = {"both": before & after, "before": before, "after": after}
    survives = kinds.get(conventions["alive"], np.ones_like(after))
    sites["alive"] = survives
    sites["next"] = after_update * survives[..., None]
    return sites


def run(net, state, fires):
    """All states, from the one given on."""
    states = [np.asarray(state, float)]
    for fire in fires:
        states.append(step(net, states[-1], fire)["next"])
    return np.stack(states)

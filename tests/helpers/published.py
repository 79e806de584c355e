"""Organisms that other people trained, read from their reference files as rules of the package."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers import oracle
from nca.organism import Organism
from nca.rule import Rule

NAMES = (
    "bobmerkus-pretzel",
    "chen-gecko",
    "distill-butterfly-growing",
    "distill-gecko-persistent",
    "distill-gecko-regenerating",
    "google-planarian",
    "gorold-gecko",
    "jaxnca-gecko-flax",
    "matthewdso-goose",
    "semvdn-starfish-persistent",
)
SAVED = (0, 1, 2, 10, 50, 100, 200)
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8

FILES = {
    "bobmerkus-pretzel/emoji_8.pth": "chen2020",
    "bobmerkus-pretzel/emoji_8.onnx": "chen2020",
    "chen-gecko/remaster_1.pth": "chen2020",
    "distill-butterfly-growing/ex1_butterfly.json": "distill-web",
    "distill-gecko-persistent/ex2_gecko.json": "distill-web",
    "distill-gecko-regenerating/ex3_gecko.json": "distill-web",
    "google-planarian/8000.index": "distill-tf",
    "google-planarian/8000.json": "distill-tf",
    "gorold-gecko/nca_0.pth": "gorold",
    "jaxnca-gecko-flax/gecko_100_cell_fire_rate.msgpack": "jax-nca",
    "matthewdso-goose/goose.pt": "matthewd-so",
    "semvdn-starfish-persistent/starfish_persistent_5000.json": "semvdn",
}


@dataclass(frozen=True)
class Published:
    """An organism, and what an independent replay of its author's conventions produced."""

    organism: Organism
    arrays: dict
    fires: np.ndarray

    def state(self, step):
        return self.arrays[f"state_{step}"]


def load_published(folder: Path, name: str) -> Published:
    meta = json.loads((folder / name / "meta.json").read_text())["neutral"]
    with np.load(folder / name / "reference.npz") as file:
        arrays = dict(file)
    weights = [arrays[k] for k in ("w1", "w2", "w3") if k in arrays]
    biases = [arrays.get(k.replace("w", "b")) for k in ("w1", "w2", "w3") if k in arrays]
    inputs, hidden = weights[0].shape
    if meta["feature_order"] == "channel_major":
        by_channel = weights[0].reshape(meta["channels"], meta["n_kernels"], hidden)
        weights[0] = by_channel.transpose(1, 0, 2).reshape(inputs, hidden)
    rows_first = np.allclose(arrays["kernels"][1], SOBEL.T)
    if rows_first:
        blocks = weights[0].reshape(3, meta["channels"], hidden)
        weights[0] = blocks[[0, 2, 1]].reshape(inputs, hidden)
    rule = Rule.from_arrays(weights, biases, **_conventions(meta))
    organism = Organism(rule, canvas=tuple(meta["grid"]), name=name)
    steps, height, width = arrays["mask_shape"]
    bits = np.unpackbits(arrays["masks_packed"], axis=1)[:, : height * width]
    return Published(organism, arrays, bits.reshape(steps, height, width).astype(bool))


def with_learned_kernels(published: Published) -> Rule:
    """The same rule with a learned perception: the kernels of its file, in the order of its file."""
    spec = published.organism.rule.spec
    kernels = published.arrays["kernels"]
    weights = [np.asarray(w[...]) for w in published.organism.rule.weights]
    blocks = weights[0].reshape(3, spec.channels, -1)
    if np.allclose(kernels[1], SOBEL.T):
        blocks = blocks[[0, 2, 1]]
    return Rule.from_arrays(
        [blocks.reshape(weights[0].shape), *weights[1:]],
        [np.asarray(b[...]) for b in published.organism.rule.biases],
        kernels=kernels[:, None],
        **{k: v for k, v in spec.to_json().items() if k not in ("perception", "clip")},
        perception="learned",
        clip=spec.clip,
    )


def _conventions(meta):
    clips = meta["clamp_pre"]
    return {
        "boundary": meta["pad"],
        "alive_boundary": meta["alive_pool_pad"],
        "alpha": meta["alive_channel"],
        "threshold": meta["alive_thresh"],
        "inclusive": meta["alive_cmp"] == ">=",
        "alive": "both",
        "fire_rate": meta["fire_rate"],
        "clip": tuple(clips[0][2:]) if clips else None,
    }


def from_web_json(path: Path, name: str) -> Organism:
    """An organism from the bytes of its author's page: weights of one byte, inputs kernel-major."""
    layers = json.loads(path.read_text())
    weights, biases = [], []
    for layer in layers:
        raw = np.frombuffer(base64.b64decode(layer["data_b64"]), np.uint8)
        values = raw.reshape(layer["in_ch"] + 1, layer["out_ch"]) / 255 - 0.5
        weights.append(values[:-1] * layer["weight_scale"])
        biases.append(values[-1] * layer["bias_scale"])
    conventions = {"boundary": "circular", "alive_boundary": "circular", "inclusive": True}
    return Organism(Rule.from_arrays(weights, biases, **conventions), name=name)


def expected_next(net, state, fire):
    """The oracle on the box around the body, where alone anything can happen; its loops are slow."""
    if net.conventions["boundary"] == "circular" or net.conventions["alive_boundary"] == "circular":
        return oracle.step(net, state, fire)["next"]
    living = np.argwhere(state[..., net.conventions["alpha"]] > 0)
    (top, left), (bottom, right) = np.maximum(living.min(0) - 4, 0), living.max(0) + 5
    out = np.zeros(state.shape)
    part = np.s_[top:bottom, left:right]
    out[part] = oracle.step(net, state[part], fire[part])["next"]
    return out

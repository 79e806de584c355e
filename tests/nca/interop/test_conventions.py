"""Whatever an author's conventions, the imported rule computes what the author's own code would."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from helpers import authors

from nca.errors import UserError
from nca.interop.conventions import PRESETS, TYPES, Conventions
from nca.interop.importing import assumptions, build_organism, open_weights
from nca.rollout import grow, replay
from nca.rule import to_rgba

C = 6
CANVAS = (9, 8)
LIKE = {"atol": 1e-5, "rtol": 1e-5}


def random_state(number=0, channels=C):
    return np.random.default_rng(number).normal(size=(*CANVAS, channels)).astype(np.float32)


def import_npz(tmp_path, arrays, **options):
    path = tmp_path / "author.npz"
    path.write_bytes(authors.npz(arrays))
    return build_organism(open_weights(path, **{"canvas": CANVAS, **options}))


def delta(organism, state):
    return np.asarray(replay(organism, state, 0, fire=np.ones(CANVAS, bool))["delta"])


def by_kernel(state, kernels, **how):
    return np.concatenate([authors.filter_channels(state, k, **how) for k in kernels], axis=-1)


def by_channel(state, kernels, **how):
    parts = [authors.filter_channels(state[..., c : c + 1], k, **how) for c in range(state.shape[-1]) for k in kernels]
    return np.concatenate(parts, axis=-1)


DX = authors.SOBEL / 8
I = authors.IDENTITY  # noqa: E741
LAP = authors.LAPLACE
CASES = {
    "kernel-major": ({}, lambda s: by_kernel(s, [I, DX, DX.T])),
    "channel-major": ({"order": "channel-major"}, lambda s: by_channel(s, [I, DX, DX.T])),
    "not divided": ({"sobel_divisor": 1.0}, lambda s: by_kernel(s, [I, 8 * DX, 8 * DX.T])),
    "rows first": ({"swap_xy": True}, lambda s: by_kernel(s, [I, DX.T, DX])),
    "rows first, named": ({"filters": ("identity", "dy", "dx")}, lambda s: by_kernel(s, [I, DX.T, DX])),
    "dy upwards": ({"filters": ("identity", "dx", "-dy")}, lambda s: by_kernel(s, [I, DX, -DX.T])),
    "true convolution": ({"flip": True}, lambda s: by_kernel(s, [I, DX, DX.T], flipped=True)),
    "toroidal": ({"boundary": "circular"}, lambda s: by_kernel(s, [I, DX, DX.T], mode="wrap")),
    "laplacian fourth": (
        {"filters": ("identity", "dx", "dy", "laplacian"), "order": "channel-major"},
        lambda s: by_channel(s, [I, DX, DX.T, LAP / 16]),
    ),
    "laplacian alone, not divided": (
        {"filters": ("identity", "laplacian"), "laplacian_divisor": 1.0},
        lambda s: by_kernel(s, [I, LAP]),
    ),
    "five-point laplacian": (
        {"filters": ("identity", "laplacian4")},
        lambda s: by_kernel(s, [I, np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])]),
    ),
    "summed": (
        {"summed": True},
        lambda s: np.concatenate(
            [s, *(np.repeat(authors.filter_channels(s, k).sum(-1, keepdims=True), C, -1) for k in (DX, DX.T))], -1
        ),
    ),
    "gradient's length": (
        {"filters": ("identity", "laplacian", "gradient"), "order": "channel-major"},
        lambda s: np.stack(
            [
                s,
                authors.filter_channels(s, LAP / 16),
                np.hypot(authors.filter_channels(s, DX), authors.filter_channels(s, DX.T)),
            ],
            axis=-1,
        ).reshape(*CANVAS, -1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_perception_without_kernels_in_the_file_is_the_authors(tmp_path, case):
    options, features = CASES[case]
    state = random_state()
    seen = features(state.astype(float))
    layers = authors.network(1, seen.shape[-1], C)
    organism = import_npz(tmp_path, authors.by_name(layers), **options)
    np.testing.assert_allclose(delta(organism, state), authors.dense_layers(seen, layers), atol=1e-4, rtol=1e-4)


def random_kernels(*shape):
    return np.random.default_rng(5).normal(size=(*shape, 3, 3)).astype(np.float32)


def depthwise(state, kernels):
    """A grouped convolution: output o reads channel o // filters."""
    each = len(kernels) // C
    parts = [authors.filter_channels(state[..., o // each : o // each + 1], k) for o, k in enumerate(kernels[:, 0])]
    return np.concatenate(parts, axis=-1)


def dense(state, kernels):
    return np.stack([sum(authors.filter_channels(state, k[c])[..., c] for c in range(C)) for k in kernels], axis=-1)


IN_FILE = {
    "grouped": ((3 * C, 1), depthwise, 3 * C),
    "grouped, state put before": ((2 * C, 1), lambda s, k: np.concatenate([s, depthwise(s, k)], -1), 3 * C),
    "shared by channels": ((4, 1), lambda s, k: by_kernel(s, k[:, 0]), 4 * C),
    "shared, state put before": ((2, 1), lambda s, k: np.concatenate([s, by_kernel(s, k[:, 0])], -1), 3 * C),
    "each from all channels": ((10, C), dense, 10),
}


@pytest.mark.parametrize("case", IN_FILE)
def test_kernels_in_the_file_are_used(tmp_path, case):
    shape, features, inputs = IN_FILE[case]
    kernels, state = random_kernels(*shape), random_state()
    layers = authors.network(2, inputs, C)
    path = tmp_path / "author.pth"
    path.write_bytes(authors.torch_zip(authors.state_dict(layers, True, **{"perceive.weight": kernels})))
    organism = build_organism(open_weights(path, canvas=CANVAS))
    expected = authors.dense_layers(features(state.astype(float), kernels), layers)
    np.testing.assert_allclose(delta(organism, state), expected, atol=1e-4, rtol=1e-4)


def test_a_3x3_convolution_may_be_the_hidden_layer(tmp_path):
    kernels, state = random_kernels(9, C), random_state()
    (weight, bias), own = authors.network(3, 9, C, hidden=())[0], np.linspace(-1, 1, 9, dtype=np.float32)
    model = {"a.weight": kernels, "a.bias": own, "b.weight": weight.T[:, :, None, None], "b.bias": bias}
    path = tmp_path / "author.pth"
    path.write_bytes(authors.torch_zip(model))
    hidden = np.maximum(dense(state.astype(float), kernels) + own, 0)
    organism = build_organism(open_weights(path, canvas=CANVAS))
    np.testing.assert_allclose(delta(organism, state), hidden @ weight + bias, atol=1e-4, rtol=1e-4)


def test_sobel_kernels_in_the_file_become_a_compass_that_turns(tmp_path):
    kernels = np.tile(np.stack([I, DX, DX.T])[:, None], (C, 1, 1, 1)).astype(np.float32)
    model = authors.state_dict(authors.network(1, 3 * C, C), True, **{"k.weight": kernels})
    path = tmp_path / "author.pth"
    path.write_bytes(authors.torch_zip(model))
    organism = build_organism(open_weights(path, canvas=CANVAS, angle=90.0))
    assert organism.rule.spec.perception == "sobel"
    assert float(organism.rule.angle[...]) == pytest.approx(np.pi / 2)


def import_plain(tmp_path, channels=C, hidden=(7,), **options):
    return import_npz(tmp_path, authors.by_name(authors.network(1, 3 * channels, channels, hidden)), **options)


def test_five_to_37_channels_and_two_hidden_layers_are_read(tmp_path):
    for channels in (5, 37):
        organism = import_plain(tmp_path, channels, hidden=(8, 9))
        assert organism.rule.spec.channels == channels
        assert len(organism.rule.weights) == 3


def test_an_alpha_that_comes_last_leaves_the_first_three_channels_to_colour(tmp_path):
    spec = import_plain(tmp_path, alpha=-1).rule.spec
    state = random_state()
    assert spec.alpha == C - 1
    assert import_plain(tmp_path, alpha=-1).rule.channel_names == ("r", "g", "b", "h0", "h1", "alpha")
    np.testing.assert_allclose(to_rgba(spec, state)[..., :3], state[..., :3].clip(0, 1))
    np.testing.assert_allclose(to_rgba(spec, state)[..., 3], state[..., -1].clip(0, 1))


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("hidden", [0, 0, 0, 1, 1, 1]),
        ("alpha", [0, 0, 0, 1, 0, 0]),
        ("rgba", [1] * 4 + [0] * 2),
        ("ones", [1] * 6),
    ],
)
def test_a_seed_is_one_cell_of_its_kind(tmp_path, kind, cell):
    assert import_plain(tmp_path, seed=kind).seed.tolist() == [[cell]]


def test_a_seed_in_the_file_is_used(tmp_path):
    patch = np.zeros((3, 3, C), np.float32)
    patch[0, 1] = 1
    layers = authors.network(1, 3 * C, C)
    organism = import_npz(tmp_path, authors.by_name(layers, seed=patch))
    np.testing.assert_array_equal(organism.initial_state()[3:6, 3:6], patch)


def test_a_clip_of_some_channels_leaves_the_others_and_the_compact_step_equals_the_dense(tmp_path):
    organism = import_plain(tmp_path, clip=(0.0, 0.5), clip_channels=(0, 4), step_size=0.5)
    fires = np.random.default_rng(0).random((4, *CANVAS)) < 0.5
    compact = grow(organism, 4, fire=fires)
    state = np.asarray(organism.initial_state())
    for step in range(4):
        state = np.asarray(replay(organism, state, step, fire=fires[step])["next"])
    np.testing.assert_allclose(compact, state, **LIKE)
    assert state[..., :4].max() <= 0.5
    assert state[..., 4:].max() > 0.5


def test_each_convention_of_the_step_reaches_the_rule(tmp_path):
    conventions = {
        "boundary": "circular", "alive_boundary": "circular", "threshold": 0.2, "inclusive": True,
        "alive": "gate", "reads": "masked", "squash": "tanh", "premultiplied": False, "clip": (-1.0, 1.0),
    }  # fmt: skip
    spec = import_plain(tmp_path, **conventions, negative_slope=0.1, fire="u>r", fire_rate=0.3).rule.spec
    assert {k: getattr(spec, k) for k in conventions} == conventions
    assert (spec.activation_slope, spec.fire_rate) == (0.1, 0.7)
    assert import_plain(tmp_path, fire="always").rule.spec.fire_rate == 1.0


def test_options_win_over_the_sidecar_and_that_over_the_preset(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz(authors.by_name(authors.network(1, 3 * C, C))))
    (tmp_path / "a.npz.conventions.json").write_text(json.dumps({"threshold": 0.2, "fire_rate": 0.25}))
    conventions = open_weights(path, preset="distill-web", fire_rate=0.75).conventions
    assert (conventions.values.inclusive, conventions.values.threshold, conventions.values.fire_rate) == (
        True,
        0.2,
        0.75,
    )
    assert conventions.sources["inclusive"] == "preset distill-web"
    assert (conventions.sources["threshold"], conventions.sources["fire_rate"]) == ("sidecar", "option")


def test_settings_beside_the_weights_are_used(tmp_path):
    model = authors.state_dict(authors.network(1, 3 * C, C))
    path = tmp_path / "a.pth"
    path.write_bytes(authors.torch_zip({"model": model, "config": {"fire_rate": 0.25, "alive_threshold": 0.2}}))
    conventions = open_weights(path).conventions
    assert (conventions.values.fire_rate, conventions.values.threshold) == (0.25, 0.2)
    assert conventions.sources == {"fire_rate": "the file", "threshold": "the file"}


def test_conventions_without_a_source_that_growth_does_not_verify_are_listed(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz(authors.by_name(authors.network(1, 3 * C, C))))
    values = {name.split(" ")[0]: value for name, value, _ in assumptions(open_weights(path))}
    expected = {"swap_xy": "False", "inclusive": "False", "alive": "both", "activation": "relu", "canvas": "72 72"}
    assert expected.items() <= values.items()
    assert {"filters", "premultiplied"} <= values.keys()
    assert [name.split(" ")[0] for name, _, _ in assumptions(open_weights(path, preset="chen2020"))] == ["canvas"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_full_set_of_conventions(tmp_path, name):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz(authors.by_name(authors.network(1, 3 * C, C))))
    conventions = open_weights(path, preset=name).conventions
    assert set(conventions.sources) >= set(TYPES) - {"canvas"}
    assert Conventions(**json.loads(json.dumps(asdict(conventions.values)))) == conventions.values


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"order": "sideways"}, "kernel-major or channel-major"),
        ({"alpha": 9}, "6 channels"),
        ({"filters": ("identity", "dx")}, "give filters"),
        ({"filters": ("identity", "dx", "up")}, "laplacian"),
        ({"clip": (1.0, 0.0)}, "below"),
        ({"clip_channels": (2, 99)}, "clip_channels"),
        ({"fire_rate": 2.0}, "from 0 to 1"),
        ({"threshold": float("nan")}, "a number"),
        ({"seed": "file"}, "holds no seed"),
        ({"step_size": 0.0}, "not be 0"),
        ({"step_size": 0.5, "squash": "tanh"}, "step_size 1"),
        ({"colour": 1}, "no convention"),
        ({"canvas": (0, 5)}, "canvas"),
    ],
)
def test_conventions_that_cannot_be_are_refused_in_a_sentence(tmp_path, options, expected):
    with pytest.raises(UserError, match=expected):
        import_plain(tmp_path, **options)


def test_a_preset_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UserError, match="chen2020"):
        import_plain(tmp_path, preset="nobody")


def test_a_seed_is_given_by_kind_by_values_or_by_file(tmp_path):
    patches = np.random.default_rng(0).normal(size=(2, 3, 3, C)).astype(np.float32)
    np.save(tmp_path / "one.npy", patches[0])
    np.savez(tmp_path / "two.npz", seed=patches)
    values = np.arange(C, dtype=np.float32) / 10
    seeds = {
        ",".join(map(str, values)): values[None, None],
        "0.8": np.full((1, 1, C), 0.8, np.float32),
        str(tmp_path / "one.npy"): patches[0],
    }
    for text, cells in seeds.items():
        np.testing.assert_allclose(import_plain(tmp_path, seed=text).seed, cells)
    np.testing.assert_array_equal(import_plain(tmp_path, seed=str(tmp_path / "two.npz"), seed_index=1).seed, patches[1])
    for options, words in (
        ({"seed": str(tmp_path / "two.npz")}, "2 seeds; say which with --seed-index 0 to 1"),
        ({"seed": str(tmp_path / "two.npz"), "seed_index": 2}, "--seed-index 0 to 1"),
        ({"seed": "0,1"}, f"needs {C} numbers, or one for all; got '0,1'"),
        ({"seed": "hiden"}, "no file 'hiden' for the seed, which is hidden, alpha"),
        ({"seed": "file"}, "holds no seed"),
    ):
        with pytest.raises(UserError, match=words):
            import_plain(tmp_path, **options)


def test_one_of_several_seeds_in_the_file_is_taken(tmp_path):
    layers = authors.by_name(authors.network(1, 3 * C, C))
    seeds = np.random.default_rng(0).normal(size=(3, 1, 1, C)).astype(np.float32)
    np.testing.assert_array_equal(import_npz(tmp_path, {**layers, "seed": seeds}, seed_index=2).seed, seeds[2])
    with pytest.raises(UserError, match="There are 3 seeds"):
        import_npz(tmp_path, {**layers, "seed": seeds})


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "elu", "swish", "gelu", "gelu-tanh"])
def test_an_activation_and_a_test_before_the_update_reach_the_rule(tmp_path, activation):
    spec = import_plain(tmp_path, activation=activation, alive="before", negative_slope=0.2).rule.spec
    assert (spec.activation, spec.activation_slope, spec.alive) == (activation, 0.0, "before")


def test_a_field_under_its_former_name_is_read(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz(authors.by_name(authors.network(1, 3 * C, C))))
    (tmp_path / "a.npz.conventions.json").write_text(json.dumps({"leak": 0.25}))
    assert open_weights(path).conventions.values.negative_slope == 0.25


@pytest.mark.parametrize("text", ["[1]", '{"order"', '{"self": 1}', '{"source": 1}'])
def test_a_sidecar_that_holds_no_conventions_is_refused(tmp_path, text):
    path = tmp_path / "a.npz"
    path.write_bytes(authors.npz(authors.by_name(authors.network(1, 3 * C, C))))
    (tmp_path / "a.npz.conventions.json").write_text(text)
    with pytest.raises(UserError, match="convention"):
        open_weights(path)

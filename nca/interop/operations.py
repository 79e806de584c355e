"""What a file says that its network computes between its arrays: activations, and what no rule here can express.

A reader lists the operations in the order of the file, each layer with weights among them. Nothing that a file
says about its computation is dropped: an operation is expressed, or refused by its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nca.errors import UserError
from nca.files import DamagedError
from nca.untrusted import Operation

# Names as PyTorch, Keras, TensorFlow and ONNX spell them, in lower case and without "_".
_LAYERS = {
    "conv", "conv1d", "conv2d", "linear", "dense", "matmul", "gemm", "depthwiseconv2d", "depthwiseconv2dnative",
    "separableconv2d",
}  # fmt: skip
_ACTIVATIONS = {
    "relu": "relu", "leakyrelu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "elu": "elu", "silu": "swish",
    "swish": "swish", "gelu": "gelu", "gelutanh": "gelu-tanh",
}  # fmt: skip
_NO_ACTIVATION = Operation("linear activation")  # of a reader that knows that there is none
# What leaves numbers as they are when a rule is run, or moves or joins them.
_NEUTRAL = {
    "inputlayer", "activityregularization", "concatenate", "concat", "concatv2", "identity", "reshape", "transpose",
    "squeeze", "unsqueeze", "expanddims", "cast", "biasadd", "pad", "padv2", "zeropadding2d", "zeropad2d",
    "constantpad2d", "sequential", "modulelist", "moduledict", "parameterlist", "parameterdict", "flatten", "unflatten",
    "maxpool2d", "padding", "shape", "slice", "stridedslice", "gather", "gatherv2", "pack", "stopgradient", "noop",
}  # fmt: skip
_ONLY_IN_TRAINING = ("dropout", "gaussiannoise")
_REFUSED = (
    "batchnorm", "groupnorm", "layernorm", "instancenorm", "rmsnorm", "runningmean", "relu6", "prelu", "rrelu",
    "selu", "celu", "softplus", "softsign", "softmax", "hardtanh", "hardswish", "hardsigmoid", "mish", "glu",
    "logsigmoid", "tanhshrink", "softshrink", "hardshrink", "thresholdedrelu", "exponential", "attention",
    "lstm", "gru", "bilinear", "convtranspose", "conv2dtranspose", "mirrorpad", "avgpool", "averagepooling",
    "upsampl", "pixelshuffle", "reflectionpad", "replicationpad", "quantize", "qlinear", "convinteger",
    "matmulinteger",
)  # fmt: skip
_FUNCTIONS = {"sin", "exp", "softplus", "softsign", "clip", "pow"}  # that make activations in a graph
_SETTING_NAMES = ("activation", "hidden_activation", "activation_fn", "act_fn", "act", "nonlinearity")
_Node = tuple[Operation, Sequence[str], Sequence[str]]
_MAX_LAYERS = 256
_SPREADS = ("dilation", "dilations", "dilation_rate", "stride", "strides")
_SUPPORTED = "activations here are relu, leaky relu, tanh, sigmoid, elu, swish and gelu"


def graph_operations(nodes: Iterable[_Node], arrays: Mapping[str, np.ndarray]) -> tuple[Operation, ...]:
    """The layers of a graph, the activations between them and behind the last, and what is refused.

    Args:
        nodes: (operation, names of its inputs, names of its outputs) each, in the order of computation.
        arrays: its constants by name.
    """
    found: list[Operation] = []
    computed = [node for node in nodes if _plain(node[0].name) not in ("constant", "const", "placeholder")]
    if sum(_plain(node[0].name) in _LAYERS for node in computed) > _MAX_LAYERS:
        raise DamagedError(f"its graph has more than {_MAX_LAYERS} layers; save one step of the network.")
    makers = {name: node for node in computed for name in node[2]}
    delta: set[str] = set()  # what the last layer makes, with its bias
    squashes: list[Operation] = []
    for operation, inputs, outputs in computed:
        name = _plain(operation.name)
        if name in _LAYERS:
            between = _between(inputs[0] if inputs else "", makers)
            found += [operation] if between is None else [_combine(between, makers), operation]
            delta, squashes = set(outputs), []
        elif _is_refused(name) or name == "pad":
            found.append(operation)
        elif name in _ACTIVATIONS and delta & set(inputs):
            squashes.append(operation)
        elif name in ("mul", "div", "realdiv") and delta & set(inputs) and _is_scale(set(inputs) - delta, arrays):
            squashes.append(_unknown(operation))
        elif name == "identity" or _is_bias(name, inputs, makers):
            delta |= set(outputs) if delta & set(inputs) else set()
    return (*found, *squashes)


def _is_scale(names: set[str], arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether one of these values is a constant number other than 1."""
    return any(name in arrays and arrays[name].size == 1 and arrays[name].item() != 1 for name in names)


def _unknown(operation: Operation) -> Operation:
    return Operation(f"unknown {operation.name}", operation.settings)


def _between(start: str, makers: Mapping[str, _Node]) -> list[_Node] | None:
    """The nodes on the ways from earlier layers to this value; None where no layer comes before."""
    behind, met, stack, seen = list[_Node](), False, [start], set[str]()
    while stack:
        value = stack.pop()
        if value in seen or value not in makers:
            continue
        seen.add(value)
        if _plain(makers[value][0].name) in _LAYERS:
            met = True
        else:
            behind.append(makers[value])
            stack += makers[value][1]
    return behind if met else None


def _is_bias(name: str, inputs: Sequence[str], makers: Mapping[str, _Node]) -> bool:
    """Whether an operation adds constants, perhaps through one such as Identity, to a computed value."""
    computed = [makers[i] for i in inputs if i in makers]
    constant = [node for node in computed if _plain(node[0].name) in _NEUTRAL and not any(i in makers for i in node[1])]
    return name == "biasadd" or (name in ("add", "addv2") and len(computed) - len(constant) < 2)


def _combine(nodes: Sequence[_Node], makers: Mapping[str, _Node]) -> Operation:
    """The activation that the nodes between two layers of a graph make; exporters write some as several.

    Where one of them is not understood, it is returned as unknown.
    """
    counts = Counter(_plain(operation.name) for operation, *_ in nodes)
    activations = [operation for operation, *_ in nodes if _plain(operation.name) in _ACTIVATIONS]
    made, parts = _NO_ACTIVATION, set[str]()
    products = counts["mul"] + counts["div"] + counts["realdiv"]
    if counts["erf"] and 1 <= products <= 3:
        made, parts = Operation("gelu"), {"erf", "mul", "div", "realdiv", "add", "addv2"}
    elif counts["tanh"] == 1 and 3 <= products <= (4 if counts["pow"] else 6):
        made, parts = Operation("gelu_tanh"), {"tanh", "mul", "add", "addv2", "pow"}
    elif counts["sigmoid"] == counts["mul"] == 1:
        sigmoid, mul = (next(node for node in nodes if _plain(node[0].name) == kind) for kind in ("sigmoid", "mul"))
        is_swish = {*sigmoid[1], *sigmoid[2]} == {*mul[1]}
        made, parts = Operation("swish"), {"sigmoid", "mul"} if is_swish else {"sigmoid"}
    elif activations:
        made, parts = activations[0], {_plain(activations[0].name)}
    for operation, inputs, _ in nodes:
        name = _plain(operation.name)
        if name not in parts and not _is_neutral(operation) and not _is_bias(name, inputs, makers):
            return _unknown(operation)
    return made if counts[_plain(made.name)] < 2 else _unknown(made)


def list_operations(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Operations that a file lists completely and in their order: layers without activation in between are known.

    What a file gives as the activation of a layer is named "activation NAME", and refused where it is unknown.
    """
    listed: list[Operation] = []
    given = list(operations)
    for number, operation in enumerate(given):
        name = _plain(operation.name)
        if name in _LAYERS:
            if listed and _plain(listed[-1].name) in _LAYERS:
                listed.append(_NO_ACTIVATION)
        elif _is_neutral(operation) or (name == "add" and number == len(given) - 1):
            continue
        elif name not in _ACTIVATIONS and not operation.name.startswith("activation "):
            operation = _unknown(operation)
        listed.append(operation)
    return tuple(listed)


def _is_neutral(operation: Operation) -> bool:
    """Whether an operation changes no number, as dropout where it is not asked for."""
    name, is_training = _plain(operation.name), operation.settings.get("training")
    return name in _NEUTRAL or (any(kind in name for kind in _ONLY_IN_TRAINING) and not is_training)


def _plain(name: str) -> str:
    return name.lower().removeprefix("activation ").removeprefix("unknown ").replace("_", "").replace("-", "")


def _is_refused(name: str) -> bool:
    return any(part in name for part in _REFUSED) and name not in _ACTIVATIONS


def stated_conventions(operations: Sequence[Operation], settings: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """The fields of `Conventions` that a file's operations state: activation, negative_slope, squash, boundary.

    Args:
        operations: in the order of the file.
        settings: of the file; one may name the activation.
        layers: number of dense layers of the rule.

    Raises:
        UserError: an operation cannot be expressed, or the file leaves open where it comes.
    """
    fields: dict[str, Any] = {}
    gaps: list[list[Operation]] = [[]]
    foreign: list[list[Operation]] = [[]]  # what is neither a layer nor an activation, in the same gaps
    for operation in operations:
        name, padding = _plain(operation.name), operation.settings.get("padding_mode", operation.settings.get("mode"))
        is_unknown = operation.name.startswith("activation ") and name not in _ACTIVATIONS
        if _is_refused(name) or name in _FUNCTIONS or is_unknown or operation.name.startswith("unknown "):
            raise _refusal(operation)
        if padding in ("reflect", "replicate", "edge"):
            raise UserError(f"The network pads by {padding}; perception here reads zeros beyond the canvas, or wraps.")
        spread = [operation.settings[k] for k in _SPREADS if k in operation.settings]
        if name in _LAYERS and any(n != 1 for s in spread for n in (s if isinstance(s, list | tuple) else [s])):
            raise UserError(
                "The network has a strided or dilated convolution; perception here reads a cell and its 8 neighbours."
            )
        if padding in ("circular", "wrap") or name == "circularpad2d":
            fields["boundary"] = "circular"
        if name in _LAYERS:
            gaps.append([])
            foreign.append([])
        elif name in _ACTIVATIONS or operation is _NO_ACTIVATION:
            gaps[-1].append(operation)
        elif not _is_neutral(operation):
            foreign[-1].append(operation)
    named = next((settings[k] for k in _SETTING_NAMES if isinstance(settings.get(k), str)), None)
    first = max(len(gaps) - layers, 1)
    hidden = gaps[first:-1]
    for operation in (operation for gap in foreign[first:-1] for operation in gap):
        raise _refusal(operation)
    others = [o for gap in gaps if not any(gap is h for h in hidden) for o in gap if o is not _NO_ACTIVATION]
    if named is not None:
        return fields | _hidden([Operation(named)])
    for gap in hidden:
        if len(gap) > 1:
            raise UserError(f"The network has {gap[1].name[:40]} after {gap[0].name[:40]}, and rules here only one.")
    if not any(hidden):  # activations that are listed behind all layers, by modules that are named in another order
        kinds = {_ACTIVATIONS[_plain(o.name)] for o in others}
        if kinds & {"tanh", "sigmoid"}:
            raise UserError(
                f"The file names {' and '.join(sorted(kinds))}, but not between which layers; say --activation NAME, "
                "and --squash tanh where the update is squashed."
            )
        return fields | (_hidden(others) if others else {})
    behind = [o for o in gaps[-1] if o is not _NO_ACTIVATION]
    if behind and _plain(behind[0].name) != "tanh":
        raise UserError(f"The network ends in {behind[0].name[:40]}; an update here ends in tanh, or in nothing.")
    fields |= {"squash": "tanh"} if behind else {}
    fields |= {"perception_activation": True} if len(others) > len(behind) else {}
    return fields | _hidden([o for gap in hidden for o in gap])


def _refusal(operation: Operation) -> UserError:
    name = operation.name.removeprefix("unknown ")[:40]
    return UserError(f"The network has {name}, which rules here do not have; {_SUPPORTED}.")


def _hidden(operations: Sequence[Operation]) -> dict[str, Any]:
    """The hidden layers' activation and its slope, where all have the same."""
    kinds = dict[tuple[str, float], str]()
    for operation in operations:
        name, settings = _plain(operation.name), operation.settings
        if name not in _ACTIVATIONS:
            raise _refusal(operation)
        slope = settings.get("negative_slope", settings.get("alpha", 0.01 if name == "leakyrelu" else 0.0))
        limits = (settings.get("max_value"), settings.get("threshold") or None)
        unusual = limits != (None, None) or (name == "elu" and slope not in (0.0, 1.0))
        if unusual or not isinstance(slope, int | float):
            shown = {k: v for k, v in settings.items() if isinstance(v, int | float)}
            raise UserError(f"The network has {operation.name[:40]} with {shown}, which rules here do not have.")
        approximate = name == "gelu" and settings.get("approximate") in (True, "tanh")
        kind = "gelu-tanh" if approximate else _ACTIVATIONS[name]
        kinds[kind, float(slope) if kind == "relu" else 0.0] = operation.name[:40]
    if len(kinds) > 1:
        raise UserError(
            f"Its layers have different activations, {' and '.join(kinds.values())}; in a rule all are alike."
        )
    (activation, slope), _ = kinds.popitem()
    return {"activation": activation, "negative_slope": slope}

"""What a file says that its network computes between its arrays: activations, and what no rule here can express.

A reader lists the operations in the order of the file, each layer with weights among them. Nothing that a file
says about its computation is dropped: an operation is expressed, or refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
_MAX_LAYERS = 256
_DILATIONS = ("dilation", "dilations", "dilation_rate")
_SUPPORTED = "activations here are relu, leaky relu, tanh, sigmoid, elu, swish and gelu"


def graph_operations(nodes: Iterable[tuple[Operation, Sequence[str], Sequence[str]]]) -> tuple[Operation, ...]:
    """The layers of a graph, the activations between them and behind the last, and what is refused.

    Args:
        nodes: (operation, names of its inputs, names of its outputs) each, in the order of computation.
    """
    found: list[Operation] = []
    computed = [node for node in nodes if _plain(node[0].name) not in ("constant", "const", "placeholder")]
    if sum(_plain(node[0].name) in _LAYERS for node in computed) > _MAX_LAYERS:
        raise DamagedError(f"its graph has more than {_MAX_LAYERS} layers; save one step of the network.")
    makers = {name: (operation, inputs) for operation, inputs, outputs in computed for name in outputs}
    delta: set[str] = set()  # what the last layer makes, with its bias
    squashes: list[Operation] = []
    for operation, inputs, outputs in computed:
        name = _plain(operation.name)
        if name in _LAYERS:
            between = _between(inputs[0] if inputs else "", makers)
            found += [operation] if between is None else [_combine(between), operation]
            delta, squashes = set(outputs), []
        elif _is_refused(name) or name == "pad":
            found.append(operation)
        elif name in _ACTIVATIONS and delta & set(inputs):
            squashes.append(operation)
        elif name in ("biasadd", "identity") or (name in ("add", "addv2") and sum(i in makers for i in inputs) < 2):
            delta |= set(outputs) if delta & set(inputs) else set()
    return (*found, *squashes)


def _between(start: str, makers: Mapping[str, tuple[Operation, Sequence[str]]]) -> list[Operation] | None:
    """The operations on the ways from earlier layers to this value; None where no layer comes before."""
    behind, met, stack, seen = list[Operation](), False, [start], set[str]()
    while stack:
        value = stack.pop()
        if value in seen or value not in makers:
            continue
        seen.add(value)
        operation, inputs = makers[value]
        if _plain(operation.name) in _LAYERS:
            met = True
        else:
            behind.append(operation)
            stack += inputs
    return behind if met else None


def _combine(operations: Sequence[Operation]) -> Operation:
    """The activation that the operations between two layers of a graph make; exporters write some as several."""
    by_name = {_plain(operation.name): operation for operation in operations}
    foreign = [operation for name, operation in by_name.items() if name in _FUNCTIONS]
    activations = [operation for name, operation in by_name.items() if name in _ACTIVATIONS]
    if "erf" in by_name:
        return Operation("gelu")
    if "tanh" in by_name and "mul" in by_name and "softplus" not in by_name:
        return Operation("gelu_tanh")
    if "sigmoid" in by_name and "mul" in by_name:
        return Operation("swish")
    return (foreign or activations or [_NO_ACTIVATION])[0]


def list_operations(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Operations that a file lists completely and in their order: layers without activation in between are known.

    What a file gives as the activation of a layer is named "activation NAME", and refused where it is unknown.
    """
    listed: list[Operation] = []
    for operation in (o for o in operations if "dropout" not in _plain(o.name) and _plain(o.name) != "inputlayer"):
        if listed and _plain(listed[-1].name) in _LAYERS and _plain(operation.name) in _LAYERS:
            listed.append(_NO_ACTIVATION)
        listed.append(operation)
    return tuple(listed)


def _plain(name: str) -> str:
    return name.lower().removeprefix("activation ").replace("_", "").replace("-", "")


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
    for operation in operations:
        name, padding = _plain(operation.name), operation.settings.get("padding_mode", operation.settings.get("mode"))
        unknown = operation.name.startswith("activation ") and name not in _ACTIVATIONS
        if _is_refused(name) or name in _FUNCTIONS or unknown:
            raise UserError(f"The network has {operation.name[:40]}, which rules here do not have; {_SUPPORTED}.")
        if padding in ("reflect", "replicate", "edge"):
            raise UserError(f"The network pads by {padding}; perception here reads zeros beyond the canvas, or wraps.")
        dilation = next((operation.settings[k] for k in _DILATIONS if k in operation.settings), 1)
        if name in _LAYERS and any(n != 1 for n in (dilation if isinstance(dilation, list | tuple) else [dilation])):
            raise UserError("The network has a dilated convolution; perception here reads a cell and its 8 neighbours.")
        if padding in ("circular", "wrap"):
            fields["boundary"] = "circular"
        if name in _LAYERS:
            gaps.append([])
        elif name in _ACTIVATIONS or operation is _NO_ACTIVATION:
            gaps[-1].append(operation)
    named = next((settings[k] for k in _SETTING_NAMES if isinstance(settings.get(k), str)), None)
    hidden = gaps[max(len(gaps) - layers, 1) : -1]
    others = [o for gap in gaps if not any(gap is h for h in hidden) for o in gap if o is not _NO_ACTIVATION]
    if named is not None:
        return fields | _hidden([Operation(named)])
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


def _hidden(operations: Sequence[Operation]) -> dict[str, Any]:
    """The hidden layers' activation and its slope, where all have the same."""
    kinds = dict[tuple[str, float], str]()
    for operation in operations:
        name, settings = _plain(operation.name), operation.settings
        if name not in _ACTIVATIONS:
            raise UserError(f"The network has {operation.name[:40]}, which rules here do not have; {_SUPPORTED}.")
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

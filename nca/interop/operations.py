"""What a file says that its network computes between its arrays: activations, and what no rule here can express.

A reader lists the file's operations in the order of the computation, as far as it knows it; every layer with
weights is one of them. Nothing that a file says is dropped: an operation is expressed, or refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nca.errors import UserError
from nca.untrusted import Operation

# Names of operations, in lower case and without "_": PyTorch's, Keras's, TensorFlow's and ONNX's.
_LAYERS = {
    "conv", "conv1d", "conv2d", "linear", "dense", "matmul", "gemm", "batchmatmulv2", "depthwiseconv2d",
    "depthwiseconv2dnative", "fusedconv2d",
}  # fmt: skip
_ACTIVATIONS = {
    "relu": "relu", "leakyrelu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "elu": "elu", "silu": "swish",
    "swish": "swish", "gelu": "gelu", "gelutanh": "gelu-tanh", "gelunew": "gelu-tanh",
}  # fmt: skip
_FOREIGN = {
    "relu6", "prelu", "rrelu", "selu", "celu", "softplus", "softsign", "softmax", "logsoftmax", "hardtanh", "hardswish",
    "hardsigmoid", "hardsilu", "mish", "glu", "logsigmoid", "tanhshrink", "softshrink", "hardshrink", "threshold",
    "thresholdedrelu", "exponential", "crelu", "squareplus", "sparsemax", "reluy", "logexp", "softmin", "softmax2d",
    "activation", "multiheadattention", "lstm", "gru", "rnn", "bilinear", "convtranspose2d", "avgpool2d",
    "averagepooling2d", "adaptiveavgpool2d", "upsample", "upsampling2d", "pixelshuffle", "reflectionpad2d",
    "replicationpad2d", "quantizelinear", "dequantizelinear", "qlinearconv", "qlinearmatmul", "convinteger",
    "matmulinteger", "dynamicquantizelinear",
}  # fmt: skip
_NORMALISATIONS = ("batchnorm", "groupnorm", "layernorm", "instancenorm", "rmsnorm", "localresponsenorm", "runningmean")
_SETTING_NAMES = ("activation", "hidden_activation", "activation_fn", "act_fn", "act", "nonlinearity")
_UNFAMILIAR_SLOPES = ("negative_slope", "alpha")
_ELEMENTWISE = {"sin", "exp", "abs", "pow", "sqrt", "clip", "softplus", "softsign", "erf", "mul"}


class _Node(NamedTuple):
    """An operation of a graph: its name and settings, and the names of what it reads and writes."""

    operation: Operation
    inputs: Sequence[str]
    outputs: Sequence[str]


def graph_operations(nodes: Iterable[tuple[Operation, Sequence[str], Sequence[str]]]) -> tuple[Operation, ...]:
    """The layers of a graph with the activations between them and after the last, in the order of the graph.

    Args:
        nodes: (operation, names of its inputs, names of its outputs), each after those whose outputs it reads.
    """
    listed = [_Node(*node) for node in nodes]
    makers = {name: node for node in listed for name in node.outputs}
    readers: dict[str, list[_Node]] = {}
    for node in listed:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    found, last = [], None
    for node in listed:
        if _plain(node.operation.name) in _LAYERS:
            found += _activation_of([n.operation for n in _between(node, makers)])
            found.append(node.operation)
            last = node
        elif _is_refused(node.operation.name):
            found.append(node.operation)
    reached, passed = ([last] if last else []), set[int]()
    while reached:  # behind the last layer: past its bias
        node = reached.pop()
        for reader in (r for name in node.outputs for r in readers.get(name, [])):
            if _plain(reader.operation.name) in _ACTIVATIONS:
                found.append(reader.operation)
            elif reader.operation.name in ("Add", "AddV2", "BiasAdd", "Identity") and id(reader) not in passed:
                bias = sum(name in makers for name in reader.inputs) < 2
                passed.add(id(reader))
                reached += [reader] if bias or reader.operation.name == "BiasAdd" else []
    return tuple(found)


def _between(layer: _Node, makers: Mapping[str, _Node]) -> list[_Node]:
    """The nodes from the layers before this one to it; none where no layer comes before."""
    behind, met, stack, seen = list[_Node](), False, list(layer.inputs[:1]), set[str]()
    while stack:
        name = stack.pop()
        if name in seen or name not in makers:
            continue
        seen.add(name)
        node = makers[name]
        if _plain(node.operation.name) in _LAYERS:
            met = True
            continue
        behind.append(node)
        stack += node.inputs
    return behind if met else []


def _activation_of(operations: Sequence[Operation]) -> list[Operation]:
    """The activation that these operations of a graph make together; an exporter may write one as several."""
    names = {_plain(operation.name) for operation in operations}
    products = "mul" in names
    if "erf" in names:
        return [Operation("gelu")]
    if names & {"softplus", "sin", "exp", "softsign"} or ("clip" in names and not names & set(_ACTIVATIONS)):
        return [operation for operation in operations if _plain(operation.name) in _ELEMENTWISE - {"mul"}]
    activations = [operation for operation in operations if _plain(operation.name) in _ACTIVATIONS]
    if [_plain(o.name) for o in activations] == ["sigmoid"] and products:
        return [Operation("swish")]
    if [_plain(o.name) for o in activations] == ["tanh"] and products:
        return [Operation("gelutanh")]
    return activations


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _is_refused(name: str) -> bool:
    plain = _plain(name)
    return plain in _FOREIGN or any(norm in plain for norm in _NORMALISATIONS)


def check_operations(operations: Sequence[Operation]) -> None:
    """Raise `UserError` where a file has an operation that no rule here can express, and name it."""
    for operation in operations:
        if any(norm in _plain(operation.name) for norm in _NORMALISATIONS):
            raise UserError(
                f"The network has {operation.name[:40]} layers; rules here consist of perception and dense layers only."
            )
        if _plain(operation.name) in _FOREIGN | _ELEMENTWISE:
            raise UserError(
                f"The network has {operation.name[:40]}, which no rule here computes; activations here are relu, leaky "
                "relu, tanh, sigmoid, elu, swish and gelu."
            )
        settings = operation.settings
        if settings.get("padding_mode") in ("reflect", "replicate") or settings.get("mode") in ("reflect", "edge"):
            raise UserError("The network pads by reflect or replicate; perception here reads zeros, or wraps.")
        if any(n not in (1, None) for n in _numbers(settings.get("dilation", settings.get("dilations", 1)))):
            raise UserError("The network has a dilated convolution; perception here reads the 3x3 cells around.")


def _numbers(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def stated_conventions(operations: Sequence[Operation], settings: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """The fields of `Conventions` that a file's operations state: activation, negative_slope, squash and more.

    Args:
        operations: as `Contents` has them.
        settings: of the file; one may name the activation.
        layers: number of dense layers of the rule, at least 1.

    Raises:
        UserError: the activations cannot be told apart, or are of a kind that rules do not have.
    """
    circular = any("circular" in (o.settings.get("padding_mode"), o.settings.get("mode")) for o in operations)
    fields: dict[str, Any] = {"boundary": "circular"} if circular else {}
    named = next((settings[k] for k in _SETTING_NAMES if isinstance(settings.get(k), str)), None)
    if named is not None:
        return fields | _hidden([Operation(named)])
    gaps: list[list[Operation]] = [[]]
    for operation in operations:
        if _plain(operation.name) in _LAYERS:
            gaps.append([])
        elif _plain(operation.name) in _ACTIVATIONS:
            gaps[-1].append(operation)
    every = [operation for gap in gaps for operation in gap]
    hidden, behind = gaps[1:-1][1 - layers :] if layers > 1 else [], gaps[-1]
    if not every:
        return fields
    if not any(hidden):
        # Where the order is that of names, activations may follow the layers: those that bound nothing are hidden.
        kinds = {_ACTIVATIONS[_plain(o.name)] for o in every}
        if kinds & {"tanh", "sigmoid"}:
            raise UserError(
                f"The file names {', '.join(sorted(kinds))}, but not where; say --activation {min(kinds)} or --squash tanh "
                "with --activation relu."
            )
        return fields | _hidden(every)
    if gaps[1:-1][: 1 - layers] and any(gaps[1:-1][: 1 - layers]):
        fields["perception_activation"] = True
    if behind:
        if {_plain(o.name) for o in behind} != {"tanh"}:
            raise UserError(f"The network ends in {behind[0].name[:40]}; an update here is squashed by tanh or not at all.")
        fields["squash"] = "tanh"
    return fields | _hidden([o for gap in hidden for o in gap])


def _hidden(operations: Sequence[Operation]) -> dict[str, Any]:
    """The hidden layers' activation and its slope, where all are of one kind."""
    kinds = []
    for operation in operations:
        name, settings = _plain(operation.name), operation.settings
        if name not in _ACTIVATIONS:
            raise UserError(
                f"The file says that its activation is {operation.name[:40]!r}; activations here are relu, leaky relu, tanh, "
                "sigmoid, elu, swish and gelu. Say which with --activation."
            )
        slope = float(settings.get("negative_slope", settings.get("alpha", 0.01))) if name == "leakyrelu" else 0.0
        if name == "relu":
            slope = float(settings.get("negative_slope", 0.0) or 0.0)
            if settings.get("max_value") is not None or settings.get("threshold"):
                raise UserError("The network has a relu with a ceiling or a threshold, which no rule here computes.")
        if name == "elu" and float(settings.get("alpha", 1.0)) != 1.0:
            raise UserError(f"The network has elu with alpha {settings['alpha']}; rules here have elu with alpha 1.")
        approximate = name == "gelu" and settings.get("approximate") in (True, "tanh")
        kinds.append(("gelu-tanh" if approximate else _ACTIVATIONS[name], slope))
    if len(set(kinds)) > 1:
        names = ", ".join(operation.name[:40] for operation in operations)
        raise UserError(f"The hidden layers have different activations ({names}); those of a rule here are all alike.")
    activation, slope = kinds[0]
    return {"activation": activation, "negative_slope": slope}

"""Symmetric int8 ONNX with the pairs of Q/DQ nodes where TensorRT wants them.

The settings are those of NVIDIA's own quantizer (modelopt.onnx.quantization): inputs are quantized,
outputs are not, weights stay float with both nodes behind them, biases stay float. What is a rule
and why: edgeemo.backends.tensorrt_rules, which checks the result.
"""

from collections import Counter
from typing import Any

from edgeemo.backends.tensorrt_rules import WEIGHTED

_QUANTIZED = [*WEIGHTED, "Add"]


def settings(graph: Any) -> dict[str, Any]:
    """How ONNX Runtime's `quantize_static` is to quantize the float ONNX graph.

    All eight bits of the weights: TensorRT adds products in 32.
    """
    constants = {tensor.name for tensor in graph.initializer}
    return {
        "reduce_range": False,
        "op_types_to_quantize": _QUANTIZED,
        # Additions of a constant, such as that of a scaled picture, are no skip connections.
        "nodes_to_exclude": [
            node.name for node in graph.node if node.op_type == "Add" and {*node.input} & constants
        ],
        "extra_options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": True,
            "OpTypesToExcludeOutputQuantization": _QUANTIZED,
            "QDQOpTypePerChannelSupportToAxis": {"Conv": 0, "ConvTranspose": 1},
        },
    }


def tidy(model: Any) -> None:
    """Take away, in an ONNX model that is quantized by `settings`, what TensorRT does not want.

    That is pairs before operators that stay float (ONNX Runtime gives every reader of a tensor its
    own); the pair between an operator with weights and an addition whose other input is quantized,
    so that both become one operator; and versions of operators that the model has none of.
    """
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        pairs = [_pair(makers, tensor) for tensor in node.input]
        if node.op_type in WEIGHTED and pairs[1] is not None:
            continue
        if node.op_type == "Add" and None not in pairs:
            skipped = _sums(graph, makers, pairs)[:1]
        else:
            skipped = [at for at, pair in enumerate(pairs) if pair is not None]
        for at in skipped:
            node.input[at] = pairs[at][1].input[0]  # type: ignore[index]
    while unread := _unread(graph):
        for node in unread:
            graph.node.remove(node)
    used = {node.domain for node in graph.node}
    for domain in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(domain)


def _sums(graph: Any, makers: dict[str, Any], pairs: list[tuple[Any, Any] | None]) -> list[int]:
    """Which of an addition's inputs come from an operator with weights that nobody else reads."""
    readers = Counter(tensor for node in graph.node for tensor in node.input)
    sources = [pair[1].input[0] for pair in pairs if pair is not None]
    return [
        at
        for at, tensor in enumerate(sources)
        if tensor in makers and makers[tensor].op_type in WEIGHTED and readers[tensor] == 1
    ]


def _unread(graph: Any) -> list[Any]:
    """The nodes whose outputs nobody needs."""
    read = {output.name for output in graph.output}
    read |= {tensor for node in graph.node for tensor in node.input}
    return [node for node in graph.node if not {*node.output} & read]


def _pair(makers: dict[str, Any], tensor: str) -> tuple[Any, Any] | None:
    """The dequantizing and the quantizing node that `tensor` comes from."""
    outer = makers.get(tensor)
    if outer is None or outer.op_type != "DequantizeLinear":
        return None
    inner = makers.get(outer.input[0])
    return (outer, inner) if inner is not None and inner.op_type == "QuantizeLinear" else None

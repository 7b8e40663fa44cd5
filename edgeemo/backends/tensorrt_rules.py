"""What TensorRT asks of a quantized ONNX model, checked on the model's bytes.

The rules are NVIDIA's: "Working with Quantized Types" and "Explicit Quantization" of TensorRT's
documentation (symmetric int8, activations by tensor and weights by output channel, opset 13 for
that, no QLinear operators, all inputs of weighted operators quantized, no pair between one and its
activation function, the residual input of an addition quantized), and what its ONNX parser refuses:
zero points other than 0 (NVIDIA/TensorRT#2774), scales that are no constants (#981), int8 constants
(microsoft/onnxruntime#11535, TensorRT 8) and int32 biases behind DequantizeLinear (#14229). So
weights stay float constants with both nodes behind them, and biases float.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from edgeemo.contract.checked.onnx_graph import Node, OnnxGraph, read_graph
from edgeemo.errors import BackendError

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights, which TensorRT computes in int8 where their inputs are quantized."""
_FUSED = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu")
_REFUSED = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
_OPSET = 13


def broken_rules(model: bytes, where: str) -> list[str]:
    """Each rule that a quantized ONNX model breaks, as "rule: node: what"; empty where TensorRT
    takes it as int8. `where` names the model in the message.

    Raises BackendError: not a readable ONNX model.
    """
    try:
        return list(_Rules(read_graph(model, where)).broken())
    except IndexError:  # a node with fewer inputs than its operator has
        raise BackendError(f"{where}: not a readable ONNX model (a node lacks inputs)") from None


class _Rules:
    """One graph, and who makes and who reads each of its tensors."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph, self._constants = graph, graph.constants
        self._maker = {tensor: node for node in graph.nodes for tensor in node.outputs}
        self._readers = Counter(tensor for node in graph.nodes for tensor in node.inputs)

    def broken(self) -> Iterator[str]:
        if self._graph.opset < _OPSET:
            yield f"opset: expected {_OPSET} or newer, received {self._graph.opset}"
        if not any(node.operator == _DEQUANTIZE for node in self._graph.nodes):
            yield f"pairs: there is no {_DEQUANTIZE}, so nothing is quantized"
        for node in self._graph.nodes:
            name = node.name or (node.outputs or ("",))[0]
            for rule, text in self._broken_by(node):
                yield f"{rule}: {name}: {text}"

    def _broken_by(self, node: Node) -> Iterator[tuple[str, str]]:
        if node.operator in _REFUSED:
            yield "operators", f"TensorRT has no {node.operator}"
        elif node.domain:
            yield "operators", f"TensorRT has none of {node.domain}"
        elif node.operator in (_QUANTIZE, _DEQUANTIZE):
            yield from self._parameters(node)
            yield from self._pair(node)
        elif node.operator in WEIGHTED:
            yield from self._weighted(node)
        elif node.operator in _FUSED:
            source = self._quantized_source(node.inputs[0])
            if source and self._is_made_by(source, (*WEIGHTED, "Add")):
                yield "activation functions", "what it takes is quantized, which undoes its fusion"
        elif node.operator == "Add":
            yield from self._addition(node)

    def _parameters(self, node: Node) -> Iterator[tuple[str, str]]:
        """Scale and zero point of a quantizing or dequantizing node."""
        scale = self._constants.get(node.inputs[1])
        if scale is None:
            yield "scales", "expected a constant"
        elif not all(0 < number < np.inf for number in scale.astype(np.float64).flat):
            yield "scales", "expected positive numbers"
        zero = self._constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
        if zero is None:
            yield "zero points", "expected a constant; without one it is uint8"
        elif zero.dtype != np.int8:
            yield "zero points", f"expected int8, received {zero.dtype}"
        elif zero.any():
            yield "zero points", f"expected 0, received {zero.ravel()[zero.ravel() != 0][0]}"

    def _pair(self, node: Node) -> Iterator[tuple[str, str]]:
        """That what is quantized is dequantized at once, with the same scale."""
        if node.operator == _QUANTIZE:
            if node.inputs[0] not in self._constants and self._by_channel(node):
                yield "activations", "expected one scale for the whole tensor"
            return
        if node.inputs[0] in self._constants:
            kind = self._constants[node.inputs[0]].dtype
            yield "pairs", f"expected float constants with both nodes, received {kind} ones"
            return
        source = self._maker.get(node.inputs[0])
        if source is None or source.operator != _QUANTIZE:
            yield "pairs", f"expected {_QUANTIZE} before it"
        elif not self._same_scale(source, node):
            yield "pairs", f"expected the scale of the {_QUANTIZE} before it"

    def _same_scale(self, one: Node, other: Node) -> bool:
        first, second = (self._constants.get(node.inputs[1]) for node in (one, other))
        if first is None or second is None:
            return False
        same_axis = one.integers.get("axis", 1) == other.integers.get("axis", 1)
        return np.array_equal(first, second) and same_axis

    def _by_channel(self, node: Node) -> bool:
        scale = self._constants.get(node.inputs[1])
        return scale is not None and scale.size > 1

    def _weighted(self, node: Node) -> Iterator[tuple[str, str]]:
        quantized = [self._quantized_source(tensor) for tensor in node.inputs[:2]]
        if quantized == [None, None]:
            pass  # a node that stays float
        elif None in quantized:
            missing = ("its input", "its weights")[quantized.index(None)]
            yield "inputs", f"{missing} {'are' if missing[-1] == 's' else 'is'} not quantized"
        elif quantized[1] in self._constants:
            yield from self._weights(node, self._maker[node.inputs[1]])
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        if bias and self._is_made_by(bias, (_DEQUANTIZE,)):
            yield "biases", "expected float, received a dequantized one"

    def _weights(self, node: Node, dequantize: Node) -> Iterator[tuple[str, str]]:
        """That constant weights have a scale for each output channel."""
        weights = self._constants[str(self._quantized_source(node.inputs[1]))]
        axis = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1 - node.integers.get("transB", 0)}.get(
            node.operator, weights.ndim - 1
        )
        scale = self._constants.get(dequantize.inputs[1])
        stated = dequantize.integers.get("axis", 1) % max(weights.ndim, 1)
        if scale is not None and (scale.shape != weights.shape[axis : axis + 1] or stated != axis):
            yield "weights", f"expected a scale for each output channel, on axis {axis}"

    def _addition(self, node: Node) -> Iterator[tuple[str, str]]:
        """That of the two tensors of a skip connection the residual one is quantized.

        The other may be float where it comes from an operator with weights and goes nowhere else:
        TensorRT adds inside of that operator.
        """
        if any(tensor in self._constants for tensor in node.inputs):
            return
        plain = [tensor for tensor in node.inputs if self._quantized_source(tensor) is None]
        sums = [tensor for tensor in plain if self._is_made_by(tensor, WEIGHTED)]
        alone = [tensor for tensor in sums if self._readers[tensor] == 1]
        if len(plain) > 1 or len(plain) != len(alone):
            yield "residuals", "expected its residual input quantized"

    def _is_made_by(self, tensor: str, operators: tuple[str, ...]) -> bool:
        maker = self._maker.get(tensor)
        return maker is not None and maker.operator in operators

    def _quantized_source(self, tensor: str) -> str | None:
        """The float tensor behind a pair that gives `tensor`; None where there is no pair."""
        outer = self._maker.get(tensor)
        if outer is None or outer.operator != _DEQUANTIZE:
            return None
        inner = self._maker.get(outer.inputs[0])
        return inner.inputs[0] if inner and inner.operator == _QUANTIZE else outer.inputs[0]

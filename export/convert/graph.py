"""What a .tflite holds, read through the interpreter.

Its operators, whether it is purely integer, and how much memory it needs.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.input_spec import Arithmetic
from edgeemo.contract.quantize import PIXEL_QUANTIZATION
from edgeemo.errors import BackendError

ALIGNMENT = 16  # bytes, as TensorFlow Lite Micro's planner aligns tensors
# Change the scale of a tensor and nothing else; the quantizer puts them between operators of
# different widths.
CASTS = ("QUANTIZE", "DEQUANTIZE")
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D")
_NARROW = (np.int8, np.int32)  # activations and weights; biases and shapes
_WIDE = (*_NARROW, np.int16, np.int64)  # int16 activations have int64 biases


@dataclass(frozen=True)
class Graph:
    """A model's graph, as the interpreter describes it."""

    tensors: dict[int, dict[str, Any]]
    """Tensors by index."""
    operators: list[dict[str, Any]]
    """Operators in the order of execution."""
    constants: set[int]
    """Indices of the tensors that no operator writes."""
    input: dict[str, Any]
    """The one input."""
    output: dict[str, Any]
    """The one output."""


def read_graph(tflite: bytes, name: str = "int8.tflite") -> Graph:
    """The graph of a .tflite file of one input and one output; `name` stands in messages.

    Raises BackendError.
    """
    interpreter = open_interpreter(tflite, name, kernels="plain")
    operators = interpreter._get_ops_details()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    produced = {int(t) for op in operators for t in op["outputs"]}
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    constants = {
        int(t)
        for op in operators
        for t in op["inputs"]
        if t >= 0 and t not in produced and t != source["index"]
    }
    return Graph(tensors, operators, constants, source, target)


def check_full_int8(
    tflite: bytes, *, wide: bool = False, arithmetic: Arithmetic = Arithmetic.GRAPH
) -> None:
    """Raise BackendError unless a .tflite is purely int8, per-channel, and takes pixels.

    So its input has scale 1 and zero point -128, but where the runtime scales the pixels: there it
    may have others. With `wide`, activations of 16 bits are right too.
    """
    graph = read_graph(tflite)
    allowed = _WIDE if wide else _NARROW
    # A cast beside a float operator is only the sign of it.
    for operator in sorted(graph.operators, key=lambda op: op["op_name"] in CASTS):
        kinds = {
            graph.tensors[tensor]["dtype"]
            for tensor in (*operator["inputs"], *operator["outputs"])
            if tensor >= 0
        }
        if strange := kinds - set(allowed):
            layer = graph.tensors[int(operator["outputs"][0])]["name"]
            types = " and ".join(sorted(np.dtype(kind).name for kind in strange))
            raise BackendError(
                f"int8.tflite: the operator {operator['op_name']} of layer {layer} works on "
                f"{types}, expected int8 alone: there is no int8 kernel for it; "
                "use another layer there and train again"
            )
        if operator["op_name"] in _WEIGHTED:
            weights = graph.tensors[operator["inputs"][1]]
            channels = graph.tensors[operator["outputs"][0]]["shape"][-1]
            if len(weights["quantization_parameters"]["scales"]) != channels:
                raise BackendError(
                    f"int8.tflite: the weights {weights['name']} are not quantized per channel"
                )
    scale, zero_point = graph.input["quantization"]
    if arithmetic is Arithmetic.RUNTIME:
        return
    if (scale, zero_point) != (PIXEL_QUANTIZATION.scale, PIXEL_QUANTIZATION.zero_point):
        raise BackendError(
            "int8.tflite: expected scale 1 and zero point -128 at the input, the converter chose "
            f"{scale} and {zero_point}; the calibration set must reach 0 and 255"
        )


def activation_bytes(tflite: bytes) -> int:
    """Largest sum of tensors alive at once over the operators in order, each aligned to 16 bytes.

    Weights are not counted.
    """
    graph = read_graph(tflite)
    first: dict[int, int] = {graph.input["index"]: 0}
    last: dict[int, int] = {}
    for step, operator in enumerate(graph.operators):
        for tensor in (*operator["inputs"], *operator["outputs"]):
            if tensor >= 0 and tensor not in graph.constants:
                first.setdefault(tensor, step)
                last[tensor] = step
    last[graph.output["index"]] = len(graph.operators) - 1
    sizes = {tensor: _aligned_bytes(graph.tensors[tensor]) for tensor in first}
    steps = range(len(graph.operators))
    return max(sum(sizes[t] for t in first if first[t] <= step <= last[t]) for step in steps)


def _aligned_bytes(tensor: dict[str, Any]) -> int:
    size = math.prod(int(n) for n in tensor["shape"]) * np.dtype(tensor["dtype"]).itemsize
    return int(-(-size // ALIGNMENT) * ALIGNMENT)

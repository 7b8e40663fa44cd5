"""What a .tflite says of its tensors and operators, with refusals that name the layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.quantize import Quantization
from edgeemo.errors import BackendError

MAX_SIDE = 65535
"""Of a tensor: the C kernels count in 16 bits."""

# Of the TFLite schema: operators, element types and fused activations by number.
BUILTINS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D",
    9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU",
    20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 23: "RESIZE_BILINEAR", 25: "SOFTMAX",
    28: "TANH", 34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 43: "SQUEEZE", 47: "EXP",
    55: "MAXIMUM", 57: "MINIMUM", 60: "PADV2", 70: "EXPAND_DIMS", 73: "LOG", 76: "RSQRT",
    82: "REDUCE_MAX", 97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 101: "ABS",
    114: "QUANTIZE", 117: "HARD_SWISH", 150: "GELU", 152: "RELU_0_TO_1",
}  # fmt: skip
_TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    7: "int16",
    9: "int8",
    17: "int4",
}
_ACTIVATIONS: dict[int, tuple[float | None, float | None]] = {
    0: (None, None),
    1: (0, None),
    2: (-1, 1),
    3: (0, 6),
}


class Graph:
    """The one graph of a parsed model, at one operator after the other.

    Raises:
        BackendError: another number of graphs, inputs or outputs, or no operator.
    """

    def __init__(self, model: Any, name: str) -> None:
        self.name = name
        self.model, self.buffers = model, model.buffers
        self.codes = [
            max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes
        ]
        graph = model.subgraphs[0]
        self.tensors, self.operators = graph.tensors, graph.operators
        if len(model.subgraphs) != 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise BackendError(f"{name}: expected one graph of one input and one output")
        self.input, self.output = int(graph.inputs[0]), int(graph.outputs[0])
        if self.operators is None or len(self.operators) == 0:
            raise BackendError(f"{name}: expected a network, received a graph without operators")
        self.operator = self.operators[0]
        self.same: dict[int, int] = {}  # tensors that are another's bytes (RESHAPE), to it

    def refused(self, why: str) -> BackendError:
        """That the operator at hand cannot become C, because it `why`; names it and its layer."""
        tensor = self.tensors[int(self.operator.outputs[0])]
        kinds = sorted(BUILTINS.values())
        # Of an operator that C has, its numbers are at fault, and the list would mislead.
        covered = "" if self.kind in kinds else f"the C kernels cover int8 {', '.join(kinds)}: "
        return BackendError(
            f"{self.name}: operator {self.kind} of layer {text_of(tensor.name)} cannot become C: "
            f"it {why}; {covered}use another layer there and train again, or run it with LiteRT"
        )

    @property
    def kind(self) -> str:
        """The name of the operator at hand."""
        code = self.codes[self.operator.opcodeIndex]
        return BUILTINS.get(code) or _builtin_name(code)

    def type_of(self, number: int) -> str:
        """The element type of a tensor."""
        return _TYPES.get(self.tensors[number].type, f"type {self.tensors[number].type}")

    def check_type(self, number: int) -> None:
        """Raises BackendError for an activation that is not int8, and for a constant that is none
        of int8 and int32."""
        if number < 0:
            return
        kind = self.type_of(number)
        if kind not in ("int8", "int32") or (self.buffer(number) is None and kind != "int8"):
            raise self.refused(f"works on {kind}, expected int8 alone")

    # What the model's file says of a tensor.

    def buffer(self, number: int) -> Any:
        data = self.buffers[self.tensors[number].buffer].data
        return None if data is None or len(data) == 0 else np.asarray(data, np.uint8)

    def constant(self, number: int, dtype: type) -> NDArray[Any]:
        data = self.buffer(number)
        shape = tuple(self.tensors[number].shape) if self.tensors[number].shape is not None else ()
        if data is None or data.nbytes != int(np.prod(shape)) * np.dtype(dtype).itemsize:
            raise self.refused("has no constant where one is expected")
        return np.asarray(data.view(dtype).reshape(shape))

    def origin(self, number: int) -> int:
        while number in self.same:
            number = self.same[number]
        return number

    def shape(self, number: int) -> tuple[int, int, int]:
        """(height, width, channels) of an activation, missing ones 1."""
        sides = self.sides(number)
        if (
            not sides
            or sides[0] != 1
            or len(sides) > 4
            or not all(0 < n <= MAX_SIDE for n in sides)
        ):
            raise self.refused(
                f"has the shape {sides}, expected a batch of 1 and at most three sides"
            )
        height, width, channels = [1] * (4 - len(sides)) + sides[1:]
        return height, width, channels

    def sides(self, number: int) -> list[int]:
        """All sides of a tensor, its batch in front."""
        shape = self.tensors[number].shape
        return [] if shape is None else [int(n) for n in shape]

    def size(self, number: int) -> int:
        """How many numbers an activation has."""
        return int(np.prod(self.shape(number)))

    def axes(self, number: int, axes: Sequence[int]) -> list[int]:
        """Axes of a tensor as those of four sides (batch, height, width, channels), in order."""
        count = len(self.sides(number))
        if any(not -count <= axis < count for axis in axes):
            raise self.refused(f"has the axes {list(axes)} of a tensor of {count} sides")
        return sorted({axis % count + (4 - count if axis % count else 0) for axis in axes})

    def scales(self, number: int) -> NDArray[np.float64]:
        quantization = self.tensors[number].quantization
        if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
            raise self.refused("is not quantized")
        return np.asarray(quantization.scale, np.float32).astype(np.float64)

    def quantization(self, number: int) -> Quantization:
        scale = float(self.scales(number)[0])
        return Quantization(scale, int(self.tensors[number].quantization.zeroPoint[0]))

    def bounds(self, activation: int, number: int) -> tuple[int, int]:
        """What a fused activation leaves of -128..127 in the output's own integers (TFLite's
        CalculateActivationRange)."""
        quantization = self.quantization(number)
        if activation not in _ACTIVATIONS:
            raise self.refused(
                f"has the fused activation {activation}, expected none, ReLU, ReLU6 or ReLU of -1 "
                "to 1"
            )
        ends = _ACTIVATIONS[activation]
        with np.errstate(over="ignore"):  # the smallest scales there are: an infinite end
            low, high = (
                np.clip(np.float32(end) / np.float32(quantization.scale), -256, 256)
                if end is not None
                else None
                for end in ends
            )
        zero = quantization.zero_point
        return (
            -128 if low is None else max(-128, zero + round_away(float(low))),
            127 if high is None else min(127, zero + round_away(float(high))),
        )

    def ends(self) -> tuple[int, int]:
        return int(self.operator.inputs[0]), int(self.operator.outputs[0])


def round_away(value: float) -> int:
    return int(np.copysign(np.floor(abs(value) + 0.5), value))


def text_of(name: Any) -> str:
    """A tensor's name from a file that may hold anything."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return "".join(c if c.isprintable() else "?" for c in text)[:120]


def _builtin_name(code: int) -> str:
    from edgeemo.backends.litert import builtin_operators

    return builtin_operators().get(code, f"operator {code}")

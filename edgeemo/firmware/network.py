"""An int8 .tflite as the layers that the C kernels know: integers alone, zero points folded into biases, shapes without batch.

The numbers follow the TFLite 8-bit quantization specification and its reference kernels: fixed-point multipliers of 31
bits from double-precision scales (`QuantizeMultiplier`), which the C kernels apply as those do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import parse_model
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import PIXEL_QUANTIZATION, Quantization
from edgeemo.errors import BackendError, BundleError
from edgeemo.firmware.fixed_point import fixed_point, requantized

MAX_SIDE = 65535  # of a tensor: the C kernels count in 16 bits
MAX_BYTES = 1 << 24  # of a tensor and of all weights: what a microcontroller could ever hold
_MAX_ACCUMULATOR = 1 << 30  # of the C kernels' rounding, which doubles it first


class Op(IntEnum):
    """The C kernels, numbered as in edgeemo_kernels.h and in flash images."""

    LOOKUP = 1
    CONV_2D = 2
    DEPTHWISE_CONV_2D = 3
    ADD = 4
    AVERAGE_POOL_2D = 5
    MAX_POOL_2D = 6
    MEAN = 7
    PAD = 8
    FULLY_CONNECTED = 9


@dataclass(frozen=True)
class Layer:
    """One call of a C kernel.

    Attributes:
        op: which kernel.
        name: the tensor that it makes, as the model's file calls it.
        inputs: one or two numbers of tensors.
        output: the number of a tensor.
        in_shape, out_shape: (height, width, channels).
        kernel, stride, pad: (vertical, horizontal) in pixels; pad at the top and at the left.
        zeros: zero points of input and output.
        bounds: lowest and highest int8 value of the output.
        weights: int8; (out, height, width, in) for CONV_2D, (height, width, out) for DEPTHWISE_CONV_2D,
            (out, in) for FULLY_CONNECTED, (256,) for LOOKUP.
        bias, multiplier, shift: int32, int32, int8, all of one length; see edgeemo_kernels.h.
    """

    op: Op
    name: str
    inputs: tuple[int, ...]
    output: int
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    zeros: tuple[int, int] = (0, 0)
    bounds: tuple[int, int] = (-128, 127)
    weights: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    bias: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    multiplier: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    shift: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))

    @property
    def table(self) -> NDArray[np.int8]:
        """The weights as they are stored, flat: those of CONV_2D end in zeros, so that its kernels may read 16 at a time."""
        size = self.weights[0].size if self.op == Op.CONV_2D else 0
        return np.concatenate([self.weights.ravel(), np.zeros(-size % 16, np.int8)])

    @property
    def scratch_bytes(self) -> int:
        """What the kernel needs beside its tensors: rows of 32-bit sums, for CONV_2D two patches of 16-bit numbers, for ADD two tables."""
        row = 4 * self.out_shape[2]
        if self.op == Op.CONV_2D:
            size = self.kernel[0] * self.kernel[1] * self.in_shape[2]
            return 2 * 2 * (-(-size // 16) * 16) + 2 * row
        return {Op.DEPTHWISE_CONV_2D: row, Op.ADD: 2 * 4 * 256}.get(self.op, 0)

    @property
    def in_place(self) -> bool:
        """Whether its output may lie where an input lies."""
        return self.op in (Op.LOOKUP, Op.ADD)

    @property
    def multiply_accumulates(self) -> int:
        """Products that the kernel sums, padding included."""
        area = self.out_shape[0] * self.out_shape[1]
        return (
            area * self.weights.size
            if self.op in (Op.CONV_2D, Op.DEPTHWISE_CONV_2D, Op.FULLY_CONNECTED)
            else 0
        )


@dataclass(frozen=True)
class Network:
    """A whole model: layers in order, the bytes of each tensor by number, and which are the pixels and the logits."""

    layers: tuple[Layer, ...]
    tensor_bytes: dict[int, int]
    input: int
    output: int
    logits: Quantization

    @property
    def weight_bytes(self) -> int:
        """Weights, biases, multipliers and shifts together."""
        return sum(
            a.nbytes
            for layer in self.layers
            for a in (layer.table, layer.bias, layer.multiplier, layer.shift)
        )


def bundle_network(bundle: Bundle) -> Network:
    """The network of a bundle's int8.tflite.

    Raises:
        BundleError: the bundle has none.
        BackendError: a layer that the C kernels do not cover; the message names it.
    """
    held = [
        artifact
        for artifact in bundle.manifest.artifacts
        if artifact.format == "tflite" and artifact.is_integer
    ]
    if not held:
        files = ", ".join(artifact.file for artifact in bundle.manifest.artifacts)
        raise BundleError(
            f"{bundle.path}: holds no int8.tflite for a microcontroller (only {files}); build it with --profile mcu"
        )
    return read_network(bundle.files[held[0].file], f"{bundle.path}: {held[0].file}")


def read_network(tflite: bytes, name: str = "int8.tflite") -> Network:
    """The layers of an int8 .tflite from uint8 pixels to seven logits; `name` stands in messages.

    Raises:
        BackendError: not an int8 model of ours, or a layer that the C kernels do not cover, which is named.
    """
    return _Reader(parse_model(tflite, name), name).network()


class _Reader:
    """Goes through the operators in order; `self.same` maps tensors that are another's bytes (RESHAPE) to it."""

    def __init__(self, model: Any, name: str) -> None:
        self.name = name
        self.buffers = model.buffers
        self.codes = [
            max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes
        ]
        graph = model.subgraphs[0]
        self.tensors, self.operators = graph.tensors, graph.operators
        if len(model.subgraphs) != 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise BackendError(f"{name}: expected one graph of one input and one output")
        self.input, self.output = int(graph.inputs[0]), int(graph.outputs[0])
        self.same: dict[int, int] = {}
        self.layers: list[Layer] = []

    def network(self) -> Network:
        for operator in self.operators:
            self.operator = operator
            kind = _BUILTINS.get(self.codes[operator.opcodeIndex])
            if kind is None:
                raise self.refused("is an operator that the C kernels do not cover")
            for tensor in (*operator.inputs, *operator.outputs):
                self._check_type(int(tensor))
            _READERS[kind](self)
        source, target = self.quantization(self.input), self.quantization(self.output)
        if source != PIXEL_QUANTIZATION:
            raise BackendError(
                f"{self.name}: expected scale 1 and zero point -128 at the input, found {source}"
            )
        numbers = {layer.output for layer in self.layers} | {self.input}
        sizes = {number: int(np.prod(self.shape(number))) for number in numbers}
        out = self.origin(self.output)
        if sizes.get(out) != len(LABELS):
            raise BackendError(
                f"{self.name}: expected {len(LABELS)} logits, found a tensor of shape {self.shape(out)}"
            )
        if (
            sum(layer.weights.nbytes for layer in self.layers) > MAX_BYTES
            or max(sizes.values()) > MAX_BYTES
        ):
            raise BackendError(
                f"{self.name}: larger than {MAX_BYTES:,} bytes, which no microcontroller holds"
            )
        return Network(tuple(self.layers), sizes, self.input, out, target)

    def refused(self, why: str) -> BackendError:
        tensor = self.tensors[int(self.operator.outputs[0])]
        code = self.codes[self.operator.opcodeIndex]
        kind = _BUILTINS.get(code) or _builtin_name(code)
        return BackendError(
            f"{self.name}: the layer {_text(tensor.name)} ({kind}) {why}; the C kernels cover int8 "
            f"{', '.join(sorted(set(_BUILTINS.values())))}: use another layer there and train again, or run it with LiteRT"
        )

    def _check_type(self, number: int) -> None:
        if number < 0:
            return
        kind = _TYPES.get(self.tensors[number].type, f"type {self.tensors[number].type}")
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
        sides = [int(n) for n in self.tensors[number].shape]
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

    def scales(self, number: int) -> NDArray[np.float64]:
        found = self.tensors[number].quantization
        if found is None or found.scale is None or len(found.scale) == 0:
            raise self.refused("is not quantized")
        return np.asarray(found.scale, np.float32).astype(np.float64)

    def quantization(self, number: int) -> Quantization:
        scale = float(self.scales(number)[0])
        return Quantization(scale, int(self.tensors[number].quantization.zeroPoint[0]))

    def bounds(self, activation: int, number: int) -> tuple[int, int]:
        """What a fused activation leaves of -128..127 in the output's own integers (TFLite's CalculateActivationRange)."""
        quantization = self.quantization(number)
        if activation not in _ACTIVATIONS:
            raise self.refused(
                f"has the fused activation {activation}, expected none, ReLU, ReLU6 or ReLU of -1 to 1"
            )
        ends = _ACTIVATIONS[activation]
        low, high = (
            np.float32(end) / np.float32(quantization.scale) if end is not None else None
            for end in ends
        )
        zero = quantization.zero_point
        return (
            -128 if low is None else max(-128, zero + _round_away(float(low))),
            127 if high is None else min(127, zero + _round_away(float(high))),
        )

    def ends(self) -> tuple[int, int]:
        return int(self.operator.inputs[0]), int(self.operator.outputs[0])

    def add_layer(self, op: Op, source: int, target: int, **more: Any) -> None:
        zeros = self.quantization(source).zero_point, self.quantization(target).zero_point
        inputs = tuple(self.origin(number) for number in more.pop("inputs", (source,)))
        layer = Layer(
            op, _text(self.tensors[target].name), inputs, target,
            **{"in_shape": self.shape(source), "out_shape": self.shape(target), "zeros": zeros} | more,
        )  # fmt: skip
        made = {self.input} | {layer.output for layer in self.layers}
        if not set(inputs) <= made:
            raise self.refused("reads what no layer before it has made")
        if max(*layer.kernel, *layer.stride, *layer.pad) > 255:
            raise self.refused("has a kernel, stride or padding of more than 255 pixels")
        self.layers.append(layer)

    def padding(
        self,
        same: bool,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        kernel: Any,
        stride: Any,
    ) -> Any:
        """(top, left) zeros; TFLite puts the odd one at the bottom and at the right."""
        if not same:
            return 0, 0
        spare = [
            (o - 1) * s + k - i
            for i, o, k, s in zip(in_shape, out_shape, kernel, stride, strict=False)
        ]
        return tuple(max(0, n) // 2 for n in spare[:2])

    # Operators.

    def weighted(
        self, op: Op, weights: NDArray[np.int8], sums: NDArray[np.int64], largest: NDArray[np.int64], options: Any,
        multipliers: NDArray[np.float64], **more: Any,
    ) -> None:  # fmt: skip
        """A layer of products: `sums` and `largest` of the weights and their absolute values, one an output channel."""
        source, target = self.ends()
        bias = np.zeros(sums.size, np.int64)
        if len(self.operator.inputs) > 2 and self.operator.inputs[2] >= 0:
            bias = self.constant(int(self.operator.inputs[2]), np.int32).astype(np.int64)
        pairs = [fixed_point(float(m)) for m in multipliers]
        self._check_sums(255 * largest + np.abs(bias), [shift for _, shift in pairs])
        folded = bias - self.quantization(source).zero_point * sums
        self.add_layer(
            op, source, target, weights=weights, bias=folded.astype(np.int32),
            multiplier=np.array([m for m, _ in pairs], np.int32), shift=np.array([s for _, s in pairs], np.int8),
            bounds=self.bounds(options.fusedActivationFunction, target), **more,
        )  # fmt: skip

    def _check_sums(self, largest: Any, shifts: Sequence[int]) -> None:
        if (np.asarray(largest, np.int64) << np.maximum(0, shifts)).max() >= _MAX_ACCUMULATOR:
            raise self.refused("has sums that need more than 31 bits")

    def conv(self) -> None:
        (source, target), options = self.ends(), self.operator.builtinOptions
        weights = self.constant(int(self.operator.inputs[1]), np.int8)
        kernel, stride = weights.shape[1:3], (options.strideH, options.strideW)
        if weights.shape[3] != self.shape(source)[2] or weights.shape[0] != self.shape(target)[2]:
            raise self.refused("convolves in groups")
        flat = weights.reshape(len(weights), -1).astype(np.int64)
        self._check_dilation(options)
        self.weighted(
            Op.CONV_2D, weights, flat.sum(1), np.abs(flat).sum(1), options, self.multipliers(len(weights)), kernel=kernel,
            stride=stride, pad=self.padding(options.padding == 0, self.shape(source), self.shape(target), kernel, stride),
        )  # fmt: skip

    def depthwise(self) -> None:
        (source, target), options = self.ends(), self.operator.builtinOptions
        weights = self.constant(int(self.operator.inputs[1]), np.int8)[0]
        kernel, stride = weights.shape[:2], (options.strideH, options.strideW)
        flat = weights.reshape(-1, weights.shape[2]).astype(np.int64)
        self._check_dilation(options)
        self.weighted(
            Op.DEPTHWISE_CONV_2D, weights, flat.sum(0), np.abs(flat).sum(0), options,
            self.multipliers(weights.shape[2]), kernel=kernel, stride=stride,
            pad=self.padding(options.padding == 0, self.shape(source), self.shape(target), kernel, stride),
        )  # fmt: skip

    def dense(self) -> None:
        source, target = self.ends()
        weights = self.constant(int(self.operator.inputs[1]), np.int8)
        flat = weights.astype(np.int64)
        size = self.tensor_size(source)
        if weights.shape[1] != size or self.tensor_size(target) != len(weights):
            raise self.refused("is applied at several places")
        self.weighted(
            Op.FULLY_CONNECTED, weights, flat.sum(1), np.abs(flat).sum(1),
            self.operator.builtinOptions, self.multipliers(len(weights)), in_shape=(1, 1, size),
            out_shape=(1, 1, len(weights)),
        )  # fmt: skip

    def tensor_size(self, number: int) -> int:
        return int(np.prod(self.shape(number)))

    def multipliers(self, channels: int) -> NDArray[np.float64]:
        source, target = self.ends()
        weights = self.scales(int(self.operator.inputs[1]))
        if weights.size not in (1, channels):
            raise self.refused(f"has {weights.size} scales for {channels} channels")
        return np.broadcast_to(self.scales(source)[0] * weights / self.scales(target)[0], channels)

    def _check_dilation(self, options: Any) -> None:
        if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
            raise self.refused("is dilated")

    def add(self) -> None:
        left, right = (int(n) for n in self.operator.inputs)
        if self.buffer(left) is not None or self.buffer(right) is not None:
            return self.table(_add)
        source, target = self.ends()
        if self.shape(left) != self.shape(right):
            raise self.refused("adds tensors of different shapes")
        numbers = _add_numbers(
            self.quantization(left), self.quantization(right), self.quantization(target)
        )
        self._check_sums(255 << 20, [shift for _, shift in numbers])
        zeros = -self.quantization(left).zero_point, -self.quantization(right).zero_point, 0
        self.add_layer(
            Op.ADD, source, target, inputs=(left, right), bias=np.array(zeros, np.int32),
            multiplier=np.array([m for m, _ in numbers], np.int32), shift=np.array([s for _, s in numbers], np.int8),
            bounds=self.bounds(self.operator.builtinOptions.fusedActivationFunction, target),
        )  # fmt: skip
        return None

    def multiply(self) -> None:
        if all(self.buffer(int(n)) is None for n in self.operator.inputs):
            raise self.refused("multiplies two tensors")
        self.table(_multiply)

    def table(self, function: Callable[..., NDArray[np.int64]]) -> None:
        """An operator of one activation and one constant number, as a table of its 256 answers."""
        first, second = (int(n) for n in self.operator.inputs)
        source, scalar = (first, second) if self.buffer(first) is None else (second, first)
        target = self.ends()[1]
        value = self.constant(scalar, np.int8).ravel()
        if value.size != 1:
            raise self.refused("takes more than one constant number")
        kinds = self.quantization(source), self.quantization(scalar), self.quantization(target)
        answers = function(np.arange(-128, 128), int(value[0]), *kinds)
        self.lookup(source, target, answers, self.operator.builtinOptions.fusedActivationFunction)

    def lookup(self, source: int, target: int, answers: NDArray[np.int64], activation: int) -> None:
        """A table of 256 answers; two in a row become one where nobody else reads what lies between them, and one that changes
        nothing becomes none."""
        low, high = self.bounds(activation, target)
        table = answers.clip(low, high).astype(np.int8)
        before = self.layers[-1] if self.layers else None
        readers = sum(source in operator.inputs for operator in self.operators)
        if (
            before is not None
            and (before.op, before.output) == (Op.LOOKUP, source)
            and readers == 1
            and source != self.output
        ):
            self.layers.pop()
            table = table[before.weights.astype(np.int64) + 128]
            source = before.inputs[0]
        if np.array_equal(table, np.arange(-128, 128)):
            self.same[target] = source
        else:
            self.add_layer(Op.LOOKUP, source, target, weights=table)

    def rescale(self) -> None:
        """RELU, RELU6, RELU_N1_TO_1 and QUANTIZE between two int8 tensors."""
        source, target = self.ends()
        before, after = self.quantization(source), self.quantization(target)
        activation = _AS_FUSED.get(_BUILTINS[self.codes[self.operator.opcodeIndex]], 0)
        multiplier, shift = fixed_point(before.scale / after.scale)
        values = (
            requantized(np.arange(-128, 128) - before.zero_point, multiplier, shift)
            + after.zero_point
        )
        self.lookup(source, target, values, activation)

    def pool(self, op: Op) -> None:
        (source, target), options = self.ends(), self.operator.builtinOptions
        if self.quantization(source) != self.quantization(target):
            raise self.refused("changes the scale while it pools")
        kernel, stride = (
            (options.filterHeight, options.filterWidth),
            (options.strideH, options.strideW),
        )
        self.add_layer(
            op, source, target, kernel=kernel, stride=stride,
            pad=self.padding(options.padding == 0, self.shape(source), self.shape(target), kernel, stride),
            bounds=self.bounds(options.fusedActivationFunction, target),
        )  # fmt: skip

    def mean(self) -> None:
        source, target = self.ends()
        axes = sorted(int(n) for n in self.constant(int(self.operator.inputs[1]), np.int32).ravel())
        if axes != [1, 2] or len(self.tensors[source].shape) != 4:
            raise self.refused(f"averages over the axes {axes}, expected height and width")
        height, width, channels = self.shape(source)
        count, before = height * width, self.quantization(source)
        multiplier, shift = fixed_point(before.scale / self.quantization(target).scale)
        # As QuantizedMeanOrSum does: the multiplier takes the division in.
        spare = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << spare) // count, shift - spare
        self._check_sums(255 * count, [shift])
        self.add_layer(
            Op.MEAN, source, target, out_shape=(1, 1, channels), bias=np.array([-before.zero_point * count], np.int32),
            multiplier=np.array([multiplier], np.int32), shift=np.array([shift], np.int8),
        )  # fmt: skip

    def pad(self) -> None:
        source, target = self.ends()
        pads = self.constant(int(self.operator.inputs[1]), np.int32)
        if pads.shape != (4, 2) or pads[[0, 3]].any() or pads.min() < 0:
            raise self.refused("pads more than height and width")
        value = self.quantization(source).zero_point
        if len(self.operator.inputs) > 2:
            value = int(self.constant(int(self.operator.inputs[2]), np.int8).ravel()[0])
        self.add_layer(
            Op.PAD, source, target, pad=(int(pads[1, 0]), int(pads[2, 0])),
            zeros=(value, self.quantization(target).zero_point),
        )  # fmt: skip

    def alias(self) -> None:
        source, target = self.ends()
        if self.quantization(source) != self.quantization(target) or self.tensor_size(
            source
        ) != self.tensor_size(target):
            raise self.refused("changes more than the shape")
        self.same[target] = source


def _add_numbers(a: Quantization, b: Quantization, out: Quantization) -> list[tuple[int, int]]:
    """Fixed-point numbers of both inputs and of the output (TFLite's PrepareAdd; 20 bits of left shift)."""
    twice = 2 * max(a.scale, b.scale)
    return [
        fixed_point(a.scale / twice),
        fixed_point(b.scale / twice),
        fixed_point(twice / ((1 << 20) * out.scale)),
    ]


def _add(
    values: NDArray[np.int64],
    constant: int,
    source: Quantization,
    scalar: Quantization,
    target: Quantization,
) -> NDArray[np.int64]:
    first, second, last = _add_numbers(source, scalar, target)
    left = requantized((values - source.zero_point) << 20, *first)
    right = requantized(np.array([(constant - scalar.zero_point) << 20]), *second)
    return requantized(left + right, *last) + target.zero_point


def _multiply(
    values: NDArray[np.int64],
    constant: int,
    source: Quantization,
    scalar: Quantization,
    target: Quantization,
) -> NDArray[np.int64]:
    number = fixed_point(source.scale * scalar.scale / target.scale)
    return (
        requantized((values - source.zero_point) * (constant - scalar.zero_point), *number)
        + target.zero_point
    )


def _round_away(value: float) -> int:
    return int(np.copysign(np.floor(abs(value) + 0.5), value))


def _text(name: Any) -> str:
    """A tensor's name from a file that may hold anything."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return "".join(c if c.isprintable() else "?" for c in text)[:120]


def _builtin_name(code: int) -> str:
    from edgeemo.backends.litert import builtin_operators

    return builtin_operators().get(code, f"operator {code}")


# Of the TFLite schema: operators, element types and fused activations by number.
_BUILTINS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 9: "FULLY_CONNECTED", 17: "MAX_POOL_2D",
    18: "MUL", 19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 34: "PAD", 40: "MEAN", 43: "SQUEEZE",
    60: "PADV2", 70: "EXPAND_DIMS", 114: "QUANTIZE",
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
_AS_FUSED = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
_READERS: dict[str, Callable[[_Reader], None]] = {
    "ADD": _Reader.add, "AVERAGE_POOL_2D": lambda r: r.pool(Op.AVERAGE_POOL_2D), "CONV_2D": _Reader.conv,
    "DEPTHWISE_CONV_2D": _Reader.depthwise, "FULLY_CONNECTED": _Reader.dense,
    "MAX_POOL_2D": lambda r: r.pool(Op.MAX_POOL_2D), "MUL": _Reader.multiply, "RELU": _Reader.rescale,
    "RELU_N1_TO_1": _Reader.rescale, "RELU6": _Reader.rescale, "RESHAPE": _Reader.alias, "PAD": _Reader.pad,
    "MEAN": _Reader.mean, "SQUEEZE": _Reader.alias, "PADV2": _Reader.pad, "EXPAND_DIMS": _Reader.alias,
    "QUANTIZE": _Reader.rescale,
}  # fmt: skip

"""An int8 .tflite as the layers that the C kernels know (`edgeemo.firmware.layers`)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import parse_model
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Artifact, Format
from edgeemo.contract.quantize import Quantization, input_table, pixels_to_int8
from edgeemo.errors import BackendError, BundleError
from edgeemo.firmware.fixed_point import fixed_point, requantized
from edgeemo.firmware.graph import BUILTINS, Graph, text_of
from edgeemo.firmware.layers import Layer, Network, Op

MAX_BYTES = 1 << 24
"""Of a tensor and of all weights: what a microcontroller could ever hold."""
_MAX_ACCUMULATOR = 1 << 30  # of the C kernels' rounding, which doubles it first


def integer_artifact(bundle: Bundle) -> Artifact:
    """The bundle's TFLite model of integers, which the generated C repeats.

    Raises:
        BundleError: the bundle has none.
    """
    artifacts = bundle.manifest.artifacts
    for artifact in artifacts:
        if artifact.format is Format.TFLITE and artifact.precision.is_integer:
            return artifact
    raise BundleError(
        f"{bundle.path}: holds no int8 TFLite model for a microcontroller (only "
        f"{', '.join(artifact.file for artifact in artifacts)}); build it with --profile mcu"
    )


def bundle_network(bundle: Bundle) -> Network:
    """The network of a bundle's TFLite model of integers.

    Raises:
        BundleError: the bundle has none.
        BackendError: a layer that the C kernels do not cover; the message names it.
    """
    file = integer_artifact(bundle).file
    where = f"{bundle.path}: {file}"
    return read_network(bundle.files[file], bundle.spec, len(bundle.labels), where)


def read_network(
    tflite: bytes, spec: InputSpec, classes: int, name: str = "int8.tflite"
) -> Network:
    """The layers of an int8 .tflite from uint8 pixels of `spec` to `classes` logits.

    Args:
        tflite: the model's file.
        spec: what the model takes; with its arithmetic it says what the input stores for a pixel.
        classes: how many logits are expected.
        name: stands in messages.

    Raises:
        BackendError: not an int8 model, another input or number of logits, or a layer that the C
            kernels do not cover, which is named.
    """
    return _Reader(parse_model(tflite, name), name).network(spec, classes)


def pixel_table(spec: InputSpec, quantization: Quantization) -> NDArray[np.int8]:
    """`input_table` as a network holds it: one row where all channels have the same, and none where
    it is pixel - 128."""
    table = input_table(spec, quantization)
    if (table == table[0]).all():
        table = table[:1]
    plain = np.array_equal(table, pixels_to_int8(np.arange(256, dtype=np.uint8))[np.newaxis])
    return table[:0] if plain else table


class _Reader(Graph):
    """Goes through the operators in order and makes layers of them."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(model, name)
        self.layers: list[Layer] = []

    def network(self, spec: InputSpec, classes: int) -> Network:
        for operator in self.operators:
            self.operator = operator
            kind = BUILTINS.get(self.codes[operator.opcodeIndex])
            if kind is None:
                raise self.refused("is an operator that the C kernels do not cover")
            for tensor in (*operator.inputs, *operator.outputs):
                self._check_type(int(tensor))
            _READERS[kind](self)
        source, target = self.quantization(self.input), self.quantization(self.output)
        numbers = {layer.output for layer in self.layers} | {self.input}
        sizes = {number: int(np.prod(self.shape(number))) for number in numbers}
        self._check_ends(sizes, spec, classes)
        return Network(
            tuple(self.layers),
            sizes,
            self.input,
            self.origin(self.output),
            target,
            pixel_table(spec, source),
        )

    def _check_ends(self, sizes: dict[int, int], spec: InputSpec, classes: int) -> None:
        if self.shape(self.input) != spec.shape:
            raise BackendError(
                f"{self.name}: expected an input of {spec.shape}, received one of "
                f"{self.shape(self.input)}"
            )
        out = self.origin(self.output)
        if sizes.get(out) != classes:
            raise BackendError(
                f"{self.name}: expected {classes} logits, received a tensor of shape "
                f"{self.shape(out)}"
            )
        weights = sum(layer.weights.nbytes for layer in self.layers)
        if weights > MAX_BYTES or max(sizes.values()) > MAX_BYTES:
            raise BackendError(
                f"{self.name}: larger than {MAX_BYTES:,} bytes, which no microcontroller holds"
            )

    def add_layer(self, op: Op, source: int, target: int, **more: Any) -> None:
        zeros = self.quantization(source).zero_point, self.quantization(target).zero_point
        inputs = tuple(self.origin(number) for number in more.pop("inputs", (source,)))
        layer = Layer(
            op,
            text_of(self.tensors[target].name),
            inputs,
            target,
            **{"in_shape": self.shape(source), "out_shape": self.shape(target), "zeros": zeros}
            | more,
        )
        made = {self.input} | {layer.output for layer in self.layers}
        if not set(inputs) <= made:
            raise self.refused("reads what no layer before it has made")
        if max(*layer.kernel, *layer.stride, *layer.pad) > 255:
            raise self.refused("has a kernel, stride or padding of more than 255 pixels")
        self.layers.append(layer)

    def padding(self, same: bool, kernel: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
        """(top, left) zeros; TFLite puts the odd one at the bottom and at the right."""
        if not same:
            return 0, 0
        sides = zip(*map(self.shape, self.ends()), strict=True)
        spare = [(o - 1) * s + k - i for (i, o), k, s in zip(sides, kernel, stride, strict=False)]
        return tuple(max(0, n) // 2 for n in spare)

    # Operators.

    def weighted(
        self,
        op: Op,
        weights: NDArray[np.int8],
        axes: tuple[int, ...],
        multipliers: NDArray[np.float64],
        **more: Any,
    ) -> None:
        """A layer of products; weights along `axes` make one output channel."""
        wide = weights.astype(np.int64)
        sums, largest = wide.sum(axes), np.abs(wide).sum(axes)
        source, target = self.ends()
        bias = np.zeros(sums.size, np.int64)
        if len(self.operator.inputs) > 2 and self.operator.inputs[2] >= 0:
            bias = self.constant(int(self.operator.inputs[2]), np.int32).astype(np.int64)
        pairs = [fixed_point(float(m)) for m in multipliers]
        self._check_sums(255 * largest + np.abs(bias), [shift for _, shift in pairs])
        folded = bias - self.quantization(source).zero_point * sums
        self.add_layer(
            op,
            source,
            target,
            weights=weights,
            bias=folded.astype(np.int32),
            multiplier=np.array([m for m, _ in pairs], np.int32),
            shift=np.array([s for _, s in pairs], np.int8),
            bounds=self.bounds(self.operator.builtinOptions.fusedActivationFunction, target),
            **more,
        )

    def _check_sums(self, largest: Any, shifts: Sequence[int]) -> None:
        if (np.asarray(largest, np.int64) << np.maximum(0, shifts)).max() >= _MAX_ACCUMULATOR:
            raise self.refused("has sums that need more than 31 bits")

    def conv(self) -> None:
        (source, target), options = self.ends(), self.operator.builtinOptions
        weights = self.constant(int(self.operator.inputs[1]), np.int8)
        kernel, stride = weights.shape[1:3], (options.strideH, options.strideW)
        if weights.shape[3] != self.shape(source)[2] or weights.shape[0] != self.shape(target)[2]:
            raise self.refused("convolves in groups")
        self._check_dilation(options)
        self.weighted(
            Op.CONV_2D,
            weights,
            (1, 2, 3),
            self.multipliers(len(weights)),
            kernel=kernel,
            stride=stride,
            pad=self.padding(options.padding == 0, kernel, stride),
        )

    def depthwise(self) -> None:
        options = self.operator.builtinOptions
        weights = self.constant(int(self.operator.inputs[1]), np.int8)[0]
        kernel, stride = weights.shape[:2], (options.strideH, options.strideW)
        self._check_dilation(options)
        self.weighted(
            Op.DEPTHWISE_CONV_2D,
            weights,
            (0, 1),
            self.multipliers(weights.shape[2]),
            kernel=kernel,
            stride=stride,
            pad=self.padding(options.padding == 0, kernel, stride),
        )

    def dense(self) -> None:
        source, target = self.ends()
        weights = self.constant(int(self.operator.inputs[1]), np.int8)
        size = self.tensor_size(source)
        if weights.shape[1] != size or self.tensor_size(target) != len(weights):
            raise self.refused("is applied at several places")
        self.weighted(
            Op.FULLY_CONNECTED,
            weights,
            (1,),
            self.multipliers(len(weights)),
            in_shape=(1, 1, size),
            out_shape=(1, 1, len(weights)),
        )

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
            Op.ADD,
            source,
            target,
            inputs=(left, right),
            bias=np.array(zeros, np.int32),
            multiplier=np.array([m for m, _ in numbers], np.int32),
            shift=np.array([s for _, s in numbers], np.int8),
            bounds=self.bounds(self.operator.builtinOptions.fusedActivationFunction, target),
        )
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
        """A table of 256 answers.

        Two in a row become one where nobody else reads what lies between them, and one that changes
        nothing becomes none.
        """
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
        activation = _AS_FUSED.get(BUILTINS[self.codes[self.operator.opcodeIndex]], 0)
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
            op,
            source,
            target,
            kernel=kernel,
            stride=stride,
            pad=self.padding(options.padding == 0, kernel, stride),
            bounds=self.bounds(options.fusedActivationFunction, target),
        )

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
            Op.MEAN,
            source,
            target,
            out_shape=(1, 1, channels),
            bias=np.array([-before.zero_point * count], np.int32),
            multiplier=np.array([multiplier], np.int32),
            shift=np.array([shift], np.int8),
        )

    def pad(self) -> None:
        source, target = self.ends()
        pads = self.constant(int(self.operator.inputs[1]), np.int32)
        if pads.shape != (4, 2) or pads[[0, 3]].any() or pads.min() < 0:
            raise self.refused("pads more than height and width")
        value = self.quantization(source).zero_point
        if len(self.operator.inputs) > 2:
            value = int(self.constant(int(self.operator.inputs[2]), np.int8).ravel()[0])
        self.add_layer(
            Op.PAD,
            source,
            target,
            pad=(int(pads[1, 0]), int(pads[2, 0])),
            zeros=(value, self.quantization(target).zero_point),
        )

    def alias(self) -> None:
        source, target = self.ends()
        if self.quantization(source) != self.quantization(target) or self.tensor_size(
            source
        ) != self.tensor_size(target):
            raise self.refused("changes more than the shape")
        self.same[target] = source


def _add_numbers(a: Quantization, b: Quantization, out: Quantization) -> list[tuple[int, int]]:
    """Fixed-point numbers of both inputs and of the output (TFLite's PrepareAdd; 20 bits of left
    shift)."""
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


_AS_FUSED = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
_READERS: dict[str, Callable[[_Reader], None]] = {
    "ADD": _Reader.add,
    "AVERAGE_POOL_2D": lambda r: r.pool(Op.AVERAGE_POOL_2D),
    "CONV_2D": _Reader.conv,
    "DEPTHWISE_CONV_2D": _Reader.depthwise,
    "EXPAND_DIMS": _Reader.alias,
    "FULLY_CONNECTED": _Reader.dense,
    "MAX_POOL_2D": lambda r: r.pool(Op.MAX_POOL_2D),
    "MEAN": _Reader.mean,
    "MUL": _Reader.multiply,
    "PAD": _Reader.pad,
    "PADV2": _Reader.pad,
    "QUANTIZE": _Reader.rescale,
    "RELU": _Reader.rescale,
    "RELU6": _Reader.rescale,
    "RELU_N1_TO_1": _Reader.rescale,
    "RESHAPE": _Reader.alias,
    "SQUEEZE": _Reader.alias,
}

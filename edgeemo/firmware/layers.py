"""A network as the C kernels know it: layers of integers, zero points folded into biases, shapes
without batch.

The numbers follow the TFLite 8-bit quantization specification and its reference kernels:
fixed-point multipliers of 31 bits from double-precision scales (`QuantizeMultiplier`), which the C
kernels apply as those do.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.quantize import Quantization


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
    MUL = 10
    SOFTMAX = 11
    RESIZE_NEAREST = 12
    RESIZE_BILINEAR = 13
    CONCATENATION = 14
    WIDE_CONV_2D = 15
    WIDE_DEPTHWISE_CONV_2D = 16
    BROADCAST_ADD = 17


SUM_LIMIT = 1 << 30
"""What sums must stay below: the C kernels' rounding doubles them first."""
WIDE_LIMIT = 1 << 31
"""The same for the kernels that do not double: those whose name begins with WIDE, and
FULLY_CONNECTED."""
CONV = (Op.CONV_2D, Op.WIDE_CONV_2D)
DEPTHWISE = (Op.DEPTHWISE_CONV_2D, Op.WIDE_DEPTHWISE_CONV_2D)
PRODUCTS = (*CONV, *DEPTHWISE, Op.FULLY_CONNECTED)
"""Kernels that sum products of weights."""
ADDITIONS = (Op.ADD, Op.BROADCAST_ADD)
IN_PLACE = (Op.LOOKUP, *ADDITIONS, Op.MUL, Op.SOFTMAX)
"""Kernels whose output may lie where an input of its size lies."""


@dataclass(frozen=True)
class Layer:
    """One call of a C kernel."""

    op: Op
    """Which kernel."""
    name: str
    """The tensor that it makes, as the model's file calls it."""
    inputs: tuple[int, ...]
    """One or two numbers of tensors; one for a kernel of two whose second is a constant."""
    output: int
    """The number of the tensor that it makes."""
    in_shape: tuple[int, int, int]
    """(height, width, channels) of the input; of the second for a kernel of two, whose first has
    the output's."""
    out_shape: tuple[int, int, int]
    """(height, width, channels) of the output."""
    kernel: tuple[int, int] = (1, 1)
    """(vertical, horizontal) size in pixels."""
    stride: tuple[int, int] = (1, 1)
    """(vertical, horizontal) steps in pixels."""
    pad: tuple[int, int] = (0, 0)
    """Pixels of padding at the top and at the left."""
    zeros: tuple[int, int] = (0, 0)
    """Zero points of input and output."""
    bounds: tuple[int, int] = (-128, 127)
    """Lowest and highest int8 value of the output."""
    weights: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    """(out, height, width, in) for CONV_2D, (height, width, out) for DEPTHWISE_CONV_2D, (out, in)
    for FULLY_CONNECTED, (256,) for LOOKUP, a constant second input; tables of bytes
    for SOFTMAX and the resizing kernels (edgeemo_kernels.h); else empty."""
    bias: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """As long as `multiplier` and `shift`; see edgeemo_kernels.h."""
    multiplier: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    """31-bit fixed-point factors."""
    shift: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))
    """Powers of two that go with the factors, left if positive."""
    start: int = 0
    """Where in the output it begins, in bytes: the parts of a CONCATENATION are layers of one
    output."""

    @property
    def table(self) -> NDArray[np.int8]:
        """The weights as they are stored, flat.

        Those of CONV_2D end in zeros, so that its kernels may read 16 at a time.
        """
        size = self.weights[0].size if self.op in CONV else 0
        return np.concatenate([self.weights.ravel(), np.zeros(-size % 16, np.int8)])

    @property
    def scratch_bytes(self) -> int:
        """What the kernel needs beside its tensors.

        Rows of 32-bit sums, for CONV_2D also two patches of 16-bit numbers, for ADD two tables.
        """
        row = 4 * self.out_shape[2]
        if self.op in CONV:
            size = self.kernel[0] * self.kernel[1] * self.in_shape[2]
            return 2 * 2 * (-(-size // 16) * 16) + 2 * row
        if self.op in DEPTHWISE:
            return row
        return 2 * 4 * 256 if self.op in ADDITIONS else 0

    @property
    def in_place(self) -> bool:
        """Whether its output may lie where an input lies."""
        return self.op in IN_PLACE

    @property
    def multiply_accumulates(self) -> int:
        """Products that the kernel sums, padding included."""
        area = self.out_shape[0] * self.out_shape[1]
        return area * self.weights.size if self.op in PRODUCTS else 0


@dataclass(frozen=True)
class Network:
    """A whole model from uint8 pixels to int8 logits."""

    layers: tuple[Layer, ...]
    """In the order in which they run."""
    tensor_bytes: dict[int, int]
    """Size of each tensor by its number."""
    input: int
    """The tensor of the pixels."""
    output: int
    """The tensor of the logits."""
    logits: Quantization
    """Of the output."""
    probabilities: bool = False
    """Whether the output is that of a softmax, in 256ths above -128."""
    cut_off: bool = False
    """Whether the file goes on in floats where the network ends."""
    pixel_table: NDArray[np.int8] = field(default_factory=lambda: np.empty((0, 256), np.int8))
    """(channels, 256) or, where all channels have the same, (1, 256): what the input stores for
    each pixel. Empty where that is pixel - 128."""

    @property
    def weight_bytes(self) -> int:
        """Weights, biases, multipliers, shifts and the table of the input together."""
        return self.pixel_table.nbytes + sum(
            a.nbytes
            for layer in self.layers
            for a in (layer.table, layer.bias, layer.multiplier, layer.shift)
        )

"""The layers that move, compare or combine numbers in Python's own integers, from TFLite's
documents of its 8-bit kernels: a third opinion beside the C kernels and the interpreter."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeemo.firmware.fixed_point import requantized
from edgeemo.firmware.layers import Layer, Op

Map = NDArray[np.int64]


def answered(layer: Layer, inputs: Sequence[NDArray[np.int8]], out: NDArray[np.int8]) -> Map | None:
    """The output tensor of a layer, flat; `out` is what stands there before. None for the sums of
    products, whose oracle is the interpreter alone."""
    values = [array.astype(np.int64) for array in inputs]
    match layer.op:
        case Op.LOOKUP:
            return layer.weights.astype(np.int64)[values[0] + 128]
        case Op.ADD | Op.BROADCAST_ADD | Op.MUL:
            return _of_two(layer, values)
        case Op.SOFTMAX:
            return _softmax(layer, values[0])
        case Op.RESIZE_NEAREST | Op.RESIZE_BILINEAR:
            return _resized(layer, values[0])
        case Op.CONCATENATION:
            return _joined(layer, values[0], out.astype(np.int64))
        case Op.MAX_POOL_2D if layer.kernel == layer.in_shape[:2]:
            return values[0].reshape(layer.in_shape).max((0, 1)).ravel()
        case Op.MEAN:
            sums = values[0].reshape(layer.in_shape).sum((0, 1)) + layer.bias[0]
            return _clipped(layer, _scaled(layer, sums, 0))
    return None


def _scaled(layer: Layer, sums: Map, which: int) -> Map:
    return requantized(sums, int(layer.multiplier[which]), int(layer.shift[which]))


def _clipped(layer: Layer, values: Map) -> Map:
    return (values + layer.zeros[1]).clip(*layer.bounds).ravel()


def _of_two(layer: Layer, values: Sequence[Map]) -> Map:
    first = values[0].reshape(layer.out_shape)
    second = (values[1] if len(values) > 1 else layer.weights.astype(np.int64)).reshape(
        layer.in_shape
    )
    if layer.op == Op.MUL:
        product = (first - layer.zeros[0]) * (second + layer.bias[0])
        return _clipped(layer, _scaled(layer, product, 0))
    left = _scaled(layer, (first + layer.bias[0]) << 20, 0)
    right = _scaled(layer, (second + layer.bias[1]) << 20, 1)
    return _clipped(layer, _scaled(layer, left + right, 2))


def _halves_away(value: int, bits: int) -> int:
    whole, rest = divmod(abs(value), 1 << bits)
    return (whole + (2 * rest >= 1 << bits)) * (1 if value >= 0 else -1)


def _softmax(layer: Layer, values: Map) -> Map:
    table = layer.weights.view("<i4").astype(object)
    rows = values.reshape(-1, layer.in_shape[2])
    return np.array([_softmax_row(table[row.max() - row]) for row in rows]).ravel()


def _softmax_row(exponentials: NDArray[np.object_]) -> list[int]:
    """Shares of the sum in 256ths. gemmlowp divides by three rounds of Newton's iteration from
    48/17 - 32/17 d, where d is half of 1 + x: a number of 31 bits, constants of 29."""

    def product(a: int, b: int) -> int:
        return (a * b + (1 << 30)) >> 31

    total = sum(_halves_away(int(e), 12) for e in exponentials)
    zeros = 32 - total.bit_length()
    half = ((total << zeros) - (1 << 31) + (1 << 31)) // 2
    guess = 1515870810 + product(half, -1010580540)
    for _ in range(3):
        guess += 4 * product(guess, (1 << 29) - product(half, guess))
    scale = min(2 * guess, (1 << 31) - 1)
    shares = [_halves_away(product(scale, int(e)), 35 - zeros) for e in exponentials]
    return [min(max(share - 128, -128), 127) for share in shares]


def _resized(layer: Layer, values: Map) -> Map:
    height, width, _ = layer.out_shape
    source = values.reshape(layer.in_shape)
    table = layer.weights.view("<u2").astype(np.int64).reshape(height + width, -1)
    rows, columns = table[:height], table[height:]
    if layer.op == Op.RESIZE_NEAREST:
        return source[rows[:, 0]][:, columns[:, 0]].ravel()
    down, right = rows[:, 2, None, None], columns[None, :, 2, None]
    total = sum(
        source[rows[:, i]][:, columns[:, j]] * (down if i else 1024 - down)
        * (right if j else 1024 - right)
        for i in (0, 1)
        for j in (0, 1)
    )  # fmt: skip
    return np.asarray(np.sign(total) * ((np.abs(total) + (1 << 19)) >> 20)).ravel()


def _joined(layer: Layer, values: Map, out: Map) -> Map:
    height, width, channels = layer.in_shape
    row = layer.out_shape[1] * layer.out_shape[2]
    at = (
        layer.start
        + np.arange(height)[:, None, None] * row
        + np.arange(width)[:, None] * layer.out_shape[2]
        + np.arange(channels)
    )
    out = out.copy()
    out[at.ravel()] = values
    return out

"""Operators that sum products: convolutions and dense layers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.firmware.fixed_point import fixed_point
from edgeemo.firmware.layers import SUM_LIMIT, WIDE_LIMIT, Op
from edgeemo.firmware.reader import Reader

_WIDE = {
    Op.CONV_2D: Op.WIDE_CONV_2D,
    Op.DEPTHWISE_CONV_2D: Op.WIDE_DEPTHWISE_CONV_2D,
}


def conv(r: Reader) -> None:
    """CONV_2D."""
    (source, target), options = r.ends(), r.operator.builtinOptions
    weights = r.constant(int(r.operator.inputs[1]), np.int8)
    kernel, stride = weights.shape[1:3], (options.strideH, options.strideW)
    if weights.shape[3] != r.shape(source)[2] or weights.shape[0] != r.shape(target)[2]:
        raise r.refused("convolves in groups")
    _check_dilation(r, options)
    pad = r.padding(options.padding == 0, kernel, stride)
    _weighted(r, Op.CONV_2D, weights, (1, 2, 3), kernel=kernel, stride=stride, pad=pad)


def depthwise(r: Reader) -> None:
    """DEPTHWISE_CONV_2D."""
    options = r.operator.builtinOptions
    weights = r.constant(int(r.operator.inputs[1]), np.int8)[0]
    kernel, stride = weights.shape[:2], (options.strideH, options.strideW)
    _check_dilation(r, options)
    pad = r.padding(options.padding == 0, kernel, stride)
    _weighted(r, Op.DEPTHWISE_CONV_2D, weights, (0, 1), kernel=kernel, stride=stride, pad=pad)


def dense(r: Reader) -> None:
    """FULLY_CONNECTED."""
    source, target = r.ends()
    weights = r.constant(int(r.operator.inputs[1]), np.int8)
    size = r.size(source)
    if weights.shape[1] != size or r.size(target) != len(weights):
        raise r.refused("is applied at several places")
    shapes = {"in_shape": (1, 1, size), "out_shape": (1, 1, len(weights))}
    _weighted(r, Op.FULLY_CONNECTED, weights, (1,), **shapes)


def _weighted(
    r: Reader, op: Op, weights: NDArray[np.int8], axes: tuple[int, ...], **more: Any
) -> None:
    """A layer of products; weights along `axes` make one output channel."""
    wide = weights.astype(np.int64)
    sums = wide.sum(axes)
    source, target = r.ends()
    bias = np.zeros(sums.size, np.int64)
    if len(r.operator.inputs) > 2 and r.operator.inputs[2] >= 0:
        bias = r.constant(int(r.operator.inputs[2]), np.int32).astype(np.int64)
    numbers = [fixed_point(float(m)) for m in _multipliers(r, sums.size)]
    folded = bias - r.quantization(source).zero_point * sums
    above, below = np.maximum(wide, 0).sum(axes), np.minimum(wide, 0).sum(axes)
    # A part of a sum lies between the same ends, because the bias comes first.
    low, high = folded + 127 * below - 128 * above, folded + 127 * above - 128 * below
    shifts = [shift for _, shift in numbers]
    if op in _WIDE and not r.sums_fit(low, high, shifts):
        op = _WIDE[op]
    r.check_sums(low, high, shifts, SUM_LIMIT if op in _WIDE else WIDE_LIMIT)
    bounds = r.bounds(r.operator.builtinOptions.fusedActivationFunction, target)
    parameters = r.parameters(folded, numbers)
    r.add_layer(op, source, target, weights=weights, bounds=bounds, **parameters, **more)


def _multipliers(r: Reader, channels: int) -> NDArray[np.float64]:
    source, target = r.ends()
    weights = r.scales(int(r.operator.inputs[1]))
    if weights.size not in (1, channels):
        raise r.refused(f"has {weights.size} scales for {channels} channels")
    return np.broadcast_to(r.scales(source)[0] * weights / r.scales(target)[0], channels)


def _check_dilation(r: Reader, options: Any) -> None:
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        raise r.refused("is dilated")

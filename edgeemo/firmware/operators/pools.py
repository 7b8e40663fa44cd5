"""Operators that make one number of many: pools, means, and the softmax."""

import numpy as np

from edgeemo.firmware.exponential import exponentials_q31
from edgeemo.firmware.fixed_point import fixed_point
from edgeemo.firmware.image_rules import MAX_SOFTMAX
from edgeemo.firmware.layers import Op
from edgeemo.firmware.reader import Reader


def pool(r: Reader, op: Op) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    (source, target), options = r.ends(), r.operator.builtinOptions
    r.same_scale(source, target, "pools")
    kernel, stride = (
        (options.filterHeight, options.filterWidth),
        (options.strideH, options.strideW),
    )
    r.add_layer(
        op,
        source,
        target,
        kernel=kernel,
        stride=stride,
        pad=r.padding(options.padding == 0, kernel, stride),
        bounds=r.bounds(options.fusedActivationFunction, target),
    )


def mean(r: Reader) -> None:
    """MEAN over height and width, whether it keeps them as sides of 1 or not."""
    source, target = r.ends()
    _check_axes(r, "averages")
    height, width, channels = r.shape(source)
    count, before = height * width, r.quantization(source)
    multiplier, shift = fixed_point(before.scale / r.quantization(target).scale)
    # As QuantizedMeanOrSum does: the multiplier takes the division in.
    spare = min(count.bit_length() - 1, 32, 31 + shift)
    multiplier, shift = (multiplier << spare) // count, shift - spare
    zero = before.zero_point
    r.check_sums((-128 - zero) * count, (127 - zero) * count, [shift])
    parameters = r.parameters([-zero * count], [(multiplier, shift)])
    r.add_layer(Op.MEAN, source, target, out_shape=(1, 1, channels), **parameters)


def largest(r: Reader) -> None:
    """REDUCE_MAX over height and width: a pool whose one window is the map."""
    source, target = r.ends()
    _check_axes(r, "takes the largest")
    r.same_scale(source, target, "takes the largest")
    height, width, channels = r.shape(source)
    kernel = {"kernel": (height, width), "stride": (1, 1), "out_shape": (1, 1, channels)}
    r.add_layer(Op.MAX_POOL_2D, source, target, **kernel)


def softmax(r: Reader) -> None:
    """SOFTMAX, along the channels."""
    source, target = r.ends()
    scale, beta = r.quantization(source).scale, float(r.operator.builtinOptions.beta)
    out = r.quantization(target)
    if r.shape(source)[2] > MAX_SOFTMAX:
        raise r.refused(f"has more than {MAX_SOFTMAX} channels")
    if (out.scale, out.zero_point) != (1 / 256, -128) or not scale * beta * (1 << 26) > 1:
        raise r.refused("has a scale that TFLite's softmax does not have")
    table = exponentials_q31(scale, beta).astype("<i4").view(np.int8)
    r.add_layer(Op.SOFTMAX, source, target, weights=table)


def _check_axes(r: Reader, does: str) -> None:
    """Raises BackendError unless all of height and width is reduced, and nothing else."""
    source = r.ends()[0]
    axes = r.axes(source, r.constant(int(r.operator.inputs[1]), np.int32).ravel().tolist())
    shape = (1, *r.shape(source))
    needed = {axis for axis in (1, 2) if shape[axis] > 1}
    if not needed <= set(axes) or any(shape[axis] > 1 for axis in axes if axis not in needed):
        raise r.refused(f"{does} over the axes {axes}, expected height and width")

"""Operators that move numbers without changing them, and the resizing ones."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.firmware.layers import Op
from edgeemo.firmware.reader import Reader

_ONE = 1 << 10
"""TFLite's resize of int8 counts in 1024ths of a pixel."""


def alias(r: Reader) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: the same bytes."""
    r.alias(*r.ends())


def transpose(r: Reader) -> None:
    """TRANSPOSE that only moves sides of 1: the same bytes."""
    source, target = r.ends()
    sides = r.sides(source)
    order = r.constant(int(r.operator.inputs[1]), np.int32).ravel().tolist()
    if sorted(order) != list(range(len(sides))):
        raise r.refused(f"has the order {order} of {len(sides)} sides")
    moved = [axis for axis in order if sides[axis] > 1]
    if moved != sorted(moved):
        raise r.refused(f"moves the sides {sides} to the order {order}, which is no reshape")
    r.alias(source, target)


def pad(r: Reader) -> None:
    """PAD and PADV2 of height and width."""
    source, target = r.ends()
    pads = r.constant(int(r.operator.inputs[1]), np.int32)
    if pads.shape != (4, 2) or pads[[0, 3]].any() or pads.min() < 0:
        raise r.refused("pads more than height and width")
    r.same_scale(source, target, "pads")
    value = r.quantization(source).zero_point
    if len(r.operator.inputs) > 2:
        value = int(r.constant(int(r.operator.inputs[2]), np.int8).ravel()[0])
    r.add_layer(
        Op.PAD,
        source,
        target,
        pad=(int(pads[1, 0]), int(pads[2, 0])),
        zeros=(value, r.quantization(target).zero_point),
    )


def concatenation(r: Reader) -> None:
    """CONCATENATION: a layer an input, each of which copies its part."""
    target, options = r.ends()[1], r.operator.builtinOptions
    if options.fusedActivationFunction != 0:
        raise r.refused("has a fused activation")
    (axis,) = r.axes(target, [options.axis])
    if axis == 0:
        raise r.refused("joins along the batch")
    out = r.shape(target)
    step = int(np.prod(out[axis:]))
    start = 0
    for number in map(int, r.operator.inputs):
        if r.buffer(number) is not None:
            raise r.refused("joins a constant")
        r.same_scale(number, target, "joins")
        r.add_layer(Op.CONCATENATION, number, target, start=start)
        start += step * r.shape(number)[axis - 1]


def nearest(r: Reader) -> None:
    """RESIZE_NEAREST_NEIGHBOR."""
    source, target = r.ends()
    options = r.operator.builtinOptions
    r.same_scale(source, target, "resizes")
    sides = zip(r.shape(source)[:2], r.shape(target)[:2], strict=True)
    tables = [_nearest(*side, options.alignCorners, options.halfPixelCenters) for side in sides]
    table = np.concatenate(tables).astype("<u2").view(np.int8)
    r.add_layer(Op.RESIZE_NEAREST, source, target, weights=table)


def bilinear(r: Reader) -> None:
    """RESIZE_BILINEAR."""
    source, target = r.ends()
    options = r.operator.builtinOptions
    r.same_scale(source, target, "resizes")
    sides = list(zip(r.shape(source)[:2], r.shape(target)[:2], strict=True))
    tables = [_between(*side, options.alignCorners, options.halfPixelCenters) for side in sides]
    for (size, _), table in zip(sides, tables, strict=True):
        if table[:, :2].max() >= size:
            raise r.refused("reads beyond its input, because 1024ths of a pixel are too coarse")
    table = np.concatenate(tables).astype("<u2").ravel().view(np.int8)
    r.add_layer(Op.RESIZE_BILINEAR, source, target, weights=table)


def _nearest(size: int, out: int, align: bool, centers: bool) -> NDArray[np.int64]:
    """int64 (out,): the row or column that each of the output's takes, in float32 as TFLite
    computes it."""
    ends = (size - 1, out - 1) if align and out > 1 else (size, out)
    scale = np.float32(ends[0]) / np.float32(ends[1])
    real = (np.arange(out, dtype=np.float32) + np.float32(0.5 if centers else 0)) * scale
    whole = np.floor(real.astype(np.float64) + 0.5) if align else np.floor(real)
    return np.clip(whole.astype(np.int64), 0, size - 1)


def _between(size: int, out: int, align: bool, centers: bool) -> NDArray[np.int64]:
    """int64 (out, 3): the two rows or columns that each of the output's lies between, and how many
    1024ths count of the second; in integers as TFLite computes it."""
    ends = (size - 1, out - 1) if align and out > 1 else (size, out)
    scale = (_ONE * ends[0] + ends[1] // 2) // ends[1]
    at = np.arange(out) * scale + ((scale // 2 - _ONE // 2) if centers else 0)
    first = np.maximum(at // _ONE, 0)
    # -(-a // b) rounds up; TFLite rounds to 0 what lies before the first.
    second = np.minimum(np.maximum(-(-at // _ONE), 0), size - 1)
    return np.stack([first, second, np.where(first == second, 0, at - _ONE * first)], axis=1)

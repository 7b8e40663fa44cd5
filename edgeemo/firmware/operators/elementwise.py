"""Operators that work number by number: a table of 256 answers where one activation and constant
numbers are all that they take, else a kernel of two inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.quantize import Quantization
from edgeemo.firmware.fixed_point import fixed_point, requantized
from edgeemo.firmware.layers import Op
from edgeemo.firmware.reader import Reader

_AS_FUSED = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
Scales = tuple[Quantization, Quantization, Quantization]
"""Of both inputs and of the output."""


def add(r: Reader) -> None:
    """ADD."""
    _sum(r, (1, 1))


def subtract(r: Reader) -> None:
    """SUB: an addition whose second multiplier is negative."""
    _sum(r, (1, -1))


def multiply(r: Reader) -> None:
    """MUL."""
    first, second, swapped = _inputs(r)
    if _is_number(r, second):
        _constant_number(r, first, second, swapped, _products)
        return
    scales = r.quantization(first), r.quantization(second), r.quantization(r.ends()[1])
    number = fixed_point(scales[0].scale * scales[1].scale / scales[2].scale)
    low, high = ((-128 - scale.zero_point, 127 - scale.zero_point) for scale in scales[:2])
    ends = [a * b for a in low for b in high]
    r.check_sums(min(ends), max(ends), [number[1]])
    _of_two(r, Op.MUL, first, second, r.parameters([-scales[1].zero_point], [number]))


def rescale(r: Reader) -> None:
    """RELU, RELU6, RELU_N1_TO_1 and QUANTIZE between two int8 tensors."""
    source, target = r.ends()
    before, after = r.quantization(source), r.quantization(target)
    multiplier, shift = fixed_point(before.scale / after.scale)
    values = requantized(np.arange(-128, 128) - before.zero_point, multiplier, shift)
    low, high = r.bounds(_AS_FUSED.get(r.kind, 0), target)
    r.table(source, target, (values + after.zero_point).clip(low, high).astype(np.int8))


def looked_up(r: Reader) -> None:
    """Any operator of one activation and constant numbers: the interpreter answers for each of the
    256 numbers that there are."""
    activations = [int(n) for n in r.operator.inputs if r.buffer(int(n)) is None]
    if len(activations) != 1 or any(
        not _is_number(r, int(n)) for n in r.operator.inputs if int(n) not in activations
    ):
        raise r.refused("takes more than one tensor")
    (source,) = activations
    if r.size(source) != r.size(r.ends()[1]):
        raise r.refused("does not work number by number")
    r.table(source, r.ends()[1], r.asked(source))


def _is_number(r: Reader, number: int) -> bool:
    """Whether a tensor is a constant of one number."""
    return r.buffer(number) is not None and int(np.prod(r.sides(number))) == 1


def _inputs(r: Reader) -> tuple[int, int, bool]:
    """The operator's two inputs, the one that has the output's shape first, and whether that is its
    second."""
    left, right = (int(n) for n in r.operator.inputs)
    constants = [r.buffer(number) is not None for number in (left, right)]
    if all(constants):
        raise r.refused("takes two constants")
    out, swapped = r.shape(r.ends()[1]), constants[0]
    if not any(constants):
        swapped = r.shape(left) != out
    first, second = (right, left) if swapped else (left, right)
    if r.shape(first) != out or any(
        side not in (1, whole) for side, whole in zip(_sides(r, second), out, strict=True)
    ):
        raise r.refused("repeats both of its inputs")
    return first, second, swapped


def _sides(r: Reader, number: int) -> tuple[int, int, int]:
    """(height, width, channels) of an input that may be a constant of fewer sides than four."""
    if r.buffer(number) is None:
        return r.shape(number)
    sides = r.sides(number)
    batch, height, width, channels = [1] * (4 - len(sides)) + sides[-4:]
    if batch != 1 or len(sides) > 4:
        raise r.refused(f"takes a constant of the shape {sides}")
    return height, width, channels


def _of_two(r: Reader, op: Op, first: int, second: int, parameters: dict[str, Any]) -> None:
    """A layer of two inputs, the second of which may be a constant."""
    target = r.ends()[1]
    constant = r.buffer(second) is not None
    if constant:
        parameters["weights"] = r.constant(second, np.int8).ravel()
    r.add_layer(
        op,
        first,
        target,
        inputs=(first,) if constant else (first, second),
        in_shape=_sides(r, second),
        bounds=r.bounds(r.operator.builtinOptions.fusedActivationFunction, target),
        **parameters,
    )


def _constant_number(
    r: Reader, first: int, second: int, swapped: bool, function: Callable[..., NDArray[np.int64]]
) -> None:
    """A table of what `function` makes of the activation `first` and the number `second`."""
    target = r.ends()[1]
    numbers = np.arange(-128, 128), r.constant(second, np.int8).astype(np.int64).ravel()
    scales = r.quantization(first), r.quantization(second)
    if swapped:
        numbers, scales = numbers[::-1], scales[::-1]
    answers = function(*numbers, (*scales, r.quantization(target)))
    low, high = r.bounds(r.operator.builtinOptions.fusedActivationFunction, target)
    r.table(first, target, answers.clip(low, high).astype(np.int8))


def _sum(r: Reader, signs: tuple[int, int]) -> None:
    first, second, swapped = _inputs(r)
    if _is_number(r, second):
        _constant_number(r, first, second, swapped, lambda a, b, scales: _sums(a, b, scales, signs))
        return
    inputs = r.quantization(first), r.quantization(second)
    numbers = _sum_numbers(
        (*inputs, r.quantization(r.ends()[1])), signs[::-1] if swapped else signs
    )
    r.check_sums(0, 255 << 20, [shift for _, shift in numbers])
    zeros = [-inputs[0].zero_point, -inputs[1].zero_point, 0]
    whole = r.buffer(second) is None and r.shape(second) == r.shape(first)
    op = Op.ADD if whole else Op.BROADCAST_ADD
    _of_two(r, op, first, second, r.parameters(zeros, numbers))


def _sum_numbers(scales: Scales, signs: tuple[int, int]) -> list[tuple[int, int]]:
    """Fixed-point numbers of both inputs and of the output (TFLite's PrepareGeneralAddOp and its
    like for SUB; 20 bits of left shift)."""
    a, b, out = scales
    twice = 2 * max(a.scale, b.scale)
    first, second = fixed_point(a.scale / twice), fixed_point(b.scale / twice)
    return [
        (signs[0] * first[0], first[1]),
        (signs[1] * second[0], second[1]),
        fixed_point(twice / ((1 << 20) * out.scale)),
    ]


def _sums(
    a: NDArray[np.int64], b: NDArray[np.int64], scales: Scales, signs: tuple[int, int]
) -> NDArray[np.int64]:
    first, second, last = _sum_numbers(scales, signs)
    left = requantized((a - scales[0].zero_point) << 20, *first)
    right = requantized((b - scales[1].zero_point) << 20, *second)
    return requantized(left + right, *last) + scales[2].zero_point


def _products(a: NDArray[np.int64], b: NDArray[np.int64], scales: Scales) -> NDArray[np.int64]:
    number = fixed_point(scales[0].scale * scales[1].scale / scales[2].scale)
    product = (a - scales[0].zero_point) * (b - scales[1].zero_point)
    return requantized(product, *number) + scales[2].zero_point

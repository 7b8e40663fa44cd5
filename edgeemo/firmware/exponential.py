"""exp(x) for x <= 0 in integers, as TFLite's reference kernel of an int8 SOFTMAX computes it
(gemmlowp's fixed point), for each of the 256 differences that two int8 can have."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.firmware.fixed_point import fixed_point

INTEGER_BITS = 5
"""Before the point of what the exponential is taken of; 26 are behind it."""
_ONE = (1 << 31) - 1
_QUARTER = 1 << 24
_CONSTANT, _THIRD = 1895147668, 715827883  # exp(-1/8) and 1/3 in 31 bits
# exp(-2^i) in 31 bits, for i from -2 on.
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def exponentials_q31(scale: float, beta: float) -> NDArray[np.int32]:
    """int32 (256,): exp(-i * scale * beta) in 31 bits for the differences i = 0..255 of int8 of a
    scale, 0 where TFLite leaves a difference out because it is too large."""
    real = min(beta * scale * (1 << (31 - INTEGER_BITS)), float(_ONE))
    multiplier, shift = fixed_point(real) if real < 1 << 30 else _large(real)
    radius = ((1 << INTEGER_BITS) - 1) * (1 << (31 - INTEGER_BITS)) >> max(0, shift)
    return np.array(
        [_exponential(-i, multiplier, shift) if i <= radius else 0 for i in range(256)], np.int32
    )


def _large(real: float) -> tuple[int, int]:
    multiplier, shift = fixed_point(real / 4)
    return multiplier, shift + 2


def _exponential(difference: int, multiplier: int, shift: int) -> int:
    """exp of a difference times a fixed-point multiplier: a polynomial for the part below a
    quarter, and a product for each bit above it."""
    value = _product(difference << max(0, shift), multiplier)
    if value == 0:
        return _ONE
    below = (value & (_QUARTER - 1)) - _QUARTER
    result = _of_quarter(below << INTEGER_BITS)
    rest = below - value
    for bit, power in enumerate(_POWERS):
        if rest & (_QUARTER << bit):
            result = _product(result, power)
    return result


def _of_quarter(a: int) -> int:
    """exp of -1/4 <= a < 0 in 31 bits, by its Taylor polynomial around -1/8."""
    x = a + (1 << 28)
    square = _product(x, x)
    cube, fourth = _product(square, x), _product(square, square)
    tail = _halved(_product(_halved(fourth, 2) + cube, _THIRD) + square, 1)
    return _CONSTANT + _product(_CONSTANT, x + tail)


def _product(a: int, b: int) -> int:
    """Of two numbers of 31 bits behind the point, rounded."""
    return (a * b + (1 << 30)) >> 31


def _halved(value: int, times: int) -> int:
    """value / 2^times, halves away from zero."""
    mask = (1 << times) - 1
    return (value >> times) + ((value & mask) > (mask >> 1) + (value < 0))

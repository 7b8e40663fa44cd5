"""TFLite's fixed-point multiplication, as its reference kernels and our C kernels do it."""

import math

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import BackendError


class ScaleError(BackendError):
    """A ratio of scales that no multiplier holds."""


def fixed_point(real: float) -> tuple[int, int]:
    """TFLite's QuantizeMultiplier: (multiplier, shift) with real = multiplier / 2^31 * 2^shift and
    2^30 <= multiplier < 2^31. A number too small for 31 bits becomes 0.

    Raises:
        ScaleError: a number that is negative, not finite, or 2^30 and more.
    """
    if not 0 <= real < 1 << 30:
        raise ScaleError(
            f"expected a multiplier of 0 to 2^30, received {real}; the model's scales do not fit"
        )
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    return (multiplier, shift) if shift >= -31 and multiplier else (0, 0)


def requantized(values: NDArray[np.int64], multiplier: int, shift: int) -> NDArray[np.int64]:
    """values * multiplier / 2^31 * 2^shift, rounded twice: gemmlowp's doubling high multiplication
    and rounding shift."""
    wide = np.asarray(values, np.int64) << max(0, shift)
    high = (wide * multiplier + (1 << 30)) >> 31
    if shift >= 0:
        return np.asarray(high, np.int64)
    remainder = high & ((1 << -shift) - 1)
    threshold = (((1 << -shift) - 1) >> 1) + (high < 0)
    return np.asarray((high >> -shift) + (remainder > threshold), np.int64)

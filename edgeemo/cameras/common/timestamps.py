"""When a frame was captured, on the clock of `time.monotonic()`."""

import math
import time

_OLDEST = 2.0  # seconds; a frame that claims to be older bears the time of another clock


def captured_at(claimed: float) -> float:
    """`claimed`, a driver's time in seconds, where it can be of `time.monotonic()`; else now."""
    now = time.monotonic()
    return claimed if now - _OLDEST < claimed <= now else now


def seconds(time: float) -> float:
    """A frame's time as a float; NaN for a number that is none, such as 10**400."""
    try:
        return float(time)
    except (ArithmeticError, TypeError, ValueError):
        return math.nan

"""The lamp: an LED at a pin of the board; on a PC, which has no pins, what it does is printed."""

import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace


def has_pins():
    """Whether this is a board, or somebody has said how its pins are reached."""
    return os.path.exists("/proc/device-tree") or "GPIOZERO_PIN_FACTORY" in os.environ


@contextmanager
def lamp_at(pin):
    """A lamp with `on` and `off`, which goes off at the end."""
    if not has_pins():
        print(f"no pins here, so this says what the lamp at {pin} would do", flush=True)
        yield SimpleNamespace(
            on=lambda: print("lamp on", flush=True), off=lambda: print("lamp off", flush=True)
        )
        return
    from gpiozero import LED, GPIOZeroError

    try:
        lamp = LED(pin)
    except GPIOZeroError as error:
        sys.exit(f"kiosk: {error}")
    with lamp:
        yield lamp

"""The lamp: an LED at a pin of the board; on a PC, which has no pins, what it does is printed."""

import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace

WORDS = {
    "en": ("no pins here, so this says what the lamp at {} would do", "lamp on", "lamp off"),
    "es": (
        "aquí no hay pines: esto dice lo que haría la lámpara en {}",
        "lámpara encendida",
        "lámpara apagada",
    ),
}
"""What is printed on a PC, by language: EDGEEMO_LANG."""


def has_pins():
    """Whether this is a board, or somebody has said how its pins are reached."""
    return os.path.exists("/proc/device-tree") or "GPIOZERO_PIN_FACTORY" in os.environ


@contextmanager
def lamp_at(pin):
    """A lamp with `on` and `off`, which goes off at the end."""
    if not has_pins():
        instead, on, off = WORDS.get(os.environ.get("EDGEEMO_LANG", "en"), WORDS["en"])
        print(instead.format(pin), flush=True)
        yield SimpleNamespace(on=lambda: print(on, flush=True), off=lambda: print(off, flush=True))
        return
    from gpiozero import LED, GPIOZeroError

    try:
        lamp = LED(pin)
    except GPIOZeroError as error:
        sys.exit(f"kiosk: {error}")
    with lamp:
        yield lamp

"""A lamp that shines while somebody smiles; EDGEEMO_CAMERA, _DETECTOR and _PIN say where."""

import os
import signal
import sys

from edgeemo import EdgeemoError, EmotionSensor


def light(sensor, lamp):
    sensor.when("happy", lamp.on, otherwise=lamp.off)
    sensor.wait()


if __name__ == "__main__":
    from lamp import lamp_at

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    pin = os.environ.get("EDGEEMO_PIN", "GPIO17")
    camera = os.environ.get("EDGEEMO_CAMERA", "auto")
    detector = os.environ.get("EDGEEMO_DETECTOR", "auto")
    try:
        with (
            lamp_at(pin) as lamp,
            EmotionSensor(camera, detector=detector, hold_time=0.8) as sensor,
        ):
            light(sensor, lamp)
    except EdgeemoError as error:
        sys.exit(f"kiosk: {error}")

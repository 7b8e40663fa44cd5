"""A lamp that shines while somebody smiles; EDGEEMO_CAMERA, _DETECTOR, _MODEL, _PIN say how."""

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
    camera = os.environ.get("EDGEEMO_CAMERA", "auto")
    detector = os.environ.get("EDGEEMO_DETECTOR", "auto")
    model = os.environ.get("EDGEEMO_MODEL", "small")
    try:
        with (
            lamp_at(os.environ.get("EDGEEMO_PIN", "GPIO17")) as lamp,
            EmotionSensor(camera, model=model, detector=detector, hold_time=0.8) as sensor,
        ):
            light(sensor, lamp)
    except EdgeemoError as error:
        sys.exit(f"kiosk: {error}")

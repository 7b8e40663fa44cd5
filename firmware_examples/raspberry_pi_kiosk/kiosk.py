"""A lamp that shines while somebody smiles; EDGEEMO_CAMERA, _DETECTOR and _PIN say where."""

import os
import signal
import sys

from gpiozero import LED, GPIOZeroError

from edgeemo import EdgeemoError, EmotionSensor


def light(sensor, lamp):
    sensor.when("happy", lamp.on, otherwise=lamp.off)
    sensor.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    pin = os.environ.get("EDGEEMO_PIN", "GPIO17")
    camera = os.environ.get("EDGEEMO_CAMERA", "auto")
    detector = os.environ.get("EDGEEMO_DETECTOR", "auto")
    try:
        with LED(pin) as lamp, EmotionSensor(camera, detector=detector, hold_time=0.8) as sensor:
            light(sensor, lamp)
    except (EdgeemoError, GPIOZeroError) as error:
        sys.exit(f"kiosk: {error}")

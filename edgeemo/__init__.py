"""Facial emotion recognition on the edge, with quantized models.

import edgeemo
for face in edgeemo.predict("queue.jpg"):
    print(face.emotion, f"{face.confidence:.0%}", face.box)

with edgeemo.EmotionSensor() as sensor:  # first working camera, bundled model
    for reading in sensor:               # the newest frame wins; stale frames are dropped
        print(reading.emotion, f"{reading.latency_ms:.0f} ms")
"""

import importlib
from typing import TYPE_CHECKING, Any

from edgeemo.version import __version__ as __version__

if TYPE_CHECKING:
    from edgeemo.backends.fake import FakeBackend
    from edgeemo.cameras.fake import FakeCamera
    from edgeemo.contract.bundle import Bundle
    from edgeemo.contract.labels import LABELS
    from edgeemo.drawing import annotate
    from edgeemo.errors import EdgeemoError
    from edgeemo.live.sensor import EmotionSensor
    from edgeemo.recognizer import Recognizer, load_bundle, predict
    from edgeemo.results import Box, Face, Reading

__all__ = [
    "LABELS",
    "Box",
    "Bundle",
    "EdgeemoError",
    "EmotionSensor",
    "Face",
    "FakeBackend",
    "FakeCamera",
    "Reading",
    "Recognizer",
    "annotate",
    "load_bundle",
    "predict",
]

# Where each public name lives; imported when first used, so that `import edgeemo` stays light.
_HOMES = {
    "LABELS": "edgeemo.contract.labels",
    "Box": "edgeemo.results",
    "Bundle": "edgeemo.contract.bundle",
    "EdgeemoError": "edgeemo.errors",
    "EmotionSensor": "edgeemo.live.sensor",
    "Face": "edgeemo.results",
    "FakeBackend": "edgeemo.backends.fake",
    "FakeCamera": "edgeemo.cameras.fake",
    "Reading": "edgeemo.results",
    "Recognizer": "edgeemo.recognizer",
    "annotate": "edgeemo.drawing",
    "load_bundle": "edgeemo.recognizer",
    "predict": "edgeemo.recognizer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeemo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, and what every module has; not what this one works with."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})

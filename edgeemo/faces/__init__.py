"""Face detectors behind one small protocol: a frame in, boxes out, largest first."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.crop import BOX, Crop
from edgeemo.errors import DetectorError, InvalidInput
from edgeemo.registry import Registry
from edgeemo.results import Box

SMALLEST_FACE = 1 / 6
"""Of the frame's shorter side, for live cameras: a person up to about 1.5 m away
(docs/detectors.md).
"""


class Detector(Protocol):
    """An opened detector: any object with these two will do.

    It owns its crop: where it has an attribute `crop` (edgeemo.contract.crop.Crop), that says how
    its boxes become what training saw; without one the box is taken as it is. A bundle may override
    it by the detector's name.

    A recognizer calls it from one thread at a time. What several recognizers share sees to that
    itself, as our own do.
    """

    name: str
    """A short word, a-z, 0-9, _ and -."""

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 (H, W, 3) RGB, largest first."""


@dataclass(frozen=True)
class DetectorOptions:
    """What a detector is opened with."""

    model: Path | None = None
    """Its model file, where it needs one and does not find it by itself."""
    smallest_face: float | None = None
    """Smallest face to be found, as a share of the frame's shorter side: frames are scaled down
    until such a face is just large enough for the detector, which makes it faster. None, for
    pictures, looks as closely as it can.
    """

    def __post_init__(self) -> None:
        if self.smallest_face is not None and not 0 < self.smallest_face <= 1:
            raise InvalidInput(
                "expected the smallest face as a share of the frame's shorter side, above 0 and at "
                f"most 1, or None; received {self.smallest_face!r}"
            )


Opener = Callable[[DetectorOptions], Detector]

DETECTORS: Registry[Opener] = Registry(
    "detector",
    "edgeemo.detectors",
    {
        "auto": "edgeemo.faces.auto:open_auto",
        "face": "edgeemo.faces.own:open_face",
        "face-nano": "edgeemo.faces.own:open_face_nano",
        "yunet": "edgeemo.faces.yunet:YuNet",
        "haar": "edgeemo.faces.haar:Haar",
        "whole": "edgeemo.faces.whole:Whole",
    },
)
"""Detectors by name. Another package's opener takes DetectorOptions and gives a `Detector`."""


def open_detector(
    name: str = "auto", model: str | Path | None = None, *, smallest_face: float | None = None
) -> Detector:
    """Open a detector of DETECTORS: "face" or "face-nano" (ours), "yunet", "haar", "whole" (the
    picture is one face), or "auto".

    "auto" takes what `model` or $EDGEEMO_YUNET names, else "face"; without LiteRT, YuNet when its
    file is in the cache folder, else Haar.

    Args:
        name: one of DETECTORS.
        model: its model file, where it needs one.
        smallest_face: see `DetectorOptions`.

    Raises:
        InvalidInput: another name, or no such share.
        DetectorError: it cannot work here; the message says why and what to do.
    """
    detector = DETECTORS.get(name)(DetectorOptions(Path(model) if model else None, smallest_face))
    check_detector(detector)
    return detector


def check_detector(detector: object) -> None:
    """Raise DetectorError unless `detector` has a name in plain text and a method `detect`."""
    name = getattr(detector, "name", None)
    if not isinstance(name, str) or not name or not callable(getattr(detector, "detect", None)):
        raise DetectorError(
            "expected a detector's name or an object with name (text) and detect(frame_rgb) -> "
            f"list of edgeemo.Box, received {str(detector)[:80]!r}"
        )


def crop_of(detector: Detector) -> Crop:
    """The detector's own crop; the box as it is where it has none.

    Raises:
        DetectorError: its attribute `crop` is no Crop.
    """
    crop = getattr(detector, "crop", BOX)
    if not isinstance(crop, Crop):
        raise DetectorError(
            f"the detector {detector.name}: expected a crop of edgeemo.contract.crop.Crop, "
            f"received {crop!r}"
        )
    return crop

"""Face detectors behind one small protocol: a frame in, boxes out, largest first."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import DetectorError, InvalidInput
from edgeemo.results import Box

DETECTORS = ("auto", "yunet", "haar", "whole")
SMALLEST_FACE = (
    1 / 6
)  # of the frame's shorter side, for live cameras: a person up to about 1.5 m away (docs/detectors.md)


class Detector(Protocol):
    """An opened detector; `name` chooses the crop geometry of its boxes."""

    name: str

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 (H, W, 3) RGB, largest first."""


def open_detector(
    name: str = "auto", model: str | Path | None = None, *, smallest_face: float | None = None
) -> Detector:
    """Open a detector: "yunet", "haar", "whole" (the picture is one face), or "auto".

    "auto" takes YuNet when its model file is there (`model`, then $EDGEEMO_YUNET, then the cache folder), else Haar.

    Args:
        name: one of DETECTORS.
        model: YuNet's model file.
        smallest_face: smallest face to be found, as a share of the frame's shorter side: frames are scaled down until such
            a face is just large enough for the detector, which makes it faster. None, for pictures, looks as closely as it can.

    Raises:
        InvalidInput: another name, or no such share.
        DetectorError: it cannot work here; the message says why and what to do.
    """
    return choose_detector(name, model, smallest_face=smallest_face)[0]


def choose_detector(
    name: str = "auto", model: str | Path | None = None, *, smallest_face: float | None = None
) -> tuple[Detector, str]:
    """Like `open_detector`, with the reason for the choice in words."""
    if name not in DETECTORS:
        raise InvalidInput(f"expected a detector of {', '.join(DETECTORS)}; received {name!r}")
    if name == "auto":
        return _choose(model, smallest_face)
    return _OPENERS[name](model, smallest_face), "asked for by name"


def _choose(model: str | Path | None, smallest_face: float | None) -> tuple[Detector, str]:
    from edgeemo.faces.yunet import PULL, find_model

    path, reason = find_model(model)
    if path is not None:
        return _yunet(path, smallest_face), reason
    try:
        return _haar(None, smallest_face), reason
    except DetectorError as error:
        raise DetectorError(
            f"no face detector works here. YuNet: {reason}; run: {PULL}; or, for Haar: {error}"
        ) from None


def _yunet(model: str | Path | None, smallest_face: float | None) -> Detector:
    from edgeemo.faces.yunet import YuNet

    return YuNet(model, smallest_face=smallest_face)


def _haar(_: str | Path | None, smallest_face: float | None) -> Detector:
    from edgeemo.faces.haar import Haar

    return Haar(smallest_face=smallest_face)


def _whole(_: str | Path | None, smallest_face: float | None) -> Detector:
    from edgeemo.faces.scaling import check_share
    from edgeemo.faces.whole import Whole

    check_share(smallest_face)
    return Whole()


_OPENERS: dict[str, Callable[[str | Path | None, float | None], Detector]] = {
    "yunet": _yunet,
    "haar": _haar,
    "whole": _whole,
}

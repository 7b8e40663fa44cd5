"""Face detectors behind one small protocol: a frame in, boxes out, largest first."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import DetectorError, InvalidInput
from edgeemo.results import Box

DETECTORS = ("auto", "yunet", "haar", "whole")


class Detector(Protocol):
    """An opened detector; `name` chooses the crop geometry of its boxes."""

    name: str

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 (H, W, 3) RGB, largest first."""


def open_detector(name: str = "auto", model: str | Path | None = None) -> Detector:
    """Open a detector: "yunet", "haar", "whole" (the picture is one face), or "auto".

    "auto" takes YuNet when its model file is there (`model`, then $EDGEEMO_YUNET, then the cache folder), else Haar.

    Raises:
        InvalidInput: another name.
        DetectorError: it cannot work here; the message says why and what to do.
    """
    return choose_detector(name, model)[0]


def choose_detector(name: str = "auto", model: str | Path | None = None) -> tuple[Detector, str]:
    """Like `open_detector`, with the reason for the choice in words."""
    if name not in DETECTORS:
        raise InvalidInput(f"expected a detector of {', '.join(DETECTORS)}; received {name!r}")
    if name == "auto":
        return _choose(model)
    return _OPENERS[name](model), "asked for by name"


def _choose(model: str | Path | None) -> tuple[Detector, str]:
    from edgeemo.faces.yunet import find_model

    path, reason = find_model(model)
    if path is not None:
        return _yunet(path), reason
    try:
        return _haar(None), reason
    except DetectorError as error:
        raise DetectorError(f"no face detector works here. YuNet: {reason}. Haar: {error}") from None


def _yunet(model: str | Path | None) -> Detector:
    from edgeemo.faces.yunet import YuNet

    return YuNet(model)


def _haar(_: str | Path | None) -> Detector:
    from edgeemo.faces.haar import Haar

    return Haar()


def _whole(_: str | Path | None) -> Detector:
    from edgeemo.faces.whole import Whole

    return Whole()


_OPENERS: dict[str, Callable[[str | Path | None], Detector]] = {"yunet": _yunet, "haar": _haar, "whole": _whole}

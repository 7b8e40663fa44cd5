"""The best detector that works here."""

from dataclasses import replace

from edgeemo.errors import DetectorError
from edgeemo.faces import Detector, DetectorOptions
from edgeemo.faces.haar import Haar
from edgeemo.faces.yunet import PULL, YuNet, find_model


def open_auto(options: DetectorOptions) -> Detector:
    """YuNet where its model file is found, else Haar. Raises DetectorError where neither works."""
    return choose_detector(options)[0]


def choose_detector(options: DetectorOptions) -> tuple[Detector, str]:
    """Like `open_auto`, with the reason for the choice in words."""
    path, reason = find_model(options.model)
    if path is not None:
        return YuNet(replace(options, model=path)), reason
    try:
        return Haar(options), reason
    except DetectorError as error:
        raise DetectorError(
            f"no face detector works here. YuNet: {reason}; run: {PULL}; or, for Haar: {error}"
        ) from None

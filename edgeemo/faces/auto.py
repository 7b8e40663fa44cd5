"""The best detector that works here."""

import os
from dataclasses import replace

from edgeemo.errors import DetectorError, MissingDependency, worded
from edgeemo.faces import Detector, DetectorOptions
from edgeemo.faces.haar import Haar
from edgeemo.faces.own import open_face
from edgeemo.faces.yunet import ENVIRONMENT, PULL, YuNet, find_model

_BUNDLE = ".edgeemo"


def open_auto(options: DetectorOptions) -> Detector:
    """The best detector that works here; see `choose_detector`.

    Raises DetectorError where none does, MissingDependency where what one needs is not installed.
    """
    return choose_detector(options)[0]


def choose_detector(options: DetectorOptions) -> tuple[Detector, str]:
    """A detector, and the reason for the choice in words.

    It is what `options.model` or $EDGEEMO_YUNET names, else `face`; without LiteRT it is YuNet
    where its file is in the cache folder, else Haar.
    """
    if options.model is not None and options.model.suffix == _BUNDLE:
        named = worded("--detector-model", "the argument model")
        return open_face(options), f"its bundle is named by {named}"
    lacking: MissingDependency | None = None
    if options.model is None and not os.environ.get(ENVIRONMENT):
        try:
            return open_face(options), "it ships with edgeemo"
        except MissingDependency as error:
            lacking = error
    path, reason = find_model(options.model)
    try:
        if path is not None:
            return YuNet(replace(options, model=path)), reason
        return _haar(options, f"{lacking or ''}", reason)
    except MissingDependency:  # of OpenCV: where `face` lacks LiteRT, that is what to install
        if lacking is None:
            raise
        raise lacking from None


def _haar(options: DetectorOptions, without: str, reason: str) -> tuple[Detector, str]:
    try:
        return Haar(options), without or reason
    except DetectorError as error:
        raise DetectorError(
            f"no face detector works here. face: {without}; or YuNet: {reason}; run: {PULL}; or, "
            f"for Haar: {error}"
        ) from None

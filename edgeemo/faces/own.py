"""Our own face detectors: int8 networks in bundles, through LiteRT, decoded in integers."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.rows import open_rows
from edgeemo.contract.crop import BOX
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.contract.face_rows import in_frame
from edgeemo.contract.preprocess import face_to_input, whole_frame
from edgeemo.errors import BackendError, DetectorError
from edgeemo.faces import DetectorOptions
from edgeemo.models import shipped_detector
from edgeemo.results import Box
from edgeemo.trust import read_detector


class OwnDetector:
    """A detector's bundle, opened.

    The whole frame is fitted into the network's input, its edges repeated beside it, so a face is
    found from about a tenth of the frame's shorter side on (`face`), or a quarter (`face-nano`).
    Threads and recognizers may share one.

    Args:
        bundle: the detector's bundle.

    Raises:
        MissingDependency: LiteRT is not installed.
        DetectorError: the runtime refuses the model.
    """

    def __init__(self, bundle: DetectorBundle) -> None:
        self.name, self.crop = bundle.manifest.name, bundle.manifest.crop
        self.bundle = bundle
        self.spec, self._rows = bundle.manifest.input_spec, bundle.manifest.rows
        output = bundle.manifest.artifact.output
        self._scale, self._zero_point = float(output.scale or 1), int(output.zero_point or 0)
        self._looking = threading.Lock()
        try:
            self._model = open_rows(bundle)
        except BackendError as error:
            raise DetectorError(f"{bundle.path}: {error}") from None

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 (H, W, 3) RGB, largest first."""
        height, width = frame_rgb.shape[:2]
        box = whole_frame(width, height, self.spec)
        region = BOX.region(box, self.spec.height, self.spec.width)
        rows = self._model.rows(face_to_input(frame_rgb, box, self.spec))
        faces = self._rows.found(rows, self._scale, self._zero_point)
        boxes = [Box(*in_frame(face, region, self.spec.width, self.spec.height)) for face in faces]
        return sorted(boxes, key=lambda box: -box.width * box.height)


def open_face(options: DetectorOptions) -> OwnDetector:
    """`face`, or the bundle that `options.model` names."""
    return _open("face", options)


def open_face_nano(options: DetectorOptions) -> OwnDetector:
    """`face-nano`, or the bundle that `options.model` names."""
    return _open("face-nano", options)


def _open(name: str, options: DetectorOptions) -> OwnDetector:
    path = Path(options.model) if options.model else shipped_detector(name)
    return OwnDetector(read_detector(path))

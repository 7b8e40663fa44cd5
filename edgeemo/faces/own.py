"""Our own face detectors: int8 networks in bundles, through LiteRT, decoded in integers."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.rows import open_rows
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.contract.face_look import Looker
from edgeemo.errors import BackendError, DetectorError
from edgeemo.faces import DetectorOptions
from edgeemo.models import find_detector
from edgeemo.results import Box
from edgeemo.trust import read_detector


class OwnDetector:
    """A detector's bundle, opened.

    It looks at the whole frame, and once more at each candidate (edgeemo.contract.face_look). The
    manifest's `smallest` says from which size on it answers for faces.
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
        try:
            model = open_rows(bundle)
        except BackendError as error:
            raise DetectorError(f"{bundle.path}: {error}") from None
        output = bundle.manifest.artifact.output
        self._looker = Looker(
            model.rows,
            bundle.manifest.input_spec,
            bundle.manifest.rows,
            float(output.scale or 1),
            int(output.zero_point or 0),
        )

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 (H, W, 3) RGB, largest first; those that have nothing of the
        frame in them, as a hostile model may give, are left out."""
        height, width = frame_rgb.shape[:2]
        places = [face.place for face in self._looker.faces(frame_rgb)]
        boxes = [Box(x, y, w, h) for x, y, w, h in places if -w < x < width and -h < y < height]
        return sorted(boxes, key=lambda box: -box.width * box.height)


def open_face(options: DetectorOptions) -> OwnDetector:
    """`face`, or the bundle that `options.model` names."""
    return OwnDetector(read_detector(find_detector(str(options.model or "face"))))


def open_face_nano(options: DetectorOptions) -> OwnDetector:
    """`face-nano`, the microcontrollers' detector, so that a PC sees what they will."""
    return OwnDetector(read_detector(find_detector(str(options.model or "face-nano"))))

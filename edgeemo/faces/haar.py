"""OpenCV's Haar cascade for frontal faces: needs no model file, finds frontal faces only.

OpenCV below 5.
"""

import os
import threading

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import for_c
from edgeemo.contract.crop import Crop
from edgeemo.contract.preprocess import to_grey
from edgeemo.errors import DetectorError
from edgeemo.faces import DetectorOptions
from edgeemo.faces.scaling import Scaling
from edgeemo.optional import need
from edgeemo.results import Box

_CASCADE = "haarcascade_frontalface_default.xml"
_MAX_SIDE = 1280  # larger frames are scaled down first: a cascade's time grows with the area
# Side of a face from which on 95 % of what is found at any size is found: python -m
# benchmarks.faces.detector_scale (docs/detectors.md).
_FACE_PIXELS = 64
_SMALLEST_FACE = 30  # pixels of the scaled frame; below, a 48x48 input would be mostly invented
_NEIGHBOURS = 5  # overlapping hits that make a face; fewer let false faces through


class Haar:
    """The frontal-face cascade that OpenCV 4 ships. It needs no model file.

    Threads and recognizers may share one; it looks for one of them at a time.

    Raises:
        MissingDependency: OpenCV is not installed.
        DetectorError: OpenCV 5, which has dropped the cascades.
    """

    name = "haar"
    # Median over 1,500 FER-2013 training faces, so that a detected face fills the region as
    # FER-2013's do: python -m benchmarks.faces.crop_geometry (docs/preprocessing.md).
    crop = Crop(scale_q10=1045)

    def __init__(self, options: DetectorOptions = DetectorOptions()) -> None:  # noqa: B008  frozen
        self.scaling = Scaling(_MAX_SIDE, _FACE_PIXELS, options.smallest_face)
        self._looking = threading.Lock()  # a cascade works in buffers of its own
        self._cv2 = need("cv2", "opencv", "to find faces", called="OpenCV")
        if not hasattr(self._cv2, "CascadeClassifier"):
            raise DetectorError(
                f"OpenCV {self._cv2.__version__} has dropped the Haar cascades; run: pip install"
                " 'opencv-python-headless>=4.10,<5', or use YuNet (edgeemo models pull yunet)"
            )
        path = os.path.join(self._cv2.data.haarcascades, _CASCADE)
        self._cascade = self._cv2.CascadeClassifier(for_c(path))
        if self._cascade.empty():
            raise DetectorError(
                f"{path} is missing or damaged; run: pip install --force-reinstall"
                " 'edgeemo[opencv]'"
            )

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the frontal faces in uint8 (H, W, 3) RGB, largest first."""
        grey, (across, down) = self.scaling.shrink(self._cv2, to_grey(frame_rgb))
        with self._looking:
            hits = self._cascade.detectMultiScale(
                grey,
                scaleFactor=1.1,
                minNeighbors=_NEIGHBOURS,
                minSize=(_SMALLEST_FACE, _SMALLEST_FACE),
            )
        boxes = [
            Box(round(x * across), round(y * down), round(w * across), round(h * down))
            for x, y, w, h in hits
        ]
        return sorted(boxes, key=lambda box: (-box.width * box.height, box.x, box.y))

"""YuNet (Wu et al. 2023) through OpenCV's FaceDetectorYN; its model file is not part of edgeemo."""

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import DetectorError, MissingFile
from edgeemo.optional import need
from edgeemo.results import Box

ENVIRONMENT = "EDGEEMO_YUNET"
_MIN_FACE = 10  # pixels; its smallest face (OpenCV Zoo, face_detection_yunet: "around 10x10 to 300x300")
_MAX_SIDE = 640  # pixels of the frame that the network sees; faces from about 10 of them are found
_SCORE = 0.7
_PATTERN = "face_detection_yunet*.onnx"


def cache_folder() -> Path:
    """Where model files of the user lie: $XDG_CACHE_HOME/edgeemo, by default ~/.cache/edgeemo."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeemo"


def find_model(explicit: str | Path | None = None) -> tuple[Path | None, str]:
    """YuNet's model file and where it was found, or None and why it was not.

    Raises:
        MissingFile: `explicit` or $EDGEEMO_YUNET names a file that is not there.
    """
    for path, origin in ((explicit, "--detector-model"), (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}")):
        if path:
            if not Path(path).is_file():
                raise MissingFile(f"{path}: no such file, named by {origin}; expected YuNet's ONNX file")
            return Path(path), f"its model file is named by {origin}"
    in_cache = sorted(cache_folder().glob(_PATTERN))
    if in_cache:
        return in_cache[-1], f"its model file lies in {cache_folder()}"
    return None, f"no YuNet model file ({_PATTERN}) in {cache_folder()}, in ${ENVIRONMENT} or --detector-model"


class YuNet:
    """OpenCV's FaceDetectorYN with YuNet's ONNX file (`model`, or where `find_model` finds it).

    Raises:
        MissingDependency: OpenCV is not installed.
        DetectorError: no model file, or one that OpenCV cannot load.
    """

    name = "yunet"

    def __init__(self, model: str | Path | None = None) -> None:
        self._cv2 = need("cv2", "opencv", "to find faces")
        path, reason = find_model(model)
        if path is None:
            raise DetectorError(
                f"{reason}; put the file there (from opencv_zoo, face_detection_yunet) or use --detector haar"
            )
        try:
            self._detector = self._cv2.FaceDetectorYN.create(str(path), "", (320, 320), _SCORE)
        except (self._cv2.error, AttributeError) as error:
            raise DetectorError(
                f"{path}: OpenCV {self._cv2.__version__} cannot load it ({str(error).splitlines()[0][:160]}); fetch the file again"
            ) from None

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 (H, W, 3) RGB, largest first."""
        cv2 = self._cv2
        height, width = frame_rgb.shape[:2]
        scale = min(1.0, _MAX_SIDE / max(height, width))
        bgr = cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        if min(bgr.shape[:2]) < _MIN_FACE:
            return []  # no face fits in, and on frames of a pixel or two OpenCV's result is now and then a wild box
        self._detector.setInputSize(bgr.shape[1::-1])
        try:
            _, rows = self._detector.detect(bgr)
        except cv2.error as error:
            raise DetectorError(
                f"YuNet fails on a frame of {width}x{height} ({str(error).splitlines()[0][:160]})"
            ) from None
        faces = [row[:4] / scale for row in (rows if rows is not None else []) if np.isfinite(row[:4]).all()]
        boxes = [Box(*(math.floor(v + 0.5) for v in row)) for row in faces if min(row[2:]) >= 1]
        return sorted(boxes, key=lambda box: (-box.width * box.height, box.x, box.y))

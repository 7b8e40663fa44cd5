"""YuNet (Wu et al. 2023) through OpenCV's FaceDetectorYN; its model file is not part of edgeemo."""

import math
import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.cache import cache_folder
from edgeemo.contract.checked.files import for_c
from edgeemo.contract.checked.reading import why_no_file
from edgeemo.contract.crop import Crop
from edgeemo.errors import DetectorError, MissingFile, worded
from edgeemo.faces import DetectorOptions
from edgeemo.faces.scaling import Scaling
from edgeemo.optional import need
from edgeemo.results import Box
from edgeemo.trust.reading import check_known

ENVIRONMENT = "EDGEEMO_YUNET"
PULL = "edgeemo models pull yunet"  # the command that fetches the file below into the cache folder

MODEL_FILE = "face_detection_yunet_2026may.onnx"
# The repository keeps models in Git LFS: of its addresses, media.githubusercontent.com serves the
# file and not its pointer. The commit is one that holds it (pull request 310); what is trusted is
# the hash.
MODEL_URL = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
    "26cc381e4d2594bb9f47a26eb8fd96c94a13660d/"
    f"models/face_detection_yunet/{MODEL_FILE}"
)
MODEL_BYTES = 229_738
MODEL_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"

_MIN_FACE = (
    10  # pixels; its smallest face (OpenCV Zoo, face_detection_yunet: "around 10x10 to 300x300")
)
_MAX_SIDE = 640  # pixels of the frame that the network sees
# Side of a face from which on 95 % of what is found at any size is found: python -m
# benchmarks.faces.detector_scale (docs/detectors.md).
_FACE_PIXELS = 48
_SCORE = 0.7
_PATTERN = "face_detection_yunet*.onnx"


def find_model(explicit: str | Path | None = None) -> tuple[Path | None, str]:
    """YuNet's model file and where it was found, or None and why it was not.

    Raises:
        MissingFile: `explicit` or $EDGEEMO_YUNET names a file that is not there.
    """
    for path, origin in (
        (explicit, _argument()),
        (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}"),
    ):
        if path:
            if why := why_no_file(path):
                raise MissingFile(f"{path}: {why}, named by {origin}; expected YuNet's ONNX file")
            return Path(path), f"its model file is named by {origin}"
    in_cache = sorted(cache_folder().glob(_PATTERN))
    if in_cache:
        return in_cache[-1], f"its model file lies in {cache_folder()}"
    return (
        None,
        (
            f"no YuNet model file ({_PATTERN}) in {cache_folder()}, in ${ENVIRONMENT} or "
            + _argument()
        ),
    )


def _argument() -> str:
    return worded("--detector-model", "the argument model")


class YuNet:
    """OpenCV's FaceDetectorYN with YuNet's ONNX file.

    Threads and recognizers may share one; it looks for one of them at a time.
    Its model file is `options.model`, by default where `find_model` finds it.

    Raises:
        MissingDependency: OpenCV is not installed.
        DetectorError: no model file, or one that OpenCV cannot load.
        UntrustedModel: another file, where keys are trusted (`edgeemo.trust`).
    """

    name = "yunet"
    # Median over 1,500 FER-2013 training faces, as for Haar (docs/preprocessing.md).
    crop = Crop(shift_y_q10=25)

    def __init__(self, options: DetectorOptions = DetectorOptions()) -> None:  # noqa: B008  frozen
        self.scaling = Scaling(_MAX_SIDE, _FACE_PIXELS, options.smallest_face)
        self._looking = threading.Lock()  # the input's size belongs to the detector, not to a call
        self._cv2 = need("cv2", "opencv", "to find faces", called="OpenCV")
        path, reason = find_model(options.model)
        if path is None:
            other = worded("--detector haar", 'detector="haar"')
            raise DetectorError(f"{reason}; run: {PULL}, or use {other}")
        check_known(path, MODEL_SHA256, f"YuNet's {MODEL_FILE}", f"run: {PULL}")
        try:
            self._detector = self._cv2.FaceDetectorYN.create(for_c(path), "", (320, 320), _SCORE)
        except (self._cv2.error, AttributeError) as error:
            again = f"run: {PULL}" if path.parent == cache_folder() else "fetch the file again"
            raise DetectorError(
                f"{path}: OpenCV {self._cv2.__version__} cannot load it"
                f" ({str(error).splitlines()[0][:160]}); {again}"
            ) from None

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """Boxes of the faces in uint8 (H, W, 3) RGB, largest first."""
        cv2 = self._cv2
        small, (across, down) = self.scaling.shrink(cv2, frame_rgb)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        if min(bgr.shape[:2]) < _MIN_FACE:
            # No face fits in, and on frames of a pixel or two OpenCV's result is now and then a
            # wild box
            return []
        try:
            with self._looking:
                self._detector.setInputSize(bgr.shape[1::-1])
                _, rows = self._detector.detect(bgr)
        except cv2.error as error:
            raise DetectorError(
                f"YuNet fails on a frame of {frame_rgb.shape[1]}x{frame_rgb.shape[0]}"
                f" ({str(error).splitlines()[0][:160]})"
            ) from None
        to_frame = np.array([across, down, across, down])
        faces = [
            row[:4] * to_frame
            for row in (rows if rows is not None else [])
            if np.isfinite(row[:4]).all()
        ]
        boxes = [Box(*(math.floor(v + 0.5) for v in row)) for row in faces if min(row[2:]) >= 1]
        return sorted(boxes, key=lambda box: (-box.width * box.height, box.x, box.y))

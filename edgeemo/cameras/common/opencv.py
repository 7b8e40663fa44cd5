"""One cv2.VideoCapture behind USB cameras, network streams and videos: BGR in, RGB out."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import for_c
from edgeemo.errors import CameraError
from edgeemo.optional import need

_WIDEST = 8.0  # of a pixel, by its height; a container that claims more is wrong
_ROUNDING = 0.005


class Capture:
    """An opened cv2.VideoCapture, for one thread at a time.

    Args:
        name: of the camera, for messages.
        source: a URL, an absolute path or a device node.
        backend: "CAP_V4L2" or "CAP_FFMPEG".
        at_open: properties that count while it is being opened, without their CAP_PROP_.

    Raises:
        MissingDependency: OpenCV is not installed.
        CameraError: OpenCV cannot open the source, for a reason that it does not tell.
    """

    def __init__(
        self, name: str, source: str, backend: str, at_open: Mapping[str, int] | None = None
    ) -> None:
        self._cv2 = cv2 = need("cv2", "opencv", "to read cameras and videos", called="OpenCV")
        self.name = name
        capture = cv2.VideoCapture()
        options = [
            number
            for key, value in (at_open or {}).items()
            for number in (self._property(key), value)
        ]
        try:
            with _no_warnings(cv2):
                opened = capture.open(for_c(source), getattr(cv2, backend), options)
        except cv2.error as error:
            raise self._failure(error) from None
        if not opened:
            raise CameraError(f"{name}: OpenCV {cv2.__version__} cannot open it")
        self._capture = capture
        self._aspect: float | None = None

    def ask(self, **properties: float) -> None:
        """Ask for values of properties, without their CAP_PROP_, in this order.

        A source may decline, and says nothing.
        """
        with _no_warnings(self._cv2):
            for key, value in properties.items():
                self._capture.set(self._property(key), value)

    def get(self, key: str) -> float:
        """The value of a property; 0 where the source has none."""
        return float(self._capture.get(self._property(key)))

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """The next frame, uint8 (H, W, 3) RGB, and OpenCV's time of it in seconds; None at the end.

        Raises:
            CameraError: a frame without pixels, or OpenCV fails.
        """
        cv2 = self._cv2
        try:
            there, frame = self._capture.read()
            position = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        except cv2.error as error:
            raise self._failure(error) from None
        if not there:
            return None
        if frame is None or frame.size == 0:
            raise CameraError(f"{self.name}: gave an empty frame")
        return self._square(self._to_rgb(frame)), position

    def skip(self) -> bool:
        """Go on to the next frame without its pixels; False at the end."""
        return bool(self._capture.grab())

    def close(self) -> None:
        """Release it; not while another thread reads, which OpenCV does not survive."""
        self._capture.release()

    def _square(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame with square pixels: its shorter side is stretched, so that nothing is lost.

        The first frame decides, so that the size stays.
        """
        if self._aspect is None:
            across, down = self.get("SAR_NUM"), self.get("SAR_DEN")
            # OpenCV has turned the frame already, as the file of a telephone says, not the pixels.
            if round(self.get("ORIENTATION_META")) % 180 == 90:
                across, down = down, across
            self._aspect = pixel_aspect(across, down)
        height, width = frame.shape[:2]
        size = square_size(width, height, self._aspect)
        if size == (width, height):
            return frame
        return np.asarray(self._cv2.resize(frame, size), dtype=np.uint8)

    def _to_rgb(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        cv2 = self._cv2
        channels = 1 if frame.ndim == 2 else frame.shape[2]
        codes = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
        if frame.dtype != np.uint8 or channels not in codes:
            raise CameraError(
                f"{self.name}: expected frames of 8 bits, received {frame.dtype} of shape "
                f"{frame.shape}"
            )
        return np.asarray(cv2.cvtColor(frame, codes[channels]), dtype=np.uint8)

    def _property(self, key: str) -> int:
        return int(getattr(self._cv2, f"CAP_PROP_{key}"))

    def _failure(self, error: Exception) -> CameraError:
        return CameraError(
            f"{self.name}: OpenCV fails ({str(error).strip().splitlines()[0][:160]})"
        )


def pixel_aspect(width: float, height: float) -> float:
    """Width of a pixel by its height, as a container or stream claims; 1 where that cannot be."""
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        return 1.0
    aspect = width / height
    return aspect if 1 / _WIDEST <= aspect <= _WIDEST else 1.0


def square_size(width: int, height: int, aspect: float) -> tuple[int, int]:
    """(width, height) with square pixels of a frame whose pixels have another aspect.

    A difference under half a percent, which containers have from rounding, is none.
    """
    if abs(aspect - 1) < _ROUNDING:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


@contextmanager
def _no_warnings(cv2: Any) -> Iterator[None]:
    """OpenCV warns on stderr, without a reason, of what we say in an exception with one."""
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(min(before, logging.LOG_LEVEL_ERROR))
    try:
        yield
    finally:
        logging.setLogLevel(before)

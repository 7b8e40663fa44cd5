"""One cv2.VideoCapture behind USB cameras, network streams and video files: BGR comes in, RGB goes out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import Frame
from edgeemo.cameras.shared import Held, not_open
from edgeemo.errors import CameraError
from edgeemo.optional import need


class Capture:
    """An opened cv2.VideoCapture that one thread reads from and any thread may close.

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
        self._cv2 = cv2 = need("cv2", "opencv", "to read cameras and videos")
        self.name = name
        capture = cv2.VideoCapture()
        options = [
            number
            for key, value in (at_open or {}).items()
            for number in (self._property(key), value)
        ]
        try:
            with _no_warnings(cv2):
                opened = capture.open(source, getattr(cv2, backend), options)
        except cv2.error as error:
            raise self._failure(error) from None
        if not opened:
            raise CameraError(f"{name}: OpenCV {cv2.__version__} cannot open it")
        self._held: Held[Any] = Held(capture, lambda thing: thing.release(), name)

    def ask(self, **properties: float) -> None:
        """Ask for values of properties, without their CAP_PROP_, in this order. A source may decline, and says nothing."""
        with self._held.use() as capture, _no_warnings(self._cv2):
            for key, value in properties.items():
                capture.set(self._property(key), value)

    def get(self, key: str) -> float:
        """The value of a property; 0 where the source has none."""
        with self._held.use() as capture:
            return float(capture.get(self._property(key)))

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """The next frame, uint8 (H, W, 3) RGB, and OpenCV's time of it in seconds; None where no more come.

        Raises:
            CameraError: closed, a frame without pixels, or OpenCV fails.
        """
        cv2 = self._cv2
        try:
            with self._held.use() as capture:
                there, frame = capture.read()
                position = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        except cv2.error as error:
            raise self._failure(error) from None
        if self._held.closed:
            raise CameraError(f"{self.name} was closed")
        if not there:
            return None
        if frame is None or frame.size == 0:
            raise CameraError(f"{self.name}: gave an empty frame")
        return self._to_rgb(frame), position

    @property
    def closed(self) -> bool:
        """Whether somebody has called `close`."""
        return self._held.closed

    def close(self) -> None:
        """Release it, at once or when the `read` that is under way returns: OpenCV cannot be released while it reads."""
        self._held.close()

    def _to_rgb(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        cv2 = self._cv2
        channels = 1 if frame.ndim == 2 else frame.shape[2]
        codes = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
        if frame.dtype != np.uint8 or channels not in codes:
            raise CameraError(
                f"{self.name}: expected frames of 8 bits, received {frame.dtype} of shape {frame.shape}"
            )
        return np.asarray(cv2.cvtColor(frame, codes[channels]), dtype=np.uint8)

    def _property(self, key: str) -> int:
        return int(getattr(self._cv2, f"CAP_PROP_{key}"))

    def _failure(self, error: Exception) -> CameraError:
        return CameraError(
            f"{self.name}: OpenCV fails ({str(error).strip().splitlines()[0][:160]})"
        )


class CaptureCamera(ABC):
    """What live cameras behind a `Capture` share: a first frame that proves it when it is opened, reading and closing."""

    live = True
    name: str
    _capture: Capture | None = None
    _first: Frame | None = None

    def read(self) -> Frame | None:
        """The next frame. Raises CameraError when none comes for 3 s, the source is gone, or it was closed."""
        capture = self._capture
        if capture is None:
            raise not_open(self.name)
        first, self._first = self._first, None
        return first or self._take(capture)

    def close(self) -> None:
        """Let the source go. Does no harm twice."""
        capture, self._capture, self._first = self._capture, None, None
        if capture:
            capture.close()

    def _begin(
        self,
        make: Callable[[], Capture],
        explained: Callable[[CameraError], str],
        configure: Callable[[Capture], None] = lambda capture: None,
    ) -> None:
        """Make the capture, configure it, and wait for its first frame, which `read` will give.

        Raises:
            CameraError: as `explained`, because OpenCV gives no reasons; or it was closed meanwhile.
        """
        capture = None
        try:
            self._capture = capture = make()
            configure(capture)
            self._first = self._take(capture)
        except CameraError as error:
            interrupted = capture is not None and capture.closed
            self.close()
            if interrupted:
                raise
            raise CameraError(explained(error)) from None

    @abstractmethod
    def _take(self, capture: Capture) -> Frame:
        """The next frame of the capture, with its time. Raises CameraError where none comes."""


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

"""USB cameras, through OpenCV's V4L2 backend. Linux."""

import os
import time

from edgeemo.cameras import FPS, SIZE, Frame
from edgeemo.cameras.opencv import Capture, CaptureCamera
from edgeemo.cameras.timestamps import captured_at
from edgeemo.cameras.v4l2 import holders, look_at, nodes, why_not
from edgeemo.errors import CameraError

_SILENCE = 3  # seconds without a frame after which a read gives up; OpenCV's own 10 are too long for a pulled plug
_YUYV_SIDE = 640  # pixels; above, uncompressed pictures fill a USB 2 cable before they come 30 times a second


class UsbCamera(CaptureCamera):
    """A camera behind a V4L2 device node.

    `read` waits for 3 s at most. OpenCV cannot be released while it reads, so `close` from another thread takes effect
    when that wait is over.

    Args:
        device: the number N of /dev/videoN, or a path such as /dev/v4l/by-id/….
        size: width and height in pixels that are asked for; what it cannot give, it replaces by the nearest it can.
        fps: frames a second that are asked for.
    """

    _backend = "CAP_V4L2"

    def __init__(
        self, device: int | str = 0, *, size: tuple[int, int] = SIZE, fps: float = FPS
    ) -> None:
        self.name = f"/dev/video{device}" if isinstance(device, int) else device
        self._size, self._fps = size, fps

    def open(self) -> None:
        """Open the device, and wait for a first frame, which `read` will give.

        Raises:
            MissingDependency: OpenCV is not installed.
            CameraError: no such device, no permission, no camera but a codec, held by another program, or no frame.
        """
        self.close()
        self._refuse()
        # Read by OpenCV once, when a process waits for its first frame.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_SILENCE))
        self._begin(
            lambda: Capture(self.name, os.path.realpath(self.name), self._backend),
            lambda error: _explained(error, self.name),
            self._configure,
        )

    def _refuse(self) -> None:
        reason = why_not(look_at(self.name), nodes())
        if reason:
            raise CameraError(reason)

    def _configure(self, capture: Capture) -> None:
        width, height = self._size
        if max(width, height) > _YUYV_SIDE:
            capture.ask(FOURCC=int.from_bytes(b"MJPG", "little"))
        # Few buffers: a frame that waits is an old one. With one alone the driver has none to fill while we look at it, and
        # every other frame is lost.
        capture.ask(FRAME_WIDTH=width, FRAME_HEIGHT=height, FPS=self._fps, BUFFERSIZE=2)

    def _take(self, capture: Capture) -> Frame:
        taken = capture.read()
        if taken is None:
            raise CameraError(f"{self.name}: gives no frame any more; is it still plugged in?")
        pixels, claimed = taken
        return Frame(pixels, captured_at(claimed))


def _explained(error: CameraError, path: str) -> str:
    """An OpenCV failure, which has no reason, with the likely one: V4L2 gives frames to one program at a time."""
    # Kernel and OpenCV close a device a moment after who held it has ended.
    time.sleep(0.1)
    others = holders(path)
    if others:
        return f"{path} is held by {', '.join(others)}; end that program, or use another camera"
    return (
        f"{error}, though it is there and may be read; another user's program may hold it (sudo fuser -v {path} tells), "
        "else unplug it and plug it in again, or ask for another size"
    )

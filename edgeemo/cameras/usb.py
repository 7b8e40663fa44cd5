"""USB cameras, through OpenCV's V4L2 backend; without OpenCV through GStreamer. Linux."""

import math
import os
import time

from edgeemo.cameras import FPS, SIZE, STALL, Camera, CameraOptions, Frame
from edgeemo.cameras.common.opencv import Capture
from edgeemo.cameras.common.source import Source
from edgeemo.cameras.common.timestamps import captured_at
from edgeemo.cameras.common.v4l2 import holders, look_at, video_devices, why_not
from edgeemo.errors import CameraError

# Pixels; above, uncompressed pictures fill a USB 2 cable before they come 30 times a second.
_YUYV_SIDE = 640


class UsbCamera(Source[Capture]):
    """A camera behind a V4L2 device node.

    `read` waits for `stall` seconds, rounded up; of the first camera that this process opens, since
    OpenCV takes one time for all. OpenCV cannot be released while it reads, so `close` from another
    thread takes effect when that wait is over. A device that is not there, is no camera or may not
    be opened says so when it is opened.

    Args:
        device: the number N of /dev/videoN, or a path such as /dev/v4l/by-id/….
        size: width and height in pixels that are asked for; the camera takes the nearest it can.
        fps: frames a second that are asked for.
        stall: seconds without a frame that reading waits.
    """

    _backend = "CAP_V4L2"

    def __init__(
        self,
        device: int | str = 0,
        *,
        size: tuple[int, int] = SIZE,
        fps: float = FPS,
        stall: float = STALL,
    ) -> None:
        name = f"/dev/video{device}" if isinstance(device, int) else device
        super().__init__(name, size=size, fps=fps)
        self._stall = stall

    def _start(self) -> Capture:
        reason = self._refusal()
        if reason:
            raise _Refused(reason)
        # Read by OpenCV once, when a process waits for its first frame. Its own 10 s are too long
        # for a pulled plug.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(self._stall)))
        return Capture(self.name, os.path.realpath(self.name), self._backend)

    def _refusal(self) -> str:
        """Why the device cannot be a camera, or ""."""
        return why_not(look_at(self.name), video_devices())

    def _prepare(self, capture: Capture) -> None:
        width, height = self._size
        if max(width, height) > _YUYV_SIDE:
            capture.ask(FOURCC=int.from_bytes(b"MJPG", "little"))
        # Few buffers: a frame that waits is an old one. With one alone the driver has none to fill
        # while we look at it, and every other frame is lost.
        capture.ask(FRAME_WIDTH=width, FRAME_HEIGHT=height, FPS=self._fps, BUFFERSIZE=2)

    def _take(self, capture: Capture) -> Frame:
        taken = capture.read()
        if taken is None:
            raise CameraError(f"{self.name}: gives no frame any more; is it still plugged in?")
        pixels, claimed = taken
        return Frame(pixels, captured_at(claimed))

    def _release(self, capture: Capture) -> None:
        capture.close()

    def _explained(self, error: CameraError) -> CameraError:
        return error if isinstance(error, _Refused) else CameraError(_reason(error, self.name))


class _Refused(CameraError):
    """What the kernel says speaks against the device already, and is the reason."""


def _reason(error: CameraError, path: str) -> str:
    """An OpenCV failure, which has no reason, with the likely one.

    V4L2 gives frames to one program at a time.
    """
    # Kernel and OpenCV close a device a moment after who held it has ended.
    time.sleep(0.1)
    others = holders(path)
    if others:
        return f"{path} is held by {', '.join(others)}; end that program, or use another camera"
    return (
        f"{error}, though it is there and may be read; another user's program may hold it (sudo "
        f"fuser -v {path} tells), else unplug it and plug it in again, or ask for another size"
    )


def of_word(device: str, options: CameraOptions) -> Camera:
    """The camera with the number N of /dev/videoN, or behind a device's path."""
    from edgeemo.cameras.gst_sources import GstUsbCamera, takes_over

    number = int(device) if device.isdecimal() else device
    if takes_over("USB cameras"):
        return GstUsbCamera(number, options)
    return UsbCamera(number, size=options.size, fps=options.fps, stall=options.stall)

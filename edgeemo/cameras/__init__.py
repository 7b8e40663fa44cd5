"""Where frames come from, behind one small protocol: cameras, streams and files."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SIZE = (640, 480)  # pixels, width and height, that cameras are asked for
FPS = 30.0


@dataclass(frozen=True)
class Frame:
    """One picture of a camera.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        time: seconds: of a live camera, when it was captured, on the clock of `time.monotonic()`; of a recording, its
            position in it.
    """

    pixels: NDArray[np.uint8]
    time: float


class Camera(Protocol):
    """A source of frames. Made closed; `open` does the work, and works again after `close`.

    Attributes:
        name: what messages call it.
        live: True where frames come by themselves, so that only the newest counts; False where each is read in turn.
    """

    name: str
    live: bool

    def open(self) -> None:
        """Get ready to read. Raises CameraError, or what else says why it cannot, and how to mend it."""

    def read(self) -> Frame | None:
        """The next frame, as soon as it is there; None when a recording is over.

        Raises:
            CameraError: the camera is gone, or was closed meanwhile.
        """

    def close(self) -> None:
        """Let the source go. Does no harm twice. May be called from another thread, and ends a `read` that waits where
        the source allows that."""


def open_camera(source: str = "auto", *, size: tuple[int, int] = SIZE, fps: float = FPS) -> Camera:
    """Open a camera, stream or recording.

    Args:
        source: "auto": the CSI camera of a Raspberry Pi or Jetson, else the first USB camera that works; "0" or
            "/dev/video0"; "csi" or "csi:1"; "rtsp://…", "http://…"; "gst:PIPELINE"; the path of a video, a folder of
            pictures or a picture.
        size: width and height in pixels that cameras are asked for, and that frames of a pipeline are scaled to; streams
            and files have their own.
        fps: frames a second that cameras are asked for; what the times of pictures and of a pipeline's recording say.

    Raises:
        InvalidInput: `source` has none of these forms, or size or fps are out of range.
        MissingFile: `source` looks like a path, and nothing is there.
        MissingDependency: a package or program is not installed; the message says how to install it.
        CameraError: it cannot be opened; the message says why, of each that "auto" or "csi" tried, and what to do.
    """
    return choose_camera(source, size=size, fps=fps)[0]


def choose_camera(
    source: str = "auto", *, size: tuple[int, int] = SIZE, fps: float = FPS
) -> tuple[Camera, str]:
    """Like `open_camera`, with the reason for the choice in words."""
    from edgeemo.cameras.select import choose

    return choose(source, size, fps)


def camera_for(source: str, *, size: tuple[int, int] = SIZE, fps: float = FPS) -> Camera:
    """The closed camera that `source` names. Not for "auto" and "csi", where opening decides. Raises like `open_camera`."""
    from edgeemo.cameras.select import closed

    return closed(source, size, fps)

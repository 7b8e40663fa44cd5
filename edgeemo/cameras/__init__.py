"""Where frames come from, behind one small protocol: cameras, streams and files."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import InvalidInput

SIZE = (640, 480)  # pixels, width and height, that cameras are asked for
FPS = 30.0


@dataclass(frozen=True)
class Frame:
    """One picture of a camera."""

    pixels: NDArray[np.uint8]
    """uint8 (H, W, 3) RGB."""
    time: float
    """Seconds: of a live camera, when it was captured, on the clock of `time.monotonic()`; of a
    recording, its position in it."""


@dataclass(frozen=True)
class CameraOptions:
    """What a camera is asked for.

    Raises:
        InvalidInput: a size or rate out of range.
    """

    size: tuple[int, int] = SIZE
    """Width and height in pixels, 16 to 16384, and what frames of a pipeline are scaled to; streams
    and files have their own."""
    fps: float = FPS
    """Frames a second, above 0 and up to 1000; of pictures and of a pipeline's recording, what
    their times say."""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 16 or max(self.size) > 16_384:
            raise InvalidInput(
                "expected a size of width and height, from 16 to 16384 pixels; "
                f"received {self.size!r}"
            )
        if not 0 < self.fps <= 1000:
            raise InvalidInput(f"expected fps above 0 and up to 1000; received {self.fps!r}")


class Camera(Protocol):
    """A source of frames. Made closed; `open` does the work, and works again after `close`."""

    name: str
    """What messages call it."""
    live: bool
    """True where frames come by themselves, so that only the newest counts; False where each is
    read in turn."""

    def open(self) -> None:
        """Get ready to read.

        Raises CameraError, or what else says why it cannot, and how to fix it.
        """

    def read(self) -> Frame | None:
        """The next frame, as soon as it is there; None when a recording is over.

        Raises:
            CameraError: the camera is gone, or was closed meanwhile.
        """

    def close(self) -> None:
        """Let the source go. Does no harm twice.

        May be called from another thread, and ends a `read` that waits where the source allows
        that.
        """


_PROTOCOL = ("name", "live", "open", "read", "close")


def missing_parts(camera: object) -> str:
    """What an object lacks to be a `Camera`, in words; "" where it lacks nothing."""
    return ", ".join(part for part in _PROTOCOL if not hasattr(camera, part))


def open_camera(source: str = "auto", *, size: tuple[int, int] = SIZE, fps: float = FPS) -> Camera:
    """Open a camera, stream or recording.

    Args:
        source: "auto": the CSI camera of a Raspberry Pi or Jetson, else the first USB camera that
            works; "0" or "/dev/video0"; "csi" or "csi:1"; "rtsp://…", "http://…"; "gst:PIPELINE";
            "NAME:ARGUMENT" of another package (edgeemo.cameras.select.CAMERAS); the path of a
            video, a folder of pictures or a picture.
        size: see `CameraOptions`.
        fps: see `CameraOptions`.

    Raises:
        InvalidInput: `source` has none of these forms, or size or fps are out of range.
        MissingFile: `source` looks like a path, and nothing is there.
        MissingDependency: a package or program is not installed; the message says how to install
            it.
        BrokenDependency: one is installed and does not work.
        CameraError: it cannot be opened; the message says why, of each that "auto" or "csi" tried,
            and what to do.
    """
    return choose_camera(source, size=size, fps=fps)[0]


def choose_camera(
    source: str = "auto", *, size: tuple[int, int] = SIZE, fps: float = FPS
) -> tuple[Camera, str]:
    """Like `open_camera`, with the reason for the choice in words."""
    from edgeemo.cameras.select import choose

    return choose(source, CameraOptions(size, fps))


def camera_for(source: str, *, size: tuple[int, int] = SIZE, fps: float = FPS) -> Camera:
    """The closed camera that `source` names; raises like `open_camera`.

    Not for "auto" and "csi", where opening decides which camera it is.
    """
    from edgeemo.cameras.common.attempts import FirstThatOpens
    from edgeemo.cameras.select import closed

    camera = closed(source, CameraOptions(size, fps))
    if isinstance(camera, FirstThatOpens):
        raise InvalidInput(f"{source!r} is decided while opening; call open_camera({source!r})")
    return camera

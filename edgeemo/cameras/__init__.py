"""Where frames come from, behind one small protocol: cameras, streams and files."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.data.view import AS_IT_IS, View
from edgeemo.errors import InvalidInput

SIZE = (640, 480)  # pixels, width and height, that cameras are asked for
FPS = 30.0
STALL = 3.0  # seconds without a frame after which a camera counts as gone


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
    fps_asked: bool = False
    """Whether somebody asked for `fps`: a folder's pictures are a sequence then, and an address
    that gives one picture is asked for so many a second."""
    stall: float = STALL
    """Seconds without a frame, 0.1 to 3600, that reading waits for the next."""

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple | list) else ()
        if len(sides) != 2 or not all(isinstance(s, Integral) and 16 <= s <= 16_384 for s in sides):
            raise InvalidInput(
                "expected a size of width and height, from 16 to 16384 pixels; "
                f"received {self.size!r}"
            )
        if not isinstance(self.fps, Real) or not 0 < self.fps <= 1000:
            raise InvalidInput(f"expected fps above 0 and up to 1000; received {self.fps!r}")
        if not isinstance(self.stall, Real) or not 0.1 <= self.stall <= 3600:
            raise InvalidInput(f"expected a stall of 0.1 to 3600 seconds; received {self.stall!r}")


def options_for(
    size: tuple[int, int] = SIZE, fps: float | None = None, stall: float = STALL
) -> CameraOptions:
    """Options of what was asked for; `fps` None: nobody asked. Raises InvalidInput."""
    return CameraOptions(size, FPS if fps is None else fps, fps is not None, stall)


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


def open_camera(
    source: str = "auto",
    *,
    size: tuple[int, int] = SIZE,
    fps: float | None = None,
    stall: float = STALL,
    view: View = AS_IT_IS,
) -> Camera:
    """Open a camera, stream or recording.

    Args:
        source: "auto": the CSI camera of a Raspberry Pi or Jetson, else the first USB camera that
            works; "0" or "/dev/video0"; "csi" or "csi:1"; "rtsp://…", "http://…"; "gst:PIPELINE";
            "NAME:ARGUMENT" of another package (edgeemo.cameras.select.CAMERAS); the path of a
            video, a folder of pictures or a picture.
        size: see `CameraOptions`.
        fps: see `CameraOptions`; None: 30, of what is asked at all. With a number, a folder of
            pictures is a sequence.
        stall: see `CameraOptions`.
        view: how its frames are turned. Its region is for who looks for faces.

    Raises:
        InvalidInput: `source` has none of these forms, or size, fps or stall are out of range.
        MissingFile: `source` looks like a path, and nothing is there.
        MissingDependency: a package or program is not installed; the message says how to install
            it.
        BrokenDependency: one is installed and does not work.
        CameraError: it cannot be opened; the message says why, of each that "auto" or "csi" tried,
            and what to do.
    """
    from edgeemo.cameras.turned import turned

    return turned(choose_camera(source, size=size, fps=fps, stall=stall)[0], view)


def choose_camera(
    source: str = "auto",
    *,
    size: tuple[int, int] = SIZE,
    fps: float | None = None,
    stall: float = STALL,
) -> tuple[Camera, str]:
    """Like `open_camera`, with the reason for the choice in words."""
    from edgeemo.cameras.select import choose

    return choose(source, options_for(size, fps, stall))


def camera_for(
    source: str,
    *,
    size: tuple[int, int] = SIZE,
    fps: float | None = None,
    stall: float = STALL,
) -> Camera:
    """The closed camera that `source` names; raises like `open_camera`.

    Not for "auto" and "csi", where opening decides which camera it is.
    """
    from edgeemo.cameras.common.attempts import FirstThatOpens
    from edgeemo.cameras.select import closed

    camera = closed(source, options_for(size, fps, stall))
    if isinstance(camera, FirstThatOpens):
        raise InvalidInput(f"{source!r} is decided while opening; call open_camera({source!r})")
    return camera

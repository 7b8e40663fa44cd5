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

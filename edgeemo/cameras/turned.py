"""A camera that hangs on its side, upside down or behind a mirror: its frames, put right."""

import numpy as np

from edgeemo.cameras import Camera, Frame
from edgeemo.data.view import View


class Turned:
    """Any camera, whose frames are turned as `view` says.

    Args:
        camera: opened and closed with this one.
        view: rotation, flip and mirror.
    """

    def __init__(self, camera: Camera, view: View) -> None:
        self.name, self.live, self.stills = camera.name, camera.live, is_stills(camera)
        self._camera, self._view = camera, view

    def open(self) -> None:
        """Open the camera; raises what it raises."""
        self._camera.open()
        self.name = self._camera.name  # which may be decided only now

    def read(self) -> Frame | None:
        """The camera's next frame, turned; raises what the camera raises."""
        frame = self._camera.read()
        # What is no picture goes on as it is, to be counted as such.
        try:
            pixels, at = frame.pixels, frame.time  # type: ignore[union-attr]
        except Exception:  # no frame, or a property of it raises
            return frame
        if not isinstance(pixels, np.ndarray) or pixels.ndim < 2:
            return frame
        return Frame(self._view.turned(np.asarray(pixels)), at)

    @property
    def skipped(self) -> int:
        """Pictures of a folder that could not be read."""
        return int(getattr(self._camera, "skipped", 0))

    def close(self) -> None:
        """Close the camera."""
        self._camera.close()


def turned(camera: Camera, view: View) -> Camera:
    """The camera itself where `view` turns nothing."""
    return Turned(camera, view) if view.turns else camera


def is_stills(camera: Camera) -> bool:
    """Whether a camera says that its frames are pictures that have nothing to do with each other.

    A list of stills has an attribute `stills` that is true; others need none.
    """
    return bool(getattr(camera, "stills", False))

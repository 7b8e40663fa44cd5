"""A recording of which some frames a second are looked at."""

import math

from edgeemo.cameras import Camera, Frame
from edgeemo.cameras.common.timestamps import seconds


class Sampled:
    """A recording's frames, no more than `fps` a second of its own time: the first of each stretch
    of 1 / fps seconds.

    Args:
        recording: a camera that is not live; opened and closed with this one.
        fps: frames a second.
    """

    live = False

    def __init__(self, recording: Camera, fps: float) -> None:
        self.name = recording.name
        self._recording, self._pause = recording, 1 / fps
        self._due: float | None = None

    def open(self) -> None:
        """Open the recording; raises what it raises."""
        self._due = None
        self._recording.open()
        self.name = self._recording.name

    def read(self) -> Frame | None:
        """The next frame whose time has come; None at the end. Raises what the recording raises."""
        while True:
            frame = self._recording.read()
            if not isinstance(frame, Frame):
                return frame  # the end, or what is no frame, to be counted as such
            at = seconds(frame.time)
            if not math.isfinite(at):
                return frame  # counted, and given a time, by who reads it
            due = at if self._due is None else self._due
            if at < due - 1e-6:  # a frame that is due bears a rounded time
                continue
            # In step with the first frame, unless some are missing.
            self._due = due + self._pause if at < due + self._pause else at + self._pause
            return frame

    @property
    def skipped(self) -> int:
        """Pictures that could not be read."""
        return int(getattr(self._recording, "skipped", 0))

    def close(self) -> None:
        """Close the recording. Does no harm twice."""
        self._recording.close()
